"""CASIA-B in the layout of GaitFormer's authors: a table, and an ``.npy`` of poses a sequence.

What: the recordings of :mod:`gaitbench.datamodules.casia_b`, in which the authors of GaitFormer
found people and poses themselves. Protocols, subjects and splits are the same.

Where from: the recordings from CASIA, on request; the poses are those that the authors made and
read. Their format is simple enough to write.

Licence: research only, under CASIA's release agreement, which forbids passing recordings on.

On disk: ``CASIA-cleaner-andy/data/annotations.csv`` with ``file_name``, ``track_id`` (the subject),
``type`` (nm, bg, cl), ``run_id`` and ``camera_id`` (degrees), and for each line an ``.npy`` of
(T, 18, 3): x, y and confidence in OpenPose's order. ``file_name`` counts from the folder that holds
``CASIA-cleaner-andy``, or from the table's own, as the authors' later programs have it. Poses come
normalised, and y grows **upwards**, so that nothing is turned.

Splits: subjects 001-062 train and 063-124 test ("62/62"), as the authors have it; "99/25", as they
have it to tell women from men; and the field's "74/50". They go by the subject's number, the
authors' program by place among the sorted ones, which is the same if all 124 are there.

Known gaps: which of two paired joints is the left one is uncertain, as in DenseGait.

Citation: Yu, Tan, Tan, "A framework for evaluating the effect of view angle, clothing and
carrying condition on gait recognition", ICPR 2006. Poses: Cosma and Radoi, "Learning gait
representations with noisy multi-task learning", Sensors 22(18), 6803, 2022.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from gaitbench.casia_b import ANNOTATIONS, NUMBERS, SUBJECTS, VIEWS
from gaitbench.datamodules.annotated import TRACK, AnnotatedDataModule
from gaitbench.datamodules.base import Split
from gaitbench.datamodules.casia_b import EXPECTED, SPLITS, CasiaB
from gaitbench.protocols import AttributeProtocol, Protocol
from gaitbench.readers.annotated import Kind

COLUMNS: Mapping[str, Kind] = MappingProxyType(
    {**TRACK, "type": "text", "run_id": "integer", "camera_id": "integer"}
)
"""Columns of the published table beside ``file_name``."""


class CasiaBTracks(AnnotatedDataModule):
    """CASIA-B as GaitFormer's authors read it: OpenPose's 18 joints, normalised.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``CASIA-cleaner-andy``, the one with the table in it, or the
            table.
        split: training and test subjects, ``62/62`` (GaitFormer's), ``99/25`` (GaitFormer's for
            gender), or ``74/50`` (the field's).
        frames: frames of a window.
        settings: see :class:`AnnotatedDataModule`.
    """

    dataset = "casia_b_tracks"
    annotations = ANNOTATIONS
    columns = COLUMNS
    splits: ClassVar[Mapping[str, Split]] = SPLITS
    protocols: ClassVar[Mapping[str, Protocol | AttributeProtocol]] = CasiaB.protocols
    default_protocols = ("casia_b.pooled", "casia_b.cross_view")

    def __init__(
        self,
        path: str = "data/CASIA-B-tracks",
        split: Literal["62/62", "74/50", "99/25"] = "62/62",
        frames: int = 48,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)

    @property
    def expected(self) -> Mapping[tuple[str, int], int]:
        """Those of all subjects."""
        return EXPECTED

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Columns of the store, made of those of the published table.

        Subjects are written as ``001``, so that they are those of the splits.

        Raises:
            InputError: if a sequence is none that the dataset has.
        """
        numbers = range(1, 1 + max(max(of) for of in NUMBERS.values()))
        for column, known in (("type", NUMBERS), ("run_id", numbers), ("camera_id", VIEWS)):
            self.expect(annotations, column, list(known))
        return pd.DataFrame(
            {
                "subject": annotations["track_id"].str.zfill(len(SUBJECTS[0])),
                "condition": annotations["type"],
                "number": annotations["run_id"].astype(np.int64),
                "view": annotations["camera_id"].astype(np.int64),
            }
        )
