"""Figures and animations: walking stick figures, tables of views as heat maps, learning curves.

Figures are built on the Agg canvas without pyplot, so nothing global is touched and no display
is needed; they are returned for the caller to change, and `save_figure` writes them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from gaitbench.files import written_whole
from gaitbench.skeleton import Skeleton

LEFT, RIGHT, MIDDLE = "#d1495b", "#2e6f95", "#4a4a4a"
"""Colours of the body's left and right limbs and of those that join the two."""

_INK, _PAPER, _GRID = "#262626", "#ffffff", "#e4e4e4"
_LINES = ("#2e6f95", "#d1495b", "#3f9b6d", "#b07aa1", "#e09f3e", "#4a4a4a")
_PALETTE = [
    tuple(round(255 + share * (int(color[k : k + 2], 16) - 255)) for k in (1, 3, 5))
    for color in (LEFT, RIGHT, MIDDLE, _INK, _GRID)
    for share in ((1.0,) if color == _GRID else (1.0, 0.75, 0.5, 0.25))
]
_SEEN = 0.025  # joints of less confidence are not drawn
Array = NDArray[np.float64]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure whole or not at all, in the format of the name's ending.

    Raises:
        InputError: if it cannot be written.
    """
    with written_whole(path) as beside:
        figure.savefig(beside)
    return path


def _limb_colors(skeleton: Skeleton) -> list[str]:
    """Colour of each edge: left or right where its ends are on that side or in the middle."""
    sides = {"left": LEFT, "right": RIGHT}
    colors = []
    for edge in skeleton.edges:
        found = {skeleton.joints[joint].partition("_")[0] for joint in edge} & sides.keys()
        colors.append(sides[found.pop()] if len(found) == 1 else MIDDLE)
    return colors


def _joint_colors(skeleton: Skeleton) -> list[str]:
    return [
        LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE
        for name in skeleton.joints
    ]


def _box(pose: Array) -> tuple[Array, Array]:
    """Lower and upper x and y of the joints that are seen in any frame, with a margin."""
    points = pose[..., :2][pose[..., 2] >= _SEEN]
    if not len(points):
        return np.zeros(2), np.ones(2)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(0.05 * float((high - low).max()), 1e-6)
    return low - margin, high + margin


def _followed(pose: Array, axes: Sequence[int]) -> Array:
    """Poses moved so that the middle of the joints that are seen stays where it is on average."""
    seen = (pose[..., 2:] >= _SEEN).astype(np.float64)
    count = seen.sum(axis=1, keepdims=True)
    middle = (pose[..., :2] * seen).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    empty = count[:, 0, 0] == 0
    middle[empty] = middle[~empty].mean(axis=0) if (~empty).any() else 0
    moved = pose.copy()
    moved[..., list(axes)] += (middle.mean(axis=0) - middle)[..., list(axes)]
    return moved


class _StickFigure:
    """One pose on axes in pixels: x to the right, y down, both to the same scale."""

    def __init__(self, axes: Axes, pose: Array, skeleton: Skeleton, title: str) -> None:
        low, high = _box(pose)
        axes.set_xlim(float(low[0]), float(high[0]))
        axes.set_ylim(float(high[1]), float(low[1]))
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(_GRID)
        axes.set_title(title, fontsize=10, color=_INK)
        self.pose, self.edges = pose, np.array(skeleton.edges)
        self.limbs = LineCollection(
            [], colors=_limb_colors(skeleton), linewidths=2.4, capstyle="round"
        )
        axes.add_collection(self.limbs, autolim=False)
        self.joints: PathCollection = axes.scatter(
            np.zeros(len(skeleton.joints)), np.zeros(len(skeleton.joints)), s=9,
            c=_joint_colors(skeleton), linewidths=0, zorder=3,
        )  # fmt: skip

    def show(self, frame: int) -> None:
        """Move to a frame; a shorter sequence stays at its last."""
        pose = self.pose[min(frame, len(self.pose) - 1)]
        points = np.where(pose[:, 2:] >= _SEEN, pose[:, :2], np.nan)
        self.limbs.set_segments(list(points[self.edges]))
        self.joints.set_offsets(points)


def _checked(poses: Sequence[ArrayLike], skeleton: Skeleton, titles: Sequence[str]) -> list[Array]:
    arrays = [np.asarray(pose, dtype=np.float64) for pose in poses]
    if not arrays or (titles and len(titles) != len(arrays)):
        raise ValueError(f"expected one title a sequence, found {len(titles)} for {len(arrays)}")
    for pose in arrays:
        if pose.ndim != 3 or pose.shape[1:] != (skeleton.num_joints, 3) or not len(pose):
            raise ValueError(
                f"expected poses (T, {skeleton.num_joints}, 3) of {skeleton.name}, "
                f"found {pose.shape}"
            )
    return arrays


def draw_poses(
    pose: ArrayLike,
    skeleton: Skeleton,
    frames: Sequence[int],
    titles: Sequence[str] = (),
    columns: int = 8,
) -> Figure:
    """Chosen frames of one sequence side by side, each in a box of the same size.

    Args:
        pose: (T, V, 3), x right and y down in pixels, and confidence.
        skeleton: layout of the joints.
        frames: which frames.
        titles: one a frame; "frame k" if none.
        columns: boxes in a row.

    Raises:
        ValueError: if the shape does not fit the skeleton, or the number of titles the frames.
    """
    (whole,) = _checked([pose], skeleton, ())
    titles = titles or [f"frame {frame}" for frame in frames]
    if len(titles) != len(frames):
        raise ValueError(f"expected one title a frame, found {len(titles)} for {len(frames)}")
    # each pose about its own middle, so that all boxes have one scale
    chosen = _followed(whole[list(frames)], axes=(0,))
    rows = -(-len(frames) // columns)
    columns = min(columns, len(frames))
    figure = _figure(1.35 * columns, 2.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, k in zip(grid.flat, range(rows * columns), strict=True):
        if k < len(frames):
            _StickFigure(axes, chosen, skeleton, titles[k]).show(k)
        else:
            axes.set_axis_off()
    return figure


def animate_poses(
    poses: Sequence[ArrayLike],
    skeleton: Skeleton,
    path: Path,
    titles: Sequence[str] = (),
    fps: float = 25.0,
    follow: bool = False,
) -> Path:
    """Write stick figures that walk side by side as an animated GIF that repeats.

    The left side of the body is red, the right side blue. A shorter sequence waits at its end.

    Args:
        poses: sequences (T, V, 3), x right and y down in pixels, and confidence.
        skeleton: layout of the joints.
        path: of the file; its folder is made if it is not there.
        titles: one a sequence, or none.
        fps: frames a second; GIF counts in hundredths of a second.
        follow: keep each person in the middle of the box, which makes them larger.

    Raises:
        ValueError: if a shape does not fit the skeleton, or the number of titles the sequences.
    """
    path = Path(path)
    arrays = _checked(poses, skeleton, titles)
    if follow:
        arrays = [_followed(pose, axes=(0, 1)) for pose in arrays]
    # boxes of one height, as wide as what they show
    boxes = [_box(pose) for pose in arrays]
    widths = [float(np.divide(*(high - low))) for low, high in boxes]
    widths = [float(np.clip(width, 0.45, 2.0)) for width in widths]
    figure = _figure(2.2 * sum(widths) + 0.2 * len(arrays), 2.6)
    grid = figure.subplots(1, len(arrays), squeeze=False, gridspec_kw={"width_ratios": widths})[0]
    titles = titles or [""] * len(arrays)
    sticks = [
        _StickFigure(axes, pose, skeleton, title)
        for axes, pose, title in zip(grid, arrays, titles, strict=True)
    ]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")  # the layout is found; frames differ in their lines only
    # one palette for all frames keeps colours still; its first is the paper
    palette = Image.new("P", (1, 1))
    palette.putpalette([255, 255, 255, *(level for color in _PALETTE for level in color)])
    images: list[Image.Image] = []
    for frame in range(max(map(len, arrays))):
        for stick in sticks:
            stick.show(frame)
        canvas.draw()  # type: ignore[no-untyped-call]
        buffer = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        pixels = Image.fromarray(np.asarray(buffer)).convert("RGB")
        images.append(pixels.quantize(palette=palette, dither=Image.Dither.NONE))
    with written_whole(path) as beside:
        images[0].save(
            beside, format="GIF", save_all=True, append_images=images[1:],
            duration=max(20, round(100 / fps) * 10), loop=0, disposal=1, optimize=False,
        )  # fmt: skip
    return path


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
    figure = _figure(
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
        axes.grid(which="minor", color=_PAPER, linewidth=1)
        axes.tick_params(which="minor", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("probe view (°)", fontsize=9)
        mean = f"mean {np.nanmean(cells):.1f} %" if np.isfinite(cells).any() else "no values"
        axes.set_title(f"{probe_set}: {mean}", fontsize=10, color=_INK)
    panels[0].set_ylabel("gallery view (°)", fontsize=9)
    assert image is not None  # there is at least one probe set
    bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.015)
    bar.set_label({"rank1": "rank-1"}.get(metric, metric) + " (%)", fontsize=9)
    bar.ax.tick_params(labelsize=7.5, length=0)
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11, color=_INK)
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
    figure = _figure(6.2, 2.3 * len(curves) + (0.4 if title else 0.1))
    panels = figure.subplots(len(curves), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (quantity, lines) in zip(panels, curves.items(), strict=True):
        for k, (name, (x, y)) in enumerate(lines.items()):
            axes.plot(
                np.asarray(x), np.asarray(y), label=name, linewidth=1.8,
                color=_LINES[k % len(_LINES)], marker="o" if np.size(x) <= 25 else None,
                markersize=3.5,
            )  # fmt: skip
        if quantity in log_scale:
            axes.set_yscale("log")
        axes.set_ylabel(quantity, fontsize=9)
        axes.tick_params(labelsize=8, color=_GRID)
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(_GRID)
        if len(lines) > 1:
            axes.legend(fontsize=8, frameon=False)
    panels[-1].set_xlabel(x_label, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=_INK)
    return figure
