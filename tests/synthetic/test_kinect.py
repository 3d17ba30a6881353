"""Invented people before a Kinect, read back as the true sets are."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gaitbench.__main__ import run
from gaitbench.datamodules import Biwi, IasLab, Kgbd
from gaitbench.datamodules.kinect import KinectDataModule
from gaitbench.errors import InputError
from gaitbench.kinect import KGBD_JOINTS
from gaitbench.skeleton import KINECT20
from gaitbench.store import SequenceStore
from gaitbench.synthetic import synthesize_biwi, synthesize_ias_lab, synthesize_kgbd

Writer = Callable[[Path, int, int], Path]
JOINT = {name: joint for joint, name in enumerate(KINECT20.joints)}
SETS: dict[str, tuple[Writer, Callable[..., KinectDataModule]]] = {
    "biwi": (synthesize_biwi, Biwi),
    "ias-lab": (synthesize_ias_lab, IasLab),
    "kgbd": (synthesize_kgbd, Kgbd),
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: write(tmp_path_factory.mktemp(name) / "deep", 3, 7)
        for name, (write, _) in SETS.items()
    }


@pytest.fixture(scope="module")
def stores(
    trees: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, SequenceStore]:
    logging.disable(logging.WARNING)
    cache = str(tmp_path_factory.mktemp("cache"))
    found = {n: made(str(trees[n]), cache=cache).open_store() for n, (_, made) in SETS.items()}
    logging.disable(logging.NOTSET)
    return found


def frames(store: SequenceStore, **labels: str) -> list[np.ndarray]:
    """Poses (T, 20, 3) of each sequence with these labels."""
    table = store.sequences
    for name, value in labels.items():
        table = table[table[name] == value]
    return [
        np.asarray(store.frames[begin : begin + length])
        for begin, length in zip(table["start"], table["length"], strict=True)
    ]


def test_everybody_is_where_the_publication_has_them(stores: dict[str, SequenceStore]) -> None:
    found = {
        name: store.sequences.groupby("condition")["subject"].apply(list).to_dict()
        for name, store in stores.items()
    }
    three = ["000", "001", "002"]
    assert found["biwi"] == {"train": three, "walking": three[:2], "still": three[:2]}
    assert found["ias-lab"] == dict.fromkeys(("train", "A", "B"), three)
    assert found["kgbd"] == {"walk": [p for p in ("001", "002", "003") for _ in range(5)]}
    for store in stores.values():
        assert store.sequences["length"].min() >= 24  # a window at least after any split


def test_people_stand_upright_before_the_camera(stores: dict[str, SequenceStore]) -> None:
    for name, store in stores.items():
        poses = np.concatenate(frames(store))
        poses = poses[(poses[..., 2] > 0).all(axis=1)]
        place = np.median(poses, axis=0)
        assert 2 < place[0, 2] < 4.5, name
        height = place[:, 1]
        assert height[JOINT["head"]] > height[JOINT["shoulder_center"]] > height[JOINT["spine"]]
        assert height[JOINT["left_hip"]] > height[JOINT["left_knee"]] > height[JOINT["left_ankle"]]
        assert 1.4 < height[JOINT["head"]] - height[JOINT["right_foot"]] < 1.75
        # who comes towards the camera has the left hand on its right
        towards = poses[:10, JOINT["left_shoulder"]] - poses[:10, JOINT["right_shoulder"]]
        assert np.median(towards[:, 0]) > 0.15, name


def test_a_standing_person_hardly_moves(stores: dict[str, SequenceStore]) -> None:
    def step(condition: str) -> float:
        moved = [
            np.abs(np.diff(poses[:, JOINT["left_ankle"]], axis=0))
            for poses in frames(stores["biwi"], condition=condition)
        ]
        return float(np.median(np.concatenate(moved)))

    assert step("still") < 0.02 < 0.03 < step("walking")


def test_a_body_is_the_same_on_another_day(stores: dict[str, SequenceStore]) -> None:
    def shank(subject: str, condition: str) -> float:
        poses = np.concatenate(frames(stores["biwi"], subject=subject, condition=condition))
        ends = poses[:, JOINT["left_knee"]] - poses[:, JOINT["left_ankle"]]
        return float(np.median(np.linalg.norm(ends, axis=-1)))

    for condition in ("walking", "still"):
        other = abs(shank("000", condition) - shank("000", "train"))
        assert other < 0.04


def test_the_tracker_loses_joints_and_finds_bystanders(
    trees: dict[str, Path], stores: dict[str, SequenceStore], tmp_path: Path
) -> None:
    table = stores["biwi"].sequences
    assert table["dropped"].sum() > 0 and table["missing"].sum() > 0
    tracked = Biwi(str(trees["biwi"]), body="tracked", cache=str(tmp_path)).open_store()
    most = np.abs(tracked.frames[:, 0, 0]).max()
    assert most < 1.6  # nobody is where the bystander is


def test_a_skeleton_file_is_as_published(trees: dict[str, Path]) -> None:
    path = next(iter(sorted((trees["biwi"] / "Testing" / "Walking" / "001").iterdir())))
    assert path.name == "001b_000000-d_0_skel.txt"
    rows = np.array([line.split(",") for line in path.read_text().splitlines()], float)
    assert rows.shape == (40, 14)
    assert not rows[20:].any()
    body = rows[:20]
    assert len(set(body[:, 0])) == 1 and set(body[:, 6]) <= {0, 1, 2}
    u, v = body[:, 4], body[:, 5]
    assert np.allclose(u, 320 + 571 * body[:, 1] / body[:, 3], atol=0.1)
    assert np.allclose(v, 240 - 571 * body[:, 2] / body[:, 3], atol=0.1)
    assert body[:, 8:10].astype(int).tolist() == [
        [parent, joint] for joint, parent in enumerate(KINECT20.parents)
    ]
    turn = body[1:, 10:]
    assert np.allclose(np.linalg.norm(turn, axis=1), 1, atol=1e-3)
    # the turn lays y along the bone
    x, y, z, w = turn.T
    laid = np.stack([2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)], axis=-1)
    bone = body[1:, 1:4] - body[list(KINECT20.parents[1:]), 1:4]
    assert np.allclose(laid, bone / np.linalg.norm(bone, axis=1, keepdims=True), atol=0.02)


def test_nite_knows_fifteen_joints(
    trees: dict[str, Path], stores: dict[str, SequenceStore]
) -> None:
    path = next(iter(sorted((trees["ias-lab"] / "TestingA" / "002").iterdir())))
    assert path.name == "002_000000_0_skel.txt"
    assert len(path.read_text().splitlines()) == 20
    poses = stores["ias-lab"].frames
    assert np.array_equal(poses[:, 0], poses[:, 1])
    for side in ("left", "right"):
        for far, near in (("hand", "wrist"), ("foot", "ankle")):
            there, here = JOINT[f"{side}_{far}"], JOINT[f"{side}_{near}"]
            assert np.array_equal(poses[:, there], poses[:, here])
    assert len(np.unique(poses[0], axis=0)) == 15


def test_a_walk_of_kgbd_names_its_joints(trees: dict[str, Path]) -> None:
    folder = trees["kgbd"] / "kinect gait raw dataset" / "Person003"
    assert sorted(p.name for p in folder.iterdir()) == [f"{n}.txt" for n in range(1, 6)]
    lines = (folder / "4.txt").read_text().splitlines()
    assert [line.partition(";")[0] for line in lines[:20]] == list(KGBD_JOINTS)
    assert len(lines) % 20 == 0


@pytest.mark.parametrize("name", SETS)
def test_the_same_arguments_give_the_same_people(
    name: str, trees: dict[str, Path], tmp_path: Path
) -> None:
    again = SETS[name][0](tmp_path / "again", 2, 7)
    other = SETS[name][0](tmp_path / "other", 2, 8)
    files = sorted(p.relative_to(again) for p in again.rglob("*.txt"))
    assert len(files) >= 10
    assert all((again / p).read_bytes() == (trees[name] / p).read_bytes() for p in files[::7])
    assert any(
        (again / p).read_bytes() != (other / p).read_bytes() for p in files if (other / p).exists()
    )


@pytest.mark.parametrize(
    ("name", "number"), [("biwi", 51), ("ias-lab", 12), ("kgbd", 165), ("biwi", 1)]
)
def test_impossible_numbers_are_refused(name: str, number: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"subjects is {number}, but .* choose 2 to"):
        SETS[name][0](tmp_path / "x", number, 0)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in SETS:
        assert run(["synthesize", name, str(tmp_path), "--subjects", "2"]) == 0
        assert "2 synthetic walkers written to " in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["BIWI", "IAS", "KGBD"]
