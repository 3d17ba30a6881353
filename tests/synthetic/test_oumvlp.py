import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.oumvlp import IMAGE, KEYPOINTS, VIEWS
from gaitbench.readers.oumvlp import frame_number, read_id_list
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic import oumvlp, synthesize_oumvlp

NECK, NOSE, ANKLE = (OPENPOSE18.joints.index(name) for name in ("neck", "nose", "left_ankle"))
Tree = dict[str, dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_oumvlp(tmp_path_factory.mktemp("made") / "deep" / "er", 6, seed=3)


@pytest.fixture(scope="module")
def tree(written: Path) -> Tree:
    """Recording's folder -> file name -> its people."""
    found: Tree = {}
    for path in sorted(written.glob("*/*/*/*")):
        content = json.loads(path.read_bytes())
        assert content.keys() == {"version", "people"}
        folder = path.parent.relative_to(written).as_posix()
        found.setdefault(folder, {})[path.name] = content["people"]
    return found


def poses(recording: dict[str, list[dict[str, Any]]]) -> np.ndarray:
    """(K, 18, 3) of the frames that list one person."""
    people = [people[0]["pose_keypoints_2d"] for people in recording.values() if len(people) == 1]
    return np.array(people).reshape(-1, 18, 3)


def test_the_tree_has_the_published_form(written: Path, tree: Tree) -> None:
    assert written.name == "OUMVLP-Pose"
    assert sorted(p.name for p in written.iterdir()) == ["ID_list.csv", "alphapose", "openpose"]
    assert [p.name for p in written.parent.iterdir()] == ["OUMVLP-Pose"]
    folders = Counter()
    for folder, recording in tree.items():
        kind, subject, name = folder.split("/")
        assert kind in KEYPOINTS and re.fullmatch("0000[1-6]", subject)
        view, number = name.split("_")
        assert int(view) in VIEWS and number in ("00", "01") and len(view) == 3
        folders[kind] += 1
        numbers = [frame_number(file) for file in recording]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        for file in recording:
            first = rf"00001-{number}_{view}-\d{{4}}\.json"
            assert re.fullmatch(first if subject == "00001" else r"\d{4}_keypoints\.json", file)
    # a few recordings are missing, of both estimators
    assert len(set(folders.values())) == 1
    assert 0.95 * 6 * 28 < folders["openpose"] <= 6 * 28


def test_odd_people_train(written: Path) -> None:
    assert (written / "ID_list.csv").read_text() == "training,test\n1,2\n3,4\n5,6\n"
    train, test = read_id_list(written / "ID_list.csv")
    assert (train, test) == (("00001", "00003", "00005"), ("00002", "00004", "00006"))


def test_people_and_their_numbers(tree: Tree) -> None:
    listed: Counter[int] = Counter()
    lost = 0
    for recording in tree.values():
        assert 17 <= len(recording) <= 35
        for people in recording.values():
            listed[len(people)] += 1
            for person in people:
                assert person.keys() == {"person_id", "pose_keypoints_2d", "face_keypoints_2d"}
                values = np.array(person["pose_keypoints_2d"]).reshape(18, 3)
                assert np.array_equal(values, values.round(3))
                empty = (values == 0).all(axis=1)
                lost += int(empty.sum())
                x, y, confidence = values[~empty].T
                assert ((x > 0) & (x < IMAGE[0]) & (y > 0) & (y < IMAGE[1])).all()
                assert confidence.min() >= 0.3 and confidence.max() < 1
    frames = listed.total()
    assert set(listed) == {0, 1, 2}
    assert 0.005 < listed[0] / frames < 0.1
    assert 0.001 < listed[2] / frames < 0.1
    assert 0.005 < lost / frames / 18 < 0.06


def test_somebody_else_is_sometimes_listed_first(tree: Tree) -> None:
    """Where two are listed, one of them goes on from the frame before, the other does not."""
    place: Counter[int] = Counter()
    for recording in tree.values():
        before = None
        for people in recording.values():
            centers = [
                np.mean([v for v in np.reshape(p["pose_keypoints_2d"], (18, 3)) if v[2]], axis=0)
                for p in people
            ]
            if len(people) == 2 and before is not None:
                place[int(np.argmin([np.linalg.norm(c - before) for c in centers]))] += 1
            before = centers[0] if len(people) == 1 else None
    assert min(place[0], place[1]) >= 1


def test_people_are_as_large_as_published(tree: Tree) -> None:
    """Means and spread that the published network's input statistics tell: 460 and 81 pixels."""
    everybody = np.concatenate([poses(recording) for recording in tree.values()])
    whole = everybody[(everybody[..., 2] > 0).all(axis=1)]
    assert 430 < whole[..., 1].mean() < 500
    assert 600 < whole[..., 0].mean() < 700
    assert (whole[..., 1] - whole[:, NECK, None, 1]).std() == pytest.approx(81, rel=0.1)


def test_views_are_where_they_should_be(tree: Tree) -> None:
    grows, moves = {}, {}
    for view in (0, 90, 180, 270):
        tall, ways = [], []
        for subject in range(2, 7):
            recording = tree.get(f"alphapose/{subject:05d}/{view:03d}_00")
            if recording is None:
                continue
            pose = poses(recording)
            height = pose[:, ANKLE, 1] - pose[:, NOSE, 1]
            half = len(pose) // 2
            tall.append(np.median(height[half:]) / np.median(height[:half]))
            ways.append(pose[-1, NECK, 0] - pose[0, NECK, 0])
        grows[view], moves[view] = np.median(tall), np.median(ways)
    assert grows[0] > 1.03 and grows[180] < 0.97  # towards the camera, and away
    assert moves[90] < -100 and moves[270] > 100


def test_alphapose_errs_less(tree: Tree) -> None:
    shaking = {}
    for kind in KEYPOINTS:
        steps = [
            np.diff(poses(recording)[..., :2], n=3, axis=0)
            for folder, recording in tree.items()
            if folder.startswith(kind)
        ]
        shaking[kind] = np.median(np.abs(np.concatenate(steps)))
    assert shaking["alphapose"] < 0.85 * shaking["openpose"]


def content(tree: Path, *parts: str) -> dict[str, bytes]:
    files = (path for path in tree.joinpath(*parts).rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files}


def test_same_seed_same_bytes_and_nobody_depends_on_who_else_is_there(tmp_path: Path) -> None:
    def make(name: str, subjects: int, seed: int = 1, **settings: Any) -> Path:
        return synthesize_oumvlp(tmp_path / name, subjects, seed, views=(0, 195), **settings)

    three = make("a", 3)
    assert content(three) == content(make("b", 3))
    assert content(three, "openpose") != content(make("c", 3, seed=2), "openpose")
    two = make("d", 2)
    for kind in KEYPOINTS:
        for subject in ("00001", "00002"):
            assert content(two, kind, subject) == content(three, kind, subject)
    alone = make("e", 2, keypoints=("alphapose",))
    assert content(alone, "alphapose") == content(two, "alphapose")
    assert not (alone / "openpose").exists()


@pytest.mark.parametrize("count", [-1, 0, 1, 10_308])
def test_impossible_numbers_of_subjects_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"subjects is {count}, .* choose 2 to 10307"):
        synthesize_oumvlp(tmp_path / "x", count, 0)
    assert not (tmp_path / "x").exists()


def test_a_tree_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "OUMVLP-Pose").mkdir()
    (tmp_path / "OUMVLP-Pose" / "real").write_text("data")
    with pytest.raises(InputError, match="OUMVLP-Pose is there already; name another folder"):
        synthesize_oumvlp(tmp_path, 2, 0)
    assert [p.name for p in (tmp_path / "OUMVLP-Pose").iterdir()] == ["real"]


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, written = oumvlp._write_recording, []

    def full_disk(folder: Path, recording: oumvlp.Recording) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(folder)
        whole(folder, recording)

    monkeypatch.setattr(oumvlp, "_write_recording", full_disk)
    with pytest.raises(InputError, match="OUMVLP-Pose cannot be written: No space left on device"):
        synthesize_oumvlp(tmp_path, 2, 0)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match="cannot be written"):
        synthesize_oumvlp(tmp_path / "file", 2, 0)
