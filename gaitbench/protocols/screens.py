"""Screens: fast products that decide which of two gallery items is nearer, where they are sure.

Each gives a score with a proven bound on its error. What a screen cannot decide is measured exactly
or left to the next, finer screen, so ranks are those of exact distances whichever screens ran.
"""

from functools import cache

import torch
from torch import Tensor

from gaitbench.protocols.distances import (
    ROWS,
    Distance,
    Genuine,
    pair_distances,
    pairs_at_once,
    pieces,
)

# Flags of one byte are counted eight at a time, as a word of 64 bits.
WORD = 8
# The widest part of a gallery that one block takes, in whole words.
BLOCK_ITEMS = 1024 * WORD
# What stands for zero in unsigned bytes.
ZERO = 127
# More columns than this are not added up in 32 bits without care.
MOST_DIMENSIONS = 1 << 13


def _nearer(
    points: Tensor, distance: Distance, pairs: tuple[Tensor, Tensor], own: Tensor, earlier: Tensor
) -> Tensor:
    """Whether the right one of each pair comes before a genuine item.

    Squares of differences are first added up in float32. As no term is negative, the sum of D
    terms errs by less than (D + 8) 2^-23 of itself, unless it is outside the range in which squares
    neither vanish nor overflow; what that leaves open is measured in float64.

    Args:
        points: float32 (N, D).
        distance: of the pairs.
        pairs: rows of ``points``, int64 (n,) each.
        own: distance of the genuine item, float64 (n,).
        earlier: whether the right one has the earlier place in the gallery, (n,).
    """
    sure = torch.zeros_like(earlier)
    first = torch.zeros_like(earlier)
    if distance != "l1" and len(own):
        rough = points.new_empty(own.shape)
        step = pairs_at_once(points)
        for start in range(0, len(own), step):
            a, b = (rows[start : start + step] for rows in pairs)
            difference = points.index_select(0, a).sub_(points.index_select(0, b))
            rough[start : start + step] = torch.linalg.vecdot(difference, difference)
        rough = rough.double()
        slack = (points.shape[1] + 8) * 2.0**-23
        first = rough * (1 + slack) < own
        sure = (first | (rough * (1 - slack) > own)) & (rough > 1e-30) & (rough < 1e38)
    rest = (~sure).nonzero()[:, 0]
    theirs = pair_distances(points, pairs[0][rest], pairs[1][rest], distance)
    first[rest] = (theirs < own[rest]) | ((theirs == own[rest]) & earlier[rest])
    return first


def _frame(points: Tensor) -> tuple[Tensor, float]:
    """Centre of the points, float64 (D,), and the largest distance from it."""
    parts = pieces(points, ROWS)
    centre = torch.stack([part.sum(0, dtype=torch.float64) for part in parts]).sum(0)
    centre /= len(points)
    return centre, float(torch.stack([(p - centre).norm(dim=1).max() for p in parts]).max()) or 1.0


class Screen:
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
        self.centre, self.scale = _frame(points)
        # Float64 in pieces of some rows, which stay in the cache.
        parts = pieces(points, ROWS)
        columns = [self._round((part - self.centre) / self.scale) for part in parts]
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
        right: list[Tensor],
        genuine: Genuine,
        own: Tensor,
        limit: int,
    ) -> tuple[Tensor, Tensor]:
        """Count the items before each genuine item.

        Args:
            probes: rows, int64 (P,).
            gallery: rows, int64 (G,).
            right: ``self.items(gallery, width)``.
            genuine: of these probes.
            own: float64 distances (P, K) of the genuine items.
            limit: most doubtful items of one block that are measured for a probe.

        Returns:
            counts (P, K), and a mask (P,) of probes given up for too many doubtful items.
        """
        valid, items = genuine.valid, genuine.items
        left, low, high = self._thresholds(probes, gallery, valid, own)
        low_bits, high_bits = low.view(self.bits), high.view(self.bits)
        before = torch.zeros_like(items)
        undecided = torch.zeros_like(valid[:, 0])
        start = 0
        for block in right:
            bits = self._scores(left, block).view(self.bits)
            for k in range(items.shape[1]):
                above = _words(bits > high_bits[:, k, None])
                doubtful = _words(bits >= low_bits[:, k, None]) ^ above
                before[:, k] += _count(above)
                undecided |= _count(doubtful) > limit
                row, item = _places(doubtful.masked_fill_(undecided[:, None], 0))
                item += start
                place = items[row, k]
                ask = item != place
                row, item, place = row[ask], item[ask], place[ask]
                pairs = probes[row], gallery[item]
                first = _nearer(self.points, self.distance, pairs, own[row, k], item < place)
                before[:, k] += torch.bincount(row[first], minlength=len(before))
            start += len(block)
        return before, undecided

    def items(self, gallery: Tensor, width: int) -> list[Tensor]:
        """Right side of the product, filled up to whole words with items farther than any other."""
        filling = torch.zeros_like(self.table[:1])
        if self.distance == "l1":
            filling += torch.inf
        else:
            # Scores lie between -1.5 and 0.5; this is the first piece of the bias.
            filling[:, -4] = -8
        filled = torch.cat([self.table[gallery], filling.expand(-len(gallery) % WORD, -1)])
        return pieces(filled, width)

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


@cache
def multiplies_bytes() -> bool:
    """Whether this processor and this PyTorch have the product that :class:`ByteScreen` needs.

    It is PyTorch's operator for quantised layers, tried here on a few numbers.
    """
    native = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    if not native():
        return False
    left = torch.arange(0, 240, 10, dtype=torch.uint8).view(3, 8)
    right = torch.arange(-64, 64, 2, dtype=torch.int8).view(8, 8)
    bias = torch.arange(8.0)
    try:
        found = _byte_product(left, _pack(right), bias, 0.5, 64.0)
    except (AttributeError, RuntimeError):
        return False
    expected = ((left.double() - ZERO) @ right.double().T / 4 + bias) / 64
    return bool((found - expected.clamp(0, 255)).abs().max() <= 1)


def _pack(right: Tensor) -> Tensor:
    """Order int8 (G, D) as the processor reads it."""
    packed: Tensor = torch.ops.onednn.qlinear_prepack(right, None)
    return packed


def _byte_product(left: Tensor, packed: Tensor, bias: Tensor, step: float, unit: float) -> Tensor:
    """Compute (step^2 (left - ZERO) @ right.T + bias) / unit, rounded and held in 0 to 255.

    Args:
        left: uint8 (P, D).
        packed: ``_pack(right)`` of int8 (G, D).
        bias: float32 (G,).
        step: of both sides.
        unit: of the result.

    Returns:
        uint8 (P, G).
    """
    scale = torch.full_like(bias, step)
    zero = torch.zeros_like(bias, dtype=torch.int64)
    result: Tensor = torch.ops.onednn.qlinear_pointwise(
        left, step, ZERO, packed, scale, zero, bias, unit, 0, torch.uint8, "none", [], ""
    )
    return result


class ByteScreen:
    """Like :class:`Screen`, with inputs and scores of one byte and the decision in the product.

    **Product.** Centred and scaled points x and y are rounded to multiples X, Y of one step h,
    -127 to 127, so that products add up exactly as integers. For each genuine item k, columns of
    the left side with digits of an integer a_k, and constants on the right, add h^2 a_k, where

        -h^2 a_k - 1/2 = lo' <= lo_k - u < lo' + h^2.

    So r = h^2 (X.Y + a_k) + (1/2 - |y|^2 / 2) is nearly s - lo'. The processor returns r / u,
    rounded and held in 0 to 255, u being the unit.

    **Bound.** |r - (s - lo')| <= delta, with, by Cauchy and Schwarz,

        delta = |x - x^| max|y| + (|x| + |x - x^|) max|y - y^| + 2^-20 M.

    Norms are measured; M = 9 + 255 127 h^2 (number of columns) is above every intermediate result,
    so that 2^-20 M is sixteen times the error of one operation in float32.

    **Decision.** With lo_k = t_k - delta and hi_k = t_k + delta: 0 means r <= u / 2, so
    s <= t_k - delta - u + u / 2 + delta < t_k, farther. More than v = ceil((hi_k - lo') / u + 1/2)
    means r > hi_k - lo', so s > t_k, nearer. What is 1 to v is doubtful. As most items are 0, the
    others are found by looking at eight at a time.

    **Unit.** u = max(2 max delta / 128, h^2) gives v <= 128 + 1 + 1 + 2 < 255.
    """

    def __init__(self, points: Tensor, distance: Distance, dtype: torch.dtype) -> None:
        self.points, self.distance = points, distance
        self.centre, self.scale = _frame(points)
        parts = pieces(points, ROWS)
        largest = torch.stack([(part - self.centre).abs().max() for part in parts]).max()
        # A float32 that 127 steps of reach the largest number with.
        self.step = float((largest / self.scale / 127 * (1 + 2.0**-22)).float()) or 1.0
        columns = [self._round((part - self.centre) / self.scale) for part in parts]
        self.table, self.half, self.rounding = (
            torch.cat(column) for column in zip(*columns, strict=True)
        )
        self.length = (2 * self.half).sqrt_()
        # |lo' + 1/2| <= 1 + delta + u + h^2, in digits up to 126 of weight 127.
        worst = 1.1 + 4 * float(self.rounding.max()) + 4 * self.step**2
        self.digits = int(worst / (self.step**2 * 127 * 126)) + 1
        self.numeric = 2.0**-20 * (
            9 + 255 * 127 * self.step**2 * (points.shape[1] + self.digits + 1)
        )
        self.weights = torch.tensor([[127] * self.digits + [1]], dtype=torch.int8)

    def _round(self, x: Tensor) -> tuple[Tensor, ...]:
        """Whole numbers of steps, half the squared lengths, and lengths of what is left over."""
        whole = (x / self.step).round_()
        half = x.square().sum(1) / 2
        return whole.to(torch.int8), half, x.sub_(whole, alpha=self.step).square_().sum(1).sqrt_()

    def items(self, gallery: Tensor, width: int) -> list[tuple[Tensor, Tensor]]:
        """Right side of the product and its bias, filled up to whole words with far items."""
        blocks = []
        for rows in pieces(gallery, width):
            filling = -len(rows) % WORD
            right = torch.cat([self.table[rows], self.weights.expand(len(rows), -1)], 1)
            right = torch.nn.functional.pad(right, (0, 0, 0, filling))
            # Nothing else has a score below -1.5.
            bias = torch.nn.functional.pad(0.5 - self.half[rows], (0, filling), value=-64.0)
            blocks.append((_pack(right), bias.float()))
        return blocks

    def count(
        self,
        probes: Tensor,
        gallery: Tensor,
        right: list[tuple[Tensor, Tensor]],
        genuine: Genuine,
        own: Tensor,
        limit: int,
    ) -> tuple[Tensor, Tensor]:
        """Count the items before each genuine item, as :meth:`Screen.count`."""
        which, k = genuine.valid.nonzero(as_tuple=True)
        probe, place, mine = probes[which], genuine.items[which, k], own[which, k]
        left, unit, last = self._thresholds(probe, gallery, mine)
        nearer = torch.zeros_like(probe)
        undecided = torch.zeros_like(genuine.valid[:, 0])
        start = 0
        for packed, bias in right:
            words = _byte_product(left, packed, bias, self.step, unit).view(-1).view(torch.int64)
            found = words.nonzero()[:, 0]
            row, word = found // (len(bias) // WORD), found % (len(bias) // WORD)
            levels = words[found][:, None].view(torch.uint8)
            above = levels > last[row][:, None]
            doubtful = (levels > 0) ^ above
            nearer.index_add_(0, row, _count_in_word(above))
            doubts = torch.zeros_like(nearer).index_add_(0, row, _count_in_word(doubtful))
            undecided[which[doubts > limit]] = True
            doubtful &= ~undecided[which][row][:, None]
            hit, flag = doubtful.nonzero(as_tuple=True)
            row, item = row[hit], word[hit] * WORD + flag + start
            ask = item != place[row]
            row, item = row[ask], item[ask]
            pairs = probe[row], gallery[item]
            first = _nearer(self.points, self.distance, pairs, mine[row], item < place[row])
            nearer += torch.bincount(row[first], minlength=len(nearer))
            start += len(bias)
        before = torch.zeros_like(genuine.items)
        before[which, k] = nearer
        return before, undecided

    def _thresholds(
        self, probe: Tensor, gallery: Tensor, own: Tensor
    ) -> tuple[Tensor, float, Tensor]:
        """Left side of the product, the unit u, and v, uint8 (P,)."""
        target = self.half[probe] - own / (2 * self.scale**2)
        delta = (
            self.rounding[probe] * self.length[gallery].max()
            + (self.length + self.rounding)[probe] * self.rounding[gallery].max()
            + self.numeric
        )
        square = self.step**2
        unit = float((delta.max() / 64).clamp_min(square).float())
        whole = ((delta + unit - target - 0.5) / square).ceil()
        last = ((target + delta + 0.5 + whole * square) / unit + 0.5).ceil()
        whole = whole.long()
        tens = whole.div(127, rounding_mode="floor")
        # The floors of (n + j) / d for j = 0 ... d - 1 add up to n.
        steps = torch.arange(self.digits, device=probe.device)
        digits = (tens[:, None] + steps).div(self.digits, rounding_mode="floor")
        left = torch.cat([self.table[probe], digits, (whole - tens * 127)[:, None]], 1)
        return (left + ZERO).to(torch.uint8), unit, last.to(torch.uint8)


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


def _count_in_word(flags: Tensor) -> Tensor:
    """Count the true flags of each row of eight, (R, 8) to (R,): the product adds up the bytes."""
    return (_words(flags)[:, 0] * 0x0101010101010101) >> 56


def _places(words: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each true flag."""
    row, word = words.nonzero(as_tuple=True)
    hit, flag = words[row, word][:, None].view(torch.bool).nonzero(as_tuple=True)
    return row[hit], word[hit] * WORD + flag
