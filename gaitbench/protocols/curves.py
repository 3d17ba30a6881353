"""Curves of what an evaluation counted: CMC over ranks, DET over thresholds, and their axes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gaitbench.protocols.figures import Floats, Trials, mean_of_means
from gaitbench.protocols.verification import Counts, error_rates

RANKS = 20
"""Ranks of a CMC curve."""

RATES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Marked on both axes of a DET chart; the first and the last end it."""


def rank_curve(trials: Trials, most: int = RANKS) -> Floats:
    """Share of probes whose person is among the nearest 1, 2, … items; CMC, (most,).

    Means are taken as those of the protocol's figures, so that its first value is rank-1.
    """
    people, subject = np.unique(trials.subject, return_inverse=True)
    cells, cell = np.unique(
        np.stack([trials.probe_view, trials.gallery_view], 1), axis=0, return_inverse=True
    )
    found = (trials.first[:, None] > 0) & (trials.first[:, None] <= np.arange(1, most + 1))
    everyone = np.ones((1, len(people)))
    curve: Floats = mean_of_means(
        everyone, subject, cell.reshape(-1), cells[:, 0], found.astype(np.float64)
    )[0]
    return curve


def error_curve(genuine: Counts, impostor: Counts) -> tuple[Floats, Floats]:
    """False-accept and false-reject rate at each threshold where either changes."""
    accepted, true = error_rates(genuine, impostor)
    changed = np.append(True, (np.diff(accepted) > 0) | (np.diff(true) > 0))
    return accepted[changed], 1 - true[changed]


def rejected_at(accepted: Floats, refused: Floats, rates: Sequence[float]) -> list[float]:
    """The least false-reject rate whose false-accept rate does not exceed each of those given."""
    return [float(refused[np.flatnonzero(accepted <= rate)[-1]]) for rate in rates]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: with the unit.
        ticks: values that are marked, and their words; the first and last end the axis.
        scale: from values to a straight axis.
    """

    title: str
    ticks: Sequence[tuple[float, str]]
    scale: Callable[[float], float] = float

    def place(self, value: float) -> float:
        """Between 0 at the first tick and 1 at the last."""
        low, high = self.scale(self.ticks[0][0]), self.scale(self.ticks[-1][0])
        return (self.scale(value) - low) / (high - low)

    def holds(self, values: Floats) -> NDArray[np.bool_]:
        """Which values lie between the first tick and the last."""
        return (values >= self.ticks[0][0]) & (values <= self.ticks[-1][0])


@dataclass(frozen=True)
class Curves:
    """Lines on one paper.

    Attributes:
        title: one phrase.
        x: axis, from left to right.
        y: axis, from below to above.
        lines: name -> x and y of its points, which may lie beyond the axes.
    """

    title: str
    x: Axis
    y: Axis
    lines: Mapping[str, tuple[Floats, Floats]]

    def inside(self, name: str) -> tuple[Floats, Floats]:
        """The points of a line that lie on the paper."""
        x, y = self.lines[name]
        inside = self.x.holds(x) & self.y.holds(y)
        return x[inside], y[inside]


def cmc_curves(trials: Mapping[str, Trials]) -> Curves:
    """Share of probes whose person is among the nearest k, in percent; a line each name."""
    ranks = np.arange(1.0, RANKS + 1)
    lines = {
        name: (ranks, np.minimum(100 * rank_curve(those), 100)) for name, those in trials.items()
    }
    least = min(float(curve.min()) for _, curve in lines.values())
    bottom = min(90, int(least // 10) * 10)
    step = 10 if bottom >= 40 else 20
    return Curves(
        "CMC: person among the nearest k",
        Axis("rank", [(k, str(k)) for k in (1, 5, 10, 15, RANKS)]),
        Axis("found (%)", [(v, str(v)) for v in (*range(bottom, 100, step), 100)]),
        lines,
    )


def det_curves(pairs: Mapping[str, tuple[Floats, Floats]]) -> Curves | None:
    """False rejects by false accepts of pairs, on normal deviates; None where no pair was counted.

    Args:
        pairs: name -> counts of genuine and impostor pairs in bins of rising distance.

    Source: Martin et al. 1997, The DET curve in assessment of detection task performance.
    """
    normal = NormalDist().inv_cdf
    lines = {
        name: error_curve(genuine, impostor)
        for name, (genuine, impostor) in pairs.items()
        if genuine.any() and impostor.any()
    }
    if not lines:
        return None
    ticks = [(rate, f"{100 * rate:g}") for rate in RATES]
    return Curves(
        "DET: errors in telling pairs apart",
        Axis("false accepts (%)", ticks, normal),
        Axis("false rejects (%)", ticks, normal),
        lines,
    )
