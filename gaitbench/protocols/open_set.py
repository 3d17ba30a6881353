"""Open-set identification: who is it, and is it anybody we know at all?

Source: Grother and Ngan, NIST FRVT 1:N, and ISO/IEC 19795-1: detection and identification rate
(DIR), false-positive identification rate (FPIR).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.protocols.figures import bootstrap_weights, interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Threshold:
    """A distance below which the nearest entry is taken for the same person.

    Attributes:
        value: that distance.
        fpir: the share of strangers' searches that was allowed to end below it.
        accepted: how many did.
        searches: how many there were.
        people: whose they were; they must not be judged by this threshold.
    """

    value: float
    fpir: float
    accepted: int
    searches: int
    people: tuple[str, ...]


def choose_threshold(distances: Floats, people: Sequence[str], fpir: float) -> Threshold:
    """The largest threshold that at most a share of strangers' searches falls below.

    Args:
        distances: from each search of a stranger to the nearest entry, (n,).
        people: whose search it is, n names.
        fpir: the share.

    Raises:
        InputError: if the share is impossible, or too small for so few searches.
    """
    if not 0 < fpir < 1:
        raise InputError(f"--fpir is {fpir:g}; give a share between 0 and 1")
    # 0.29 x 100 is a little less than 29 in floating point
    allowed = int(np.floor(fpir * len(distances) + 1e-9))
    if not allowed:
        raise InputError(
            f"a false-positive rate of {fpir:g} needs {int(np.ceil(1 / fpir))} searches of people "
            f"who are not enrolled, found {len(distances)}; give more of them or a higher --fpir"
        )
    value = float(np.sort(distances)[min(allowed, len(distances) - 1)])
    accepted = int((distances < value).sum())
    return Threshold(value, fpir, accepted, len(distances), tuple(sorted(set(people))))


@dataclass(frozen=True)
class Rate:
    """A share of searches.

    Attributes:
        count: of those.
        searches: of these.
        people: whose they are.
        bounds: of the 95 % interval: people are drawn anew (bootstrap); where all or none of the
            searches count, that of Clopper and Pearson 1934 with a person as one trial.
    """

    count: int
    searches: int
    people: int
    bounds: tuple[float, float]

    @property
    def value(self) -> float:
        """The share."""
        return self.count / self.searches

    def __str__(self) -> str:
        low, high = self.bounds
        return (
            f"{100 * self.value:.1f} % ({self.count:,} of {self.searches:,} searches of "
            f"{self.people:,} people; 95 % interval {100 * low:.1f} to {100 * high:.1f})"
        )


def rate_of(counts: Flags, people: Sequence[str], resamples: int = 1000) -> Rate | None:
    """The share of searches that count; None if there are no searches.

    Args:
        counts: of each search, (n,).
        people: whose search it is, n names.
        resamples: of the people.
    """
    if not len(counts):
        return None
    names, who = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    hits = np.bincount(who, counts, len(names))
    all_of = np.bincount(who, minlength=len(names))
    total, size = int(counts.sum()), len(names)
    if total in (0, len(counts)):
        tail = 1 - 0.025 ** (1 / size)
        bounds = (0.0, tail) if total == 0 else (1 - tail, 1.0)
    else:
        weights = bootstrap_weights(size, resamples, 0)[1:]
        low, high = interval((weights @ hits) / (weights @ all_of))
        bounds = (low, high)
    return Rate(total, len(counts), size, bounds)


@dataclass(frozen=True)
class OpenSetResult:
    """How well a gallery and its threshold tell people.

    Attributes:
        identification: searches of enrolled people that find the right person first and below the
            threshold (DIR at rank 1).
        confusion: those that find somebody else first and below it.
        rank1: those that find the right person first, at whatever distance.
        false_positive: searches of strangers with somebody below the threshold (FPIR).
    """

    identification: Rate | None
    confusion: Rate | None
    rank1: Rate | None
    false_positive: Rate | None


def judge_open_set(
    distances: Floats,
    found: Sequence[str],
    people: Sequence[str],
    enrolled: Sequence[str],
    threshold: float,
    resamples: int = 1000,
) -> OpenSetResult:
    """Judge what searches have found.

    Args:
        distances: from each search to the nearest entry, (n,).
        found: whose entry that is, n names.
        people: whose search it is, n names.
        enrolled: who is in the gallery.
        threshold: distances below are taken for the same person.
        resamples: of the people, for intervals.
    """
    names = np.asarray(people, dtype=str)
    right = names == np.asarray(found, dtype=str)
    known = np.isin(names, np.asarray([*enrolled], dtype=str))
    below = distances < threshold

    def rate(counts: Flags, among: Flags) -> Rate | None:
        return rate_of(counts[among], names[among].tolist(), resamples)

    return OpenSetResult(
        identification=rate(right & below, known),
        confusion=rate(~right & below, known),
        rank1=rate(right, known),
        false_positive=rate(below, ~known),
    )
