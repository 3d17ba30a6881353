"""What the datasets of GaitFormer's family share: a table, and an ``.npy`` file a sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from gaitbench.datamodules.base import GaitDataModule, People, Split
from gaitbench.errors import InputError
from gaitbench.readers.annotated import (
    READER_VERSION,
    Annotated,
    Kind,
    annotated_fingerprint,
    find_annotated,
    read_annotated,
    read_annotations,
)
from gaitbench.skeleton import OPENPOSE18
from gaitbench.store import StoreWriter

TRACK: Mapping[str, Kind] = MappingProxyType({"track_id": "subject"})
"""The column that all these tables have beside ``file_name``."""


class AnnotatedDataModule(GaitDataModule):
    """Base of datasets that :mod:`gaitbench.readers.annotated` reads.

    Their poses come normalised. A subclass whose files have y downwards sets ``flip_y`` and units
    that say so.

    Args:
        path: the dataset's folder, one on the way from it to the table, or the table itself.
        split: name of the division into training and test subjects.
        frames: frames of a window.
        on_error: ``raise`` stops at the first file that is missing or damaged, ``skip`` leaves such
            sequences out, counts them, and lists them in ``skipped.csv`` beside the store's files
            and in the data report.
        settings: see :class:`GaitDataModule`.
    """

    native_skeleton = OPENPOSE18.name
    units = "normalised, y up, confidence"
    reader_version = READER_VERSION
    annotations: ClassVar[str]  # place of the table below the dataset's folder
    columns: ClassVar[Mapping[str, Kind]] = TRACK
    poses: ClassVar[str] = ""  # folder beside the table that names count from, in some sets

    def __init__(
        self,
        path: str,
        split: str,
        frames: int,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
        self.on_error = on_error

    @property
    def source(self) -> Annotated:
        """The table, and where its files are.

        Raises:
            InputError: if there is no table.
        """
        return find_annotated(
            self.path,
            self.annotations,
            self.columns,
            upwards=not self.flip_y,
            within=self.poses,
            joints=self.joints,
        )

    @property
    def joints(self) -> tuple[int, ...]:
        """The joint of the files that becomes each of the layout's; empty if they are the same."""
        return ()

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """Whether faulty sequences may be absent."""
        return {"on_error": self.on_error}

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Columns of the store, made of those of the published table."""
        raise NotImplementedError

    def expect(self, annotations: pd.DataFrame, column: str, known: Sequence[object]) -> None:
        """Look whether a column of the table has none but known values.

        Raises:
            InputError: naming the first line that has another.
        """
        wrong = ~annotations[column].isin(known).to_numpy(bool)
        if wrong.any():
            first = annotations.iloc[int(np.flatnonzero(wrong)[0])]
            raise InputError(
                f"{self.source.annotations} line {first['line']}: {column} is {first[column]}, "
                f"expected {known[0]} to {known[-1]}; mend or remove the line"
            )

    def store_key(self) -> str:
        """Fingerprint of the table and of the folders of its files."""
        return annotated_fingerprint(
            self.source,
            skeleton=self.native_skeleton,
            reader=self.reader_version,
            **self.store_settings,
        )

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        read_annotated(self.source, self.to_table, self.on_error, writer, keep)


class TracksDataModule(AnnotatedDataModule):
    """Base of sets that are trained on alone, of which some have very many tracks.

    Whoever is named in ``track_id`` is a person; all of them train, and all are predicted. Nowhere
    is there a Python object for each of them.

    Args:
        path: see :class:`AnnotatedDataModule`.
        split: ``all``.
        frames: frames of a window.
        fraction_of: as of :class:`GaitDataModule`; a share of the tracks if not given.
        settings: see :class:`AnnotatedDataModule`; ``validation: held_out`` sets those aside that
            come last in the table.
    """

    units = "normalised, y down, confidence"
    flip_y = True

    def __init__(
        self,
        path: str,
        split: Literal["all"] = "all",
        frames: int = 48,
        fraction_of: Literal["each_subject", "subjects", "sequences"] = "subjects",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, fraction_of=fraction_of, **settings)
        if split != "all":
            raise InputError(f"data.split {split!r} is unknown; {self.dataset} has but all")

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """The table's rows: ``line``, ``file_name``, ``track_id``, and ``code`` of the track.

        Codes count the tracks from 0 in the order of the table.
        """
        table = read_annotations(replace(self.source, columns=TRACK))
        return table.assign(code=pd.factorize(table["track_id"])[0].astype(np.int64))

    @property
    def num_subjects(self) -> int:
        """Tracks of the table, whether or not their files can be read."""
        return int(self.tracks["code"].max()) + 1

    @property
    def listed(self) -> None:
        """None: what was left out in reading is listed with the reason."""
        return None

    def find_split(self, name: str) -> Split:
        """All tracks train and are predicted, in the order of the table."""
        names = tuple(self.tracks["track_id"].unique())
        return Split(names, names)

    def people(self) -> People:
        """All train, all are tested; the order is that of the table."""
        line = self.open_store().sequences["line"]
        code = self.tracks.set_index("line")["code"].loc[line].to_numpy()
        every = np.ones(len(code), bool)
        return People(code, code, every, every)

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Each line a walk of its track; they are counted in the order of the table."""
        subject = annotations["track_id"]
        number = annotations.groupby(subject, sort=False).cumcount()
        return pd.DataFrame(
            {"subject": subject, "condition": "walk", "number": number.astype(np.int64), "view": 0}
        )
