"""CASIA-B: 124 people seen from eleven sides, as poses.

What: Dataset B of the CASIA Gait Database. 124 subjects walk ten times each (six times in plain
clothes ``nm``, twice with a bag ``bg``, twice in a coat ``cl``), filmed indoors at once from
eleven views, 0 to 180 degrees in steps of 18: 13,640 recordings of 320 x 240 pixels at 25 frames
a second.

Where from: the recordings are to be asked for at the Institute of Automation, Chinese Academy of
Sciences (CASIA), Center for Biometrics and Security Research; poses made from them were released
by the authors of GaitGraph as ``casia-b_pose_coco.csv``.

Licence: research only, under CASIA's release agreement, which forbids passing recordings on.

On disk: one comma-separated table, plain or gzipped, one row a frame, ``image_name`` and then x,
y and confidence of the 17 COCO joints, in pixels. ``image_name`` is
``./<subject>-<condition>-<number>-<view>/<frame>.jpg``; what stands before the folder does not
matter. Or GaitGraph's split files, ``casia-b_pose_train_valid.csv`` and
``casia-b_pose_test.csv`` (or ``train`` and ``valid`` apart), in one folder.

Splits: subjects 001-074 train and 075-124 test, the field's large-sample split ("74/50"); or
001-062 and 063-124 ("62/62").

Known gaps: frames in which the person detector did not find exactly one person have no row, so
sequences have holes, a few are very short, and some recordings are absent altogether. Recordings
of the empty room (``bkgrd``) are skipped.

Citation: Yu, Tan, Tan, "A framework for evaluating the effect of view angle, clothing and
carrying condition on gait recognition", ICPR 2006. Poses: Teepe et al., "GaitGraph", ICIP 2021,
arXiv 2101.11228; "Towards a deeper understanding of skeleton-based gait recognition", CVPRW 2022,
arXiv 2204.07855.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.datamodules.casia_b_protocols import PROTOCOLS
from gaitbench.datamodules.casia_b_reader import (
    READER_VERSION,
    TABLE,
    casia_b_sources,
    read_casia_b,
)
from gaitbench.protocols import Protocol
from gaitbench.skeleton import COCO17
from gaitbench.store import StoreWriter

SUBJECTS = tuple(f"{subject:03d}" for subject in range(1, 125))
VIEWS = tuple(range(0, 181, 18))
NUMBERS = MappingProxyType({"nm": range(1, 7), "bg": range(1, 3), "cl": range(1, 3)})
"""Condition -> numbers of its recordings, the same for each subject and view."""

EXPECTED = MappingProxyType(
    {(c, view): len(SUBJECTS) * len(NUMBERS[c]) for c in NUMBERS for view in VIEWS}
)
"""(condition, view) -> recordings of the whole dataset."""

TRAIN_SUBJECTS = MappingProxyType({"74/50": SUBJECTS[:74], "62/62": SUBJECTS[:62]})
"""Split -> subjects trained on; all others are tested on."""


class CasiaB(GaitDataModule):
    """CASIA-B: 124 people, ten walks each, eleven views, as COCO-17 poses.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the table of poses, ``.csv`` or ``.csv.gz``, or a folder that holds it or GaitGraph's
            split files.
        split: training and test subjects, ``74/50`` (the field's) or ``62/62`` (GaitFormer's).
        frames: frames of a window.
        settings: see :class:`GaitDataModule`.
    """

    dataset = "casia_b"
    skeleton = COCO17.name
    reader_version = READER_VERSION
    splits: ClassVar[Mapping[str, Split]] = {
        name: Split(train, tuple(s for s in SUBJECTS if s not in train))
        for name, train in TRAIN_SUBJECTS.items()
    }
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    default_protocols = ("casia_b.cross_view", "casia_b.gaitgraph2")
    expected = EXPECTED

    def __init__(
        self,
        path: str = f"data/{TABLE}",
        split: Literal["74/50", "62/62"] = "74/50",
        frames: int = 60,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)

    def sources(self) -> list[Path]:
        """The table, or the split files."""
        return casia_b_sources(self.path)

    def read(self, writer: StoreWriter) -> None:
        """Parse the table."""
        read_casia_b(self.path, writer)
