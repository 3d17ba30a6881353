"""Verification, is this pair the same person: equal error rate, true-accept rates.

Pairs are never sorted nor kept: their distances are counted in fine bins of equal width, block by
block, and both error rates are read off the counts.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.protocols.distances import (
    BLOCK_ELEMENTS,
    ROWS,
    Distance,
    Genuine,
    full_precision,
    pieces,
)

BINS = 1 << 14
"""Bins between zero and the largest possible distance: the resolution of a threshold."""

COARSE_BINS = 1 << 9
"""Bins of the counts by subject, which only the intervals need; divides ``BINS``."""

FALSE_ACCEPT_RATES = (1e-2, 1e-3)
"""At which the true-accept rate is given."""

Counts = NDArray[np.float64]


class PairCounts:
    """Distances of genuine and impostor pairs, counted in bins.

    Euclidean distances are computed in float32 by a matrix product, so that those far below a
    thousandth of the spread of the points may fall in a neighbouring bin. ``cosine`` is counted as
    the Euclidean distance of unit vectors, which orders pairs alike.

    Args:
        points: float32 (N, D), normalised already where that is wanted.
        distance: as for :func:`gaitbench.protocols.distances.pair_distances`.
        groups: group of each row, int64 (N,), by which coarse counts are kept (the subject).
    """

    def __init__(self, points: Tensor, distance: Distance, groups: Tensor) -> None:
        self.distance, self.groups = distance, groups
        centre = points.mean(0, dtype=torch.float64)
        self.points = torch.cat([(part - centre).float() for part in pieces(points, ROWS)])
        length = self.points.norm(dim=1, p=1 if distance == "l1" else 2)
        self.squares = self.points.square().sum(1)
        self.upper = 2 * float(length.max()) or 1.0
        self.num_groups = int(groups.max()) + 1

    def count(
        self, probes: Tensor, gallery: Tensor, genuine: Genuine
    ) -> tuple[Counts, Counts, Counts, Counts]:
        """Count every pair of a probe and a gallery item once; a probe is no pair with itself.

        Returns:
            genuine and impostor counts (BINS,), then both by group (groups, COARSE_BINS).
        """
        fine = torch.zeros(2, BINS, dtype=torch.int64)
        coarse = torch.zeros(2, self.num_groups, COARSE_BINS, dtype=torch.int64)
        right, right_squares = self.points[gallery], self.squares[gallery]
        rows_at_once = max(1, BLOCK_ELEMENTS // max(1, len(gallery)))
        with full_precision():
            for rows in pieces(torch.arange(len(probes), device=probes.device), rows_at_once):
                bins = self._bins(probes[rows], right, right_squares)
                owners = self.groups[probes[rows]]
                first = torch.ones_like(owners, dtype=torch.bool)
                first[1:] = owners[1:] != owners[:-1]
                groups, local = owners[first], first.cumsum(0) - 1
                valid, itself = genuine.valid[rows], genuine.itself[rows]
                row, column = valid.nonzero(as_tuple=True)
                own = bins[row, genuine.items[rows][row, column]]
                present = (itself >= 0).nonzero()[:, 0]
                void = bins[present, itself[present]]
                everyone = local[:, None].expand_as(bins)
                for kind, sign, values, who in (
                    (0, 1, own, local[row]),
                    (1, 1, bins.reshape(-1), everyone.reshape(-1)),
                    (1, -1, own, local[row]),
                    (1, -1, void, local[present]),
                ):
                    fine[kind] += sign * torch.bincount(values, minlength=BINS).cpu()
                    place = who * COARSE_BINS + values // (BINS // COARSE_BINS)
                    size = len(groups) * COARSE_BINS
                    part = torch.bincount(place, minlength=size).view(-1, COARSE_BINS)
                    coarse[kind].index_add_(0, groups.cpu(), sign * part.cpu())
        genuine_fine, impostor_fine = fine.double().numpy()
        genuine_coarse, impostor_coarse = coarse.double().numpy()
        return genuine_fine, impostor_fine, genuine_coarse, impostor_coarse

    def _bins(self, probes: Tensor, right: Tensor, right_squares: Tensor) -> Tensor:
        left = self.points[probes]
        if self.distance == "l1":
            distance = torch.cdist(left, right, p=1)
        else:
            distance = torch.addmm(right_squares[None], left, right.T, alpha=-2)
            distance = distance.add_(self.squares[probes, None]).clamp_(min=0).sqrt_()
        return distance.mul_(BINS / self.upper).long().clamp_(max=BINS - 1)


def equal_error_rate(genuine: Counts, impostor: Counts) -> Counts:
    """Error rate at the threshold where as many genuine pairs are refused as impostors accepted.

    With F the share of impostors and T the share of genuine pairs at or below a bin's upper edge,
    this is F where F = 1 - T, on straight lines between neighbouring edges.

    Args:
        genuine: counts (..., bins) of distances, rising.
        impostor: the same shape.

    Returns:
        Rates (...); NaN where there is no pair of one kind.
    """
    accepted, true = error_rates(genuine, impostor)
    gap = accepted + true - 1
    after = np.argmax(gap >= 0, axis=-1)[..., None]
    low, high = (np.take_along_axis(gap, at, -1) for at in (after - 1, after))
    start, stop = (np.take_along_axis(accepted, at, -1) for at in (after - 1, after))
    rate: Counts = (start - low / (high - low) * (stop - start))[..., 0]
    return rate


def true_accept_rate(genuine: Counts, impostor: Counts, false_accept_rate: float) -> Counts:
    """Share of genuine pairs accepted where the given share of impostors is.

    Read off the straight lines between neighbouring bin edges; where several thresholds accept
    the same impostors, the one that accepts most genuine pairs counts.

    Args:
        genuine: counts (..., bins) of distances, rising.
        impostor: the same shape.
        false_accept_rate: share of impostors, 0 to below 1.

    Returns:
        Rates (...); NaN where there is no pair of one kind.
    """
    accepted, true = error_rates(genuine, impostor)
    at = ((accepted <= false_accept_rate).sum(-1) - 1).clip(0)[..., None]
    next_ = np.minimum(at + 1, accepted.shape[-1] - 1)
    low, high = (np.take_along_axis(accepted, i, -1) for i in (at, next_))
    start, stop = (np.take_along_axis(true, i, -1) for i in (at, next_))
    share = (false_accept_rate - low) / np.where(high > low, high - low, 1)
    rate: Counts = (start + share * (stop - start))[..., 0]
    return rate


def error_rates(genuine: Counts, impostor: Counts) -> tuple[Counts, Counts]:
    """False and true accept rates at every bin edge, from none accepted to all."""
    rates = []
    for counts in (impostor, genuine):
        total = counts.sum(-1, keepdims=True)
        share = counts.cumsum(-1) / np.where(total > 0, total, np.nan)
        rates.append(np.concatenate([np.zeros_like(total), share], -1))
    return rates[0], rates[1]
