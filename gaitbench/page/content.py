"""From runs to what the template of the page shows."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from gaitbench.page.charts import Chart, cmc_chart, det_chart
from gaitbench.page.details import (
    HardProbe,
    accuracy_of_people,
    embedding_map,
    hardest_probes,
    view_cells,
)
from gaitbench.page.walks import Walks, opened, rows_in_store
from gaitbench.protocols import Evaluation
from gaitbench.protocols.probes import Outcomes, Probes
from gaitbench.protocols.results import OVERALL
from gaitbench.runs import Run
from gaitbench.store import SequenceStore
from gaitbench.tables import Table

PROBES = 36
"""Hardest probes of a page, shared out among its runs and sets; three walks each, 7 kB a walk."""

POINTS = 6000
"""Points of all maps of a page together."""

PEOPLE = 60
"""Most lines of a table of people."""

PICTURE_BYTES = 1_500_000
"""Of all drawings of a page together, as they are read from the disk again."""

PICTURE_WIDTH = 1100
"""Most pixels that a drawing is wide in the page."""


@dataclass(frozen=True)
class Judged:
    """A run and what it shows.

    Attributes:
        run: as it was read.
        figures: tables of all its figures.
        evaluations: protocol to what its embeddings gave, where they were judged again.
        probes: protocol to what its probes gave, where that is known without these.
        tables: protocol to the long table that the run wrote itself.
        remarks: why something of it is not shown, a sentence each.
    """

    run: Run
    figures: Sequence[Table]
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    probes: Mapping[str, Probes] = field(default_factory=dict)
    tables: Mapping[str, tuple[pd.DataFrame, bool]] = field(default_factory=dict)
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Cells:
    """A heat map.

    Attributes:
        probe_views: heads of the columns.
        rows: head of each row and its cells, percent; None where there is none.
    """

    probe_views: list[str]
    rows: list[tuple[str, list[float | None]]]


@dataclass(frozen=True)
class Walk:
    """A walk beside others: its part, its name, and where the page keeps its frames, if it does."""

    part: str
    name: str
    place: int | None


@dataclass(frozen=True)
class Hard:
    """A hard probe as the page tells it."""

    told: str
    walks: list[Walk]


@dataclass
class Panel:
    """What is shown of one run and one set of probes."""

    run: int
    group: int
    cells: Cells | None = None
    embedded: bool = False
    people: list[tuple[str, int, float]] = field(default_factory=list)
    left_out: int = 0
    hard: list[Hard] = field(default_factory=list)
    unseen: str = ""


@dataclass(frozen=True)
class Group:
    """A set of probes of a protocol, and the curves of all runs that have it."""

    name: str
    description: str
    charts: list[Chart]


@dataclass(frozen=True)
class Picture:
    """A drawing as it stands in the page."""

    name: str
    source: str


@dataclass
class Shown:
    """A run as the page shows it."""

    name: str
    facts: list[tuple[str, str]]
    settings: list[tuple[str, str]]
    figures: Sequence[Table]
    remarks: list[str]
    pictures: list[Picture]
    more_pictures: int


@dataclass
class Content:
    """All that the template is filled with."""

    summary: list[Table]
    notes: list[str]
    runs: list[Shown]
    groups: list[Group]
    panels: list[Panel]
    maps: dict[int, dict[str, Any]]
    walks: Walks

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {
            "maps": self.maps,
            "skeletons": self.walks.skeletons,
            "walks": self.walks.walks,
        }


def content_of(judged: Sequence[Judged], summary: list[Table], notes: list[str]) -> Content:
    """Work out what is shown; more runs get a smaller share of walks, points and drawings each.

    Args:
        judged: the runs, in their order.
        summary: tables of all runs together.
        notes: below them.
    """
    names = list(
        dict.fromkeys(
            (protocol, probes)
            for one in judged
            for protocol, probes in (
                *((p, s) for p, found in one.evaluations.items() for s in found.trials),
                *((p, s) for p, found in one.probes.items() for s in found.sets if s != OVERALL),
                *((p, s) for p, (table, _) in one.tables.items() for s in _sets(table)),
            )
        )
    )
    walks = Walks()
    groups, panels = [], []
    panes = sum(
        protocol in one.evaluations and probes in one.evaluations[protocol].trials
        for one in judged
        for protocol, probes in names
    )
    most = max(1, min(8, PROBES // max(1, panes)))
    stores = [opened(one.run.store) if one.evaluations else (None, "") for one in judged]
    for number, (protocol, probes) in enumerate(names):
        having = [
            (i, one.run.name, one.evaluations[protocol])
            for i, one in enumerate(judged)
            if protocol in one.evaluations and probes in one.evaluations[protocol].trials
        ]
        charts = [cmc_chart(having, probes), det_chart(having, probes)] if having else []
        described = having[0][2].protocol.description if having else ""
        groups.append(
            Group(f"{protocol}: {probes}", described, [chart for chart in charts if chart])
        )
        for i, one in enumerate(judged):
            panel = _panel(one, i, number, protocol, probes, most, walks, *stores[i])
            if panel is not None:
                panels.append(panel)
    maps = {}
    with_maps = [i for i, one in enumerate(judged) if one.evaluations]
    for i in with_maps:
        evaluation = next(iter(judged[i].evaluations.values()))
        maps[i] = _map(evaluation, POINTS // len(with_maps))
    shown = [_shown(one, PICTURE_BYTES // len(judged)) for one in judged]
    return Content(summary, notes, shown, groups, panels, maps, walks)


def _sets(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["probe_set"].astype(str)))


def _panel(
    one: Judged,
    run: int,
    group: int,
    protocol: str,
    probes: str,
    most: int,
    walks: Walks,
    store: SequenceStore | None,
    unseen: str,
) -> Panel | None:
    """One run's panel for a set of probes; None where it has nothing of it."""
    panel = Panel(run, group)
    evaluation = one.evaluations.get(protocol)
    if evaluation is None or probes not in evaluation.trials:
        table, exclude = one.tables.get(protocol, (None, False))
        cells = None if table is None else view_cells(table, probes, exclude)
        panel.cells = None if cells is None else _cells(cells)
        kept = one.probes.get(protocol)
        if kept is not None and probes in kept.sets:
            _add_people(panel, kept.sets[probes])
        return panel if panel.cells or panel.people else None
    cells = view_cells(evaluation.table, probes, evaluation.protocol.exclude_same_view)
    panel.cells = None if cells is None else _cells(cells)
    panel.embedded = True
    _add_people(panel, evaluation.outcomes[probes])
    distance: Any = one.run.distance or evaluation.protocol.distance
    hard = hardest_probes(evaluation, probes, most, distance)
    panel.unseen = unseen
    places: list[int | None] = [None] * len(evaluation.rows)
    if store is not None and hard:
        places = rows_in_store(evaluation.rows, store.sequences)
        named = {row for each in hard for row in (each.probe, each.wrong, each.right)}
        if all(places[row] is None for row in named):
            panel.unseen = "The walks are not drawn: the store of the run's data lacks them."
    for each in hard:
        panel.hard.append(_hard(each, evaluation.rows, places, store, walks))
    return panel


def _add_people(panel: Panel, trials: Outcomes) -> None:
    people = accuracy_of_people(trials)
    panel.left_out = max(0, len(people) - PEOPLE)
    panel.people = [
        (str(subject), int(count), 100 * float(value))
        for subject, count, value in people[:PEOPLE].itertuples(index=False)
    ]


def _hard(
    each: HardProbe,
    rows: pd.DataFrame,
    places: Sequence[int | None],
    store: SequenceStore | None,
    walks: Walks,
) -> Hard:
    told = (
        f"right in {each.found} of {each.galleries} galleries" if each.galleries > 1 else "missed"
    )
    parts = (
        ("probe", each.probe),
        (f"nearest, somebody else, at {each.wrong_distance:.3f}", each.wrong),
        (f"own nearest, at {each.right_distance:.3f}", each.right),
    )
    return Hard(
        told,
        [
            Walk(
                part,
                name_of(rows.iloc[row]),
                walks.add(store, place)
                if store is not None and (place := places[row]) is not None
                else None,
            )
            for part, row in parts
        ],
    )


def name_of(sequence: "pd.Series[Any]") -> str:
    """A sequence's labels in turn, as far as it has them."""
    forms = {"subject": "{}", "condition": "{}", "number": "{:02d}", "view": "{:03d}"}
    return "-".join(form.format(sequence[key]) for key, form in forms.items() if key in sequence)


def _cells(table: pd.DataFrame) -> Cells:
    views = [str(int(view)) for view in table.columns]
    rows = []
    for view, line in zip(table.index, table.to_numpy(np.float64), strict=True):
        values = [None if np.isnan(value) else 100 * float(value) for value in line]
        rows.append(("all" if view < 0 else str(int(view)), values))
    return Cells(views, rows)


def _map(evaluation: Evaluation, most: int) -> dict[str, Any]:
    """Places in thousandths and labels as numbers of names."""
    found = embedding_map(evaluation.points.cpu().numpy(), most)
    low, high = found.places.min(0), found.places.max(0)
    scale = 1000 / max(float((high - low).max()), 1e-12)
    places = ((found.places - low) * scale).round().astype(np.int64)
    labels = {}
    rows = evaluation.rows.iloc[found.rows]
    for column in ("subject", "view", "condition"):
        if column in rows:
            values, codes = np.unique(rows[column].to_numpy(), return_inverse=True)
            if column != "subject" and len(values) == 1:
                continue
            labels[column] = {"names": [str(v) for v in values], "codes": codes.tolist()}
    return {
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "size": ((high - low) * scale).round().astype(np.int64).tolist(),
        "labels": labels,
        "shares": [round(100 * share, 1) for share in found.shares],
        "total": found.total,
    }


def _shown(one: Judged, budget: int) -> Shown:
    run = one.run
    count = "none"
    if one.evaluations:
        evaluation = next(iter(one.evaluations.values()))
        count = f"{len(evaluation.rows):,} of {evaluation.points.shape[1]} values"
    facts = [
        ("folder", str(run.folder)),
        ("method", run.method or "unknown"),
        ("dataset", run.dataset or "unknown"),
        ("seed of the training", "unknown" if run.seed is None else str(run.seed)),
        ("checkpoint", str(run.config.get("ckpt_path") or "unknown")),
        ("data", str(run.data.get("path") or "unknown")),
        ("fingerprint of the data", run.fingerprint or "unknown: no store of it was found"),
        ("embeddings", count),
        ("judged by", run.stage or "unknown"),
        ("distance", run.distance or "the protocol's"),
        ("gallery ordered again", "yes" if run.rerank else "no"),
        *((f"version of {name}", version) for name, version in sorted(run.versions.items())),
    ]
    settings = [
        (title, yaml.safe_dump(dict(part), sort_keys=False, allow_unicode=True))
        for title, part in (
            ("Settings of this run", run.config),
            ("Settings of the training", run.training),
        )
        if part
    ]
    pictures, more = _pictures(run.folder, budget)
    return Shown(run.name, facts, settings, one.figures, list(one.remarks), pictures, more)


def _pictures(folder: Path, budget: int) -> tuple[list[Picture], int]:
    """Drawings of a run's folder, the summary first, and how many more there are."""
    places = [folder / "drawings", folder.resolve().parent / "drawings"]
    files = next((sorted(place.glob("*.png")) for place in places if place.is_dir()), [])
    files.sort(key=lambda path: path.stem not in ("summary", "attention"))
    pictures: list[Picture] = []
    for i, path in enumerate(files):
        try:
            with Image.open(path) as image:
                image.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
                file = io.BytesIO()
                image.convert("RGB").save(file, "WEBP", quality=80)
        except OSError:
            continue
        budget -= len(file.getvalue())
        if budget < 0:
            return pictures, len(files) - i
        told = base64.b64encode(file.getvalue()).decode()
        pictures.append(Picture(path.stem, f"data:image/webp;base64,{told}"))
    return pictures, 0
