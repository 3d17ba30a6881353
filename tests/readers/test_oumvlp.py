import json
import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.oumvlp import KEYPOINTS, PERSONS, VIEWS
from gaitbench.readers import oumvlp as reader
from gaitbench.readers.oumvlp import (
    frame_number,
    oumvlp_fingerprint,
    oumvlp_root,
    read_id_list,
    read_oumvlp,
)
from gaitbench.store import SequenceStore, StoreInfo, cached_store
from tests.goldens import GAITGRAPH, golden

INFO = StoreInfo("oumvlp", "pose", "openpose18", "pixels, confidence")
POSE = [float(i + 1) for i in range(54)]


def read(path: Path, cache: Path, keypoints: str = "openpose", person: str = "first"):
    return cached_store(
        cache,
        "oumvlp",
        oumvlp_fingerprint(path, keypoints, person=person),
        lambda writer: read_oumvlp(path, keypoints, person, writer, cache / ".oumvlp.parts"),
        INFO,
    )


def text(*people: object) -> str:
    return json.dumps({"version": 1.2, "people": [{"pose_keypoints_2d": p} for p in people]})


def write(root: Path, place: str, content: str | bytes = text(POSE)) -> Path:
    file = root / "openpose" / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def naive(folder: Path):
    """(subject, view, number, frame numbers, poses) of each sequence, read file by file."""
    for sequence in sorted(folder.glob("*/*_*")):
        poses, numbers = [], []
        for file in sorted(sequence.glob("*.json")):
            people = json.loads(file.read_text())["people"]
            if people:
                poses.append(np.array(people[0]["pose_keypoints_2d"], "f4").reshape(18, 3))
                last = file.name.split("_")[-1].removesuffix(".json").split("-")[-1]
                first = file.name.split("_")[0]
                numbers.append(int(last if "-" in first else first))
        if poses:
            view, number = sequence.name.split("_")
            yield sequence.parent.name, int(view), int(number), numbers, np.stack(poses)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("oumvlp")
    with zipfile.ZipFile(GAITGRAPH / "oumvlp_tree.zip") as file:
        file.extractall(folder)
    return folder / "OUMVLP-Pose"


@pytest.fixture(scope="module", params=KEYPOINTS)
def stored(request, tree, tmp_path_factory) -> tuple[str, SequenceStore]:
    cache = tmp_path_factory.mktemp("cache")
    return request.param, read(tree, cache, request.param)


@pytest.mark.parametrize("split", ["train", "test"])
def test_sequences_are_the_reference_s(tree, stored, split):
    keypoints, store = stored
    expected = golden("e2e_oumvlp")
    subjects = read_id_list(tree / "ID_list.csv")[split == "test"]
    table = store.sequences[store.sequences["subject"].isin(subjects)]
    keys = table.assign(subject=table["subject"].astype(int))
    np.testing.assert_array_equal(
        keys[["subject", "view", "number", "length"]], expected[f"{keypoints}_{split}_keys"]
    )
    ends = np.cumsum(table["length"])
    numbers = expected[f"{keypoints}_{split}_frame_nums"]
    np.testing.assert_array_equal(table["first_frame"], numbers[ends - table["length"]])
    np.testing.assert_array_equal(table["last_frame"], numbers[ends - 1])
    frames = [store.frames[r.start : r.start + r.length] for r in table.itertuples()]
    if split == "test":
        np.testing.assert_array_equal(np.concatenate(frames), expected[f"{keypoints}_test_x"])


def test_frame_numbers_are_the_reference_s(tree):
    expected = golden("e2e_oumvlp")
    splits = dict(zip(("train", "test"), read_id_list(tree / "ID_list.csv"), strict=True))
    for keypoints in KEYPOINTS:
        for split, subjects in splits.items():
            numbers = [
                frame_number(file.name)
                for subject in sorted(subjects)
                for file in sorted((tree / keypoints / subject).glob("*/*.json"))
                if json.loads(file.read_text())["people"]
            ]
            np.testing.assert_array_equal(numbers, expected[f"{keypoints}_{split}_frame_nums"])


def test_the_store_equals_a_naive_reading(tree, stored):
    keypoints, store = stored
    sequences = list(naive(tree / keypoints))
    assert len(store) == len(sequences)
    assert (store.sequences["condition"] == "nm").all()
    assert store.frames.dtype == np.float32
    for row, (subject, view, number, numbers, poses) in zip(
        store.sequences.itertuples(), sequences, strict=True
    ):
        assert (row.subject, row.view, row.number) == (subject, view, number)
        assert (row.first_frame, row.last_frame) == (numbers[0], numbers[-1])
        assert row.missing == numbers[-1] - numbers[0] + 1 - len(numbers)
        np.testing.assert_array_equal(store.frames[row.start : row.start + row.length], poses)
        assert row.empty_joints == pytest.approx((poses[..., 2] == 0).mean())
        files = sorted((tree / keypoints / subject / f"{view:03d}_{number:02d}").glob("*.json"))
        people = [len(json.loads(file.read_text())["people"]) for file in files]
        assert row.several == sum(n > 1 for n in people)
        assert row.not_first == 0


def test_parts_make_no_difference(tree, stored, tmp_path, monkeypatch):
    keypoints, store = stored
    monkeypatch.setattr(reader, "SUBJECTS", 1)
    again = read(tree, tmp_path, keypoints)
    np.testing.assert_array_equal(again.frames, store.frames)
    assert again.sequences.equals(store.sequences)


@pytest.mark.parametrize("person", PERSONS[1:])
def test_another_choice_of_person_changes_some_frames(tmp_path, person):
    walker, bystander = np.array(POSE).reshape(18, 3), np.array(POSE).reshape(18, 3)
    walker[:, 2], bystander[:, 2] = 0.9, 0.4
    bystander[:, 1] *= 0.5
    people = [np.add(walker, (i, 0, 0)).ravel().tolist() for i in range(6)]
    other = bystander.ravel().tolist()
    listed = [[p] if i % 3 else [other, p] for i, p in enumerate(people)]
    for i, frame in enumerate(listed):
        write(tmp_path, f"00007/015_01/{i:04d}_keypoints.json", text(*frame))
        write(tmp_path, f"00007/030_00/{i:04d}_keypoints.json", text(people[i]))
    write(tmp_path, "00008/015_01/0001_keypoints.json", text(people[0], other))
    store = read(tmp_path, tmp_path / "cache", person=person)
    expected = np.array(people, np.float32).reshape(-1, 18, 3)
    expected = np.concatenate([expected, expected, expected[:1]])
    np.testing.assert_array_equal(store.frames, expected)
    assert list(store.sequences["several"]) == [2, 0, 1]
    assert list(store.sequences["not_first"]) == [2, 0, 0]
    assert read(tmp_path, tmp_path / "other").sequences["not_first"].sum() == 0


def test_what_is_not_a_frame_is_ignored_and_the_empty_left_out(tmp_path, caplog):
    for name in (".DS_Store", "Thumbs.db", "._0001_keypoints.json", "notes.txt"):
        write(tmp_path, f"00001/000_00/{name}", b"\0")
        write(tmp_path, f"00001/{name}", b"\0")
        write(tmp_path, name, b"\0")
    write(tmp_path, ".hidden/x", b"\0")
    write(tmp_path, "00001/000_00/00001-00_000-0021.json")
    write(tmp_path, "00001/000_00/00001-00_000-0022.json", text())
    write(tmp_path, "00001/000_00/00001-00_000-0024.json")
    write(tmp_path, "00002/000_01/0021_keypoints.json", text())
    (tmp_path / "openpose" / "00002" / "000_00").mkdir()
    (tmp_path / "openpose" / "00003").mkdir()
    with caplog.at_level(logging.INFO):
        store = read(tmp_path, tmp_path / "cache")
    names = "start length number view first_frame last_frame missing empty_joints several not_first"
    expected = dict(zip(names.split(), [0, 2, 0, 0, 21, 24, 2, 0, 0, 0], strict=True))
    expected |= {"subject": "00001", "condition": "nm"}
    assert store.sequences.iloc[0].to_dict() == expected
    folder = tmp_path / "openpose"
    assert caplog.messages == [f"reading {folder}: left out 2 of 3 sequences without a frame"]


def test_numbers_are_rounded_to_float32_once(tmp_path):
    values = [0.1, 1e-45, 3.4028234e38, 16777217, -0.0, 123.456789, *POSE[6:]]
    write(tmp_path, "00001/000_00/0001_keypoints.json", text(values))
    long = json.loads(text(values, values))
    long["version"] = "1" * 100_000  # a file of several blocks
    write(tmp_path, "00001/000_00/0002_keypoints.json", json.dumps(long))
    frames = read(tmp_path, tmp_path / "cache").frames.reshape(2, 54)
    np.testing.assert_array_equal(frames, [[np.float32(v) for v in values]] * 2)


BAD = {
    "truncated": (text(POSE)[:200], "is truncated or no JSON (", "0021_k"),
    "empty": ("", "is truncated or no JSON (", "0021_k"),
    "not text": (b"\xff\xfe\0", "is truncated or no JSON (", "0021_k"),
    "deep": ("[" * 100_000, "is truncated or no JSON (", "0021_k"),
    "a list": ("[]", "has no list 'people';", "0021_k"),
    "without people": ("{}", "has no list 'people';", "0021_k"),
    "people are null": ('{"people": null}', "has no list 'people';", "0021_k"),
    "a person is null": ('{"people": [null]}', "has no list 'pose_keypoints_2d' for", "0021_k"),
    "without a pose": ('{"people": [{}]}', "has no list 'pose_keypoints_2d' for", "0021_k"),
    "too few": (text(POSE[:51]), "has 51 values for person 1, expected 54 (x, y and", "0021_k"),
    "COCO": (text(POSE, POSE[:51]), "has 51 values for person 2, expected 54 (x, y", "0021_k"),
    "text": (text([*POSE[:53], "0.5"]), "has '0.5' as value 54 of person 1, no", "0021_k"),
    "null": (text([None, *POSE[1:]]), "has None as value 1 of person 1, no", "0021_k"),
    "true": (text([True, *POSE[1:]]), "has True as value 1 of person 1, no", "0021_k"),
    "a list of lists": (text([POSE[:3]] * 54), "has [1.0, 2.0, 3.0] as value 1", "0021_k"),
    "NaN": (text([float("nan"), *POSE[1:]]), "has nan as value 1 of person 1, no", "0021_k"),
    "Infinity": (text([*POSE[:8], float("inf"), *POSE[9:]]), "has inf as value 9", "0021_k"),
    "too large": (text([*POSE[:8], 1e39, *POSE[9:]]), "has 1e+39 as value 9 of", "0021_k"),
    "no number": (text(POSE), "has no frame number in its name, expected one", "frame_k"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, case):
    content, expected, name = BAD[case]
    write(tmp_path, "00001/000_00/0020_keypoints.json")
    file = write(tmp_path, f"00001/000_00/{name}eypoints.json", content)
    write(tmp_path, "00001/000_00/zz-0022.json", "also bad")
    with pytest.raises(InputError) as error:
        read(tmp_path, tmp_path / "cache")
    assert str(error.value).startswith(f"{file} {expected}")
    assert str(error.value).endswith("; mend it, or copy it again from what was published")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    write(tmp_path, "00001/000_00/0020_keypoints.json")
    (tmp_path / "openpose/00001/000_00/0021_keypoints.json").mkdir()
    with pytest.raises(InputError, match=r"0021_keypoints.json cannot be read \(Is a directory\)"):
        read(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("00001/000-00/f", r"00001/000-00 is no folder <angle>_<number> like 090_01, of angle"),
        ("00001/00_00/f", r"00001/00_00 is no folder <angle>_<number> like 090_01, of angle"),
        ("00001/100_00/f", r"00001/100_00 is no folder .* 075, 090, 180, .* and number 00 or 01; "),
        ("00001/090_02/f", r"00001/090_02 is no folder .* 075, 090, 180, .* and number 00 or 01; "),
        ("1/000_00/f", r"1 is no folder of a subject like 00001; rename it or move it away$"),
        ("nothing", r"openpose has no folder of a subject like 00001; "),
    ],
)
def test_a_folder_that_is_none_of_the_dataset(tmp_path, place, expected):
    write(tmp_path, place)
    with pytest.raises(InputError, match=expected):
        read(tmp_path, tmp_path / "cache")


def test_no_frame_at_all(tmp_path):
    write(tmp_path, "00001/000_00/0021_keypoints.json", text())
    with pytest.raises(InputError, match=r"openpose: there is no frame to read; "):
        read(tmp_path, tmp_path / "cache")


def test_a_mended_file_is_all_that_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "SUBJECTS", 1)
    for subject in range(1, 7):
        for view in VIEWS[:2]:
            write(tmp_path, f"{subject:05d}/{view:03d}_00/0021_keypoints.json")
    bad = write(tmp_path, "00005/000_00/0021_keypoints.json", "{")
    with pytest.raises(InputError, match="00005"):
        read(tmp_path, tmp_path / "cache")
    kept = set((tmp_path / "cache" / ".oumvlp.parts").glob("*.npz"))
    assert len(kept) >= 4
    bad.write_text(text(POSE))
    # what was read is not looked at again, and so not seen to be bad
    (tmp_path / "openpose/00001/000_00/0021_keypoints.json").write_text("{")
    assert len(read(tmp_path, tmp_path / "cache")) == 12


def test_the_dataset_s_folder(tree, tmp_path):
    assert oumvlp_root(tree, "openpose") == tree
    assert oumvlp_root(tree.parent, "alphapose") == tree
    with pytest.raises(InputError, match="gone is no folder; name the one that holds ID_list"):
        oumvlp_root(tmp_path / "gone", "openpose")
    (tmp_path / "alphapose").mkdir()
    (tmp_path / "ID_list.csv").touch()
    with pytest.raises(InputError, match=r"no folder openpose, it holds ID_list\.csv, alphapose; "):
        oumvlp_root(tmp_path, "openpose")
    with pytest.raises(InputError, match="has no folder openpose, it holds nothing; "):
        oumvlp_root(tmp_path / "alphapose", "openpose")


def test_the_fingerprint_notices_files_and_settings(tmp_path):
    def key(**settings):
        return oumvlp_fingerprint(tmp_path, "openpose", **settings)

    file = write(tmp_path, "00001/000_00/0021_keypoints.json")
    os.utime(file.parent, ns=(0, 0))
    keys = [key(), key(person="first"), key(person="largest")]
    assert key() == keys[0]
    write(tmp_path, "00001/.DS_Store")
    assert key() == keys[0]
    write(tmp_path, "00001/000_00/0022_keypoints.json")
    keys.append(key())
    write(tmp_path, "00001/000_01/0022_keypoints.json")
    keys.append(key())
    (tmp_path / "openpose" / "00001").rename(tmp_path / "openpose" / "00002")
    keys.append(key())
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0021_keypoints.json", 21),
        ("00001-00_000-0017.json", 17),
        ("00001-00-000_rendered-0017.json", 17),
        ("12.json", 12),
        ("7_a-b_9.json", 7),
    ],
)
def test_frame_numbers(name, number):
    assert frame_number(name) == number


@pytest.mark.parametrize("name", ["keypoints.json", "0021_keypoints.txt", "a-b.json", "-.json"])
def test_names_without_a_number(name):
    with pytest.raises(ValueError, match="has no frame number"):
        frame_number(name)


@pytest.mark.parametrize(
    "text",
    [
        "training,test\n1,2\n3,4\n5,\n",
        "\ufefftraining;test\r\n1;2\r\n3;4\r\n5;\r\n",
        "1,2\n3,4\n5,\n",
        "OUMVLP-Pose,2018\n5 of 9\nlists, of training and test\n\n# a\nTrain,Test\n1,2\n3,4\n5,\n",
        "Preamble\n\nmore, of it\n1,2\n3,4\n5\n",
        ",train,test\n0,1.0,2.0\n1,3.0,4.0\n2,5.0,\n",
        '"ID of training subjects"\t"ID of test subjects"\n"00001"\t"00002"\n3\t 4\n5\t\n\n',
        "test subjects,training subjects\n2,1\n4,3\n,5\n",
        "training,test\n1,2\n3,4\n5,\n5,\n",
    ],
)
def test_id_lists(tmp_path, text):
    path = tmp_path / "ID_list.csv"
    path.write_bytes(text.encode())
    assert read_id_list(path) == (("00001", "00003", "00005"), ("00002", "00004"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, r"ID_list.csv cannot be read \(.*No such file"),
        ("", "ID_list.csv has no numbers of subjects, expected"),
        ("training,test\n", "ID_list.csv has no numbers of subjects, expected"),
        ("a,b\nc,d\n", "ID_list.csv has no numbers of subjects, expected"),
        ("training,test\n1,2\n3,x\n", "ID_list.csv line 3: 'x' is no number of a subject; "),
        ("training,test\n1,2\n2,4\n3,1\n", "has 2 subjects both in training and in test, 00001"),
        ("training,test\n1.5,2\n", "line 2: '1.5' is no number of a subject"),
        ("training,test\n123456,2\n", "line 2: '123456' is no number of a subject"),
        (b"\xff", r"ID_list.csv cannot be read \('utf-8' codec"),
    ],
)
def test_bad_id_lists(tmp_path, text, expected):
    path = tmp_path / "ID_list.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=expected) as error:
        read_id_list(path)
    assert "\n" not in str(error.value)
