import numpy as np
import pandas as pd
import pytest

from gaitbench.datamodules.oumvlp import PROTOCOLS
from gaitbench.oumvlp import VIEWS
from gaitbench.protocols import evaluate
from tests.goldens import golden

GOLDEN = golden("eval_oumvlp")
CASES = pytest.mark.parametrize("case", ["full", "missing", "probe195_absent"])


def case_of(case: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Embeddings and table of a golden case, whose keys are subject, status, number, view."""
    keys = GOLDEN[f"{case}_keys"]
    table = pd.DataFrame(
        {
            "subject": [f"{key:05d}" for key in keys[:, 0]],
            "condition": "nm",
            "number": keys[:, 2],
            "view": keys[:, 3],
        }
    )
    return GOLDEN[f"{case}_emb"], table


@CASES
def test_gaitgraph2(case: str) -> None:
    """Counts of every cell and means of every probe view are the reference's."""
    result = evaluate(*case_of(case), PROTOCOLS["oumvlp.gaitgraph2"], bootstrap=0)
    correct, total = np.zeros((2, len(VIEWS), len(VIEWS)))
    for line in result.table[result.table["metric"] == "rank1"].itertuples():
        place = VIEWS.index(line.gallery_view), VIEWS.index(line.probe_view)
        correct[place], total[place] = line.value * line.n, line.n
    assert (correct.round(9) == GOLDEN[f"{case}_correct"][:14, :14]).all()
    assert (total == GOLDEN[f"{case}_total"][:14, :14]).all()
    by_probe = GOLDEN[f"{case}_accuracy"][14, :14]
    known = ~np.isnan(by_probe)
    got = result.view_table().iloc[0].to_numpy()
    np.testing.assert_allclose(got[:-1][known] / 100, by_probe[known], atol=1e-6)
    everything = GOLDEN[f"{case}_accuracy"][14, 14]
    if not np.isnan(everything):
        assert result.metrics["NM"]["rank1"] == pytest.approx(float(everything), abs=1e-6)
        assert result.metrics["overall"]["rank1"] == pytest.approx(float(everything), abs=1e-6)
    assert result.view_table().index[0] == "NM#1"


def cross_view_by_loops(
    embeddings: np.ndarray, table: pd.DataFrame, skip: bool
) -> tuple[list[float], int]:
    """Rank-1 of each probe view over the other gallery views, and trials without a partner."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = list(zip(table["subject"], table["number"], table["view"], unit, strict=True))
    means, unmatched = [], 0
    for probe_view in VIEWS:
        cells = []
        for gallery_view in VIEWS:
            gallery = [(s, x) for s, n, v, x in rows if n == 1 and v == gallery_view]
            hits = []
            for subject, number, view, x in rows:
                if number != 0 or view != probe_view or probe_view == gallery_view:
                    continue
                if subject not in {s for s, _ in gallery}:
                    unmatched += 1
                    hits += [] if skip else [False]
                    continue
                nearest = min(gallery, key=lambda item, x=x: np.linalg.norm(item[1] - x))
                hits.append(nearest[0] == subject)
            if hits:
                cells.append(np.mean(hits))
        means.append(float(np.mean(cells)))
    return means, unmatched


@pytest.mark.parametrize("case", ["full", "missing"])
@pytest.mark.parametrize("name", ["cross_view", "opengait"])
def test_cross_view_follows_the_loops(case: str, name: str) -> None:
    embeddings, table = case_of(case)
    means, unmatched = cross_view_by_loops(embeddings, table, skip=name == "cross_view")
    result = evaluate(embeddings, table, PROTOCOLS[f"oumvlp.{name}"], bootstrap=0)
    found = result.view_table()
    assert list(found.columns) == [*map(str, VIEWS), "mean"]
    assert found.index[0] == "NM#0"
    np.testing.assert_allclose(found.iloc[0].to_numpy()[:-1] / 100, means, atol=1e-9)
    assert result.metrics["NM"]["rank1"] == pytest.approx(np.mean(means))
    assert result.metrics["NM"]["unmatched"] == unmatched
    assert (unmatched > 0) == (case == "missing")


def test_ids() -> None:
    assert all(name == protocol.id for name, protocol in PROTOCOLS.items())
    assert set(PROTOCOLS) == {"oumvlp.cross_view", "oumvlp.opengait", "oumvlp.gaitgraph2"}
