"""Many small pictures on one sheet, row by row."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from gaitbench.draw.canvas import Picture, new_figure
from gaitbench.draw.poses import SEEN, limb_colors
from gaitbench.skeleton import Skeleton

SIDE = 64
"""Pixels of a small picture's side."""

MARGIN = 0.08  # of the side, around what is shown


def columns_of(count: int) -> int:
    """Pictures in a row of a sheet that is as nearly square as may be."""
    return int(np.ceil(np.sqrt(count)))


def pose_thumbs(pose: ArrayLike, skeleton: Skeleton) -> Picture:
    """One skeleton a small picture, each as large as its square lets it be.

    The left side of the body is red, the right side blue.

    Args:
        pose: (N, V, 3), x right and y down, and confidence.
        skeleton: layout of the joints.

    Returns:
        The sheet (H, W, 3), of squares of ``SIDE`` pixels.
    """
    pose = np.asarray(pose, dtype=np.float64)
    columns = columns_of(len(pose))
    rows = -(-len(pose) // columns)
    seen = pose[..., 2:] >= SEEN
    low = np.where(seen, pose[..., :2], np.inf).min(axis=1, keepdims=True)
    high = np.where(seen, pose[..., :2], -np.inf).max(axis=1, keepdims=True)
    nobody = ~seen.any(axis=1, keepdims=True)
    low, high = np.where(nobody, 0, low), np.where(nobody, 0, high)
    size = np.maximum((high - low).max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)
    corner = np.stack(np.divmod(np.arange(len(pose)), columns)[::-1], axis=-1)[:, None]
    points = corner + 0.5 + (1 - 2 * MARGIN) * (pose[..., :2] - (low + high) / 2) / size
    limbs = np.array(skeleton.edges)
    shown = seen[:, limbs, 0].all(axis=-1)
    colors = np.tile(limb_colors(skeleton), (len(pose), 1))
    figure = new_figure(columns, rows, dpi=SIDE)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.add_collection(
        LineCollection(
            list(points[:, limbs][shown]), colors=colors[shown], linewidths=2, capstyle="round"
        ),
        autolim=False,
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def image_thumbs(images: NDArray[np.uint8]) -> Picture:
    """Pictures (N, H, W, 3), each made to fit its square.

    Returns:
        The sheet, as :func:`pose_thumbs` gives it.
    """
    count, height, width, _ = images.shape
    columns, side = columns_of(count), max(height, width)
    rows = -(-count // columns)
    above, before = (side - height) // 2, (side - width) // 2
    squares = np.full((rows * columns, side, side, 3), 255, np.uint8)
    squares[:count, above : above + height, before : before + width] = images
    sheet = squares.reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    whole = Image.fromarray(sheet.reshape(rows * side, columns * side, 3))
    return np.asarray(whole.resize((columns * SIDE, rows * SIDE), Image.Resampling.BOX))
