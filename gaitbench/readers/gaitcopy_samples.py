"""Reader of the samples that GaitCopy's authors train on: a file a window, already cut out.

A folder is a part of the dataset in one modality, such as
``tfimdb_tum_gaid_N150_train_of25_60x60``; ``of`` is flow. Its files, there or below, are called
like ``p001-n01-01.h5`` (subject, walk, window) or ``001-nm-01-090-01.h5`` (with the view), and the
name alone tells whose walk it is. Folders of other modalities are passed over.

A file holds ``data``, ``frames`` (the 25 numbers of its frames in the video) and
``compressFactor``, as arrays or as attributes of the root, as deepdish writes them. Where several
modalities are asked for, a sample is a window that all of them have.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError
from gaitbench.parts import Part, read_in_parts
from gaitbench.report import list_skipped
from gaitbench.store import StoreWriter
from gaitbench.video.frames import FLOW, FLOW_STEPS, GRAY

if TYPE_CHECKING:
    import h5py

READER_VERSION = 1
"""Raised by one whenever :func:`read_samples` makes another store of the same files."""

FRAMES, SIDE = 25, 60
"""Frames of a sample, and the rows and columns of each."""

FOLDER = re.compile("tfimdb_(?:tum_gaid|casia_b)_(.+)_([a-z]+)25_60x60")
MODALITIES = MappingProxyType({"gray": GRAY, "of": FLOW})
"""How a folder's name calls a modality -> what it is."""

TUM_GAID = re.compile("p([0-9]{3})-([nbs])([0-9]{2})-[0-9]{2,3}")
CASIA_B = re.compile("([0-9]{3})-(nm|bg|cl)-([0-9]{2})-([0-9]{3})-[0-9]{2,3}")
VIEW = 90  # of all that TUM-GAID has

KINDS: Mapping[str, tuple[tuple[int, int, int], np.dtype[Any], int]] = MappingProxyType(
    {
        GRAY: ((SIDE, SIDE, FRAMES), np.dtype(np.uint8), 0),
        FLOW: ((SIDE, SIDE, 2 * FRAMES), np.dtype(np.int16), FLOW_STEPS),
    }
)
"""Modality -> shape (row, column, frame) and type of ``data``, and ``compressFactor``.

Source: avagait/gaitcopy and avagait/ugaitnet, specification section 2. The horizontal part of a
frame's flow comes before the vertical one.
"""


class Sample(NamedTuple):
    """A window.

    Attributes:
        name: of its files, without the ending.
        part: of the dataset, such as ``N150_train``.
        files: modality -> file below the source.
        state: what tells one state of the files from another.
    """

    name: str
    part: str
    files: dict[str, str]
    state: list[tuple[int, int]]

    @property
    def label(self) -> tuple[str, str, int, int]:
        """Subject, condition, number and view."""
        if match := TUM_GAID.fullmatch(self.name):
            return match[1], match[2], int(match[3]), VIEW
        match = CASIA_B.fullmatch(self.name)
        assert match is not None
        return match[1], match[2], int(match[3]), int(match[4])


class _Fault(Exception):
    """Why a file cannot be used, as the rest of a sentence that begins with it."""


class _Read(NamedTuple):
    """What a window's files hold.

    Attributes:
        arrays: frames by modality; none if a file cannot be used.
        first: number of the first frame in the video.
        file: the first one, or the one that cannot be used.
        fault: why it cannot.
    """

    arrays: dict[str, NDArray[Any]]
    first: int
    file: str
    fault: str


def find_samples(path: Path) -> tuple[dict[str, Sample], list[tuple[str, str]]]:
    """The windows below a folder, by their names.

    Returns:
        Name of a window and what it is, in the order of names; and files that are left out as
        another folder has the same window, each with the reason.

    Raises:
        InputError: if there is none, the folder cannot be read, or it holds two datasets.
    """
    found: dict[str, Sample] = {}
    twice, kinds = [], set()
    try:
        for folder, part, modality in _folders(path):
            for file in sorted(folder.rglob("*.h5")):
                name, below = file.stem, file.relative_to(path).as_posix()
                kind = next((kind for kind in (TUM_GAID, CASIA_B) if kind.fullmatch(name)), None)
                if kind is None:
                    continue
                kinds.add(kind)
                sample = found.setdefault(name, Sample(name, part, {}, []))
                if modality in sample.files:
                    twice.append((below, f"is the same window as {sample.files[modality]}"))
                    continue
                state = file.stat()
                sample.files[modality] = below
                sample.state.append((state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}); name the folder above those of "
            "GaitCopy's samples"
        ) from error
    if not found:
        raise InputError(
            f"{path} has no sample such as tfimdb_tum_gaid_N150_train_gray25_60x60/p001-n01-01.h5; "
            "name the folder above those of GaitCopy's samples"
        )
    if len(kinds) > 1:
        raise InputError(
            f"{path} holds samples of TUM-GAID and of CASIA-B, whose subjects have the same "
            "numbers; move one of them away"
        )
    return dict(sorted(found.items())), twice


def samples_fingerprint(path: Path, modalities: Sequence[str]) -> str:
    """What tells one state of the files from another, as 64 hex digits."""
    samples, twice = find_samples(path)
    return _digest(list(modalities), [*samples.values()], twice)


def read_samples(path: Path, modalities: Sequence[str], writer: StoreWriter, keep: Path) -> None:
    """Read samples into a store, a sequence a window.

    Its frames are arrays by the names of modalities: ``gray`` (60, 60) uint8, ``flow`` (60, 60, 2)
    int16 in hundredths of a pixel. Beside the columns of every store the table has ``part`` (of
    the dataset), ``recording`` (0; a walk has one), ``first_frame`` (of the window, in the video),
    ``sequence`` (its name) and ``source`` (the first of its files). Windows that cannot be used are
    listed in ``skipped.csv`` beside the store's files.

    Args:
        path: the folder above those of the samples.
        modalities: what is read of each window.
        writer: of the store.
        keep: folder for what is read until the store is finished.

    Raises:
        InputError: if no window can be used, or h5py is not installed.
    """
    try:
        import h5py  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            "GaitCopy's samples need h5py, which is not installed; pip install 'gaitbench[video]'"
        ) from error
    samples, twice = find_samples(path)
    walks: dict[tuple[str, ...], list[Sample]] = {}
    for sample in samples.values():  # a walk has few windows, a subject too many to be held
        walks.setdefault(tuple(map(str, sample.label[:3])), []).append(sample)
    modalities = list(modalities)
    parts = [(_digest(str(path.resolve()), modalities, walk)[:32], walk) for walk in walks.values()]
    read = partial(_read_walk, path, modalities)
    table = read_in_parts(writer, keep, parts, read, f"reading {path}")
    faults = table[table["fault"] != ""]
    rows = [
        *(("", file, fault) for file, fault in zip(faults["source"], faults["fault"], strict=True)),
        *(("", file, reason) for file, reason in twice),
    ]
    list_skipped(writer.path, str(path), rows)


def _folders(path: Path) -> list[tuple[Path, str, str]]:
    """The samples' folders, which may be the given one, with part and modality of each."""
    own = path.resolve().name
    places = {own: path}
    if not FOLDER.fullmatch(own):
        with os.scandir(path) as entries:
            places = {entry.name: path / entry.name for entry in entries if entry.is_dir()}
    told = [(place, FOLDER.fullmatch(name)) for name, place in sorted(places.items())]
    return [
        (place, match[1], MODALITIES[match[2]])
        for place, match in told
        if match and match[2] in MODALITIES
    ]


def _digest(*what: Any) -> str:
    text = json.dumps([READER_VERSION, *what]).encode()
    return hashlib.sha256(text, usedforsecurity=False).hexdigest()


def _read_walk(root: Path, modalities: Sequence[str], samples: Sequence[Sample]) -> Part:
    """All windows of one walk, from all sides."""
    read = [_read_sample(root, modalities, sample) for sample in samples]
    labels = [sample.label for sample in samples]
    frames = {}
    for name in modalities:
        (*sides, many), dtype, _ = KINDS[name]
        shape = (*sides, 2) if many > FRAMES else tuple(sides)
        own = [each.arrays[name] for each in read if each.arrays]
        frames[name] = np.concatenate([np.zeros((0, *shape), dtype), *own])
    columns = {
        "length": np.array([FRAMES if each.arrays else 0 for each in read]),
        "subject": np.array([subject for subject, *_ in labels]),
        "condition": np.array([condition for _, condition, *_ in labels]),
        "number": np.array([number for *_, number, _ in labels]),
        "view": np.array([view for *_, view in labels]),
        "recording": np.zeros(len(samples), np.int64),
        "first_frame": np.array([each.first for each in read]),
        "part": np.array([sample.part for sample in samples]),
        "sequence": np.array([sample.name for sample in samples]),
        "source": np.array([each.file for each in read]),
        "fault": np.array([each.fault for each in read]),
    }
    return Part(frames, columns)


def _read_sample(root: Path, modalities: Sequence[str], sample: Sample) -> _Read:
    """One window in all modalities."""
    arrays, first, numbers = {}, "", None
    for name in modalities:
        file = sample.files.get(name)
        if file is None:
            return _Read({}, 0, next(iter(sample.files.values())), f"has no {name} beside it")
        try:
            arrays[name], told = _read_file(root / file, name)
        except _Fault as fault:
            return _Read({}, 0, file, str(fault))
        if numbers is None:
            first, numbers = file, told
        if (told != numbers).any():
            return _Read({}, 0, file, f"is of other frames than {first}")
    assert numbers is not None
    return _Read(arrays, int(numbers[0]), first, "")


def _read_file(path: Path, modality: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Frames of one file (25, 60, 60) or (25, 60, 60, 2), and their numbers in the video.

    Raises:
        _Fault: if it holds something else.
    """
    import h5py

    shape, dtype, factor = KINDS[modality]
    try:
        with h5py.File(path, "r", locking=False) as file:
            data = file.get("data")
            if not isinstance(data, h5py.Dataset):
                raise _Fault("lacks data")
            # PyTables keeps no array without values; deepdish writes its shape in its place
            if data.size == 0 or "zeroarray_dtype" in data.attrs:
                raise _Fault("is empty: nobody was found in its video")
            if data.shape != shape or data.dtype != dtype:
                raise _Fault(
                    f"has data of shape {data.shape} and type {data.dtype}, expected {shape} and "
                    f"{dtype}"
                )
            numbers, told = _numbers(file, "frames", FRAMES), _numbers(file, "compressFactor", 1)
            if told[0] != factor:
                raise _Fault(f"has compressFactor {told[0]}, expected {factor}")
            values = data[()]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise _Fault(f"is no HDF5 file that can be read ({reason})") from error
    if modality == GRAY:
        return np.ascontiguousarray(np.moveaxis(values, 2, 0)), numbers
    pairs = values.reshape(SIDE, SIDE, FRAMES, 2)
    return np.ascontiguousarray(np.moveaxis(pairs, 2, 0)), numbers


def _numbers(file: h5py.File, key: str, count: int) -> NDArray[np.int64]:
    """So many whole numbers, which are an array or an attribute."""
    node = file.get(key)
    found = file.attrs.get(key) if node is None else node
    if found is None:
        raise _Fault(f"lacks {key}")
    if (
        getattr(found, "size", 1) != count
        or np.dtype(getattr(found, "dtype", "O")).kind not in "iu"
    ):
        raise _Fault(f"has a {key} that is not {count} whole numbers")
    return np.asarray(found[()], np.int64).reshape(count)
