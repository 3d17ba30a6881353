"""Recognition among known subjects: a classifier's scores of test sequences, and how good they are.

There is neither gallery nor distance: every test subject is one of those that the classifier was
trained on. Figures of this kind are no figures of retrieval, and stand in tables of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.protocols.figures import Floats, Integers
from gaitbench.protocols.probes import Outcomes
from gaitbench.protocols.protocol import Selection
from gaitbench.protocols.results import Figures, Judgement, with_interval

TITLES = {
    "rank1": "rank-1",
    "rank5": "rank-5",
    "cmc_auc": "area under the CMC",
    "roc_auc_micro": "area under the micro-averaged ROC",
    "frame_rank1": "rank-1 of frames",
    "frame_rank5": "rank-5 of frames",
    "frame_cmc_auc": "area under the CMC of frames",
    "frame_roc_auc_micro": "area under the micro-averaged ROC of frames",
}
"""Names of the figures in printed tables, in their order; all are shares, printed as percent."""

METRICS = ("rank1", "rank5", "cmc_auc")
"""Figures that are means over sequences."""


@dataclass(frozen=True)
class ClosedSetProtocol:
    """Which sequences are judged, and how many of them count.

    Attributes:
        id: ``<dataset>.<name>``.
        description: one sentence, printed above tables.
        sets: name of a set to column to the values that its sequences have; no column, all. If
            none is named, the sequences of each condition are a set.
        form: ``repaired``, where every sequence counts once; or ``reference``, what SGE-LA's
            program does: of more than ``batch`` rows (frames where frames have scores, else
            sequences) only whole batches count, and of those only whole sequences.
        batch: rows of the reference form.
    """

    id: str
    description: str
    sets: Mapping[str, Selection] = field(default_factory=dict)
    form: Literal["repaired", "reference"] = "repaired"
    batch: int = 128


@dataclass(frozen=True)
class ClosedSetEvaluation(Judgement):
    """Scores judged by one protocol.

    Attributes:
        protocol: by which.
        table: long; columns ``set, metric, value, n``: all figures, and rank-k for every k.
        metrics: set to figures, fractions in 0..1; ``n`` is the number of sequences that count,
            ``subjects`` that of the known subjects. Rank-1, rank-5 and ``cmc_auc`` of sequences
            have a 95 % interval ``<name>_ci95``.
        notes: one sentence each on what was left out.
        outcomes: set to what its sequences gave.
        against: the known subjects.
    """

    heads = ("rank1", "cmc_auc")

    protocol: ClosedSetProtocol
    table: pd.DataFrame
    metrics: dict[str, Figures]
    notes: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcomes] = field(default_factory=dict, repr=False)
    against: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """One: a line a figure, a column a set."""
        rows = []
        for key, title in TITLES.items():
            if any(key in figures for figures in self.metrics.values()):
                rows.append(
                    [title, *(with_interval(figures, key) for figures in self.metrics.values())]
                )
        for key, title in (("n", "sequences"), ("subjects", "known subjects")):
            rows.append([title, *(str(figures[key]) for figures in self.metrics.values())])
        return [(["closed set (%)", *self.metrics], rows)]


def evaluate_closed_set(
    scores: NDArray[np.floating],
    subjects: Sequence[str],
    sequences: pd.DataFrame,
    protocol: ClosedSetProtocol,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> ClosedSetEvaluation:
    """Judge a classifier's scores by a protocol.

    Args:
        scores: of each sequence for each known subject, (N, C), or of each of its frames,
            (N, T, C). A sequence's scores are the means of its frames' scores; they are logits
            where they shall be what SGE-LA's program computes.
        subjects: the C known ones, in the order of the scores.
        sequences: N rows with ``subject`` and the columns that the protocol selects by.
        protocol: by which.
        bootstrap: resamples of subjects for the 95 % intervals; 0 leaves them out, and the
            reference form has none.
        seed: of the resamples.

    Raises:
        InputError: if a column is missing, a test subject is unknown, a score is no number, or no
            sequence is left.
        ValueError: if numbers of rows or subjects differ, or there are fewer than 2 subjects.
    """
    if scores.ndim not in (2, 3) or scores.shape[-1] != len(subjects):
        raise ValueError(f"expected scores of {len(subjects)} subjects, got {scores.shape}")
    if len(subjects) < 2:
        raise ValueError("expected 2 known subjects or more")
    if len(scores) != len(sequences):
        raise ValueError(f"expected {len(sequences)} rows of scores, got {len(scores)}")
    wanted = {"subject", *(column for chosen in protocol.sets.values() for column in chosen)}
    wanted |= set() if protocol.sets else {"condition"}
    if missing := sorted(wanted - {*sequences.columns}):
        raise InputError(
            f"{protocol.id} needs the column(s) {', '.join(missing)}, but the table of sequences "
            f"has only {', '.join(map(str, sequences.columns))}."
        )
    metrics: dict[str, Figures] = {}
    outcomes: dict[str, Outcomes] = {}
    lines: list[tuple[str, str, float, int]] = []
    notes: list[str] = []
    for name, chosen in _sets(protocol, sequences):
        if not chosen.any():
            notes.append(f"{name} has no sequence and is left out.")
            continue
        labels = _labels(sequences["subject"].to_numpy(str)[chosen], subjects, name, protocol)
        part = np.asarray(scores[chosen], np.float64)
        if wrong := int((~np.isfinite(part.reshape(len(part), -1))).any(axis=1).sum()):
            raise InputError(
                f"{protocol.id}: {wrong} sequences of {name} have scores that are no numbers; test "
                "another checkpoint."
            )
        figures, ranks, left_out = _judge(part, labels, protocol)
        if left_out:
            notes.append(f"{name}: {left_out} sequences fill no batch and are left out.")
        outcomes[name] = _outcomes(ranks, len(subjects), sequences, chosen)
        resamples = bootstrap if protocol.form == "repaired" else 0
        metrics[name] = figures = figures | outcomes[name].figures(resamples, seed)
        n = int(figures["n"])  # type: ignore[arg-type]
        lines += [(name, key, float(figures[key]), n) for key in TITLES if key in figures]  # type: ignore[arg-type]
        lines += [
            (name, f"rank{k}", share, n)
            for k, share in enumerate(cmc(ranks, len(subjects)), start=1)
            if k not in (1, 5)
        ]
    if not metrics:
        raise InputError(
            f"{protocol.id} finds none of its sequences among the {len(sequences)} of the table; "
            "choose another protocol or other sequences."
        )
    table = pd.DataFrame(lines, columns=["set", "metric", "value", "n"])
    known = pd.DataFrame({"subject": list(subjects)})
    return ClosedSetEvaluation(protocol, table, metrics, notes, outcomes, known)


def label_ranks(scores: Floats, labels: Integers) -> Integers:
    """Place of each row's label among its scores, (N,), from 1, the largest first.

    Among equal scores the subject that comes first is first, as `argmax` has it.

    Args:
        scores: (N, C).
        labels: (N,), from 0 to C - 1.
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    ranks: Integers = 1 + ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return ranks


def cmc(ranks: Integers, subjects: int) -> Floats:
    """Share of rows whose rank is k or better, for every k from 1 to the number of subjects."""
    shares: Floats = np.bincount(ranks, minlength=subjects + 1)[1:].cumsum() / len(ranks)
    return shares


def cmc_auc(ranks: Integers, subjects: int) -> float:
    """Area under the curve of :func:`cmc`, the mean over all k: 1 at best, (C + 1) / 2C by chance.

    What is published as nAUC of SGE-LA is :func:`roc_auc_micro` and not this.
    """
    return float(cmc(ranks, subjects).mean())


def roc_auc_micro(scores: Floats, labels: Integers) -> float:
    """Area under one ROC curve of all scores of all rows, whether they are the label's or not.

    The share of pairs of a label's score and another score, of any rows, in which the former is
    larger; ties count half.

    Args:
        scores: (N, C).
        labels: (N,), from 0 to C - 1.

    Source: what the authors' program of Rao et al. 2020, arXiv 2008.09435, prints as nAUC.
    """
    rows, subjects = scores.shape
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    ordered = np.sort(scores, axis=None)
    # the middle of the ranks of equal scores
    ranks = (ordered.searchsorted(own, "left") + ordered.searchsorted(own, "right") + 1) / 2
    above = ranks.sum() - rows * (rows + 1) / 2
    return float(above / (rows * rows * (subjects - 1)))


def reference_sequences(
    scores: Floats, labels: Integers, frames: int, batch: int = 128
) -> tuple[Floats, Integers]:
    """Sequences that SGE-LA's program judges, of rows one after the other.

    Where there is a batch of rows or more, only whole batches count. Each ``frames`` rows are a
    sequence with the mean of their scores; one whose labels differ is skipped.

    Args:
        scores: (R, C).
        labels: (R,).
        frames: rows of a sequence: T where each frame has scores, otherwise 1.
        batch: rows.

    Returns:
        scores (N, C), labels (N,).
    """
    rows = len(scores) // batch * batch or len(scores)
    rows = rows // frames * frames
    groups = labels[:rows].reshape(-1, frames)
    alike = (groups == groups[:, :1]).all(axis=1)
    means: Floats = scores[:rows].reshape(-1, frames, scores.shape[1]).mean(axis=1)
    return means[alike], groups[alike, 0]


def _sets(
    protocol: ClosedSetProtocol, sequences: pd.DataFrame
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    sets = protocol.sets or {
        str(name): {"condition": [name]} for name in sequences["condition"].unique()
    }
    for name, selection in sets.items():
        chosen = np.ones(len(sequences), bool)
        for column, allowed in selection.items():
            chosen &= sequences[column].isin(list(allowed)).to_numpy(bool)
        yield name, chosen


def _labels(
    found: NDArray[np.str_], subjects: Sequence[str], name: str, protocol: ClosedSetProtocol
) -> Integers:
    place = {subject: i for i, subject in enumerate(subjects)}
    if unknown := sorted({*found.tolist()} - {*place}):
        raise InputError(
            f"{protocol.id}: {len(unknown)} subjects of {name} are none of the {len(subjects)} "
            f"that the classifier knows ({', '.join(unknown[:5])}); train it on them or leave them "
            "out of the test."
        )
    return np.array([place[subject] for subject in found.tolist()], np.int64)


def _judge(
    scores: Floats, labels: Integers, protocol: ClosedSetProtocol
) -> tuple[Figures, Integers, int]:
    """Figures that are no means over sequences, their ranks, and how many were left out."""
    known = scores.shape[-1]
    frames = scores.shape[1] if scores.ndim == 3 else 1
    rows, row_labels = scores.reshape(-1, known), labels.repeat(frames)
    if protocol.form == "reference":
        whole, whole_labels = reference_sequences(rows, row_labels, frames, protocol.batch)
    else:
        whole, whole_labels = scores.reshape(-1, frames, known).mean(axis=1), labels
    ranks = label_ranks(whole, whole_labels)
    figures: Figures = {
        "n": len(whole),
        "subjects": known,
        "roc_auc_micro": roc_auc_micro(whole, whole_labels),
    }
    if scores.ndim == 3 and protocol.form == "repaired":
        of_frames = _figures(rows, row_labels, label_ranks(rows, row_labels))
        figures |= {f"frame_{key}": value for key, value in of_frames.items()}
    return figures, ranks, len(scores) - len(whole)


def _figures(scores: Floats, labels: Integers, ranks: Integers) -> dict[str, float]:
    return {
        "rank1": float((ranks <= 1).mean()),
        "rank5": float((ranks <= 5).mean()),
        "cmc_auc": cmc_auc(ranks, scores.shape[1]),
        "roc_auc_micro": roc_auc_micro(scores, labels),
    }


def _outcomes(
    ranks: Integers, known: int, sequences: pd.DataFrame, chosen: NDArray[np.bool_]
) -> Outcomes:
    """What the sequences of a set gave, of which the reference form leaves out the last ones."""
    shares = np.stack([ranks <= 1, ranks <= 5, (known + 1 - ranks) / known])
    return Outcomes(
        rows=sequences,
        row=np.flatnonzero(chosen)[: len(ranks)],
        cell=np.zeros(len(ranks), np.int64),
        group=np.zeros(1, np.int64),
        gallery_view=np.full(1, -1),
        values=dict(zip(METRICS, shares.astype(np.float64), strict=True)),
    )
