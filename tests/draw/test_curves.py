from statistics import NormalDist

import numpy as np
import pytest

from gaitbench.draw import draw_curves
from gaitbench.protocols.curves import Axis, Curves, cmc_curves, det_curves
from gaitbench.protocols.figures import Trials


def trials(*first: int) -> Trials:
    """One view and a person a trial, who comes at that rank."""
    n = len(first)
    zero = np.zeros(n, np.int64)
    found = np.array(first)
    return Trials(np.arange(n), np.arange(n), zero, zero - 1, found > 0, np.zeros((n, 1)), found)


def counts(middle: float) -> np.ndarray:
    """Pairs whose distances are normal, counted in bins from -9 to 9."""
    edges = [NormalDist(middle).cdf(x) for x in np.linspace(-9, 9, 3001)]
    return np.round(1e9 * np.diff(edges))


def test_ranks_in_percent_on_straight_axes() -> None:
    curves = cmc_curves({"a": trials(1, 3, 0, 25), "b": trials(1, 1, 1, 1)})
    assert curves.lines["a"][1].tolist() == [25, 25, *[50] * 18]
    figure = draw_curves(curves, "of a test", {"a": "first"})
    (axes,) = figure.axes
    a, b = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(a[:, 0], np.arange(20) / 19)  # type: ignore[index]
    # from 20 percent at the foot
    np.testing.assert_allclose(a[:, 1], [5 / 80] * 2 + [30 / 80] * 18)  # type: ignore[index]
    np.testing.assert_allclose(b[:, 1], 1)  # type: ignore[index]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["first", "b"]
    assert axes.get_title() == "of a test\nCMC: person among the nearest k"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["20", "40", "60", "80", "100"]


def test_errors_of_normal_distances_lie_on_a_straight_line() -> None:
    """That is what the deviates are for: genuine at 0, impostors at 2 deviations, so EER at 1."""
    curves = det_curves({"n": (counts(0), counts(2)), "none": (np.zeros(3), np.ones(3))})
    assert curves is not None and [*curves.lines] == ["n"]
    (line,) = draw_curves(curves).axes[0].get_lines()
    x, y = np.asarray(line.get_xydata()).T
    assert len(x) > 100 and min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) <= 1
    np.testing.assert_allclose(x + y, 2 * curves.x.place(NormalDist().cdf(-1)), atol=1e-3)
    assert det_curves({"none": (np.zeros(3), np.ones(3))}) is None


def test_what_lies_beyond_an_axis_is_left_out() -> None:
    axis = Axis("x", [(1, "1"), (3, "3")])
    points = np.array([0.5, 1, 2, 3, 2]), np.array([2, 1, 3.5, 3, 2])
    x, y = Curves("t", axis, axis, {"a": points}).inside("a")
    assert (x.tolist(), y.tolist()) == ([1, 3, 2], [1, 3, 2])
    assert axis.place(2.5) == pytest.approx(0.75)
