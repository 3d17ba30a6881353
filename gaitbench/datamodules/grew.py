"""GREW: gait in the wild, poses of 20,000 people to train on.

What: walks found in the streams of 882 cameras in public places; 26,345 people, of whom 20,000 with
102,887 sequences train. Here only these, to train a network on that is tested elsewhere.

Where from: its owners, on request (grew-benchmark.org). The poses are those that the authors of
GaitFormer made or took over and read; their format is simple enough to write.

Licence: by agreement with its owners, research only; not to be passed on.

On disk: ``GREW/annotations_train.csv`` with ``file_name`` and ``track_id``, and for each line an
``.npy`` of (T, 18, 3): x, y and confidence in OpenPose's order. ``file_name`` is an absolute path,
of which the longest end that is there counts where the folder has moved, or counts from the
dataset's folder, or from ``train/poses`` beside the table, as the authors' later programs have it.
Poses come normalised; y grows downwards in the files and in the store, and is turned before a
method sees it, as in the authors' program.

Splits: ``all`` alone: every subject of the table trains, and all are predicted.

Known gaps: the competition's test set has no labels, and is not read. Which of two paired joints is
the left one is uncertain, as in DenseGait.

Citation: Zhu et al., "Gait recognition in the wild: a benchmark", ICCV 2021. Poses: Cosma and
Radoi, "Learning gait representations with noisy multi-task learning", Sensors 22(18), 6803, 2022.
"""

from typing import Any, Literal

from gaitbench.datamodules.annotated import TracksDataModule
from gaitbench.tracks import GREW, GREW_POSES


class Grew(TracksDataModule):
    """GREW's training set, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``GREW``, that folder, or the table in it.
        split: ``all``: every subject trains, and all are predicted.
        frames: frames of a window.
        settings: see :class:`TracksDataModule`.
    """

    dataset = "grew"
    annotations = GREW
    poses = GREW_POSES

    def __init__(
        self,
        path: str = "data/GREW",
        split: Literal["all"] = "all",
        frames: int = 48,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
