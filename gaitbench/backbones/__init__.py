"""Networks: streams (B, T, V, S, C) in, embeddings (B, D) and a feature map out.

GaitFormer's, :class:`PoseTransformer` and :class:`PoseGraph`, take the frames themselves and have
three outputs, see :class:`PoseOutput`. GaitCopy's and GaitSet take windows of pictures
(B, T, H, W, C) and give codes (B, D).
"""

from typing import Literal

from gaitbench.backbones.gaitcopy import FILTERS, StackNetwork, VolumeNetwork
from gaitbench.backbones.gaitformer import PoseOutput, PoseTransformer
from gaitbench.backbones.gaitset import PARTS, GaitSet
from gaitbench.backbones.pose_graph import PoseGraph
from gaitbench.backbones.resgcn import ResGCN
from gaitbench.backbones.stgcn import STGCN
from gaitbench.errors import InputError
from gaitbench.skeleton import Skeleton

__all__ = [
    "STGCN",
    "GaitSet",
    "PoseGraph",
    "PoseOutput",
    "PoseTransformer",
    "ResGCN",
    "StackNetwork",
    "VolumeNetwork",
    "frame_network",
    "graph_network",
]


def graph_network(
    name: str, skeleton: Skeleton, branches: int, channels: int, embedding_dim: int = 128
) -> ResGCN | STGCN:
    """The graph network of that name.

    Both give embeddings (B, D) and a feature map (B, 256, T', V), and call their output layer
    ``fcn``.

    Args:
        name: ``st-gcn``, or ``[attention-]resgcn-<structure>[-<reduction>]``.
        skeleton: joint layout.
        branches: streams S.
        channels: channels C of each stream.
        embedding_dim: D.

    Raises:
        InputError: if there is no such network, or st-gcn is asked to take several streams.
    """
    if name != "st-gcn":
        return ResGCN(name, skeleton, branches, channels, embedding_dim)
    if branches != 1:
        raise InputError(
            f"network st-gcn takes one stream, found {branches}; give model.streams raw or "
            "concatenated, or a resgcn"
        )
    return STGCN(skeleton, channels, embedding_dim)


def frame_network(
    name: str,
    channels: int = 1,
    embedding_dim: int = 1024,
    dropout: float = 0.0,
    start: Literal["glorot", "he"] = "glorot",
) -> VolumeNetwork | StackNetwork | GaitSet:
    """The network of windows of pictures of that name.

    Args:
        name: ``3d-bmvc``, ``3d-smallA``, ``3d-smallB``, ``2d-bmvc``, ``gaitset`` as published, or
            ``gaitset-copy``, GaitCopy's variant.
        channels: C, 1 of gray frames and silhouettes, 2 of flow.
        embedding_dim: D; of GaitSet 62 parts together, 15872 as published and 7936 in GaitCopy.
        dropout: before the code; GaitSet has none.
        start: how the 3D-CNN's kernels are drawn.

    Raises:
        InputError: if there is no such network, or its parts cannot have that size.
    """
    kind, _, filters = name.partition("-")
    if kind == "3d" and filters in FILTERS:
        return VolumeNetwork(channels, embedding_dim, filters, dropout, start)
    if name == "2d-bmvc":
        return StackNetwork(channels, embedding_dim, dropout)
    if name not in ("gaitset", "gaitset-copy"):
        known = (*(f"3d-{filters}" for filters in FILTERS), "2d-bmvc", "gaitset", "gaitset-copy")
        raise InputError(f"network {name!r} is unknown; choose from {', '.join(known)}")
    part_dim, left = divmod(embedding_dim, PARTS)
    if left or not part_dim:
        raise InputError(
            f"embedding_dim is {embedding_dim}, but GaitSet has {PARTS} parts; give a multiple"
        )
    if name == "gaitset":
        return GaitSet(channels, part_dim=part_dim)
    return GaitSet(channels, part_dim=part_dim, padding=4, slope=0.3, start="keras")
