"""What travels: a request for a batch on its way down, the batch on its way up."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]


class Share(NamedTuple):
    """Which samples of a global batch a process has.

    Args:
        parts: of each process, the first sample and how many.
        rank: this process.
    """

    parts: tuple[tuple[int, int], ...]
    rank: int

    @property
    def total(self) -> int:
        """Samples of the global batch."""
        return max(first + count for first, count in self.parts)

    @property
    def own(self) -> slice:
        """Where this process's samples stand."""
        first, count = self.parts[self.rank]
        return slice(first, first + count)

    def times(self, windows: int) -> "Share":
        """The share where each sample is ``windows`` samples, side by side."""
        parts = ((first * windows, count * windows) for first, count in self.parts)
        return Share(tuple(parts), self.rank)


class BatchRequest(NamedTuple):
    """What a batch shall hold.

    Args:
        rows: (B,) table rows of the sequences of the global batch.
        seed: for every random draw made for this batch.
        share: which of them this process shall read; None for all.
    """

    rows: Rows
    seed: int
    share: Share | None = None

    def shared(self, windows: int, *arrays: NDArray[Any]) -> tuple[Any, ...]:
        """This process's part of arrays of the global batch, and then its share.

        Windows are cut for the global batch, which costs next to nothing: so each of them is what
        it would be in one process.

        Args:
            windows: of each sequence, side by side.
            arrays: (B * windows, ...).
        """
        if self.share is None:
            return (*arrays, None)
        share = self.share.times(windows)
        return (*(array[share.own] for array in arrays), share)


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
        share: which part of the global batch these are; None where they are all of it.
    """

    frames: Tensor
    subject: Tensor
    row: Tensor
    seed: int
    attributes: Tensor | None = None
    target: Tensor | None = None
    share: Share | None = None

    @property
    def total(self) -> int:
        """Windows of the global batch."""
        return len(self.row) if self.share is None else self.share.total


def drawn(
    draw: Callable[..., Tensor],
    shape: tuple[int, ...],
    share: Share | None,
    dim: int = 0,
    **how: Any,
) -> Tensor:
    """Random numbers for each sample: those that it would have in one process.

    They are drawn for the global batch, and this process keeps its own.

    Args:
        draw: ``torch.rand`` or another that takes a shape.
        shape: wanted.
        share: which samples are this process's; None for all.
        dim: dimension of the samples.
        how: passed to ``draw``.
    """
    if share is None:
        return draw(shape, **how)
    whole = (*shape[:dim], share.total, *shape[dim + 1 :])
    first, count = share.parts[share.rank]
    return draw(whole, **how).narrow(dim, first, count)
