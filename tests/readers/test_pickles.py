import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.readers.pickles import pickled_numbers, read_byte_array

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_protocol(tmp_path, protocol, order):
    path = tmp_path / "090.pkl"
    path.write_bytes(pickle.dumps(np.array(FRAMES, order=order), protocol))
    np.testing.assert_array_equal(read_byte_array(path), FRAMES)
    path.write_bytes(pickle.dumps(FRAMES > 9, protocol))
    np.testing.assert_array_equal(read_byte_array(path), FRAMES > 9)


def test_names_of_older_numpy(tmp_path):
    path = tmp_path / "090.pkl"
    path.write_bytes(pickle.dumps(FRAMES, 2).replace(b"numpy._core.", b"numpy.core."))
    np.testing.assert_array_equal(read_byte_array(path), FRAMES)


def test_anything_else_is_refused_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "090.pkl"
    whole = pickle.dumps(FRAMES, 4)
    for content, why in (
        (pickle.dumps(Hostile()), "it asks for .*mkdir"),
        (pickle.dumps(FRAMES.astype(np.float32)), "its values are f4, not bytes"),
        (pickle.dumps(np.array([None], dtype=object)), "its values are O8?, not bytes"),
        (pickle.dumps([1, 2]), "it holds no array"),
        (whole[:-9], "."),
        (b"", "."),
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "memo is larger"),
        (whole.replace(b"K\x03K\x04K\x05", b"K\x03K\x04K\x06"), "does not fit"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=why):
            read_byte_array(path)
    assert [file.name for file in tmp_path.iterdir()] == ["090.pkl"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["<f8", ">f4", "<f2", ">i2", "u1"])
def test_numbers_of_every_kind_and_order(protocol, kind):
    poses = np.asfortranarray(FRAMES.astype(kind))
    found = pickled_numbers(pickle.dumps(poses, protocol))
    assert found.dtype == np.dtype(kind).newbyteorder("=")
    np.testing.assert_array_equal(found, poses)


@pytest.mark.parametrize("content", [Hostile(), [1.0], np.array([None]), FRAMES.astype("c8")])
def test_what_is_no_array_of_numbers_is_refused(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is no pickled array of numbers"):
        pickled_numbers(pickle.dumps(content))
    assert not [*tmp_path.iterdir()]


BUFFER = b"\x80\x04cnumpy.core.numeric\n_frombuffer\n"
TYPE = b"cnumpy\ndtype\n(\x8c\x02u1tR"
END = b")\x8c\x01CtR."
TEXT = b"(X\xe8\x03\0\0" + b"a" * 1000 + b"\x94\x8c\x06latin1\x940"

PROGRAMS = {
    # of 2^40 bytes(...) would make as many zeros
    BUFFER + b"(\x8a\x06\0\0\0\0\0\x01" + TYPE + END: "its buffer is none",
    # the same text again and again
    b"\x80\x04" + TEXT + b"c_codecs\nencode\nh\0h\1\x86R" * 9 + b"t.": "in an unknown way",
    # a type whose name is forty pairs of pairs, 2^40 characters if it were printed
    BUFFER + b"(C\0cnumpy\ndtype\n(\x8c\x01a" + b"2\x86" * 40 + b"tR" + END: "are objects",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_small_pickle_becomes_nothing_large(program: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(program)
    with pytest.raises(InputError, match=PROGRAMS[program]):
        read_byte_array(tmp_path / "a.pkl")
