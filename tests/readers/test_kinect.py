import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gaitbench.errors import InputError
from gaitbench.kinect import (
    BIWI,
    IAS_LAB,
    KGBD,
    KGBD_JOINTS,
    KGBD_ORDER,
    KS20,
    KS20_VIEWS,
    KinectSet,
)
from gaitbench.readers import kinect as reader
from gaitbench.readers.kinect import (
    Options,
    find_recordings,
    kinect_fingerprint,
    kinect_root,
    read_kinect,
    walker,
)
from gaitbench.skeleton import KINECT20
from gaitbench.sliding import sliding_windows
from gaitbench.store import SequenceStore, StoreInfo, cached_store
from tests.goldens import SGELA, kinect_trees
from tests.ks20_tree import write_ks20

INFO = StoreInfo("kinect", "skeleton3d", "kinect20", "metres, x y z")
EXPECTED = json.loads((SGELA / "raw_expected.json").read_text())


def read(path: Path, data: KinectSet, cache: Path, **options: str) -> SequenceStore:
    how = Options(**options)  # type: ignore[arg-type]
    return cached_store(
        cache,
        data.name,
        kinect_fingerprint(path, data, **options),
        lambda writer: read_kinect(path, data, how, writer, cache / ".parts"),
        INFO,
    )


def digest(store: SequenceStore, rows: np.ndarray, start: np.ndarray) -> str:
    windows = store.gather(rows, start[:, None] + np.arange(6))
    return hashlib.sha256(windows.astype("<f4").tobytes()).hexdigest()


@pytest.mark.parametrize("data", [BIWI, IAS_LAB], ids=["biwi", "ias"])
def test_windows_are_those_of_the_authors_program(data: KinectSet, tmp_path: Path) -> None:
    store = read(kinect_trees(), data, tmp_path)
    table = store.sequences
    for condition in data.parts:
        rows = np.flatnonzero(table["condition"] == condition)
        stride, offsets = (3, range(6)) if condition == "train" else (6, (0,))
        place, start = sliding_windows(
            table["length"].to_numpy()[rows], 6, stride, offsets, "offset-major"
        )
        expected = EXPECTED[f"{data.name}/{condition}"]
        assert table["subject"].astype(int).iloc[rows[place]].tolist() == expected["person"]
        assert digest(store, rows[place], start) == expected["sha256"]


def test_walks_of_kgbd_are_those_of_the_authors_program(tmp_path: Path) -> None:
    store = read(kinect_trees(), KGBD, tmp_path, joint_order="published")
    table = store.sequences
    part = np.full(len(table), "train", "U8")
    for person in ("001", "015"):
        walks = np.flatnonzero(table["subject"] == person)
        *gallery, probe = EXPECTED[f"KGBD/split/{person}"]
        part[walks[gallery]], part[walks[probe]] = "gallery", "probe"
    for name in ("train", "gallery", "probe"):
        rows = np.flatnonzero(part == name)
        place, start = sliding_windows(table["length"].to_numpy()[rows], 6, 6)
        expected = EXPECTED[f"KGBD/{name}"]
        assert table["subject"].astype(int).iloc[rows[place]].tolist() == expected["person"]
        assert digest(store, rows[place], start) == expected["sha256"]
    assert table["number"].tolist() == [1, 2, 3, 4, 1, 2, 3]
    # a last frame of one walk is not whole; ten at each end of each are clipped
    assert table["dropped"].tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert (table["clipped"] == 20).all()


def test_kgbd_joints_are_put_in_the_layouts_order(tmp_path: Path) -> None:
    assert sorted(KGBD_ORDER) == list(range(20))
    for joint, place in zip(KINECT20.joints, KGBD_ORDER, strict=True):
        words = set(KGBD_JOINTS[place].lower().replace("centro", "center").split("-"))
        assert words == set(joint.split("_"))
    published = read(kinect_trees(), KGBD, tmp_path / "a", joint_order="published")
    store = read(kinect_trees(), KGBD, tmp_path / "b")
    np.testing.assert_array_equal(store.frames, published.frames[:, KGBD_ORDER])
    height = dict(zip(KINECT20.joints, store.frames[..., 1].mean(axis=0), strict=True))
    assert height["head"] > height["spine"] > height["hip_center"] > height["left_knee"]


def line(x: float, state: int = 2, user: int = 2) -> str:
    return f"{user:.4f},{x:.4f},0.5000,2.0000,0,0,{state:.4f},0,0,0,0,0,0,0"


def body(x: float, state: int = 2, user: int = 2) -> str:
    """Joints at x, x + 0.01 ... of which the sixth has that state."""
    joints = (line(x + j / 100, state if j == 5 else 2, user) for j in range(20))
    return "".join(f"{joint}\n" for joint in joints)


NOBODY = "".join(f"{line(0, 0, 0)}\n" for _ in range(20)).replace("0.5", "0.0").replace("2.0", "0")


def tree(root: Path, *frames: str, numbers: list[int] | None = None) -> Path:
    """BIWI of person 022 with frames for training; two plain ones of each test."""
    for part in BIWI.parts.values():
        texts = frames if part == "Training" else (body(0), body(1))
        folder = root / part / "022"
        folder.mkdir(parents=True, exist_ok=True)
        told = numbers if numbers and part == "Training" else range(len(texts))
        for number, text in zip(told, texts, strict=True):
            (folder / f"022_{number:06d}-d_{90 * number}_skel.txt").write_text(text)
            (folder / f"022_{number:06d}-a_{90 * number}_rgb.jpg").touch()
    return root


def trained(store: SequenceStore):  # type: ignore[no-untyped-def]
    """The training rows and the x of the first joint of their frames."""
    table = store.sequences[store.sequences["condition"] == "train"]
    ends = zip(table["start"], table["start"] + table["length"], strict=True)
    return table, [store.frames[a:b, 0, 0].round(2).tolist() for a, b in ends]


def test_frames_around_a_gap_are_joined_or_cut(tmp_path: Path) -> None:
    frames = [body(0), body(1), body(2, state=0), body(3), body(4, state=1), body(5)]
    path = tree(tmp_path / "BIWI", *frames, numbers=[0, 1, 2, 3, 4, 6])
    table, x = trained(read(path, BIWI, tmp_path / "a", clip="none"))
    assert x == [[0, 1, 3, 4, 5]]
    columns = ["length", "first_frame", "last_frame", "missing", "dropped", "clipped"]
    assert table[columns].to_numpy().tolist() == [[5, 0, 6, 2, 1, 0]]
    table, x = trained(read(path, BIWI, tmp_path / "b", clip="none", gaps="cut"))
    assert x == [[0, 1], [3, 4], [5]]
    assert table[columns].to_numpy().tolist() == [
        [2, 0, 1, 0, 1, 0],
        [2, 3, 4, 0, 0, 0],
        [1, 6, 6, 0, 0, 0],
    ]
    assert (table["recording"] == 0).all()


def test_second_bodies_are_counted_and_followed(tmp_path: Path) -> None:
    frames = [
        *[body(0, user=2) + NOBODY] * 3,
        body(1, user=2) + body(-9, user=5),
        body(-8, user=5) + body(2, user=2),
        body(-7, user=5),
        NOBODY + body(4, user=7),
        body(5, user=2, state=0) + body(-6, user=5),
    ]
    path = tree(tmp_path, *frames)
    table, x = trained(read(path, BIWI, tmp_path / "a", clip="none"))
    assert x == [[0, 0, 0, 1, -8, -7]]
    assert table[["several", "not_first", "dropped"]].to_numpy().tolist() == [[2, 0, 2]]
    # user 5 was seen beside the walker, user 7 never: he is the walker under another number
    table, x = trained(read(path, BIWI, tmp_path / "b", clip="none", body="tracked"))
    assert x == [[0, 0, 0, 1, 2, 4]]
    assert table[["several", "not_first", "dropped"]].to_numpy().tolist() == [[2, 2, 2]]


def test_walker_is_who_is_there_most() -> None:
    user = np.array([[1, 2], [1, 2], [2, 1], [0, 2], [0, 0]], float)
    usable = np.array([[1, 1], [0, 1], [1, 1], [0, 1], [0, 0]], bool)
    assert walker(user, usable).tolist() == [1, 1, 0, 1, -1]
    assert walker(user, np.zeros_like(usable)).tolist() == [-1] * 5
    assert walker(user[:0], usable[:0]).tolist() == []


@given(
    arrays(np.float64, (7, 2), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0])),
    arrays(bool, (7, 2)),
)
def test_walker_is_that_of_a_loop(user: np.ndarray, usable: np.ndarray) -> None:
    seen = [user[t, b] for t in range(7) for b in range(2) if usable[t, b]]
    expected = []
    most = max(seen, key=lambda u: (seen.count(u), -seen.index(u))) if seen else None
    beside = set()
    for t in range(7):
        there = {user[t, b] for b in range(2) if usable[t, b]}
        if most in there:
            beside |= there - {most}
    for t in range(7):
        known = [b for b in range(2) if usable[t, b] and user[t, b] == most]
        perhaps = [b for b in range(2) if usable[t, b] and user[t, b] not in beside]
        expected.append((known or perhaps or [-1])[0])
    assert walker(user, usable).tolist() == expected


def test_joints_at_no_distance_are_counted_and_kept(tmp_path: Path) -> None:
    flat = body(1).replace("2.0000,0,0,2", "0.0000,0,0,2")
    store = read(tree(tmp_path, body(0), flat), BIWI, tmp_path / "c", clip="none")
    assert store.sequences["zero_joints"].tolist() == [20, 0, 0]
    assert not store.frames[1, :, 2].any()


def test_bodies_of_nothing_but_zeros_are_nobody(tmp_path: Path) -> None:
    # the tracker's states are those of a whole body, its joints lie in the camera
    zeros = "".join(
        f"{line(0).replace('0.5', '0.0').replace('2.0000,0', '0,0')}\n" for _ in range(20)
    )
    frames = [body(0), NOBODY, NOBODY + body(1), zeros, body(2, state=0), body(3)]
    table, x = trained(read(tree(tmp_path / "t", *frames), BIWI, tmp_path / "a", clip="none"))
    assert x == [[0, 3]]
    assert table[["dropped", "nobody", "missing"]].to_numpy().tolist() == [[4, 2, 4]]
    tracked = read(tmp_path / "t", BIWI, tmp_path / "b", clip="none", body="tracked")
    table, x = trained(tracked)
    assert x == [[0, 1, 3]]
    assert table[["dropped", "nobody"]].to_numpy().tolist() == [[3, 2]]

    folder = tmp_path / "kinect gait raw dataset" / "Person007"
    folder.mkdir(parents=True)
    (folder / "1.txt").write_text(walk(3).replace(";1;0.5;2", ";0;0;0"))
    store = read(tmp_path, KGBD, tmp_path / "c", clip="none")
    assert store.sequences[["length", "zero_frames", "zero_joints"]].to_numpy().tolist() == [
        [3, 1, 20]
    ]


def test_takes_of_ks20_are_told_by_their_names(tmp_path: Path) -> None:
    drawn = write_ks20(tmp_path / "KS20", frames=4, takes=(2, 10))
    for folder in ("frontal", "left_lateral"):
        (tmp_path / "KS20" / folder / "notes.md").touch()
    table = (store := read(tmp_path, KS20, tmp_path / "cache")).sequences
    assert store.frames.shape == (5 * 2 * 2 * 4, 25, 3)
    keys = [(view, take, person) for view in KS20_VIEWS for person in (7, 12) for take in (2, 10)]
    told = [(view, int(take), int(person)) for view, take, person in keys]
    assert table["subject"].tolist() == [f"{person:03d}" for _, _, person in told]
    assert table["number"].tolist() == [take for _, take, _ in told]
    assert table["view"].tolist() == [KS20_VIEWS[view] for view, _, _ in told]
    for row, key in enumerate(told):
        frames = store.frames[table["start"][row] : table["start"][row] + 4]
        np.testing.assert_array_equal(frames, drawn[key].astype(np.float32))


def test_frames_of_ks20_without_anybody_are_left_out(tmp_path: Path) -> None:
    write_ks20(tmp_path, people=(3, 4), takes=(1,), frames=5)
    zeros = "1,0,0,0.000,2\n" * 25
    for time in (33, 66):
        (tmp_path / "frontal" / f"gc1_body3_{time}_skeleton.txt").write_text(zeros)
    for time in range(0, 133, 33):
        (tmp_path / "frontal" / f"gc1_body4_{time}_skeleton.txt").write_text(zeros)
    columns = ["length", "first_frame", "last_frame", "missing", "dropped", "nobody"]
    for gaps, expected in (
        ("join", [[3, 0, 4, 2, 2, 2]]),
        ("cut", [[1, 0, 0, 0, 2, 2], [2, 3, 4, 0, 0, 0]]),
    ):
        store = read(tmp_path, KS20, tmp_path / gaps, gaps=gaps)
        frontal = store.sequences[store.sequences["view"] == 90]
        assert frontal[columns].to_numpy().tolist() == expected
        assert (store.path / "skipped.csv").read_text().splitlines()[1:] == [
            "6,frontal/gc1_body4,is left out: no frame remains between its ends"
        ]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("gc1_body7_0_a.txt", "1,0,0,1\n" * 24, "has 24 lines, expected 25, one a joint; mend"),
        ("gc1_body7_0_a.txt", "", "has 0 lines, expected 25"),
        ("gc1_body7_0_a.txt", "1,0,0,1\n" * 24 + "1,0,0\n", "line 25 has 3 values, expected 4"),
        ("gc1_body7_0_a.txt", "0,0,1\n" * 25, "line 1 has 3 values, expected 4"),
        ("gc1_body7_0_a.txt", "1,0,nan,1\n" * 25, "line 1 has 'nan' as value 3, expected a number"),
        ("gc1_body7_0_a.txt", "1,0,x,1\n" * 25, "line 1 has 'x' as value 3, expected a number"),
        ("body7_0.txt", "", "is no frame like gc1_body7_1234.txt; rename it or move it away"),
        (
            "gc1_body7_33_twice.txt",
            "",
            "gc1_body7_33_skeleton.txt are of the same person, take and time",
        ),
    ],
)
def test_faulty_frames_of_ks20_are_named(name: str, text: str, fault: str, tmp_path: Path) -> None:
    write_ks20(tmp_path, people=(7,), takes=(1,), frames=2)
    (tmp_path / "frontal" / "gc1_body7_0_skeleton.txt").unlink()
    (tmp_path / "frontal" / name).write_text(text)
    with pytest.raises(InputError, match=rf"frontal/{name} .*{fault}") as error:
        read(tmp_path, KS20, tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_recordings_without_a_frame_are_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tree(tmp_path, *[body(x) for x in range(25)])
    with caplog.at_level(logging.WARNING):
        store = read(path, BIWI, tmp_path / "c")
    _, x = trained(store)
    assert x == [[10, 11, 12, 13, 14]]
    assert len(store) == 1
    assert "left out 2, listed in skipped.csv; the first: Testing/Walking/022 is" in caplog.text
    listed = (store.path / "skipped.csv").read_text().splitlines()
    assert listed[1:] == [
        "2,Testing/Walking/022,is left out: no frame with a whole body remains between its ends",
        "3,Testing/Still/022,is left out: no frame with a whole body remains between its ends",
    ]


FAULTS = [
    (body(0)[:-5], r"line 20 has 12 values, expected 14"),
    (body(0).partition("\n")[2], r"has 19 lines, expected 20 or 40, one a joint"),
    (body(0) * 3, r"has 60 lines, expected 20 or 40"),
    ("", r"has 0 lines, expected 20 or 40"),
    (body(0).replace("0.1900", "nan"), r"line 20 has 'nan' as value 2, expected a number"),
    (body(0).replace("0.1900", "1e99"), r"line 20 has '1e99' as value 2, expected a number"),
    (body(0).replace("0.1900", "wide"), r"line 20 has 'wide' as value 2, expected a number"),
    (body(0).replace("0.1900", '"a"'), r"""line 20 has '"a"' as value 2, expected a number"""),
    (body(0).replace("0.1900", "[0]"), r"line 20 has '\[0\]' as value 2, expected a number"),
    (body(0, state=3), r"line 6 has tracking state '3.0000', expected 0, 1 or 2"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_faulty_frames_are_named(text: str, fault: str, tmp_path: Path) -> None:
    path = tree(tmp_path, body(0), text)
    with pytest.raises(InputError, match=rf"022_000001-d_90_skel\.txt {fault}.*; mend it") as e:
        read(path, BIWI, tmp_path / "cache")
    assert "\n" not in str(e.value)
    assert not list((tmp_path / "cache").glob("BIWI*"))


def walk(frames: int) -> str:
    return "".join(f"{name};{f};0.5;2\n" for f in range(frames) for name in KGBD_JOINTS)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (walk(2).replace("Spine;1", "Tail;1"), "line 31 begins with 'Tail', expected Spine"),
        (walk(2).replace("Spine;1;0.5", "Spine;1"), "line 31 has 2 values after the joint's name"),
        (walk(2).replace("Spine;1;0.5", "Spine;1;inf"), "line 31 has 'inf', expected a number"),
        (walk(2).replace("Spine;1;0.5", "Spine;1;0,5"), "line 31 has '0,5', expected a number"),
        (walk(2).partition("\n")[2], "line 1 begins with 'Shoulder-Center', expected Head"),
    ],
)
def test_faulty_walks_are_named(text: str, fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "kinect gait raw dataset" / "Person007"
    folder.mkdir(parents=True)
    (folder / "1.txt").write_text(text)
    with pytest.raises(InputError, match=rf"Person007/1\.txt {fault}.*; mend it, or copy"):
        read(tmp_path, KGBD, tmp_path / "cache")


PIECES = st.sampled_from([b"", b",", b";", b"\n", b"nan", b"-", b"1e999", b"00", b"\xff", b"true"])


@pytest.mark.parametrize("kind", ["frame", "walk", "points"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_in_a_file_is_read_or_refused(
    kind: str, data: st.DataObject, tmp_path: Path
) -> None:
    texts = {"frame": body(0), "walk": walk(1), "points": "1,0.5,-0.25,3.0\n" * 25}
    content = texts[kind].encode()
    begin = data.draw(st.integers(0, len(content)))
    end = begin + data.draw(st.integers(0, 9))
    file = tmp_path / "file.txt"
    file.write_bytes(content[:begin] + data.draw(PIECES) + content[end:])
    try:
        if kind == "frame":
            found = reader._skeleton(str(file))
        elif kind == "points":
            found = reader._points(str(file))
        else:
            found, _ = reader._walk(str(file))
    except InputError as error:
        assert "\n" not in str(error)
        assert "not known here" not in str(error)
    else:
        assert np.isfinite(found).all()


def test_a_read_that_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree(tmp_path / "BIWI", *[body(x) for x in range(3)])
    bad = path / "Testing/Still/022/022_000001-d_90_skel.txt"
    bad.write_text("0")
    with pytest.raises(InputError, match="has 1 lines"):
        read(path, BIWI, tmp_path / "cache", clip="none")
    bad.write_text(body(1))
    os.utime(bad.parent, (1, 1))
    seen = []
    plain = reader._read_frames

    def watched(options, item):  # type: ignore[no-untyped-def]
        seen.append(item[1].path)
        return plain(options, item)

    monkeypatch.setattr(reader, "_read_frames", watched)
    store = read(path, BIWI, tmp_path / "cache", clip="none")
    assert len(store) == 3
    assert seen == [str(bad.parent)]


def test_trees_are_known_by_their_folders(tmp_path: Path) -> None:
    path = tree(tmp_path / "BIWI", body(0))
    assert kinect_root(tmp_path, BIWI) == kinect_root(path, BIWI) == path
    with pytest.raises(InputError, match=r"is not IAS as published: .* no folder Training nor Te"):
        kinect_root(tmp_path / "nowhere", IAS_LAB)
    (path / "Training" / "notes.txt").touch()
    (path / "Training" / "022").rename(path / "Training" / "022b")
    assert [r.subject for r in find_recordings(path, BIWI)] == ["022"] * 3
    (path / "Training" / "022").mkdir()
    with pytest.raises(InputError, match=r"022b and .*/022 are the same person"):
        find_recordings(path, BIWI)
    (path / "Training" / "022").rename(path / "Training" / "old")
    with pytest.raises(InputError, match=r"Training/old is no folder of a person like 001"):
        find_recordings(path, BIWI)
    shutil.rmtree(path / "Testing" / "Still")
    with pytest.raises(InputError, match=r"BIWI has no folder Testing/Still; BIWI has Training, "):
        kinect_root(tmp_path, BIWI)


def test_a_frame_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tree(tmp_path, body(0), body(1))
    folder = path / "Training" / "022"
    (folder / "022_000001-d_90_skel.txt").rename(folder / "023_000001-d_90_skel.txt")
    with pytest.raises(InputError, match=r"is a frame of person 023 in the folder of 022; move"):
        read(path, BIWI, tmp_path / "cache")


def test_frames_without_numbers_count_by_their_place(tmp_path: Path) -> None:
    path = tree(tmp_path, body(0), body(1, state=0), body(2))
    for file in (path / "Training" / "022").glob("*skel.txt"):
        file.rename(file.with_name(f"frame{file.name[9]}_skel.txt"))
    table, x = trained(read(path, BIWI, tmp_path / "c", clip="none", gaps="cut"))
    assert x == [[0], [2]]
    assert table["first_frame"].tolist() == [0, 2]


def test_fingerprint_notices_frames_and_settings(tmp_path: Path) -> None:
    path = tree(tmp_path, body(0), body(1))
    before = kinect_fingerprint(path, BIWI, body="first")
    assert kinect_fingerprint(path, BIWI, body="first") == before
    assert kinect_fingerprint(path, BIWI, body="tracked") != before
    (path / "Training/022/022_000001-d_90_skel.txt").unlink()
    assert kinect_fingerprint(path, BIWI, body="first") != before
