"""Subsets, against loops over groups."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitbench.subsets import share, share_of_each, share_of_groups, some_of_each

GROUPS = st.lists(st.integers(-3, 12), min_size=1, max_size=80).map(np.array)
SHARES = st.floats(0.001, 1)
SEEDS = st.integers(0, 2**32)


@given(GROUPS, SHARES, SEEDS)
def test_a_share_of_each_group_is_exact(group: np.ndarray, fraction: float, seed: int) -> None:
    found = Counter(group[share_of_each(group, fraction, seed)].tolist())
    every = Counter(group.tolist())
    assert found == {name: max(1, round(fraction * count)) for name, count in every.items()}


@given(GROUPS, SHARES, SEEDS)
def test_a_share_of_groups_takes_them_whole(group: np.ndarray, fraction: float, seed: int) -> None:
    chosen = share_of_groups(group, fraction, seed)
    taken = set(group[chosen].tolist())
    assert len(taken) == max(1, round(fraction * len(set(group.tolist()))))
    assert np.array_equal(chosen, np.isin(group, list(taken)))


@given(GROUPS, st.integers(1, 9), SEEDS)
def test_some_of_each_group(group: np.ndarray, count: int, seed: int) -> None:
    found = Counter(group[some_of_each(group, count, seed)].tolist())
    assert found == {name: min(count, have) for name, have in Counter(group.tolist()).items()}


@given(GROUPS, st.tuples(SHARES, SHARES), SEEDS)
def test_larger_shares_hold_smaller_ones(
    group: np.ndarray, fractions: tuple[float, float], seed: int
) -> None:
    less, more = sorted(fractions)
    for choose in (share_of_each, share_of_groups):
        small, large = choose(group, less, seed), choose(group, more, seed)
        assert not (small & ~large).any()
    small, large = some_of_each(group, 2, seed), some_of_each(group, 5, seed)
    assert not (small & ~large).any()


def test_the_seed_decides() -> None:
    group = np.repeat(np.arange(10), 10)
    for choose in (share_of_each, share_of_groups):
        assert np.array_equal(choose(group, 0.5, 7), choose(group, 0.5, 7))
        assert len({choose(group, 0.5, seed).tobytes() for seed in range(6)}) == 6
        assert choose(group, 1.0, 3).all()


def test_everyone_is_as_likely() -> None:
    times = np.sum([share_of_each(np.zeros(8), 0.25, seed) for seed in range(4000)], axis=0)
    assert times.sum() == 8000
    assert np.abs(times - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (5, 2), (15, 8), (25, 12), (1000, 500)])
def test_halves_are_rounded_to_even(count: int, kept: int) -> None:
    assert share(count, 0.5) == kept == max(1, round(0.5 * count))
