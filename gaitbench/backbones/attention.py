"""Attention over channels, frames, joints or body parts, as ResGCN's main stream may have.

Source: Song et al. 2020, arXiv 2010.09978, with the variants of Teepe et al. 2022, arXiv 2204.07855.
Activations are (B, C, T, V) as in `gaitbench.backbones.graph`.
"""

import torch
from torch import Tensor, nn

from gaitbench.backbones.graph import TEMPORAL_KERNEL, conv_norm
from gaitbench.backbones.graph import batch_norm as normalise
from gaitbench.skeleton import Skeleton


class Attention(nn.Module):
    """ReLU of the batch-norm of x times its attention, plus x."""

    bn: nn.BatchNorm2d

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, V) to the same."""
        return (normalise(x * self.attend(x), self.bn) + x).relu_()

    def attend(self, x: Tensor) -> Tensor:
        """The factors, of a shape that spreads to (B, C, T, V)."""
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
        return self.fcn(x.mean((2, 3))).softmax(1)[:, :, None, None]


class JointAttention(Attention):
    """One factor per joint."""

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        joints = skeleton.num_joints
        self.fcn = Excitation(joints, joints // 2, joints, first=1)
        self.bn = nn.BatchNorm2d(channels)

    def attend(self, x: Tensor) -> Tensor:
        """(B, 1, 1, V)."""
        return self.fcn(x.mean((1, 2))).softmax(1)[:, None, None]


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


class PartAttention(Attention):
    """One factor per channel and body part, from the mean over all joints."""

    joint_part: Tensor

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self._find_parts(skeleton)
        self.fcn = Excitation(channels, channels // 4, channels * len(self.parts), first=1)
        self.bn = nn.BatchNorm2d(channels)

    def _find_parts(self, skeleton: Skeleton) -> None:
        self.parts = [list(part) for part in skeleton.parts]
        joint_part = [
            next(p for p, part in enumerate(self.parts) if joint in part)
            for joint in range(skeleton.num_joints)
        ]
        self.register_buffer("joint_part", torch.tensor(joint_part), persistent=False)

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, 1, V)."""
        factors = self.fcn(self.pool(x)).unflatten(1, (x.shape[1], -1)).softmax(2)
        return factors[:, :, None, self.joint_part]

    def pool(self, x: Tensor) -> Tensor:
        """What the factors are made of, (B, channels)."""
        return x.mean((2, 3))


class SharedPartAttention(PartAttention):
    """One factor per channel and body part, from each part's joints through shared weights."""

    def __init__(self, channels: int, skeleton: Skeleton) -> None:
        nn.Module.__init__(self)
        self._find_parts(skeleton)
        self.part_pool = self._part_pool(channels)
        inner = channels // 4
        self.fcn = Excitation(inner, inner, channels * len(self.parts), first=0)
        self.bn = nn.BatchNorm2d(channels)

    def _part_pool(self, channels: int) -> nn.Module:
        inner = channels // 4
        return nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))

    def pools(self) -> list[nn.Module]:
        """The convolution and batch-norm of every part."""
        return [self.part_pool] * len(self.parts)

    def pool(self, x: Tensor) -> Tensor:
        """(B, C / 4)."""
        pooled = [
            conv_norm(x[..., part], *layers).relu().mean((2, 3))
            for part, layers in zip(self.parts, self.pools(), strict=True)
        ]
        return torch.stack(pooled).sum(0)


class PartChannelAttention(SharedPartAttention):
    """One factor per channel and body part, from each part's joints through weights of its own."""

    def _part_pool(self, channels: int) -> nn.Module:
        return nn.ModuleList(super(PartChannelAttention, self)._part_pool(channels)
                             for _ in self.parts)

    def pools(self) -> list[nn.Module]:
        """The convolution and batch-norm of every part."""
        return list(self.part_pool)


ATTENTIONS = {
    "pa": PartAttention,
    "ca": ChannelAttention,
    "fa": FrameAttention,
    "ja": JointAttention,
    "pca": PartChannelAttention,
    "psa": SharedPartAttention,
}
"""Attention by the prefix of a network's name."""
