"""Reader of keypoints that anybody's pose estimator wrote: a file, or a folder of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.oumvlp import PERSONS
from gaitbench.parts import Part, read_in_parts
from gaitbench.readers.keypoint_files import (
    FORMATS,
    PICKLES,
    WALKER,
    People,
    place,
    read_people,
)
from gaitbench.readers.people import Numbers, choose
from gaitbench.skeleton import Skeleton, get_skeleton
from gaitbench.store import StoreWriter, fingerprint

__all__ = [
    "LABELS",
    "PERSONS",
    "READER_VERSION",
    "Label",
    "keypoint_fingerprint",
    "keypoint_layout",
    "read_keypoints",
    "read_sequence_labels",
]

READER_VERSION = 3
"""Raised by one whenever :func:`read_keypoints` makes another store of the same files."""

LABELS = "labels.csv"
"""File beside the keypoints that says who walks in which sequence."""

ENDINGS = (".json", ".json.gz", ".npz", ".npy", ".csv", ".csv.gz", *PICKLES)
FILES, BYTES = 1 << 11, 1 << 24  # files and bytes from which on a part takes no more videos
AWAY = 25  # frames without anybody after which nobody is followed any more; a second at 25 Hz
NAMED = re.compile("(?:.*/)?([^/]+)-([A-Za-z]+)-([0-9]{1,3})-([0-9]{3})")
TREE = re.compile(r"(?:.*/)?([^/]+)/([^/]+)/([^/]+)/\3")  # a file of its folder's name
CONDITION = re.compile("([A-Za-z]*)-?([0-9]{1,3})")

logger = logging.getLogger(__name__)


class Label(NamedTuple):
    """Whose walk a sequence is, how it was taken, and what the person is for."""

    subject: str
    condition: str = "walk"
    number: int = 0
    view: int = 0
    split: str = ""


class Video(NamedTuple):
    """Files that make up one video; several if each of them turns out to be a frame."""

    name: str
    files: tuple[str, ...]  # below the source's folder


class _Source(NamedTuple):
    """What is to be read, and how."""

    folder: Path
    is_file: bool  # the source is a single file, whose name need not tell its videos apart
    person: str
    skeleton: str
    labels: Path | None
    said: str  # fingerprint of the labels


def keypoint_layout(path: Path) -> Skeleton:
    """The joint layout of the first person in a file or folder.

    Raises:
        InputError: if there is nobody, or a file is not as expected.
    """
    folder, videos = _videos(path)
    files = 0
    for video in videos:
        for file in video.files:
            skeleton = read_people(folder / file).skeleton
            if skeleton is not None:
                return skeleton
            files += 1
    raise InputError(
        f"{path} shows nobody in any of its {files} files; look at what the pose estimator wrote"
    )


def keypoint_fingerprint(path: Path, labels: Path | None, **settings: object) -> str:
    """What tells one state of the files and settings from another, as 64 hex digits.

    Takes in each file's name, size and time of change.

    Args:
        path: a file of keypoints, or a folder of them.
        labels: see :func:`read_keypoints`.
        settings: whatever else the store's content depends on; values that JSON can hold.

    Raises:
        InputError: if there are no files.
    """
    folder, videos = _videos(path)
    states = [state_of(folder, video) for video in videos]
    return fingerprint([] if labels is None else [labels], files=states, **settings)


def read_keypoints(
    path: Path,
    person: str,
    skeleton: Skeleton,
    labels: Path | None,
    writer: StoreWriter,
    keep: Path,
) -> None:
    """Read all videos of a file or folder into a store, a sequence a video and person.

    Arrays and tables name their sequences. In JSON, where every person of a video has a track and
    none has it twice in a frame, each track is a sequence, ``<video>#<track>``. Elsewhere one
    person is followed through the video, until nobody is seen for more than :data:`AWAY` frames;
    whoever comes then has a sequence of their own, ``<video>~2`` after ``<video>~1``.

    Frames are (V, 3) float32 in that layout: x and y as published, confidence; frames without the
    person are skipped. Sequences stand in the order of files, a folder's files before its folders.
    Beside the columns of every store the table has ``split`` (as labelled), ``sequence`` (the
    name), ``followed`` (there were no tracks), ``first_frame`` and ``last_frame`` (numbers in the
    video), ``missing`` (frames between those two without the person), ``empty_joints`` (share of
    joints whose confidence is zero), ``several`` and ``not_first`` (frames that list several
    people, and those whose chosen person is not listed first; 0 for tracks).

    Args:
        path: a file, or a folder whose folders are searched too.
        person: who is followed where there are no tracks, see :func:`people.choose`.
        skeleton: layout of the poses, see :func:`keypoint_layout`.
        labels: a table for :func:`read_sequence_labels`. Without it, and for sequences that it
            does not name, a name like ``001-nm-01-090`` or ``001/nm-01/090/090`` tells
            subject, condition, number and view; any other is its own subject.
        writer: of the store.
        keep: folder for what is read until the store is finished, see
            :func:`parts.read_in_parts`.

    Raises:
        InputError: naming the file and the entry that cannot be used.
    """
    folder, videos = _videos(path)
    said = "" if labels is None else hashlib.sha256(labels.read_bytes()).hexdigest()
    source = _Source(folder.resolve(), Path(path).is_file(), person, skeleton.name, labels, said)
    parts = list(in_parts(source.folder, (READER_VERSION, *source), videos))
    read_in_parts(writer, keep, parts, partial(_read_part, source), f"reading {path}")


def find_labels(path: Path, named: str | None) -> Path | None:
    """The table of labels of a file or folder: the one that is named, or the one beside."""
    if named:
        return Path(named)
    beside = (path if path.is_dir() else path.parent) / LABELS
    return beside if beside.is_file() else None


def read_sequence_labels(path: Path) -> dict[str, Label]:
    """Who walks in which sequence, by the sequence's name.

    Args:
        path: a CSV with a column ``sequence`` and any of ``subject``, ``condition``, ``number`` and
            ``view`` (whole numbers) and ``split``; what it does not tell is as for a sequence
            without a label.

    Raises:
        InputError: naming line and column, if it is not as expected.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise InputError(f"{path} is no table of sequences ({reason}); mend it") from error
    told = [name for name in Label._fields if name in table]
    if "sequence" not in table or not told:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, table))}, expected sequence and any of "
            f"{', '.join(Label._fields)}; give it those, or rename it if it tells something else"
        )
    labels: dict[str, Label] = {}
    for line, values in enumerate(table[["sequence", *told]].itertuples(index=False), start=2):
        name, *fields = (value.strip() for value in values)
        given = {column: value for column, value in zip(told, fields, strict=True) if value}
        if name in labels:
            raise InputError(f"{path} line {line}: sequence {name!r} comes twice; remove one line")
        try:
            labels[name] = label_of(name, given)
        except ValueError as error:
            raise InputError(f"{path} line {line}: {error}; mend the line") from error
    return labels


def label_of(name: str, given: Mapping[str, str]) -> Label:
    """The label of a sequence.

    Args:
        name: the sequence's, which tells what is not given if it is like ``001-nm-01-090``, or like
            ``001/nm-01/090/090``, as OpenGait and FastPoseGait name their files.
        given: field of the label -> what it is.

    Raises:
        ValueError: naming the field, if number or view is no whole number.
    """
    match = NAMED.fullmatch(name)
    if match:
        label = Label(match[1], match[2], int(match[3]), int(match[4]))
    elif match := TREE.fullmatch(name):
        label = _label_of_tree(*match.groups())
    else:
        label = Label(name)
    for field in given:
        if field in ("number", "view") and not re.fullmatch("-?[0-9]{1,9}", given[field]):
            raise ValueError(f"{field} is {given[field][:60]!r}, expected a whole number")
    kinds = {field: type(value) for field, value in label._asdict().items()}
    return label._replace(**{field: kinds[field](value) for field, value in given.items()})


def _label_of_tree(subject: str, condition: str, view: str) -> Label:
    """Folders of OpenGait's order; CASIA-B has ``nm-01``, OUMVLP ``00``, others have names."""
    degrees = int(view) if re.fullmatch("[0-9]{1,3}", view) else 0
    if match := CONDITION.fullmatch(condition):
        return Label(subject, match[1] or Label("").condition, int(match[2]), degrees)
    return Label(subject, condition, 0, degrees)


def label_columns(labels: Sequence[Label]) -> dict[str, NDArray[Any]]:
    """Labels as columns of a store's table."""
    kinds = {name: type(value) for name, value in Label("")._asdict().items()}
    return {
        name: np.array([getattr(label, name) for label in labels], np.dtype(kind))
        for name, kind in kinds.items()
    }


def _videos(path: Path) -> tuple[Path, list[Video]]:
    """The folder of the files, and the files by video, in the order of their names.

    Raises:
        InputError: if there are none, or two would have the same name.
    """
    path = Path(path)
    if path.is_file():
        return path.parent, [Video(stem(path.name), (path.name,))]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; name a file of keypoints or a folder of them")
    groups: dict[tuple[str, bool], list[str]] = {}
    others = []
    for file in files_below(path):
        if not file.lower().endswith(ENDINGS):
            others.append(file)
            continue
        name, number = place(file)
        is_numbered = number is not None and file.lower().endswith(".json")
        groups.setdefault((name, True) if is_numbered else (stem(file), False), []).append(file)
    videos: dict[str, Video] = {}
    for (name, _), files in groups.items():
        if len(files) > 1 and _is_frame(path / files[0], os.stat(path / files[0])):
            found = [Video(name or path.resolve().name, tuple(files))]
        else:  # numbered videos, or one file each
            found = [Video(stem(file), (file,)) for file in files]
        for video in found:
            if video.name in videos:
                raise InputError(
                    f"{path} has {videos[video.name].files[0]} and {video.files[0]}, whose "
                    "sequences would have the same name; rename one of them"
                )
            videos[video.name] = video
    if not videos:
        some = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise InputError(
            f"{path} holds no file of keypoints ({FORMATS}), it holds {some or 'nothing'}; name "
            "the folder in which the pose estimator wrote them"
        )
    return path, list(videos.values())


@lru_cache(maxsize=1 << 16)
def _is_frame(file: Path, state: os.stat_result) -> bool:
    """Whether a file is one frame of a video; asked anew when its state is another."""
    return read_people(file).is_frame


def files_below(folder: Path) -> Iterator[str]:
    """Paths below a folder in the order of names; hidden ones and ``*labels.csv`` are left out."""
    try:
        for within, folders, files in os.walk(folder, onerror=_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                file = os.path.relpath(os.path.join(within, name), folder)
                if not name.startswith(".") and not name.endswith(LABELS):
                    yield file.replace(os.sep, "/")
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror or error})") from error


def _unreadable(error: OSError) -> None:
    raise error


def stem(file: str) -> str:
    """A file's path without what tells its format."""
    ending = max((e for e in ENDINGS if file.lower().endswith(e)), key=len, default="")
    return file[: len(file) - len(ending)] if ending else str(Path(file).with_suffix(""))


def state_of(folder: Path, video: Video) -> list[object]:
    state: list[object] = [video.name]
    for file in video.files:
        found = os.stat(folder / file)
        state.append((file, found.st_size, found.st_mtime_ns))
    return state


def in_parts(
    folder: Path, settings: Sequence[object], videos: Sequence[Video]
) -> Iterator[tuple[str, list[Video]]]:
    """Mark and videos of each part; a mark tells one state of files and settings from another."""
    part: list[Video] = []
    files = size = 0
    for i, video in enumerate(videos):
        part.append(video)
        files += len(video.files)
        size += sum(os.stat(folder / file).st_size for file in video.files)
        if size >= BYTES or files >= FILES or i == len(videos) - 1:
            state = [state_of(folder, video) for video in part]
            text = json.dumps([list(map(str, settings)), state]).encode()
            yield hashlib.sha256(text, usedforsecurity=False).hexdigest()[:32], part
            part, files, size = [], 0, 0


def _read_part(source: _Source, videos: Sequence[Video]) -> Part:
    """All sequences of some videos."""
    skeleton = get_skeleton(source.skeleton)
    found: list[People] = []
    for video in videos:
        before = len(found)
        for file in video.files:
            people = read_people(source.folder / file)
            if not len(people.frame):
                continue
            if people.skeleton != skeleton:
                assert people.skeleton is not None
                raise InputError(
                    f"{source.folder / file} holds poses of {people.skeleton.name}, other files "
                    f"of {source.folder} {skeleton.name}; give each layout a folder of its own"
                )
            found.append(_named_in(source, video, file, people))
        if len(found) == before:
            logger.warning("%s shows nobody and is left out", source.folder / video.files[0])
    if not found:
        empty = np.empty(0, np.object_), np.empty(0, np.int64), np.empty(0, np.object_)
        poses = np.empty((0, skeleton.num_joints, 3), np.float32)
        found = [People(*empty, poses, skeleton, False)]
    columns = zip(*(people[:4] for people in found), strict=True)
    names, frame, track, poses = map(np.concatenate, columns)
    return _sequences(source, People(names, frame, track, poses, skeleton, False))


def _named_in(source: _Source, video: Video, file: str, people: People) -> People:
    """People with the name of their video in the source, and the number of their frame in it."""
    if people.is_frame:
        number = place(file)[1] or 0
        return people._replace(
            video=np.full(len(people.frame), video.name, np.object_),
            frame=np.full(len(people.frame), number, np.int64),
        )
    own = stem(file)
    within = [
        name if source.is_file and name else f"{own}/{name}".strip("/") for name in people.video
    ]
    return people._replace(video=np.array(within, np.object_))


def _sequences(source: _Source, people: People) -> Part:
    """Sort people by sequence and frame; take one a frame."""
    import pandas as pd

    video, videos = pd.factorize(people.video)
    track, tracks = pd.factorize(people.track)
    # where there are no tracks all people of a video make up one sequence
    track[_trackless(video, people.frame, track, people.track)] = len(tracks)
    sequence, keys = pd.factorize(video.astype(np.int64) * (len(tracks) + 1) + track)
    order = np.lexsort((people.frame, sequence))  # stable: those of a frame stay as listed
    sequence, frame, poses = sequence[order], people.frame[order], people.poses[order]
    begins = np.diff(sequence, prepend=-1) != 0
    begins[1:] |= np.diff(frame) != 0
    first = np.flatnonzero(begins)
    listed = np.diff(first, append=len(sequence))
    of_frame, number = sequence[first], frame[first]

    video, track = np.divmod(keys, len(tracks) + 1)
    whole, of_frame = _pieces(of_frame, number, track == len(tracks))
    piece = np.arange(len(whole)) - np.searchsorted(whole, whole)
    is_cut = (np.bincount(whole, minlength=len(keys)) > 1)[whole]
    video, track = video[whole], track[whole]

    length = np.bincount(of_frame, minlength=len(whole))
    chosen = choose(source.person, poses, listed, length)
    frames = poses[chosen]
    endings = [*("" if name == WALKER else f"#{name}" for name in tracks), ""]
    names = [
        f"{videos[v]}{endings[t]}" + (f"~{i + 1}" if cut else "")
        for v, t, i, cut in zip(video, track, piece, is_cut, strict=True)
    ]
    known = _labels(source.labels, source.said)
    labels = [known.get(name) or label_of(name, {}) for name in names]
    ends = np.cumsum(length)
    head, tail = number[ends - length], number[ends - 1]
    empty = (frames[..., 2] == 0).mean(axis=1)
    columns = {
        "length": length,
        **label_columns(labels),
        "sequence": np.array(names, np.str_),
        "followed": track == len(tracks),
        "first_frame": head,
        "last_frame": tail,
        "missing": tail - head + 1 - length,
        "empty_joints": np.bincount(of_frame, empty, len(whole)) / np.maximum(length, 1),
        "several": np.bincount(of_frame[listed > 1], minlength=len(whole)),
        "not_first": np.bincount(of_frame[chosen != first], minlength=len(whole)),
    }
    return Part(frames, columns)


def _pieces(
    of_frame: Numbers, number: Numbers, followed: NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """Cut sequences where nobody was seen for long: who comes then may be somebody else.

    Args:
        of_frame: (F,) sequence of each frame, ascending.
        number: (F,) number of the frame in its video, ascending in each sequence.
        followed: whether a sequence may be cut.

    Returns:
        The sequence of each piece, and the piece of each frame.
    """
    import pandas as pd

    begins = np.diff(of_frame, prepend=-1) != 0
    step = pd.Series(np.where(begins, np.nan, np.diff(number, prepend=0)))
    usual = step.groupby(of_frame).transform("median")  # numbers may be milliseconds
    begins |= (step > AWAY * usual).to_numpy() & followed[of_frame]
    return of_frame[begins], np.cumsum(begins) - 1


def _trackless(
    video: Numbers, frame: Numbers, track: Numbers, names: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """(N,) whether the video of a person has no tracks, or has one twice in a frame.

    AlphaPose writes the same number for everybody where it does not track.
    """
    lost = np.zeros(int(video.max(initial=-1)) + 1, bool)
    lost[video[names == ""]] = True
    order = np.lexsort((track, frame, video))
    rows = np.stack((video, frame, track))[:, order]
    lost[rows[0, 1:][(np.diff(rows) == 0).all(axis=0)]] = True
    trackless: NDArray[np.bool_] = lost[video]
    return trackless


@lru_cache(maxsize=1)
def _labels(path: Path | None, said: str) -> Mapping[str, Label]:
    """The labels of a source; read anew when they say something else."""
    return {} if path is None else read_sequence_labels(path)
