"""Kill trainings at random moments, let the same command go on, compare the weights bit by bit.

    python benchmarks/recovery.py --folder /tmp/recovery [--kills 20] [--seed 0]

SIGKILL ends each run within a step, a checkpoint's write, the build of the store, or an
evaluation, at a moment drawn at random; then the very same command is given again. Two tiny
networks take turns, with dropout or without, both with averaged weights. Every run is a process of
its own, forked from this one to spare it the imports.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import Strategy

import gaitbench.cli  # noqa: F401  # before the fork
from gaitbench import recovery, store, synthetic
from gaitbench.__main__ import run
from gaitbench.callbacks import EmbeddingCollector
from gaitbench.checkpoints import read_checkpoint

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS = {
    "GaitGraph2": ["gaitgraph2", "--data.frames=8"],
    "GaitFormer": [
        "gaitformer",
        "--model.width=32",
        "--model.depth=2",
        "--model.heads=2",
        "--model.projection_dim=16",
        "--model.dropout=0.2",
    ],
}
CALLBACKS = [
    {"class_path": "ModelCheckpoint", "init_args": {"filename": "{epoch}"}},
    {"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.9}},
]
WATCHED: dict[str, tuple[Any, str, float]] = {
    "step": (Strategy, "training_step", 3.0),
    "checkpoint": (recovery.WholeCheckpoints, "save_checkpoint", 1.0),
    "validation": (EmbeddingCollector, "_finish", 1.0),
    "store": (store, "_build", 1.0),
    "test": (EmbeddingCollector, "_finish", 1.0),
}
"""Where a phase begins, and how often its time the phase takes: a step goes on to its update."""

PHASES = ("step", "checkpoint", "validation", "step", "checkpoint", "test", "store")
"""Of the kills, in turn."""


def start(words: list[str], log: Path, prepare: Callable[[], None] = lambda: None) -> int | None:
    """Exit status of a command line in a process of its own, -9 if it was killed."""

    def body() -> None:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        prepare()
        raise SystemExit(run(words))

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    process.join()
    return process.exitcode


def around(phase: str, before: Callable[[], None], after: Callable[[float], None]) -> None:
    """Call something before each of a phase's beginnings, and after with the seconds it took."""
    owner, name, _ = WATCHED[phase]
    original = getattr(owner, name)

    def watched(*args: Any, **settings: Any) -> Any:
        before()
        begun = time.perf_counter()
        result = original(*args, **settings)
        after(time.perf_counter() - begun)
        return result

    setattr(owner, name, watched)


def clocked(phases: list[str], path: Path) -> Callable[[], None]:
    """Write down how long each of the phases took, every time."""
    found: dict[str, list[float]] = defaultdict(list)

    def note(phase: str, seconds: float) -> None:
        found[phase].append(seconds)
        path.write_text(json.dumps(found))

    def prepare() -> None:
        for phase in phases:
            around(phase, lambda: None, lambda seconds, phase=phase: note(phase, seconds))

    return prepare


def killed(phase: str, number: int, delay: float) -> Callable[[], None]:
    """Die a while after the phase has begun for the n-th time."""
    left = [number]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

    return lambda: around(phase, count, lambda seconds: None)


def same(one: Any, other: Any) -> bool:
    """Whether two parts of checkpoints are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def last_of(folder: Path) -> dict[str, Any]:
    """The run's own last checkpoint."""
    path = max((folder / "checkpoints").glob("epoch=*.ckpt"), key=os.path.getmtime)
    content = read_checkpoint(path)
    # where a schedule begins and ends, a resumed training takes from its settings
    content["optimizers"] = [state["state"] for state in content["optimizer_states"]]
    return content


PARTS = ("state_dict", "current_model_state", "averaging_state", "optimizers", "lr_schedulers")
PARTS += ("gradients", "global_step", "epoch")


class Bench:
    """Commands on synthetic walkers, and what they leave."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder = folder
        self.walkers = synthetic.synthesize_casia_b(
            folder / "walkers",
            6,
            0,
            sequences={"nm": (1, 2, 5), "bg": (1,), "cl": (1,)},
            views=(0, 90),
        )
        self.shared = [
            "--data.batch_size=8",
            "--evaluation.bootstrap=10",
            f"--trainer.callbacks={json.dumps(CALLBACKS)}",
            f"--trainer.max_epochs={epochs}",
            "--trainer.accelerator=cpu",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
            "--trainer.log_every_n_steps=1",
            "--trainer.check_val_every_n_epoch=1",
            "--recovery.every_minutes=0",
        ]

    def words(self, command: str, method: str, out: Path) -> list[str]:
        """A command line whose results go below ``out``."""
        config, *settings = METHODS[method]
        where = [f"--data.path={self.walkers}", f"--data.cache={out / 'cache'}"]
        words = [command, f"--config={CONFIGS / config / 'casia_b.yaml'}", *self.shared, *where]
        if command == "fit":
            return [*words, *settings, "--data.validation=test", f"--resume={out / 'run'}"]
        checkpoint = next((out / "run" / "checkpoints").glob("epoch=*.ckpt"))
        return [*words, f"--ckpt_path={checkpoint}", f"--trainer.default_root_dir={out}"]

    def unbroken(self, method: str) -> tuple[Path, dict[str, list[float]]]:
        """Fit and test once; the seconds that each phase took."""
        out = self.folder / method
        out.mkdir()
        seconds: dict[str, list[float]] = {}
        for command in ("fit", "test"):
            clock = out / "clock.json"
            phases = ["test"] if command == "test" else [name for name in WATCHED if name != "test"]
            status = start(self.words(command, method, out), out / "log", clocked(phases, clock))
            if status != 0:
                raise SystemExit(f"the unbroken {command} ended with {status}; see {out / 'log'}")
            seconds |= json.loads(clock.read_text())
        return out, seconds

    def broken(
        self, phase: str, method: str, whole: Path, number: int, delay: float
    ) -> tuple[int | None, list[str]]:
        """Kill a run, give the same command again; the first status and what differs then."""
        out = self.folder / "broken"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        command = "test" if phase == "test" else "fit"
        if command == "test":
            shutil.copytree(whole / "run" / "checkpoints", out / "run" / "checkpoints")
        words = self.words(command, method, out)
        first = start(words, out / "log", killed(phase, number, delay))
        second = start(words, out / "log")
        differing = [] if second == 0 else [f"status {second}"]
        if command == "test":
            figures = [max(f.rglob("metrics.json"), key=os.path.getmtime) for f in (whole, out)]
            same_figures = figures[0].read_bytes() == figures[1].read_bytes()
            return first, differing + ["metrics.json"] * (not same_figures)
        one, other = last_of(whole / "run"), last_of(out / "run")
        differing += [part for part in PARTS if not same(one[part], other[part])]
        left = [path for path in out.rglob(".*") if path.suffix != ".lock"]
        return first, differing + [f"{path.name} is left" for path in left]


def main() -> None:
    """Run, compare and print one line a kill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where everything is written")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True)
    bench = Bench(args.folder, args.epochs)
    whole = {method: bench.unbroken(method) for method in METHODS}
    draw = random.Random(args.seed)
    equal = 0
    print("| kill | method | during | status | after the same command |\n|---|---|---|---|---|")
    for kill in range(args.kills):
        method = list(METHODS)[kill % 2]
        phase = PHASES[kill // 2 % len(PHASES)]
        out, seconds = whole[method]
        number = draw.randint(1, len(seconds[phase]))
        share = draw.random()
        delay = share * WATCHED[phase][2] * seconds[phase][number - 1]
        status, differing = bench.broken(phase, method, out, number, delay)
        equal += status == -signal.SIGKILL and not differing
        moment = f"{phase} {number} of {len(seconds[phase])}, {1000 * delay:.0f} ms in"
        told = ", ".join(differing) or "equal to the last bit"
        print(f"| {kill + 1} | {method} | {moment} | {status} | {told} |", flush=True)
    print(
        f"\n{equal} of {args.kills} were killed and ended in the unbroken run's weights or figures"
    )


if __name__ == "__main__":
    main()
