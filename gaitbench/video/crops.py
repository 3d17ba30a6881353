"""Windows of a video's frames as networks take them: the person cut out, on the batch's device.

The geometry is that of GaitCopy's data (specification, section 9): a window is moved sideways as a
whole, so that the person of its middle frame is in the middle; nobody is scaled.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.video.frames import FLOW_STEPS, WIDTH

WINDOW, HOP = 25, 5
"""Frames of a window, and from one window's first frame to the next one's."""

MIDDLE = 12
SIZE = 60  # columns that are kept


def window_starts(length: int, published: bool = False) -> NDArray[np.int64]:
    """First frames of a sequence's windows, each counted from the sequence's first frame.

    Args:
        length: frames of the sequence in its store, which is one less than the person was seen:
            the last has no flow.
        published: leave out the last window where it ends with the sequence, as the authors'
            program does.
    """
    return np.arange(0, length - WINDOW + (not published), HOP)


def middle_frame(start: NDArray[np.int64], published: bool = False) -> NDArray[np.int64]:
    """The frame whose box a window is moved by; in the authors' program it is one frame late."""
    return start + MIDDLE + published


def cropped(frames: Tensor, boxes: Tensor, width: Tensor) -> Tensor:
    """Windows with the person of one frame in the middle.

    A window is moved by a multiple of half a pixel, mixing neighbouring columns equally. What
    comes from beyond the picture is zero. Values are rounded as they are stored: halves of flow to
    even numbers, halves of gray values up.

    Args:
        frames: (B, T, 60, 80) gray values, or (B, T, 60, 80, 2) flow, as they are stored.
        boxes: (B, 4) x0, y0, x1, y1 of that frame in pixels of the video.
        width: (B,) pixels of the video.

    Returns:
        (B, T, 60, 60) or (B, T, 60, 60, 2), of the same type.
    """
    edges = torch.round(boxes[:, 0::2].double() * (WIDTH / width[:, None].double()))
    twice = edges.sum(dim=1).long() - SIZE  # half pixels that a column comes from further right
    columns = torch.arange(SIZE + 1, device=frames.device) + (twice // 2)[:, None]
    taken = _columns(frames, columns)
    whole, beside = taken.narrow(3, 0, SIZE), taken.narrow(3, 1, SIZE)
    total = whole.int() + beside
    halves_up = frames.dtype == torch.uint8
    between = (total + 1) // 2 if halves_up else torch.round(total / 2)
    odd = (twice % 2 == 1).view(-1, *(1,) * (frames.ndim - 1))
    return torch.where(odd, between.to(frames.dtype), whole)


def gray_input(frames: Tensor) -> Tensor:
    """Gray values (B, T, H, W) of 0 to 255 as networks take them: (B, T, H, W, 1), -0.5 to 0.5."""
    return (frames.float() / 255 - 0.5)[..., None]


def flow_input(frames: Tensor) -> Tensor:
    """Stored flow (B, T, H, W, 2) as networks take it: pixels of the original video."""
    return frames.float() / FLOW_STEPS


def _columns(frames: Tensor, columns: Tensor) -> Tensor:
    """Columns (B, K) of (B, T, H, W, ...), zero where there are none."""
    shape = (*frames.shape[:3], columns.shape[1], *frames.shape[4:])
    place = columns.view(len(columns), 1, 1, -1, *(1,) * (frames.ndim - 4))
    there = (place >= 0) & (place < frames.shape[3])
    taken = frames.gather(3, place.clamp(0, frames.shape[3] - 1).expand(shape))
    return taken * there
