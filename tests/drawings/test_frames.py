"""Drawings of pixels: what is kept of windows and walks, and the files that come of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from gaitbench.drawings import Drawings
from gaitbench.drawings.frames import FrameLook
from gaitbench.drawings.seen import Drawing
from gaitbench.methods import GaitCopyStudent, GaitSet
from tests.datamodules.test_images import Tiny


def test_figures_are_shares_of_cells_and_repeated_frames_are_one() -> None:
    look = FrameLook("silhouette", (8, 12), ["png"], 10)
    generator = torch.Generator().manual_seed(0)
    shown = torch.randn(2, 5, 8, 12, generator=generator)
    frames = torch.rand(2, 5, 8, 12, 1, generator=generator)
    windows = np.array([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]])
    seen = look.look(np.array([4, 9]), frames, {"a": shown}, windows, [0])
    for k in range(2):
        cells = np.zeros((2, 3))
        for frame in shown[k].clamp(min=0).numpy():
            for i in range(8):
                for j in range(12):
                    cells[i // 4, j // 4] += frame[i, j]
        np.testing.assert_allclose(seen.figures["a"][k], cells.ravel() / cells.sum(), rtol=1e-4)
    (walk,) = seen.walks
    assert (walk.row, np.asarray(walk.pose).shape) == (4, (3, 8, 12, 1))
    np.testing.assert_array_equal(walk.pose, frames[0, :3])
    whole = torch.stack([shown[0, 0] + shown[0, 3], shown[0, 1] + shown[0, 4], shown[0, 2]])
    whole = whole.clamp(min=0)
    np.testing.assert_allclose(walk.maps["a"], whole / whole.max(), rtol=1e-5)
    table = look.summarise(seen.figures, np.array(["x", "y"]))
    assert table[["row", "column"]].to_numpy().tolist()[:4] == [[0, 0], [0, 4], [0, 8], [4, 0]]
    np.testing.assert_allclose(table["mean"], seen.figures["a"].mean(0), rtol=1e-5)
    assert table["mean"].sum() == pytest.approx(1)


@pytest.mark.parametrize("modality", ["gray", "flow", "silhouette"])
def test_files_of_a_walk(modality: str, tmp_path: Path) -> None:
    look = FrameLook(modality, (60, 60), ["gif", "png"], 12.5)
    channels = 2 if modality == "flow" else 1
    frames = torch.rand(1, 6, 60, 60, channels)
    shown = torch.zeros(1, 6, 60, 60)
    shown[0, 2, 20:30, 30:40] = 1
    seen = look.look(np.array([0]), frames, {"activation": shown}, np.arange(6)[None], [0])
    paths = [tmp_path / "new" / f"a.{ending}" for ending in look.formats]
    look.write(Drawing(seen.walks[0], "one\ntwo", paths))
    with Image.open(paths[0]) as film:
        assert film.n_frames == 6
        assert film.info["duration"] == 80
        pictures = []
        for k in (1, 2):
            film.seek(k)
            pictures.append(np.asarray(film.convert("RGB")).astype(int))
    assert abs(pictures[1] - pictures[0]).max() > 60
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.gif", "a.png"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [GaitCopyStudent, GaitSet])
def test_predict_draws_windows(
    kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a run, where gradients are off: windows of gray frames, and whole walks."""
    if kind is GaitCopyStudent:
        data, method = _walks(tmp_path), kind(network="3d-smallB", embedding_dim=16)
        names = ["001-nm-01-090-r0-f3"]
    else:
        settings = {"modality": "silhouette", "samples": "recordings", "frames": 6}
        data, method = _walks(tmp_path, **settings), kind(embedding_dim=62 * 4)
        names = ["001-nm-01-090"]
    drawings = Drawings(
        1, "subject == '001'", dir=str(tmp_path / "out"), formats=["png"], workers=1
    )
    trainer = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_progress_bar=False,
        callbacks=[drawings],
    )  # fmt: skip
    trainer.predict(method, datamodule=data, return_predictions=False)
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == [f"{names[0]}.png", "summary.csv", "summary.png"]
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert table["mean"].sum() == pytest.approx(1, abs=1e-5)
    assert (table["people"] == 1).all()
    assert "drawn," in capsys.readouterr().out


def _walks(cache: Path, **settings: Any) -> Any:
    return Tiny("tiny", "any", cache=str(cache / "cache"), predict="all", **settings)  # type: ignore[no-untyped-call]
