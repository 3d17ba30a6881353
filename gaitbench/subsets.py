"""Training subsets: which sequences are kept of a set that is cut down, as index arithmetic.

A subset is a pure function of the labels, the share and a seed. All sequences, or all people, are
put in a random order by the seed, and a subset is the beginning of that order: so it is exact, and
a larger one holds every smaller one of the same seed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Chosen = NDArray[np.bool_]


def share(count: NDArray[Any] | int, fraction: float) -> NDArray[np.int64]:
    """The nearest whole number (ties to the even one) of ``count``, but at least one."""
    return np.maximum(np.rint(fraction * np.asarray(count)).astype(np.int64), 1)


def share_of_each(group: NDArray[Any], fraction: float, seed: int) -> Chosen:
    """Choose a share of the items of each group.

    Args:
        group: (N,) the group of each item, such as its person.
        fraction: above 0, at most 1.
        seed: which items these are.

    Returns:
        (N,) whether each is chosen.
    """
    place, size = _places(group, seed)
    chosen: Chosen = place < share(size, fraction)
    return chosen


def share_of_groups(group: NDArray[Any], fraction: float, seed: int) -> Chosen:
    """Choose a share of the groups, each whole; as :func:`share_of_each`, which shares out each."""
    names, code = np.unique(group, return_inverse=True)
    chosen: Chosen = share_of_each(np.zeros(len(names)), fraction, seed)[code]
    return chosen


def some_of_each(group: NDArray[Any], count: int, seed: int) -> Chosen:
    """Choose that many items of each group, or all where it has fewer; (N,) of (N,)."""
    chosen: Chosen = _places(group, seed)[0] < count
    return chosen


def one_of_each(group: "pd.Series[Any]") -> NDArray[np.int64]:
    """An order in which each group has a turn before any has a second; else at random.

    The same groups give the same order.
    """
    order = np.random.default_rng(0).permutation(len(group))
    turn = group.iloc[order].groupby(group.iloc[order].to_numpy()).cumcount()
    return order[turn.to_numpy().argsort(kind="stable")]


def _places(group: NDArray[Any], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each item's place among those of its group in random order, and how many these are."""
    drawn = np.random.default_rng(seed).permutation(len(group))
    order = np.lexsort((drawn, group))
    _, first, code, size = np.unique(
        group[order], return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - first[code]
    sizes = np.empty(len(group), np.int64)
    sizes[order] = size[code]
    return place, sizes
