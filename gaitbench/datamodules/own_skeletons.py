"""Your own 3D skeletons: walks before any sensor or estimator that tells joints in space.

What: a file or a folder of numpy arrays or tables of joints, with labels in them or beside, found
out from the content, see docs/own_data.md.

On disk: as you have it. Who walks in which sequence stands in the files, or in ``labels.csv``
beside them: ``sequence``, ``subject``, ``condition``, ``number``, ``view``, ``split``.

Splits: ``last``: each person's last sequence is a ``probe``, all others train; who has one sequence
trains and is not tested. ``conditions``: sequences of the condition ``train`` train, every other
condition is a test part. ``people``: who is labelled with the split ``train`` trains, with all they
have; of the others the last sequence is a ``probe`` and the rest the ``gallery``, so that nobody
who is tested has trained. A person's sequences follow each other by condition, number and file.

Known gaps: joints without names are told by their number alone, and 17 are taken for COCO's.
"""

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only

from gaitbench.datamodules.base import Split
from gaitbench.datamodules.own import warn_of_labels
from gaitbench.datamodules.spatial import SpatialDataModule, retrieval
from gaitbench.errors import InputError
from gaitbench.protocols import Protocol
from gaitbench.readers.keypoints import find_labels, read_sequence_labels
from gaitbench.readers.skeletons import (
    READER_VERSION,
    Options,
    read_skeletons,
    skeleton_layout,
    skeletons_fingerprint,
)
from gaitbench.skeleton import get_skeleton
from gaitbench.store import StoreWriter

logger = logging.getLogger(__name__)

SPLITS = ("last", "conditions", "people")
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(retrieval("own3d", "probe", "gallery"))
"""For the split ``people``."""

UPRIGHT = (0.8, 2.5)  # metres from the ankles to the head that make an upright body
LOOKED_AT = 10_000  # frames that are measured


class OwnSkeletons(SpatialDataModule):
    """Your own 3D skeletons, with people who are known or not.

    The joint layout is found out from the first file; a source of several layouts is refused. This
    module's docstring says how sequences are divided.

    Args:
        path: a file of skeletons, or a folder whose folders are searched too.
        split: ``last``, ``conditions`` or ``people``.
        frames: frames of a window.
        units: of the files.
        up: what points upwards in the files: ``y`` or ``-y``, z being the distance, or ``z`` or
            ``-z``, with right-handed axes; x always points to the right.
        gaps: ``join`` puts frames together around those that are not there or have no whole body;
            ``cut`` makes two sequences of them.
        sequence_labels: table that says who walks in which sequence; ``labels.csv`` beside the
            skeletons if there is one and no other is named.
        settings: see :class:`SpatialDataModule`.
    """

    dataset = "own3d"
    reader_version = READER_VERSION
    protocols = PROTOCOLS
    default_protocols = tuple(PROTOCOLS)

    def __init__(
        self,
        path: str,
        split: Literal["last", "conditions", "people"] = "last",
        frames: int = 6,
        units: Literal["metres", "millimetres"] = "metres",
        up: Literal["y", "-y", "z", "-z"] = "y",
        gaps: Literal["join", "cut"] = "join",
        sequence_labels: str | None = None,
        **settings: Any,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"data.split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
        # of this source, not of the class: it must stand before the base looks at it
        self.native_skeleton = skeleton_layout(Path(path)).name  # type: ignore[misc]
        super().__init__(path, split, frames, **settings)
        self.options = Options(units, up, gaps)
        self.sequence_labels = find_labels(self.path, sequence_labels)
        self.named = read_sequence_labels(self.sequence_labels) if self.sequence_labels else {}

    @cached_property
    def place(self) -> pd.Series:
        """Of each row of the store the place of its sequence among those of its person."""
        table = self.open_store().sequences
        whole = table.drop_duplicates("sequence")
        whole = whole.sort_values(["subject", "condition", "number"], kind="stable")
        counted = whole.groupby("subject").cumcount().set_axis(whole["sequence"], axis=0)
        place: pd.Series = table["sequence"].map(counted)
        return place

    def find_parts(self) -> NDArray[np.str_]:
        """Of each sequence the part that the split gives it.

        Raises:
            InputError: if the labels that the split needs are not there.
        """
        table = self.open_store().sequences
        if self.split_name == "conditions":
            parts = super().find_parts()
            if "train" not in parts:
                raise InputError(
                    f"{self.path} has no sequence of condition train (it has "
                    f"{', '.join(sorted(set(parts)))}), which data.split conditions trains on; "
                    "label some so, or choose data.split last"
                )
            return parts
        last = self.place.groupby(table["subject"]).transform("max")
        is_probe = ((self.place == last) & (last > 0)).to_numpy()
        if self.split_name == "last":
            return np.where(is_probe, "probe", "train")
        trains = table["split"] == "train"
        everywhere = trains.groupby(table["subject"]).transform("all")
        if not trains.any() or (trains != everywhere).any():
            odd = table["subject"][trains != everywhere]
            what = f"{odd.iloc[0]} with some sequences alone" if len(odd) else "nobody"
            raise InputError(
                f"{self.path} labels {what} with the split train, and data.split people trains on "
                "those who are, with all they have; label all sequences of each of them so"
            )
        return np.where(trains, "train", np.where(is_probe, "probe", "gallery"))

    def find_split(self, name: str) -> Split:
        """Who trains and who is tested, in the order of their names.

        Raises:
            InputError: if the labels that the split needs are not there, or, but for ``people``,
                somebody is tested who cannot train.
        """
        if name == "conditions":
            return super().find_split(name)
        return Split(tuple(sorted(self._named(True))), tuple(sorted(self._named(False))))

    @property
    def store_name(self) -> str:
        """A store for each way to read."""
        return "-".join([self.dataset, *self.options])

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """How the files were read."""
        return self.options._asdict()

    def store_key(self) -> str:
        """Fingerprint of the files and the labels."""
        version = {"reader": self.reader_version, "skeleton": self.native_skeleton}
        return skeletons_fingerprint(
            self.path, self.sequence_labels, **version, **self.store_settings
        )

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        layout = get_skeleton(self.native_skeleton)
        read_skeletons(self.path, self.options, layout, self.sequence_labels, writer, keep)

    def prepare_data(self) -> None:
        """Build the store; say once what was found, and which labels went unused."""
        super().prepare_data()
        self._tell()

    @rank_zero_only
    def _tell(self) -> None:
        table = self.open_store().sequences
        there = set(table["sequence"])
        print(f"{self.path}: {len(there):,} sequences of {self.native_skeleton}")
        if self.sequence_labels is not None:
            unlabelled = set(table["sequence"][table["subject"] == table["sequence"]])
            warn_of_labels(self.sequence_labels, self.named.keys() - there, unlabelled)

    def notes(self) -> list[str]:
        """What became of frames, and whether bodies stand upright in metres."""
        frames = self.open_store().frames
        frames = frames[:: -(-len(frames) // LOOKED_AT), :, 1]
        joints = self.native_layout.joints
        head = joints.index("head" if "head" in joints else "nose")
        ankles = [joints.index(f"{side}_ankle") for side in ("left", "right")]
        height = float(np.median(frames[:, head] - frames[:, ankles].mean(axis=1)))
        notes = super().notes()
        if not UPRIGHT[0] < height < UPRIGHT[1]:
            notes.append(
                f"Heads are {height:.3g} metres above ankles (median), as in no upright body: see "
                "data.units and data.up."
            )
        return notes

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with a person's sequences counted, whatever their conditions had been."""
        return super()._labelled(table.assign(number=self.place + 1))
