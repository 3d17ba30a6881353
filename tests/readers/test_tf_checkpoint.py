"""A checkpoint that TensorFlow wrote, and what happens to damaged ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitbench.errors import InputError
from gaitbench.readers.tf_checkpoint import crc32c, read_tf_checkpoint
from tests.goldens import SGELA, golden, unpacked_folder
from tests.tf_writer import bitwise_crc32c, write_checkpoint, write_index

CHECKPOINT = unpacked_folder("tf1_checkpoint", SGELA)
NAME = "trained_model.ckpt"
DATA = f"{NAME}.data-00000-of-00001"


@pytest.mark.parametrize("name", ["", NAME, f"{NAME}.index", DATA])
def test_every_variable_is_read_by_any_name_of_the_checkpoint(name: str) -> None:
    found, wanted = read_tf_checkpoint(CHECKPOINT / name), golden("tf1_expected", SGELA)
    assert sorted(found) == wanted["names"].tolist() and len(found) == 45
    for key, value in wanted.items():
        if key.startswith("var/"):
            assert np.array_equal(found[key.removeprefix("var/")], value)
    # back to back in the order of the names, as the data file has them
    joined = b"".join(found[name].tobytes() for name in sorted(found, key=str.encode))
    assert joined == (CHECKPOINT / DATA).read_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    variables = {
        "a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.float64(0.5),
        "steps": np.array([1, -2], np.int64),
        "b": np.array([[7]], np.int32),
        "none": np.zeros((0, 3), np.float32),
        "many": np.arange(300, dtype=np.float32),
    }
    write_checkpoint(tmp_path / "model.ckpt-100", variables)
    found = read_tf_checkpoint(tmp_path / "model.ckpt-100")
    assert sorted(found) == sorted(variables)
    for name, value in variables.items():
        assert np.array_equal(found[name], value) and found[name].dtype == value.dtype


@given(st.binary(min_size=4, max_size=300))
def test_check_sum_is_the_bitwise_one(data: bytes) -> None:
    assert crc32c(data) == bitwise_crc32c(data)


def test_check_sum_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    with pytest.raises(ValueError, match="4 bytes"):
        crc32c(b"123")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for file in CHECKPOINT.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_absent_files_are_named(copy: Path, tmp_path: Path) -> None:
    (copy / DATA).unlink()
    with pytest.raises(InputError, match=r"data-00000-of-00001 does not exist.*copy it too"):
        read_tf_checkpoint(copy)
    (copy / f"{NAME}.index").unlink()
    with pytest.raises(InputError, match=r"ckpt\.index does not exist"):
        read_tf_checkpoint(copy / NAME)
    with pytest.raises(InputError, match=r"0 files \*\.index, expected one"):
        read_tf_checkpoint(copy)


def test_damaged_and_short_data_is_noticed(copy: Path) -> None:
    whole = (copy / DATA).read_bytes()
    (copy / DATA).write_bytes(whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    with pytest.raises(InputError, match="attention_layer/kernel/Adam is damaged"):
        read_tf_checkpoint(copy)
    (copy / DATA).write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"of shape \(16, 32\) should have 2048 bytes"):
        read_tf_checkpoint(copy)


INDEX = (CHECKPOINT / f"{NAME}.index").read_bytes()


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(INDEX) - 1), flip=st.integers(1, 255), cut=st.booleans())
def test_damaged_index_is_refused_in_a_sentence(
    place: int, flip: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    (folder / DATA).symlink_to(CHECKPOINT / DATA)
    changed = INDEX[:place] + (b"" if cut else bytes([INDEX[place] ^ flip]) + INDEX[place + 1 :])
    (folder / f"{NAME}.index").write_bytes(changed)
    try:
        found = read_tf_checkpoint(folder)
    except InputError as error:
        assert "\n" not in str(error) and NAME in str(error)
    else:  # what nobody reads: the table's notes and the padding of the footer
        assert len(found) == 45


def test_other_contents_are_refused(tmp_path: Path) -> None:
    header, index = (b"", b"\x08\x01"), tmp_path / "m.index"
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"abcd")
    for entries, message in (
        ([header, (b"v", b"\x08\x07")], "variable v is of TensorFlow's type 7"),
        ([(b"", b"\x08\x01\x10\x01")], "big-endian machine"),
        ([(b"", b"\x08\x02")], r"m\.data-00000-of-00002 does not exist"),
        ([header, (b"v", b"\x08\x01\x18\x05")], "damaged"),
        ([(b"v", b"\x0b")], r"damaged \(a field of unknown kind\)"),
    ):
        write_index(index, entries)
        with pytest.raises(InputError, match=message):
            read_tf_checkpoint(index)
    write_index(index, [header], compressed=1)
    with pytest.raises(InputError, match="blocks are compressed"):
        read_tf_checkpoint(index)
    index.write_bytes(b"")
    with pytest.raises(InputError, match=r"no index of a TensorFlow checkpoint, or damaged \(it d"):
        read_tf_checkpoint(index)


@pytest.mark.parametrize("message", [b"\x10\x05", b"\x08\x01\x20\x00\x2a\x01a", b"\x0a\x01a"])
def test_fields_of_another_kind(message: bytes, tmp_path: Path) -> None:
    """A number where a message should be, and the other way round; the check sums are right."""
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"")
    write_index(tmp_path / "m.index", [(b"", b"\x08\x01"), (b"v", message)])
    with pytest.raises(InputError, match=r"m\.index"):
        read_tf_checkpoint(tmp_path / "m")
