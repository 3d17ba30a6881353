"""Figures of CMC and DET curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from gaitbench.draw.canvas import INK, LINES, new_figure, on_grid

if TYPE_CHECKING:  # protocols need torch, and drawings do not
    from gaitbench.protocols.curves import Curves


def draw_curves(curves: Curves, title: str = "", labels: Mapping[str, str] | None = None) -> Figure:
    """Curves as a figure.

    Args:
        curves: what to draw.
        title: above that of the curves.
        labels: name -> what the legend calls it.
    """
    figure = new_figure(4.6, 3.6)
    axes = figure.subplots()
    for k, name in enumerate(curves.lines):
        xs, ys = curves.inside(name)
        axes.plot(
            [curves.x.place(x) for x in xs.tolist()], [curves.y.place(y) for y in ys.tolist()],
            label=(labels or {}).get(name, name), linewidth=1.8, color=LINES[k % len(LINES)],
        )  # fmt: skip
    for axis, set_ticks, set_label in (
        (curves.x, axes.set_xticks, axes.set_xlabel),
        (curves.y, axes.set_yticks, axes.set_ylabel),
    ):
        set_ticks([axis.place(value) for value, _ in axis.ticks], [word for _, word in axis.ticks])
        set_label(axis.title, fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    on_grid(axes)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"{title}\n{curves.title}".strip(), fontsize=10, color=INK)
    return figure
