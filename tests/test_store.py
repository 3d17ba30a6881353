import dataclasses
import errno
import json
import logging
import multiprocessing
import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gaitbench import store as module
from gaitbench.errors import InputError
from gaitbench.store import (
    SequenceStore,
    StoreInfo,
    StoreWriter,
    cached_store,
    fingerprint,
    store_at,
)

INFO = StoreInfo("walkers", "pose", "coco17", "pixels, confidence")
PRINT = "0123456789abcdef" * 4
LENGTHS = (3, 5, 2)


def table(lengths=LENGTHS) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "start": np.cumsum([0, *lengths[:-1]]),
            "length": lengths,
            "subject": [f"{i:03d}" for i in range(len(lengths))],
            "condition": "nm",
            "number": 1,
            "view": 90,
        }
    )


def some_frames(shape=(17, 3), dtype=np.float32):
    generator = np.random.default_rng(0)
    return generator.integers(-100, 100, (sum(LENGTHS), *shape)).astype(dtype)


def build(writer: StoreWriter) -> None:
    frames = some_frames()
    writer.append(frames[:4])
    writer.append(frames[4:])
    writer.finish(table())


def refuse(writer: StoreWriter) -> None:
    pytest.fail("built although there is a store")


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((17, 3), np.float32),
        ((17, 3), np.float16),
        ((64, 44), np.uint8),
        ((8, 6, 2), np.int8),
        ((4, 1), bool),
        ((), np.float64),
    ],
)
def test_store_returns_what_was_appended(tmp_path, shape, dtype):
    frames = some_frames(shape, dtype)

    def write(writer: StoreWriter) -> None:
        for begin in range(0, len(frames), 4):
            writer.append(frames[begin : begin + 4])
        writer.finish(table())

    store = cached_store(tmp_path, "walkers", PRINT, write, INFO)
    np.testing.assert_array_equal(store.frames, frames)
    assert store.frames.dtype == dtype
    assert not store.frames.flags.writeable
    pd.testing.assert_frame_equal(store.sequences, table(), check_dtype=False)
    assert store.info == INFO
    assert store.fingerprint == PRINT
    assert len(store) == 3
    assert store.path == tmp_path / f"walkers-{PRINT[:16]}"


def test_settings_are_kept_and_older_stores_have_none(tmp_path):
    chosen = dataclasses.replace(INFO, settings={"person": "first", "sizes": [1, 2]})
    store = cached_store(tmp_path, "walkers", PRINT, build, chosen)
    assert store.info == SequenceStore.open(store.path).info == chosen
    written = json.loads((store.path / "store.json").read_text())
    assert written["settings"] == chosen.settings
    del written["settings"]
    (store.path / "store.json").write_text(json.dumps(written))
    assert SequenceStore.open(store.path).info == INFO
    assert INFO.settings == {}


def test_frames_are_plain_numpy(tmp_path):
    store = cached_store(tmp_path, "walkers", PRINT, build, INFO)
    np.testing.assert_array_equal(np.load(store.path / "frames.npy"), some_frames())


def several() -> dict[str, np.ndarray]:
    """Three arrays of the same frames."""
    gray = some_frames((6, 8), np.uint8)
    return {"gray": gray, "flow": some_frames((6, 8, 2), np.int16), "boxes": gray[:, 0, :4]}


def write_several(writer: StoreWriter) -> None:
    for rows in (slice(0, 4), slice(4, None)):
        writer.append({name: array[rows] for name, array in several().items()})
    writer.finish(table())


def test_several_arrays_of_the_same_frames(tmp_path):
    store = cached_store(tmp_path, "walkers", PRINT, write_several, INFO)
    assert sorted(path.name for path in store.path.iterdir()) == [
        "boxes.npy",
        "flow.npy",
        "gray.npy",
        "sequences.arrow",
        "store.json",
    ]
    assert [*store.arrays] == ["gray", "flow", "boxes"]
    assert store.frames is store.arrays["gray"]
    rows, windows = np.array([2, 1]), np.array([[0, 1, 0], [4, 0, 2]])
    for name, array in several().items():
        np.testing.assert_array_equal(store.arrays[name], array)
        gathered = store.gather(rows, windows, name)
        np.testing.assert_array_equal(gathered[1], array[[3 + 4, 3, 3 + 2]])
        assert gathered.dtype == array.dtype
    np.testing.assert_array_equal(store.gather(rows, windows), store.gather(rows, windows, "gray"))
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.arrays["flow"], several()["flow"])


def test_several_arrays_in_another_order(tmp_path):
    order = np.random.default_rng(1).permutation(sum(LENGTHS))

    def write(writer: StoreWriter) -> None:
        writer.append(several())
        writer.finish(table(), order)

    store = cached_store(tmp_path, "walkers", PRINT, write, INFO)
    for name, array in several().items():
        np.testing.assert_array_equal(store.arrays[name], array[order])


def test_one_of_several_arrays_is_damaged(tmp_path):
    store = cached_store(tmp_path, "walkers", PRINT, write_several, INFO)
    content = (store.path / "flow.npy").read_bytes()
    (store.path / "flow.npy").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"flow\.npy is missing or truncated"):
        SequenceStore.open(store.path)


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        ({"gray": some_frames((2,)), "flow": some_frames((2,))[1:]}, "have \\[9, 10\\] of them"),
        ({"gray": some_frames((2,))}, "expected arrays"),
        ({"gray": some_frames((2,)), "flow": some_frames((3,))}, "expected flow of shape"),
        (some_frames((2,)), "expected arrays"),
    ],
)
def test_arrays_that_do_not_go_together(tmp_path, frames, fault):
    writer = StoreWriter(tmp_path)
    writer.append({"gray": some_frames((2,)), "flow": some_frames((2,))})
    with pytest.raises(ValueError, match=fault):
        writer.append(frames)
    writer.close()
    with pytest.raises(ValueError, match="cannot name an array"):
        StoreWriter(tmp_path).append({"../a": some_frames()})


def test_a_store_in_a_place_of_choice(tmp_path, caplog):
    place = tmp_path / "mine"
    store = store_at(place, PRINT, build, INFO)
    assert store.path == place
    assert len(store_at(place, PRINT, refuse, INFO)) == 3
    other = store_at(place, PRINT[::-1], write_several, INFO)
    assert [*other.arrays] == ["gray", "flow", "boxes"]
    assert left(tmp_path) == ["mine"]
    with pytest.raises(InputError, match="mine is there and holds something else"):
        store_at(place, PRINT, refuse, dataclasses.replace(INFO, dataset="else"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is there and holds something else"):
        store_at(tmp_path / "file", PRINT, refuse, INFO)


def test_order_permutes_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)  # several steps
    frames = some_frames()
    order = np.random.default_rng(1).permutation(len(frames))

    def write(writer: StoreWriter) -> None:
        writer.append(frames)
        writer.finish(table(), order)

    store = cached_store(tmp_path, "walkers", PRINT, write, INFO)
    np.testing.assert_array_equal(store.frames, frames[order])
    assert sorted(path.name for path in store.path.iterdir()) == [
        "frames.npy",
        "sequences.arrow",
        "store.json",
    ]


def test_gather_equals_loop(tmp_path):
    store = cached_store(tmp_path, "walkers", PRINT, build, INFO)
    rows = np.array([2, 0, 1, 1])
    windows = np.array([[0, 1, 0], [2, 2, 0], [4, 3, 2], [0, 0, 0]])
    gathered = store.gather(rows, windows)
    frames, starts = some_frames(), (0, 3, 8)
    for b, row in enumerate(rows):
        for t in range(3):
            np.testing.assert_array_equal(gathered[b, t], frames[starts[row] + windows[b, t]])
    assert gathered.flags.c_contiguous
    assert gathered.flags.writeable
    assert type(gathered) is np.ndarray


@pytest.mark.parametrize("frame", [-1, 2])
def test_gather_refuses_frames_of_a_neighbour(tmp_path, frame):
    store = cached_store(tmp_path, "walkers", PRINT, build, INFO)
    with pytest.raises(IndexError):
        store.gather(np.array([2]), np.array([[0, frame]]))


def test_pickle_holds_the_path_only(tmp_path):
    store = cached_store(tmp_path, "walkers", PRINT, build, INFO)
    pickled = pickle.dumps(store)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).frames, store.frames)


def test_second_call_opens(tmp_path):
    cached_store(tmp_path, "walkers", PRINT, build, INFO)
    store = cached_store(tmp_path, "walkers", PRINT, refuse, INFO)
    assert len(store) == 3


def slow_build(writer: StoreWriter) -> None:
    with (writer.path.parent / "builds.txt").open("a") as file:
        file.write("built\n")
    time.sleep(0.3)
    build(writer)


def ask(cache: Path) -> None:
    cached_store(cache, "walkers", PRINT, slow_build, INFO)


def test_two_processes_build_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=ask, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "builds.txt").read_text() == "built\n"


def die(cache: Path) -> None:
    def write(writer: StoreWriter) -> None:
        writer.append(some_frames())
        os._exit(3)

    cached_store(cache, "walkers", PRINT, write, INFO)


def test_a_builder_that_died_is_cleaned_up(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 3
    assert left(tmp_path) == [".walkers.partial"]
    cached_store(tmp_path, "walkers", PRINT, build, INFO)
    assert left(tmp_path) == [f"walkers-{PRINT[:16]}"]


def test_a_changed_source_replaces_its_store_and_no_other(tmp_path):
    cache, other = tmp_path / "cache", "f" * 64
    for name in ("walkers", "walkers-3d"):
        cached_store(cache, name, PRINT, build, INFO, source=tmp_path / "a.csv")
    cached_store(cache, "walkers", "e" * 64, build, INFO, source=tmp_path / "b.csv")
    cached_store(cache, "walkers", other, build, INFO, source=tmp_path / "a.csv")
    assert left(cache) == [
        f"walkers-3d-{PRINT[:16]}",
        f"walkers-{'e' * 16}",
        f"walkers-{other[:16]}",
    ]
    cached_store(cache, "walkers", "d" * 64, build, INFO)
    assert left(cache) == [f"walkers-3d-{PRINT[:16]}", f"walkers-{'d' * 16}"]


def cut(path: Path, size: int = -10) -> None:
    path.write_bytes(path.read_bytes()[:size])


def longer(path: Path) -> None:
    import pyarrow as pa

    sequences = pa.Table.from_pandas(table((3, 5, 9)), preserve_index=False)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, sequences.schema) as writer:
        writer.write_table(sequences)


def rewrite(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGES = {
    "frames cut": lambda p: cut(p / "frames.npy"),
    "frames empty": lambda p: cut(p / "frames.npy", 0),
    "frames header only": lambda p: cut(p / "frames.npy", 128),
    "frames gone": lambda p: (p / "frames.npy").unlink(),
    "frames of another shape": lambda p: np.save(p / "frames.npy", some_frames((18, 3))),
    "frames of another type": lambda p: np.save(p / "frames.npy", some_frames(dtype=np.float64)),
    "frames pickled": lambda p: np.save(
        p / "frames.npy", np.array([{}], dtype=object), allow_pickle=True
    ),
    "frames foreign": lambda p: (p / "frames.npy").write_bytes(b"hello"),
    "table cut": lambda p: cut(p / "sequences.arrow"),
    "table gone": lambda p: (p / "sequences.arrow").unlink(),
    "table foreign": lambda p: (p / "sequences.arrow").write_bytes(b"hello"),
    "table of another store": lambda p: rewrite(p / "store.json", num_sequences=4),
    "table beyond the frames": lambda p: longer(p / "sequences.arrow"),
    "json cut": lambda p: cut(p / "store.json"),
    "json gone": lambda p: (p / "store.json").unlink(),
    "json foreign": lambda p: (p / "store.json").write_text("[1]"),
    "json without dataset": lambda p: (p / "store.json").write_text(
        json.dumps({"format": "gaitbench store", "version": module.FORMAT_VERSION})
    ),
    "json of another program": lambda p: rewrite(p / "store.json", format="x"),
    "other version": lambda p: rewrite(p / "store.json", version=99),
    "other source, same folder": lambda p: rewrite(p / "store.json", fingerprint="x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_named_and_built_again(tmp_path, caplog, damage):
    path = cached_store(tmp_path, "walkers", PRINT, build, INFO).path
    DAMAGES[damage](path)
    if damage != "other source, same folder":
        with pytest.raises(InputError, match=f"{path.name} cannot be used: .*rebuild"):
            SequenceStore.open(path)
    with caplog.at_level(logging.WARNING):
        store = cached_store(tmp_path, "walkers", PRINT, build, INFO)
    np.testing.assert_array_equal(store.frames, some_frames())
    (record,) = caplog.records
    assert path.name in record.getMessage()
    assert "\n" not in record.getMessage()
    assert left(tmp_path) == [path.name]


def test_a_file_in_the_place_of_the_store(tmp_path):
    (tmp_path / f"walkers-{PRINT[:16]}").write_text("hello")
    assert len(cached_store(tmp_path, "walkers", PRINT, build, INFO)) == 3


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data) -> int:
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 500, 1500, 2200])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, room, ordered):
    opened = Path.open

    def open_full(self, mode="r", *args, **kwargs):
        file = opened(self, mode, *args, **kwargs)
        return FullDisk(file, room) if "w" in mode else file

    def write(writer: StoreWriter) -> None:
        writer.append(some_frames()[:4])
        writer.append(some_frames()[4:])
        writer.finish(table(), np.arange(10)[::-1] if ordered else None)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(InputError, match=r"cannot be written below .*No space left") as raised:
        cached_store(tmp_path, "walkers", PRINT, write, INFO)
    assert str(tmp_path) in str(raised.value)
    assert left(tmp_path) == []


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written below .*--data.cache"):
        cached_store(tmp_path / "file" / "cache", "walkers", PRINT, build, INFO)


def test_a_store_opens_from_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    cached_store(tmp_path, "walkers", PRINT, build, INFO)

    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr("filelock.FileLock.acquire", denied)
    cached_store(tmp_path, "walkers", PRINT, refuse, INFO)
    with pytest.raises(InputError, match="denied"):
        cached_store(tmp_path, "walkers", "f" * 64, build, INFO)


def test_an_error_while_building_leaves_nothing(tmp_path):
    def write(writer: StoreWriter) -> None:
        writer.append(some_frames())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_store(tmp_path, "walkers", PRINT, write, INFO)
    assert left(tmp_path) == []


def test_builders_that_forget_something(tmp_path):
    def nothing(writer: StoreWriter) -> None:
        pass

    def two_shapes(writer: StoreWriter) -> None:
        writer.append(some_frames())
        writer.append(some_frames((18, 3)))

    def objects(writer: StoreWriter) -> None:
        writer.append(np.array([{}], dtype=object))

    def another_table(writer: StoreWriter) -> None:
        writer.append(some_frames())
        writer.finish(table((3, 5, 3)))

    def another_order(writer: StoreWriter) -> None:
        writer.append(some_frames())
        writer.finish(table(), np.arange(9))

    for write, message in (
        (another_table, "beyond the 10"),
        (another_order, "9 entries for 10"),
        (nothing, "finish"),
        (lambda writer: writer.finish(table()), "at least one frame"),
        (two_shapes, r"expected frames of shape \(17, 3\)"),
        (objects, "numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            cached_store(tmp_path, "walkers", PRINT, write, INFO)
        assert left(tmp_path) == []


def test_fingerprint(tmp_path):
    source = tmp_path / "poses.csv"
    text = bytearray(np.random.default_rng(0).bytes(1 << 21))
    source.write_bytes(text)
    os.utime(source, ns=(10**18, 10**18))
    first = fingerprint([source], reader=1)
    assert first == fingerprint([source], reader=1)
    assert len(first) == 64

    copy = tmp_path / "copy" / "poses.csv"
    copy.parent.mkdir()
    shutil.copy2(source, copy)
    assert fingerprint([copy], reader=1) == first  # a moved dataset is the same

    seen = {first, fingerprint([source], reader=2), fingerprint([source, copy], reader=1)}
    os.utime(source, ns=(10**18, 10**18 + 1))
    seen.add(fingerprint([source], reader=1))
    for place in (0, -1):  # same size and time, other content
        text[place] ^= 1
        source.write_bytes(text)
        os.utime(source, ns=(10**18, 10**18))
        seen.add(fingerprint([source], reader=1))
    source.write_bytes(text[:-1])
    os.utime(source, ns=(10**18, 10**18))
    seen.add(fingerprint([source], reader=1))
    assert len(seen) == 7
    with pytest.raises(InputError, match=r"gone\.csv cannot be read"):
        fingerprint([tmp_path / "gone.csv"])


NAMED = {"frame_shape": [17, 3], "dtype": "<f4"}


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": {"../outside": NAMED}},
        {"arrays": {}},
        {"arrays": {"/frames": NAMED}},
        {"num_frames": 1e999},
        {"dtype": "(" * 50},
        {"dtype": "04<f4"},
        {"frame_shape": [[1]]},
        {"settings": None, "dtype": [1]},
    ],
)
def test_descriptions_of_strangers(change: dict[str, Any], tmp_path: Path) -> None:
    store = _small(tmp_path)
    told = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps(told | change))
    with pytest.raises(InputError, match="cannot be used"):
        SequenceStore.open(store)


def test_a_description_without_end(tmp_path: Path) -> None:
    store = _small(tmp_path)
    (store / "store.json").write_bytes(b"[" * 100_000)
    with pytest.raises(InputError, match="is not JSON"):
        SequenceStore.open(store)


def test_a_table_whose_sum_is_beyond_all_numbers(tmp_path: Path) -> None:
    """2^62 and as many more would be less than nothing."""
    store = _small(tmp_path)
    table = pd.DataFrame({"start": [1 << 62], "length": [1 << 62]})
    with pa.ipc.new_file(store / "sequences.arrow", pa.Schema.from_pandas(table)) as file:
        file.write_table(pa.Table.from_pandas(table))
    told = json.loads((store / "store.json").read_text()) | {"num_sequences": 1}
    del told["table_crc32"]
    (store / "store.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="names frames that are not there"):
        SequenceStore.open(store)


def _small(folder: Path) -> Path:
    def build(writer: StoreWriter) -> None:
        writer.append(np.ones((3, 17, 3), np.float32))
        writer.finish(pd.DataFrame({"start": [0], "length": [3], "subject": ["a"]}))

    info = StoreInfo("x", "pose", "coco17", "pixels")
    return cached_store(folder, "x", "0" * 64, build, info).path
