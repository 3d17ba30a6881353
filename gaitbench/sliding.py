"""Windows at every so many frames of each sequence, as index arithmetic.

Where :mod:`gaitbench.windows` draws one window of a sequence at a time, these are all that a
dataset consists of, in the order in which its authors wrote them down.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def sliding_windows(
    lengths: Sequence[int] | Numbers,
    size: int,
    stride: float | Fraction,
    offsets: Iterable[int] = (0,),
    order: Literal["offset-major", "sequence-major"] = "offset-major",
    duplicates: bool = True,
) -> tuple[Numbers, Numbers]:
    """All windows that lie in their sequences.

    From an offset s, window i begins at frame ``s + floor(i * stride)``: a stride of half an odd
    size is taken by turns as the smaller and the larger whole number.

    Args:
        lengths: (S,) frames of each sequence.
        size: frames of a window.
        stride: frames from window to window, above 0.
        offsets: first frames to begin from.
        order: what changes last: ``offset-major`` lists for each offset all sequences,
            ``sequence-major`` for each sequence all offsets.
        duplicates: whether a window that several offsets lead to is listed each time, as published
            (Rao et al., the authors' later programs), or the first time alone.

    Returns:
        (N,) sequence and (N,) first frame of each window.

    Raises:
        ValueError: if size or stride are not above 0, or an offset is below.
    """
    step = Fraction(stride)
    first = np.array(tuple(offsets), np.int64)
    if size < 1 or step <= 0 or (first < 0).any():
        raise ValueError(f"no windows of size {size}, stride {stride} and offsets {first.tolist()}")
    p, q = step.numerator, step.denominator
    room = np.asarray(lengths, np.int64)[None] - size - first[:, None]  # (offsets, sequences)
    # i p / q < room + 1, as the last start must not be beyond room
    count = np.where(room < 0, 0, ((room + 1) * q - 1) // p + 1)
    pair = np.indices(count.shape)  # offset and sequence
    if order == "sequence-major":
        count, pair = count.T, pair.transpose(0, 2, 1)
    count = count.reshape(-1)
    offset, row = (np.repeat(numbers.reshape(-1), count) for numbers in pair)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    start = first[offset] + place * p // q
    if not duplicates and len(row):
        key = row * (start.max() + 1) + start
        kept = np.sort(np.unique(key, return_index=True)[1])
        row, start = row[kept], start[kept]
    return row, start
