"""Exact ranks of the genuine gallery items of each probe, block by block, and their metrics.

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
# Flags of one byte are counted eight at a time, as a word of 64 bits.
WORD = 8
# The widest part of a gallery that one block takes, in whole words.
BLOCK_ITEMS = 1024 * WORD
# Rows that are prepared at a time: 512 x 384 in float64 is 1.5 MB.
ROWS = 512
# Pairs measured again at a time: both sides in float64 stay in the second-level cache.
PAIRS = 512
# A row with more doubtful items than this is cheaper to screen again in the next precision.
DOUBTS = 64
# Multiplications below which a second, coarser screen costs more than it saves.
COARSE_WORK = 1 << 31


def pieces(rows: Tensor, size: int) -> list[Tensor]:
    """Cut into pieces of ``size`` rows."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def unit_length(embeddings: Tensor) -> Tensor:
    """Scale rows to unit length, u = e / max(|e|, 1e-12), in float64, rounded once to float32."""
    parts = []
    for part in pieces(embeddings, ROWS):
        wide = part.double()
        parts.append((wide / wide.norm(dim=1, keepdim=True).clamp_min(1e-12)).float())
    return torch.cat(parts)


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
    ends = (pieces(rows.reshape(-1), PAIRS) for rows in (left, right))
    for a, b in zip(*ends, strict=True):
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
        width: most gallery items in one block; a multiple of 8.
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

        width = min(len(gallery) + -len(gallery) % WORD, self.width)
        open_rows = genuine.valid.any(1).nonzero()[:, 0]
        dtypes = self.dtypes or self._choose(len(probes) * len(gallery))
        with full_precision():
            for dtype in dtypes:
                if not len(open_rows):
                    break
                doubts = None if dtype is dtypes[-1] else self.doubts
                screen = self._screen(dtype)
                right = screen.items(gallery)
                left_over = []
                for rows in pieces(open_rows, max(1, self.block // max(1, width))):
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
                open_rows = torch.cat(left_over)
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
        # Float64 in pieces of some rows, which stay in the cache.
        parts = pieces(points, ROWS)
        centre = torch.stack([part.sum(0, dtype=torch.float64) for part in parts]).sum(0)
        centre /= len(points)
        lengths = [(part - centre).norm(dim=1).max() for part in parts]
        self.scale = float(torch.stack(lengths).max()) or 1.0
        columns = [self._round((part - centre) / self.scale) for part in parts]
        (
            self.table,
            self.half,
            self.length,
            self.rounded_length,
            self.rounding,
            self.bias_length,
            self.bias_rounding,
        ) = (torch.cat(column) for column in zip(*columns, strict=True))

    def _round(self, x: Tensor) -> tuple[Tensor, ...]:
        """Right side of the product and the lengths in the bound, of some points in float64."""
        rounded = x.to(self.dtype)
        half = x.square().sum(1) / 2
        summands, rest = [], -half
        for _ in range(3):
            summands.append(rest.to(self.dtype))
            rest = rest - summands[-1]
        bias = torch.stack(summands, 1)
        return (
            torch.cat([rounded, bias, torch.ones_like(bias[:, :1])], 1),
            half,
            x.norm(dim=1),
            rounded.double().norm(dim=1),
            (x - rounded).norm(dim=1),
            bias.double().abs().sum(1),
            rest.abs(),
        )

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
            right: ``self.items(gallery)``.
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
        for start in range(0, len(right), width):
            bits = self._scores(left, right[start : start + width]).view(self.bits)
            for k in range(items.shape[1]):
                above = _words(bits > high_bits[:, k, None])
                doubtful = _words(bits >= low_bits[:, k, None]) ^ above
                before[:, k] += _count(above)
                if limit is not None:
                    undecided |= _count(doubtful) > limit
                row, item = _places(doubtful)
                item += start
                place = items[row, k]
                ask = (item != place) & ~undecided[row]
                row, item, place = row[ask], item[ask], place[ask]
                theirs = pair_distances(self.points, probes[row], gallery[item], self.distance)
                mine = own[row, k]
                first = (theirs < mine) | ((theirs == mine) & (item < place))
                before[:, k] += torch.bincount(row[first], minlength=len(before))
        return before, undecided

    def items(self, gallery: Tensor) -> Tensor:
        """Right side of the product, filled up to whole words with items farther than any other."""
        filling = torch.zeros_like(self.table[:1])
        if self.distance == "l1":
            filling += torch.inf
        else:
            # Scores lie between -1.5 and 0.5; this is the first piece of the bias.
            filling[:, -4] = -8
        return torch.cat([self.table[gallery], filling.expand(-len(gallery) % WORD, -1)])

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


def _words(flags: Tensor) -> Tensor:
    """Take eight flags, a byte each, as one word: bool (R, G) to int64 (R, G / 8)."""
    return flags.view(torch.int64)


def _count(words: Tensor) -> Tensor:
    """Count the true flags of each row, (R, G / 8) to (R,).

    Up to 255 words are added without a carry from one byte to the next; this reads an eighth of
    what a sum over single flags does.
    """
    width = words.shape[1]
    parts = [words[:, at : at + 255].sum(1, keepdim=True) for at in range(0, width, 255)]
    return torch.cat(parts, 1).view(torch.uint8).sum(1, dtype=torch.int64)


def _places(words: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each true flag."""
    row, word = words.nonzero(as_tuple=True)
    hit, flag = words[row, word][:, None].view(torch.bool).nonzero(as_tuple=True)
    return row[hit], word[hit] * WORD + flag


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
