"""Numpy files of anybody's: what is refused, and in which words."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gaitbench.arrays import mapped_array, plain_arrays


def npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=True)
    return out.getvalue()


def npz(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def headed(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + body


WHOLE = npy(np.arange(6.0).reshape(2, 3))
SHAPE = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"
FAULTS = {
    "cut": WHOLE[:-8],
    "tokens that do not end": headed("'''"),
    "brackets": headed("[" * 3000),
    "more than there is memory": headed(SHAPE.format("<f8", (1 << 40, 17, 3))),
    "more than numbers count": headed(SHAPE.format("<f8", (1 << 62, 4))),
    "negative": headed(SHAPE.format("<f8", (-1, 3)), bytes(24)),
    "a size that is none": headed(SHAPE.format("<f8", "(True, 'x')")),
    "characters that are none": headed(SHAPE.format("<U1", (1,)), b"\xff" * 4),
    "half a character": headed(SHAPE.format("<U1", (1,)), struct.pack("<I", 0xD800)),
    "zip file cut": npz({"a.npy": WHOLE})[:-30],
    "unknown packing": npz({"a.npy": WHOLE}).replace(
        b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0c\0"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files(fault: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="truncated or damaged"):
        plain_arrays(io.BytesIO(FAULTS[fault]))
    if not fault.startswith(("char", "half")):  # text is looked at where it is read
        (tmp_path / "a.npy").write_bytes(FAULTS[fault])
        with pytest.raises(ValueError, match=r"truncated or damaged|several arrays"):
            mapped_array(tmp_path / "a.npy")


@pytest.mark.parametrize("values", [np.array({}), np.array([None, 1], object)])
def test_objects(values: np.ndarray, tmp_path: Path) -> None:
    for content in (npy(values), npz({"a.npy": npy(values)})):
        with pytest.raises(ValueError, match="pickled objects, which are not opened"):
            plain_arrays(io.BytesIO(content))
    (tmp_path / "a.npy").write_bytes(npy(values))
    with pytest.raises(ValueError, match="pickled objects"):
        mapped_array(tmp_path / "a.npy")


def test_what_is_no_plain_array() -> None:
    with pytest.raises(ValueError, match="holds a file that is no array"):
        plain_arrays(io.BytesIO(npz({"a.txt": b"text"})))
    fields = np.zeros(2, [("a", "<f4"), ("b", "<U2")])
    with pytest.raises(ValueError, match="expected numbers or text"):
        plain_arrays(io.BytesIO(npy(fields)))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of zeros that is packed well, where a kilobyte is all that goes unasked."""
    packed = npz({"a.npy": npy(np.zeros(1 << 20, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert plain_arrays(io.BytesIO(packed))["a"].shape == (1 << 20,)
    monkeypatch.setattr("gaitbench.arrays.ROOM", 1024)
    with pytest.raises(ValueError, match="unpacks to 1 MB, 200 times its size and more"):
        plain_arrays(io.BytesIO(packed))


def test_whole_files(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(WHOLE)
    np.testing.assert_array_equal(mapped_array(tmp_path / "a.npy"), [[0, 1, 2], [3, 4, 5]])
    found = plain_arrays(io.BytesIO(npz({"a.npy": WHOLE, "b.npy": npy(np.array(["x"]))})))
    assert found["b"].tolist() == ["x"]
    np.testing.assert_array_equal(found["a"], plain_arrays(io.BytesIO(WHOLE)))
    (tmp_path / "a.npz").write_bytes(npz({"a.npy": WHOLE}))
    with pytest.raises(ValueError, match="several arrays"):
        mapped_array(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        mapped_array(tmp_path / "none.npy")
