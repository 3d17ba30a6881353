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

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import pandas as pd

from gaitbench.datamodules.annotated import TRACK, TracksDataModule
from gaitbench.densegait import ANNOTATIONS, VALIDATION, attribute_names
from gaitbench.errors import InputError
from gaitbench.protocols import AttributeProtocol
from gaitbench.readers.annotated import Annotated, Kind, find_annotated

PARTS = MappingProxyType({"train": ANNOTATIONS, "validation": VALIDATION})
COLUMNS: Mapping[str, Kind] = MappingProxyType(
    {**TRACK, **dict.fromkeys(attribute_names(), "probability")}
)
"""Columns of the published tables beside ``file_name``."""

ATTRIBUTES = AttributeProtocol(
    id="densegait.attributes",
    description=(
        "Each attribute that both network and data name, yes or no at a half; AUROC and AP by "
        "the predicted probabilities; what is not defined takes no part in a mean."
    ),
    sets={"ALL": {}},
)
"""Attributes of all tracks of a part, meant for ``validation``.

Labels and predictions are rounded, a half to no, where a figure wants yes or no. AUROC, AP and F1
of each attribute; means over attributes (macro), of the counts of all cells (micro), and over
tracks (example). A share of nothing, such as the precision of what is never told, is left out.
"""

ATTRIBUTES_REFERENCE = AttributeProtocol(
    id="densegait.attributes_reference",
    description=(
        "As GaitFormer's program: F1 is the weighted recall again, AP that of rounded "
        "predictions, and what is not defined spoils the mean."
    ),
    sets={"ALL": {}},
    form="reference",
    undefined="nan",
)
"""What GaitFormer's program prints of attributes (Cosma and Radoi, 2022).

As :data:`ATTRIBUTES`, with its figures alone and its faults: of each attribute F1 is the recall
once more and AP is of rounded predictions; a share of nothing is not a number, nor is a mean with
one in it; the log-loss is infinite, or no number, where a prediction is 0 or 1. Its ``acc`` is
called Jaccard here, its Hamming loss error.
"""


class DenseGait(TracksDataModule):
    """DenseGait: 217,954 anonymous tracks with soft attributes, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing. The
    store's table has the attributes as float32 columns of their published names.

    Args:
        path: the dataset's folder, which holds ``data-2.02`` and ``validation``, the folder of the
            CSV, or the CSV itself.
        split: ``all``: every track trains, each a person of its own, and every track is predicted.
        frames: frames of a window.
        part: which of the two tables, ``train`` or ``validation``; each has a store of its own.
        settings: see :class:`TracksDataModule`.
    """

    dataset = "densegait"
    columns = COLUMNS
    protocols: ClassVar[Mapping[str, AttributeProtocol]] = {
        protocol.id: protocol for protocol in (ATTRIBUTES, ATTRIBUTES_REFERENCE)
    }
    default_protocols = ("densegait.attributes",)

    def __init__(
        self,
        path: str = "data/DenseGait",
        split: Literal["all"] = "all",
        frames: int = 48,
        part: Literal["train", "validation"] = "train",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
        if self.labels is not None:
            raise InputError(
                f"data.labels {self.labels}: {self.dataset} has attributes of its own; leave it out"
            )
        self.part = part

    @property
    def attributes(self) -> tuple[str, ...]:
        """All 42, in the order of the categories."""
        return attribute_names()

    @property
    def source(self) -> Annotated:
        """The part's table, and where its files are.

        Raises:
            InputError: if there is no table, or only that of the other part.
        """
        found = find_annotated(self.path, PARTS[self.part], self.columns, upwards=False)
        for part, place in PARTS.items():
            if part != self.part and found.annotations.match(place):
                raise InputError(
                    f"{found.annotations} is the table of data.part {part}, expected "
                    f"{PARTS[self.part]}; name the folder above it, or choose that part"
                )
        return found

    @property
    def store_name(self) -> str:
        """A store for each of the two tables."""
        return f"{self.dataset}-{self.part}"

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """Which table the store was read from, and whether tracks may be absent."""
        return {"part": self.part, **super().store_settings}

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Each line a walk of its track; the attributes under their published names."""
        return super().to_table(annotations).join(annotations[list(self.attributes)])
