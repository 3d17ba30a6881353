"""Reader of gait encodings that ``predict`` has written: a file of numbers and a table."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gaitbench.arrays import mapped_array
from gaitbench.errors import InputError
from gaitbench.files import EMBEDDINGS, SEQUENCES

Encodings = NDArray[np.float32]

AXES = 3
COLUMNS = ("subject", "condition", "number", "view", "frames")
CHUNK = 1 << 24  # values looked at at a time


class EncodingShape(NamedTuple):
    """What an encoding consists of; its name stands for a layout of joints.

    Args:
        frames: T, decoder steps.
        axes: A, coordinates.
        hidden: H, values of each.
    """

    frames: int
    axes: int
    hidden: int

    @property
    def name(self) -> str:
        """``age-6x3x256``."""
        return f"age-{self.frames}x{self.axes}x{self.hidden}"

    @classmethod
    def named(cls, name: str) -> "EncodingShape":
        """The shape of that name.

        Raises:
            InputError: if it is that of something else.
        """
        found = re.fullmatch(r"age-([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})", name)
        if not found:
            raise InputError(
                f"the data are {name}, no gait encodings; give data.class_path Encodings, and as "
                "data.path what `predict` with SGELA has written"
            )
        return cls(*map(int, found.groups()))


def predictions_in(path: Path) -> Path:
    """The folder of predictions: that itself, or the one in the folder of a run."""
    return path / "predictions" if (path / "predictions").is_dir() else path


def read_encodings(paths: Sequence[Path]) -> tuple[tuple[Encodings, ...], pd.DataFrame]:
    """Map the encodings of windows, and read the table that describes them.

    Args:
        paths: folders that ``predict`` has written, or those of its runs: several where several
            networks have encoded the same windows.

    Returns:
        (N, A, T, H) of each, left on the disk, and N table rows with ``length`` T and ``start``.

    Raises:
        InputError: if there is none, a file is missing or damaged, or they do not fit each other.
    """
    if not paths:
        raise InputError(
            "data.path names no folder; name one that `predict` with SGELA has written"
        )
    read = [_read(path) for path in paths]
    first, table = read[0]
    for path, (values, other) in zip(paths[1:], read[1:], strict=True):
        if len(other) != len(table):
            what = f"the number of windows, {len(other)} and {len(table)}"
        elif list(other) != list(table) or values.shape[2] != first.shape[2]:
            what = "columns or lengths of windows"
        elif not (same := (other == table).all(axis=1)).all():
            what = f"the window of row {int(same.to_numpy().argmin())}"
        else:
            continue
        raise InputError(
            f"{path} and {paths[0]} differ in {what}, and encodings side by side must be of the "
            "same windows; predict both from the same data"
        )
    return tuple(values for values, _ in read), table


def _read(path: Path) -> tuple[Encodings, pd.DataFrame]:
    folder = predictions_in(path)
    values, table = _mapped(folder / EMBEDDINGS), _table(folder / SEQUENCES)
    if values.ndim != 2 or len(values) != len(table):
        raise InputError(
            f"{folder / EMBEDDINGS} has shape {values.shape} and {SEQUENCES} beside it has "
            f"{len(table)} rows; they must be of the same run, so predict again"
        )
    frames = table["frames"].unique()
    if len(frames) != 1 or frames[0] < 1 or values.shape[1] % (AXES * frames[0]):
        raise InputError(
            f"{folder} holds vectors of {values.shape[1]} values of {min(frames)} to {max(frames)} "
            f"frames, and gait encodings have {AXES} x frames x hidden of windows of one length; "
            "predict with SGELA"
        )
    steps = int(frames[0])
    table = table.rename(columns={"frames": "length"}).assign(start=np.arange(len(table)) * steps)
    return values.reshape(len(values), AXES, steps, -1), table


def refuse_not_finite(values: Encodings, path: Path) -> None:
    """Stop at encodings that nothing can be learned from.

    Raises:
        InputError: naming the first row.
    """
    step = max(1, CHUNK // max(1, values[:1].size))
    for begin in range(0, len(values), step):
        finite = np.isfinite(values[begin : begin + step]).reshape(-1, values[:1].size).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{path} has an encoding that is not finite in row {begin + int(finite.argmin())}; "
                "predict again, or look at the poses with `gaitbench report-data`"
            )


def _mapped(path: Path) -> Encodings:
    try:
        values = mapped_array(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist; give as data.path a folder that `predict` with SGELA has "
            "written"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no plain numpy array: it {error}; predict again") from error
    if values.dtype != np.float32 or not values.size:
        raise InputError(f"{path} holds no float32 numbers; predict again")
    return values


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"subject": str, "condition": str}, na_filter=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; predict again") from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no table ({reason}); predict again") from error
    for column in COLUMNS:
        if column not in table:
            raise InputError(f"{path} lacks the column {column}; predict again")
    for column in {*COLUMNS, "recording", "first_frame"} - {"subject", "condition"}:
        if column in table and not pd.api.types.is_integer_dtype(table[column]):
            raise InputError(
                f"{path} has a value in column {column} that is no whole number; predict again"
            )
    return table
