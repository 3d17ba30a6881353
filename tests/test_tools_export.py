"""``gaitbench export`` and ``embed --model`` upon a checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest

from gaitbench import exporting
from gaitbench.__main__ import run
from gaitbench.callbacks import read_predictions

QUICK = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")


def test_an_exported_network_embeds_what_its_checkpoint_embeds(
    walkers: Path,
    cache: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Windows of another number of frames too, and two of each walk."""
    monkeypatch.setattr(exporting, "MOST_RUNS", 1)
    network = tmp_path / "gait.onnx"
    assert run(["export", str(checkpoint), "--out", str(network), "--frames", "8"]) == 0
    said = capsys.readouterr().out
    assert "takes frames (B, T, 17, 3), any number T, coco17: x and y in pixels" in said
    assert "largest difference from PyTorch" in said
    assert "one walk of 8 frames on one core" in said
    found = {}
    for name, words in {
        "torch": ["--ckpt_path", str(checkpoint), "--model.tta=false", "--frames", "8"],
        "onnx": ["--model", str(network)],
    }.items():
        out = ["--out", str(tmp_path / name), "--cache", str(tmp_path / "cache")]
        more = ("--data.eval_windows", "2", *QUICK)
        assert run(["embed", str(walkers), *words, *out, *more]) == 0
        found[name] = read_predictions(tmp_path / name)
    np.testing.assert_allclose(found["onnx"][0], found["torch"][0], atol=1e-4)
    assert found["onnx"][1].equals(found["torch"][1])
    assert np.abs(found["onnx"][0]).max() > 1e-3
    # and a test judges it by the protocols of a dataset
    here = ["--data", "CasiaB", "--data.path", str(walkers), "--data.frames", "8", *QUICK]
    here += ["--data.cache", str(cache), "--trainer.logger=false", "--evaluation.bootstrap=0"]
    figures = {}
    for name, words in {
        "torch": ["--ckpt_path", str(checkpoint), "--model.tta=false"],
        "onnx": ["--model", "ExportedNetwork", "--model.path", str(network)],
    }.items():
        out = tmp_path / f"{name} test"
        assert run(["test", *words, *here, f"--trainer.default_root_dir={out}"]) == 0
        figures[name] = json.loads((out / "metrics.json").read_text())
    assert figures["onnx"] == figures["torch"]
    assert figures["onnx"]["casia_b.cross_view"]["NM"]["n"] > 0
    capsys.readouterr()
    for named, sentence in (
        (["--ckpt_path", str(network)], "`test` takes it by --model ExportedNetwork --model.path"),
        ([*words, "--ckpt_path", str(checkpoint)], "an exported network comes trained; leave"),
    ):
        assert run(["test", *named, *here]) == 2
        assert sentence in capsys.readouterr().err
    words = ["embed", str(walkers), "--model", str(network), "--out", str(tmp_path / "other")]
    words += ["--cache", str(tmp_path / "cache"), *QUICK]
    for more, sentence in (
        ("--data.normalize=pelvis", "takes data.normalize none, the data have pelvis"),
        ("--data.skeleton=openpose18", "takes data.skeleton coco17, the data have openpose18"),
    ):
        assert run([*words, more]) == 2
        assert sentence in capsys.readouterr().err


def test_mistakes_are_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, sentence in (
        (["--out", "gait.pt"], "end its name in .onnx"),
        (["--out", "gait.onnx", "--format", "torch-export"], "end its name in .pt2"),
        (["--out", "gait.onnx", "--frames", "2"], "give 3 or more"),
    ):
        assert run(["export", str(checkpoint), *words]) == 2
        assert sentence in capsys.readouterr().err
    assert run(["export", str(tmp_path / "none.ckpt"), "--out", "gait.onnx"]) == 2
    assert "does not exist" in capsys.readouterr().err
