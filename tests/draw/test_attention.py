import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from gaitbench.draw import attention_summary, draw_attention
from gaitbench.losses import locality_mask
from gaitbench.skeleton import KINECT20


def upright(frames: int) -> np.ndarray:
    """A head above feet, moving to the right."""
    pose = np.ones((frames, 20, 3))
    pose[..., 0] = np.linspace(-0.3, 0.3, 20) + 2 * np.arange(frames)[:, None]
    pose[..., 1] = np.random.default_rng(0).uniform(-0.8, 0.8, 20)
    return pose


def matrices(frames: int, names: str = "xyz") -> dict[str, np.ndarray]:
    values = np.random.default_rng(1).random((len(names), frames, frames))
    return dict(zip(names, values / values.sum(-1, keepdims=True), strict=True))


def marked(axes: Axes) -> set[tuple[int, int]]:
    """Step and frame of the cells that are marked."""
    marks = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return {(int(p.get_y() + 0.5), int(p.get_x() + 0.5)) for p in marks}


def test_each_matrix_has_its_numbers_and_marks_what_should_be_drawn() -> None:
    values, mask = matrices(6), locality_mask(6).numpy()
    figure = draw_attention(upright(6), values, mask, KINECT20, range(6), "Title")
    assert figure.get_suptitle() == "Title"
    panels = figure.axes[:4]
    assert [p.get_title() for p in panels] == ["axis x", "axis y", "axis z", "locality mask"]
    for axes, expected in zip(panels, [*values.values(), mask], strict=True):
        shown = axes.images[0].get_array()
        np.testing.assert_allclose(np.asarray(shown), expected)
        texts = {(int(t.get_position()[1]), int(t.get_position()[0])): t for t in axes.texts}
        for cell, value in np.ndenumerate(expected):
            assert texts[cell].get_text() == f"{100 * value:.0f}"
        assert marked(axes) == {(step, 5 - step) for step in range(6)}
        top, bottom = axes.get_ylim()[1], axes.get_ylim()[0]
        assert top < -0.5 < 5.5 == bottom  # the first step above, skeletons over it
    scales = [axes.images[0].get_clim() for axes in panels]
    greatest = max(matrix.max() for matrix in values.values())
    assert scales[0] == scales[1] == scales[2] == pytest.approx((0, greatest))
    assert scales[3] == (0, 1)


@pytest.mark.parametrize(("size", "frames"), [(6, range(6)), (20, range(0, 20, 2)), (1, [0])])
def test_skeletons_stand_above_their_frames_in_one_scale(size: int, frames: range) -> None:
    pose = upright(size)
    figure = draw_attention(
        pose, matrices(size, "x"), locality_mask(size).numpy(), KINECT20, frames
    )
    for axes in figure.axes[:2]:
        (limbs,) = (c for c in axes.collections if isinstance(c, LineCollection))
        segments = np.array(limbs.get_segments()).reshape(len(frames), -1, 2, 2)
        own = pose[list(frames), :, :2][:, np.array(KINECT20.edges)]
        scale = np.ptp(segments[0, ..., 0]) / np.ptp(own[0, ..., 0])
        for frame, drawn, walker in zip(frames, segments, own, strict=True):
            shift = drawn - scale * walker
            np.testing.assert_allclose(shift, np.broadcast_to(shift[0, 0], shift.shape), atol=1e-9)
            middle = (drawn[..., 0].min() + drawn[..., 0].max()) / 2
            assert middle == pytest.approx(frame)
            assert drawn[..., 1].max() < -0.5
            assert drawn[..., 1].min() > axes.get_ylim()[1]
        gap = frames[1] - frames[0] if len(frames) > 1 else size
        assert np.ptp(segments[0, ..., 0]) < gap
        assert axes.get_aspect() == 1
        # numbers would not fit the cells of a large matrix
        assert bool(axes.texts) == (size <= 10)


def test_lost_joints_are_left_out() -> None:
    pose = upright(6)
    head = KINECT20.joints.index("head")
    pose[2, head] = 0
    figure = draw_attention(pose, matrices(6, "x"), locality_mask(6).numpy(), KINECT20, range(6))
    limbs = figure.axes[0].collections[0]
    assert isinstance(limbs, LineCollection)
    neck = KINECT20.edges.index((2, head))
    sizes = [len(segment) for segment in limbs.get_segments()]
    # matplotlib leaves out points that are nowhere
    assert [k for k, size in enumerate(sizes) if size < 2] == [2 * len(KINECT20.edges) + neck]


def test_what_does_not_fit_is_refused() -> None:
    mask = locality_mask(6).numpy()
    with pytest.raises(ValueError, match=r"'x' of shape \(6, 6\), found \(5, 5\)"):
        draw_attention(upright(6), matrices(5, "x"), mask, KINECT20, range(6))
    with pytest.raises(ValueError, match=r"'locality mask' of shape \(6, 6\), found \(5, 6\)"):
        draw_attention(upright(6), matrices(6, "x"), mask[:5], KINECT20, range(6))
    with pytest.raises(ValueError, match="at least one axis"):
        attention_summary(pd.DataFrame({"axis": []}))


def test_summary_has_a_matrix_an_axis_and_a_bar_a_distance() -> None:
    rows = []
    for k, axis in enumerate("xz"):
        rows += [(axis, "cell", i, 0.5, 0.25, (i + k) / 20, 0, 1) for i in range(16)]
        rows += [(axis, "distance", i, 1, 0.1 * i, (i + k) / 10, 0, 1) for i in range(4)]
    columns = ["axis", "kind", "distance", "mask", "even", "mean", "low", "high"]
    figure = attention_summary(pd.DataFrame(rows, columns=columns), "Title")
    assert figure.get_suptitle() == "Title"
    above, below = figure.subfigs
    for k, axes in enumerate(above.axes[:2]):
        found = np.asarray(axes.images[0].get_array())
        np.testing.assert_allclose(found, (np.arange(16).reshape(4, 4) + k) / 20)
    (bars,) = below.axes
    assert bars.get_ylabel() == "attention (%)"
    heights = [[bar.get_height() for bar in group] for group in bars.containers if len(group) == 4]
    np.testing.assert_allclose(heights, [[0, 10, 20, 30], [10, 20, 30, 40]])
    assert [text.get_text() for text in bars.get_xticklabels()] == ["0", "1", "2", "3"]
    legend = bars.get_legend()
    assert legend is not None
    assert {t.get_text() for t in legend.get_texts()} == {"axis x", "axis z", "all frames alike"}
