import numpy as np

from gaitbench.draw import save_figure
from gaitbench.draw.samples import draw_samples, flow_colors


def test_direction_is_hue_and_speed_is_saturation():
    flow = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [0, 0], [0.5, 0], [9, 0]])
    colors = flow_colors(flow, fastest=1)
    expected = [(1, 0, 0), (0.5, 1, 0), (0, 1, 1), (0.5, 0, 1), (1, 1, 1), (1, 0.5, 0.5), (1, 0, 0)]
    np.testing.assert_allclose(colors, expected, atol=1e-12)


def test_what_does_not_move_is_white():
    assert (flow_colors(np.zeros((4, 5, 2))) == 1).all()
    flow = np.zeros((10, 10, 2))
    flow[2:4, 2:4, 0] = 3
    assert (flow_colors(flow)[2, 2] == [1, 0, 0]).all()
    assert flow_colors(flow)[7, 7].tolist() == [1, 1, 1]


def test_a_sheet_has_a_row_for_each_and_a_column_a_frame(tmp_path):
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (4, 60, 60)).astype(np.uint8)
    silhouettes = rng.integers(0, 256, (4, 64, 44)).astype(np.uint8)
    flow = rng.normal(size=(4, 60, 60, 2))
    figure = draw_samples(gray, flow, silhouettes, ["a", "b", "c", "d"], "by nobody")
    assert len(figure.axes) == 12
    assert [axes.get_title() for axes in figure.axes[:4]] == ["a", "b", "c", "d"]
    assert [figure.axes[i].get_ylabel() for i in (0, 4, 8)] == ["gray", "flow", "silhouette"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), gray[1])
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 5000
