"""DenseGait: 217,954 tracks of unknown people, as poses with guesses of what they look like.

What: walks found in streams of surveillance cameras, as poses by AlphaPose that were followed from
frame to frame. The people are anonymous, and no two tracks are known to show the same one; each
track has 42 soft attributes instead (sex, build, age, what is worn and carried, side seen):
probabilities, a mean of what three networks said of crops of the track. They are noisy, and most
are strongly unbalanced. A smaller validation set of the same form comes with it.

Where from: its authors, on request (github.com/cosmaadrian/gaitformer).

Licence: for research, by credentialed access; not to be passed on.

On disk: ``data-2.02/annotations.csv`` and ``validation/annotations.csv``, one row a track:
``file_name``, ``track_id`` and the attributes, spelt as in :data:`gaitbench.densegait.ATTRIBUTES`
(two of them with a space, one with a letter missing). Each ``file_name`` is an .npy of (T, 18, 3)
floats: frames, joints in OpenPose's order, and x, y and confidence. It counts from the dataset's
folder, or from that folder's parent, or from the folder of the CSV; that is found out.

Poses come normalised: the authors describe the middle of the hips as the origin, x in shoulder
widths and y in lengths of the trunk, but no published program does it. y grows downwards in the
files and in the store, and is turned before a method sees it, as in the published program.

Splits: ``all`` alone: every track trains, as a person of its own, and every track is predicted.

Known gaps: which of two paired joints is the left one is uncertain, for the authors' programs
disagree (OpenPose's order has the right one first, a later program of theirs writes the left one
there); nothing of theirs depends on it. Who is seen, when and by which camera is not told, so there
is no protocol of recognition, and condition and view are the same for all.

Citation: Cosma and Radoi, "Learning gait representations with noisy multi-task learning", Sensors
22(18), 6803, 2022, doi 10.3390/s22186803, arXiv 2310.19418.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd

from gaitbench.datamodules.annotated import AnnotatedDataModule
from gaitbench.datamodules.base import Split
from gaitbench.densegait import ANNOTATIONS, VALIDATION, attribute_names
from gaitbench.errors import InputError
from gaitbench.readers.annotated import (
    Annotated,
    Kind,
    find_annotated,
    read_annotations,
)
from gaitbench.skeleton import OPENPOSE18

PARTS = MappingProxyType({"train": ANNOTATIONS, "validation": VALIDATION})
TRACK: Mapping[str, Kind] = MappingProxyType({"track_id": "subject"})
COLUMNS: Mapping[str, Kind] = MappingProxyType(
    {**TRACK, **dict.fromkeys(attribute_names(), "probability")}
)
"""Columns of the published tables beside ``file_name``."""


class DenseGait(AnnotatedDataModule):
    """DenseGait: 217,954 anonymous tracks with soft attributes, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing. The
    store's table has the attributes as float32 columns of their published names.

    Args:
        path: the dataset's folder, which holds ``data-2.02`` and ``validation``, the folder of the
            CSV, or the CSV itself.
        split: ``all``: every track trains, each a person of its own, and every track is predicted.
        frames: frames of a window.
        part: which of the two tables, ``train`` or ``validation``; each has a store of its own.
        fraction: share of the tracks of the table that train: the nearest whole number of them, but
            at least one. A larger share of the same seed holds the smaller one.
        fraction_seed: which of them these are.
        on_error: ``raise`` stops at the first file that is missing or damaged, ``skip`` leaves such
            tracks out, counts them and lists them in ``skipped.csv`` beside the store's files.
        settings: see :class:`GaitDataModule`; ``validation: held_out`` sets the tracks aside that
            come last in the table.
    """

    dataset = "densegait"
    native_skeleton = OPENPOSE18.name
    units = "normalised, y down, confidence"
    flip_y = True

    def __init__(
        self,
        path: str = "data/DenseGait",
        split: Literal["all"] = "all",
        frames: int = 48,
        part: Literal["train", "validation"] = "train",
        fraction: float = 1.0,
        fraction_seed: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
        if not 0 < fraction <= 1:
            raise InputError(f"data.fraction is {fraction}; give a share above 0, at most 1")
        self.part = part
        self.fraction = fraction
        self.fraction_seed = fraction_seed
        self.on_error = on_error

    @property
    def source(self) -> Annotated:
        """The part's table, and where its files are.

        Raises:
            InputError: if there is no table, or only that of the other part.
        """
        found = find_annotated(self.path, PARTS[self.part], COLUMNS, upwards=False)
        for part, place in PARTS.items():
            if part != self.part and found.annotations.match(place):
                raise InputError(
                    f"{found.annotations} is the table of data.part {part}, expected "
                    f"{PARTS[self.part]}; name the folder above it, or choose that part"
                )
        return found

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """The table's rows: ``line``, ``file_name``, ``track_id``, and ``code`` of the track.

        Codes count the tracks from 0 in the order of the table, those that train before the others.
        """
        table = read_annotations(replace(self.source, columns=TRACK))
        track, names = pd.factorize(table["track_id"])
        drawn = np.random.default_rng(self.fraction_seed).permutation(len(names))
        others = np.ones(len(names), bool)
        others[drawn[: self._share(len(names))]] = False
        code = np.empty(len(names), np.int64)
        code[np.argsort(others, kind="stable")] = np.arange(len(names))
        return table.assign(code=code[track])

    def _share(self, tracks: int) -> int:
        return max(1, round(self.fraction * tracks))

    @property
    def num_subjects(self) -> int:
        """Training tracks of the table, whether or not their files can be read."""
        return self._share(int(self.tracks["code"].max()) + 1)

    @property
    def listed(self) -> Collection[str]:
        """All tracks of the table, of which some may have been left out in reading."""
        return self.tracks["track_id"].tolist()

    def find_split(self, name: str) -> Split:
        """The tracks that train, and all of them, in the order of the table."""
        tracks = self.tracks.drop_duplicates("track_id")
        trained = tracks["track_id"][tracks["code"] < self.num_subjects]
        return Split(tuple(trained), tuple(tracks["track_id"]))

    @property
    def store_name(self) -> str:
        """A store for each of the two tables."""
        return f"{self.dataset}-{self.part}"

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """Which table the store was read from, and whether tracks may be absent."""
        return {"part": self.part, "on_error": self.on_error}

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Each track a person who walks once; the attributes under their published names."""
        names = {"subject": annotations["track_id"], "condition": "walk", "number": 0, "view": 0}
        return pd.DataFrame(names).join(annotations[list(attribute_names())])

    def setup(self, stage: str) -> None:
        """Open the store and sort its tracks, without a Python object for each of them."""
        table = self.open_store().sequences
        code = self.tracks.set_index("line")["code"].loc[table["line"]].to_numpy()
        kept = table["length"].to_numpy() >= max(self.min_frames, 1)
        train = kept & (code < self.num_subjects)
        validate = np.zeros_like(train)
        if self.validation == "held_out":
            people = np.unique(code[train])
            validate = train & np.isin(code, people[-max(1, round(self.held_out * len(people))) :])
            train &= ~validate
        elif self.validation == "test":
            validate = kept
        parts = {"train": train, "validate": validate, "test": kept, "all": kept}
        self.rows = {name: np.flatnonzero(part) for name, part in parts.items()}
        self.subject_codes = code
