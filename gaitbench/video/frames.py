"""What is stored of each frame of a person in a video: small gray image, flow, silhouette, box.

Image and flow are of the whole frame, as GaitCopy's data were made (specification, section 9): the
person is cut out of them when a window is, see :mod:`gaitbench.video.crops`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAY, FLOW, SILHOUETTE, BOXES = "gray", "flow", "silhouette", "boxes"
"""Names of a store's arrays. ``boxes`` are x0, y0, x1, y1 in pixels of the video."""

MODALITIES = (GRAY, FLOW, SILHOUETTE)
HEIGHT, WIDTH = 60, 80
SIDE = 64  # of silhouettes
FRAMES: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]] = MappingProxyType(
    {
        GRAY: ((HEIGHT, WIDTH), np.dtype(np.uint8)),
        FLOW: ((HEIGHT, WIDTH, 2), np.dtype(np.int16)),
        SILHOUETTE: ((SIDE, SIDE), np.dtype(np.uint8)),
        BOXES: ((4,), np.dtype(np.int16)),
    }
)
"""Name of an array -> shape of a frame and type."""

FLOWS = ("dis", "farneback", "spynet")
"""How flow is found: dense inverse search (Kroeger et al., ECCV 2016), polynomial expansion
(Farnebäck, SCIA 2003), or the network that GaitCopy's data were made with (Ranjan and Black, CVPR
2017)."""

FLOW_STEPS = 100
"""Steps of stored flow that are a pixel of the original video."""

FEWEST = 10_000 / 255
"""Pixels of a silhouette up to which GaitSet's preparation drops it."""

_SLOPE = -0.75  # of OpenCV's cubic kernel at a distance of 1


def gray_frame(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A gray picture (H, W) as it is stored, (60, 80); halves are rounded up."""
    corners, shares = _corners(image)
    return np.asarray(np.floor(_mean(corners, shares) + 0.5), np.uint8)


def flow_frame(flow: NDArray[np.float32]) -> NDArray[np.int16]:
    """Flow (H, W, 2) in pixels as it is stored, (60, 80, 2) in hundredths of them.

    Hundredths are cut off before the picture is made smaller, and halves are rounded to even
    numbers then, both as in the reference. What 16 bits do not hold becomes the utmost.
    """
    corners, shares = _corners(flow)
    steps = np.rint(_mean(np.trunc(corners * np.float32(FLOW_STEPS)), shares))
    limits = np.iinfo(np.int16)
    return steps.clip(limits.min, limits.max).astype(np.int16)


WIDEST = 64
"""Times its height that a frame with somebody may be wide."""


def silhouette_frame(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A silhouette as GaitSet's preparation normalises it, (64, 64), 0 to 255.

    Cut to the rows that the person fills, made 64 high (cubic), and moved so that the column with
    half of the person on either side is in the middle; the network sees 44 columns of it.

    Args:
        mask: (H, W), zero where the person is not; empty if nobody is seen.
    """
    out = np.zeros((SIDE, SIDE), np.uint8)
    person = (mask > 0).astype(np.float32) if mask.dtype == bool else mask / np.float32(255)
    rows = np.flatnonzero(person.any(axis=1))
    if person.sum() <= FEWEST:
        return out
    person = person[rows[0] : rows[-1] + 1]
    wide = max(1, int(person.shape[1] * SIDE / len(person)))
    if wide > WIDEST * SIDE:  # nobody, and more memory than there is
        return out
    person = _cubic(len(person), SIDE) @ person @ _cubic(person.shape[1], wide).T
    drawn = np.rint(255 * person).clip(0, 255).astype(np.uint8)
    weight = drawn.sum(axis=0).cumsum()
    middle = int(np.searchsorted(weight, weight[-1] / 2, side="right"))
    begin = middle - SIDE // 2
    here = slice(max(begin, 0), min(begin + SIDE, wide))
    out[:, here.start - begin : here.stop - begin] = drawn[:, here]
    return out


def _corners(image: NDArray[np.generic]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """What the small picture is made of: the four pixels around each of its own.

    Returns:
        (2, 60, 2, 80, ...): rows above and below, columns left and right; and the shares of the
        rows below (60,) and of the columns on the right (80,). Between four pixels lies the centre
        of a small one: there is no other smoothing.
    """
    places, shares = [], []
    for many, few in zip(image.shape[:2], (HEIGHT, WIDTH), strict=True):
        centre = np.clip((np.arange(few) + 0.5) * (many / few) - 0.5, 0, many - 1)
        first = np.minimum(centre.astype(int), max(many - 2, 0))
        places.append(np.concatenate([first, np.minimum(first + 1, many - 1)]))
        shares.append((centre - first).astype(np.float32))
    corners = image[np.ix_(*places)].astype(np.float32)
    return corners.reshape(2, HEIGHT, 2, WIDTH, *image.shape[2:]), shares


def _mean(corners: NDArray[np.float32], shares: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Of four pixels by their shares, (60, 80, ...)."""
    more = (1,) * (corners.ndim - 4)
    down, right = shares[0].reshape(-1, 1, 1, *more), shares[1].reshape(-1, *more)
    rows = corners[0] * (1 - down) + corners[1] * down
    mean: NDArray[np.float32] = rows[:, 0] * (1 - right) + rows[:, 1] * right
    return mean


def _cubic(many: int, few: int) -> NDArray[np.float32]:
    """(few, many) weights of cubic interpolation, the border's pixel repeated, as OpenCV's."""
    centre = (np.arange(few) + 0.5) * (many / few) - 0.5
    near = np.floor(centre)[:, None] + np.arange(-1, 3)
    x = np.abs(centre[:, None] - near)
    inner = ((_SLOPE + 2) * x - (_SLOPE + 3)) * x * x + 1
    outer = _SLOPE * (((x - 5) * x + 8) * x - 4)
    weights = np.zeros((few, many), np.float32)
    places = near.clip(0, many - 1).astype(int)
    np.add.at(weights, (np.arange(few)[:, None], places), np.where(x <= 1, inner, outer))
    return weights
