"""The callback that draws while ``predict`` runs: which walks, and into which files."""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.activation import Attending, Explaining
from gaitbench.batch import GaitBatch, Rows
from gaitbench.board import board_of, show
from gaitbench.callbacks import describe, run_directory
from gaitbench.draw import has_ffmpeg, save_figure
from gaitbench.drawings.activation import ActivationLook
from gaitbench.drawings.attention import AttentionLook
from gaitbench.drawings.frames import FrameLook
from gaitbench.drawings.seen import Drawing, Look, Seen, joined
from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.frame_activation import Watching
from gaitbench.subsets import one_of_each
from gaitbench.windows import Window
from gaitbench.workers import in_parallel

Format = Literal["gif", "mp4", "png"]

FRAME, SILHOUETTE = (60, 60), (64, 44)
"""Rows and columns of the frames that networks on pictures see."""


class Drawings(pl.Callback):
    """Draws what a network looks at, over the walks that ``predict`` embeds.

    Of a graph network each chosen walk becomes an animation and a sheet of key frames in which size
    and colour of a joint tell its value: how much it adds to the embedding (``activation``), and
    the factors of the attention modules if the network has any. A value is a share of the greatest
    of its walk. With test-time augmentation the walk itself is drawn. ``summary.png`` and
    ``summary.csv`` tell the means over all people in the run, by joint and by phase of the step.

    Of a network on pictures each chosen window, or walk, becomes an animation and a sheet of frames
    with colours upon them that tell how much each pixel adds to the embedding. ``summary.png`` and
    ``summary.csv`` tell where on the frames that is, as the mean over all people.

    Of a decoder with attention each chosen window becomes a sheet of matrices, decoder step by
    encoded frame, beside the mask that the loss has; ``attention.png`` and ``attention.csv`` tell
    the means over all people.

    Args:
        limit: most walks to draw; 0 for none, and then nothing is computed either.
        query: which walks to draw and to sum up, as a condition on the columns of the sequence
            table, such as ``subject == '075' and view == 90``: the first ``limit`` that meet it are
            drawn. Without one all are summed up, and walks of as many people as possible, picked at
            random but the same in every run, are drawn.
        dir: where files go; ``drawings`` in the run's folder if not given.
        formats: any of gif, mp4 (needs the program ffmpeg) and png; if not given gif, png and,
            where ffmpeg is there, mp4. Matrices come as png alone.
        maps: names of the maps, or axes, to draw; all of them if not given.
        fps: frames a second of an animation; 12.5 is half the pace of CASIA-B and OUMVLP.
        workers: processes that draw; one a core if not given.
    """

    def __init__(
        self,
        limit: int = 0,
        query: str | None = None,
        dir: str | None = None,
        formats: list[Format] | None = None,
        maps: list[str] | None = None,
        fps: float = 12.5,
        workers: int | None = None,
    ) -> None:
        if limit < 0:
            raise InputError(f"draw.limit is {limit}; give 0 or more")
        if query is not None and not limit:
            raise InputError(
                "draw.query names walks to draw, but draw.limit is 0; give how many to draw at most"
            )
        if not 0 < fps <= 50:
            raise InputError(f"draw.fps is {fps:g}; give more than 0 and at most 50")
        if workers is not None and workers < 1:
            raise InputError(f"draw.workers is {workers}; give 1 or more")
        if formats and "mp4" in formats and not has_ffmpeg():
            raise InputError("draw.formats has mp4, which needs the program ffmpeg on the PATH")
        self.limit = limit
        self.query = query
        self.dir = dir
        films: list[Format] = ["gif", "mp4"] if has_ffmpeg() else ["gif"]
        self.formats = formats or [*films, "png"]
        self.maps = maps
        self.fps = fps
        self.workers = workers

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the walks, before anything is computed.

        Raises:
            InputError: if the query cannot be understood or meets no walk, or there is nothing
                to draw.
        """
        if not self.limit:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._look = self._look_at(pl_module, data)
        loader: Any = trainer.predict_dataloaders
        rows = np.sort(loader.batch_sampler.rows)
        if self.query is not None:
            rows = rows[matching(data.sequences.iloc[rows], self.query)]
        self._wanted = np.zeros(len(data.sequences), dtype=bool)
        self._wanted[rows] = True
        if self.query is None:
            rows = rows[one_of_each(data.sequences["subject"].iloc[rows])]
        self._drawn = frozenset(rows[: self.limit].tolist())
        self._seen: list[Seen] = []

    def _look_at(self, method: pl.LightningModule, data: Any) -> Look:
        """What is drawn of a method on a dataset."""
        spatial = data.frame_kind == "skeleton3d"
        if isinstance(method, Explaining) and (spatial or data.frame_kind == "pose"):
            return ActivationLook(data.layout, spatial, self.formats, self.fps)
        if isinstance(method, Watching) and data.frame_kind == "images":
            size = SILHOUETTE if data.modality == "silhouette" else FRAME
            return FrameLook(data.modality, size, self.formats, self.fps)
        if not isinstance(method, Attending) or not spatial:
            raise InputError(
                f"draw.limit is {self.limit}, but {type(method).__name__} on {data.dataset} has "
                "nothing that is drawn upon poses; leave draw.limit at 0"
            )
        if "png" not in self.formats:
            raise InputError(
                f"draw.formats is [{', '.join(self.formats)}], but the attention of "
                f"{type(method).__name__} is drawn as png; name it"
            )
        return AttentionLook(data.layout, data.frames)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: GaitBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at the walks of a batch that are wanted; keep a few numbers of each."""
        if not self.limit:
            return
        rows = batch.row.cpu().numpy()
        chosen = np.flatnonzero(self._wanted[rows])
        if not len(chosen):
            return
        loader: Any = trainer.predict_dataloaders
        window, length = loader.dataset.window, loader.dataset.length
        frames = batch.frames[torch.from_numpy(chosen).to(batch.frames.device)]
        # what the loader drew, since a window is a function of lengths and seed
        windows = self._windows(window, length[rows[:: window.count]], batch)[chosen]
        with trainer.precision_plugin.forward_context():
            maps = self._look.maps(pl_module, frames)
        drawn = [
            k
            for k, place in enumerate(chosen)
            if rows[place] in self._drawn and place % window.count == window.count // 2
        ]
        maps, frames = self._picked(maps), frames.float().cpu()
        self._seen.append(self._look.look(rows[chosen], frames, maps, windows, drawn))

    @staticmethod
    def _windows(window: Window, lengths: Rows, batch: GaitBatch) -> Rows:
        """Frames of a batch's windows, which are drawn for the global batch."""
        if batch.share is None:
            return window.draw(lengths, batch.seed)
        whole = np.full(batch.share.total // window.count, lengths.max())
        own = batch.share.own
        # evaluation places windows by their own lengths alone
        whole[own.start // window.count : own.stop // window.count] = lengths
        return window.draw(whole, batch.seed)[own]

    def _picked(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = self.maps or list(maps)
        for name in names:
            if name not in maps:
                raise InputError(
                    f"draw.maps has {name!r}, but this network has {', '.join(maps)}; name these"
                )
        return {name: maps[name].float().cpu() for name in names}

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, in the first process and its workers."""
        if not self.limit:
            return
        seen, self._seen = self._seen, []
        parts: list[list[Seen]] = [seen]
        if trainer.world_size > 1:
            parts = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(parts, seen)
        # asks the first process, so all must ask at the same time
        directory = Path(self.dir) if self.dir else run_directory(trainer) / "drawings"
        mistake: InputError | None = None
        if trainer.is_global_zero:
            try:
                self._draw(trainer, pl_module, joined([*chain(*parts)]), directory)
            except InputError as error:
                mistake = error
        # all processes go on, or stop, together
        message = trainer.strategy.broadcast(str(mistake or ""))
        if message:
            raise mistake or InputError(message)

    def _draw(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, seen: Seen, directory: Path
    ) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        cut = getattr(data, "samples", None) == "windows"
        look, noun = self._look, "window" if cut else "walk"
        network = _network(pl_module)
        table = data.sequences.iloc[[walk.row for walk in seen.walks]]
        drawings = [
            Drawing(
                walk,
                f"{_labels(sequence)}\n{network}",
                [directory / f"{name}.{ending}" for ending in look.formats],
            )
            for walk, name, (_, sequence) in zip(
                seen.walks, unique_names(table), table.iterrows(), strict=True
            )
        ]
        pictures: list[Path] = []
        for paths in in_parallel(look.write, drawings, "drawing", self.workers):
            pictures += [path for path in paths if path.suffix == ".png"]
        people = data.sequences["subject"].iloc[seen.rows].to_numpy(str)
        summary = look.summarise(seen.figures, people)
        with written_whole(directory / f"{look.summary}.csv") as beside:
            summary.to_csv(beside, index=False, lineterminator="\n")
        count = f"{_several(len(people), noun)} of {_several(len(set(people)), 'subject')}"
        figure = look.chart(summary, f"{network}, {count}")
        pictures.append(save_figure(figure, directory / f"{look.summary}.png"))
        board = board_of(trainer)
        if board is not None:
            for path in pictures:
                show(board, f"draw/{path.stem}", path, trainer.global_step)
        print(f"{_several(len(drawings), noun)} drawn, {count} summed up, in {directory}")


def matching(table: pd.DataFrame, query: str) -> NDArray[np.bool_]:
    """Which sequences meet a condition on their columns.

    Raises:
        InputError: if it cannot be understood, or none does.
    """
    columns = ", ".join(f"{name} ({table[name].iloc[0]!r})" for name in table.columns)
    try:
        found: Any = table.eval(query, local_dict={}, global_dict={})
        fits = isinstance(found, pd.Series) and pd.api.types.is_bool_dtype(found)
        reason = "" if fits else "it is no condition"
    except Exception as error:  # whatever Python and pandas find wrong with an expression
        reason = " ".join(str(error).split()) or type(error).__name__
    if reason:
        raise InputError(
            f"draw.query {query!r} cannot be understood ({reason}); write a condition on these "
            f"columns, here with the values of the first sequence: {columns}"
        )
    mask: NDArray[np.bool_] = found.to_numpy(bool)
    if not mask.any():
        raise InputError(
            f"draw.query {query!r} is met by none of the {len(table)} sequences that are "
            f"predicted; mend it or data.predict; values of the first sequence: {columns}"
        )
    return mask


def unique_names(table: pd.DataFrame) -> list[str]:
    """A name for the files of each sequence; what is no letter or digit becomes an underscore."""
    names = [
        re.sub(r"[^\w.-]", "_", describe(sequence)) + _place(sequence, "-r{}-f{}")
        for _, sequence in table.iterrows()
    ]
    several = Counter(names)
    return [
        name if several[name] == 1 else f"{name}-row{row}"
        for name, row in zip(names, table.index, strict=True)
    ]


def _place(sequence: "pd.Series[Any]", form: str) -> str:
    """Recording and first frame of what is a part of it, where the table has them."""
    if not {"recording", "first_frame"} <= set(sequence.index):
        return ""
    return form.format(sequence["recording"], sequence["first_frame"])


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _labels(sequence: "pd.Series[Any]") -> str:
    return (
        f"subject {sequence['subject']}, {sequence['condition']} {sequence['number']:02d}, "
        f"{sequence['view']}°" + _place(sequence, "\nrecording {}, first frame {}")
    )


def _network(method: pl.LightningModule) -> str:
    """A method's name and what of its settings one must know to read its drawings."""
    backbone, attention = (method.hparams.get(name) for name in ("backbone", "attention"))
    words = [type(method).__name__, backbone, attention and f"with {attention} attention"]
    return " ".join(filter(None, words))
