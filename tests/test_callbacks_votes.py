"""Protocols by which windows vote, in runs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.callbacks import ProtocolEvaluation, figure_of, judge, publish
from gaitbench.errors import InputError
from gaitbench.protocols import NeighbourProtocol, evaluate_neighbours, unmet_neighbours
from tests.test_callbacks import Log, OneProcess

VOTES = NeighbourProtocol(
    "walks.votes", "The last walk.", {"number": [1]}, {"last": {"number": [2]}}, 3
)
OTHERS = NeighbourProtocol(
    "walks.others", "Other views.", {"number": [1]}, {"last": {"number": [2]}}, 3, "others"
)
TABLE = pd.DataFrame(
    [
        (subject, "nm", number, view, recording, 5 * window)
        for recording, (subject, number, view) in enumerate(
            (s, n, v) for s in ("001", "002", "003") for n in (1, 2) for v in (0, 90)
        )
        for window in range(4)
    ],
    columns=["subject", "condition", "number", "view", "recording", "first_frame"],
)
POINTS = np.random.default_rng(0).normal(size=(len(TABLE), 6)).astype(np.float32)
POINTS[np.arange(len(TABLE)), TABLE["subject"].astype(int) - 1] += 2


def test_windows_are_judged_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are windows and stay apart; figures are those of the protocol's own function."""
    callback, trainer, log = ProtocolEvaluation(bootstrap=10), OneProcess(log_dir=tmp_path), Log()
    empty = NeighbourProtocol("walks.none", "None.", {"number": [7]}, {"last": {"number": [2]}})
    protocols = {protocol.id: protocol for protocol in (VOTES, OTHERS, empty)}
    trainer.datamodule = SimpleNamespace(
        sequences=TABLE, protocols=protocols, default_protocols=tuple(protocols)
    )
    callback.setup(trainer, None, "test")  # type: ignore[arg-type]
    for rows in torch.randperm(len(TABLE)).split(7):
        outputs = {"embedding": torch.from_numpy(POINTS)[rows], "row": rows}
        callback.on_test_batch_end(trainer, None, outputs, None, 0)  # type: ignore[arg-type]
    callback.on_test_epoch_end(trainer, log)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "not judged: walks.none wants gallery sequences with number 7" in said
    assert "rank-1 of videos" in said
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert list(written) == ["walks.votes", "walks.others"]
    for protocol in (VOTES, OTHERS):
        wanted = evaluate_neighbours(POINTS, TABLE, protocol, bootstrap=10)
        assert written[protocol.id] == json.loads(json.dumps(wanted.metrics))
        for name, value in wanted.headlines.items():
            assert log.logged[f"test/{protocol.id}/{name}"] == value
    assert written["walks.votes"]["last"]["n"] == 24
    pictures = sorted(path.name for path in (tmp_path / "tables").glob("*.png"))
    assert pictures == ["walks.others.png"]


def test_what_is_no_vote_is_refused() -> None:
    for settings, sentence in (
        ({"distance": "cosine"}, "distance cosine would be another protocol"),
        ({"rerank": True}, "rerank True would be another protocol"),
    ):
        with pytest.raises(InputError, match=sentence):
            judge([VOTES], POINTS, TABLE, None, **settings)  # type: ignore[arg-type]
    named: dict[str, Any] = {"distance": None, "rerank": False, "verification": True}
    (evaluation,) = judge([VOTES], POINTS, TABLE, None, bootstrap=0, **named)
    assert figure_of(evaluation) is None


def test_what_a_table_lacks_is_told() -> None:
    assert unmet_neighbours(TABLE, VOTES) == ""
    assert "needs the column(s) view" in unmet_neighbours(TABLE.drop(columns="view"), OTHERS)
    assert "wants probe sequences with number 2" in unmet_neighbours(
        TABLE[TABLE["number"] == 1], VOTES
    )


def test_tables_are_published(tmp_path: Path) -> None:
    evaluations = judge([OTHERS], POINTS, TABLE, None, bootstrap=0)
    publish(evaluations, tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "walks.others.csv")
    assert set(table["metric"]) >= {"rank1", "video_rank1"}
    assert (table["gallery_view"] != table["probe_view"]).all()
