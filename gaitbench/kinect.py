"""Facts of the sets that Kinect recorded, for those who read them and those who write them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
    """

    name: str
    parts: Mapping[str, str]
    clip: Mapping[str, tuple[int, int]]


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
)
"""Kinect Gait Biometry Dataset, whose people have a file a walk."""
