import csv
import gzip
import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from gaitbench.casia_b import COLUMNS, SUBJECTS, TRAIN_SUBJECTS
from gaitbench.datamodules.casia_b import EXPECTED
from gaitbench.errors import InputError
from gaitbench.readers import casia_b as casia_b_reader
from gaitbench.readers.casia_b import casia_b_sources, read_casia_b
from gaitbench.skeleton import OPENPOSE18
from gaitbench.store import SequenceStore, StoreInfo, cached_store, fingerprint
from tests.goldens import unpacked

GOLDEN = Path(__file__).parents[1] / "golden" / "gaitgraph"
INFO = StoreInfo("casia_b", "pose", "coco17", "pixels, confidence")
CSV = unpacked("casia-b_pose_coco.csv")
HEADER = ",".join(COLUMNS)
POSE = ",".join(f"{10 + i}.5" for i in range(51))


def row(name: str = "001-nm-01-090", frame: int = 1, pose: str = POSE) -> str:
    return f"./{name}/{frame:06d}.jpg,{pose}"


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def read(path: Path, cache: Path) -> SequenceStore:
    return cached_store(
        cache,
        "casia_b",
        fingerprint(casia_b_sources(path)),
        lambda writer: read_casia_b(path, writer),
        INFO,
        source=path,
    )


def content(store: SequenceStore) -> dict[str, tuple]:
    """Sequence -> poses and all columns but where they lie."""
    found = {}
    for i, entry in enumerate(store.sequences.to_dict("records")):
        start, length = entry.pop("start"), entry.pop("length")
        name = "{subject}-{condition}-{number:02d}-{view:03d}".format(**entry)
        found[name] = (store.gather(np.array([i]), np.arange(length)[None])[0].tobytes(), entry)
        assert np.shares_memory(store.frames[start : start + length], store.frames)
    return found


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> SequenceStore:
    return read(CSV, tmp_path_factory.mktemp("cache"))


def test_facts():
    assert len(SUBJECTS) == 124
    assert sum(EXPECTED.values()) == 13_640
    assert sum(n for (condition, _), n in EXPECTED.items() if condition == "nm") == 124 * 6 * 11
    assert {name: len(people) for name, people in TRAIN_SUBJECTS.items()} == {
        "74/50": 74,
        "62/62": 62,
        "99/25": 99,
    }
    assert TRAIN_SUBJECTS["74/50"][-1] == "074"
    assert len(COLUMNS) == 52


def test_store_equals_a_naive_reading(golden):
    poses, numbers = defaultdict(list), defaultdict(list)
    with CSV.open(newline="") as file:
        for name, *values in list(csv.reader(file))[1:]:
            _, folder, frame = name.split("/")
            poses[folder].append(np.array(values, np.float64).astype(np.float32).reshape(17, 3))
            numbers[folder].append(int(frame.removesuffix(".jpg")))
    table = golden.sequences
    assert len(table) == len(poses)
    for (folder, frames), (_, entry) in zip(poses.items(), table.iterrows(), strict=True):
        subject, condition, number, view = folder.split("-")
        assert (entry["subject"], entry["condition"]) == (subject, condition)
        assert (entry["number"], entry["view"]) == (int(number), int(view))
        first, last = numbers[folder][0], numbers[folder][-1]
        assert (entry["first_frame"], entry["last_frame"]) == (first, last)
        assert entry["missing"] == last - first + 1 - len(frames)
        assert entry["empty_joints"] == np.mean(np.array(frames)[..., 2] == 0)
        found = golden.frames[entry["start"] : entry["start"] + entry["length"]]
        np.testing.assert_array_equal(found, frames)


def test_order_and_counts_are_the_reference_s(golden):
    with np.load(GOLDEN / "e2e_gaitgraph2.npz", allow_pickle=False) as arrays:
        keys, frames = arrays["keys"], arrays["frames"]
    test = golden.sequences[~golden.sequences["subject"].isin(TRAIN_SUBJECTS["74/50"])]
    found = np.stack(
        [
            test["subject"].astype(int),
            test["condition"].map({"nm": 0, "bg": 1, "cl": 2}),
            test["number"],
            test["view"],
        ],
        axis=1,
    )
    np.testing.assert_array_equal(found, keys)
    np.testing.assert_array_equal(test["length"], frames)


def golden_lines() -> list[str]:
    return CSV.read_bytes().decode().split()


@pytest.mark.parametrize("block", [1 << 12, 1 << 20])
def test_shuffled_rows_give_the_same_sequences(golden, tmp_path, monkeypatch, block):
    monkeypatch.setattr(casia_b_reader, "BLOCK", block)
    header, *lines = golden_lines()
    np.random.default_rng(0).shuffle(lines)
    store = read(write(tmp_path / "shuffled.csv", header, *lines), tmp_path)
    assert content(store) == content(golden)
    first = dict.fromkeys(line.split("/")[1] for line in lines)
    assert list(content(store)) == list(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\r\n", b"\n"),
        lambda text: text.removesuffix(b"\r\n"),
        lambda text: text.replace(b"\n./", b"\n"),
        lambda text: text.replace(b"\n./", b"\n/data/casia b/poses/"),
        lambda text: text.replace(b"\r\n", b"\r\n\r\n"),
        lambda text: text + b"\n\n",
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + (row("001-bkgrd-090").replace("/000001", "/x") + "\n").encode(),
        gzip.compress,
    ],
    ids=["lf", "unended", "bare", "deep", "blank", "blank-end", "bom", "background", "gzip"],
)
def test_spellings_give_the_same_store(golden, tmp_path, monkeypatch, change):
    monkeypatch.setattr(casia_b_reader, "BLOCK", 50_000)
    path = tmp_path / "poses"
    path.write_bytes(change(CSV.read_bytes().replace(b"\r", b"").replace(b"\n", b"\r\n")))
    store = read(path, tmp_path)
    assert store.sequences.equals(golden.sequences)
    np.testing.assert_array_equal(store.frames, golden.frames)


def test_a_block_smaller_than_a_line(golden, tmp_path, monkeypatch):
    monkeypatch.setattr(casia_b_reader, "BLOCK", 300)
    store = read(write(tmp_path / "some.csv", *golden_lines()[:100]), tmp_path)
    np.testing.assert_array_equal(store.frames, golden.frames[:99])


def test_empty_joints_and_missing_frames(tmp_path):
    values = POSE.split(",")
    values[2] = values[5] = "0"
    path = write(
        tmp_path / "a.csv", HEADER, row(frame=3), row(frame=7, pose=",".join(values)), row(frame=8)
    )
    (entry,) = read(path, tmp_path).sequences.to_dict("records")
    assert entry["empty_joints"] == pytest.approx(2 / 51)
    assert (entry["first_frame"], entry["last_frame"], entry["missing"]) == (3, 8, 3)


def test_background_rows_are_counted(tmp_path, caplog):
    lines = [row("001-bkgrd-090"), row(), row("002-bkgrd-000", 2), row(frame=2)]
    path = write(tmp_path / "a.csv", HEADER, *lines)
    with caplog.at_level(logging.INFO):
        assert len(read(path, tmp_path).frames) == 2
    assert "skipped 2 frames" in caplog.text


def split_files(folder: Path, *parts: str) -> Path:
    people = {"train": "001", "valid": "060", "test": "075"}
    for part in parts:
        names = [people[p] for p in people if p in part]
        write(folder / f"casia-b_pose_{part}.csv", HEADER, *[row(f"{n}-nm-01-000") for n in names])
    return folder


@pytest.mark.parametrize(
    ("parts", "subjects", "missing"),
    [
        (("train_valid", "test"), ["001", "060", "075"], ""),
        (("train", "valid", "test"), ["001", "060", "075"], ""),
        (("train", "valid", "train_valid", "test"), ["001", "060", "075"], ""),
        (("train", "train_valid", "test"), ["001", "060", "075"], ""),
        (("train", "test"), ["001", "075"], "lacks casia-b_pose_valid.csv"),
        (("test",), ["075"], "lacks casia-b_pose_train.csv and casia-b_pose_valid.csv"),
        (("train_valid", "train"), ["001", "060"], "lacks casia-b_pose_test.csv"),
    ],
)
def test_split_files(tmp_path, caplog, parts, subjects, missing):
    store = read(split_files(tmp_path, *parts), tmp_path / "cache")
    assert list(store.sequences["subject"]) == subjects
    assert missing in caplog.text
    assert bool(missing) == bool(caplog.records)


def test_a_folder_with_the_table(golden, tmp_path):
    split_files(tmp_path, "test")
    packed = tmp_path / "casia-b_pose_coco.csv.gz"
    packed.write_bytes(gzip.compress(CSV.read_bytes()))
    assert casia_b_sources(tmp_path) == [packed]
    np.testing.assert_array_equal(read(tmp_path, tmp_path / "cache").frames, golden.frames)
    plain = write(tmp_path / "casia-b_pose_coco.csv", HEADER)
    assert casia_b_sources(tmp_path) == [plain]


def values(column: int, text: str) -> str:
    changed = POSE.split(",")
    changed[column] = text
    return ",".join(changed)


NAMES = [f"{joint}_{axis}" for joint in OPENPOSE18.joints for axis in ("x", "y", "conf")]
BAD = {
    "empty": (b"", r"a\.csv is empty"),
    "header only": (HEADER, r"a\.csv has no row of a walking person"),
    "only background": (f"{HEADER}\n{row('001-bkgrd-000')}", "has no row of a walking person"),
    "no header": (row(), "line 1 is a row of poses, not the header"),
    "wrong column": (
        f"{HEADER.replace('left_eye_y', 'LEye_y')}\n{row()}",
        r"line 1: column 6 is 'LEye_y', expected 'left_eye_y'",
    ),
    "missing column": (
        f"{HEADER.removesuffix(',right_ankle_conf')}\n{row()}",
        r"line 1: column 52 is missing, expected 'right_ankle_conf'",
    ),
    "extra column": (f"{HEADER},score\n{row()}", r"line 1: column 53 is 'score', expected none"),
    "other skeleton": (
        f"image_name,{','.join(NAMES)}\n{row()}",
        r"column 5 is 'neck_x'.*look like the openpose18 skeleton",
    ),
    "header not UTF-8": (HEADER.encode("utf-16"), r"line 1 is not UTF-8 text"),
    "short row": (f"{HEADER}\n{row()}\n{row(frame=2)[:-5]}", r"line 3 has 50 numbers, expected 51"),
    "another joint": (f"{HEADER}\n{row()},1,2,3", r"line 2 has 54 numbers.*17 joints"),
    "text": (f"{HEADER}\n{row(pose=values(4, 'left'))}", r"line 2: left_eye_y is 'left'"),
    "underscore": (f"{HEADER}\n{row(pose=values(4, '1_0'))}", r"line 2: left_eye_y is '1_0'"),
    "no number": (f"{HEADER}\n{row(pose=values(4, ''))}", r"line 2: left_eye_y is '', expected"),
    "nan": (f"{HEADER}\n{row(pose=values(3, 'nan'))}", r"line 2: left_eye_x is 'nan'"),
    "inf": (f"{HEADER}\n{row(pose=values(50, '-inf'))}", r"line 2: right_ankle_conf is '-inf'"),
    "too large": (f"{HEADER}\n{row(pose=values(0, '1e39'))}", r"line 2: nose_x is '1e39'"),
    "not UTF-8": (f"{HEADER}\n{row()}\n".encode() + b"./\xe9", r"line 3 is not UTF-8 text"),
    "zero bytes": (f"{HEADER}\n{row()}\n".encode() + b"\0" * 40, r"line 3 has 0 numbers"),
    "one long line": (
        f"{HEADER}\n".encode() + b"1" * (1 << 20),
        r"line 2 is longer than 100000 characters",
    ),
    "after blank lines": (f"{HEADER}\n\n{row()}\n\n{row()[:-5]}", r"line 5 has 50 numbers"),
    "repeated": (
        f"{HEADER}\n{row()}\n\n{row('001-bkgrd-000')}\n{row('002-bg-01-000')}\n{row(frame=7)}\n"
        f"{row()}",
        r"a\.csv line 7 repeats frame 1 of sequence 001-nm-01-090 from .*a\.csv line 2",
    ),
    "truncated gzip": (gzip.compress(CSV.read_bytes())[:-9999], r"truncated or damaged gzip"),
    "damaged gzip": (
        gzip.compress(CSV.read_bytes())[:5000] + b"hello" * 99,
        r"truncated or damaged gzip",
    ),
}
MALFORMED = [
    "000001.jpg",
    "./01-nm-01-090/000001.jpg",
    "./001-xx-01-090/000001.jpg",
    "./001-nm-1-090/000001.jpg",
    "./001-nm-01-90/000001.jpg",
    "./1001-nm-01-090/000001.jpg",
    "./001-nm-01-090/000001",
    "./001-nm-01-090/first.jpg",
    "./001-nm-01-090/0000000001.jpg",
    "./001-nm-01-090/000001.jpg ",
    '"./001-nm-01-090/000001.jpg"',
    "",
]
BAD |= {
    f"name {name!r}": (f"{HEADER}\n{row()}\n{name},{POSE}", "line 3: image_name is .*expected <sub")
    for name in MALFORMED
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_is_named_in_one_sentence(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(casia_b_reader, "BLOCK", 100_000)
    text, message = BAD[fault]
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=message) as raised:
        read(path, tmp_path / "cache")
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".casia_b.lock"]


def test_the_line_is_counted_over_blocks_and_files(golden, tmp_path, monkeypatch):
    monkeypatch.setattr(casia_b_reader, "BLOCK", 10_000)
    lines = golden_lines()
    bad = lines.copy()
    bad[2999] += "x"
    path = write(tmp_path / "a.csv", *bad)
    with pytest.raises(InputError, match="line 3000: right_ankle_conf is"):
        read(path, tmp_path / "cache")

    split_files(tmp_path, "train_valid")
    write(tmp_path / "casia-b_pose_test.csv", *lines, row("060-nm-01-000"))
    with pytest.raises(InputError) as raised:
        read(tmp_path, tmp_path / "cache")
    assert f"test.csv line {len(lines) + 1} repeats frame 1" in str(raised.value)
    assert "train_valid.csv line 3;" in str(raised.value)


@pytest.mark.parametrize("name", ["gone.csv", "folder"])
def test_nothing_to_read(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"{name} (does not exist|holds neither)"):
        casia_b_sources(tmp_path / name)
    write(tmp_path / "folder" / "poses.csv", HEADER)
    with pytest.raises(InputError, match=r"if one of poses\.csv is meant, name that file"):
        casia_b_sources(tmp_path / "folder")


def test_a_changed_table_is_read_again(tmp_path):
    path = write(tmp_path / "a.csv", HEADER, row())
    before = read(path, tmp_path / "cache").path
    write(path, HEADER, row(), row(frame=2))
    assert len(read(path, tmp_path / "cache").frames) == 2
    assert not before.exists()


def test_a_bar_for_long_readings_on_terminals_only(golden, tmp_path, monkeypatch, capsys):
    read(CSV, tmp_path / "short")
    monkeypatch.setattr(casia_b_reader, "LONG", 1000)
    read(CSV, tmp_path / "no terminal")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert len(read(CSV, tmp_path / "terminal")) == len(golden)
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading poses" in err
