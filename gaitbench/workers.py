"""Work shared among processes, and the bar that shows how far it is."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from gaitbench.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 0.5  # seconds between a worker's looks at whether its parent is still there


def in_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    workers: int | None = None,
) -> Generator[Result]:
    """What a function makes of each item, in order of the items, computed by several processes.

    Few results wait at a time, so that a slow consumer holds back the workers. Whoever stops
    before the end closes the generator; what has not begun then never does. On Linux workers are
    forked and see what this process holds in memory; they must leave torch alone, whose threads do
    not survive a fork. OpenCV's are switched off in this process, for the same reason. Workers end
    themselves when this process is gone.

    Args:
        function: a function of a module, or a partial of one; it travels to the workers.
        items: they travel too, so they are best small.
        label: what is being done, shown beside the bar.
        workers: number of processes; None for one a core. With one, or a single item, the work
            is done in this process.

    Raises:
        InputError: if the system ends a worker.
        ValueError: if the function or an item cannot travel.
        Exception: whatever the function raises, when its item's turn comes.
    """
    workers = min(workers or _cores(), len(items))
    if workers <= 1:
        with progress(label, len(items)) as advance:
            for item in items:
                yield function(item)
                advance(1)
        return
    if "cv2" in sys.modules:
        # a fork copies one thread: in a worker OpenCV would wait for its others for ever
        sys.modules["cv2"].setNumThreads(1)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, context, _settle, (os.getpid(),))
    try:
        packed = (_packed(function, item) for item in items)
        pending = deque(pool.submit(_call, call) for call in islice(packed, 2 * workers))
        with progress(label, len(items)) as advance:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(_call, call) for call in islice(packed, 1))
                yield result
                advance(1)
    except BrokenProcessPool as error:
        raise InputError(
            f"{label}: the system ended one of {workers} worker processes, most likely for want "
            "of memory; free memory and start again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def progress(label: str, total: int, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, for terminals only, and the function that moves it.

    Args:
        label: what is being done.
        total: steps until the end.
        shown: False where it is done in a moment.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda advance: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda advance: bar.advance(task, advance)


def _cores() -> int:
    """Cores this process may use, which on a shared machine are fewer than there are."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _packed(function: Callable[[Item], Result], item: Item) -> bytes:
    """A call that travels; the pool itself waits for ever after one that cannot."""
    try:
        return pickle.dumps((function, item))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{function} and {item!r:.80} cannot travel to a worker: {error}"
        ) from error


def _call(packed: bytes) -> Any:
    function, item = pickle.loads(packed)
    return function(item)


def _settle(parent: int) -> None:
    """Make a fresh process a worker: the parent alone decides when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all of them
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler is not for workers
    gc.freeze()  # collecting what was inherited would only copy its pages
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PATIENCE)
    os._exit(1)
