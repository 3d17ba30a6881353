"""Stores of datasets that come as a tree of many small files: read in parallel, resumable.

The files are read part by part, and each finished part is kept in a folder beside the store until
the whole store is there. A build that was killed, or that stopped at a bad file, goes on from
there.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gaitbench.arrays import plain_arrays
from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.store import Frames, StoreWriter
from gaitbench.workers import in_parallel, progress

if TYPE_CHECKING:
    import pandas as pd

Work = TypeVar("Work")

FRAMES = "frames"  # how names of the frames' arrays begin in a kept part; the others are columns

logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """What was read of one part of a dataset.

    Attributes:
        frames: (n, *frame_shape), sequence behind sequence, or several such arrays by name.
        sequences: columns of the table, one entry a sequence each, with ``length`` in frames;
            ``start`` is added when parts are joined. Sequences of length 0 are left out then.
    """

    frames: Frames
    sequences: dict[str, NDArray[Any]]


def read_in_parts(
    writer: StoreWriter,
    keep: Path,
    parts: Sequence[tuple[str, Work]],
    read: Callable[[Work], Part],
    label: str,
    workers: int | None = None,
) -> pd.DataFrame:
    """Read all parts, several at a time, and join them to a store in their order.

    Args:
        writer: of the store.
        keep: folder for finished parts, of this store alone; made if need be and removed once
            the store is finished. Whatever else lies there is removed.
        parts: (mark, work) each; the mark is a file name that changes with whatever the part's
            content depends on.
        read: makes a part of its work, in another process; see :func:`workers.in_parallel`.
        label: what is being done and on what, shown beside the bar and before messages.
        workers: number of processes, see :func:`workers.in_parallel`.

    Returns:
        The table with the rows of sequences without a frame, which the store's table lacks.

    Raises:
        InputError: if nothing was found, the disk is full, or whatever ``read`` raises; parts
            that were finished until then stay.
        ValueError: if two parts have the same mark, or a part is malformed.
    """
    import pandas as pd

    places = {keep / f"{mark}.npz": work for mark, work in parts}
    if len(places) != len(parts):
        raise ValueError("two parts have the same mark")
    missing = _missing(keep, places)
    if 0 < len(missing) < len(places):
        kept = len(places) - len(missing)
        logger.info("%s: %d of %d parts are there already", label, kept, len(places))
    for _ in in_parallel(partial(_keep, read), missing, label, workers):
        pass

    tables = []
    with progress("joining parts", len(places)) as advance:
        for place, work in places.items():
            part = _load(place)
            if part is None:
                logger.warning("%s is damaged; the part is read again", place)
                part = read(work)
            writer.append(part.frames)
            tables.append(part.sequences)
            advance(1)
    if not writer.num_frames:
        raise InputError(f"{label}: there is no frame to read{_first_fault(tables)}")
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    length = columns["length"]
    table = pd.DataFrame({"start": np.cumsum(length) - length, **columns})
    if empty := int((length == 0).sum()):
        logger.info("%s: left out %d of %d sequences without a frame", label, empty, len(length))
    writer.finish(table[length > 0].reset_index(drop=True))
    shutil.rmtree(keep, ignore_errors=True)
    return table


def _first_fault(tables: Sequence[dict[str, NDArray[Any]]]) -> str:
    """Why nothing could be read, as the end of a sentence, where the tables tell."""
    for table in tables:
        faults = table.get("fault", np.array([], str))
        for place in np.flatnonzero(faults != ""):
            return f"; the first fault: {table['sequence'][place]} {faults[place]}"
    return "; copy or download the data again"


def _missing(keep: Path, places: dict[Path, Work]) -> list[tuple[Path, Work]]:
    """The parts that are not there; what else is there goes."""
    found = set(keep.iterdir()) if keep.is_dir() else set()
    for stale in found - places.keys():
        with suppress(OSError):
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    return [(place, work) for place, work in places.items() if place not in found]


def _keep(read: Callable[[Work], Part], item: tuple[Path, Work]) -> None:
    """Read one part and write it to its place."""
    place, work = item
    part = read(work)
    if not _is_whole(part):
        raise ValueError(f"the columns of part {place.stem} do not fit its frames")
    arrays: dict[str, Any] = {**_named(part.frames), **part.sequences}
    with written_whole(place) as file:
        np.savez(file, **arrays)


def _load(place: Path) -> Part | None:
    """A kept part, or None if it is damaged."""
    try:
        with place.open("rb") as file:
            arrays = plain_arrays(file)
        named = {name: arrays.pop(name) for name in [*arrays] if name.split()[0] == FRAMES}
        several = {name.split()[1]: array for name, array in named.items() if name != FRAMES}
        part = Part(several or named[FRAMES], arrays)
        return part if _is_whole(part) else None
    except (OSError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _named(frames: Frames) -> dict[str, NDArray[Any]]:
    """The frames' arrays by their names in a kept part."""
    if isinstance(frames, np.ndarray):
        return {FRAMES: frames}
    return {f"{FRAMES} {name}": array for name, array in frames.items()}


def _is_whole(part: Part) -> bool:
    length = part.sequences["length"]
    columns = part.sequences.values()
    frames = _named(part.frames).values()
    return (
        all(int(length.sum()) == len(array) for array in frames)
        and all(column.shape == length.shape for column in columns)
        and not any(array.dtype.hasobject for array in (*frames, *columns))
    )
