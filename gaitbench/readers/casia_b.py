"""Reader of the CASIA-B pose tables that GaitGraph's authors released."""

from __future__ import annotations

import gzip
import logging
import os
import re
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.casia_b import COLUMNS, NUMBERS, TABLE
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17, SKELETONS
from gaitbench.store import StoreWriter
from gaitbench.workers import progress

if TYPE_CHECKING:
    import pandas as pd

READER_VERSION = 1
"""Raised by one whenever :func:`read_casia_b` makes another store of the same file."""

SPLITS = (("train_valid", "test"), ("train", "valid", "test"))  # in order of preference

CONDITIONS = tuple(sorted(NUMBERS))
NO_POSES = np.empty((0, COCO17.num_joints, 3), np.float32)
FLOAT32_MAX = float(np.finfo(np.float32).max)

BLOCK = 1 << 21  # bytes of text parsed at a time
LONG = 1 << 26  # bytes from which on reading shows a bar
NAME = (
    rb"^(?:.*/)?(?P<folder>[0-9]{3}-(?:nm|bg|cl)-[0-9]{2}-[0-9]{3})"
    rb"/(?P<frame>[0-9]{1,9})\.[A-Za-z]+$"
)
BACKGROUND = rb"(?:^|/)[0-9]{3}-bkgrd-[0-9]{3}/[^/]*$"

logger = logging.getLogger(__name__)


def casia_b_sources(path: Path) -> list[Path]:
    """The files that make up the dataset, in reading order.

    Args:
        path: the table of poses, or a folder that holds it or GaitGraph's split files.

    Raises:
        InputError: if there are none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; name {TABLE} or the folder that holds it")

    def find(name: str) -> list[Path]:
        return [p for p in (path / name, path / f"{name}.gz") if p.is_file()][:1]

    if table := find(TABLE):
        return table
    parts = {p: find(f"casia-b_pose_{p}.csv") for p in ("train_valid", "train", "valid", "test")}
    names = next((s for s in SPLITS if all(parts[p] for p in s)), None)
    if names is None:  # an incomplete set: people of one part are better than none
        names = SPLITS[0] if parts["train_valid"] else SPLITS[1]
        missing = [f"casia-b_pose_{p}.csv" for p in names if not parts[p]]
        if any(parts[p] for p in names):
            logger.warning("%s lacks %s; its people are missing", path, " and ".join(missing))
    if sources := [file for p in names for file in parts[p]]:
        return sources
    others = sorted(p.name for p in path.iterdir() if p.name.endswith((".csv", ".csv.gz")))
    hint = f"; if one of {', '.join(others[:5])} is meant, name that file" if others else ""
    raise InputError(f"{path} holds neither {TABLE} nor casia-b_pose_test.csv and its kin{hint}")


def read_casia_b(path: Path, writer: StoreWriter) -> None:
    """Read the poses as published into a store.

    Frames are ``(17, 3)`` float32: x and y in pixels (x to the right, y down), confidence.
    Sequences stand in the order in which they first appear in the table, frames in the order of
    their numbers. Beside the columns of every store the table has ``first_frame`` and
    ``last_frame`` (numbers in the recording), ``missing`` (frames between those two that have no
    row) and ``empty_joints`` (share of joints whose confidence is zero).

    Args:
        path: see :func:`casia_b_sources`.
        writer: of the store.

    Raises:
        InputError: naming file, line and field, if the table is not as released.
    """
    parts: list[_Part] = []
    skipped = 0
    sources = casia_b_sources(path)
    with closing(_parse(sources)) as parsed:
        for part in parsed:
            skipped += part.skipped
            if len(part.keys):
                writer.append(part.poses)
                # a view of nothing would keep the block's poses alive
                parts.append(part._replace(poses=NO_POSES))
    if skipped:
        logger.info("%s: skipped %d frames of recordings without a person", path, skipped)
    if not parts:
        raise InputError(
            f"{' and '.join(map(str, sources))} has no row of a walking person below its header; "
            "copy or download it again"
        )
    writer.finish(*_sequences(parts))


class _Place(NamedTuple):
    """Where a block of whole lines comes from."""

    file: Path
    line: int  # of the block's first line; the header is line 1


class _Part(NamedTuple):
    """What one block of lines holds, for n rows."""

    place: _Place
    lines: NDArray[np.int64]  # (n,) counted from the block's first
    keys: NDArray[np.int64]  # (n,) sequence, see _keys
    frames: NDArray[np.int64]  # (n,) number in the recording
    empty: NDArray[np.int64]  # (n,) joints without confidence
    poses: NDArray[np.float32]  # (n, 17, 3)
    skipped: int  # rows of background recordings


def _parse(sources: list[Path]) -> Generator[_Part]:
    """Parse block by block, several at a time but few at once, in reading order."""
    workers = min(os.cpu_count() or 1, 8)
    pending: deque[Future[_Part]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for place, text in _blocks(sources):
            pending.append(pool.submit(_parse_block, place, text))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _blocks(sources: list[Path]) -> Iterator[tuple[_Place, bytes]]:
    """Whole lines below the header, about ``BLOCK`` bytes at a time."""
    total = sum(file.stat().st_size for file in sources)
    with progress("reading poses", total, shown=total >= LONG) as advance:
        for file in sources:
            done = 0
            with _reading(file), file.open("rb") as raw:
                zipped = raw.peek(2)[:2] == b"\x1f\x8b"
                stream = gzip.GzipFile(fileobj=raw) if zipped else raw
                _check_header(file, stream.readline(1 << 16))
                line, rest = 2, b""
                while chunk := stream.read(BLOCK):
                    end = chunk.rfind(b"\n") + 1
                    if not end:
                        if len(rest) >= BLOCK:
                            raise InputError(
                                f"{file} line {line} is longer than {BLOCK} characters; "
                                "this is not a table of poses"
                            )
                        rest += chunk
                        continue
                    yield _Place(file, line), (text := rest + chunk[:end])
                    line, rest = line + text.count(b"\n"), chunk[end:]
                    advance(raw.tell() - done)
                    done = raw.tell()
                if rest:
                    yield _Place(file, line), rest


def _parse_block(place: _Place, text: bytes) -> _Part:
    """Parse whole lines, all at once.

    Raises:
        InputError: naming the first line that is not as released.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    if not text.strip():
        none = np.empty(0, np.int64)
        return _Part(place, none, none, none, none, NO_POSES, 0)
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            # one block, read in this thread
            csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=list(COLUMNS)
            ),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(
                column_types={
                    "image_name": pa.binary(),
                    **dict.fromkeys(COLUMNS[1:], pa.float32()),
                },
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        raise _fault(place, text, str(error)) from error
    names, *numbers = (column.combine_chunks() for column in table.columns)
    poses = np.stack([column.to_numpy() for column in numbers], axis=1).reshape(-1, 17, 3)
    if not np.isfinite(poses).all():
        raise _fault(place, text, "a number is not finite")
    lines = np.arange(len(names))
    if len(names) != text.count(b"\n") + (not text.endswith(b"\n")):  # there are blank lines
        lines = np.flatnonzero([bool(line.strip(b"\r")) for line in text.split(b"\n")])

    matched = pc.extract_regex(names, NAME)
    skipped = matched.null_count
    if skipped:
        walking = matched.is_valid()
        if not pc.all(pc.or_(walking, pc.match_substring_regex(names, BACKGROUND))).as_py():
            raise _fault(place, text, "a name is malformed")
        matched, kept = matched.filter(walking), walking.to_numpy(zero_copy_only=False)
        poses, lines = poses[kept], lines[kept]
    folder, frame = matched.flatten()
    # every folder has 13 characters, so that their buffer is an array
    characters = folder.cast(pa.binary(13)).buffers()[1]
    folders = np.frombuffer(characters, np.uint8, count=13 * len(folder)).reshape(-1, 13)
    return _Part(
        place,
        lines,
        _keys(folders),
        frame.cast(pa.string()).cast(pa.int64()).to_numpy(),
        (poses[..., 2] == 0).sum(axis=1),
        poses,
        skipped,
    )


def _keys(folders: NDArray[np.uint8]) -> NDArray[np.int64]:
    """One number for each ``SSS-cc-NN-VVV``, (n, 13) characters."""
    digits = folders.astype(np.int64) - ord("0")
    subject = digits[:, 0:3] @ np.array([100, 10, 1])
    condition = np.searchsorted([ord(c[0]) for c in CONDITIONS], folders[:, 4])
    number = digits[:, 7:9] @ np.array([10, 1])
    view = digits[:, 10:13] @ np.array([100, 10, 1])
    keys: NDArray[np.int64] = ((subject * 3 + condition) * 100 + number) * 1000 + view
    return keys


def _sequences(parts: list[_Part]) -> tuple[pd.DataFrame, NDArray[np.int64] | None]:
    """The table, and the order of rows that makes sequences whole and their frames ascending."""
    import pandas as pd

    keys, frames, empty = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("keys", "frames", "empty")
    )
    # sequences count from 0 in order of first appearance; runs of one sequence keep this cheap
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    _, first, run = np.unique(keys[begins], return_index=True, return_inverse=True)
    sequence = np.repeat(np.argsort(np.argsort(first))[run], np.diff(begins, append=len(keys)))

    order = None
    steps, paces = np.diff(sequence), np.diff(frames)
    if not ((steps > 0) | ((steps == 0) & (paces > 0))).all():
        order = np.lexsort((frames, sequence))
        keys, frames, empty, sequence = (a[order] for a in (keys, frames, empty, sequence))
        repeated = np.flatnonzero((np.diff(sequence) == 0) & (np.diff(frames) == 0))
        if len(repeated):
            row = repeated[0]
            one, two = (_where(parts, order[i]) for i in (row, row + 1))
            raise InputError(
                f"{two} repeats frame {frames[row]} of sequence {_name(keys[row])} from {one}; "
                "remove one of the two rows"
            )

    start = np.flatnonzero(np.diff(sequence, prepend=-1))
    length = np.diff(start, append=len(sequence))
    key, last = keys[start], start + length - 1
    table = pd.DataFrame(
        {
            "start": start,
            "length": length,
            "subject": [f"{subject:03d}" for subject in key // 300_000],
            "condition": [CONDITIONS[condition] for condition in key // 100_000 % 3],
            "number": key // 1000 % 100,
            "view": key % 1000,
            "first_frame": frames[start],
            "last_frame": frames[last],
            "missing": frames[last] - frames[start] + 1 - length,
            "empty_joints": np.add.reduceat(empty, start) / (length * COCO17.num_joints),
        }
    )
    return table, order


def _name(key: int) -> str:
    condition = CONDITIONS[key // 100_000 % 3]
    return f"{key // 300_000:03d}-{condition}-{key // 1000 % 100:02d}-{key % 1000:03d}"


def _where(parts: list[_Part], row: int) -> str:
    """File and line of a row, counted over all parts."""
    ends = np.cumsum([len(part.keys) for part in parts])
    index = int(np.searchsorted(ends, row, side="right"))
    part = parts[index]
    line = part.place.line + part.lines[row - ends[index]]  # negative: counted from the end
    return f"{part.place.file} line {line}"


def _check_header(file: Path, header: bytes) -> None:
    """Raise an InputError unless the first line names the columns of COCO-17 poses."""
    if not header:
        raise InputError(f"{file} is empty; copy or download it again")
    names = tuple(_decode(f"{file} line 1", header.removeprefix(b"\xef\xbb\xbf")).split(","))
    if names == COLUMNS:
        return
    hint = f"expected {len(COLUMNS)} columns, image_name and x, y, conf of 17 COCO joints"
    for skeleton in SKELETONS.values():
        if skeleton != COCO17 and len(names) == 1 + 3 * skeleton.num_joints:
            hint += f"; these {len(names)} look like the {skeleton.name} skeleton"
    if len(names) == len(COLUMNS) and "/" in names[0]:
        raise InputError(f"{file} line 1 is a row of poses, not the header; put the header back")
    for number, expected in enumerate(COLUMNS, start=1):
        found = names[number - 1] if number <= len(names) else None
        if found != expected:
            what = "missing" if found is None else _short(found)
            raise InputError(
                f"{file} line 1: column {number} is {what}, expected {expected!r} ({hint})"
            )
    extra = _short(names[len(COLUMNS)])
    raise InputError(f"{file} line 1: column {len(COLUMNS) + 1} is {extra}, expected none ({hint})")


def _fault(place: _Place, text: bytes, otherwise: str) -> InputError:
    """The error that names the first faulty line of a block, found by looking at each."""
    name = re.compile(NAME + b"|" + BACKGROUND)
    for number, row in enumerate(text.split(b"\n"), start=place.line):
        where = f"{place.file} line {number}"
        if not row.strip(b"\r"):
            continue
        try:
            fields = _decode(where, row).split(",")
        except InputError as error:
            return error
        if len(fields) != len(COLUMNS):
            return InputError(
                f"{where} has {len(fields) - 1} numbers, expected 51 (x, y and confidence of 17 "
                "joints); mend or remove the line"
            )
        if not name.search(fields[0].encode()):
            return InputError(
                f"{where}: image_name is {_short(fields[0])}, expected "
                "<subject>-<nm|bg|cl>-<number>-<view>/<frame>.jpg like "
                "'./001-nm-01-090/000012.jpg'; mend or remove the line"
            )
        for column, field in zip(COLUMNS[1:], fields[1:], strict=True):
            try:
                finite = "_" not in field and abs(float(field)) <= FLOAT32_MAX
            except ValueError:
                finite = False
            if not finite:
                return InputError(
                    f"{where}: {column} is {_short(field)}, expected a finite number; mend or "
                    "remove the line"
                )
    return InputError(f"{place.file} from line {place.line} cannot be parsed ({otherwise})")


def _decode(where: str, line: bytes) -> str:
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text; save the table as UTF-8") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read into the user's sentence."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{file} is truncated or damaged gzip; copy or download it again"
        ) from error
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error})") from error
