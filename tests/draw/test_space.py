import numpy as np
import pytest

from gaitbench.draw import FROM_CAMERA, FROM_SIDE, SLANTING, from_above, on_paper, seen_from
from gaitbench.skeleton import KINECT20


def walk(frames: int = 4) -> np.ndarray:
    pose = np.random.default_rng(0).uniform(-1, 1, (frames, 20, 3))
    pose[..., 2] += 3
    return pose


def test_views_are_what_a_camera_far_away_sees() -> None:
    """Against the picture of a camera that is really turned, so far off that nothing shrinks."""
    pose = walk()
    middle = np.array([0.0, 0.0, 3.0])
    for degrees in (FROM_CAMERA, SLANTING, FROM_SIDE, 120.0):
        angle = np.radians(degrees)
        # where it stands, and what it looks along; its right is the look turned with the clock
        along = np.array([-np.sin(angle), 0, np.cos(angle)])
        right = np.array([np.cos(angle), 0, np.sin(angle)])
        away = 1e6
        place = middle - away * along
        depth = (pose - place) @ along
        seen = away * ((pose - place) @ right) / depth
        paper = seen_from(pose, KINECT20, degrees)
        shift = paper[..., 0] - seen
        np.testing.assert_allclose(shift, shift.mean(), atol=1e-4)
        np.testing.assert_array_equal(paper[..., 1], -pose[..., 1])


def test_axes_of_the_two_plain_views() -> None:
    pose = walk()
    np.testing.assert_allclose(seen_from(pose, KINECT20, FROM_CAMERA)[..., 0], pose[..., 0])
    np.testing.assert_allclose(seen_from(pose, KINECT20, FROM_SIDE)[..., 0], pose[..., 2])
    np.testing.assert_array_equal(from_above(pose, KINECT20)[..., :2], pose[..., [0, 2]])


def test_lost_joints_have_no_confidence_unless_positions_are_the_body_s() -> None:
    pose = np.stack([walk(), walk()])  # two walks, told apart
    pose[0, 1, 7] = 0
    pose[0, 2, 8, 2] = 0  # at no distance
    pose[1] -= pose[1, :, :1]
    pose[1, 0, 1] = 0  # where the tracker has one joint for two
    expected = np.ones((2, 4, 20))
    expected[0, 1, 7] = expected[0, 2, 8] = 0
    for paper in (seen_from(pose, KINECT20, SLANTING), from_above(pose, KINECT20)):
        np.testing.assert_array_equal(paper[..., 2], expected)
    # a middle joint that is lost in some frames is lost
    pose[0, 0, 0] = 0
    assert seen_from(pose, KINECT20, 0.0)[0, 0, 0, 2] == 0


@pytest.mark.parametrize("degrees", [0.0, 45.0, 90.0])
def test_heights_stay_whatever_the_view(degrees: float) -> None:
    pose = walk()
    paper = seen_from(pose, KINECT20, degrees)
    assert np.ptp(paper[..., 1]) == pytest.approx(np.ptp(pose[..., 1]))


def test_published_poses_come_on_paper_with_y_downwards() -> None:
    pose = np.array([[[1.0, 2.0, 0.9], [3.0, np.nan, 0.8]]])
    assert on_paper(pose, KINECT20, False, False).tolist() == [[[1, 2, 0.9], [0, 0, 0]]]
    assert on_paper(pose, KINECT20, False, True).tolist() == [[[1, -2, 0.9], [0, 0, 0]]]
    assert pose[0, 0, 1] == 2  # the store's own are left alone
    spatial = on_paper(walk(), KINECT20, True, True)
    np.testing.assert_array_equal(spatial, seen_from(walk(), KINECT20, FROM_SIDE))
