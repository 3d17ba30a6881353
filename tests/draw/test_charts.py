import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gaitbench.draw import (
    learning_curve,
    view_heat_map,
)


def view_table() -> pd.DataFrame:
    rows = [
        (probe_set, float(g), float(p), "rank1", 0.01 * (g + p) / 5 + bonus, 10)
        for probe_set, bonus in (("NM", 0.1), ("CL", 0.0))
        for g in (0, 90, 180)
        for p in (0, 90)
        if g != p
    ]
    rows.append(("NM", None, None, "rank1", 0.99, 60))  # pooled
    rows.append(("NM", 0.0, 90.0, "map", 0.77, 10))
    columns = ["probe_set", "gallery_view", "probe_view", "metric", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


def test_heat_map_has_a_panel_a_probe_set_and_a_number_a_cell() -> None:
    figure = view_heat_map(view_table(), "Title")
    assert isinstance(figure.canvas, FigureCanvasAgg)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["NM: mean 41.5 %", "CL: mean 31.5 %"]
    image = panels[1].images[0].get_array()
    assert image is not None
    expected = np.array([[np.nan, 18], [18, np.nan], [36, 54]])
    np.testing.assert_allclose(np.ma.filled(image, np.nan), expected)
    assert image.mask.tolist() == [[True, False], [False, True], [False, False]]
    texts = {tuple(map(float, t.get_position())): t.get_text() for t in panels[0].texts}
    assert texts == {(1, 0): "28", (0, 1): "28", (0, 2): "46", (1, 2): "64"}
    assert [t.get_text() for t in panels[0].get_yticklabels()] == ["0", "90", "180"]
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["0", "90"]
    assert figure.get_suptitle() == "Title"


def test_heat_map_of_another_metric_and_of_none() -> None:
    figure = view_heat_map(view_table(), metric="map")
    assert [axes.get_title() for axes in figure.axes if axes.images] == ["NM: mean 77.0 %"]
    with pytest.raises(ValueError, match="no 'eer' of a pair of views"):
        view_heat_map(view_table(), metric="eer")


def test_heat_map_takes_views_as_nullable_integers() -> None:
    table = view_table().astype({"gallery_view": "Int64", "probe_view": "Int64"})
    assert len([axes for axes in view_heat_map(table).axes if axes.images]) == 2


def test_learning_curve_draws_what_it_is_given() -> None:
    steps, loss = np.arange(50), np.geomspace(4, 0.1, 50)
    figure = learning_curve(
        {
            "loss": {"train": (steps, loss)},
            "rank-1 (%)": {"NM": ([0, 49], [5, 80]), "CL": ([0], [2])},
        },
        title="Run",
        log_scale=["loss"],
    )
    above, below = figure.axes
    assert above.get_ylabel() == "loss"
    assert above.get_yscale() == "log"
    np.testing.assert_array_equal(above.lines[0].get_ydata(), loss)
    assert below.get_ylabel() == "rank-1 (%)"
    assert below.get_xlabel() == "step"
    legend = below.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["NM", "CL"]
    assert above.get_legend() is None
    with pytest.raises(ValueError, match="at least one quantity"):
        learning_curve({})
