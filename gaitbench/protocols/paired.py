"""How much one set of embeddings beats another on the same probes, and how sure that is."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gaitbench.protocols.figures import (
    Trials,
    bootstrap_weights,
    interval,
    mean_of_means,
    mean_of_subjects,
)
from gaitbench.protocols.protocol import KEY, WINDOW
from gaitbench.protocols.retrieval import METRICS

OVER_SUBJECTS = "rank1_per_subject"
PAIRED = (*METRICS, OVER_SUBJECTS)
"""Figures that are means of what single trials gave, so that trials can be paired."""

ROUNDING = 1e-12


class Difference(NamedTuple):
    """A figure of one less that of the other.

    Args:
        value: on the probes as they are.
        low: 2.5th percentile over the resamples.
        high: 97.5th percentile.
        other_side: share of the resamples in which the difference is zero or has the other sign;
            1 if it is zero on the probes as they are.
        subjects: that were resampled.
    """

    value: float
    low: float
    high: float
    other_side: float
    subjects: int


def paired_difference(
    ours: Trials, theirs: Trials, figure: str = "rank1", *, resamples: int = 1000, seed: int = 0
) -> Difference:
    """Difference of a figure over the same trials, by a bootstrap over subjects.

    Each resample draws the subjects once and takes both figures of those. What makes a subject hard
    for both so vanishes from the difference, which single intervals cannot show: two that overlap
    may still differ surely.

    Args:
        ours: trials of one probe set.
        theirs: the same probes against the same galleries.
        figure: one of :data:`PAIRED`.
        resamples: of the subjects.
        seed: of the resamples; the intervals of :func:`gaitbench.protocols.evaluate` draw the same.

    Raises:
        ValueError: if the trials are not the same or there are no resamples.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
    """
    for name in ("probe", "subject", "probe_view", "gallery_view"):
        if not np.array_equal(getattr(ours, name), getattr(theirs, name)):
            raise ValueError(f"the trials differ in {name}, so they are no pairs")
    if resamples < 1:
        raise ValueError("expected 1 resample or more")
    people, subject = np.unique(ours.subject, return_inverse=True)
    weights = bootstrap_weights(len(people), resamples, seed)
    # every figure is linear in what the trials gave
    column = 0 if figure == OVER_SUBJECTS else list(METRICS).index(figure)
    gain = ours.values[:, column] - theirs.values[:, column]
    if figure == OVER_SUBJECTS:
        drawn = mean_of_subjects(weights, subject, gain)
    else:
        pairs = np.stack([ours.probe_view, ours.gallery_view], 1)
        cells, cell = np.unique(pairs, axis=0, return_inverse=True)
        cell = cell.reshape(-1)  # NumPy 2.0 gives it a second axis
        drawn = mean_of_means(weights, subject, cell, cells[:, 0], gain[:, None])[:, 0]
    value, drawn = float(drawn[0]), drawn[1:]
    low, high = interval(drawn)
    # what is zero in truth may be a rounding beside it
    other_side = float((drawn * np.sign(value) <= ROUNDING).mean())
    return Difference(value, low, high, other_side, len(people))


def unpaired(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """In what two tables of sequences differ, a phrase; empty if they name the same ones."""
    columns = [name for name in (*KEY, *WINDOW) if name in ours and name in theirs]
    keys = [pd.MultiIndex.from_frame(table[columns].astype(str)) for table in (ours, theirs)]
    for place, (these, those) in enumerate((keys, keys[::-1])):
        alone = these[~these.isin(those)]
        if len(alone):
            side = ("the former", "the latter")[place]
            first = "-".join(map(str, alone[0][: len(KEY)]))
            return f"{len(alone)} sequences are only in {side}, the first {first}"
    if len(ours) != len(theirs):
        return f"one has {len(ours)} sequences and the other {len(theirs)}"
    return ""
