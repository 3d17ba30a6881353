"""Faults on purpose: full disks, files that vanish or change. One sentence, and nothing by half."""

import errno
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gaitbench.callbacks
import gaitbench.cli
import gaitbench.protocols.results
import gaitbench.store
from gaitbench import callbacks, recovery
from gaitbench.checkpoints import read_checkpoint
from gaitbench.datamodules import CasiaB
from gaitbench.errors import InputError
from gaitbench.methods import GaitMethod
from gaitbench.report import DataReport
from gaitbench.store import SequenceStore
from gaitbench.tools.report_data import main as report_data
from tests.conftest import Bench

Refused = Callable[[list[str]], str]


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let the system refuse every write to a file beyond so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITES: dict[str, tuple[Any, str, str]] = {
    "store": (gaitbench.store, "_build", "fit"),
    "report": (DataReport, "write", "fit"),
    "settings": (gaitbench.cli.SavedConfig, "setup", "fit"),
    "checkpoint": (recovery.WholeCheckpoints, "save_checkpoint", "fit"),
    "embeddings that wait": (callbacks.RowFile, "append", "predict"),
    "predictions": (callbacks, "write_predictions", "predict"),
    "tables": (gaitbench.protocols.results.Evaluation, "write", "test"),
    "figures": (callbacks, "save_figure", "test"),
    "metrics": (callbacks, "write_metrics", "test"),
}
"""Where, and by which command, what is written."""


ROOMS = (0, 100)
"""Bytes left on the disk: for nothing at all, and for a beginning."""


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk(
    write: str,
    walkers: Path,
    checkpoint: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, name, command = WRITES[write]
    original = getattr(owner, name)

    def on_full_disk(*args: Any, **settings: Any) -> Any:
        with full_disk(ROOMS[0]), pytest.raises((InputError, OSError), match="File too large"):
            original(*args, **settings)
        with full_disk(ROOMS[1]):
            return original(*args, **settings)

    monkeypatch.setattr(owner, name, on_full_disk)
    bench = Bench(walkers, tmp_path / "cache", tmp_path / "out")
    words = bench.words(command, "--trainer.max_epochs=1")
    if command != "fit":
        words = bench.words(command, f"--ckpt_path={checkpoint}")
    message = refused(words)
    assert str(tmp_path) in message
    assert "File too large" in message
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not [path for path in left if path.name.startswith(".")]
    assert not [path for path in left if path.stat().st_size in ROOMS]
    assert not [path for path in left if write == "checkpoint" and path.suffix == ".ckpt"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_under_tensorboard(
    bench: Bench, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer is another thread, whose complaint comes with a later write."""

    def full(*anything: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    message = refused(bench.words("fit", "--trainer.log_every_n_steps=1"))
    for thread in threading.enumerate():
        if "AsyncWriter" in type(thread).__name__:
            thread.join()
    assert "No space left on device" in message


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_cache_that_is_read_only(
    error: int, bench: Bench, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also root is refused where the file system is."""
    cache = tmp_path / "cache"
    made = Path.mkdir

    def mkdir(self: Path, *args: Any, **settings: Any) -> None:
        if self.is_relative_to(cache):
            raise OSError(error, "no", str(self))
        made(self, *args, **settings)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    message = refused([*bench.words("fit"), f"--data.cache={cache}"])
    assert f"the store cannot be written below {cache}" in message


def test_a_store_that_is_removed_while_it_is_read(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is mapped stays; the next run builds it again."""
    own = Bench(bench.walkers, tmp_path / "cache", tmp_path / "out")
    whole = own("fit") / "checkpoints" / "last.ckpt"

    def remove(self: GaitMethod) -> None:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    monkeypatch.setattr(GaitMethod, "on_train_start", remove)
    again = own("fit") / "checkpoints" / "last.ckpt"
    assert not (tmp_path / "cache").exists()
    one, other = read_checkpoint(whole)["state_dict"], read_checkpoint(again)["state_dict"]
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_lost(which: int, bench: Bench) -> None:
    """The others end at once where it died, within their time-out where it hangs."""
    strategy = ["class_path=DDPStrategy", "init_args.timeout=0:00:08"]
    more = [*(f"--trainer.strategy.{word}" for word in strategy), "--trainer.devices=2"]
    training = [int(which), 2, bench.words("fit", *more)]
    group = [sys.executable, "-m", "tests.lost_process", json.dumps([training])]
    ended = subprocess.run(group, capture_output=True, text=True, timeout=200, check=True)
    complaint = "gaitbench: error: another process of this run has ended or does not answer "
    # in which words depends on which of gloo's threads sees it first
    told = r"\((Connection |Timed out waiting 8000ms|Application timeout)"
    assert re.search(complaint + told, ended.stderr)
    assert "Traceback" not in ended.stderr
    status, seconds = re.findall(r"ended with (\S+) after (\S+) s", ended.stdout)[0]
    assert status == "2"
    assert float(seconds) < 60


# --------------------------------------------------------------- files that are not what they were


def flipped(path: Path, place: int) -> None:
    """Turn one bit over."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << place % 8
    path.write_bytes(content)


def test_no_flipped_bit_of_a_checkpoint_goes_unseen(checkpoint: Path, tmp_path: Path) -> None:
    """Either it is refused by name, or it lies where nothing is read."""
    whole = read_checkpoint(checkpoint)["state_dict"]
    size = checkpoint.stat().st_size
    path, seen = tmp_path / "a.ckpt", 0
    for place in np.random.default_rng(0).integers(0, size, 40).tolist():
        shutil.copyfile(checkpoint, path)
        flipped(path, place)
        try:
            found = read_checkpoint(path)["state_dict"]
        except InputError as error:
            assert str(path) in str(error)
            seen += 1
        else:
            assert all(torch.equal(found[name], whole[name]) for name in whole)
    assert seen > 30


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_checkpoint_is_named(
    share: float, bench: Bench, checkpoint: Path, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "cut.ckpt"
    content = checkpoint.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert str(path) in refused(bench.words("test", f"--ckpt_path={path}"))


def store_in(cache: Path, walkers: Path) -> Path:
    """The store of the walkers, built if it is not there."""
    data = CasiaB(path=walkers, cache=cache)
    data.prepare_data()
    data.setup("fit")
    return data.store.path


@pytest.fixture
def built(walkers: Path, cache: Path, tmp_path: Path) -> Path:
    """A store of one's own."""
    store = store_in(cache, walkers)
    return Path(shutil.copytree(store, tmp_path / "own" / store.name))


@pytest.mark.parametrize("file", ["frames.npy", "sequences.arrow", "store.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_store_is_built_again(
    file: str,
    share: float,
    built: Path,
    walkers: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = (built / file).read_bytes()
    (built / file).write_bytes(content[: int(share * len(content))])
    store_in(built.parent, walkers)
    assert any(f"the store {built} cannot be used" in text for text in caplog.messages)
    assert (built / file).read_bytes() == content


def test_no_flipped_bit_of_a_stores_table_goes_unseen(built: Path) -> None:
    size = (built / "sequences.arrow").stat().st_size
    for place in np.random.default_rng(0).integers(0, size, 20).tolist():
        flipped(built / "sequences.arrow", place)
        with pytest.raises(InputError, match=r"the checksum of sequences\.arrow is wrong"):
            SequenceStore.open(built)
        flipped(built / "sequences.arrow", place)
    SequenceStore.open(built).verify()


def test_a_flipped_bit_of_frames_is_found_by_report_data(built: Path, walkers: Path) -> None:
    words = ["casia-b", str(walkers), f"--cache={built.parent}"]
    report_data(words)
    size = (built / "frames.npy").stat().st_size
    flipped(built / "frames.npy", size // 2)
    with pytest.raises(InputError, match=r"the checksum of frames\.npy is wrong; delete that"):
        report_data(words)


def test_stores_of_earlier_versions_have_no_checksum(built: Path) -> None:
    told = json.loads((built / "store.json").read_text())
    for name in ("crc32", "table_crc32"):
        del told[name]
    (built / "store.json").write_text(json.dumps(told))
    SequenceStore.open(built).verify()
