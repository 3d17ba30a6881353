"""TensorFlow checkpoints (format V2: an ``.index`` and its ``.data-*`` files), without TensorFlow.

The index is a sorted table of blocks as LevelDB has it, its values are small protocol buffers that
tell type, shape, place and check sum of each variable. Everything that is read is checked against
its sum. Nothing in such files can be run.
"""

import glob
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER = 48
TRAILER = 5
"""Bytes after each block: how it is compressed, and its check sum."""
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""Types of variables by TensorFlow's numbers of them."""


def read_tf_checkpoint(path: Path | str) -> dict[str, NDArray[Any]]:
    """All variables of a checkpoint, optimiser's among them, by their names.

    Args:
        path: what TensorFlow calls the checkpoint (``trained_model.ckpt``), its ``.index``, or a
            folder with one.

    Raises:
        InputError: if there is none, it is damaged or in parts absent.
    """
    index = index_file(Path(path))
    try:
        return dict(_variables(index))
    except InputError:
        raise
    except (
        *(ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError),
        struct.error,
    ) as error:
        raise InputError(
            f"{index} is no index of a TensorFlow checkpoint, or damaged ({error}); copy it again"
        ) from error


def checkpoint_files(path: Path | str) -> list[Path]:
    """The index of a checkpoint and the files that hold its variables.

    Raises:
        InputError: if there is none.
    """
    index = index_file(Path(path))
    return [index, *sorted(index.parent.glob(f"{glob.escape(index.stem)}.data-*"))]


def index_file(path: Path) -> Path:
    """The index of a checkpoint, see :func:`read_tf_checkpoint`.

    Raises:
        InputError: if there is none.
    """
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) != 1:
            raise InputError(
                f"{path} holds {len(found)} files *.index, expected one; name the checkpoint"
            )
        return found[0]
    name = path.name.partition(".data-")[0].removesuffix(".index")
    index = path.with_name(f"{name}.index")
    if not index.is_file():
        raise InputError(f"{index} does not exist; a TensorFlow checkpoint has .index and .data-*")
    return index


def _variables(index: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    content = index.read_bytes()
    if len(content) < FOOTER or struct.unpack("<Q", content[-8:])[0] != TABLE_MAGIC:
        raise ValueError("it does not end as one")
    footer = _Reader(content[-FOOTER:])
    footer.handle()  # of the table's own notes, of which there are none
    shards: list[bytes] = []
    left = 0
    for _, handle in _entries(_block(content, *footer.handle())):
        for name, value in _entries(_block(content, *_Reader(handle).handle())):
            message = _fields(value)
            if name == b"":
                if message.get(2):
                    raise InputError(f"{index} is of a big-endian machine; write it again")
                shards = _shards(index, message.get(1, 1))
                left = sum(map(len, shards))
            else:
                variable = _variable(index, name.decode(), message, shards)
                left -= variable.nbytes
                if left < 0:
                    raise ValueError("its variables overlap")
                yield name.decode(), variable


def _shards(index: Path, count: int) -> list[bytes]:
    shards = []
    for number in range(count):
        file = index.with_suffix(f".data-{number:05d}-of-{count:05d}")
        if not file.is_file():
            raise InputError(f"{file} does not exist, which {index.name} asks for; copy it too")
        shards.append(file.read_bytes())
    return shards


def _variable(index: Path, name: str, message: dict[int, Any], shards: list[bytes]) -> NDArray[Any]:
    kind, place, size = message.get(1, 0), message.get(4, 0), message.get(5, 0)
    if kind not in TYPES or 7 in message:
        raise InputError(
            f"{index}: variable {name} is of TensorFlow's type {kind}, expected whole tables of "
            f"types {', '.join(map(str, TYPES))}; write the checkpoint without it"
        )
    dims = tuple(_fields(dim).get(1, 0) for dim in _fields(message.get(2, b"")).get(-2, []))
    raw = shards[message.get(3, 0)][place : place + size]
    if len(raw) != size or size != prod(dims) * np.dtype(TYPES[kind]).itemsize:
        raise InputError(
            f"{index}: variable {name} of shape {dims} should have {size} bytes at {place}, found "
            f"{len(raw)}; copy the .data-* files again"
        )
    if size and masked(crc32c(raw)) != message.get(6):
        raise InputError(f"{index}: variable {name} is damaged; copy the .data-* files again")
    values: NDArray[Any] = np.frombuffer(raw, TYPES[kind]).reshape(dims)
    return values


def _block(content: bytes, place: int, size: int) -> bytes:
    block = content[place : place + size + TRAILER]
    if len(block) != size + TRAILER:
        raise ValueError("it is cut off")
    if block[size] != 0:
        raise ValueError("its blocks are compressed")
    if struct.unpack("<I", block[size + 1 :])[0] != masked(crc32c(block[: size + 1])):
        raise ValueError("a check sum differs")
    return block[:size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values; a key begins as the one before it."""
    restarts = struct.unpack("<I", block[-4:])[0]
    reader, end = _Reader(block), len(block) - 4 * (restarts + 1)
    key = b""
    while reader.place < end:
        shared, rest, size = reader.number(), reader.number(), reader.number()
        key = key[:shared] + reader.take(rest)
        yield key, reader.take(size)


def _fields(message: bytes) -> dict[int, Any]:
    """A protocol buffer's fields by their numbers: the last of each, and under -number all."""
    reader, found = _Reader(message), dict[int, Any]()
    while reader.place < len(message):
        number, kind = divmod(reader.number(), 8)
        if kind == 0:
            value: Any = reader.number()
        elif kind == 2:
            value = reader.take(reader.number())
        elif kind in (1, 5):
            value = int.from_bytes(reader.take(8 if kind == 1 else 4), "little")
        else:
            raise ValueError("a field of unknown kind")
        found[number] = value
        found.setdefault(-number, []).append(value)
    return found


@dataclass
class _Reader:
    """Reads numbers and bytes one after the other."""

    content: bytes
    place: int = field(default=0)

    def number(self) -> int:
        """Seven bits a byte, the lowest first."""
        value = shift = 0
        while True:
            byte = self.content[self.place]
            self.place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def handle(self) -> tuple[int, int]:
        """Place and size of a block."""
        return self.number(), self.number()

    def take(self, size: int) -> bytes:
        """The next bytes."""
        taken = self.content[self.place : self.place + size]
        if len(taken) != size:
            raise ValueError("it is cut off")
        self.place += size
        return taken


def _remainders() -> NDArray[np.uint32]:
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(0x82F63B78)
    return table


REMAINDERS = _remainders()
BITS = np.arange(32, dtype=np.uint32)


def crc32c(data: bytes) -> int:
    """Check sum with Castagnoli's polynomial (RFC 3720, B.4) of at least 4 bytes.

    It is worked out in many lanes at once, each a stretch of the data, which are then joined: the
    sum is linear, and a lane's share of the whole is its own, moved on by the length of what
    follows.
    """
    if len(data) < 4:
        raise ValueError("a check sum needs 4 bytes")
    lanes = 1 << ((len(data) - 1).bit_length() + 1) // 2
    length = -(-len(data) // lanes)
    padded = np.zeros((lanes, length), np.uint8)  # zeros in front change nothing
    padded.reshape(-1)[-len(data) :] = np.frombuffer(data, np.uint8)
    padded.reshape(-1)[lanes * length - len(data) :][:4] ^= 0xFF  # the start value is all ones
    # beside the lanes, what becomes of each single bit over one lane's length
    columns = np.concatenate([padded, np.zeros((32, length), np.uint8)]).T
    state = np.concatenate([np.zeros(lanes, np.uint32), np.uint32(1) << BITS])
    for column in np.ascontiguousarray(columns):
        state = REMAINDERS[(state ^ column) & 0xFF] ^ (state >> np.uint32(8))
    sums, moved = state[:lanes], state[lanes:]
    while len(sums) > 1:
        sums = _moved_on(sums[::2], moved) ^ sums[1::2]
        moved = _moved_on(moved, moved)
    return int(sums[0]) ^ 0xFFFFFFFF


def _moved_on(values: NDArray[np.uint32], images: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The sum of the images of each value's bits."""
    picked = np.where((values[:, None] >> BITS) & 1, images, np.uint32(0))
    moved: NDArray[np.uint32] = np.bitwise_xor.reduce(picked, axis=1)
    return moved


def masked(crc: int) -> int:
    """The check sum as TensorFlow stores it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
