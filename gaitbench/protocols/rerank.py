"""k-reciprocal re-ranking: two items are near if those that are near them are the same.

Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017
(arXiv 1701.08398), written from its equations.
"""

import torch
from torch import Tensor

from gaitbench.protocols.distances import Distance, full_precision

MAX_ITEMS = 10_000
"""Probes and gallery items together; a few square matrices of this size take 2 GB."""


def k_reciprocal_distances(
    points: Tensor,
    probes: Tensor,
    gallery: Tensor,
    distance: Distance,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Tensor:
    """Distances of probes to gallery items after re-ranking among both.

    Args:
        points: float32 (N, D), normalised already where that is wanted.
        probes: rows, int64 (P,).
        gallery: rows, int64 (G,).
        distance: the original one, scaled so that the largest of each item is 1.
        k1: neighbours in which reciprocity is looked for; 20 in the paper's section 4.1.
        k2: neighbours over which the encoding is averaged; 6 there.
        weight: share of the original distance, lambda; 0.3 there.

    Returns:
        float32 (P, G).
    """
    items = torch.cat([probes, gallery])
    original = _all_distances(points[items], distance)
    size = len(items)
    k1, k2 = min(k1, size - 1), min(k2, size)
    order = original.argsort(dim=1, stable=True)[:, : max(k1 + 1, k2)]

    reciprocal = _reciprocal(order[:, : k1 + 1])
    half = _reciprocal(order[:, : round(k1 / 2) + 1])
    # Equation 4: q of R(p, k1) brings in R(q, k1 / 2) if two thirds of that are in R(p, k1).
    shared = half.float() @ reciprocal.float().T  # (q, p)
    joins = reciprocal & (shared >= 2 / 3 * half.sum(1, keepdim=True)).T
    expanded = reciprocal | (joins.float() @ half.float() > 0)

    # Equation 7, scaled to sum one.
    encoding = torch.exp(-original).masked_fill(~expanded, 0)
    encoding /= encoding.sum(1, keepdim=True)
    # Equation 11: the mean encoding of the k2 nearest.
    if k2 > 1:
        encoding = (
            encoding[order[:, :k2]].mean(1)
            if size <= 2048
            else _local_mean(encoding, order[:, :k2])
        )
    # Equation 10: with rows of sum one, the sum of maxima is two less the sum of minima.
    count = len(probes)
    overlap = 1 - torch.cdist(encoding[:count], encoding[count:], p=1) / 2
    jaccard = 1 - overlap / (2 - overlap)
    return weight * original[:count, count:] + (1 - weight) * jaccard


def _all_distances(points: Tensor, distance: Distance) -> Tensor:
    """Distances of all to all as re-ranking wants them: largest of a row 1, own 0, (N, N).

    Euclidean distances are squared, as in the authors' evaluation.
    """
    if distance == "l1":
        result = torch.cdist(points, points, p=1)
    else:
        with full_precision():
            squares = points.square().sum(1)
            result = torch.addmm(squares[None], points, points.T, alpha=-2)
            result.add_(squares[:, None]).clamp_(min=0)
    result.fill_diagonal_(0)
    return result / result.amax(1, keepdim=True).clamp_min(1e-12)


def _reciprocal(order: Tensor) -> Tensor:
    """Whether two items are among each other's nearest, from the nearest of each; bool (N, N)."""
    near = torch.zeros(len(order), len(order), dtype=torch.bool, device=order.device)
    near.scatter_(1, order, True)
    return near & near.T


def _local_mean(encoding: Tensor, nearest: Tensor) -> Tensor:
    """Mean of the encodings of each item's nearest, one neighbour at a time to spare memory."""
    total = encoding[nearest[:, 0]]
    for neighbour in nearest.T[1:]:
        total += encoding[neighbour]
    return total / nearest.shape[1]
