"""Reader of sets that come as an annotations table and one .npy of poses a sequence.

So do DenseGait and what its authors made of other datasets: a CSV with ``file_name`` and more
columns, and files of (T, 18, 3) floats: frames, joints, and x, y and confidence.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.parts import Part, read_in_parts
from gaitbench.report import SKIPPED
from gaitbench.skeleton import OPENPOSE18
from gaitbench.store import TABLE_FILE, StoreWriter, fingerprint

if TYPE_CHECKING:
    import pandas as pd

Poses = NDArray[np.float32]
Kind = Literal["subject", "text", "integer", "probability"]

READER_VERSION = 2
"""Raised by one whenever :func:`read_annotated` makes another store of the same files."""

FILE_NAME = "file_name"

SEQUENCES = 512  # sequences a part: some 30,000 frames, 7 MB
JOINTS = (OPENPOSE18.num_joints, 3)
MAGIC = b"\x93NUMPY"
EXPECTED: Mapping[str, str] = {
    "subject": "a name or number",
    "text": "some text",
    "integer": "a whole number",
    "probability": "a number from 0 to 1",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotated:
    """One set of this family.

    Args:
        annotations: the CSV.
        roots: folders below which ``file_name`` is looked for, in this order.
        columns: column that must be there, beside ``file_name`` -> what it holds: ``subject`` and
            ``text`` (strings), ``integer``, or ``probability`` (0 to 1). Others are ignored.
        upwards: whether y grows upwards in the files. Stores keep it as it is.
        joints: for each joint of the layout the file's joint that it is, where files have an order
            of their own; empty where they have the layout's.
    """

    annotations: Path
    roots: tuple[Path, ...]
    columns: Mapping[str, Kind]
    upwards: bool
    joints: tuple[int, ...] = ()

    @property
    def units(self) -> str:
        """What a store says of its frames."""
        return f"normalised, y {'up' if self.upwards else 'down'}, confidence"


def find_annotated(
    path: Path,
    annotations: str,
    columns: Mapping[str, Kind],
    upwards: bool,
    within: str = "",
    joints: tuple[int, ...] = (),
) -> Annotated:
    """The set below a folder, whichever of the published conventions its paths follow.

    ``file_name`` counts from the dataset's folder (as the authors' first program reads it), from
    that folder's parent, or from a folder on the way to the CSV (as their later ones do). Where it
    is an absolute path of another machine, the longest end of it that is there counts.

    Args:
        path: the dataset's folder, one on the way from it to the CSV, or the CSV itself.
        annotations: place of the CSV below the dataset's folder.
        columns: see :class:`Annotated`.
        upwards: likewise.
        within: folder beside the CSV that names count from, in some sets.
        joints: see :class:`Annotated`.

    Raises:
        InputError: if there is no such CSV.
    """
    path, steps = Path(path).absolute(), Path(annotations).parts
    places = [path.joinpath(*steps[i:]) for i in range(len(steps))] + [path]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            f"{path} holds no {annotations}; name the dataset's folder, which does, or the CSV"
        )
    above, depth = found.parents, len(steps)
    levels = (depth - 1, depth, *range(depth - 1))
    roots = dict.fromkeys(above[min(level, len(above) - 1)] for level in levels)
    if within:
        roots = dict.fromkeys((found.parent / within, *roots))
    return Annotated(found, tuple(roots), columns, upwards, joints)


def read_annotations(data: Annotated) -> pd.DataFrame:
    """The CSV, one row a sequence in its order: ``line`` in the file, ``file_name``, ``columns``.

    Strings stay columns of Arrow, probabilities are float32, so that 217,954 rows of 42 attributes
    take about 50 MB.

    Raises:
        InputError: naming line and column, if the CSV is not as expected.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    types = {"subject": pa.string(), "text": pa.string(), "integer": pa.int64()}
    kinds = {FILE_NAME: "text", **data.columns}
    _check_header(data)
    try:
        read = arrow.read_csv(
            data.annotations,
            convert_options=arrow.ConvertOptions(
                include_columns=list(kinds),
                column_types={name: types.get(kind, pa.float32()) for name, kind in kinds.items()},
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise _table_fault(data, str(error)) from error
    if not len(read):
        raise InputError(f"{data.annotations} has no row below its header; copy it again")
    for name, kind in kinds.items():
        if not _is_sound(read[name], kind):
            raise _table_fault(data, f"column {name!r} holds what it should not")
    with data.annotations.open("rb") as file:  # blank lines are no rows
        numbers = (number for number, text in enumerate(file, start=1) if text.strip())
        lines = np.fromiter(numbers, np.int64)[1:]
    if len(lines) != len(read):
        raise _table_fault(data, "a value has several lines")
    table: pd.DataFrame = read.to_pandas(split_blocks=True, self_destruct=True)
    table.insert(0, "line", lines)
    return table


def annotated_fingerprint(data: Annotated, **settings: object) -> str:
    """What tells one state of the set and settings from another, as 64 hex digits.

    Takes in the whole CSV, and the times of change of the folders that hold its files, so that it
    notices every file that is added, removed, renamed or replaced. It does not notice one that is
    edited in place, for that would take a look at each of some 200,000 files.

    Args:
        data: the set.
        settings: whatever else the store's content depends on; values that JSON can hold.

    Raises:
        InputError: if the CSV is missing or has no column ``file_name``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as arrow

    _check_header(data)
    options = arrow.ConvertOptions(
        include_columns=[FILE_NAME], column_types={FILE_NAME: pa.string()}
    )
    try:
        names = arrow.read_csv(data.annotations, convert_options=options)[FILE_NAME]
        with data.annotations.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, pa.ArrowException) as error:
        raise _table_fault(data, str(error)) from error
    within = pc.unique(pc.replace_substring_regex(names, "[^/]*$", "")).to_pylist()
    roots, folders = tuple(map(str, data.roots)), []
    for folder in sorted(within):
        for place in _places(folder, roots):
            with suppress(OSError, ValueError):
                folders.append((folder, os.stat(place).st_mtime_ns))
    settings |= {"upwards": data.upwards, "joints": data.joints}
    return fingerprint([], content=content, folders=folders, **settings)


def read_annotated(
    data: Annotated,
    to_table: Callable[[pd.DataFrame], pd.DataFrame],
    on_error: Literal["raise", "skip"],
    writer: StoreWriter,
    keep: Path,
) -> None:
    """Read the poses as published into a store.

    Frames are ``(18, 3)`` float32: x, y and confidence, exactly as in the files but for the order
    of the joints where the set has one of its own. Sequences stand in the order of the CSV. Beside
    what ``to_table`` returns the table has ``line``, that of the CSV.

    Args:
        data: the set.
        to_table: makes of what :func:`read_annotations` returns the columns ``subject``,
            ``condition``, ``number``, ``view`` and what else the store shall tell, row for row.
        on_error: ``raise`` stops at the first file that cannot be used; ``skip`` leaves such
            sequences out and lists them in ``skipped.csv`` (line, file_name, reason) in the store's
            folder. A fault of the CSV itself always stops.
        writer: of the store.
        keep: folder for what is read until the store is finished, see
            :func:`parts.read_in_parts`.

    Raises:
        InputError: naming line and file of what is not as published.
        ValueError: if ``to_table`` returns another number of rows.
    """
    annotations = read_annotations(data)
    table = to_table(annotations)
    if len(table) != len(annotations):
        raise ValueError(f"{len(annotations)} rows became {len(table)}")
    columns = {str(name): table[name] for name in table} | {"line": annotations["line"]}
    roots = tuple(map(str, data.roots))
    parts = list(_parts(annotations[FILE_NAME], columns, roots, on_error, str(data.joints)))
    read = partial(_read_block, str(data.annotations), roots, data.joints, on_error)
    read_in_parts(writer, keep, parts, read, f"reading {data.annotations}")
    if writer.num_sequences != len(annotations):
        _list_skipped(data, annotations[["line", FILE_NAME]], roots, writer.path)


class _Block(NamedTuple):
    """Neighbouring rows of the CSV; few objects, however many rows."""

    names: str  # the files', one a line
    columns: dict[str, NDArray[Any]]


def _parts(
    names: pd.Series[str], columns: Mapping[str, pd.Series[Any]], roots: tuple[str, ...], *how: str
) -> Iterator[tuple[str, _Block]]:
    """Mark and rows of each part; a mark tells one state of rows and files from another."""
    for begin in range(0, len(names), SEQUENCES):
        rows = slice(begin, begin + SEQUENCES)
        block = names.iloc[rows].tolist()
        values = {name: _plain(column.iloc[rows]) for name, column in columns.items()}
        found = [_find(name, roots) for name in block]
        state = [None if f is None else (f[0], f[1].st_size, f[1].st_mtime_ns) for f in found]
        text = json.dumps([READER_VERSION, how, block, state, list(values)]).encode()
        digest = hashlib.sha256(text, usedforsecurity=False)
        for value in values.values():
            digest.update(value.dtype.str.encode() + value.tobytes())
        yield digest.hexdigest()[:32], _Block("\n".join(block), values)


def _plain(column: pd.Series[Any]) -> NDArray[Any]:
    """A column as numbers or characters, never as objects."""
    return column.to_numpy() if column.dtype.kind in "biuf" else column.to_numpy(str)


def _read_block(
    annotations: str,
    roots: tuple[str, ...],
    joints: tuple[int, ...],
    on_error: Literal["raise", "skip"],
    block: _Block,
) -> Part:
    """All sequences of a block; those left out have no frame."""
    pieces = [np.empty((0, *JOINTS), np.float32)]
    length = np.zeros(len(block.columns["line"]), np.int64)
    for i, name in enumerate(block.names.split("\n")):
        try:
            poses = _read(name, roots)
        except ValueError as error:
            if on_error == "skip":
                continue
            raise InputError(
                f"{annotations} line {block.columns['line'][i]}: {name} {error}; mend it, or leave "
                "such files out with --data.on_error skip"
            ) from error
        pieces.append(poses[:, joints] if joints else poses)
        length[i] = len(poses)
    return Part(np.concatenate(pieces), {"length": length, **block.columns})


def _find(name: str, roots: tuple[str, ...]) -> tuple[str, os.stat_result] | None:
    """Where a file is, and its state."""
    for path in _places(name, roots):
        with suppress(OSError, ValueError):
            return path, os.stat(path)
    return None


def _places(name: str, roots: tuple[str, ...]) -> Iterator[str]:
    """Where a file or folder of that name may be, the likeliest first."""
    if not os.path.isabs(name):
        yield from (os.path.join(root, name) for root in roots)
        return
    yield name
    steps = name.split("/")
    for begin in range(2, len(steps)):
        end = os.path.join(*steps[begin:])
        yield from (os.path.join(root, end) for root in roots if end)


def _read(name: str, roots: tuple[str, ...]) -> Poses:
    """The poses (T, 18, 3) of one file.

    Raises:
        ValueError: saying what is wrong, as the rest of a sentence that begins with the file.
    """
    if ".." in name.split("/"):
        raise ValueError("leaves the dataset's folder by ..")
    found = _find(name, roots)
    if found is None:
        raise ValueError(f"is not there, neither below {' nor below '.join(roots)}")
    try:
        with open(found[0], "rb", buffering=0) as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from error
    if not content.startswith(MAGIC):
        raise ValueError("is no .npy file" if content else "is an empty file")
    size = 10 + int.from_bytes(content[8:10], "little")  # of the header of version 1
    if content[6:7] > b"\x01":
        size = 12 + int.from_bytes(content[8:12], "little")
    try:
        shape, fortran, dtype = _header(content[:size])
    except Exception as error:  # numpy reads it as a program's text, and raises anything
        raise ValueError("has a damaged .npy header") from error
    if dtype.hasobject:
        raise ValueError("holds pickled objects, which are not opened, expected numbers")
    if dtype.kind != "f":
        raise ValueError(f"holds {dtype} values, expected floating point numbers")
    if len(shape) != 3 or shape[1:] != JOINTS:
        raise ValueError(f"has shape {shape}, expected (T, {JOINTS[0]}, {JOINTS[1]})")
    if not shape[0]:
        raise ValueError("has no frames")
    values = math.prod(shape)
    if len(content) < size + values * dtype.itemsize:
        raise ValueError("is truncated")
    stored = np.frombuffer(content, dtype, values, size)
    with np.errstate(over="ignore"):  # becomes infinite, and is refused
        poses = stored.reshape(shape, order="F" if fortran else "C").astype(np.float32, "C")
    if not np.isfinite(poses).all():
        frame, joint, axis = np.argwhere(~np.isfinite(poses))[0]
        value, what = poses[frame, joint, axis], ("x", "y", "the confidence")[axis]
        raise ValueError(f"has {value} as {what} of joint {joint} in frame {frame} (from 0)")
    return poses


@lru_cache(maxsize=4096)  # few lengths, many files
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that the head of an .npy file tells."""
    file = io.BytesIO(head)
    if np.lib.format.read_magic(file)[0] == 1:
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _list_skipped(
    data: Annotated, rows: pd.DataFrame, roots: tuple[str, ...], folder: Path
) -> None:
    """Write the rows that the store's table lacks, and why."""
    import pyarrow as pa

    with pa.memory_map(str(folder / TABLE_FILE)) as file:
        kept = pa.ipc.open_file(file).read_all()["line"].to_numpy()
    skipped = rows[~rows["line"].isin(kept)]
    reasons = [_reason(name, roots) for name in skipped[FILE_NAME]]
    with written_whole(folder / SKIPPED) as path:
        skipped.assign(reason=reasons).to_csv(path, index=False, lineterminator="\n")
    logger.warning(
        "%s: left out %d of %d sequences, listed in %s; the first, line %d: %s %s",
        data.annotations,
        len(skipped),
        len(rows),
        SKIPPED,
        skipped["line"].iloc[0],
        skipped[FILE_NAME].iloc[0],
        reasons[0],
    )


def _reason(name: str, roots: tuple[str, ...]) -> str:
    try:
        _read(name, roots)
    except ValueError as error:
        return str(error)
    return "could not be read at first"


def _is_sound(column: Any, kind: str) -> bool:
    """Whether all values of an Arrow column are of that kind."""
    import pyarrow.compute as pc

    if column.null_count:
        return False
    if kind == "integer":
        return True
    if kind == "probability":
        least, most = pc.min_max(column).values()
        return bool(
            least.as_py() >= 0 and most.as_py() <= 1 and not pc.any(pc.is_nan(column)).as_py()
        )
    return bool(pc.all(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py())


def _check_header(data: Annotated) -> None:
    """Raise an InputError unless the first line has all columns, each once."""
    with _rows(data) as rows:
        names: list[str] = next(rows, [])
    if not names:
        raise InputError(f"{data.annotations} is empty; copy it again")
    for name in (FILE_NAME, *data.columns):
        if names.count(name) > 1:
            raise InputError(
                f"{data.annotations} line 1: the column {name!r} comes {names.count(name)} times; "
                "remove all but one"
            )
        if name not in names:
            others = [other for other in names if other not in data.columns]
            close = get_close_matches(name, others, n=1)
            hint = f" (is it the unknown {close[0]!r}?)" if close else ""
            raise InputError(
                f"{data.annotations} line 1: there is no column {name!r} among {len(names)}{hint}; "
                "give it that name, or copy the published file again"
            )


def _table_fault(data: Annotated, otherwise: str) -> InputError:
    """The error that names the first faulty line of the CSV, found by looking at each."""
    kinds = {FILE_NAME: "text", **data.columns}
    with _rows(data) as rows:
        names = next(rows)
        places = {name: names.index(name) for name in kinds}
        for row in rows:
            where = f"{data.annotations} line {rows.line_num}"
            if len(row) not in (0, len(names)):
                return InputError(
                    f"{where} has {len(row)} values, expected {len(names)} as in line 1; mend or "
                    "remove the line"
                )
            for name, place in places.items() if row else ():
                if not _fits(row[place], kinds[name]):
                    return InputError(
                        f"{where}: {name} is {row[place][:60]!r}, expected "
                        f"{EXPECTED[kinds[name]]}; mend or remove the line"
                    )
    return InputError(f"{data.annotations} cannot be read ({otherwise}); copy it again")


def _fits(field: str, kind: str) -> bool:
    if kind in ("subject", "text"):
        return bool(field.strip()) and "\n" not in field
    try:
        return 0 <= float(field) <= 1 if kind == "probability" else abs(int(field)) < 1 << 63
    except ValueError:
        return False


@contextmanager
def _rows(data: Annotated) -> Iterator[Any]:
    """The CSV's rows as lists of strings; a ``csv.reader``."""
    try:
        with data.annotations.open(newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{data.annotations} cannot be read ({error}); copy it again") from error
