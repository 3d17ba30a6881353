"""FVG, Front-View Gait: 226 people who walk towards the camera, as poses.

What: 2,856 videos of 1080 x 1920 pixels and about 10 seconds, filmed from the front in 2017 and
2018. Subjects 1 to 147 came to session 1, subjects 148 to 226 to session 2, and twelve of the
first (1, 2, 4, 7, 8, 12, 13, 17, 31, 40, 48, 77) again to session 3; each left 12 videos a
session. They vary in walking speed, in what is carried (session 1), in clothes and in background
(session 2).

Where from: the videos from the Computer Vision Lab, Michigan State University. The poses are those
that the authors of GaitFormer made of them and read; their format is simple enough to write.

Licence: on request from the university, research only; not to be passed on.

On disk: ``FVG-andy/data/annotations.csv`` with the columns ``file_name``, ``track_id`` (the
subject), ``session_id`` (1 to 3) and ``run_id`` (the video, 1 to 12), and for each line a ``.npy``
of (T, 18, 3): x, y and confidence in OpenPose's order. ``file_name`` counts from the folder that
holds ``FVG-andy``, or from the table's own, as the authors' later programs have it. Coordinates
are normalised already (as far as is known about the hips' middle, x by the width of the shoulders
and y by the height from hips to neck) and y grows **upwards**, as networks of this family see it,
so that nothing is flipped here. Which of two paired joints is the left one is uncertain: nobody's
program says so, and the authors' later ones give OpenPose's right joints COCO's left ones.

Splits: subjects 1 to 136 train and 137 to 226 test ("136/90"). GaitFormer's program counts places
among the sorted subjects of the table instead and stops one short, so that the last of 226 takes
no part ("136/89").

Known gaps: all of session 3 trains. Of the test subjects eleven (137 to 147) have session 1, and
the other 79 session 2, so carried bags are judged on eleven people.

Citation: Zhang et al., "Gait recognition via disentangled representation learning", CVPR 2019,
arXiv 1904.04925. Poses and protocols: Cosma and Radoi, "Learning gait representations with noisy
multi-task learning", Sensors 22(18), 2022.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from gaitbench.datamodules.annotated import AnnotatedDataModule
from gaitbench.datamodules.base import Split
from gaitbench.errors import InputError
from gaitbench.fvg import ANNOTATIONS, NUMBERS, SESSION_SUBJECTS, SUBJECTS, TRAIN_SUBJECTS
from gaitbench.protocols import AttributeProtocol, Protocol, Selection
from gaitbench.readers.annotated import Kind, read_annotations

COLUMNS: Mapping[str, Kind] = MappingProxyType(
    {"track_id": "subject", "session_id": "integer", "run_id": "integer"}
)
"""Columns of the published table beside ``file_name``."""


def _videos(session: int, numbers: Iterable[int]) -> tuple[str, ...]:
    """Their names in the column ``recording``."""
    return tuple(f"{session}-{number:02d}" for number in numbers)


# Sets of videos out of several sessions, which the columns condition and number cannot tell.
FIRST, SECOND = _videos(1, [2]), _videos(2, [2])
SPEEDS = _videos(1, range(4, 10)) + _videos(2, range(4, 7))


def _protocol(name: str, what: str, gallery: Iterable[str], probes: Iterable[str]) -> Protocol:
    of_probes: Selection = {"recording": tuple(probes)}
    return Protocol(
        id=f"fvg.{name.lower()}",
        description=f"As GaitFormer: {what}; L1 distance of unit vectors; mean over probes.",
        gallery={"recording": tuple(gallery)},
        probes={name: of_probes},
        gallery_views="pooled",
        exclude_same_view=False,
        unmatched="wrong",
        distance="l1",
    )


WS = _protocol(
    "WS",
    "gallery video 2 of sessions 1 and 2; probes videos 4-9 of session 1 and 4-6 of session 2",
    FIRST + SECOND,
    SPEEDS,
)
"""Walking speed.

Gallery: video 2 of sessions 1 and 2. Probes: videos 4 to 9 of session 1 and 4 to 6 of session 2.
Excluded: nothing. Distance: L1 of vectors of unit length. Means: over the probes. A probe whose
subject is not in the gallery counts as wrong, as in GaitFormer's program (Cosma and Radoi, 2022);
so do the others below.
"""

CB = _protocol(
    "CB", "gallery video 2 of session 1; probes videos 10-12 of session 1",
    FIRST, _videos(1, range(10, 13)),
)  # fmt: skip
"""Carried bag. Gallery: video 2 of session 1. Probes: videos 10 to 12 of session 1. Else as WS."""

CL = _protocol(
    "CL", "gallery video 2 of session 2; probes videos 7-9 of session 2",
    SECOND, _videos(2, range(7, 10)),
)  # fmt: skip
"""Other clothes. Gallery: video 2 of session 2. Probes: videos 7 to 9 of session 2. Else as WS."""

CBG = _protocol(
    "CBG", "gallery video 2 of session 2; probes videos 10-12 of session 2",
    SECOND, _videos(2, range(10, 13)),
)  # fmt: skip
"""Cluttered background. Gallery: video 2 of session 2. Probes: videos 10 to 12 of session 2. Else
as WS."""

ALL = _protocol(
    "ALL",
    "gallery video 2 of sessions 1 and 2; probes those of WS and all videos of session 3, to which "
    "only training subjects came as published, so that this equals WS",
    FIRST + SECOND,
    SPEEDS + _videos(3, NUMBERS),
)
"""What GaitFormer's program calls all. Gallery: as WS. Probes: those of WS and all of session 3.

The probes of CB, CL and CBG are **not** among them. And as all who came to session 3 are training
subjects, in the dataset as published it **equals WS**; it differs only where test subjects of
other data have a session 3.
"""

PROTOCOLS: dict[str, Protocol] = {protocol.id: protocol for protocol in (WS, CB, CL, CBG, ALL)}
"""GaitFormer's of recognition, by id. Its program chooses checkpoints by the mean of the five."""

OFFICIAL_ALL = Protocol(
    id="fvg.all_official",
    description=(
        "As FVG's authors: gallery video 2 of sessions 1 and 2; probes all others of sessions 1 "
        "and 2, and all of session 3; L1 distance of unit vectors; mean over probes."
    ),
    gallery={"recording": FIRST + SECOND},
    probes={
        "ALL": {
            "recording": tuple(
                name
                for session in SESSION_SUBJECTS
                for name in _videos(session, NUMBERS)
                if name not in FIRST + SECOND
            )
        }
    },
    gallery_views="pooled",
    exclude_same_view=False,
    unmatched="wrong",
    distance="l1",
)
"""What the dataset's authors call all (Zhang et al., 2019), where :data:`ALL` is not it.

Gallery: video 2 of sessions 1 and 2. Probes: videos 1 and 3 to 12 of sessions 1 and 2, and all of
session 3. Source: the program that its authors published, github.com/ziyuanzhangtony/
GaitNet-CVPR2019, ``gaitnet/train/FVG/train_cvl1_test11.py`` (``get_eval_data_all``, there
commented out). Distance, means and probes without a partner as the others here, so that the figures
stand beside them; the authors compare by cosine and print true-accept rates, not rank-1. Theirs
draws 136 of the 226 subjects at random to train on, so that some of session 3 may be tested; with
the first 136 none is.
"""

GENDER = AttributeProtocol(
    id="fvg.gender",
    description="As GaitFormer: who is a woman, over the probes of each protocol of recognition.",
    sets={
        **{
            name: protocol.probes[name]
            for name, protocol in (("WS", WS), ("CB", CB), ("CL", CL), ("CBG", CBG), ("ALL", ALL))
        },
        "EVERY": {},
    },
    attributes=("Female",),
)
"""What GaitFormer's program tells of sex (Cosma and Radoi, 2022).

Judged: the probes of WS, CB, CL, CBG and ALL, and EVERY video, which is ours. The program prints
CB by the name of BG, does not print CBG, and chooses checkpoints by the weighted F1 of ALL. The
labels were never published; ``data.labels`` gives one's own.
"""

EXPECTED = MappingProxyType(
    {
        (f"session{session}", 0): len(subjects) * len(NUMBERS)
        for session, subjects in SESSION_SUBJECTS.items()
    }
)
"""(condition, view) -> videos of the whole dataset."""


class FVG(AnnotatedDataModule):
    """FVG: 226 people seen from the front, 12 videos a session, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``FVG-andy``, the one with the table in it, or the table.
        split: training and test subjects. ``136/90`` tells them by their numbers. ``136/89`` is
            as GaitFormer's program has it: by place among the sorted subjects of the table, of
            which the 226th takes no part.
        frames: frames of a window.
        settings: see :class:`AnnotatedDataModule`. GaitFormer's experiments with little data take
            a ``fraction`` of ``each_subject``.
    """

    dataset = "fvg"
    annotations = ANNOTATIONS
    columns = COLUMNS
    protocols: ClassVar[Mapping[str, Protocol | AttributeProtocol]] = {
        **PROTOCOLS,
        OFFICIAL_ALL.id: OFFICIAL_ALL,
        GENDER.id: GENDER,
    }
    default_protocols = ("fvg.ws", "fvg.cb", "fvg.cl", "fvg.cbg")  # and ALL equals WS

    def __init__(
        self,
        path: str = "data/FVG",
        split: Literal["136/90", "136/89"] = "136/90",
        frames: int = 48,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)

    def find_split(self, name: str) -> Split:
        """Subjects by number, or for ``136/89`` by place in the table.

        Raises:
            InputError: if the name is another, or the table is not there or not as published.
        """
        train = len(TRAIN_SUBJECTS)
        if name == "136/90":
            return Split(TRAIN_SUBJECTS, SUBJECTS[train:])
        if name == "136/89":
            found = tuple(sorted(set(self.to_table(read_annotations(self.source))["subject"])))
            return Split(found[:train], found[train : len(SUBJECTS) - 1])
        raise InputError(f"data.split {name!r} is unknown; choose one of 136/90, 136/89")

    @property
    def expected(self) -> Mapping[tuple[str, int], int]:
        """Those of all subjects."""
        return EXPECTED

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Columns of the store, made of those of the published table.

        Subjects are written as ``001``, so that their order is that of their numbers.

        Raises:
            InputError: if a session or video has another number than the dataset's.
        """
        session, number = annotations["session_id"], annotations["run_id"]
        self.expect(annotations, "session_id", list(SESSION_SUBJECTS))
        self.expect(annotations, "run_id", list(NUMBERS))
        return pd.DataFrame(
            {
                "subject": annotations["track_id"].str.zfill(len(SUBJECTS[-1])),
                "condition": "session" + session.astype(str),
                "number": number.astype(np.int64),
                "view": np.zeros(len(annotations), np.int64),
                "recording": session.astype(str) + "-" + number.astype(str).str.zfill(2),
            }
        )
