"""Votes of neighbours against the authors' figures, scikit-learn and plain loops."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from gaitbench.errors import InputError
from gaitbench.protocols import NeighbourProtocol, evaluate_neighbours, write_metrics
from gaitbench.protocols.knn import nearest, vote
from tests.goldens import gaitcopy_golden

DATA, FIGURES = gaitcopy_golden("knn")
SETS = ("probeA", "probeB", "probeC")
GALLERY = {"condition": ["nm"], "number": [1, 2]}
PROBES = {"NM": {"condition": ["nm"], "number": [3]}, "BG": {"condition": ["bg"]}}


def authors_table() -> tuple[np.ndarray, pd.DataFrame]:
    sides = ("gallery", *SETS)
    tables = [
        pd.DataFrame(
            {
                "side": side,
                "subject": [f"{subject:03d}" for subject in DATA[f"{side}_y"]],
                "video": DATA[f"{side}_vid"],
            }
        )
        for side in sides
    ]
    return np.concatenate([DATA[f"{side}_x"] for side in sides]), pd.concat(tables)


@pytest.mark.parametrize("k", [1, 3, 5, 7])
def test_figures_are_the_authors(k: int) -> None:
    protocol = NeighbourProtocol(
        "x.knn",
        "Votes.",
        {"side": ["gallery"]},
        {side: {"side": [side]} for side in SETS},
        k,
        video=("side", "video"),
        form="reference",
    )
    found = evaluate_neighbours(*authors_table(), protocol, bootstrap=0).metrics
    names = {
        "rank1": "accsub",
        "rank5": "accsub5",
        "video_rank1": "accvid",
        "video_rank5": "accvid5",
        "merged_rank1": "acc_merged_mean",
    }
    for side in SETS:
        wanted = FIGURES[f"{side}_k{k}"]
        for own, theirs in names.items():
            assert found[side][own] == pytest.approx(wanted[theirs], abs=1e-12), (side, own)


@pytest.mark.parametrize("k", [1, 3, 5, 7])
@pytest.mark.parametrize("side", SETS)
def test_single_votes_are_the_authors(side: str, k: int) -> None:
    points = [torch.from_numpy(DATA[f"{name}_x"]) for name in ("gallery", side)]
    sizes = [len(part) for part in points]
    rows = torch.arange(sum(sizes))
    unit = torch.nn.functional.normalize(torch.cat(points))
    places = nearest(unit, rows[sizes[0] :], rows[: sizes[0]], k)
    people, code = np.unique(DATA["gallery_y"], return_inverse=True)
    video = np.unique(DATA[f"{side}_vid"], return_inverse=True)[1]
    own = np.searchsorted(people, DATA[f"{side}_y"])
    found = vote(torch.from_numpy(code)[places], *map(torch.from_numpy, (own, video)), len(people))
    assert np.array_equal(people[found.said], DATA[f"{side}_k{k}/pred"])
    assert np.array_equal(people[found.video_said], DATA[f"{side}_k{k}/video_pred"])


def place(votes: np.ndarray, own: int, backwards: bool) -> int:
    if own < 0 or (not backwards and not votes[own]):
        return 0
    order = sorted(range(len(votes)), key=lambda c: (-votes[c], -c if backwards else c))
    return order.index(own) + 1


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_votes_are_those_of_plain_loops(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    classes, probes, videos = 6, int(random.integers(1, 30)), int(random.integers(1, 8))
    neighbours = random.integers(0, classes, (probes, k))
    video = np.append(np.arange(videos), random.integers(0, videos, probes))
    random.shuffle(video)
    neighbours = np.concatenate([neighbours, random.integers(0, classes, (videos, k))])
    subject = random.integers(-1, classes, videos)
    for reference in (False, True):
        tensors = [torch.from_numpy(array) for array in (neighbours, subject[video], video)]
        found = vote(*tensors, classes, reference)
        counts = np.stack([np.bincount(row, minlength=classes) for row in neighbours])
        said = counts.argmax(axis=1)
        assert found.said.tolist() == said.tolist()
        ranks = [place(c, subject[v], reference) for c, v in zip(counts, video, strict=True)]
        assert found.rank.tolist() == ranks
        for v in range(videos):
            # of equal counts the first that was met stays first
            assert found.video_said[v] == Counter(said[video == v].tolist()).most_common(1)[0][0]
            assert found.video_rank[v] == place(counts[video == v].sum(0), subject[v], reference)


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_neighbours_are_scikit_learns(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitbench.protocols.knn.BLOCK", block)
    points = torch.nn.functional.normalize(torch.randn(90, 12, generator=torch.Generator()))
    model = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(points[:60].numpy())
    wanted = model.kneighbors(points[60:].numpy(), return_distance=False)
    rows = torch.arange(90)
    assert np.array_equal(nearest(points, rows[60:], rows[:60], 5), wanted)


def test_of_equally_near_neighbours_the_first_is_nearer() -> None:
    points = torch.zeros(64, 3)
    points[:, 0] = 1
    points[40, 1] = 0.5
    rows = torch.arange(64)
    assert nearest(points, rows[:2], rows[2:], 3).tolist() == [[0, 1, 2], [0, 1, 2]]
    few = nearest(points, rows[40:41], rows[39:44], 5)
    assert few.tolist() == [[1, 0, 2, 3, 4]]


def walks(views: tuple[int, ...] = (0, 90), people: int = 6) -> tuple[np.ndarray, pd.DataFrame]:
    """Three windows of each walk near its subject's place, which differs by view."""
    random = np.random.default_rng(0)
    kinds = [("nm", 1), ("nm", 2), ("nm", 3), ("bg", 1)]
    table = pd.DataFrame(
        [
            (f"{subject:03d}", condition, number, view)
            for subject in range(people)
            for condition, number in kinds
            for view in views
            for _ in range(3)
        ],
        columns=["subject", "condition", "number", "view"],
    )
    places = random.normal(size=(people, len(views), 8))
    at = places[table["subject"].astype(int), table["view"].map(views.index)]
    return at + 0.1 * random.normal(size=at.shape), table


def test_views_are_compared_as_the_protocol_says() -> None:
    embeddings, table = walks()
    found = {
        views: evaluate_neighbours(
            embeddings, table, NeighbourProtocol("x.knn", "Votes.", GALLERY, PROBES, 3, views)
        )
        for views in ("pooled", "same", "others")
    }
    for views in ("pooled", "same"):
        figures = found[views].metrics["NM"]
        assert figures["video_rank1"] == 1 and figures["merged_rank1"] == 1
        assert figures["n"] == 36 and figures["videos"] == 12
        assert figures["video_rank1_ci95"] == [1, 1]
    # places of one view tell nothing of those of the other
    assert found["others"].metrics["NM"]["rank1"] < 0.5
    assert found["others"].metrics["NM"]["n"] == 36
    cells = found["others"].table
    assert set(zip(cells["gallery_view"], cells["probe_view"], strict=True)) == {(0, 90), (90, 0)}
    each = cells[(cells["metric"] == "rank1") & (cells["probe_set"] == "NM")]["value"]
    assert found["others"].metrics["NM"]["rank1"] == pytest.approx(each.mean())
    assert found["pooled"].table["gallery_view"].isna().all()
    assert found["same"].headlines["BG/video_rank1"] == 1


def test_the_order_of_rows_changes_nothing() -> None:
    embeddings, table = walks()
    protocol = NeighbourProtocol("x.knn", "Votes.", GALLERY, PROBES, views="others")
    order = np.random.default_rng(1).permutation(len(table))
    one = evaluate_neighbours(embeddings, table, protocol, bootstrap=0)
    two = evaluate_neighbours(embeddings[order], table.iloc[order], protocol, bootstrap=0)
    for name in ("rank1", "rank5", "merged_rank1"):
        assert one.metrics["NM"][name] == two.metrics["NM"][name]


def test_results_are_printed_and_written(tmp_path: Path) -> None:
    embeddings, table = walks((0, 90, 180))
    there = ((table["condition"] == "nm") | (table["view"] < 180)).to_numpy()
    protocol = NeighbourProtocol("x.knn", "Votes of windows.", GALLERY, PROBES, 3, "same")
    evaluation = evaluate_neighbours(embeddings[there], table[there], protocol, bootstrap=20)
    text = evaluation.to_markdown()
    assert "| BG | 100.0 | 100.0 |  | 100.0 |" in text
    assert "| rank-1 of videos (%) | 0 | 90 | 180 | mean |" in text
    assert "| NM | 100.0 | 100.0 | 100.0 | 100.0 |" in text
    assert "| rank-1 of windows | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] |" in text
    evaluation.write(tmp_path)
    assert (tmp_path / "tables" / "x.knn.tex").read_text().count("toprule") == 2
    assert len(pd.read_csv(tmp_path / "tables" / "x.knn.csv")) == 5 * 5
    write_metrics([evaluation], tmp_path)


def test_what_is_missing_is_told() -> None:
    embeddings, table = walks()
    protocol = NeighbourProtocol(
        "x.knn", "Votes.", {**GALLERY, "subject": ["000", "001"]}, {**PROBES, "CL": {"view": [7]}}
    )
    evaluation = evaluate_neighbours(embeddings, table, protocol, bootstrap=0)
    for name in ("rank1", "rank5", "video_rank1", "video_rank5"):
        assert evaluation.metrics["NM"][name] == pytest.approx(1 / 3)
    assert evaluation.notes == [
        "NM: 24 of 36 windows are of subjects that the gallery does not have, and count as wrong.",
        "BG: 24 of 36 windows are of subjects that the gallery does not have, and count as wrong.",
        "CL has nothing to be compared with and is left out.",
    ]
    for wrong, words in (
        (NeighbourProtocol("x.knn", "", {"day": [1]}, PROBES), r"needs the column\(s\) day"),
        (NeighbourProtocol("x.knn", "", {"view": [7]}, PROBES), "finds nothing to compare"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate_neighbours(embeddings, table, wrong)
    embeddings[5, 2] = np.nan
    with pytest.raises(InputError, match="embedding 5 is not finite"):
        evaluate_neighbours(embeddings, table, protocol)
    with pytest.raises(ValueError, match="beside 143 windows"):
        evaluate_neighbours(embeddings, table[1:], protocol)
    with pytest.raises(ValueError, match="36 windows of NM are in the gallery too"):
        everyone = NeighbourProtocol("x.knn", "", {"condition": ["nm"]}, PROBES)
        evaluate_neighbours(walks()[0], table, everyone)
    with pytest.raises(ValueError, match="1 neighbour or more"):
        NeighbourProtocol("x.knn", "", GALLERY, PROBES, 0)
