"""A published network as the readers of its formats describe it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.skeleton import Skeleton


@dataclass(frozen=True)
class Published:
    """A published network in the terms of this package.

    Args:
        origin: program that wrote the file: ``GaitGraph2``, ``GaitGraph``, ``OpenGait`` or
            ``GaitFormer``.
        settings: what the file says of network and training, by the names of the methods in
            :mod:`gaitbench.methods`.
        skeleton: the joint layout.
        weights: the network's tensors by the names of :mod:`gaitbench.backbones`.
        unmatched: keys of the file's weights that belong to no network known here.
        remarks: what is known to be different, one sentence each.
        input_form: branches and channels of a graph network's streams; each method has its own name
            for them.
        untold: settings that nothing in the file tells, and what is to be said of each where the
            user does not give it.
    """

    origin: str
    settings: dict[str, Any]
    skeleton: Skeleton
    weights: dict[str, Tensor]
    unmatched: list[str]
    remarks: list[str]
    input_form: tuple[int, int] | None = None
    untold: Mapping[str, str] = field(default_factory=dict)


def weights_in(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict: Lightning's ``state_dict``, ``model`` of others, or the whole file."""
    found = None
    if isinstance(content, Mapping):
        found = content.get("state_dict", content.get("model"))
        if found is None and all(isinstance(value, Tensor) for value in content.values()):
            found = content
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
