"""Who a walk is by its nearest neighbours: each window votes, and a video is whom most windows say.

A *window* is a short stretch of a walk with an embedding of its own, a *video* all windows of one
walk. The gallery's windows are neighbours, one by one. Figures of this kind stand in no table with
those of retrieval, where a walk has one embedding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.protocols.distances import pair_distances, pieces, unit_length
from gaitbench.protocols.figures import Floats, Integers
from gaitbench.protocols.probes import KEY, Outcomes
from gaitbench.protocols.protocol import Selection, lack
from gaitbench.protocols.results import Figures, Judgement, percent, with_interval

TITLES = {
    "video_rank1": "rank-1 of videos",
    "video_rank5": "rank-5 of videos",
    "rank1": "rank-1 of windows",
    "rank5": "rank-5 of windows",
    "merged_rank1": "rank-1 of mean embeddings",
}
"""Names of the figures in printed tables, in their order; all are shares, printed as percent."""

METRICS = ("rank1", "rank5", "video_rank1", "video_rank5", "merged_rank1")
"""What is computed: the first two of windows, the others of videos."""

# Scores of one block: 32 MB in float64.
BLOCK = 1 << 22
# Neighbours beyond the k nearest that are measured with them, and how far a squared distance of
# unit vectors may be from the screened one.
SPARE, SLACK = 8, 1e-9


@dataclass(frozen=True)
class NeighbourProtocol:
    """Which windows vote about which, and how.

    Attributes:
        id: ``<dataset>.<name>``.
        description: one sentence, printed above tables.
        gallery: column to the values that gallery windows have.
        probes: probe set to column to the values that its windows have.
        neighbours: k; as many as there are, if the gallery has fewer.
        views: whom a probe is compared with: the ``pooled`` gallery of all views, that of the
            ``same`` view, or that of each of the ``others`` in turn. With the latter two, figures
            are means over the gallery views of each probe view, and then over probe views.
        video: columns whose values tell videos apart.
        form: ``repaired``, where rank-5 counts only subjects that have a vote; or ``reference``:
            where fewer than five have one, those that come last by name take their place.
    """

    id: str
    description: str
    gallery: Selection
    probes: Mapping[str, Selection]
    neighbours: int = 7
    views: Literal["pooled", "same", "others"] = "pooled"
    video: tuple[str, ...] = KEY
    form: Literal["repaired", "reference"] = "repaired"

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"{self.id}: a vote needs 1 neighbour or more")


@dataclass(frozen=True)
class NeighbourEvaluation(Judgement):
    """Windows and videos judged by one protocol.

    Attributes:
        protocol: by which.
        table: long; columns ``probe_set, gallery_view, probe_view, metric, value, n``. One line a
            cell and metric: ``value`` is the mean over the ``n`` windows or videos of the cell.
            Views are NA where they are pooled.
        metrics: probe set to figures, fractions in 0..1, each with its 95 % interval
            ``<name>_ci95``; ``n`` is the number of windows, ``videos`` that of videos.
        notes: one sentence each on what was missing.
        outcomes: probe set to what its windows and videos gave; a video goes by its first window.
        against: the gallery's windows.
    """

    heads = ("video_rank1", "rank1")

    protocol: NeighbourProtocol
    table: pd.DataFrame
    metrics: dict[str, Figures]
    notes: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcomes] = field(default_factory=dict, repr=False)
    against: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """A line a figure and a column a set; where views count, the sets by probe views before."""
        rows = [
            [title, *(with_interval(figures, key) for figures in self.metrics.values())]
            for key, title in TITLES.items()
        ]
        for key, title in (("n", "windows"), ("videos", "videos")):
            rows.append([title, *(str(figures[key]) for figures in self.metrics.values())])
        tables = [(["(%)", *self.metrics], rows)]
        if self.protocol.views != "pooled":
            right = self.table[self.table["metric"] == "video_rank1"]
            means = right.pivot_table("value", "probe_set", "probe_view", sort=False)
            views = sorted(means.columns)
            lines = []
            for name, figures in self.metrics.items():
                cells = [percent(means[view].dropna().get(name)) for view in views]
                lines.append([name, *cells, percent(figures["video_rank1"])])
            head = ["rank-1 of videos (%)", *(str(view) for view in views), "mean"]
            tables.insert(0, (head, lines))
        return tables


class Votes(NamedTuple):
    """What neighbours say of P probe windows, of V videos.

    Args:
        said: code of the subject that most neighbours of each window have, the first of several,
            (P,).
        rank: place of the window's own subject by votes, (P,); 0 without a vote.
        video_said: code of the subject that most windows say, (V,); of several the one that a
            window says first.
        video_rank: place of the video's own subject by the votes of all neighbours, (V,); likewise.
    """

    said: Tensor
    rank: Tensor
    video_said: Tensor
    video_rank: Tensor


def unmet_neighbours(sequences: pd.DataFrame, protocol: NeighbourProtocol) -> str:
    """What a protocol wants of a table that it does not hold, a sentence; empty if all is there."""
    view = ("view",) if protocol.views != "pooled" else ()
    columns = (*protocol.video, *view)
    return lack(sequences, protocol.id, protocol.gallery, protocol.probes, columns)


def evaluate_neighbours(
    embeddings: NDArray[Any] | Tensor,
    sequences: pd.DataFrame,
    protocol: NeighbourProtocol,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> NeighbourEvaluation:
    """Judge embeddings of windows, scaled to unit length, by their Euclidean neighbours.

    Of equally near neighbours the first in the table is the nearer one.

    Args:
        embeddings: (N, D), one a window; computed with as float32.
        sequences: N rows with ``subject``, the columns that the protocol selects by, and those that
            tell videos and views apart. Rows of a video need not stand together.
        protocol: by which.
        bootstrap: resamples of subjects for the 95 % intervals; 0 leaves them out.
        seed: of the resamples.
        device: where distances are computed.

    Raises:
        InputError: if a column is missing, an embedding is not finite, or there is no gallery or no
            probe that could be compared with it.
        ValueError: if the numbers of embeddings and rows differ, or a probe is in the gallery.
    """
    values = torch.as_tensor(embeddings).detach().float().to(device)
    if values.ndim != 2 or len(values) != len(sequences):
        raise ValueError(
            f"expected embeddings (N, D) beside {len(sequences)} windows, got {tuple(values.shape)}"
        )
    selections = (protocol.gallery, *protocol.probes.values())
    wanted = {"subject", *protocol.video, *(column for chosen in selections for column in chosen)}
    wanted |= {"view"} if protocol.views != "pooled" else set()
    if missing := sorted(wanted - {*sequences.columns}):
        raise InputError(
            f"{protocol.id} needs the column(s) {', '.join(missing)}, but the table of windows has "
            f"only {', '.join(map(str, sequences.columns))}."
        )
    if faulty := (~values.isfinite().all(dim=1)).nonzero()[:, 0].tolist():
        raise InputError(
            f"embedding {faulty[0]} is not finite, so nothing can be compared with it; look for a "
            "diverged training or an empty sequence."
        )
    in_gallery = _chosen(sequences, protocol.gallery)
    windows = _numbered(unit_length(values), sequences, in_gallery, protocol)
    metrics: dict[str, Figures] = {}
    given: dict[str, Outcomes] = {}
    lines: list[pd.DataFrame] = []
    notes: list[str] = []
    for name, selection in protocol.probes.items():
        in_set = _chosen(sequences, selection)
        if (both := in_gallery & in_set).any():
            raise ValueError(
                f"{protocol.id}: {both.sum()} windows of {name} are in the gallery too"
            )
        outcomes = list(_outcomes(windows, in_gallery, in_set, protocol))
        if not outcomes:
            notes.append(f"{name} has nothing to be compared with and is left out.")
            continue
        if strangers := int((windows.code.cpu().numpy()[in_set] < 0).sum()):
            notes.append(
                f"{name}: {strangers} of {int(in_set.sum())} windows are of subjects that the "
                "gallery does not have, and count as wrong."
            )
        given[name] = _put_together(outcomes, sequences)
        metrics[name] = given[name].figures(bootstrap, seed) | {
            # the probes of a view come once for each gallery
            "n": sum({o.probe_view: len(o.row) for o in outcomes}.values()),
            "videos": sum({o.probe_view: len(o.video_row) for o in outcomes}.values()),
        }
        lines += [_lines(name, outcome) for outcome in outcomes]
    if not metrics:
        raise InputError(
            f"{protocol.id} finds nothing to compare among {len(sequences)} windows, "
            f"{int(in_gallery.sum())} of them in the gallery; choose another protocol or other "
            "sequences."
        )
    table = pd.concat(lines, ignore_index=True)
    return NeighbourEvaluation(protocol, table, metrics, notes, given, sequences[in_gallery])


def nearest(points: Tensor, probes: Tensor, gallery: Tensor, k: int) -> Tensor:
    """Places in the gallery of the k nearest items of each probe, the nearest first.

    Distances are compared in float64; of equal ones the first in the gallery is the nearer one.

    Args:
        points: float32 (N, D), of unit length at most.
        probes: rows, int64 (P,).
        gallery: rows, int64 (G,).
        k: at most G.

    Returns:
        int64 (P, k).
    """
    items = points[gallery].double()
    half = items.square().sum(dim=1) / 2
    count = min(k + SPARE, len(gallery))
    found = []
    for rows in pieces(probes, max(1, BLOCK // len(gallery))):
        # half the squared distance, less what is the same for all items
        score = half - points[rows].double() @ items.T
        # ordered by place, which a stable sort keeps where distances are equal
        places = score.topk(count, largest=False).indices.sort(dim=1).values
        distances, order = _measure(points, rows, gallery[places])
        places = places.gather(1, order)[:, :k]
        if count < len(gallery):
            doubtful = distances[:, -1] <= distances[:, k - 1] + SLACK
            for row in doubtful.nonzero()[:, 0].tolist():
                places[row] = _measure(points, rows[row : row + 1], gallery[None])[1][0, :k]
        found.append(places)
    return torch.cat(found)


def vote(
    neighbours: Tensor, own: Tensor, video: Tensor, classes: int, reference: bool = False
) -> Votes:
    """Count what neighbours say.

    Args:
        neighbours: code of the subject of each neighbour, int64 (P, k).
        own: code of each probe's subject, (P,); -1 if the gallery does not have it.
        video: number of each probe's video, (P,), from 0 to V - 1.
        classes: subjects in the gallery.
        reference: how votes are ranked, see ``form`` of :class:`NeighbourProtocol`.
    """
    probes, videos, device = len(own), int(video.max()) + 1, own.device
    said, rank = torch.empty_like(own), torch.empty_like(own)
    votes = torch.zeros(videos, classes, dtype=torch.int64, device=device)
    place = torch.arange(probes, device=device)
    for rows in pieces(place, max(1, BLOCK // classes)):
        count = torch.zeros(len(rows), classes, dtype=torch.int64, device=device)
        count.scatter_add_(1, neighbours[rows], torch.ones_like(neighbours[rows]))
        said[rows] = count.argmax(dim=1)
        rank[rows] = _rank(count, own[rows], reference)
        votes.index_add_(0, video[rows], count)
    owner = torch.empty(videos, dtype=own.dtype, device=device)
    owner[video] = own
    pair = video * classes + said
    windows = torch.bincount(pair, minlength=videos * classes)
    first = torch.full_like(windows, probes).scatter_reduce_(0, pair, place, "amin")
    # the most windows, and of as many the one that comes first
    video_said = (windows * (probes + 1) - first).view(videos, classes).argmax(dim=1)
    return Votes(said, rank, video_said, _rank(votes, owner, reference))


def _rank(votes: Tensor, own: Tensor, reference: bool) -> Tensor:
    """Place of each row's own subject by its votes, from 1; 0 if it has no place.

    Args:
        votes: of each subject, (R, C).
        own: code of the subject, (R,); one of -1 has no place.
        reference: of as many votes those come first whose code is larger, and a subject without any
            has a place too; otherwise smaller, and has none.
    """
    mine = votes.gather(1, own.clamp(min=0)[:, None])
    code = torch.arange(votes.shape[1], device=own.device)
    ahead = code > own[:, None] if reference else code < own[:, None]
    rank = 1 + ((votes > mine) | ((votes == mine) & ahead)).sum(dim=1)
    lost = own < 0 if reference else (own < 0) | (mine[:, 0] == 0)
    return rank.masked_fill(lost, 0)


def _within(rank: Tensor, places: int) -> Tensor:
    return (rank > 0) & (rank <= places)


def _measure(points: Tensor, rows: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of rows (P,) to their items (P, K), rising, and which item has each."""
    left = rows[:, None].expand_as(items)
    distances = pair_distances(points, left, items, "euclidean").sort(dim=1, stable=True)
    return distances.values, distances.indices


class _Windows(NamedTuple):
    """Windows as numbers, each (N,).

    Args:
        points: unit vectors, float32 (N, D).
        code: place of the subject among those of the gallery, in the order of names; -1 if it is
            none of them.
        video: number of the video.
        view: -1 where views do not count.
        classes: subjects in the gallery.
    """

    points: Tensor
    code: Tensor
    video: Tensor
    view: Tensor
    classes: int


class _Outcome(NamedTuple):
    """What came of comparing the probes of one view with the gallery of one view.

    Args:
        gallery_view: -1 if they are pooled.
        probe_view: likewise.
        row: of each window, (P,).
        right: whether it is right by rank-1 and by rank-5, (P, 2).
        video_row: of each video's first window, (V,).
        video_right: whether it is right by rank-1, by rank-5 and by mean embeddings, (V, 3).
    """

    gallery_view: int
    probe_view: int
    row: Integers
    right: Floats
    video_row: Integers
    video_right: Floats


def _numbered(
    points: Tensor,
    sequences: pd.DataFrame,
    gallery: NDArray[np.bool_],
    protocol: NeighbourProtocol,
) -> _Windows:
    people, subject = np.unique(sequences["subject"].to_numpy(str), return_inverse=True)
    known = np.unique(subject[gallery])
    code = np.full(len(people), -1)
    code[known] = np.arange(len(known))
    video = sequences.groupby(list(protocol.video), sort=False, dropna=False).ngroup()
    view = np.full(len(subject), -1)
    if protocol.views != "pooled":
        view = sequences["view"].to_numpy(np.int64)

    def numbers(column: NDArray[Any]) -> Tensor:
        return torch.tensor(column, dtype=torch.int64, device=points.device)

    return _Windows(
        points,
        numbers(code[subject]),
        numbers(video.to_numpy()),
        numbers(view),
        len(known),
    )


def _chosen(sequences: pd.DataFrame, selection: Selection) -> NDArray[np.bool_]:
    chosen = np.ones(len(sequences), bool)
    for column, allowed in selection.items():
        chosen &= sequences[column].isin(list(allowed)).to_numpy(bool)
    return chosen


def _outcomes(
    windows: _Windows,
    in_gallery: NDArray[np.bool_],
    in_set: NDArray[np.bool_],
    protocol: NeighbourProtocol,
) -> Iterator[_Outcome]:
    """Compare the probes of each view with the gallery of each view that the protocol wants."""
    gallery, probes = (
        torch.from_numpy(np.flatnonzero(side)).to(windows.view.device)
        for side in (in_gallery, in_set)
    )
    for probe_view in torch.unique(windows.view[probes]).tolist():
        left = probes[windows.view[probes] == probe_view]
        for gallery_view in torch.unique(windows.view[gallery]).tolist():
            if (gallery_view == probe_view) != (protocol.views == "others"):
                right = gallery[windows.view[gallery] == gallery_view]
                found = _compared(windows, left, right, protocol)
                yield _Outcome(gallery_view, probe_view, *(part.cpu().numpy() for part in found))


def _compared(
    windows: _Windows, probes: Tensor, gallery: Tensor, protocol: NeighbourProtocol
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The tensors of an :class:`_Outcome`, of rows (P,) against rows (G,)."""
    reference = protocol.form == "reference"

    def votes(points: Tensor, code: Tensor, left: Tensor, right: Tensor, video: Tensor) -> Votes:
        places = nearest(points, left, right, min(protocol.neighbours, len(right)))
        return vote(code[right[places]], code[left], video, windows.classes, reference)

    number, video = torch.unique(windows.video[probes], return_inverse=True)
    said = votes(windows.points, windows.code, probes, gallery, video)
    _, other = torch.unique(windows.video[gallery], return_inverse=True)
    means = torch.cat(
        (_means(windows.points[probes], video), _means(windows.points[gallery], other))
    )
    # the first row of each video, of the probes and then of the gallery
    row = torch.full((len(means),), len(windows.points), device=probes.device)
    places = torch.cat((video, len(number) + other))
    row.scatter_reduce_(0, places, torch.cat((probes, gallery)), "amin")
    code, own = windows.code[row], torch.arange(len(row), device=probes.device)
    left = own[: len(number)]
    merged = votes(means, code, left, own[len(number) :], left)
    right = said.said == windows.code[probes], _within(said.rank, 5)
    code = code[left]
    video_right = said.video_said == code, _within(said.video_rank, 5), merged.said == code
    return (
        probes,
        torch.stack(right, 1),
        row[left],
        torch.stack(video_right, 1),
    )


def _means(points: Tensor, video: Tensor) -> Tensor:
    """Mean of each video's points, not scaled again: (N, D) and (N,) to (V, D)."""
    total = points.new_zeros(int(video.max()) + 1, points.shape[1], dtype=torch.float64)
    count = torch.bincount(video)[:, None]
    return (total.index_add_(0, video, points.double()) / count).float()


def _put_together(outcomes: Sequence[_Outcome], sequences: pd.DataFrame) -> Outcomes:
    """What the windows of one probe set gave, and behind them its videos."""
    windows, videos = (
        [getattr(outcome, name) for outcome in outcomes] for name in ("right", "video_right")
    )
    count = sum(map(len, windows))
    cells = np.arange(len(outcomes))
    whole = np.full((count + sum(map(len, videos)), len(METRICS)), np.nan)
    whole[:count, :2] = np.concatenate(windows)
    whole[count:, 2:] = np.concatenate(videos)
    return Outcomes(
        rows=sequences,
        row=np.concatenate([o.row for o in outcomes] + [o.video_row for o in outcomes]),
        cell=np.tile(cells, 2).repeat([*map(len, windows), *map(len, videos)]),
        group=np.array([outcome.probe_view for outcome in outcomes]),
        gallery_view=np.array([outcome.gallery_view for outcome in outcomes]),
        values=dict(zip(METRICS, whole.T, strict=True)),
    )


def _lines(name: str, outcome: _Outcome) -> pd.DataFrame:
    """Lines of the long table, one a metric."""
    values = [*outcome.right.mean(axis=0), *outcome.video_right.mean(axis=0)]
    table = pd.DataFrame(
        {
            "probe_set": name,
            "gallery_view": outcome.gallery_view,
            "probe_view": outcome.probe_view,
            "metric": METRICS,
            "value": values,
            "n": [len(outcome.right)] * 2 + [len(outcome.video_right)] * 3,
        }
    )
    views = ["gallery_view", "probe_view"]
    table[views] = table[views].astype("Int64").mask(table[views] < 0)
    return table
