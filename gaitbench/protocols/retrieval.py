"""Ranks of the genuine gallery items of each probe, exactly and in blocks, and what follows from them.

A *genuine* item shows the probe's subject. Its rank is one more than the number of gallery items
that come before it, by distance and, at exactly equal distance, by their place in the gallery. So
no list is ever sorted: a rank is a count, and counts add up over blocks of the gallery.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Distance = Literal["euclidean", "l1", "cosine"]

# Elements of one block of scores: 1 Mi entries of two bytes are what two cores keep in their
# second-level caches, where a comparison costs a third of what it costs from memory.
BLOCK_ELEMENTS = 1 << 20
# The widest part of a gallery that one block takes.
BLOCK_ITEMS = 8192
# Pairs measured again at a time: both sides in float64 stay in the second-level cache.
PAIRS = 512
# A row with more doubtful items than this is cheaper to screen again in the next precision.
DOUBTS = 64
# Multiplications below which a second, coarser screen costs more than it saves.
COARSE_WORK = 1 << 31


def unit_length(embeddings: Tensor) -> Tensor:
    """Scale every row to unit length, u = e / max(|e|, 1e-12), in float64, rounded once to float32."""
    wide = embeddings.double()
    return (wide / wide.norm(dim=1, keepdim=True).clamp_min(1e-12)).float()


def pair_distances(points: Tensor, left: Tensor, right: Tensor, distance: Distance) -> Tensor:
    """Measure single pairs in float64, the same way whatever else is measured with them.

    Args:
        points: float32 (N, D).
        left: rows of ``points``, any shape.
        right: rows of ``points``, the same shape.
        distance: ``euclidean`` and ``cosine`` give the squared Euclidean distance (of unit vectors
            that is twice the cosine distance); ``l1`` the sum of absolute differences.

    Returns:
        float64 of the shape of ``left``; exactly symmetric, and zero for equal rows.
    """
    parts = []
    for a, b in zip(left.reshape(-1).split(PAIRS), right.reshape(-1).split(PAIRS), strict=True):
        difference = points[a].double().sub_(points[b])
        parts.append(difference.abs_().sum(1) if distance == "l1" else difference.square_().sum(1))
    return torch.cat(parts).view(left.shape) if parts else points.new_zeros(left.shape).double()


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices in float32, whatever training has set for its own products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Genuine:
    """Which gallery items are genuine for which probe.

    Attributes:
        items: place in the gallery, int64 (P, K); 0 where ``valid`` is false.
        valid: bool (P, K); a probe has as many as its subject has items, itself never counted.
        itself: place of the probe itself in the gallery, int64 (P,); -1 where it is not there.
    """

    items: Tensor
    valid: Tensor
    itself: Tensor


def find_genuine(subjects: Tensor, probes: Tensor, gallery: Tensor) -> Genuine:
    """List the genuine items of each probe.

    Args:
        subjects: subject of each row, int64 (N,).
        probes: rows, int64 (P,).
        gallery: rows, int64 (G,), ordered so that ``subjects[gallery]`` never falls.

    Raises:
        ValueError: if the gallery is not ordered by subject.
    """
    owners = subjects[gallery].contiguous()
    if bool((owners[1:] < owners[:-1]).any()):
        raise ValueError("gallery rows must be ordered by subject")
    wanted = subjects[probes].contiguous()
    first = torch.searchsorted(owners, wanted)
    count = torch.searchsorted(owners, wanted, right=True) - first
    widest = int(count.max()) if len(count) else 0
    step = torch.arange(widest, device=subjects.device)
    items = first[:, None] + step
    place = torch.full_like(subjects, -1)
    place[gallery] = torch.arange(len(gallery), device=subjects.device)
    itself = place[probes]
    valid = (step < count[:, None]) & (items != itself[:, None])
    return Genuine(items * valid, valid, itself)


class Ranker:
    """Ranks of genuine items among a gallery; exact for the float64 distances of ``points``.

    All items are first *screened* by a fast product that is only nearly right (:class:`_Screen`);
    what it cannot decide is measured again in float64, pair by pair. So neither the screens nor
    the size of a block can change a rank.

    Args:
        points: float32 (N, D), normalised already where that is wanted.
        distance: see :func:`pair_distances`.
        screens: precisions of the screens, coarse to fine; chosen by the machine when ``None``.
        block: scores held at a time.
        width: most gallery items in one block.
        doubts: most doubtful items of a probe that are measured before the next screen is tried.
    """

    def __init__(
        self,
        points: Tensor,
        distance: Distance,
        *,
        screens: tuple[torch.dtype, ...] | None = None,
        block: int = BLOCK_ELEMENTS,
        width: int = BLOCK_ITEMS,
        doubts: int = DOUBTS,
    ) -> None:
        self.points, self.distance = points, distance
        self.dtypes, self.block, self.width, self.doubts = screens, block, width, doubts
        self._screens: dict[torch.dtype, _Screen] = {}

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

        width = min(len(gallery), self.width)
        open_rows = genuine.valid.any(1).nonzero()[:, 0]
        dtypes = self.dtypes or self._choose(len(probes) * len(gallery))
        with full_precision():
            for dtype in dtypes:
                doubts = None if dtype is dtypes[-1] else self.doubts
                screen = self._screen(dtype)
                right = screen.table[gallery]
                left_over = []
                for rows in open_rows.split(max(1, self.block // max(1, width))):
                    counts, undecided = screen.count(
                        probes[rows],
                        gallery,
                        right,
                        Genuine(genuine.items[rows], genuine.valid[rows], genuine.itself[rows]),
                        own[rows],
                        doubts,
                        width,
                    )
                    before[rows] += counts.masked_fill_(undecided[:, None], 0)
                    left_over.append(rows[undecided])
                open_rows = torch.cat(left_over) if left_over else open_rows
        last = torch.iinfo(torch.int64).max
        ranks = (before + 1).masked_fill_(~genuine.valid, last).sort(1).values
        return ranks.masked_fill_(ranks == last, 0)

    def _choose(self, pairs: int) -> tuple[torch.dtype, ...]:
        """Precisions worth screening with: bfloat16 first where the processor multiplies it."""
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        large = pairs * self.points.shape[1] >= COARSE_WORK
        if self.points.device.type == "cpu" and self.distance != "l1" and large and native():
            return (torch.bfloat16, torch.float32)
        return (torch.float32,)

    def _screen(self, dtype: torch.dtype) -> "_Screen":
        if dtype not in self._screens:
            self._screens[dtype] = _Screen(self.points, self.distance, dtype)
        return self._screens[dtype]


class _Screen:
    """Fast scores of gallery items for probes, with a proven bound on their error.

    **Score.** For centred and scaled points x (probe) and y (item), s(x, y) = x.y - |y|^2 / 2
    = (|x|^2 - |x - y|^2) / 2: for one probe a higher score is a smaller Euclidean distance, so an
    item comes before the genuine item k if its score is above t_k, the score of k, which is known
    in float64. (``l1``: s = -|x - y|_1, in float32 only.)

    **Product.** With x^ and y^ the points rounded to the screen's precision, b^ three rounded
    pieces that add up to -|y|^2 / 2, and c a number of that precision, one product of
    [x^, 1, 1, 1, -c] and [y^, b^, 1] gives r = x^.y^ + sum b^ - c, with products exact in float32
    or rounded to it, and sums in float32.

    **Bound.** |r - (s - c)| <= delta, with, by Cauchy and Schwarz,

        delta = |x - x^| max|y| + |x^| max|y - y^| + max|-|y|^2 / 2 - sum b^|
                + 2 (D + 5) 2^-23 (|x^| max|y^| + max sum|b^| + |c|) + 1e-12.

    The first three terms are the rounding of the inputs, each norm measured and not estimated; the
    next is four times the error of multiplying and adding D + 4 terms in float32 in any order; the
    last covers float64.

    **Decision.** Let lo_k = t_k - delta, hi_k = t_k + delta, and c <= lo_k for all k, so that both
    less c are never negative. Rounding r to the screen's precision keeps order and changes it by at
    most eps |r| / 2, so an item whose rounded r is above up(hi_k - c) has s > t_k and one below
    down(lo_k - c) has s < t_k, where up and down move by eps before rounding. Only the items
    between the two are doubtful; the genuine item itself is always one of them.

    As no threshold is negative, scores are compared as integers of the same bits (a negative
    number is a negative integer), which takes half the time.
    """

    def __init__(self, points: Tensor, distance: Distance, dtype: torch.dtype) -> None:
        self.points, self.distance, self.dtype = points, distance, dtype
        self.eps = torch.finfo(dtype).eps
        self.bits = torch.int16 if dtype == torch.bfloat16 else torch.int32
        self.sums = 2 * (points.shape[1] + 5) * 2.0**-23
        self.scale = 1.0
        if distance == "l1":
            self.table = points
            self.length = points.double().abs().sum(1)
            return
        x = points - points.mean(0, dtype=torch.float64)
        self.scale = float(x.norm(dim=1).max()) or 1.0
        x /= self.scale
        rounded = x.to(dtype)
        self.half = x.square().sum(1) / 2
        pieces, rest = [], -self.half
        for _ in range(3):
            pieces.append(rest.to(dtype))
            rest = rest - pieces[-1]
        self.table = torch.cat([rounded, torch.stack([*pieces, torch.ones_like(pieces[0])], 1)], 1)
        self.length = x.norm(dim=1)
        self.rounded_length = rounded.double().norm(dim=1)
        self.rounding = (x - rounded).norm(dim=1)
        self.bias_length = sum((piece.double().abs() for piece in pieces), torch.zeros_like(rest))
        self.bias_rounding = rest.abs()

    def count(
        self,
        probes: Tensor,
        gallery: Tensor,
        right: Tensor,
        genuine: Genuine,
        own: Tensor,
        limit: int | None,
        width: int,
    ) -> tuple[Tensor, Tensor]:
        """Count the items before each genuine item.

        Args:
            probes: rows, int64 (P,).
            gallery: rows, int64 (G,).
            right: ``self.table[gallery]``.
            genuine: of these probes.
            own: float64 distances (P, K) of the genuine items.
            limit: most doubtful items of one block that are measured for a probe; ``None`` for all.
            width: gallery items taken at a time.

        Returns:
            counts (P, K), and a mask (P,) of probes given up for too many doubtful items.
        """
        valid, items = genuine.valid, genuine.items
        left, low, high = self._thresholds(probes, gallery, valid, own)
        low_bits, high_bits = low.view(self.bits), high.view(self.bits)
        before = torch.zeros_like(items)
        undecided = torch.zeros_like(valid[:, 0])
        for start in range(0, len(gallery), width):
            part = right[start : start + width]
            scores = self._scores(left, part)
            bits = scores.view(self.bits)
            for k in range(items.shape[1]):
                above = _count(bits > high_bits[:, k, None])
                doubtful = _count(bits >= low_bits[:, k, None]) - above
                before[:, k] += above
                here = valid[:, k] & (items[:, k] >= start) & (items[:, k] < start + len(part))
                asked = doubtful > here
                if limit is not None:
                    undecided |= doubtful > limit
                    asked &= ~undecided
                rows = asked.nonzero()[:, 0]
                if not len(rows):
                    continue
                row, item = self._between(scores, low[:, k, None], high[:, k, None], rows)
                item += start
                theirs = pair_distances(self.points, probes[row], gallery[item], self.distance)
                mine, place = own[row, k], items[row, k]
                first = (theirs < mine) | ((theirs == mine) & (item < place))
                before[:, k] += torch.bincount(row[first], minlength=len(before))
        return before, undecided

    def _thresholds(
        self, probes: Tensor, gallery: Tensor, valid: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Left side of the product, and down(lo_k - c) and up(hi_k - c), (P, K)."""
        if self.distance == "l1":
            target = -own
            delta = self.sums * (self.length[probes] + self.length[gallery].max())
        else:
            target = self.half[probes, None] - own / (2 * self.scale**2)
            length = self.rounded_length[probes]
            delta = (
                self.rounding[probes] * self.length[gallery].max()
                + length * self.rounding[gallery].max()
                + self.bias_rounding[gallery].max()
                + self.sums * length * self.rounded_length[gallery].max()
                + self.sums * self.bias_length[gallery].max()
                + 1e-12
            )
        # |c| is at most the largest |lo|, moved down by eps and rounded.
        largest = target.abs().masked_fill(~valid, 0).amax(1) + delta
        delta = (delta + self.sums * 1.1 * largest)[:, None]
        low = (target - delta).masked_fill_(~valid, torch.inf)
        high = (target + delta).masked_fill_(~valid, torch.inf)
        lowest = low.amin(1)
        shift = (lowest - self.eps * lowest.abs()).to(self.dtype)
        low -= shift[:, None]
        high -= shift[:, None]
        left = self.table[probes]
        if self.distance == "l1":
            left = torch.cat([left, shift[:, None]], 1)
        else:
            left[:, -4:-1] = 1
            left[:, -1] = -shift
        return (
            left,
            (low * (1 - self.eps)).to(self.dtype),
            (high * (1 + self.eps)).to(self.dtype),
        )

    def _scores(self, left: Tensor, right: Tensor) -> Tensor:
        if self.distance == "l1":
            return torch.cdist(left[:, :-1], right, p=1).neg_().sub_(left[:, -1:])
        return left @ right.T

    @staticmethod
    def _between(scores: Tensor, low: Tensor, high: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns of the scores that lie between two thresholds, for some rows."""
        part = scores[asked]
        row, column = ((part >= low[asked]) & (part <= high[asked])).nonzero(as_tuple=True)
        return asked[row], column


def _count(flags: Tensor) -> Tensor:
    """Count the true entries of each row, bool (R, G) to int64 (R,).

    Eight flags lie in one 64-bit word, so up to 255 words are added without a carry from one
    byte to the next; this reads an eighth of what a sum over single flags does.
    """
    rows, columns = flags.shape
    whole = columns // 8 * 8
    total = flags[:, whole:].sum(1)
    if not whole:
        return total
    words = flags[:, :whole].contiguous().view(torch.int64)
    for part in words.split(255, dim=1):
        total += part.sum(1, keepdim=True).view(torch.uint8).sum(1, dtype=torch.int64)
    return total


def rank_within(k: int) -> Callable[[Tensor], Tensor]:
    """Whether a genuine item is among the first ``k``; a function of ranks (P, K) with values (P,)."""

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

    Source: Ye et al., Deep Learning for Person Re-identification, TPAMI 2021, equation 2.
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
    distances = distances.clone()
    present = (genuine.itself >= 0).nonzero()[:, 0]
    distances[present, genuine.itself[present]] = torch.inf
    place = torch.empty_like(distances, dtype=torch.int64)
    order = distances.argsort(dim=1, stable=True)
    place.scatter_(1, order, torch.arange(distances.shape[1], device=order.device).expand_as(order))
    last = torch.iinfo(torch.int64).max
    ranks = place.gather(1, genuine.items) + 1
    ranks = ranks.masked_fill_(~genuine.valid, last).sort(1).values
    return ranks.masked_fill_(ranks == last, 0)
