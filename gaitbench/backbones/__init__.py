"""Networks: streams (B, T, V, S, C) in, embeddings (B, D) and a feature map out.

GaitFormer's, :class:`PoseTransformer` and :class:`PoseGraph`, take the frames themselves and have
three outputs, see :class:`PoseOutput`.
"""

from gaitbench.backbones.gaitformer import PoseOutput, PoseTransformer
from gaitbench.backbones.pose_graph import PoseGraph
from gaitbench.backbones.resgcn import ResGCN
from gaitbench.backbones.stgcn import STGCN
from gaitbench.errors import InputError
from gaitbench.skeleton import Skeleton

__all__ = ["STGCN", "PoseGraph", "PoseOutput", "PoseTransformer", "ResGCN", "graph_network"]


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
