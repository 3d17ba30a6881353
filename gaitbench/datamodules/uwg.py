"""UWG, Uncooperative Wild Gait: some 38,000 tracks of unknown people, as poses.

What: walks found in streams of surveillance cameras, as poses followed from frame to frame; the
people are anonymous, and no two tracks are known to show the same one. DenseGait's smaller
forerunner, without attributes.

Where from: its authors, on request (github.com/cosmaadrian/wildgait).

Licence: for research; not to be passed on.

On disk: ``uwg-old/uwg-big-plain-2-andy/poses/annotations_clean.csv`` with ``file_name`` and
``track_id``, and for each line an ``.npy`` of (T, 18, 3): x, y and confidence in OpenPose's order.
``file_name`` is an absolute path of the authors' machine; the longest end of it that is there
counts. Poses come normalised; y grows downwards in the files and in the store, and is turned before
a method sees it, as in the authors' program.

Splits: ``all`` alone: every track trains, as a person of its own, and every track is predicted.

Known gaps: as DenseGait's: left and right are uncertain, and condition and view are not told.

Citation: Cosma and Radoi, "WildGait: learning gait representations from raw surveillance streams",
Sensors 21(24), 8387, 2021.
"""

from typing import Any, Literal

from gaitbench.datamodules.annotated import TracksDataModule
from gaitbench.tracks import UWG


class Uwg(TracksDataModule):
    """UWG: some 38,000 anonymous tracks, as OpenPose's 18 joints.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``uwg-old``, a folder on the way from there to the table, or the
            table.
        split: ``all``: every track trains, each a person of its own, and every track is predicted.
        frames: frames of a window.
        settings: see :class:`TracksDataModule`.
    """

    dataset = "uwg"
    annotations = UWG

    def __init__(
        self,
        path: str = "data/UWG",
        split: Literal["all"] = "all",
        frames: int = 48,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
