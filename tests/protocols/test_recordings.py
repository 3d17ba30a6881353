"""Protocols that judge recordings where rows are their windows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.__main__ import run
from gaitbench.callbacks import write_predictions
from gaitbench.datamodules import CasiaBVideo, TumGaid
from gaitbench.datamodules.casia_b import CROSS_VIEW
from gaitbench.errors import InputError
from gaitbench.protocols import evaluate, unmet
from gaitbench.protocols.protocol import recordings

COLUMNS = ["subject", "condition", "number", "view", "recording", "first_frame"]

# embeddings of windows as angles in degrees: by their windows alone B's first probe is nearest to
# A, by its mean it is B's
WALKS = [
    ("A", 1, 0, (0, 10)),
    ("B", 1, 0, (60, 100)),
    ("A", 1, 90, (0, 10)),
    ("B", 1, 90, (60, 100)),
    ("A", 5, 0, (10,)),
    ("B", 5, 0, (30, 30, 120)),
    ("A", 5, 90, (70, 80)),
    ("B", 5, 90, (85, 75)),
]


def made() -> tuple[torch.Tensor, pd.DataFrame]:
    """The walks above, their windows in mixed order."""
    lines, angles = [], []
    for recording, (subject, number, view, places) in enumerate(WALKS):
        for window, angle in enumerate(places):
            lines.append((subject, "nm", number, view, recording, 5 * window))
            angles.append(np.radians(angle))
    table = pd.DataFrame(lines, columns=COLUMNS).assign(start=0, length=25)
    points = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1), dtype=torch.float32)
    order = np.random.default_rng(0).permutation(len(table))
    return points[order], table.iloc[order]


def test_a_case_worked_out_by_hand() -> None:
    """Cross view: A's probe of 90 degrees lies at 75, next to B's mean at 80; the others are right.

    B's windows of 0 degrees sum up to an angle of 57 degrees, nearer to 80 than to 5.
    """
    points, table = made()
    found = evaluate(points, table, CROSS_VIEW, bootstrap=0)
    assert list(found.metrics) == ["NM"]
    figures = found.metrics["NM"]
    assert (figures["n"], figures["trials"]) == (4, 4)
    # of the probes of 0 degrees both are right, of those of 90 one of two
    assert figures["rank1"] == 0.75
    cells = found.table[found.table["metric"] == "rank1"]
    assert cells.set_index(["gallery_view", "probe_view"])["value"].to_dict() == {
        (0, 90): 0.5,
        (90, 0): 1.0,
    }
    assert "16 windows make 8 recordings" in found.notes[0]


def test_means_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "subject": rng.choice(["1", "2"], 40),
            "condition": "nm",
            "number": rng.integers(1, 3, 40),
            "view": 90,
        }
    )
    # two recordings of one name stay apart
    table["recording"] = table.groupby(["subject", "number"]).ngroup() * 2 + rng.integers(0, 2, 40)
    table["first_frame"] = range(40)
    points = torch.from_numpy(rng.normal(size=(40, 5))).float()
    values, rows = recordings(points, table)
    assert len(rows) == table["recording"].nunique()
    assert "first_frame" not in rows and "recording" not in rows
    for value, (place, row) in zip(values, rows.iterrows(), strict=True):
        own = np.flatnonzero(table["recording"] == table["recording"].iloc[int(str(place))])
        torch.testing.assert_close(value, points[own].mean(0))
        assert row["subject"] == table["subject"].iloc[own[0]]


def test_what_is_no_window_is_left_alone() -> None:
    points, table = made()
    values, rows = recordings(points, table)
    for protocol in CasiaBVideo.protocols.values():
        if protocol.id.startswith("casia_b."):
            found = evaluate(points, table, protocol, bootstrap=0)  # type: ignore[arg-type]
            again = evaluate(values, rows, protocol, bootstrap=0)  # type: ignore[arg-type]
            assert found.metrics == again.metrics
            assert len(found.notes) == len(again.notes) + 1


def test_evaluate_judges_what_predict_wrote(tmp_path: Path) -> None:
    points, table = made()
    write_predictions(tmp_path, points.numpy(), table)
    words = ["--protocol", CROSS_VIEW.id, "--protocol", "casia_b_video.same_view"]
    assert run(["evaluate", str(tmp_path), *words, "--bootstrap", "0"]) == 0
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert told[CROSS_VIEW.id]["NM"]["rank1"] == 0.75
    assert told["casia_b_video.same_view"]["NM"]["n"] == 8  # windows


def test_tum_gaid_is_judged_by_recordings() -> None:
    """n 5 and n 6 of two people, each nearest to the own mean; the windows of b are not."""
    lines = [
        (subject, condition, number, 90, 10 * int(subject) + 3 * place, 5 * window)
        for subject in ("050", "051")
        for place, (condition, number) in enumerate([("n", 1), ("n", 5), ("b", 1)])
        for window in range(2)
    ]
    table = pd.DataFrame(lines, columns=COLUMNS)
    angles = np.radians([0, 20, 5, 25, 80, 90, 70, 90, 40, 70, 0, 10])
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    protocol = TumGaid.protocols["tum_gaid.first_retrieval"]
    found = evaluate(points, table, protocol, bootstrap=0)  # type: ignore[arg-type]
    assert {name: told["rank1"] for name, told in found.metrics.items()} == {"N": 1, "B": 0}
    assert found.metrics["N"]["n"] == 2


def test_one_view_alone_is_told_of_beforehand() -> None:
    points, table = made()
    one = np.flatnonzero(table["view"] == 90)
    assert unmet(table, CROSS_VIEW) == ""
    assert "compares different views, but all 8 sequences are of view 90" in unmet(
        table.iloc[one], CROSS_VIEW
    )
    with pytest.raises(InputError, match="compares different views"):
        evaluate(points[one], table.iloc[one], CROSS_VIEW)
