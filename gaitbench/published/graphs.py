"""Graph networks that others have published.

Source of the formats: the authors' code and releases of GaitGraph (Teepe et al. 2021, arXiv
2101.11228) and GaitGraph2 (2022, arXiv 2204.07855); the re-implementation of GaitGraph2 that
OpenGait (Fan et al. 2023, arXiv 2211.06597) and FastPoseGait (Fu et al. 2023, arXiv 2303.05234)
share.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaitbench.backbones.resgcn import MAIN_WIDTHS, REDUCTIONS, STRUCTURES
from gaitbench.errors import InputError
from gaitbench.published.network import Published, weights_in
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton

LAYOUTS = {layout.num_joints: layout for layout in (COCO17, OPENPOSE18)}
"""Published layouts by their number of joints; the files do not name theirs."""
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
    """Which graph network a published file holds.

    Args:
        content: of the file, from :func:`read_published`.
        path: named in messages.

    Raises:
        InputError: if there is no network in it, or one that is unknown here.
    """
    found = weights_in(content, path)
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
            "ResGCN or ST-GCN of GaitGraph or GaitGraph2, or a GaitFormer"
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
    return Published(origin, settings, layout, weights, unmatched, remarks, form)


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
