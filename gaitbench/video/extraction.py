"""Stores of walking people, made from videos: one sequence a person and video.

A video is decoded up to three times, which costs less than holding it: to learn the background, to
follow people before it, and to store what is seen of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.parts import Part, read_in_parts
from gaitbench.readers.keypoints import Label
from gaitbench.report import list_skipped
from gaitbench.store import StoreInfo, StoreWriter, fingerprint
from gaitbench.video.decode import Image, Video, VideoFault, images_of
from gaitbench.video.flow import flow_method, gray
from gaitbench.video.frames import (
    BOXES,
    FLOW,
    FLOW_STEPS,
    FRAMES,
    GRAY,
    MODALITIES,
    SIDE,
    SILHOUETTE,
    flow_frame,
    gray_frame,
    silhouette_frame,
)
from gaitbench.video.people import (
    PATIENCE,
    Body,
    Mask,
    Tracker,
    background,
    bodies,
    foreground,
    sampled,
    shrinkage,
    shrunken,
    threshold,
)

READER_VERSION = 1
"""Raised by one whenever :func:`read_videos` makes another store of the same videos."""

SHORTEST = 25
"""Frames that a person must be seen in, as in GaitCopy's data: those of a window."""

UNITS = "gray and silhouette 0 to 255, flow in hundredths of a pixel, boxes x0 y0 x1 y1 in pixels"
COLUMNS = ("frame", "track", "x0", "y0", "x1", "y1")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """What is stored of videos, and how it is found.

    Args:
        modality: any of :data:`gaitbench.video.frames.MODALITIES`; boxes always are.
        flow: one of :data:`gaitbench.video.frames.FLOWS`.
        weights: of SPyNet.
        shortest: frames that a person must be seen in.
        remedy: what else can be done where nobody is found, as the end of a sentence.
    """

    modality: tuple[str, ...] = MODALITIES
    flow: str = "dis"
    weights: Path | None = None
    shortest: int = SHORTEST
    remedy: str = ""

    def info(self, dataset: str) -> StoreInfo:
        """What the store's description says of its frames."""
        settings: dict[str, Any] = {"modality": list(self.modality), "shortest": self.shortest}
        if FLOW in self.modality:
            settings |= {"flow": self.flow, "flow_steps": FLOW_STEPS, "opencv": cv2.__version__}
        return StoreInfo(dataset, "video", None, UNITS, settings)


class Source(NamedTuple):
    """A video and what is known of it.

    Args:
        path: of the file, or of the folder of its images.
        name: of its sequences.
        label: whose walk it is: the person who is seen longest. None if nobody knows: then each
            person is a subject of their own, ``<name>#<track>``.
        boxes: where people are, see :func:`read_boxes`; None to find them.
        background: a picture or video of the place without people; None to find it.
    """

    path: Path
    name: str
    label: Label | None = None
    boxes: Path | None = None
    background: Path | None = None


class Person(NamedTuple):
    """Somebody in a video, from the first frame without a gap.

    Args:
        first: frame of the video.
        boxes: (L, 4) x0, y0, x1, y1 in pixels of the video.
        seen: (L,) whether the person was seen; the boxes of other frames are guessed.
        silhouettes: (L, 64, 64), empty where the person was not seen.
    """

    first: int
    boxes: NDArray[np.float64]
    seen: Mask
    silhouettes: NDArray[np.uint8]

    def cut(self, begin: int, end: int) -> Person:
        """The person in some of these frames."""
        rows = slice(begin, end)
        return Person(self.first + begin, self.boxes[rows], self.seen[rows], self.silhouettes[rows])


def video_marks(sources: Sequence[Source], options: Extraction) -> list[str]:
    """What tells one state of each video and of how it is read from another.

    Raises:
        InputError: if a file is missing or cannot be read.
    """
    weights = [options.weights] if options.weights and options.flow == "spynet" else []
    how = {"reader": READER_VERSION, **options.info("").settings}
    marks = []
    for source in sources:
        files = [*filter(None, (source.boxes, source.background)), *weights]
        told = {**how, "name": source.name, "label": source.label}
        if source.path.is_dir():  # of many images, it costs too much to look into each
            images = [(file.name, file.stat()) for file in images_of(source.path)]
            told["images"] = [(name, state.st_size, state.st_mtime_ns) for name, state in images]
        else:
            files.insert(0, source.path)
        marks.append(fingerprint(files, **told)[:32])
    return marks


def read_videos(
    sources: Sequence[Source], options: Extraction, writer: StoreWriter, keep: Path
) -> None:
    """Read videos into a store, several at a time.

    A sequence is a person in a video. Its frames are arrays by the names and shapes of
    :data:`gaitbench.video.frames.FRAMES`; flow of a frame is the way to the next one, and so a
    sequence ends one frame before its person does. Frames in which a person is lost for a moment
    keep their place: the box lies between its neighbours, the silhouette is empty.

    Beside the columns of every store the table has ``sequence`` (``<name>#<track>``, tracks from
    1), ``first_frame`` and ``last_frame`` of the person in the video, ``missing`` (frames without
    the person), ``others`` (people of the video that are left out), ``width`` and ``height`` of the
    video, ``fps`` (0 where the file does not tell) and ``fault`` (what was wrong with it). Videos
    with a fault are listed in ``skipped.csv`` in the store's folder, with what could be saved.

    Args:
        sources: the videos.
        options: what is stored.
        writer: of the store.
        keep: folder for what is read until the store is finished, see
            :func:`parts.read_in_parts`.

    Raises:
        InputError: if no video shows anybody, or the only one cannot be used.
    """
    if FLOW in options.modality:
        flow_method(options.flow, options.weights)  # wrong weights are no fault of a video
    parts = list(zip(video_marks(sources, options), sources, strict=True))
    read = partial(_read_part, options, len(sources) == 1)
    # a network uses all cores by itself, in this process: torch's threads survive no fork
    workers = 1 if FLOW in options.modality and options.flow == "spynet" else None
    label = f"reading {len(sources)} videos"
    table = read_in_parts(writer, keep, parts, read, label, workers)
    _list_faults(sources, table, writer.path)


def read_video(source: Source, options: Extraction) -> Part:
    """What is stored of one video.

    Raises:
        VideoFault: if it cannot be decoded, or nobody is seen long enough.
        InputError: if what comes with it cannot be used.
    """
    video = Video(source.path)
    people = _given_people(video, source, options) if source.boxes else _people(video, source)
    people = [person for person in people if len(person.boxes) >= options.shortest]
    fault = video.fault  # of a reading to the end, which the last one is not
    if not people:
        also = f"; it also {fault}" if fault else ""
        raise VideoFault(
            f"{source.path} shows nobody in {options.shortest} frames without a break{also}; leave "
            f"it out{options.remedy}"
        )
    found = len(people)
    if source.label is not None:
        people = [max(people, key=lambda person: len(person.boxes))]
    frames = _stored(video, people, options)
    length = np.array([len(person.boxes) - 1 for person in people])
    names = [f"{source.name}#{track}" for track in range(1, len(people) + 1)]
    labels = [source.label or Label(name) for name in names]
    columns: dict[str, Any] = {
        "length": length,
        "subject": [label.subject for label in labels],
        "condition": [label.condition for label in labels],
        "number": [label.number for label in labels],
        "view": [label.view for label in labels],
        "sequence": names,
        "first_frame": [person.first for person in people],
        "last_frame": [person.first + len(person.boxes) - 1 for person in people],
        "missing": [int((~person.seen).sum()) for person in people],
        "others": found - len(people),
        "width": video.width,
        "height": video.height,
        "fps": video.fps,
        "video": source.name,
        "fault": fault,
    }
    return Part(frames, _columns(columns, len(people)))


def read_boxes(path: Path, name: str) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Where people are in a video: frames (L,), ascending from 0, and boxes (L, 4) by track.

    Args:
        path: a CSV with the columns frame, track, x0, y0, x1, y1 (pixels), and ``video`` if it
            tells of several: the names of their sequences.
        name: of the video.

    Raises:
        InputError: naming line and column, if the file is not as expected.
    """
    try:
        table = pd.read_csv(path, dtype={"video": str, "track": str}, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise InputError(f"{path} is no table of boxes ({reason}); mend it") from error
    if not {*COLUMNS} <= {*table.columns}:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, table))}, expected {', '.join(COLUMNS)}; "
            "give it those"
        )
    numbers = table[[column for column in COLUMNS if column != "track"]]
    values = numbers.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values)
    wrong[:, 0] |= (values[:, 0] < 0) | (values[:, 0] % 1 != 0)
    wrong[:, 3:] |= values[:, 3:] <= values[:, 1:3]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"{path} line {row + 2}: {numbers.columns[column]} is {values[row, column]:g}, "
            "expected frames from 0 and boxes with x0 < x1 and y0 < y1; mend the line"
        )
    mine = (table["video"] == name).to_numpy() if "video" in table else np.ones(len(table), bool)
    tracks = {}
    for track, rows in table[mine].groupby("track", sort=False).indices.items():
        chosen = values[mine][rows]
        chosen = chosen[np.argsort(chosen[:, 0], kind="stable")]
        frames = chosen[:, 0].astype(np.int64)
        if (np.diff(frames) == 0).any():
            twice = frames[:-1][np.diff(frames) == 0][0]
            raise InputError(f"{path}: track {track} has frame {twice} twice; remove one line")
        tracks[str(track)] = frames, chosen[:, 1:]
    return tracks


def _read_part(options: Extraction, only: bool, source: Source) -> Part:
    """One video; if it cannot be used, nothing but its fault, unless it is the only one."""
    try:
        return read_video(source, options)
    except VideoFault as error:
        if only:
            raise
        fault = str(error).removeprefix(str(source.path)).strip()
        logger.warning("%s %s", source.path, fault)
    nothing = {
        "length": 0, "subject": source.name, "condition": "", "number": 0, "view": 0,
        "sequence": source.name, "first_frame": 0, "last_frame": 0, "missing": 0, "others": 0,
        "width": 0, "height": 0, "fps": 0.0, "video": source.name, "fault": fault,
    }  # fmt: skip
    return Part(_empty(options, 0), _columns(nothing, 1))


def _columns(columns: Mapping[str, Any], count: int) -> dict[str, NDArray[Any]]:
    """Columns of the table; what is one value is that of all rows."""
    return {name: np.broadcast_to(np.asarray(value), count) for name, value in columns.items()}


def _empty(options: Extraction, count: int) -> dict[str, NDArray[Any]]:
    """Arrays for so many frames, all zero."""
    names = [name for name in FRAMES if name in (*options.modality, BOXES)]
    return {name: np.zeros((count, *FRAMES[name][0]), FRAMES[name][1]) for name in names}


def _stored(video: Video, people: Sequence[Person], options: Extraction) -> dict[str, NDArray[Any]]:
    """The frames of all people, one person behind the other."""
    end = max(person.first + len(person.boxes) for person in people)
    seen = np.zeros(end + 1, bool)  # frames that are stored, and one more that is not
    for person in people:
        seen[person.first : person.first + len(person.boxes) - 1] = True
    place = np.cumsum(seen) - 1
    whole = _empty(options, int(seen.sum()))
    find = flow_method(options.flow, options.weights) if FLOW in whole else None
    before: Image | None = None
    for number, image in enumerate(video.frames()):
        if find and before is not None:
            whole[FLOW][place[number - 1]] = flow_frame(find(before, image))
        before = image if seen[number] else None
        if seen[number] and GRAY in whole:
            whole[GRAY][place[number]] = gray_frame(gray(image))
        if number >= end - 1:
            break
    limits = np.iinfo(np.int16)
    pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in whole}
    for person in people:
        length = len(person.boxes) - 1
        rows = place[person.first : person.first + length]
        own: dict[str, NDArray[Any]] = {
            BOXES: np.rint(person.boxes[:length]).clip(limits.min, limits.max).astype(np.int16),
            SILHOUETTE: person.silhouettes[:length],
        }
        for name, piece in pieces.items():
            piece.append(own[name] if name in own else whole[name][rows])
    return {name: np.concatenate(piece) for name, piece in pieces.items()}


def _scene(video: Video, source: Source) -> tuple[Image, float]:
    """The background of a video and what differs from it."""
    samples, _ = sampled(video.frames())
    if source.background is None:
        empty = background(samples)
    else:
        known = source.background.exists()
        empty = _place(source.background, source.background.stat().st_mtime_ns if known else 0)
        if empty.shape != samples.shape[1:]:
            raise VideoFault(
                f"{source.path} has {video.width}x{video.height} pixels, its background "
                f"{source.background} another size; name the background of that camera"
            )
    return empty, threshold(samples, empty)


@lru_cache(maxsize=16)  # the walks of a person share those of all views
def _place(path: Path, changed: int) -> Image:
    """The place without people, by a picture or video of it that was last ``changed`` then.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return background(sampled(Video(path).frames())[0])
    except VideoFault as error:
        raise InputError(str(error)) from error


def _people(video: Video, source: Source) -> list[Person]:
    """Who moves before the background."""
    empty, differs = _scene(video, source)
    tracker = Tracker(video.fps, empty.shape)
    for image in video.frames():
        small = shrunken(image)
        tracker.add(bodies(foreground(small, empty, differs), small, empty))
    people = []
    for track in tracker.finish():
        person = Person(
            track.first,
            track.boxes() * _scale(video, empty),
            np.array([body is not None for body in track.bodies]),
            np.stack([_silhouette(body) for body in track.bodies]),
        )
        people.append(_inside(person, video))
    return people


def _silhouette(body: Body | None) -> NDArray[np.uint8]:
    return np.zeros((SIDE, SIDE), np.uint8) if body is None else silhouette_frame(body.mask)


def _scale(video: Video, small: Image) -> NDArray[np.float64]:
    """Pixels of the video that are one of the small picture, for the edges of a box."""
    height, width = small.shape[:2]
    return np.tile([video.width / width, video.height / height], 2)


def _inside(person: Person, video: Video) -> Person:
    """The person without coming and going, where only a part of them is in the picture.

    The upper border does not count: nobody comes in there.
    """
    left, _, right, bottom = person.boxes.T
    pixel = shrinkage(video.height)
    cut = (left < pixel) | (right > video.width - pixel) | (bottom > video.height - pixel)
    whole = np.flatnonzero(~cut)
    if len(whole) and whole[-1] - whole[0] + 1 >= SHORTEST:
        return person.cut(whole[0], whole[-1] + 1)
    return person


def _given_people(video: Video, source: Source, options: Extraction) -> list[Person]:
    """Who is where by a table; their silhouettes are what differs from the background there."""
    assert source.boxes is not None
    people = []
    for frames, boxes in read_boxes(source.boxes, source.name).values():
        breaks = np.flatnonzero(np.diff(frames) > 1 + PATIENCE * (video.fps or 25)) + 1
        for own, box in zip(np.split(frames, breaks), np.split(boxes, breaks), strict=True):
            numbers = np.arange(own[0], own[-1] + 1)
            edges = np.stack([np.interp(numbers, own, edge) for edge in box.T], axis=1)
            nobody = np.zeros((len(numbers), SIDE, SIDE), np.uint8)
            people.append(Person(int(own[0]), edges, np.isin(numbers, own), nobody))
    scene = _scene(video, source) if SILHOUETTE in options.modality else None
    length = 0
    for length, image in enumerate(video.frames(), start=1):
        if scene is None:
            continue
        small = shrunken(image)
        mask = foreground(small, *scene)
        for person in people:
            frame = length - 1 - person.first
            if 0 <= frame < len(person.boxes):
                x0, y0, x1, y1 = np.rint(person.boxes[frame] / _scale(video, small)).astype(int)
                window = mask[max(y0, 0) : y1, max(x0, 0) : x1]
                person.silhouettes[frame] = silhouette_frame(window)
    return [person.cut(0, max(length - person.first, 0)) for person in people]


def _list_faults(sources: Sequence[Source], table: pd.DataFrame, folder: Path) -> None:
    """Write which videos have a fault, whether or not something could be saved."""
    saved = table[table["length"] > 0].groupby("video").size()
    faults = table[table["fault"] != ""].drop_duplicates("video").set_index("video")["fault"]
    rows = [
        (
            line,
            str(source.path),
            f"{faults[source.name]} (sequences saved: {saved.get(source.name, 0)})",
        )
        for line, source in enumerate(sources, start=1)
        if source.name in faults
    ]
    list_skipped(folder, f"{len(sources)} videos", rows, "faults in")
