import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from gaitbench.draw import (
    LEFT,
    MIDDLE,
    RIGHT,
    animate_poses,
    draw_poses,
)
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton


def poses(frames: int, skeleton: Skeleton = COCO17, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = rng.uniform(20, 120, (1, skeleton.num_joints, 3)) + rng.normal(
        0, 3, (frames, skeleton.num_joints, 3)
    )
    pose[..., 0] += 2 * np.arange(frames)[:, None]
    pose[..., 2] = 0.9
    return pose


@pytest.mark.parametrize("follow", [False, True])
def test_gif_has_every_frame_at_its_pace(tmp_path: Path, follow: bool) -> None:
    path = tmp_path / "new" / "walk.gif"
    pair = [poses(7), poses(5, seed=1)]
    assert animate_poses(pair, COCO17, path, ["a", "b"], fps=25, follow=follow) == path
    assert os.listdir(path.parent) == ["walk.gif"]
    with Image.open(path) as image:
        assert image.n_frames == 7
        assert image.info["duration"] == 40
        assert image.info["loop"] == 0
        for frame in range(7):
            image.seek(frame)
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
            assert (pixels[0] == 255).all()  # paper stays white
            for color in (LEFT, RIGHT):
                rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
                assert (pixels == rgb).all(axis=1).sum() > 50


@pytest.mark.parametrize("one_scale", [False, True])
def test_people_of_one_unit_are_drawn_in_one_scale_on_one_floor(
    tmp_path: Path, one_scale: bool
) -> None:
    """One of them smaller than the other, and on other ground."""
    tall = poses(2)
    tall[..., 1] -= tall[..., 1].min()
    small = tall * [0.8, 0.8, 1] + [0, 300, 0]
    path = animate_poses([tall, small], COCO17, tmp_path / "a.gif", one_scale=one_scale)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    inked = np.zeros(pixels.shape[:2], bool)
    for color in (LEFT, RIGHT, MIDDLE):
        rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
        inked |= (pixels == rgb).all(axis=2)
    columns = np.flatnonzero(inked.any(axis=0))
    split = columns[np.diff(columns).argmax()] + 1  # the widest gap lies between the two
    spans = [np.flatnonzero(half.any(axis=1)) for half in (inked[:, :split], inked[:, split:])]
    heights = [float(np.ptp(span)) for span in spans]
    assert heights[1] / heights[0] == pytest.approx(0.8 if one_scale else 1, abs=0.03)
    assert abs(int(spans[0].max()) - int(spans[1].max())) < 8


def test_sticks_have_sides_and_leave_out_what_was_not_seen() -> None:
    pose = poses(4)
    pose[2, COCO17.joints.index("left_wrist"), 2] = 0.01
    figure = draw_poses(pose, COCO17, [0, 2], columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["frame 0", "frame 2"]
    limbs = [
        next(c for c in axes.collections if isinstance(c, LineCollection)) for axes in figure.axes
    ]
    arm = COCO17.edges.index((7, 9))
    first, second = (limb.get_segments() for limb in limbs)
    assert np.isfinite(first[arm]).all()
    assert len(second[arm]) == 1  # only the elbow is left of the forearm
    np.testing.assert_allclose(first[arm][:, 1], pose[0, [7, 9], 1])  # y as given
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low > high  # y down
        assert axes.get_aspect() == 1
    colors = [tuple(np.round(c[:3] * 255).astype(int)) for c in limbs[0].get_colors()]
    for edge, expected in (((7, 9), LEFT), ((14, 16), RIGHT), ((5, 6), MIDDLE), ((0, 1), LEFT)):
        rgb = tuple(int(expected[k : k + 2], 16) for k in (1, 3, 5))
        assert colors[COCO17.edges.index(edge)] == rgb


def test_other_skeletons_and_empty_detections_are_drawn(tmp_path: Path) -> None:
    pose = poses(3, OPENPOSE18)
    pose[1] = 0  # nothing found
    for follow in (False, True):
        path = animate_poses([pose], OPENPOSE18, tmp_path / "a.gif", follow=follow)
        with Image.open(path) as image:
            assert image.n_frames == 3
    animate_poses([np.zeros((2, 18, 3))], OPENPOSE18, tmp_path / "none.gif", follow=True)


def test_poses_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected poses \(T, 17, 3\) of coco17, found \(3, 18"):
        animate_poses([poses(3, OPENPOSE18)], COCO17, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="found 1 for 2"):
        animate_poses([poses(3), poses(3)], COCO17, tmp_path / "a.gif", ["one"])
    with pytest.raises(ValueError, match="found 1 for 2"):
        draw_poses(poses(3), COCO17, [0, 1], ["one"])
    assert not os.listdir(tmp_path)
