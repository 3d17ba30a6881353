"""Recognition among known subjects against the authors' figures, scikit-learn and plain loops."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gaitbench.errors import InputError
from gaitbench.protocols import write_metrics
from gaitbench.protocols.closed_set import (
    ClosedSetProtocol,
    cmc,
    cmc_auc,
    evaluate_closed_set,
    label_ranks,
    reference_sequences,
    roc_auc_micro,
)
from tests.goldens import SGELA, golden

EVALUATE = golden("evaluate_scores", SGELA)
"""Scores of the recognition networks of ``evaluate.npz``, worked out once, and its figures."""
METRICS = golden("metrics", SGELA)
REPAIRED = ClosedSetProtocol("x.closed_set", "Known subjects.", {"ALL": {}})
REFERENCE = ClosedSetProtocol("x.reference", "As published.", {"ALL": {}}, form="reference")


@pytest.mark.parametrize("case", ["a", "b", "ties", "missing_class"])
def test_figures_are_the_authors(case: str) -> None:
    scores, labels = METRICS[f"{case}/scores"], METRICS[f"{case}/labels"]
    ranks = label_ranks(scores, labels)
    assert roc_auc_micro(scores, labels) == pytest.approx(METRICS[f"{case}/nauc"], abs=1e-12)
    assert (ranks == 1).mean() == METRICS[f"{case}/rank1"]
    if case != "ties":  # the authors break them by chance
        assert np.allclose(cmc(ranks, scores.shape[1]), METRICS[f"{case}/rank_k"])


@pytest.mark.parametrize(
    ("case", "part", "split"),
    [
        ("BIWI_ap", "val", 0),
        ("IAS_ap", "val", 0),
        ("IAS_ap", "val_2", 1),
        ("BIWI_sc", "val", 0),
        ("IAS_sc", "val", 0),
        ("IAS_sc", "val_2", 1),
    ],
)
def test_slices_are_the_authors(case: str, part: str, split: int) -> None:
    scores = EVALUATE[f"{case}/{part}/scores"].astype(np.float64)
    labels = EVALUATE[f"{case}/{part}/labels"].astype(np.int64)
    whole, of_whole = reference_sequences(scores, labels, 6 if case.endswith("ap") else 1)
    assert roc_auc_micro(whole, of_whole) == pytest.approx(EVALUATE[f"{case}/nauc"][split])
    rank1 = (label_ranks(whole, of_whole) == 1).mean()
    # for sequences of split B the authors print A's
    printed = EVALUATE[f"{case}/rank1"][0 if case == "IAS_sc" else split]
    assert (rank1 == pytest.approx(printed, abs=1e-6)) == ((case, split) != ("IAS_sc", 1))


@given(st.integers(0, 10_000))
def test_figures_are_those_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, subjects = random.integers(1, 12), random.integers(2, 7)
    scores = random.integers(0, 4, (rows, subjects)).astype(float)  # many ties
    labels = random.integers(0, subjects, rows)
    ranks = label_ranks(scores, labels)
    for row, label, rank in zip(scores, labels, ranks, strict=True):
        order = sorted(range(subjects), key=lambda i: (-row[i], i))
        assert order.index(label) + 1 == rank
    curve = [np.mean([rank <= k for rank in ranks]) for k in range(1, subjects + 1)]
    assert np.allclose(cmc(ranks, subjects), curve)
    assert cmc_auc(ranks, subjects) == pytest.approx(np.mean(curve))
    hot = np.eye(subjects)[labels]
    wanted = roc_auc_score(hot.ravel(), scores.ravel())
    assert roc_auc_micro(scores, labels) == pytest.approx(wanted)


def people(count: int, subjects: int, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Frame scores (N, 6, C) that are often right, and a table of who it is."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, subjects, count)
    scores = random.normal(size=(count, 6, subjects)) + 1.5 * np.eye(subjects)[labels][:, None]
    table = pd.DataFrame({"subject": [f"p{label}" for label in labels]})
    return scores, table.assign(condition=np.where(np.arange(count) % 3 == 0, "still", "walking"))


def test_sets_levels_and_intervals() -> None:
    scores, table = people(90, 8)
    known = [f"p{i}" for i in range(8)]
    both = ClosedSetProtocol(
        "x.both",
        "Two sets.",
        {
            "still": {"condition": ["still"]},
            "walking": {"condition": ["walking"]},
            "no": {"condition": []},
        },
    )
    found = evaluate_closed_set(scores, known, table, both, bootstrap=200)
    chosen = (table["condition"] == "still").to_numpy()
    labels = table["subject"].str[1:].to_numpy(int)
    figures = found.metrics["still"]
    means = scores[chosen].mean(1)
    assert figures["n"] == 30 and figures["subjects"] == 8
    assert figures["rank1"] == np.mean(means.argmax(1) == labels[chosen])
    frames = scores[chosen].argmax(2) == labels[chosen][:, None]
    assert figures["frame_rank1"] == frames.mean() < figures["rank1"]
    low, high = figures["rank1_ci95"]
    assert low < figures["rank1"] < high
    assert found.notes == ["no has no sequence and is left out."]
    assert set(found.headlines) == {
        f"{s}/{m}" for s in both.sets if s != "no" for m in ("rank1", "cmc_auc")
    }
    curve = found.table[
        (found.table["set"] == "still") & found.table["metric"].str.match(r"rank\d")
    ]
    assert len(curve) == 8
    assert curve["value"].mean() == pytest.approx(figures["cmc_auc"])
    shuffled = np.random.default_rng(1).permutation(8)
    again = evaluate_closed_set(
        scores[..., shuffled], [known[i] for i in shuffled], table, both, bootstrap=0
    )
    assert again.metrics["still"]["cmc_auc"] == pytest.approx(figures["cmc_auc"])
    assert "rank1_ci95" not in again.metrics["still"]
    one = evaluate_closed_set(scores.mean(1), known, table, both, bootstrap=200)
    assert one.metrics["still"] == {k: v for k, v in figures.items() if not k.startswith("frame_")}


def test_reference_form_drops_what_fills_no_batch() -> None:
    scores, table = people(50, 5)
    known = [f"p{i}" for i in range(5)]
    found = evaluate_closed_set(scores, known, table, REFERENCE)
    # 300 frames, 256 in whole batches, 42 whole sequences
    assert found.metrics["ALL"]["n"] == 42 and found.notes == [
        "ALL: 8 sequences fill no batch and are left out."
    ]
    repaired = evaluate_closed_set(scores[:42], known, table[:42], REPAIRED, bootstrap=0)
    for name in ("rank1", "rank5", "cmc_auc", "roc_auc_micro"):
        assert found.metrics["ALL"][name] == pytest.approx(repaired.metrics["ALL"][name])
    few = evaluate_closed_set(scores[:20], known, table[:20], REFERENCE)
    assert few.metrics["ALL"]["n"] == 20 and not few.notes
    of_sequences = evaluate_closed_set(scores.mean(1), known, table, REFERENCE)
    assert of_sequences.metrics["ALL"]["n"] == 50


def test_tables_are_written(tmp_path: Path) -> None:
    scores, table = people(30, 4)
    found = evaluate_closed_set(scores, ["p0", "p1", "p2", "p3"], table, REPAIRED, bootstrap=50)
    found.write(tmp_path)
    write_metrics([found], tmp_path)  # type: ignore[list-item]
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["x.closed_set"]["ALL"]["rank1"] == found.metrics["ALL"]["rank1"]
    markdown = (tmp_path / "tables" / "x.closed_set.md").read_text()
    assert "| closed set (%) | ALL |" in markdown
    assert "| area under the micro-averaged ROC of frames |" in markdown
    assert "| known subjects | 4 |" in markdown
    assert r"\toprule" in (tmp_path / "tables" / "x.closed_set.tex").read_text()
    assert len(pd.read_csv(tmp_path / "tables" / "x.closed_set.csv")) == len(found.table)


def test_faults_are_told_in_a_sentence() -> None:
    scores, table = people(6, 3)
    known = ["p0", "p1", "p2"]

    def judged(*changes: Any) -> None:
        evaluate_closed_set(*changes, bootstrap=0)

    with pytest.raises(InputError, match=r"1 subjects of ALL are none of the 3 .*\(p9\)"):
        judged(scores, known, table.assign(subject=["p9", *table["subject"][1:]]), REPAIRED)
    scores[2, 1, 0] = np.nan
    with pytest.raises(InputError, match="1 sequences of ALL have scores that are no numbers"):
        judged(scores, known, table, REPAIRED)
    nobody = ClosedSetProtocol("x.y", "", {"S": {"condition": ["lying"]}})
    with pytest.raises(InputError, match="finds none of its sequences among the 6"):
        judged(scores, known, table, nobody)
    with pytest.raises(InputError, match=r"needs the column\(s\) condition"):
        judged(scores, known, table[["subject"]], nobody)
    with pytest.raises(ValueError, match="expected scores of 2 subjects"):
        judged(scores, known[:2], table, REPAIRED)
    with pytest.raises(ValueError, match="expected 5 rows"):
        judged(scores, known, table[:5], REPAIRED)
    with pytest.raises(ValueError, match="2 known subjects or more"):
        judged(scores[..., :1], known[:1], table, REPAIRED)


def test_each_condition_is_a_set_where_none_is_named() -> None:
    scores, table = people(12, 3)
    table = table.assign(condition=["still", "walking"] * 6)
    found = evaluate_closed_set(
        scores, ["p0", "p1", "p2"], table, ClosedSetProtocol("x.all", "All.")
    )
    sets = {name: {"condition": [name]} for name in ("still", "walking")}
    named = ClosedSetProtocol("x.all", "All.", sets)
    assert found.metrics == evaluate_closed_set(scores, ["p0", "p1", "p2"], table, named).metrics
    assert list(found.metrics) == ["still", "walking"]
    with pytest.raises(InputError, match=r"x\.all needs the column\(s\) condition"):
        evaluate_closed_set(
            scores,
            ["p0", "p1", "p2"],
            table.drop(columns="condition"),
            ClosedSetProtocol("x.all", ""),
        )
