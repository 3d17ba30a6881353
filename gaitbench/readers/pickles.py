"""Arrays of bytes in pickles, as silhouettes are passed on, read without running what they ask for.

A pickle is a program. Here it may name only what numpy wraps an array in, and even these names
stand for classes of this module, which keep what they are given.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError


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
        return _unpickled(content)
    except Exception as error:  # a hostile pickle raises anything
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} is no pickled array of bytes that can be read safely ({why}); copy it again "
            "or write the frames as images"
        ) from error


class _Type:
    """Stands for the type of an array's values, and for the array's own."""

    __slots__ = ("name",)

    def __init__(self, name: str = "", *arguments: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands for an array: keeps its shape, values' type, order and bytes."""

    __slots__ = ("state",)

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _of_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """How the fifth protocol wraps an array."""
    array = _Array()
    array.state = (1, shape, kind, order == "F", bytes(content))
    return array


def _encoded(text: str, encoding: str) -> bytes:
    """How the oldest protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("its bytes are written in an unknown way")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the names in which numpy wraps an array, and imports none of them."""

    KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy.core.numeric", "_frombuffer"): _of_buffer,
        ("numpy._core.numeric", "_frombuffer"): _of_buffer,
        ("numpy", "ndarray"): _Type,
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _encoded,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a known name."""
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:80])
        return self.KNOWN[module, name]


def _unpickled(content: bytes) -> NDArray[np.uint8]:
    """The array.

    Raises:
        Exception: of any kind, if it is something else.
    """
    for code, argument, _ in pickletools.genops(content):
        # a memo of which a far place is named would be allocated up to there
        if code.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(content):
            raise ValueError("its memo is larger than the file")
    found = _ArrayUnpickler(io.BytesIO(content)).load()
    if type(found) is not _Array or type(found.state) is not tuple or len(found.state) != 5:
        raise ValueError("it holds no array")
    _, shape, kind, by_columns, values = found.state
    if type(kind) is not _Type or kind.name not in ("u1", "|u1", "b1", "|b1"):
        raise ValueError(f"its values are {getattr(kind, 'name', 'objects')}, not bytes")
    if type(shape) is not tuple or {type(side) for side in shape} - {int}:
        raise ValueError("its shape is none")
    if type(values) is not bytes or min(shape, default=0) < 0 or len(values) != math.prod(shape):
        raise ValueError("its shape does not fit its bytes")
    array = np.frombuffer(values, np.uint8).reshape(shape, order="F" if by_columns else "C")
    return np.ascontiguousarray(array)
