import numpy as np
import pytest

from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton
from gaitbench.synthetic import Camera, Detector, Subject, detect, joints_of, project, walk


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


def test_a_faultless_detector_reports_the_projection_in_any_layout() -> None:
    joints = walk(Subject.draw(2), "nm", 2)
    faultless = Detector(0, 0, 0, 0, 0, 0)
    random = np.random.default_rng(0)
    pose, frames = detect(joints, Camera(54), "nm", random, faultless, OPENPOSE18)
    expected, _ = project(joints[frames - 1][:, joints_of(OPENPOSE18)], Camera(54))
    np.testing.assert_allclose(pose[..., :2], expected)
    pose, frames = detect(joints, Camera(54), "nm", np.random.default_rng(0), faultless)
    expected, _ = project(joints[frames - 1][:, joints_of(COCO17)], Camera(54))
    np.testing.assert_allclose(pose[..., :2], expected)
    middle = pose[len(pose) // 2]
    assert 100 < middle[15:17, 1].max() - middle[:5, 1].min() < 145  # about 125 px tall


@pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=["coco17", "openpose18"])
def test_hidden_joints_are_less_sure(skeleton: Skeleton) -> None:
    joints = walk(Subject.draw(2), "nm", 2)

    def confidence(view: float) -> np.ndarray:
        random = np.random.default_rng(1)
        pose, _ = detect(joints, Camera(view), "nm", random, skeleton=skeleton)
        return np.median(pose[..., 2], axis=0)

    front, side, back = (confidence(view) for view in (0, 90, 180))
    names = skeleton.joints
    assert back[names.index("nose")] < front[names.index("nose")] - 0.15
    for part in ("ear", "shoulder", "elbow"):
        far, near = names.index(f"right_{part}"), names.index(f"left_{part}")
        assert side[far] < side[near] - 0.1
    assert front.min() > 0.8


@pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=["coco17", "openpose18"])
def test_a_coat_widens_shoulders_and_hips(skeleton: Skeleton) -> None:
    joints = walk(Subject.draw(2), "nm", 2)
    faultless = Detector(0, 0, 0, 0, 0, 0)

    def width(condition: str, part: str) -> float:
        random = np.random.default_rng(4)
        pose, _ = detect(joints, Camera(0), condition, random, faultless, skeleton)
        left, right = (skeleton.joints.index(f"{side}_{part}") for side in ("left", "right"))
        return float(np.median(pose[:, left, 0] - pose[:, right, 0]))

    thickness = np.random.default_rng(4).normal(1, 0.3)  # of the coat worn on this walk
    for part, metres in (("shoulder", 2 * 0.025), ("hip", 2 * 0.04)):
        wider = width("cl", part) - width("nm", part)
        assert wider == pytest.approx(385 / 5.2 * metres * thickness, rel=0.05)
    for part in ("eye", "ankle"):
        assert width("cl", part) == pytest.approx(width("nm", part))


def test_detector_errs_in_all_its_ways() -> None:
    joints = walk(Subject.draw(2), "nm", 2)
    clean, _ = project(joints[:, joints_of(COCO17)], Camera(90))
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
