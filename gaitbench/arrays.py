"""Numpy files of anybody's: plain arrays are read, all else is refused."""

from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

DAMAGED = "is a truncated or damaged numpy file"
KINDS = "biufcSU"
"""Of values: numbers, bytes, text."""
ROOM = 1 << 30
"""Bytes that every archive may unpack to, however small it is."""
MOST = 200
"""Times its own size that a larger one may unpack to; deflate at its best packs 1000 to 1."""


def plain_arrays(file: IO[bytes]) -> Any:
    """The array of an .npy file, or all arrays of an .npz file by their names.

    Raises:
        ValueError: as the rest of a sentence that begins with the file, if it is damaged, would
            have to be unpickled, or unpacks to far more than it is.
    """
    try:
        with np.errstate(over="raise"):  # sizes that are beyond all numbers
            read = np.load(file, allow_pickle=False)
            if not isinstance(read, np.lib.npyio.NpzFile):
                return _sound(read)
            with read:
                _refuse_bomb(read.zip)
                return {name: _sound(read[name]) for name in read.files}
    except _Refused as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # numpy and zipfile raise anything on a damaged file
        raise _fault(error) from error


def mapped_array(path: Path) -> NDArray[Any]:
    """The array of an .npy file, left on the disk.

    Raises:
        OSError: if there is no file.
        ValueError: as :func:`plain_arrays`, and if it holds several arrays.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ValueError("holds several arrays, expected one")
    try:
        with np.errstate(over="raise"):
            return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:
        raise _fault(error) from error


class _Refused(Exception):
    """Why a file is not read, as the rest of a sentence."""


def _fault(error: Exception) -> ValueError:
    pickled = "allow_pickle" in str(error) or "Python objects" in str(error)
    return ValueError("holds pickled objects, which are not opened" if pickled else DAMAGED)


def _sound(array: Any) -> NDArray[Any]:
    """The array, whose text is text.

    Raises:
        Exception: of any kind, if it is none.
    """
    if not isinstance(array, np.ndarray):
        raise _Refused("holds a file that is no array")
    if array.dtype.kind not in KINDS:
        raise _Refused(f"holds {array.dtype} values, expected numbers or text")
    if array.dtype.kind == "U":
        codes = np.frombuffer(array.tobytes(), array.dtype.byteorder + "u4")
        if ((codes > 0x10FFFF) | (codes >> 11 == 0xD800 >> 11)).any():
            raise _Refused(DAMAGED)
    return array


def _refuse_bomb(archive: Any) -> None:
    assert isinstance(archive, ZipFile)
    members = archive.infolist()
    packed, size = sum(m.compress_size for m in members), sum(m.file_size for m in members)
    if size > max(ROOM, MOST * packed):
        raise _Refused(f"unpacks to {size >> 20:,} MB, {MOST} times its size and more")
