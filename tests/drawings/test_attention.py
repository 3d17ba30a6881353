"""Attention matrices as `predict` draws them, and the numbers in their summary."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.__main__ import run
from gaitbench.drawings.attention import AttentionLook
from gaitbench.methods import SGELA
from gaitbench.skeleton import KINECT20
from tests.conftest import newest_run
from tests.goldens import kinect_trees

CONFIGS = Path(__file__).parents[2] / "configs"
QUIET = ("enable_progress_bar=false", "enable_model_summary=false", "accelerator=cpu")


def test_matrices_are_those_of_the_encoding() -> None:
    torch.manual_seed(0)
    method = SGELA(hidden=8).eval()
    frames = torch.randn(5, 6, 20, 3)
    maps = method.attention_maps(frames)
    assert list(maps) == ["x", "y", "z"]
    contexts = method.encode(frames)
    for k, matrix in enumerate(maps.values()):
        assert matrix.shape == (5, 6, 6)
        torch.testing.assert_close(matrix.sum(2), torch.ones(5, 6))
        # weights of the encoded frames are what the encoding is a mean by
        own = matrix @ contexts.encoder_outputs[k]
        torch.testing.assert_close(own, contexts.contexts[k])


@pytest.mark.parametrize("size", [1, 4, 5])
def test_summary_is_a_mean_over_people_of_cells_and_distances(size: int) -> None:
    """Against loops over people, steps and frames."""
    rng = np.random.default_rng(0)
    people = np.array(["a"] * 4 + ["b"] + ["c"] * 2)
    values = rng.random((7, size, size)).astype(np.float32)
    values /= values.sum(2, keepdims=True)
    look = AttentionLook(KINECT20, size)
    table = look.summarise({"y": values.reshape(7, -1)}, people)
    cells, distances = (table[table["kind"] == kind] for kind in ("cell", "distance"))
    assert set(table["axis"]) == {"y"}
    assert (len(cells), len(distances)) == (size * size, size)
    of_people = np.stack([values[people == name].mean(0) for name in "abc"])
    for _, row in cells.iterrows():
        step, frame = row["step"] - 1, row["frame"] - 1
        own = of_people[:, step, frame]
        assert row["mean"] == pytest.approx(own.mean(), rel=1e-5)
        half = 1.96 * own.std(ddof=1) / np.sqrt(3)
        assert row["high"] - row["mean"] == pytest.approx(half, rel=1e-3, abs=1e-7)
        assert row["distance"] == abs(frame - (size - 1 - step))
        assert row["mask"] == pytest.approx(np.exp(-2 * (row["distance"] / size) ** 2))
        assert row["even"] == pytest.approx(1 / size)
    shares = np.zeros((3, size))
    for step in range(size):
        for frame in range(size):
            shares[:, abs(frame + step + 1 - size)] += of_people[:, step, frame] / size
    np.testing.assert_allclose(distances["mean"], shares.mean(0), rtol=1e-5)
    assert distances["mean"].sum() == pytest.approx(1)
    assert distances["even"].sum() == pytest.approx(1)
    assert distances["mask"].is_monotonic_decreasing
    assert distances[["step", "frame"]].isna().all(axis=None)
    alike = look.summarise({"y": np.full((7, size * size), 1 / size, np.float32)}, people)
    np.testing.assert_allclose(alike["mean"], alike["even"], rtol=1e-6)


# ------------------------------------------------------------------------------ what a run leaves


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words of a small encoder's `predict`, whose attention is drawn."""
    out = tmp_path_factory.mktemp("encoder")
    shared = [f"--config={CONFIGS / 'sgela' / 'biwi.yaml'}", *(f"--trainer.{q}" for q in QUIET)]
    shared += [f"--data.path={kinect_trees()}", f"--data.cache={out / 'cache'}"]
    shared += ["--data.batch_size=8", "--model.hidden=8", f"--trainer.default_root_dir={out}"]
    assert run(["fit", *shared, "--trainer.max_epochs=1"]) == 0
    checkpoint = newest_run(out) / "checkpoints" / "last.ckpt"
    shared += [f"--config={CONFIGS / 'draw.yaml'}", f"--ckpt_path={checkpoint}"]
    return ["predict", *shared, "--draw.workers=1", "--data.predict=all"]


def test_predict_draws_chosen_windows_and_sums_up_those_that_meet_the_query(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "--draw.query=subject == '022' and condition == 'still'"
    more = [f"--predictions.dir={tmp_path / 'told'}", "--data.eval_batch_size=5"]
    assert run([*words, query, "--draw.limit=2", f"--draw.dir={tmp_path / 'found'}", *more]) == 0
    table = pd.read_csv(tmp_path / "told" / "sequences.csv", dtype={"subject": str})
    rows = table.query("subject == '022' and condition == 'still'")
    names = [
        f"022-still-00-000-r{row['recording']}-f{row['first_frame']}.png"
        for _, row in rows.iloc[:2].iterrows()
    ]
    found = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert found == sorted([*names, "attention.csv", "attention.png"])
    told = f"2 windows drawn, {len(rows)} windows of 1 subject summed up"
    assert told in capsys.readouterr().out
    summary = pd.read_csv(tmp_path / "found" / "attention.csv")
    cells = summary[summary["kind"] == "cell"]
    sums = cells.groupby(["axis", "step"])["mean"].sum()
    assert sums.index.tolist() == [(axis, step) for axis in "xyz" for step in range(1, 7)]
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    assert (summary["people"] == 1).all() and summary["low"].isna().all()


def test_axes_can_be_named_and_mistakes_are_one_sentence(
    words: list[str], tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    where = f"--draw.dir={tmp_path / 'found'}"
    assert run([*words, where, "--draw.limit=1", "--draw.maps=[z]"]) == 0
    summary = pd.read_csv(tmp_path / "found" / "attention.csv")
    assert set(summary["axis"]) == {"z"}
    assert set(summary["people"]) == {2}
    fault = refused([*words, where, "--draw.maps=[w]"])
    assert "draw.maps has 'w', but this network has x, y, z; name these" in fault
    fault = refused([*words, where, "--draw.formats=[gif]"])
    assert "draw.formats is [gif], but the attention of SGELA is drawn as png; name it" in fault
