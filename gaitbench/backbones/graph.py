"""Building blocks of graph-convolution networks, laid out for memory traffic.

Activations are (B, C, T, V) in `torch.channels_last` memory, that is (B, T, V, C): convolutions and
batch-norms take that without a copy, and all values of a frame lie together for the graph.
Parameters stay in `nn.Conv2d` and `nn.BatchNorm2d`, which give them the names and shapes of
published checkpoints; the functions here read them and never call them.

A batch-norm right after a convolution is folded into the convolution's weights: in evaluation with
the running statistics, and in training, where a convolution has many more outputs than inputs, with
the statistics of its output as they follow from the mean and covariance of its input (`Moments`).
That spares several passes over the widest tensors.

Where several processes train, a norm marked by `share_statistics` takes the statistics of all of
them, on any device: each tells the moments of its values, with gradient, and all work out what they
are together. torch's own `nn.SyncBatchNorm` knows nothing of folding, and needs a GPU.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.processes import everywhere, process_rank

TEMPORAL_KERNEL = 9
"""Frames that a temporal convolution sees (Teepe et al. 2022, after Song et al. 2020)."""
USED_HOPS = 3
"""Slices of the adjacency that ResGCN's graph convolutions use: joints 0, 1 and 2 limbs apart."""
WIDENING = 3
"""Outputs per input from which a training batch-norm is worked out from the input's moments."""
DENSE_WIDTH = 1024
"""Joints times channels up to which a graph convolution is one dense matrix."""


class Moments(NamedTuple):
    """Mean (C,) and biased covariance (C, C) of the channels, over ``size`` values of each."""

    mean: Tensor
    covariance: Tensor
    size: int | Tensor


class _RawMoments(torch.autograd.Function):
    """Mean (C,) and second moment (C, C) of rows (N, C), with one matrix product as gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(rows)
        return rows.mean(0), rows.mT @ rows / rows.shape[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        mean, second = (grad / rows.shape[0] for grad in grads)
        return torch.addmm(mean, rows, second + second.mT)


def moments(x: Tensor) -> Moments:
    """Mean and covariance of the channels of ``x`` (B, C, T, V), in float32 or better."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    with torch.autocast(x.device.type, enabled=False):
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        mean, second = _RawMoments.apply(rows)  # type: ignore[no-untyped-call]
        return Moments(mean, second - torch.outer(mean, mean), rows.shape[0])


def share_statistics(network: nn.Module) -> None:
    """Let all batch-norms of a network take the statistics of all processes in training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.shared = True  # type: ignore[assignment]


def _shares(bn: nn.BatchNorm2d) -> bool:
    return bn.training and getattr(bn, "shared", False) and process_rank()[1] > 1


def of_all_processes(mean: Tensor, spread: Tensor, size: int | Tensor) -> Moments:
    """Mean, variance or covariance, and size, of the values of all processes.

    Args:
        mean: (C,) of this process's values.
        spread: their biased variance (C,) or covariance (C, C).
        size: how many they are.

    Source: Chan et al. 1983, doi 10.1080/00031305.1983.10483115, which loses no digits where the
    mean is far from 0.
    """
    told = torch.cat([mean, spread.flatten(), mean.new_ones(1) * size])
    means, spreads, sizes = everywhere(told).split([len(mean), spread.numel(), 1], dim=1)
    weight = sizes / sizes.sum()
    mean = (weight * means).sum(0)
    off = means - mean
    within = (weight * spreads).sum(0).view_as(spread)
    between = (weight * off.square()).sum(0) if spread.dim() == 1 else (weight * off).mT @ off
    return Moments(mean, within + between, sizes.sum())


def fold(
    weight: Tensor, bias: Tensor | None, bn: nn.BatchNorm2d, inputs: Moments | None
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one affine map that a convolution and a batch-norm are together.

    Args:
        weight: (C_out, K), the convolution's.
        bias: (C_out,), the convolution's. In training the batch-norm takes it away again: it only
            moves the running mean, and its gradient is exactly 0.
        bn: over C_out channels; its running statistics are updated in training.
        inputs: moments of the K inputs; read in training only.
    """
    assert bn.running_mean is not None and bn.running_var is not None
    if bn.training:
        assert inputs is not None
        with torch.autocast(weight.device.type, enabled=False):
            if _shares(bn):
                inputs = of_all_processes(*inputs)
            mean = weight @ inputs.mean
            variance = ((weight @ inputs.covariance) * weight).sum(1).clamp(min=0)
        _track(bn, mean if bias is None else mean + bias, variance, inputs.size)
        shift = bn.bias if bias is None else bn.bias + 0.0 * bias
    else:
        mean = bn.running_mean if bias is None else bn.running_mean - bias
        variance, shift = bn.running_var, bn.bias
    scale = bn.weight * torch.rsqrt(variance + bn.eps)
    return weight * scale[:, None], shift - mean * scale


@torch.no_grad()
def _track(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int | Tensor) -> None:
    """Move the running statistics towards a batch's mean and biased variance."""
    assert bn.running_mean is not None and bn.running_var is not None
    assert bn.num_batches_tracked is not None and bn.momentum is not None
    bn.num_batches_tracked.add_(1)
    bn.running_mean.lerp_(mean.to(bn.running_mean.dtype), bn.momentum)
    bn.running_var.lerp_((variance * (count / (count - 1))).to(bn.running_var.dtype), bn.momentum)


def batch_norm(x: Tensor, bn: nn.BatchNorm2d, bias: Tensor | None = None) -> Tensor:
    """Batch-norm of ``x`` (B, C, T, V) plus ``bias`` (C,), without a pass for the bias.

    A single value per channel has no variance: it is normalised by the running statistics and
    leaves them as they are.
    """
    if _shares(bn):
        return _shared_norm(x, bn, bias)
    training = bn.training and x.numel() > x.shape[1]
    assert bn.running_mean is not None and bn.running_var is not None
    assert bn.num_batches_tracked is not None and bn.momentum is not None
    mean: Tensor = bn.running_mean
    shift: Tensor = bn.bias
    if bias is not None:
        mean = mean - bias.detach()
        # in training the batch's mean takes the bias away: its gradient is exactly 0
        shift = shift + 0.0 * bias
    y = F.batch_norm(x, mean, bn.running_var, bn.weight, shift, training, bn.momentum, bn.eps)
    if training:
        with torch.no_grad():
            bn.num_batches_tracked.add_(1)
            if bias is not None:
                bn.running_mean.copy_(mean + bias)
    return y


def _shared_norm(x: Tensor, bn: nn.BatchNorm2d, bias: Tensor | None) -> Tensor:
    """:func:`batch_norm` by the statistics of all processes."""
    with torch.autocast(x.device.type, enabled=False):
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
        mean, variance, size = of_all_processes(mean, variance, x.numel() // x.shape[1])
        _track(bn, mean if bias is None else mean + bias, variance, size)
        scale = bn.weight * torch.rsqrt(variance + bn.eps)
        shift = bn.bias - mean * scale
        if bias is not None:
            shift = shift + 0.0 * bias
        return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def conv_norm(x: Tensor, conv: nn.Conv2d, bn: nn.BatchNorm2d) -> Tensor:
    """Convolution and batch-norm, (B, C_in, T, V) to (B, C_out, T', V)."""
    assert conv.bias is not None
    weight, stride = conv.weight, conv.stride
    widens = conv.kernel_size == (1, 1) and conv.in_channels * WIDENING <= conv.out_channels
    if bn.training and not widens:
        return batch_norm(F.conv2d(x, weight, None, stride, conv.padding), bn, conv.bias)
    inputs = moments(x[:, :, :: stride[0]]) if bn.training else None
    folded, shift = fold(weight.flatten(1), conv.bias, bn, inputs)
    return F.conv2d(x, folded.view_as(weight), shift, stride, conv.padding)


def graph_conv_norm(x: Tensor, conv: nn.Conv2d, bn: nn.BatchNorm2d, hops: Tensor) -> Tensor:
    """Graph convolution and batch-norm, (B, C_in, T, V) to (B, C_out, T, V).

    The authors' order, a 1x1 convolution to K C_out channels and then the sum over neighbours, is
    replaced by whichever equal product touches least memory.

    Args:
        x: activations.
        conv: 1x1 convolution to K C_out channels, slice k in channels k C_out to (k + 1) C_out.
        bn: over C_out channels.
        hops: (K, V, V), what joint w takes from joint v at [k, v, w].
    """
    assert conv.bias is not None
    channels, frames, joints = x.shape[1:]
    slices = hops.shape[0]
    weight = conv.weight.view(slices, -1, channels)  # (K, C_out, C_in)
    bias = conv.bias.view(slices, -1)  # (K, C_out)
    x = x.permute(0, 2, 3, 1)  # (B, T, V, C_in)

    if slices * (channels + 1) <= weight.shape[1]:
        # Few inputs: sum over neighbours first. A constant channel takes the biases along.
        x = _gather(F.pad(x, (0, 1), value=1.0), hops)
        weight = torch.cat([weight, bias[..., None]], 2).transpose(0, 1).flatten(1)
        weight, shift = fold(weight, None, bn, moments(x) if bn.training else None)
        return F.conv2d(x, weight[:, :, None, None], shift)

    joint_bias = torch.einsum("kvw,ko->wo", hops, bias)
    if joints * weight.shape[1] <= DENSE_WIDTH:
        # Few channels: all joints and channels of a frame through one dense matrix.
        dense = torch.einsum("kvw,koc->wovc", hops, weight).reshape(joint_bias.numel(), -1, 1, 1)
        y = F.conv2d(
            x.reshape(-1, frames, 1, joints * channels).permute(0, 3, 1, 2),
            dense,
            joint_bias.flatten(),
        )
        y = y.permute(0, 2, 3, 1).reshape(-1, frames, joints, weight.shape[1]).permute(0, 3, 1, 2)
    else:
        y = F.conv2d(_gather(x, hops), weight.transpose(0, 1).flatten(1)[:, :, None, None])
        y = y + joint_bias.mT[:, None]
    return batch_norm(y, bn)


def _gather(x: Tensor, hops: Tensor) -> Tensor:
    """Sums of ``x`` (B, T, V, C) over neighbours, (B, K C, T, V) with the slices outermost."""
    joints = x.shape[2]
    matrix = hops.permute(2, 0, 1).reshape(-1, joints)  # rows ordered (w, k)
    return torch.matmul(matrix, x).view(*x.shape[:3], -1).permute(0, 3, 1, 2)


class GraphConv(nn.Module):
    """Holds the 1x1 convolution of a graph convolution under its published name."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.gcn = nn.Conv2d(in_channels, USED_HOPS * out_channels, 1)


def temporal_conv(channels: int, stride: int) -> nn.Conv2d:
    """A convolution over frames that keeps every ``stride``-th of them."""
    kernel = (TEMPORAL_KERNEL, 1)
    return nn.Conv2d(channels, channels, kernel, (stride, 1), (TEMPORAL_KERNEL // 2, 0))


def shortcut(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential | None:
    """The residual's convolution and batch-norm; None where the input is added as it is."""
    if in_channels == out_channels and stride == 1:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, (stride, 1))
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def add_shortcut(y: Tensor, x: Tensor, layers: nn.Sequential | None) -> Tensor:
    """ReLU of ``y`` (B, C_out, T', V) plus the residual of ``x`` (B, C_in, T, V), in place."""
    return y.add_(x if layers is None else conv_norm(x, *layers)).relu_()


class SpatialBasic(nn.Module):
    """Graph convolution, batch-norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = GraphConv(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, hops: Tensor) -> Tensor:
        """(B, C_in, T, V) to (B, C_out, T, V)."""
        return graph_conv_norm(x, self.conv.gcn, self.bn, hops).relu_()


class TemporalBasic(nn.Module):
    """Temporal convolution and batch-norm."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = temporal_conv(channels, stride)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, V) to (B, C, T', V)."""
        return conv_norm(x, self.conv, self.bn)


class SpatialBottleneck(nn.Module):
    """Narrowing, graph convolution, widening, residual."""

    def __init__(self, in_channels: int, out_channels: int, reduction: int) -> None:
        super().__init__()
        width = out_channels // reduction
        self.residual = shortcut(in_channels, out_channels)
        self.conv_down = nn.Conv2d(in_channels, width, 1)
        self.bn_down = nn.BatchNorm2d(width)
        self.conv = GraphConv(width, width)
        self.bn = nn.BatchNorm2d(width)
        self.conv_up = nn.Conv2d(width, out_channels, 1)
        self.bn_up = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, hops: Tensor) -> Tensor:
        """(B, C_in, T, V) to (B, C_out, T, V)."""
        h = conv_norm(x, self.conv_down, self.bn_down).relu_()
        h = graph_conv_norm(h, self.conv.gcn, self.bn, hops).relu_()
        return add_shortcut(conv_norm(h, self.conv_up, self.bn_up), x, self.residual)


class TemporalBottleneck(nn.Module):
    """Narrowing, temporal convolution, widening, residual."""

    def __init__(self, channels: int, stride: int, reduction: int) -> None:
        super().__init__()
        width = channels // reduction
        self.residual = shortcut(channels, channels, stride)
        self.conv_down = nn.Conv2d(channels, width, 1)
        self.bn_down = nn.BatchNorm2d(width)
        self.conv = temporal_conv(width, stride)
        self.bn = nn.BatchNorm2d(width)
        self.conv_up = nn.Conv2d(width, channels, 1)
        self.bn_up = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, V) to (B, C, T', V)."""
        h = conv_norm(x, self.conv_down, self.bn_down).relu_()
        h = conv_norm(h, self.conv, self.bn).relu_()
        return add_shortcut(conv_norm(h, self.conv_up, self.bn_up), x, self.residual)
