import numpy as np
import pytest
from matplotlib.colors import to_rgb

from gaitbench.draw import LEFT, RIGHT, image_thumbs, pose_thumbs
from gaitbench.draw.thumbs import MARGIN, SIDE
from gaitbench.skeleton import COCO17


def tile(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    return sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]


def poses(count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    pose = rng.normal(size=(count, 17, 3)) * rng.uniform(0.01, 900, size=(count, 1, 1))
    pose[..., 2] = 1
    return pose


def test_each_pose_is_drawn_as_if_it_were_alone() -> None:
    """In rows, each within its square whatever its units; nothing after the last."""
    pose = poses(7)
    sheet = pose_thumbs(pose, COCO17)
    assert sheet.shape == (3 * SIDE, 3 * SIDE, 3) and sheet.dtype == np.uint8
    for k in range(7):
        own = tile(sheet, *divmod(k, 3))
        alone = pose_thumbs(pose[k : k + 1], COCO17).astype(int)
        assert (np.abs(own - alone).max(-1) > 40).mean() < 0.01  # but for the edges' last shade
        rows, columns = np.nonzero((own != 255).any(-1))
        for places in (rows, columns):
            assert places.min() >= int(MARGIN * SIDE) - 2
            assert places.max() <= SIDE - int(MARGIN * SIDE) + 1
        reach = max(np.ptp(rows), np.ptp(columns))
        assert reach >= (1 - 2 * MARGIN) * SIDE - 2
    assert (tile(sheet, 2, 1) == 255).all() and (tile(sheet, 2, 2) == 255).all()


def test_sides_have_colours_and_lost_joints_no_limbs() -> None:
    pose = np.zeros((2, 17, 3))
    places = {"left_shoulder": (0, 0), "left_elbow": (0, 10)}
    places |= {"right_shoulder": (10, 0), "right_elbow": (10, 10)}
    for name, place in places.items():
        pose[0, COCO17.joints.index(name)] = (*place, 1)
    sheet = pose_thumbs(pose, COCO17)
    left, right = (sheet[SIDE // 2, int(x)] for x in (MARGIN * SIDE, SIDE - MARGIN * SIDE))
    for found, color in ((left, LEFT), (right, RIGHT)):
        assert found / 255 == pytest.approx(to_rgb(color), abs=0.12)
    assert (sheet[-4:] == 255).all()  # hips and legs were not seen
    assert (tile(sheet, 0, 1) == 255).all()  # nobody


def test_images_keep_their_proportions() -> None:
    images = np.arange(5 * 64 * 44, dtype=np.int64).reshape(5, 64, 44, 1) % 251
    sheet = image_thumbs(np.repeat(images, 3, axis=-1).astype(np.uint8))
    assert sheet.shape == (2 * SIDE, 3 * SIDE, 3)
    for k in range(5):
        own = tile(sheet, *divmod(k, 3))
        assert (own[:, 10:54] == images[k]).all()
        assert (own[:, :10] == 255).all() and (own[:, 54:] == 255).all()
    assert (tile(sheet, 1, 2) == 255).all()
    large = image_thumbs(np.full((1, 2 * SIDE, 2 * SIDE, 3), 7, np.uint8))
    assert large.shape == (SIDE, SIDE, 3) and (large == 7).all()
