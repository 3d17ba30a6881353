"""``gaitbench report``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.runs import Metrics, Run, read_runs
from gaitbench.tables import Table
from gaitbench.tools.compare import (
    add_gains,
    compared,
    gives,
    headline,
    known_protocols,
    metrics_of,
    tables_of,
    title_of,
)
from gaitbench.tools.datasets import command_parser

if TYPE_CHECKING:
    import pandas as pd

    from gaitbench.page import Judged
    from gaitbench.protocols.probes import Probes


def main(args: Sequence[str]) -> None:
    """Write a page that shows runs: figures, views, curves, maps, people, hardest walks."""
    parser = command_parser(
        "report",
        "Write one page that a browser opens from the disk: figures, heat maps of views, rank and "
        "error curves, a map of embeddings, people, the hardest probes as moving skeletons, "
        "drawings and settings.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders of runs, or of their predictions"
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page to write")
    parser.add_argument(
        "--protocol",
        action="append",
        default=[],
        help="id; may be repeated; embeddings are judged by it if they were not; all if left out",
    )
    given = parser.parse_args(args)
    runs = read_runs(given.runs)
    remarks: list[str] = []
    told = [(run, metrics_of(run, runs, given.protocol, remarks)) for run in runs]
    lines = list(compared(told, given.protocol, ()))
    if not lines:
        raise InputError(
            f"no run has a figure{' of ' + ', '.join(given.protocol) if given.protocol else ''}; "
            f"they have {', '.join(sorted({p for _, m in told for p in m})) or 'none'}"
        )
    remarks += add_gains(lines, runs)

    from gaitbench.page import LARGEST, content_of, rendered

    tables, notes = tables_of(lines, remarks)
    shown = [_judged(run, metrics, given.protocol) for run, metrics in told]
    page = rendered(content_of(shown, tables, notes)).encode()
    if len(page) >= LARGEST:
        raise InputError(
            f"{given.out} would have {len(page):,} bytes, and at most {LARGEST:,} open well on a "
            "telephone; name fewer runs, or one --protocol"
        )
    with written_whole(given.out) as beside:
        beside.write_bytes(page)
    print(f"{given.out}: {len(page) / 1e6:.1f} MB, {len(runs)} run{'s' * (len(runs) > 1)}")


def _judged(run: Run, metrics: Metrics, wanted: Sequence[str]) -> "Judged":
    """A run with what its embeddings give under each protocol of retrieval it was judged by."""
    from gaitbench.page import Judged
    from gaitbench.protocols import Evaluation, Protocol, evaluate

    names = [name for name in metrics if not wanted or name in wanted]
    evaluations: dict[str, Evaluation] = {}
    tables: dict[str, tuple[pd.DataFrame, bool]] = {}
    remarks: list[str] = []
    distance: Any = run.distance
    read = run.read_embeddings() if run.predictions is not None else None
    for name in names:
        protocol = known_protocols().get(name)
        if not isinstance(protocol, Protocol):
            continue
        if read is not None:
            found = evaluate(*read, protocol, distance=distance, rerank=run.rerank, bootstrap=0)
            if _same(found.metrics, metrics[name]):
                evaluations[name] = found
                continue
            remarks.append(
                f"The figures of {name} are not those of the embeddings, which are not shown; run "
                "`gaitbench evaluate` on the run."
            )
        table = _long_table(run, name)
        if table is not None:
            tables[name] = table, protocol.exclude_same_view
    if run.rerank and evaluations:
        remarks.append(
            "Distances of the hardest probes are those before the gallery is ordered again."
        )
    probes = {
        name: kept
        for name in names
        if name not in evaluations and (kept := _probes(run, name, metrics[name])) is not None
    }
    figures = [table for name in names for table in _figures(name, metrics)]
    return Judged(run, figures, evaluations, probes, tables, remarks)


def _probes(run: Run, protocol: str, metrics: Mapping[str, Any]) -> "Probes | None":
    """What a run's probes gave, if these are the run's figures."""
    found = run.read_probes(protocol)
    same = found is not None and all(
        gives(found.sets.get(probes), figure, told[figure])
        for probes, told in metrics.items()
        for figure in headline(probes, told)
    )
    return found if same else None


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the headline of each set is the same in both."""
    return all(
        abs(ours[probes][figure] - told[figure]) <= 1e-6
        for probes, told in theirs.items()
        if probes in ours
        for figure in headline(probes, told)
    )


def _long_table(run: Run, protocol: str) -> "pd.DataFrame | None":
    """The table by views that the run wrote, if it did."""
    import pandas as pd

    path = run.folder / "tables" / f"{protocol}.csv"
    if not path.is_file():
        return None
    kinds: dict[str, Any] = {
        "gallery_view": "Int64",
        "probe_view": "Int64",
        "probe_set": str,
        "metric": str,
    }
    try:
        table = pd.read_csv(path, dtype=kinds)
        table["value"] = table["value"].astype(float)
        return table[[*kinds, "value"]]
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no table of figures by view ({str(error).splitlines()[0]}); judge the run "
            "again, or take the file away to go without"
        ) from error


def _figures(protocol: str, metrics: Metrics) -> list[Table]:
    """All figures that a run has under one protocol, sets as columns."""
    from gaitbench.protocols.results import with_interval

    sets = metrics[protocol]
    keys = dict.fromkeys(
        key
        for told in sets.values()
        for key, value in told.items()
        if isinstance(value, int | float)
    )
    rows = [
        [
            title_of(key).replace("_", " "),
            *(
                ""
                if told.get(key) is None
                else f"{told[key]:,}"
                if isinstance(told[key], int)
                else with_interval(told, key)
                for told in sets.values()
            ),
        ]
        for key in keys
    ]
    return [Table(f"{protocol} (%, counts as they are)", ["", *sets], rows)]
