"""Checkpoints: those that runs write, and those that others have published.

What others have published is described, not run: :func:`read_published` reads a file without taking
anything from it but tensors and plain values, :func:`recognise` works out which network they are.

Source of the formats: the authors' code and releases of GaitGraph (Teepe et al. 2021, arXiv
2101.11228) and GaitGraph2 (2022, arXiv 2204.07855); the re-implementation of GaitGraph2 that
OpenGait (Fan et al. 2023, arXiv 2211.06597) and FastPoseGait (Fu et al. 2023, arXiv 2303.05234)
share.
"""

import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaitbench.backbones.resgcn import MAIN_WIDTHS, REDUCTIONS, STRUCTURES
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17, SKELETONS, Skeleton


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """A Lightning checkpoint's content: tensors and plain data, nothing else is unpickled.

    Raises:
        InputError: if there is none or it is something else.
    """
    if not Path(path).is_file():
        raise InputError(f"checkpoint {path} does not exist; name a .ckpt file of a run")
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


@dataclass(frozen=True)
class Published:
    """A published network in the terms of this package.

    Args:
        origin: program that wrote the file: ``GaitGraph2``, ``GaitGraph`` or ``OpenGait``.
        input_form: branches and channels of the streams; each method has its own name for them.
        settings: all else that the file says of network and training, by the names of the methods
            in :mod:`gaitbench.methods`.
        skeleton: the joint layout.
        weights: the network's tensors by the names of :mod:`gaitbench.backbones`.
        unmatched: keys of the file's weights that belong to no network known here.
        remarks: what is known to be different, one sentence each.
    """

    origin: str
    input_form: tuple[int, int]
    settings: dict[str, Any]
    skeleton: Skeleton
    weights: dict[str, Tensor]
    unmatched: list[str]
    remarks: list[str]


LAYOUTS = {layout.num_joints: layout for layout in SKELETONS.values()}
"""Joint layouts by their number of joints; the files do not name theirs."""
OPTIONS = {
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "loss_temperature": "temperature",
    "temp": "temperature",
}
"""Settings of the authors' programs and what they are called here."""
NETWORK = re.compile(
    r"(A$|input_branches\.|main_stream\.|fcn\.|data_bn\.|st_gcn_networks\.|edge_importance\.)"
)
"""How the names of a network's tensors begin, as the authors and the backbones write them."""


def recognise(content: Any, path: Path) -> Published:
    """Which network a published file holds.

    Args:
        content: of the file, from :func:`read_published`.
        path: named in messages.

    Raises:
        InputError: if there is no network in it, or one that is unknown here.
    """
    found = _weights_in(content, path)
    if "gaitbench" in content:
        raise InputError(f"{path} was written by gaitbench; `test` and `predict` take it as it is")
    if any("ResGCN." in name for name in found):
        origin, own_name = "OpenGait", _own_name_of_opengait
    else:
        origin = "GaitGraph2" if "state_dict" in content else "GaitGraph"
        own_name = _own_name
    weights = {own_name(name): value for name, value in found.items() if own_name(name)}
    unmatched = [name for name in found if not own_name(name)]
    try:
        settings, form, joints = _architecture(weights)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise InputError(
            f"{path} holds no network that is known here: its weights lack {error}; expected a "
            "ResGCN or ST-GCN of GaitGraph or GaitGraph2"
        ) from error
    if joints not in LAYOUTS:
        raise InputError(
            f"{path} holds a network for {joints} joints; expected {' or '.join(map(str, LAYOUTS))}"
        )
    if settings["backbone"] is None:
        raise InputError(
            f"{path} holds a ResGCN of an unknown structure; known are "
            f"{', '.join(STRUCTURES)} with reductions {', '.join(REDUCTIONS)}"
        )
    layout = LAYOUTS[joints]
    if "input_branches.0.A" in weights:
        # OpenGait keeps the graph with the branches alone; the main stream has the same
        weights.setdefault("A", weights["input_branches.0.A"])
    remarks = _remarks(origin, settings["backbone"], layout, weights, path)
    settings |= _options(content)
    if origin == "OpenGait" and layout is COCO17 and form != (1, 3):
        settings["nose_bone"] = "left_shoulder"
    return Published(origin, form, settings, layout, weights, unmatched, remarks)


def _weights_in(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict: Lightning's ``state_dict``, or ``model`` of all others."""
    found = None
    if isinstance(content, Mapping):
        found = content.get("state_dict", content.get("model"))
    if not isinstance(found, Mapping) or not found:
        raise InputError(
            f"{path} holds no network: expected weights under `state_dict` or `model`; name the "
            "checkpoint that the authors published"
        )
    for name, value in found.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise InputError(
                f"{path} holds a pickled object where the weight {name} should be; download it "
                "again from where it was published"
            )
    return dict(found)


def _own_name(name: str) -> str:
    """A tensor's name in the authors' files as the backbones call it; '' if it is not theirs."""
    # trained on several GPUs each name begins with `module.`; Lightning adds the attribute's name
    name = name.removeprefix("module.").removeprefix("backbone.")
    return name if NETWORK.match(name) else ""


def _own_name_of_opengait(name: str) -> str:
    """The same of a name in OpenGait; inside modules it is the authors'.

    Source: GaitGraph2 of OpenGait and FastPoseGait, read for these names.
    """
    name = name.removeprefix("module.")
    for there, here in (
        ("head.", "input_branches."),
        ("backbone.", "main_stream."),
        ("fcn.", "fcn."),
    ):
        if name.startswith(f"ResGCN.{there}"):
            return here + name.removeprefix(f"ResGCN.{there}")
    return ""


def _architecture(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], tuple[int, int], int]:
    """Network and embedding, (branches, channels) of the input, and number of joints.

    The backbone is None where layers and shapes fit no structure.

    Raises:
        KeyError: if a tensor is missing that tells them.
    """

    def size(name: str, axis: int = 0) -> int:
        return weights[name].shape[axis]

    def count(pattern: str) -> int:
        return len({found[0] for name in weights if (found := re.match(pattern, name))})

    embedding = {"embedding_dim": size("fcn.weight")}
    if "data_bn.weight" in weights:
        joints = size("edge_importance.0", 1)
        return embedding | {"backbone": "st-gcn"}, (1, size("data_bn.weight") // joints), joints

    form = count(r"input_branches\.\d+\."), size("input_branches.0.bn.weight")
    joints = size("main_stream.0.edge", 1)
    bottleneck = "main_stream.0.scn.conv_down.weight" in weights
    last = "scn.bn_up.weight" if bottleneck else "scn.bn.weight"
    widths = [size(f"main_stream.{i}.{last}") for i in range(count(r"main_stream\.\d+\."))]
    half, full = MAIN_WIDTHS
    # all structures begin a branch with one module, which a basic one does not tell from the rest
    branch = 1, count(r"input_branches\.0\.layers\.\d+\.") - 1
    modules = *branch, widths.count(half), widths.count(full)
    structures = [
        name
        for name, known in STRUCTURES.items()
        if known == modules and name.startswith("n" if bottleneck else "b")
    ]
    reductions = [""]
    if bottleneck:
        inside = size("main_stream.0.scn.conv_down.weight")
        reductions = [name for name, times in REDUCTIONS.items() if inside * times == half]
    backbone = None
    if structures and reductions:
        parts = _attention(weights, joints), "resgcn", structures[0], reductions[0]
        backbone = "-".join(filter(None, parts))
    return embedding | {"backbone": backbone}, form, joints


def _attention(weights: Mapping[str, Tensor], joints: int) -> str:
    """Prefix of a ResGCN's name by the tensors of its attention; '' for none."""
    att = "main_stream.0.att."
    for prefix, name in (
        ("fa", "conv.weight"),
        ("psa", "part_pool.0.weight"),
        ("pca", "part_pool.0.0.weight"),
    ):
        if att + name in weights:
            return prefix
    if f"{att}fcn.4.weight" not in weights:
        return ""
    outputs, channels = weights[f"{att}fcn.4.weight"].shape[0], MAIN_WIDTHS[0]
    return {joints: "ja", channels: "ca"}.get(outputs, "pa")


def _options(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the file tells of the training, in the names used here; what it does not is left out."""
    options = content.get("hyper_parameters")
    if not isinstance(options, Mapping):
        # GaitGraph keeps the attributes of its argument parser's namespace
        options = getattr(content.get("opt"), "__dict__", {})
    found: dict[str, Any] = {
        here: value
        for there, here in OPTIONS.items()
        if isinstance(value := options.get(there), int | float)
    }
    if "learning_rate" in found and "weight_decay" not in found:
        # GaitGraph2 on OUMVLP-Pose has no such setting: Adam without decay
        found |= {"optimizer": "adam", "weight_decay": 0.0}
    return found


def _remarks(
    origin: str,
    backbone: str,
    layout: Skeleton,
    weights: Mapping[str, Tensor],
    path: Path,
) -> list[str]:
    """What is different from the network built here although every name and shape agrees.

    Raises:
        InputError: if that is the computation itself.
    """
    remarks = []
    own = torch.from_numpy(layout.adjacency())
    graph = weights.get("A", own)
    if graph.shape == own.shape and not torch.allclose(graph.float(), own):
        remarks.append(f"its graph is not that of {layout.name}; the file's is used")
    if origin == "OpenGait" and "resgcn-b" in backbone:
        # its first basic block of the main stream keeps all frames
        raise InputError(
            f"{path} holds the basic blocks {backbone} of OpenGait, which halve the frames at "
            "other places than the authors' with the same weights; its bottlenecks can be read"
        )
    return remarks
