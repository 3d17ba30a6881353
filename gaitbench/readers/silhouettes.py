"""Reader of silhouettes, as those hold them who work with OpenGait: a folder a walk.

``<subject>/<condition>/<view>`` holds a walk as images, a file a frame, or as one pickled array
(T, H, W). A condition such as ``nm-01`` is a condition and a number. The same from a single
``.npz`` file: ``frames`` (F, H, W) uint8, and of each walk ``start``, ``length``, ``subject``,
``condition``, ``number`` (or ``seq``) and ``view``.

Frames of 64 x 64 or 64 x 44 are taken for normalised and kept as they are. All others are
normalised, see :func:`gaitbench.video.frames.silhouette_frame`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaitbench.arrays import plain_arrays
from gaitbench.errors import InputError
from gaitbench.parts import Part, read_in_parts
from gaitbench.readers.pickles import read_byte_array
from gaitbench.report import list_skipped
from gaitbench.store import StoreWriter, fingerprint
from gaitbench.video.frames import SIDE, silhouette_frame

Frames = NDArray[np.uint8]

READER_VERSION = 1
"""Raised by one whenever :func:`read_silhouettes` makes another store of the same files."""

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
FORMATS = ("PNG", "JPEG", "BMP")  # for some others, whatever they are called, Pillow runs programs
PICKLE, ARRAYS = ".pkl", ".npz"
LARGEST = 1 << 13  # pixels of a side
COLUMNS = 44  # of normalised frames whose sides were cut off
LABELS = ("start", "length", "subject", "condition", "view")

CONDITION = re.compile("([A-Za-z]+)-?([0-9]{1,3})")
VIEW = re.compile("[0-9]{1,3}")
LAST_NUMBER = re.compile("([0-9]{1,18})[^0-9]*")


class Walk(NamedTuple):
    """A folder of one walk.

    Attributes:
        subject, condition, view: names of the folders.
        state: what tells one state of its files from another.
    """

    subject: str
    condition: str
    view: str
    state: str

    @property
    def name(self) -> str:
        """The folder below the source's."""
        return f"{self.subject}/{self.condition}/{self.view}"


def find_walks(path: Path) -> list[Walk]:
    """The folders of walks below a folder, by their names.

    Raises:
        InputError: if there is none, or a folder cannot be read.
    """
    walks = []
    try:
        for subject in _folders(path):
            for condition in _folders(path / subject):
                for view in _folders(path / subject / condition):
                    state = _state(path / subject / condition / view)
                    walks.append(Walk(subject, condition, view, state))
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}); name a folder of silhouettes"
        ) from error
    if not walks:
        raise InputError(
            f"{path} has no folder subject/condition/view, such as 001/nm-01/090; name the folder "
            "above those of the subjects"
        )
    return walks


def silhouettes_fingerprint(path: Path) -> str:
    """What tells one state of the files from another, as 64 hex digits."""
    if path.suffix == ARRAYS:
        return fingerprint([path], reader=READER_VERSION)
    return fingerprint([], reader=READER_VERSION, walks=find_walks(path))


def read_silhouettes(path: Path, writer: StoreWriter, keep: Path) -> None:
    """Read silhouettes into a store, a sequence a walk; its frames are (64, 64) uint8.

    Frames that show nobody are left out; ``dropped`` counts them. Walks that cannot be used are
    listed in ``skipped.csv`` beside the store's files, and so are those that lost damaged images.

    Args:
        path: the folder above those of the subjects, or the ``.npz`` file.
        writer: of the store.
        keep: folder for what is read until the store is finished.

    Raises:
        InputError: if no walk can be used, or the file is not as expected.
    """
    label = f"reading {path}"
    if path.suffix == ARRAYS:
        parts: list[tuple[str, Any]] = [(fingerprint([path], reader=READER_VERSION)[:32], path)]
        read_in_parts(writer, keep, parts, _read_arrays, label)
        return
    people: dict[str, list[Walk]] = {}
    for walk in find_walks(path):
        people.setdefault(walk.subject, []).append(walk)
    parts = []
    for walks in people.values():
        text = json.dumps([READER_VERSION, str(path.resolve()), walks]).encode()
        parts.append((hashlib.sha256(text, usedforsecurity=False).hexdigest()[:32], walks))
    table = read_in_parts(writer, keep, parts, partial(_read_person, path), label)
    faults = table[table["fault"] != ""]
    rows = [
        ("", name, f"{fault} (frames saved: {length})")
        for name, fault, length in faults[["sequence", "fault", "length"]].itertuples(index=False)
    ]
    list_skipped(writer.path, str(path), rows, "faults in")


def normalised(frames: Frames | Sequence[Frames]) -> Frames:
    """Frames (H, W), of any sizes, as (T, 64, 64)."""
    if not len(frames):
        return np.zeros((0, SIDE, SIDE), np.uint8)
    sizes = {frame.shape for frame in frames}
    scale = 255 if max(int(frame.max(initial=0)) for frame in frames) == 1 else 1
    if sizes <= {(SIDE, SIDE)}:
        return np.stack([*frames]) * np.uint8(scale)
    if sizes <= {(SIDE, COLUMNS)}:
        margin = (SIDE - COLUMNS) // 2
        return np.pad(np.stack([*frames]), ((0, 0), (0, 0), (margin, margin))) * np.uint8(scale)
    return np.stack([silhouette_frame(frame * np.uint8(scale)) for frame in frames])


def _folders(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _state(folder: Path) -> str:
    """Its files by number and time of change; a single one by its own."""
    with os.scandir(folder) as entries:
        files = [entry for entry in entries if not entry.is_dir()]
        one = files[0].stat() if len(files) == 1 else folder.stat()
    return f"{len(files)} {one.st_size} {one.st_mtime_ns}"


def _read_person(root: Path, walks: Sequence[Walk]) -> Part:
    """All walks of one person."""
    read = [_read_walk(root / walk.name) for walk in walks]
    frames = [_seen(frames) for frames, _ in read]
    conditions = [_condition(walk.condition) for walk in walks]
    length = np.array([len(own) for own in frames])
    columns = {
        "length": length,
        "subject": np.array([walk.subject for walk in walks]),
        "condition": np.array([condition for condition, _ in conditions]),
        "number": np.array([number for _, number in conditions]),
        "view": np.array([int(w.view) if VIEW.fullmatch(w.view) else 0 for w in walks]),
        "dropped": np.array([len(own) for own, _ in read]) - length,
        "sequence": np.array([walk.name for walk in walks]),
        "fault": np.array([fault for _, fault in read]),
    }
    return Part(np.concatenate(frames), columns)


def _seen(frames: Frames) -> Frames:
    """Those of the frames that show somebody."""
    return frames[frames.any(axis=(1, 2))]


def _condition(name: str) -> tuple[str, int]:
    """``nm-01`` as condition and number; other names as conditions."""
    match = CONDITION.fullmatch(name)
    return (match[1].lower(), int(match[2])) if match else (name, 0)


def _read_walk(folder: Path) -> tuple[Frames, str]:
    """The normalised frames of a folder, and what is wrong with it."""
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    pickles = [file for file in files if file.suffix.lower() == PICKLE]
    images = [file for file in files if file.suffix.lower() in IMAGES]
    if len(pickles) + bool(images) != 1:
        what = "neither images nor a pickle" if not pickles else "more than one set of frames"
        return normalised([]), f"holds {what}"
    if pickles:
        try:
            array = read_byte_array(pickles[0])
        except InputError as error:
            return normalised([]), str(error).removeprefix(str(folder)).lstrip("/")
        if array.ndim != 3 or not array.size:
            return normalised([]), f"is pickled with shape {array.shape}, expected (T, H, W)"
        return normalised(array), ""
    frames, damaged = [], 0
    for file in sorted(images, key=_order):
        try:
            with Image.open(file, formats=FORMATS) as image:
                if max(image.size) > LARGEST:
                    raise ValueError
                frames.append(np.asarray(image.convert("L")))
        except Exception:  # Pillow raises anything on a damaged image
            damaged += 1
    return normalised(frames), f"has {damaged} damaged images" if damaged else ""


def _order(file: Path) -> tuple[int, str]:
    """Frames come by the last number of their names."""
    numbers = LAST_NUMBER.findall(file.stem)
    return (int(numbers[-1]) if numbers else 0, file.name)


def _read_arrays(path: Path) -> Part:
    """All walks of one file."""
    try:
        with path.open("rb") as file:
            arrays = plain_arrays(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no .npz file of plain arrays: it {error}") from error
    if not isinstance(arrays, dict):
        raise InputError(f"{path} is no .npz file of plain arrays, it holds a single one")
    number = arrays.get("number", arrays.get("seq"))
    if missing := [name for name in ("frames", *LABELS) if name not in arrays]:
        raise InputError(f"{path} lacks the array {missing[0]}; add it")
    frames, start, length = arrays["frames"], arrays["start"], arrays["length"]
    count = start.size
    labels = [arrays[name] for name in LABELS] + ([] if number is None else [number])
    if frames.ndim != 3 or frames.dtype != np.uint8 or {a.shape for a in labels} != {(count,)}:
        raise InputError(
            f"{path} has frames of shape {frames.shape} and type {frames.dtype}, or arrays of "
            "walks that differ in length; expected (F, H, W) uint8 and a value a walk"
        )
    whole = all(array.dtype.kind in "iu" for array in (start, length, arrays["view"]))
    if whole:  # of bytes the sum would be one, too
        start, length = start.astype(np.int64), length.astype(np.int64)
    if not whole or (start < 0).any() or (length < 0).any() or (length > len(frames) - start).any():
        raise InputError(f"{path} has walks outside its {len(frames)} frames; mend start, length")
    if number is not None and number.dtype.kind not in "iu":
        raise InputError(f"{path} has numbers of walks of type {number.dtype}; make them whole")
    walks = [normalised(frames[s : s + n]) for s, n in zip(start, length, strict=True)]
    seen = [_seen(walk) for walk in walks]
    found = np.array([len(walk) for walk in seen])
    subject = arrays["subject"]
    names = [f"{s:03d}" for s in subject] if subject.dtype.kind in "iu" else subject.astype(str)
    columns = {
        "length": found,
        "subject": np.array(names),
        "condition": arrays["condition"].astype(str),
        "number": np.zeros(count, np.int64) if number is None else number.astype(np.int64),
        "view": arrays["view"].astype(np.int64),
        "dropped": length - found,
    }
    return Part(np.concatenate(seen), columns)
