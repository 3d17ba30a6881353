"""Speed of a training step or of the forward pass of resgcn-n21-r8 on this machine's CPU.

    python benchmarks/train_step.py --batch 128 --threads 2 --mode 3x5
    python benchmarks/train_step.py --batch 128 --threads 2 --mode 3x5 --plain

A step is forward, supervised contrastive loss, backward and AdamW on random input of 60 frames and
17 joints, four sequences a subject. ``--plain`` times the formulation that the architecture's
description suggests, one operation a layer in (B, C, T, V), for comparison: run both in turn.
Prints one line of JSON.
"""

import argparse
import json
import resource
import time

import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn

from gaitbench.backbones.resgcn import REDUCTIONS, STRUCTURES, ResGCN, parse_name
from gaitbench.memory import keep_pages
from gaitbench.skeleton import COCO17, Skeleton


class PlainGraphConv(nn.Module):
    """1x1 convolution to three slices, then the sum over neighbours."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.gcn = nn.Conv2d(c_in, 3 * c_out, 1)

    def forward(self, x: Tensor, hops: Tensor) -> Tensor:
        """(B, C_in, T, V) to (B, C_out, T, V)."""
        z = self.gcn(x).unflatten(1, (3, -1))
        return torch.einsum("bkctv,kvw->bctw", z, hops)


class PlainHalf(nn.Module):
    """The spatial or temporal half of a module, basic (``width`` None) or bottleneck."""

    def __init__(self, c_in: int, c_out: int, width: int | None, stride: int | None) -> None:
        super().__init__()
        inner_in, inner = (c_in, c_out) if width is None else (width, width)
        if width is not None:
            self.conv_down = nn.Conv2d(c_in, width, 1)
            self.bn_down = nn.BatchNorm2d(width)
            self.conv_up = nn.Conv2d(width, c_out, 1)
            self.bn_up = nn.BatchNorm2d(c_out)
            if c_in != c_out or stride == 2:
                self.residual = plain_residual(c_in, c_out, stride or 1)
        self.conv = (
            PlainGraphConv(inner_in, inner)
            if stride is None
            else nn.Conv2d(inner, inner, (9, 1), (stride, 1), (4, 0))
        )
        self.bn = nn.BatchNorm2d(inner)

    def forward(self, x: Tensor, *hops: Tensor) -> Tensor:
        """(B, C_in, T, V) to (B, C_out, T', V)."""
        if not hasattr(self, "conv_up"):
            return self.bn(self.conv(x, *hops))
        h = F.relu(self.bn_down(self.conv_down(x)))
        h = F.relu(self.bn(self.conv(h, *hops)))
        h = self.bn_up(self.conv_up(h))
        return F.relu(h + (self.residual(x) if hasattr(self, "residual") else x))


def plain_residual(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """1x1 convolution and batch-norm."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, (stride, 1)), nn.BatchNorm2d(c_out))


class PlainBlock(nn.Module):
    """Both halves, and the residual of a basic module."""

    def __init__(
        self, c_in: int, c_out: int, width: int | None, stride: int, initial: bool
    ) -> None:
        super().__init__()
        self.edge = nn.Parameter(torch.ones(4, 17, 17))
        self.scn = PlainHalf(c_in, c_out, width, None)
        self.tcn = PlainHalf(c_out, c_out, width, stride)
        self.basic, self.initial = width is None, initial
        if self.basic and not initial and (c_in != c_out or stride == 2):
            self.residual = plain_residual(c_in, c_out, stride)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """(B, C_in, T, V) to (B, C_out, T', V)."""
        h = self.scn(x, (adjacency * self.edge)[:3])
        if not self.basic:
            return self.tcn(h)
        y = self.tcn(F.relu(h))
        if not self.initial:
            y = y + (self.residual(x) if hasattr(self, "residual") else x)
        return F.relu(y)


class PlainResGCN(nn.Module):
    """ResGCN without attention, written as described; takes the state dict of `ResGCN`."""

    def __init__(self, name: str, skeleton: Skeleton, branches: int, channels: int) -> None:
        super().__init__()
        _, structure, reduction = parse_name(name)
        a, b, c, d = STRUCTURES[structure]
        self.register_buffer("A", torch.from_numpy(skeleton.adjacency()))

        def block(c_in: int, c_out: int, stride: int = 1, initial: bool = False) -> PlainBlock:
            basic = initial or structure.startswith("b")
            width = None if basic else c_out // REDUCTIONS[reduction]
            return PlainBlock(c_in, c_out, width, stride, initial)

        def branch() -> nn.Module:
            module = nn.Module()
            module.register_buffer("A", self.A)
            module.bn = nn.BatchNorm2d(channels)
            initial = [block(channels if i == 0 else 64, 64, initial=True) for i in range(a)]
            middle = [block(64, 64) for _ in range(b - 1)]
            module.layers = nn.ModuleList([*initial, *middle, block(64, 32)])
            return module

        self.input_branches = nn.ModuleList(branch() for _ in range(branches))
        first = [block(32 * branches, 128, 2), *(block(128, 128) for _ in range(c - 1))]
        second = [block(128, 256, 2), *(block(256, 256) for _ in range(d - 1))]
        self.main_stream = nn.ModuleList(first + second)
        self.fcn = nn.Linear(256, 128)

    def forward(self, streams: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, V, S, C) to (B, 128) and (B, 256, T', V)."""
        outputs = []
        for i, branch in enumerate(self.input_branches):
            x = branch.bn(streams[..., i, :].permute(0, 3, 1, 2).contiguous())
            for layer in branch.layers:
                x = layer(x, self.A)
            outputs.append(x)
        x = torch.cat(outputs, 1)
        for layer in self.main_stream:
            x = layer(x, self.A)
        return self.fcn(x.mean((2, 3))), x


def main() -> None:
    """Time the steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", choices=["1x15", "3x5"], default="1x15")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="the formulation as described")
    parser.add_argument("--infer", action="store_true", help="forward in evaluation mode only")
    args = parser.parse_args()

    if not args.plain:
        keep_pages()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    branches, channels = map(int, args.mode.split("x"))
    kind = PlainResGCN if args.plain else ResGCN
    model = kind("resgcn-n21-r8", COCO17, branches, channels).train(not args.infer)
    streams = torch.randn(args.batch, 60, 17, branches, channels)
    subjects = torch.arange(args.batch) // 4
    loss = SupConLoss(0.01, distance=LpDistance(normalize_embeddings=True))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=1e-5, fused=True)

    def step() -> None:
        if args.infer:
            with torch.no_grad():
                model(streams)
            return
        optimizer.zero_grad()
        loss(model(streams)[0], subjects).backward()
        optimizer.step()

    step()
    times, cpu_times = [], []
    for _ in range(args.steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        step()
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu_start)
    result = {
        "name": "forward" if args.infer else "train_step",
        "value": round(args.batch / min(times), 1),
        "unit": "samples/s",
        "settings": {
            "batch": args.batch,
            "threads": args.threads,
            "mode": args.mode,
            "plain": args.plain,
        },
        "cpu_s_per_step": round(min(cpu_times), 2),  # nearly independent of neighbours
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
