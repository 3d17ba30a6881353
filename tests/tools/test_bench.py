"""`gaitbench bench` measures a training as it is, and leaves nothing behind."""

import json
from pathlib import Path

import pytest

from gaitbench.__main__ import run
from gaitbench.throughput import Feed, Throughput
from tests.conftest import CONFIG

FIGURES = {
    "method": "GaitGraph2",
    "dataset": "CasiaB",
    "device": "cpu",
    "threads": 1,
    "workers": 0,
    "precision": "32-true",
    "batch": 8,
    "data": 400.0,
    "step": 100.0,
    "both": 80.0,
    "flop": 10**9,
    "rate": 2e10,
    "peak": 8e10,
    "size": 2048,
    "memory": 5 * 10**8,
}


def test_a_training_is_measured(
    walkers: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.frames=8", "--data.batch_size=4", "--trainer.accelerator=cpu"]
    here = [f"--data.path={walkers}", f"--data.cache={cache}"]
    here.append(f"--trainer.default_root_dir={tmp_path}")
    capsys.readouterr()
    asked = ["bench", f"--config={CONFIG}", *here, *words, "--repeats=1", "--json"]
    assert run(asked) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["method"], found["dataset"], found["batch"]) == ("GaitGraph2", "CasiaB", 4)
    assert found["precision"] == "32-true" and found["device"] == "cpu"
    # 1.31 GFLOP of 60 frames forward, and twice that backward
    assert found["flop"] == pytest.approx(4 * 8 / 60 * 3 * 0.44e9, rel=0.5)
    assert found["rate"] == pytest.approx(found["flop"] * found["step"] / 4)
    assert found["share_of_peak"] == pytest.approx(found["rate"] / found["peak"])
    assert found["bottleneck"] == "step" and found["data"] > found["step"] > 0
    assert found["memory"] > 10**8
    assert not [*tmp_path.iterdir()]


def test_the_slower_of_the_two_is_the_bottleneck() -> None:
    found = Throughput(**FIGURES)  # type: ignore[arg-type]
    assert found.bottleneck == "step" and found.to_dict()["share_of_peak"] == 0.25
    text = found.to_text()
    assert "25% of the 80.0 of a product of two 2,048 x 2,048 matrices" in text
    assert "the data alone would be 4 times as fast" in text
    other = Throughput(**{**FIGURES, "data": 50.0})  # type: ignore[arg-type]
    assert other.bottleneck == "data"
    assert "the step alone would be 2 times as fast" in other.to_text()


def test_batches_come_in_turn_or_are_one(tmp_path: Path) -> None:
    feed = Feed(["a", "b"])
    batches = iter(feed)
    assert [next(batches) for _ in range(3)] == ["a", "b", "a"]
    feed.repeated = "held"  # type: ignore[assignment]
    assert [next(batches) for _ in range(2)] == ["held", "held"]
    feed.repeated = None
    assert next(batches) == "b"


def test_what_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", f"--config={CONFIG}", "--repeats=0"]) == 2
    assert "--repeats is 0; give 1 or more" in capsys.readouterr().err
