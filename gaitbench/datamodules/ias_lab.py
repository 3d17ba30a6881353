"""IAS-Lab RGBD-ID: eleven people before a Kinect, as 3D skeletons.

What: 11 people, each recorded three times: to train on, in other clothes (``A``), and in another
room in the clothes of training (``B``).

Where from: the Intelligent Autonomous Systems Laboratory, University of Padua, on its pages on
re-identification with RGB-D cameras; reported to be no longer there.

Licence: for research; see its pages.

On disk: ``Training/<person>``, ``TestingA/<person>``, ``TestingB/<person>``, several files a
frame, of which ``*_skel.txt`` is read: 20 lines of 14 values, as in BIWI RGBD-ID. The tracker
knows 15 joints: hands and feet stand for wrists and ankles, too, and the first two lines are both
the torso. Or as the authors of SGE-LA preprocessed it, see :mod:`gaitbench.readers.sgela`.

Splits: ``published``: everybody trains and is tested twice, the conditions ``A`` and ``B``.

Known gaps: frames in which a joint is lost are left out, see :mod:`gaitbench.datamodules.biwi`.
People are told by the names of their folders, the same in all three parts; published programs
numbered them in the order in which the file system listed them.

Citation: Munaro et al., "3D reconstruction of freely moving persons for re-identification with a
depth sensor", ICRA 2014. Ways of reading: Rao et al., IJCAI 2020, and the authors' later programs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from gaitbench.datamodules.kinect import KinectDataModule
from gaitbench.datamodules.spatial import retrieval
from gaitbench.kinect import IAS_LAB
from gaitbench.protocols import Protocol
from gaitbench.readers.kinect import Options

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    retrieval("ias_lab", "A", "B") | retrieval("ias_lab", "B", "A")
)
"""Each test part searched for in the other; by default both."""


class IasLab(KinectDataModule):
    """IAS-Lab RGBD-ID: 11 people, tested in other clothes and in another room, as 20 joints.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``Training``, ``TestingA`` and ``TestingB``, or the one above;
            or one of preprocessed files.
        split: ``published`` trains on those who are tested, ``all`` on everybody; the same in the
            whole set.
        frames: frames of a window.
        body: ``first`` takes the first body of a file, as published; ``tracked`` follows the
            walker.
        gaps: ``join`` puts frames together around those that are left out, as published; ``cut``
            makes two sequences of them.
        clip: ``published`` leaves out the first 10 frames of a recording, and in tests the last 10;
            ``none`` none.
        settings: see :class:`KinectDataModule`.
    """

    dataset = "ias_lab"
    kinect = IAS_LAB
    protocols = PROTOCOLS
    default_protocols = tuple(PROTOCOLS)

    def __init__(
        self,
        path: str = "data/IAS-Lab",
        split: Literal["published", "all"] = "published",
        frames: int = 6,
        body: Literal["first", "tracked"] = "first",
        gaps: Literal["join", "cut"] = "join",
        clip: Literal["published", "none"] = "published",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, Options(body, gaps, clip), **settings)
