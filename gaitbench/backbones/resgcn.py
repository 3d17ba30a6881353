"""ResGCN: residual graph convolutions with bottlenecks, the network of GaitGraph and GaitGraph2.

Source: Teepe et al. 2021, arXiv 2101.11228, and 2022, arXiv 2204.07855; the architecture is that of
Song et al. 2020, arXiv 2010.09978. Names and shapes of the state dict are those of the checkpoints
that the authors released.
"""

import math

import torch
from torch import Tensor, nn

from gaitbench.backbones.attention import ATTENTIONS, Attention
from gaitbench.backbones.graph import (
    USED_HOPS,
    SpatialBasic,
    SpatialBottleneck,
    TemporalBasic,
    TemporalBottleneck,
    add_shortcut,
    batch_norm,
    shortcut,
)
from gaitbench.errors import InputError
from gaitbench.precision import exactly, precise
from gaitbench.skeleton import Skeleton

STRUCTURES = {
    "b15": (1, 2, 2, 2),
    "b19": (1, 2, 3, 3),
    "b23": (1, 3, 4, 3),
    "b29": (1, 3, 6, 4),
    "n21": (1, 1, 1, 1),
    "n39": (1, 2, 2, 2),
    "n51": (1, 2, 3, 3),
    "n57": (1, 3, 4, 3),
    "n75": (1, 3, 6, 4),
}
"""Modules per stage; b = basic blocks, n = bottlenecks, the number counts convolution layers."""
REDUCTIONS = {"r1": 1, "r2": 2, "r4": 4, "r8": 8}
"""How many times narrower than its output the inside of a bottleneck is."""
BRANCH_WIDTHS = (64, 32)
MAIN_WIDTHS = (128, 256)


class BasicBlock(nn.Module):
    """Graph convolution, then temporal convolution, and one residual around both.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        stride: keep every ``stride``-th frame.
        initial: first module of a branch; it has no residual.
        skeleton: for the size of the edge weights.
        attention: of the main stream.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        skeleton: Skeleton,
        stride: int = 1,
        initial: bool = False,
        attention: Attention | None = None,
    ) -> None:
        super().__init__()
        self.edge = edge_weights(skeleton)
        self.initial = initial
        self.residual = None if initial else shortcut(in_channels, out_channels, stride)
        self.scn = SpatialBasic(in_channels, out_channels)
        self.tcn = TemporalBasic(out_channels, stride)
        self.att = attention

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """(B, C_in, T, V) and (4, V, V) to (B, C_out, T', V)."""
        y = self.tcn(self.scn(x, (adjacency * self.edge)[:USED_HOPS]))
        y = y.relu_() if self.initial else add_shortcut(y, x, self.residual)
        return y if self.att is None else self.att(y)


class BottleneckBlock(nn.Module):
    """Graph convolution and temporal convolution, each narrowed and with its own residual.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        skeleton: for the size of the edge weights.
        reduction: C_out over the channels inside.
        stride: keep every ``stride``-th frame.
        attention: of the main stream.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        skeleton: Skeleton,
        reduction: int,
        stride: int = 1,
        attention: Attention | None = None,
    ) -> None:
        super().__init__()
        self.edge = edge_weights(skeleton)
        self.scn = SpatialBottleneck(in_channels, out_channels, reduction)
        self.tcn = TemporalBottleneck(out_channels, stride, reduction)
        self.att = attention

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """(B, C_in, T, V) and (4, V, V) to (B, C_out, T', V)."""
        y: Tensor = self.tcn(self.scn(x, (adjacency * self.edge)[:USED_HOPS]))
        return y if self.att is None else self.att(y)


def edge_weights(skeleton: Skeleton) -> nn.Parameter:
    """A weight for every entry of the adjacency, (4, V, V), its unused last slice included."""
    return nn.Parameter(torch.ones(skeleton.adjacency().shape))


class Branch(nn.Module):
    """The modules that one stream passes before the streams are joined."""

    A: Tensor

    def __init__(self, channels: int, modules: list[nn.Module], adjacency: Tensor) -> None:
        super().__init__()
        self.register_buffer("A", adjacency)
        self.bn = nn.BatchNorm2d(channels)
        self.layers = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, V, C) to (B, 32, T, V)."""
        # to (B, C, T, V), which keeps the memory order of (B, T, V, C)
        x = batch_norm(x.contiguous().permute(0, 3, 1, 2), self.bn)
        for layer in self.layers:
            x = layer(x, self.A)
        return x


class ResGCN(nn.Module):
    """Residual graph-convolution network.

    Args:
        name: ``[attention-]resgcn-<structure>[-<reduction>]``, such as ``resgcn-n21-r8`` or
            ``pa-resgcn-b19``; without a reduction it is r1. Basic structures ignore it.
        skeleton: joint layout; gives the adjacency and the body parts.
        branches: streams S, each with a branch of its own.
        channels: channels C of each stream.
        embedding_dim: D.

    Raises:
        InputError: if a part of ``name`` is unknown.
    """

    A: Tensor

    def __init__(
        self,
        name: str,
        skeleton: Skeleton,
        branches: int,
        channels: int,
        embedding_dim: int = 128,
    ) -> None:
        super().__init__()
        attention, structure, reduction = parse_name(name)
        initial, branch, first, second = STRUCTURES[structure]
        adjacency = torch.from_numpy(skeleton.adjacency())
        self.register_buffer("A", adjacency)

        def block(c_in: int, c_out: int, stride: int = 1, attend: bool = False) -> nn.Module:
            att = ATTENTIONS[attention](c_out, skeleton) if attend and attention else None
            if structure.startswith("b"):
                return BasicBlock(c_in, c_out, skeleton, stride, attention=att)
            return BottleneckBlock(c_in, c_out, skeleton, REDUCTIONS[reduction], stride, att)

        def branch_modules() -> list[nn.Module]:
            wide, narrow = BRANCH_WIDTHS
            start = [channels] + [wide] * (initial - 1)
            modules: list[nn.Module] = [BasicBlock(c, wide, skeleton, initial=True) for c in start]
            modules += [block(wide, wide) for _ in range(branch - 1)]
            return [*modules, block(wide, narrow)]

        def stage(c_in: int, c_out: int, size: int) -> list[nn.Module]:
            rest = [block(c_out, c_out, attend=True) for _ in range(size - 1)]
            return [block(c_in, c_out, stride=2, attend=True), *rest]

        self.input_branches = nn.ModuleList(
            Branch(channels, branch_modules(), adjacency) for _ in range(branches)
        )
        half, full = MAIN_WIDTHS
        joined = BRANCH_WIDTHS[-1] * branches
        self.main_stream = nn.ModuleList(stage(joined, half, first) + stage(half, full, second))
        self.fcn = nn.Linear(full, embedding_dim)
        self._initialise()

    def _initialise(self) -> None:
        """Draw the weights as the authors do."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.fcn.weight, std=0.001)
        nn.init.zeros_(self.fcn.bias)
        # bottlenecks start as their residual; with attention the authors leave them alone
        for module in self.modules():
            if isinstance(module, BottleneckBlock) and module.att is None:
                nn.init.zeros_(module.scn.bn_up.weight)
                nn.init.zeros_(module.tcn.bn_up.weight)

    def forward(self, streams: Tensor) -> tuple[Tensor, Tensor]:
        """Embed a batch.

        Args:
            streams: (B, T, V, S, C).

        Returns:
            Embeddings (B, D), not normalised, and the feature map before the mean over frames and
            joints, (B, 256, T', V) with T' = T / 4 rounded up.
        """
        branches = [branch(streams[..., i, :]) for i, branch in enumerate(self.input_branches)]
        x = torch.cat(branches, 1)
        for block in self.main_stream:
            x = block(x, self.A)
        return exactly(self.fcn, precise(x).mean((2, 3))), x


def parse_name(name: str) -> tuple[str, str, str]:
    """Attention ('' for none), structure and reduction of a network's name.

    Raises:
        InputError: if a part is unknown.
    """
    parts = name.split("-")
    attention = "" if parts[0] == "resgcn" else parts.pop(0)
    if parts[:1] != ["resgcn"] or len(parts) not in (2, 3):
        raise InputError(
            f"network {name!r} is neither st-gcn nor of the form "
            "[attention-]resgcn-structure[-reduction], such as resgcn-n21-r8 or pa-resgcn-b19"
        )
    structure, reduction = parts[1], parts[2] if len(parts) == 3 else "r1"
    for kind, value, known in (
        ("attention", attention, ("", *ATTENTIONS)),
        ("structure", structure, tuple(STRUCTURES)),
        ("reduction", reduction, tuple(REDUCTIONS)),
    ):
        if value not in known:
            allowed = ", ".join(filter(None, known))
            raise InputError(
                f"network {name!r} has unknown {kind} {value!r}; choose one of {allowed}"
            )
    return attention, structure, reduction
