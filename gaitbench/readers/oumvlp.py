"""Reader of OUMVLP-Pose as published: a folder a sequence, a JSON file a frame."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import orjson

from gaitbench.errors import InputError
from gaitbench.oumvlp import FOLDER, ID_LIST, KEYPOINTS, NUMBERS, PERSONS, VIEWS
from gaitbench.parts import Part, read_in_parts
from gaitbench.readers.people import Poses, choose
from gaitbench.skeleton import OPENPOSE18
from gaitbench.store import StoreWriter, fingerprint

__all__ = [
    "KEYPOINTS",
    "PERSONS",
    "READER_VERSION",
    "frame_number",
    "oumvlp_fingerprint",
    "oumvlp_root",
    "read_id_list",
    "read_oumvlp",
]

READER_VERSION = 1
"""Raised by one whenever :func:`read_oumvlp` makes another store of the same tree."""

SUBJECTS = 16  # subjects a part: some 450 sequences, 11,000 frames, 2 MB
BLOCK = 1 << 14  # bytes read at a time; hardly a frame has more
VALUES = 3 * OPENPOSE18.num_joints
NOBODY = np.empty((0, OPENPOSE18.num_joints, 3), np.float32)
FLOAT32_MAX = float(np.finfo(np.float32).max)

ANGLES, RECORDINGS = [f"{v:03d}" for v in VIEWS], [f"{n:02d}" for n in NUMBERS]
SUBJECT = re.compile("[0-9]{5}")
SEQUENCE = re.compile(f"({'|'.join(ANGLES)})_({'|'.join(RECORDINGS)})")
FRAME = re.compile(r"(?:([0-9]{1,9})(?:_.*)?|.*-([0-9]{1,9}))\.json")


def oumvlp_root(path: Path, keypoints: str) -> Path:
    """The dataset's folder, which holds the estimators' folders and the list of subjects.

    Args:
        path: that folder, or the one above it.
        keypoints: ``"openpose"`` or ``"alphapose"``.

    Raises:
        InputError: if it has no folder of that estimator.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} is no folder; name the one that holds {ID_LIST} and {keypoints}")
    for root in (path, path / FOLDER):
        if (root / keypoints).is_dir():
            return root
    root = path / FOLDER if (path / FOLDER).is_dir() else path
    there = sorted(p.name for p in root.iterdir() if not p.name.startswith("."))
    more = ", ..." if len(there) > 5 else ""
    raise InputError(
        f"{root} has no folder {keypoints}, it holds {', '.join(there[:5]) or 'nothing'}{more}; "
        f"name the folder that holds {ID_LIST} and {' or '.join(KEYPOINTS)}, or choose the other "
        "with --data.keypoints"
    )


def oumvlp_fingerprint(path: Path, keypoints: str, **settings: object) -> str:
    """What tells one state of the tree and settings from another, as 64 hex digits.

    Takes in the names of subject and sequence folders and the latter's times of change, so that
    it notices every frame file that is added, removed, renamed or replaced. It does not notice
    one that is edited in place, for that would take a look at each of seven million files.

    Args:
        path: see :func:`oumvlp_root`.
        keypoints: likewise.
        settings: whatever else the store's content depends on; values that JSON can hold.

    Raises:
        InputError: if the tree is not as published.
    """
    marks = [mark for mark, _ in _parts(oumvlp_root(path, keypoints) / keypoints, keypoints)]
    return fingerprint([], tree=marks, **settings)


def read_oumvlp(path: Path, keypoints: str, person: str, writer: StoreWriter, keep: Path) -> None:
    """Read the poses as published into a store, one person a frame.

    Frames are ``(18, 3)`` float32: x and y in pixels (x to the right, y down), confidence. A
    frame that lists nobody is skipped, a sequence that shows nobody left out. Sequences stand in
    the order of their paths, frames in the order of their files' names. Beside the columns of
    every store the table has ``first_frame`` and ``last_frame`` (numbers in the recording),
    ``missing`` (frames between those two without anybody), ``empty_joints`` (share of joints
    whose confidence is zero), ``several`` (frames that list several people) and ``not_first``
    (frames whose chosen person is not listed first).

    Args:
        path: see :func:`oumvlp_root`.
        keypoints: likewise.
        person: who is taken where a frame lists several people, see :func:`people.choose`.
        writer: of the store.
        keep: folder for what is read until the store is finished, see
            :func:`parts.read_in_parts`.

    Raises:
        InputError: naming the file or folder that is not as published.
    """
    folder = oumvlp_root(path, keypoints) / keypoints
    # folders that were unpacked have times of whole seconds, so that two trees may share them
    parts = _parts(folder, keypoints, person, READER_VERSION, str(folder.resolve()))
    read_in_parts(writer, keep, parts, partial(_read_part, person), f"reading {folder}")


def read_id_list(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and test subjects as ``"00001"``, in the order of the list.

    The columns are those whose headings name ``train`` and ``test``, whatever stands above them;
    without headings the first two, from the first line of numbers on. Blanks are allowed, as
    are numbers with a decimal point, which pandas writes where a column has blanks.

    Raises:
        InputError: if the list is missing, has no numbers, or has a subject in both columns.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); it lists training and test subjects and is "
            f"published beside the poses as {ID_LIST}"
        ) from error
    rows = [[field.strip(' "') for field in re.split("[,;\t]", line)] for line in lines]
    begin, columns = _headings(rows)
    subjects: tuple[dict[str, None], ...] = ({}, {})  # ordered sets
    for number, row in enumerate(rows[begin:], start=begin + 1):
        for column, found in zip(columns, subjects, strict=True):
            field = row[column] if column < len(row) else ""
            if re.fullmatch(r"[0-9]{1,5}(\.0*)?", field):
                found[f"{int(float(field)):05d}"] = None
            elif field:
                raise InputError(
                    f"{path} line {number}: {field[:60]!r} is no number of a subject; mend or "
                    "remove the line"
                )
    train, test = map(tuple, subjects)
    if not train and not test:
        raise InputError(
            f"{path} has no numbers of subjects, expected training subjects in one column and "
            f"test subjects in another; copy the published {ID_LIST} again"
        )
    if both := sorted(subjects[0].keys() & subjects[1].keys()):
        raise InputError(
            f"{path} has {len(both)} subjects both in training and in test, {both[0]} for one; "
            "remove them from one column"
        )
    return train, test


def frame_number(name: str) -> int:
    """Number in the recording, of ``0021_keypoints.json`` or ``00001-00_000-0021.json``.

    Subject 00001 of the published tree has names of the second kind.

    Raises:
        ValueError: if it is neither.
    """
    match = FRAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} has no frame number")
    return int(match[match.lastindex or 0])


def _headings(rows: list[list[str]]) -> tuple[int, tuple[int, int]]:
    """The row from which an ID list has numbers, and its columns of training and test."""
    for begin, row in enumerate(rows, start=1):
        train = [column for column, field in enumerate(row) if "train" in field.lower()]
        test = [column for column, field in enumerate(row) if "test" in field.lower()]
        if len(train) == 1 == len(test) and train != test:
            return begin, (train[0], test[0])
    numbers = (i for i, row in enumerate(rows) if re.fullmatch(r"[0-9.]*", "".join(row[:2])))
    return next((i for i in numbers if "".join(rows[i][:2])), len(rows)), (0, 1)


def _parts(folder: Path, *settings: object) -> list[tuple[str, list[str]]]:
    """Mark and subject folders of each part; a mark tells one state of the tree from another."""
    subjects = _folders(folder, SUBJECT, "of a subject like 00001")
    if not subjects:
        raise InputError(f"{folder} has no folder of a subject like 00001; unpack the poses there")
    parts = []
    for begin in range(0, len(subjects), SUBJECTS):
        block = subjects[begin : begin + SUBJECTS]
        state = [(s.name, [(q.name, q.stat().st_mtime_ns) for q in _sequences(s)]) for s in block]
        text = json.dumps([settings, state]).encode()
        mark = hashlib.sha256(text, usedforsecurity=False).hexdigest()[:32]
        parts.append((mark, [subject.path for subject in block]))
    return parts


def _sequences(subject: str | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    angles, recordings = ", ".join(ANGLES), " or ".join(RECORDINGS)
    expected = f"<angle>_<number> like 090_01, of angle {angles} and number {recordings}"
    return _folders(subject, SEQUENCE, expected)


def _folders(
    path: str | os.PathLike[str], names: re.Pattern[str], expected: str
) -> list[os.DirEntry[str]]:
    """The folders in a folder, in the order of their names; files and hidden ones are ignored."""
    try:
        with os.scandir(path) as entries:
            folders = [e for e in entries if not e.name.startswith(".") and e.is_dir()]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    for folder in folders:
        if not names.fullmatch(folder.name):
            raise InputError(f"{folder.path} is no folder {expected}; rename it or move it away")
    return sorted(folders, key=lambda folder: folder.name)


def _read_part(person: str, subjects: Sequence[str]) -> Part:
    """All sequences of some subjects' folders."""
    subject, view, number = [], [], []
    numbers, listed, people = [], [], [NOBODY]
    for path in subjects:
        for folder in _sequences(path):
            subject.append(os.path.basename(path))
            angle, recording = folder.name.split("_")
            view.append(int(angle))
            number.append(int(recording))
            sequence_numbers, sequence_listed, poses = _read_sequence(folder.path)
            numbers.append(sequence_numbers)
            listed += sequence_listed
            people.append(poses)
    length = np.array([len(n) for n in numbers], np.int64)
    candidates = np.concatenate(people)
    in_frame = np.array(listed, np.int64)
    chosen = choose(person, candidates, in_frame, length)
    frames = candidates[chosen]

    sequence = np.repeat(np.arange(len(length)), length)
    first, last = (np.array([n[i] if n else 0 for n in numbers], np.int64) for i in (0, -1))
    empty = (frames[..., 2] == 0).sum(axis=1)
    not_first = chosen != np.cumsum(in_frame) - in_frame
    columns = {
        "length": length,
        "subject": np.array(subject, "U5"),
        "condition": np.full(len(length), "nm"),
        "number": np.array(number, np.int64),
        "view": np.array(view, np.int64),
        "first_frame": first,
        "last_frame": last,
        "missing": last - first + 1 - length,
        "empty_joints": np.bincount(sequence, empty, len(length))
        / (np.maximum(length, 1) * OPENPOSE18.num_joints),
        "several": np.bincount(sequence[in_frame > 1], minlength=len(length)),
        "not_first": np.bincount(sequence[not_first], minlength=len(length)),
    }
    return Part(frames, columns)


def _read_sequence(folder: str) -> tuple[list[int], list[int], Poses]:
    """Of the F frames that show people: their numbers and how many; then all N people's poses."""
    numbers, listed = [], []
    people: list[list[float]] = []
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            files = (entry.name for entry in entries if entry.name.endswith(".json"))
            names = sorted(name for name in files if not name.startswith("."))
        for name in names:
            found = orjson.loads(_content(f"{folder}/{name}"))["people"]
            if found:
                numbers.append(frame_number(name))
                listed.append(len(found))
                people += [person["pose_keypoints_2d"] for person in found]
        return numbers, listed, _poses(people)
    except (OSError, LookupError, TypeError, ValueError) as error:
        paths = (Path(folder, name) for name in names)
        faults = (f"{path} {fault}" for path in paths if (fault := _fault(path)))
        fault = next(faults, f"{folder} cannot be read ({error})")
        raise InputError(f"{fault}; mend it, or copy it again from what was published") from error


def _content(path: str) -> bytes:
    """All of a file, at half the cost of opening a Python file for it."""
    file = os.open(path, os.O_RDONLY)
    try:
        pieces = [os.read(file, BLOCK)]
        while pieces[-1]:
            pieces.append(os.read(file, BLOCK))
        return b"".join(pieces)
    finally:
        os.close(file)


def _poses(people: list[list[float]]) -> Poses:
    """(N, 18, 3) of N lists of 54 numbers.

    Raises:
        TypeError, ValueError: if they are not.
    """
    if not set(map(type, chain.from_iterable(people))) <= {int, float}:
        raise ValueError("a value is no number")
    if not set(map(len, people)) <= {VALUES}:
        raise ValueError("a person has more or fewer values")
    with np.errstate(over="ignore"):  # becomes infinite, and is refused
        poses = np.array(people, np.float32).reshape(-1, OPENPOSE18.num_joints, 3)
    if not np.isfinite(poses).all():
        raise ValueError("a value is not finite")
    return poses


def _fault(file: Path) -> str | None:
    """What is wrong with the file of a frame, as the rest of a sentence."""
    if not FRAME.fullmatch(file.name):
        return "has no frame number in its name, expected one like 0021_keypoints.json"
    try:
        frame = json.loads(file.read_bytes())  # unlike orjson it knows NaN and Infinity
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except (ValueError, RecursionError) as error:
        return f"is truncated or no JSON ({error})"
    people = frame.get("people") if isinstance(frame, dict) else None
    if not isinstance(people, list):
        return "has no list 'people'"
    for number, person in enumerate(people, start=1):
        values = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
        if not isinstance(values, list):
            return f"has no list 'pose_keypoints_2d' for person {number}"
        if len(values) != VALUES:
            return (
                f"has {len(values)} values for person {number}, expected {VALUES} (x, y and "
                f"confidence of {OPENPOSE18.num_joints} joints)"
            )
        for place, value in enumerate(values, start=1):
            if type(value) not in (int, float) or not abs(value) <= FLOAT32_MAX:
                return f"has {value!r:.60} as value {place} of person {number}, no finite number"
    return None
