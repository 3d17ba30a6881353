"""Speed of GaitFormer's training step and inference on this machine's CPU, against a plain one.

    python benchmarks/gaitformer.py [--threads 2] [--batch 256] [--steps 5]

A step is the forward pass, supervised contrastive loss plus half the cross-entropy of 42
attributes, backward pass, clipping and AdamW of size sm on random windows of 48 frames, two of each
walk. Inference is the forward pass in evaluation mode, in sizes sm, md and xl. The plain
formulation is ``torch.nn.TransformerEncoder`` with heads behind its first token, and the loss as
its equation is written. Both take turns, since a machine that is busy otherwise slows them at
different times; what is compared is the least time of each, and the processor's seconds, which
other processes hardly touch. Prints one line of JSON a figure; ``matmul`` tells the machine.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.backbones import PoseTransformer
from gaitbench.losses import AttributeLoss, SupCon
from gaitbench.memory import keep_pages

DEPTHS = {"sm": 4, "md": 8, "xl": 12}
PERIOD, JOINTS, WIDTH, ATTRIBUTES = 48, 18, 256, 42


class PlainTransformer(nn.Module):
    """The network as its description reads, from torch's own layers."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, PERIOD, WIDTH))
        self.skeleton_encoding = nn.Linear(3 * JOINTS, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 8, 2 * WIDTH, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out_embedding = nn.Linear(WIDTH, WIDTH, bias=False)
        self.projection = nn.Linear(WIDTH, 128)
        self.out_appearance = nn.Linear(WIDTH, ATTRIBUTES)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, V, 3) to representation, projection and attributes."""
        tokens = self.skeleton_encoding(frames.flatten(2)) + self.positional_embedding
        read = self.encoder(tokens)[:, 0]
        embedding = self.out_embedding(read)
        projection = self.projection(F.gelu(embedding))
        attributes = self.out_appearance(read).sigmoid()
        return F.normalize(embedding), F.normalize(projection), attributes


def plain_contrast(projection: Tensor, subject: Tensor) -> Tensor:
    """Supervised contrastive loss at temperature 0.001 with its epsilon, term by term."""
    logits = projection @ projection.T / 0.001
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    others = 1 - torch.eye(len(logits))
    positive = (subject[:, None] == subject).float() * others
    log_share = logits - torch.log((logits.exp() * others).sum(dim=1, keepdim=True) + 1e-6)
    mean = (positive * log_share).sum(dim=1) / positive.sum(dim=1)
    return -(0.001 / 0.07 * mean).mean()


Contrast = Callable[[Tensor, Tensor], Tensor]


def make_step(model: nn.Module, contrast: Contrast, batch: int) -> Callable[[], None]:
    """A training step on the same random batch."""
    frames = torch.randn(batch, PERIOD, JOINTS, 3)
    subject, given = torch.arange(batch) // 2, torch.rand(batch, ATTRIBUTES)
    told = AttributeLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        _, projection, attributes = model(frames)
        loss = contrast(projection, subject) + 0.5 * told(attributes, given)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.5)
        optimizer.step()

    return step


def make_pass(model: nn.Module, batch: int) -> Callable[[], None]:
    """A forward pass in evaluation mode."""
    frames = torch.randn(batch, PERIOD, JOINTS, 3)
    model.eval()

    def forward() -> None:
        with torch.no_grad():
            model(frames)

    return forward


def in_turn(runs: dict[str, Callable[[], None]], times: int) -> dict[str, tuple[float, float]]:
    """Least seconds of each run, on the wall and of the processor, after one to warm up."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(times + 1):
        for name, run in runs.items():
            start, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                took[name].append((time.perf_counter() - start, time.process_time() - cpu))
    return {
        name: (min(wall for wall, _ in each), min(cpu for _, cpu in each))
        for name, each in took.items()
    }


def say(name: str, value: float, unit: str, **settings: object) -> None:
    """Print one line of JSON."""
    print(json.dumps({"name": name, "value": round(value, 2), "unit": unit, **settings}))


def compare(name: str, runs: dict[str, Callable[[], None]], batch: int, times: int) -> None:
    """Print what each does a second, and the first as a multiple of the second."""
    took = in_turn(runs, times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for which, (wall, cpu) in took.items():
        settings = {"which": which, "batch": batch, "threads": torch.get_num_threads()}
        say(name, batch / wall, "windows/s", **settings, cpu_s=round(cpu, 3), peak_mb=peak)
    (own_wall, own_cpu), (wall, cpu) = took.values()
    say(
        f"{name} against plain", cpu / own_cpu, "times, of cpu_s", by_wall=round(wall / own_wall, 2)
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()

    keep_pages()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    square = torch.randn(2048, 2048)
    _, cpu = in_turn({"matmul": lambda: square @ square}, 5)["matmul"]
    say("matmul of 2048 x 2048", cpu, "cpu_s", threads=args.threads)
    own, plain = PoseTransformer().train(), PlainTransformer(DEPTHS["sm"]).train()
    plain.load_state_dict(own.state_dict())
    steps = {
        "ours": make_step(own, SupCon(0.001), args.batch),
        "plain": make_step(plain, plain_contrast, args.batch),
    }
    compare("step sm", steps, args.batch, args.steps)
    for size, depth in DEPTHS.items():
        own, plain = PoseTransformer(depth=depth), PlainTransformer(depth)
        plain.load_state_dict(own.state_dict())
        passes = {"ours": make_pass(own, 512), "plain": make_pass(plain, 512)}
        compare(f"inference {size}", passes, 512, args.steps)


if __name__ == "__main__":
    main()
