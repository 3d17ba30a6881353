import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from gaitbench.errors import InputError
from gaitbench.workers import in_parallel, progress

CHILD = """
import os, sys, time
from functools import partial
from pathlib import Path
from gaitbench.workers import in_parallel

def stay(folder, item):
    (folder / str(os.getpid())).touch()
    time.sleep(100 if item else 0)

for _ in in_parallel(partial(stay, Path(sys.argv[1])), range(5), "staying", workers=2):
    print("begun", flush=True)
"""

THREADS = """
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from gaitbench.workers import in_parallel

def read(path):
    from gaitbench.video.decode import Video
    from gaitbench.video.flow import flow_method

    first, *_, last = Video(path).frames()
    flow = flow_method("dis", None)(first, last)
    return float(np.abs(flow.reshape(-1, 2).T @ flow.reshape(-1, 2)).sum())

noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
cv2.setNumThreads(4)
cv2.GaussianBlur(noise, (31, 31), 5)
cv2.resize(noise, (4096, 4096))
torch.set_num_threads(4)
torch.rand(512, 512) @ torch.rand(512, 512)
paths = sorted(Path(sys.argv[1]).iterdir())
together = []
for _ in range(int(sys.argv[2])):
    cv2.setNumThreads(4)
    cv2.resize(noise, (4096, 4096))
    together.append([*in_parallel(read, paths, "reading", workers=2)])
assert together == [[read(path) for path in paths]] * len(together)
"""


def square(number: int) -> int:
    if number < 0:
        raise InputError(f"{number} is negative")
    return number**2


def note(folder: Path, number: int) -> int:
    """Square a number and leave a file that says so."""
    (folder / str(number)).touch()
    return square(number)


def process(_: int) -> int:
    return os.getpid()


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [None, 1, 2, 5])
def test_results_are_in_order_of_the_items(workers):
    items = range(40)
    assert list(in_parallel(square, items, "", workers)) == [i**2 for i in items]
    assert list(in_parallel(square, [], "", workers)) == []


def test_several_items_go_to_other_processes():
    found = set(in_parallel(process, range(8), "", 2))
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2
    assert list(in_parallel(process, range(1), "", 2)) == [os.getpid()]
    assert set(in_parallel(process, range(8), "", 1)) == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_when_its_turn_comes_and_stops_the_rest(tmp_path, workers):
    items = [*range(5), -1, *range(6, 60)]
    results = in_parallel(partial(note, tmp_path), items, "", workers)
    assert [next(results) for _ in range(5)] == [i**2 for i in range(5)]
    with pytest.raises(InputError, match=r"^-1 is negative$"):
        next(results)
    assert len(list(tmp_path.iterdir())) < 20


def test_a_slow_consumer_holds_back_the_workers(tmp_path):
    results = in_parallel(partial(note, tmp_path), range(60), "", 2)
    next(results)
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) <= 2 * 2 + 1
    results.close()
    assert len(list(tmp_path.iterdir())) <= 2 * 2 + 1


def test_a_worker_that_the_system_ends_is_named():
    with pytest.raises(InputError, match=r"^counting: the system ended one of 2 worker processes"):
        list(in_parallel(die, range(4), "counting", 2))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=str)
def test_workers_end_with_their_parent(tmp_path, how):
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        parent.stdout.readline()
        while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
            time.sleep(0.01)
        if how == signal.SIGINT:  # as a terminal does; workers are the parent's to end
            os.killpg(parent.pid, how)
            time.sleep(0.3)
            assert all(map(running, pids))
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
        else:
            parent.send_signal(how)
            parent.wait()
        end = time.monotonic() + 10
        while any(map(running, pids)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(running, pids))
        assert "Traceback" not in parent.stderr.read()


def test_what_cannot_travel_is_an_error_and_no_endless_wait():
    with pytest.raises(ValueError, match="cannot travel to a worker"):
        list(in_parallel(lambda item: item, range(4), "", 2))
    results = in_parallel(square, [*range(5), threading.Lock(), 6, 7], "", 2)
    with pytest.raises(ValueError, match=r"square.*lock.* cannot travel to a worker"):
        list(results)


def test_workers_of_a_process_whose_libraries_have_threads(tmp_path):
    pytest.importorskip("cv2")
    films = pytest.importorskip("tests.video.films")
    for number in range(4):
        films.write(tmp_path / f"{number}.avi", films.walk(12, seed=number))
    subprocess.run([sys.executable, "-c", THREADS, str(tmp_path), "3"], check=True, timeout=300)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_bar_on_terminals_only(monkeypatch, capsys):
    def show(**options):
        with progress("counting", 2, **options) as advance:
            advance(1)

    show()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(shown=False)
    assert capsys.readouterr() == ("", "")
    show()
    out, err = capsys.readouterr()
    assert out == ""
    assert "counting" in err
