"""Networks that GaitFormer's program has written: state dicts, and nothing beside them.

Source of the format: the authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gaitbench.densegait import SUBSETS, attribute_names
from gaitbench.errors import InputError
from gaitbench.published.network import Published, weights_in
from gaitbench.skeleton import OPENPOSE18

HEADS = 8
"""Of the attention in all published configurations; no tensor tells them."""


def is_gaitformer(names: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has this program's third head."""
    return any(_own_name(name) == "out_appearance.weight" for name in names)


def recognise(content: Any, path: Path) -> Published:
    """Which network a file of this program holds.

    Args:
        content: of the file, from :func:`gaitbench.checkpoints.read_published`.
        path: named in messages.

    Raises:
        InputError: if a tensor is missing that tells a size, or the network is for other poses.
    """
    weights = {_own_name(name): value for name, value in weights_in(content, path).items()}
    try:
        settings = _transformer(weights) if "positional_embedding" in weights else _graph(weights)
    except KeyError as error:
        raise InputError(
            f"{path} is no whole network of GaitFormer's program: its weights lack {error}; "
            "download it again from where it was published"
        ) from error
    values = settings.pop("values")
    if values != OPENPOSE18.num_joints * 3:
        raise InputError(
            f"{path} takes {values} values a frame, expected {OPENPOSE18.num_joints} joints with "
            "x, y and confidence; it is of another data format"
        )
    untold = {}
    if settings["backbone"] == "gaitformer":
        settings["heads"] = HEADS
        untold["heads"] = f"no tensor tells the heads of its attention; {HEADS} are assumed"
    # what it tells is told; a network trained by contrast alone has a head that nobody trained
    settings["attribute_weight"] = 0.5
    outputs = len(weights["out_appearance.weight"])
    categories = {len(attribute_names(names)): names for names in SUBSETS.values()}
    if outputs in categories:
        settings["attributes"] = list(categories[outputs])
    else:
        untold["attributes"] = f"it tells {outputs} attributes and not which"
    return Published("GaitFormer", settings, OPENPOSE18, weights, [], [], untold=untold)


def _own_name(name: str) -> str:
    """A tensor's name as the backbones call it; trained on several GPUs it begins otherwise."""
    return name.replace("module.", "")


def _transformer(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    layers = {found[1] for name in weights if (found := re.match(r"encoder\.layers\.(\d+)", name))}
    _, period, width = weights["positional_embedding"].shape
    return {
        "backbone": "gaitformer",
        "period": period,
        "width": width,
        "depth": len(layers),
        "projection_dim": len(weights["projection.weight"]),
        "values": weights["skeleton_encoding.weight"].shape[1],
    }


def _graph(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "backbone": "st-gcn",
        "width": len(weights["st_gcn_networks.9.gcn.conv.weight"]) // len(weights["A"]),
        "projection_dim": len(weights["projection.weight"]),
        "values": len(weights["data_bn.weight"]),
    }
