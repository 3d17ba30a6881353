"""What travels: a request for a batch on its way down, the batch on its way up."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]


class BatchRequest(NamedTuple):
    """What a batch shall hold.

    Args:
        rows: (B,) table rows of the sequences.
        seed: for every random draw made for this batch.
    """

    rows: Rows
    seed: int


class GaitBatch(NamedTuple):
    """B windows, one of each sequence; where a sequence has several, they stand side by side.

    Args:
        frames: (B, T, *frame): poses are (B, T, V, 3) in pixels with confidence.
        subject: (B,) integer of the person: training subjects are counted from 0, others follow.
        row: (B,) table row of each sequence: the thread that ties an embedding to its labels.
        seed: for the random draws that remain, on the device.
        attributes: (B, L) probability of each soft attribute of the sequence, as the dataset names
            them; None where it has none.
        target: (B, T, *frame) what a network shall make of each window, where that is another
            window; None where it is not.
    """

    frames: Tensor
    subject: Tensor
    row: Tensor
    seed: int
    attributes: Tensor | None = None
    target: Tensor | None = None
