"""Trainings that survive: what is kept for the day that a run is killed, and how it goes on."""

import io
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from gaitbench.batch import GaitBatch
from gaitbench.callbacks import describe, run_directory
from gaitbench.checkpoints import read_checkpoint
from gaitbench.errors import InputError
from gaitbench.files import written_whole

FOLDER = "recovery"
"""Where in a run's folder the checkpoints lie that only a resumed training needs."""

FOLDERS = (FOLDER, "checkpoints")
FREE = "cpu"
"""Where a loss can be looked at without waiting."""

STOPPED = 128 + signal.SIGTERM
"""Exit status of what a SIGTERM ended before it was done, as shells tell it."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their place, flushes them to the disk and renames them.

    Lightning's own goes by way of the system's folder for temporary files: where that is another
    disk, a run that is killed leaves half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write it whole.

        Raises:
            InputError: if the folder cannot be written to or the disk is full.
        """
        content = io.BytesIO()  # torch hides what the system says of a file it writes itself
        torch.save(checkpoint, content)
        with written_whole(Path(path)) as beside, beside.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = True) -> Any:
        """Tensors and plain data, on the CPU; nothing is unpickled."""
        return super().load_checkpoint(path, map_location or "cpu", weights_only=True)  # type: ignore[arg-type]


class LossWatch(pl.Callback):
    """Stops a training whose loss or weights are no longer finite, before that is saved.

    Losses stay on their device, and are looked at every ``trainer.log_every_n_steps`` batches and
    before an epoch's checkpoints, so that no step waits for the host. A single process on a CPU
    looks at every one.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[int, Tensor, Tensor]] = []

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: GaitBatch,
        batch_idx: int,
    ) -> None:
        """Keep the loss and the rows of a batch.

        Raises:
            InputError: if the loss is not finite.
        """
        self._seen.append((batch_idx, outputs["loss"].detach(), batch.row))
        free = pl_module.device.type == FREE and trainer.world_size == 1
        if free or (batch_idx + 1) % max(1, trainer.log_every_n_steps) == 0:  # type: ignore[attr-defined]
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the rest, and at the weights.

        Raises:
            InputError: if one is not finite.
        """
        self._look(trainer, pl_module)
        if not finite(pl_module):
            raise InputError(
                f"the weights are not finite after epoch {trainer.current_epoch}, whose losses "
                f"are; lower model.learning_rate; {_last_good(run_directory(trainer))}"
            )

    def _look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._seen:
            return
        seen, self._seen = self._seen, []
        faulty = ~torch.isfinite(torch.stack([loss for _, loss, _ in seen])).cpu()
        anywhere = bool(faulty.any())
        if trainer.world_size > 1:  # all processes go on, or stop, together
            anywhere = trainer.strategy.reduce_boolean_decision(anywhere, all=False)
        if not anywhere:
            return
        where, place = "in another process", run_directory(trainer)
        if faulty.any():
            number, _, rows = seen[int(faulty.nonzero()[0])]
            found = list(dict.fromkeys(rows.tolist()))  # windows of a sequence share its row
            table = trainer.datamodule.sequences  # type: ignore[attr-defined]
            names = ", ".join(describe(table.iloc[row]) for row in found[:3])
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            where = f"in batch {number}, of sequences {names}{more}"
        raise InputError(
            f"the training loss of epoch {trainer.current_epoch} is not finite {where}; lower "
            "model.learning_rate, or look at the data with `gaitbench report-data`; "
            f"{_last_good(place)}"
        )


class Recovery(Checkpoint):
    """Keeps checkpoints within epochs, from which ``fit --resume`` goes on at the very next batch.

    The first is written at the first look, so that a folder that cannot be written to shows at
    once; the following after some minutes. Looks are taken at the ends of epochs and every
    ``trainer.log_every_n_steps`` steps. One more is written when the scheduler says that the
    process must end (SIGTERM). A training that has ended needs none. Nothing is kept with
    ``trainer.enable_checkpointing false``.

    Of several processes it is enough that one is told to end: at every look, on a CPU after every
    step, they ask each other, and all of them stop behind the same step. On a GPU that is no more
    often than :class:`LossWatch` waits for it anyway.

    Args:
        every_minutes: time between two of them; 0 writes one at every look.
        keep: how many of the newest are kept, so that one is left should the newest be damaged.
    """

    def __init__(self, every_minutes: float = 10.0, keep: int = 2) -> None:
        if every_minutes < 0:
            raise InputError(f"recovery.every_minutes is {every_minutes}; give 0 or more")
        if keep < 1:
            raise InputError(f"recovery.keep is {keep}; give at least 1")
        self.every_minutes = every_minutes
        self.keep = keep
        self._due = 0.0  # when the next is written, on the clock that never goes back
        self._step = -1  # of the last look
        self._told = False  # to end, one of several processes
        self._place: dict[str, int] = {}
        self._gradients: dict[str, Tensor] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the folder; remove what a killed run was writing there."""
        others = [saver for saver in trainer.checkpoint_callbacks if saver is not self]
        self.active = stage == "fit" and bool(others) and not trainer.fast_dev_run  # type: ignore[attr-defined]
        self.run = run_directory(trainer)
        if self.active and trainer.is_global_zero:
            for half in (p for name in FOLDERS for p in (self.run / name).glob(".*.ckpt")):
                half.unlink(missing_ok=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the place within the epoch, and what the steps before have left.

        Those are gradients that no optimiser clears, which count where gradients are clipped.
        """
        if trainer.train_dataloader is not None:
            checkpoint["place"] = trainer.train_dataloader.state_dict()
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        cleared = {id(weight) for group in groups for weight in group["params"]}
        checkpoint["gradients"] = {
            name: weight.grad
            for name, weight in pl_module.named_parameters()
            if weight.grad is not None and id(weight) not in cleared
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give them back; Lightning would give a loader its place only if nobody had seen it.

        Of several processes each now remembers a SIGTERM until the others hear of it, too.
        """
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            # Lightning's own handler speaks to the others from wherever each of them is, which
            # gets between the exchanges of a step; and it has each step wait for the first process
            self._told = trainer.received_sigterm
            trainer._signal_connector.received_sigterm = False
            signal.signal(signal.SIGTERM, self._note)
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        if self._place:
            loader: Any = trainer.train_dataloader
            loader.load_state_dict(self._place)
        for name, weight in pl_module.named_parameters():
            if name in self._gradients:
                weight.grad = self._gradients[name].to(weight)
        self._place, self._gradients = {}, {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a SIGTERM end what keeps nothing; a validation of a training is the training's."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._end_when_told(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a SIGTERM end it."""
        self._end_when_told(trainer)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let a SIGTERM end it."""
        self._end_when_told(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let the other checkpoints know their folder again, however its path was written."""
        self._place = checkpoint.get("place", {})
        self._gradients = checkpoint.get("gradients", {})
        for saver in trainer.checkpoint_callbacks:
            state = checkpoint.get("callbacks", {}).get(saver.state_key, {})
            known, own = state.get("dirpath"), getattr(saver, "dirpath", None)
            if known and own and Path(known).resolve() == Path(own).resolve():
                state["dirpath"] = own

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save after a step, if it is time; an epoch's last step waits for the epoch's end.

        Lightning stops the training behind it where the processes have agreed on that.
        """
        every = trainer.val_check_batch
        judged = isinstance(every, int) and any(
            (batch + 1) % every == 0 for batch in (batch_idx, trainer.fit_loop.total_batch_idx)
        )
        # what is judged after this batch would be missing in the resumed training
        if trainer.is_last_batch or judged or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        look = self._step % max(1, trainer.log_every_n_steps) == 0  # type: ignore[attr-defined]
        if look or pl_module.device.type == FREE:
            self._agree(trainer)
        if look:
            self._save_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after an epoch, if it is time or the process must end."""
        self._agree(trainer)
        if trainer.received_sigterm:
            self._due = 0
        self._save_if_due(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove what nobody needs any more, if the run's own checkpoint holds the end."""
        if self.active and trainer.is_global_zero:
            own = [path for path in checkpoints_of(self.run) if path.parent.name != FOLDER][:1]
            if own and read_checkpoint(own[0]).get("global_step") == trainer.global_step:
                for path in (self.run / FOLDER).glob("*.ckpt"):
                    path.unlink()
                with suppress(OSError):  # there is none, or something else lies there
                    (self.run / FOLDER).rmdir()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save where a SIGTERM has stopped the training between two steps."""
        if not isinstance(exception, SIGTERMException):
            return
        if not self.active:
            rank_zero_only(print)("stopped by SIGTERM; nothing of this is kept")
            return
        # within a validation weights may be averaged ones, and the last checkpoint has to do
        if trainer.training and not trainer.strategy.broadcast(self._path(trainer).exists()):
            self._save(trainer, pl_module)
        rank_zero_only(print)(
            f"stopped by SIGTERM at step {trainer.global_step}; `gaitbench fit --resume "
            f"{os.path.relpath(self.run)}` goes on"
        )

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._told = True

    def _end_when_told(self, trainer: pl.Trainer) -> None:
        # Lightning's own handler waits for the other processes, and `predict` never looks at it
        def end(number: int, frame: FrameType | None) -> None:
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(number)
            raise SIGTERMException

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, end)

    def _agree(self, trainer: pl.Trainer) -> None:
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(self._told, all=False)
            trainer._signal_connector.received_sigterm = stop

    def _path(self, trainer: pl.Trainer) -> Path:
        return self.run / FOLDER / f"step-{trainer.global_step:09d}.ckpt"

    def _save_if_due(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.active and trainer.strategy.broadcast(time.monotonic() >= self._due):
            self._save(trainer, pl_module)

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not finite(pl_module):  # LossWatch will say so
            return
        trainer.save_checkpoint(self._path(trainer), weights_only=False)
        if trainer.is_global_zero:
            own = [path for path in checkpoints_of(self.run) if path.parent.name == FOLDER]
            for old in own[self.keep :]:
                old.unlink()
        self._due = time.monotonic() + 60 * self.every_minutes


def finite(module: torch.nn.Module) -> bool:
    """Whether all weights are; waits for their device once."""
    return bool(torch.stack([weight.isfinite().all() for weight in module.parameters()]).all())


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoints in a run's folder, newest first."""
    found = [path for name in FOLDERS for path in (run / name).glob("[!.]*.ckpt")]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def newest_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run that a training can go on from; None if there is none yet.

    A line names each that is damaged.

    Raises:
        InputError: if there are some, and all of them are damaged.
    """
    faults = []
    for path in checkpoints_of(run):
        try:
            if "optimizer_states" in read_checkpoint(path):
                return path
        except InputError as error:
            faults.append(str(error).partition("; ")[0])
            rank_zero_only(print)(f"{faults[-1]}; the one before it is used")
    if faults:
        raise InputError(
            f"no checkpoint in {run} is whole ({faults[0]}); delete them to begin anew"
        )
    return None


def _last_good(run: Path) -> str:
    found = checkpoints_of(run)
    return f"the last good state is {found[0]}" if found else "no checkpoint was written before"
