"""Other methods than SGE-LA on 3D skeletons, by command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench import synthetic
from gaitbench.__main__ import run
from gaitbench.checkpoints import read_checkpoint
from tests.conftest import SMALL, Bench, newest_run

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS = {
    "gaitgraph2": ("--model.temperature=0.1",),
    "gaitformer": ("--model.period=8", "--model.dropout=0", "--data.augmentation.turn=0"),
}


@pytest.fixture(scope="module")
def ias(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words that name four invented people, whose recordings are cut at the gaps."""
    out = tmp_path_factory.mktemp("ias")
    tree = synthetic.synthesize_ias_lab(out, 4, 0)
    return [f"--data.path={tree}", f"--data.cache={out / 'cache'}"]


def words(command: str, method: str, *more: str) -> list[str]:
    small = [word for word in SMALL if not word.startswith(("--data.batch", "--trainer.max_ep"))]
    sizes = ["--data.batch_size=16", "--data.min_frames=8", *METHODS[method]]
    return [command, f"--config={CONFIGS / method / 'kinect.yaml'}", *small, *sizes, *more]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_and_is_judged_by_retrieval(
    method: str, ias: list[str], tmp_path: Path
) -> None:
    """Its loss falls, and it finds people among four more often than by chance."""
    here = [*ias, f"--trainer.default_root_dir={tmp_path}"]
    logged = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}"]
    assert run(words("fit", method, *here, *logged, "--trainer.max_steps=40")) == 0
    fitted = newest_run(tmp_path)
    losses = pd.read_csv(fitted / "metrics.csv")["train/loss_step"].dropna()
    assert len(losses) == 8 and losses.iloc[-1] < 0.8 * losses.iloc[0]
    checkpoint = fitted / "checkpoints" / "last.ckpt"
    assert run(words("test", method, *here, f"--ckpt_path={checkpoint}")) == 0
    figures = json.loads((newest_run(tmp_path) / "metrics.json").read_text())
    found = [figures[f"ias_lab.{part.lower()}"][part]["rank1"] for part in "AB"]
    assert np.mean(found) > 0.4
    origin = read_checkpoint(checkpoint)["gaitbench"]
    assert (origin["skeleton"], origin["frame_kind"]) == ("kinect20", "skeleton3d")
    assert run(words("predict", method, *here, f"--ckpt_path={checkpoint}")) == 0
    table = pd.read_csv(newest_run(tmp_path) / "predictions" / "sequences.csv")
    assert set(table["condition"]) == {"A", "B"} and table["subject"].nunique() == 4


def test_what_is_made_for_pictures_is_refused_in_space(
    ias: list[str], bench: Bench, checkpoint: Path, refused: Callable[[list[str]], str]
) -> None:
    for streams in ("branches", "concatenated"):
        said = refused(words("fit", "gaitgraph2", *ias, f"--model.streams={streams}"))
        assert f"model.streams {streams} takes the third value of a joint for a confidence" in said
        assert "in ias_lab it is z; give model.streams spatial or raw" in said
    said = refused(words("fit", "gaitformer", *ias, "--data.origin=camera"))
    assert "those of ias_lab are measured from the camera; give data.origin body" in said
    said = refused(words("fit", "gaitformer", *ias, "--data.normalize=pelvis"))
    assert "data.normalize is made for x, y and confidence, ias_lab has x, y and z" in said
    said = refused(words("test", "gaitgraph2", *ias, f"--ckpt_path={checkpoint}"))
    assert "poses of skeleton kinect20 cannot become coco17" in said
    # and the other way round
    said = refused(bench.words("fit", "--model.streams=spatial"))
    assert "takes the third value of a joint for z, in casia_b it is a confidence; give" in said
    said = refused(bench.words("fit", "--data.augmentation.turn=10"))
    assert "data.augmentation.turn turns walks about the vertical, for which casia_b lacks" in said
