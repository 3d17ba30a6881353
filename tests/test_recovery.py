"""Trainings that are killed or stopped: what is kept, and that they go on to the same weights."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.no_sync import CASES, batch_of, step_of
from gaitbench import recovery
from gaitbench.__main__ import run
from gaitbench.batch import GaitBatch
from gaitbench.callbacks import EmbeddingCollector
from gaitbench.checkpoints import read_checkpoint
from gaitbench.datamodules.base import ResumableLoader
from gaitbench.errors import InputError
from gaitbench.methods import GaitMethod
from gaitbench.methods.frames import FrameMethod
from gaitbench.recovery import WholeCheckpoints, checkpoints_of, newest_checkpoint
from gaitbench.samplers import RandomBatches
from tests.conftest import CONFIG, SMALL, Bench
from tests.test_distributed import silhouettes

CALLBACKS = [
    {
        "class_path": "ModelCheckpoint",
        "init_args": {"filename": "last", "enable_version_counter": False},
    },
    {"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.9}},
]
FORMER = CONFIG.parents[1] / "gaitformer" / "casia_b.yaml"
TINY = ("--model.width=16", "--model.depth=1", "--model.heads=2", "--model.projection_dim=8")
CSV = ("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=x")
OFTEN = ("--recovery.every_minutes=0", "--trainer.log_every_n_steps=1")


class Crash(BaseException):
    """Ends a run as nothing else does."""


def words(bench: Bench, out: Path, *more: str) -> list[str]:
    """Fit a GaitFormer with dropout and averaged weights, two epochs of three batches."""
    return [
        "fit",
        f"--config={FORMER}",
        *bench.here,
        *SMALL,
        *TINY,
        "--data.frames=48",
        "--data.validation=test",
        "--data.batches=epoch",
        "--model.dropout=0.2",
        "--model.llrd=reference",
        "--model.phases=[]",
        "--trainer.check_val_every_n_epoch=1",
        f"--trainer.callbacks={json.dumps(CALLBACKS)}",
        f"--resume={out}",
        *OFTEN,
        *more,
    ]


def killed_in(owner: type, name: str, number: int, words: list[str]) -> int | None:
    """Exit status of a run in a process that kills itself when a method is called that often."""

    def body() -> None:
        original, calls = getattr(owner, name), iter(range(1, 1000))

        def watched(*args: Any, **settings: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **settings)

        setattr(owner, name, watched)
        raise SystemExit(run(words))

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    process.join(120)
    return process.exitcode


def differing(one: Path, other: Path) -> list[str]:
    """Parts of two checkpoints that are not equal to the last bit."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, torch.Tensor):
            return torch.equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(same, a, b))
        return bool(a == b)

    parts = ("state_dict", "current_model_state", "averaging_state", "optimizers")
    parts += ("lr_schedulers", "gradients", "global_step", "epoch")
    found = read_checkpoint(one), read_checkpoint(other)
    for content in found:  # where a schedule begins and ends is taken from the settings
        content["optimizers"] = [state["state"] for state in content["optimizer_states"]]
    return [part for part in parts if not same(found[0][part], found[1][part])]


@pytest.fixture(scope="module")
def whole(
    walkers: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bench, Path]:
    """The checkpoint of a run that nothing broke."""
    out = tmp_path_factory.mktemp("whole")
    bench = Bench(walkers, cache, out)
    assert run(words(bench, out / "run")) == 0
    return bench, out / "run" / "checkpoints" / "last.ckpt"


KILLS = {
    "step": (GaitMethod, "on_train_batch_start", 5),
    "checkpoint": (os, "fsync", 3),
    "validation": (EmbeddingCollector, "_finish", 1),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_run_goes_on_to_the_same_weights(
    moment: str, whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    bench, last = whole
    command = words(bench, tmp_path / "run")
    assert killed_in(*KILLS[moment], command) == -signal.SIGKILL
    assert run(command) == 0
    assert differing(last, tmp_path / "run" / "checkpoints" / "last.ckpt") == []
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_sigterm_saves_and_ends_well(
    step: int,
    whole: tuple[Bench, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Within an epoch, at the end of one, and in the next; nothing else would save there."""
    bench, last = whole
    command = words(bench, tmp_path / "run", "--recovery.every_minutes=60")

    def stop(self: GaitMethod, outputs: Any, batch: GaitBatch, batch_idx: int) -> None:
        if self.trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(GaitMethod, "on_train_batch_end", stop)
        # the whole process ends, so that no pipeline goes on with half a training
        with pytest.raises(SystemExit) as ended:
            run(command)
    assert ended.value.code == 0
    assert f"stopped by SIGTERM at step {step}; `gaitbench fit --resume" in capsys.readouterr().out
    newest = newest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert read_checkpoint(newest)["global_step"] == step
    assert run(["fit", f"--resume={tmp_path / 'run'}"]) == 0
    assert differing(last, tmp_path / "run" / "checkpoints" / "last.ckpt") == []


def test_several_processes_stop_together(whole: tuple[Bench, Path], tmp_path: Path) -> None:
    """Where one of them is told: within an epoch, then behind its last batch; they go on alike."""
    bench, _ = whole
    late = ("--recovery.every_minutes=60", "--trainer.log_every_n_steps=50")
    ddp = ("--trainer.strategy=ddp", "--trainer.devices=2")

    apart, run = tmp_path / "apart", tmp_path / "run"
    trainings = [(0, 0, apart), (signal.SIGTERM, 1, run), (signal.SIGTERM, 2, run), (0, 0, run)]
    told = [(which, step, words(bench, out, *late, *ddp)) for which, step, out in trainings]
    ends = [out / "checkpoints" / "last.ckpt" for out in (apart, run)]
    # none is waited for in a test, which keeps nothing
    few = (f"--ckpt_path={ends[1]}", "--data.eval_batch_size=4")
    tested = ["test", *words(bench, run, *ddp, *few)[1:]]
    told.append((signal.SIGTERM, 1, [word for word in tested if "--resume" not in word]))
    command = [sys.executable, "-m", "tests.lost_process", json.dumps(told)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    statuses = ["0"] * 8 + ["2", "143"]
    assert re.findall(r"ended with (\S+)", ended.stdout) == statuses, ended.stderr
    # the step at whose beginning one was told, and no checkpoint was due before
    assert re.findall(r"stopped by SIGTERM at step (\d+)", ended.stdout) == ["2", "3"]
    found = re.findall(r"Restored all states from the checkpoint at .*run/(\S+)", ended.stderr)
    assert set(found) == {"recovery/step-000000002.ckpt", "recovery/step-000000003.ckpt"}
    assert differing(*ends) == []


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_sigterm_ends_what_keeps_nothing(
    command: str,
    bench: Bench,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hook = f"on_{command.replace('validate', 'validation')}_batch_end"
    monkeypatch.setattr(GaitMethod, hook, lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    more = ("--data.eval_batch_size=4", "--data.validation=test")
    with pytest.raises(SystemExit) as ended:
        bench.status(command, f"--ckpt_path={checkpoint}", *more)
    assert ended.value.code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; nothing of this is kept" in capsys.readouterr().out
    written = {path.name.partition(".")[0] for path in bench.out.rglob("*") if path.is_file()}
    assert written <= {"config", "events", "hparams"}
    assert signal.getsignal(signal.SIGTERM) is before


def broken_off(command: list[str], patch: pytest.MonkeyPatch, step: int) -> None:
    """Crash as the batch of that step begins."""

    original = GaitMethod.on_train_batch_start

    def crash(self: GaitMethod, batch: GaitBatch, batch_idx: int) -> None:
        original(self, batch, batch_idx)
        if self.trainer.global_step == step:
            raise Crash

    with patch.context() as context, pytest.raises(Crash):
        context.setattr(GaitMethod, "on_train_batch_start", crash)
        run(command)


PLATEAU = (
    f"--config={CONFIG.parents[1] / 'gaitset' / 'silhouettes.yaml'}",
    "--model.rate=plateau",
    "--model.patience=0",
    "--model.rate_factor=0.5",
    "--model.rate_floor=0",
    "--model.embedding_dim=248",
    # so far that some epochs are worse than the one before
    "--model.learning_rate=0.01",
    "--data.frames=2",
    "--data.batch_size=8",
    "--data.sequences_per_subject=2",
    "--trainer.max_epochs=4",
    "--trainer.max_steps=-1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--evaluation.bootstrap=10",
    *OFTEN,
)


@pytest.mark.parametrize(
    ("validation", "moments"), [("none", ("within",)), ("test", ("end", "validation"))]
)
def test_a_plateau_goes_on_as_if_nothing_had_been(
    validation: str, moments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From within an epoch, from its end, and from the end of a validation."""
    judged = {"filename": "judged", "monitor": "val/loss", "save_top_k": 1, "mode": "max"}
    callbacks = [*CALLBACKS, {"class_path": "ModelCheckpoint", "init_args": judged}]
    command = [
        "fit",
        *PLATEAU,
        f"--data.path={silhouettes(tmp_path / 'walks.npz')}",
        f"--data.cache={tmp_path / 'cache'}",
        f"--data.validation={validation}",
        f"--trainer.callbacks={json.dumps(callbacks[: 2 + (validation == 'test')])}",
    ]
    last = tmp_path / "whole" / "checkpoints" / "last.ckpt"
    assert run([*command, f"--resume={last.parents[1]}"]) == 0
    content = read_checkpoint(last)
    epoch = content["global_step"] // 4
    assert epoch >= 3
    fallen = content["optimizer_states"][0]["param_groups"][0]["lr"] / 0.01
    assert 1 / 16 < fallen < 1

    original = FrameMethod.on_train_epoch_end

    def dies(self: FrameMethod) -> None:
        if self.current_epoch == 2:
            raise Crash
        original(self)

    for moment in moments:
        resumed = [*command, f"--resume={tmp_path / moment}"]
        if moment != "validation":
            broken_off(resumed, monkeypatch, 2 * epoch - (moment == "within"))
        else:
            with monkeypatch.context() as patch, pytest.raises(Crash):
                patch.setattr(FrameMethod, "on_train_epoch_end", dies)
                run(resumed)
        assert run(resumed) == 0
        again = tmp_path / moment / "checkpoints" / "last.ckpt"
        assert differing(last, again) == []
        rates = [
            read_checkpoint(path)["optimizer_states"][0]["param_groups"][0]["lr"]
            for path in (last, again)
        ]
        assert rates[0] == rates[1]


def test_a_plateau_without_a_validation_says_so(tmp_path: Path, refused) -> None:
    sentence = refused(
        [
            "fit",
            *PLATEAU,
            f"--data.path={silhouettes(tmp_path / 'walks.npz')}",
            f"--data.cache={tmp_path / 'cache'}",
            "--data.validation=test",
            "--trainer.limit_val_batches=0",
            f"--trainer.default_root_dir={tmp_path}",
        ]
    )
    assert "model.rate plateau looks at the validation loss, and epoch 0 had none" in sentence


def test_what_is_kept(
    whole: tuple[Bench, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest two while it runs, and none beside the run's own once it has ended."""
    bench, _ = whole
    command = words(bench, tmp_path / "run")
    broken_off(command, monkeypatch, 5)
    kept = sorted(path.name for path in (tmp_path / "run" / "recovery").iterdir())
    assert kept == ["step-000000004.ckpt", "step-000000005.ckpt"]
    assert run(command) == 0
    assert not (tmp_path / "run" / "recovery").exists()
    assert [p.name for p in checkpoints_of(tmp_path / "run")] == ["last.ckpt"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    whole: tuple[Bench, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench, last = whole
    command = words(bench, tmp_path / "run")
    broken_off(command, monkeypatch, 5)
    newest = tmp_path / "run" / "recovery" / "step-000000005.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    capsys.readouterr()
    assert run(command) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if str(newest) in line]
    assert told == [f"{newest} is damaged, its checksums are wrong; the one before it is used"]
    assert differing(last, tmp_path / "run" / "checkpoints" / "last.ckpt") == []


def test_no_checkpoint_is_whole(whole: tuple[Bench, Path], tmp_path: Path, refused) -> None:
    bench, last = whole
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(last.read_bytes()[:1000])
    message = refused(words(bench, tmp_path / "run"))
    assert f"no checkpoint in {tmp_path / 'run'} is whole" in message


def test_a_run_that_has_ended_can_go_on_for_longer(
    whole: tuple[Bench, Path], tmp_path: Path
) -> None:
    """By its folder alone; settings are those it was begun with."""
    _, last = whole
    shutil.copytree(last.parents[1], tmp_path / "run")
    assert run(["fit", f"--resume={tmp_path / 'run'}"]) == 0
    again = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert differing(last, again) == []
    assert run(["fit", f"--resume={tmp_path / 'run'}", "--trainer.max_epochs=3"]) == 0
    assert read_checkpoint(again)["global_step"] == 9
    assert "width: 16" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["fit", "--resume=nowhere"], "holds no run that was begun"),
        (["fit", "--resume=nowhere", "--ckpt_path=last.ckpt"], "finds the checkpoint itself"),
        (["test", "--resume=nowhere"], "--resume is for `fit`"),
        (["fit", f"--config={CONFIG}", "--config={resume: there}"], "give --resume as a word"),
        (["fit", f"--config={CONFIG}", "--recovery.keep=0"], "recovery.keep is 0"),
        (["fit", f"--config={CONFIG}", "--recovery.every_minutes=-1"], "every_minutes is -1"),
        (
            ["fit", f"--config={CONFIG}", "--resume=there", *CSV],
            "leave trainer.logger out",
        ),
    ],
)
def test_words_that_are_refused(
    more: list[str], sentence: str, refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(more)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- the loader


class Numbers:
    """Gives the rows that it is asked for."""

    def __getitems__(self, request: Any) -> Any:
        return request

    def __len__(self) -> int:
        return 20


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_it_was(workers: int) -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(
            Numbers(),  # type: ignore[arg-type]
            batch_sampler=RandomBatches(np.arange(20), 4, 7),
            collate_fn=list,
            num_workers=workers,
        )

    def shown(batches: Any) -> list[Any]:
        return [(list(rows), seed) for rows, seed, _ in batches]

    plain = loader()
    epochs = []
    for epoch in range(3):
        plain.batch_sampler.set_epoch(epoch)
        epochs.append(shown(plain))
    plain.batch_sampler.set_epoch(1)
    begun = iter(plain)
    before = [next(begun), next(begun)]
    state = plain.state_dict()
    fresh = loader()
    fresh.load_state_dict(state)
    fresh.batch_sampler.set_epoch(1)
    assert shown(before) + shown(fresh) == epochs[1]
    fresh.batch_sampler.set_epoch(2)
    assert shown(fresh) == epochs[2]
    fresh.load_state_dict(state)  # of an epoch that is over
    assert shown(fresh) == epochs[2]


# ---------------------------------------------------------------------------- checkpoints as files


def test_a_checkpoint_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "a.ckpt"
    saver = WholeCheckpoints()
    saver.save_checkpoint({"weight": torch.ones(3)}, path)
    assert torch.equal(saver.load_checkpoint(path)["weight"], torch.ones(3))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a\.ckpt cannot be written: No space left on device"):
        saver.save_checkpoint({"weight": torch.zeros(3)}, path)
    assert os.listdir(path.parent) == ["a.ckpt"]
    assert torch.equal(saver.load_checkpoint(path)["weight"], torch.ones(3))


def test_checkpoints_of_a_run_are_found(
    whole: tuple[Bench, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, last = whole
    assert newest_checkpoint(tmp_path) is None
    places = [tmp_path / p for p in ("checkpoints/a.ckpt", "recovery/b.ckpt", "recovery/.c.ckpt")]
    for time, place in enumerate(places):
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(last, place)
        os.utime(place, (time, time))
    assert checkpoints_of(tmp_path) == places[1::-1]
    assert newest_checkpoint(tmp_path) == places[1]
    os.utime(places[0], (9, 9))
    assert newest_checkpoint(tmp_path) == places[0]
    content = read_checkpoint(places[0])
    del content["optimizer_states"]  # weights alone, from which nothing goes on
    places[0].unlink()  # what was read is still mapped from it
    torch.save({**content}, places[0])
    assert newest_checkpoint(tmp_path) == places[1]
    assert capsys.readouterr().out == ""


# ------------------------------------------------------------------------------- the same run twice


@pytest.mark.parametrize("method", [name for name in CASES if " with " not in name])
def test_two_runs_give_the_same_weights(method: str) -> None:
    """In torch's deterministic mode, which refuses what would not."""
    make, (frames, *frame) = CASES[method]
    fewer = 4 if method.startswith("GaitGraph") or method == "GaitSet" else frames
    batch = batch_of((fewer, *frame), torch.device("cpu"))
    states = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            torch.manual_seed(0)
            network = make().train()
            step = step_of(network, batch)
            step()
            step()
            states.append(network.state_dict())
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# -------------------------------------------------------------------------- losses that are no more


@pytest.mark.parametrize("every", [1, 2, 50])
def test_a_loss_that_is_not_finite_names_its_batch(
    every: int, bench: Bench, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where losses are looked at now and then, as on a GPU; saved states stay good ones."""
    original, seen = GaitMethod.training_step, []

    def step(self: GaitMethod, batch: GaitBatch, batch_idx: int) -> torch.Tensor:
        loss = original(self, batch, batch_idx)
        seen.append(batch.row)
        return loss * (float("nan") if len(seen) == 5 else 1)

    monkeypatch.setattr(GaitMethod, "training_step", step)
    # three batches an epoch; on a CPU every loss is looked at, unless it seems to be elsewhere
    monkeypatch.setattr(recovery, "FREE", "elsewhere")
    more = ("--recovery.every_minutes=0", f"--trainer.log_every_n_steps={every}")
    message = refused(bench.words("fit", *more))
    assert "the training loss of epoch 1 is not finite in batch 1, of sequences 00" in message
    assert message.count("-0") >= 3
    assert " and 5 more; lower model.learning_rate" in message
    assert len(seen) in (5, 6)
    good = newest_checkpoint(next((bench.out / "lightning_logs").iterdir()))
    assert good is not None
    assert f"the last good state is {good}" in message
    assert all(w.isfinite().all() for w in read_checkpoint(good)["state_dict"].values())
    assert read_checkpoint(good)["global_step"] == (3 if every == 50 else 4)


def test_weights_that_are_not_finite_are_never_saved(
    bench: Bench, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss may be finite, and its gradient not."""

    def spoil(self: GaitMethod, outputs: Any, batch: GaitBatch, batch_idx: int) -> None:
        if self.trainer.is_last_batch:
            next(self.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(GaitMethod, "on_train_batch_end", spoil)
    message = refused(bench.words("fit", *OFTEN))
    assert "the weights are not finite after epoch 0, whose losses are" in message
    assert "the last good state is " in message
    assert read_checkpoint(next(bench.out.rglob("*.ckpt")))["global_step"] <= 2
