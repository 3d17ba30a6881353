"""Groups of processes that run command lines, and write down what their steps saw.

A group's processes are forks of this one, so that heavy modules are imported once, and are told of
each other as torchrun tells them.
"""

import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from gaitbench import cli
from gaitbench.batch import GaitBatch
from gaitbench.processes import process_rank


class Recorder(pl.Callback):
    """Writes down the loss and the samples of each training step of this process.

    And gradients and weights of the first one.
    """

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.first: dict[str, Any] = {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, method: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not self.first:
            weights = dict(method.named_parameters())
            grads = {name: w.grad.clone() for name, w in weights.items() if w.grad is not None}
            self.first = {"gradients": grads, "rate": optimizer.param_groups[0]["lr"]}

    def on_train_batch_end(
        self, trainer: pl.Trainer, method: Any, outputs: Any, batch: GaitBatch, batch_idx: int
    ) -> None:
        loss = float(trainer.callback_metrics["train/loss"])
        seen = batch.frames.double().flatten(1).sum(1).tolist()
        self.steps.append({"loss": loss, "rows": batch.row.tolist(), "seen": seen})
        if len(self.steps) == 1:
            self.first["weights"] = {n: w.detach().clone() for n, w in method.named_parameters()}

    def on_fit_end(self, trainer: pl.Trainer, method: pl.LightningModule) -> None:
        out = Path(trainer.default_root_dir)
        rank = trainer.global_rank
        (out / f"steps{rank}.json").write_text(json.dumps(self.steps))
        torch.save(method.state_dict(), out / f"weights{rank}.pt")
        torch.save(self.first, out / f"first{rank}.pt")


class Recorded(cli.GaitCLI):
    """A run that is written down."""

    def before_fit(self) -> None:
        self.trainer.callbacks.append(Recorder())  # type: ignore[attr-defined]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run(commands: list[list[str]]) -> int:
    """Exit status of command lines, one after the other."""
    try:
        for words in commands:
            cli.command_line(Recorded, words)
    except BaseException:
        traceback.print_exc()
        return 1
    if process_rank()[1] > 1:
        torch.distributed.destroy_process_group()
    return 0


def run_group(processes: int, commands: list[list[str]]) -> bool:
    """Whether all of so many processes ran the command lines."""
    told = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "GROUP_RANK": 0}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "TORCHELASTIC_RUN_ID": "test"}
    started = []
    sys.stdout.flush()
    for rank in range(processes):
        child = os.fork()
        if not child:
            if processes > 1:
                told |= {"RANK": rank, "LOCAL_RANK": rank}
                os.environ.update({name: str(value) for name, value in told.items()})
            status = run(commands)
            sys.stdout.flush()
            os._exit(status)
        started.append(child)
    # of all of them, lest one goes on alone
    failed = [os.waitpid(child, 0)[1] for child in started]
    return not any(failed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    groups = json.loads(sys.argv[1])
    sys.exit(not all(run_group(int(processes), groups[processes]) for processes in groups))
