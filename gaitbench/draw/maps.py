"""Where a network looks: values of joints over the walk, drawn upon the walker."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from gaitbench.draw.canvas import (
    GRID,
    INK,
    LINES,
    PAPER,
    Array,
    new_figure,
    on_grid,
    pictures,
    write_gif,
    write_mp4,
)
from gaitbench.draw.poses import SEEN, box, checked, followed, paper_for
from gaitbench.skeleton import Skeleton

VALUES = ListedColormap(colormaps["plasma_r"](np.linspace(0.04, 1, 20)), "values")
"""Colours of 0..1: pale to dark in even steps for the eye, also one that does not tell red from
green, and in print without colour. Few of them keep animations small."""

Style = Literal["solid"] | tuple[float, Sequence[float]]
SIDES: Mapping[str, tuple[str, Style]] = {
    "left": ("#8c8c8c", "solid"),
    "right": ("#b9b9b9", (0, (2.2, 1.6))),
}
MIDDLE_LIMB: tuple[str, Style] = ("#cfcfcf", "solid")
SMALL, LARGE = 14.0, 128.0
"""Area of a joint's marker at 0 and what 1 adds, in points squared (128: the authors' drawing)."""
ACROSS = 4
"""Maps side by side in an animation; more go below."""
TALL, LOW = 2.8, 2.25
"""Inches of a panel's height in an animation and on a sheet."""
PHASE_TICKS = ((0.0, 0.5, 1.0), ("feet\napart", "feet\npassing", "feet\napart"))
SCALE = "value (greatest of the walk = 1)"


def _width(pose: Array, height: float) -> float:
    """How wide paper of that height is that holds the pose."""
    low, high = box(pose)
    across, down = high - low
    return float(np.clip(height * across / down, 0.35 * height, 2 * height))


class MappedFigure:
    """A pose on its paper, whose joints have a value; it moves."""

    def __init__(self, axes: Axes, pose: Array, values: Array, skeleton: Skeleton) -> None:
        self.pose, self.values = pose, values
        self.edges = np.array(skeleton.edges)
        styles = [_limb_style(skeleton, edge) for edge in skeleton.edges]
        self.limbs = LineCollection(
            [], colors=[color for color, _ in styles], linewidths=2.0,
            linestyles=[style for _, style in styles],
        )  # fmt: skip
        axes.add_collection(self.limbs, autolim=False)
        nowhere = np.zeros(skeleton.num_joints)
        self.joints = axes.scatter(
            nowhere, nowhere, s=SMALL, c=nowhere, cmap=VALUES, vmin=0, vmax=1,
            linewidths=0.5, edgecolors=INK, zorder=3,
        )  # fmt: skip

    def show(self, frame: int) -> None:
        """Move to a frame; the greatest values lie in front."""
        pose, values = self.pose[frame], self.values[frame]
        points = np.where(pose[:, 2:] >= SEEN, pose[:, :2], np.nan)
        self.limbs.set_segments(list(points[self.edges]))
        order = values.argsort(kind="stable")
        self.joints.set_offsets(points[order])
        self.joints.set_array(values[order])
        self.joints.set_sizes(SMALL + LARGE * values[order])


def _limb_style(skeleton: Skeleton, edge: tuple[int, int]) -> tuple[str, Style]:
    sides = {skeleton.joints[joint].partition("_")[0] for joint in edge} & SIDES.keys()
    return SIDES[sides.pop()] if len(sides) == 1 else MIDDLE_LIMB


def _furnish(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    """Add what is said once: title, colour bar, and which side is which."""
    figure.suptitle(title, fontsize=9.5, color=INK)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), VALUES), ax=list(axes), fraction=0.05, pad=0.02, aspect=28
    )
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1])
    bar.ax.tick_params(labelsize=7.5, length=0)
    bar.set_label(SCALE, fontsize=8, color=INK)
    bar.outline.set_visible(False)
    lines = [
        Line2D([], [], color=color, linestyle=style, linewidth=2.0, label=f"{side} side")
        for side, (color, style) in SIDES.items()
    ]
    figure.legend(
        handles=lines, loc="outside lower center", ncols=2, fontsize=8, frameon=False,
        labelcolor=INK, handlelength=2.6,
    )  # fmt: skip


def _checked(
    pose: ArrayLike, maps: Mapping[str, ArrayLike], skeleton: Skeleton
) -> tuple[Array, dict[str, Array]]:
    (whole,) = checked([pose], skeleton, ())
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in maps.items()}
    if not arrays:
        raise ValueError("expected at least one map to draw, found none")
    for name, values in arrays.items():
        if values.shape != whole.shape[:2]:
            raise ValueError(
                f"expected the map {name!r} of shape {whole.shape[:2]}, found {values.shape}"
            )
    return whole, {name: np.clip(values, 0, 1) for name, values in arrays.items()}


def animate_maps(
    pose: ArrayLike,
    maps: Mapping[str, ArrayLike],
    skeleton: Skeleton,
    paths: Sequence[Path],
    title: str = "",
    fps: float = 12.5,
) -> None:
    """Write a walker who carries the values of the joints, one panel a map, as GIF or MP4.

    Size and colour of a joint tell its value; limbs are gray, those of the right side dashed. The
    walker stays in the middle.

    Args:
        pose: (T, V, 3), x right and y down in pixels, and confidence.
        maps: name -> (T, V) values in 0..1.
        skeleton: layout of the joints.
        paths: files to write, ending in ``.gif`` or ``.mp4``.
        title: above all panels.
        fps: frames a second.

    Raises:
        InputError: if a file cannot be written.
        ValueError: if a shape does not fit the skeleton.
    """
    whole, values = _checked(pose, maps, skeleton)
    whole = followed(whole, axes=(0, 1))
    rows, columns = -(-len(values) // ACROSS), min(ACROSS, len(values))
    width = 1.0 + columns * (_width(whole, TALL) + 0.15)
    figure = new_figure(max(width, 2.9), 1.2 + rows * (TALL + 0.2), 80)
    grid = figure.subplots(rows, columns, squeeze=False)
    sticks = []
    for axes, name in zip(grid.flat, values, strict=False):
        paper_for(axes, whole, name)
        axes.title.set_fontsize(9)
        sticks.append(MappedFigure(axes, whole, values[name], skeleton))
    for axes in list(grid.flat)[len(values) :]:
        axes.set_axis_off()
    last = grid[-1, 0]
    last.set_xlabel(" ", fontsize=8)  # keeps room for the number of the frame
    counter = last.text(
        0.5, -0.02, "", transform=last.transAxes, fontsize=8, color=INK, ha="center", va="top"
    )
    _furnish(figure, list(grid.flat), title)

    def show(frame: int) -> None:
        for stick in sticks:
            stick.show(frame)
        counter.set_text(f"frame {frame + 1} of {len(whole)}")

    moving = [artist for stick in sticks for artist in (stick.limbs, stick.joints)]
    frames = list(pictures(figure, [*moving, counter], show, len(whole)))
    colors = [to_hex(color) for color in VALUES(np.arange(VALUES.N))]
    limbs = [color for color, _ in (*SIDES.values(), MIDDLE_LIMB)]
    for path in paths:
        if path.suffix == ".mp4":
            write_mp4(path, frames, fps)
        else:
            write_gif(path, frames, [*colors, *limbs, INK, GRID], fps, shades=2)


def draw_maps(
    pose: ArrayLike,
    maps: Mapping[str, ArrayLike],
    skeleton: Skeleton,
    frames: Sequence[int],
    labels: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Key frames of a walk with the values of the joints: a row a map, a column a frame.

    Args:
        pose: (T, V, 3), x right and y down in pixels, and confidence.
        maps: name -> (T, V) values in 0..1.
        skeleton: layout of the joints.
        frames: which frames.
        labels: one a frame; its number if none.
        title: above all.

    Raises:
        ValueError: if a shape does not fit the skeleton, or the number of labels the frames.
    """
    whole, values = _checked(pose, maps, skeleton)
    labels = labels or [f"frame {frame + 1}" for frame in frames]
    if len(labels) != len(frames):
        raise ValueError(f"expected one label a frame, found {len(labels)} for {len(frames)}")
    chosen = followed(whole[list(frames)], axes=(0, 1))
    width = _width(chosen, LOW) + 0.1
    figure = new_figure(max(width * len(frames) + 1.1, 5.0), (LOW + 0.1) * len(values) + 0.9)
    grid = figure.subplots(len(values), len(frames), squeeze=False)
    for i, (name, shown) in enumerate(values.items()):
        grid[i, 0].set_ylabel(name, fontsize=8.5, color=INK)
        for k, axes in enumerate(grid[i]):
            paper_for(axes, chosen, labels[k] if i == 0 else "")
            axes.title.set_fontsize(8)
            MappedFigure(axes, chosen, shown[list(frames)], skeleton).show(k)
    _furnish(figure, list(grid.flat), title)
    return figure


def map_summary(table: pd.DataFrame, title: str = "") -> Figure:
    """Mean value of each joint, and in each phase of the step: a row a map.

    Args:
        table: columns map, kind (``joint`` or ``phase``), name (of the joint, or where the bin
            begins in 0..1), mean, low, high; NaN in low and high draws no interval.
        title: above all.

    Raises:
        ValueError: if it is empty.
    """
    names = list(dict.fromkeys(table["map"]))
    if not names:
        raise ValueError("expected at least one map to draw, found none")
    figure = new_figure(8.6, 2.75 * len(names) + 0.5)
    grid = figure.subplots(
        len(names), 2, squeeze=False, sharey="row", gridspec_kw={"width_ratios": [2.3, 1]}
    )
    for (left, right), name in zip(grid, names, strict=True):
        own = table[table["map"] == name]
        joints, phases = (own[own["kind"] == kind] for kind in ("joint", "phase"))
        place = np.arange(len(joints), dtype=np.float64)
        sides = [str(joint).partition("_")[0] for joint in joints["name"]]
        _bars(left, place, joints, 0.72, sides)
        left.set_xticks(
            place,
            [str(joint).replace("_", " ") for joint in joints["name"]],
            rotation=45, ha="right", rotation_mode="anchor",
        )  # fmt: skip
        left.set_xlim(-0.6, len(joints) - 0.4)
        left.set_ylabel(f"{name}\nmean value", fontsize=9)
        begins = phases["name"].to_numpy(dtype=np.float64)
        width = 1 / max(len(begins), 1)
        _bars(right, begins + width / 2, phases, 0.9 * width, [""] * len(begins))
        right.set_xticks(*PHASE_TICKS)
        right.set_xlim(0, 1)
        for axes in (left, right):
            on_grid(axes, "y")
    grid[0, 0].set_title("joint", fontsize=10, color=INK)
    grid[0, 1].set_title("phase of the step", fontsize=10, color=INK)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def _bars(axes: Axes, x: Array, rows: pd.DataFrame, width: float, sides: Sequence[str]) -> None:
    """Bars with their intervals; those of the right side are hatched."""
    mean, low, high = (rows[name].to_numpy(dtype=np.float64) for name in ("mean", "low", "high"))
    bars = axes.bar(x, np.nan_to_num(mean), width, color=LINES[0], edgecolor=PAPER, linewidth=0)
    for bar, side in zip(bars, sides, strict=True):
        if side == "right":
            bar.set_hatch("////")
    known = np.isfinite(low) & np.isfinite(high)
    axes.errorbar(
        x[known], mean[known], [(mean - low)[known], (high - mean)[known]],
        fmt="none", ecolor=INK, elinewidth=1, capsize=2,
    )  # fmt: skip
    axes.set_ylim(bottom=0)
