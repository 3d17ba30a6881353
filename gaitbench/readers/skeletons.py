"""Reader of your own 3D skeletons: numpy arrays or tables, a file or a folder of them.

The format is found out from the content:

* numpy, all in one: ``.npz`` of ``joints`` (F, V, 3), ``start`` and ``length`` of each sequence in
  it, and labels of each sequence;
* numpy: ``.npy`` of (T, V, 3), or ``.npz`` with such an array a sequence;
* CSV: ``sequence`` (may be absent) and ``frame``, then three columns a joint, ``head_x``,
  ``head_y``, ``head_z``; labels may be columns, too.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.parts import Part, read_in_parts
from gaitbench.readers.keypoint_files import (
    PLAIN,
    WHOLE,
    Expected,
    first_row,
    is_number,
    numpy_content,
    table_fault,
    unpacked,
)
from gaitbench.readers.keypoints import (
    Label,
    Video,
    files_below,
    in_parts,
    label_columns,
    label_of,
    read_sequence_labels,
    state_of,
    stem,
)
from gaitbench.readers.people import Numbers, Poses
from gaitbench.report import list_skipped
from gaitbench.skeleton import SKELETONS, Skeleton
from gaitbench.store import StoreWriter, fingerprint

Units = Literal["metres", "millimetres"]
Up = Literal["y", "-y", "z", "-z"]
Gaps = Literal["join", "cut"]

READER_VERSION = 1
"""Raised by one whenever :func:`read_skeletons` makes another store of the same files."""

METRES: Mapping[str, float] = MappingProxyType({"metres": 1.0, "millimetres": 0.001})
"""Units of files -> what makes metres of them."""

AXES: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = MappingProxyType(
    {
        "y": ((0, 1, 2), (1, 1, 1)),
        "-y": ((0, 1, 2), (1, -1, 1)),
        "z": ((0, 2, 1), (1, 1, 1)),
        "-z": ((0, 2, 1), (1, -1, -1)),
    }
)
"""What points up in files -> which of their axes are x, y and z of a store, and with which sign.

With y up or down, z is the distance; with z up or down the axes are right-handed, x to the right.
"""

LAYOUTS: Mapping[int, Skeleton] = MappingProxyType({s.num_joints: s for s in SKELETONS.values()})
"""The layout of joints that have no names, by their number."""

ENDINGS = (".npz", ".npy", ".csv", ".csv.gz")
FORMATS = "npz, npy or CSV of 3D joints"
JOINTS, JOINT_NAMES, ABOUT = "joints", "joint_names", ("fps",)
COORDINATE = re.compile("(.+)_([xyz])")
HUMP = re.compile("(?<=[a-z0-9])(?=[A-Z])")
SIDES = ("left", "right")
LABELS_IN_FILES = {"seq": "number"} | {name: name for name in Label._fields}
LOST = Expected("a number, or nothing where it is lost", lambda f: not f.strip() or is_number(f))
MISSING = ["", "nan", "NaN", "inf", "-inf"]  # what a table may hold where a joint was lost


class Options(NamedTuple):
    """How files are read, see :func:`read_skeletons`."""

    units: Units = "metres"
    up: Up = "y"
    gaps: Gaps = "join"


class Walks(NamedTuple):
    """The sequences of a file, S of them, with F frames in all.

    Attributes:
        names: of the sequences within the file; empty where the file is the sequence.
        sequence: (F,) place of each frame's sequence, ascending.
        frame: (F,) number of each frame in its sequence, ascending there.
        poses: (F, V, 3) in the units and axes of the file.
        skeleton: their layout.
        labels: what the file itself tells, of each sequence.
    """

    names: Sequence[str]
    sequence: Numbers
    frame: Numbers
    poses: Poses
    skeleton: Skeleton
    labels: Sequence[Mapping[str, str]]


class _Source(NamedTuple):
    """What is to be read, and how."""

    folder: Path
    is_file: bool
    options: Options
    skeleton: str
    labels: Path | None
    said: str  # fingerprint of the labels


def skeleton_layout(path: Path) -> Skeleton:
    """The joint layout of the first file.

    Raises:
        InputError: if there is none, or it is not as expected.
    """
    folder, files = _files(path)
    return read_walks(folder / files[0].files[0]).skeleton


def skeletons_fingerprint(path: Path, labels: Path | None, **settings: object) -> str:
    """What tells one state of the files and settings from another, as 64 hex digits.

    Takes in each file's name, size and time of change.

    Args:
        path: a file of skeletons, or a folder of them.
        labels: see :func:`read_skeletons`.
        settings: whatever else the store's content depends on; values that JSON can hold.

    Raises:
        InputError: if there are no files.
    """
    folder, files = _files(path)
    states = [state_of(folder, file) for file in files]
    return fingerprint([] if labels is None else [labels], files=states, **settings)


def read_skeletons(
    path: Path,
    options: Options,
    skeleton: Skeleton,
    labels: Path | None,
    writer: StoreWriter,
    keep: Path,
) -> None:
    """Read all files of a source into a store, a row a sequence.

    Frames are (V, 3) float32 in that layout: x, y, z in metres, y up, z away from the camera. A
    frame counts if all its values are finite and not all are zero. Sequences stand in the order of
    files. Beside the columns of every store the table has ``sequence`` (the name), ``split`` (as
    labelled), ``first_frame`` and ``last_frame`` (numbers in the sequence), ``missing`` (frames
    between those two that do not count or are not there), ``dropped`` (frames of the sequence that
    do not count; on its first row) and ``nobody`` (those of them that are all zero). Sequences of
    which nothing is left are listed in ``skipped.csv`` beside the store's files.

    Args:
        path: a file, or a folder whose folders are searched too.
        options: ``units`` and ``up`` of the files, see :data:`AXES`. ``gaps``: ``join`` makes
            neighbours of the frames around one that is missing, ``cut`` makes two rows of them.
        skeleton: layout of the poses, see :func:`skeleton_layout`.
        labels: a table for :func:`read_sequence_labels`. A sequence that it names is as it says
            there, any other as its file says, and what is not told is as the name tells; see
            :func:`label_of`.
        writer: of the store.
        keep: folder for what is read until the store is finished, see
            :func:`parts.read_in_parts`.

    Raises:
        InputError: naming the file and the entry that cannot be used.
    """
    folder, files = _files(path)
    said = "" if labels is None else hashlib.sha256(labels.read_bytes()).hexdigest()
    is_file = Path(path).is_file()
    source = _Source(folder.resolve(), is_file, options, skeleton.name, labels, said)
    parts = list(in_parts(source.folder, ("skeletons", READER_VERSION, *source), files))
    table = read_in_parts(writer, keep, parts, partial(_read_part, source), f"reading {path}")
    empty = table[table["length"] == 0]
    list_skipped(
        writer.path,
        str(path),
        [
            ("", name, f"is left out: none of its {frames} frames has a whole body")
            for name, frames in zip(empty["sequence"], empty["dropped"], strict=True)
        ],
    )


def read_walks(path: Path) -> Walks:
    """All sequences of a file.

    Raises:
        InputError: naming file and entry, if it has no known format or what it holds is no
            skeleton.
    """
    try:
        content = path.read_bytes()
        if content.startswith((b"\x93NUMPY", b"PK")):
            arrays = numpy_content(content)
            return _from_arrays(arrays if isinstance(arrays, dict) else {"": arrays})
        if path.suffix.lower() in (".npy", ".npz"):
            raise ValueError("is no numpy file" if content else "is an empty file")
        return _from_table(unpacked(content))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise InputError(f"{path} {error}; mend it, or move it away") from error


def _files(path: Path) -> tuple[Path, list[Video]]:
    """The folder of the files, and the files with the names of what they hold."""
    path = Path(path)
    if path.is_file():
        return path.parent, [Video(stem(path.name), (path.name,))]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; name a file of 3D skeletons or a folder of them")
    everything = list(files_below(path))
    found: dict[str, str] = {}
    for file in everything:
        if not file.lower().endswith(ENDINGS):
            continue
        if file != found.setdefault(stem(file), file):
            raise InputError(
                f"{path} has {found[stem(file)]} and {file}, whose sequences would have the same "
                "name; rename one of them"
            )
    if not found:
        some = ", ".join(everything[:3]) + (", ..." if len(everything) > 3 else "")
        raise InputError(
            f"{path} holds no file of 3D skeletons ({FORMATS}), it holds {some or 'nothing'}; name "
            "the folder that does"
        )
    return path, [Video(name, (file,)) for name, file in found.items()]


def _read_part(source: _Source, files: Sequence[Video]) -> Part:
    """All sequences of some files."""
    found = []
    for name, (file,) in files:
        walks = read_walks(source.folder / file)
        if walks.skeleton.name != source.skeleton:
            raise InputError(
                f"{source.folder / file} holds skeletons of {walks.skeleton.name}, other files of "
                f"{source.folder} {source.skeleton}; give each layout a folder of its own"
            )
        names = [
            own if source.is_file and own else f"{name}/{own}".strip("/") for own in walks.names
        ]
        known = _known(source.labels, source.said)
        labels = [
            known.get(whole) or label_of(whole, given)
            for whole, given in zip(names, walks.labels, strict=True)
        ]
        found.append(_rows(source.options, walks._replace(names=names), labels))
    frames, tables = zip(*found, strict=True)
    columns = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
    return Part(np.concatenate(frames), columns)


def _rows(options: Options, walks: Walks, labels: Sequence[Label]) -> Part:
    """Sequences in metres, without frames that do not count; a row each, or a row a piece."""
    there = (walks.poses != 0).any(axis=(1, 2))
    counts = there & np.isfinite(walks.poses).all(axis=(1, 2))
    poses, sequence, frame = walks.poses[counts], walks.sequence[counts], walks.frame[counts]
    order, sign = AXES[options.up]
    poses = poses[..., order] * (np.array(sign, np.float32) * METRES[options.units])

    begins = np.diff(sequence, prepend=-1) != 0
    if options.gaps == "cut":
        begins |= np.diff(frame, prepend=0) != 1
    first = np.flatnonzero(begins)
    empty = np.setdiff1d(np.arange(len(walks.names)), sequence)
    row = np.concatenate([sequence[first], empty])
    length = np.zeros(len(row), np.int64)
    length[: len(first)] = np.diff(first, append=len(sequence))
    head, tail = np.zeros_like(row), np.zeros_like(row)
    head[: len(first)], tail[: len(first)] = frame[first], frame[first + length[: len(first)] - 1]
    dropped, nobody = (
        np.bincount(walks.sequence[lost], minlength=len(walks.names))[row]
        for lost in (~counts, ~there)
    )
    begins_sequence = np.diff(row, prepend=-1) != 0
    columns = {
        "length": length,
        **label_columns([labels[i] for i in row]),
        "sequence": np.array(walks.names, np.str_)[row],
        "first_frame": head,
        "last_frame": tail,
        "missing": np.where(length > 0, tail - head + 1 - length, 0),
        "dropped": np.where(begins_sequence, dropped, 0),
        "nobody": np.where(begins_sequence, nobody, 0),
    }
    return Part(poses, columns)


@lru_cache(maxsize=1)
def _known(path: Path | None, said: str) -> Mapping[str, Label]:
    """The labels of a source; read anew when they say something else."""
    return {} if path is None else read_sequence_labels(path)


# layouts


def _kept(poses: NDArray[Any], names: Sequence[str] | None) -> tuple[Poses, Skeleton]:
    """Poses (F, V, 3) cut to a layout of ours."""
    if poses.dtype.kind not in "fiu":
        raise ValueError(f"holds {poses.dtype} values, expected numbers")
    if poses.ndim != 3 or poses.shape[2] != 3:
        raise ValueError(f"has shape {poses.shape}, expected (T, V, 3)")
    skeleton, picked = _layout(poses.shape[1], names)
    with np.errstate(over="ignore", invalid="ignore"):  # not finite, and does not count
        return np.ascontiguousarray(poses[:, picked], np.float32), skeleton


def _layout(count: int, names: Sequence[str] | None) -> tuple[Skeleton, list[int]]:
    """The largest layout whose joints are all there, and where they are."""
    if names is None:
        if count not in LAYOUTS:
            known = ", ".join(f"{n} ({skeleton.name})" for n, skeleton in LAYOUTS.items())
            raise ValueError(f"has skeletons of {count} joints without names, expected {known}")
        return LAYOUTS[count], list(range(count))
    told = list(map(_joint, names))
    if len(told) != count:
        raise ValueError(f"names {len(told)} joints, its skeletons have {count}")
    if len(set(told)) < count:
        twice = next(name for name in told if told.count(name) > 1)
        raise ValueError(f"names the joint {twice} several times")
    skeleton = max(
        SKELETONS.values(), key=lambda s: (set(s.joints) <= set(told), len(set(s.joints) & {*told}))
    )
    if lacking := [joint for joint in skeleton.joints if joint not in told]:
        raise ValueError(
            f"has no joint named {lacking[0]} (and lacks {len(lacking) - 1} more of "
            f"{skeleton.name}), it names {', '.join(told[:5])}, ..."
        )
    return skeleton, [told.index(joint) for joint in skeleton.joints]


def _joint(name: str) -> str:
    """A joint's name as layouts have it: ShoulderLeft and shoulder_left are left_shoulder."""
    words = re.split("[_ -]+", HUMP.sub("_", str(name).strip()).lower().replace("centre", "center"))
    return "_".join(sorted(words, key=lambda word: word not in SIDES))


# numpy


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Walks:
    names = arrays[JOINT_NAMES].ravel().tolist() if JOINT_NAMES in arrays else None
    if JOINTS in arrays and arrays.keys() & {"start", "length", "subject"}:
        return _joined(arrays, names)
    walks = {key: array for key, array in arrays.items() if key not in (JOINT_NAMES, *ABOUT)}
    if not walks:
        raise ValueError("holds no array of shape (T, V, 3)")
    poses, skeletons = [], []
    for key, array in walks.items():
        try:
            kept, skeleton = _kept(array, names)
        except ValueError as error:
            raise ValueError(f"array {key!r}: {error}" if key else str(error)) from error
        poses.append(kept)
        skeletons.append(skeleton)
        if skeleton != skeletons[0]:
            raise ValueError(
                f"array {key!r} is of {skeleton.name}, the first of {skeletons[0].name}"
            )
    keys = list(walks)
    if len(keys) == 1 and re.sub("[_0-9]+", "", keys[0].lower()) in PLAIN | {JOINTS}:
        keys = [""]
    length = np.array(list(map(len, poses)))
    told: list[Mapping[str, str]] = [{}] * len(keys)
    return Walks(keys, *_counted(length), np.concatenate(poses), skeletons[0], told)


def _joined(arrays: Mapping[str, NDArray[Any]], names: Sequence[str] | None) -> Walks:
    """Sequences that lie end to end in one array."""
    try:
        poses, skeleton = _kept(arrays[JOINTS], names)
    except ValueError as error:
        raise ValueError(f"array {JOINTS!r}: {error}") from error
    count = len(arrays["start"]) if arrays.get("start", np.zeros(())).ndim == 1 else 0
    for name in ("start", "length"):
        array = arrays.get(name, np.zeros(0))
        if array.dtype.kind not in "iu" or array.shape != (count,) or not count:
            raise ValueError(
                f"has joints and no array {name!r} of whole numbers, a sequence each; expected "
                "start and length"
            )
    start, length = arrays["start"].astype(np.int64), arrays["length"].astype(np.int64)
    outside = (start < 0) | (length < 0) | (length > len(poses) - start)
    if outside.any():
        i = int(outside.argmax())
        raise ValueError(
            f"has start {start[i]} and length {length[i]} for sequence {i}, joints has "
            f"{len(poses)} frames"
        )
    sequence, frame = _counted(length)
    taken = start[sequence] + frame
    if unnamed := len(poses) - len(np.unique(taken)):
        raise ValueError(f"has {unnamed} frames in joints that no start and length name")
    told = {}
    for key in ("sequence", *LABELS_IN_FILES):
        if key not in arrays:
            continue
        if arrays[key].shape != (count,) or arrays[key].dtype.kind not in "iuU":
            raise ValueError(
                f"has {key} of shape {arrays[key].shape} and type {arrays[key].dtype}, expected "
                f"{count} names or whole numbers, one a sequence"
            )
        told[key] = arrays[key].astype(str).tolist()
    named = told.pop("sequence", list(map(str, range(count))))
    if len(set(named)) < count:
        twice = next(name for name in named if named.count(name) > 1)
        raise ValueError(f"has several sequences named {twice!r}")
    return Walks(named, sequence, frame, poses[taken], skeleton, _labels(named, told))


def _labels(names: Sequence[str], told: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Of each sequence what its file tells of it.

    Raises:
        ValueError: if that is no label.
    """
    labels = []
    for name, *values in zip(names, *told.values(), strict=True):
        fields = zip(map(LABELS_IN_FILES.__getitem__, told), map(str.strip, values), strict=True)
        given = {field: value for field, value in fields if value}
        try:
            label_of(name, given)
        except ValueError as error:
            raise ValueError(f"sequence {name!r}: {error}") from error
        labels.append(given)
    return labels


def _counted(length: Numbers) -> tuple[Numbers, Numbers]:
    """Of each frame of sequences of that length the sequence, and the number in it."""
    sequence = np.repeat(np.arange(len(length)), length)
    return sequence, np.arange(len(sequence)) - (np.cumsum(length) - length)[sequence]


# CSV


def _from_table(content: bytes) -> Walks:
    import pyarrow as pa
    from pyarrow import csv as arrow

    if not content.strip():
        raise ValueError("is an empty file")
    header, _, rows = content.partition(b"\n")
    columns = first_row(header, f"is no table, expected {FORMATS}")
    joints = _joints(columns)
    if not rows.strip():
        raise ValueError("has no row below its header")
    values = [f"{joint}_{axis}" for joint in joints for axis in "xyz"]
    said = [name for name in ("sequence", *LABELS_IN_FILES) if name in columns]
    kinds = dict.fromkeys(values, pa.float32()) | dict.fromkeys(said, pa.string())
    kinds["frame"] = pa.int64()
    options = arrow.ConvertOptions(
        include_columns=list(kinds), column_types=kinds, null_values=MISSING
    )
    checks = dict.fromkeys(values, LOST) | {"frame": WHOLE}
    try:
        table = arrow.read_csv(io.BytesIO(content), convert_options=options)
    except pa.ArrowException as error:
        raise ValueError(table_fault(content, checks, str(error))) from error
    if table["frame"].null_count:
        raise ValueError(table_fault(content, checks, "a row has no frame"))
    poses = np.stack([table[name].to_numpy() for name in values], axis=1)
    kept, skeleton = _kept(poses.reshape(len(poses), -1, 3), joints)
    frame = table["frame"].to_numpy()
    codes = {name: table[name].dictionary_encode().combine_chunks() for name in said}
    place, names = np.zeros(len(frame), np.int64), [""]
    if "sequence" in codes:
        place = codes["sequence"].indices.to_numpy()
        names = codes.pop("sequence").dictionary.to_pylist()
    order = np.argsort(place, kind="stable")
    place, frame = place[order], frame[order]
    back = np.flatnonzero((np.diff(place) == 0) & (np.diff(frame) <= 0))
    if len(back):
        i = int(back[0])
        raise ValueError(
            f"row {order[i + 1] + 1}: frame {frame[i + 1]} of sequence {names[place[i]]!r} comes "
            f"after frame {frame[i]}, expected numbers that grow and one body a sequence"
        )
    first = np.flatnonzero(np.diff(place, prepend=-1))
    told = {}
    for column, encoded in codes.items():
        fields, code = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()[order]
        other = np.flatnonzero(code != code[first][place])
        if len(other):
            i = int(other[0])
            raise ValueError(
                f"row {order[i] + 1}: {column} of sequence {names[place[i]]!r} is "
                f"{fields[code[i]]!r}, before it was {fields[code[first][place[i]]]!r}"
            )
        told[column] = [fields[c] for c in code[first]]
    return Walks(names, place, frame, kept[order], skeleton, _labels(names, told))


def _joints(columns: Sequence[str]) -> list[str]:
    """The joints of a table, in the order of its columns."""
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if list(columns).count(name) > 1)
        raise ValueError(f"line 1: the column {twice} comes several times")
    joints = [m[1] for name in columns if (m := COORDINATE.fullmatch(name))]
    joints = list(dict.fromkeys(joints))
    if not joints:
        raise ValueError(f"has no columns like head_x, head_y and head_z, nor is it {FORMATS}")
    for joint in joints:
        for axis in "xyz":
            if f"{joint}_{axis}" not in columns:
                raise ValueError(f"line 1: there is no column {joint}_{axis}")
    if "frame" not in columns:
        raise ValueError("line 1: there is no column frame")
    return joints
