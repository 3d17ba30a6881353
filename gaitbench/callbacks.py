"""From a run's batches to embeddings and attributes, and from these to tables and files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from gaitbench import __version__
from gaitbench.arrays import mapped_array
from gaitbench.board import PROJECTED, VALUES, board_of, show, thumbs_of, write_projector
from gaitbench.draw import attribute_chart, draw_curves, save_figure, view_heat_map
from gaitbench.errors import InputError
from gaitbench.files import EMBEDDINGS, JUDGED, METRICS, SEQUENCES, written_whole
from gaitbench.protocols import (
    AttributeEvaluation,
    AttributeProtocol,
    ClosedSetEvaluation,
    ClosedSetProtocol,
    Distance,
    Evaluation,
    NeighbourEvaluation,
    NeighbourProtocol,
    Protocol,
    evaluate,
    evaluate_attributes,
    evaluate_closed_set,
    evaluate_neighbours,
    unmet,
    unmet_neighbours,
    write_metrics,
)
from gaitbench.protocols.curves import cmc_curves, det_curves
from gaitbench.protocols.probes import KEY, WINDOW
from gaitbench.protocols.results import TITLES, percent
from gaitbench.rows import RowFile, mean_of_rows
from gaitbench.subsets import one_of_each

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PAIRED_IN_TRAINING = 20_000
"""Most sequences of a validation within a training whose pairs are counted, for a DET curve."""

AnyProtocol = Protocol | AttributeProtocol | ClosedSetProtocol | NeighbourProtocol
AnyEvaluation = Evaluation | AttributeEvaluation | ClosedSetEvaluation | NeighbourEvaluation


class Scores(NamedTuple):
    """What a classifier gives N sequences.

    Args:
        values: a score for each known subject, (N, C), or of each frame, (N, T, C).
        subjects: names of the C known ones.
    """

    values: NDArray[np.float32]
    subjects: Sequence[str]


TOLD = ("embedding", "attributes", "scores")
"""What a method may tell of sequences."""


class EmbeddingCollector(pl.Callback):
    """Collects what an evaluation run tells of each sequence, from all processes.

    That is its embedding and, where the method tells attributes, their probabilities, and where it
    tells known subjects apart, their scores; of a sequence with several windows the mean.

    A subclass says in :meth:`on_embeddings` what becomes of them, on the first process only, and in
    ``runs`` which of ``fit``, ``validate``, ``test`` and ``predict`` it follows.
    """

    runs: tuple[str, ...] = ("fit", "validate", "test", "predict")

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def on_embeddings(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        embeddings: Tensor,
        sequences: pd.DataFrame,
        attributes: pd.DataFrame | None,
        scores: Scores | None = None,
    ) -> dict[str, float]:
        """Use what was collected, and return figures for the log.

        Args:
            trainer: of the run.
            pl_module: the method.
            embeddings: (N, D).
            sequences: their N table rows.
            attributes: N rows, a column an attribute; None if the method tells none.
            scores: of known subjects; None if the method gives none.
        """
        raise NotImplementedError

    def _collect(self, trainer: pl.Trainer, outputs: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn not in self.runs:
            return
        told = {name: outputs[name].detach().float() for name in TOLD if name in outputs}
        self._keep(trainer, {"row": outputs["row"], **told})

    def _keep(self, trainer: pl.Trainer, batch: dict[str, Tensor]) -> None:
        # on the device: a copy to the host would wait for the step
        self._batches.append(batch)

    def _gather(self, trainer: pl.Trainer, told: dict[str, Tensor]) -> dict[str, Tensor]:
        """What all processes have."""
        if trainer.world_size == 1:
            return told
        gather = trainer.strategy.all_gather
        return {name: gather(values).flatten(0, 1) for name, values in told.items()}

    def _put_together(self, trainer: pl.Trainer) -> dict[str, Tensor]:
        """What was kept, of all batches and processes."""
        return self._gather(trainer, self._joined())

    def _joined(self) -> dict[str, Tensor]:
        told = {
            name: torch.cat([part[name] for part in self._batches]) for name in self._batches[0]
        }
        self._batches.clear()
        return told

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        if not self._batches:
            return {}
        told = self._put_together(trainer)
        # asks the first process, so all must ask at the same time
        self.directory = run_directory(trainer)
        figures: dict[str, float] = {}
        mistake: InputError | None = None
        if trainer.is_global_zero:
            try:
                figures = self._judge(trainer, pl_module, told)
            except InputError as error:
                mistake = error
        # all processes go on, or stop, together
        figures, message = trainer.strategy.broadcast((figures, str(mistake or "")))
        if message:
            raise mistake or InputError(message)
        return figures

    def _judge(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, told: dict[str, Tensor]
    ) -> dict[str, float]:
        found, embeddings = mean_of_rows(told["row"], told["embedding"])
        table = trainer.datamodule.sequences.iloc[found.cpu().numpy()]  # type: ignore[attr-defined]
        refuse_not_finite(embeddings, table, "embeddings")
        others = self._others(pl_module, table, **told)
        return self.on_embeddings(trainer, pl_module, embeddings, table, *others)

    def _others(
        self,
        pl_module: pl.LightningModule,
        table: pd.DataFrame,
        row: Tensor,
        attributes: Tensor | None = None,
        scores: Tensor | None = None,
        **embedding: Tensor,
    ) -> tuple[pd.DataFrame | None, Scores | None]:
        """Attributes and scores of the sequences of the table, which are those of the rows."""
        probabilities, given = None, None
        if attributes is not None:
            told = mean_of_rows(row, attributes)[1]
            refuse_not_finite(told, table, "predicted attributes")
            names = pl_module.attribute_names
            probabilities = pd.DataFrame(told.cpu().numpy(), table.index, list(names))  # type: ignore[arg-type]
        if scores is not None:
            told = mean_of_rows(row, scores)[1]
            refuse_not_finite(told, table, "scores")
            given = Scores(told.cpu().numpy(), pl_module.subjects)  # type: ignore[arg-type]
        return probabilities, given

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


def refuse_not_finite(values: Tensor, sequences: pd.DataFrame, what: str) -> None:
    """Stop at what cannot be judged.

    Raises:
        InputError: naming the first sequence.
    """
    refuse_faulty(~torch.isfinite(values).flatten(1).all(dim=1), sequences, what)


def refuse_faulty(faulty: Tensor, sequences: pd.DataFrame, what: str) -> None:
    """Stop at those of the sequences that are not finite, which ``faulty`` (N,) says.

    Raises:
        InputError: naming the first sequence.
    """
    if faulty.any():
        name = describe(sequences.iloc[int(faulty.nonzero()[0])])
        raise InputError(
            f"{int(faulty.sum())} of {len(faulty)} {what} are not finite, the first"
            f" that of sequence {name}; look at its poses, or lower model.learning_rate if"
            " the training loss is not finite either"
        )


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
    """Judges embeddings and attributes by named protocols: prints the table, logs it, writes it.

    Args:
        protocols: ids, or an empty list for none, and then no embedding is kept for them; the
            dataset's default ones if not given, without those of attributes if the method tells
            none, without those of known subjects if it tells none apart, and without those that
            find no gallery or no probe.
        distance: ``euclidean``, ``l1`` or ``cosine`` in place of each protocol's own.
        rerank: k-reciprocal re-ranking.
        bootstrap: resamples over subjects for the 95 % intervals; 0 for none.
        projector: most embeddings that are written for TensorBoard's projector, each with a small
            picture of its middle frame; people take turns. 0 writes none.
    """

    def __init__(
        self,
        protocols: list[str] | None = None,
        distance: Distance | None = None,
        rerank: bool = False,
        bootstrap: int = 1000,
        projector: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= projector <= PROJECTED:
            raise InputError(f"evaluation.projector is {projector}; give 0 to {PROJECTED:,}")
        self.protocols = protocols
        self.distance = distance
        self.rerank = rerank
        self.bootstrap = bootstrap
        self.projector = projector

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Look the protocols up, before anything is computed."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        named = list(data.default_protocols) if self.protocols is None else self.protocols
        self._protocols = chosen_protocols(data.protocols, named)
        self._left_out: set[str] = set()

    def _collect(self, trainer: pl.Trainer, outputs: Any) -> None:
        if self.protocols != []:
            super()._collect(trainer, outputs)

    def on_embeddings(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        embeddings: Tensor,
        sequences: pd.DataFrame,
        attributes: pd.DataFrame | None,
        scores: Scores | None = None,
    ) -> dict[str, float]:
        """Evaluate; print and write unless this is a validation within training."""
        training = trainer.state.fn == "fit"
        protocols = self._protocols
        if attributes is None and self.protocols is None:
            protocols = [p for p in protocols if not isinstance(p, AttributeProtocol)]
            if not training and len(protocols) < len(self._protocols):
                print("attributes are not judged: the network tells none")
        if scores is None and self.protocols is None:
            protocols = [p for p in protocols if not isinstance(p, ClosedSetProtocol)]
        if self.protocols is None:
            protocols = self._with_sequences(protocols, sequences, training)
        if not protocols:
            if not training:
                data: Any = trainer.datamodule  # type: ignore[attr-defined]
                lack = "of recognition"
                if data.protocols and not data.default_protocols:
                    lack = "for which these test sequences are gallery and probes; see data.split"
                print(f"nothing to judge: {data.dataset} has no protocol {lack}")
            return {}
        board = board_of(trainer)
        paired = board is not None and len(sequences) <= PAIRED_IN_TRAINING
        evaluations = judge(
            protocols,
            embeddings,
            sequences,
            attributes,
            scores,
            bootstrap=0 if training else self.bootstrap,
            distance=self.distance,
            rerank=self.rerank,
            verification=paired or not training,
            device=embeddings.device,
        )
        figures = {
            f"{evaluation.protocol.id}/{name}": value
            for evaluation in evaluations
            for name, value in evaluation.headlines.items()
        }
        drawn: Mapping[str, Figure | Path | None] = {}
        if not training:
            drawn = publish(
                evaluations,
                self.directory,
                stage=trainer.state.fn,
                distance=self.distance,
                rerank=self.rerank,
                bootstrap=self.bootstrap,
            )
            print(f"\nwritten to {self.directory}")
        elif board is not None:
            drawn = {found.protocol.id: figure_of(found) for found in evaluations}
        if board is not None:
            # as the figures beside them are called
            stage = next((name for name in ("test", "predict") if trainer.state.fn == name), "val")
            for found in evaluations:
                name = found.protocol.id
                kind = "attributes" if isinstance(found, AttributeEvaluation) else "views"
                for part, picture in {kind: drawn.get(name), **curves_of(found)}.items():
                    if picture is not None:
                        show(board, f"{stage}/{name}/{part}", picture, trainer.global_step)
            board.flush()  # what its thread still wrote would meet the files that follow
            if self.projector and not training:
                data = trainer.datamodule  # type: ignore[attr-defined]
                self._project(board, stage, data, evaluations, embeddings, sequences)
        return figures

    def _with_sequences(
        self, protocols: Sequence[AnyProtocol], sequences: pd.DataFrame, training: bool
    ) -> list[AnyProtocol]:
        """Those that find a gallery and probes, with a line once on each that does not.

        Raises:
            InputError: if none does in a test.
        """
        lacks = {p.id: unmet(sequences, p) for p in protocols if isinstance(p, Protocol)}
        for p in protocols:
            if isinstance(p, NeighbourProtocol):
                lacks[p.id] = unmet_neighbours(sequences, p)
        found = [p for p in protocols if not lacks.get(p.id)]
        unsaid = [lack for name, lack in lacks.items() if lack and name not in self._left_out]
        if unsaid and not found and not training:
            raise InputError(unsaid[0])
        for lack in unsaid:
            print(f"not judged: {lack}")
        self._left_out |= {name for name, lack in lacks.items() if lack}
        return found

    def _project(
        self,
        board: "SummaryWriter",
        stage: str,
        data: Any,
        evaluations: Sequence[AnyEvaluation],
        embeddings: Tensor,
        sequences: pd.DataFrame,
    ) -> None:
        """Write some embeddings for the projector."""
        most = min(self.projector, max(1, VALUES // embeddings.shape[1]))
        rows = np.sort(one_of_each(sequences["subject"])[:most])
        table = sequences.iloc[rows]
        labels = table[list(LABELS)].copy()
        for evaluation in evaluations:
            if isinstance(evaluation, Evaluation):
                labels[evaluation.protocol.id] = verdicts(evaluation, table)
        thumbs = None
        if data.frame_kind != "encoding":
            thumbs = thumbs_of(data.open_store(), table, getattr(data, "modality", ""))
        points = embeddings[torch.from_numpy(rows).to(embeddings.device)].cpu().numpy()
        write_projector(Path(board.log_dir), stage, points, labels, thumbs)


def judge(
    protocols: Sequence[AnyProtocol],
    embeddings: NDArray[Any] | Tensor,
    sequences: pd.DataFrame,
    attributes: pd.DataFrame | None,
    scores: Scores | None = None,
    *,
    bootstrap: int = 1000,
    **settings: Any,
) -> list[AnyEvaluation]:
    """Judge embeddings, attributes and scores, each by protocols of its kind.

    Args:
        protocols: by which.
        embeddings: (N, D).
        sequences: N table rows.
        attributes: N rows, a column an attribute; None if there are none.
        scores: of known subjects; None if there are none.
        bootstrap: resamples of the intervals.
        settings: of :func:`gaitbench.protocols.evaluate`.

    Raises:
        InputError: if attributes or scores are to be judged and there are none, and as the
            functions that judge do.
    """
    evaluations: list[AnyEvaluation] = []
    for protocol in protocols:
        if isinstance(protocol, Protocol):
            evaluations.append(
                evaluate(embeddings, sequences, protocol, bootstrap=bootstrap, **settings)
            )
        elif isinstance(protocol, NeighbourProtocol):
            for name in ("distance", "rerank"):
                if settings.get(name):
                    raise InputError(
                        f"{protocol.id} lets Euclidean neighbours of unit length vote, and "
                        f"{name} {settings[name]} would be another protocol; leave {name} out"
                    )
            device = settings.get("device", "cpu")
            evaluations.append(
                evaluate_neighbours(
                    embeddings, sequences, protocol, bootstrap=bootstrap, device=device
                )
            )
        elif isinstance(protocol, ClosedSetProtocol):
            if scores is None:
                raise InputError(
                    f"{protocol.id} judges a classifier of known subjects, and this network has "
                    "none; take another network or another protocol"
                )
            evaluations.append(
                evaluate_closed_set(*scores, sequences, protocol, bootstrap=bootstrap)
            )
        elif attributes is None:
            raise InputError(
                f"{protocol.id} judges attributes, and this network tells none; take one that was "
                "trained on them (model.attribute_weight above 0), or another protocol"
            )
        else:
            evaluations.append(
                evaluate_attributes(attributes, sequences, protocol, bootstrap=bootstrap)
            )
    return evaluations


def chosen_protocols(known: Mapping[str, AnyProtocol], names: Sequence[str]) -> list[AnyProtocol]:
    """The protocols of those names.

    Raises:
        InputError: if one is unknown.
    """
    for name in names:
        if name not in known:
            choice = f"choose from {', '.join(known)}" if known else "this dataset has none"
            raise InputError(f"protocol {name!r} is unknown; {choice}")
    return [known[name] for name in names]


def figure_of(evaluation: AnyEvaluation) -> Figure | None:
    """Rank-1 by gallery and probe view, or AUROC by attribute; None where there is neither.

    Of votes it is the rank-1 of videos.
    """
    if isinstance(evaluation, ClosedSetEvaluation):
        return None
    if isinstance(evaluation, NeighbourEvaluation):
        if evaluation.protocol.views != "others":
            return None
        return view_heat_map(evaluation.table, evaluation.protocol.id, "video_rank1")
    if isinstance(evaluation, AttributeEvaluation):
        areas = evaluation.areas()
        return attribute_chart(areas, evaluation.protocol.id) if areas else None
    if evaluation.protocol.gallery_views == "pooled":
        return None
    return view_heat_map(evaluation.table, evaluation.protocol.id)


def curves_of(evaluation: AnyEvaluation) -> dict[str, Figure]:
    """CMC and, where pairs were counted, DET curves of all probe sets; of recognition alone."""
    if not isinstance(evaluation, Evaluation):
        return {}
    curves = {"cmc": cmc_curves(evaluation.trials), "det": det_curves(evaluation.pairs)}
    figures = {}
    for kind, metric in (("cmc", "rank1"), ("det", "eer")):
        if (found := curves[kind]) is not None:
            labels = {
                name: f"{evaluation.labels[name]}: {TITLES[metric]} "
                f"{percent(evaluation.metrics[name][metric])} %"
                for name in found.lines
            }
            figures[kind] = draw_curves(found, evaluation.protocol.id, labels)
    return figures


def verdicts(evaluation: Evaluation, sequences: pd.DataFrame) -> list[str]:
    """Whether the nearest gallery item of each sequence was of the same person.

    ``right`` or ``wrong``, of several galleries ``right in some``; ``no probe`` where a sequence
    was none that counts. Of recordings that were judged by the mean of their windows, all windows
    are told the same.
    """
    rows = evaluation.rows
    tried, right = np.zeros(len(rows)), np.zeros(len(rows))
    for trials in evaluation.trials.values():
        tried += np.bincount(trials.probe, minlength=len(rows))
        right += np.bincount(trials.probe, trials.values[:, 0], len(rows))
    told = np.select(
        [tried == 0, right == tried, right == 0], ["no probe", "right", "wrong"], "right in some"
    )
    names = [name for name in (*KEY, *WINDOW) if name in rows and name in sequences]
    known = rows[names].assign(told=told).drop_duplicates(names)
    found = sequences[names].merge(known, how="left", on=names, validate="m:1")["told"]
    return found.fillna("no probe").tolist()


def publish(
    evaluations: Sequence[AnyEvaluation], directory: Path, **settings: Any
) -> dict[str, Path]:
    """Print the tables, and write them with their figures, probes and ``metrics.json``.

    Args:
        evaluations: what was found.
        directory: of the run.
        settings: how it was found, for ``judged.json``.

    Returns:
        Protocol to the file of its heat map or areas, where it has any.
    """
    files = {}
    for evaluation in evaluations:
        print(f"\n{evaluation.to_markdown()}")
        evaluation.write(directory)
        name = evaluation.protocol.id
        if (figure := figure_of(evaluation)) is not None:
            files[name] = save_figure(figure, directory / "tables" / f"{name}.png")
    write_metrics(evaluations, directory)
    write_judged(directory, **settings)
    return files


def write_judged(directory: Path, **settings: Any) -> None:
    """Write down how the figures of a folder came about, and of which figures that is said.

    Args:
        directory: that has ``metrics.json``.
        settings: such as the command and the distance.
    """
    digest = hashlib.sha256((directory / METRICS).read_bytes()).hexdigest()
    told = {**settings, "version": __version__, "metrics": digest}
    with written_whole(directory / JUDGED) as path:
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


class PredictionWriter(EmbeddingCollector):
    """Writes the embeddings and attributes of ``predict`` and the table that describes them.

    Args:
        dir: where ``embeddings.npy``, ``sequences.csv`` and, if the method tells attributes,
            ``attributes.csv`` go; ``predictions`` in the run's folder if not given.
    """

    runs = ("predict",)

    def __init__(self, dir: str | None = None) -> None:
        super().__init__()
        self.dir = dir
        self._file: RowFile | None = None

    def _keep(self, trainer: pl.Trainer, batch: dict[str, Tensor]) -> None:
        """Embeddings go to a file at once: those of a large set are more than memory holds."""
        if not self._batches:
            directory = run_directory(trainer)
            self._folder = Path(self.dir) if self.dir else directory / "predictions"
            self._file = RowFile(self._folder) if trainer.is_global_zero else None
        batch = self._gather(trainer, batch)
        row, embedding = batch.pop("row"), batch.pop("embedding")
        if self._file is not None:
            self._file.append(row, embedding)
        self._batches.append(batch)

    def _put_together(self, trainer: pl.Trainer) -> dict[str, Tensor]:
        return self._joined()  # of all processes already

    def _judge(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, told: dict[str, Tensor]
    ) -> dict[str, float]:
        """Write the files, each beside its place and then renamed."""
        embeddings = self._file
        assert embeddings is not None  # on the first process
        row = torch.tensor(embeddings.rows)
        table = trainer.datamodule.sequences.iloc[np.unique(row)]  # type: ignore[attr-defined]
        attributes, _ = self._others(pl_module, table, row.to(pl_module.device), **told)
        with closing(embeddings):
            write_predictions(self._folder, embeddings, table, attributes)
        print(f"{len(table)} embeddings written to {self._folder}")
        return {}

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep nothing."""
        if self._file is not None:
            self._file.close()


ATTRIBUTES = "attributes.csv"
LABELS = ("subject", "condition", "number", "view")
"""Columns that all tables of sequences have."""


def write_predictions(
    directory: Path,
    embeddings: NDArray[np.float32] | RowFile,
    sequences: pd.DataFrame,
    attributes: pd.DataFrame | None = None,
) -> None:
    """Write ``embeddings.npy`` (N, D) float32 and ``sequences.csv``, line i for row i.

    Predicted attributes, if there are any, are written to ``attributes.csv``, line i for row i,
    after the columns that name the sequence; otherwise such a file of an earlier run is removed.
    """
    table = sequences.rename(columns={"length": "frames"}).drop(columns="start")
    labels = [*LABELS, "frames"]
    table = table[labels + [name for name in table.columns if name not in labels]]
    with written_whole(directory / EMBEDDINGS) as path, path.open("wb") as file:
        if isinstance(embeddings, RowFile):
            refuse_faulty(embeddings.save(file), sequences, "embeddings")
        else:
            np.save(file, embeddings.astype(np.float32, copy=False), allow_pickle=False)
    with written_whole(directory / SEQUENCES) as path:
        table.to_csv(path, index=False, lineterminator="\n")
    if attributes is None:
        (directory / ATTRIBUTES).unlink(missing_ok=True)
        return
    with written_whole(directory / ATTRIBUTES) as path:
        told = pd.concat([sequences[list(LABELS)], attributes.set_axis(sequences.index)], axis=1)
        told.to_csv(path, index=False, lineterminator="\n")


def predictions_folder(directory: Path) -> Path:
    """Where a run's predictions are: its folder ``predictions``, or the folder itself."""
    folder = directory / "predictions"
    return folder if folder.is_dir() else directory


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"subject": str, "condition": str})
    except (ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no table ({reason}); predict again") from error
    for column in LABELS:
        if column not in table:
            raise InputError(f"{path} lacks the column {column}; predict again")
    return table


def read_attributes(directory: Path, sequences: pd.DataFrame) -> pd.DataFrame | None:
    """Read the predicted attributes beside the embeddings; None if the network told none.

    Args:
        directory: as for :func:`read_predictions`.
        sequences: the table that it gave.

    Raises:
        InputError: if the file is damaged, or is of other sequences.
    """
    path = predictions_folder(directory) / ATTRIBUTES
    if not path.is_file():
        return None
    table = _read_table(path)
    keys = list(LABELS)
    if len(table) != len(sequences) or (table[keys].astype(str) != sequences[keys].astype(str)).any(
        axis=None
    ):
        raise InputError(
            f"{path} and {SEQUENCES} beside it list other sequences; they must be of the same run, "
            "so predict again"
        )
    told = table.drop(columns=keys)
    for column in told:
        if not pd.api.types.is_numeric_dtype(told[column]):
            raise InputError(f"{path} has a value in column {column} that is no number; mend it")
    return told


def read_predictions(directory: Path) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Read what :func:`write_predictions` wrote in ``directory`` or its ``predictions`` folder.

    Raises:
        InputError: if a file is missing, damaged, or does not match the other.
    """
    folder = predictions_folder(directory)
    for name in (EMBEDDINGS, SEQUENCES):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name} does not exist; give a folder that `predict` has written"
            )
    try:
        embeddings = np.array(mapped_array(folder / EMBEDDINGS))
    except (ValueError, OSError) as error:
        raise InputError(
            f"{folder / EMBEDDINGS} is no plain numpy array: it {error}; predict again"
        ) from error
    table = _read_table(folder / SEQUENCES)
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
