"""TensorBoard's table of hyper-parameters: a row a run, its settings beside its figures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from gaitbench.board import begin_row, board_of, end_row
from gaitbench.runs import Settings, class_of, read_settings

OF_TRAINER = ("max_epochs", "max_steps", "accumulate_grad_batches")
OF_EVALUATION = ("distance", "rerank")
NO_MATTER = ("data.cache", "data.num_workers", "data.eval_batch_size", "data.predict")
"""Settings of data that change no figure."""

FIGURES, BEST = "val/", "best/"


class HyperParameters(pl.Callback):
    """Writes the settings of a run to TensorBoard, where they stand in a table with its figures.

    The figures of a row are the last values of the run's scalars. A training adds the best value of
    each figure of its validations as ``best/...``: the least loss, and the greatest of the others.
    A ``test`` or ``validate`` is a row of its own, with the settings of the training as far as its
    folder is still there.
    """

    def __init__(self) -> None:
        self._best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """The best figures so far, for a training that is resumed."""
        return dict(self._best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them over."""
        self._best = dict(state_dict)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep Lightning from a row of its own, with a figure that no run has.

        Its row describes the columns, too, and would hide those that other runs have.
        """
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger._default_hp_metric = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the row."""
        self._begin(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the row."""
        self._begin(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the row, unless it is a training's."""
        if trainer.state.fn == "validate":
            self._begin(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the best figures of a training so far; end the row of a validation by itself."""
        board = board_of(trainer)
        if trainer.state.fn == "validate":
            self._end(trainer)
        elif board is not None and not trainer.sanity_checking:
            for name, value in trainer.callback_metrics.items():
                if name.startswith(FIGURES):
                    better = min if name.endswith("loss") else max
                    best = BEST + name.removeprefix(FIGURES)
                    self._best[best] = better(float(value), self._best.get(best, float(value)))
                    board.add_scalar(best, self._best[best], trainer.global_step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the row."""
        if not trainer.interrupted:
            self._end(trainer)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the row."""
        self._end(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        board = board_of(trainer)
        if board is not None:
            command = str(trainer.state.fn.value)  # type: ignore[union-attr]
            # not the trainer's `log_dir`, for which all processes would have to ask
            config, training = read_settings(Path(board.log_dir))
            begin_row(board, hyper_parameters(command, config, training))

    def _end(self, trainer: pl.Trainer) -> None:
        board = board_of(trainer)
        if board is not None:
            end_row(board)


def hyper_parameters(
    command: str, config: Settings, training: Settings
) -> dict[str, bool | int | float | str]:
    """The settings that tell runs apart, as far as they are plain values.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        config: settings of the run, as in ``config.yaml``.
        training: settings of the training of what is tested; empty if unknown.

    Returns:
        Those of method and data by the names that they have on the command line. Data of a test
        that differ from the training's stand under ``test.data``.
    """
    trained = config if command == "fit" else training
    own, data = _data(config), _data(trained)
    trainer = trained.get("trainer") or {}
    told: dict[str, Any] = {
        "command": command,
        "method": class_of(config, "model"),
        "dataset": class_of(trained, "data"),
        "seed": trained.get("seed_everything"),
        **dict(flattened(_arguments(config, "model"), "model")),
        **data,
        "trainer.precision": trainer and str(trainer.get("precision") or "32-true"),
        **{f"trainer.{name}": trainer.get(name) for name in OF_TRAINER},
    }
    if command != "fit":
        judged = config.get("evaluation") or {}
        told |= {
            "test.checkpoint": config.get("ckpt_path"),
            "test.dataset": class_of(config, "data"),
            **{f"test.{name}": value for name, value in own.items() if data.get(name) != value},
            **{f"test.{name}": judged.get(name) for name in OF_EVALUATION},
        }
    return {name: told[name] for name in told if isinstance(told[name], bool | int | float | str)}


def flattened(settings: Mapping[str, Any], head: str) -> Iterator[tuple[str, Any]]:
    """Names and values of settings within settings, ``data.augmentation.reverse``."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{head}.{name}")
        else:
            yield f"{head}.{name}", value


def _data(config: Settings) -> dict[str, Any]:
    told = flattened(_arguments(config, "data"), "data")
    return {name: value for name, value in told if name not in NO_MATTER}


def _arguments(config: Settings, part: str) -> Mapping[str, Any]:
    return (config.get(part) or {}).get("init_args") or {}
