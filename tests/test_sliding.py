from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitbench.sliding import sliding_windows


def naive(lengths, size, stride, offsets, order, duplicates):
    windows = []
    for offset in offsets:
        for row, length in enumerate(lengths):
            place = 0
            while offset + int(place * stride) + size <= length:
                windows.append((offset, row, offset + int(place * stride)))
                place += 1
    if order == "sequence-major":
        windows.sort(key=lambda window: window[1])  # stable
    windows = [window[1:] for window in windows]
    return windows if duplicates else list(dict.fromkeys(windows))


@given(
    st.lists(st.integers(0, 30), max_size=5),
    st.integers(1, 8),
    st.sampled_from([1, 2, 3, 7, Fraction(5, 2), Fraction(7, 2), Fraction(1, 2), Fraction(4, 3)]),
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from(["offset-major", "sequence-major"]),
    st.booleans(),
)
def test_windows_are_those_of_a_loop(lengths, size, stride, offsets, order, duplicates) -> None:
    expected = naive(lengths, size, stride, offsets, order, duplicates)
    row, start = sliding_windows(lengths, size, stride, offsets, order, duplicates)
    assert row.dtype == start.dtype == np.int64
    assert list(zip(row.tolist(), start.tolist(), strict=True)) == expected


def test_published_windows_of_a_walk_come_twice_but_the_first() -> None:
    """Offsets to f - 1 at stride f / 2 lead to the same windows twice (12 frames, f = 6)."""
    _, start = sliding_windows([12], 6, 3, range(6))
    assert start.tolist() == [0, 3, 6, 1, 4, 2, 5, 3, 6, 4, 5]
    _, once = sliding_windows([12], 6, 3, range(6), duplicates=False)
    assert once.tolist() == [0, 3, 6, 1, 4, 2, 5]


def test_half_frames_go_down() -> None:
    _, start = sliding_windows([20], 5, 2.5)
    assert start.tolist() == [0, 2, 5, 7, 10, 12, 15]


@pytest.mark.parametrize(("size", "stride", "offset"), [(0, 1, 0), (6, 0, 0), (6, 3, -1)])
def test_impossible_windows_are_refused(size: int, stride: int, offset: int) -> None:
    with pytest.raises(ValueError, match="no windows of size"):
        sliding_windows([12], size, stride, (offset,))
