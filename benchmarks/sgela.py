"""Speed of SGE-LA's training step and of its gait encodings on this machine's CPU.

    python benchmarks/sgela.py [--threads 2] [--batch 128] [--steps 10] [--plain]

A step is the forward pass of all three axes on random sequences of 6 frames and 20 joints, the
locality-aware objective with its L2 term, the backward pass, clipping and Adam as TensorFlow has
it. Encodings are the forward pass alone. ``--plain`` measures beside them the same formulas step by
step as they are written, axis after axis, with torch's own Adam, in turns with ours. What is
compared is the least time of each, and the processor's seconds, which other processes hardly touch.
The authors' graph trains one axis at 711 sequences a second (TensorFlow 1.10 on two threads of
another machine), that is 237 for the three. Prints one line of JSON a figure; ``matmul`` tells the
machine.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gaitbench.backbones.gait_encoder import GaitEncoder
from gaitbench.losses import GaitEncodingLoss, half_squares, locality_mask
from gaitbench.memory import keep_pages
from gaitbench.optimizers import TensorFlowAdam

FRAMES, JOINTS, HIDDEN, AXES = 6, 20, 256, 3
L2, CLIP, RATE = 0.02, 5.0, 5e-4
PUBLISHED = 237  # sequences/s of all axes


class PlainAxis(nn.Module):
    """The network of one axis, a product of a concatenation for every cell and step."""

    def __init__(self) -> None:
        super().__init__()
        rows = JOINTS + HIDDEN, 2 * HIDDEN, JOINTS + 2 * HIDDEN, 2 * HIDDEN
        self.cells = nn.ModuleList(nn.Linear(n, 4 * HIDDEN) for n in rows)
        self.memory = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.attention = nn.Linear(2 * HIDDEN, HIDDEN, bias=False)
        self.output = nn.Linear(HIDDEN, JOINTS)

    def move(self, cell: int, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """An LSTM cell: cell and hidden state after the next input."""
        i, j, f, o = self.cells[cell](torch.cat([x, state[1]], 1)).chunk(4, 1)
        c = (f + 1).sigmoid() * state[0] + i.sigmoid() * j.tanh()
        return c, o.sigmoid() * c.tanh()

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, V) to drawn frames (B, T, V) and alignments (B, T, T)."""
        zero = frames.new_zeros(len(frames), HIDDEN)
        low, high = (zero, zero), (zero, zero)
        encoded = []
        for t in range(FRAMES):
            low = self.move(0, frames[:, t], low)
            high = self.move(1, low[1], high)
            encoded.append(high[1])
        values = torch.stack(encoded, 1)
        keys, attended, drawn, looks = self.memory(values), zero, [], []
        for _ in range(FRAMES):
            fed = torch.cat([torch.zeros_like(frames[:, 0]), attended], 1)
            low = self.move(2, fed, low)
            high = self.move(3, low[1], high)
            look = (keys @ high[1][:, :, None])[..., 0].softmax(1)
            context = (look[:, None] @ values)[:, 0]
            attended = self.attention(torch.cat([high[1], context], 1))
            drawn.append(self.output(attended))
            looks.append(look)
        return torch.stack(drawn, 1), torch.stack(looks, 1)


def own_step(frames: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    """Our training step, and our forward pass."""
    network, loss = GaitEncoder(JOINTS, HIDDEN, AXES), GaitEncodingLoss(FRAMES)
    optimizer = TensorFlowAdam(network.parameters(), RATE, weight_decay=L2, clip=CLIP)
    target = frames.flip(1)

    def step() -> object:
        optimizer.zero_grad()
        out = network(frames)
        torch.cat(loss(out.outputs, target, out.alignments)).sum().backward()
        return optimizer.step()

    def encode() -> object:
        with torch.no_grad():
            return network(frames).of_frames

    return step, encode


def plain_step(frames: Tensor) -> Callable[[], object]:
    """The same training axis after axis, all of it by torch's own means."""
    mask = locality_mask(FRAMES)
    networks = [PlainAxis() for _ in range(AXES)]
    optimizers = [torch.optim.Adam(network.parameters(), RATE) for network in networks]

    def step() -> object:
        for axis, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
            optimizer.zero_grad()
            drawn, looks = network(frames[..., axis])
            error = (drawn - frames[..., axis].flip(1)).square().sum()
            astray = (looks - looks * mask).square().sum()
            loss = 0.5 * error + 0.5 * astray + L2 * half_squares(network.parameters())
            loss.backward()
            nn.utils.clip_grad_value_(network.parameters(), CLIP)
            optimizer.step()
        return None

    return step


def in_turn(runs: dict[str, Callable[[], object]], times: int) -> dict[str, tuple[float, float]]:
    """Least seconds of each run, on the wall and of the processor, after two to warm up."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(times + 2):
        for name, run in runs.items():
            start, cpu = time.perf_counter(), time.process_time()
            run()
            if turn > 1:
                took[name].append((time.perf_counter() - start, time.process_time() - cpu))
    return {
        name: (min(wall for wall, _ in each), min(cpu for _, cpu in each))
        for name, each in took.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="measure the plain formulas too")
    args = parser.parse_args()

    keep_pages()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    frames = torch.randn(args.batch, FRAMES, JOINTS, AXES)
    square = torch.randn(2048, 2048)
    step, encode = own_step(frames)
    runs: dict[str, Callable[[], object]] = {
        "matmul of 2048 x 2048": lambda: square @ square,
        "encode": encode,
        "step": step,
    }
    if args.plain:
        runs["plain step"] = plain_step(frames)
    for name, (wall, cpu) in in_turn(runs, args.steps).items():
        line: dict[str, object] = {"name": name, "cpu_s": round(cpu, 4), "wall_s": round(wall, 4)}
        if "step" in name or name == "encode":
            line |= {"value": round(args.batch / wall, 1), "unit": "sequences/s, three axes"}
            line |= {"batch": args.batch}
        if "step" in name:
            line |= {"times_published": round(args.batch / wall / PUBLISHED, 2)}
        print(json.dumps(line | {"threads": args.threads}))


if __name__ == "__main__":
    main()
