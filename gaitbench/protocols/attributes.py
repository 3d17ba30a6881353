"""Attributes told of a sequence (sex, build, what is worn) against what is known of it.

Truth and prediction are probabilities. Where a figure needs yes or no, both are rounded, a half to
no. Who has an attribute *shows* it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_stat_scores,
)

from gaitbench.errors import InputError
from gaitbench.protocols.figures import Floats, Integers, interval
from gaitbench.protocols.protocol import Selection
from gaitbench.protocols.results import AttributeEvaluation, Figures

Undefined = Literal["skip", "nan", "zero", "one"]

OF_REFERENCE = (
    "n", "share", "mse", "median_ae", "mae", "auroc", "r2", "log_loss", "weighted_precision",
    "weighted_recall", "weighted_f1", "ap",
)  # fmt: skip
"""Figures of one attribute that GaitFormer's program gives."""

OF_REFERENCE_TOGETHER = (
    "n", "attributes", "mse", "log_loss", "error", "exact_match", "example_jaccard",
    "example_precision", "macro_jaccard", "macro_precision", "macro_recall", "micro_jaccard",
    "micro_precision", "micro_recall", "alpha",
)  # fmt: skip
"""Figures of several attributes together that GaitFormer's program gives."""

MEANS = ("auroc", "ap", "f1", "precision", "recall", "jaccard", "balanced_accuracy")
"""Figures of one attribute whose mean over attributes is given, as ``macro_<name>``."""

FLOOR = -100.0
"""Least logarithm of a probability in the mended log-loss, as in the loss that trains it."""

RESAMPLED = 1 << 29
"""Most values (resamples x sequences x attributes) that intervals are computed of: a minute."""


@dataclass(frozen=True)
class AttributeProtocol:
    """Which attributes are judged, on which sequences, and what is counted.

    Attributes:
        id: ``<dataset>.<name>``.
        description: one sentence, printed above tables.
        sets: name of a set to column to the values that its sequences have; no column, all.
        attributes: which; all that both method and data name if None.
        each_view: also judge the sequences of each view by themselves.
        form: ``repaired``, or ``reference``, what GaitFormer's program computes: of several
            attributes its F1 is the recall again, its average precision that of the rounded
            predictions, and logarithms of zero are infinite.
        undefined: what a share of nothing is, such as the precision of an attribute that is never
            told: left out of means (``skip``), or not a number, which spoils them (``nan``), or
            counted as 0 or 1 (``zero``, ``one``).
    """

    id: str
    description: str
    sets: Mapping[str, Selection]
    attributes: tuple[str, ...] | None = None
    each_view: bool = False
    form: Literal["repaired", "reference"] = "repaired"
    undefined: Undefined = "skip"

    def __post_init__(self) -> None:
        if any("/" in name for name in self.sets):
            raise ValueError(f"{self.id}: no set may have a slash in its name")


def evaluate_attributes(
    predicted: pd.DataFrame,
    sequences: pd.DataFrame,
    protocol: AttributeProtocol,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> AttributeEvaluation:
    """Judge predicted attributes by a protocol.

    Args:
        predicted: N rows, a column an attribute: probabilities.
        sequences: N rows with ``subject``, the columns that the protocol selects by, ``view`` where
            it wants each view, and a column of probabilities for each attribute.
        protocol: by which.
        bootstrap: resamples of subjects for the 95 % intervals; 0 leaves them out, and the
            reference form has none.
        seed: of the resamples.

    Raises:
        InputError: if a column is missing, a value is no probability, or no sequence is left.
        ValueError: if the numbers of rows differ.
    """
    if len(predicted) != len(sequences):
        raise ValueError(f"expected {len(sequences)} predictions, got {len(predicted)}")
    attributes, notes = _attributes(predicted, sequences, protocol)
    wanted = {"subject", *(column for chosen in protocol.sets.values() for column in chosen)}
    missing = sorted((wanted | ({"view"} if protocol.each_view else set())) - {*sequences.columns})
    if missing:
        raise InputError(
            f"{protocol.id} needs the column(s) {', '.join(missing)}, but the table of sequences "
            f"has only {', '.join(map(str, sequences.columns))}."
        )
    labelled = sequences[list(attributes)].notna().any(axis=1).to_numpy()
    if not labelled.all():
        notes.append(f"{int((~labelled).sum())} sequences have no label and are left out.")
        predicted, sequences = predicted[labelled], sequences[labelled]
    told = _probabilities(predicted, attributes, "prediction")
    known = _probabilities(sequences, attributes, "label")
    subjects = np.unique(sequences["subject"].to_numpy(str), return_inverse=True)[1]
    several = len(attributes) > 1
    metrics: dict[str, Figures] = {}
    lines: list[tuple[Any, ...]] = []
    for name, view, chosen in _parts(protocol, sequences):
        if not chosen.any():
            notes.append(f"{name} has no sequence and is left out.")
            continue
        part = known[chosen], told[chosen], subjects[chosen]
        number = 0
        if protocol.form == "repaired":
            number = min(bootstrap, RESAMPLED // part[0].size)
            if number < bootstrap:
                notes.append(f"{name}: intervals rest on {number} resamples, as it is so large.")
        single, together = _judge_part(*part, protocol, number, seed)
        place = name if view is None else f"{name}/{view:03d}"
        if several:
            metrics[place] = _present(together, OF_REFERENCE_TOGETHER, protocol.form)
        for attribute, figures in zip(attributes, single, strict=True):
            figures = _present(figures, OF_REFERENCE, protocol.form)
            metrics[f"{place}/{attribute}" if several else place] = figures
            lines += [
                (name, view, attribute, metric, value, figures["n"])
                for metric, value in figures.items()
                if metric != "n" and not isinstance(value, list)
            ]
        alike = [a for a, f in zip(attributes, single, strict=True) if not 0 < f["share"] < 1]  # type: ignore[operator]
        if view is None and alike:
            notes.append(
                f"{name}: all or none show {_some(alike)}, so AUROC is not defined there"
                + (" and takes no part." if protocol.form == "repaired" else ".")
            )
    if not metrics:
        holds = ", ".join(
            f"{column} {'/'.join(map(str, sorted(sequences[column].unique())[:6]))}"
            for column in sorted(wanted - {"subject"})
        )
        raise InputError(
            f"{protocol.id} finds none of its sequences among the {len(sequences)} of the table"
            f"{f' ({holds})' if holds else ''}; choose another protocol or other sequences."
        )
    table = pd.DataFrame(lines, columns=["set", "view", "attribute", "metric", "value", "n"])
    return AttributeEvaluation(
        protocol, attributes, table.astype({"view": "Int64"}), metrics, notes
    )


def _judge_part(
    truth: Floats,
    score: Floats,
    subjects: Integers,
    protocol: AttributeProtocol,
    resamples: int,
    seed: int,
) -> tuple[list[Figures], Figures]:
    """Figures of each attribute, and of all together, with intervals; truth and score (N, A)."""
    form, undefined = protocol.form, protocol.undefined
    columns = zip(truth.T, score.T, strict=True)
    single = [attribute_figures(y, p, form, undefined) for y, p in columns]
    together = figures_together(truth, score, single, form, undefined)
    if resamples:
        _add_intervals(truth, score, subjects, single, together, resamples, seed)
    return single, together


def attribute_figures(
    truth: Floats,
    score: Floats,
    form: Literal["repaired", "reference"] = "repaired",
    undefined: Undefined = "skip",
) -> Figures:
    """Judge one attribute.

    Args:
        truth: probabilities, (N,).
        score: what was predicted, (N,).
        form: see :class:`AttributeProtocol`.
        undefined: see there; areas and r2 that are not defined are not a number in any case.

    Returns:
        ``share`` of those who show it, ``auroc``, ``ap``, ``f1``, ``precision``, ``recall``,
        ``jaccard``, ``balanced_accuracy``, the means over both classes by their sizes
        ``weighted_f1``, ``weighted_precision``, ``weighted_recall``, ``accuracy`` and its rest
        ``error``, and of the probabilities ``mse``, ``mae``, ``median_ae``, ``r2``, ``log_loss``.
    """
    n = len(truth)
    shows = torch.from_numpy(np.rint(truth).astype(np.int64))
    tells = torch.from_numpy(np.rint(score).astype(np.int64))
    tp, fp, tn, fn, shown = (int(count) for count in binary_stat_scores(tells, shows))
    areas = [np.nan, np.nan]
    if shown > 0:
        with _double_precision():
            points = torch.from_numpy(np.rint(score) if form == "reference" else score)
            areas[1] = float(binary_average_precision(points, shows))
            if shown < n:
                areas[0] = float(binary_auroc(torch.from_numpy(score), shows))
    elif form == "reference":
        areas[1] = 0.0
    distance = truth - score
    spread = float(np.square(truth - truth.mean()).sum())
    r2 = 1 - float(np.square(distance).sum()) / spread if spread else np.nan
    if form == "reference" and not spread:
        r2 = 0.0 if distance.any() else 1.0
    recall = _ratio(tp, shown, undefined)
    weighted_recall = (tp + tn) / n
    sizes = ((tp, fp, fn), (tn, fn, fp))
    weighted_precision = sum(
        (right + missed) / n * _ratio(right, right + wrong, "zero")
        for right, wrong, missed in sizes
    )
    weighted_f1 = sum(
        (right + missed) / n * _ratio(2 * right, 2 * right + wrong + missed, "zero")
        for right, wrong, missed in sizes
    )
    return {
        "n": n,
        "share": shown / n,
        "auroc": areas[0],
        "ap": areas[1],
        "f1": _ratio(2 * tp, 2 * tp + fp + fn, undefined),
        "precision": _ratio(tp, tp + fp, undefined),
        "recall": recall,
        "jaccard": _ratio(tp, tp + fp + fn, undefined),
        "balanced_accuracy": (recall + _ratio(tn, tn + fp, undefined)) / 2,
        "weighted_f1": weighted_recall if form == "reference" else weighted_f1,
        "weighted_precision": weighted_precision,
        "weighted_recall": weighted_recall,
        "accuracy": weighted_recall,
        "error": (fp + fn) / n,
        "mse": float(np.square(distance).mean()),
        "mae": float(np.abs(distance).mean()),
        "median_ae": float(np.median(np.abs(distance))),
        "r2": r2,
        "log_loss": _log_loss(truth, score, form),
    }


def figures_together(
    truth: Floats,
    score: Floats,
    single: list[Figures],
    form: Literal["repaired", "reference"] = "repaired",
    undefined: Undefined = "skip",
) -> Figures:
    """Judge several attributes together.

    Args:
        truth: probabilities, (N, A).
        score: what was predicted, (N, A).
        single: of each attribute, as :func:`attribute_figures` gives it.
        form: see :class:`AttributeProtocol`.
        undefined: see there.

    Returns:
        ``macro_``: means over attributes of their figures; ``micro_``: of the counts of all cells;
        ``example_``: means over sequences of the same ratios within each; ``exact_match``: share of
        sequences with no fault; ``error``: share of cells that are wrong; ``mse``, ``mae`` and
        ``log_loss`` over all cells; ``alpha``: 1 - (0.25 FN + FP) / (TP + FN + FP + 0.00001).
    """
    shows, tells = np.rint(truth) == 1, np.rint(score) == 1
    both, right = shows & tells, shows == tells
    tp, told, shown = int(both.sum()), int(tells.sum()), int(shows.sum())
    figures: Figures = {"n": len(truth), "attributes": truth.shape[1]}
    for name in MEANS:
        figures[f"macro_{name}"] = _mean([float(f[name]) for f in single], undefined)  # type: ignore[arg-type]
    figures |= {
        "micro_f1": _ratio(2 * tp, told + shown, undefined),
        "micro_precision": _ratio(tp, told, undefined),
        "micro_recall": _ratio(tp, shown, undefined),
        "micro_jaccard": _ratio(tp, told + shown - tp, undefined),
    }
    parts = both.sum(1), tells.sum(1), shows.sum(1)
    for name, over, under in (
        ("f1", 2 * parts[0], parts[1] + parts[2]),
        ("precision", parts[0], parts[1]),
        ("recall", parts[0], parts[2]),
        ("jaccard", parts[0], (shows | tells).sum(1)),
    ):
        figures[f"example_{name}"] = _mean_of_ratios(over, under, undefined)
    missed, invented = shown - tp, told - tp
    return figures | {
        "exact_match": float(right.all(1).mean()),
        "error": float(1 - right.mean()),
        "mse": float(np.square(truth - score).mean()),
        "mae": float(np.abs(truth - score).mean()),
        "log_loss": _log_loss(truth, score, form),
        "alpha": 1 - (0.25 * missed + invented) / (tp + missed + invented + 1e-5),
    }


def _attributes(
    predicted: pd.DataFrame, sequences: pd.DataFrame, protocol: AttributeProtocol
) -> tuple[tuple[str, ...], list[str]]:
    """Those that are judged, in the order of the predictions, and what is said of the others."""
    for columns, who, mend in (
        (predicted.columns, "told", "take a model that tells it"),
        (sequences.columns, "known", "give data.labels a table that has it"),
    ):
        absent = [name for name in protocol.attributes or () if name not in columns]
        if absent:
            raise InputError(
                f"{protocol.id} judges the attribute {absent[0]}, which is not {who}"
                f"{f' (only {_some(columns)})' if who == 'told' else ''}; {mend}."
            )
    if protocol.attributes is not None:
        return protocol.attributes, []
    common = tuple(name for name in predicted.columns if name in sequences.columns)
    if not common:
        raise InputError(
            f"{protocol.id} finds no attribute that is both told and known; told are "
            f"{_some(predicted.columns)}, and the table of sequences has the columns "
            f"{_some(sequences.columns)}."
        )
    unknown = [name for name in predicted.columns if name not in common]
    notes = []
    if unknown:
        notes.append(f"{len(unknown)} told attributes have no label: {_some(unknown)}.")
    return common, notes


def _some(names: Any) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more


def _probabilities(table: pd.DataFrame, attributes: tuple[str, ...], what: str) -> Floats:
    """The columns as float64 (N, A).

    Raises:
        InputError: naming the first value that is none.
    """
    values: Floats = table[list(attributes)].to_numpy(np.float64)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"the {what} of {attributes[column]} in row {row} is {values[row, column]:g}, expected "
            "a probability between 0 and 1; mend it or leave the row out."
        )
    return values


def _parts(
    protocol: AttributeProtocol, sequences: pd.DataFrame
) -> Iterator[tuple[str, int | None, NDArray[np.bool_]]]:
    """Each set, and where wanted each of its views: name, view, rows."""
    for name, selection in protocol.sets.items():
        chosen = np.ones(len(sequences), bool)
        for column, allowed in selection.items():
            chosen &= sequences[column].isin(list(allowed)).to_numpy(bool)
        yield name, None, chosen
        if protocol.each_view:
            views = sequences["view"].to_numpy()
            for view in np.unique(views[chosen]):
                yield name, int(view), chosen & (views == view)


def _ratio(over: int, under: int, undefined: Undefined) -> float:
    if under:
        return over / under
    return {"zero": 0.0, "one": 1.0}.get(undefined, np.nan)


def _mean(values: list[float], undefined: Undefined) -> float:
    """The mean, of those that are defined unless the others shall spoil it."""
    found = np.asarray(values)
    if undefined != "nan":
        found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else np.nan


def _mean_of_ratios(over: Integers, under: Integers, undefined: Undefined) -> float:
    ratios = np.full(len(over), {"zero": 0.0, "one": 1.0}.get(undefined, np.nan))
    np.divide(over, under, out=ratios, where=under > 0)
    if undefined == "skip":
        ratios = ratios[under > 0]
    return float(ratios.mean()) if len(ratios) else np.nan


def _log_loss(truth: Floats, score: Floats, form: str) -> float:
    """Mean of -(y ln p + (1 - y) ln(1 - p))."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(score), np.log1p(-score)
        if form == "repaired":
            logs = np.maximum(logs[0], FLOOR), np.maximum(logs[1], FLOOR)
        return float(-(truth * logs[0] + (1 - truth) * logs[1]).mean())


def _present(figures: Figures, of_reference: tuple[str, ...], form: str) -> Figures:
    """Leave out what the form does not have and, in the mended one, what is not defined."""
    if form == "reference":
        return {
            name: value
            for name, value in figures.items()
            if name.removesuffix("_ci95") in of_reference
        }
    return {
        name: value
        for name, value in figures.items()
        if isinstance(value, list) or not np.isnan(value)
    }


@contextmanager
def _double_precision() -> Iterator[None]:
    """Divide whole numbers in float64, where torchmetrics takes torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _add_intervals(
    truth: Floats,
    score: Floats,
    subjects: Integers,
    single: list[Figures],
    together: Figures,
    resamples: int,
    seed: int,
) -> None:
    """Give AUROC, F1 and error their intervals over resampled subjects, attribute by attribute."""
    people, subject = np.unique(subjects, return_inverse=True)
    random = np.random.default_rng(seed)
    counter = _Resampled(truth, score)
    drawn = [
        counter.figures(
            np.bincount(random.integers(len(people), size=len(people)), minlength=len(people))[
                subject
            ].astype(np.float64)
        )
        for _ in range(resamples)
    ]
    for name in _Resampled.NAMES:
        values = np.stack([figures[name] for figures in drawn])  # (R, A)
        for i, figures in enumerate(single):
            _put_interval(figures, name, values[:, i])
        found = ~np.isnan(values)
        means = np.where(found, values, 0).sum(1) / np.maximum(found.sum(1), 1)
        key = name if name == "error" else f"macro_{name}"
        _put_interval(together, key, means[found.any(1)])


def _put_interval(figures: Figures, name: str, resampled: Floats) -> None:
    usable = resampled[~np.isnan(resampled)]
    if len(usable) and name in figures and not np.isnan(float(figures[name])):  # type: ignore[arg-type]
        figures[f"{name}_ci95"] = interval(usable)


class _Resampled:
    """Figures of all attributes where each sequence counts a number of times.

    Args:
        truth: probabilities, (N, A).
        score: what was predicted, (N, A).
    """

    NAMES = ("auroc", "f1", "weighted_f1", "accuracy", "error")

    def __init__(self, truth: Floats, score: Floats) -> None:
        self.shows = np.rint(truth).astype(np.float64)
        self.tells = np.rint(score).astype(np.float64)
        self.order = np.argsort(score, axis=0, kind="stable")
        self.shown = np.take_along_axis(self.shows, self.order, 0)
        # ties: the first and one after the last place of each score among its equals
        ordered = np.take_along_axis(score, self.order, 0)
        changes = ordered[1:] != ordered[:-1]
        place = np.arange(1, len(score))[:, None]
        edge = np.zeros((1, score.shape[1]), np.int64)
        first = np.concatenate([edge, np.where(changes, place, 0)])
        self.first = np.maximum.accumulate(first, axis=0)
        after = np.concatenate([np.where(changes, place, len(score)), edge + len(score)])
        self.after = np.minimum.accumulate(after[::-1], axis=0)[::-1]

    def figures(self, times: Floats) -> dict[str, Floats]:
        """The figures (A,) where sequence i counts ``times[i]`` times."""
        n = times.sum()
        tp = times @ (self.shows * self.tells)
        shown, told = times @ self.shows, times @ self.tells
        wrong = shown + told - 2 * tp
        tn = n - shown - told + tp
        weights = times[self.order]
        others = np.cumsum(weights * (1 - self.shown), axis=0)
        others = np.concatenate([np.zeros((1, others.shape[1])), others])
        lower = np.take_along_axis(others, self.first, 0)
        lower += np.take_along_axis(others, self.after, 0)
        pairs = shown * (n - shown)
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = (weights * self.shown * lower).sum(0) / 2 / pairs
            f1 = 2 * tp / (2 * tp + wrong)
            f1_of_others = 2 * tn / (2 * tn + wrong)
        weighted = np.nan_to_num(f1) * shown + np.nan_to_num(f1_of_others) * (n - shown)
        return {
            "auroc": np.where(pairs > 0, auroc, np.nan),
            "f1": f1,
            "weighted_f1": weighted / n,
            "accuracy": 1 - wrong / n,
            "error": wrong / n,
        }
