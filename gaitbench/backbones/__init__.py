"""Networks: streams (B, T, V, S, C) in, embeddings (B, D) and a feature map out."""

from gaitbench.backbones.resgcn import ResGCN

__all__ = ["ResGCN"]
