"""The form that DenseGait and FVG share: a table of annotations and a file for each sequence."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from gaitbench.geometry import pelvis_normalized
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic.people import Array


def normalised(poses: Array, upwards: bool) -> Array:
    """Poses as this family's files hold them, see :func:`gaitbench.geometry.pelvis_normalized`.

    Args:
        poses: (T, 18, 3), x right and y down in pixels, and confidence.
        upwards: whether y shall grow upwards.

    Returns:
        (T, 18, 3), the confidence as it was.
    """
    found: Array = pelvis_normalized(torch.from_numpy(poses), OPENPOSE18).numpy()
    found[..., 1] *= -1 if upwards else 1
    return found


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


def write_labels(path: Path, female: Mapping[str, bool]) -> None:
    """Write who is a woman, as ``data.labels`` takes it.

    Args:
        path: of the CSV.
        female: subject -> whether it is a woman.
    """
    lines = ["subject,Female", *(f"{name},{int(value)}" for name, value in female.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
