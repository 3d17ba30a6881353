"""SGE-LA by command line: encode, extract, recognise, judge."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.__main__ import run
from gaitbench.checkpoints import read_checkpoint
from tests.conftest import newest_run
from tests.goldens import kinect_trees

CONFIGS = Path(__file__).parents[1] / "configs" / "sgela"
QUIET = ("enable_progress_bar=false", "enable_model_summary=false", "accelerator=cpu")
SMALL = ("--data.batch_size=8", *(f"--trainer.{word}" for word in QUIET))


def stage(command: str, config: str, out: Path, *more: str) -> Path:
    """Run a stage on small data; the run's folder."""
    words = [command, f"--config={CONFIGS / config}.yaml", *SMALL]
    assert run([*words, f"--trainer.default_root_dir={out}", *more]) == 0
    return newest_run(out)


def last(run: Path) -> str:
    return f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"


@pytest.fixture(scope="module")
def biwi(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words that name the data."""
    cache = tmp_path_factory.mktemp("cache")
    return [f"--data.path={kinect_trees()}", f"--data.cache={cache}"]


@pytest.fixture(scope="module")
def encoder(biwi: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small encoder."""
    out = tmp_path_factory.mktemp("encoder")
    how = ["--model.hidden=8", "--model.learning_rate=0.01", "--trainer.max_epochs=40"]
    return stage("fit", "biwi", out, *biwi, *how)


@pytest.fixture(scope="module")
def ages(encoder: Path, biwi: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it predicts."""
    out = tmp_path_factory.mktemp("ages")
    words = [last(encoder), "--data.predict=all", f"--predictions.dir={out / 'ages'}"]
    stage("predict", "biwi", out, *biwi, *words)
    return out / "ages"


def test_encodings_are_predicted_a_row_a_window(ages: Path) -> None:
    values = np.load(ages / "embeddings.npy", allow_pickle=False)
    table = pd.read_csv(ages / "sequences.csv", dtype={"subject": str})
    assert values.shape == (len(table), 3 * 6 * 8)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    columns = ["subject", "condition", "number", "view", "frames", "recording", "first_frame"]
    assert list(table) == columns
    assert set(table["condition"]) == {"train", "walking", "still"}
    assert set(table["subject"]) == {"000", "022"}
    assert (table["frames"] == 6).all()
    # the same window gives the same encoding
    twice = table.duplicated(["recording", "first_frame"], keep=False).to_numpy()
    groups = table[twice].groupby(["recording", "first_frame"]).groups.values()
    assert len(groups) > 5
    for rows in groups:
        assert np.allclose(values[rows], values[rows[0]], rtol=0, atol=1e-6)


def test_encodings_are_searched_for(
    encoder: Path, ages: Path, biwi: list[str], tmp_path: Path
) -> None:
    """By the protocols of the dataset, and as saved encodings are."""
    words = [*biwi, last(encoder), "--evaluation.bootstrap=0"]
    found = json.loads((stage("test", "biwi", tmp_path, *words) / "metrics.json").read_text())
    table = pd.read_csv(ages / "sequences.csv")
    assert {name: list(sets) for name, sets in found.items()} == {
        "biwi.walking": ["walking"],
        "biwi.still": ["still"],
    }
    for sets in found.values():
        for name, figures in sets.items():
            assert figures["n"] == (table["condition"] == name).sum()
            assert {"rank1", "rank5", "rank10", "map"} <= {*figures}
    named = ["--protocol=biwi.walking", "--protocol=biwi.still", "--bootstrap=0"]
    assert run(["evaluate", str(ages), *named]) == 0
    again = json.loads((ages / "metrics.json").read_text())
    for name, sets in found.items():
        for part, figures in sets.items():
            assert again[name][part] == pytest.approx(figures, abs=1e-6)


@pytest.mark.parametrize(("layer", "frames"), [((), True), (("recognise_sc",), False)])
def test_people_are_recognised(
    layer: tuple[str, ...], frames: bool, ages: Path, tmp_path: Path
) -> None:
    words = [f"--config={CONFIGS / name}.yaml" for name in layer]
    words += [
        f"--data.path={ages}",
        "--model.hidden=16",
        "--model.start=scaled",
        "--model.learning_rate=0.003",
    ]
    words += ["--evaluation.bootstrap=20"]
    fitted = stage("fit", "recognise", tmp_path, *words, "--trainer.max_epochs=40")
    assert read_checkpoint(fitted / "checkpoints" / "last.ckpt")["gaitbench"]["subjects"] == [
        "000",
        "022",
    ]
    found = stage("test", "recognise", tmp_path, *words, last(fitted))
    metrics = json.loads((found / "metrics.json").read_text())["encodings.closed_set"]
    assert set(metrics) == {"walking", "still"}
    told = stage("predict", "recognise", tmp_path, *words, last(fitted), "--data.predict=all")
    table = pd.read_csv(told / "predictions" / "sequences.csv", dtype={"subject": str})
    scores = np.load(told / "predictions" / "embeddings.npy", allow_pickle=False)
    right = pd.Series(np.array(["000", "022"])[scores.argmax(axis=1)] == table["subject"])
    shares = right.groupby(table["condition"]).mean()
    assert shares["train"] > (0.9 if frames else 0.5)  # the latter has few steps
    for name, figures in metrics.items():
        assert figures["n"] == (table["condition"] == name).sum()
        assert figures["subjects"] == 2
        assert figures["rank1"] == pytest.approx(shares[name])
        assert 0 <= figures["rank1_ci95"][0] <= figures["rank1"] <= figures["rank1_ci95"][1] <= 1
        assert ("frame_rank1" in figures) == frames
    assert "rank-1" in (found / "tables" / "encodings.closed_set.md").read_text()


def test_a_checkpoint_is_chosen_as_a_config_says(ages: Path, tmp_path: Path) -> None:
    for layer in ("held_out", "as_published"):
        words = [f"--config={CONFIGS / f'recognise_{layer}'}.yaml", f"--data.path={ages}"]
        words += ["--model.hidden=16", "--trainer.max_epochs=2"]
        fitted = stage("fit", "recognise", tmp_path, *words, "--data.batch_size=4")
        content = read_checkpoint(fitted / "checkpoints" / "best.ckpt")
        states = content["callbacks"].values()
        assert {"val/accuracy"} == {s["monitor"] for s in states if "monitor" in s}
    judged = stage(
        "test", "recognise", tmp_path, *words, f"--ckpt_path={fitted}/checkpoints/best.ckpt"
    )
    assert set(json.loads((judged / "metrics.json").read_text())) == {
        "encodings.closed_set",
        "encodings.closed_set_reference",
    }


@pytest.mark.parametrize(
    "how",
    [
        (),
        ("--model.optimizer=adam", "--data.order=each_epoch", "--data.keep_tail=true"),
        ("--model.contrast_weight=1", "--model.target=sorted"),
        ("--model.target=next", "--data.following=recording"),
    ],
)
def test_resumed_is_unbroken(how: tuple[str, ...], biwi: list[str], tmp_path: Path) -> None:
    """The same weights to the last bit, with and without a break after the first epoch."""
    words = [*biwi, "--model.hidden=8", *how]
    whole = stage("fit", "biwi", tmp_path, *words, "--trainer.max_epochs=3")
    part = stage("fit", "biwi", tmp_path, *words, "--trainer.max_epochs=1")
    resumed = stage("fit", "biwi", tmp_path, *words, last(part), "--trainer.max_epochs=3")
    one, other = (
        read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (whole, resumed)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    first = read_checkpoint(part / "checkpoints" / "last.ckpt")
    assert not all(torch.equal(one[name], first["state_dict"][name]) for name in one)


def test_other_methods_take_the_same_data(biwi: list[str], tmp_path: Path) -> None:
    """Windows drawn of recordings, for a method that makes a graph of the joints."""
    words = ["fit", "--data=Biwi", *biwi, "--data.samples=recordings", "--model=GaitGraph"]
    words += ["--data.train_windows=2", *SMALL, f"--trainer.default_root_dir={tmp_path}"]
    assert run([*words, "--model.embedding_dim=8", "--trainer.max_epochs=1"]) == 0
    assert list(tmp_path.rglob("*.ckpt"))


def test_mistakes_are_told_in_a_sentence(
    encoder: Path,
    ages: Path,
    biwi: list[str],
    tmp_path: Path,
    refused: Callable[[list[str]], str],
) -> None:
    def line(command: str, config: str, *more: str) -> list[str]:
        out = f"--trainer.default_root_dir={tmp_path}"
        return [command, f"--config={CONFIGS / config}.yaml", *SMALL, out, *more]

    fault = refused(line("fit", "biwi", *biwi, "--data.batch_size=512"))
    assert "do not fill one of data.batch_size 512; lower it, or give data.keep_tail true" in fault
    fault = refused(line("fit", "biwi", *biwi, "--data.frames=8"))
    assert "takes windows of 6 frames, data.frames is 8; give data.frames 6, or" in fault
    fault = refused(line("fit", "recognise", f"--data.path={tmp_path}"))
    assert "embeddings.npy does not exist; give as data.path a folder that `predict`" in fault
    fault = refused(line("fit", "recognise", f"--data.path={ages}", "--model.manner=sc"))
    assert "data.train_on frames shows their parts; give data.train_on sequences" in fault
    fault = refused(line("fit", "biwi", *biwi, "--model=AgeRecognition"))
    assert "the data are kinect20, no gait encodings; give data.class_path Encodings" in fault
    fault = refused(line("test", "recognise", f"--data.path={ages}", last(encoder)))
    assert "age-6x3x8" in fault

    path = f"--data.path={ages}"
    fitted = stage("fit", "recognise", tmp_path, path, "--trainer.max_epochs=1")
    changed = tmp_path / "changed"
    shutil.copytree(ages, changed)
    table = pd.read_csv(changed / "sequences.csv", dtype=str)
    table.replace({"subject": {"022": "033"}}).to_csv(changed / "sequences.csv", index=False)
    fault = refused(line("test", "recognise", f"--data.path={changed}", last(fitted)))
    assert "knows 2 people and the data have 2 who train, and 022, 033 differ" in fault
    table.loc[table["condition"] != "train", "subject"] = "044"
    table.to_csv(changed / "sequences.csv", index=False)
    fault = refused(line("fit", "recognise", f"--data.path={changed}"))
    assert "has test windows of 044 but none of the condition train" in fault
