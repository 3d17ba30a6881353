"""Checkpoints as files: those that runs write, and those that others have published.

Nothing in a file is run. Which network a published one holds, :mod:`gaitbench.published` tells.
"""

import io
import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gaitbench.errors import InputError

LONGEST = 1000
"""Characters of a class's or function's name."""

OWN_PROGRAM = "it wants to run what it holds"
"""Why a pickle is refused that calls what has no name."""

NAMED = "named"
"""Marks in a stack what has a name."""


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """A Lightning checkpoint's content: tensors and plain data, nothing else is unpickled.

    Raises:
        InputError: if there is none or it is something else.
    """
    if not Path(path).is_file():
        raise InputError(f"checkpoint {path} does not exist; name a .ckpt file of a run")
    if Path(path).suffix == ".onnx":
        raise InputError(
            f"{path} is an exported network and no checkpoint; `test` takes it by --model "
            f"ExportedNetwork --model.path {path}, `embed` by --model {path}"
        )
    if _is_flipped(Path(path)):
        raise InputError(
            f"{path} is damaged, its checksums are wrong; copy it again, or name another .ckpt file"
        )
    try:
        content = _restricted(Path(path))
    except Exception as error:  # torch raises anything on a damaged file
        # and advises to switch its safeguard off, at length
        alien = "weights_only" in str(error)
        why = "it holds more than tensors" if alien else "no torch file"
        mend = "; what others have published goes through `gaitbench import-checkpoint` first"
        raise InputError(
            f"{path} is no checkpoint that can be read safely ({why}); name a .ckpt file that "
            f"`fit` has written{mend if alien else ''}"
        ) from error
    for name in ("state_dict", "pytorch-lightning_version"):
        if not isinstance(content, dict) or name not in content:
            raise InputError(
                f"{path} is a torch file but no checkpoint: it lacks {name}; name a .ckpt file "
                "that `fit` has written"
            )
    for name in ("state_dict", "hyper_parameters", "gaitbench"):
        if not isinstance(content.get(name, {}), Mapping):
            raise InputError(f"{path} is damaged: its {name} is no table of names and values")
    for name, value in content["state_dict"].items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path} is damaged: its weight {name} is no tensor")
    return dict(content)


def _is_flipped(path: Path) -> bool:
    """Whether what lies in an archive is not what was written, which torch does not look at.

    What is no archive as torch writes them is left to torch.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            size = sum(member.file_size for member in members)
            return plain and size <= path.stat().st_size and archive.testzip() is not None
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return zipfile.is_zipfile(path)


class Inert:
    """Stands for every class and function of a file that torch does not know to be harmless.

    Calling it, or making one, gives an empty dictionary whatever the arguments. torch's restricted
    unpickler fills a dictionary's items and attributes, so what a class kept is still to be read.
    """

    def __new__(cls, *arguments: Any) -> Any:
        """An empty dictionary."""
        return OrderedDict()


class InertArray:
    """The same for what numpy makes, whose state is no dictionary: it is forgotten."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_published(path: Path) -> Any:
    """Content of a torch file of any age, of which nothing is imported or run.

    torch's restricted unpickler knows tensors and plain containers; every other name in the file
    means an inert class for as long as it is read. Modules that reach the system (``os``, ``sys``)
    are refused. Storages are mapped from the file where it is a zip archive.

    Raises:
        InputError: if there is no file, or it is something else or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a published .ckpt, .pth or .pt file")
    try:
        return _restricted(path, inert=True)
    except Exception as error:  # torch raises anything on a damaged file
        blocked = re.search(r"unsupported GLOBAL (\S+) whose module", str(error))
        why = f"it asks for {blocked[1]}" if blocked else "no torch file, or a damaged one"
        if str(error) == OWN_PROGRAM:
            why = OWN_PROGRAM
        raise InputError(
            f"{path} cannot be read safely ({why}); download it again from where it was published"
        ) from error


def _restricted(path: Path, inert: bool = False) -> Any:
    """What torch's restricted unpickler makes of a file, without its advice on formats.

    Args:
        path: of the file; storages of a zip archive are mapped.
        inert: whether names that torch does not know stand for something harmless.
    """
    archive, foreign = zipfile.is_zipfile(path), list[Any]()
    with path.open("rb") as file:
        if archive:
            record = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
            names = _names_in(io.BytesIO(record))
        else:
            parts = ("magic number", "version", "system", "content", "storages")
            names = {name for _ in parts for name in _names_in(file)}
    if inert:
        foreign = [(InertArray if n.startswith("numpy.") else Inert, n) for n in names]
    with warnings.catch_warnings(), torch.serialization.safe_globals(foreign):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)


def _names_in(program: BinaryIO) -> set[str]:
    """Names of the classes and functions that a pickle asks for, as Python 3 calls them.

    torch's restricted unpickler quotes what it refuses to call and searches the quotation in
    quadratic time: a list that holds itself twice, and so on for forty levels, would fill all
    memory, and a name of a megabyte take hours. So what is called must have a name, of some length.

    Raises:
        ValueError, LookupError: if it has none, or the pickle is damaged.
    """
    names, stack, memo = set[str](), list[Any](), dict[Any, Any]()
    for code, value, _ in pickletools.genops(program):
        if code.name in ("REDUCE", "NEWOBJ") and stack[-2] is not NAMED:
            raise ValueError(OWN_PROGRAM)
        taken = code.stack_before
        if pickletools.markobject in taken:
            while stack.pop() is not pickletools.markobject:
                pass
            taken = taken[: taken.index(pickletools.markobject)]
        if taken:
            del stack[-len(taken) :]
        if code.name.endswith("PUT"):
            memo[value] = stack[-1]
        stack += [memo[value]] if code.name.endswith("GET") else code.stack_after
        if code.name == "GLOBAL":
            stack[-1] = NAMED
            module, _, member = str(value).partition(" ")
            module, member = NAME_MAPPING.get(
                (module, member), (IMPORT_MAPPING.get(module, module), member)
            )
            name = f"{module}.{member}"
            if len(name) > LONGEST:
                raise ValueError(f"a name of {len(name)} characters")
            names.add(name)
    return names
