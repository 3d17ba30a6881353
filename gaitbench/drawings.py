"""Drawings of where a network looks, made while it predicts."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from gaitbench import activation
from gaitbench.batch import GaitBatch, Rows
from gaitbench.callbacks import describe, run_directory
from gaitbench.draw import animate_maps, draw_maps, has_ffmpeg, map_summary, save_figure
from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.skeleton import Skeleton
from gaitbench.workers import in_parallel

Format = Literal["gif", "mp4", "png"]

KEY_FRAMES = 8
PHASES = 8
"""Bins of the phase of the step."""
NORMAL_95 = 1.96
"""Deviations of the mean to either side that hold 95 % of a normal distribution."""
SUMMARY = "summary"

Values = NDArray[np.float32]


class Walk(NamedTuple):
    """One walk that will be drawn: the frames that it has, without padding.

    Args:
        row: of the table.
        pose: (T, V, 3).
        maps: name -> (T, V) in 0..1.
        keys: frames for the sheet.
    """

    row: int
    pose: Values
    maps: Mapping[str, Values]
    keys: NDArray[np.int64]


class Drawing(NamedTuple):
    """A walk with what is written upon it and the files it becomes."""

    walk: Walk
    title: str
    paths: Sequence[Path]


class Seen(NamedTuple):
    """What one process has seen of a run.

    Args:
        rows: (N,) table rows, some of them several times.
        figures: map -> (N, V + PHASES), mean value of each joint and in each phase, NaN where a
            phase is not seen.
        walks: those that will be drawn.
    """

    rows: Rows
    figures: Mapping[str, Values]
    walks: Sequence[Walk]


class ActivationDrawings(pl.Callback):
    """Draws what a network looks at, over the walks that ``predict`` embeds.

    Each chosen walk becomes an animation and a sheet of key frames in which size and colour of a
    joint tell its value: how much it adds to the embedding (``activation``), and the factors of the
    attention modules if the network has any. A value is a share of the greatest of its walk. With
    test-time augmentation the walk itself is drawn. ``summary.png`` and ``summary.csv`` tell the
    means over all people in the run, by joint and by phase of the step.

    Args:
        limit: most walks to draw; 0 for none, and then nothing is computed either.
        query: which walks to draw and to sum up, as a condition on the columns of the sequence
            table, such as ``subject == '075' and view == 90``: the first ``limit`` that meet it are
            drawn. Without one all are summed up, and walks of as many people as possible, picked at
            random but the same in every run, are drawn.
        dir: where files go; ``drawings`` in the run's folder if not given.
        formats: any of gif, mp4 (needs the program ffmpeg) and png; if not given gif, png and,
            where ffmpeg is there, mp4.
        maps: names of the maps to draw; all of them if not given.
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
        if data.frame_kind != "pose" or not isinstance(pl_module, activation.Explaining):
            raise InputError(
                f"draw.limit is {self.limit}, but {type(pl_module).__name__} on {data.dataset} has "
                "nothing that is drawn upon poses; leave draw.limit at 0"
            )
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
        windows = window.draw(length[rows[:: window.count]], batch.seed)[chosen]
        with trainer.precision_plugin.forward_context():
            maps = pl_module.explain(frames)  # type: ignore[operator]
        drawn = [
            k
            for k, place in enumerate(chosen)
            if rows[place] in self._drawn and place % window.count == window.count // 2
        ]
        layout = trainer.datamodule.layout  # type: ignore[attr-defined]
        maps, frames = self._picked(maps), frames.float().cpu()
        self._seen.append(look(rows[chosen], frames, maps, windows, layout, drawn))

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
        network = " ".join(
            filter(None, [type(pl_module).__name__, pl_module.hparams.get("backbone")])
        )
        table = data.sequences.iloc[[walk.row for walk in seen.walks]]
        drawings = [
            Drawing(
                walk,
                f"{_labels(sequence)}\n{network}",
                [directory / f"{name}.{ending}" for ending in self.formats],
            )
            for walk, name, (_, sequence) in zip(
                seen.walks, unique_names(table), table.iterrows(), strict=True
            )
        ]
        draw = partial(_write, skeleton=data.layout, fps=self.fps)
        board = trainer.logger.experiment if isinstance(trainer.logger, TensorBoardLogger) else None
        for paths in in_parallel(draw, drawings, "drawing", self.workers):
            _show(board, paths, trainer.global_step)
        people = data.sequences["subject"].iloc[seen.rows].to_numpy(str)
        summary = summarise(seen.figures, people, data.layout)
        with written_whole(directory / f"{SUMMARY}.csv") as beside:
            summary.to_csv(beside, index=False, lineterminator="\n")
        count = f"{_several(len(people), 'walk')} of {_several(len(set(people)), 'subject')}"
        figure = map_summary(summary, f"{network}, {count}")
        _show(board, [save_figure(figure, directory / f"{SUMMARY}.png")], trainer.global_step)
        print(f"{_several(len(drawings), 'walk')} drawn, {count} summed up, in {directory}")


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


def one_of_each(subject: "pd.Series[Any]") -> Rows:
    """An order in which everybody has a turn before anybody has a second; else at random.

    The same subjects give the same order.
    """
    order = np.random.default_rng(0).permutation(len(subject))
    turn = subject.iloc[order].groupby(subject.iloc[order].to_numpy()).cumcount()
    return order[turn.to_numpy().argsort(kind="stable")]


def look(
    rows: Rows,
    frames: Tensor,
    maps: Mapping[str, Tensor],
    windows: NDArray[np.int64],
    skeleton: Skeleton,
    drawn: Sequence[int],
) -> Seen:
    """What the maps of some walks come to, and all of those that are to be drawn.

    Args:
        rows: (B,) of the table.
        frames: (B, S, V, 3) poses; on the CPU, as are the maps.
        maps: name -> (B, T', V), of any range.
        windows: (B, S) which frame of its walk each is.
        skeleton: layout of the joints.
        drawn: which of the B to keep for drawing.
    """
    order, real = map(torch.from_numpy, activation.in_time(windows))
    batch = torch.arange(len(rows))[:, None]
    pose = frames[batch, order]
    values = {
        name: activation.at_frames(activation.share_of_greatest(shown), frames.shape[1])[
            batch, order
        ]
        for name, shown in maps.items()
    }
    steps = activation.find_steps(pose, skeleton, real)
    share = real.float() / real.sum(1, keepdim=True)
    bins = (steps.phase.nan_to_num(0) * PHASES).long() % PHASES
    known = real & ~steps.phase.isnan()
    in_bin = torch.nn.functional.one_hot(bins, PHASES).float() * known[..., None]
    of_bin = in_bin / in_bin.sum(1, keepdim=True)  # NaN where the bin is empty
    figures = {}
    for name, value in values.items():
        of_joint = (value * share[..., None]).sum(1)
        of_phase = (value.mean(2)[..., None] * of_bin).sum(1)
        figures[name] = torch.cat([of_joint, of_phase], 1).numpy()
    walks = []
    for k in drawn:
        size = int(real[k].sum())
        own = activation.Steps(steps.phase[k : k + 1], steps.frames[k : k + 1])
        walks.append(
            Walk(
                int(rows[k]),
                pose[k, :size].numpy(),
                {name: value[k, :size].numpy() for name, value in values.items()},
                activation.key_frames(own, size, KEY_FRAMES),
            )
        )
    return Seen(rows, figures, walks)


def joined(parts: Sequence[Seen]) -> Seen:
    """One of all: each row once, with the mean of its windows, in the order of the table."""
    rows = np.concatenate([part.rows for part in parts])
    found, place = np.unique(rows, return_inverse=True)
    figures = {}
    for name in parts[0].figures:
        values = np.concatenate([part.figures[name] for part in parts])
        figures[name] = _means(values, place, len(found))
    walks = {walk.row: walk for part in parts for walk in part.walks}
    return Seen(found, figures, [walks[row] for row in sorted(walks)])


def _means(values: Values, group: NDArray[np.int64], count: int) -> Values:
    """Mean (count, K) of the values (N, K) of each group, NaN left out where others are known."""
    known = ~np.isnan(values)
    total, times = np.zeros((2, count, values.shape[1]))
    np.add.at(total, group, np.where(known, values, 0))
    np.add.at(times, group, known)
    return np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0).astype("f4")


def summarise(
    figures: Mapping[str, Values], people: NDArray[np.str_], skeleton: Skeleton
) -> pd.DataFrame:
    """Means over people, and the 95 % intervals of these means by the normal distribution.

    Args:
        figures: map -> (N, V + PHASES), see :class:`Seen`.
        people: (N,) whose they are; a person counts once, however many walks there are.
        skeleton: layout of the joints.

    Returns:
        Columns map, kind (``joint`` or ``phase``), name (of the joint, or where the bin begins),
        mean, low, high and people; NaN where nobody, or for an interval a single person, was seen.
    """
    names, place = np.unique(people, return_inverse=True)
    kinds = [("joint", joint) for joint in skeleton.joints]
    kinds += [("phase", str(k / PHASES)) for k in range(PHASES)]
    parts = []
    for name, values in figures.items():
        own = _means(values, place, len(names)).astype(np.float64)
        count = (~np.isnan(own)).sum(0)
        mean = np.nansum(own, 0) / np.where(count, count, np.nan)
        spare = np.where(count > 1, count - 1, np.nan)
        half = NORMAL_95 * np.sqrt(np.nansum((own - mean) ** 2, 0) / spare / count)
        part = pd.DataFrame(kinds, columns=["kind", "name"])
        part.insert(0, "map", name)
        parts.append(part.assign(mean=mean, low=mean - half, high=mean + half, people=count))
    return pd.concat(parts, ignore_index=True)


def unique_names(table: pd.DataFrame) -> list[str]:
    """A name for the files of each sequence; what is no letter or digit becomes an underscore."""
    names = [re.sub(r"[^\w.-]", "_", describe(sequence)) for _, sequence in table.iterrows()]
    several = Counter(names)
    return [
        name if several[name] == 1 else f"{name}-row{row}"
        for name, row in zip(names, table.index, strict=True)
    ]


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _labels(sequence: "pd.Series[Any]") -> str:
    return (
        f"subject {sequence['subject']}, {sequence['condition']} {sequence['number']:02d}, "
        f"{sequence['view']}°"
    )


def _write(drawing: Drawing, skeleton: Skeleton, fps: float) -> Sequence[Path]:
    """Make the files of a walk."""
    walk = drawing.walk
    films = [path for path in drawing.paths if path.suffix != ".png"]
    if films:
        animate_maps(walk.pose, walk.maps, skeleton, films, drawing.title, fps)
    for path in drawing.paths:
        if path.suffix == ".png":
            title = drawing.title.replace("\n", ", ")
            figure = draw_maps(walk.pose, walk.maps, skeleton, walk.keys.tolist(), (), title)
            save_figure(figure, path)
    return drawing.paths


def _show(board: Any, paths: Sequence[Path], step: int) -> None:
    """Send pictures to TensorBoard, if there is one."""
    for path in paths:
        if board is not None and path.suffix == ".png":
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            board.add_image(f"draw/{path.stem}", pixels, step, dataformats="HWC")
