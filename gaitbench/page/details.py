"""What a page shows of one run under one protocol, worked out from its embeddings."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gaitbench.protocols import Evaluation
from gaitbench.protocols.distances import Distance, pair_distances
from gaitbench.protocols.figures import Floats, Integers
from gaitbench.protocols.probes import Outcomes
from gaitbench.protocols.retrieval import METRICS


@dataclass(frozen=True)
class HardProbe:
    """A probe and two walks of the gallery that it fails against most.

    Attributes:
        probe: row of :attr:`Evaluation.rows`.
        wrong: the nearest walk of somebody else.
        right: the nearest walk of the same person in that gallery.
        wrong_distance: from the probe.
        right_distance: from the probe.
        galleries: that the probe was compared with.
        found: of those, in which the nearest walk is the person's.
    """

    probe: int
    wrong: int
    right: int
    wrong_distance: float
    right_distance: float
    galleries: int
    found: int


@dataclass(frozen=True)
class EmbeddingMap:
    """Embeddings in a plane.

    Attributes:
        rows: which are shown, (n,).
        places: (n, 2), on the axes of greatest variance.
        shares: of the variance, that the two axes hold.
        total: how many there are to show.
    """

    rows: Integers
    places: Floats
    shares: tuple[float, float]
    total: int


def view_cells(table: pd.DataFrame, probes: str, exclude_same_view: bool) -> pd.DataFrame | None:
    """Rank-1 by gallery view (rows) and probe view (columns); None where no probe has a view.

    Args:
        table: long, as :attr:`Evaluation.table`.
        probes: set of probes.
        exclude_same_view: whether cells of one view with itself count for nothing.
    """
    cells = table[(table["metric"] == "rank1") & (table["probe_set"] == probes)]
    cells = cells.dropna(subset=["probe_view"])
    if exclude_same_view:
        same = (cells["gallery_view"] == cells["probe_view"]).fillna(False)
        cells = cells[~same.astype(bool)]
    if cells.empty:
        return None
    views = cells["gallery_view"].astype("Float64").fillna(-1).astype(int)
    return cells.assign(gallery_view=views).pivot_table("value", "gallery_view", "probe_view")


def accuracy_of_people(trials: Outcomes) -> pd.DataFrame:
    """Columns subject, probes and rank1, a line a person, the worst first.

    The rank-1 is the mean over the person's trials; where windows vote, of videos.
    """
    figure = "video_rank1" if "video_rank1" in trials.values else "rank1"
    names = trials.names()
    frame = names.assign(rank1=trials.values[figure]).dropna(subset=["rank1"])
    probes = frame[list(names)].drop_duplicates().groupby("subject").size().rename("probes")
    people = pd.concat([probes, frame.groupby("subject")["rank1"].mean()], axis=1)
    return people.reset_index().sort_values(["rank1", "subject"], ignore_index=True)


def hardest_probes(
    evaluation: Evaluation, probes: str, most: int, distance: Distance
) -> list[HardProbe]:
    """The probes that are found in the fewest galleries, one a person, the hardest first.

    Of probes that are found equally often, that with the lower average precision is harder. Of its
    galleries that one is shown where the person is farthest behind somebody else.

    Args:
        evaluation: with its rows and points.
        probes: set of probes.
        most: how many.
        distance: by which items are near.
    """
    trials, protocol = evaluation.trials[probes], evaluation.protocol
    trials = trials[trials.matched]
    frame = pd.DataFrame(
        {
            "probe": trials.probe,
            "subject": trials.subject,
            "found": trials.values[:, 0],
            "map": trials.values[:, list(METRICS).index("map")],
        }
    )
    by_probe = frame.groupby("probe").agg(
        subject=("subject", "first"), found=("found", "mean"), map=("map", "mean")
    )
    missed = by_probe[by_probe["found"] < 1].sort_values(["found", "map"], kind="stable")
    chosen = missed[~missed["subject"].duplicated()].index[:most]
    rows = evaluation.rows
    in_gallery = np.ones(len(rows), bool)
    for column, allowed in protocol.gallery.items():
        in_gallery &= rows[column].isin(list(allowed)).to_numpy(bool)
    subjects = rows["subject"].to_numpy().astype(str)
    views = rows["view"].to_numpy() if "view" in rows else np.zeros(len(rows), np.int64)
    found = []
    for probe in chosen.tolist():
        own = trials.probe == probe
        items = in_gallery.copy()
        items[probe] = False
        if protocol.exclude_same_view:
            items &= views != views[probe]
        gallery = np.flatnonzero(items)
        squares = pair_distances(
            evaluation.points,
            torch.full((len(gallery),), probe),
            torch.from_numpy(gallery),
            distance,
        ).numpy()
        right, wrong, gap = -1, -1, -np.inf
        groups = views[gallery] if protocol.gallery_views == "each" else np.zeros(len(gallery))
        for view in np.unique(groups):
            here = groups == view
            same = here & (subjects[gallery] == subjects[probe])
            others = here & ~same
            if not same.any() or not others.any():
                continue
            nearest = [int(np.argmin(np.where(side, squares, np.inf))) for side in (same, others)]
            behind = float(squares[nearest[0]] - squares[nearest[1]])
            if behind > gap:
                (right, wrong), gap = nearest, behind
        if right < 0:
            continue
        found.append(
            HardProbe(
                probe,
                int(gallery[wrong]),
                int(gallery[right]),
                _length(squares[wrong], distance),
                _length(squares[right], distance),
                int(own.sum()),
                int(trials.values[own, 0].sum()),
            )
        )
    return found


def embedding_map(points: NDArray[np.float32], most: int) -> EmbeddingMap:
    """The two axes along which embeddings (N, D) vary most (principal components).

    Args:
        points: as they are compared.
        most: how many are shown; of more, as many at equal steps, which the axes are then found of.
    """
    total = len(points)
    rows = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(np.int64))
    centred = points[rows].astype(np.float64)
    centred -= centred.mean(0)
    left, lengths, right = np.linalg.svd(centred, full_matrices=False)
    # the sign of an axis means nothing, and must not depend on the machine
    strongest = np.abs(right[:2]).argmax(1)
    signs = np.sign(np.take_along_axis(right[:2], strongest[:, None], 1))[:, 0]
    places = np.zeros((len(rows), 2))
    places[:, : len(signs)] = left[:, :2] * lengths[:2] * signs
    variance = np.append(lengths**2, [0, 0])
    shares = variance[:2] / max(float(variance.sum()), 1e-12)
    return EmbeddingMap(rows, places, (float(shares[0]), float(shares[1])), total)


def _length(value: float, distance: Distance) -> float:
    """A distance as people know it, of what is compared."""
    if distance == "euclidean":
        return float(np.sqrt(value))
    return float(value / 2 if distance == "cosine" else value)
