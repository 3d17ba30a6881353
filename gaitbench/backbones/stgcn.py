"""ST-GCN, the network that GaitGraph2 is compared with on OUMVLP-Pose.

Source: Yan et al. 2018, arXiv 1801.07455, in the form of Teepe et al. 2022, arXiv 2204.07855. Names
and shapes of the state dict are those of the authors' checkpoints.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.backbones.graph import (
    add_shortcut,
    batch_norm,
    conv_norm,
    graph_conv_norm,
    shortcut,
    temporal_conv,
)
from gaitbench.precision import exactly, precise
from gaitbench.skeleton import Skeleton

WIDTHS = (64, 64, 64, 64, 128, 128, 128, 256, 256, 256)
"""Output channels of the layers."""
HALVING = (4, 7)
"""Layers, counted from 0, that keep every second frame."""


class SpatialTemporal(nn.Module):
    """Graph convolution, temporal convolution and a residual around both.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        slices: K of the adjacency.
        stride: keep every ``stride``-th frame.
        initial: first layer; it has no residual.
        dropout: before the residual is added.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        slices: int,
        stride: int,
        initial: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gcn = nn.ModuleDict({"conv": nn.Conv2d(in_channels, slices * out_channels, 1)})
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            temporal_conv(out_channels, stride),
            nn.BatchNorm2d(out_channels),
        )
        self.initial = initial
        self.dropout = dropout
        self.residual = None if initial else shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor, hops: Tensor) -> Tensor:
        """(B, C_in, T, V) and (K, V, V) to (B, C_out, T', V)."""
        layers: list[Any] = [self.gcn["conv"], *self.tcn]
        graph_conv, graph_norm, relu, conv, norm = layers
        y = conv_norm(relu(graph_conv_norm(x, graph_conv, graph_norm, hops)), conv, norm)
        y = F.dropout(y, self.dropout, self.training)
        return y.relu_() if self.initial else add_shortcut(y, x, self.residual)


class STGCN(nn.Module):
    """Spatial-temporal graph-convolution network.

    As published: all four slices of the adjacency (ResGCN uses three), a batch-norm of its own for
    every value of every joint at the input, no dropout, weights as torch draws them.

    Args:
        skeleton: joint layout; gives the adjacency.
        channels: channels C of the one stream.
        embedding_dim: D.
    """

    A: Tensor

    def __init__(self, skeleton: Skeleton, channels: int = 3, embedding_dim: int = 128) -> None:
        super().__init__()
        adjacency = torch.from_numpy(skeleton.adjacency())
        self.register_buffer("A", adjacency)
        self.data_bn = nn.BatchNorm2d(skeleton.num_joints * channels)
        self.st_gcn_networks = nn.ModuleList(
            SpatialTemporal(c_in, c_out, len(adjacency), 2 if i in HALVING else 1, initial=i == 0)
            for i, (c_in, c_out) in enumerate(pairwise((channels, *WIDTHS)))
        )
        self.edge_importance = nn.ParameterList(torch.ones_like(adjacency) for _ in WIDTHS)
        self.fcn = nn.Linear(WIDTHS[-1], embedding_dim)

    def forward(self, streams: Tensor) -> tuple[Tensor, Tensor]:
        """Embed a batch.

        Args:
            streams: (B, T, V, 1, C).

        Returns:
            Embeddings (B, D), not normalised, and the feature map before the mean over frames and
            joints, (B, 256, T', V) with T' = T / 4 rounded up.
        """
        x = normed_input(streams[..., 0, :], self.data_bn)
        for layer, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            x = layer(x, self.A * importance)
        return exactly(self.fcn, precise(x).mean((2, 3))), x


def normed_input(frames: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    """Frames (B, T, V, C) to (B, C, T, V), each joint's every channel with a batch-norm of its own.

    Args:
        frames: what the network takes.
        bn: over V C channels, a joint's side by side.
    """
    batch, time, joints, channels = frames.shape
    # (B, V C, T, 1), then (B, C, T, V), in the memory order of (B, T, V, C) all the way
    x = batch_norm(frames.reshape(batch, time, 1, -1).permute(0, 3, 1, 2), bn).permute(0, 2, 3, 1)
    return x.reshape(batch, time, joints, channels).permute(0, 3, 1, 2)
