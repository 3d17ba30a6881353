"""What every dataset shares: store, splits, loaders, and transforms on the device."""

import gc
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from gaitbench.batch import BatchRequest, GaitBatch, Rows
from gaitbench.errors import InputError
from gaitbench.geometry import convert, fill_empty_joints, pelvis_normalized
from gaitbench.processes import of_the_first, process_rank
from gaitbench.protocols import (
    AttributeProtocol,
    ClosedSetProtocol,
    NeighbourProtocol,
    Protocol,
)
from gaitbench.readers.labels import read_labels, subject_key
from gaitbench.report import REPORT, DataReport, data_report
from gaitbench.samplers import (
    BatchSampler,
    ConditionBatches,
    IndependentBatches,
    InOrder,
    RandomBatches,
    SubjectBatches,
    refuse_uneven,
)
from gaitbench.skeleton import get_skeleton, joint_sources
from gaitbench.store import SequenceStore, StoreInfo, StoreWriter, cached_store, fingerprint
from gaitbench.subsets import share_of_each, share_of_groups, some_of_each
from gaitbench.transforms import PoseAugmentation
from gaitbench.windows import TiledWindow, Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Who trains and who is tested; subjects are strings as the dataset writes them."""

    train: tuple[str, ...]
    test: tuple[str, ...]


class People(NamedTuple):
    """Who is seen in each of N sequences, and what that person is for.

    Args:
        code: (N,) integer of the person; those of the split's training part are counted first.
        place: (N,) the person's place in the order that the last are held out of.
        train: (N,) whether the person trains.
        test: (N,) whether the person is tested.
    """

    code: Rows
    place: Rows
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


class SequenceWindows(Dataset[GaitBatch]):
    """Windows of the sequences of a store, a batch at a time.

    Args:
        store: all frames.
        subject: (sequences in the store,) integer of each row's person.
        window: how windows are cut.
        attributes: (sequences in the store, L) soft attributes of each row; None if it has none.
    """

    def __init__(
        self,
        store: SequenceStore,
        subject: Rows,
        window: Window,
        attributes: NDArray[np.float32] | None = None,
    ) -> None:
        self.store = store
        self.subject = subject
        self.window = window
        self.attributes = attributes
        self.length = store.sequences["length"].to_numpy()

    def __len__(self) -> int:
        """Sequences in the store."""
        return len(self.length)

    def __getitems__(self, request: BatchRequest) -> GaitBatch:
        """The batch asked for, in one gather."""
        windows = self.window.draw(self.length[request.rows], request.seed)
        rows = np.repeat(request.rows, self.window.count)
        rows, windows, share = request.shared(self.window.count, rows, windows)
        frames = torch.from_numpy(self.store.gather(rows, windows))
        subject = torch.from_numpy(self.subject[rows])
        attributes = None if self.attributes is None else torch.from_numpy(self.attributes[rows])
        row = torch.from_numpy(rows)
        return GaitBatch(frames, subject, row, request.seed, attributes, share=share)


def _as_it_is(batch: Any) -> Any:
    return batch


def _keep_shared(worker: int) -> None:
    """Leave what a reader inherited alone: to collect it would copy its pages."""
    gc.freeze()


class ResumableLoader(DataLoader[GaitBatch]):
    """A loader that can go on within an epoch, from the place that a checkpoint tells."""

    batch_sampler: BatchSampler  # type: ignore[assignment]  # of requests, not of lists of indices
    place = 0  # batches of the epoch that were shown
    stored = (-1, 0)  # epoch and place that a checkpoint told

    def __iter__(self) -> Any:
        """The batches of the sampler's epoch, from where the checkpoint was written on."""
        epoch, place = self.stored
        self.stored = (-1, 0)
        self.place = place if epoch == self.batch_sampler.epoch else 0
        self.batch_sampler.skipped = self.place
        for batch in super().__iter__():
            self.place += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where it is."""
        return {"epoch": self.batch_sampler.epoch, "place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin there, if the next iteration is of that epoch."""
        self.stored = (state["epoch"], state["place"])


class GaitDataModule(pl.LightningDataModule):
    """A dataset: reader, splits and protocols come from the subclass, the rest from here.

    Args:
        path: the dataset as its owner published it.
        split: name of the division into training and test subjects.
        frames: frames of a window, S.
        crop: how windows are cut, in training and in evaluation: ``reflected`` pads sequences that
            are too short by reflection (GaitGraph), ``tiled`` by their own head and tail or by
            repetition (GaitFormer); see :mod:`gaitbench.windows`.
        skeleton: layout of the poses that the method sees, ``coco17`` or ``openpose18``; the
            dataset's own if none is named. Stores keep poses as published.
        normalize: ``pelvis`` turns pixels into units of the body, y upwards, see
            :func:`gaitbench.geometry.pelvis_normalized`; ``none`` leaves them. If it is not given
            they are left, but in tests of a network that was trained on normalised poses. Data that
            were published normalised are left alone.
        labels: CSV of the subjects' attributes, see :func:`gaitbench.readers.labels.read_labels`.
        cache: folder of the stores that are built from it.
        validation: ``none`` keeps all training subjects for training; ``held_out`` sets the last
            ``held_out`` share of them (in the order of their names) aside; ``test`` validates on
            the test subjects, as some published runs did: a checkpoint chosen by it is chosen on
            test data.
        held_out: share of the training subjects set aside.
        fraction: share of the training data that is trained on, drawn from what is left after
            that: the nearest whole number, but at least one. A larger share of the same
            ``subset_seed`` holds the smaller one.
        fraction_of: what it is a share of: ``each_subject``'s sequences, ``subjects``, each with
            all its sequences, or ``sequences`` of whomever.
        runs: sequences of each training subject and view that are trained on, drawn before the
            fraction; 0 for all.
        subset_seed: which of them these are.
        predict: which subjects ``predict`` embeds.
        min_frames: leave out sequences with fewer frames, in test too (GaitGraph: 61).
        batch_size: sequences of a training batch over all devices, each of which takes as many.
        batches: ``epoch`` shows every sequence once an epoch; ``independent`` draws each batch from
            all of them (GaitFormer), see :class:`gaitbench.samplers.IndependentBatches`;
            ``conditions`` has as much of each condition in every batch (GaitCopy), see
            :class:`gaitbench.samplers.ConditionBatches`.
        train_windows: windows of each of them, side by side, drawn and varied independently of each
            other: the views of a contrastive loss (GaitGraph: 2).
        eval_batch_size: sequences of a batch in validation, test and prediction.
        eval_windows: windows of a sequence in validation, test and prediction, spread evenly over
            it; their embeddings are averaged. 1 is the centre window, as published.
        eval_shuffle: show the frames of these windows in random order, the published ablation of
            temporal order at test. Orders are drawn from a fixed seed.
        sequences_per_subject: K of P x K batches, where P is batch_size / K; 0 draws plain random
            batches.
        balance_conditions: spread a subject's K sequences evenly over its conditions.
        augmentation: what is varied in training windows.
        fill_empty: give joints without a position the mean of the frame: ``none``, ``test``
            (not in training), or ``all``.
        fill_with: which mean, see :func:`gaitbench.geometry.fill_empty_joints`.
        num_workers: processes that read ahead; 0 reads in the main process.
    """

    dataset: ClassVar[str]
    frame_kind: ClassVar[str] = "pose"
    units: ClassVar[str] = "pixels, confidence"
    reader_version: ClassVar[int]
    native_skeleton: ClassVar[str]
    splits: ClassVar[Mapping[str, Split]] = {}  # those that no file has to be asked for
    flip_y: ClassVar[bool] = False  # methods see y upwards where stores hold it downwards
    # those of recognition and of attributes; none where nobody is seen twice
    protocols: ClassVar[
        Mapping[str, Protocol | AttributeProtocol | ClosedSetProtocol | NeighbourProtocol]
    ] = {}
    default_protocols: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        path: str,
        split: str,
        frames: int,
        skeleton: str | None = None,
        normalize: Literal["none", "pelvis"] | None = None,
        labels: str | None = None,
        cache: str = "data/cache",
        validation: Literal["none", "held_out", "test"] = "none",
        held_out: float = 0.1,
        fraction: float = 1.0,
        fraction_of: Literal["each_subject", "subjects", "sequences"] = "each_subject",
        runs: int = 0,
        subset_seed: int = 0,
        predict: Literal["test", "train", "all"] = "test",
        min_frames: int = 0,
        crop: Literal["reflected", "tiled"] = "reflected",
        batch_size: int = 128,
        batches: Literal["epoch", "independent", "conditions"] = "epoch",
        train_windows: int = 1,
        eval_batch_size: int = 256,
        eval_windows: int = 1,
        eval_shuffle: bool = False,
        sequences_per_subject: int = 0,
        balance_conditions: bool = False,
        augmentation: PoseAugmentation = PoseAugmentation(),
        fill_empty: Literal["none", "test", "all"] = "none",
        fill_with: Literal["reference", "valid"] = "reference",
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if not hasattr(self, "native_skeleton"):
            raise InputError(
                f"data.class_path {type(self).__name__} is what datasets are made of, and none "
                "itself; name one, such as CasiaB"
            )
        if self.splits and split not in self.splits:
            known = ", ".join(self.splits)
            raise InputError(f"data.split {split!r} is unknown; choose one of {known}")
        if not 0 < held_out < 1:
            raise InputError(f"data.held_out is {held_out}; give a share between 0 and 1")
        if not 0 < fraction <= 1:
            raise InputError(f"data.fraction is {fraction}; give a share above 0, at most 1")
        for name, value, least in (
            ("frames", frames, 1),
            ("runs", runs, 0),
            ("subset_seed", subset_seed, 0),
            ("min_frames", min_frames, 0),
            ("batch_size", batch_size, 1),
            ("train_windows", train_windows, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("eval_windows", eval_windows, 1),
            ("sequences_per_subject", sequences_per_subject, 0),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise InputError(f"data.{name} is {value}; give {least} or more")
        if balance_conditions and not sequences_per_subject:
            raise InputError(
                "data.balance_conditions needs P x K batches; give data.sequences_per_subject"
            )
        if batches != "epoch" and sequences_per_subject:
            raise InputError(
                f"data.batches {batches} draws from all sequences, which P x K batches do not; "
                "leave it out, or data.sequences_per_subject"
            )
        for name in ("pace", "permutation", "frame_dropout"):
            if crop == "reflected" and getattr(augmentation, name) not in ("none", 0):
                raise InputError(
                    f"data.augmentation.{name} varies windows of data.crop tiled, the crop is "
                    f"{crop}; choose that, or leave data.augmentation.{name} out"
                )
        if augmentation.turn and self.frame_kind != "skeleton3d":
            raise InputError(
                f"data.augmentation.turn turns walks about the vertical, for which {self.dataset} "
                "lacks the depth; leave it out"
            )
        self.path = Path(path)
        self.cache = Path(cache)
        self.split_name = split
        self.native_layout = get_skeleton(self.native_skeleton)
        self.layout = get_skeleton(skeleton or self.native_skeleton)
        self.skeleton = self.layout.name
        joint_sources(self.native_layout, self.layout)  # refuses what cannot be converted
        self.normalize = normalize
        self.labels = None if labels is None else Path(labels)
        self.validation = validation
        self.held_out = held_out
        self.fraction = fraction
        self.fraction_of = fraction_of
        self.runs = runs
        self.subset_seed = subset_seed
        self.predict = predict
        self.frames = frames
        self.min_frames = min_frames
        self.crop = crop
        self.batch_size = batch_size
        self.batches = batches
        self.train_windows = train_windows
        self.eval_batch_size = eval_batch_size
        self.eval_windows = eval_windows
        self.eval_shuffle = eval_shuffle
        self.sequences_per_subject = sequences_per_subject
        self.balance_conditions = balance_conditions
        self.augmentation = augmentation
        self.fill_empty = fill_empty
        self.fill_with = fill_with
        self.num_workers = num_workers
        self.store: SequenceStore | None = None
        self.table: pd.DataFrame | None = None

    @cached_property
    def split(self) -> Split:
        """Who trains and who is tested."""
        return self.find_split(self.split_name)

    def find_split(self, name: str) -> Split:
        """The division of that name; a dataset that publishes it as a file reads it here.

        Raises:
            InputError: if it is not there.
        """
        return self.splits[name]

    @property
    def num_subjects(self) -> int:
        """Training subjects, whether or not the data hold sequences of each."""
        return len(self.split.train)

    @property
    def listed(self) -> Collection[str] | None:
        """Subjects that a list beside the data names, which may disagree; None without one."""
        return None if self.splits else (*self.split.train, *self.split.test)

    @property
    def expected(self) -> Mapping[tuple[str, int], int]:
        """(condition, view) -> recordings that the publication names; empty if it names none."""
        return {}

    def sources(self) -> list[Path]:
        """The files that the store is built from, where they are few.

        Raises:
            InputError: if they are not there.
        """
        raise NotImplementedError

    def read(self, writer: StoreWriter) -> None:
        """Parse the sources into a store."""
        raise NotImplementedError

    @property
    def store_name(self) -> str:
        """First part of the store's folder; stores of one name and source replace each other."""
        return self.dataset

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """What was chosen in reading, by which one source gives several stores."""
        return {}

    def store_key(self) -> str:
        """Fingerprint of the sources and of how they are read.

        Raises:
            InputError: if the sources are not there.
        """
        return fingerprint(
            self.sources(),
            skeleton=self.native_skeleton,
            reader=self.reader_version,
            **self.store_settings,
        )

    @property
    def store_info(self) -> StoreInfo:
        """What the store's description says of its frames."""
        return StoreInfo(
            self.dataset, self.frame_kind, self.native_skeleton, self.units, self.store_settings
        )

    @property
    def fingerprint(self) -> str:
        """Of the data: that of the store, or of the files where none is built."""
        return self.store_key() if self.store is None else self.store.fingerprint

    def open_store(self) -> SequenceStore:
        """The store of the sources; built first if it is missing, stale or damaged."""
        if self.store is None:
            self.store = cached_store(
                self.cache,
                self.store_name,
                self.store_key(),
                self.read,
                self.store_info,
                source=self.path,
            )
        return self.store

    def report(self) -> DataReport:
        """What is in the dataset and what is missing; written beside the store."""
        store = self.open_store()
        report = data_report(
            store, self.expected, self.frames, self.listed, self.notes(), self.details()
        )
        report.write(store.path)
        return report

    def notes(self) -> list[str]:
        """What the report tells beside counts and ranges, a sentence each."""
        return []

    def details(self) -> list[tuple[str, str]]:
        """Further lines of the report's table, what and found."""
        return []

    @property
    def published_normalized(self) -> bool:
        """Whether poses are in units of the body as they were published."""
        return self.units.startswith("normalised")

    @property
    def normalized(self) -> bool:
        """Whether a method gets poses in units of the body, y upwards, and not in pixels."""
        return self.published_normalized or self.normalize == "pelvis"

    @property
    def what_becomes(self) -> str:
        """What becomes of the poses on their way to a method, in one line; empty if nothing."""
        pelvis = self.normalized and not self.published_normalized
        if self.published_normalized:
            units = "units of the body, y down" if self.flip_y else "units of the body, y up"
        else:
            units = "pixels"
        seen = "units of the body, y up" if self.normalized else units
        if (self.native_layout.name, units) == (self.skeleton, seen):
            return ""
        how = " (data.normalize pelvis)" if pelvis else ""
        return f"poses: {self.native_layout.name} in {units} become {self.skeleton} in {seen}{how}"

    def prepare_data(self) -> None:
        """Build the store, in one process a node; say once what is in it and what becomes of it."""
        if not (self.open_store().path / REPORT).exists():
            report = self.report()
            print(report.to_text())
            for remark in report.remarks():
                logger.warning("%s: %s", self.path, remark)
        if self.what_becomes:
            rank_zero_only(print)(self.what_becomes)

    def people(self) -> People:
        """Who is seen in each sequence of the store, as the split has it."""
        subject = self.open_store().sequences["subject"]
        # training people come first, as the split lists them; the others follow, so that a
        # validation loss can tell them apart
        names = sorted(set(subject))
        others = sorted({*names} - set(self.split.train))
        code = {name: i for i, name in enumerate((*self.split.train, *others))}
        place = {name: i for i, name in enumerate(names)}
        return People(
            code=subject.map(code).to_numpy(np.int64),
            place=subject.map(place).to_numpy(np.int64),
            train=subject.isin(self.split.train).to_numpy(),
            test=subject.isin(self.split.test).to_numpy(),
        )

    def setup(self, stage: str) -> None:
        """Open the store and sort its sequences into training, validation and test."""
        table = self.open_store().sequences
        kept = table["length"].to_numpy() >= max(self.min_frames, 1)
        people = self.people()
        train, test = kept & people.train, kept & people.test
        validate = np.zeros_like(train)
        if self.validation == "held_out":
            found = np.unique(people.place[train])
            aside = found[-max(1, round(self.held_out * len(found))) :]
            validate = train & np.isin(people.place, aside)
            train &= ~validate
        elif self.validation == "test":
            validate = test
        self.subject_codes = people.code
        parts = {"train": train, "validate": validate, "test": test, "all": kept}
        self.rows = {name: np.flatnonzero(part) for name, part in parts.items()}
        self.rows["train"] = self._subset(self.rows["train"])
        self.table = self._labelled(table)
        self.attribute_values: NDArray[np.float32] | None = None
        if self.attributes:
            # one array, not a column each: what a batch takes of it is one indexing operation
            values = self.table[list(self.attributes)].to_numpy(np.float32)
            self.attribute_values = np.ascontiguousarray(values)

    def _subset(self, rows: Rows) -> Rows:
        """The training rows that ``runs`` and ``fraction`` leave."""
        if self.runs:
            view = self.sequences["view"].to_numpy()[rows]
            pair = np.stack([self.subject_codes[rows], view], axis=1)
            pair = np.unique(pair, axis=0, return_inverse=True)[1].reshape(-1)
            rows = rows[some_of_each(pair, self.runs, self.subset_seed)]
        if self.fraction == 1:
            return rows
        subject = self.subject_codes[rows]
        if self.fraction_of == "subjects":
            return rows[share_of_groups(subject, self.fraction, self.subset_seed)]
        group = subject if self.fraction_of == "each_subject" else np.zeros_like(subject)
        return rows[share_of_each(group, self.fraction, self.subset_seed)]

    @cached_property
    def subject_labels(self) -> pd.DataFrame | None:
        """What the file ``labels`` says, a row a subject; None without one.

        Raises:
            InputError: if it is not as expected.
        """
        return None if self.labels is None else read_labels(self.labels)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the soft attributes that every sequence has, columns of ``sequences``."""
        return () if self.subject_labels is None else tuple(map(str, self.subject_labels))

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with the subjects' attributes; NaN for those who take no part."""
        if self.subject_labels is None:
            return table
        key = table["subject"].map(subject_key)
        known = key.isin(self.subject_labels.index).to_numpy()
        wanted = np.concatenate([self.rows[part] for part in ("train", "validate", "test")])
        unknown = wanted[~known[wanted]]
        if len(unknown):
            raise InputError(
                f"data.labels {self.labels} has no line for subject "
                f"{table['subject'].iloc[unknown[0]]}, who is trained on or tested; add one"
            )
        labels = self.subject_labels.reindex(key).set_axis(table.index, axis=0)
        return table.drop(columns=list(labels), errors="ignore").join(labels)

    @property
    def sequences(self) -> pd.DataFrame:
        """Table of all sequences, one row each; ``row`` of a batch points here."""
        return self.open_store().sequences if self.table is None else self.table

    def _rows(self, part: str) -> Rows:
        rows: Rows = self.rows[part]
        if not len(rows):
            people = sorted(self.sequences["subject"].unique())
            raise InputError(
                f"no {part} sequence is left in {self.path}: it holds {len(people)} subjects "
                f"({people[0]} to {people[-1]}) and the sequences shorter than min_frames "
                f"{self.min_frames} are left out; mend data.split, data.held_out or data.min_frames"
            )
        return rows

    def _windows_of(self, window: Window) -> Dataset[GaitBatch]:
        """What batches of rows are read from."""
        return SequenceWindows(self.open_store(), self.subject_codes, window, self.attribute_values)

    def _loader(self, sampler: BatchSampler, window: Window) -> DataLoader[GaitBatch]:
        return self._serve(sampler, self._windows_of(window))

    def _serve(self, sampler: BatchSampler, source: Dataset[GaitBatch]) -> DataLoader[GaitBatch]:
        """The batches that a sampler asks of a source for, read ahead by workers."""
        return ResumableLoader(
            source,
            batch_sampler=sampler,  # type: ignore[arg-type]  # requests, not lists of indices
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_keep_shared,
        )

    def train_dataloader(self) -> DataLoader[GaitBatch]:
        """Random windows in random or P x K batches."""
        rows = self._training_rows()
        seed = self._training_seed()
        self._tell_shares()
        sampler: BatchSampler
        if self.sequences_per_subject:
            conditions = self._conditions(rows) if self.balance_conditions else None
            sampler = SubjectBatches(
                rows,
                self.subject_codes[rows],
                self.batch_size,
                self.sequences_per_subject,
                conditions,
                seed,
            )
        elif self.batches == "independent":
            sampler = IndependentBatches(rows, self.batch_size, self.train_windows, seed)
        elif self.batches == "conditions":
            sampler = ConditionBatches(rows, self._conditions(rows), self.batch_size, seed)
        else:
            sampler = self._random_batches(rows, seed)
        self._tell_subset(rows)
        return self._loader(sampler, self._train_window())

    def _conditions(self, rows: Rows) -> Rows:
        """Integer of each row's condition."""
        names = self.sequences["condition"].to_numpy(str)[rows]
        return np.unique(names, return_inverse=True)[1]

    def _training_seed(self) -> int:
        """Seed of the batches, the same in all processes."""
        return of_the_first(torch.initial_seed() % 2**32)

    def _tell_shares(self) -> None:
        """Say how several processes share a training batch.

        Raises:
            InputError: if they would have different numbers of sequences, or of people.
        """
        rank, processes = process_rank()
        if processes == 1:
            return
        k = self.sequences_per_subject
        refuse_uneven(self.batch_size, k, processes)
        each = self.batch_size // processes
        people = f", {self.batch_size // k} people x {k}; each" if k else "; each"
        of_each = f" ({each // k} people x {k})" if k else ""
        if rank == 0:
            print(
                f"training batch: {self.batch_size} sequences over all {processes} processes"
                f"{people} takes {each}{of_each}"
            )

    def _training_rows(self) -> Rows:
        """The rows that an epoch shows, in an order that shuffling begins from."""
        return self._rows("train")

    def _random_batches(self, rows: Rows, seed: int) -> BatchSampler:
        """Plain random batches of them."""
        return RandomBatches(rows, self.batch_size, seed)

    def _train_window(self) -> Window:
        vary = self.augmentation
        how: dict[str, Any] = {
            "reverse": vary.reverse,
            "shuffle": vary.shuffle,
            "include_last": vary.last_window,
            "count": self.train_windows,
        }
        if self.crop == "reflected":
            return Window(self.frames, "random", **how)
        return TiledWindow(
            self.frames,
            "random",
            pace=vary.pace,
            permutation=vary.permutation,
            permutation_size=vary.permutation_size,
            frame_dropout=vary.frame_dropout,
            **how,
        )

    @rank_zero_only
    def _tell_subset(self, rows: Rows) -> None:
        """Say how much is trained on where it was cut down."""
        if not self.runs and self.fraction == 1:
            return
        people = len(np.unique(self.subject_codes[rows]))
        cut = [f"data.runs {self.runs}"] if self.runs else []
        if self.fraction < 1:
            cut.append(f"data.fraction {self.fraction:g} of {self.fraction_of}")
        print(
            f"training on {len(rows):,} sequences of {people:,} subjects "
            f"({', '.join(cut)}, subset_seed {self.subset_seed})"
        )

    def _eval_loader(self, part: str) -> DataLoader[GaitBatch]:
        place: Literal["spread", "center"] = "spread" if self.eval_windows > 1 else "center"
        cut = TiledWindow if self.crop == "tiled" else Window
        window = cut(self.frames, place, shuffle=self.eval_shuffle, count=self.eval_windows)
        return self._loader(InOrder(self._rows(part), self.eval_batch_size), window)

    def val_dataloader(self) -> DataLoader[GaitBatch] | list[Any]:
        """Windows of the validation subjects; nothing where there are none."""
        if self.validation == "none":
            return []
        return self._eval_loader("validate")

    def test_dataloader(self) -> DataLoader[GaitBatch]:
        """Windows of the test subjects."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[GaitBatch]:
        """Windows of the subjects to predict."""
        return self._eval_loader(self.predict)

    def in_units(self, frames: torch.Tensor) -> torch.Tensor:
        """Poses (B, T, V, 3), of the method's layout, in the units and from the origin it sees."""
        if self.normalized and not self.published_normalized:
            return _turned(pelvis_normalized(frames, self.layout))
        return frames

    def on_after_batch_transfer(self, batch: GaitBatch, dataloader_idx: int) -> GaitBatch:
        """Poses as the method sees them, on the device that holds them.

        In this order: y turned where it was published downwards, layout converted, empty joints
        filled, pixels normalised, and, in training, varied.
        """
        frames, training = batch.frames, self.trainer is not None and self.trainer.training
        space = self.frame_kind == "skeleton3d"
        if self.flip_y:
            frames = _turned(frames)
        if self.layout != self.native_layout:
            frames = convert(frames, self.native_layout, self.layout, space)
        if self.fill_empty == "all" or (self.fill_empty == "test" and not training):
            frames = fill_empty_joints(frames, self.fill_with)
        frames = self.in_units(frames)
        if training:
            generator = torch.Generator(frames.device).manual_seed(batch.seed)
            frames = self.augmentation(frames, self.layout, generator, space, batch.share)
        return batch._replace(frames=frames)


def _turned(pose: torch.Tensor) -> torch.Tensor:
    """A copy with y the other way up."""
    pose = pose.clone()
    pose[..., 1].neg_()
    return pose
