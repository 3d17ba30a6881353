import numpy as np
import pytest

from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton
from gaitbench.synthetic import JOINTS, Subject, joints_of, walk


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


@pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=["coco17", "openpose18"])
def test_every_layout_finds_its_joints(skeleton: Skeleton) -> None:
    assert tuple(JOINTS[j] for j in joints_of(skeleton)) == skeleton.joints
