"""Attention over channels, frames, joints or body parts, as ResGCN's main stream may have.

Source: Song et al. 2020, arXiv 2010.09978, with the variants of Teepe et al. 2022, arXiv
2204.07855.
Activations are (B, C, T, V) as in `gaitbench.backbones.graph`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gaitbench.backbones.graph import TEMPORAL_KERNEL, batch_norm, conv_norm
from gaitbench.skeleton import Skeleton


class Attention(nn.Module):
    """ReLU of the batch-norm of x times its attention, plus x.

    What a module attends to is read with a forward pre-hook that calls ``attend`` on the module's
    input, in evaluation mode: a second call in training would move running statistics again.
    """

    bn: nn.BatchNorm2d

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, V) to the same."""
        return (batch_norm(x * self.attend(x), self.bn) + x).relu_()

    def attend(self, x: Tensor) -> Tensor:
        """The factors, of a shape that spreads to (B, C, T, V): 1 where all have the same."""
        raise NotImplementedError


class Excitation(nn.Sequential):
    """Narrowing with batch-norm and ReLU, then widening, of pooled values.

    Args:
        channels: channels in.
        inner: channels between.
        outputs: channels out.
        first: number of the first layer, in published checkpoints.
    """

    def __init__(self, channels: int, inner: int, outputs: int, first: int) -> None:
        layers = [nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner), nn.ReLU()]
        unnamed = [nn.Identity() for _ in range(first)]
        super().__init__(*unnamed, *layers, nn.Conv2d(inner, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels) to (B, outputs)."""
        down, bn, relu, up = list(self)[-4:]
        assert isinstance(down, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        y: Tensor = up(relu(conv_norm(x[:, :, None, None], down, bn)))
        return y[:, :, 0, 0]


class ChannelAttention(Attention):
    """One factor per channel."""

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.fcn = Excitation(channels, channels // 4, channels, first=1)
        self.bn = nn.BatchNorm2d(channels)

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1)."""
        pooled: Tensor = self.fcn(x.mean((2, 3)))
        return pooled.softmax(1)[:, :, None, None]


class JointAttention(Attention):
    """One factor per joint."""

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        joints = skeleton.num_joints
        self.fcn = Excitation(joints, joints // 2, joints, first=1)
        self.bn = nn.BatchNorm2d(channels)

    def attend(self, x: Tensor) -> Tensor:
        """(B, 1, 1, V)."""
        pooled: Tensor = self.fcn(x.mean((1, 2)))
        return pooled.softmax(1)[:, None, None]


class FrameAttention(Attention):
    """One factor per frame, not bounded."""

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        padding = (TEMPORAL_KERNEL // 2, 0)
        self.conv = nn.Conv2d(2, 1, (TEMPORAL_KERNEL, 1), padding=padding)
        self.bn = nn.BatchNorm2d(channels)

    def attend(self, x: Tensor) -> Tensor:
        """(B, 1, T, 1)."""
        pooled = torch.stack([x.mean((1, 3)), x.amax((1, 3))], 1)  # (B, 2, T)
        factors: Tensor = self.conv(pooled[..., None])
        return factors


class PartFactors(Attention):
    """One factor per channel and body part, from pooled values.

    Args:
        channels: C.
        skeleton: gives the parts; a joint in several of them belongs to the first.
        pooled: channels of the pooled values.
        first: number of the excitation's first layer in published checkpoints.
    """

    part_of_joint: Tensor

    def __init__(self, channels: int, skeleton: Skeleton, pooled: int, first: int) -> None:
        super().__init__()
        self.parts = [list(part) for part in skeleton.parts]
        part_of_joint = [
            next(p for p, part in enumerate(self.parts) if joint in part)
            for joint in range(skeleton.num_joints)
        ]
        self.register_buffer("part_of_joint", torch.tensor(part_of_joint), persistent=False)
        self.fcn = Excitation(pooled, channels // 4, channels * len(self.parts), first)
        self.bn = nn.BatchNorm2d(channels)

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, 1, V)."""
        factors: Tensor = self.fcn(self.pool(x)).unflatten(1, (x.shape[1], -1)).softmax(2)
        return factors[:, :, None, self.part_of_joint]

    def pool(self, x: Tensor) -> Tensor:
        """(B, C, T, V) to (B, pooled)."""
        raise NotImplementedError


class PartAttention(PartFactors):
    """Factors of channels and parts from the mean over all frames and joints."""

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        super().__init__(channels, skeleton, pooled=channels, first=1)

    def pool(self, x: Tensor) -> Tensor:
        """(B, C)."""
        return x.mean((2, 3))


class PooledPartAttention(PartFactors):
    """Factors of channels and parts from the joints of each part.

    Args:
        channels: C.
        skeleton: gives the parts.
        shared: one convolution and batch-norm for all parts, which then updates its running
            statistics once a part; otherwise each part has its own.
    """

    joints: Tensor

    def __init__(self, channels: int, skeleton: Skeleton, shared: bool) -> None:
        inner = channels // 4
        super().__init__(channels, skeleton, pooled=inner, first=0)
        self.shared = shared
        joints = [joint for part in self.parts for joint in part]
        self.register_buffer("joints", torch.tensor(joints), persistent=False)
        pools = [
            nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
            for _ in range(1 if shared else len(self.parts))
        ]
        self.part_pool = pools[0] if shared else nn.ModuleList(pools)

    def pool(self, x: Tensor) -> Tensor:
        """(B, C / 4), summed over parts."""
        pools: list[Any] = [self.part_pool] * len(self.parts) if self.shared else [*self.part_pool]
        sizes = [len(part) for part in self.parts]
        parts = torch.split(x[..., self.joints], sizes, dim=-1)
        means = [
            conv_norm(part, *pool).relu_().mean((2, 3))
            for part, pool in zip(parts, pools, strict=True)
        ]
        return torch.stack(means).sum(0)


ATTENTIONS: dict[str, Callable[[int, Skeleton], Attention]] = {
    "pa": PartAttention,
    "ca": ChannelAttention,
    "fa": FrameAttention,
    "ja": JointAttention,
    "pca": partial(PooledPartAttention, shared=False),
    "psa": partial(PooledPartAttention, shared=True),
}
"""Attention by the prefix of a network's name."""
