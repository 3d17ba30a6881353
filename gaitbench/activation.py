"""Where a network looks, joint by joint over the walk, and in which phase of the step.

A **map** is a tensor (B, T', V) of values of 0 or more: T' is the number of frames T of the walk,
halved any number of times and rounded up. What a method looks at is a dictionary from the name of a
map to the map; :class:`Explaining` is what drawing asks of a method.
"""

from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gaitbench.backbones.attention import Attention, ChannelAttention
from gaitbench.skeleton import Skeleton

ACTIVATION = "activation"
"""Name of the map that says how much each joint adds to the embedding."""

BLOCK = 32
"""Embedding values worked out at a time."""

STRIDES = (6.0, 80.0)
"""Frames that a stride may last: a run at 10 frames a second, a slow walk at 50."""
FREQUENCIES = 192
"""How many lengths of a stride are tried."""
LEAST_STRIDE = 0.75
"""Share of a stride that a walk must show at least."""
LEAST_FIT = 0.4
"""Share of the ankles' variance that an even gait must explain; otherwise there is no step."""


@runtime_checkable
class Explaining(Protocol):
    """A method that can say where it looks."""

    def explain(self, frames: Tensor) -> dict[str, Tensor]:
        """Maps (B, T', V) of walks (B, T, V, C) by name."""


@runtime_checkable
class Attending(Protocol):
    """A method whose decoder attends to the frames of a window."""

    def attention_maps(self, frames: Tensor) -> dict[str, Tensor]:
        """Matrices (B, T, T), decoder step by encoded frame, of windows (B, T, V, C) by axis."""


def joint_activation(features: Tensor, weight: Tensor) -> Tensor:
    """What each frame and joint adds to the embedding value that it adds most to.

    Args:
        features: (B, C, T', V), before the mean over frames and joints.
        weight: (D, C) of the linear layer behind it; its bias has no place on the body.

    Returns:
        (B, T', V), max over d of sum over c of weight[d, c] features[c]; may be below 0.

    Source: authors' drawing, Teepe et al. 2022, arXiv 2204.07855: a class activation map with
    embedding values in place of classes.
    """
    channels_last = features.permute(0, 2, 3, 1)
    greatest = features.new_full(channels_last.shape[:3], -torch.inf)
    for first in range(0, len(weight), BLOCK):
        added = channels_last @ weight[first : first + BLOCK].mT
        greatest = torch.maximum(greatest, added.amax(-1))
    return greatest


def explain_graph(backbone: nn.Module, streams: Tensor) -> dict[str, Tensor]:
    """Maps of a graph network: its activation, and its attention by frame or joint.

    Attention modules are named as in the network (``main_stream.0.att``) and averaged over
    channels. Attention over channels alone has no place on the body and is left out.

    Args:
        backbone: returns embedding and features (B, C, T', V); ends in the linear layer ``fcn``.
            Must be in evaluation mode.
        streams: what it takes.
    """
    if backbone.training:
        raise ValueError("expected a network in evaluation mode, found one in training")
    inputs: dict[str, Tensor] = {}

    def look(name: str, module: nn.Module, x: tuple[Tensor]) -> None:
        assert isinstance(module, Attention)
        # in the shape of its input, without a copy
        inputs[name] = module.attend(x[0]).mean(1).expand(-1, *x[0].shape[2:])

    hooks = [
        module.register_forward_pre_hook(partial(look, name))
        for name, module in backbone.named_modules()
        if isinstance(module, Attention) and not isinstance(module, ChannelAttention)
    ]
    try:
        features = backbone(streams)[1]
    finally:
        for hook in hooks:
            hook.remove()
    weight = backbone.get_submodule("fcn").get_parameter("weight")
    return {ACTIVATION: joint_activation(features, weight), **inputs}


def share_of_greatest(values: Tensor) -> Tensor:
    """Values (B, T', V) over the greatest of their walk, in 0..1; below 0 counts as 0.

    A walk without a value above 0 gives zeros.
    """
    values = values.clamp(min=0)
    greatest = values.amax((1, 2), keepdim=True)
    return values / torch.where(greatest > 0, greatest, 1)


def at_frames(values: Tensor, frames: int) -> Tensor:
    """The value that holds at each frame: (B, T', V) to (B, T, V).

    Frame t of T takes value t // s, where s is 1, 2, 4, ... such that T' is T / s rounded up.

    Raises:
        ValueError: if T' is none of these.
    """
    stride = 1
    while -(-frames // stride) > values.shape[1]:
        stride *= 2
    if -(-frames // stride) != values.shape[1]:
        raise ValueError(
            f"expected {frames} frames halved any number of times, found {values.shape[1]} values"
        )
    return values.repeat_interleave(stride, 1)[:, :frames]


class Steps(NamedTuple):
    """The phase of each frame within its step.

    Args:
        phase: (B, T) in 0..1; 0 where the feet are farthest apart, 0.5 where one passes the other;
            NaN where no step is seen.
        frames: (B,) frames that a step lasts, half a stride; NaN likewise.
    """

    phase: Tensor
    frames: Tensor


def find_steps(pose: Tensor, skeleton: Skeleton, seen: Tensor | None = None) -> Steps:
    """The phase of the step, from the vector between the ankles.

    The vector's component along its first principal direction swings once a stride: from side to
    side where the camera sees the walker's side, up and down where it sees the front, since the
    foot in front is lower in the image. Which end is which foot does not matter, hence steps and
    not strides. The stride's length is that of the sinusoid with an offset that fits best over the
    whole walk; about each frame, such a sinusoid is then fitted with weights that fall off over
    half a stride, and its angle is the phase. Unlike an analytic signal from a Fourier transform
    this needs neither whole strides nor frames without gaps.

    On synthetic walkers (25 frames a second, camera at 1.1 m) the feet pass at 0.5, give or take
    0.04, in all views from 36 to 144 degrees. The swinging foot is lifted before it passes the
    other: from the front that makes the phase 0.13 early, from behind, where the foot in front is
    the higher one, up to 0.3 late.

    Args:
        pose: (B, T, V, 3), x, y and confidence, in order of time.
        skeleton: layout of the joints; one without ankles sees no steps.
        seen: (B, T) frames that count; all if not given. A frame whose ankles have confidence 0
            never counts.
    """
    batch, frames = pose.shape[:2]
    nothing = Steps(pose.new_full((batch, frames), torch.nan), pose.new_full((batch,), torch.nan))
    names = ("left_ankle", "right_ankle")
    if not set(names) <= set(skeleton.joints):
        return nothing
    ankles = pose[:, :, [skeleton.joints.index(name) for name in names]].double()
    weight = (ankles[..., 2] > 0).all(2)
    if seen is not None:
        weight &= seen
    weight = weight.double()
    apart = ankles[:, :, 0, :2] - ankles[:, :, 1, :2]  # (B, T, 2)
    count = weight.sum(1).clamp(min=1)
    apart = apart - ((apart * weight[..., None]).sum(1) / count[:, None])[:, None]
    apart = apart * weight[..., None]
    x, y = apart.unbind(2)
    direction = 0.5 * torch.atan2(2 * (x * y).sum(1), (x * x - y * y).sum(1))[:, None]
    swing = x * direction.cos() + y * direction.sin()
    variance = swing.square().sum(1)

    # the length of a stride
    time = torch.arange(frames, device=pose.device).double()
    last = (weight * time).amax(1)
    first = torch.where(weight > 0, time, frames).amin(1)
    low, high = 1 / STRIDES[1], 1 / STRIDES[0]
    tried = torch.linspace(low, high, FREQUENCIES, device=pose.device).double()
    basis = _sinusoid(time[:, None] * tried)  # (T, F, 3)
    sums = (weight * swing) @ basis.flatten(1)
    gram = weight @ (basis[..., None] * basis[..., None, :]).flatten(1)
    sums, gram = sums.view(batch, -1, 3), gram.view(batch, -1, 3, 3)
    explained = (_solve(gram, sums) * sums).sum(2)
    explained[tried * (last - first + 1)[:, None] < LEAST_STRIDE] = -1
    most, best = explained.max(1)
    frequency = tried[best]

    # where each frame stands in its stride
    basis = _sinusoid(time * frequency[:, None])  # (B, T, 3)
    distance = (time - time[:, None]) * frequency[:, None, None]  # in strides, (B, T, T)
    near = torch.exp(-0.5 * (distance / 0.5).square()) * weight[:, None]
    sums = near @ (basis * swing[..., None])
    gram = (near @ (basis[..., None] * basis[..., None, :]).flatten(2)).view(*near.shape[:2], 3, 3)
    _, cosine, sine = _solve(gram, sums).unbind(2)
    turn = time * frequency[:, None] - torch.atan2(sine, cosine) / (2 * torch.pi)
    walks = (most > LEAST_FIT * variance) & (variance > 0)
    return Steps(
        torch.where(walks[:, None], (2 * turn) % 1, torch.nan).to(pose.dtype),
        torch.where(walks, 0.5 / frequency, torch.nan).to(pose.dtype),
    )


def _sinusoid(turns: Tensor) -> Tensor:
    """An offset, cosine and sine of an angle in turns, (...,) to (..., 3)."""
    angle = 2 * torch.pi * turns
    return torch.stack([torch.ones_like(angle), angle.cos(), angle.sin()], -1)


def _solve(gram: Tensor, sums: Tensor) -> Tensor:
    """Least squares from sums of products, which hold almost nothing where little was seen."""
    ridge = 1e-9 * (1 + gram[..., :1, :1]) * torch.eye(3, dtype=gram.dtype, device=gram.device)
    solution: Tensor = torch.linalg.solve(gram + ridge, sums[..., None])
    return solution[..., 0]


def in_time(windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which places of windows show their walks in the order of time, each frame once.

    A walk shorter than its window is padded by reflection, which shows its frames several times,
    forwards and backwards; the longest run forwards is the walk itself.

    Args:
        windows: (B, S) frame numbers.

    Returns:
        order: (B, S) places in the order to read them.
        real: (B, S) which of them, in this order, are the walk: the first ones of each row.
    """
    size = windows.shape[1]
    place = np.arange(size)
    breaks = np.diff(windows, axis=1, prepend=windows[:, :1]) != 1
    run = place - np.maximum.accumulate(np.where(breaks, place, 0), axis=1)  # steps so far
    last = run.argmax(axis=1)[:, None]
    outside = (place > last) | (place < last - run.max(axis=1, keepdims=True))
    order = np.lexsort((np.broadcast_to(place, windows.shape), outside, windows))
    again = np.diff(np.take_along_axis(windows, order, axis=1), axis=1, prepend=-1) == 0
    firsts = again.argsort(axis=1, kind="stable")
    return np.take_along_axis(order, firsts, axis=1), np.take_along_axis(~again, firsts, axis=1)


def key_frames(steps: Steps, walk: int, count: int) -> NDArray[np.int64]:
    """Frames that show one stride evenly, from the feet apart to the feet apart again.

    The stride in the middle of the walk is taken; where no step is seen, or the walk is shorter
    than a stride, the whole of it is.

    Args:
        steps: of one walk, (1, T) and (1,); frames after the walk are NaN or not looked at.
        walk: frames of the walk.
        count: how many; fewer where the walk has fewer.
    """
    phase = steps.phase[0, :walk].double().cpu().numpy()
    stride = 2 * float(steps.frames[0])
    first, last = 0.0, walk - 1.0
    if stride * (count - 1) / count <= walk - 1:
        apart = np.abs((phase + 0.5) % 1 - 0.5) * stride / 2  # frames from the nearest begin
        places = np.arange(walk)
        fits = places + stride * (count - 1) / count <= walk - 1
        off_centre = np.abs(places + stride / 2 - walk / 2)
        first = float(np.where(fits & (apart <= 0.5), off_centre, off_centre + walk).argmin())
        first = min(first, walk - 1 - stride * (count - 1) / count)
        last = first + stride * (count - 1) / count
    return np.unique(np.linspace(first, last, min(count, walk)).round().astype(np.int64))
