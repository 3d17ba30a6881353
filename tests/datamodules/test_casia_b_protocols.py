import numpy as np
import pandas as pd
import pytest

from gaitbench.datamodules.casia_b import PROTOCOLS
from gaitbench.protocols import Evaluation, evaluate
from tests.goldens import golden

SETS = ("NM", "BG", "CL")


def table(keys: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "subject": [f"{key:03d}" for key in keys[:, 0]],
            "condition": np.array(["nm", "bg", "cl"])[keys[:, 1]],
            "number": keys[:, 2],
            "view": keys[:, 3],
        }
    )


def counts(result: Evaluation, sets: tuple[str, ...], views: list[int]) -> tuple[np.ndarray, ...]:
    """Correct and total (set, gallery view, probe view)."""
    correct, total = np.zeros((2, len(sets), len(views), len(views)))
    for line in result.table[result.table["metric"] == "rank1"].itertuples():
        place = sets.index(line.probe_set), *map(views.index, (line.gallery_view, line.probe_view))
        correct[place], total[place] = line.value * line.n, line.n
    return correct.round(9), total


@pytest.mark.parametrize("case", ["full", "missing", "bg54_absent", "shuffled_order"])
def test_gaitgraph2(case) -> None:
    expected = golden("eval_casia")
    protocol = PROTOCOLS["casia_b.gaitgraph2"]
    sequences = table(expected[f"{case}_keys"])
    result = evaluate(expected[f"{case}_emb"], sequences, protocol, bootstrap=0)
    correct, total = counts(result, SETS, list(range(0, 181, 18)))
    assert (correct == expected[f"{case}_correct"]).all()
    assert (total == expected[f"{case}_total"]).all()
    _same_where_defined(result.view_table(), expected[f"{case}_table"])
    logged = expected[f"{case}_log_values"]
    got = [result.metrics[name]["rank1"] for name in ("overall", *SETS)]
    known = ~np.isnan(logged)
    np.testing.assert_allclose(np.array(got)[known], logged[known], atol=1e-6)
    assert known.all() == (not result.notes)


@pytest.mark.parametrize("case", ["full", "missing", "bg54_absent"])
def test_gaitgraph(case) -> None:
    embeddings, expected = golden("eval_casia"), golden("gaitgraph1_eval_casia")
    result = evaluate(
        embeddings[f"{case}_emb"],
        table(embeddings[f"{case}_keys"]),
        PROTOCOLS["casia_b.gaitgraph"],
        bootstrap=0,
    )
    correct, _ = counts(result, SETS, list(range(0, 181, 18)))
    other = ~np.eye(11, dtype=bool)  # the reference counts no identical view
    assert (correct[:, other] == expected[f"{case}_correct"][:, other]).all()
    _same_where_defined(result.view_table(), 100 * expected[f"{case}_table"])
    average = expected[f"{case}_avg_f64"]
    if not np.isnan(average):
        assert result.metrics["overall"]["rank1"] == pytest.approx(float(average), abs=1e-12)


def _same_where_defined(got: pd.DataFrame, golden: np.ndarray) -> None:
    """Our table has what the reference has; where one view is absent it gives no mean, we do."""
    known = ~np.isnan(golden)
    assert np.abs(got.to_numpy() - golden)[known].max() < 0.051
    assert not got["mean"].isna().any()


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, pd.DataFrame]:
    """Six subjects as recorded, seen by six cameras."""
    rows = [
        (subject, condition, number, view)
        for subject in range(6)
        for condition, most in ((0, 6), (1, 2), (2, 2))
        for number in range(1, most + 1)
        for view in range(0, 60, 10)
    ]
    rng = np.random.default_rng(0)
    keys = np.array(rows)
    centres = rng.normal(size=(6, 8))[keys[:, 0]]
    return centres + rng.normal(size=(len(keys), 8)), table(keys)


@pytest.mark.parametrize(
    ("name", "normal", "trials"),
    [
        ("cross_view", 2, 5),
        ("gaitgraph2", 2, 5),
        ("gaitgraph", 2, 5),
        ("pooled", 2, 1),
        ("first_walk", 5, 5),
    ],
)
def test_counts(people, name, normal, trials) -> None:
    result = evaluate(*people, PROTOCOLS[f"casia_b.{name}"], bootstrap=0)
    for probes, number in (("NM", normal), ("BG", 2), ("CL", 2)):
        figures = result.metrics[probes]
        assert figures["n"] == 6 * number * 6
        assert figures["trials"] == figures["n"] * trials
        assert figures["unmatched"] == 0
    assert result.notes == []
    assert list(result.view_table().columns) == ["0", "10", "20", "30", "40", "50", "mean"]
    assert result.view_table().index[0] == ("NM#2-6" if name == "first_walk" else "NM#5-6")


def test_pooled_is_no_harder(people) -> None:
    pooled, cross = (
        evaluate(*people, PROTOCOLS[f"casia_b.{name}"], distance="l1", bootstrap=0).metrics
        for name in ("pooled", "cross_view")
    )
    assert all(pooled[name]["rank1"] > cross[name]["rank1"] for name in SETS)


def test_ids() -> None:
    assert all(name == protocol.id for name, protocol in PROTOCOLS.items())
    assert set(PROTOCOLS) == {
        f"casia_b.{name}"
        for name in ("cross_view", "gaitgraph2", "gaitgraph", "pooled", "set", "first_walk")
    }
