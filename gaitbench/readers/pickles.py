"""Arrays in pickles, as silhouettes and poses are passed on, read without running anything.

A pickle is a program. Here it may name only what numpy wraps an array in, and even these names
stand for classes of this module, which keep what they are given.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError

BYTES = ("u1", "b1")
NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def read_byte_array(path: Path) -> NDArray[np.uint8]:
    """The only thing in a pickle: an array of bytes or of truth values, which become 0 and 1.

    Raises:
        InputError: if the file cannot be read or holds anything else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    try:
        return _unpickled(content, BYTES, "bytes").view(np.uint8)
    except Exception as error:  # a hostile pickle raises anything
        raise InputError(
            f"{path} is no pickled array of bytes that can be read safely ({_why(error)}); copy it "
            "again or write the frames as images"
        ) from error


def pickled_numbers(content: bytes) -> NDArray[Any]:
    """The only thing in a pickle: an array of numbers.

    Raises:
        ValueError: if it holds anything else.
    """
    try:
        return _unpickled(content, NUMBERS, "numbers")
    except Exception as error:  # a hostile pickle raises anything
        raise ValueError(
            f"is no pickled array of numbers that can be read safely ({_why(error)})"
        ) from error


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


class _Type:
    """Stands for the type of an array's values, and for the array's own."""

    __slots__ = ("name", "order")

    def __init__(self, name: str = "", *arguments: Any) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]  # "<", ">", or "|" where one byte has none


class _Array:
    """Stands for an array: keeps its shape, values' type, order and bytes."""

    __slots__ = ("state",)

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _of_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """How the fifth protocol wraps an array."""
    if type(content) not in (bytes, bytearray):  # of a number as many zeros would be made
        raise pickle.UnpicklingError("its buffer is none")
    array = _Array()
    array.state = (1, shape, kind, order == "F", bytes(content))
    return array


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in which numpy wraps an array, and imports none of them."""

    KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy.core.numeric", "_frombuffer"): _of_buffer,
        ("numpy._core.numeric", "_frombuffer"): _of_buffer,
        ("numpy", "ndarray"): _Type,
        ("numpy", "dtype"): _Type,
    }

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.left = len(content)

    def encoded(self, text: str, encoding: str) -> bytes:
        """How the oldest protocols write bytes; the same text again and again is refused."""
        self.left -= len(text)
        if encoding != "latin1" or self.left < 0:
            raise pickle.UnpicklingError("its bytes are written in an unknown way")
        return text.encode("latin1")

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a known name."""
        if (module, name) == ("_codecs", "encode"):
            return self.encoded
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:80])
        return self.KNOWN[module, name]


def _unpickled(content: bytes, kinds: Collection[str], what: str) -> NDArray[Any]:
    """The array, if its values are of one of these kinds, which are called ``what``.

    Raises:
        Exception: of any kind, if it is something else.
    """
    for code, argument, _ in pickletools.genops(content):
        # a memo of which a far place is named would be allocated up to there
        if code.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(content):
            raise ValueError("its memo is larger than the file")
    found = _ArrayUnpickler(content).load()
    if type(found) is not _Array or type(found.state) is not tuple or len(found.state) != 5:
        raise ValueError("it holds no array")
    _, shape, kind, by_columns, values = found.state
    if type(kind) is not _Type or type(kind.name) is not str:
        raise ValueError(f"its values are objects, not {what}")
    if kind.name.lstrip("|") not in kinds:
        raise ValueError(f"its values are {kind.name}, not {what}")
    if type(shape) is not tuple or len(shape) > 8 or {type(side) for side in shape} - {int}:
        raise ValueError("its shape is none")
    if kind.order not in ("<", ">", "|"):
        raise ValueError("the order of its bytes is unknown")
    # stored as it was in memory; of single bytes an order means nothing
    dtype = np.dtype(kind.name).newbyteorder(">" if kind.order == ">" else "<")
    size = math.prod(shape) * dtype.itemsize
    if type(values) is not bytes or min(shape, default=0) < 0 or len(values) != size:
        raise ValueError("its shape does not fit its bytes")
    array = np.frombuffer(values, dtype).reshape(shape, order="F" if by_columns else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("="))
