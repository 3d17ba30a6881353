"""Optimisers that torch does not have."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from gaitbench.errors import InputError


class TensorFlowAdam(torch.optim.Adam):
    """Adam as TensorFlow has it, with L2 and clipping as SGE-LA's program puts them around it.

    A step is w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon): the epsilon stands
    outside the correction of the start, where :class:`torch.optim.Adam` has it inside. Weights
    whose gradients are tiny move differently. m and v are means of the gradient of the loss plus
    ``weight_decay`` times the weight, clipped value by value.

    Args:
        params: parameters, or groups of them.
        lr: rate.
        betas: b1 and b2.
        epsilon: see above.
        weight_decay: coefficient of half the sum of squares of all weights.
        clip: largest absolute value of a gradient's element; none if None.

    Raises:
        InputError: if the clip is not above 0.

    Source: Kingma and Ba 2015, arXiv 1412.6980, the form at the end of section 2.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        if clip is not None and clip <= 0:
            raise InputError(f"the clip of gradients is {clip}; give more than 0, or null for none")
        super().__init__(params, lr=lr, betas=betas, eps=epsilon, fused=True)
        # L2 and clip are of true gradients, not of those that 16-mixed has scaled
        self._step_supports_amp_scaling = False
        for group in self.param_groups:
            group.setdefault("epsilon", epsilon)
            group.setdefault("l2", weight_decay)
            group.setdefault("clip", clip)
            group.setdefault("steps", 0)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move all parameters that have a gradient, which it changes."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["steps"] += 1
            # torch divides sqrt(v) by this before it adds its epsilon
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** group["steps"])
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["l2"]:
                    parameter.grad.add_(parameter, alpha=group["l2"])
                if group["clip"] is not None:
                    parameter.grad.clamp_(-group["clip"], group["clip"])
        super().step()
        return loss
