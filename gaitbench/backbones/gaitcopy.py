"""GaitCopy's networks: windows of 25 gray or flow frames of 60 x 60 pixels in, codes out.

Teacher and student are the same network, of flow or of gray frames: the student's code is trained
to be the teacher's, scaled to unit length. Layers have the names of the authors' Keras model.

Source: Delgado-Escano et al. 2021, IEEE Access 9, document 9646881; numbers of the authors'
program.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.errors import InputError
from gaitbench.precision import exactly

FRAMES, SIZE = 25, 60
"""Frames of a window, and their rows and columns."""

FILTERS = {
    "bmvc": (64, 128, 256, 512, 512, 512),
    "smallA": (64, 96, 128, 256, 256, 512),
    "smallB": (48, 96, 128, 128, 256, 512),
}
"""Filters of the 3D-CNN's six convolutions, by the names of the authors."""

KERNELS = ((3, 5, 5), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 2, 2), (2, 1, 1))
STRIDES = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1))
"""Of the 3D-CNN, by time, row and column: what is left of a window is one position."""

FLAT_FILTERS, FLAT_KERNELS = (96, 192, 512, 512), (7, 5, 3, 2)
"""Of the 2D-CNN; each convolution is followed by a pooling of 2 x 2."""

# With so few frames left, a CPU multiplies one matrix faster than it convolves.
FEW = 10

CODE_PENALTY, FLAT_PENALTY = 1e-3, 5e-5
"""Coefficients of the sum of squares of the 3D-CNN's code layer and of the 2D-CNN's kernels."""


class VolumeNetwork(nn.Module):
    """The 3D-CNN.

    Args:
        channels: C, 1 for gray frames and 2 for flow.
        embedding_dim: D of the code; as published 1024 for TUM-GAID and 2048 for CASIA-B.
        filters: of the six convolutions, or a name of :data:`FILTERS`; the teacher is ``bmvc``.
        dropout: before the code; 0.4 for the student, 0 for the teacher.
        start: how kernels are drawn, uniformly: by ``glorot`` or ``he``; the code's always by he.

    Raises:
        InputError: if there are no such filters, or the dropout is no share.
    """

    def __init__(
        self,
        channels: int = 1,
        embedding_dim: int = 1024,
        filters: str | Sequence[int] = "bmvc",
        dropout: float = 0.0,
        start: Literal["glorot", "he"] = "glorot",
    ) -> None:
        if isinstance(filters, str):
            if filters not in FILTERS:
                raise InputError(
                    f"filters are {filters!r}, expected six numbers or one of {', '.join(FILTERS)}"
                )
            filters = FILTERS[filters]
        if len(filters) != len(KERNELS):
            raise InputError(f"found {len(filters)} filters; give one for each of 6 convolutions")
        super().__init__()
        sizes = zip(pairwise((channels, *filters)), KERNELS, STRIDES, strict=True)
        for number, ((wide_in, wide_out), kernel, stride) in enumerate(sizes, start=1):
            layer = nn.Conv3d(wide_in, wide_out, kernel, stride)
            # as the frames lie in memory
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last_3d)
            self.add_module(f"conv{number}", layer)
        self.dropout = _dropout(dropout)
        self.code = nn.Linear(filters[-1], embedding_dim)
        _initialise(self, start)
        nn.init.kaiming_uniform_(self.code.weight, nonlinearity="relu")

    def forward(self, frames: Tensor) -> Tensor:
        """Codes (B, D), not scaled, of windows (B, 25, 60, 60, C).

        Raises:
            InputError: if windows are of another size.
        """
        _check_size(frames)
        x = frames.permute(0, 4, 1, 2, 3)  # memory stays as it is: channels last
        for layer in _convolutions(self):
            x = F.relu_(_few(layer, x) if x.is_cpu and x.shape[2] <= FEW else layer(x))
        return exactly(self.code, self.dropout(x.flatten(1)))

    def penalty(self) -> Tensor:
        """What the authors add to every loss: a thousandth of the code kernel's sum of squares."""
        return CODE_PENALTY * self.code.weight.square().sum()


class StackNetwork(nn.Module):
    """The 2D-CNN: frames and their channels are the channels of one picture.

    Args:
        channels: C, 1 for gray frames and 2 for flow.
        embedding_dim: D of the code, half of what the layer before it has.
        dropout: between these two layers.

    Raises:
        InputError: if the dropout is no share.
    """

    def __init__(self, channels: int = 1, embedding_dim: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = zip(pairwise((channels * FRAMES, *FLAT_FILTERS)), FLAT_KERNELS, strict=True)
        for number, ((wide_in, wide_out), kernel) in enumerate(sizes, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(wide_in, wide_out, kernel))
        self.dense = nn.Linear(FLAT_FILTERS[-1], 2 * embedding_dim)
        self.dropout = _dropout(dropout)
        self.code = nn.Linear(2 * embedding_dim, embedding_dim)
        _initialise(self, "glorot")

    def forward(self, frames: Tensor) -> Tensor:
        """Codes (B, D), not scaled, of windows (B, 25, 60, 60, C).

        Raises:
            InputError: if windows are of another size.
        """
        _check_size(frames)
        x = frames.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
        for layer in _convolutions(self):
            # the largest first, then its rectification: the same values from a quarter of the work
            x = F.relu_(F.max_pool2d(layer(x), 2))
        return exactly(self.code, self.dropout(self.dense(x.flatten(1))))

    def penalty(self) -> Tensor:
        """What the authors add to every loss, of the convolutions' kernels."""
        squares = [layer.weight.square().sum() for layer in _convolutions(self)]
        return FLAT_PENALTY * torch.stack(squares).sum()


def _convolutions(network: nn.Module) -> list[nn.Conv2d | nn.Conv3d]:
    return [layer for layer in network.children() if isinstance(layer, nn.Conv2d | nn.Conv3d)]


def _few(layer: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """What a 3D convolution without padding makes of (B, C, T, H, W), as one product."""
    windows = x.permute(0, 2, 3, 4, 1)
    for axis, (size, step) in enumerate(zip(layer.kernel_size, layer.stride, strict=True), start=1):
        windows = windows.unfold(axis, size, step)
    windows = windows.permute(0, 1, 2, 3, 5, 6, 7, 4)  # (B, T', H', W', kernel, C)
    weight = layer.weight.permute(0, 2, 3, 4, 1).flatten(1)
    return F.linear(windows.flatten(4), weight, layer.bias).permute(0, 4, 1, 2, 3)


def _dropout(share: float) -> nn.Dropout:
    if not 0 <= share < 1:
        raise InputError(f"dropout is {share}; give 0 or more, below 1")
    return nn.Dropout(share)


def _initialise(network: nn.Module, start: Literal["glorot", "he"]) -> None:
    """Draw all kernels as Keras does; biases are 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
            if start == "he":
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _check_size(frames: Tensor) -> None:
    found = tuple(frames.shape[1:4])
    if found != (FRAMES, SIZE, SIZE):
        raise InputError(
            f"the network takes windows of {FRAMES} frames of {SIZE} x {SIZE} pixels, found "
            f"{found[0]} of {found[1]} x {found[2]}; cut windows of that size"
        )
