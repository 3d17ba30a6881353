"""Facts of the sets that Kinect recorded, for those who read them and those who write them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

COLUMNS = 14
"""Values in a line of a skeleton file, which is one joint: user id, x, y, z (metres), u, v (of the
depth image), tracking state, whether the body is cut off by the image's edge, the two joints of a
bone, and its turn as a quaternion."""

USER, POSITION, STATE = 0, slice(1, 4), 6
STATES = (0, 1, 2)
"""Not tracked, inferred, tracked."""

BODIES = 2
"""Bodies that a skeleton file has room for; one that is absent is all zeros, or left out."""

SKELETON_FILE = "skel.txt"
"""End of the names of skeleton files, among images of the same frames."""

CLIP = 10
"""Frames that are left out at an end of a recording, where people stand or turn."""

KGBD_JOINTS = (
    "Head", "Shoulder-Center", "Shoulder-Right", "Shoulder-Left", "Elbow-Right", "Elbow-Left",
    "Wrist-Right", "Wrist-Left", "Hand-Right", "Hand-Left", "Spine", "Hip-centro", "Hip-Right",
    "Hip-Left", "Knee-Right", "Knee-Left", "Ankle-Right", "Ankle-Left", "Foot-Right", "Foot-Left",
)  # fmt: skip
"""Names of the 20 lines of a frame of KGBD, ``name;x;y;z``, as spelt there."""

KGBD_ORDER = (11, 10, 1, 0, 3, 5, 7, 9, 2, 4, 6, 8, 13, 15, 17, 19, 12, 14, 16, 18)
"""The line of KGBD that becomes each joint of ``kinect20``."""

KS20_VIEWS = MappingProxyType(
    {"left_lateral": 0, "left_diagonal": 30, "frontal": 90, "right_diagonal": 130,
     "right_lateral": 180}
)  # fmt: skip
"""Folder of a view of KS20 -> degrees. That the n-th is ``view_n`` of preprocessed files, from 0,
is inferred from the order of published tables."""

KS20_TAKES = 3

JOINT_ORDERS = ("kinect", "published")
BODY_CHOICES = ("first", "tracked")
GAP_CHOICES = ("join", "cut")
CLIP_CHOICES = ("published", "none")


@dataclass(frozen=True)
class KinectSet:
    """One set of folders of skeleton files.

    Args:
        name: as the folder of the whole is called, and in the names of preprocessed files.
        parts: condition -> the folder that holds a folder a person.
        clip: condition -> frames left out at the beginning and the end of a recording.
        form: what is in a part: ``frames``, a folder a person with a file a frame; ``walks``, a
            folder a person with a file a walk; ``takes``, a file a frame of all people's takes.
        skeleton: layout of the joints.
    """

    name: str
    parts: Mapping[str, str]
    clip: Mapping[str, tuple[int, int]]
    form: Literal["frames", "walks", "takes"] = "frames"
    skeleton: str = "kinect20"


BIWI = KinectSet(
    "BIWI",
    MappingProxyType({"train": "Training", "walking": "Testing/Walking", "still": "Testing/Still"}),
    MappingProxyType({"train": (CLIP, CLIP), "walking": (CLIP, CLIP), "still": (CLIP, CLIP)}),
)
"""BIWI RGBD-ID."""

IAS_LAB = KinectSet(
    "IAS",
    MappingProxyType({"train": "Training", "A": "TestingA", "B": "TestingB"}),
    MappingProxyType({"train": (CLIP, 0), "A": (CLIP, CLIP), "B": (CLIP, CLIP)}),
)
"""IAS-Lab RGBD-ID."""

KGBD = KinectSet(
    "KGBD",
    MappingProxyType({"walk": "kinect gait raw dataset"}),
    MappingProxyType({"walk": (CLIP, CLIP)}),
    "walks",
)
"""Kinect Gait Biometry Dataset, whose people have a file a walk."""

KS20 = KinectSet(
    "KS20",
    MappingProxyType({view: view for view in KS20_VIEWS}),
    MappingProxyType(dict.fromkeys(KS20_VIEWS, (0, 0))),
    "takes",
    "kinect25",
)
"""KS20 VisLab Multi-View Kinect skeleton dataset, whose parts are views."""
