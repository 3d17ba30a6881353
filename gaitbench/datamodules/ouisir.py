"""OU-ISIR: poses of walkers from Osaka, as GaitFormer's authors pretrained on them.

What: poses made from a gait database of the Institute of Scientific and Industrial Research (ISIR),
Osaka University. The authors' program does not say which; a camera and a number of the sequence are
told. Here only to train a network on that is tested elsewhere. The institute's poses as it
publishes them are read by :mod:`gaitbench.datamodules.oumvlp`.

Where from: the database from the institute, on request; the poses are those that the authors of
GaitFormer made or took over and read. Their format is simple enough to write.

Licence: by agreement with the institute; not to be passed on.

On disk: ``annotations.csv`` with ``file_name``, ``track_id`` (the subject), ``camera_id`` and
``seq_id``, and for each line an ``.npy`` of (T, 18, 3): x, y and confidence. ``file_name`` counts
from ``poses`` beside the table. The joints have an order of their own, which becomes OpenPose's by
a table of the authors' program with a mistake in it, see :data:`gaitbench.tracks.OUISIR_JOINTS`.
Poses come normalised; y grows downwards in the files and in the store, and is turned before a
method sees it, as in the authors' program.

Splits: ``all`` alone: every subject trains, and all are predicted; so it is in the authors'
program, which also divides the sequences into odd and even ones and then trains on both.

Known gaps: which of two paired joints is the left one is uncertain, as in DenseGait. What cameras
and sequences are called is not known: whole numbers are kept, and other names are counted in their
order, from 0.

Citation: the institute's of the database in hand. Poses: Cosma and Radoi, "Learning gait
representations with noisy multi-task learning", Sensors 22(18), 6803, 2022.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gaitbench.datamodules.annotated import TRACK, TracksDataModule
from gaitbench.errors import InputError
from gaitbench.readers.annotated import Kind
from gaitbench.tracks import OUISIR, OUISIR_JOINTS, OUISIR_POSES

COLUMNS: Mapping[str, Kind] = MappingProxyType({**TRACK, "camera_id": "text", "seq_id": "text"})
"""Columns of the published table beside ``file_name``."""


class OuIsir(TracksDataModule):
    """OU-ISIR, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing. Each form
    of the joints' table has a store of its own, beside the other.

    Args:
        path: the dataset's folder, or the table in it.
        split: ``all``: every subject trains, and all are predicted.
        frames: frames of a window.
        joint_order: the table by which joints are put in OpenPose's order: as the authors' program
            has it, ``reference``, or ``repaired``, see :data:`gaitbench.tracks.OUISIR_JOINTS`.
        settings: see :class:`TracksDataModule`.
    """

    dataset = "ouisir"
    annotations = OUISIR
    poses = OUISIR_POSES
    columns = COLUMNS

    def __init__(
        self,
        path: str = "data/OU-ISIR",
        split: Literal["all"] = "all",
        frames: int = 48,
        joint_order: Literal["reference", "repaired"] = "reference",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
        if joint_order not in OUISIR_JOINTS:
            raise InputError(
                f"data.joint_order {joint_order!r} is unknown; choose {' or '.join(OUISIR_JOINTS)}"
            )
        self.joint_order = joint_order

    @property
    def joints(self) -> tuple[int, ...]:
        """The joint of the files that becomes each of the layout's."""
        return OUISIR_JOINTS[self.joint_order]

    @property
    def store_name(self) -> str:
        """A store for each form of the joints' table."""
        return f"{self.dataset}-{self.joint_order}"

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """How joints were put in order, and whether sequences may be absent."""
        return {"joint_order": self.joint_order, **super().store_settings}

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """A subject's sequences, each seen by a camera."""
        told = {
            "number": _counted(annotations["seq_id"]),
            "view": _counted(annotations["camera_id"]),
        }
        return super().to_table(annotations).assign(**told)


def _counted(names: "pd.Series[str]") -> NDArray[np.int64]:
    """Whole numbers as they are; the places of other names in their order."""
    if names.str.fullmatch(r"[0-9]{1,18}").all():
        return names.to_numpy(np.int64)
    return pd.factorize(names, sort=True)[0].astype(np.int64)
