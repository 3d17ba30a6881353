"""Walking stick figures, still and moving."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gaitbench.draw.canvas import (
    GRID,
    INK,
    LEFT,
    MIDDLE,
    RIGHT,
    Array,
    new_figure,
    pictures,
    write_gif,
)
from gaitbench.skeleton import Skeleton

SEEN = 0.025
"""Joints of less confidence are not drawn."""


def limb_colors(skeleton: Skeleton) -> list[str]:
    """Colour of each edge: left or right where its ends are on that side or in the middle."""
    sides = {"left": LEFT, "right": RIGHT}
    colors = []
    for edge in skeleton.edges:
        found = {skeleton.joints[joint].partition("_")[0] for joint in edge} & sides.keys()
        colors.append(sides[found.pop()] if len(found) == 1 else MIDDLE)
    return colors


def joint_colors(skeleton: Skeleton) -> list[str]:
    """Colour of each joint by its side."""
    return [
        LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE
        for name in skeleton.joints
    ]


def box(pose: Array) -> tuple[Array, Array]:
    """Lower and upper x and y of the joints that are seen in any frame, with a margin."""
    points = pose[..., :2][pose[..., 2] >= SEEN]
    if not len(points):
        return np.zeros(2), np.ones(2)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(0.05 * float((high - low).max()), 1e-6)
    return low - margin, high + margin


def followed(pose: Array, axes: Sequence[int]) -> Array:
    """Poses moved so that the middle of the joints that are seen stays where it is on average."""
    seen = (pose[..., 2:] >= SEEN).astype(np.float64)
    count = seen.sum(axis=1, keepdims=True)
    middle = (pose[..., :2] * seen).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    empty = count[:, 0, 0] == 0
    middle[empty] = middle[~empty].mean(axis=0) if (~empty).any() else 0
    moved = pose.copy()
    moved[..., list(axes)] += (middle.mean(axis=0) - middle)[..., list(axes)]
    return moved


def paper_for(axes: Axes, pose: Array, title: str) -> None:
    """Make axes the paper for a pose in pixels: x to the right, y down, both to the same scale."""
    low, high = box(pose)
    axes.set_xlim(float(low[0]), float(high[0]))
    axes.set_ylim(float(high[1]), float(low[1]))
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.set_title(title, fontsize=10, color=INK)


class StickFigure:
    """One pose on its paper, which moves."""

    def __init__(self, axes: Axes, pose: Array, skeleton: Skeleton, title: str) -> None:
        paper_for(axes, pose, title)
        self.pose, self.edges = pose, np.array(skeleton.edges)
        self.limbs = LineCollection(
            [], colors=limb_colors(skeleton), linewidths=2.4, capstyle="round"
        )
        axes.add_collection(self.limbs, autolim=False)
        self.joints: PathCollection = axes.scatter(
            np.zeros(len(skeleton.joints)), np.zeros(len(skeleton.joints)), s=9,
            c=joint_colors(skeleton), linewidths=0, zorder=3,
        )  # fmt: skip

    def show(self, frame: int) -> None:
        """Move to a frame; a shorter sequence stays at its last."""
        pose = self.pose[min(frame, len(self.pose) - 1)]
        points = np.where(pose[:, 2:] >= SEEN, pose[:, :2], np.nan)
        self.limbs.set_segments(list(points[self.edges]))
        self.joints.set_offsets(points)


def checked(poses: Sequence[ArrayLike], skeleton: Skeleton, titles: Sequence[str]) -> list[Array]:
    """The poses as arrays.

    Raises:
        ValueError: if a shape does not fit the skeleton, or the number of titles the sequences.
    """
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
    (whole,) = checked([pose], skeleton, ())
    titles = titles or [f"frame {frame}" for frame in frames]
    if len(titles) != len(frames):
        raise ValueError(f"expected one title a frame, found {len(titles)} for {len(frames)}")
    # each pose about its own middle, so that all boxes have one scale
    chosen = followed(whole[list(frames)], axes=(0,))
    rows = -(-len(frames) // columns)
    columns = min(columns, len(frames))
    figure = new_figure(1.35 * columns, 2.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, k in zip(grid.flat, range(rows * columns), strict=True):
        if k < len(frames):
            StickFigure(axes, chosen, skeleton, titles[k]).show(k)
        else:
            axes.set_axis_off()
    return figure


def draw_sheet(
    poses: Sequence[ArrayLike], skeleton: Skeleton, titles: Sequence[str], columns: int = 8
) -> Figure:
    """Sequences one below the other, each in frames spread evenly over it.

    The left side of the body is red, the right side blue. Each sequence has a scale of its own.

    Args:
        poses: sequences (T, V, 3), x right and y down, and confidence.
        skeleton: layout of the joints.
        titles: one a sequence.
        columns: frames of each; a shorter sequence has fewer.

    Raises:
        ValueError: if a shape does not fit the skeleton, or the number of titles the sequences.
    """
    arrays = checked(poses, skeleton, titles)
    figure = new_figure(1.1 * columns + 0.3, 2.1 * len(arrays), dpi=90)
    grid = figure.subplots(len(arrays), columns, squeeze=False)
    for row, pose, title in zip(grid, arrays, titles, strict=True):
        frames = np.unique(np.linspace(0, len(pose) - 1, columns).round().astype(int))
        chosen = followed(pose[frames], axes=(0, 1))
        for k, axes in enumerate(row):
            if k < len(frames):
                StickFigure(axes, chosen, skeleton, "").show(k)
                axes.set_xlabel(f"frame {frames[k]}", fontsize=7, color=INK)
            else:
                axes.set_axis_off()
        # it reaches over the whole row, and must not widen the first box
        row[0].set_title(title, fontsize=8, color=INK, loc="left").set_in_layout(False)
    return figure


def animate_poses(
    poses: Sequence[ArrayLike],
    skeleton: Skeleton,
    path: Path,
    titles: Sequence[str] = (),
    fps: float = 25.0,
    follow: bool = False,
    one_scale: bool = False,
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
        one_scale: draw all in one scale and on one floor, where poses have one unit.

    Raises:
        ValueError: if a shape does not fit the skeleton, or the number of titles the sequences.
    """
    path = Path(path)
    arrays = checked(poses, skeleton, titles)
    if follow:
        arrays = [followed(pose, axes=(0, 1)) for pose in arrays]
    # boxes of one height, as wide as what they show
    boxes = [box(pose) for pose in arrays]
    if one_scale:
        tallest = max(high[1] - low[1] for low, high in boxes)
        boxes = [(np.array([low[0], high[1] - tallest]), high) for low, high in boxes]
    widths = [float(np.divide(*(high - low))) for low, high in boxes]
    widths = [float(np.clip(width, 0.45, 2.0)) for width in widths]
    figure = new_figure(2.2 * sum(widths) + 0.2 * len(arrays), 2.6)
    grid = figure.subplots(1, len(arrays), squeeze=False, gridspec_kw={"width_ratios": widths})[0]
    titles = titles or [""] * len(arrays)
    sticks = [
        StickFigure(axes, pose, skeleton, title)
        for axes, pose, title in zip(grid, arrays, titles, strict=True)
    ]
    for axes, (low, high) in zip(grid, boxes, strict=True):
        axes.set_ylim(float(high[1]), float(low[1]))

    def show(frame: int) -> None:
        for stick in sticks:
            stick.show(frame)

    moving = [artist for stick in sticks for artist in (stick.limbs, stick.joints)]
    frames = list(pictures(figure, moving, show, max(map(len, arrays))))
    return write_gif(path, frames, (LEFT, RIGHT, MIDDLE, INK, GRID), fps)
