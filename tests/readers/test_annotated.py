import csv
import io
import logging
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench.errors import InputError
from gaitbench.readers import annotated as reader
from gaitbench.readers.annotated import (
    SKIPPED,
    Annotated,
    annotated_fingerprint,
    find_annotated,
    read_annotated,
    read_annotations,
)
from gaitbench.store import SequenceStore, StoreInfo, cached_store

CSV = "set-1.0/annotations.csv"
COLUMNS = {"track_id": "subject", "run": "integer", "No hat": "probability"}
HEADER = ["extra", "file_name", "No hat", "track_id", "run"]
LENGTHS = (7, 1, 4, 12, 3)


def poses(seed: int, length: int, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((length, 18, 3)).astype(dtype)


def npy(array: object, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version, allow_pickle=True)
    return file.getvalue()


def write(root: Path, rows: list[list[object]], files: dict[str, bytes]) -> Path:
    """A set of that table, and of those files below ``root``."""
    place = root / CSV
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return place


def small(root: Path, prefix: str = "set-1.0/") -> list[list[object]]:
    """Five sequences in no order of names; returns the rows of the table."""
    names = [f"poses/{name}.npy" for name in ("00030", "00007", "00100", "00002", "00050")]
    rows = [["x", prefix + n, 0.25 * i, 30 - i, i % 2] for i, n in enumerate(names)]
    contents = [npy(poses(i, length)) for i, length in enumerate(LENGTHS)]
    write(root, rows, {f"set-1.0/{n}": c for n, c in zip(names, contents, strict=True)})
    return rows


def found(path: Path) -> Annotated:
    return find_annotated(path, CSV, COLUMNS, upwards=False)


def to_table(annotations: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "subject": annotations["track_id"],
            "condition": "walk",
            "number": annotations["run"],
            "view": 0,
            "No hat": annotations["No hat"],
        }
    )


def read(data: Annotated, cache: Path, on_error: str = "raise", table=to_table) -> SequenceStore:
    return cached_store(
        cache,
        "small",
        annotated_fingerprint(data, on_error=on_error),
        lambda writer: read_annotated(data, table, on_error, writer, cache / ".small.parts"),
        StoreInfo("small", "pose", "openpose18", data.units),
    )


def frames(store: SequenceStore, row: int) -> np.ndarray:
    start, length = store.sequences.loc[row, ["start", "length"]]
    return store.frames[start : start + length]


@pytest.mark.parametrize("prefix", ["set-1.0/", "root/set-1.0/", "", "{}/root/set-1.0/"])
@pytest.mark.parametrize("named", ["", "set-1.0", CSV])
def test_both_path_conventions_and_every_way_to_name_the_set(tmp_path, prefix, named):
    root = tmp_path / "root"
    rows = small(root, prefix.format(tmp_path))
    store = read(found(root / named), tmp_path / "cache")
    assert list(store.sequences["length"]) == list(LENGTHS)
    for i in range(len(rows)):
        np.testing.assert_array_equal(frames(store, i), poses(i, LENGTHS[i]))


def test_the_dataset_s_folder_is_looked_in_before_its_parent(tmp_path):
    small(tmp_path / "root")
    shutil.copytree(tmp_path / "root" / "set-1.0", tmp_path / "set-1.0")
    other = tmp_path / "set-1.0/poses/00030.npy"
    other.write_bytes(npy(poses(9, 9)))
    data = found(tmp_path / "root")
    assert data.roots == (tmp_path / "root", tmp_path, tmp_path / "root/set-1.0")
    assert read(data, tmp_path / "cache").sequences["length"][0] == LENGTHS[0]


def test_a_deeper_table(tmp_path):
    """FVG's, three folders down; file names may count from each of them."""
    small(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "root/a")
    for path in (tmp_path / "root", tmp_path / "root/a", tmp_path / "root/a/set-1.0"):
        data = find_annotated(path, f"a/{CSV}", COLUMNS, upwards=True)
        assert data.annotations == tmp_path / "root/a" / CSV
        folders = ("root", "", "root/a/set-1.0", "root/a")
        assert data.roots == tuple(tmp_path / folder for folder in folders)
        assert read(data, tmp_path / "cache").sequences["length"].sum() == sum(LENGTHS)


def test_no_table(tmp_path):
    with pytest.raises(InputError, match=r"holds no set-1.0/annotations.csv; name the dataset's"):
        found(tmp_path)


def test_the_table_is_the_csv_s_in_its_order(tmp_path):
    rows = small(tmp_path)
    store = read(found(tmp_path), tmp_path / "cache")
    table = store.sequences
    assert list(table["subject"]) == [str(row[3]) for row in rows]
    assert list(table["number"]) == [row[4] for row in rows]
    assert table["No hat"].dtype == np.float32
    assert list(table["No hat"]) == [row[2] for row in rows]
    assert list(table["line"]) == [2, 3, 4, 5, 6]
    assert list(table["start"]) == [0, 7, 8, 12, 24]
    assert store.frames.dtype == np.float32
    assert store.info.units == "normalised, y down, confidence"
    assert {path.name for path in store.path.iterdir()} == {
        "frames.npy", "sequences.arrow", "store.json",
    }  # fmt: skip
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left <= {store.path.name, ".small.lock"}


def test_units_tell_where_y_grows(tmp_path):
    small(tmp_path)
    assert find_annotated(tmp_path, CSV, COLUMNS, upwards=True).units.startswith("normalised, y up")


def test_no_python_object_a_row(tmp_path):
    rows = [["", f"poses/{i}.npy", 0.5, i, 1] for i in range(8192)]
    write(tmp_path, rows, {})
    data = found(tmp_path)
    read_annotations(data)  # imports, and fills caches
    before = sys.getallocatedblocks()
    table = read_annotations(data)
    columns = {name: table[name] for name in ("line", "track_id", "No hat")}
    parts = list(reader._parts(table["file_name"], columns, ("/nowhere",), "skip"))
    assert sys.getallocatedblocks() - before < len(rows) / 8
    assert sum(len(part.columns["line"]) for _, part in parts) == len(table) == len(rows)


def test_rows_that_get_lost(tmp_path):
    small(tmp_path)
    with pytest.raises(ValueError, match="5 rows became 4"):
        read(found(tmp_path), tmp_path / "cache", table=lambda rows: to_table(rows)[1:])


@pytest.mark.parametrize("kind", ["f2", "f8", ">f4", "fortran", "version 2"])
def test_any_float_in_any_order(tmp_path, kind):
    values = poses(3, 5, kind if kind[-1] in "248" and " " not in kind else "f4")
    stored = np.asfortranarray(values) if kind == "fortran" else values
    content = npy(stored, (2, 0) if kind == "version 2" else None)
    write(tmp_path, [["", "a.npy", 1, "p", 1]], {"a.npy": content})
    store = read(found(tmp_path), tmp_path / "cache")
    np.testing.assert_array_equal(store.frames, values.astype("f4"))


def test_parts_make_no_difference(tmp_path, monkeypatch):
    small(tmp_path)
    store = read(found(tmp_path), tmp_path / "one")
    monkeypatch.setattr(reader, "SEQUENCES", 2)
    again = read(found(tmp_path), tmp_path / "two")
    np.testing.assert_array_equal(again.frames, store.frames)
    assert again.sequences.equals(store.sequences)


def with_value(value: float, dtype: str = "f4") -> np.ndarray:
    values = poses(0, 4, dtype)
    values[2, 17, 1] = value
    return values


BAD = {
    "missing": (None, "is not there, neither below "),
    "a folder": ("folder", "cannot be read (Is a directory)"),
    "empty": (b"", "is an empty file"),
    "text": (b"0.1,0.2", "is no .npy file"),
    "npz": (b"PK\x03\x04", "is no .npy file"),
    "no header": (b"\x93NUMPY\x01\x00\xff\x00{", "has a damaged .npy header"),
    "foreign header": (b"\x93NUMPY\x01\x00\x04\x00abc\n", "has a damaged .npy header"),
    "cut in the magic": (b"\x93NUMPY", "has a damaged .npy header"),
    "unknown version": (b"\x93NUMPY\x09" + npy(poses(0, 2))[7:], "has a damaged .npy header"),
    "truncated": (npy(poses(0, 4))[:-1], "is truncated"),
    "pickled": (npy(np.array([{}, None], object)), "holds pickled objects, which are not opened"),
    "integers": (npy(np.ones((4, 18, 3), "i4")), "holds int32 values, expected floating point"),
    "COCO": (npy(np.ones((4, 17, 3), "f4")), "has shape (4, 17, 3), expected (T, 18, 3)"),
    "flat": (npy(np.ones((4, 54), "f4")), "has shape (4, 54), expected (T, 18, 3)"),
    "transposed": (npy(np.ones((3, 4, 18), "f4")), "has shape (3, 4, 18), expected (T, 18, 3)"),
    "a scalar": (npy(np.float32(1)), "has shape (), expected (T, 18, 3)"),
    "no frames": (npy(np.ones((0, 18, 3), "f4")), "has no frames"),
    "NaN": (npy(with_value(np.nan)), "has nan as y of joint 17 in frame 2 (from 0)"),
    "infinite": (npy(with_value(-np.inf)), "has -inf as y of joint 17 in frame 2 (from 0)"),
    "too large": (npy(with_value(1e39, "f8")), "has inf as y of joint 17 in frame 2 (from 0)"),
}


def spoil(path: Path, content: bytes | str | None) -> None:
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_stops_or_is_left_out(tmp_path, case, caplog):
    content, expected = BAD[case]
    rows = small(tmp_path)
    spoil(tmp_path / str(rows[2][1]), content)
    spoil(tmp_path / str(rows[4][1]), b"bad, too")
    data = found(tmp_path)
    with pytest.raises(InputError) as error:
        read(data, tmp_path / "cache")
    sentence = str(error.value)
    assert sentence.startswith(f"{data.annotations} line 4: {rows[2][1]} {expected}")
    assert sentence.endswith("or leave such files out with --data.on_error skip")
    assert "\n" not in sentence

    with caplog.at_level(logging.WARNING):
        store = read(data, tmp_path / "cache", "skip")
    assert list(store.sequences["line"]) == [2, 3, 5]
    for row, i in enumerate((0, 1, 3)):
        np.testing.assert_array_equal(frames(store, row), poses(i, LENGTHS[i]))
    listed = pd.read_csv(store.path / SKIPPED)
    assert list(listed) == ["line", "file_name", "reason"]
    assert list(listed["line"]) == [4, 6]
    assert list(listed["file_name"]) == [rows[2][1], rows[4][1]]
    assert listed["reason"][0].startswith(expected)
    assert listed["reason"][1] == "is no .npy file"
    assert "left out 2 of 5 sequences, listed in skipped.csv; the first, line 4" in caplog.text


def test_nothing_is_left(tmp_path):
    write(tmp_path, [["", "a.npy", 1, "p", 1]], {})
    with pytest.raises(InputError, match="there is no frame to read"):
        read(found(tmp_path), tmp_path / "cache", "skip")
    assert not list((tmp_path / "cache").glob("small-*"))


SOUND = "x,set-1.0/poses/a.npy,0.5,7,1\n"
HEAD = ",".join(HEADER) + "\n"
TABLES = {
    "empty": ("", "is empty; copy it again"),
    "blank": ("\n\n", "is empty; copy it again"),
    "no row": (HEAD, "has no row below its header"),
    "no file names": (
        HEAD.replace("file_n", "n") + SOUND,
        "line 1: there is no column 'file_name'",
    ),
    "a column is absent": ("file_name,track_id,run\na,b,1\n", "no column 'No hat' among 3; give"),
    "another spelling": (
        HEAD.replace("No hat", "Nohat") + SOUND,
        "line 1: there is no column 'No hat' among 5 (is it the unknown 'Nohat'?)",
    ),
    "twice": (HEAD.replace("extra", "run") + SOUND, "line 1: the column 'run' comes 2 times"),
    "above 1": (
        HEAD + SOUND + SOUND.replace("0.5", "1.5"),
        "line 3: No hat is '1.5', expected a n",
    ),
    "below 0": (HEAD + SOUND.replace("0.5", "-0.1"), "line 2: No hat is '-0.1', expected a number"),
    "NaN": (
        HEAD + SOUND.replace("0.5", "nan"),
        "line 2: No hat is 'nan', expected a number from 0",
    ),
    "no number": (HEAD + SOUND * 2 + SOUND.replace("0.5", "x"), "line 4: No hat is 'x', expected"),
    "blank value": (HEAD + "\n" + SOUND.replace("0.5", ""), "line 3: No hat is '', expected a num"),
    "no subject": (HEAD + SOUND.replace("7", " "), "line 2: track_id is ' ', expected a name or"),
    "no file": (HEAD + SOUND + "x,,0.5,7,1\n", "line 3: file_name is '', expected some text"),
    "no whole number": (
        HEAD + SOUND.replace("7,1", "7,1.5"),
        "line 2: run is '1.5', expected a wh",
    ),
    "too few values": (HEAD + SOUND + "x,y,0.5\n", "line 3 has 3 values, expected 5 as in line 1"),
    "too many values": (HEAD + SOUND.replace("x,", "x,,"), "line 2 has 6 values, expected 5 as in"),
    "several lines": (
        HEAD + SOUND.replace("7", '"a\nb"'),
        "line 3: track_id is 'a\\nb', expected a name",
    ),
    "several lines elsewhere": (HEAD + SOUND.replace("x", '"a\nb"'), "a value has several lines"),
    "not text": (HEAD.encode() + b"\xff,\xfe,0,1,1\n", "cannot be read"),
    "binary": (npy(poses(0, 2)), "cannot be read"),
}


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_always_stops(tmp_path, case, on_error):
    content, expected = TABLES[case]
    place = write(tmp_path, [], {"set-1.0/poses/a.npy": npy(poses(0, 3))})
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read(found(tmp_path), tmp_path / "cache", on_error)
    assert str(error.value).startswith(str(place))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_blank_lines_a_byte_order_mark_and_quotes(tmp_path, newline):
    place = write(tmp_path, [], {"a,b.npy": npy(poses(0, 3)), "c.npy": npy(poses(1, 2))})
    lines = [HEAD.strip(), "", 'x,"a,b.npy",1,7,1', "", "", 'y,c.npy,0,"8 ""b""",-2', ""]
    place.write_bytes("\ufeff".encode() + newline.join(lines).encode())
    table = read(found(tmp_path), tmp_path / "cache").sequences
    assert list(table["line"]) == [3, 6]
    assert list(table["subject"]) == ["7", '8 "b"']
    assert list(table["number"]) == [1, -2]


def test_a_mended_file_is_all_that_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "SEQUENCES", 1)
    names = [f"poses/{i}.npy" for i in range(8)]
    rows = [["", name, 0, i, 0] for i, name in enumerate(names)]
    write(tmp_path, rows, {name: npy(poses(i, 5)) for i, name in enumerate(names)})
    (tmp_path / names[6]).write_bytes(b"bad")
    with pytest.raises(InputError, match=r"line 8: poses/6\.npy is no"):
        read(found(tmp_path), tmp_path / "cache")
    kept = list((tmp_path / "cache" / ".small.parts").glob("*.npz"))
    assert len(kept) >= 6
    (tmp_path / names[6]).write_bytes(npy(poses(6, 2)))
    # what was read is not opened again, unless its size or time tells that it changed
    first = tmp_path / names[0]
    state = first.stat()
    first.write_bytes(b"\0" * state.st_size)
    os.utime(first, ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / names[1]).write_bytes(npy(poses(77, 9)))
    store = read(found(tmp_path), tmp_path / "cache")
    assert list(store.sequences["length"]) == [5, 9, 5, 5, 5, 5, 2, 5]
    np.testing.assert_array_equal(frames(store, 0), poses(0, 5))
    np.testing.assert_array_equal(frames(store, 1), poses(77, 9))


def test_what_skipping_left_does_not_serve_a_reading_that_stops(tmp_path, monkeypatch):
    """Parts of an interrupted build that left files out are not taken for whole ones."""
    monkeypatch.setattr(reader, "SEQUENCES", 2)
    rows = small(tmp_path)
    (tmp_path / str(rows[0][1])).unlink()
    data = found(tmp_path)
    monkeypatch.setattr("gaitbench.parts._load", lambda place: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read(data, tmp_path / "cache", "skip")
    monkeypatch.undo()
    with pytest.raises(InputError, match="line 2"):
        read(data, tmp_path / "cache")


def test_the_fingerprint_notices_files_and_settings(tmp_path):
    rows = small(tmp_path)

    def key(**settings: object) -> str:
        return annotated_fingerprint(found(tmp_path), **settings)

    keys = [key(), key(on_error="raise"), key(on_error="skip")]
    keys.append(annotated_fingerprint(find_annotated(tmp_path, CSV, COLUMNS, upwards=True)))
    table = tmp_path / CSV
    os.utime(table, ns=(0, 0))  # its content counts alone
    assert key() == keys[0]
    folder = tmp_path / "set-1.0/poses"

    def changed(step: int) -> str:
        os.utime(folder, ns=(0, step))  # systems whose times are coarse
        return key()

    (folder / "other.npy").touch()
    keys.append(changed(1))
    (tmp_path / str(rows[0][1])).unlink()
    keys.append(changed(2))
    table.write_text(table.read_text().replace("0.25", "0.35"))
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_a_name_that_leaves_the_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "outside.npy", np.ones((2, 18, 3), np.float32))
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=r"leaves the dataset's folder by \.\."):
        reader._read("../outside.npy", (str(tmp_path / "set"),))
