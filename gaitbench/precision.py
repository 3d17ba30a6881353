"""What is worked out in float32 at least, whatever the trainer's precision is for the rest.

Distances, unit vectors, exponentials with a low temperature and sums over a batch lose what a loss
looks at when they have the three digits of bfloat16. They cost next to nothing.
"""

import torch
from torch import Tensor, nn


def precise(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> torch.autocast:
    """A context in which operations on the device of ``x`` have the precision of their inputs."""
    return torch.autocast(x.device.type, enabled=False)


def exactly(layer: nn.Linear, x: Tensor) -> Tensor:
    """What a linear layer makes of (..., I), in the precision of its weights, autocast or not.

    It is meant for the small last layers, whose output is an embedding.
    """
    with without_autocast(x):
        y: Tensor = layer(x.to(layer.weight.dtype))
        return y
