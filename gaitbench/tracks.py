"""Facts of the sets that GaitFormer's authors pretrained on beside DenseGait, and what they say."""

from types import MappingProxyType

GREW = "GREW/annotations_train.csv"
GREW_POSES = "train/poses"
"""Folder beside GREW's table that its ``file_name`` counts from in the authors' later programs."""

OUISIR = "annotations.csv"
OUISIR_POSES = "poses"
"""Folder beside OU-ISIR's table that its ``file_name`` counts from."""

UWG = "uwg-old/uwg-big-plain-2-andy/poses/annotations_clean.csv"
"""Each set's table below its folder, as the authors' program names it."""

OUISIR_JOINTS = MappingProxyType(
    {
        "reference": (0, 12, 10, 13, 1, 15, 2, 16, 8, 17, 3, 6, 8, 4, 11, 7, 9, 14),
        "repaired": (0, 12, 10, 13, 1, 15, 2, 5, 16, 17, 3, 6, 8, 4, 11, 7, 9, 14),
    }
)
"""Form of the table -> the joint of OU-ISIR's files that becomes each of OpenPose's 18.

``reference`` is the table of the authors' program as it works: joint 7, a wrist, is filled twice,
of which the second counts, joint 8, a hip, never and so stays as it is, and joint 5 of the files is
lost. ``repaired`` takes the two for one slip of the pen, so that each joint is used once; it is
ours.
"""
