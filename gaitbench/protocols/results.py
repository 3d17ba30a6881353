"""What an evaluation gives: figures, the long table, and the tables as the field prints them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gaitbench.files import METRICS, written_whole
from gaitbench.protocols.figures import Floats, Trials
from gaitbench.protocols.probes import FOLDER, Outcomes, Probes
from gaitbench.tables import latex, markdown

if TYPE_CHECKING:
    from gaitbench.protocols.attributes import AttributeProtocol
    from gaitbench.protocols.protocol import Protocol

Figures = dict[str, float | int | list[float]]

TITLES = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "rank10": "rank-10",
    "map": "mAP",
    "minp": "mINP",
    "rank1_per_subject": "rank-1, mean over subjects",
    "eer": "EER",
    "tar_at_far_0.01": "TAR at FAR 1 %",
    "tar_at_far_0.001": "TAR at FAR 0.1 %",
}
"""Names of the figures in printed tables, in their order; all are shares, printed as percent."""

OVERALL = "overall"
"""Name of the figure over all probe sets, in protocols that have one."""


def counted(figures: Mapping[str, Any], figure: str) -> int | None:
    """How many probes a figure is of: of videos, where windows vote and it is one of videos."""
    of_videos = figure.startswith(("video_", "merged_"))
    number: int | None = figures.get("videos" if of_videos else "n")
    return number


class Judgement:
    """What the results of all kinds of protocols share: tables to print and to write."""

    heads: ClassVar[tuple[str, ...]] = ()
    """Figures of each set that are logged and watched."""

    protocol: Any
    table: pd.DataFrame
    metrics: dict[str, Figures]
    notes: list[str]
    outcomes: Mapping[str, Outcomes] = MappingProxyType({})
    against: pd.DataFrame

    @property
    def probes(self) -> Probes | None:
        """What single probes gave; None where no figure is a mean over them."""
        return Probes.of(self.outcomes, self.against) if self.outcomes else None

    @property
    def headlines(self) -> dict[str, float]:
        """Those figures, ``<set>/<metric>``."""
        return {
            f"{name}/{key}": value
            for name, figures in self.metrics.items()
            for key in self.heads
            if isinstance(value := figures.get(key), float)
        }

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Head and lines of each printed table."""
        raise NotImplementedError

    def to_markdown(self) -> str:
        """Return the tables and the notes."""
        lines = [f"### {self.protocol.id}", "", self.protocol.description]
        for head, rows in self._tables():
            lines += ["", *markdown(head, rows)]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """Return the tables for LaTeX with the package ``booktabs``; notes as comments."""
        lines = [f"% {self.protocol.id}: {self.protocol.description}"]
        for head, rows in self._tables():
            lines += latex(head, rows)
        return "\n".join([*lines, *(f"% {note}" for note in self.notes)]) + "\n"

    def write(self, directory: Path) -> None:
        """Write ``tables/<protocol>.csv``, ``.md``, ``.tex`` and ``probes/<protocol>.parquet``."""
        tables = Path(directory) / "tables"
        _write(tables / f"{self.protocol.id}.csv", self.table.to_csv(index=False))
        _write(tables / f"{self.protocol.id}.md", self.to_markdown())
        _write(tables / f"{self.protocol.id}.tex", self.to_latex())
        if (probes := self.probes) is not None:
            probes.write(Path(directory) / FOLDER / f"{self.protocol.id}.parquet")


@dataclass(frozen=True)
class Evaluation(Judgement):
    """Embeddings judged by one protocol.

    Attributes:
        protocol: by which.
        table: long; columns ``probe_set, gallery_view, probe_view, metric, value, n``. One line a
            cell and metric: ``value`` is the mean over the ``n`` probes of the cell that count.
            ``gallery_view`` is NA where several views are pooled.
        metrics: probe set to figures, fractions in 0..1. Beside each figure stands its 95 %
            interval ``<name>_ci95``. ``n`` is the number of probes that count, ``trials`` that of
            their comparisons with a gallery, ``unmatched`` the trials without a partner.
        notes: one sentence each on what was missing or left out.
        labels: probe set to its name in printed tables, as ``NM#5-6``.
        trials: probe set to the trials that count, of which its figures are means.
        pairs: probe set to the counts of genuine and impostor pairs in bins of rising distance.
        rows: the sequences in the order by which trials name their probes.
        points: their embeddings (N, D) as they were compared.
        outcomes: what the trials gave, by the set of figures.
        against: the gallery's sequences.
    """

    heads = ("rank1", "map")

    protocol: "Protocol"
    table: pd.DataFrame
    metrics: dict[str, Figures]
    notes: list[str]
    labels: dict[str, str] = field(default_factory=dict)
    trials: dict[str, Trials] = field(default_factory=dict, repr=False)
    pairs: dict[str, tuple[Floats, Floats]] = field(default_factory=dict, repr=False)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    points: Tensor = field(default_factory=lambda: torch.zeros(0, 0), repr=False)
    outcomes: dict[str, Outcomes] = field(default_factory=dict, repr=False)
    against: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def view_table(self) -> pd.DataFrame:
        """Return the field's table: probe sets by probe views and their mean, rank-1 in percent.

        A view without a probe is NaN and takes no part in the mean.
        """
        cells = self.table[self.table["metric"] == "rank1"]
        if self.protocol.exclude_same_view:
            same = (cells["gallery_view"] == cells["probe_view"]).fillna(False)
            cells = cells[~same.astype(bool)]
        sets = [name for name in self.metrics if name != OVERALL]
        views = sorted({*cells["probe_view"].dropna(), *cells["gallery_view"].dropna()})
        means = cells.pivot_table("value", "probe_set", "probe_view", aggfunc="mean")
        means = means.reindex(index=sets, columns=views)
        means.columns = pd.Index([str(name) for name in means.columns])
        means["mean"] = pd.Series({name: self.metrics[name]["rank1"] for name in sets})
        means.index = pd.Index([self.labels.get(name, name) for name in sets], name="probe set")
        return means.astype(float) * 100

    def to_markdown(self) -> str:
        """Return the view table, the other figures with their intervals, and the notes."""
        table = self.view_table()
        lines = [f"### {self.protocol.id}", "", self.protocol.description, ""]
        lines += markdown(["rank-1 (%)", *table.columns], [[n, *r] for n, r in _rows(table)])
        if OVERALL in self.metrics:
            lines += ["", f"Overall rank-1: {percent(self.metrics[OVERALL]['rank1'])} %."]
        lines += ["", *markdown(*self._figures())]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """Return both tables for LaTeX with the package ``booktabs``; notes as comments."""
        table = self.view_table()
        lines = [f"% {self.protocol.id}: {self.protocol.description}"]
        lines += latex(["rank-1 (%)", *table.columns], [[n, *r] for n, r in _rows(table)])
        if OVERALL in self.metrics:
            lines += [f"% overall rank-1: {percent(self.metrics[OVERALL]['rank1'])} %"]
        lines += latex(*self._figures())
        lines += [f"% {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def _figures(self) -> tuple[list[str], list[list[str]]]:
        """Head and lines of the table of figures: a line a figure, a column a probe set."""
        names = list(self.metrics)
        rows = []
        for key, title in TITLES.items():
            if any(key in self.metrics[name] for name in names):
                rows.append([title, *(with_interval(self.metrics[name], key) for name in names)])
        for key, title in (("n", "probes"), ("trials", "trials"), ("unmatched", "unmatched")):
            rows.append([title, *(str(self.metrics[name].get(key, "")) for name in names)])
        return ["(%)", *(self.labels.get(name, name) for name in names)], rows


ATTRIBUTE_TITLES = {
    "share": "share",
    "auroc": "AUROC",
    "ap": "AP",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "jaccard": "Jaccard",
    "balanced_accuracy": "balanced accuracy",
    "weighted_f1": "weighted F1",
    "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall",
    "accuracy": "accuracy",
    "error": "error",
    "exact_match": "exact match",
    "alpha": "alpha",
    "mse": "MSE",
    "mae": "MAE",
    "log_loss": "log-loss",
}
"""Names of the figures of attributes in printed tables, in their order."""

WEIGHTED = ("share", "auroc", "ap", "weighted_f1", "weighted_precision", "weighted_recall")
"""What is printed of a single attribute, and of each in the reference form."""

EACH = ("share", "auroc", "ap", "f1", "precision", "recall", "error")
"""What is printed of each of several attributes."""

KINDS = ("macro", "micro", "example")
"""Prefixes of figures of several attributes together."""

SHARED = ("auroc", "ap", "f1", "precision", "recall", "jaccard", "balanced_accuracy")
"""What is printed of them."""

TOGETHER = ("error", "exact_match", "alpha", "mse", "mae", "log_loss")
"""What else is printed of several attributes together."""

PLAIN = ("mse", "mae", "log_loss")
"""Figures that are no shares and are not printed as percent."""


@dataclass(frozen=True)
class AttributeEvaluation(Judgement):
    """Predicted attributes judged by one protocol.

    Attributes:
        protocol: by which.
        attributes: that were judged, in the order of the predictions.
        table: long; columns ``set, view, attribute, metric, value, n``. One line a set, attribute
            and metric, and one more for each view where the protocol wants them; ``view`` is NA in
            the lines of a whole set, ``n`` the number of sequences.
        metrics: set to figures, fractions in 0..1; with several attributes those of all together,
            and beside them ``<set>/<attribute>`` to those of each. Where the protocol wants each
            view, ``<set>/<view>`` likewise. Some have a 95 % interval ``<name>_ci95``.
        notes: one sentence each on what was missing or left out.
    """

    protocol: "AttributeProtocol"
    attributes: tuple[str, ...]
    table: pd.DataFrame
    metrics: dict[str, Figures]
    notes: list[str]

    @property
    def headlines(self) -> dict[str, float]:
        """AUROC of each set, ``<set>/<metric>``: with several attributes the mean over them."""
        return {
            f"{name}/{key}": value
            for name, figures in self.metrics.items()
            for key in ("auroc", "macro_auroc")
            if "/" not in name and isinstance(value := figures.get(key), float)
        }

    def areas(self) -> dict[str, tuple[float, list[float] | None]]:
        """AUROC and its interval, where defined, of each attribute, or of a single one's sets."""
        single = len(self.attributes) == 1
        found: dict[str, tuple[float, list[float] | None]] = {}
        for name, figures in self.metrics.items():
            value, ends = figures.get("auroc"), figures.get("auroc_ci95")
            if isinstance(value, float) and np.isfinite(value):
                several = single or sum("/" not in place for place in self.metrics) > 1
                shown = name if several else name.partition("/")[2]
                found[shown] = (value, ends if isinstance(ends, list) else None)
        return found

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Heads and lines: one of sets for a single attribute, else three for each set."""
        if len(self.attributes) == 1:
            return [_lines(f"{self.attributes[0]} (%)", self.metrics, WEIGHTED)]
        each = WEIGHTED if self.protocol.form == "reference" else EACH
        tables = []
        for name, together in self.metrics.items():
            if f"{name}/{self.attributes[0]}" not in self.metrics:
                continue  # these are a single attribute's
            own = {a: self.metrics[f"{name}/{a}"] for a in self.attributes}
            tables.append(_lines(f"{name} (%)", own, each))
            kinds = [kind for kind in KINDS if any(f"{kind}_{key}" in together for key in SHARED)]
            rows = [
                [
                    ATTRIBUTE_TITLES[key],
                    *(with_interval(together, f"{kind}_{key}", "-") for kind in kinds),
                ]
                for key in SHARED
                if any(f"{kind}_{key}" in together for kind in kinds)
            ]
            tables.append(([f"{name} (%)", *kinds], rows))
            tables.append(_lines("all together (%)", {name: together}, TOGETHER))
        return tables


def _lines(
    title: str, places: Mapping[str, Figures], keys: Iterable[str]
) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table with a line a place and a column a figure that any has."""
    shown = [key for key in keys if any(key in figures for figures in places.values())]
    head = [title, "n", *(ATTRIBUTE_TITLES[key] for key in shown)]
    rows = [
        [name, str(figures["n"]), *(with_interval(figures, key, "-") for key in shown)]
        for name, figures in places.items()
    ]
    return head, rows


def with_interval(figures: Figures, key: str, absent: str = "") -> str:
    """A figure as it is printed, with its 95 % interval if it has one."""
    if key not in figures:
        return absent
    value, ends = figures[key], figures.get(f"{key}_ci95")
    assert not isinstance(value, list)
    text = f"{value:.4f}" if key in PLAIN else percent(value)
    return f"{text} [{percent(ends[0])}, {percent(ends[1])}]" if isinstance(ends, list) else text


def write_metrics(evaluations: Iterable[Judgement], directory: Path) -> None:
    """Write ``metrics.json``: ``{protocol: {probe set: figures}}``, whole or not at all.

    What is not a number, as some attributes' figures in the reference form, becomes null.
    """
    figures = {
        evaluation.protocol.id: evaluation.metrics
        if isinstance(evaluation, Evaluation)
        else {place: _or_null(found) for place, found in evaluation.metrics.items()}
        for evaluation in evaluations
    }
    _write(Path(directory) / METRICS, json.dumps(figures, indent=2, allow_nan=False) + "\n")


def _or_null(figures: Figures) -> dict[str, float | int | list[float] | None]:
    return {
        name: value if isinstance(value, list) or np.isfinite(value) else None
        for name, value in figures.items()
    }


def _write(path: Path, text: str) -> None:
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def percent(value: object) -> str:
    """A share as printed tables have it; empty if there is none."""
    return f"{100 * float(value):.1f}" if isinstance(value, int | float) else ""


def _rows(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    return [
        (str(name), ["-" if pd.isna(value) else f"{value:.1f}" for value in row])
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
