"""Reader of windows that the authors of SGE-LA and its successors cut beforehand, as numpy files.

A file an axis, ``source_x_BIWI_6.npy``, holds the windows of 6 frames end to end, and
``ids_BIWI_6.npy`` a pickled dictionary: person -> numbers of windows. What is pickled there is read
by an unpickler that knows dictionaries, lists, numbers and strings alone. Targets are sources in
reverse and stay unread. KS20 may have these files for each view, in folders ``view_0`` to
``view_4``.

Source of the layouts: Rao et al., IJCAI 2020 (arXiv 2008.09435), T-PAMI 2021 (2009.03671), and the
authors' later programs.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import pickletools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.arrays import plain_arrays
from gaitbench.errors import InputError
from gaitbench.kinect import IAS_LAB, KGBD_ORDER, KS20_VIEWS, KinectSet
from gaitbench.parts import Part, read_in_parts
from gaitbench.readers.kinect import JointOrder
from gaitbench.report import list_skipped
from gaitbench.skeleton import get_skeleton
from gaitbench.store import StoreWriter, fingerprint

Numbers = NDArray[np.int64]

READER_VERSION = 2
"""Raised by one whenever :func:`read_windows` makes another store of the same files."""

CONDITIONS = {
    "Walking": "walking",
    "Still": "still",
    "A": "A",
    "B": "B",
    "gallery": "gallery",
    "probe": "probe",
}
"""Folder of a test part in the layout of the later programs -> its condition."""

AXES = ("x", "y", "z")
VIEWS = {f"view_{number}": view for number, view in enumerate(KS20_VIEWS.values())}


class WindowFiles(NamedTuple):
    """The files of one part of a set.

    Attributes:
        folder: where they lie.
        condition: ``train``, ``A`` ...; ``test`` where the part has no name of its own.
        prefix: of the arrays' names.
        tag: in all names, ``BIWI`` or ``IAS-A``.
        size: frames of a window.
        joints: V of a frame.
        view: degrees; 0 where it is not told.
    """

    folder: str
    condition: str
    prefix: str
    tag: str
    size: int
    joints: int = 20
    view: int = 0

    @property
    def arrays(self) -> list[Path]:
        """The files of x, y and z."""
        names = [f"{self.prefix}source_{axis}_{self.tag}_{self.size}.npy" for axis in AXES]
        return [Path(self.folder, name) for name in names]

    @property
    def ids(self) -> Path:
        """The file that says which windows are whose."""
        return Path(self.folder, f"ids_{self.tag}_{self.size}.npy")


def find_windows(
    path: Path, data: KinectSet, size: int, view: int | None = None
) -> list[WindowFiles]:
    """The files of windows below a folder, training first; none if it holds no such folders.

    The three layouts, where D is ``BIWI``, ``IAS`` or ``KGBD``:

    * ``D_train_npy_data`` and ``D_test_npy_data``, IAS-Lab's parts told by names of files (IJCAI);
    * the same below ``D/6`` (T-PAMI);
    * ``D/6/train_npy_data`` and ``D/6/test_npy_data/Walking`` and the like (later programs).

    Those of KS20 may lie in ``view_0`` to ``view_4`` there.

    Args:
        path: the folder above these, the one above that, or ``D/6``.
        data: the set.
        size: frames of a window.
        view: in degrees, that of KS20 whose folder is read; None for the files that are of no one
            view, or, where there are none, of all.

    Raises:
        InputError: if files are missing.
    """
    steps = ("", data.name, f"{data.name}/{size}", str(size))
    for base in (Path(path, above, step) for above in ("", "Datasets") for step in steps):
        found = [] if view is not None else _parts(base, data, size)
        if not found and data.form == "takes":
            for name, degrees in VIEWS.items():
                if view in (None, degrees):
                    parts = _parts(base / name, data, size)
                    found += [files._replace(view=degrees) for files in parts]
            found.sort(key=lambda files: files.condition != "train")  # a stable order
        for files in found:
            for file in (*files.arrays, files.ids):
                if not file.is_file():
                    raise _missing(file, files)
        if found:
            return found
    return []


def windows_fingerprint(parts: Sequence[WindowFiles], **settings: object) -> str:
    """What tells one state of the files and settings from another, as 64 hex digits."""
    files = [file for part in parts for file in (*part.arrays, part.ids)]
    return fingerprint(files, conditions=[part.condition for part in parts], **settings)


def read_windows(
    parts: Sequence[WindowFiles],
    data: KinectSet,
    joint_order: JointOrder,
    writer: StoreWriter,
    keep: Path,
) -> None:
    """Read windows into a store, a row a window, in the order of the files.

    Frames are as :func:`gaitbench.readers.kinect.read_kinect` makes them, and all are kept:
    ``zero_joints`` counts joints at no distance, ``zero_frames`` frames whose joints are all at
    zero. ``number`` is that of the window in its file, from 0. Windows that nobody is named for are
    listed in ``skipped.csv`` beside the store's files.

    Args:
        parts: of :func:`find_windows`.
        data: the set.
        joint_order: of KGBD, whose files have an order of their own: ``kinect`` or ``published``.
        writer: of the store.
        keep: folder for what is read until the store is finished.

    Raises:
        InputError: naming the file that is not as published.
    """
    order = KGBD_ORDER if data.form == "walks" and joint_order == "kinect" else ()
    marked = []
    for part in parts:
        state = fingerprint([*part.arrays, part.ids])
        text = json.dumps([READER_VERSION, order, part, state]).encode()
        marked.append((hashlib.sha256(text, usedforsecurity=False).hexdigest()[:32], part))
    folder = Path(parts[0].folder).parent
    table = read_in_parts(writer, keep, marked, partial(_read, order), f"reading {folder}")
    empty = table[table["length"] == 0]
    left_out = []
    for part in parts:
        own = (empty["condition"] == part.condition) & (empty["view"] == part.view)
        reason = f"is left out: {part.ids.name} names nobody for that window"
        left_out += [(int(n), part.arrays[0].name, reason) for n in empty["number"][own]]
    list_skipped(writer.path, str(folder), left_out)


def read_ids(path: Path) -> dict[str, Numbers]:
    """Person -> numbers of windows, in the order of the file. Numbers become ``"007"``.

    Raises:
        InputError: if the file holds anything else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    try:
        found = _unpickled(content)
    except Exception as error:  # a hostile pickle raises anything
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} is no dictionary of persons that can be read safely ({why}); copy the "
            "published file again"
        ) from error
    people: dict[str, Numbers] = {}
    for label, windows in found.items():
        name = f"{label:03d}" if type(label) is int else str(label)
        name = name.zfill(3) if name.isdecimal() else name
        if name in people:
            raise InputError(f"{path} has two entries of person {name}; join them")
        people[name] = np.array(windows, np.int64)
    return people


class _Holder:
    """Stands for numpy's array of one object: keeps that object and forgets the rest."""

    __slots__ = ("content",)

    def __init__(self, *arguments: Any) -> None:
        self.content: Any = None

    def __setstate__(self, state: Any) -> None:
        self.content = state[-1] if isinstance(state, tuple) and state else None


class _Nothing:
    """Stands for the array's type, and for whatever else its wrapping is made of."""

    __slots__ = ()

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _IdsUnpickler(pickle.Unpickler):
    """Knows the four names in which numpy wraps an object, and imports none of them."""

    KNOWN: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Holder,
        ("numpy._core.multiarray", "_reconstruct"): _Holder,
        ("numpy", "ndarray"): _Nothing,
        ("numpy", "dtype"): _Nothing,
        ("_codecs", "encode"): _Nothing,
    }

    def find_class(self, module: str, name: str) -> type:
        """The stand-in of a known name."""
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:80])
        return self.KNOWN[module, name]


def _unpickled(content: bytes) -> dict[int | str, list[int]]:
    """The dictionary in an .npy file of one object.

    Raises:
        Exception: of any kind, if it is something else.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        header = np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if shape != () or dtype != np.dtype(object):
        raise ValueError(f"it is an array of {dtype} of shape {shape}")
    pickled = content[file.tell() :]
    for code, argument, _ in pickletools.genops(pickled):
        # a memo of which a far place is named would be allocated up to there
        if code.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(pickled):
            raise ValueError("its memo is larger than the file")
    array = _IdsUnpickler(io.BytesIO(pickled)).load()
    if type(array) is not _Holder or type(array.content) is not list or len(array.content) != 1:
        raise ValueError("it holds no single object")
    found = array.content[0]
    if type(found) is not dict:
        raise ValueError("it holds no dictionary")
    for label, windows in found.items():
        if type(label) not in (int, str) or type(windows) is not list:
            raise ValueError("it does not map a number or a name to a list")
        if {type(window) for window in windows} - {int}:
            raise ValueError("a window is no whole number")
        if windows and not 0 <= min(windows) <= max(windows) < 1 << 62:
            raise ValueError("a window's number is out of all range")
        if type(label) is int and not 0 <= label < 1 << 62:
            raise ValueError("a person's number is out of all range")
    if sum(map(len, found.values())) > len(pickled):  # the same list again and again
        raise ValueError("it names more windows than it has bytes")
    return found


def _parts(base: Path, data: KinectSet, size: int) -> list[WindowFiles]:
    """The parts right below a folder; none if it does not look like one."""
    found = []
    if (base / f"{data.name}_train_npy_data").is_dir():
        found = _by_name(base, data, size)
    elif (base / "train_npy_data").is_dir():
        found = _by_folder(base, data, size)
    joints = get_skeleton(data.skeleton).num_joints
    return [files._replace(joints=joints) for files in found]


def _by_name(base: Path, data: KinectSet, size: int) -> list[WindowFiles]:
    """Parts in folders of the set's name."""
    name = data.name
    train, test = (str(base / f"{name}_{part}_npy_data") for part in ("train", "test"))
    tags = {"A": "IAS-A", "B": "IAS-B"} if data == IAS_LAB else {"test": name}
    tested = [WindowFiles(test, condition, "t_", tag, size) for condition, tag in tags.items()]
    return [WindowFiles(train, "train", "", name, size), *tested]


def _by_folder(base: Path, data: KinectSet, size: int) -> list[WindowFiles]:
    """Parts in folders of their own."""
    found = [WindowFiles(str(base / "train_npy_data"), "train", "", data.name, size)]
    for part, condition in CONDITIONS.items():
        folder = base / "test_npy_data" / part
        if folder.is_dir():
            files = WindowFiles(str(folder), condition, "t_", data.name, size)
            plain = files._replace(prefix="")
            found.append(plain if plain.arrays[0].is_file() else files)
    if len(found) == 1:
        raise InputError(
            f"{base / 'test_npy_data'} has no folder of a test part, expected some of "
            f"{', '.join(CONDITIONS)}; copy what is missing"
        )
    return found


def _missing(file: Path, files: WindowFiles) -> InputError:
    """The error that names a file which is not there, and the sizes of those that are."""
    name = f"{files.prefix}source_x_{files.tag}_"
    folder = Path(files.folder)
    found = sorted(folder.glob(f"{name}*.npy")) if folder.is_dir() else []
    sizes = [place.stem.removeprefix(name) for place in found]
    there = f", there are windows of {', '.join(sizes)} frames" if sizes else ""
    return InputError(f"{file} is missing{there}; copy it, or mend data.frames {files.size}")


def _read(order: tuple[int, ...], files: WindowFiles) -> Part:
    """All windows of a part that somebody is named for."""
    axes = [_axis(path, files.size, files.joints) for path in files.arrays]
    for path, axis in zip(files.arrays, axes, strict=True):
        if len(axis) != len(axes[0]):
            raise InputError(
                f"{path} has {len(axis)} windows, {files.arrays[0].name} has {len(axes[0])}; copy "
                "the files of one state"
            )
    person, names = _persons(files, len(axes[0]))
    frames = np.stack(axes, axis=-1)[person >= 0]
    if order:
        frames = frames[:, :, order]
    columns = {
        "length": np.where(person < 0, 0, files.size),
        "subject": np.array([*names, ""])[person],
        "condition": np.full(len(person), files.condition, "U16"),
        "number": np.arange(len(person)),
        "view": np.full(len(person), files.view),
        "zero_joints": np.zeros(len(person), np.int64),
        "zero_frames": np.zeros(len(person), np.int64),
    }
    columns["zero_joints"][person >= 0] = (frames[..., 2] == 0).sum(axis=(1, 2))
    columns["zero_frames"][person >= 0] = (~frames.any(axis=(2, 3))).sum(axis=1)
    return Part(frames.reshape(-1, files.joints, 3), columns)


def _persons(files: WindowFiles, count: int) -> tuple[Numbers, list[str]]:
    """Of each window the place of its person in a list of names, -1 for nobody; and that list."""
    people = read_ids(files.ids)
    person = np.full(count, -1, np.int64)
    for place, (name, windows) in enumerate(people.items()):
        if len(windows) and windows.max() >= count:
            raise InputError(
                f"{files.ids} names window {windows.max()} of person {name}, but "
                f"{files.arrays[0].name} has {count} from 0; copy the files of one state"
            )
        twice = np.sort(windows)[1:][np.diff(np.sort(windows)) == 0]
        if len(taken := np.append(twice, windows[person[windows] >= 0])):
            raise InputError(
                f"{files.ids} names window {taken[0]} twice, for {name} the second time; copy the "
                "published file again"
            )
        person[windows] = place
    return person, list(people)


def _axis(path: Path, size: int, joints: int) -> NDArray[np.float32]:
    """Windows (N, size, joints) of one axis."""
    try:
        with path.open("rb") as file:
            values = plain_arrays(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no .npy file of numbers: it {error}; copy it again") from error
    if isinstance(values, dict):
        raise InputError(f"{path} is an .npz file, expected an .npy file; copy it again")
    window = size * joints
    if values.dtype.kind not in "fiu" or not values.size or values.size % window:
        raise InputError(
            f"{path} holds {values.size} values of {values.dtype}, expected numbers, {window} a "
            f"window of {size} frames; copy it again, or mend data.frames"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # not finite, and is refused
        windows: NDArray[np.float32] = values.reshape(-1, size, joints).astype(np.float32)
    if not np.isfinite(windows).all():
        window, frame, joint = np.argwhere(~np.isfinite(windows))[0]
        raise InputError(
            f"{path} has no finite number for joint {joint} in frame {frame} of window {window} "
            "(all from 0); copy it again"
        )
    return windows
