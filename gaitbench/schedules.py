"""Learning rates over a training, one a step, and over the layers of a network."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict

import torch
from torch import nn

from gaitbench.errors import InputError

RISE, FALL = 25, 1e4
"""The peak of the one-cycle schedule over its first rate, and the first rate over the last."""


class OneCycle(torch.optim.lr_scheduler.OneCycleLR):
    """A one-cycle schedule that may stop on its way and stay.

    Args:
        optimizer: whose rate and momentum are cycled.
        peak: highest rate.
        steps: of the whole cycle.
        last: step whose rate is kept from there on.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, peak: float, steps: int, last: int
    ) -> None:
        self.last = last
        super().__init__(optimizer, peak, steps, div_factor=RISE, final_div_factor=FALL)

    def get_lr(self) -> Any:
        """Rates of this step, one a parameter group; momentum is set on the way."""
        now = self.last_epoch
        self.last_epoch = min(now, self.last)
        try:
            return super().get_lr()
        finally:
            self.last_epoch = now


class SteadyFall(torch.optim.lr_scheduler.LRScheduler):
    """Every rate is multiplied by the same factor after every step.

    Args:
        optimizer: whose rates are set; each group's own is where it begins.
        factor: of one step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: float) -> None:
        self.factor = factor
        super().__init__(optimizer)

    def get_lr(self) -> Any:
        """Rates of this step, one a parameter group."""
        return [rate * self.factor**self.last_epoch for rate in self.base_lrs]


class Milestones(torch.optim.lr_scheduler.LRScheduler):
    """Every rate is multiplied by the same factor at each of some steps.

    Args:
        optimizer: whose rates are set; each group's own is where it begins.
        milestones: in rising order; steps, or whatever else the schedule is moved on with.
        factor: at each of them.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, milestones: Sequence[int], factor: float
    ) -> None:
        self.milestones = list(milestones)
        self.factor = factor
        super().__init__(optimizer)

    def get_lr(self) -> Any:
        """Rates of this step, one a parameter group."""
        passed = bisect_right(self.milestones, self.last_epoch)
        return [rate * self.factor**passed for rate in self.base_lrs]


LAYER_FALL = 0.9
"""Rate of a layer over that of the next one nearer to the output."""
STEP_FALL = 0.9995
"""Rates of a step over those of the step before, in a training with a rate for each layer."""


def layer_wise_groups(
    parameters: Iterable[tuple[str, nn.Parameter]],
    heads: Sequence[str],
    layers: str,
    stem: Sequence[str],
    depth: int,
    head_rate: float,
    rate: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Parameter groups with a rate that falls from layer to layer towards the input.

    In this order: the heads; layers ``depth``, ``depth`` - 1, ... 0, of which the first is empty,
    for layers count from 0; each part of the stem. Each of them is two groups, biases, which do not
    decay, and the rest. A parameter that no name matches is in no group.

    Args:
        parameters: names and parameters.
        heads: parts of the names of the heads' parameters.
        layers: what layers' names begin with, before ``.<number>.``.
        stem: parts of the names of what stands before the layers.
        depth: number of layers L.
        head_rate: of the heads.
        rate: of layer L; layer i has ``LAYER_FALL`` ** (L - i) of it, the stem has
            ``LAYER_FALL`` ** (L + 1).
        weight_decay: of all but the biases.

    Source: the authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803.
    """
    parameters = list(parameters)
    parts: list[tuple[Sequence[str], float]] = [(heads, head_rate)]
    for layer in range(depth, -1, -1):
        parts.append(((f"{layers}.{layer}.",), rate * LAYER_FALL ** (depth - layer)))
    parts += [((name,), rate * LAYER_FALL ** (depth + 1)) for name in stem]
    return [
        {
            "params": [
                parameter
                for name, parameter in parameters
                if any(part in name for part in names) and ("bias" in name) == biases
            ],
            "lr": rate,
            "weight_decay": 0.0 if biases else weight_decay,
        }
        for names, rate in parts
        for biases in (True, False)
    ]


class Phase(TypedDict):
    """Cycles of the rate, each a straight rise from ``base`` to ``peak`` and a straight fall back.

    Args:
        epoch: in which the phase begins.
        base: rate between two cycles.
        peak: rate at the top of a cycle; it may lie below ``base``.
        up: epochs of the rise.
        down: epochs of the fall.
        mode: ``triangular``, or ``triangular2``: every cycle is half as high as the one before.
    """

    epoch: int
    base: float
    peak: float
    up: float
    down: float
    mode: Literal["triangular", "triangular2"]


class CyclicPhases(torch.optim.lr_scheduler.LRScheduler):
    """Cyclic phases one after the other; a phase goes on until the next one begins.

    The rate is a function of the step alone, so a training that is resumed goes on as it would
    have. As in the authors' program a phase first sets the rate after its own first step, which
    still has the last rate of the phase before, and is then one step into its cycle. The very first
    step has the first phase's base.

    Args:
        optimizer: whose rate is set.
        phases: in order; the first begins in epoch 0.
        steps_per_epoch: optimiser steps of an epoch.

    Raises:
        InputError: if the phases are not in order or have no length.

    Source: cycles, Smith 2017, arXiv 1506.01186; phases, the authors' program of Cosma and Radoi
    2022, doi 10.3390/s22186803.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, phases: Sequence[Phase], steps_per_epoch: int
    ) -> None:
        begins = [phase["epoch"] for phase in phases]
        if begins[:1] != [0] or begins != sorted(set(begins)):
            raise InputError(
                f"the phases of the learning rate begin in epochs {begins}; begin with 0 and go on "
                "with later and later ones"
            )
        for phase in phases:
            if phase["up"] <= 0 or phase["down"] <= 0:
                raise InputError(
                    f"the phase of epoch {phase['epoch']} rises for {phase['up']} and falls for "
                    f"{phase['down']} epochs; give more than 0"
                )
        self.phases = list(phases)
        self.steps_per_epoch = steps_per_epoch
        super().__init__(optimizer)

    def rate(self, step: int) -> float:
        """Rate in force at an optimiser step, counted from 0."""
        epoch = max(step - 1, 0) // self.steps_per_epoch
        phase = next(phase for phase in reversed(self.phases) if phase["epoch"] <= epoch)
        into = step - phase["epoch"] * self.steps_per_epoch
        up = phase["up"] * self.steps_per_epoch
        down = phase["down"] * self.steps_per_epoch
        cycle, place = divmod(into, up + down)
        height = place / up if place <= up else (up + down - place) / down
        if phase["mode"] == "triangular2":
            height *= 0.5**cycle
        return phase["base"] + (phase["peak"] - phase["base"]) * height

    def get_lr(self) -> Any:
        """Rates of this step, one a parameter group."""
        return [self.rate(self.last_epoch) for _ in self.optimizer.param_groups]
