"""A screen for crowds of genuine items, such as all the windows of a person's recordings.

The other screens compare a probe's scores with each of its genuine items in turn. Here every score
is looked up once among those of the genuine items, which are in order.
"""

import torch
from torch import Tensor

from gaitbench.protocols.distances import Distance, Genuine, pieces
from gaitbench.protocols.screens import _frame, _nearer


class CrowdScreen:
    """Like :class:`gaitbench.protocols.screens.Screen`, in float64 and for many genuine items.

    **Score.** For centred points x and y, scaled to lengths of at most 1, as there
    s(x, y) = x.y - |y|^2 / 2; for ``l1`` it is -|x - y|_1 of the points as they are.

    **Bound.** Products, sums of D terms, centring, and the measured distance behind t_k, the score
    of genuine item k, err by less than 4 (D + 8) 2^-53 together, as no length is above 1; ``l1``
    by less than that share of the longest distance. The bound delta is twice as much.

    **Decision.** The t_k of a probe are sorted. An item comes before all that lie below s - delta;
    those between s - delta and s + delta are doubtful, and measured.
    """

    def __init__(self, points: Tensor, distance: Distance, dtype: torch.dtype) -> None:
        self.points, self.distance, self.dtype = points, distance, dtype
        self.delta = (points.shape[1] + 8) * 2.0**-50
        if distance == "l1":
            self.delta *= max(2 * float(points.double().abs().sum(1).max()), 1e-300)
        else:
            self.centre, self.scale = _frame(points)

    def items(self, gallery: Tensor, width: int) -> list[Tensor]:
        """Rows of the gallery, so many at a time."""
        return pieces(gallery, width)

    def count(
        self,
        probes: Tensor,
        gallery: Tensor,
        right: list[Tensor],
        genuine: Genuine,
        own: Tensor,
        limit: int,
    ) -> tuple[Tensor, Tensor]:
        """Count the items before each genuine item, as :meth:`Screen.count`."""
        left, half = self._place(probes)
        target = -own if self.distance == "l1" else half[:, None] - own / (2 * self.scale**2)
        edges, order = target.masked_fill(~genuine.valid, torch.inf).sort(1)
        edges = torch.nn.functional.pad(edges, (0, 1), value=torch.inf)
        size = edges.shape[1]
        sure = torch.zeros(len(probes) * size, dtype=torch.int64, device=probes.device)
        doubtful = torch.zeros_like(own, dtype=torch.int64)
        asked = torch.zeros_like(genuine.itself)
        first_of_row = torch.arange(len(probes), device=probes.device)[:, None] * size
        start = 0
        for rows in right:
            scores = self._scores(left, rows)
            low = torch.searchsorted(edges, scores - self.delta)
            sure += torch.bincount((low + first_of_row).view(-1), minlength=len(sure))
            scores += self.delta
            near = edges.gather(1, low) <= scores
            asked += near.sum(1)
            row, item = (near & (asked <= limit + size)[:, None]).nonzero(as_tuple=True)
            edge, score = low[row, item], scores[row, item]
            while len(row):
                k = order[row, edge]
                place = genuine.items[row, k]
                ask = item + start != place  # each genuine item is near itself
                who, what, which = row[ask], item[ask] + start, k[ask]
                pairs = probes[who], gallery[what]
                nearer = _nearer(
                    self.points, self.distance, pairs, own[who, which], what < place[ask]
                )
                doubtful.index_put_((who, which), nearer.long(), accumulate=True)
                edge += 1
                more = edges[row, edge] <= score
                asked += torch.bincount(row[more], minlength=len(asked))
                more &= (asked <= limit + size)[row]
                row, item, edge, score = row[more], item[more], edge[more], score[more]
            start += len(rows)
        # of the edge at place j come before all that lie above more than j edges
        above = sure.view(-1, size).flip(1).cumsum(1).flip(1)[:, 1:]
        return doubtful.scatter_add_(1, order, above), asked > limit + size

    def _place(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Points in float64 (n, D), centred and scaled but for ``l1``, and half their squares."""
        x = self.points[rows].double()
        if self.distance != "l1":
            x = x.sub_(self.centre).div_(self.scale)
        return x, torch.linalg.vecdot(x, x) / 2

    def _scores(self, left: Tensor, rows: Tensor) -> Tensor:
        """(B, n) of each left point with each of the rows."""
        right, half = self._place(rows)
        if self.distance == "l1":
            return torch.cdist(left, right, p=1).neg_()
        return torch.addmm(half[None], left, right.T, beta=-1)
