"""What the two networks of SGE-LA share: how they are trained."""

from typing import Any, Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn

from gaitbench.errors import InputError
from gaitbench.methods.base import GaitMethod
from gaitbench.optimizers import TensorFlowAdam
from gaitbench.schedules import SteadyFall


class RatedMethod(GaitMethod):
    """A method with Adam as its authors' program in TensorFlow has it, and a rate that may stay.

    Args:
        optimizer: ``tf_adam``, see :class:`gaitbench.optimizers.TensorFlowAdam`, or ``adam``.
        learning_rate: constant, or peak of the one cycle.
        rate: ``constant``, as published, or ``one_cycle``.
        l2: coefficient of half the sum of squares of all weights, biases too.
        clip: largest absolute value of an element of the gradient; None for none. With ``tf_adam``
            it bounds the gradient with the L2 term, as published, with ``adam`` that without it.
        settings: see :class:`GaitMethod`.
    """

    def __init__(
        self,
        optimizer: Literal["tf_adam", "adam"],
        learning_rate: float,
        rate: Literal["constant", "one_cycle"],
        l2: float = 0.0,
        clip: float | None = None,
        **settings: Any,
    ) -> None:
        if l2 < 0:
            raise InputError(f"model.l2 is {l2}; give 0 or more")
        if clip is not None and clip <= 0:
            raise InputError(f"model.clip is {clip}; give more than 0, or null for none")
        # TensorFlowAdam keeps its L2 under a name of its own
        decay = l2 if optimizer == "adam" else 0.0
        super().__init__(
            learning_rate=learning_rate, weight_decay=decay, optimizer="adam", tta=False, **settings
        )
        self.kind = optimizer
        self.rate = rate
        self.l2 = l2
        self.clip = clip

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam of either kind, under a schedule that steps with every batch."""
        if self.kind == "adam":
            return super().configure_optimizers()
        groups = self.parameter_groups()
        optimizer = TensorFlowAdam(groups, self.learning_rate, weight_decay=self.l2, clip=self.clip)
        schedule = self.schedule(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The same rate for all steps, or one cycle."""
        return super().schedule(optimizer) if self.rate == "one_cycle" else SteadyFall(optimizer, 1)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says, and element by element where the optimiser does not."""
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if self.kind == "adam" and self.clip is not None:
            nn.utils.clip_grad_value_(self.parameters(), self.clip)
