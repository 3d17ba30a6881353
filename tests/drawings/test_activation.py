"""Numbers of the drawings of joints, on paper and in space."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gaitbench.__main__ import run
from gaitbench.activation import at_frames, find_steps, share_of_greatest
from gaitbench.drawings.activation import KEY_FRAMES, PHASES, ActivationLook
from gaitbench.skeleton import COCO17, KINECT20
from gaitbench.windows import Window
from tests.conftest import newest_run
from tests.goldens import kinect_trees

LOOK = ActivationLook(COCO17, False, ["png"], 12.5)


def test_figures_are_means_over_the_frames_that_are_real() -> None:
    """Against a loop over walks, frames and bins."""
    generator = torch.Generator().manual_seed(0)
    windows = Window(40, "center").draw(np.array([33, 70]), 0)
    turns = torch.from_numpy(windows) / 24.0
    frames = torch.rand(2, 40, 17, 3, generator=generator) + 0.1
    frames[:, :, 15, 0] = 50 + 20 * torch.cos(2 * torch.pi * turns)
    frames[:, :, 16, 0] = 50 - 20 * torch.cos(2 * torch.pi * turns)
    shown = torch.randn(2, 10, 17, generator=generator)
    seen = LOOK.look(np.array([7, 3]), frames, {"a": shown}, windows, [1])
    values = at_frames(share_of_greatest(shown), 40)
    for k, length in enumerate((33, 40)):
        start = next(
            s for s in range(40) if (np.diff(windows[k, s : s + length]) == 1).sum() == length - 1
        )
        own, pose = values[k, start : start + length], frames[k, start : start + length]
        phase = find_steps(pose[None], COCO17).phase[0]
        expected = [own[:, joint].mean() for joint in range(17)]
        for step in range(8):
            inside = [own[t].mean() for t in range(length) if int(phase[t] * 8) % 8 == step]
            expected.append(torch.stack(inside).mean())
        np.testing.assert_allclose(seen.figures["a"][k], expected, atol=1e-5)
    (walk,) = seen.walks
    assert walk.row == 3
    np.testing.assert_array_equal(walk.pose, frames[1])
    np.testing.assert_array_equal(walk.maps["a"], values[1])
    assert len(walk.keys) == KEY_FRAMES


def test_a_person_counts_once_in_means_and_intervals() -> None:
    random = np.random.default_rng(0)
    people = np.array(["a"] * 5 + ["b"] + ["c"] * 2)
    values = random.random((8, 17 + PHASES)).astype(np.float32)
    values[5, 3] = np.nan  # b was never seen there
    values[:, 4] = np.nan
    table = LOOK.summarise({"m": values}, people)
    means = pd.DataFrame(values.astype(float)).groupby(people).mean()
    np.testing.assert_allclose(table["mean"], means.mean(), rtol=1e-5)
    half = 1.96 * means.std() / np.sqrt(means.count().where(means.count() > 0))
    np.testing.assert_allclose(table["high"] - table["mean"], half, rtol=1e-4)
    assert table["people"].tolist() == means.count().tolist()
    alone = LOOK.summarise({"m": values[:5]}, people[:5])
    assert alone["low"].isna().all()
    assert alone["mean"].notna().sum() == 24


def test_steps_in_space_are_those_on_the_ground() -> None:
    """Of a walker who goes any way, measured from the camera or from the body."""
    look = ActivationLook(KINECT20, True, ["png"], 12.5)
    time = torch.arange(60)
    angle = 2 * torch.pi * time / 24
    frames = torch.rand(1, 60, 20, 3, generator=torch.Generator().manual_seed(0)) * 0.02
    frames[..., 2] += 3
    way = torch.tensor([0.6, 0.0, 0.8])
    for name, side in (("left_ankle", 1), ("right_ankle", -1)):
        ahead = side * 0.3 * torch.cos(angle)
        frames[0, :, KINECT20.joints.index(name)] += ahead[:, None] * way
    windows = time.numpy()[None]
    values = torch.zeros(1, 60, 20)
    apart = torch.cos(angle).abs() > 0.93  # within a sixteenth of a step of the feet apart
    values[0, apart] = 1
    for pose in (frames, frames - frames[:, :, :1]):
        seen = look.look(np.array([4]), pose, {"a": values}, windows, [0])
        of_phase = seen.figures["a"][0, 20:]
        assert of_phase[[0, 7]].min() > 0.6
        assert of_phase[2:6].max() == 0
        (walk,) = seen.walks
        paper = np.asarray(walk.pose)
        assert paper.shape == (60, 20, 3)
        np.testing.assert_allclose(paper[..., 1], -pose[0, ..., 1], atol=1e-6)
        assert (paper[..., 2] == 1).all()


def test_a_graph_network_is_drawn_on_skeletons_in_space(tmp_path: Path) -> None:
    """On recordings and on windows that were cut beforehand."""
    words = ["--data=Biwi", f"--data.path={kinect_trees()}", f"--data.cache={tmp_path / 'cache'}"]
    words += ["--data.batch_size=8", "--data.min_frames=1", "--model=GaitGraph"]
    words += ["--model.embedding_dim=8", f"--trainer.default_root_dir={tmp_path}"]
    quiet = ("accelerator=cpu", "enable_progress_bar=false", "enable_model_summary=false")
    words += [f"--trainer.{word}" for word in quiet]
    fitting = ["--data.samples=recordings", "--data.train_windows=2", "--trainer.max_epochs=1"]
    assert run(["fit", *words, *fitting]) == 0
    (checkpoint,) = newest_run(tmp_path).rglob("*.ckpt")
    words += [f"--ckpt_path={checkpoint}"]
    words += ["--draw.limit=1", "--draw.formats=[png]", "--draw.workers=1", "--data.predict=test"]
    for samples in ("recordings", "windows"):
        found = tmp_path / samples
        assert run(["predict", *words, f"--data.samples={samples}", f"--draw.dir={found}"]) == 0
        assert len(list(found.glob("0??-*.png"))) == 1
        table = pd.read_csv(found / "summary.csv", dtype={"name": str})
        joints = table[table["kind"] == "joint"]
        assert joints["name"].tolist() == list(KINECT20.joints)
        assert joints["mean"].between(0, 1).all()
        assert set(joints["people"]) == {2}
