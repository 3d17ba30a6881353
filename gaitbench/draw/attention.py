"""Which frames a decoder attends to while it draws a window."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from gaitbench.draw.canvas import INK, LEFT, LINES, PAPER, RIGHT, Array, new_figure, on_grid
from gaitbench.draw.poses import SEEN, box, checked, followed, limb_colors
from gaitbench.skeleton import Skeleton

MASK = "locality mask"
BLUES = colormaps["Blues"]
GREYS = ListedColormap(colormaps["Greys"](np.linspace(0, 0.45, 256)), "mask")
"""Colours of attention, white to dark, and of the mask, which stands back."""
WANTED = LINES[4]
DARK = 0.5
"""Numbers are white on colours of less luminance."""
SIDE = 2.35
"""Inches of a matrix's side."""
TALL = 0.5
"""Most of a matrix's height that skeletons above it take."""
BARS = (LINES[0], LINES[4], LINES[5])
"""Colours of axes, which differ to everybody's eye."""
NUMBERED = 10
"""Cells of a larger matrix have no numbers, and not all of its frames have theirs."""


def draw_attention(
    pose: ArrayLike,
    matrices: Mapping[str, ArrayLike],
    mask: ArrayLike,
    skeleton: Skeleton,
    frames: Sequence[int],
    title: str = "",
) -> Figure:
    """Matrices of a window side by side, with its skeletons above the frames, and the mask.

    Orange frames mark the cells where the mask is greatest.

    Args:
        pose: (T, V, 3), x right and y down, and confidence.
        matrices: name -> (T, T), decoder step by encoded frame.
        mask: (T, T).
        skeleton: layout of the joints.
        frames: whose skeletons are drawn, evenly spaced.
        title: above all.

    Raises:
        ValueError: if a shape does not fit.
    """
    (whole,) = checked([pose], skeleton, ())
    values = {name: np.asarray(matrix, dtype=np.float64) for name, matrix in matrices.items()}
    wanted = np.asarray(mask, dtype=np.float64)
    size = len(whole)
    for name, matrix in {**values, MASK: wanted}.items():
        if matrix.shape != (size, size):
            raise ValueError(f"expected {name!r} of shape {(size, size)}, found {matrix.shape}")
    points, room = _above(whole, frames)
    limbs = list(points[:, np.array(skeleton.edges)].reshape(-1, 2, 2))
    colors = limb_colors(skeleton) * len(frames)
    figure = new_figure((SIDE + 0.15) * (len(values) + 1) + 1.5, SIDE * (1 + room / size) + 1.15)
    panels = figure.subplots(1, len(values) + 1, squeeze=False, sharey=True)[0]
    _matrices(figure, panels, values, wanted)
    for axes in panels:
        sticks = LineCollection(
            limbs, colors=colors, linewidths=1.5, capstyle="round", clip_on=False
        )
        axes.add_collection(sticks, autolim=False)
        axes.set_ylim(size - 0.5, -0.5 - room)
    sides = (("left side", LEFT), ("right side", RIGHT))
    _explain(
        figure, [Line2D([], [], color=color, linewidth=1.8, label=name) for name, color in sides]
    )
    figure.suptitle(title, fontsize=9.5, color=INK)
    return figure


def attention_summary(table: pd.DataFrame, title: str = "") -> Figure:
    """Mean matrices beside the mask; below, how much attention lies at which distance.

    Args:
        table: columns axis, kind (``cell`` or ``distance``), distance, mask, even, mean, low and
            high; cells row by row of their matrix. NaN in low and high draws no interval.
        title: above all.

    Raises:
        ValueError: if it is empty.
    """
    names = list(dict.fromkeys(table["axis"]))
    if not names:
        raise ValueError("expected at least one axis to draw, found none")
    cells, distances = (
        {name: table[(table["axis"] == name) & (table["kind"] == kind)] for name in names}
        for kind in ("cell", "distance")
    )
    size = len(distances[names[0]])
    figure = new_figure((SIDE + 0.15) * (len(names) + 1) + 1.5, SIDE + 3.7)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[SIDE + 1.1, 2.6])[:, 0]
    panels = above.subplots(1, len(names) + 1, squeeze=False, sharey=True)[0]
    square = {
        name: rows["mean"].to_numpy(np.float64).reshape(size, size) for name, rows in cells.items()
    }
    wanted = cells[names[0]]["mask"].to_numpy(np.float64).reshape(size, size)
    _matrices(above, panels, square, wanted)
    _explain(above, [])
    _distances(below.subplots(), distances)
    figure.suptitle(title, fontsize=11, color=INK)
    return figure


def _matrices(
    figure: FigureBase, panels: Sequence[Axes], values: Mapping[str, Array], mask: Array
) -> None:
    """Matrices with one scale, and the mask with its own."""
    greatest = max(float(matrix.max()) for matrix in values.values())
    greatest = greatest if greatest > 0 else 1.0
    scale = Normalize(0, greatest)
    for axes, (name, matrix) in zip(panels, values.items(), strict=False):
        _matrix(axes, matrix, mask, BLUES, scale)
        axes.set_title(f"axis {name}", fontsize=10, color=INK)
    _matrix(panels[-1], mask, mask, GREYS, Normalize(0, 1))
    panels[-1].set_title(MASK, fontsize=10, color=INK)
    panels[0].set_ylabel("decoder step", fontsize=9, color=INK)
    for colors, most, beside, label in (
        (BLUES, greatest, list(panels[:-1]), "attention (%)"),
        (GREYS, 1.0, [panels[-1]], "mask (%)"),
    ):
        percent = ScalarMappable(Normalize(0, 100 * most), colors)
        bar = figure.colorbar(percent, ax=beside, pad=0.02, aspect=22, shrink=0.8)
        bar.set_label(label, fontsize=8, color=INK)
        bar.ax.tick_params(labelsize=7.5, length=0)
        bar.outline.set_visible(False)


def _explain(figure: FigureBase, lines: Sequence[Line2D]) -> None:
    """Say below what is marked, and what lines stand for."""
    wanted = Patch(
        facecolor=PAPER, edgecolor=WANTED, linewidth=1.6, label="where the mask is greatest"
    )
    figure.legend(
        handles=[wanted, *lines], loc="outside lower center", ncols=3, fontsize=8, frameon=False,
        labelcolor=INK,
    )  # fmt: skip


def _matrix(axes: Axes, matrix: Array, mask: Array, colors: Colormap, scale: Normalize) -> None:
    size = len(matrix)
    axes.imshow(matrix, cmap=colors, norm=scale, aspect="equal")
    if size <= NUMBERED:
        for (step, frame), value in np.ndenumerate(matrix):
            luminance = np.dot(colors(scale(value))[:3], (0.2126, 0.7152, 0.0722))
            axes.text(
                frame, step, f"{100 * value:.0f}", ha="center", va="center", fontsize=7.5,
                color=PAPER if luminance < DARK else INK,
            )  # fmt: skip
    line = 1.6 if size <= NUMBERED else 0.8
    for step, frame in enumerate(mask.argmax(axis=1)):
        place = (frame - 0.5, step - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=WANTED, linewidth=line))
    ticks = np.unique(np.linspace(0, size - 1, min(size, NUMBERED)).round().astype(int))
    axes.set_xticks(ticks, [str(tick + 1) for tick in ticks], fontsize=8)
    axes.set_yticks(ticks, [str(tick + 1) for tick in ticks], fontsize=8)
    axes.tick_params(length=0)
    axes.set_xlabel("encoded frame", fontsize=9, color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _above(pose: Array, frames: Sequence[int]) -> tuple[Array, float]:
    """Where joints (N, V, 2) stand above the columns of their frames, and how much room they take.

    Both in cells of the matrix, whose first row begins at -0.5.
    """
    chosen = followed(pose[list(frames)], axes=(0, 1))
    low, high = box(chosen)
    width, height = high - low
    scale = float(min(0.95 * len(pose) / len(frames) / width, TALL * len(pose) / height))
    points = (chosen[..., :2] - [(low[0] + high[0]) / 2, high[1]]) * scale
    points += np.stack([np.asarray(frames), np.full(len(frames), -0.5)], axis=-1)[:, None]
    points[chosen[..., 2] < SEEN] = np.nan
    return points, scale * float(height)


def _distances(axes: Axes, rows: Mapping[str, pd.DataFrame]) -> None:
    """Bars by distance, an axis beside the other, and what attention to all alike would be."""
    width = 0.8 / len(rows)
    for k, (name, own) in enumerate(rows.items()):
        mean, low, high = (100 * own[key].to_numpy(np.float64) for key in ("mean", "low", "high"))
        place = np.arange(len(own)) + width * (k - (len(rows) - 1) / 2)
        axes.bar(place, mean, 0.92 * width, color=BARS[k % len(BARS)], label=f"axis {name}")
        known = np.isfinite(low) & np.isfinite(high)
        axes.errorbar(
            place[known], mean[known], [(mean - low)[known], (high - mean)[known]],
            fmt="none", ecolor=INK, elinewidth=1, capsize=2,
        )  # fmt: skip
    even = 100 * next(iter(rows.values()))["even"].to_numpy(np.float64)
    place = np.arange(len(even), dtype=np.float64)
    axes.hlines(
        even, place - 0.45, place + 0.45, color=INK, linewidth=1.2, linestyle=(0, (3, 2)),
        label="all frames alike",
    )  # fmt: skip
    ticks = np.unique(np.linspace(0, len(even) - 1, min(len(even), 2 * NUMBERED)).round())
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks], fontsize=8)
    axes.set_xlabel("frames away from where the mask is greatest", fontsize=9, color=INK)
    axes.set_ylabel("attention (%)", fontsize=9, color=INK)
    axes.set_xlim(-0.6, len(even) - 0.4)
    axes.set_ylim(bottom=0)
    on_grid(axes, "y")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
