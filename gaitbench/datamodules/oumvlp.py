"""OUMVLP-Pose: ten thousand people seen from fourteen sides, as poses.

What: poses of the OU-ISIR Gait Database, Multi-View Large Population Dataset. 10,307 subjects walk
twice each, forth and back past seven cameras: fourteen views, 0 to 90 and 180 to 270 degrees in
steps of 15, 1280 x 980 pixels at 25 frames a second. A recording has about 18 to 35 frames. Each
comes as OpenPose and as AlphaPose saw it.

Where from: the Institute of Scientific and Industrial Research (ISIR), Osaka University, on
request.

Licence: by agreement with the institute, signed before the download; not to be passed on.

On disk: ``<openpose|alphapose>/<subject>/<view>_<number>/``, one JSON file a frame with a list of
``people``, each of them 18 joints of x, y and confidence in ``pose_keypoints_2d``, in pixels and in
OpenPose's order for both estimators; joints that were not found are 0, 0, 0. Beside the two
folders lies ``ID_list.csv``. The dataset's folder, or the one that holds it, is the path to give.

Splits: ``ID_list.csv`` names the training and the test subjects in two columns, 5,153 and 5,154
in the official one. No other division is in use.

Known gaps: recordings are missing for many subjects, so a probe may have no partner in a gallery
view. Frames without a person are skipped, recordings without any person left out. Some frames
list several people, passers-by or mistakes, and the reference takes the first whoever it is, so
that tracks jump from one to another; ``person`` chooses otherwise. The estimators do not err alike:
FastPoseGait's GaitGraph2 reaches 62.1 % on AlphaPose and 49.0 % on OpenPose.

Citation: An et al., "Performance evaluation of model-based gait on multi-view very large
population database with pose sequences", IEEE T-BIOM 2020. Recordings: Takemura et al.,
"Multi-view large population gait dataset and its performance evaluation for cross-view gait
recognition", IPSJ Transactions on Computer Vision and Applications 2018.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.oumvlp import ID_LIST, NUMBERS, VIEWS
from gaitbench.protocols import Protocol, Selection
from gaitbench.readers.oumvlp import (
    READER_VERSION,
    oumvlp_fingerprint,
    oumvlp_root,
    read_id_list,
    read_oumvlp,
)
from gaitbench.skeleton import OPENPOSE18
from gaitbench.store import StoreWriter

# All judge the test subjects, which the ID list names, on the views that the data have.
FIRST: Selection = {"number": (0,)}
SECOND: Selection = {"number": (1,)}

CROSS_VIEW = Protocol(
    id="oumvlp.cross_view",
    description=(
        "Gallery 01, one view at a time; probes 00; identical views excluded; mean over gallery "
        "views, then over probe views."
    ),
    gallery=SECOND,
    probes={"NM": FIRST},
    gallery_views="each",
    exclude_same_view=True,
    unmatched="skip",
)
"""The field's protocol.

Gallery: recordings 01, those of one view at a time. Probes: recordings 00. Excluded: gallery of
the probe's own view. Means: over the probes of a cell (probe view, gallery view), then for each
probe view over the other gallery views, then over probe views. A probe whose subject is not in a
gallery view is left out of that trial and counted: recordings are missing, and nobody could find
them.
"""

OPENGAIT = replace(
    CROSS_VIEW,
    id="oumvlp.opengait",
    description=(
        "As OpenGait: gallery 01, one view at a time; probes 00; identical views excluded; "
        "unmatched probes count as wrong."
    ),
    unmatched="wrong",
)
"""What OpenGait and FastPoseGait print, but for their rounding of each cell to 0.01.

As :data:`CROSS_VIEW`, but a probe whose subject is not in a gallery view counts as wrong there, so
that figures are a little lower.
"""

GAITGRAPH2 = Protocol(
    id="oumvlp.gaitgraph2",
    description=(
        "As GaitGraph2: gallery 00, one view at a time; probes 01; identical views included; "
        "unmatched probes count as wrong."
    ),
    gallery=FIRST,
    probes={"NM": SECOND},
    gallery_views="each",
    exclude_same_view=False,
    unmatched="wrong",
    repeated="last",
    overall="all_cells",
)
"""What GaitGraph2's program prints (Teepe et al., 2022, arXiv 2204.07855).

Gallery: recordings 00, those of one view at a time. Probes: recordings 01. Excluded: nothing.
Means: over the probes of a cell, then for each probe view over all gallery views, its own included,
then over probe views; ``overall`` is the plain mean over all 14 x 14 cells, which is the same where
no view is absent. A probe whose subject is not in a gallery view counts as wrong; of repeated
recordings the last counts. Identical views are easy, so its figures are higher than those of
:data:`CROSS_VIEW` and must not be put beside them. (The program logs means over probes under the
name of the gallery and the other way round; here they are what they are called.)
"""

PROTOCOLS: dict[str, Protocol] = {
    protocol.id: protocol for protocol in (CROSS_VIEW, OPENGAIT, GAITGRAPH2)
}
"""By id."""


class OumvlpPose(GaitDataModule):
    """OUMVLP-Pose: 10,307 people, two walks each, fourteen views, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing. Each
    choice of ``keypoints`` and ``person`` has a store of its own, beside the others.

    Args:
        path: the dataset's folder, which holds ``ID_list.csv`` and a folder for each estimator, or
            the folder above it.
        split: training and test subjects; ``id_list`` takes them from ``ID_list.csv``.
        frames: frames of a window.
        keypoints: the pose estimator.
        person: who is taken where a frame lists several people: the ``first`` (as published), the
            ``largest``, the ``most_confident``, or whoever makes the ``smoothest`` track.
        skeleton: layout of the poses that the method sees: ``openpose18``, as published and if
            none is named, or ``coco17``, with which FastPoseGait's GaitGraph2 reaches 70.7 instead
            of 62.1 % on AlphaPose.
        fill_empty: give joints without a position the mean of the frame. ``test`` is as published;
            ``all`` does in training what is done in test.
        settings: see :class:`GaitDataModule`.
    """

    dataset = "oumvlp"
    native_skeleton = OPENPOSE18.name
    reader_version = READER_VERSION
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    default_protocols = ("oumvlp.cross_view", "oumvlp.gaitgraph2")

    def __init__(
        self,
        path: str = "data/OUMVLP-Pose",
        split: Literal["id_list"] = "id_list",
        frames: int = 30,
        keypoints: Literal["openpose", "alphapose"] = "alphapose",
        person: Literal["first", "largest", "most_confident", "smoothest"] = "first",
        skeleton: str | None = None,
        fill_empty: Literal["none", "test", "all"] = "test",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, skeleton, fill_empty=fill_empty, **settings)
        self.keypoints = keypoints
        self.person = person

    def find_split(self, name: str) -> Split:
        """Training and test subjects as the ID list names them.

        Raises:
            InputError: if the list is not there or not as published.
        """
        return Split(*read_id_list(oumvlp_root(self.path, self.keypoints) / ID_LIST))

    @property
    def expected(self) -> Mapping[tuple[str, int], int]:
        """Two recordings a view of each subject on the list, though many were never made."""
        listed = len(self.split.train) + len(self.split.test)
        return {("nm", view): listed * len(NUMBERS) for view in VIEWS}

    @property
    def store_name(self) -> str:
        """A store for each estimator and each choice of person."""
        return f"{self.dataset}-{self.keypoints}-{self.person}"

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """Whose poses the store holds."""
        return {"keypoints": self.keypoints, "person": self.person}

    def store_key(self) -> str:
        """Fingerprint of the folders, for there are millions of files."""
        return oumvlp_fingerprint(
            self.path,
            self.keypoints,
            person=self.person,
            skeleton=self.native_skeleton,
            reader=self.reader_version,
        )

    def read(self, writer: StoreWriter) -> None:
        """Read the tree; what was read of it is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        read_oumvlp(self.path, self.keypoints, self.person, writer, keep)
