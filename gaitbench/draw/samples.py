"""What networks on images see of a walk: gray values, optical flow as colours, silhouettes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaitbench.draw.canvas import GRID, INK, Array, new_figure

INCH = 0.9  # of a picture's side on paper
FASTEST = 95.0  # percentile of speed that has full colour

Images = NDArray[np.uint8]


def flow_colors(flow: Array, fastest: float | None = None) -> Array:
    """Flow (..., 2) as colours (..., 3): the hue is the direction, white does not move.

    To the right is red, downwards yellow-green, to the left cyan, upwards violet.

    Args:
        flow: x to the right and y down, in pixels.
        fastest: speed of the fullest colour; the 95th percentile of what moves if none is given.
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])
    if fastest is None:
        moving = speed[speed > 0]
        fastest = float(np.percentile(moving, FASTEST)) if moving.size else 1.0
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    share = np.clip(speed / max(fastest, np.finfo(np.float32).tiny), 0, 1)
    colors: Array = hsv_to_rgb(np.stack([hue, share, np.ones_like(hue)], axis=-1))
    return colors


def draw_samples(
    gray: Images, flow: Array, silhouettes: Images, titles: Sequence[str], credit: str = ""
) -> Figure:
    """Frames side by side, what is known of each below one another.

    Args:
        gray: (K, H, W) gray values.
        flow: (K, H, W, 2) from each frame to the next, in pixels.
        silhouettes: (K, H', W'), 0 to 255.
        titles: K words above the columns.
        credit: where the pictures are from, written below.
    """
    figure = new_figure(INCH * len(titles) + 0.7, 3 * INCH + 0.45 + 0.2 * bool(credit))
    axes = figure.subplots(3, len(titles), squeeze=False)
    rows: list[tuple[str, NDArray[Any]]] = [
        ("gray", gray),
        ("flow", flow_colors(flow)),
        ("silhouette", silhouettes),
    ]
    for row, (name, pictures) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name, fontsize=9, color=INK)
        for paper, picture in zip(row, pictures, strict=True):
            paper.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            paper.set_xticks([])
            paper.set_yticks([])
            for spine in paper.spines.values():
                spine.set_color(GRID)
    for paper, title in zip(axes[0], titles, strict=True):
        paper.set_title(title, fontsize=9, color=INK)
    if credit:
        figure.supxlabel(credit, fontsize=7, color=INK)
    return figure
