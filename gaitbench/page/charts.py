"""Curves as points on a paper that the page's template draws as SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from gaitbench.page.details import FALSE_REJECTS_AT, error_curve, rank_curve, rejected_at
from gaitbench.protocols import Evaluation
from gaitbench.protocols.figures import Floats
from gaitbench.tables import Table

LEFT_EDGE, TOP, WIDTH, HEIGHT = 46.0, 12.0, 340.0, 240.0
"""Of the area that curves lie in; around it is room for the axes' words."""

RATES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Marked on both axes of a DET chart; the first and the last end it."""

Curve = tuple[str, int, Floats, Floats]
"""Name, number of the run, and x and y in the units of the axes."""


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


@dataclass(frozen=True)
class Chart:
    """What the template draws.

    Attributes:
        title: one phrase.
        x: axis, from left to right.
        y: axis, from below to above.
        across: place and words of the ticks of x.
        up: of y.
        lines: name, number of the run, and points as SVG writes them.
        table: the same as figures.
    """

    title: str
    x: Axis
    y: Axis
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]
    lines: list[tuple[str, int, str]]
    table: Table


def cmc_chart(judged: Sequence[tuple[int, str, Evaluation]], probes: str) -> Chart:
    """Share of probes whose person is among the nearest k.

    Args:
        judged: number and name of runs, and what their embeddings gave.
        probes: set of probes, that all of them have.
    """
    curves = {run: 100 * rank_curve(found.trials[probes]) for run, _, found in judged}
    ranks = np.arange(1, 1 + len(next(iter(curves.values()))))
    least = min(float(curve.min()) for curve in curves.values())
    bottom = min(90, int(least // 10) * 10)
    step = 10 if bottom >= 40 else 20
    x = Axis("rank", [(k, str(k)) for k in (1, 5, 10, 15, 20)])
    y = Axis("found (%)", [(v, str(v)) for v in (*range(bottom, 100, step), 100)])
    told = [1, 5, 10, 20]
    rows = [[name, *(f"{curves[run][rank - 1]:.1f}" for rank in told)] for run, name, _ in judged]
    return _chart(
        "CMC: person among the nearest k",
        x,
        y,
        [(name, run, ranks.astype(float), curves[run]) for run, name, _ in judged],
        Table("Probes whose person is among the nearest k (%)", ["run", *map(str, told)], rows),
    )


def det_chart(judged: Sequence[tuple[int, str, Evaluation]], probes: str) -> Chart | None:
    """False rejects by false accepts of pairs, on normal deviates; None where no pair was counted.

    Source: Martin et al. 1997, The DET curve in assessment of detection task performance.
    """
    normal = NormalDist().inv_cdf
    lines, rows = [], []
    low, high = RATES[0], RATES[-1]
    for run, name, found in judged:
        genuine, impostor = found.pairs.get(probes, (np.zeros(1), np.zeros(1)))
        if not genuine.any() or not impostor.any():
            continue
        accepted, refused = error_curve(genuine, impostor)
        inside = (accepted >= low) & (accepted <= high) & (refused >= low) & (refused <= high)
        lines.append((name, run, accepted[inside], refused[inside]))
        eer = found.metrics[probes]["eer"]
        assert isinstance(eer, float)
        cells = [eer, *rejected_at(accepted, refused, FALSE_REJECTS_AT)]
        rows.append([name, *(f"{100 * value:.1f}" for value in cells)])
    if not lines:
        return None
    ticks = [(rate, f"{100 * rate:g}") for rate in RATES]
    return _chart(
        "DET: errors in telling pairs apart",
        Axis("false accepts (%)", ticks, normal),
        Axis("false rejects (%)", ticks, normal),
        lines,
        Table(
            "Equal error rate, and false rejects by false accepts (%)",
            ["run", "EER", *(f"at {100 * rate:g}" for rate in FALSE_REJECTS_AT)],
            rows,
        ),
    )


def _chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Curve],
    table: Table,
) -> Chart:
    def across(value: float) -> float:
        return round(LEFT_EDGE + WIDTH * x.place(value), 1)

    def up(value: float) -> float:
        return round(TOP + HEIGHT * (1 - y.place(value)), 1)

    drawn = []
    for name, run, xs, ys in lines:
        points = dict.fromkeys(
            (across(a), up(b)) for a, b in zip(xs.tolist(), ys.tolist(), strict=True)
        )
        # nothing under half a unit can be seen
        kept: list[tuple[float, float]] = []
        for point in points:
            if not kept or abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= 0.5:
                kept.append(point)
        drawn.append((name, run, " ".join(f"{a:g},{b:g}" for a, b in kept)))
    return Chart(
        title,
        x,
        y,
        [(across(value), word) for value, word in x.ticks],
        [(up(value), word) for value, word in y.ticks],
        drawn,
        table,
    )
