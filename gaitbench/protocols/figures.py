"""Means of trials in the field's order, and how sure they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """Comparisons of one probe with one gallery each.

    Attributes:
        probe: row of the probe, (n,).
        subject: code of its subject, (n,).
        probe_view: code of its view, (n,).
        gallery_view: code of the gallery's view, (n,); -1 where views are pooled.
        matched: whether the gallery holds the subject, (n,).
        values: metrics, (n, M); zero without a partner.
        first: rank of the nearest item of the subject, (n,); 0 without a partner.
    """

    probe: Integers
    subject: Integers
    probe_view: Integers
    gallery_view: Integers
    matched: NDArray[np.bool_]
    values: Floats
    first: Integers

    def __len__(self) -> int:
        return len(self.probe)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Trials":
        return Trials(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @staticmethod
    def join(parts: "list[Trials]") -> "Trials":
        """Put trials one after the other."""
        names = Trials.__dataclass_fields__
        return Trials(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))


def bootstrap_weights(subjects: int, resamples: int, seed: int) -> Floats:
    """How often each subject is drawn, (1 + resamples, subjects).

    The first row is all ones and stands for the data as they are; each other row draws as many
    subjects as there are, with replacement.
    """
    draws = np.random.default_rng(seed).integers(subjects, size=(resamples, subjects))
    place = draws + np.arange(resamples)[:, None] * subjects
    counts = np.bincount(place.ravel(), minlength=resamples * subjects)
    return np.concatenate([np.ones((1, subjects)), counts.reshape(resamples, subjects)])


def mean_of_means(
    weights: Floats, subject: Integers, cell: Integers, group: Integers, values: Floats
) -> Floats:
    """Mean over groups of the mean over their cells of the mean over a cell's trials.

    A cell without trials, and a group without cells, takes no part; in a resample as well.

    Args:
        weights: of subjects, (R, S).
        subject: of each trial, (n,), 0 to S - 1.
        cell: of each trial, (n,), 0 to C - 1.
        group: of each cell, (C,).
        values: (n, M).

    Returns:
        (R, M).
    """
    size = (weights.shape[1], len(group))
    place = subject * size[1] + cell

    def totals(addends: Floats | None) -> Floats:
        flat = np.bincount(place, addends, size[0] * size[1])
        total: Floats = weights @ flat.reshape(size)
        return total

    member = (group[:, None] == np.unique(group)).astype(np.float64)
    count = totals(None)
    present = (count > 0).astype(np.float64)
    cells = present @ member
    columns = []
    for column in values.T:
        means = totals(column) / np.maximum(count, 1)
        group_means = means @ member / np.maximum(cells, 1)
        columns.append(group_means.sum(1) / np.maximum((cells > 0).sum(1), 1))
    return np.stack(columns, 1)


def mean_of_subjects(weights: Floats, subject: Integers, values: Floats) -> Floats:
    """Mean over subjects of the mean over a subject's trials.

    Args:
        weights: of subjects, (R, S).
        subject: of each trial, (n,), 0 to S - 1; each at least once.
        values: (n,).

    Returns:
        (R,).
    """
    size = weights.shape[1]
    means = np.bincount(subject, values, size) / np.bincount(subject, minlength=size)
    result: Floats = weights @ means / weights.sum(1)
    return result


def interval(resampled: Floats) -> list[float]:
    """Bounds of the middle 95 % of the resamples."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return [float(low), float(high)]
