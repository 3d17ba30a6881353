import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from gaitbench.casia_b import VIEWS
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17
from gaitbench.synthetic import (
    COCO_JOINTS,
    JOINTS,
    Camera,
    Detector,
    Subject,
    casia_b_subjects,
    detect,
    project,
    synthesize_casia_b,
    walk,
)

SMALL = {"nm": (1, 2), "bg": (1,)}


def joint(joints: np.ndarray, name: str) -> np.ndarray:
    return joints[..., JOINTS.index(name), :]


def lean(upper: np.ndarray, lower: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Angle of a segment to the vertical, degrees, its lower end forward positive."""
    along = lower - upper
    return np.degrees(np.arctan2(along @ ahead, -along[..., 2]))


def heading(joints: np.ndarray) -> np.ndarray:
    way = joint(joints, "pelvis")[-1] - joint(joints, "pelvis")[0]
    way[2] = 0
    return way / np.linalg.norm(way)


def runs(mask: np.ndarray, shortest: int) -> list[np.ndarray]:
    frames = np.flatnonzero(mask)
    pieces = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [piece for piece in pieces if len(piece) >= shortest]


@pytest.fixture(scope="module")
def walks() -> list[tuple[Subject, np.ndarray]]:
    people = [Subject.draw((5, k)) for k in range(16)]
    return [(person, walk(person, "nm", (5, k, 0))) for k, person in enumerate(people)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_casia_b(tmp_path_factory.mktemp("made") / "deep" / "er", 5, seed=3)


@pytest.fixture(scope="module")
def rows(written: Path) -> list[list[str]]:
    with open(written, newline="") as file:
        return list(csv.reader(file))


# --- people -------------------------------------------------------------------------------------


def test_segments_keep_their_length_and_their_proportion_to_stature(
    walks: list[tuple[Subject, np.ndarray]],
) -> None:
    # fractions of stature, Drillis and Contini 1966
    expected = {
        ("hip", "knee"): 0.245,
        ("knee", "ankle"): 0.246,
        ("shoulder", "elbow"): 0.186,
        ("elbow", "wrist"): 0.146,
    }
    found: dict[tuple[str, str], list[float]] = {pair: [] for pair in expected}
    for person, joints in walks:
        for upper, lower in expected:
            for side in ("left", "right"):
                length = np.linalg.norm(
                    joint(joints, f"{side}_{upper}") - joint(joints, f"{side}_{lower}"), axis=-1
                )
                assert np.ptp(length) < 1e-9
                found[upper, lower].append(float(length[0]) / person.body.stature)
    for pair, share in expected.items():
        assert np.mean(found[pair]) == pytest.approx(share, rel=0.05)
        assert np.std(found[pair]) > 0.01 * share  # people differ
    assert all(1.5 <= person.body.stature <= 1.92 for person, _ in walks)
    heads = [joint(joints, "head")[:, 2].mean() / p.body.stature for p, joints in walks]
    assert 0.85 < min(heads) <= max(heads) < 0.98


def test_standing_feet_do_not_slide_nor_sink(walks: list[tuple[Subject, np.ndarray]]) -> None:
    for _, joints in walks:
        steps = 0
        for side in ("left", "right"):
            heel, ball = joint(joints, f"{side}_heel"), joint(joints, f"{side}_foot")
            standing = (heel[:, 2] < 0.012) & (ball[:, 2] < 0.012)
            for run in runs(standing, shortest=4):
                slip = np.linalg.norm(ball[run, :2] - ball[run[0], :2], axis=-1).max()
                assert slip < 0.015
                steps += 1
            assert heel[:, 2].min() > -0.012
            assert ball[:, 2].min() > -0.012
        assert steps >= 3
        feet = [f"{side}_{part}" for side in ("left", "right") for part in ("heel", "foot")]
        lowest = np.min([joint(joints, foot)[:, 2] for foot in feet], axis=0)
        assert lowest.max() < 0.03  # nobody glides or flies


def test_angles_have_the_ranges_of_the_literature(walks: list[tuple[Subject, np.ndarray]]) -> None:
    table: dict[str, list[float]] = {
        name: [] for name in ("knee", "hip_max", "hip_min", "arm", "rise")
    }
    for _, joints in walks:
        ahead = heading(joints)
        for side in ("left", "right"):
            hip, knee, ankle, shoulder, elbow = (
                joint(joints, f"{side}_{part}")
                for part in ("hip", "knee", "ankle", "shoulder", "elbow")
            )
            thigh, shank = lean(hip, knee, ahead), lean(knee, ankle, ahead)
            assert (thigh - shank).min() > -1  # knees bend one way
            table["knee"].append((thigh - shank).max())
            table["hip_max"].append(thigh.max())
            table["hip_min"].append(thigh.min())
            arm = lean(shoulder, elbow, ahead)
            table["arm"].append(np.ptp(arm))
            assert np.corrcoef(arm, thigh)[0, 1] < -0.5  # the arm swings against its leg
        table["rise"].append(np.ptp(joint(joints, "pelvis")[:, 2]))
    mean = {name: np.mean(values) for name, values in table.items()}
    assert 55 < mean["knee"] < 70  # Winter 1991: about 60 in swing
    assert 20 < mean["hip_max"] < 35
    assert -24 < mean["hip_min"] < -10
    assert 18 < mean["arm"] < 45  # Murray 1967: about 30
    assert 0.025 < mean["rise"] < 0.06  # Murray 1964: 4 to 5 cm


def test_speed_is_step_length_times_cadence(walks: list[tuple[Subject, np.ndarray]]) -> None:
    for person, joints in walks:
        ahead = heading(joints)
        pelvis = joint(joints, "pelvis") @ ahead
        speed = (pelvis[-1] - pelvis[0]) / (len(joints) - 1) * 25
        assert 0.7 < speed < 1.8
        between = (joint(joints, "left_ankle") - joint(joints, "right_ankle")) @ ahead
        step = speed * 60 / person.gait.cadence
        assert np.abs(between).max() == pytest.approx(step, rel=0.2)
        assert np.diff(pelvis).min() > 0
        assert 40 <= len(joints) <= 110


def test_conditions_change_what_they_should() -> None:
    ratio: dict[str, list[float]] = {"bag": [], "free": [], "coat": []}
    for k in range(12):
        person = Subject.draw((9, k))
        swings = {}
        for condition in ("nm", "bg", "cl"):
            joints = walk(person, condition, (9, k, 1))
            swings[condition] = [
                np.ptp(lean(joint(joints, f"{side}_shoulder"), joint(joints, f"{side}_elbow"),
                            heading(joints)))
                for side in ("left", "right")
            ]  # fmt: skip
        bag = person.bag_side
        ratio["bag"].append(swings["bg"][bag] / swings["nm"][bag])
        ratio["free"].append(swings["bg"][1 - bag] / swings["nm"][1 - bag])
        ratio["coat"].append(np.sum(swings["cl"]) / np.sum(swings["nm"]))
    assert np.mean(ratio["bag"]) < 0.5
    assert np.mean(ratio["free"]) == pytest.approx(1, abs=0.15)
    assert 0.6 < np.mean(ratio["coat"]) < 0.95
    with pytest.raises(ValueError, match="condition 'xx' is none of nm, bg, cl"):
        walk(Subject.draw(0), "xx", 0)


def test_walks_repeat_by_seed_and_keep_time() -> None:
    person = Subject.draw(1)
    first = walk(person, "nm", 7)
    np.testing.assert_array_equal(first, walk(Subject.draw(1), "nm", 7))
    other = walk(person, "nm", 8)
    frames = min(len(first), len(other))
    assert np.abs(first[:frames] - other[:frames]).max() > 0.05
    fast = walk(person, "nm", 7, fps=30)
    assert len(fast) == pytest.approx(len(first) * 1.2, rel=0.1)


# --- cameras and detector -----------------------------------------------------------------------


def test_projection_of_known_points() -> None:
    # 1 m to the left, 2 m ahead, at 0.6 m height, seen from the front at 5.2 m: depth 3.2 m;
    # the walker's left is right in the image
    point = np.array([2.0, 1.0, 0.6])
    pixel, depth = project(point, Camera(0))
    assert float(depth) == pytest.approx(3.2)
    np.testing.assert_allclose(pixel, [160 + 385 / 3.2, 120 + 385 * 0.5 / 3.2])
    # from the walker's left: depth 4.2 m, walking to the left of the image
    pixel, depth = project(point, Camera(90))
    assert float(depth) == pytest.approx(4.2)
    np.testing.assert_allclose(pixel, [160 - 385 * 2 / 4.2, 120 + 385 * 0.5 / 4.2])
    # from behind
    pixel, depth = project(point, Camera(180))
    assert float(depth) == pytest.approx(7.2)
    np.testing.assert_allclose(pixel, [160 - 385 / 7.2, 120 + 385 * 0.5 / 7.2])


def test_a_faultless_detector_reports_the_projection() -> None:
    joints = walk(Subject.draw(2), "nm", 2)
    faultless = Detector(0, 0, 0, 0, 0, 0)
    pose, frames = detect(joints, Camera(54), "nm", np.random.default_rng(0), faultless)
    expected, _ = project(joints[frames - 1][:, list(COCO_JOINTS)], Camera(54))
    np.testing.assert_allclose(pose[..., :2], expected)
    middle = pose[len(pose) // 2]
    assert 100 < middle[15:17, 1].max() - middle[:5, 1].min() < 145  # about 125 px tall


def test_hidden_joints_are_less_sure() -> None:
    joints = walk(Subject.draw(2), "nm", 2)

    def confidence(view: float) -> np.ndarray:
        pose, _ = detect(joints, Camera(view), "nm", np.random.default_rng(1))
        return np.median(pose[..., 2], axis=0)

    front, side, back = (confidence(view) for view in (0, 90, 180))
    names = COCO17.joints
    assert back[names.index("nose")] < front[names.index("nose")] - 0.15
    for part in ("ear", "shoulder", "elbow"):
        far, near = names.index(f"right_{part}"), names.index(f"left_{part}")
        assert side[far] < side[near] - 0.1
    assert front.min() > 0.8


def test_detector_errs_in_all_its_ways() -> None:
    joints = walk(Subject.draw(2), "nm", 2)
    clean, _ = project(joints[:, list(COCO_JOINTS)], Camera(90))
    swaps = lost = gaps = 0
    for seed in range(40):
        pose, frames = detect(joints, Camera(90), "nm", np.random.default_rng(seed))
        assert (np.diff(frames) > 0).all()
        gaps += int((np.diff(frames) > 1).any())
        error = np.linalg.norm(pose[..., :2] - clean[frames - 1], axis=-1)
        unsure = pose[..., 2] < 0.3
        lost += int(unsure.any())
        assert np.median(error[~unsure]) < 4
        mirrored = clean[frames - 1][:, list(COCO17.mirrored)]
        exchanged = np.linalg.norm(pose[..., :2] - mirrored, axis=-1)
        legs = slice(13, 17)
        apart = np.linalg.norm(clean - clean[:, list(COCO17.mirrored)], axis=-1)[frames - 1, 15]
        swaps += int(
            ((exchanged[:, legs].max(axis=1) < 12) & (error[:, 15] > 20) & (apart > 25)).any()
        )
        assert 0 < pose[..., 2].min() <= pose[..., 2].max() < 1
    assert swaps >= 4
    assert lost >= 10
    assert gaps >= 4


# --- files --------------------------------------------------------------------------------------


def test_file_has_the_published_format(written: Path, rows: list[list[str]]) -> None:
    assert written.name == "casia-b_pose_coco.csv"
    header, *body = rows
    assert header[0] == "image_name"
    assert header[1:] == [f"{j}_{c}" for j in COCO17.joints for c in ("x", "y", "conf")]
    assert {len(row) for row in body} == {52}
    names = [row[0] for row in body]
    assert names == sorted(set(names))
    text = np.array([row[1:] for row in body])
    assert np.all(np.strings.find(text, ".") == np.strings.str_len(text) - 3)  # two decimals
    values = text.astype(float).reshape(len(body), 17, 3)
    assert 0 <= values[..., 0].min() <= values[..., 0].max() <= 319
    assert 0 <= values[..., 1].min() <= values[..., 1].max() <= 239
    assert 0 < values[..., 2].min() <= values[..., 2].max() < 1


def test_file_holds_every_sequence(rows: list[list[str]]) -> None:
    lengths: dict[tuple[str, ...], list[int]] = {}
    for row in rows[1:]:
        prefix, folder, frame = row[0].split("/")
        assert prefix == "."
        assert len(frame) == 10
        assert frame.endswith(".jpg")
        lengths.setdefault(tuple(folder.split("-")), []).append(int(frame[:6]))
    conditions = {"nm": 6, "bg": 2, "cl": 2}
    expected = {
        (subject, condition, f"{number:02d}", f"{view:03d}")
        for subject in ("001", "002", "003", "075", "076")
        for condition, numbers in conditions.items()
        for number in range(1, numbers + 1)
        for view in VIEWS
    }
    assert set(lengths) == expected
    counts = np.array([len(frames) for frames in lengths.values()])
    assert 30 <= counts.min() <= counts.max() <= 110
    assert np.median(counts) > 60
    gaps = [max(np.diff(frames)) > 1 for frames in lengths.values()]
    assert 0.1 < np.mean(gaps) < 0.9


def test_same_seed_same_bytes_and_people_do_not_depend_on_their_number(tmp_path: Path) -> None:
    def make(name: str, subjects: int, seed: int) -> bytes:
        path = synthesize_casia_b(
            tmp_path / name, subjects, seed, sequences=SMALL, views=(0, 90, 180)
        )
        assert os.listdir(path.parent) == [path.name]
        return path.read_bytes()

    two = make("a", 2, seed=1)
    assert hashlib.sha256(two).digest() == hashlib.sha256(make("b", 2, seed=1)).digest()
    assert two != make("b", 2, seed=2)  # written over
    four = make("c", 4, seed=1)
    assert set(two.splitlines()) < set(four.splitlines())


@pytest.mark.parametrize("count", [2, 3, 5, 20, 62, 73, 120, 123, 124])
def test_subjects_lie_on_both_sides_of_the_split(count: int) -> None:
    numbers = casia_b_subjects(count)
    assert len(set(numbers)) == count
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert numbers[-1] <= 124
    train = [number for number in numbers if number <= 74]
    assert train == list(range(1, len(train) + 1))
    assert numbers[len(train)] == 75
    assert len(train) == pytest.approx(0.6 * count, abs=1)


@pytest.mark.parametrize("count", [-1, 0, 1, 125])
def test_impossible_numbers_of_subjects_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"subjects is {count}, .* choose 2 to 124"):
        synthesize_casia_b(tmp_path / "x", count, 0)
    assert not (tmp_path / "x").exists()


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"file.*casia-b_pose_coco\.csv cannot be written"):
        synthesize_casia_b(tmp_path / "file", 2, 0, sequences=SMALL, views=(90,))


def test_people_can_be_told_apart_but_not_easily(rows: list[list[str]]) -> None:
    """Same view, nearest mean pose: far above chance (20 %), below certainty."""
    sequences: dict[str, list[list[float]]] = {}
    for row in rows[1:]:
        _, folder, _ = row[0].split("/")
        if "-nm-" in folder and folder.endswith(("-090", "-036")):
            sequences.setdefault(folder, []).append([float(value) for value in row[1:]])
    features, names = [], list(sequences)
    for values in sequences.values():
        pose = np.array(values).reshape(-1, 17, 3)[..., :2]
        pose = pose - pose[:, 11:13].mean(axis=1, keepdims=True)
        pose /= np.ptp(pose[..., 1], axis=1)[:, None, None]
        features.append(np.concatenate([pose.mean(axis=0), pose.std(axis=0)]).ravel())
    distance = np.linalg.norm(np.array(features)[:, None] - np.array(features)[None], axis=-1)
    right = []
    for i, name in enumerate(names):
        others = [j for j, n in enumerate(names) if j != i and n[-3:] == name[-3:]]
        nearest = names[min(others, key=lambda j, i=i: distance[i, j])]
        right.append(nearest[:3] == name[:3])
    assert 0.45 < np.mean(right) < 1
