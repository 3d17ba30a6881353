"""Gait encodings that SGE-LA has predicted, as data to recognise known people by.

Each is that of a window of a closed-set dataset (see :mod:`gaitbench.datamodules.spatial`) and has
that dataset's labels: those of the condition ``train`` are trained on, all others are tested.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from gaitbench.batch import BatchRequest, GaitBatch, Rows
from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.errors import InputError
from gaitbench.files import EMBEDDINGS, SEQUENCES
from gaitbench.protocols import ClosedSetProtocol
from gaitbench.readers.encodings import (
    EncodingShape,
    predictions_in,
    read_encodings,
    refuse_not_finite,
)
from gaitbench.samplers import InOrder, Order, RandomBatches
from gaitbench.skeleton import KINECT20
from gaitbench.store import fingerprint

TRAIN = "train"
NAMED = 5  # people that a sentence names


class EncodingBatches(Dataset[GaitBatch]):
    """Encodings, a batch at a time, as (B, T, A, H).

    Args:
        values: (N, A, T, h) of each network; all h side by side are H.
        subject: (N,) integer of each row's person.
        by_frame: whether a row asked for is one of N T frames, T = 1 then.
    """

    def __init__(
        self, values: Sequence[NDArray[np.float32]], subject: Rows, by_frame: bool
    ) -> None:
        self.values = values
        self.steps = values[0].shape[2]
        self.subject = subject
        self.by_frame = by_frame

    def __len__(self) -> int:
        """Samples."""
        return len(self.subject) * (self.steps if self.by_frame else 1)

    def __getitems__(self, request: BatchRequest) -> GaitBatch:
        """The batch asked for, in one gather."""
        rows, share = request.shared(1, request.rows)
        if self.by_frame:
            rows, step = np.divmod(rows, self.steps)
            taken = [values[rows, :, step][:, None] for values in self.values]
        else:
            taken = [values[rows].swapaxes(1, 2) for values in self.values]
        frames = torch.from_numpy(np.concatenate(taken, axis=-1))
        subject, row = torch.from_numpy(self.subject[rows]), torch.from_numpy(rows)
        return GaitBatch(frames, subject, row, request.seed, share=share)


class Encodings(GaitDataModule):
    """Gait encodings of known people, mapped from the file that ``predict`` has written.

    Args:
        path: the folder that ``predict`` with SGELA has written (``--data.predict all``), or that
            of its run; or several, of networks that encoded the same windows, whose encodings stand
            side by side.
        skeleton: name of the encodings' shape, ``age-6x3x256``; found in the files, and compared
            if it is given, as a checkpoint does.
        frames: decoder steps of an encoding; likewise.
        validation: ``none`` keeps all training windows for training; ``held_out`` sets the last
            ``held_out`` share of each person's aside, and leaves out those that share frames with
            them (windows that were cut beforehand do not tell); ``test`` validates on the test
            windows, as published: a checkpoint chosen by it is chosen on test data.
        held_out: share of each person's training windows set aside.
        predict: which windows ``predict`` tells of.
        train_on: what a training sample is: ``frames``, a decoder step's part of an encoding, or
            ``sequences``, the whole.
        legacy_batching: as published, of each person's windows only whole batches of
            ``batch_size`` count, in training and in tests; fewer than one batch are filled up in
            training with the first one.
        batch_size: samples of a training batch over all devices.
        order: of training samples, see :class:`gaitbench.samplers.RandomBatches`; published is
            ``once``.
        keep_tail: whether a last training batch that is not full is shown; published is not.
        eval_batch_size: windows of a batch in validation, test and prediction.
        num_workers: processes that read ahead; 0 reads in the main process.

    Raises:
        InputError: if the files are no encodings, or somebody is tested who cannot train.
    """

    dataset = "encodings"
    frame_kind = "encoding"
    units = "encodings"
    native_skeleton = KINECT20.name
    protocols: ClassVar[Mapping[str, ClosedSetProtocol]] = {
        protocol.id: protocol
        for protocol in (
            ClosedSetProtocol(
                "encodings.closed_set",
                "Windows of each test condition, recognised among those who trained.",
            ),
            ClosedSetProtocol(
                "encodings.closed_set_reference",
                "The same as the authors' program counts: whole batches of 128 rows alone.",
                form="reference",
            ),
        )
    }
    default_protocols = ("encodings.closed_set",)

    def __init__(
        self,
        path: str | list[str] = "predictions",
        skeleton: str | None = None,
        frames: int | None = None,
        validation: Literal["none", "held_out", "test"] = "none",
        held_out: float = 0.1,
        predict: Literal["test", "train", "all"] = "test",
        train_on: Literal["frames", "sequences"] = "frames",
        legacy_batching: bool = False,
        batch_size: int = 128,
        order: Order = "each_epoch",
        keep_tail: bool = True,
        eval_batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        self.paths = [Path(folder) for folder in ([path] if isinstance(path, str) else path)]
        self.values, table = read_encodings(self.paths)
        _, axes, steps, _ = self.values[0].shape
        found = EncodingShape(steps, axes, sum(values.shape[3] for values in self.values))
        if skeleton not in (None, found.name) or frames not in (None, steps):
            asked = f"data.skeleton {skeleton}" if skeleton else f"data.frames {frames}"
            raise InputError(
                f"data.path {path} holds encodings {found.name} (frames x axes x hidden), not "
                f"{asked}; give the folder that the same SGELA has written"
            )
        super().__init__(
            str(self.paths[0]),
            "published",
            steps,
            validation=validation,
            held_out=held_out,
            predict=predict,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
        )
        self.skeleton = found.name
        self.train_on = train_on
        self.legacy_batching = legacy_batching
        self.order = order
        self.keep_tail = keep_tail
        self.table: pd.DataFrame = table

    @cached_property
    def split(self) -> Split:
        """Who trains and who is tested.

        Raises:
            InputError: if nobody trains, or somebody is tested who does not.
        """
        train = self.table["condition"] == TRAIN
        trained, tested = (set(self.table["subject"][part]) for part in (train, ~train))
        if unknown := sorted(tested - trained):
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            raise InputError(
                f"{self.path} has test windows of {', '.join(unknown[:NAMED])}{more} but none of "
                f"the condition {TRAIN}, and only people who have trained can be told apart; "
                "predict with --data.predict all"
            )
        return Split(tuple(sorted(trained)), tuple(sorted(tested)))

    @property
    def what_becomes(self) -> str:
        """Nothing."""
        return ""

    def store_key(self) -> str:
        """Fingerprint of the files: they are mapped as they are, and no store is built."""
        folders = [predictions_in(path) for path in self.paths]
        return fingerprint(
            [folder / name for folder in folders for name in (EMBEDDINGS, SEQUENCES)]
        )

    def prepare_data(self) -> None:
        """Look at all values once, and say what there is."""
        for values, path in zip(self.values, self.paths, strict=True):
            refuse_not_finite(values, path)
        counts = self.table["condition"].value_counts(sort=False)
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        people = f"{self.num_subjects} people"
        rank_zero_only(print)(f"encodings {self.skeleton} of {people}: windows of {told}")

    def setup(self, stage: str) -> None:
        """Sort the windows into training, validation and test."""
        code = {name: i for i, name in enumerate(self.split.train)}
        self.subject_codes = np.array(self.table["subject"].map(code), np.int64)
        train = (self.table["condition"] == TRAIN).to_numpy()
        rows = {"train": np.flatnonzero(train), "test": np.flatnonzero(~train)}
        rows |= {"validate": rows["test"][:0], "all": np.arange(len(train), dtype=np.int64)}
        if self.validation == "held_out":
            rows["train"], rows["validate"] = self._divided(rows["train"])
        elif self.validation == "test":
            rows["validate"] = rows["test"]
        if self.legacy_batching:
            rows = {part: self._whole_batches(part, found) for part, found in rows.items()}
        self.rows = rows

    def _divided(self, rows: Rows) -> tuple[Rows, Rows]:
        """Training windows, and the last of each person, which share no frame with them."""
        table = self.table.iloc[rows]
        subject = self.subject_codes[rows]
        timed = {"recording", "first_frame"} <= {*table}
        recording = table["recording"].to_numpy() if timed else table["number"].to_numpy()
        first = table["first_frame"].to_numpy() if timed else np.zeros_like(recording)
        order = np.lexsort((first, recording, subject))
        count = np.bincount(subject)[subject[order]]
        place = np.arange(len(rows)) - np.searchsorted(subject[order], subject[order])
        last = np.minimum(count - 1, np.maximum(1, np.round(self.held_out * count)))
        aside = np.zeros(len(rows), bool)
        aside[order] = place >= count - last
        least = pd.Series(first[aside]).groupby(recording[aside]).min()
        begin = pd.Series(recording).map(least).to_numpy()  # NaN where nothing is set aside
        shared = ~aside & (first + self.frames > begin) & timed
        if shared.any():
            rank_zero_only(print)(
                f"{shared.sum():,} training windows are left out, as they share frames with the "
                f"{aside.sum():,} held out"
            )
        return rows[~aside & ~shared], rows[aside]

    def _whole_batches(self, part: str, rows: Rows) -> Rows:
        """What is left of windows in whole batches of each condition and person, in that order.

        Source: authors' program of Rao et al. 2020, arXiv 2008.09435.
        """
        if part == "all":
            return rows
        condition = np.unique(self.table["condition"].to_numpy(str), return_inverse=True)[1]
        group = condition[rows] * self.num_subjects + self.subject_codes[rows]
        kept = []
        for name in np.unique(group):
            own = rows[group == name]
            if len(own) >= self.batch_size:
                own = own[: len(own) // self.batch_size * self.batch_size]
            elif part == "train":
                own = np.append(own, np.full(self.batch_size - len(own), own[0]))
            kept.append(own)
        found = np.concatenate(kept) if kept else rows
        left, filled = len(set(rows) - set(found)), len(found) - len(set(found))
        if left or filled:
            rank_zero_only(print)(
                f"{part}: {left:,} windows fill no batch and are left out (data.legacy_batching), "
                f"{filled:,} are filled up"
            )
        return found

    def _rows(self, part: str) -> Rows:
        rows = self.rows[part]
        if not len(rows):
            raise InputError(
                f"{self.path} has no window to {part}; predict with --data.predict all, or mend "
                "data.held_out or data.validation"
            )
        return rows

    def train_dataloader(self) -> DataLoader[GaitBatch]:
        """Frames or whole encodings in random order."""
        rows, by_frame = self._rows("train"), self.train_on == "frames"
        if by_frame:
            rows = (rows[:, None] * self.frames + np.arange(self.frames)).reshape(-1)
        seed = self._training_seed()
        self._tell_shares()
        sampler = RandomBatches(rows, self.batch_size, seed, self.order, self.keep_tail)
        return self._serve(sampler, EncodingBatches(self.values, self.subject_codes, by_frame))

    def _eval_loader(self, part: str) -> DataLoader[GaitBatch]:
        sampler = InOrder(self._rows(part), self.eval_batch_size)
        return self._serve(sampler, EncodingBatches(self.values, self.subject_codes, False))

    def on_after_batch_transfer(self, batch: GaitBatch, dataloader_idx: int) -> GaitBatch:
        """The batch as it is."""
        return batch
