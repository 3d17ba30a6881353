"""GaitFormer's other network: ST-GCN with the same three outputs.

Source: Yan et al. 2018, arXiv 1801.07455, in the form of Cosma and Radoi 2022, doi
10.3390/s22186803. Names and shapes of the state dict are those of the authors' checkpoints, without
the ``module.`` in front.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gaitbench.backbones.gaitformer import PoseOutput
from gaitbench.backbones.stgcn import HALVING, WIDTHS, SpatialTemporal, normed_input
from gaitbench.errors import InputError
from gaitbench.precision import exactly, precise
from gaitbench.skeleton import OPENPOSE18, Skeleton

INNER_DROPOUT = 0.2
"""Dropout of all layers but the last, which no setting of the authors' program reaches."""


def spatial_partition(skeleton: Skeleton) -> NDArray[np.float32]:
    """Adjacency of joints and their parents, (3, V, V), column-normalised over all slices.

    Slice 0 holds the joints themselves, slice 1 neighbours [j, i] where j is as far from the centre
    as i or farther, slice 2 those where it is nearer. As in the authors' program only one limb is
    looked at: all joints but the centre and its neighbours are equally far, so slice 2 says little.

    Args:
        skeleton: its limbs join each joint to its parent: the hips hang on the shoulders.
    """
    joints = np.arange(skeleton.num_joints)
    linked = np.eye(len(joints), dtype=bool)
    linked[joints, skeleton.parents] = linked[skeleton.parents, joints] = True
    distance = np.where(linked[skeleton.center], 1.0, np.inf)
    distance[skeleton.center] = 0
    nearer = distance[:, None] < distance
    itself = np.eye(len(joints), dtype=bool)
    weight = linked / linked.sum(axis=0)
    slices: NDArray[np.float64] = weight * np.stack((itself, ~itself & ~nearer, ~itself & nearer))
    return slices.astype(np.float32)


class PoseGraph(nn.Module):
    """ST-GCN that says of a walk what :class:`PoseTransformer` says.

    The mean of the last feature map over frames and joints is the representation, scaled to unit
    length, and what both heads read; the projection's GELU comes after its linear layer. All ten
    layers' weights of the edges are one parameter.

    Args:
        width: D, of the last layer and the representation.
        projection_dim: Q.
        attributes: A.
        dropout: of the last layer; the others have ``INNER_DROPOUT``.
        skeleton: joint layout; gives the adjacency.
        channels: C of a joint.

    Raises:
        InputError: if a size is impossible.
    """

    A: Tensor

    def __init__(
        self,
        width: int = 256,
        projection_dim: int = 128,
        attributes: int = 42,
        dropout: float = 0.1,
        skeleton: Skeleton = OPENPOSE18,
        channels: int = 3,
    ) -> None:
        for name, value in {"width": width, "projection_dim": projection_dim}.items():
            if value < 1:
                raise InputError(f"model.{name} is {value}; give 1 or more")
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout is {dropout}; give 0 or more, below 1")
        super().__init__()
        adjacency = torch.from_numpy(spatial_partition(skeleton))
        self.register_buffer("A", adjacency)
        self.data_bn = nn.BatchNorm2d(skeleton.num_joints * channels)
        widths = (*WIDTHS[:-1], width)
        self.st_gcn_networks = nn.ModuleList(
            SpatialTemporal(
                c_in,
                c_out,
                slices=len(adjacency),
                stride=2 if i in HALVING else 1,
                initial=i == 0,
                dropout=dropout if i == len(widths) - 1 else INNER_DROPOUT,
            )
            for i, (c_in, c_out) in enumerate(pairwise((channels, *widths)))
        )
        self.edge_importance = nn.Parameter(torch.ones(len(widths), *adjacency.shape))
        self.projection = nn.Linear(width, projection_dim)
        self.out_appearance = nn.Linear(width, attributes)

    def forward(self, frames: Tensor) -> PoseOutput:
        """Frames (B, T, V, C), normalised, to what the network says of the walk."""
        x = normed_input(frames, self.data_bn)
        for layer, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            x = layer(x, self.A * importance)
        read = precise(x).mean((2, 3))
        projection = F.gelu(exactly(self.projection, read))
        return PoseOutput(
            F.normalize(precise(read), eps=1e-6),
            F.normalize(precise(projection)),
            precise(exactly(self.out_appearance, read)).sigmoid(),
        )
