"""Figures of numbers: tables of views as heat maps, areas by attribute, learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike

from gaitbench.draw.canvas import GRID, INK, LINES, PAPER, new_figure, on_grid


def view_heat_map(table: pd.DataFrame, title: str = "", metric: str = "rank1") -> Figure:
    """Rank-1 of each gallery view and probe view, one panel a probe set.

    Args:
        table: long table with columns probe_set, gallery_view, probe_view, metric, value;
            value as a fraction. Rows without a view (pooled) and of other metrics are left out.
        title: above all panels.
        metric: which metric to draw.

    Returns:
        Numbers in percent; the mean in a panel's title is over its cells. A pair of views without
        a value, such as an excluded equal pair, is an empty gray cell.

    Raises:
        ValueError: if the table has no such row.
    """
    rows = table[(table["metric"] == metric)].dropna(subset=["gallery_view", "probe_view"])
    if rows.empty:
        raise ValueError(f"the table has no {metric!r} of a pair of views")
    gallery_views = sorted(int(view) for view in rows["gallery_view"].unique())
    probe_views = sorted(int(view) for view in rows["probe_view"].unique())
    probe_sets = list(dict.fromkeys(rows["probe_set"]))
    cell = 0.34
    figure = new_figure(
        (cell * len(probe_views) + 0.75) * len(probe_sets) + 0.8,
        cell * len(gallery_views) + (1.15 if title else 0.85),
    )
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.08))
    panels = figure.subplots(1, len(probe_sets), squeeze=False, sharey=True)[0]
    image = None
    for axes, probe_set in zip(panels, probe_sets, strict=True):
        cells = np.full((len(gallery_views), len(probe_views)), np.nan)
        own = rows[rows["probe_set"] == probe_set]
        i = [gallery_views.index(int(view)) for view in own["gallery_view"]]
        j = [probe_views.index(int(view)) for view in own["probe_view"]]
        cells[i, j] = 100 * own["value"].to_numpy(dtype=np.float64)
        axes.set_facecolor("#d9d9d9")
        image = axes.imshow(np.ma.masked_invalid(cells), cmap="viridis", vmin=0, vmax=100)
        for (y, x), value in np.ndenumerate(cells):
            if np.isfinite(value):
                axes.text(
                    x, y, f"{value:.0f}", ha="center", va="center", fontsize=8.5,
                    color="white" if value < 62 else "black",
                )  # fmt: skip
        axes.set_xticks(range(len(probe_views)), probe_views, fontsize=8)
        axes.set_yticks(range(len(gallery_views)), gallery_views, fontsize=8)
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(0.5, len(probe_views) - 1), minor=True)
        axes.set_yticks(np.arange(0.5, len(gallery_views) - 1), minor=True)
        axes.grid(which="minor", color=PAPER, linewidth=1)
        axes.tick_params(which="minor", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("probe view (°)", fontsize=9)
        mean = f"mean {np.nanmean(cells):.1f} %" if np.isfinite(cells).any() else "no values"
        axes.set_title(f"{probe_set}: {mean}", fontsize=10, color=INK)
    panels[0].set_ylabel("gallery view (°)", fontsize=9)
    assert image is not None  # there is at least one probe set
    bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.015)
    bar.set_label({"rank1": "rank-1"}.get(metric, metric) + " (%)", fontsize=9)
    bar.ax.tick_params(labelsize=7.5, length=0)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def attribute_chart(
    areas: Mapping[str, tuple[float, Sequence[float] | None]], title: str = ""
) -> Figure:
    """Area under the ROC curve of each attribute, a line each from above to below.

    Args:
        areas: name -> area, 0..1, and the ends of its 95 % interval or None.
        title: above.

    Returns:
        Points in percent with whiskers, beside the line of chance.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if not areas:
        raise ValueError("expected at least one attribute to draw, found none")
    figure = new_figure(6.4, 0.2 * len(areas) + (1.1 if title else 0.8))
    figure.set_layout_engine(ConstrainedLayoutEngine())
    axes = figure.subplots()
    least = 50.0
    for place, (area, ends) in enumerate(areas.values()):
        axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
        least = min(least, *(100 * value for value in (area, *(ends or ()))))
        if ends is not None:
            axes.plot([100 * ends[0], 100 * ends[1]], [place, place], color=LINES[0], linewidth=2.2,
                      alpha=0.45, solid_capstyle="round")  # fmt: skip
        axes.plot(100 * area, place, "o", color=LINES[0], markersize=4.5)
        axes.text(
            101.5, place, f"{100 * area:.0f}", fontsize=7.5, va="center", color=INK, clip_on=False
        )
    axes.axvline(50, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(areas)), list(areas), fontsize=8)
    axes.set_ylim(len(areas) - 0.4, -0.6)
    axes.set_xlim(max(0.0, 10 * np.floor(least / 10)), 100.8)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("AUROC (%), 95 % interval; dashed: chance", fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def learning_curve(
    curves: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    title: str = "",
    x_label: str = "step",
    log_scale: Sequence[str] = (),
) -> Figure:
    """Quantities over the course of training, one panel above the other.

    Args:
        curves: label of a quantity with its unit, such as "loss" or "rank-1 (%)" -> name of a
            line -> its x and y values.
        title: above all panels.
        x_label: below the lowest panel.
        log_scale: quantities with a logarithmic axis.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if not curves:
        raise ValueError("expected at least one quantity to draw, found none")
    figure = new_figure(6.2, 2.3 * len(curves) + (0.4 if title else 0.1))
    panels = figure.subplots(len(curves), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (quantity, lines) in zip(panels, curves.items(), strict=True):
        for k, (name, (x, y)) in enumerate(lines.items()):
            axes.plot(
                np.asarray(x), np.asarray(y), label=name, linewidth=1.8,
                color=LINES[k % len(LINES)], marker="o" if np.size(x) <= 25 else None,
                markersize=3.5,
            )  # fmt: skip
        if quantity in log_scale:
            axes.set_yscale("log")
        axes.set_ylabel(quantity, fontsize=9)
        on_grid(axes)
        if len(lines) > 1:
            axes.legend(fontsize=8, frameon=False)
    panels[-1].set_xlabel(x_label, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure
