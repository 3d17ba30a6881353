import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.parts import Part, read_in_parts
from gaitbench.store import SequenceStore, StoreInfo, StoreWriter, cached_store
from gaitbench.workers import PATIENCE

INFO = StoreInfo("any", "pose", None, "pixels")
FILES = ("frames.npy", "sequences.arrow", "store.json")
PARTS = 9

CHILD = """
import sys
from pathlib import Path
from tests.test_parts import build
build(Path(sys.argv[1]), dies_at=4)
"""


def read_part(log: Path, dies_at: int | None, number: int) -> Part:
    """A part of ``number % 3`` sequences, the first of them without frames where number is 5."""
    with (log / str(number)).open("a") as file:
        file.write("x")
    if number == dies_at:
        os.kill(int((log / "parent").read_text()), signal.SIGKILL)
        signal.pause()
    if (log / f"bad {number}").exists():
        raise InputError(f"part {number} is bad")
    length = np.arange(1, 1 + number % 3) - (number == 5)
    frames = np.full((length.sum(), 2, 3), number, np.float32)
    return Part(frames, {"length": length, "subject": np.full(len(length), f"{number:05d}")})


def marks(count: int = PARTS) -> list[tuple[str, int]]:
    return [(f"mark{number}", number) for number in range(count)]


def build(folder: Path, dies_at: int | None = None, count: int = PARTS) -> SequenceStore:
    log, cache = folder / "log", folder / "cache"
    log.mkdir(exist_ok=True, parents=True)
    (log / "parent").write_text(str(os.getpid()))

    def read(writer: StoreWriter) -> None:
        work = partial(read_part, log, dies_at)
        read_in_parts(writer, cache / ".any.parts", marks(count), work, "reading")

    return cached_store(cache, "any", "f" * 64, read, INFO)


def kept(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache" / ".any.parts").glob("*")}


def times_read(folder: Path) -> list[int]:
    logs = (folder / "log" / str(number) for number in range(PARTS))
    return [len(log.read_text()) if log.exists() else 0 for log in logs]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> SequenceStore:
    return build(tmp_path_factory.mktemp("unbroken"))


def same_bytes(one: SequenceStore, two: SequenceStore) -> bool:
    return all((one.path / name).read_bytes() == (two.path / name).read_bytes() for name in FILES)


def test_parts_are_joined_in_their_order(unbroken, caplog, tmp_path):
    table = unbroken.sequences
    assert list(table.columns) == ["start", "length", "subject"]
    expected = [(n, k) for n in range(PARTS) for k in range(1, 1 + n % 3)]
    expected = [(n, k - (n == 5)) for n, k in expected if k > (n == 5)]
    assert list(zip(table["subject"].astype(int), table["length"], strict=True)) == expected
    for row in table.itertuples():
        frames = unbroken.frames[row.start : row.start + row.length]
        assert frames.shape == (row.length, 2, 3)
        assert (frames == int(row.subject)).all()
    assert table["length"].sum() == len(unbroken.frames)
    with caplog.at_level(logging.INFO):
        build(tmp_path)
    assert caplog.messages == ["reading: left out 1 of 9 sequences without a frame"]
    assert not (tmp_path / "cache" / ".any.parts").exists()


def test_a_killed_build_goes_on(unbroken, tmp_path, caplog):
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    died = subprocess.run(command, cwd=Path(__file__).parents[1], check=False)
    assert died.returncode == -signal.SIGKILL
    time.sleep(3 * PATIENCE)  # until its workers have noticed
    names = {name for name in kept(tmp_path) if name.startswith("mark")}
    finished = {int(name[4:-4]) for name in names}
    assert finished
    assert 4 not in finished
    assert not (tmp_path / "cache" / "any-ffffffffffffffff").exists()
    before = times_read(tmp_path)
    with caplog.at_level(logging.INFO):
        store = build(tmp_path)
    again = np.subtract(times_read(tmp_path), before)
    assert [number for number in range(PARTS) if not again[number]] == sorted(finished)
    assert f"reading: {len(finished)} of 9 parts are there already" in caplog.messages
    assert same_bytes(store, unbroken)


def test_a_bad_part_leaves_those_before_it(unbroken, tmp_path):
    (tmp_path / "log").mkdir()
    bad = tmp_path / "log" / "bad 6"
    bad.touch()
    with pytest.raises(InputError, match=r"^part 6 is bad$"):
        build(tmp_path)
    assert kept(tmp_path) >= {f"mark{number}.npz" for number in range(6)}
    assert "mark6.npz" not in kept(tmp_path)
    bad.unlink()
    before = times_read(tmp_path)
    assert same_bytes(build(tmp_path), unbroken)
    assert not np.subtract(times_read(tmp_path), before)[:6].any()


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign", "other frames"])
def test_a_damaged_part_is_read_again(unbroken, tmp_path, caplog, damage):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "bad 8").touch()
    with pytest.raises(InputError):
        build(tmp_path)
    (tmp_path / "log" / "bad 8").unlink()
    place = tmp_path / "cache" / ".any.parts" / "mark2.npz"
    content = bytearray(place.read_bytes())
    if damage == "truncated":
        place.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        place.write_bytes(b"")
    elif damage == "flipped":
        content[content.index(np.full(6, 2, np.float32).tobytes()) + 2] ^= 1
        place.write_bytes(content)
    elif damage == "foreign":
        np.savez(place, a=np.arange(3))
    else:
        np.savez(place, frames=np.zeros((1, 2, 3), np.float32), length=np.array([1, 2]))
    before = times_read(tmp_path)
    assert same_bytes(build(tmp_path), unbroken)
    again = np.subtract(times_read(tmp_path), before)
    assert again[2] == 1
    assert not again[[0, 1, 3, 4, 5, 6, 7]].any()
    assert f"{place} is damaged; the part is read again" in caplog.messages


def test_whatever_else_is_kept_goes(tmp_path):
    keep = tmp_path / "cache" / ".any.parts"
    (keep / "folder").mkdir(parents=True)
    (keep / "folder" / "file").touch()
    (keep / "mark1000.npz").touch()
    (keep / ".mark1.77.npz").touch()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "bad 0").touch()
    with pytest.raises(InputError):
        build(tmp_path)
    assert not kept(tmp_path) & {"folder", "mark1000.npz", ".mark1.77.npz"}


def read_several(number: int) -> Part:
    length = np.array([number, 0])
    arrays = {
        "gray": np.full((number, 4), number, np.uint8),
        "flow": np.full((number, 4, 2), -number, np.int16),
    }
    return Part(arrays, {"length": length, "fault": np.array(["", f"bad {number}"])})


def test_parts_of_several_arrays(tmp_path):
    tables = []

    def read(writer: StoreWriter) -> None:
        keep = tmp_path / ".any.parts"
        tables.append(read_in_parts(writer, keep, marks(5), read_several, "reading", 1))

    store = cached_store(tmp_path, "any", "f" * 64, read, INFO)
    expected = np.repeat(np.arange(5), np.arange(5))
    np.testing.assert_array_equal(store.arrays["gray"][:, 0], expected)
    np.testing.assert_array_equal(store.arrays["flow"][:, 3, 1], -expected)
    assert store.sequences["length"].tolist() == [1, 2, 3, 4]
    (table,) = tables
    left_out = table[table["length"] == 0]
    assert left_out["fault"].tolist() == ["", *(f"bad {number}" for number in range(5))]


def test_nothing_to_read_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"^reading: there is no frame to read; "):
        build(tmp_path, count=1)


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        (Part(np.zeros((2, 3)), {"length": np.array([1])}), "do not fit"),
        (Part(np.zeros((1, 3)), {"length": np.array([1]), "view": np.array([1, 2])}), "do not fit"),
        (Part(np.array([None]), {"length": np.array([1])}), "do not fit"),
    ],
)
def test_a_malformed_part_is_the_program_s_fault(tmp_path, part, fault):
    with pytest.raises(ValueError, match=fault):
        read_in_parts(StoreWriter(tmp_path), tmp_path / "keep", [("a", 0)], lambda _: part, "")
    assert not any((tmp_path / "keep").glob("*"))


def test_two_parts_with_one_mark(tmp_path):
    parts = [("a", 0), ("a", 1)]
    with pytest.raises(ValueError, match="same mark"):
        read_in_parts(StoreWriter(tmp_path), tmp_path / "keep", parts, partial(read_part, None), "")
