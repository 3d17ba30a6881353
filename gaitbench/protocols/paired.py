"""How much one set of embeddings beats another on the same probes, and how sure that is."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gaitbench.protocols import closed_set, knn, retrieval
from gaitbench.protocols.figures import bootstrap_weights, interval
from gaitbench.protocols.probes import KEY, PER_SUBJECT, Outcomes, Probes

PAIRED = (*retrieval.METRICS, f"rank1{PER_SUBJECT}", *knn.METRICS, *closed_set.METRICS)
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
    ours: Outcomes, theirs: Outcomes, figure: str = "rank1", *, resamples: int = 1000, seed: int = 0
) -> Difference:
    """Difference of a figure over the same trials, by a bootstrap over subjects.

    Each resample draws the subjects once and takes both figures of those. What makes a subject hard
    for both so vanishes from the difference, which single intervals cannot show: two that overlap
    may still differ surely.

    Args:
        ours: trials of one probe set.
        theirs: the same probes against the same galleries, in any order.
        figure: one of :data:`PAIRED`.
        resamples: of the subjects.
        seed: of the resamples; the intervals of :func:`gaitbench.protocols.evaluate` draw the same.

    Raises:
        ValueError: if the trials are not the same or there are no resamples.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
    """
    if resamples < 1:
        raise ValueError("expected 1 resample or more")
    gave = theirs.values[figure]
    places = _places(ours), _places(theirs)
    columns = [str(name) for name in places[0] if name in places[1]]
    here, there = (table[columns] for table in places)
    if not here.equals(there):
        here, there = (table.sort_values(columns, kind="stable") for table in (here, there))
        if not here.reset_index(drop=True).equals(there.reset_index(drop=True)):
            raise ValueError("the trials are of other probes or galleries, so they are no pairs")
        gave = gave[there.index][np.argsort(here.index)]
    # every figure is linear in what the trials gave
    drawn = ours.estimates(figure, bootstrap_weights(ours.people, resamples, seed), less=gave)
    value, drawn = float(drawn[0]), drawn[1:]
    low, high = interval(drawn)
    # what is zero in truth may be a rounding beside it
    other_side = float((drawn * np.sign(value) <= ROUNDING).mean())
    return Difference(value, low, high, other_side, ours.people)


def unpaired(ours: Probes, theirs: Probes) -> str:
    """In what the probes of two runs differ, a phrase; empty if they are the same.

    Of sets that only one of them has nothing is said.
    """
    for name in (name for name in ours.sets if name in theirs.sets):
        tables = ours.sets[name].names(), theirs.sets[name].names()
        columns = [column for column in tables[0] if column in tables[1]]
        keys = [pd.MultiIndex.from_frame(table[columns].astype(str)) for table in tables]
        for place, (these, those) in enumerate((keys, keys[::-1])):
            alone = these[~these.isin(those)].unique()
            if len(alone):
                side = ("the former", "the latter")[place]
                first = "-".join(map(str, alone[0][: len(KEY)]))
                return f"{len(alone)} probes are only in {side}, the first {first}"
        if len(keys[0]) != len(keys[1]):
            return f"one has {len(keys[0])} trials of {name} and the other {len(keys[1])}"
    if ours.against != theirs.against:
        return "they were compared with other galleries"
    return ""


def _places(trials: Outcomes) -> pd.DataFrame:
    """What each trial compares, in columns of words and whole numbers."""
    names = trials.names()
    texts = names.columns.difference(["number", "view", "first_frame"])
    names[texts] = names[texts].astype(str)
    numbers = names.columns.difference(texts)
    names[numbers] = names[numbers].astype(np.int64)
    return names.assign(
        group=trials.group[trials.cell], gallery_view=trials.gallery_view[trials.cell]
    )
