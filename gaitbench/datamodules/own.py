"""Your own recordings: keypoints that any pose estimator wrote, with or without labels.

What: a file or a folder of keypoints of COCO's, OpenPose's, AlphaPose's or MMPose's making, or
numpy arrays, or pickled ones in the trees of OpenGait and FastPoseGait, or a table; found out from
the content, see docs/own_data.md.

On disk: as the pose estimator left it. A file ``labels.csv`` beside may say who walks in which
sequence: ``sequence``, ``subject``, ``condition``, ``number``, ``view``, ``split``.

Splits: people whose sequences are labelled with the split ``train`` train, with all they have; all
others are tested. Without such labels nobody trains.

Protocols: ``own.probe`` searches for sequences of the split ``probe`` among those of ``gallery``;
``data.protocol`` describes another.

Known gaps: in a video without track numbers one person is followed and the others are left out.
"""

import logging
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_only

from gaitbench.batch import Rows
from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.errors import InputError
from gaitbench.protocols import Protocol, read_protocol, written_protocol
from gaitbench.readers.keypoints import (
    READER_VERSION,
    find_labels,
    keypoint_fingerprint,
    keypoint_layout,
    read_keypoints,
    read_sequence_labels,
)
from gaitbench.skeleton import get_skeleton
from gaitbench.store import StoreWriter

logger = logging.getLogger(__name__)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "own.probe": Protocol(
            id="own.probe",
            description="Sequences of the split probe, searched for among those of gallery.",
            gallery={"split": ("gallery",)},
            probes={"probe": {"split": ("probe",)}},
            gallery_views="pooled",
            exclude_same_view=False,
            unmatched="skip",
        )
    }
)

LOOKED_AT = 10_000  # frames that are measured
UNIT = 2.0  # coordinates that do not reach it are no pixels
LISTED = 30  # people whose sequences are counted one by one


class OwnSequences(GaitDataModule):
    """Keypoints of your own videos: a sequence a video and person.

    The joint layout is found out from the first person of the files; a source of several layouts is
    refused.

    Args:
        path: a file of keypoints, or a folder whose folders are searched too.
        person: who is followed through a video that has no track numbers: whoever makes the
            ``smoothest`` track, or in each frame the ``largest``, the ``most_confident``, or the
            ``first``.
        sequence_labels: table that says who walks in which sequence; ``labels.csv`` beside the
            keypoints if there is one and no other is named. Without it a sequence is its own
            subject, unless it has a name like ``001-nm-01-090`` or ``001/nm-01/090/090``.
        protocol: of your own, a mapping or the YAML file that holds it, see
            :func:`gaitbench.protocols.written_protocol`; test and predict judge by it.
        frames: frames of a window.
        skeleton: layout of the poses that the method sees.
        fill_empty: give joints without a position the mean of the frame.
        fill_with: which mean; ``valid`` is that of the joints that were found.
        settings: see :class:`GaitDataModule`.
    """

    dataset = "own"
    reader_version = READER_VERSION
    protocols = PROTOCOLS

    def __init__(
        self,
        path: str,
        person: Literal["first", "largest", "most_confident", "smoothest"] = "smoothest",
        sequence_labels: str | None = None,
        protocol: dict[str, Any] | str | None = None,
        frames: int = 60,
        skeleton: str | None = None,
        fill_empty: Literal["none", "test", "all"] = "test",
        fill_with: Literal["reference", "valid"] = "valid",
        **settings: Any,
    ) -> None:
        # of this source, not of the class: it must stand before the base looks at it
        self.native_skeleton = keypoint_layout(Path(path)).name  # type: ignore[misc]
        super().__init__(
            path,
            "all",
            frames,
            skeleton,
            fill_empty=fill_empty,
            fill_with=fill_with,
            **settings,
        )
        self.person = person
        self.sequence_labels = find_labels(self.path, sequence_labels)
        self.named = read_sequence_labels(self.sequence_labels) if self.sequence_labels else {}
        # of this source too
        if protocol is not None:
            own = (
                read_protocol(Path(protocol))
                if isinstance(protocol, str)
                else written_protocol(protocol)
            )
            self.protocols = {**PROTOCOLS, own.id: own}  # type: ignore[misc]
            self.default_protocols = (own.id,)  # type: ignore[misc]
        elif {"gallery", "probe"} <= {label.split for label in self.named.values()}:
            self.default_protocols = tuple(PROTOCOLS)  # type: ignore[misc]

    def find_split(self, name: str) -> Split:
        """Who is labelled with the split ``train`` trains, the others are tested.

        Raises:
            InputError: if somebody is with some sequences only.
        """
        table = self.open_store().sequences
        trains = table["split"] == "train"
        odd = table["subject"][trains != trains.groupby(table["subject"]).transform("all")]
        if len(odd):
            raise InputError(
                f"{self.sequence_labels} labels {odd.iloc[0]} with the split train in some "
                "sequences alone, and nobody is tested who has trained; label all sequences of "
                "each person so, or none"
            )
        return Split(*(tuple(sorted({*table["subject"][part]})) for part in (trains, ~trains)))

    def _training_rows(self) -> Rows:
        if not self.split.train:
            raise InputError(
                f"{self.path} has nobody to train on: no sequence is labelled with the split "
                f"train; give {self.sequence_labels or 'a labels.csv beside it'} a column split"
            )
        return super()._training_rows()

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """Who was followed."""
        return {"person": self.person}

    def store_key(self) -> str:
        """Fingerprint of the files and the labels."""
        return keypoint_fingerprint(
            self.path,
            self.sequence_labels,
            skeleton=self.native_skeleton,
            reader=self.reader_version,
            **self.store_settings,
        )

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        layout = get_skeleton(self.native_skeleton)
        read_keypoints(self.path, self.person, layout, self.sequence_labels, writer, keep)

    def prepare_data(self) -> None:
        """Build the store; say once how people were told apart, and which labels went unused."""
        super().prepare_data()
        self._tell()

    @rank_zero_only
    def _tell(self) -> None:
        table = self.open_store().sequences
        followed, several = int(table["followed"].sum()), int(table["several"].sum())
        print(f"{self.path}: {len(table):,} sequences of {self.native_skeleton}")
        if followed:
            print(
                f"in {followed:,} of them, of videos without track numbers, one person is followed "
                f"(data.person {self.person}); {several:,} of their frames list several people"
            )
        if self.sequence_labels is not None:
            warn_of_labels(self.sequence_labels, *self._unmatched())

    def _unmatched(self) -> tuple[Collection[str], Collection[str]]:
        """Labels without a sequence, and sequences without a label."""
        there = set(self.open_store().sequences["sequence"])
        return self.named.keys() - there, there - self.named.keys()

    @cached_property
    def looked_at(self) -> "Look":
        """What a sample of the frames shows."""
        frames = self.open_store().frames
        return _look(frames[:: -(-len(frames) // LOOKED_AT)], self.native_layout.joints)

    def details(self) -> list[tuple[str, str]]:
        """Sequences by subject and by split, and how certain the joints are."""
        table = self.open_store().sequences
        counts = table["subject"].value_counts(sort=False).sort_index()
        few = f"{counts.min()} / {counts.median():g} / {counts.max()}"
        details = [("sequences a subject, fewest / median / most", few)]
        if len(counts) <= LISTED:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            details.append(("sequences by subject", listed.replace("|", "/")))
        splits = table.groupby("split")["subject"].agg(["size", "nunique"])
        if {*splits.index} != {""}:
            told = [
                f"{name or 'none'} {row['size']} (people: {row['nunique']})"
                for name, row in splits.iterrows()
            ]
            details.append(("sequences by split", ", ".join(told).replace("|", "/")))
        low, median, high = self.looked_at.confidence
        what = "confidence of joints that are seen, tenth percentile / median / ninetieth"
        return [*details, (what, f"{low:.2g} / {median:.2g} / {high:.2g}")]

    def notes(self) -> list[str]:
        """What looks wrong: labels that do not fit, and poses as no estimator means them."""
        table, look = self.open_store().sequences, self.looked_at
        notes = super().notes()
        absent, unlabelled = self._unmatched() if self.named else ((), ())
        for names, what in ((absent, "Labels without a sequence"), (unlabelled, "No label for")):
            if names:
                notes.append(f"{what}: {_some(names)}.")
        key = ["subject", "condition", "number", "view"]
        if (again := table.duplicated(key, keep=False)).any():
            notes.append(
                "Sequences of one subject, condition, number and view: "
                f"{_some(table['sequence'][again])}; tell them apart by number or view."
            )
        if (frozen := self._frozen()).any():
            notes.append(f"Poses that never move: {_some(table['sequence'][frozen])}.")
        if look.reach < UNIT:
            notes.append(
                f"Coordinates reach {look.reach:.2g} at most and are no pixels: multiply x by the "
                "pictures' width and y by their height, or bodies are squeezed."
            )
        if look.head_below > 0:
            notes.append("Heads are below ankles (median): y must point downwards; turn it.")
        if look.confidence[2] > 1:
            notes.append(
                f"Confidences reach {look.confidence[2]:.2g} (ninetieth percentile); networks here "
                "were trained on 0 to 1."
            )
        elif look.confidence[0] == look.confidence[2]:
            notes.append(
                f"Nearly all joints have the same confidence, {look.confidence[1]:.2g}: nothing "
                "tells the uncertain ones."
            )
        return notes

    def _frozen(self) -> NDArray[np.bool_]:
        """(S,) sequences of several frames whose first, middle and last are the same."""
        store = self.open_store()
        start, length = (store.sequences[name].to_numpy() for name in ("start", "length"))
        several = np.flatnonzero(length > 1)
        first, middle, last = (
            store.frames[(start + place)[several]]
            for place in (0 * length, length // 2, length - 1)
        )
        frozen = np.zeros(len(length), bool)
        frozen[several] = ((first == middle) & (first == last)).all(axis=(1, 2))
        return frozen


class Look(NamedTuple):
    """What frames show.

    Attributes:
        confidence: of joints that are seen: tenth percentile, median, ninetieth.
        reach: greatest absolute coordinate.
        head_below: median of how far the nose is below the ankles' mean.
    """

    confidence: tuple[float, float, float]
    reach: float
    head_below: float


def _look(frames: NDArray[np.float32], joints: tuple[str, ...]) -> Look:
    """What frames (F, V, 3) show, in each of which a joint is seen."""
    seen = frames[..., 2] > 0
    parts = [joints.index(name) for name in ("nose", "left_ankle", "right_ankle")]
    whole = frames[seen[:, parts].all(axis=1)][:, parts, 1]
    below = whole[:, 0] - whole[:, 1:].mean(axis=1)
    low, median, high = np.percentile(frames[..., 2][seen], (10, 50, 90)).tolist()
    return Look(
        confidence=(low, median, high),
        reach=float(np.abs(frames[seen][:, :2]).max()),
        head_below=float(np.median(below)) if len(below) else 0.0,
    )


def _some(names: Collection[str] | pd.Series) -> str:
    """The first by name, and how many there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others):,} more" if others else first


def warn_of_labels(labels: Path, absent: Collection[str], unlabelled: Collection[str]) -> None:
    """Warn of labels and sequences that do not meet.

    Args:
        labels: the table.
        absent: names in it that no sequence has.
        unlabelled: sequences that nothing labels.
    """
    for missing, what in ((absent, "labels no sequence"), (unlabelled, "has no label for")):
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            logger.warning("%s %s %s%s", labels, what, min(missing), more)
