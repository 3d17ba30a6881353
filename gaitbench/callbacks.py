"""From a run's batches to embeddings, and from embeddings to tables and files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from gaitbench.draw import save_figure, view_heat_map
from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.protocols import Distance, Evaluation, Protocol, evaluate, write_metrics


class EmbeddingCollector(pl.Callback):
    """Collects the embeddings of an evaluation run from all processes, the mean of each sequence.

    A subclass says in :meth:`on_embeddings` what becomes of them, on the first process only, and in
    ``runs`` which of ``fit``, ``validate``, ``test`` and ``predict`` it follows.
    """

    runs: tuple[str, ...] = ("fit", "validate", "test", "predict")

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor]] = []

    def on_embeddings(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        embeddings: Tensor,
        sequences: pd.DataFrame,
    ) -> dict[str, float]:
        """Use the embeddings (N, D) and their N table rows; return figures for the log."""
        raise NotImplementedError

    def _collect(self, trainer: pl.Trainer, outputs: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn not in self.runs:
            return
        # kept on the device: a copy to the host would wait for the step
        self._batches.append((outputs["embedding"].detach().float(), outputs["row"]))

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        if not self._batches:
            return {}
        embeddings, rows = (torch.cat(part) for part in zip(*self._batches, strict=True))
        self._batches.clear()
        if trainer.world_size > 1:
            embeddings = trainer.strategy.all_gather(embeddings).flatten(0, 1)
            rows = trainer.strategy.all_gather(rows).flatten()
        # asks the first process, so all must ask at the same time
        self.directory = run_directory(trainer)
        figures: dict[str, float] = {}
        mistake: InputError | None = None
        if trainer.is_global_zero:
            try:
                figures = self._judge(trainer, pl_module, embeddings, rows)
            except InputError as error:
                mistake = error
        # all processes go on, or stop, together
        figures, message = trainer.strategy.broadcast((figures, str(mistake or "")))
        if message:
            raise mistake or InputError(message)
        return figures

    def _judge(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, embeddings: Tensor, rows: Tensor
    ) -> dict[str, float]:
        # a row comes once for each of its windows, and samplers repeat rows to give all processes
        # equal work; in float64 the mean is the same however often it comes
        found, place, times = torch.unique(rows, return_inverse=True, return_counts=True)
        total = embeddings.new_zeros(len(found), embeddings.shape[1], dtype=torch.float64)
        total.index_add_(0, place, embeddings.double())
        embeddings = (total / times[:, None]).float()
        faulty = ~torch.isfinite(embeddings).all(dim=1)
        table = trainer.datamodule.sequences.iloc[found.cpu().numpy()]  # type: ignore[attr-defined]
        if faulty.any():
            name = describe(table.iloc[int(faulty.nonzero()[0])])
            raise InputError(
                f"{int(faulty.sum())} of {len(faulty)} embeddings are not finite, the first"
                f" that of sequence {name}; look at its poses, or lower model.learning_rate if"
                " the training loss is not finite either"
            )
        return self.on_embeddings(trainer, pl_module, embeddings, table)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *place: Any
    ) -> None:
        """Keep a batch."""
        self._collect(trainer, outputs)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *place: Any
    ) -> None:
        """Keep a batch."""
        self._collect(trainer, outputs)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *place: Any
    ) -> None:
        """Keep a batch."""
        self._collect(trainer, outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Use what was kept, and log the figures so that a checkpoint can watch them."""
        for name, value in self._finish(trainer, pl_module).items():
            pl_module.log(f"val/{name}", value, batch_size=1)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Use what was kept, and log the figures."""
        for name, value in self._finish(trainer, pl_module).items():
            pl_module.log(f"test/{name}", value, batch_size=1)

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Use what was kept."""
        self._finish(trainer, pl_module)


def describe(sequence: "pd.Series[Any]") -> str:
    """A sequence's labels as its dataset writes them, ``001-nm-01-090``."""
    return (
        f"{sequence['subject']}-{sequence['condition']}-{sequence['number']:02d}"
        f"-{sequence['view']:03d}"
    )


def run_directory(trainer: pl.Trainer) -> Path:
    """Where this run leaves its files."""
    return Path(trainer.log_dir or trainer.default_root_dir)


class ProtocolEvaluation(EmbeddingCollector):
    """Judges embeddings by named protocols: prints the table, logs it, writes it.

    Args:
        protocols: ids; the dataset's default ones if not given.
        distance: ``euclidean``, ``l1`` or ``cosine`` in place of each protocol's own.
        rerank: k-reciprocal re-ranking.
        bootstrap: resamples over subjects for the 95 % intervals; 0 for none.
        projector: write the embeddings for TensorBoard's projector.
    """

    def __init__(
        self,
        protocols: list[str] | None = None,
        distance: Distance | None = None,
        rerank: bool = False,
        bootstrap: int = 1000,
        projector: bool = False,
    ) -> None:
        super().__init__()
        self.protocols = protocols
        self.distance = distance
        self.rerank = rerank
        self.bootstrap = bootstrap
        self.projector = projector

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Look the protocols up, before anything is computed."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._protocols = chosen_protocols(
            data.protocols, self.protocols or list(data.default_protocols)
        )

    def on_embeddings(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        embeddings: Tensor,
        sequences: pd.DataFrame,
    ) -> dict[str, float]:
        """Evaluate; print and write unless this is a validation within training."""
        training = trainer.state.fn == "fit"
        if not self._protocols:
            if not training:
                name = trainer.datamodule.dataset  # type: ignore[attr-defined]
                print(f"nothing to judge: {name} has no protocol")
            return {}
        evaluations = [
            evaluate(
                embeddings,
                sequences,
                protocol,
                distance=self.distance,
                rerank=self.rerank,
                verification=not training,
                bootstrap=0 if training else self.bootstrap,
                device=embeddings.device,
            )
            for protocol in self._protocols
        ]
        figures = {
            f"{evaluation.protocol.id}/{probes}/{metric}": value
            for evaluation in evaluations
            for probes, metrics in evaluation.metrics.items()
            for metric, value in metrics.items()
            if metric in ("rank1", "map") and isinstance(value, float)
        }
        if not training:
            publish(evaluations, self.directory)
            print(f"\nwritten to {self.directory}")
        self._draw(trainer, evaluations[0], embeddings, sequences, training)
        return figures

    def _draw(
        self,
        trainer: pl.Trainer,
        evaluation: Evaluation,
        embeddings: Tensor,
        sequences: pd.DataFrame,
        training: bool,
    ) -> None:
        if not isinstance(trainer.logger, TensorBoardLogger):
            return
        board = trainer.logger.experiment
        stage = "val" if training else str(trainer.state.fn.value)  # type: ignore[union-attr]
        figure = heat_map(evaluation)
        if figure is not None:
            board.add_figure(f"{stage}/{evaluation.protocol.id}", figure, trainer.global_step)
        if self.projector and not training:
            labels = ["subject", "condition", "number", "view"]
            board.add_embedding(
                embeddings.cpu(),
                metadata=sequences[labels].astype(str).to_numpy().tolist(),
                metadata_header=labels,
                global_step=trainer.global_step,
                tag=stage,
            )


def chosen_protocols(known: Any, names: list[str]) -> list[Protocol]:
    """The protocols of those names.

    Raises:
        InputError: if one is unknown.
    """
    for name in names:
        if name not in known:
            choice = f"choose from {', '.join(known)}" if known else "this dataset has none"
            raise InputError(f"protocol {name!r} is unknown; {choice}")
    return [known[name] for name in names]


def heat_map(evaluation: Evaluation) -> Figure | None:
    """Rank-1 by gallery and probe view; None where the protocol pools the gallery's views."""
    if evaluation.protocol.gallery_views == "pooled":
        return None
    return view_heat_map(evaluation.table, evaluation.protocol.id)


def publish(evaluations: list[Evaluation], directory: Path) -> None:
    """Print the tables, and write them with their heat maps and ``metrics.json``."""
    for evaluation in evaluations:
        print(f"\n{evaluation.to_markdown()}")
        evaluation.write(directory)
        figure = heat_map(evaluation)
        if figure is not None:
            save_figure(figure, directory / "tables" / f"{evaluation.protocol.id}.png")
    write_metrics(evaluations, directory)


class PredictionWriter(EmbeddingCollector):
    """Writes the embeddings of ``predict`` and the table that describes them.

    Args:
        dir: where ``embeddings.npy`` and ``sequences.csv`` go; ``predictions`` in the run's folder
            if not given.
    """

    runs = ("predict",)

    def __init__(self, dir: str | None = None) -> None:
        super().__init__()
        self.dir = dir

    def on_embeddings(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        embeddings: Tensor,
        sequences: pd.DataFrame,
    ) -> dict[str, float]:
        """Write both files, each beside its place and then renamed."""
        directory = Path(self.dir) if self.dir else self.directory / "predictions"
        write_predictions(directory, embeddings.cpu().numpy(), sequences)
        print(f"{len(sequences)} embeddings written to {directory}")
        return {}


EMBEDDINGS, SEQUENCES = "embeddings.npy", "sequences.csv"


def write_predictions(
    directory: Path, embeddings: NDArray[np.float32], sequences: pd.DataFrame
) -> None:
    """Write ``embeddings.npy`` (N, D) float32 and ``sequences.csv``, line i for row i."""
    table = sequences.rename(columns={"length": "frames"}).drop(columns="start")
    labels = ["subject", "condition", "number", "view", "frames"]
    table = table[labels + [name for name in table.columns if name not in labels]]
    with written_whole(directory / EMBEDDINGS) as path, path.open("wb") as file:
        np.save(file, embeddings.astype(np.float32, copy=False), allow_pickle=False)
    with written_whole(directory / SEQUENCES) as path:
        table.to_csv(path, index=False, lineterminator="\n")


def read_predictions(directory: Path) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Read what :func:`write_predictions` wrote in ``directory`` or its ``predictions`` folder.

    Raises:
        InputError: if a file is missing, damaged, or does not match the other.
    """
    folder = directory / "predictions" if (directory / "predictions").is_dir() else directory
    for name in (EMBEDDINGS, SEQUENCES):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name} does not exist; give a folder that `predict` has written"
            )
    try:
        with (folder / EMBEDDINGS).open("rb") as file:
            embeddings = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{folder / EMBEDDINGS} is no plain numpy array ({error}); predict again"
        ) from error
    try:
        table = pd.read_csv(folder / SEQUENCES, dtype={"subject": str, "condition": str})
    except (ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder / SEQUENCES} is no table ({reason}); predict again") from error
    for column in ("subject", "condition", "number", "view"):
        if column not in table:
            raise InputError(f"{folder / SEQUENCES} lacks the column {column}; predict again")
    for column in ("number", "view"):
        if not pd.api.types.is_integer_dtype(table[column]):
            raise InputError(
                f"{folder / SEQUENCES} has a value in column {column} that is no whole number; "
                "mend it or predict again"
            )
    if embeddings.dtype.kind != "f":
        raise InputError(f"{folder / EMBEDDINGS} holds no real numbers; predict again")
    if embeddings.ndim != 2 or len(embeddings) != len(table):
        raise InputError(
            f"{folder / EMBEDDINGS} has shape {embeddings.shape} and {folder / SEQUENCES} has "
            f"{len(table)} rows; they must be of the same run, so predict again"
        )
    if not np.isfinite(embeddings).all():
        row = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
        raise InputError(
            f"{folder / EMBEDDINGS} has a value that is not finite in row {row}; predict again"
        )
    return embeddings, table


class TailAveraging(WeightAveraging):
    """Mean of the weights at the ends of the last epochs: stochastic weight averaging.

    From its first epoch on, validation judges the mean, and checkpoints hold it as their weights
    (beside the current ones, from which a run resumes); before, they hold the current weights.
    Batch-norm statistics are averaged like weights.

    Args:
        start: share of ``trainer.max_epochs`` after which it begins.

    Source: Izmailov et al. 2018, arXiv 1803.05407; 0.8 is what GaitGraph2's OUMVLP config asks for.
    Its published run never saw a mean: the program wrote its last checkpoint before taking it over,
    so only the constant rate had an effect, which ``model.hold_rate_from`` gives without this.
    """

    def __init__(self, start: float = 0.8) -> None:
        super().__init__()
        if not 0 <= start < 1:
            raise InputError(f"TailAveraging.start is {start}; give a share from 0, below 1")
        self.start = start

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Prepare the mean."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            if not trainer.max_epochs or trainer.max_epochs < 0:
                raise InputError("TailAveraging counts epochs; give trainer.max_epochs above 0")
            self.first_epoch = int(self.start * trainer.max_epochs)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """At the end of each of the last epochs."""
        return epoch_idx is not None and epoch_idx >= self.first_epoch

    @property
    def begun(self) -> bool:
        """Whether there is a mean yet."""
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the mean."""
        if self.begun:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from the current weights."""
        if self.begun:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the mean in the model."""
        if self.begun:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the mean as the weights, and the current ones beside it."""
        if self.begun:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Resume from the current weights."""
        if "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
