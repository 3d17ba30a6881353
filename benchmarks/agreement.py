"""How far trainings of two and three processes lie from that of one, and where it comes from.

    python -m benchmarks.agreement [--folder /tmp/agreement]
    python -m benchmarks.agreement --gates

Twenty steps of each method on the tiny data of ``tests/test_distributed.py``, by gloo on the CPU,
in single and in double precision, all at their published rates. Prints a Markdown table of the
largest difference from one process: of the loss of the first step, which is that of equal weights;
of the gradient of that step, as a share of its largest entry; of a weight after that step, in
learning rates, of which Adam's first step takes one whatever the gradient's size; and of the loss
in all twenty.

``--gates`` looks for the operation that makes much of single precision's last digit: one process
takes the same batch in two orders, and it is counted at how many places a rectifier is open in one
and closed in the other, or another frame is the largest; once more with a smooth function in place
of each rectifier. Prints one line a step.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gaitbench.batch import GaitBatch
from gaitbench.methods import GaitGraph2, GaitMethod, GaitSet
from tests import test_distributed
from tests.ks20_tree import write_ks20
from tests.test_distributed import PROCESSES, RUNS, SCRIPT, STEPS, Runs

PRECISIONS = ("32-true", "64-true")
TRIALS = {
    "gaitgraph2, temperature 1": ("gaitgraph2", "32-true", "--model.temperature=1"),
    "gaitset, a tenth of the rate": ("gaitset", "32-true", "--model.learning_rate=0.00001"),
    "gaitset, SGD at a rate of 0.1": (
        "gaitset",
        "32-true",
        "--model.optimizer=sgd",
        "--model.learning_rate=0.1",
    ),
}
"""What shows where a difference comes from: method, precision and what is another there."""


class Trainings(Runs):
    """The same runs without the tests that follow them."""

    def __init__(self, out: Path) -> None:
        self.out = out
        walkers = test_distributed.synthesize(out / "walkers", 12)
        data = {
            "gaitgraph2": walkers,
            "gaitformer": walkers,
            "sgela": out / "ks20",
            "gaitset": test_distributed.silhouettes(out / "silhouettes.npz"),
        }
        write_ks20(data["sgela"], frames=30)
        groups = {
            processes: [
                ["fit", *self.words(processes, name, data[name.split("|")[0]]), f"{LONG}={STEPS}"]
                for name in RUNS
            ]
            for processes in PROCESSES
        }
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])}
        command = [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(groups)]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


LONG = "--trainer.max_steps"


class Gates(TorchFunctionMode):
    """Keeps which rectifiers are open and which frames are the largest.

    Args:
        smooth: put softplus in place of the rectifiers.
    """

    def __init__(self, smooth: bool) -> None:
        super().__init__()
        self.smooth = smooth
        self.seen: list[Tensor] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """What a function gives; see the class."""
        rectifier = function.__name__ in ("relu_", "leaky_relu_")
        if rectifier:
            self.seen.append((args[0] > 0).clone())
        # within a mode's own function it is off
        if rectifier and self.smooth:
            return F.softplus(args[0], beta=5)
        found = function(*args, **(kwargs or {}))
        if function.__name__ == "max" and args[1:] == (1,):
            self.seen.append(found.indices)
        return found


def step_with_gates(
    method: GaitMethod, optimizer: torch.optim.Optimizer, batch: GaitBatch, smooth: bool
) -> tuple[float, list[Tensor]]:
    """Loss, and what a step's gates did, sequence by sequence."""
    optimizer.zero_grad()
    with Gates(smooth) as gates:
        loss = method.training_step(batch, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach()), [gate.unflatten(0, (len(batch.row), -1)) for gate in gates.seen]


def print_gates(kind: type[GaitMethod], people: int, each: int, *shape: int, **how: Any) -> None:
    """Steps of a method on made-up windows, the batch in two orders."""
    subject = torch.arange(people).repeat_interleave(each)
    rows = torch.arange(len(subject))
    for smooth in (False, True):
        pair, random = [], torch.Generator().manual_seed(1)
        for _ in range(2):
            torch.manual_seed(0)
            method = kind(**how).train()
            method._trainer = SimpleNamespace(world_size=1, training=True)  # type: ignore[assignment]
            method.log = lambda *a, **k: None  # type: ignore[assignment,method-assign]
            pair.append((method, torch.optim.Adam(method.parameters(), 1e-4)))
        for step in range(1, 6):
            frames = torch.rand(len(subject), *shape, generator=random)
            batches = (
                GaitBatch(frames[order], subject[order], rows, step)
                for order in (rows, rows.flip(0))
            )
            (one, mine), (other, theirs) = (
                step_with_gates(*trained, batch, smooth)
                for trained, batch in zip(pair, batches, strict=True)
            )
            apart = sum(int((a != b.flip(0)).sum()) for a, b in zip(mine, theirs, strict=True))
            grads = [
                [w.grad for w in method.parameters() if w.grad is not None] for method, _ in pair
            ]
            largest = max(float(grad.abs().max()) for grad in grads[0])
            gradient = max(
                float((a - b).norm() / a.norm())
                for a, b in zip(*grads, strict=True)
                if float(a.abs().max()) > 1e-4 * largest  # others are rounding alone
            )
            weight = max(
                float((a - b).detach().abs().max())
                for a, b in zip(*(method.parameters() for method, _ in pair), strict=True)
            )
            print(
                f"{kind.__name__}{', smooth' * smooth}, step {step}: loss {abs(one - other):.0e}, "
                f"gradient of a weight {gradient:.0e}, a weight {weight / 1e-4:.0e} rates; {apart} "
                f"of {sum(gate.numel() for gate in mine):,} gates differ",
                flush=True,
            )


def variants() -> dict[str, tuple[str, ...]]:
    """Config and settings of each row of the table, by method and what is told of it."""
    found = {}
    plain = {
        f"{name}|{name}, {precision}": (name, precision)
        for name in RUNS
        for precision in PRECISIONS
    }
    for key, (name, precision, *more) in (
        plain | {f"{trial[0]}|{told}": trial for told, trial in TRIALS.items()}
    ).items():
        kept = [word for word in RUNS[name] if not word.startswith("--trainer.precision")]
        found[key] = (*kept, f"--trainer.precision={precision}", *more)
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="for the runs (default a temporary one)")
    parser.add_argument("--gates", action="store_true", help="where it comes from; see above")
    args = parser.parse_args()
    if args.gates:
        torch.set_num_threads(1)
        print_gates(GaitGraph2, 6, 4, 8, 17, 3)
        print_gates(GaitSet, 6, 2, 2, 64, 44, 1, embedding_dim=248)
        return
    made = variants()
    RUNS.clear()
    RUNS.update(made)
    with tempfile.TemporaryDirectory() as temporary:
        runs = Trainings(args.folder or Path(temporary))
        print("| training | losses | processes | first loss | gradient | weight | all losses |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for name in RUNS:
            (steps,) = runs.steps(1, name)
            alone = np.array([step["loss"] for step in steps])
            first = torch.load(runs.at(1, name) / "first0.pt", weights_only=True)
            for processes in PROCESSES[1:]:
                found = runs.steps(processes, name)[0]
                apart = np.abs(np.array([step["loss"] for step in found]) - alone)
                other = torch.load(runs.at(processes, name) / "first0.pt", weights_only=True)
                largest = max(g.abs().max() for g in first["gradients"].values())
                gradient, weight = (
                    max(float((other[part][k] - v).abs().max()) for k, v in first[part].items())
                    for part in ("gradients", "weights")
                )
                cells = [
                    name.split("|")[1],
                    f"{alone[0]:.3g} to {alone[-1]:.3g}",
                    str(processes),
                    f"{apart[0]:.0e}",
                    f"{gradient / largest:.0e}",
                    f"{weight / first['rate']:.0e}",
                    f"{apart.max():.0e}",
                ]
                print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
