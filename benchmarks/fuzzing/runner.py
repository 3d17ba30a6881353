"""Spoilt inputs are read in a process of their own, with limits of memory and of time."""

import faulthandler
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import numpy as np

from benchmarks.fuzzing.spoilers import spoilt
from benchmarks.fuzzing.targets import Files, Target
from gaitbench import checkpoints, store
from gaitbench.errors import InputError
from gaitbench.readers import tf_checkpoint

MEMORY = 3 << 30
"""Bytes beyond what a process has at its start."""
SECONDS = 5
"""Of the processor, for one input."""
SILENCE = 120
"""Seconds without a sign after which a process is taken to hang outside of Python."""
PIECE = 60
"""Seconds of the processor after which it is another target's turn."""

READ, REFUSED = "read", "refused"

RUNS = frozenset(
    ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn")
) | {"socket.connect", "os.remove", "os.rename", "shutil.rmtree", "os.mkdir"}
"""What no reader does, as Python's audit hooks call it."""
OUTSIDE = "outside"
"""Name of what lies beside an input's folder and is none of its business."""

FORK = multiprocessing.get_context("fork")


@dataclass
class Tally:
    """What has come of a target's inputs, in one run or in several.

    Attributes:
        date: of the last run.
        commits: which have been run, with a space between them; seeds likewise.
        inputs: tried; the number of the next one.
        cpu_seconds: of the processor.
        read: inputs that were read.
        refused: inputs that were refused in a sentence.
        findings: other inputs, and valid ones that were not read.
        found: numbers of those of this run, and what happened; -1 for a valid one.
    """

    date: str = ""
    commits: str = ""
    seeds: str = ""
    inputs: int = 0
    cpu_seconds: float = 0.0
    read: int = 0
    refused: int = 0
    findings: int = 0
    found: list[tuple[int, str]] = field(default_factory=list)

    def note(self, number: int, outcome: str) -> None:
        """Count one."""
        self.inputs = number + 1
        self.read += outcome == READ
        self.refused += outcome == REFUSED
        if outcome not in (READ, REFUSED):
            self.findings += 1
            self.found.append((number, outcome))


def files_of(target: Target, name: str, number: int, seed: int) -> Files:
    """An input of a target, made again."""
    return spoilt(target.seeds(), Random(f"{seed} {name} {number}"))


def fuzz(
    targets: Mapping[str, Target],
    inputs: int,
    seconds: float,
    seed: int = 0,
    jobs: int = 1,
    known: Mapping[str, Tally] | None = None,
    done: Callable[[str, Tally], None] = lambda name, tally: None,
) -> dict[str, Tally]:
    """Feed targets by turns, until each has had its inputs or its time.

    Args:
        targets: by name.
        inputs: of each target, with those before.
        seconds: of the processor, for each target, with those before.
        seed: of what is drawn.
        jobs: processes at a time.
        known: what targets have had before.
        done: told after each turn.
    """
    tallies = {name: (known or {}).get(name) or Tally() for name in targets}
    waiting, running = deque(targets), dict[Any, tuple[str, BaseProcess, float, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            tally = tallies[name := waiting.popleft()]
            if tally.inputs < inputs and tally.cpu_seconds < seconds:
                mine, theirs = FORK.Pipe(duplex=False)
                piece = min(PIECE, seconds - tally.cpu_seconds)
                told = targets[name], name, range(tally.inputs, inputs), seed, piece, theirs
                process = FORK.Process(target=_feed, args=told, daemon=True)
                process.start()
                theirs.close()
                running[mine] = name, process, tally.cpu_seconds, time.monotonic()
        ready = wait(list(running), timeout=1) if running else []
        for pipe, (name, process, before, sign) in list(running.items()):
            tally, fault = tallies[name], ""
            if pipe in ready:
                try:
                    number, outcome, spent = pipe.recv()
                    tally.note(number, outcome)
                    tally.cpu_seconds = before + spent
                    running[pipe] = name, process, before, time.monotonic()
                    continue
                except EOFError:
                    process.join()
                    fault = f"the process ended with {process.exitcode}" if process.exitcode else ""
            elif time.monotonic() - sign < SILENCE:
                continue
            else:
                fault = f"no sign for {SILENCE} s"
                process.kill()
                process.join()
            if fault:
                tally.note(tally.inputs, fault)
            del running[pipe]
            waiting.append(name)
            done(name, tally)
    return tallies


class _Slow(BaseException):
    """An input took too long."""


class _Watch:
    """What the process does while a file is read."""

    def __init__(self) -> None:
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.active and event in RUNS:
            self.seen.append(f"{event} {str(arguments)[:80]}")
        elif self.active and event == "open" and OUTSIDE in str(arguments[0]):
            self.seen.append(f"opened {arguments[0]}")


def _feed(
    target: Target, name: str, numbers: range, seed: int, seconds: float, pipe: Connection
) -> None:
    """Try one input after the other; tell of each its number, its outcome and the time so far."""

    def slow(*anything: Any) -> None:
        raise _Slow

    seeds = target.seeds()
    faulthandler.disable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    signal.signal(signal.SIGPROF, slow)
    # check sums are taken for right, so that spoilt inputs reach what lies behind
    tf_checkpoint.masked = lambda crc: ANY
    tf_checkpoint.crc32c = lambda data: 0
    store.zlib = SimpleNamespace(crc32=lambda *anything: ANY)  # type: ignore[assignment]
    checkpoints._is_flipped = lambda path: False
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    np.save(folder / f"{OUTSIDE}.npy", np.ones((5, 18, 3), np.float32))
    watch, place = _Watch(), folder / "input"
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    sunk = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # where libraries in C complain, and a command tells of itself
        os.dup2(sunk, stream)
    begin = time.process_time()
    try:
        for files in () if numbers.start else seeds:
            if (outcome := _tried(target, files, place, watch)) != READ:
                whole = f"a whole input, {', '.join(files)}: {outcome}"
                pipe.send((-1, whole, time.process_time() - begin))
        for number in numbers:
            files = spoilt(seeds, Random(f"{seed} {name} {number}"))
            outcome = _tried(target, files, place, watch)
            pipe.send((number, outcome, spent := time.process_time() - begin))
            if spent > seconds:
                break
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tried(target: Target, files: Files, folder: Path, watch: _Watch) -> str:
    """What comes of an input."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    watch.seen = []
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        watch.active = True
        target.read(folder)
        outcome = READ
    except InputError:
        outcome = REFUSED
    except _Slow:
        outcome = f"took more than {SECONDS} s"
    except BaseException as error:
        own = [f for f in traceback.extract_tb(error.__traceback__) if "gaitbench" in f.filename]
        where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        outcome = f"{type(error).__name__}{where}: {str(error)[:120]}"
    finally:
        watch.active = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    if watch.seen:
        outcome = "; ".join([*watch.seen, *([outcome] if outcome not in (READ, REFUSED) else [])])
    return outcome
