"""BIWI RGBD-ID: fifty people before a Kinect, as 3D skeletons.

What: 50 people recorded with a Kinect at about 10 frames a second, as 20 joints a body in metres.
Each has a training recording; 28 of them were recorded again on another day, elsewhere and mostly
in other clothes, once walking and once almost still.

Where from: the Intelligent Autonomous Systems Laboratory, University of Padua, on its pages on
re-identification with RGB-D cameras.

Licence: for research; see its pages.

On disk: ``Training/<person>``, ``Testing/Walking/<person>``, ``Testing/Still/<person>``, five
files a frame, of which ``*-d_<time>_skel.txt`` is read: 40 lines, two bodies of 20 joints, of 14
values each. An absent second body is all zeros. Or as the authors of SGE-LA preprocessed it, see
:mod:`gaitbench.readers.sgela`.

Splits: ``published`` trains on the training recordings of those 28 who are tested, ``all`` on
everybody's. Both are tested walking and still, which stay apart as conditions. Preprocessed files
are divided as they are.

Known gaps: the tracker loses joints; frames in which one is lost are left out, and published
programs made neighbours of the frames around them (``gaps``). The walker may come second in a
file, and published programs took the first body nevertheless (``body``).

Citation: Munaro et al., "One-shot person re-identification with a consumer depth camera", in
Person Re-Identification, Springer 2014. Ways of reading: Rao et al., "Self-supervised gait
encoding with locality-aware attention for person re-identification", IJCAI 2020, and the authors'
later programs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from gaitbench.datamodules.kinect import KinectDataModule
from gaitbench.datamodules.spatial import retrieval
from gaitbench.kinect import BIWI
from gaitbench.protocols import Protocol
from gaitbench.readers.kinect import Options

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    retrieval("biwi", "walking", "still") | retrieval("biwi", "still", "walking")
)
"""Each test part searched for in the other; by default both."""


class Biwi(KinectDataModule):
    """BIWI RGBD-ID: 50 people, of whom 28 are tested walking and still, as Kinect's 20 joints.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``Training`` and ``Testing``, or the one above; or one of
            preprocessed files.
        split: ``published`` trains on those who are tested, ``all`` on everybody.
        frames: frames of a window.
        body: ``first`` takes the first body of a file, as published; ``tracked`` follows the
            walker.
        gaps: ``join`` puts frames together around those that are left out, as published; ``cut``
            makes two sequences of them.
        clip: ``published`` leaves out the first and last 10 frames of a recording; ``none`` none.
        settings: see :class:`KinectDataModule`.
    """

    dataset = "biwi"
    kinect = BIWI
    protocols = PROTOCOLS
    default_protocols = tuple(PROTOCOLS)

    def __init__(
        self,
        path: str = "data/BIWI",
        split: Literal["published", "all"] = "published",
        frames: int = 6,
        body: Literal["first", "tracked"] = "first",
        gaps: Literal["join", "cut"] = "join",
        clip: Literal["published", "none"] = "published",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, Options(body, gaps, clip), **settings)
