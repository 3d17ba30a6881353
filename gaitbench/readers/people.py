"""Which person of a frame is the walker, where a pose estimator lists several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Poses = NDArray[np.float32]
Numbers = NDArray[np.int64]

STRIDE = 0.1
"""Mean way of the joints from frame to frame, in body heights, up to which a step is smooth.
Walking at 1.3 m/s moves a trunk by 0.03 body heights between frames at 25 a second and the
swinging foot by less than four times that; the next person stands further away."""

TINY = float(np.finfo(np.float32).tiny)


def choose(person: str, candidates: Poses, listed: Numbers, length: Numbers) -> Numbers:
    """One candidate for each frame.

    Ways to choose:

    * ``first``: who is listed first, as GaitGraph2 does (Teepe et al., 2022).
    * ``largest``: whose seen joints span the greatest height.
    * ``most_confident``: who has the greatest mean confidence over all joints.
    * ``smoothest``: the least-cost path through a sequence. A step from frame to frame costs the
      mean distance of the joints seen in both, in body heights (the median over frames of the
      tallest person's), as far as it exceeds :data:`STRIDE`; a body height where no joint is
      seen in both. A candidate costs the mean of what it lacks, relatively, to the greatest
      height and to the greatest confidence in its frame. So walking costs no more than standing
      still, and a bystander who is smaller or less certain does not win by not moving.

    All but ``first`` give the same people in whatever order they are listed.

    Args:
        person: one of :data:`gaitbench.oumvlp.PERSONS`.
        candidates: (N, V, 3) x, y and confidence of all people, frame by frame; a joint is seen
            where its confidence is above zero.
        listed: (F,) people of each frame, at least one.
        length: (S,) frames of each sequence.

    Returns:
        (F,) indices of candidates.

    Raises:
        ValueError: if ``person`` is none of these.
    """
    first = np.cumsum(listed) - listed
    if person == "first" or (listed == 1).all():
        return first
    order = _order(candidates, listed)
    candidates = candidates[order]
    if person == "largest":
        best = _greatest(_height(candidates), listed)
    elif person == "most_confident":
        best = _greatest(candidates[..., 2].mean(axis=-1, dtype=np.float64), listed)
    elif person == "smoothest":
        best = _smoothest(candidates, listed, length)
    else:
        raise ValueError(f"there is no way {person!r} to choose a person")
    chosen: Numbers = order[best]
    return chosen


def _order(candidates: Poses, listed: Numbers) -> Numbers:
    """(N,) order that sorts the people of a frame by their numbers, so that ties are no matter."""
    order = np.arange(len(candidates))
    several = np.flatnonzero(np.repeat(listed > 1, listed))
    frame = np.repeat(np.arange(len(listed)), listed)[several]
    numbers = candidates[several].reshape(len(several), -1)
    order[several] = several[np.lexsort((*numbers.T, frame))]
    return order


def _greatest(score: NDArray[Any], listed: Numbers) -> Numbers:
    """(F,) the candidate of each frame that has the greatest of (N,) scores."""
    frame = np.repeat(np.arange(len(listed)), listed)
    best: Numbers = np.lexsort((-score, frame))[np.cumsum(listed) - listed]
    return best


def _height(poses: Poses) -> NDArray[np.float32]:
    """(...,) height of the box of the seen joints of (..., V, 3), in pixels; 0 without any."""
    seen, y = poses[..., 2] > 0, poses[..., 1]
    height = np.where(seen, y, -np.inf).max(axis=-1) - np.where(seen, y, np.inf).min(axis=-1)
    positive: NDArray[np.float32] = np.maximum(height, 0).astype(np.float32)
    return positive


def _smoothest(candidates: Poses, listed: Numbers, length: Numbers) -> Numbers:
    """(F,) candidates along the least-cost path of each sequence."""
    first = np.cumsum(listed) - listed
    chosen = first.copy()
    ends = np.cumsum(length)
    for begin, end in zip(ends - length, ends, strict=True):
        many = int(listed[begin:end].max(initial=0))
        if many < 2:
            continue
        # (T, K) candidates of each frame, the first once more where there are fewer than K
        there = np.arange(many) < listed[begin:end, None]
        index = first[begin:end, None] + np.where(there, np.arange(many), 0)
        own, step = _costs(candidates[index])
        own[~there] = np.inf
        chosen[begin:end] = index[np.arange(end - begin), _path(own, step)]
    return chosen


def _costs(poses: Poses) -> tuple[NDArray[Any], NDArray[Any]]:
    """(T, K) of each candidate and (T - 1, K, K) of each step between those of (T, K, V, 3)."""
    confidence = np.maximum(poses[..., 2].mean(axis=-1, dtype=np.float64), 0)
    height = _height(poses)
    tallest = height.max(axis=1, keepdims=True)
    surest = confidence.max(axis=1, keepdims=True)
    own = 1 - (height / np.maximum(tallest, TINY) + confidence / np.maximum(surest, TINY)) / 2
    here, there = poses[:-1, :, None], poses[1:, None, :]
    both = (here[..., 2] > 0) & (there[..., 2] > 0)
    way = np.hypot(here[..., 0] - there[..., 0], here[..., 1] - there[..., 1])
    mean = np.where(both, way, 0).sum(axis=-1) / np.maximum(both.sum(axis=-1), 1)
    heights = np.where(both.any(axis=-1), mean / np.maximum(np.median(tallest), TINY), 1)
    return own, np.maximum(heights - STRIDE, 0)


def _path(own: NDArray[Any], step: NDArray[Any]) -> list[int]:
    """The least-cost choice of one of K in each of T frames; own (T, K), step (T - 1, K, K)."""
    cost, origins = own[0], []
    for to_here, here in zip(step, own[1:], strict=True):
        total = cost[:, None] + to_here
        origins.append(total.argmin(axis=0))
        cost = total.min(axis=0) + here
    path = [int(cost.argmin())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path[::-1]
