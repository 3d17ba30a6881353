"""The nearest gallery items of each probe, exact for float64 distances."""

import torch
from torch import Tensor

from gaitbench.protocols.distances import (
    BLOCK_ELEMENTS,
    Distance,
    full_precision,
    pair_distances,
    pieces,
    unit_length,
)

SPARE = 16
"""Items beyond those wanted that are measured exactly."""

WIDTH = 1 << 13
"""Gallery items of one block."""


def nearest(
    gallery: Tensor, probes: Tensor, count: int, distance: Distance
) -> tuple[Tensor, Tensor]:
    """The nearest items of each probe, and how far they are.

    A product in float32 finds somewhat more items than are wanted; these are measured in float64.
    Where the bound on its error leaves open whether another item is nearer, all are measured.

    Args:
        gallery: float32 (G, D).
        probes: float32 (P, D), one at least.
        count: k, at most G of which are given.
        distance: see :func:`gaitbench.protocols.distances.pair_distances`; for ``cosine`` both are
            scaled to unit length here.

    Returns:
        Places in the gallery, int64 (P, k), from the nearest on, of equally far ones the earlier
        first; and their distances as that function has them, float64 (P, k).
    """
    if distance == "cosine":
        gallery, probes = unit_length(gallery), unit_length(probes)
    points = torch.cat((gallery, probes))
    count = min(count, len(gallery))
    found = []
    with full_precision():
        screen = _Screen(gallery, distance)
        for rows in pieces(torch.arange(len(probes)), max(1, BLOCK_ELEMENTS // WIDTH)):
            places, beyond = screen.few(probes[rows], min(count + SPARE, len(gallery)))
            given = measured(points, len(gallery) + rows, places, count, distance)
            open_rows = (given[1][:, -1] >= beyond).nonzero()[:, 0]
            for row in open_rows.tolist():
                everything = torch.arange(len(gallery))[None]
                one = measured(points, len(gallery) + rows[[row]], everything, count, distance)
                given[0][row], given[1][row] = one[0][0], one[1][0]
            found.append(given)
    return torch.cat([given[0] for given in found]), torch.cat([given[1] for given in found])


def measured(
    points: Tensor, rows: Tensor, places: Tensor, count: int, distance: Distance
) -> tuple[Tensor, Tensor]:
    """The nearest of some items of each row of ``points``, measured in float64.

    Args:
        points: float32 (N, D); the gallery comes first.
        rows: int64 (P,).
        places: of the items, (P, m); where it is negative there is none.
        count: k, at most m.
        distance: see :func:`pair_distances`.

    Returns:
        Places and distances, (P, k); -1 and infinite where there are no more.
    """
    places = places.sort(1).values
    own = rows[:, None].expand_as(places)
    exact = pair_distances(points, own, places.clamp_min(0), distance)
    exact, order = exact.masked_fill(places < 0, torch.inf).sort(dim=1, stable=True)
    return places.gather(1, order)[:, :count], exact[:, :count]


class _Screen:
    """Scores in float32, smaller for nearer items, and what they may be wrong by.

    With centred points x and y, s = |y|^2 - 2 x.y = |x - y|^2 - |x|^2. Rounding x, y and sums of
    D + 2 terms to float32 moves s by at most (D + 8) 2^-23 (|x| + |y|)^2. Sums of absolute
    differences err by at most (D + 8) 2^-23 of themselves.
    """

    def __init__(self, gallery: Tensor, distance: Distance) -> None:
        self.plain = distance == "l1"
        self.slack = (gallery.shape[1] + 8) * 2.0**-23
        self.centre = gallery.new_zeros(gallery.shape[1], dtype=torch.float64)
        if not self.plain:
            self.centre = gallery.mean(0, dtype=torch.float64)
        self.items = torch.cat([(part - self.centre).float() for part in pieces(gallery, WIDTH)])
        self.squares = self.items.double().square().sum(1)
        self.longest = float(self.squares.max().sqrt())
        self.blocks = list(
            zip(pieces(self.items, WIDTH), pieces(self.squares.float(), WIDTH), strict=True)
        )

    def few(self, probes: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Places of the items with the least scores, and below which distance no other can be.

        Returns:
            (P, count) and float64 (P,), infinite where all items are among them.
        """
        wide = probes - self.centre
        x = wide.float()
        best = x.new_empty(len(x), 0)
        places = torch.empty(len(x), 0, dtype=torch.int64)
        start = 0
        for items, squares in self.blocks:
            if self.plain:
                scores = torch.cdist(x, items, p=1)
            else:
                scores = torch.addmm(squares, x, items.T, alpha=-2)
            here = torch.arange(start, start + len(items)).expand(len(x), -1)
            scores, here = torch.cat((best, scores), 1), torch.cat((places, here), 1)
            best, order = scores.topk(min(count, scores.shape[1]), largest=False)
            places = here.gather(1, order)
            start += len(items)
        if count == start:
            return places, torch.full((len(x),), torch.inf, dtype=torch.float64)
        worst = best[:, -1].double()
        if self.plain:
            return places, worst * (1 - self.slack)
        square = wide.square().sum(1)
        return places, worst + square - self.slack * (square.sqrt() + self.longest) ** 2
