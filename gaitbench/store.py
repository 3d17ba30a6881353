"""All frames of a dataset end to end in one mapped file, and a table with one row a sequence.

A store is a folder of three files: ``frames.npy`` (F, *frame_shape), plain numpy, any shape and
type; ``sequences.arrow``, the table as columns; ``store.json``, what the frames are. It is built
once from the files that a dataset's owner published, opens in milliseconds, and costs no memory
but the page cache, however many workers and ranks read it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1
"""Raised by one whenever the files of a store change their meaning; older stores are rebuilt."""

FRAMES_FILE, TABLE_FILE, INFO_FILE = "frames.npy", "sequences.arrow", "store.json"
BLOCK = 1 << 16  # bytes hashed at each of a source's sampled places
PLACES = 16  # sampled places a source: its head, its tail, and evenly between
CHUNK = 1 << 24  # bytes copied at a time when frames are put in order

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
        frames: (F, *frame_shape), mapped from the file.
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
        frames: NDArray[Any],
        sequences: pd.DataFrame,
        info: StoreInfo,
        fingerprint: str,
    ) -> None:
        self.path = path
        self.frames = frames
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
            shape = (int(written["num_frames"]), *written["frame_shape"])
            fingerprint, dtype = str(written["fingerprint"]), np.dtype(written["dtype"])
            num_sequences = int(written["num_sequences"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"{INFO_FILE} lacks or misstates {error}") from error
        frames = _map_frames(path, shape, dtype)
        sequences = _read_table(path)
        if len(sequences) != num_sequences:
            raise _damaged(path, f"{TABLE_FILE} has {len(sequences)} rows, not {num_sequences}")
        if not {"start", "length"} <= set(sequences.columns):
            raise _damaged(path, f"{TABLE_FILE} lacks the column start or length")
        if _reaches_outside(sequences, shape[0]):
            raise _damaged(path, f"{TABLE_FILE} names frames that {FRAMES_FILE} does not have")
        return cls(path, frames, sequences, info, fingerprint)

    def gather(self, rows: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[Any]:
        """Windows of many sequences in one indexing operation.

        Args:
            rows: (B,) rows of ``sequences``.
            frames: (B, T) frame indices, each counted from its sequence's first frame.

        Returns:
            (B, T, *frame_shape), a contiguous copy.

        Raises:
            IndexError: if a row or a frame does not exist.
        """
        if ((frames < 0) | (frames >= self._length[rows][:, None])).any():
            raise IndexError("a window reaches outside its sequence")
        taken: NDArray[Any] = np.take(self.frames, self._start[rows][:, None] + frames, axis=0)
        return taken


class StoreWriter:
    """Receives the frames and the table of a store that is being built.

    Args:
        path: an existing, empty folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frame_shape: tuple[int, ...] = ()
        self.dtype: np.dtype[Any] | None = None
        self.num_frames = 0
        self.num_sequences: int | None = None
        self._file: BinaryIO | None = None

    def append(self, frames: NDArray[Any]) -> None:
        """Write frames behind those already there.

        Args:
            frames: (n, *frame_shape); the first call fixes frame shape and type.

        Raises:
            InputError: if the disk is full or the folder cannot be written.
            ValueError: if shape or type differ from those of the first call.
        """
        with _writing(self.path.parent):
            if self._file is None:
                if frames.dtype.hasobject:
                    raise ValueError("frames must be numbers, not Python objects")
                self.frame_shape, self.dtype = frames.shape[1:], frames.dtype
                self._file = (self.path / FRAMES_FILE).open("wb")
                self._write_header(self._file)
            if frames.shape[1:] != self.frame_shape or frames.dtype != self.dtype:
                raise ValueError(
                    f"expected frames of shape {self.frame_shape} and type {self.dtype}, "
                    f"found {frames.shape[1:]} and {frames.dtype}"
                )
            self._file.write(np.ascontiguousarray(frames).data)
        self.num_frames += len(frames)

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

        if self._file is None or not self.num_frames:
            raise ValueError("a store needs at least one frame")
        if _reaches_outside(sequences, self.num_frames):
            raise ValueError(f"the table names frames beyond the {self.num_frames} appended")
        if order is not None and len(order) != self.num_frames:
            raise ValueError(f"the order has {len(order)} entries for {self.num_frames} frames")
        with _writing(self.path.parent):
            self._write_header(self._file)
            _sync(self._file)
            self._file.close()
            if order is not None:
                self._reorder(order)
            table = pa.Table.from_pandas(sequences, preserve_index=False)
            with (self.path / TABLE_FILE).open("wb") as file:
                with pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table)
                _sync(file)
        self.num_sequences = len(sequences)

    def close(self) -> None:
        """Let go of the file, whatever state it is in."""
        if self._file is not None:
            with suppress(OSError):  # a full disk refuses what is still buffered
                self._file.close()

    def _reorder(self, order: NDArray[np.int64]) -> None:
        unordered = self.path / "unordered.npy"
        (self.path / FRAMES_FILE).rename(unordered)
        frames = np.load(unordered, mmap_mode="r", allow_pickle=False)
        step = max(1, CHUNK // max(1, frames[0].nbytes))
        with (self.path / FRAMES_FILE).open("wb") as file:
            self._write_header(file)
            for begin in range(0, len(order), step):
                file.write(np.take(frames, order[begin : begin + step], axis=0).data)
            _sync(file)
        del frames  # some systems remove no file that is mapped
        unordered.unlink()

    def _write_header(self, file: BinaryIO) -> None:
        # numpy pads the header so that the first axis can grow in place
        file.seek(0)
        np.lib.format.write_array_header_1_0(
            file,
            {
                "shape": (self.num_frames, *self.frame_shape),
                "fortran_order": False,
                "descr": np.lib.format.dtype_to_descr(np.dtype(self.dtype)),
            },
        )


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
    import filelock

    cache = Path(cache)
    path = cache / f"{name}-{fingerprint[:16]}"
    with suppress(InputError):  # an undamaged store needs neither lock nor a writable folder
        return _open_expected(path, fingerprint)
    with _writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(cache / f".{name}.lock")
        lock.acquire()  # released by the system should this process die
    try:
        if path.exists():
            try:
                return _open_expected(path, fingerprint)
            except InputError as error:
                logger.warning("%s; it is built again", error)
        with _writing(cache):
            partial = cache / f".{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that died building
            partial.mkdir()
        try:
            _build(partial, fingerprint, build, info, source)
            with _writing(cache):
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.exists():
                    path.unlink()
                partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _remove_older(cache, name, path, source)
        return SequenceStore.open(path)
    finally:
        lock.release()


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
        "frame_shape": list(writer.frame_shape),
        "dtype": np.dtype(writer.dtype).str,
        "num_frames": writer.num_frames,
        "num_sequences": writer.num_sequences,
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
    except ValueError as error:
        raise _damaged(path, f"{INFO_FILE} is not JSON") from error
    if not isinstance(written, dict) or written.get("format") != "gaitbench store":
        raise _damaged(path, f"{INFO_FILE} was written by another program")
    if written.get("version") != FORMAT_VERSION:
        raise _damaged(
            path, f"its format version is {written.get('version')}, expected {FORMAT_VERSION}"
        )
    return written


def _map_frames(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        frames = np.load(path / FRAMES_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, f"{FRAMES_FILE} is missing or truncated") from error
    if not isinstance(frames, np.memmap) or frames.shape != shape or frames.dtype != dtype:
        raise _damaged(path, f"{FRAMES_FILE} does not hold {dtype} frames of shape {shape}")
    return frames.view(np.ndarray)


def _read_table(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.BufferReader((path / TABLE_FILE).read_bytes())).read_all()
        sequences: pd.DataFrame = table.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, f"{TABLE_FILE} is missing or truncated") from error
    return sequences


def _reaches_outside(sequences: pd.DataFrame, num_frames: int) -> bool:
    start, length = sequences["start"].to_numpy(), sequences["length"].to_numpy()
    return bool(((start < 0) | (length < 0) | (start + length > num_frames)).any())


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
