"""Reader of tables that say what people look like: soft attributes of subjects, in a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SUBJECT = ("subject", "track_id")
"""Columns that may name the subject; the first that is there does."""

ALIASES = {"gender": "Female"}
"""Column as GaitFormer's authors call it (1: female) -> the attribute that it tells."""

PASSED_OVER = frozenset(
    (*SUBJECT, "file_name", "type", "session_id", "run_id", "camera_id", "seq_id", "age")
) | {"condition", "number", "view", "recording"}
"""Columns that tell something else: of the sequence, and the age in years."""


def subject_key(name: str) -> str:
    """What two spellings of a subject have in common: 001 and 1 are the same person."""
    name = name.strip()
    return name.lstrip("0") or "0" if name.isdecimal() else name


def read_labels(path: Path) -> pd.DataFrame:
    """Attributes of subjects.

    Args:
        path: a CSV with a column ``subject`` or ``track_id`` and one for each attribute, numbers
            from 0 to 1. It may have a line for each sequence, if those of a subject agree.

    Returns:
        A table of float32, a column an attribute; its index holds the :func:`subject_key`.

    Raises:
        InputError: naming line and column, if the file is not as expected.
    """
    import pandas as pd

    try:
        read = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False
        )
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        what = getattr(error, "strerror", None) or str(error).strip()
        raise InputError(
            f"data.labels {path} cannot be read ({what}); name a CSV with the columns subject and "
            "one for each attribute"
        ) from error
    if not isinstance(read.index, pd.RangeIndex):  # pandas takes it for a column without a name
        raise InputError(f"data.labels {path}: lines have more values than line 1; mend the file")
    read.index = pd.RangeIndex(2, len(read) + 2)  # the line of the file
    read = read[(read != "").any(axis=1)]
    who = next((name for name in SUBJECT if name in read), None)
    columns = list(map(str, read))
    attributes = [name for name in columns if name not in PASSED_OVER]
    if who is None or not attributes or not len(read):
        lacking = "column subject" if who is None else "attribute" if len(read) else "row"
        raise InputError(
            f"data.labels {path} has no {lacking} (its columns are {', '.join(columns)}); give it "
            "a column subject and one for each attribute"
        )
    with np.errstate(over="ignore"):  # becomes infinite, and is refused
        values = read[attributes].apply(pd.to_numeric, errors="coerce").astype(np.float32)
    wrong = ~((values >= 0) & (values <= 1)).to_numpy()
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        name = attributes[column]
        raise InputError(
            f"data.labels {path} line {read.index[row]}: {name} is {read[name].iloc[row]!r}, "
            "expected a number from 0 to 1; mend the line, or remove what is no attribute"
        )
    values = values.rename(columns=ALIASES)
    if not values.columns.is_unique:
        raise InputError(
            f"data.labels {path} has the column {values.columns[values.columns.duplicated()][0]} "
            "twice (gender counts as Female); remove one"
        )
    key = read[who].map(subject_key)
    first = values.groupby(key.to_numpy()).transform("first")
    other = (values != first).to_numpy()
    if other.any():
        row, column = np.argwhere(other)[0]
        raise InputError(
            f"data.labels {path} line {read.index[row]}: {values.columns[column]} of subject "
            f"{read[who].iloc[row]} is {values.iloc[row, column]:g}, in another line "
            f"{first.iloc[row, column]:g}; lines of a subject must agree"
        )
    labels: pd.DataFrame = values.set_axis(key, axis=0)[~key.duplicated().to_numpy()]
    return labels
