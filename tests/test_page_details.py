from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from gaitbench.page.charts import cmc_chart, det_chart
from gaitbench.page.details import (
    accuracy_of_people,
    embedding_map,
    hardest_probes,
    view_cells,
)
from gaitbench.page.walks import rows_in_store
from gaitbench.protocols import Evaluation, Protocol, evaluate
from gaitbench.protocols.curves import error_curve, rank_curve, rejected_at

PROTOCOL = Protocol(
    id="test.each",
    description="One view at a time.",
    gallery={"number": [1, 2]},
    probes={"ALL": {"number": [3]}},
    gallery_views="each",
    exclude_same_view=True,
    unmatched="skip",
)
POOLED = replace(PROTOCOL, id="test.pooled", gallery_views="pooled", exclude_same_view=False)
VIEWS = (0, 45, 90)


def walks() -> pd.DataFrame:
    rows = [(f"p{s}", "nm", n, view) for s in range(7) for n in (1, 2, 3) for view in VIEWS]
    return pd.DataFrame(rows, columns=["subject", "condition", "number", "view"])


def embeddings() -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.normal(size=(7, 1, 4)) + rng.normal(size=(7, 9, 4))).reshape(63, 4).astype("f4")


def judged(protocol: Protocol) -> Evaluation:
    return evaluate(embeddings(), walks(), protocol, bootstrap=0)


def trials_by_hand(protocol: Protocol) -> list[tuple[int, int, list[int]]]:
    """Probe, view of the gallery (-1 of all) and gallery rows from the nearest on."""
    return by_hand(protocol.gallery_views == "each")


@cache
def by_hand(each: bool) -> list[tuple[int, int, list[int]]]:
    table, values = walks(), embeddings().astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    found = []
    for probe in np.flatnonzero(table["number"] == 3).tolist():
        for view in VIEWS if each else (-1,):
            if view == table["view"][probe]:
                continue
            gallery = [
                row
                for row in range(len(table))
                if table["number"][row] < 3 and view in (-1, table["view"][row])
            ]
            gallery.sort(key=lambda row: float(np.linalg.norm(values[row] - values[probe])))
            found.append((probe, view, gallery))
    return found


@pytest.mark.parametrize("protocol", [PROTOCOL, POOLED])
def test_rank_curve_against_a_loop(protocol: Protocol) -> None:
    evaluation, subject = judged(protocol), walks()["subject"]
    ranks = [
        1 + [subject[row] for row in gallery].index(subject[probe])
        for probe, _, gallery in trials_by_hand(protocol)
    ]
    # all cells have as many trials, so the mean of means is the mean
    wanted = [np.mean([rank <= k for rank in ranks]) for k in range(1, 21)]
    curve = rank_curve(evaluation.trials["ALL"])
    np.testing.assert_allclose(curve, wanted, atol=1e-12)
    assert curve[0] == pytest.approx(evaluation.metrics["ALL"]["rank1"])
    assert 0 < curve[0] < curve[4] <= curve[19]


def test_error_curve_against_all_pairs() -> None:
    evaluation, table = judged(PROTOCOL), walks()
    values = embeddings().astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    pairs = [
        (float(np.linalg.norm(values[a] - values[b])), table["subject"][a] == table["subject"][b])
        for a, _, gallery in trials_by_hand(PROTOCOL)
        for b in gallery
    ]
    own = np.array([distance for distance, same in pairs if same])
    others = np.array([distance for distance, same in pairs if not same])
    accepted, refused = error_curve(*evaluation.pairs["ALL"])
    assert accepted[0] == 0 and refused[0] == 1 and refused[-1] == 0
    for rate in (0.01, 0.1, 0.3):
        threshold = np.sort(others)[int(rate * len(others)) - 1]
        below = np.sort(others)[int(rate * len(others))]
        (got,) = rejected_at(accepted, refused, [rate])
        # a bin is a six-thousandth of the distances, and one pair may share it
        assert (own > below).mean() - 1 / len(own) <= got <= (own > threshold).mean() + 1 / len(own)


@pytest.mark.parametrize("protocol", [PROTOCOL, POOLED])
def test_hardest_probes_against_a_loop(protocol: Protocol) -> None:
    evaluation, table = judged(protocol), walks()
    pd.testing.assert_frame_equal(evaluation.rows, table)
    right: dict[int, list[bool]] = {}
    for probe, _, gallery in trials_by_hand(protocol):
        right.setdefault(probe, []).append(table["subject"][gallery[0]] == table["subject"][probe])
    shares = {probe: np.mean(found) for probe, found in right.items()}
    hard = hardest_probes(evaluation, "ALL", 4, "euclidean")
    people = [table["subject"][each.probe] for each in hard]
    assert len({*people}) == len(people) == min(4, len({table["subject"][p] for p in shares}))
    worst = pd.Series(shares).groupby(table["subject"][[*shares]].to_numpy()).min()
    assert [shares[each.probe] for each in hard] == sorted(worst)[:4]
    for each in hard:
        assert each.found == sum(right[each.probe]) and each.galleries == len(right[each.probe])
        assert table["subject"][each.right] == table["subject"][each.probe]
        assert table["subject"][each.wrong] != table["subject"][each.probe]
        gaps = {}
        for probe, view, gallery in trials_by_hand(protocol):
            if probe == each.probe:
                same = [row for row in gallery if table["subject"][row] == table["subject"][probe]]
                rest = [row for row in gallery if row not in same]
                points = evaluation.points.double().numpy()
                lengths = [
                    float(np.linalg.norm(points[r] - points[probe])) for r in (same[0], rest[0])
                ]
                gaps[view] = (lengths[0] ** 2 - lengths[1] ** 2, same[0], rest[0], *lengths)
        _, same_row, other_row, own, other = max(gaps.values())
        assert (each.right, each.wrong) == (same_row, other_row)
        assert (each.right_distance, each.wrong_distance) == pytest.approx((own, other), rel=1e-6)


def test_people_and_views() -> None:
    evaluation, table = judged(PROTOCOL), walks()
    people = accuracy_of_people(evaluation.outcomes["ALL"])
    assert people["rank1"].is_monotonic_increasing and (people["probes"] == 3).all()
    assert people["rank1"].mean() == pytest.approx(evaluation.metrics["ALL"]["rank1_per_subject"])
    own: dict[str, list[bool]] = {}
    for probe, _, gallery in trials_by_hand(PROTOCOL):
        who = table["subject"][probe]
        own.setdefault(who, []).append(table["subject"][gallery[0]] == who)
    wanted = {who: np.mean(found) for who, found in own.items()}
    assert dict(people[["subject", "rank1"]].to_numpy()) == pytest.approx(wanted)
    cells = view_cells(evaluation.table, "ALL", True)
    assert cells is not None and cells.shape == (3, 3)
    assert np.isnan(np.diag(cells)).all()
    assert np.nanmean(cells) == pytest.approx(evaluation.metrics["ALL"]["rank1"])
    pooled = view_cells(judged(POOLED).table, "ALL", False)
    assert pooled is not None and pooled.index.tolist() == [-1]


def test_map_is_that_of_principal_components() -> None:
    points = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32) * [5, 3, 1, 1, 1, 1]
    found = embedding_map(points, 100)
    assert found.rows.tolist() == list(range(50)) and found.total == 50
    lengths, axes = np.linalg.eigh(np.cov(points.T.astype(np.float64)))
    places = (points - points.mean(0)) @ axes[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(found.places), np.abs(places), atol=1e-5)
    np.testing.assert_allclose(found.shares, lengths[[-1, -2]] / lengths.sum(), atol=1e-6)
    assert len(embedding_map(points, 20).rows) == 20
    flat = embedding_map(np.ones((3, 1), np.float32), 10)
    assert not flat.places.any() and flat.shares == (0, 0)


def test_charts_stay_on_their_paper() -> None:
    runs = [(0, "a", judged(PROTOCOL)), (3, "b", judged(PROTOCOL))]
    for chart in (cmc_chart(runs, "ALL"), det_chart(runs, "ALL")):
        assert chart is not None
        assert [(name, run) for name, run, _ in chart.lines] == [("a", 0), ("b", 3)]
        for _, _, points in chart.lines:
            places = np.array([point.split(",") for point in points.split()], dtype=float)
            assert len(places) > 3
            assert places.min(0)[0] >= 46 and places.max(0)[0] <= 386
            assert places.min(0)[1] >= 12 and places.max(0)[1] <= 252
        assert len(chart.table.rows) == 2
    reranked = evaluate(embeddings(), walks(), PROTOCOL, bootstrap=0, rerank=True)
    assert det_chart([(0, "a", reranked)], "ALL") is None


def test_rows_are_found_by_their_labels() -> None:
    table = walks()
    store = pd.concat([table.iloc[::-1], table.iloc[[4]]], ignore_index=True)
    found = rows_in_store(table.iloc[[0, 4, 62]], store)
    assert found == [62, None, 0]  # a name that two walks have tells none of them
    assert rows_in_store(table.iloc[[1]].assign(subject="x"), store) == [None]
