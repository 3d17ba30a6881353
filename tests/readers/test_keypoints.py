"""Folders of keypoints into a store."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.readers import keypoints
from gaitbench.readers.keypoints import (
    Label,
    keypoint_fingerprint,
    keypoint_layout,
    read_keypoints,
    read_sequence_labels,
)
from gaitbench.skeleton import COCO17, OPENPOSE18
from gaitbench.store import SequenceStore, StoreInfo, cached_store

Poses = NDArray[np.float32]


def walk(frames: int, joints: int = 17, x: float = 100.0, height: float = 200.0) -> Poses:
    """(T, V, 3) somebody who moves to the right by 3 pixels a frame."""
    random = np.random.default_rng(int(x))
    body = np.stack((x + random.random(joints) * 40, random.random(joints) * height), axis=1)
    poses = np.repeat(body[None], frames, axis=0)
    poses[:, 0, 1], poses[:, 1, 1] = 0, height
    poses[..., 0] += 3 * np.arange(frames)[:, None]
    return np.concatenate((poses, np.full((frames, joints, 1), 0.75)), axis=2).astype(np.float32)


def openpose(folder: Path, people: list[list[Poses]], name: str = "", first: int = 0) -> None:
    """A file a frame; ``people`` holds who is listed in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(people, start=first):
        content = [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()} for p in frame]
        path = folder / f"{name}{i:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": content}))


def alphapose(path: Path, entries: list[tuple[int, int, Poses]]) -> None:
    """One file of (frame, track, pose)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = [
        {"image_id": f"{frame}.jpg", "idx": track, "keypoints": pose.ravel().tolist()}
        for frame, track, pose in entries
    ]
    path.write_text(json.dumps(content))


def store_of(
    path: Path, cache: Path, person: str = "smoothest", labels: Path | None = None
) -> SequenceStore:
    layout = keypoint_layout(path)
    info = StoreInfo("own", "pose", layout.name, "pixels, confidence")
    key = keypoint_fingerprint(path, labels, person=person)
    keep = cache / ".own.parts"
    return cached_store(
        cache,
        "own",
        key,
        lambda writer: read_keypoints(path, person, layout, labels, writer, keep),
        info,
        path,
    )


def sequence(store: SequenceStore, name: str) -> tuple[Poses, Any]:
    (row,) = np.flatnonzero(store.sequences["sequence"] == name)
    found = store.sequences.iloc[row]
    return store.frames[found["start"] : found["start"] + found["length"]], found


def test_frames_of_openpose_make_up_videos(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By folder and by what stands before the number; frames without anybody are skipped."""
    one, two, three = (walk(5, 25, x) for x in (10, 20, 30))
    source = tmp_path / "src"
    openpose(source / "hall", [[], *([p] for p in one[:3]), [], [one[4]]], first=7)
    openpose(source / "street", [[p] for p in two], "left_")
    openpose(source / "street", [[p] for p in three], "right_")
    openpose(source / "nobody", [[], []])
    store = store_of(source, tmp_path / "cache")
    assert store.sequences["sequence"].tolist() == ["hall", "street/left", "street/right"]
    assert store.info.skeleton == OPENPOSE18.name
    assert "000000000000_keypoints.json shows nobody and is left out" in caplog.text
    kept = [*range(8), *range(9, 19)]
    frames, row = sequence(store, "hall")
    np.testing.assert_array_equal(frames, one[[0, 1, 2, 4]][:, kept])
    assert (row["first_frame"], row["last_frame"], row["missing"]) == (8, 12, 1)
    np.testing.assert_array_equal(sequence(store, "street/right")[0], three[:, kept])
    for column, value in Label("street/right")._asdict().items():
        assert sequence(store, "street/right")[1][column] == value


def test_the_only_video_has_the_name_of_the_folder(tmp_path: Path) -> None:
    openpose(tmp_path / "monday", [[p] for p in walk(3, 18)])
    store = store_of(tmp_path / "monday", tmp_path / "cache")
    assert store.sequences["sequence"].tolist() == ["monday"]


@pytest.mark.parametrize("person", ["smoothest", "largest", "first"])
def test_one_person_is_followed_where_there_are_no_tracks(person: str, tmp_path: Path) -> None:
    """The tall walker, whoever is listed first; `first` takes who is."""
    walker, bystander = walk(9, 25), walk(9, 25, 600.0, 90.0)
    people = [
        [w, b] if i % 3 else [b, w] for i, (w, b) in enumerate(zip(walker, bystander, strict=True))
    ]
    openpose(tmp_path / "src", people)
    frames, row = sequence(store_of(tmp_path / "src", tmp_path / "cache", person), "src")
    turn = np.arange(9)[:, None, None] % 3 == 0
    expected = np.where(turn, bystander, walker) if person == "first" else walker
    np.testing.assert_array_equal(frames, expected[:, [*range(8), *range(9, 19)]])
    assert row["followed"]
    assert row["several"] == 9
    assert row["not_first"] == (0 if person == "first" else 3)


def test_each_track_is_a_sequence(tmp_path: Path) -> None:
    one, two = walk(6), walk(6, x=500.0)
    entries = [(i, 3, one[i]) for i in range(6)] + [(i, 12, two[i]) for i in (5, 1, 2)]
    alphapose(tmp_path / "walk.json", entries)
    store = store_of(tmp_path / "walk.json", tmp_path / "cache")
    assert store.sequences["sequence"].tolist() == ["walk#3", "walk#12"]
    np.testing.assert_array_equal(sequence(store, "walk#3")[0], one)
    frames, row = sequence(store, "walk#12")
    np.testing.assert_array_equal(frames, two[[1, 2, 5]])
    assert (row["missing"], row["followed"], row["several"]) == (2, False, 0)


def test_numbers_that_are_no_tracks_are_not_taken_for_tracks(tmp_path: Path) -> None:
    """AlphaPose without a tracker gives everybody the same."""
    one, two = walk(4), walk(4, x=500.0, height=80.0)
    alphapose(tmp_path / "walk.json", [(i, 0, p[i]) for i in range(4) for p in (two, one)])
    store = store_of(tmp_path / "walk.json", tmp_path / "cache")
    frames, row = sequence(store, "walk")
    np.testing.assert_array_equal(frames, one)
    assert row["followed"]


def test_who_comes_after_a_while_has_a_sequence_of_their_own(tmp_path: Path) -> None:
    """Only where nobody tells who it is: not with tracks, nor in arrays."""
    poses = walk(60, 18)
    poses[10:36, :, 2] = 0  # 26 frames
    poses[40:65, :, 2] = 0  # to the end
    poses[37, :, 2] = 0
    source = tmp_path / "src"
    openpose(source / "a", [[p] for p in poses])
    np.save(source / "b.npy", poses)
    alphapose(source / "c.json", [(i, 5, p) for i, p in enumerate(poses)])
    store = store_of(source, tmp_path / "cache")
    columns = ["sequence", "first_frame", "last_frame", "length", "followed"]
    assert store.sequences[columns].to_numpy().tolist() == [
        ["b", 0, 39, 13, False],
        ["c#5", 0, 39, 13, False],
        ["a~1", 0, 9, 10, True],
        ["a~2", 36, 39, 3, True],
    ]


def test_numbers_of_frames_may_be_times(tmp_path: Path) -> None:
    """In milliseconds, 40 a frame."""
    source = tmp_path / "hall"
    openpose(source, [[p] for p in walk(9, 18)])
    for i in range(9):
        (source / f"{i:012d}_keypoints.json").rename(source / f"{1700000000000 + 40 * i}.json")
    store = store_of(source, tmp_path / "cache")
    assert store.sequences["sequence"].tolist() == ["hall"]
    assert store.sequences["length"].tolist() == [9]


def test_repeated_frames_of_a_table_are_followed(tmp_path: Path) -> None:
    joints = [f"{joint}_{axis}" for joint in COCO17.joints for axis in ("x", "y", "conf")]
    one, two = walk(3), walk(3, x=500.0, height=80.0)
    rows = [",".join(map(str, ["hall", i, *p.ravel()])) for i in range(3) for p in (two[i], one[i])]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(["sequence", "frame", *joints]), *rows]))
    frames, row = sequence(store_of(path, tmp_path / "cache"), "hall")
    np.testing.assert_array_equal(frames, one)
    assert row["followed"]


def test_numbered_files_may_be_whole_videos(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for i in range(3):
        alphapose(source / "a" / f"cam_{i}.json", [(f, 1, p) for f, p in enumerate(walk(2 + i))])
    np.save(source / "b.npy", walk(7))
    np.savez(source / "c.npz", x=walk(8), y=walk(9))
    (source / "readme.txt").write_text("not of interest")
    (source / "casia-b_labels.csv").write_text("subject,Female\nAda,1\n")
    store = store_of(source, tmp_path / "cache")
    assert dict(zip(store.sequences["sequence"], store.sequences["length"], strict=True)) == {
        **{f"a/cam_{i}#1": 2 + i for i in range(3)},
        "b": 7,
        "c/x": 8,
        "c/y": 9,
    }


def test_names_and_labels_tell_who_it_is(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    np.savez(source / "a.npz", **{"001-nm-02-090": walk(2), "z": walk(3)})
    np.save(source / "b.npy", walk(4))
    labels = source / "labels.csv"
    labels.write_text("number,sequence,subject\n7,b,Ada\n,a/001-nm-02-090,\n")
    store = store_of(source, tmp_path / "cache", labels=labels)
    rows = store.sequences[["subject", "condition", "number", "view"]].to_numpy().tolist()
    assert rows == [["001", "nm", 2, 90], ["a/z", "walk", 0, 0], ["Ada", "walk", 7, 0]]
    labels.write_text("sequence,subject\nb,Bo\n")  # another table, another store
    store = store_of(source, tmp_path / "cache", labels=labels)
    assert store.sequences["subject"].tolist() == ["001", "a/z", "Bo"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no table of sequences .No columns"),
        ("name,subject\na,b\n", "has the columns name, subject, expected sequence and any of"),
        ("sequence\na\n", "expected sequence and any of subject"),
        ("sequence,view\na,90\na,91\n", "line 3: sequence 'a' comes twice"),
        ("sequence,view\na,left\n", "line 2: view is 'left', expected a whole number"),
    ],
)
def test_broken_labels_are_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_sequence_labels(tmp_path / "labels.csv")


def test_what_cannot_be_a_source_is_named(tmp_path: Path) -> None:
    source = tmp_path / "src"

    def refused() -> str:
        with pytest.raises(InputError) as caught:
            store_of(source, tmp_path / "cache")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "does not exist" in refused()
    source.mkdir()
    assert "holds no file of keypoints" in refused()
    assert "it holds nothing" in refused()
    (source / "walk.mp4").write_bytes(b"0")
    assert "it holds walk.mp4" in refused()
    openpose(source / "a", [[], []])
    assert "shows nobody in any of its 2 files" in refused()
    np.save(source / "b.npy", walk(2))
    np.save(source / "c.npy", walk(2, 18))
    assert f"{source / 'c.npy'} holds poses of openpose18, other files" in refused()
    (source / "c.npy").unlink()
    np.savez(source / "b.npz", walk=walk(2))
    assert "has b.npy and b.npz, whose sequences would have the same name" in refused()
    (source / "b.npz").unlink()
    assert keypoint_layout(source) == COCO17


def test_a_stopped_reading_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keypoints, "FILES", 1)
    source, cache = tmp_path / "src", tmp_path / "cache"
    source.mkdir()
    for i in range(4):
        np.save(source / f"{'abcd'[i]}.npy", walk(3 + i))
    (source / "d.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="truncated or damaged"):
        store_of(source, cache)
    assert len(list((cache / ".own.parts").glob("*.npz"))) == 3
    np.save(source / "d.npy", walk(6))
    with caplog.at_level(logging.INFO):
        store = store_of(source, cache)
    assert "3 of 4 parts are there already" in caplog.text
    assert store.sequences["length"].tolist() == [3, 4, 5, 6]
    monkeypatch.setattr(keypoints, "FILES", 256)
    whole = store_of(source, tmp_path / "other")
    np.testing.assert_array_equal(store.frames, whole.frames)
    assert store.sequences.equals(whole.sequences)
