"""Speed of GaitCopy's training steps, codes, augmentation and votes on this machine's CPU.

    python benchmarks/gaitcopy.py [--only student-bmvc ...] [--threads 2] [--batch 32] [--bf16]

A step is the forward pass of windows in memory, the loss with its penalty, the backward pass and
the optimiser: signatures and Keras' Adam for students, semi-hard triplets, cross-entropy and SGD
with momentum for teachers. The processor's milliseconds a sample hardly depend on other processes,
nor on the batch; ``keras`` is what the authors' Keras code takes, with batches of 150 (GaitSet 32)
on a server processor with AVX-512 (TensorFlow 2.12), which is not this machine: ``matmul`` tells
how fast this one is. ``--bf16`` measures steps under autocast beside those in float32. Prints one
line of JSON a figure.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gaitbench.backbones import frame_network
from gaitbench.image_transforms import FrameAugmentation
from gaitbench.losses import LinearClassification, SemiHardTriplet, SignatureLoss, WeightedSum
from gaitbench.memory import keep_pages
from gaitbench.optimizers import TensorFlowAdam
from gaitbench.protocols import NeighbourProtocol, evaluate_neighbours

NETWORKS: dict[str, tuple[str, int, int, bool]] = {
    "student-bmvc": ("3d-bmvc", 1, 1024, False),
    "student-smallA": ("3d-smallA", 1, 1024, False),
    "student-smallB": ("3d-smallB", 1, 1024, False),
    "teacher-bmvc": ("3d-bmvc", 2, 1024, True),
    "teacher-2d": ("2d-bmvc", 2, 1024, True),
    "student-2d": ("2d-bmvc", 1, 1024, False),
    "student-gaitset": ("gaitset-copy", 1, 7936, False),
}
"""Network, channels, size of the code, and whether it is a teacher."""

KERAS = {
    "step student-bmvc": 70.6,
    "step student-smallA": 44.5,
    "step student-smallB": 34.6,
    "step teacher-bmvc": 74.2,
    "step teacher-2d": 32.8,
    "step student-2d": 23.8,
    "step student-gaitset": 245,
    "codes student-bmvc": 19.1,
    "codes student-smallB": 9.0,
    "codes teacher-bmvc": 20.6,
    "codes teacher-2d": 13.0,
    "codes student-gaitset": 84.2,
    "augmentation gray": 6.0,
    "augmentation flow": 13.7,
}
"""Processor's milliseconds a sample; those of augmentation include reading and decoding files."""


def least(run: Callable[[], object], times: int) -> tuple[float, float]:
    """Least seconds of a run, of the processor and on the wall, after one to warm up."""
    run()
    took = []
    for _ in range(times):
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        took.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in took), min(wall for _, wall in took)


def runs_of(name: str, batch: int, bf16: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """A network's training step and its codes."""
    kind, channels, dim, teacher = NETWORKS[name]
    network = frame_network(kind, channels, dim, dropout=0.0 if teacher else 0.4)
    frames = torch.rand(batch, 25, 60, 60, channels) - 0.5
    target: Tensor = torch.arange(batch) // 4
    loss: nn.Module = WeightedSum(
        [(1.0, SemiHardTriplet()), (0.1, LinearClassification(dim, max(150, batch)))]
    )
    if not teacher:
        target, loss = nn.functional.normalize(torch.randn(batch, dim)), SignatureLoss()
    weights = [*network.parameters(), *loss.parameters()]
    optimizer: torch.optim.Optimizer = TensorFlowAdam(weights, 1e-5, epsilon=1e-7)
    if teacher:
        optimizer = torch.optim.SGD(weights, 1e-3, momentum=0.9)
    penalty: Callable[[], Any] = getattr(network, "penalty", lambda: 0.0)

    def step(context: Any = nullcontext) -> None:
        network.train()
        optimizer.zero_grad()
        with context():
            code = network(frames)
        (loss(code.float(), target) + penalty()).backward()
        optimizer.step()

    @torch.no_grad()
    def codes() -> None:
        network.eval()
        network(frames)

    yield f"step {name}", step
    if bf16:
        yield f"step {name} bf16", lambda: step(lambda: torch.autocast("cpu", torch.bfloat16))
    yield f"codes {name}", codes


def augmentations(batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Training augmentation of gray frames and of flow."""
    augmentation, generator = FrameAugmentation(), torch.Generator()
    for name, channels in (("gray", 1), ("flow", 2)):
        frames = torch.randn(batch, 25, 60, 60, channels)
        yield f"augmentation {name}", lambda x=frames: augmentation(x, generator)  # type: ignore[misc]


def votes(dim: int) -> Callable[[], object]:
    """Votes about 1000 windows by 2000 of the gallery."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "subject": [f"{row % 150:03d}" for row in range(3000)],
            "condition": np.repeat(["gallery", "probe"], [2000, 1000]),
            "number": np.arange(3000) // 5,
            "view": 90,
        }
    )
    values = random.normal(size=(3000, dim)).astype(np.float32)
    protocol = NeighbourProtocol(
        "x", "", {"condition": ["gallery"]}, {"probes": {"condition": ["probe"]}}
    )
    return lambda: evaluate_neighbours(values, table, protocol, bootstrap=0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=[*NETWORKS, "augmentation", "votes"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="measure steps under autocast too")
    args = parser.parse_args()

    keep_pages()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    def tell(name: str, run: Callable[[], object], samples: int) -> None:
        cpu, wall = least(run, args.times)
        line: dict[str, object] = {"name": name, "threads": args.threads}
        if samples:
            line |= {"value": round(1000 * cpu / samples, 2), "unit": "CPU ms/sample"}
            line |= {"samples/s": round(samples / wall, 1), "batch": samples}
            line |= {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
        else:
            line |= {"cpu_s": round(cpu, 4), "wall_s": round(wall, 4)}
        if name in KERAS:
            line |= {"keras": KERAS[name]}
        print(json.dumps(line), flush=True)

    square = torch.randn(2048, 2048)
    tell("matmul of 2048 x 2048", lambda: square @ square, 0)
    for name in args.only or [*NETWORKS, "augmentation", "votes"]:
        if name == "votes":
            for dim in (1024, 7936):
                tell(f"votes of 1000 by 2000, {dim} values", votes(dim), 0)
            continue
        runs = augmentations(args.batch)
        if name in NETWORKS:
            runs = runs_of(name, args.batch, args.bf16)
        for label, run in runs:
            tell(label, run, args.batch)


if __name__ == "__main__":
    main()
