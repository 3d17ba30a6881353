"""What one file of keypoints holds: people in frames of videos, whatever program wrote it.

The format is found out from the content:

* COCO: a list of results (``image_id``, ``keypoints``), as COCO's evaluation and AlphaPose take and
  write it, the latter with ``idx``; or a dataset of ``images`` and ``annotations``.
* OpenPose: one frame, ``people`` with ``pose_keypoints_2d``; AlphaPose's ``open`` and ``cmu``
  forms, the same for all images of a file.
* MMPose: ``instance_info`` of its demos; frames with ``instances``, or the people of one image, as
  its inferencer writes videos and images.
* numpy: ``.npy`` of (T, V, 3), or ``.npz`` with such an array a sequence, and the joints' names as
  ``joint_names`` where they come in another order.
* pickle: ``.pkl`` of (T, V, 3), as in the trees of OpenGait and FastPoseGait; an array of numbers
  and nothing else.
* CSV: ``image_name`` as in CASIA-B's table of poses, or ``sequence`` and ``frame``; then three
  columns a joint.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from gaitbench.arrays import plain_arrays
from gaitbench.errors import InputError
from gaitbench.readers.people import Poses
from gaitbench.readers.pickles import pickled_numbers
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton

Json = Any

BODY = tuple(range(COCO17.num_joints))
LAYOUTS: Mapping[int, tuple[str, Skeleton, tuple[int, ...]]] = MappingProxyType(
    {
        17: ("COCO", COCO17, BODY),
        18: ("OpenPose's COCO", OPENPOSE18, tuple(range(18))),
        # joint 8 is the middle of the hips; feet follow the head
        25: ("OpenPose's BODY_25", OPENPOSE18, (*range(8), *range(9, 19))),
        26: ("Halpe", COCO17, BODY),
        133: ("COCO-WholeBody", COCO17, BODY),
        136: ("Halpe full body", COCO17, BODY),
    }
)
"""Number of joints -> its layout's name, the layout that is kept of it, and where its joints are.

Sources: documentation of the output of OpenPose (doc/02_output.md) and AlphaPose (docs/output.md);
COCO-WholeBody and both Halpe layouts begin with COCO's joints.
"""

KNOWN = ", ".join(f"{count} ({name})" for count, (name, *_) in LAYOUTS.items())
FLOAT32_MAX = float(np.finfo(np.float32).max)
NUMBERED = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)")
PLAIN = frozenset(("", "frame", "img", "image", "keypoints", "rendered", "pose", "poses", "arr"))
"""What surrounds a frame's number, or names an array, and tells one video from none."""

KEYS = ("keypoints", "pose_keypoints_2d", "pose_keypoints", "joints")
AXIS = re.compile("(.+)_(x|y|conf|confidence|score)")
IMAGE = ("image_name", "image", "file_name")
SEQUENCE = ("sequence", "video")
TRACK = ("track", "track_id")
SCORES = ("_scores", "_confidence", "_conf")

WALKER = "\0"
"""Name of the person whose sequence an array or a table holds; no tracker has it."""

JOINT_NAMES = "joint_names"
PICKLES = (".pkl", ".pickle")

FORMATS = "COCO, OpenPose, AlphaPose or MMPose JSON, npz, npy, pkl or CSV"


class People(NamedTuple):
    """Who is seen in a file, an entry a person and frame, N in all.

    Attributes:
        video: (N,) names of the video within the file; empty where the file is the video.
        frame: (N,) numbers of the frame.
        track: (N,) names of who it is; empty where that is not known, :data:`WALKER` where the
            file names sequences and not videos.
        poses: (N, V, 3) x and y as published, confidence; people without any joint are left out.
        skeleton: their layout; None where there is nobody.
        is_frame: the file is a frame of a video, of which other files are the others.
    """

    video: NDArray[np.object_]
    frame: NDArray[np.int64]
    track: NDArray[np.object_]
    poses: Poses
    skeleton: Skeleton | None
    is_frame: bool


def read_people(path: Path) -> People:
    """All people in a file.

    Raises:
        InputError: naming file and entry, if it has no known format or what it holds is no pose.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"\x93NUMPY"):
            return _arrays({"": numpy_content(content)})
        if content.startswith(b"PK"):
            return _arrays(numpy_content(content))
        if path.name.lower().endswith((".npy", ".npz")):
            raise ValueError("is no numpy file" if content else "is an empty file")
        if path.name.lower().endswith(PICKLES):
            return _arrays({"": pickled_numbers(content)})
        content = unpacked(content)
        if path.suffix.lower() == ".json" or content.lstrip()[:1] in (b"{", b"["):
            return _from_json(_parsed(content))
        return _from_table(content)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise InputError(f"{path} {error}; mend it, or move it away") from error


def place(name: str) -> tuple[str, int | None]:
    """Video and frame number that the path of a frame's image or file tells.

    ``walk_000012.jpg`` is frame 12 of ``walk``, ``./001-nm-01-090/000012.jpg`` of
    ``001-nm-01-090``, ``12.jpg`` of the video without a name. A path without a number has None.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    folder = str(path.parent).strip("./")  # where the images' folder lies tells nothing
    match = NUMBERED.fullmatch(path.stem)
    if match is None:
        return folder, None
    words = (word for side in match.group(1, 3) for word in re.split("[_ .]+", side))
    kept = [word.strip("-") for word in words if word.strip("-").lower() not in PLAIN]
    return "/".join(filter(None, (folder, "_".join(kept)))), int(match[2])


def places(names: Sequence[str]) -> list[tuple[str, int]]:
    """Of each name what :func:`place` tells.

    Where one has no number, frames are numbered in the order of all names, as image folders are
    read, and videos are told by their folders alone.
    """
    found = {name: place(name) for name in names}
    ranks = {name: rank for rank, name in enumerate(sorted(found))}
    if all(frame is not None for _, frame in found.values()):
        return [(video, frame or 0) for video, frame in (found[name] for name in names)]
    # without its last part a path is a folder, whatever the part is called
    folders = {name: place(re.sub(r"[^/\\]*$", "_", name))[0] for name in found}
    return [(folders[name], ranks[name]) for name in names]


def unpacked(content: bytes) -> bytes:
    """A file's content without gzip and byte-order mark.

    Raises:
        ValueError: if it is damaged.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content.removeprefix(b"\xef\xbb\xbf")
    try:
        return gzip.decompress(content).removeprefix(b"\xef\xbb\xbf")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError("is truncated or damaged gzip") from error


# JSON


def _parsed(content: bytes) -> Json:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        line = error.lineno
    try:
        json.loads(content)  # unlike orjson it knows NaN and Infinity
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is truncated or no JSON (line {error.lineno} column {error.colno}: {error.msg})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({error})") from error
    raise ValueError(f"has NaN or Infinity in line {line}, expected 0, 0, 0 for a joint not found")


class _Found(NamedTuple):
    """A person of a JSON file, and its image's name or number; None in a file of one frame."""

    image: str | int | None
    person: Mapping[str, Json]


def _from_json(content: Json) -> People:
    try:
        found, names = _found(content)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"is JSON of no known format, expected {FORMATS}") from error
    rows, tracks = [], []
    for number, (_, person) in enumerate(found, start=1):
        try:
            rows.append(_values(person))
            tracks.append(_track(person))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"has no list of keypoints for person {number}, or not a score for each"
            ) from error
    is_frame = all(image is None for image, _ in found)
    if not is_frame and any(image is None for image, _ in found):
        raise ValueError("names the image of some people and not of others")
    images = ["" if is_frame else str(image) for image, _ in found]
    if is_frame:
        spots = [("", 0)] * len(images)
    elif all(type(image) is int and abs(image) < 1 << 62 for image, _ in found):
        spots = [("", int(image)) for image in images]
    else:
        spots = places(images)
    poses, skeleton = _poses(rows, names)
    by_hand = isinstance(content, dict) and "annotations" in content
    if by_hand and np.isin(poses[..., 2], (0, 1, 2)).all():
        poses[..., 2] /= 2  # 0, 1 and 2 say: not there, hidden, seen
    video, frame = [video for video, _ in spots], [frame for _, frame in spots]
    return _people(video, frame, tracks, poses, skeleton, is_frame)


def _found(content: Json) -> tuple[list[_Found], Sequence[str] | None]:
    """Everybody in a JSON file; and the names of the joints, where it tells them.

    Raises:
        AttributeError, LookupError, TypeError: if it has no known format.
    """
    names: Sequence[str] | None = None
    if isinstance(content, dict):
        if "people" in content:
            return [_Found(None, person) for person in content["people"]], None
        if "annotations" in content:
            return _annotated(content)
        if "instance_info" not in content:
            return [
                _Found(image, person)
                for image, frame in content.items()
                for person in (frame["people"] if "people" in frame else frame["bodies"])
            ], None
        told = content.get("meta_info", {}).get("keypoint_id2name")
        names = told and list(told.values())
        content = content["instance_info"]
    if not isinstance(content, list):
        raise TypeError("neither a list nor a dictionary")
    if any("instances" in entry for entry in content):
        return [
            _Found(frame["frame_id"], person) for frame in content for person in frame["instances"]
        ], names
    return [_Found(entry.get("image_id"), entry) for entry in content], names


def _annotated(content: Mapping[str, Json]) -> tuple[list[_Found], Sequence[str] | None]:
    """People of a dataset in COCO's form, whose images may belong to several videos."""
    names = next((c["keypoints"] for c in content.get("categories", ()) if "keypoints" in c), None)
    if not isinstance(names, list | None):
        raise TypeError("names of joints are a list")
    videos = {video["id"]: video["name"] for video in content.get("videos", ())}
    images: dict[Json, str | int] = {}
    for image in content["images"]:
        name = str(image.get("file_name", image["id"]))
        video = image.get("video_id", image.get("vid_id"))
        frame = image.get("frame_id", place(name)[1])
        if video is None:
            images[image["id"]] = name
        else:
            images[image["id"]] = (
                f"{videos.get(video, video)}/{image['id'] if frame is None else frame}"
            )
    return [
        _Found(images[entry["image_id"]], entry)
        for entry in content["annotations"]
        if any(entry.get("keypoints", ())) and not entry.get("iscrowd")
    ], names


def _values(person: Mapping[str, Json]) -> list[Json]:
    """x, y and confidence of one joint after the other, whatever their nesting."""
    values: list[Json] = person[next((key for key in KEYS if key in person), "keypoints")]
    if not isinstance(values, list):
        raise TypeError("no list")
    scores = person.get("keypoint_scores", person.get("kp_scores"))
    if scores is not None:
        if values and not isinstance(values[0], list):
            values = list(zip(values[::2], values[1::2], strict=True))
        if len(values) != len(scores) or any(len(point) != 2 for point in values):
            raise TypeError("as many scores as points of two values")
        return [
            value for (x, y), score in zip(values, scores, strict=True) for value in (x, y, score)
        ]
    if values and isinstance(values[0], list):
        return list(chain.from_iterable(values))
    return values


def _track(person: Mapping[str, Json]) -> str:
    """Who it is, as the tracker has it; trackers write 3, 3.0, [3], or -1 for nobody they know."""
    for key in ("track_id", "idx", "person_id"):
        number = person.get(key)
        while isinstance(number, list):
            number = number[0] if number else None
        if isinstance(number, str) and number:
            return number
        if isinstance(number, int | float) and number >= 0:
            return f"{number:.0f}"
    attributes = person.get("attributes")
    return _track(attributes) if isinstance(attributes, dict) else ""


def _poses(rows: list[list[Json]], names: Sequence[str] | None) -> tuple[Poses, Skeleton | None]:
    """(N, V, 3) of N lists of numbers, cut to a layout of ours."""
    if not rows:
        return np.empty((0, 0, 3), np.float32), None
    count = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != count:
            raise ValueError(f"has {len(row)} values for person {number}, {count} for person 1")
    if not set(map(type, chain.from_iterable(rows))) <= {int, float}:
        for number, row in enumerate(rows, start=1):
            for value in row:
                if type(value) not in (int, float):
                    raise ValueError(f"has {value!r:.60} for person {number}, expected numbers")
    if count % 3:
        raise ValueError(f"has {count} values a person, expected x, y and confidence of each joint")
    with np.errstate(over="ignore"):  # becomes infinite, and is refused
        poses = np.array(rows, np.float64).astype(np.float32).reshape(len(rows), -1, 3)
    return _cut(poses, names, "person")


def _cut(
    poses: NDArray[Any], names: Sequence[str] | None, entry: str, first: int = 1
) -> tuple[Poses, Skeleton]:
    """(N, V', 3) poses in a layout of ours, all finite."""
    skeleton, picked = kept_joints(poses.shape[1], names)
    with np.errstate(over="ignore", invalid="ignore"):  # not finite, and is refused
        kept = np.ascontiguousarray(poses[:, picked], np.float32)
    if not np.isfinite(kept).all():
        number, joint, axis = np.argwhere(~np.isfinite(kept))[0]
        raise ValueError(
            f"has {kept[number, joint, axis]} as {('x', 'y', 'confidence')[axis]} of "
            f"{skeleton.joints[joint]} in {entry} {number + first}, expected 0, 0, 0 for a joint "
            "not found"
        )
    return kept, skeleton


def kept_joints(count: int, names: Sequence[str] | None) -> tuple[Skeleton, list[int]]:
    """The layout that poses are cut to, and where its joints are in them.

    Args:
        count: number of joints.
        names: their names, where they are known.

    Raises:
        ValueError: if they hold no layout of ours.
    """
    if names is None:
        if count not in LAYOUTS:
            raise ValueError(f"has poses of {count} joints, expected {KNOWN}")
        _, skeleton, picked = LAYOUTS[count]
        return skeleton, list(picked)
    told = [str(name).strip().lower().replace(" ", "_").replace("-", "_") for name in names]
    if len(told) != count:
        raise ValueError(f"names {len(told)} joints, its poses have {count}")
    skeleton = OPENPOSE18 if set(told) == set(OPENPOSE18.joints) else COCO17
    if lacking := [joint for joint in skeleton.joints if joint not in told]:
        raise ValueError(
            f"has no joint named {lacking[0]} (and lacks {len(lacking) - 1} more of "
            f"{skeleton.name}), it names {', '.join(told[:5])}, ..."
        )
    return skeleton, [told.index(joint) for joint in skeleton.joints]


def _people(
    video: Sequence[str] | NDArray[np.object_],
    frame: Sequence[int] | NDArray[np.int64],
    track: Sequence[str],
    poses: Poses,
    skeleton: Skeleton | None,
    is_frame: bool = False,
) -> People:
    """Without those of whom no joint was found."""
    seen = (poses[..., 2] > 0).any(axis=1)
    return People(
        np.array(video, np.object_)[seen],
        np.array(frame, np.int64)[seen],
        np.array(track, np.object_)[seen],
        poses[seen],
        skeleton,
        is_frame,
    )


# numpy


def numpy_content(content: bytes) -> Any:
    """The array of an .npy, or all arrays of an .npz by name.

    Raises:
        ValueError: see :func:`gaitbench.arrays.plain_arrays`.
    """
    return plain_arrays(io.BytesIO(content))


def _arrays(arrays: Mapping[str, NDArray[Any]]) -> People:
    """One sequence each; (T, V, 2) with scores beside it is one too."""
    names = None
    if JOINT_NAMES in arrays:
        names = arrays[JOINT_NAMES].ravel().tolist()
        arrays = {key: array for key, array in arrays.items() if key != JOINT_NAMES}
    walks = {key: array for key, array in arrays.items() if not _is_score(key, arrays)}
    if not walks:
        raise ValueError("holds no array of shape (T, V, 3)")
    cut: dict[str, Poses] = {}
    skeletons = []
    for key, array in walks.items():
        try:
            if array.ndim == 3 and array.shape[2] == 2:
                score = _score(key, arrays)[..., None]
                with np.errstate(invalid="ignore"):  # not finite, and is refused
                    array = np.concatenate((array, score), axis=2)
            if array.dtype.kind not in "fiu":
                raise ValueError(f"holds {array.dtype} values, expected numbers")
            if array.ndim != 3 or array.shape[2] != 3:
                raise ValueError(f"has shape {array.shape}, expected (T, V, 3)")
            cut[key], skeleton = _cut(array, names, "frame", first=0)
            skeletons.append(skeleton)
            if skeleton != skeletons[0]:
                raise ValueError(f"is of {skeleton.name}, the first array of {skeletons[0].name}")
        except ValueError as error:
            raise ValueError(f"array {key!r}: {error}" if key else str(error)) from error
    lengths = list(map(len, cut.values()))
    videos = list(cut)
    if len(videos) == 1 and re.sub("[_0-9]+", "", videos[0].lower()) in PLAIN:
        videos = [""]
    frame = np.concatenate(list(map(np.arange, lengths)))
    video = np.repeat(np.array(videos, np.object_), lengths)
    poses = np.concatenate(list(cut.values()))
    return _people(video, frame, [WALKER] * len(frame), poses, skeletons[0])


def _score_keys(key: str) -> tuple[str, ...]:
    return (*(f"{key}{ending}" for ending in SCORES), "keypoint_scores", "scores", "confidence")


def _is_score(key: str, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether an array holds the confidences of another."""
    return arrays[key].ndim == 2 and any(
        key in _score_keys(other) for other, array in arrays.items() if array.ndim == 3
    )


def _score(key: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The confidences (T, V) of an array (T, V, 2)."""
    shape = arrays[key].shape[:2]
    for name in _score_keys(key):
        if name in arrays and arrays[name].shape == shape:
            return arrays[name]
    raise ValueError(
        f"has x and y alone, and there is no array {key}_scores of shape {shape} with confidences"
    )


# CSV


def _from_table(content: bytes) -> People:
    import pyarrow as pa
    from pyarrow import csv as arrow

    if not content.strip():
        raise ValueError("is an empty file")
    header, _, rows = content.partition(b"\n")
    labels, joints, columns = _columns(
        first_row(header, f"is neither JSON nor a table, expected {FORMATS}")
    )
    if not rows.strip():
        raise ValueError("has no row below its header")
    kinds = {labels[what]: pa.int64() if what == "frame" else pa.string() for what in labels}
    kinds |= dict.fromkeys(columns, pa.float32())
    checks = dict.fromkeys(columns, FINITE)
    if "frame" in labels:
        checks[labels["frame"]] = WHOLE
    options = arrow.ConvertOptions(include_columns=list(kinds), column_types=kinds, null_values=[])
    try:
        table = arrow.read_csv(io.BytesIO(content), convert_options=options)
    except pa.ArrowException as error:
        raise ValueError(table_fault(content, checks, str(error))) from error
    poses = np.stack([table[name].to_numpy() for name in columns], axis=1)
    if not np.isfinite(poses).all():
        raise ValueError(table_fault(content, checks, "a number is not finite"))
    cut, skeleton = _cut(poses.reshape(len(poses), -1, 3), joints, "row")
    video, frame = [""] * len(poses), [0] * len(poses)
    if "image" in labels:
        video, frame = map(list, zip(*places(table[labels["image"]].to_pylist()), strict=True))
    if "sequence" in labels:
        video = table[labels["sequence"]].to_pylist()
    if "frame" in labels:
        frame = table[labels["frame"]].to_pylist()
    track = table[labels["track"]].to_pylist() if "track" in labels else [WALKER] * len(poses)
    return _people(video, frame, track, cut, skeleton)


def first_row(line: bytes, otherwise: str) -> list[str]:
    """Names of a table's columns.

    Raises:
        ValueError: saying ``otherwise``, if it is no table.
    """
    try:
        return next(csv.reader([line.decode().strip("\r\n")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(otherwise) from error


def _columns(header: list[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Columns that say whose pose a row is; the joints; their columns, three each."""
    axes: dict[str, dict[str, str]] = {}
    for name in header:
        if match := AXIS.fullmatch(name):
            axes.setdefault(match[1], {})[match[2] if match[2] in "xy" else "confidence"] = name
    if not axes:
        raise ValueError(
            f"has no columns like nose_x, nose_y and nose_confidence, nor is it {FORMATS}"
        )
    for joint, columns in axes.items():
        if len(columns) < 3:
            lacking = ({"x", "y", "confidence"} - columns.keys()).pop()
            raise ValueError(f"line 1: there is no column {joint}_{lacking}")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ValueError(f"line 1: the column {twice} comes several times")
    labels = {}
    for what, names in (
        ("image", IMAGE), ("sequence", SEQUENCE), ("frame", ("frame",)), ("track", TRACK)
    ):  # fmt: skip
        if there := [name for name in names if name in header]:
            labels[what] = there[0]
    if not labels.keys() & {"image", "frame"}:
        raise ValueError("line 1: there is neither a column image_name nor a column frame")
    return (
        labels,
        list(axes),
        [columns[axis] for columns in axes.values() for axis in ("x", "y", "confidence")],
    )


class Expected(NamedTuple):
    """What fields of a column hold, in words, and whether a field is that."""

    what: str
    holds: Callable[[str], bool]


def is_number(field: str) -> bool:
    """Whether it is a finite number."""
    try:
        return abs(float(field)) <= FLOAT32_MAX
    except ValueError:
        return False


FINITE = Expected("a finite number", is_number)
WHOLE = Expected("a whole number", lambda field: bool(re.fullmatch("[+-]?[0-9]{1,18}", field)))


def table_fault(content: bytes, checks: Mapping[str, Expected], otherwise: str) -> str:
    """What is wrong with the first faulty line, found by looking at each.

    Args:
        content: of the table.
        checks: column -> what it holds.
        otherwise: what is wrong if nothing is found.
    """
    rows = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""))
    header = next(rows)
    indices = {name: header.index(name) for name in checks}
    for row in rows:
        if row and len(row) != len(header):
            return f"line {rows.line_num} has {len(row)} values, line 1 has {len(header)}"
        for name, index in indices.items() if row else ():
            if not checks[name].holds(row[index]):
                return (
                    f"line {rows.line_num}: {name} is {row[index][:60]!r}, expected "
                    f"{checks[name].what}"
                )
    return f"cannot be parsed ({otherwise})"
