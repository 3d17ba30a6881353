"""All frames of a dataset end to end in one mapped file, and a table with one row a sequence.

A store is a folder of three files: ``frames.npy`` (F, *frame_shape), plain numpy, any shape and
type; ``sequences.arrow``, the table as columns; ``store.json``, what the frames are. Where a frame
is several things at once (a gray image, its flow, a silhouette), each has a file by its own name,
``gray.npy``, in place of ``frames.npy``; they count the same frames. A store is built once from the
files that a dataset's owner published, opens in milliseconds, and costs no memory but the page
cache, however many workers and ranks read it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaitbench.arrays import mapped_array
from gaitbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
"""Raised by one whenever the files of a store change their meaning; older stores are rebuilt."""

FRAMES = "frames"  # name of the array of a store that has one only
TABLE_FILE, INFO_FILE = "sequences.arrow", "store.json"
BLOCK = 1 << 16  # bytes hashed at each of a source's sampled places
PLACES = 16  # sampled places a source: its head, its tail, and evenly between
CHUNK = 1 << 24  # bytes copied at a time when frames are put in order

Frames = NDArray[Any] | Mapping[str, NDArray[Any]]
"""Frames (n, *frame_shape), or several arrays of the same n frames by name."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreInfo:
    """What the frames of a store are.

    Args:
        dataset: name of the dataset, ``"casia_b"``.
        kind: ``"pose"``, ``"skeleton3d"``, ``"silhouette"``, ``"gray"`` or ``"flow"``.
        skeleton: name of the joint layout; None where a frame has no joints.
        units: of the last axis, ``"pixels, confidence"``.
        settings: what was chosen when it was read, such as the pose estimator; plain data.
    """

    dataset: str
    kind: str
    skeleton: str | None
    units: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class SequenceStore:
    """An open store, read-only; made by :meth:`open`. Pickles as its path.

    Attributes:
        arrays: name -> (F, *frame_shape), mapped from the file; ``frames`` where there is one only.
        frames: the first of them.
        sequences: one row a sequence: ``start`` and ``length`` in ``frames``, ``subject`` and
            ``condition`` (strings), ``number``, ``view`` (whole degrees), and what else the
            dataset knows.
        info: what the frames are.
        fingerprint: of the source and settings that the store was built from.
        path: the folder.
    """

    def __init__(
        self,
        path: Path,
        arrays: Mapping[str, NDArray[Any]],
        sequences: pd.DataFrame,
        info: StoreInfo,
        fingerprint: str,
    ) -> None:
        self.path = path
        self.arrays = arrays
        self.frames = next(iter(arrays.values()))
        self.sequences = sequences
        self.info = info
        self.fingerprint = fingerprint
        self._start = sequences["start"].to_numpy()
        self._length = sequences["length"].to_numpy()

    def __reduce__(self) -> tuple[Callable[[Path], SequenceStore], tuple[Path]]:
        return SequenceStore.open, (self.path,)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self._start)

    @classmethod
    def open(cls, path: str | Path) -> SequenceStore:
        """Open the store in a folder.

        Raises:
            InputError: if it is truncated, foreign, or of another format version.
        """
        path = Path(path)
        written = {"settings": {}} | _read_info(path)  # older stores were read without a choice
        try:
            info = StoreInfo(**{name: written[name] for name in StoreInfo.__dataclass_fields__})
            num_frames, num_sequences = int(written["num_frames"]), int(written["num_sequences"])
            fingerprint = str(written["fingerprint"])
            kinds = {
                str(name): ((num_frames, *kind["frame_shape"]), _number_type(kind["dtype"]))
                for name, kind in written.get("arrays", {FRAMES: written}).items()
            }
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise _damaged(path, f"{INFO_FILE} lacks or misstates {error}") from error
        if not kinds or not all(name.isidentifier() for name in kinds):
            raise _damaged(path, f"{INFO_FILE} names arrays that cannot be")
        arrays = {name: _map_frames(path, name, *kind) for name, kind in kinds.items()}
        sequences = _read_table(path, written.get("table_crc32"))
        if len(sequences) != num_sequences:
            raise _damaged(path, f"{TABLE_FILE} has {len(sequences)} rows, not {num_sequences}")
        for column in ("start", "length"):
            if column not in sequences or sequences[column].dtype.kind != "i":
                raise _damaged(path, f"{TABLE_FILE} has no whole numbers as {column}")
        if _reaches_outside(sequences, num_frames):
            raise _damaged(path, f"{TABLE_FILE} names frames that are not there")
        return cls(path, arrays, sequences, info, fingerprint)

    def verify(self) -> None:
        """Read all frames, and compare them with the checksums of what was written.

        Stores of earlier versions have none.

        Raises:
            InputError: naming the file that is not what was written.
        """
        written = _read_info(self.path)
        for name, told in written.get("arrays", {FRAMES: written}).items():
            array, found = self.arrays[name], 0
            step = max(1, CHUNK // max(1, array[0].nbytes))
            for begin in range(0, len(array), step):
                found = zlib.crc32(array[begin : begin + step].data, found)
            if told.get("crc32", found) != found:
                raise _damaged(self.path, f"the checksum of {_file_of(name)} is wrong")

    def gather(
        self, rows: NDArray[np.int64], frames: NDArray[np.int64], array: str | None = None
    ) -> NDArray[Any]:
        """Windows of many sequences in one indexing operation.

        Args:
            rows: (B,) rows of ``sequences``.
            frames: (B, T) frame indices, each counted from its sequence's first frame.
            array: which of ``arrays``; the first if none is named.

        Returns:
            (B, T, *frame_shape), a contiguous copy.

        Raises:
            IndexError: if a row or a frame does not exist.
        """
        if ((frames < 0) | (frames >= self._length[rows][:, None])).any():
            raise IndexError("a window reaches outside its sequence")
        source = self.frames if array is None else self.arrays[array]
        taken: NDArray[Any] = np.take(source, self._start[rows][:, None] + frames, axis=0)
        return taken


class _ArrayFile:
    """One array of a store that is being written.

    Args:
        path: of the file.
        first: frames whose shape and type those that follow share.
    """

    def __init__(self, path: Path, first: NDArray[Any]) -> None:
        self.path = path
        self.frame_shape, self.dtype = first.shape[1:], first.dtype
        self.num_frames = 0
        self.crc32 = 0
        self.file = path.open("wb")

    def append(self, frames: NDArray[Any]) -> None:
        """Write frames behind those already there."""
        if not self.num_frames:
            self._write_header(self.file)
        self._write(self.file, np.ascontiguousarray(frames))
        self.num_frames += len(frames)

    def finish(self, order: NDArray[np.int64] | None) -> None:
        """Write the header and, if an order is given, all frames in it once more."""
        self._write_header(self.file)
        _sync(self.file)
        self.file.close()
        if order is not None:
            self._reorder(order)

    def describe(self) -> dict[str, Any]:
        """What the store's description says of it."""
        return {
            "frame_shape": list(self.frame_shape),
            "dtype": self.dtype.str,
            "crc32": self.crc32,
        }

    def _reorder(self, order: NDArray[np.int64]) -> None:
        unordered = self.path.with_name("unordered.npy")
        self.path.rename(unordered)
        frames = np.load(unordered, mmap_mode="r", allow_pickle=False)
        step = max(1, CHUNK // max(1, frames[0].nbytes))
        self.crc32 = 0
        with self.path.open("wb") as file:
            self._write_header(file)
            for begin in range(0, len(order), step):
                self._write(file, np.take(frames, order[begin : begin + step], axis=0))
            _sync(file)
        del frames  # some systems remove no file that is mapped
        unordered.unlink()

    def _write(self, file: BinaryIO, frames: NDArray[Any]) -> None:
        file.write(frames.data)
        self.crc32 = zlib.crc32(frames.data, self.crc32)

    def _write_header(self, file: BinaryIO) -> None:
        # numpy pads the header so that the first axis can grow in place
        file.seek(0)
        np.lib.format.write_array_header_1_0(
            file,
            {
                "shape": (self.num_frames, *self.frame_shape),
                "fortran_order": False,
                "descr": np.lib.format.dtype_to_descr(self.dtype),
            },
        )


class StoreWriter:
    """Receives the frames and the table of a store that is being built.

    Args:
        path: an existing, empty folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_frames = 0
        self.num_sequences: int | None = None
        self.table_crc32 = 0
        self._arrays: dict[str, _ArrayFile] = {}

    def append(self, frames: Frames) -> None:
        """Write frames behind those already there.

        Args:
            frames: (n, *frame_shape), or several arrays of the same n frames by name; the first
                call fixes names, frame shapes and types.

        Raises:
            InputError: if the disk is full or the folder cannot be written.
            ValueError: if names, shape or type differ from those of the first call.
        """
        given = _by_name(frames)
        lengths = {len(array) for array in given.values()}
        if len(lengths) != 1:
            raise ValueError(f"the arrays of the same frames have {sorted(lengths)} of them")
        with _writing(self.path.parent):
            if not self._arrays:
                self._begin(given)
            if given.keys() != self._arrays.keys():
                raise ValueError(f"expected arrays {[*self._arrays]}, found {[*given]}")
            for name, array in self._arrays.items():
                found = given[name]
                if found.shape[1:] != array.frame_shape or found.dtype != array.dtype:
                    raise ValueError(
                        f"expected {name} of shape {array.frame_shape} and type {array.dtype}, "
                        f"found {found.shape[1:]} and {found.dtype}"
                    )
            for name, array in self._arrays.items():
                array.append(given[name])
        self.num_frames += lengths.pop()

    def finish(self, sequences: pd.DataFrame, order: NDArray[np.int64] | None = None) -> None:
        """Write the table; the last call.

        Args:
            sequences: the table; its ``start`` and ``length`` count frames after ordering.
            order: (F,) the appended frame that comes first, second, ...; None if they came in
                order. Ordering reads and writes all frames once more.

        Raises:
            InputError: if the disk is full or the folder cannot be written.
            ValueError: if no frames were appended, or table or order do not fit them.
        """
        import pyarrow as pa

        if not self.num_frames:
            raise ValueError("a store needs at least one frame")
        if _reaches_outside(sequences, self.num_frames):
            raise ValueError(f"the table names frames beyond the {self.num_frames} appended")
        if order is not None and len(order) != self.num_frames:
            raise ValueError(f"the order has {len(order)} entries for {self.num_frames} frames")
        with _writing(self.path.parent):
            for array in self._arrays.values():
                array.finish(order)
            table = pa.Table.from_pandas(sequences, preserve_index=False)
            with (self.path / TABLE_FILE).open("wb") as file:
                with pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table)
                _sync(file)
            self.table_crc32 = zlib.crc32((self.path / TABLE_FILE).read_bytes())
        self.num_sequences = len(sequences)

    def describe(self) -> dict[str, Any]:
        """What the store's description says of its arrays."""
        described = {name: array.describe() for name, array in self._arrays.items()}
        return described[FRAMES] if [*described] == [FRAMES] else {"arrays": described}

    def close(self) -> None:
        """Let go of the files, whatever state they are in."""
        for array in self._arrays.values():
            with suppress(OSError):  # a full disk refuses what is still buffered
                array.file.close()

    def _begin(self, given: Mapping[str, NDArray[Any]]) -> None:
        for name, array in given.items():
            if not name.isidentifier():
                raise ValueError(f"{name!r} cannot name an array")
            if array.dtype.hasobject:
                raise ValueError("frames must be numbers, not Python objects")
        for name, array in given.items():
            self._arrays[name] = _ArrayFile(self.path / _file_of(name), array)


def fingerprint(sources: Sequence[Path], **settings: Any) -> str:
    """What tells one state of the source files and settings from another, as 64 hex digits.

    Takes in each file's name, size, time of change and sampled blocks of its content, so that
    it costs milliseconds however large the files are; and the store format's version.

    Args:
        sources: the files, in reading order.
        settings: whatever else the store's content depends on; values that JSON can hold.

    Raises:
        InputError: if a file is missing or cannot be read.
    """
    digest = hashlib.sha256(
        json.dumps([FORMAT_VERSION, settings], sort_keys=True).encode(), usedforsecurity=False
    )
    for source in sources:
        try:
            state = source.stat()
            digest.update(repr((source.name, state.st_size, state.st_mtime_ns)).encode())
            with source.open("rb") as file:
                last = max(0, state.st_size - BLOCK)
                for place in sorted({last * i // (PLACES - 1) for i in range(PLACES)}):
                    file.seek(place)
                    digest.update(file.read(BLOCK))
        except OSError as error:
            raise InputError(
                f"{source} cannot be read ({error.strerror}); name an existing file or folder"
            ) from error
    return digest.hexdigest()


def cached_store(
    cache: Path,
    name: str,
    fingerprint: str,
    build: Callable[[StoreWriter], None],
    info: StoreInfo,
    source: Path | None = None,
) -> SequenceStore:
    """The store of that fingerprint, built first if the cache has none.

    Of several processes that ask at once, one builds and the others wait. The store is built
    beside its place and renamed, so that a half-written one is never seen. A damaged store is
    named in the log and built again. Stores that an older state of the same source left behind
    are removed.

    Args:
        cache: folder that holds stores; made if need be.
        name: first part of the store's folder name.
        fingerprint: of source and settings, see :func:`fingerprint`.
        build: appends all frames and finishes the table.
        info: what the frames are.
        source: the dataset's place, by which older stores of the same dataset are known; where
            None, all other stores of that name are older.

    Raises:
        InputError: if the cache cannot be written or its disk is full; nothing half-written is
            left then. Also whatever ``build`` raises.
    """
    path = Path(cache) / f"{name}-{fingerprint[:16]}"
    with suppress(InputError):  # an undamaged store needs neither lock nor a writable folder
        return _open_expected(path, fingerprint)
    with _locked(path.parent, name):
        store = _open_or_build(path, name, fingerprint, build, info, source)
        _remove_older(path.parent, name, path, source)
        return store


def store_at(
    path: Path, fingerprint: str, build: Callable[[StoreWriter], None], info: StoreInfo
) -> SequenceStore:
    """The same for a store in a place of the user's choice, whose other stores stay.

    Args:
        path: the store's folder. What an older state of the same dataset left there is replaced.
        fingerprint: of source and settings, see :func:`fingerprint`.
        build: appends all frames and finishes the table.
        info: what the frames are.

    Raises:
        InputError: if something else is there; also as :func:`cached_store`.
    """
    path = Path(path)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        known = None
        with suppress(InputError):
            known = _read_info(path).get("dataset")
        if known != info.dataset:
            raise InputError(f"{path} is there and holds something else; name a new folder")
    with _locked(path.parent, path.name):
        return _open_or_build(path, path.name, fingerprint, build, info, None)


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """The right to build stores of that name in a folder, which is made if need be."""
    import filelock

    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f".{name}.lock")
        lock.acquire()  # released by the system should this process die
    try:
        yield
    finally:
        lock.release()


def _open_or_build(
    path: Path,
    name: str,
    fingerprint: str,
    build: Callable[[StoreWriter], None],
    info: StoreInfo,
    source: Path | None,
) -> SequenceStore:
    if path.exists():
        try:
            return _open_expected(path, fingerprint)
        except InputError as error:
            logger.warning("%s; it is built again", error)
    with _writing(path.parent):
        partial = path.parent / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a process that died building
        partial.mkdir()
    try:
        _build(partial, fingerprint, build, info, source)
        with _writing(path.parent):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return SequenceStore.open(path)


def _build(
    partial: Path,
    fingerprint: str,
    build: Callable[[StoreWriter], None],
    info: StoreInfo,
    source: Path | None,
) -> None:
    writer = StoreWriter(partial)
    try:
        build(writer)
    finally:
        writer.close()
    if writer.num_sequences is None:
        raise ValueError("build returned without a call of StoreWriter.finish")
    written = {
        "format": "gaitbench store",
        "version": FORMAT_VERSION,
        **asdict(info),
        "fingerprint": fingerprint,
        "source": None if source is None else str(source.resolve()),
        **writer.describe(),
        "num_frames": writer.num_frames,
        "num_sequences": writer.num_sequences,
        "table_crc32": writer.table_crc32,
    }
    with _writing(partial.parent), (partial / INFO_FILE).open("wb") as file:
        file.write(json.dumps(written, indent=1).encode())
        _sync(file)


def _remove_older(cache: Path, name: str, kept: Path, source: Path | None) -> None:
    """Remove the stores of the same name and source but another fingerprint."""
    pattern = re.compile(re.escape(name) + "-[0-9a-f]{16}")
    for path in cache.iterdir():
        if path == kept or not path.is_dir() or not pattern.fullmatch(path.name):
            continue
        if source is not None:
            try:
                if _read_info(path).get("source") != str(source.resolve()):
                    continue
            except InputError:
                continue
        shutil.rmtree(path, ignore_errors=True)


def _open_expected(path: Path, fingerprint: str) -> SequenceStore:
    store = SequenceStore.open(path)
    if store.fingerprint != fingerprint:
        raise _damaged(path, "it was built from another source")
    return store


def _read_info(path: Path) -> dict[str, Any]:
    try:
        written = json.loads((path / INFO_FILE).read_bytes())
    except OSError as error:
        raise _damaged(path, f"{INFO_FILE} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{INFO_FILE} is not JSON") from error
    if not isinstance(written, dict) or written.get("format") != "gaitbench store":
        raise _damaged(path, f"{INFO_FILE} was written by another program")
    if written.get("version") != FORMAT_VERSION:
        raise _damaged(
            path, f"its format version is {written.get('version')}, expected {FORMAT_VERSION}"
        )
    return written


def _number_type(name: Any) -> np.dtype[Any]:
    # numpy takes whole programs for the name of a type
    if not re.fullmatch("[<>|][biuf][1248]", str(name)):
        raise ValueError(f"the type of numbers, {str(name)[:20]!r}")
    return np.dtype(str(name))


def _by_name(frames: Frames) -> Mapping[str, NDArray[Any]]:
    return {FRAMES: frames} if isinstance(frames, np.ndarray) else frames


def _file_of(array: str) -> str:
    return f"{array}.npy"


def _map_frames(
    path: Path, array: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    file = _file_of(array)
    try:
        frames = mapped_array(path / file)
    except (OSError, ValueError) as error:
        raise _damaged(path, f"{file} is missing or truncated") from error
    if frames.shape != shape or frames.dtype != dtype:
        raise _damaged(path, f"{file} does not hold {dtype} frames of shape {shape}")
    return frames.view(np.ndarray)


def _read_table(path: Path, crc32: int | None) -> pd.DataFrame:
    import pyarrow as pa

    try:
        # mapped like the frames: numbers are read from the file when they are looked at
        content = pa.memory_map(str(path / TABLE_FILE)).read_buffer()
        if crc32 is not None and zlib.crc32(content) != crc32:
            raise _damaged(path, f"the checksum of {TABLE_FILE} is wrong")
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        table.validate(full=True)  # places in buffers are taken on trust otherwise
        sequences: pd.DataFrame = table.to_pandas(split_blocks=True)
    except InputError:
        raise
    except Exception as error:  # what pandas keeps beside the columns may be anything, too
        raise _damaged(path, f"{TABLE_FILE} is missing or truncated") from error
    return sequences


def _reaches_outside(sequences: pd.DataFrame, num_frames: int) -> bool:
    start, length = sequences["start"].to_numpy(), sequences["length"].to_numpy()
    return bool(((start < 0) | (length < 0) | (length > num_frames - start)).any())


def _damaged(path: Path, fault: str) -> InputError:
    return InputError(f"the store {path} cannot be used: {fault}; delete that folder to rebuild it")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that is written to into the user's sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the store cannot be written below {folder}: {error.strerror or error}; make room "
            "there or choose another folder with --data.cache"
        ) from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
