"""Exact ranks of the genuine gallery items of each probe, block by block, and their metrics.

A *genuine* item shows the probe's subject. Its rank is one more than the number of gallery items
that come before it, by distance and, at exactly equal distance, by their place in the gallery. So
no list is ever sorted: a rank is a count, and counts add up over blocks of the gallery.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gaitbench.protocols.crowds import CrowdScreen
from gaitbench.protocols.distances import (
    BLOCK_ELEMENTS,
    Distance,
    Genuine,
    full_precision,
    pair_distances,
    pieces,
)
from gaitbench.protocols.screens import (
    BLOCK_ITEMS,
    MOST_DIMENSIONS,
    WORD,
    ByteScreen,
    Screen,
    multiplies_bytes,
)

# Scores of one byte, and those that are looked up, are read once only, so that their blocks may be
# larger by this.
READ_ONCE = {torch.uint8: 8, torch.float64: 8}
# A row with a larger share of doubtful items is cheaper to screen again in the next precision,
# or, after the last, to sort.
DOUBTS = {torch.uint8: 1 / 64, torch.bfloat16: 1 / 24, torch.float32: 1 / 8, torch.float64: 1 / 8}
SCREENS = {torch.uint8: ByteScreen, torch.float64: CrowdScreen}  # all others are :class:`Screen`
# Multiplications below which a second, coarser screen costs more than it saves.
COARSE_WORK = 1 << 31
# The screen in bytes multiplies once for each genuine item of a probe, up to this many.
BYTE_ITEMS = 4
# From so many genuine items of a probe on it is cheaper to look scores up among theirs.
CROWD = 48
# Equal rows are looked for among all when there may be this many times fewer distinct ones.
REPEATS = 8


class Ranker:
    """Ranks of genuine items among a gallery; exact for the float64 distances of ``points``.

    All items are first *screened* by a fast product that is only nearly right (:class:`Screen`);
    what it cannot decide is measured again in float64, pair by pair. So neither the screens nor
    the size of a block can change a rank.

    Args:
        points: float32 (N, D), normalised already where that is wanted.
        distance: see :func:`pair_distances`.
        screens: precisions of the screens, coarse to fine; chosen by the machine when ``None``.
        block: scores held at a time.
        width: most gallery items in one block; a multiple of 8.
        doubts: most doubtful items of a probe and block that are measured, not left to the next
            screen or to sorting; by :data:`DOUBTS` when ``None``.
    """

    def __init__(
        self,
        points: Tensor,
        distance: Distance,
        *,
        screens: tuple[torch.dtype, ...] | None = None,
        block: int = BLOCK_ELEMENTS,
        width: int = BLOCK_ITEMS,
        doubts: int | None = None,
    ) -> None:
        self.points, self.distance = points, distance
        self.dtypes, self.block, self.width, self.doubts = screens, block, width, doubts
        self._screens: dict[torch.dtype, Any] = {}
        self._distinct_points: tuple[Tensor, Tensor] | None = None

    def ranks(self, probes: Tensor, gallery: Tensor, genuine: Genuine) -> Tensor:
        """Rank the genuine items of each probe.

        Args:
            probes: rows, int64 (P,).
            gallery: rows, int64 (G,), ordered by subject.
            genuine: as :func:`find_genuine` gives it for these probes and this gallery.

        Returns:
            int64 (P, K), rising along a row; 0 fills the end of rows with fewer than K items.
        """
        before = torch.zeros_like(genuine.items)
        left = probes[:, None].expand_as(before)
        own = pair_distances(self.points, left, gallery[genuine.items], self.distance)
        # The probe itself is no gallery item: at distance zero it would come before all.
        itself = genuine.itself[:, None]
        before -= ((itself >= 0) & ((own > 0) | (itself < genuine.items))).long()

        open_rows = genuine.valid.any(1).nonzero()[:, 0]
        with full_precision():
            for dtype in self.dtypes or self._choose(len(probes) * len(gallery), genuine):
                if len(open_rows):
                    counts, undecided = self._count(
                        dtype, probes[open_rows], gallery, genuine[open_rows], own[open_rows]
                    )
                    before[open_rows] += counts.masked_fill_(undecided[:, None], 0)
                    open_rows = open_rows[undecided]
        before[open_rows] = self._sort(probes[open_rows], gallery, genuine[open_rows])
        return _rising(before + 1, genuine.valid)

    def _choose(self, pairs: int, genuine: Genuine) -> tuple[torch.dtype, ...]:
        """Precisions worth screening with: the coarse ones where the processor multiplies them."""
        dim = self.points.shape[1]
        if genuine.items.shape[1] >= CROWD:
            return (torch.float64,)
        if self.points.device.type != "cpu" or self.distance == "l1" or pairs * dim < COARSE_WORK:
            return (torch.float32,)
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        halves = (torch.bfloat16,) if native() else ()
        few = genuine.items.shape[1] <= BYTE_ITEMS and dim <= MOST_DIMENSIONS
        return (*((torch.uint8,) if few and multiplies_bytes() else ()), *halves, torch.float32)

    def _count(
        self, dtype: torch.dtype, probes: Tensor, gallery: Tensor, genuine: Genuine, own: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Screen in one precision; as :meth:`Screen.count`, but block by block."""
        if dtype not in self._screens:
            kind = SCREENS.get(dtype, Screen)
            self._screens[dtype] = kind(self.points, self.distance, dtype)
        screen = self._screens[dtype]
        right = screen.items(gallery, self.width)
        width = min(len(gallery) + -len(gallery) % WORD, self.width)
        size = self.block * READ_ONCE.get(dtype, 1) // max(1, width)
        if dtype == torch.uint8:
            size //= max(1, genuine.items.shape[1])
        limit = int(width * DOUBTS[dtype]) + 1 if self.doubts is None else self.doubts
        before = torch.zeros_like(genuine.items)
        undecided = torch.ones_like(genuine.valid[:, 0])
        given_up = 0
        for rows in pieces(torch.arange(len(probes), device=probes.device), max(1, size)):
            before[rows], undecided[rows] = screen.count(
                probes[rows], gallery, right, genuine[rows], own[rows], limit
            )
            lost = int(undecided[rows].sum())
            given_up += lost
            # Points too alike for this precision are left to the next one; and if most points are
            # repeated, to sorting.
            if dtype != torch.float32 and 2 * given_up > int(rows[-1]) + 1:
                break
            if lost == len(rows) and REPEATS * len(self._distinct()[1]) <= len(self.points):
                break
        return before, undecided

    def _distinct(self) -> tuple[Tensor, Tensor]:
        """Number of the distinct point of each row (N,), and one row of each distinct point."""
        if self._distinct_points is None:
            values, number = torch.unique(self.points, dim=0, return_inverse=True)
            row = torch.empty(len(values), dtype=torch.int64, device=number.device)
            row[number] = torch.arange(len(number), device=number.device)
            self._distinct_points = number, row
        return self._distinct_points

    def _sort(self, probes: Tensor, gallery: Tensor, genuine: Genuine) -> Tensor:
        """Count by measuring and sorting everything, but equal points only once; (P, K)."""
        before = torch.zeros_like(genuine.items)
        if not len(probes):
            return before
        number, row = self._distinct()
        wanted, who = torch.unique(number[probes], return_inverse=True)
        items, which = torch.unique(number[gallery], return_inverse=True)
        for start in range(0, len(wanted), step := max(1, self.block // len(gallery))):
            left, right = torch.meshgrid(
                row[wanted[start : start + step]], row[items], indexing="ij"
            )
            distances = pair_distances(self.points, left, right, self.distance)
            place = _places_in_order(distances[:, which])
            rows = ((who >= start) & (who < start + step)).nonzero()[:, 0]
            for part in pieces(rows, step):
                before[part] = _before(place[who[part] - start], genuine[part])
        return before


def rank_within(k: int) -> Callable[[Tensor], Tensor]:
    """Whether a genuine item is among the first ``k``; a function of ranks, (P, K) to (P,)."""

    def metric(ranks: Tensor) -> Tensor:
        return ((ranks > 0) & (ranks <= k)).any(1).double()

    return metric


def average_precision(ranks: Tensor) -> Tensor:
    """Mean over the genuine items, i-th nearest at rank r_i, of i / r_i; ranks (P, K) to (P,)."""
    found = ranks > 0
    place = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    precision = (place / ranks.clamp_min(1).double()).where(found, 0)
    return precision.sum(1) / found.sum(1).clamp_min(1)


def inverse_negative_penalty(ranks: Tensor) -> Tensor:
    """K / r_K, the share of genuine items up to the hardest one; ranks (P, K) to (P,).

    Source: Ye et al., Deep Learning for Person Re-identification, TPAMI 2021 (there INP).
    """
    if not ranks.shape[1]:
        return ranks.new_zeros(len(ranks)).double()
    return (ranks > 0).sum(1) / ranks.amax(1).clamp_min(1).double()


METRICS: dict[str, Callable[[Tensor], Tensor]] = {
    "rank1": rank_within(1),
    "rank5": rank_within(5),
    "rank10": rank_within(10),
    "map": average_precision,
    "minp": inverse_negative_penalty,
}
"""What is computed of the ranks (P, K) of each probe's genuine items; 0 for a probe without any."""


def ranks_of_matrix(distances: Tensor, genuine: Genuine) -> Tensor:
    """Rank genuine items by distances that are given; as :meth:`Ranker.ranks`.

    Args:
        distances: (P, G).
        genuine: of these probes and gallery items.
    """
    return _rising(_before(_places_in_order(distances), genuine) + 1, genuine.valid)


def _places_in_order(distances: Tensor) -> Tensor:
    """Place of each item if its row were sorted, (P, G); the first of equal ones comes first."""
    place = torch.empty_like(distances, dtype=torch.int64)
    order = distances.argsort(dim=1, stable=True)
    step = torch.arange(distances.shape[1], device=order.device)
    return place.scatter_(1, order, step.expand_as(order))


def _before(place: Tensor, genuine: Genuine) -> Tensor:
    """Count what comes before each genuine item, other than the probe itself; (P, K)."""
    before = place.gather(1, genuine.items)
    itself = genuine.itself[:, None]
    return before - ((itself >= 0) & (place.gather(1, itself.clamp_min(0)) < before)).long()


def _rising(ranks: Tensor, valid: Tensor) -> Tensor:
    """Sort the ranks of each row, and fill its end with 0."""
    last = torch.iinfo(torch.int64).max
    ranks = ranks.masked_fill(~valid, last).sort(1).values
    return ranks.masked_fill_(ranks == last, 0)
