"""Distances of single pairs, measured exactly, and which pairs are genuine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Distance = Literal["euclidean", "l1", "cosine"]

# Elements of one block of scores: 1 Mi entries of two bytes are what two cores keep in their
# second-level caches, where a comparison costs a third of what it costs from memory.
BLOCK_ELEMENTS = 1 << 20
# Rows that are prepared at a time: 512 x 384 in float64 is 1.5 MB.
ROWS = 512
# Values of the pairs measured again at a time: few calls, and rows that stay in the cache.
PAIR_VALUES = 1 << 18


def pieces(rows: Tensor, size: int) -> list[Tensor]:
    """Cut into pieces of ``size`` rows."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def pairs_at_once(points: Tensor) -> int:
    """How many pairs of such points (N, D) are measured in one go."""
    return max(1, PAIR_VALUES // max(1, points.shape[1]))


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
    a, b = left.reshape(-1), right.reshape(-1)
    found = torch.empty(a.shape, dtype=torch.float64, device=points.device)
    step = min(pairs_at_once(points), len(a))
    # used again and again, as fresh pages cost more than arithmetic
    taken = points.new_empty(step, points.shape[1])
    difference = torch.empty_like(taken, dtype=torch.float64)
    for start in range(0, len(a), step or 1):
        rows = a[start : start + step], b[start : start + step]
        some, values = taken[: len(rows[0])], difference[: len(rows[0])]
        values.copy_(torch.index_select(points, 0, rows[0], out=some))
        values -= torch.index_select(points, 0, rows[1], out=some)
        values = values.abs_() if distance == "l1" else values.square_()
        torch.sum(values, 1, out=found[start : start + step])
    return found.view(left.shape)


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

    def __getitem__(self, rows: Tensor) -> "Genuine":
        return Genuine(self.items[rows], self.valid[rows], self.itself[rows])


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
