"""What datasets of 3D skeletons share: joints in metres, and windows that are samples."""

import logging
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset

from gaitbench.batch import BatchRequest, GaitBatch, Rows
from gaitbench.datamodules.base import GaitDataModule, People, SequenceWindows, Split
from gaitbench.errors import InputError
from gaitbench.geometry import about_center
from gaitbench.protocols import Protocol, unmet
from gaitbench.samplers import BatchSampler, Order, RandomBatches
from gaitbench.sliding import sliding_windows
from gaitbench.store import SequenceStore
from gaitbench.transforms import PoseAugmentation
from gaitbench.windows import Window

logger = logging.getLogger(__name__)

STILL = PoseAugmentation(
    reverse=0, swap_sides=0, joint_noise=0, point_noise=0, clamp_confidence=False, move=(0, 0)
)
"""Nothing is varied."""

NAMED = 5  # people that a remark names


def retrieval(dataset: str, probe: str, gallery: str) -> dict[str, Protocol]:
    """The protocol ``<dataset>.<probe>``, by which later programs judge encodings of test parts.

    Every probe is compared with the whole gallery, by the Euclidean distance of embeddings that are
    not scaled; figures are means over probes.

    Args:
        dataset: its name.
        probe: the condition whose sequences are searched for.
        gallery: the condition among whose sequences they are.

    Source: Rao and Miao 2022, "SimMC", IJCAI, arXiv 2204.09826, and the authors' program.
    """
    protocol = Protocol(
        id=f"{dataset}.{probe.lower()}",
        description=f"Sequences of the condition {probe}, searched for among those of {gallery}.",
        gallery={"condition": (gallery,)},
        probes={probe: {"condition": (probe,)}},
        gallery_views="pooled",
        exclude_same_view=False,
        unmatched="skip",
        normalize=False,
    )
    return {protocol.id: protocol}


class CutWindows(SequenceWindows):
    """Windows that are samples of their own, each with a row, a batch at a time.

    Args:
        store: all frames.
        subject: (N,) integer of each window's person.
        window: of their size; what else it says varies the frames within each.
        attributes: (N, L) soft attributes; None if there are none.
        recording: (N,) row of the store's table.
        first: (N,) first frame of each, counted from that of its recording.
        following: (N,) row of the window that stands behind each in a batch, as S more frames; None
            if none does.
    """

    def __init__(
        self,
        store: SequenceStore,
        subject: Rows,
        window: Window,
        attributes: NDArray[np.float32] | None,
        recording: Rows,
        first: Rows,
        following: Rows | None = None,
    ) -> None:
        super().__init__(store, subject, window, attributes)
        self.following = following
        self.recording = recording
        self.first = first
        self.length = np.full(len(first), window.size)

    def __len__(self) -> int:
        """Windows."""
        return len(self.first)

    def __getitems__(self, request: BatchRequest) -> GaitBatch:
        """The batch asked for, in one gather."""
        within = self.window.draw(self.length[request.rows], request.seed)
        rows = np.repeat(request.rows, self.window.count)
        rows, within, share = request.shared(self.window.count, rows, within)
        frames = self.store.gather(self.recording[rows], self.first[rows, None] + within)
        if self.following is not None:
            next_ = self.following[rows]
            behind = self.store.gather(self.recording[next_], self.first[next_, None] + within)
            frames = np.concatenate([frames, behind], axis=1)
        subject, row = torch.from_numpy(self.subject[rows]), torch.from_numpy(rows)
        attributes = None if self.attributes is None else torch.from_numpy(self.attributes[rows])
        whole = torch.from_numpy(frames)
        return GaitBatch(whole, subject, row, request.seed, attributes, share=share)


class SpatialDataModule(GaitDataModule):
    """Base of datasets of 3D skeletons, whose poses are x, y, z in metres.

    No value is a confidence, so settings that would take the third for one are refused. A sequence
    belongs to a part: ``train``, or a test part, whose name is the sequence's condition.

    Args:
        path: the dataset.
        split: name of the division.
        frames: frames of a window.
        augmentation: what is varied in training windows; nothing if not given.
        origin: what positions are measured from: the ``camera``, as published, or the ``body``'s
            middle joint in each frame, see :func:`gaitbench.geometry.about_center`.
        samples: what a batch, the table and predictions have a row of: ``windows``, each of the
            published windows (see :meth:`windows`), as SGE-LA takes them; or ``recordings``, of
            which windows are drawn as everywhere else, as other methods take them.
        duplicates: whether a training window that several offsets lead to comes each time, as
            published, or once.
        order: of training windows, see :class:`gaitbench.samplers.RandomBatches`; published is
            ``once``, or ``file`` where neighbours in a batch are contrasted.
        keep_tail: whether a last training batch that is not full is shown; published is not.
        pretext_share: share of the training windows that is trained on, from the first on, before
            they are shuffled. Published is all, but for BIWI two thirds, of which most offsets are
            then lost, and nobody.
        following: which window a network that draws the next one is shown with each training
            window: that of the next ``row`` among those of training, whoever it is of, and for the
            last one itself, as published; the next one of the same ``recording``, where windows
            without one are left out; or ``none``.
        settings: see :class:`GaitDataModule`.
    """

    frame_kind = "skeleton3d"
    units = "metres, x y z"
    protocols: ClassVar[Mapping[str, Protocol]] = {}
    overlapping: ClassVar[bool] = True  # whether training windows overlap as published

    def __init__(
        self,
        path: str,
        split: str,
        frames: int,
        augmentation: PoseAugmentation = STILL,
        origin: Literal["camera", "body"] = "camera",
        samples: Literal["windows", "recordings"] = "windows",
        duplicates: bool = True,
        order: Order = "each_epoch",
        keep_tail: bool = True,
        pretext_share: float = 1.0,
        following: Literal["none", "row", "recording"] = "none",
        **settings: Any,
    ) -> None:
        if not 0 < pretext_share <= 1:
            raise InputError(
                f"data.pretext_share is {pretext_share}; give a share above 0, at most 1"
            )
        super().__init__(path, split, frames, augmentation=augmentation, **settings)
        self.origin = origin
        self.samples = samples
        self.duplicates = duplicates
        self.order = order
        self.keep_tail = keep_tail
        self.pretext_share = pretext_share
        self.following = following
        if following != "none":
            self._refuse_disorder()
        self._refuse_confidence()

    def _refuse_confidence(self) -> None:
        """Raise an InputError where a setting takes z for a confidence, or overlooks it."""
        vary = self.augmentation
        for name, used in (
            ("fill_empty", self.fill_empty != "none"),
            ("normalize", self.normalize == "pelvis"),
            ("augmentation.joint_dropout", vary.joint_dropout),
            ("augmentation.clamp_confidence", vary.clamp_confidence and vary.point_noise),
            (
                "augmentation.squeeze_axis nose",
                vary.squeeze_axis == "nose" and (vary.squeeze or vary.squeeze_flip),
            ),
        ):
            if used:
                raise InputError(
                    f"data.{name} is made for x, y and confidence, {self.dataset} has x, y and z "
                    "in metres; leave it out or switch it off"
                )

    def _refuse_disorder(self) -> None:
        """Raise an InputError where no window would follow another."""
        if self.samples == "recordings":
            raise InputError(
                f"data.following {self.following} tells which window comes next, of data.samples "
                "recordings none does; give data.samples windows"
            )
        vary = self.augmentation
        for name in ("reverse", "shuffle", "pace", "permutation", "frame_dropout"):
            if getattr(vary, name) not in ("none", 0):
                raise InputError(
                    f"data.augmentation.{name} changes the order of frames, which "
                    f"data.following {self.following} asks for; switch it off"
                )

    def find_parts(self) -> NDArray[np.str_]:
        """Of each sequence the part of the division: ``train``, or the name of a test part."""
        return self.open_store().sequences["condition"].to_numpy(str)

    @cached_property
    def part(self) -> NDArray[np.str_]:
        """See :meth:`find_parts`; (sequences in the store,)."""
        return self.find_parts()

    def find_split(self, name: str) -> Split:
        """Who trains and who is tested, told by the recordings, in the order of their names.

        Raises:
            InputError: if the name is unknown, or somebody is tested who cannot train.
        """
        trained, tested = self._named(True), self._named(False)
        if unknown := sorted(tested - trained):
            raise InputError(
                f"{self.path} has test recordings of {_listed(unknown)} but none to train on, and "
                "only people who have trained can be told apart; copy the missing recordings or "
                "move these away"
            )
        if not tested or not trained:
            raise InputError(
                f"{self.path} has no recording {'to test' if trained else 'to train on'}; copy "
                "the missing recordings"
            )
        return Split(tuple(sorted(tested if self.only_tested else trained)), tuple(sorted(tested)))

    @property
    def only_tested(self) -> bool:
        """Whether people train only if they are tested, too."""
        return False

    def _named(self, train: bool) -> set[str]:
        subject = self.open_store().sequences["subject"]
        return set(subject[(self.part == "train") == train])

    @property
    def listed(self) -> None:
        """None: no list of people is published."""
        return None

    def people(self) -> People:
        """The same people train and are tested, each with recordings of that part alone."""
        people = super().people()
        train = self.part == "train"
        return people._replace(train=people.train & train, test=people.test & ~train)

    def windows(
        self, rows: Rows, training: bool, duplicates: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The published windows of ``frames`` frames: all that a dataset consists of.

        Test windows do not overlap. Those of training do, except in KGBD: from each of the first
        ``frames`` frames on they follow at half a window's distance, so that most of them come
        twice.

        Args:
            rows: (S,) of the store's table.
            training: which of the two.
            duplicates: whether a window is listed each time it comes.

        Returns:
            (N,) row and (N,) first frame of each window, offset by offset.
        """
        length = self.open_store().sequences["length"].to_numpy()[rows]
        dense = training and self.overlapping
        stride = Fraction(self.frames, 2) if dense else self.frames
        offsets = range(self.frames) if dense else (0,)
        place, start = sliding_windows(length, self.frames, stride, offsets, duplicates=duplicates)
        return rows[place], start

    def setup(self, stage: str) -> None:
        """See :class:`GaitDataModule`; where samples are windows, rows become theirs.

        Training windows come first, as the enumeration has them, then those of the tests. People
        who neither train nor are tested have none.
        """
        super().setup(stage)
        if self.samples == "windows":
            self._cut_up()
        # of this source, not of the class: one's own data, and windows that were cut beforehand,
        # need not have the parts that are compared
        self.default_protocols = tuple(  # type: ignore[misc]
            name
            for name in type(self).default_protocols
            if not unmet(self.sequences.iloc[self.rows["test"]], self.protocols[name])
        )

    def _cut_up(self) -> None:
        table, people, kept = self.sequences, self.people(), self.rows["all"]
        parts = [
            self.windows(kept[people.train[kept]], True, self.duplicates),
            self.windows(kept[people.test[kept]], False),
        ]
        self.recording, self.first = (np.concatenate(each) for each in zip(*parts, strict=True))
        if not len(self.recording):
            raise InputError(
                f"no recording of {self.path} that is trained on or tested has data.frames "
                f"{self.frames} frames or more, and so none has a window; lower data.frames"
            )
        self.rows = {
            part: np.flatnonzero(np.isin(self.recording, rows)) for part, rows in self.rows.items()
        }
        cut = table.iloc[self.recording].reset_index(drop=True)
        number = cut["recording"] if "recording" in cut else pd.Series(self.recording)
        since = cut.get("first_frame", 0)
        columns = ["start", "length", "subject", "condition", "number", "view"]
        self.table = cut[[*columns, *self.attributes]].assign(
            start=cut["start"] + self.first,
            length=self.frames,
            recording=number,
            first_frame=since + self.first,
        )
        self.subject_codes = self.subject_codes[self.recording]
        if self.attribute_values is not None:
            self.attribute_values = self.attribute_values[self.recording]
        self._tell_windowless(table, kept[(people.train | people.test)[kept]])

    def _tell_windowless(self, table: pd.DataFrame, rows: Rows) -> None:
        """Name the people of recordings that are too short for a window."""
        without = rows[~np.isin(rows, self.recording)]
        if len(without):
            logger.warning(
                "%s: %d recordings have fewer than data.frames %d and so no window, of %s",
                self.path,
                len(without),
                self.frames,
                _listed(sorted(set(table["subject"].iloc[without]))),
            )

    def _windows_of(self, window: Window) -> Dataset[GaitBatch]:
        if self.samples == "recordings":
            return super()._windows_of(window)
        # those of training are the random ones
        behind = self.following != "none" and window.place == "random"
        return CutWindows(
            self.open_store(),
            self.subject_codes,
            window,
            self.attribute_values,
            self.recording,
            self.first,
            self._followers() if behind else None,
        )

    def _followers(self) -> Rows:
        """Of each row the one that follows it, see ``following``; -1 where none does."""
        rows, following = self.rows["train"], np.arange(len(self.first))
        following[rows[:-1]] = rows[1:]
        if self.following == "row":
            return following
        same = self.recording[following] == self.recording
        return np.where(same & (self.first[following] > self.first), following, -1)

    def _training_rows(self) -> Rows:
        rows = super()._training_rows()
        # a share that is written with few digits is meant exactly: 0.6667 of 45 is 30
        share = Fraction(self.pretext_share).limit_denominator(1000)
        rows = rows[: max(1, int(share * len(rows)))]
        if self.following != "recording":
            return rows
        followed = rows[self._followers()[rows] >= 0]
        if not len(followed):
            raise InputError(
                f"no training window of {self.path} is followed by one of its recording, which "
                "windows that were cut beforehand do not tell; give data.following row"
            )
        rank_zero_only(print)(
            f"{len(rows) - len(followed):,} of {len(rows):,} training windows are left out, as "
            "none of their recording follows them (data.following)"
        )
        return followed

    def _random_batches(self, rows: Rows, seed: int) -> BatchSampler:
        left = len(rows) % self.batch_size
        if left and not self.keep_tail and len(rows) > left:
            rank_zero_only(print)(
                f"{left:,} of {len(rows):,} training samples fill no batch and are not shown in an "
                "epoch (data.keep_tail false)"
            )
        return RandomBatches(rows, self.batch_size, seed, self.order, self.keep_tail)

    def notes(self) -> list[str]:
        """What became of frames and people in reading, a sentence each."""
        table = self.open_store().sequences
        total = {
            name: int(table[name].sum())
            for name in ("dropped", "nobody", "clipped", "zero_joints", "zero_frames")
            if name in table
        }
        notes = []
        if dropped := total.get("dropped"):
            nobody = total.get("nobody", 0)
            zeros = f", in {nobody:,} of them all joints are at zero" if nobody else ""
            notes.append(f"Frames left out as no whole body is in them: {dropped:,}{zeros}.")
        if zero := total.get("zero_frames"):
            notes.append(f"Frames whose joints are all at zero, kept as published: {zero:,}.")
        if clipped := total.get("clipped"):
            notes.append(f"Frames clipped off at the ends of recordings: {clipped:,}.")
        if zero := total.get("zero_joints"):
            notes.append(f"Joints at no distance (z = 0), kept as published: {zero:,}.")
        aside = sorted(self._named(True) - set(self.split.train))
        if aside:
            notes.append(
                f"People who are not tested and so do not train (data.split all lets them): "
                f"{_listed(aside)}."
            )
        return notes

    @property
    def what_becomes(self) -> str:
        """What becomes of the poses on their way to a method, in one line; empty if nothing."""
        if self.layout == self.native_layout:
            return ""
        return f"poses: {self.native_layout.name} become {self.skeleton}"

    def in_units(self, frames: Tensor) -> Tensor:
        """Poses measured from the origin."""
        return about_center(frames, self.layout) if self.origin == "body" else frames

    def on_after_batch_transfer(self, batch: GaitBatch, dataloader_idx: int) -> GaitBatch:
        """See :class:`GaitDataModule`; a window that stands behind another becomes its target."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if self.following == "none" or batch.frames.shape[1] == self.frames:
            return batch
        frames, target = batch.frames[:, : self.frames], batch.frames[:, self.frames :]
        return batch._replace(frames=frames, target=target)

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with the parts of the division for conditions."""
        return super()._labelled(table.assign(condition=self.part))


def _listed(people: list[str]) -> str:
    more = f" and {len(people) - NAMED} more" if len(people) > NAMED else ""
    return ", ".join(people[:NAMED]) + more
