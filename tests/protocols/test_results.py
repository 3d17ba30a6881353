import json

import pandas as pd
import pytest

from gaitbench.protocols import Evaluation, Protocol, write_metrics


@pytest.fixture
def evaluation() -> Evaluation:
    protocol = Protocol(
        id="toy.cross_view",
        description="A toy.",
        gallery={},
        probes={"NM": {}},
        gallery_views="each",
        exclude_same_view=True,
        unmatched="skip",
        overall="all_cells",
    )
    table = pd.DataFrame(
        [("NM", g, p, "rank1", v, 4) for g, p, v in ((0, 0, 1.0), (0, 90, 0.5), (90, 0, 0.25))],
        columns=["probe_set", "gallery_view", "probe_view", "metric", "value", "n"],
    ).astype({"gallery_view": "Int64", "probe_view": "Int64"})
    metrics = {
        "NM": {"rank1": 0.375, "rank1_ci95": [0.25, 0.5], "n": 4, "trials": 8, "unmatched": 1},
        "overall": {"rank1": 0.583, "n": 4, "trials": 12, "unmatched": 1},
    }
    return Evaluation(protocol, table, metrics, ["One view & more is missing."], {"NM": "NM#5-6"})


def test_view_table_leaves_identical_views_out(evaluation) -> None:
    table = evaluation.view_table()
    assert table.to_dict("index") == {"NM#5-6": {"0": 25.0, "90": 50.0, "mean": 37.5}}


def test_markdown(evaluation) -> None:
    lines = evaluation.to_markdown().splitlines()
    assert "| rank-1 (%) | 0 | 90 | mean |" in lines
    assert "| NM#5-6 | 25.0 | 50.0 | 37.5 |" in lines
    assert "| rank-1 | 37.5 [25.0, 50.0] | 58.3 |" in lines
    assert "Overall rank-1: 58.3 %." in lines
    assert lines[-1] == "- One view & more is missing."


def test_latex(evaluation) -> None:
    text = evaluation.to_latex()
    assert r"NM\#5-6 & 25.0 & 50.0 & 37.5 \\" in text
    assert text.count(r"\toprule") == 2
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert not any("%" in line.replace(r"\%", "") for line in body)


def test_files(evaluation, tmp_path) -> None:
    evaluation.write(tmp_path)
    write_metrics([evaluation], tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"metrics.json", *(f"tables/toy.cross_view.{e}" for e in ("csv", "md", "tex"))}
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "toy.cross_view": evaluation.metrics
    }
    written = pd.read_csv(tmp_path / "tables" / "toy.cross_view.csv")
    assert list(written) == ["probe_set", "gallery_view", "probe_view", "metric", "value", "n"]
    assert written["value"].tolist() == [1.0, 0.5, 0.25]


def test_no_file_is_left_half_written(evaluation, tmp_path) -> None:
    (tmp_path / "metrics.json").write_text("old")
    evaluation.metrics["NM"]["rank1"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        write_metrics([evaluation], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "old"
