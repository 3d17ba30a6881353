"""``gaitbench compare``."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.published.figures import PublishedFigure, comparable, published_figures
from gaitbench.runs import Metrics, Run, read_runs
from gaitbench.tables import Table, to_html, to_latex, to_markdown, to_text
from gaitbench.tools.datasets import command_parser

if TYPE_CHECKING:
    from gaitbench.protocols.paired import Difference
    from gaitbench.protocols.probes import Outcomes, Probes

HEADLINES = ("video_rank1", "rank1", "auroc", "macro_auroc", "micro_jaccard")
"""The figure of a set of probes that is compared: the first of these that it has."""

ENDINGS = {
    "text": ".txt",
    "markdown": ".md",
    "latex": ".tex",
    "csv": ".csv",
    "html": ".html",
}
"""Form -> what the name of a file ends in."""

RESAMPLES = 1000  # of the paired bootstrap, as of the intervals

COLUMNS = (
    "protocol",
    "probes",
    "figure",
    "method",
    "run",
    "seed",
    "n",
    "value",
    "low",
    "high",
    "deviation",
    "published",
    "difference",
    "source",
    "paired_with",
    "gain",
    "gain_low",
    "gain_high",
    "other_side",
    "subjects",
)
"""Of the CSV; figures are fractions."""


@dataclass
class Line:
    """One figure of one run, or its mean over runs that differ in the seed alone.

    Attributes:
        protocol: id, with how it was changed, if it was.
        probes: set of probes.
        figure: its name in ``metrics.json``.
        runs: one, or several of different seeds.
        figures: all of the set of probes.
        published: figures that may stand beside it, the preferred one first.
        deviation: over the runs; None of a single one.
        gain: what it has more than the first run has on the same probes.
    """

    protocol: str
    probes: str
    figure: str
    runs: list[Run]
    figures: Mapping[str, Any]
    published: list[PublishedFigure] = field(default_factory=list)
    deviation: float | None = None
    gain: "Difference | None" = None

    @property
    def value(self) -> float:
        """The figure, a fraction."""
        return float(self.figures[self.figure])

    @property
    def count(self) -> int | None:
        """How many probes it is of."""
        from gaitbench.protocols.results import counted

        return counted(self.figures, self.figure)

    @property
    def name(self) -> str:
        """Of the run, or how many there are."""
        return self.runs[0].name if len(self.runs) == 1 else f"{len(self.runs)} seeds"

    @property
    def seed(self) -> str:
        """Seed or seeds; empty if unknown."""
        return ", ".join(str(run.seed) for run in self.runs if run.seed is not None)

    @property
    def less_published(self) -> float | None:
        """Difference to the preferred published figure, a fraction."""
        if not self.published:
            return None
        return self.value - self.published[0].values[self.probes] / 100


def main(args: Sequence[str]) -> None:
    """Put the figures of runs into one table, beside each other and beside what was published."""
    parser = command_parser(
        "compare",
        "Put the figures of runs into one table: intervals, published figures under the same "
        "protocol, means over seeds, and differences to the first run on the same probes.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders of runs, or of their predictions"
    )
    parser.add_argument(
        "--protocol",
        action="append",
        default=[],
        help="id; may be repeated; embeddings are judged by it if they were not; all if left out",
    )
    parser.add_argument(
        "--figure", action="append", default=[], help="rank1, map, eer, ...; may be repeated"
    )
    parser.add_argument("--format", choices=ENDINGS, default="text", help="of what is printed")
    parser.add_argument(
        "--out", nargs="+", type=Path, default=[], help="files too; the ending says which form"
    )
    given = parser.parse_args(args)
    kinds = {ending: form for form, ending in ENDINGS.items()}
    for path in given.out:
        if path.suffix not in kinds:
            raise InputError(f"--out {path} ends in none of {', '.join(kinds)}; name one of these")
    runs = read_runs(given.runs)
    remarks: list[str] = []
    judged = [(run, metrics_of(run, runs, given.protocol, remarks)) for run in runs]
    lines = list(compared(judged, given.protocol, given.figure))
    if not lines:
        asked = [*given.protocol, *given.figure]
        raise InputError(
            f"no run has a figure {'of ' + ', '.join(asked) if asked else 'to compare'}; they have "
            f"{', '.join(sorted({p for _, m in judged for p in m})) or 'none'}"
        )
    remarks += add_gains(lines, runs)
    forms = forms_of(lines, remarks)
    print(forms[given.format](), end="")
    for path in given.out:
        with written_whole(path) as beside:
            text = forms[kinds[path.suffix]]()
            beside.write_text(text, encoding="utf-8", newline="\n")


def metrics_of(
    run: Run, runs: Sequence[Run], protocols: Sequence[str], remarks: list[str]
) -> Metrics:
    """A run's figures; of embeddings that were not judged yet, by the protocols named or others'.

    Args:
        run: whose.
        runs: all.
        protocols: ids that were named.
        remarks: to which a sentence is added on each protocol that its embeddings do not suit.

    Raises:
        InputError: if there are no figures, and none can be made of the embeddings.
    """
    wanted = list(protocols)
    if not wanted and not run.metrics:
        wanted = list(dict.fromkeys(name for other in runs for name in other.metrics))
        if not wanted:
            raise InputError(
                f"{run.folder} holds embeddings that were not judged yet; name a --protocol"
            )
    lacking = [name for name in wanted if name not in run.metrics]
    if not lacking or run.predictions is None:
        return run.metrics
    from gaitbench.callbacks import chosen_protocols, judge, read_attributes

    embeddings, sequences = run.read_embeddings()
    attributes = read_attributes(run.predictions, sequences)
    metrics = dict(run.metrics)
    for protocol in chosen_protocols(known_protocols(), lacking):
        try:
            (evaluation,) = judge(
                [protocol],
                embeddings,
                sequences,
                attributes,
                distance=run.distance,
                rerank=run.rerank,
            )
        except InputError as error:
            if not metrics and protocol.id == lacking[-1]:
                raise
            remarks.append(f"{run.name} was not judged: {str(error).rstrip('.')}.")
        else:
            metrics[protocol.id] = dict(evaluation.metrics)
    return metrics


@cache
def known_protocols() -> dict[str, Any]:
    """All protocols of all datasets, by id."""
    from gaitbench.datamodules import DATASETS

    return {name: protocol for data in DATASETS for name, protocol in data.protocols.items()}


def compared(
    judged: Sequence[tuple[Run, Metrics]], protocols: Collection[str], figures: Sequence[str]
) -> Iterator[Line]:
    """Lines by protocol, set of probes and figure; within, runs in their order.

    Args:
        judged: runs and their figures.
        protocols: ids; all if there are none.
        figures: names; the headline of each set if there are none.
    """
    found: dict[tuple[str, str, str], list[Line]] = {}
    for run, metrics in judged:
        changes = changes_of(run)
        for protocol, sets in metrics.items():
            if protocols and protocol not in protocols:
                continue
            shown = ", ".join([protocol, *changes])
            for probes, told in sets.items():
                for figure in figures or headline(probes, told):
                    if not isinstance(told.get(figure), int | float):
                        continue
                    line = Line(shown, probes, figure, [run], told)
                    line.published = comparable(
                        run.method, run.dataset, run.data, shown, probes, figure, line.count or 0
                    )
                    found.setdefault((shown, probes, figure), []).append(line)
    order = {protocol: i for i, protocol in enumerate(dict.fromkeys(key[0] for key in found))}
    for key in sorted(found, key=lambda key: order[key[0]]):
        yield from with_means(found[key])


def headline(probes: str, told: Mapping[str, Any]) -> list[str]:
    """The figure that stands for a set; none for single views and attributes, ``ALL/Female``."""
    named = [name for name in HEADLINES if isinstance(told.get(name), int | float)]
    return [] if "/" in probes else named[:1]


def with_means(lines: Sequence[Line]) -> Iterator[Line]:
    """The same lines, and behind those that differ in the seed alone their mean."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        run = line.runs[0]
        groups.setdefault(run.recipe or f"run {run.folder}", []).append(line)
    for group in groups.values():
        yield from group
        seeds = {line.runs[0].seed for line in group}
        sizes = {line.count for line in group}
        # a seed that comes twice would count twice, and other probes are another task
        if len(group) > 1 and len(seeds) == len(group) and len(sizes) == 1:
            first, values = group[0], [line.value for line in group]
            yield Line(
                first.protocol,
                first.probes,
                first.figure,
                [line.runs[0] for line in group],
                {**first.figures, first.figure: fmean(values), f"{first.figure}_ci95": None},
                first.published,
                stdev(values),
            )


def changes_of(run: Run) -> list[str]:
    """What makes a run's figures others than those of a test by the protocol as it is."""
    changes = [run.distance] if run.distance else []
    changes += ["re-ranked"] if run.rerank else []
    return changes + (["validate"] if run.stage == "validate" else [])


def add_gains(lines: Sequence[Line], runs: Sequence[Run]) -> list[str]:
    """Tell each line what it has more than the first run has on the same probes, where that can be.

    Returns:
        a sentence each on what cannot be paired.
    """
    from gaitbench.protocols.paired import PAIRED, paired_difference, unpaired

    first = runs[0]
    remarks = [
        f"{run.name} changed the protocol ({', '.join(changes)}) and has lines of its own."
        for run in runs
        if (changes := [change for change in changes_of(run) if change != "validate"])
    ]
    remarks += [
        f"{run.name} was judged by `validate`, whose people may be others than those of `test`, "
        "and has lines of its own."
        for run in runs
        if run.stage == "validate"
    ]
    own = {(x.protocol, x.probes, x.figure): x.value for x in lines if x.runs == [first]}
    silent: dict[str, None] = {}
    others: dict[str, None] = {}
    unlike: dict[str, dict[str, None]] = {}

    @cache
    def told(name: str, protocol: str) -> "Probes | None":
        found = probes_of(next(run for run in runs if run.name == name), protocol)
        if found is None:
            silent[name] = None
        return found

    @cache
    def lack(name: str, protocol: str) -> str:
        ours, theirs = told(first.name, protocol), told(name, protocol)
        why = unpaired(ours, theirs) if ours and theirs else ""
        if why:
            others[f"Not paired: {first.name} and {name}, for {why}."] = None
        return why

    for line in lines:
        place = line.protocol, line.probes, line.figure
        if len(line.runs) > 1 or line.runs == [first] or place not in own:
            continue
        if line.figure not in PAIRED:
            continue
        protocol = line.protocol.partition(", ")[0]
        ours, theirs = told(line.name, protocol), told(first.name, protocol)
        if not ours or not theirs or lack(line.name, protocol):
            continue
        mine, rival = ours.sets.get(line.probes), theirs.sets.get(line.probes)
        stale = [
            name
            for name, trials, value in (
                (line.name, mine, line.value),
                (first.name, rival, own[place]),
            )
            if not gives(trials, line.figure, value)
        ]
        for name in stale:
            unlike.setdefault(name, {})[f"{protocol} {line.probes}"] = None
        if mine and rival and not stale:
            line.gain = paired_difference(mine, rival, line.figure, resamples=RESAMPLES)
    if silent:
        remarks.append(
            f"Not paired: {', '.join(silent)} left neither probes nor embeddings, so it is not "
            "known which probes were right; test again."
        )
    remarks += others
    remarks += [
        f"Not paired: the figures of {name} in {', '.join(places)} are not those of its probes; "
        "test again, or run `gaitbench evaluate` on its embeddings."
        for name, places in unlike.items()
    ]
    return remarks


def gives(trials: "Outcomes | None", figure: str, value: float) -> bool:
    """Whether trials are those of a figure."""
    if trials is None or figure not in trials.values:
        return False
    return abs(trials.value(figure) - value) <= 1e-6


def probes_of(run: Run, protocol: str) -> "Probes | None":
    """What a run's probes gave, as it was written down or else as its embeddings tell.

    None where nothing tells: in tests of versions that wrote no probes, and of attributes.
    """
    found = run.read_probes(protocol)
    if found is not None or run.predictions is None:
        return found
    from gaitbench.callbacks import judge
    from gaitbench.protocols import NeighbourProtocol, Protocol

    known = known_protocols().get(protocol)
    if not isinstance(known, Protocol | NeighbourProtocol):
        return None
    embeddings, sequences = run.read_embeddings()
    (evaluation,) = judge(
        [known],
        embeddings,
        sequences,
        None,
        bootstrap=0,
        distance=run.distance,
        rerank=run.rerank,
        verification=False,
    )
    return evaluation.probes


def forms_of(lines: Sequence[Line], remarks: Sequence[str]) -> dict[str, Callable[[], str]]:
    """Form -> what writes it."""
    tables, notes = tables_of(lines, remarks)
    return {
        "text": lambda: to_text(tables, notes),
        "markdown": lambda: to_markdown(tables, notes),
        "latex": lambda: to_latex(tables, notes),
        "html": lambda: to_html("Runs compared", tables, notes),
        "csv": lambda: _csv(lines, lines[0].runs[0].name),
    }


def tables_of(lines: Sequence[Line], remarks: Sequence[str]) -> tuple[list[Table], list[str]]:
    """The table of figures, that of differences where any were paired, and the notes below."""
    sources: dict[tuple[str, str], int] = {}
    for line in lines:
        for entry in line.published[:1]:
            sources.setdefault((entry.source, entry.remark), len(sources) + 1)
    tables = [_figures(lines, sources)]
    paired = [line for line in lines if line.gain]
    if paired:
        tables.append(_gains(paired, lines[0].runs[0].name))
    notes = [
        f"({number}) {source}: {remark}." for (source, remark), number in sources.items()
    ] + _also(lines)
    return tables, notes + _withheld(lines) + list(remarks)


def _figures(lines: Sequence[Line], sources: Mapping[tuple[str, str], int]) -> Table:
    from gaitbench.protocols.results import with_interval

    published = any(line.published for line in lines)
    seeds = any(line.seed for line in lines)
    rows = []
    for line in lines:
        shown = with_interval(dict(line.figures), line.figure)
        if line.deviation is not None:
            shown += f" ± {100 * line.deviation:.1f}"
        row = [line.protocol, line.probes, title_of(line.figure)]
        row += [line.runs[0].method or "?", line.name]
        row += [line.seed] * seeds
        row += [str("" if line.count is None else line.count), shown]
        if published:
            cells = ["", ""]
            if line.published and line.less_published is not None:
                entry = line.published[0]
                number = sources[entry.source, entry.remark]
                cells = [f"{entry.values[line.probes]:.1f} ({number})", points(line.less_published)]
            row += cells
        rows.append(row)
    head = ["protocol", "probes", "figure", "method", "run", *["seed"] * seeds, "n"]
    head += ["% [95 % interval]", *["published", "difference"] * published]
    return Table(
        "Figures, with 95 % intervals over people; over seeds mean ± deviation", head, rows, 5
    )


def _gains(lines: Sequence[Line], baseline: str) -> Table:
    rows = []
    for line in lines:
        assert line.gain is not None
        value, low, high, other, people = line.gain
        rows.append(
            [
                *(line.protocol, line.probes, title_of(line.figure), line.name, str(people)),
                f"{points(value)} [{points(low)}, {points(high)}]",
                f"{100 * other:.1f}" if other else f"< {100 / RESAMPLES:g}",
            ]
        )
    head = ["protocol", "probes", "figure", "run", "people", "points [95 % interval]"]
    return Table(
        f"Difference to {baseline} on the same probes, people resampled {RESAMPLES:,} times",
        [*head, "% of resamples at or beyond zero"],
        rows,
        4,
    )


def _also(lines: Sequence[Line]) -> list[str]:
    """Further published figures under the same protocol, a sentence a source."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for line in lines:
        for entry in line.published[1:]:
            key = (line.protocol, entry.source, entry.remark)
            found.setdefault(key, {})[line.probes] = entry.values[line.probes]
    return [
        f"Also published under {protocol}: "
        f"{', '.join(f'{name} {value:.1f}' for name, value in values.items())} "
        f"({source}: {remark})."
        for (protocol, source, remark), values in found.items()
    ]


def _withheld(lines: Sequence[Line]) -> list[str]:
    """Why published figures of the same method and dataset do not stand in the table."""
    shown = {
        (run.method, run.dataset) for line in lines for run in line.runs if run.method is not None
    }
    return [
        f"Not beside {entry.method} on {entry.data}: {entry.source}; {entry.remark}."
        for entry in published_figures()
        if not entry.protocols and (entry.method, entry.data) in shown
    ]


def _csv(lines: Sequence[Line], baseline: str) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        low, high = line.figures.get(f"{line.figure}_ci95") or ("", "")
        told: dict[str, Any] = {
            "protocol": line.protocol,
            "probes": line.probes,
            "figure": line.figure,
            "method": line.runs[0].method or "",
            "run": line.name,
            "seed": line.seed,
            "n": "" if line.count is None else line.count,
            "value": line.value,
            "low": low,
            "high": high,
            "deviation": "" if line.deviation is None else line.deviation,
        }
        if line.published:
            entry = line.published[0]
            told["published"] = entry.values[line.probes] / 100
            told |= {"difference": line.less_published, "source": entry.source}
        if line.gain:
            value, gain_low, gain_high, other, people = line.gain
            told |= {"paired_with": baseline, "gain": value, "gain_low": gain_low}
            told |= {"gain_high": gain_high, "other_side": other, "subjects": people}
        writer.writerow(told)
    return file.getvalue()


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}"


def title_of(figure: str) -> str:
    """A figure as tables print it."""
    from gaitbench.protocols import closed_set, knn, results

    titles = results.ATTRIBUTE_TITLES | closed_set.TITLES | knn.TITLES | results.TITLES
    for kind in results.KINDS:
        if figure.startswith(f"{kind}_"):
            return f"{kind} {titles.get(figure.removeprefix(f'{kind}_'), figure)}"
    return titles.get(figure, figure)
