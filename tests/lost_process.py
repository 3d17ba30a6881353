"""Two processes train or test, and the second gets a signal: ``lost_process.py TRAININGS``.

They are told in JSON, each as [signal, step, words]: it dies, stops, or is told to end as that step
or that batch of the test begins; 0 is no signal. Prints the exit status of both, and the seconds
that the first went on for without the other.
"""

import json
import os
import signal
import sys
import time
from typing import Any

import torch

from gaitbench.__main__ import run
from gaitbench.methods import GaitMethod
from tests.distributed_runs import free_port


def main(which: int, step: int, words: list[str]) -> None:
    """Fork both, wait for the first, make an end of the second."""

    original = GaitMethod.on_train_batch_start

    def lose(self: Any, at: int) -> None:
        if at == step and self.trainer.global_rank == 1:
            os.kill(os.getpid(), which)

    def lose_training(self: Any, batch: Any, batch_idx: int) -> None:
        original(self, batch, batch_idx)
        lose(self, self.trainer.global_step)

    told = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0, "MASTER_PORT": free_port()}
    told |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"}
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            told |= {"RANK": rank, "LOCAL_RANK": rank}
            os.environ.update({name: str(value) for name, value in told.items()})
            GaitMethod.on_train_batch_start = lose_training  # type: ignore[method-assign]
            GaitMethod.on_test_batch_start = lambda self, batch, at: lose(self, at)  # type: ignore[method-assign,misc,assignment]
            try:
                status = run(words)
            except SystemExit as ended:
                status = ended.code
            sys.stdout.flush()
            os._exit(status)
        children.append(child)
    os.waitid(os.P_PID, children[1], os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    begun = time.monotonic()
    status = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
    os.kill(children[1], signal.SIGKILL)
    print(f"the first ended with {status} after {time.monotonic() - begun:.1f} s")
    print(f"the second ended with {os.waitstatus_to_exitcode(os.waitpid(children[1], 0)[1])}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for training in json.loads(sys.argv[1]):
        main(*training)
        sys.stdout.flush()
