"""Settings beside figures, as TensorBoard's table has them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from pytorch_lightning import LightningModule
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
    parse_session_end_info_plugin_data,
    parse_session_start_info_plugin_data,
)

from gaitbench.hyperparameters import HyperParameters, hyper_parameters
from tests.conftest import Bench
from tests.test_board import picture_of, read

PROTOCOL = "casia_b.cross_view"


def row(events: EventAccumulator) -> dict[str, Any]:
    """The run's row in the table of hyper-parameters, and that nothing else is said there."""
    told = events.PluginTagToContent("hparams")
    assert EXPERIMENT_TAG not in told
    start = parse_session_start_info_plugin_data(told[SESSION_START_INFO_TAG])
    assert parse_session_end_info_plugin_data(told[SESSION_END_INFO_TAG]).status == 1  # success
    return {name: getattr(v, str(v.WhichOneof("kind"))) for name, v in start.hparams.items()}


def logs(run: Path) -> list[Path]:
    return [*run.rglob("events.out.tfevents.*")]


@pytest.fixture(scope="module")
def runs(walkers: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A training that validates after each of three epochs, and a test of it."""
    bench = Bench(walkers, cache, tmp_path_factory.mktemp("board"))
    settings = ("--data.validation=test", "--trainer.check_val_every_n_epoch=1")
    fit = bench("fit", *settings, "--trainer.max_epochs=3", "--model.learning_rate=0.003")
    test = bench(
        "test",
        f"--ckpt_path={fit / 'checkpoints' / 'last.ckpt'}",
        "--model.tta=false",
        "--evaluation.projector=7",
        "--data.frames=9",
    )
    return fit, test


def test_a_training_has_settings_beside_its_last_and_best_figures(
    runs: tuple[Path, Path],
) -> None:
    fit = runs[0]
    assert len(logs(fit)) == 1
    events = read(fit)
    told = row(events)
    assert told["command"] == "fit" and told["method"] == "GaitGraph2" and told["seed"] == 0
    assert told["model.learning_rate"] == 0.003 and told["data.frames"] == 8
    assert told["data.validation"] == "test" and told["data.augmentation.reverse"] == 0.5
    assert told["trainer.precision"] == "32-true" and told["model.tta"] is True
    scalars = events.Tags()["scalars"]
    assert "hp_metric" not in scalars
    watched = [name for name in scalars if name.startswith("val/")]
    assert {"val/loss", *(f"val/{PROTOCOL}/{s}/rank1" for s in ("NM", "BG", "CL"))} <= {*watched}
    for name in watched:
        values = [event.value for event in events.Scalars(name)]
        best = [event.value for event in events.Scalars(name.replace("val/", "best/"))]
        better = min if name == "val/loss" else max
        assert len(values) == 3
        assert best == [better(values[: k + 1]) for k in range(3)]


def test_each_validation_has_its_pictures(runs: tuple[Path, Path]) -> None:
    events = read(runs[0])
    pictures = events.Tags()["images"]
    assert {*pictures} == {
        f"val/{protocol}/{kind}"
        for protocol in (PROTOCOL, "casia_b.gaitgraph2")
        for kind in ("views", "cmc", "det")
    }
    for tag in pictures:
        steps = [event.step for event in events.Images(tag)]
        assert len(steps) == 3 and steps == sorted({*steps})


def test_a_test_has_a_row_with_the_settings_of_its_training(
    runs: tuple[Path, Path],
) -> None:
    fit, test = runs
    assert len(logs(test)) == 1
    events = read(test)
    told = row(events)
    assert told["command"] == "test" and told["model.learning_rate"] == 0.003
    assert told["test.checkpoint"] == str(fit / "checkpoints" / "last.ckpt")
    assert told["data.frames"] == 8 and told["test.data.frames"] == 9
    assert told["model.tta"] is False and told["test.rerank"] is False
    assert told["data.validation"] == "test" and told["test.data.validation"] == "none"
    assert f"test/{PROTOCOL}/NM/rank1" in events.Tags()["scalars"]
    assert "hp_metric" not in events.Tags()["scalars"]
    # the file that the run has written, and not another drawing of it
    with Image.open(test / "tables" / f"{PROTOCOL}.png") as image:
        size = image.size
    assert picture_of(events, f"test/{PROTOCOL}/views")[1].shape == (*size[::-1], 3)
    lines = (test / "projector" / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:5] == ["subject", "condition", "number", "view", PROTOCOL]
    assert len(lines) == 8
    assert {line.split("\t")[0] for line in lines[1:]} == {"075", "076"}


def test_without_tensorboard_nothing_is_written() -> None:
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn="fit"), sanity_checking=False, is_global_zero=True, loggers=[]
    )
    trainer.interrupted, trainer.callback_metrics = False, {"val/loss": 1.0}
    callback, module = HyperParameters(), LightningModule()
    for hook in ("fit_start", "validation_end", "fit_end", "test_start", "test_end"):
        getattr(callback, f"on_{hook}")(trainer, module)
    assert callback.state_dict() == {}


def test_a_resumed_training_knows_its_best() -> None:
    first, second = HyperParameters(), HyperParameters()
    told: list[tuple[str, float]] = []
    board = SimpleNamespace(add_scalar=lambda name, value, step: told.append((name, value)))
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn="fit"), sanity_checking=False, global_step=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gaitbench.hyperparameters.board_of", lambda _: board)
        for callback, loss, rank1 in ((first, 0.5, 0.8), (second, 0.7, 0.6)):
            trainer.callback_metrics = {"val/loss": loss, "val/p/NM/rank1": rank1, "train/loss": 9}
            second.load_state_dict(first.state_dict())
            callback.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert told == 2 * [("best/loss", 0.5), ("best/p/NM/rank1", 0.8)]


def test_only_plain_values_and_those_that_matter_are_told() -> None:
    data = {"frames": 5, "cache": "c", "path": "a", "augmentation": {"turn": 1.5, "move": [0, 1]}}
    config = {
        "seed_everything": 3,
        "model": {"class_path": "x.Net", "init_args": {"deep": True, "weights": None}},
        "data": {"class_path": "y.Walks", "init_args": data},
        "trainer": {"max_epochs": 2, "precision": 16},
    }
    told = hyper_parameters("fit", config, {})
    assert told == {
        "command": "fit",
        "method": "Net",
        "dataset": "Walks",
        "seed": 3,
        "model.deep": True,
        "data.frames": 5,
        "data.path": "a",
        "data.augmentation.turn": 1.5,
        "trainer.max_epochs": 2,
        "trainer.precision": "16",
    }
    # of a training that nobody knows, a test tells nothing
    other = hyper_parameters("test", {**config, "ckpt_path": "c.ckpt"}, {})
    assert not [name for name in other if name.startswith(("data.", "trainer.", "seed"))]
    assert other["test.data.frames"] == 5 and other["test.checkpoint"] == "c.ckpt"
    assert other["test.dataset"] == "Walks" and "dataset" not in other
