"""The form that DenseGait and FVG share: a table of annotations and a file for each sequence."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic.people import Array

NECK, *SHOULDERS_AND_HIPS = (
    OPENPOSE18.joints.index(name)
    for name in ("neck", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
)
NARROWEST = 0.3
"""The least width that x is divided by, as a share of the distance from neck to pelvis."""


def normalised(poses: Array, upwards: bool) -> Array:
    """Poses as this family's files hold them: free of where and how large the person was.

    In each frame the middle of the hips is zero, x is divided by the distance of the shoulders in x
    and y by that of neck and pelvis in y. So the description of Cosma and Radoi, "Learning gait
    representations with noisy multi-task learning", Sensors 2022, 22(18), 6803, has come down to
    us; the paper's text was not verified.

    Two guards are this function's own. Seen from the side the shoulders are one behind the other:
    x is never divided by less than ``NARROWEST`` of the distance from neck to pelvis (seen from the
    front they are some 0.77 of it apart). Where a joint is misplaced, that distance may vanish: y
    is never divided by less than half of its median over the sequence.

    Args:
        poses: (T, 18, 3), x right and y down in pixels, and confidence.
        upwards: whether y shall grow upwards.

    Returns:
        (T, 18, 3), the confidence as it was.
    """
    left_shoulder, right_shoulder, *hips = SHOULDERS_AND_HIPS
    place = poses[..., :2] - poses[:, hips, :2].mean(axis=1, keepdims=True)
    height = np.abs(place[:, NECK, 1])
    height = np.maximum(height, max(float(np.median(height)) / 2, 1e-6))
    width = np.abs(place[:, left_shoulder, 0] - place[:, right_shoulder, 0])
    width = np.maximum(width, NARROWEST * height)
    place = place / np.stack([width, -height if upwards else height], axis=-1)[:, None]
    return np.concatenate([place, poses[..., 2:]], axis=-1)


Row = Mapping[str, str | int | float]
"""Column -> value of a sequence's row; ``file_name`` is where its poses lie."""


def write_annotated(root: Path, annotations: str, sequences: Iterable[tuple[Row, Array]]) -> None:
    """Write a table and its poses.

    Args:
        root: folder that the table and the rows' ``file_name`` count from.
        annotations: where the table lies; folders are made.
        sequences: rows of the same columns, with poses (T, 18, 3).
    """
    table = root / annotations
    table.parent.mkdir(parents=True, exist_ok=True)
    (table.parent / "poses").mkdir()
    with table.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for row, poses in sequences:
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            np.save(root / str(row["file_name"]), poses.astype(np.float32), allow_pickle=False)
