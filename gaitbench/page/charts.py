"""Curves as points on a paper that the page's template draws as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from gaitbench.protocols import Evaluation
from gaitbench.protocols.curves import Axis, Curves, cmc_curves, det_curves, rejected_at
from gaitbench.tables import Table

LEFT_EDGE, TOP, WIDTH, HEIGHT = 46.0, 12.0, 340.0, 240.0
"""Of the area that curves lie in; around it is room for the axes' words."""

FALSE_REJECTS_AT = (0.001, 0.01, 0.05, 0.1, 0.2)
"""False-accept rates of the table behind a DET curve."""


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
    curves = cmc_curves({name: found.trials[probes] for _, name, found in judged})
    told = [1, 5, 10, 20]
    rows = [
        [name, *(f"{found[rank - 1]:.1f}" for rank in told)]
        for name, (_, found) in curves.lines.items()
    ]
    return _chart(
        curves,
        judged,
        Table("Probes whose person is among the nearest k (%)", ["run", *map(str, told)], rows),
    )


def det_chart(judged: Sequence[tuple[int, str, Evaluation]], probes: str) -> Chart | None:
    """False rejects by false accepts of pairs; None where no pair was counted."""
    having = {name: found for _, name, found in judged if probes in found.pairs}
    curves = det_curves({name: found.pairs[probes] for name, found in having.items()})
    if curves is None:
        return None
    rows = []
    for name, (accepted, refused) in curves.lines.items():
        eer = having[name].metrics[probes]["eer"]
        assert isinstance(eer, float)
        cells = [eer, *rejected_at(accepted, refused, FALSE_REJECTS_AT)]
        rows.append([name, *(f"{100 * value:.1f}" for value in cells)])
    return _chart(
        curves,
        judged,
        Table(
            "Equal error rate, and false rejects by false accepts (%)",
            ["run", "EER", *(f"at {100 * rate:g}" for rate in FALSE_REJECTS_AT)],
            rows,
        ),
    )


def _chart(curves: Curves, judged: Sequence[tuple[int, str, Evaluation]], table: Table) -> Chart:
    x, y = curves.x, curves.y
    numbers = {name: run for run, name, _ in judged}

    def across(value: float) -> float:
        return round(LEFT_EDGE + WIDTH * x.place(value), 1)

    def up(value: float) -> float:
        return round(TOP + HEIGHT * (1 - y.place(value)), 1)

    drawn = []
    for name in curves.lines:
        xs, ys = curves.inside(name)
        points = dict.fromkeys(
            (across(a), up(b)) for a, b in zip(xs.tolist(), ys.tolist(), strict=True)
        )
        # nothing under half a unit can be seen
        kept: list[tuple[float, float]] = []
        for point in points:
            if not kept or abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= 0.5:
                kept.append(point)
        drawn.append((name, numbers[name], " ".join(f"{a:g},{b:g}" for a, b in kept)))
    return Chart(
        curves.title,
        x,
        y,
        [(across(value), word) for value, word in x.ticks],
        [(up(value), word) for value, word in y.ticks],
        drawn,
        table,
    )
