import csv
import re
from pathlib import Path

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.fvg import ANNOTATIONS, NUMBERS, SESSION_SUBJECTS, TRAIN_SUBJECTS
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic import fvg, fvg_subjects, synthesize_fvg
from gaitbench.synthetic.fvg import LABELS

JOINT = {name: joint for joint, name in enumerate(OPENPOSE18.joints)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_fvg(tmp_path_factory.mktemp("made") / "deep" / "er", 15, seed=3)


Videos = dict[tuple[str, int, int], np.ndarray]


@pytest.fixture(scope="module")
def videos(written: Path) -> Videos:
    """Subject, session and run -> poses."""
    found: Videos = {}
    with (written / ANNOTATIONS).open(newline="") as file:
        for row in csv.DictReader(file):
            assert tuple(row) == ("file_name", "track_id", "session_id", "run_id")
            pattern = r"FVG-andy/data/poses/(\d{3})_([123])_(\d\d)\.npy"
            match = re.fullmatch(pattern, row["file_name"])
            assert match
            key = (match[1], int(match[2]), int(match[3]))
            assert (int(row["track_id"]), int(row["session_id"]), int(row["run_id"])) == (
                int(key[0]),
                *key[1:],
            )
            found[key] = np.load(written / row["file_name"], allow_pickle=False)
    return found


def test_the_tree_has_the_published_form(written: Path, videos: Videos) -> None:
    assert written.name == "FVG"
    assert [p.name for p in written.parent.iterdir()] == ["FVG"]
    data = written / "FVG-andy" / "data"
    assert sorted(p.name for p in data.iterdir()) == ["annotations.csv", "poses"]
    assert len(list((data / "poses").iterdir())) == len(videos)
    assert list(videos) == sorted(videos)
    for poses in videos.values():
        assert poses.dtype == np.float32 and poses.shape[1:] == (18, 3)
        assert 60 <= len(poses) <= 110
        assert np.isfinite(poses).all()


def test_everybody_came_to_the_sessions_that_are_known(videos: Videos) -> None:
    people = fvg_subjects(15)
    assert {name for name, _, _ in videos} == set(people)
    assert set(videos) == {
        (name, session, number)
        for session, present in SESSION_SUBJECTS.items()
        for name in people
        if name in present
        for number in NUMBERS
    }
    assert {name for name, session, _ in videos if session == 3} == {
        "001",
        "002",
        "004",
        "007",
        "008",
    }


def test_people_stand_upright_and_walk_towards_the_camera(videos: Videos) -> None:
    noses: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for (_, _, number), poses in videos.items():
        place = np.median(poses, axis=0)
        assert place[JOINT["nose"], 1] > place[JOINT["neck"], 1] > 0.9  # y grows upwards
        assert place[JOINT["left_ankle"], 1] < place[JOINT["left_knee"], 1] < -0.4
        assert place[JOINT["left_shoulder"], 0] > place[JOINT["right_shoulder"], 0]
        noses[(number - 1) % 3].append(place[JOINT["nose"], 0])
    # the right side is seen, then the front, then the left side
    assert np.median(noses[0]) > 0.15
    assert abs(np.median(noses[1])) < 0.1
    assert np.median(noses[2]) < -0.15


def stride_rate(poses: np.ndarray) -> float:
    """Where the height of one ankle over the other has its strongest frequency, of 0 to 1/2."""
    lift = poses[:, JOINT["left_ankle"], 1] - poses[:, JOINT["right_ankle"], 1]
    spectrum = np.abs(np.fft.rfft(lift - lift.mean(), 4096))
    return float(spectrum[40:].argmax() + 40) / 4096


def test_some_walk_faster_and_some_slower(videos: Videos) -> None:
    ratio: dict[int, list[float]] = {5: [], 8: []}
    for (name, session, number), poses in videos.items():
        if session == 1 and number in ratio:
            ratio[number].append(stride_rate(poses) / stride_rate(videos[name, 1, 2]))
    assert 1.08 < np.median(ratio[5]) < 1.25
    assert 0.78 < np.median(ratio[8]) < 0.93


def content(tree: Path) -> dict[str, bytes]:
    files = (path for path in tree.rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files}


def test_same_seed_same_bytes_and_nobody_depends_on_who_else_is_there(tmp_path: Path) -> None:
    def make(name: str, subjects: int, seed: int = 1) -> dict[str, bytes]:
        return content(synthesize_fvg(tmp_path / name, subjects, seed))

    three = make("a", 3)
    assert three == make("b", 3)
    other = make("c", 3, seed=2)
    assert [name for name in three if three[name] == other[name]] == [ANNOTATIONS]
    two = make("d", 2)
    for name in (name for name in two if name.endswith(".npy")):
        assert two[name] == three[name]
    assert set(two[ANNOTATIONS].splitlines()) < set(three[ANNOTATIONS].splitlines())


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 20, 120, 223, 224, 225, 226])
def test_subjects_lie_on_both_sides_of_the_split(count: int) -> None:
    names = fvg_subjects(count)
    assert len(set(names)) == count
    assert names == sorted(names)
    train = [name for name in names if name in TRAIN_SUBJECTS]
    assert train == list(TRAIN_SUBJECTS[: len(train)])
    assert len(train) == pytest.approx(0.6 * count, abs=1)
    test = names[len(train) :]
    assert test[0] == "137"
    sessions = {session: [n for n in test if n in SESSION_SUBJECTS[session]] for session in (1, 2)}
    assert len(sessions[1]) + len(sessions[2]) == len(test)
    if len(test) > 1:
        assert sessions[2][0] == "148"
        assert len(sessions[1]) == min(11, (len(test) + 1) // 2)


@pytest.mark.parametrize("count", [-1, 0, 1, 227])
def test_impossible_numbers_of_subjects_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"subjects is {count}, .* choose 2 to 226"):
        synthesize_fvg(tmp_path / "x", count, 0)
    assert not (tmp_path / "x").exists()


def test_a_tree_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "FVG").mkdir()
    with pytest.raises(InputError, match="FVG is there already; name another folder"):
        synthesize_fvg(tmp_path, 2, 0)
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match="FVG cannot be written"):
        synthesize_fvg(tmp_path / "file", 2, 0)


def test_people_can_be_told_apart_but_not_easily(videos: Videos) -> None:
    """Nearest mean and deviation of poses among videos 2 of all: above chance (7 %)."""

    def statistics(poses: np.ndarray) -> np.ndarray:
        return np.concatenate([poses[..., :2].mean(axis=0), poses[..., :2].std(axis=0)]).ravel()

    first = {
        name: statistics(p)
        for (name, session, run), p in videos.items()
        if run == 2 and session < 3
    }
    names = list(first)
    right = []
    for (name, session, run), poses in videos.items():
        if session < 3 and run in (5, 8, 11):
            found = statistics(poses)
            nearest = min(names, key=lambda other, f=found: float(np.linalg.norm(f - first[other])))
            right.append(nearest == name)
    assert 0.2 < np.mean(right) < 0.9


def test_women_have_wide_hips_for_their_shoulders(written: Path) -> None:
    with (written / LABELS).open(newline="") as file:
        labels = {row["subject"]: row["Female"] for row in csv.DictReader(file)}
    assert list(labels) == fvg_subjects(15)
    ratio: dict[str, list[float]] = {"0": [], "1": []}
    for number in range(1, 80):
        subject, female = fvg._person(f"{number:03d}", 1)
        ratio["1" if female else "0"].append(
            subject.body.hip_spacing / subject.body.shoulder_spacing
        )
    assert len(ratio["1"]) > 20
    assert np.mean(ratio["1"]) > 1.2 * np.mean(ratio["0"])
