"""Protocols as data, and the one function that judges embeddings by them.

A protocol says who is gallery and who is probe by the values of columns. Views and subjects are
taken from the data, so that a protocol holds for any set of cameras and any split.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.protocols.distances import Distance, Genuine, find_genuine, unit_length
from gaitbench.protocols.figures import (
    Floats,
    Integers,
    Trials,
    bootstrap_weights,
    interval,
)
from gaitbench.protocols.probes import KEY, PER_SUBJECT, WINDOW, Outcomes
from gaitbench.protocols.rerank import MAX_ITEMS, k_reciprocal_distances
from gaitbench.protocols.results import OVERALL, Evaluation, Figures
from gaitbench.protocols.retrieval import METRICS, Ranker, ranks_of_matrix
from gaitbench.protocols.verification import (
    FALSE_ACCEPT_RATES,
    PairCounts,
    equal_error_rate,
    true_accept_rate,
)
from gaitbench.rows import mean_of_rows

Selection = Mapping[str, Collection[Any]]
GENUINE_AT_ONCE = 1 << 22
"""Genuine pairs of the probes that are ranked at a time; each takes some 80 bytes."""


@dataclass(frozen=True)
class Protocol:
    """Who is compared with whom, and how the means are taken.

    A *trial* compares one probe with one gallery; a *cell* holds the trials of one probe view with
    one gallery view. Figures of a probe set are means over the trials of each cell, then over the
    gallery views of each probe view, then over probe views; what does not exist takes no part.

    Attributes:
        id: ``<dataset>.<name>``.
        description: one sentence, printed above tables.
        gallery: column to the values that gallery sequences have.
        probes: probe set to column to the values that its sequences have.
        gallery_views: ``each`` compares with the gallery of one view at a time, ``pooled`` with all
            views together.
        exclude_same_view: leave out the probe's own view, as a cell or from the pooled gallery.
        unmatched: what a probe without a partner in a gallery is: left out of that trial and
            counted (``skip``) or ``wrong``.
        distance: by which gallery items are near; ``cosine`` normalises always.
        normalize: scale embeddings to unit length first.
        repeated: of sequences with the same subject, condition, number and view, take ``all``
            or the ``last``.
        windows: what is compared where rows are windows: each of them by itself (``apart``), or
            their recordings, each by the mean of its windows' embeddings (``averaged``).
        overall: a further rank-1 over all probe sets, as a reference logs it: the plain mean over
            all cells with identical views in (``all_cells``), or the same with the cells of
            identical views set to zero (``zero_same_view``).
    """

    id: str
    description: str
    gallery: Selection
    probes: Mapping[str, Selection]
    gallery_views: Literal["each", "pooled"]
    exclude_same_view: bool
    unmatched: Literal["skip", "wrong"]
    distance: Distance = "euclidean"
    normalize: bool = True
    repeated: Literal["all", "last"] = "all"
    windows: Literal["apart", "averaged"] = "apart"
    overall: Literal["all_cells", "zero_same_view"] | None = None

    def __post_init__(self) -> None:
        if self.overall and self.gallery_views == "pooled":
            raise ValueError(f"{self.id}: an overall figure over cells needs one gallery view each")
        if OVERALL in self.probes:
            raise ValueError(f"{self.id}: no probe set may be called {OVERALL!r}")


@dataclass(frozen=True)
class _Table:
    """Sequences in an order that does not depend on how they came.

    Attributes:
        rows: the sequences, ordered by subject, condition, number and view.
        subjects: code of the subject of each row, never falling.
        views: code of the view of each row; 0 where the table knows no views.
        view_values: the view of each code; empty where the table knows no views.
    """

    rows: pd.DataFrame
    subjects: Integers
    views: Integers
    view_values: Integers

    def degrees(self, codes: Integers) -> Integers:
        """The views of codes; -1 of that of pooled views, and where the table knows none."""
        known = (codes >= 0) & (len(self.view_values) > 0)
        degrees = np.full(len(codes), -1)
        degrees[known] = self.view_values[codes[known]]
        return degrees


def evaluate(
    embeddings: NDArray[Any] | Tensor,
    sequences: pd.DataFrame,
    protocol: Protocol,
    *,
    distance: Distance | None = None,
    rerank: bool = False,
    verification: bool = True,
    bootstrap: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Judge embeddings by a protocol.

    Ranks are exact for float32 points and float64 distances; at exactly equal distances the item
    that comes first by subject, condition, number and view (and, of windows, by recording and first
    frame) is the nearer one. The order of the rows has no influence, other than which of repeated
    sequences is the last.

    Args:
        embeddings: (N, D), one a sequence; computed with as float32.
        sequences: N rows with at least ``subject``, the columns that the protocol selects by, and
            ``view`` (whole degrees) where it knows views.
        protocol: by which.
        distance: instead of the protocol's.
        rerank: order the gallery by k-reciprocal distances (:mod:`gaitbench.protocols.rerank`),
            each probe set with each gallery by itself; leaves verification out.
        verification: also compute EER and TAR, over all pairs of the trials.
        bootstrap: resamples of subjects for the 95 % intervals; 0 leaves them out.
        seed: of the resamples.
        device: where distances are computed.

    Raises:
        InputError: if a column is missing, an embedding is not finite, there is no gallery or no
            probe at all, no probe has a partner, or there are too many sequences to re-rank.
        ValueError: if the numbers of embeddings and sequences differ.
    """
    chosen = distance or protocol.distance
    if chosen not in get_args(Distance):
        raise InputError(
            f"distance is {chosen!r}, expected one of {', '.join(get_args(Distance))}."
        )
    values = torch.as_tensor(embeddings).detach().cpu().float()
    if values.ndim != 2 or len(values) != len(sequences):
        raise ValueError(
            f"expected embeddings (N, D) beside {len(sequences)} sequences, got "
            f"shape {tuple(values.shape)}"
        )
    if lack := unmet(sequences, protocol):
        raise InputError(lack)
    # The sum is finite only if all are; what overflows is looked at one by one.
    finite = values.sum().isfinite() or values.isfinite().all(1)
    if not bool(finite.all()):
        raise InputError(
            f"embedding {int((~finite).nonzero()[0, 0])} is not finite, so nothing can be compared "
            "with it; look for a diverged training or an empty sequence."
        )
    told: list[str] = []
    if protocol.windows == "averaged" and WINDOW[0] in sequences:
        count = len(values)
        values, sequences = recordings(values, sequences)
        told = [f"{count} windows make {len(values)} recordings, judged by their mean embeddings."]
    table, order, notes = _ordered(sequences, protocol)
    notes = told + notes
    values = values[torch.from_numpy(order)]
    in_gallery = _select(table.rows, protocol.gallery, protocol.id)
    in_sets = {n: _select(table.rows, s, protocol.id) for n, s in protocol.probes.items()}
    notes += _absences(table, in_gallery, in_sets)

    points = (unit_length(values) if protocol.normalize or chosen == "cosine" else values).to(
        device
    )
    subjects = torch.from_numpy(table.subjects).to(device)
    search = _Search(points, subjects, chosen, rerank, protocol.id)
    counter = PairCounts(points, chosen, subjects) if verification and not rerank else None

    kept: dict[str, Trials] = {}
    every: dict[str, Trials] = {}
    pairs: dict[str, tuple[Floats, Floats]] = {}
    outcomes: dict[str, Outcomes] = {}
    metrics: dict[str, Figures] = {}
    for name, in_set in in_sets.items():
        if not in_set.any():
            continue
        parts: list[Trials] = []
        counts: list[Floats] = []
        cells = _cells(protocol, table, in_gallery, in_set)
        for view, probes, gallery in cells if rerank else _in_pieces(cells, table.subjects):
            left = torch.from_numpy(probes).to(device)
            right = torch.from_numpy(gallery).to(device)
            genuine = find_genuine(subjects, left, right)
            ranks = search.ranks(left, right, genuine)
            parts.append(
                Trials(
                    probe=probes,
                    subject=table.subjects[probes],
                    probe_view=table.views[probes],
                    gallery_view=np.full(len(probes), view),
                    matched=genuine.valid.any(1).cpu().numpy(),
                    values=torch.stack([m(ranks) for m in METRICS.values()], 1).cpu().numpy(),
                    first=_first(ranks),
                )
            )
            if counter is not None:
                admitted = np.ones(len(probes), bool)
                if protocol.exclude_same_view:
                    admitted = parts[-1].probe_view != view
                keep = torch.from_numpy(np.flatnonzero(admitted)).to(device)
                counts = _sums(counts, counter.count(left[keep], right, genuine[keep]))
        trials = Trials.join(parts) if parts else None
        if trials is None:
            continue
        every[name] = trials
        admitted_trials = trials
        if protocol.exclude_same_view:
            admitted_trials = trials[trials.probe_view != trials.gallery_view]
        counted = admitted_trials
        if protocol.unmatched == "skip":
            counted = admitted_trials[admitted_trials.matched]
        unmatched = int((~admitted_trials.matched).sum())
        if unmatched:
            fate = "left out" if protocol.unmatched == "skip" else "counted as wrong"
            notes.append(
                f"{name}: {unmatched} of {len(admitted_trials)} trials have no partner in the "
                f"gallery and are {fate}."
            )
        if not len(counted):
            notes.append(f"{name}: no probe has a partner in the gallery, so it has no figures.")
            continue
        kept[name] = counted
        outcomes[name] = _outcomes(counted, table)
        metrics[name] = outcomes[name].figures(bootstrap, seed)
        if counter is not None:
            metrics[name] |= _verification(counts, bootstrap, seed)
            pairs[name] = counts[0], counts[1]
        metrics[name] |= {
            "n": len(np.unique(counted.probe)),
            "trials": len(counted),
            "unmatched": unmatched,
        }
    if not kept:
        raise InputError(
            f"{protocol.id} compares probes with the gallery of "
            f"{'other views' if protocol.exclude_same_view else 'all views'}, but none of the "
            f"{int(np.any(list(in_sets.values()), axis=0).sum())} probes has a partner among the "
            f"{int(in_gallery.sum())} gallery sequences; check the subjects and views of the table."
        )
    if protocol.overall:
        outcomes[OVERALL] = _overall(list(every.values()), protocol, table)
        metrics[OVERALL] = outcomes[OVERALL].figures(bootstrap, seed) | {
            "n": len(np.unique(outcomes[OVERALL].row)),
            "trials": len(outcomes[OVERALL].row),
            "unmatched": sum(int((~trials.matched).sum()) for trials in every.values()),
        }
    return Evaluation(
        protocol=protocol,
        table=_long_table(every if protocol.overall else kept, protocol, table),
        metrics=metrics,
        notes=notes,
        labels={n: _label(n, table.rows[in_sets[n]]) for n in metrics if n != OVERALL},
        trials=kept,
        pairs=pairs,
        rows=table.rows,
        points=points,
        outcomes=outcomes,
        against=table.rows[in_gallery],
    )


def recordings(values: Tensor, windows: pd.DataFrame) -> tuple[Tensor, pd.DataFrame]:
    """Recordings in place of their windows, in the order in which they first come.

    Args:
        values: embeddings (N, D).
        windows: their N rows, which have ``recording``; those of one of them differ in nothing
            that a protocol selects by.

    Returns:
        The mean embeddings (R, D) and their R rows, without what only a window has.
    """
    columns = [name for name in (*KEY, WINDOW[0]) if name in windows]
    number = windows.groupby(columns, sort=False, dropna=False).ngroup()
    first = ~number.duplicated().to_numpy()
    table = windows[first].drop(columns=[name for name in WINDOW if name in windows])
    return mean_of_rows(torch.tensor(number.to_numpy(np.int64)), values)[1], table


class _Search:
    """Ranks by plain or by re-ranked distances."""

    def __init__(
        self, points: Tensor, subjects: Tensor, distance: Distance, rerank: bool, name: str
    ) -> None:
        self.points, self.subjects, self.distance = points, subjects, distance
        self.rerank, self.name = rerank, name
        self.ranker = Ranker(points, distance)

    def ranks(self, probes: Tensor, gallery: Tensor, genuine: Genuine) -> Tensor:
        if not self.rerank:
            return self.ranker.ranks(probes, gallery, genuine)
        if len(probes) + len(gallery) > MAX_ITEMS:
            raise InputError(
                f"{self.name} would re-rank {len(probes)} probes with {len(gallery)} gallery "
                f"sequences at once, but at most {MAX_ITEMS} together are supported; evaluate "
                "without re-ranking or with fewer sequences."
            )
        matrix = k_reciprocal_distances(self.points, probes, gallery, self.distance)
        return ranks_of_matrix(matrix, genuine)


def _ordered(
    sequences: pd.DataFrame, protocol: Protocol
) -> tuple[_Table, NDArray[np.int64], list[str]]:
    """Order the sequences by their key and drop repeated ones where the protocol does."""
    codes = {}
    windows = WINDOW if {*WINDOW} <= {*sequences.columns} else ()
    for column in (*KEY, *windows):
        if column in sequences:
            cells = sequences[column]
            if cells.isna().any():
                row = int(np.flatnonzero(cells.isna())[0])
                raise InputError(
                    f"row {row} of the table of sequences has no {column}, expected one in each "
                    "row; fill it in or leave the row out."
                )
            plain = cells.to_numpy()
            if column in ("number", "view", "first_frame"):
                plain = plain.astype(np.int64)
            elif plain.dtype.kind not in "iu":
                plain = plain.astype(str)
            codes[column] = np.unique(plain, return_inverse=True)[1]
    order = np.lexsort(list(codes.values())[::-1])
    keys = np.stack(list(codes.values()), 1)[order]
    last = np.append((keys[1:] != keys[:-1]).any(1), True)
    notes = []
    repeats = int((~last).sum())
    if repeats:
        fate = "the last of each counts" if protocol.repeated == "last" else "all count"
        what = "sequence repeats" if repeats == 1 else "sequences repeat"
        notes.append(f"{repeats} {what} the {', '.join(codes)} of another; {fate}.")
        if protocol.repeated == "last":
            order = order[last]
    rows = sequences.iloc[order].reset_index(drop=True)
    subjects = np.unique(rows["subject"].to_numpy().astype(str), return_inverse=True)[1]
    view_values, views = np.zeros(0, np.int64), np.zeros(len(rows), np.int64)
    if "view" in rows:
        view_values, views = np.unique(
            rows["view"].to_numpy().astype(np.int64), return_inverse=True
        )
    return _Table(rows, subjects, views, view_values), order, notes


def _select(rows: pd.DataFrame, selection: Selection, name: str) -> NDArray[np.bool_]:
    chosen = np.ones(len(rows), bool)
    for column, allowed in selection.items():
        chosen &= rows[column].isin(list(allowed)).to_numpy(bool)
    return chosen


def unmet(sequences: pd.DataFrame, protocol: Protocol) -> str:
    """What a protocol wants of a table that it does not hold, a sentence; empty if all is there."""
    by_view = protocol.gallery_views == "each" or protocol.exclude_same_view
    if told := lack(
        sequences, protocol.id, protocol.gallery, protocol.probes, ("view",) if by_view else ()
    ):
        return told
    if protocol.exclude_same_view and sequences["view"].nunique() == 1:
        return (
            f"{protocol.id} compares different views, but all {len(sequences)} sequences are of "
            f"view {sequences['view'].iloc[0]}; choose another protocol or other sequences."
        )
    return ""


def lack(
    sequences: pd.DataFrame,
    name: str,
    gallery: Selection,
    probes: Mapping[str, Selection],
    columns: Collection[str],
) -> str:
    """What a table lacks of a gallery, of any probes, or of columns, a sentence; empty if nothing.

    Args:
        sequences: the table.
        name: of the protocol that asks.
        gallery: column to the values that are wanted.
        probes: probe set to the same.
        columns: wanted beside those and the subject.
    """
    wanted = {"subject", *columns, *gallery, *(c for s in probes.values() for c in s)}
    if missing := sorted(wanted - {*sequences.columns}):
        return (
            f"{name} needs the column(s) {', '.join(missing)}, but the table of sequences "
            f"has only {', '.join(map(str, sequences.columns))}."
        )
    for role, selections in (("gallery", [gallery]), ("probe", list(probes.values()))):
        if any(_select(sequences, chosen, name).any() for chosen in selections):
            continue
        wants = " or ".join(
            " and ".join(f"{column} {_some(list(allowed))}" for column, allowed in chosen.items())
            for chosen in selections
        )
        named = dict.fromkeys(column for chosen in selections for column in chosen)
        holds = ", ".join(f"{c} {_some(sorted(sequences[c].unique().tolist()))}" for c in named)
        return (
            f"{name} wants {role} sequences with {wants}, but none of the {len(sequences)} "
            f"sequences is one (they hold {holds or 'nothing'}); choose another protocol or other "
            "sequences."
        )
    return ""


def _some(values: list[Any]) -> str:
    """Name a few values, or the ends of a long list."""
    if len(values) > 6:
        return f"{values[0]} to {values[-1]}"
    return "/".join(map(str, values)) or "none"


def _cells(
    protocol: Protocol, table: _Table, gallery: NDArray[np.bool_], probes: NDArray[np.bool_]
) -> Iterator[tuple[int, Integers, Integers]]:
    """Yield the gallery view (-1: pooled), the probes and the gallery that are compared."""
    if protocol.gallery_views == "each":
        for view in np.unique(table.views[gallery]).tolist():
            same_view_too = not protocol.exclude_same_view or protocol.overall is not None
            chosen = probes if same_view_too else probes & (table.views != view)
            if chosen.any():
                yield view, np.flatnonzero(chosen), np.flatnonzero(gallery & (table.views == view))
    elif protocol.exclude_same_view:
        for view in np.unique(table.views[probes]).tolist():
            others = gallery & (table.views != view)
            if others.any():
                yield -1, np.flatnonzero(probes & (table.views == view)), np.flatnonzero(others)
    else:
        yield -1, np.flatnonzero(probes), np.flatnonzero(gallery)


def _in_pieces(
    cells: Iterable[tuple[int, Integers, Integers]], subjects: Integers
) -> Iterator[tuple[int, Integers, Integers]]:
    """The same, with no more probes at a time than memory holds the genuine items of."""
    for view, probes, gallery in cells:
        step = max(1, GENUINE_AT_ONCE // int(np.bincount(subjects[gallery]).max()))
        for start in range(0, len(probes), step):
            yield view, probes[start : start + step], gallery


def _outcomes(trials: Trials, table: _Table) -> Outcomes:
    """What the trials of one probe set gave to its retrieval figures."""
    pairs = np.stack([trials.probe_view, trials.gallery_view], 1)
    cells, cell = np.unique(pairs, axis=0, return_inverse=True)
    values = dict(zip(METRICS, trials.values.T, strict=True))
    return Outcomes(
        rows=table.rows,
        row=trials.probe,
        cell=cell.reshape(-1),  # NumPy 2.0 gives it a second axis
        group=cells[:, 0],
        gallery_view=table.degrees(cells[:, 1]),
        values=values | {f"rank1{PER_SUBJECT}": values["rank1"]},
    )


def _first(ranks: Tensor) -> Integers:
    """The first of the rising ranks (P, K) of each probe; 0 where it has none."""
    if not ranks.shape[1]:
        return np.zeros(len(ranks), np.int64)
    first: Integers = ranks[:, 0].cpu().numpy()
    return first


def _sums(totals: list[Floats], addends: Iterable[Floats]) -> list[Floats]:
    """Add each array to its total; there may be no totals yet."""
    if not totals:
        return list(addends)
    return [total + addend for total, addend in zip(totals, addends, strict=True)]


def _verification(counts: list[Floats], bootstrap: int, seed: int) -> Figures:
    """EER and TAR of one probe set: from fine bins, with intervals from coarse ones by subject."""
    genuine, impostor, genuine_by_subject, impostor_by_subject = counts
    figures: Figures = {"genuine_pairs": int(genuine.sum()), "impostor_pairs": int(impostor.sum())}
    if not genuine.any() or not impostor.any():
        return figures
    present = (genuine_by_subject + impostor_by_subject).any(1)
    weights = bootstrap_weights(int(present.sum()), bootstrap, seed)[1:]
    drawn = weights @ genuine_by_subject[present], weights @ impostor_by_subject[present]
    # A resample may hold no genuine pair, and then has no rate.
    usable = (drawn[0].sum(1) > 0) & (drawn[1].sum(1) > 0)
    drawn = drawn[0][usable], drawn[1][usable]
    _put(figures, "eer", np.append(equal_error_rate(genuine, impostor), equal_error_rate(*drawn)))
    for rate in FALSE_ACCEPT_RATES:
        estimate = true_accept_rate(genuine, impostor, rate)
        resampled = true_accept_rate(*drawn, rate)
        _put(figures, f"tar_at_far_{rate:g}", np.append(estimate, resampled))
    return figures


def _overall(parts: list[Trials], protocol: Protocol, table: _Table) -> Outcomes:
    """Rank-1 as the mean over the cells of all probe sets, as references log it."""
    trials = Trials.join(parts)
    kind = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    counted = trials.matched | (protocol.unmatched == "wrong")
    trials, kind = trials[counted], kind[counted]
    right = trials.values[:, 0].copy()
    if protocol.overall == "zero_same_view":
        right[trials.probe_view == trials.gallery_view] = 0
    triples = np.stack([kind, trials.probe_view, trials.gallery_view], 1)
    cells, cell = np.unique(triples, axis=0, return_inverse=True)
    return Outcomes(
        rows=table.rows,
        row=trials.probe,
        cell=cell.reshape(-1),  # NumPy 2.0 gives it a second axis
        group=np.arange(len(cells)),
        gallery_view=table.degrees(cells[:, 2]),
        values={"rank1": right},
    )


def _put(figures: Figures, name: str, estimates: Floats) -> None:
    """Store the first estimate, and the interval of the others where there are any."""
    figures[name] = float(estimates[0])
    if len(estimates) > 1:
        figures[f"{name}_ci95"] = interval(estimates[1:])


def _long_table(parts: Mapping[str, Trials], protocol: Protocol, table: _Table) -> pd.DataFrame:
    """One line a cell and metric."""
    frames = []
    for name, trials in parts.items():
        if protocol.unmatched == "skip":
            trials = trials[trials.matched]
        frame = pd.DataFrame(trials.values, columns=pd.Index(list(METRICS)))
        frame.insert(0, "probe_view", trials.probe_view)
        frame.insert(0, "gallery_view", trials.gallery_view)
        groups = frame.groupby(["gallery_view", "probe_view"])
        long = groups.mean().melt(var_name="metric", ignore_index=False).reset_index()
        size = groups.size().rename("n").reset_index()
        long = long.merge(size, how="left", on=["gallery_view", "probe_view"])
        long.insert(0, "probe_set", name)
        frames.append(long)
    result = pd.concat(frames, ignore_index=True)
    for column in ("gallery_view", "probe_view"):
        codes = result[column].to_numpy()
        known = (codes >= 0) & (len(table.view_values) > 0)
        views = np.zeros(len(codes), np.int64)
        views[known] = table.view_values[codes[known]]
        result[column] = pd.array(views, dtype="Int64")
        result.loc[~known, column] = pd.NA
    return result


def _absences(
    table: _Table, gallery: NDArray[np.bool_], sets: Mapping[str, NDArray[np.bool_]]
) -> list[str]:
    """Say which views and subjects one side has and the other has not."""
    notes = []
    used = gallery | np.any(list(sets.values()), axis=0)

    def names(column: str, missing: set[int]) -> str:
        if column == "view":
            found = [str(table.view_values[code]) for code in sorted(missing)]
        else:
            first = np.unique(table.subjects, return_index=True)[1]
            found = [str(table.rows["subject"].iloc[first[code]]) for code in sorted(missing)]
        return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")

    columns = {"subject": table.subjects}
    if len(table.view_values):
        columns["view"] = table.views
    for column, codes in columns.items():
        everyone = set(codes[used].tolist())
        sides = {"The gallery": gallery, **{f"Probe set {n}": chosen for n, chosen in sets.items()}}
        for side, chosen in sides.items():
            missing = everyone - set(codes[chosen].tolist())
            if not chosen.any():
                if column == "subject":
                    notes.append(f"{side} has no sequence and is left out.")
            elif missing:
                notes.append(
                    f"{side} has no sequence of {len(missing)} of {len(everyone)} {column}s: "
                    f"{names(column, missing)}."
                )
    return notes


def _label(name: str, rows: pd.DataFrame) -> str:
    """Name a probe set as the field prints it, with the numbers that the data have: ``NM#5-6``."""
    if "number" not in rows:
        return name
    first, last = int(rows["number"].min()), int(rows["number"].max())
    return f"{name}#{first}" if first == last else f"{name}#{first}-{last}"
