"""Checkpoints as files: those that runs write, and those that others have published.

Nothing in a file is run. Which network a published one holds, :mod:`gaitbench.published` tells.
"""

import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaitbench.errors import InputError


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
        content = _restricted(path, mapped=True)
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
        archive = zipfile.is_zipfile(path)
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if archive else None
        foreign = _foreign_names(path) if names is None else names
        inert: list[Any] = [
            (InertArray if name.startswith("numpy.") else Inert, name) for name in foreign
        ]
        with torch.serialization.safe_globals(inert):
            return _restricted(path, mapped=archive)
    except Exception as error:  # torch raises anything on a damaged file
        blocked = re.search(r"unsupported GLOBAL (\S+) whose module", str(error))
        why = f"it asks for {blocked[1]}" if blocked else "no torch file, or a damaged one"
        if "unrecognized function" in str(error):
            why = "it wants to run what it holds"
        raise InputError(
            f"{path} cannot be read safely ({why}); download it again from where it was published"
        ) from error


def _restricted(path: Path | str, mapped: bool) -> Any:
    """What torch's restricted unpickler makes of a file, without its advice on formats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _foreign_names(path: Path) -> set[str]:
    """Names of classes and functions in a torch file from before the zip format (torch 1.6)."""
    found = set()
    with path.open("rb") as file:
        for _ in ("magic number", "version", "system", "content"):
            for code, name, _ in pickletools.genops(file):
                if code.name == "GLOBAL":
                    module, _, member = str(name).partition(" ")
                    module = IMPORT_MAPPING.get(module, module)
                    found.add(".".join(NAME_MAPPING.get((module, member), (module, member))))
    return found
