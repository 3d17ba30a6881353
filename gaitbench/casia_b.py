"""CASIA-B's facts, for those who read the dataset and those who write what looks like it."""

from types import MappingProxyType

from gaitbench.skeleton import COCO17

SUBJECTS = tuple(f"{subject:03d}" for subject in range(1, 125))
VIEWS = tuple(range(0, 181, 18))
NUMBERS = MappingProxyType({"nm": range(1, 7), "bg": range(1, 3), "cl": range(1, 3)})
"""Condition -> numbers of its recordings, the same for each subject and view."""

TRAIN_SUBJECTS = MappingProxyType(
    {"74/50": SUBJECTS[:74], "62/62": SUBJECTS[:62], "99/25": SUBJECTS[:99]}
)
"""Split -> subjects trained on; all others are tested on."""

ANNOTATIONS = "CASIA-cleaner-andy/data/annotations.csv"
"""The table of GaitFormer's authors, below the folder that its ``file_name`` counts from."""

TABLE = "casia-b_pose_coco.csv"
"""Name of the table of poses that GaitGraph's authors released."""

COLUMNS = ("image_name", *(f"{j}_{axis}" for j in COCO17.joints for axis in ("x", "y", "conf")))
"""Its columns."""
