"""GaitFormer's network: a transformer over the frames of a walk, one token a frame.

Source: Cosma and Radoi 2022, doi 10.3390/s22186803. Names and shapes of the state dict are those of
the authors' checkpoints, without the ``module.`` in front.
"""

from copy import deepcopy
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.errors import InputError
from gaitbench.precision import exactly, precise


class PoseOutput(NamedTuple):
    """What the network says of B walks.

    Args:
        representation: (B, D), unit vectors: what is compared.
        projection: (B, Q), unit vectors: what a contrastive loss trains.
        appearance: (B, A), probability of each attribute.
    """

    representation: Tensor
    projection: Tensor
    appearance: Tensor


class SelfAttention(nn.Module):
    """Attention of the first tokens to all tokens, in several heads.

    Args:
        width: D.
        heads: of D / heads values each.
        dropout: of the attention's weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """(B, T, D) to what the first ``tokens`` of it gather, (B, tokens, D)."""
        width = x.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        query = F.linear(x[:, :tokens], weight[:width], bias[:width])
        key, value = F.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1)
        # each (B, heads, tokens, D / heads)
        query, key, value = (
            y.reshape(*y.shape[:2], self.heads, -1).transpose(1, 2) for y in (query, key, value)
        )
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        gathered: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return gathered


class Layer(nn.Module):
    """Attention and a feed-forward network of width 2 D, each behind a layer-norm.

    Args:
        width: D.
        heads: of the attention.
        dropout: of the attention's weights, and within and after both parts.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads, dropout)
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """(B, T, D) to its first tokens, (B, tokens, D)."""
        x = x[:, :tokens] + self.dropout(self.self_attn(self.norm1(x), tokens))
        y: Tensor = self.dropout(F.gelu(self.linear1(self.norm2(x))))
        y = self.dropout(self.linear2(y))
        return x + y


class Encoder(nn.Module):
    """Layers one after the other, without a norm at the end.

    As published all of them start as copies of one.

    Args:
        depth: layers.
        layer: the one that is copied.
    """

    def __init__(self, depth: int, layer: Layer) -> None:
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(layer) for _ in range(depth))

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """(B, T, D) to the first tokens of the last layer, (B, tokens, D)."""
        *inner, last = self.layers
        for layer in inner:
            x = layer(x, x.shape[1])
        x = last(x, tokens)  # what nobody reads is not worked out
        return x


class PoseTransformer(nn.Module):
    """GaitFormer's network.

    Every frame's values become a token, a learned position is added, and the tokens go through
    pre-norm transformer layers. As published the walk is then read at the first frame's token; the
    publication's figure draws the mean over all frames in its place. Everything is worked out in
    the precision of autocast but what follows the last layer: unit vectors and probabilities.

    Args:
        period: frames T; the learned positions are those of just so many.
        values: of a frame: V joints times (x, y, confidence).
        width: D, of tokens and representation.
        depth: layers: 4, 8 or 12 in the published sizes sm, md and xl.
        heads: of the attention.
        projection_dim: Q.
        attributes: A.
        dropout: see :class:`Layer`.
        readout: ``first`` token, or ``mean`` over all.

    Raises:
        InputError: if a size is impossible.
    """

    def __init__(
        self,
        period: int = 48,
        values: int = 54,
        width: int = 256,
        depth: int = 4,
        heads: int = 8,
        projection_dim: int = 128,
        attributes: int = 42,
        dropout: float = 0.1,
        readout: Literal["first", "mean"] = "first",
    ) -> None:
        sizes = {"period": period, "width": width, "depth": depth, "heads": heads}
        for name, value in {**sizes, "projection_dim": projection_dim}.items():
            if value < 1:
                raise InputError(f"model.{name} is {value}; give 1 or more")
        if width % heads:
            raise InputError(
                f"model.width {width} does not divide into model.heads {heads}; give a multiple"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout is {dropout}; give 0 or more, below 1")
        super().__init__()
        self.readout = readout
        self.positional_embedding = nn.Parameter(torch.randn(1, period, width))
        self.skeleton_encoding = nn.Linear(values, width)
        self.encoder = Encoder(depth, Layer(width, heads, dropout))
        self.out_embedding = nn.Linear(width, width, bias=False)
        self.projection = nn.Linear(width, projection_dim)
        self.out_appearance = nn.Linear(width, attributes)

    def forward(self, frames: Tensor) -> PoseOutput:
        """Frames (B, T, V, C), normalised, to what the network says of the walk."""
        tokens = self.skeleton_encoding(frames.flatten(2)) + self.positional_embedding
        read = self.encoder(tokens, 1 if self.readout == "first" else tokens.shape[1]).mean(1)
        embedding = exactly(self.out_embedding, read)
        projection = exactly(self.projection, F.gelu(embedding))
        return PoseOutput(
            F.normalize(precise(embedding)),
            F.normalize(precise(projection)),
            precise(exactly(self.out_appearance, read)).sigmoid(),
        )
