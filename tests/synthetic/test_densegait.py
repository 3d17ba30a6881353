import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitbench.densegait import ANNOTATIONS, ATTRIBUTES, VALIDATION, attribute_names
from gaitbench.errors import InputError
from gaitbench.geometry import pelvis_normalized
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic import Subject, annotated, densegait, synthesize_densegait
from gaitbench.synthetic.annotated import normalised
from gaitbench.synthetic.densegait import LENGTHS, RATES, Traits, shaped, soft_labels

JOINT = {name: joint for joint, name in enumerate(OPENPOSE18.joints)}
TRACKS = 900


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_densegait(tmp_path_factory.mktemp("made") / "deep" / "er", TRACKS, seed=3)


Table = tuple[list[dict[str, str]], list[np.ndarray]]


def read(root: Path, annotations: str) -> Table:
    with (root / annotations).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, [np.load(root / row["file_name"], allow_pickle=False) for row in rows]


@pytest.fixture(scope="module")
def train(written: Path) -> Table:
    return read(written, ANNOTATIONS)


@pytest.fixture(scope="module")
def validation(written: Path) -> Table:
    return read(written, VALIDATION)


def test_the_tree_has_the_published_form(written: Path, train: Table, validation: Table) -> None:
    assert written.name == "DenseGait"
    assert [p.name for p in written.parent.iterdir()] == ["DenseGait"]
    assert sorted(p.name for p in written.iterdir()) == ["data-2.02", "validation"]
    for folder, (rows, poses), count in (
        ("data-2.02", train, TRACKS),
        ("validation", validation, TRACKS // 5),
    ):
        assert sorted(p.name for p in (written / folder).iterdir()) == ["annotations.csv", "poses"]
        assert len(list((written / folder / "poses").iterdir())) == len(rows) == count
        for k, (row, pose) in enumerate(zip(rows, poses, strict=True), start=1):
            assert tuple(row) == ("file_name", "track_id", *attribute_names())
            assert row["file_name"] == f"{folder}/poses/{k:05d}.npy"
            assert row["track_id"] == str(k)
            labels = [float(row[name]) for name in attribute_names()]
            assert all(0 <= label <= 1 and label == round(label, 4) for label in labels)
            assert pose.dtype == np.float32 and pose.shape[1:] == (18, 3)
            assert LENGTHS[0] <= len(pose) <= LENGTHS[1]
            assert np.isfinite(pose).all()
    lengths = [len(pose) for pose in train[1]]
    assert min(lengths) < 35 and max(lengths) > 115 and 70 < np.mean(lengths) < 80


def test_people_stand_upright_and_face_as_their_labels_say(train: Table) -> None:
    for row, pose in zip(*train, strict=True):
        place = np.median(pose, axis=0)
        assert place[JOINT["nose"], 1] < place[JOINT["neck"], 1] < -0.9  # y grows downwards
        knees, ankles = (
            place[[JOINT[f"left_{part}"], JOINT[f"right_{part}"]], 1] for part in ("knee", "ankle")
        )
        assert knees.min() > 0.35 and ankles.min() > 0.85
        width = place[JOINT["left_shoulder"], 0] - place[JOINT["right_shoulder"], 0]
        assert abs(width) < 1.01
        front, side, back = (float(row[name]) > 0.97 for name in ATTRIBUTES["viewpoint"])
        if front and not side and not back:
            assert width > 0.99  # the left side of a picture shows the right of who comes
        if back and not side and not front:
            assert width < -0.99


@pytest.mark.parametrize("upwards", [False, True])
def test_normalised_is_in_units_of_the_body(upwards: bool) -> None:
    poses = np.random.default_rng(1).uniform(0, 300, (41, 18, 3))
    before = poses.copy()
    found = normalised(poses, upwards)
    expected = pelvis_normalized(torch.from_numpy(poses), OPENPOSE18).numpy()
    expected[..., 1] *= -1 if upwards else 1
    assert np.array_equal(found, expected)
    assert np.array_equal(poses, before)
    # nothing is divided by zero
    assert np.array_equal(normalised(np.ones((3, 18, 3)), upwards)[..., :2], np.zeros((3, 18, 2)))


def content(tree: Path) -> dict[str, bytes]:
    files = (path for path in tree.rglob("*") if path.is_file())
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files}


def test_same_seed_same_bytes_and_no_tracklet_depends_on_the_others(tmp_path: Path) -> None:
    def make(name: str, tracks: int, seed: int = 1) -> dict[str, bytes]:
        return content(synthesize_densegait(tmp_path / name, tracks, seed))

    ten = make("a", 10)
    assert ten == make("b", 10)
    other = make("c", 10, seed=2)
    assert ten.keys() == other.keys()
    assert all(ten[name] != other[name] for name in ten)
    three = make("d", 3)
    assert len(three) == 3 + 1 + 2  # the validation set is never empty
    for name in (name for name in three if name.endswith(".npy")):
        assert three[name] == ten[name]
    assert set(three[ANNOTATIONS].splitlines()) < set(ten[ANNOTATIONS].splitlines())
    assert ten["validation/poses/00001.npy"] != ten["data-2.02/poses/00001.npy"]


def statistics(poses: list[np.ndarray]) -> np.ndarray:
    """Mean and deviation of each coordinate over a sequence, and a one."""
    return np.array(
        [[*p[..., :2].mean(axis=0).ravel(), *p[..., :2].std(axis=0).ravel(), 1] for p in poses]
    )


def auroc(score: np.ndarray, true: np.ndarray) -> float:
    """By ranks: how often somebody of the attribute has more of it than somebody without."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    positive = int(true.sum())
    above = rank[true].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(true) - positive)))


def test_attributes_can_be_learned_from_poses(train: Table, validation: Table) -> None:
    """Ridge regression on the statistics of some tracklets, judged on others."""
    rows, poses = train[0] + validation[0], train[1] + validation[1]
    shown = np.arange(len(rows)) < 700
    x = statistics(poses)
    x[:, :-1] -= x[shown, :-1].mean(axis=0)
    x[:, :-1] /= x[shown, :-1].std(axis=0) + 1e-6
    y = np.array([[float(row[name]) for name in attribute_names()] for row in rows])
    weights = np.linalg.solve(
        x[shown].T @ x[shown] + 30 * np.eye(x.shape[1]), x[shown].T @ y[shown]
    )
    score, true = x[~shown] @ weights, y[~shown] > 0.5
    found = {
        name: auroc(score[:, i], true[:, i])
        for i, name in enumerate(attribute_names())
        if true[:, i].any()
    }
    tied = ("Female", "Front", "Side", "Back", "AgeSenior", "LongCoat", "Backpack")
    assert {name: found[name] for name in tied if found[name] <= 0.7} == {}
    untied = [found[name] for name in RATES if name in found]
    assert 0.45 < np.mean(untied) < 0.55  # nothing in a pose tells


def test_labels_are_noisy() -> None:
    """Both soft and, at times, on the wrong side."""
    rng = np.random.default_rng(5)
    drawn = [Traits.draw(rng) for _ in range(2000)]
    labels = [soft_labels(traits, rng) for traits in drawn]
    female = np.array([traits.female for traits in drawn])
    said = np.array([label["Female"] for label in labels])
    assert 0.005 < np.mean((said > 0.5) != female) < 0.05
    assert np.mean((said > 0.05) & (said < 0.95)) > 0.2
    assert said[female].std() > 0.05
    for name, rate in RATES.items():
        median = np.median([label[name] for label in labels])
        assert median < 0.1 if rate < 0.25 else median > 0.9 if rate > 0.75 else True, name
        assert np.mean([label[name] > 0.5 for label in labels]) == pytest.approx(rate, abs=0.05)


def test_each_attribute_is_either_tied_or_drawn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        degrees = Traits.draw(rng).degrees
        assert not degrees.keys() & RATES.keys()
        assert {*degrees, *RATES} == {*attribute_names()}
        assert all(0 <= degree <= 1 for degree in degrees.values())
        for category in ("body", "viewpoint", "age-group"):
            assert sum(degrees[name] for name in ATTRIBUTES[category]) == pytest.approx(1, abs=0.15)


TRAITS = Traits(female=True, years=30, bulk=0, condition="nm", backpack=False, dress=False, view=0)


@pytest.mark.parametrize(
    ("change", "measure", "grows"),
    [
        ({"female": False}, lambda s: s.body.shoulder_spacing / s.body.hip_spacing, True),
        ({"female": False}, lambda s: abs(s.gait.central["pelvic_obliquity"][1]), False),
        ({"years": 8}, lambda s: s.body.stature, False),
        ({"years": 8}, lambda s: s.gait.cadence, True),
        ({"years": 80}, lambda s: s.gait.cadence, False),
        ({"years": 80}, lambda s: s.gait.central["trunk_lean"][0].real, True),
        ({"years": 80}, lambda s: abs(s.gait.sided["hip"][0, 1]), False),
        ({"bulk": 2}, lambda s: s.gait.step_width, True),
        ({"bulk": 2}, lambda s: s.gait.arm_spread, True),
        ({"backpack": True}, lambda s: s.gait.central["trunk_lean"][0].real, True),
    ],
)
def test_traits_show_in_body_and_gait(
    change: dict[str, float], measure: Callable[[Subject], float], grows: bool
) -> None:
    subject = Subject.draw(4)
    plain = measure(shaped(subject, TRAITS))
    changed = measure(shaped(subject, Traits(**(vars(TRAITS) | change))))
    assert changed > 1.02 * plain if grows else changed < 0.98 * plain


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_too_few_tracklets_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"subjects is {count}, .* choose 2 or more"):
        synthesize_densegait(tmp_path / "x", count, 0)
    assert not (tmp_path / "x").exists()


def test_a_tree_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "DenseGait").mkdir()
    with pytest.raises(InputError, match="DenseGait is there already; name another folder"):
        synthesize_densegait(tmp_path, 2, 0)
    assert list((tmp_path / "DenseGait").iterdir()) == []


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, written = annotated.np.save, []

    def full_disk(path: Path, *args: object, **settings: object) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path)
        whole(path, *args, **settings)

    monkeypatch.setattr(annotated.np, "save", full_disk)
    with pytest.raises(InputError, match="DenseGait cannot be written: No space left on device"):
        densegait.synthesize_densegait(tmp_path, 5, 0)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []
