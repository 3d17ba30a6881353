"""Reader of the text files of BIWI RGBD-ID, IAS-Lab RGBD-ID, KGBD and KS20.

The first two have a folder a recording with a file a frame, 20 or 40 lines of 14 values: one or two
bodies of 20 joints. KGBD has a folder a person with a file a walk, 20 lines ``name;x;y;z`` a frame.
KS20 has a folder a view with a file a frame of all takes, 25 lines of values, x, y, z behind the
first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.kinect import (
    BODIES,
    COLUMNS,
    KGBD_JOINTS,
    KGBD_ORDER,
    KS20_VIEWS,
    POSITION,
    SKELETON_FILE,
    STATE,
    STATES,
    USER,
    KinectSet,
)
from gaitbench.parts import Part, read_in_parts
from gaitbench.report import list_skipped
from gaitbench.skeleton import KINECT20, KINECT25
from gaitbench.store import StoreWriter, fingerprint

Body = Literal["first", "tracked"]
Gaps = Literal["join", "cut"]
Clip = Literal["published", "none"]
JointOrder = Literal["kinect", "published"]
Numbers = NDArray[np.int64]
Values = NDArray[np.float64]
Usable = NDArray[np.bool_]

READER_VERSION = 2
"""Raised by one whenever :func:`read_kinect` makes another store of the same files."""

JOINTS, POINTS = KINECT20.num_joints, KINECT25.num_joints
FLOAT32_MAX = float(np.finfo(np.float32).max)
PERSON = re.compile("([0-9]{3})b?")
KGBD_PERSON = re.compile("Person([0-9]{3})")
WALK = re.compile(r"([0-9]{1,9})\.txt")
FRAME = re.compile(r"([0-9]{3})b?_([0-9]{1,9})(?:-d)?_.*")
TAKE = re.compile(r"gc([0-9]{1,3})_body([0-9]{1,3})_([0-9]{1,18})(?![0-9]).*\.txt")


class Recording(NamedTuple):
    """One recording, before it is read.

    Attributes:
        path: folder of frames, or file of a walk.
        subject: person, ``"022"``.
        condition: part of the set it lies in.
        number: of the person's walk; 0 where there is one.
        clip: frames left out at the beginning and the end.
        view: degrees; 0 where it is not known.
        files: its frames, where the folder holds others, too.
    """

    path: str
    subject: str
    condition: str
    number: int
    clip: tuple[int, int]
    view: int = 0
    files: tuple[str, ...] = ()

    def named(self, root: Path) -> str:
        """What it is called in messages."""
        take = f"/gc{self.number}_body{int(self.subject)}" if self.files else ""
        return os.path.relpath(self.path, root) + take


class Options(NamedTuple):
    """How recordings are read, see :func:`read_kinect`."""

    body: Body = "first"
    gaps: Gaps = "join"
    clip: Clip = "published"
    joint_order: JointOrder = "kinect"


def kinect_root(path: Path, data: KinectSet) -> Path:
    """The folder that holds the set's parts.

    Args:
        path: that folder, or the one above it.
        data: the set.

    Raises:
        InputError: if a part is missing.
    """
    path = Path(path)
    for root in (path, path / data.name):
        missing = [part for part in data.parts.values() if not (root / part).is_dir()]
        if not missing:
            return root
        if len(missing) < len(data.parts):
            raise InputError(
                f"{root} has no folder {' nor '.join(missing)}; {data.name} has "
                f"{', '.join(data.parts.values())}, copy what is missing"
            )
    raise InputError(
        f"{path} is not {data.name} as published: it has no folder "
        f"{' nor '.join(data.parts.values())}; name the folder that has"
    )


def find_recordings(path: Path, data: KinectSet, clip: Clip = "published") -> list[Recording]:
    """All recordings of a set, by part, person and name.

    Raises:
        InputError: if the tree is not as published.
    """
    root, found = kinect_root(path, data), []
    for condition, part in data.parts.items():
        ends = data.clip[condition] if clip == "published" else (0, 0)
        if data.form == "takes":
            found += _takes(root / part, ends, KS20_VIEWS[part])
            continue
        walked = data.form == "walks"
        for subject, folder in _people(root / part, KGBD_PERSON if walked else PERSON):
            walks = _walks(folder) if walked else [(0, folder)]
            found += [Recording(walk, subject, condition, n, ends) for n, walk in walks]
    return found


def kinect_fingerprint(path: Path, data: KinectSet, **settings: object) -> str:
    """What tells one state of the tree and settings from another, as 64 hex digits.

    Takes in the names of recordings and their times of change, so that it notices every file that
    is added, removed, renamed or replaced. It does not notice a frame's file that is edited in
    place, for that would take a look at each of some 100,000.

    Args:
        path: see :func:`kinect_root`.
        data: the set.
        settings: whatever else the store's content depends on; values that JSON can hold.

    Raises:
        InputError: if the tree is not as published.
    """
    root = kinect_root(path, data)
    tree = [_state(root, recording) for recording in find_recordings(path, data)]
    return fingerprint([], tree=tree, **settings)


def read_kinect(
    path: Path, data: KinectSet, options: Options, writer: StoreWriter, keep: Path
) -> None:
    """Read a set as published into a store, a row a recording.

    Frames are ``(V, 3)`` float32: x, y, z in metres, y up, z away from the camera, in the order of
    the set's layout. A frame of BIWI or IAS-Lab counts where a whole body is tracked: no joint has
    state 0, and some joint is not at zero. One of KS20, which tells no states, counts where some
    joint is not at zero. Then the ends are clipped. Beside the columns of every store the table has
    ``recording`` (from 0, in the order of :func:`find_recordings`), ``first_frame`` and
    ``last_frame`` (numbers in the recording), ``missing`` (frames between those two that do not
    count or are not there), ``zero_joints`` (joints at no distance, z = 0, which are kept), and of
    the recording, on its first row, ``dropped`` (frames that do not count), ``nobody`` (those of
    them in which all joints are at zero) and ``clipped``. BIWI and IAS-Lab have ``several`` (frames
    with two whole bodies) and ``not_first`` (frames of which the second was taken). In KGBD frames
    whose joints are all at zero are kept, as published, and counted as ``zero_frames``. Recordings
    of which nothing is left are listed in ``skipped.csv`` beside the store's files.

    Args:
        path: see :func:`kinect_root`.
        data: the set.
        options: ``body``: ``first`` takes the first body of every frame (Rao et al., the authors'
            later programs), ``tracked`` whoever is tracked through the recording, in whichever
            place; see :func:`walker`. ``gaps``: ``join`` makes neighbours of the frames around one
            that is missing, as published, ``cut`` makes two rows of them. ``clip``: ``published``
            leaves out 10 frames at each end (not at the end of IAS-Lab's training recordings),
            ``none`` keeps all. ``joint_order``, of KGBD: ``kinect``, or ``published``, the
            order of its files, which is not the one that the layout names.
        writer: of the store.
        keep: folder for what is read until the store is finished, see
            :func:`parts.read_in_parts`.

    Raises:
        InputError: naming the file or folder that is not as published.
    """
    root = kinect_root(path, data)
    recordings = list(enumerate(find_recordings(path, data, options.clip)))
    parts = [(_mark(root, item, options), item) for item in recordings]
    readers = {"frames": _read_frames, "walks": _read_walk, "takes": _read_take}
    read = partial(readers[data.form], options)
    table = read_in_parts(writer, keep, parts, read, f"reading {root}")
    empty = table["recording"][table["length"] == 0]
    whole = " with a whole body" if data.form == "frames" else ""
    reason = f"is left out: no frame{whole} remains between its ends"
    left_out = [(int(place) + 1, recordings[place][1].named(root), reason) for place in empty]
    list_skipped(writer.path, str(root), left_out)


def walker(user: Values, usable: Usable) -> Numbers:
    """Which body of each frame is the one that is recorded.

    The walker is the tracker's user who is usable in most frames (of equals the one that comes
    first). The tracker may lose a walker and give another number afterwards; so a user who is never
    seen beside the walker counts as the walker, too.

    Args:
        user: (T, bodies) number that the tracker gave to each body.
        usable: (T, bodies) whether it is wholly tracked.

    Returns:
        (T,) place of the walker, -1 in frames where nobody is.
    """
    chosen = np.full(len(user), -1, np.int64)
    if not usable.any():
        return chosen
    known, first, count = np.unique(user[usable], return_index=True, return_counts=True)
    most = known[np.lexsort((first, -count))[0]]
    walks = usable & (user == most)
    with_walker = walks.any(axis=1)
    others = np.unique(user[with_walker][usable[with_walker] & (user[with_walker] != most)])
    walks |= usable & ~with_walker[:, None] & ~np.isin(user, others)
    return np.where(walks.any(axis=1), walks.argmax(axis=1), -1)


def _people(folder: Path, names: re.Pattern[str]) -> list[tuple[str, str]]:
    """Number and folder of each person, in the order of the folders' names."""
    found: dict[str, str] = {}
    for name in _names(folder):
        path = folder / name
        if not path.is_dir():
            continue
        match = names.fullmatch(name)
        if match is None:
            expected = "Person001" if names is KGBD_PERSON else "001"
            raise InputError(
                f"{path} is no folder of a person like {expected}; rename it or move it away"
            )
        if match[1] in found:
            raise InputError(
                f"{path} and {found[match[1]]} are the same person; remove or rename one of them"
            )
        found[match[1]] = str(path)
    if not found:
        raise InputError(f"{folder} has no folder of a person; copy the recordings there")
    return list(found.items())


def _walks(folder: str) -> list[tuple[int, str]]:
    """Number and file of each walk, in the order of the names as strings."""
    matches = [match for name in _names(folder) if (match := WALK.fullmatch(name))]
    if not matches:
        raise InputError(f"{folder} has no file of a walk like 1.txt; copy the walks again")
    return [(int(match[1]), os.path.join(folder, match[0])) for match in matches]


def _takes(folder: Path, clip: tuple[int, int], view: int) -> list[Recording]:
    """The takes of a view, person by person, the frames of each by their time."""
    frames: dict[tuple[int, int], dict[int, str]] = {}
    for name in _names(folder):
        if not name.endswith(".txt"):
            continue
        match = TAKE.fullmatch(name)
        if match is None:
            raise InputError(
                f"{folder / name} is no frame like gc1_body7_1234.txt; rename it or move it away"
            )
        take, person, time = map(int, match.groups())
        times = frames.setdefault((person, take), {})
        if time in times:
            raise InputError(
                f"{folder / name} and {times[time]} are of the same person, take and time; remove "
                "one of them"
            )
        times[time] = name
    if not frames:
        raise InputError(f"{folder} has no frame like gc1_body7_1234.txt; copy the frames again")
    return [
        Recording(
            str(folder), f"{person:03d}", "walk", take, clip, view, tuple(of[t] for t in sorted(of))
        )
        for (person, take), of in sorted(frames.items())
    ]


def _names(folder: str | Path) -> list[str]:
    """Sorted names in a folder but hidden ones."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror or error})") from error


def _state(root: Path, recording: Recording) -> tuple[str | int, ...]:
    """Name, size and time of change of a recording, and its files if the folder holds others."""
    try:
        found = os.stat(recording.path)
    except OSError as error:
        raise InputError(f"{recording.path} cannot be read ({error.strerror})") from error
    name = os.path.relpath(recording.path, root)
    return name, found.st_size, found.st_mtime_ns, *recording.files


def _mark(root: Path, item: tuple[int, Recording], options: Options) -> str:
    """Tells one state of a recording and options from another."""
    state = (str(root.resolve()), *_state(root, item[1]))
    text = json.dumps([READER_VERSION, options, item, state]).encode()
    return hashlib.sha256(text, usedforsecurity=False).hexdigest()[:32]


def _read_frames(options: Options, item: tuple[int, Recording]) -> Part:
    """A recording of BIWI or IAS-Lab."""
    recording = item[1]
    names = [name for name in _names(recording.path) if name.endswith(SKELETON_FILE)]
    numbers = _frame_numbers(recording, names)
    bodies = np.zeros((len(names), BODIES, JOINTS, COLUMNS))
    for frame, name in zip(bodies, names, strict=True):
        values = _skeleton(os.path.join(recording.path, name))
        frame[: len(values)] = values
    seen: Usable = np.any(bodies[..., POSITION], axis=(2, 3))
    usable: Usable = seen & np.all(bodies[..., STATE] > 0, axis=-1)
    if options.body == "first":
        chosen = np.where(usable[:, 0], 0, -1)
    else:
        chosen = walker(bodies[:, :, 0, USER], usable)
    counted = np.flatnonzero(chosen >= 0)
    kept = _clipped(counted, recording.clip)
    poses = bodies[kept, chosen[kept], :, POSITION].astype(np.float32)
    sums = {"several": np.all(usable, axis=1)[kept], "not_first": chosen[kept] > 0}
    lost = {
        "dropped": len(names) - len(counted),
        "nobody": int((~np.any(seen, axis=1)).sum()),
        "clipped": len(counted) - len(kept),
    }
    return _sequences(options, item, poses, numbers[kept], sums, lost)


def _read_take(options: Options, item: tuple[int, Recording]) -> Part:
    """A take of KS20."""
    recording = item[1]
    poses = np.stack([_points(os.path.join(recording.path, name)) for name in recording.files])
    counted = np.flatnonzero(poses.any(axis=(1, 2)))
    kept = _clipped(counted, recording.clip)
    nobody = len(poses) - len(counted)
    lost = {"dropped": nobody, "nobody": nobody, "clipped": len(counted) - len(kept)}
    return _sequences(options, item, poses[kept].astype(np.float32), kept, {}, lost)


def _read_walk(options: Options, item: tuple[int, Recording]) -> Part:
    """A walk of KGBD."""
    recording = item[1]
    poses, whole = _walk(recording.path)
    count = len(poses)
    kept = _clipped(np.arange(count), recording.clip)
    poses = poses[kept]
    if options.joint_order == "kinect":
        poses = poses[:, KGBD_ORDER]
    sums = {"zero_frames": ~np.any(poses, axis=(1, 2))}
    lost = {"dropped": int(not whole), "clipped": count - len(kept)}
    return _sequences(options, item, poses, kept, sums, lost)


def _sequences(
    options: Options,
    item: tuple[int, Recording],
    poses: NDArray[np.float32],
    numbers: Numbers,
    sums: dict[str, Usable],
    lost: dict[str, int],
) -> Part:
    """Rows of a recording.

    Args:
        options: ``gaps`` says whether it is one row, or one a stretch without a gap.
        item: its place among all, and the recording.
        poses: (T, V, 3) frames that are kept.
        numbers: (T,) theirs in the recording.
        sums: column -> (T,) what it counts.
        lost: column -> what is counted of the whole recording.
    """
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    begin = np.array([0, *(breaks if options.gaps == "cut" else ())], np.int64)
    end = np.append(begin[1:], len(numbers))
    sums = sums | {"zero_joints": (poses[..., 2] == 0).sum(axis=1)}
    columns = {"length": end - begin, "first_frame": begin, "last_frame": begin}
    if len(numbers):
        columns |= {"first_frame": numbers[begin], "last_frame": numbers[end - 1]}
    columns["missing"] = columns["last_frame"] - columns["first_frame"] + 1 - columns["length"]
    columns["missing"] *= columns["length"] > 0
    for name, of in sums.items():
        total = np.concatenate([[0], np.cumsum(of)])
        columns[name] = total[end] - total[begin]
    return Part(poses, columns | _labels(*item, len(begin), lost))


def _labels(
    place: int, recording: Recording, rows: int, lost: dict[str, int]
) -> dict[str, NDArray[Any]]:
    """The columns that all rows of a recording share, and what its first row tells."""
    return {
        "subject": np.full(rows, recording.subject),
        "condition": np.full(rows, recording.condition, "U16"),
        "number": np.full(rows, recording.number, np.int64),
        "view": np.full(rows, recording.view, np.int64),
        "recording": np.full(rows, place, np.int64),
        **{name: np.array([n] + [0] * (rows - 1), np.int64) for name, n in lost.items()},
    }


def _clipped(frames: Numbers, clip: tuple[int, int]) -> Numbers:
    begin, end = clip
    return frames[begin : max(len(frames) - end, begin)]


def _frame_numbers(recording: Recording, names: Sequence[str]) -> Numbers:
    """The number of each frame in its recording; its place where names do not tell or repeat it."""
    matches = [FRAME.fullmatch(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if match is not None and match[1] != recording.subject:
            raise InputError(
                f"{recording.path}/{name} is a frame of person {match[1]} in the folder of "
                f"{recording.subject}; move it to its own"
            )
    numbers = np.array([-1 if match is None else int(match[2]) for match in matches], np.int64)
    told = (numbers >= 0).all() and (np.diff(numbers) > 0).all()
    return numbers if told else np.arange(len(names))


def _skeleton(path: str) -> Values:
    """Bodies of a frame (bodies, 20, 14)."""
    lines = _content(path).strip().splitlines()
    bodies = len(lines) // JOINTS
    try:
        if not 0 < bodies <= BODIES or len(lines) % JOINTS:
            raise ValueError
        if {line.count(b",") for line in lines} != {COLUMNS - 1}:
            raise ValueError
        values = _values(b",".join(lines)).reshape(bodies, JOINTS, COLUMNS)
        if np.abs(values).max() > FLOAT32_MAX or not np.isin(values[..., STATE], STATES).all():
            raise ValueError
        return values
    except (TypeError, ValueError) as error:
        fault = _frame_fault(lines, (JOINTS, JOINTS * BODIES), COLUMNS)
        raise _frame_error(path, fault) from error


def _points(path: str) -> Values:
    """Joints of a frame (25, 3)."""
    lines = _content(path).strip().splitlines()
    columns = lines[0].count(b",") + 1 if lines else 0
    try:
        if len(lines) != POINTS or columns < POSITION.stop:
            raise ValueError
        if {line.count(b",") + 1 for line in lines} != {columns}:
            raise ValueError
        values = _values(b",".join(lines)).reshape(POINTS, columns)
        if np.abs(values).max() > FLOAT32_MAX:
            raise ValueError
        return values[:, POSITION]
    except (TypeError, ValueError) as error:
        fault = _frame_fault(lines, (POINTS,), max(columns, POSITION.stop), states=False)
        raise _frame_error(path, fault) from error


def _values(text: bytes) -> Values:
    """Numbers between commas; infinite where they are no finite ones.

    Raises:
        ValueError: if they are no numbers.
    """
    try:
        if text.translate(None, b"+-.,0123456789eE \t"):
            raise ValueError
        return np.array(orjson.loads(b"[%b]" % text), np.float64)  # ten times as fast
    except ValueError:  # some numbers are none in JSON
        values = np.array(text.split(b",")).astype(np.float64)
        return np.where(np.isfinite(values), values, np.inf)


def _frame_error(path: str, fault: str) -> InputError:
    return InputError(
        f"{path} {fault}; mend it, remove it, or copy it again from what was published"
    )


def _frame_fault(
    lines: list[bytes], counts: tuple[int, ...], columns: int, states: bool = True
) -> str:
    """What is wrong with a frame, as the rest of a sentence."""
    if len(lines) not in counts:
        expected = " or ".join(map(str, counts))
        return f"has {len(lines)} lines, expected {expected}, one a joint"
    for number, line in enumerate(lines, start=1):
        fields = line.split(b",")
        if len(fields) != columns:
            return f"line {number} has {len(fields)} values, expected {columns}"
        for place, field in enumerate(fields, start=1):
            if not _is_number(field):
                return f"line {number} has {_shown(field)} as value {place}, expected a number"
        if states and float(fields[STATE]) not in STATES:
            return f"line {number} has tracking state {_shown(fields[STATE])}, expected 0, 1 or 2"
    return "is written in a way that is not known here"


def _walk(path: str) -> tuple[NDArray[np.float32], bool]:
    """Poses (T, 20, 3) of a walk in the file's order, and whether its last frame is whole."""
    lines = _content(path).strip().splitlines()
    whole = len(lines) % JOINTS == 0
    frames = len(lines) // JOINTS
    fields = [field for line in lines[: frames * JOINTS] for field in line.split(b";")]
    names = [name.encode() for name in KGBD_JOINTS] * frames
    try:
        if len(fields) != 4 * len(names) or fields[::4] != names:
            raise ValueError
        with np.errstate(over="ignore"):  # becomes infinite, and is refused
            axes = [np.array(fields[axis::4]).astype(np.float64) for axis in (1, 2, 3)]
            poses = np.stack(axes, axis=-1).astype(np.float32)
        if not np.isfinite(poses).all():
            raise ValueError
        return poses.reshape(frames, JOINTS, 3), whole
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path} {_walk_fault(lines)}; mend it, or copy it again from what was published"
        ) from error


def _walk_fault(lines: list[bytes]) -> str:
    """What is wrong with a walk, as the rest of a sentence."""
    for number, line in enumerate(lines):
        expected = KGBD_JOINTS[number % JOINTS]
        name, *values = line.split(b";")
        where = f"line {number + 1}"
        if name != expected.encode():
            return f"{where} begins with {_shown(name)}, expected {expected}"
        if len(values) != 3:
            return f"{where} has {len(values)} values after the joint's name, expected x;y;z"
        for value in values:
            if not _is_number(value):
                return f"{where} has {_shown(value)}, expected a number"
    return "is written in a way that is not known here"


def _content(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


def _is_number(field: bytes) -> bool:
    try:
        return abs(float(field)) <= FLOAT32_MAX
    except ValueError:
        return False


def _shown(field: bytes) -> str:
    return repr(field[:40].decode(errors="replace"))
