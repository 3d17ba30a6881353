"""What datasets of images share: gray frames, flow, silhouettes; windows that are samples."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gaitbench.arrays import mapped_array
from gaitbench.batch import BatchRequest, GaitBatch, Rows
from gaitbench.datamodules.base import GaitDataModule, SequenceWindows
from gaitbench.errors import InputError
from gaitbench.files import EMBEDDINGS, SEQUENCES
from gaitbench.image_transforms import (
    FrameAugmentation,
    mirrored,
    moving_parts,
    silhouette_values,
)
from gaitbench.readers.encodings import predictions_in
from gaitbench.skeleton import COCO17
from gaitbench.sliding import sliding_windows
from gaitbench.store import SequenceStore, StoreInfo
from gaitbench.transforms import PoseAugmentation
from gaitbench.video.crops import HOP, WINDOW, cropped, flow_input, gray_input
from gaitbench.video.frames import BOXES, FLOW, GRAY, SILHOUETTE
from gaitbench.windows import Window

logger = logging.getLogger(__name__)

Modality = Literal["gray", "flow", "silhouette"]

STILL = FrameAugmentation(warp=0, mirror=0, clip=0)
"""Nothing is varied."""

_NO_POSES = PoseAugmentation(
    reverse=0, swap_sides=0, joint_noise=0, point_noise=0, clamp_confidence=False, move=(0, 0)
)

LEFT_OUT = {
    "dropped": "Frames left out as they show nobody",
    "others": "People of videos left out as another is seen longer",
}
"""Column of a store's table -> what it counts."""

Signatures = tuple[NDArray[np.float32], Rows]
"""Vectors (M, D), and which of them is of each of N rows, (N,)."""

WALK = ("subject", "condition", "number", "view", "recording", "first_frame")
"""Columns that tell a window from all others."""


class FrameSets(Window):
    """Frames of a walk as a set, whose order and repetitions count for nothing.

    In training ``size`` frames are drawn with replacement. Otherwise all frames are shown, and
    those of shorter walks in a batch again from their beginning.

    Source: Chao et al. 2019, "GaitSet", AAAI, authors' program.
    """

    def draw(self, lengths: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        """Frame numbers (B * count, T) within sequences of the given ``lengths`` (B,)."""
        lengths = np.repeat(lengths, self.count)[:, None]
        if self.place == "random":
            return np.random.default_rng(seed).integers(0, lengths, (len(lengths), self.size))
        return np.asarray(np.arange(lengths.max()) % lengths)


class Stacks(SequenceWindows):
    """Stacks of frames as they are stored, a batch at a time.

    Args:
        store: all frames.
        subject: (N,) integer of each row's person.
        window: which frames of a recording are shown; of samples that are windows, all.
        attributes: (N, L) soft attributes; None if there are none.
        recording: (N,) row of the store's table.
        first: (N,) first frame of each sample, counted from that of its recording.
        length: (N,) frames of each sample.
        array: of the store.
        teacher: array whose frames become the target; None for none.
        signatures: S sets, none, one, or that of windows as they are and that of mirrored ones; a
            target is (S, D).
    """

    def __init__(
        self,
        store: SequenceStore,
        subject: Rows,
        window: Window,
        attributes: NDArray[np.float32] | None,
        recording: Rows,
        first: Rows,
        length: Rows,
        array: str | None,
        teacher: str | None,
        signatures: Sequence[Signatures],
    ) -> None:
        super().__init__(store, subject, window, attributes)
        self.recording, self.first, self.length = recording, first, length
        self.array, self.teacher, self.signatures = array, teacher, signatures

    def __getitems__(self, request: BatchRequest) -> GaitBatch:
        """The batch asked for, in one gather an array."""
        within = self.window.draw(self.length[request.rows], request.seed)
        rows = np.repeat(request.rows, self.window.count)
        rows, within, share = request.shared(self.window.count, rows, within)
        where = self.recording[rows], self.first[rows, None] + within
        frames = torch.from_numpy(self.store.gather(*where, self.array))
        target = None
        if self.teacher is not None:
            target = torch.from_numpy(self.store.gather(*where, self.teacher))
        elif self.signatures:
            told = [values[place[rows]] for values, place in self.signatures]
            target = torch.from_numpy(np.stack(told, axis=1))
        subject, row = torch.from_numpy(self.subject[rows]), torch.from_numpy(rows)
        attributes = None if self.attributes is None else torch.from_numpy(self.attributes[rows])
        return GaitBatch(frames, subject, row, request.seed, attributes, target, share)


class ImageDataModule(GaitDataModule):
    """A dataset of walkers' images.

    A batch's frames are (B, T, H, W, C): ``gray`` 60 x 60 x 1 from -0.5 to 0.5, ``flow`` 60 x 60 x
    2 in pixels of the video, ``silhouette`` 64 x 44 x 1 from 0 to 1. Of gray values and flow a
    window is moved sideways as a whole, so that the person is in the middle.

    Args:
        path: the dataset as its owner published it.
        split: name of the division into training and test subjects.
        frames: frames of a sample; of whole recordings in training alone.
        modality: what the network sees.
        teacher_modality: what a frozen teacher sees of the same windows, varied alike: the
            ``target`` of a batch.
        signatures: folder that ``predict`` of a teacher has written, or that of its run: the
            embeddings of the same windows become the ``target`` of a batch, (B, D).
        mirrored_signatures: the same, written with ``data.eval_mirror``: the targets of windows
            that training has mirrored. Without them it mirrors none.
        samples: ``windows`` makes a row of each window of ``frames`` frames; ``recordings`` takes
            frames of whole recordings, see :class:`FrameSets`.
        hop: frames from window to window; published is 5.
        published_windows: cut them as the authors' program does, which leaves out the last window
            where it ends with the sequence, and takes the person's place one frame late.
        frame_augmentation: what is varied in training.
        moving: show of gray windows what moves alone, see
            :func:`gaitbench.image_transforms.moving_parts`; not of a teacher's.
        skeleton: name of the frames' shape, ``gray-25x60x60`` or ``gray-25x60x60-moving``; compared
            with that of the data, as a checkpoint does.
        eval_batch_size: samples of a batch in validation, test and prediction.
        eval_mirror: show them mirrored there.
        settings: see :class:`GaitDataModule`. Those that speak of poses are refused.

    Raises:
        InputError: if settings do not go together.
    """

    frame_kind = "images"
    units = "gray and silhouettes 0 to 255, flow in hundredths of a pixel"
    native_skeleton = COCO17.name  # a frame has no joints; no layout is asked for

    def __init__(
        self,
        path: str,
        split: str,
        frames: int = WINDOW,
        modality: Modality = "gray",
        teacher_modality: Literal["none", "gray", "flow", "silhouette"] = "none",
        signatures: str | None = None,
        mirrored_signatures: str | None = None,
        samples: Literal["windows", "recordings"] = "windows",
        hop: int = HOP,
        published_windows: bool = False,
        frame_augmentation: FrameAugmentation = STILL,
        moving: bool = False,
        skeleton: str | None = None,
        eval_batch_size: int = 64,
        eval_mirror: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(
            path,
            split,
            frames,
            augmentation=_NO_POSES,
            eval_batch_size=eval_batch_size,
            **settings,
        )
        self.modality = modality
        self.teacher_modality = teacher_modality
        self.signatures = None if signatures is None else Path(signatures)
        self.mirrored_signatures = (
            None if mirrored_signatures is None else Path(mirrored_signatures)
        )
        self.eval_mirror = eval_mirror
        self.samples = samples
        self.hop = hop
        self.published_windows = published_windows
        self.changes = frame_augmentation
        self.moving = moving
        self._refuse()
        self.skeleton = "silhouette-64x44"
        if modality != SILHOUETTE:
            self.skeleton = f"{modality}-{frames}x60x60{'-moving' * moving}"
        if skeleton not in (None, self.skeleton):
            raise InputError(
                f"data.skeleton is {skeleton}, data.modality {modality} of data.frames {frames} "
                f"gives {self.skeleton}; mend data.modality, data.frames or data.moving, or name "
                "another checkpoint"
            )

    def _refuse(self) -> None:
        """Raise an InputError where settings are made for poses, or do not go together."""
        for name, used in (
            ("normalize", self.normalize is not None),
            ("fill_empty", self.fill_empty != "none"),
            ("crop", self.crop != "reflected"),
            ("eval_windows", self.eval_windows != 1),
            ("eval_shuffle", self.eval_shuffle),
        ):
            if used:
                raise InputError(f"data.{name} is made for poses, {self.dataset} has images")
        if self.moving and self.modality != GRAY:
            raise InputError(
                f"data.moving is of gray windows, data.modality is {self.modality}; leave it out"
            )
        if self.hop < 1:
            raise InputError(f"data.hop is {self.hop}; give 1 or more")
        whole = self.samples == "recordings"
        if whole and self.modality != SILHOUETTE:
            raise InputError(
                f"data.samples recordings takes silhouettes, whose person is in the middle, and "
                f"data.modality is {self.modality}; give data.samples windows"
            )
        for name, used in (
            ("teacher_modality", self.teacher_modality != "none"),
            ("signatures", self.signatures is not None),
        ):
            if whole and used:
                raise InputError(f"data.{name} is of windows; give data.samples windows")
        if self.signatures is not None and self.teacher_modality != "none":
            raise InputError(
                "data.signatures and data.teacher_modality both tell what is copied; leave one out"
            )
        if self.mirrored_signatures and self.signatures is None:
            raise InputError(
                "data.mirrored_signatures are of mirrored windows; give data.signatures of the "
                "windows as they are beside them"
            )
        if self.signatures and self.changes.mirror and not self.mirrored_signatures:
            raise InputError(
                f"data.frame_augmentation.mirror is {self.changes.mirror}, and data.signatures are "
                "of windows that are not mirrored; give 0, or data.mirrored_signatures, which "
                "`predict` of the teacher writes with data.eval_mirror"
            )
        if SILHOUETTE in (self.modality, self.teacher_modality) and self.teacher_modality not in (
            "none",
            self.modality,
        ):
            raise InputError(
                f"data.modality {self.modality} and data.teacher_modality {self.teacher_modality} "
                "have frames of different sizes and cannot be varied alike; choose of gray and flow"
            )

    @property
    def store_info(self) -> StoreInfo:
        """What the store's description says of its frames."""
        return StoreInfo(self.dataset, self.frame_kind, None, self.units, self.store_settings)

    @property
    def what_becomes(self) -> str:
        """What a method sees, in one line."""
        target = ""
        if self.teacher_modality != "none":
            target = f"; beside it {self.teacher_modality} for the teacher"
        return f"frames: {self.skeleton}, samples: {self.samples}{target}"

    def notes(self) -> list[str]:
        """What became of frames and people in reading, a sentence each."""
        table = self.open_store().sequences
        return [
            f"{what}: {int(table[name].sum()):,}."
            for name, what in LEFT_OUT.items()
            if name in table and table[name].any()
        ]

    def setup(self, stage: str) -> None:
        """See :class:`GaitDataModule`; where samples are windows, rows become theirs."""
        super().setup(stage)
        table = self.sequences
        self.recording = np.arange(len(table))
        self.first = np.zeros(len(table), np.int64)
        if self.samples == "windows":
            self._cut_up()
        folders = [path for path in (self.signatures, self.mirrored_signatures) if path]
        self._signed = [self._read_signatures(path) for path in folders]
        if len({values.shape[1] for values, _ in self._signed}) > 1:
            raise InputError(
                f"data.signatures {folders[0]} and data.mirrored_signatures {folders[1]} have "
                "vectors of different lengths; predict both with the same teacher"
            )
        if BOXES in self.open_store().arrays:
            # of the frame by which a window is moved, see gaitbench.video.crops.middle_frame
            last = table["length"].to_numpy()[self.recording] - 1
            middle = self.first + (self.frames - 1) // 2 + self.published_windows
            place = table["start"].to_numpy()[self.recording] + np.minimum(middle, last)
            self._boxes = torch.from_numpy(self.open_store().arrays[BOXES][place])
            self._width = torch.from_numpy(table["width"].to_numpy(np.int64)[self.recording])

    def _cut_up(self) -> None:
        """Make a row of each window; people who neither train nor are tested have some, too."""
        table, length = self.sequences, self.sequences["length"].to_numpy()
        kept = self.rows["all"]
        place, start = sliding_windows(length[kept], self.frames, self.hop)
        recording = kept[place]
        if self.published_windows:
            inside = start + self.frames < length[recording]
            recording, start = recording[inside], start[inside]
        self.recording, self.first = recording, start
        if not len(recording):
            raise InputError(
                f"no recording of {self.path} has data.frames {self.frames} frames, and so none "
                "has a window; lower data.frames"
            )
        self.rows = {
            part: np.flatnonzero(np.isin(recording, rows)) for part, rows in self.rows.items()
        }
        cut = table.iloc[recording].reset_index(drop=True)
        number = cut.get("recording", pd.Series(recording))
        columns = ["start", "length", "subject", "condition", "number", "view", *self.attributes]
        self.table = cut[columns].assign(
            start=cut["start"] + start,
            length=self.frames,
            recording=number,
            first_frame=cut.get("first_frame", 0) + start,
        )
        self.subject_codes = self.subject_codes[recording]
        if self.attribute_values is not None:
            self.attribute_values = self.attribute_values[recording]
        if without := len(kept) - len(np.unique(recording)):
            logger.warning(
                "%s: %d of %d recordings are too short for a window of data.frames %d",
                self.path,
                without,
                len(kept),
                self.frames,
            )

    def _read_signatures(self, path: Path) -> Signatures:
        """What a teacher has predicted, and which of it is of each row; 0 where none is needed."""
        folder = predictions_in(path)
        try:
            values = mapped_array(folder / EMBEDDINGS)
            told = pd.read_csv(
                folder / SEQUENCES, dtype={"subject": str, "condition": str}, na_filter=False
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise InputError(
                f"data.signatures {path} holds no {EMBEDDINGS} and {SEQUENCES} ({reason}); name "
                "the folder that `predict` with the teacher has written"
            ) from error
        missing = sorted({*WALK} - {*told.columns})
        if missing or values.ndim != 2 or len(values) != len(told) or values.dtype != np.float32:
            raise InputError(
                f"data.signatures {path} is not of windows with an embedding each"
                f"{f', it lacks the column {missing[0]}' if missing else ''}; predict with the "
                "teacher again, with data.samples windows"
            )
        own = self.sequences[list(WALK)]
        known = told[list(WALK)].assign(place=np.arange(len(told))).drop_duplicates(list(WALK))
        place = own.merge(known, how="left", on=list(WALK))["place"].to_numpy(np.float64)
        wanted = np.concatenate([self.rows["train"], self.rows["validate"]])
        unknown = wanted[np.isnan(place[wanted])]
        if len(unknown):
            row = own.iloc[unknown[0]]
            raise InputError(
                f"data.signatures {path} lacks {len(unknown)} of {len(wanted)} training windows, "
                f"first {row['subject']}-{row['condition']}-{row['number']:02d}-{row['view']:03d} "
                f"from frame {row['first_frame']}; predict the same data with --data.predict all"
            )
        return values, np.nan_to_num(place).astype(np.int64)

    @cached_property
    def _arrays(self) -> tuple[str | None, str | None]:
        """Names of the store's arrays that the network and its teacher see.

        Raises:
            InputError: if the store lacks one.
        """
        store = self.open_store()
        if len(store.arrays) == 1:
            return None, None if self.teacher_modality == "none" else next(iter(store.arrays))
        names = [self.modality, *([self.teacher_modality] * (self.teacher_modality != "none"))]
        for name in names:
            if name not in store.arrays:
                raise InputError(
                    f"{store.path} holds no {name}, only {', '.join(store.arrays)}; mend "
                    "data.modality or data.teacher_modality"
                )
        return names[0], names[1] if len(names) > 1 else None

    def _windows_of(self, window: Window) -> Dataset[GaitBatch]:
        table = self.sequences
        if self.samples == "recordings":
            window = FrameSets(self.frames, window.place, count=window.count)
        array, teacher = self._arrays
        return Stacks(
            self.open_store(),
            self.subject_codes,
            window,
            self.attribute_values,
            self.recording,
            self.first,
            table["length"].to_numpy(),
            array,
            teacher,
            self._signed,
        )

    def on_after_batch_transfer(self, batch: GaitBatch, dataloader_idx: int) -> GaitBatch:
        """Frames as the method sees them, on the device that holds them; in training, varied.

        A teacher's frames are varied alike in space; their flow keeps its extreme values. Where
        signatures of mirrored windows are there, the target of a mirrored window is its own.
        """
        frames = self._input(batch.frames, self.modality, batch.row)
        target = batch.target
        if self.teacher_modality != "none" and target is not None:
            target = self._input(target, self.teacher_modality, batch.row)
        told = torch.zeros_like(batch.row)
        if self.trainer is not None and self.trainer.training and self.changes != STILL:
            generator = torch.Generator(frames.device).manual_seed(batch.seed)
            if self.modality == FLOW and self.changes.clip:
                frames = self.changes.clipped(frames, generator, batch.share)
            if self.modality == GRAY and self.changes.tone:
                frames = self.changes.toned(frames, generator, batch.share)
            count, _, height, width, _ = frames.shape
            warp = self.changes.draw(count, height, width, generator, batch.share)
            frames = warp(frames)
            told = warp.told.long()
            if self.teacher_modality != "none" and target is not None:
                target = warp(target)
        elif self.eval_mirror and not (self.trainer and self.trainer.training):
            frames = mirrored(frames)
            if self.teacher_modality != "none" and target is not None:
                target = mirrored(target)
            told = torch.ones_like(told)
        if self.moving:
            frames = moving_parts(frames)
        if self._signed and target is not None:
            # where a window has one signature, that is the only choice
            rows = torch.arange(len(told), device=told.device)
            target = target[rows, told.clamp(max=target.shape[1] - 1)]
        return batch._replace(frames=frames, target=target)

    def _input(self, frames: Tensor, modality: str, row: Tensor) -> Tensor:
        """Stored frames as networks take them."""
        if modality == SILHOUETTE:
            return silhouette_values(frames[..., None])
        self._boxes, self._width = self._boxes.to(row.device), self._width.to(row.device)
        moved = cropped(frames, self._boxes[row], self._width[row])
        return gray_input(moved) if modality == GRAY else flow_input(moved)
