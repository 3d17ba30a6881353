"""What every method shares: steps, optimiser, what is trained on and what is compared."""

import logging
import os
from collections.abc import Callable
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

import gaitbench
from gaitbench.batch import GaitBatch
from gaitbench.checkpoints import read_checkpoint
from gaitbench.errors import InputError
from gaitbench.processes import gathered
from gaitbench.schedules import FALL, RISE, OneCycle
from gaitbench.skeleton import get_skeleton

OF_THE_RUN = ["tta", "skeleton", "num_subjects", "initial_weights"]
"""Settings that are given by the data or chosen for a run: never stored in a checkpoint."""

Views = tuple[Callable[[Tensor], Tensor], ...]

logger = logging.getLogger(__name__)


class GaitMethod(pl.LightningModule):
    """A network that turns windows of frames into embeddings, and the loss that trains it.

    Losses are those of the global batch: what the network makes of each process's share is gathered
    before, see :mod:`gaitbench.processes`.

    A subclass sets ``self.loss`` and defines ``forward``; ``test_time_views`` names the views that
    test-time augmentation adds.

    Args:
        skeleton: layout of the poses it takes; given by the dataset.
        num_subjects: training subjects; given by the dataset.
        learning_rate: peak of the one-cycle schedule, which steps with every batch.
        weight_decay: decoupled for AdamW, L2 for Adam.
        optimizer: ``"adamw"`` or ``"adam"``.
        tta: in validation, test and prediction, also embed each of ``test_time_views`` and put
            the embeddings side by side, (B, D) becomes (B, (1 + views) D). It is a setting of the
            run and never stored in a checkpoint.
        hold_rate_from: share of the training after which rate and momentum stay as they are.
        initial_weights: checkpoint whose weights a training starts from, for a second stage. What
            has no counterpart there starts fresh and is named. Never stored in a checkpoint.
    """

    loss: nn.Module
    validation_loss: nn.Module
    test_time_views: Views = ()

    def __init__(
        self,
        skeleton: str,
        num_subjects: int,
        learning_rate: float,
        weight_decay: float,
        optimizer: Literal["adamw", "adam"],
        tta: bool,
        hold_rate_from: float = 1.0,
        initial_weights: str | None = None,
    ) -> None:
        super().__init__()
        if type(self) is GaitMethod:
            raise InputError(
                "model.class_path GaitMethod is what methods are made of, and none itself; name "
                "one, such as GaitGraph2"
            )
        if learning_rate < 0:
            raise InputError(f"model.learning_rate is {learning_rate}; give 0 or more")
        if not 0 < hold_rate_from <= 1:
            raise InputError(
                f"model.hold_rate_from is {hold_rate_from}; give a share above 0, at most 1"
            )
        self.skeleton = skeleton
        self.num_subjects = num_subjects
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.tta = tta
        self.hold_rate_from = hold_rate_from
        self.initial_weights = initial_weights

    def setup(self, stage: str) -> None:
        """Take over the initial weights, unless a training is being resumed.

        Raises:
            InputError: if none of them fits.
        """
        if stage != "fit" or not self.initial_weights or self.trainer.ckpt_path:
            return
        found = self.taken_over(read_checkpoint(self.initial_weights))
        own = self.state_dict()
        fitting = {
            name: value
            for name, value in found.items()
            if name in own and own[name].shape == value.shape
        }
        fresh = [name for name in own if name not in fitting]
        unused = [name for name in found if name not in fitting]
        if not any(name in fitting for name, _ in self.named_parameters()):
            raise InputError(
                f"no weight in {self.initial_weights} fits this {type(self).__name__}; name "
                "another checkpoint or give the model settings it was trained with"
            )
        self.load_state_dict(fitting, strict=False)
        for names, fate in ((fresh, "start fresh"), (unused, "are not used")):
            if names:
                named = ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
                logger.warning("%s: %s %s", self.initial_weights, named, fate)

    def taken_over(self, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
        """Weights of a checkpoint that a training may start from, where they fit.

        Raises:
            InputError: if it holds another network.
        """
        weights: dict[str, Tensor] = checkpoint["state_dict"]
        return weights

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes that it tells of a walk."""
        return ()

    @property
    def window_shape(self) -> tuple[int | None, ...]:
        """Shape of one window, (T, V, C); T is None if any number of frames will do."""
        return None, get_skeleton(self.skeleton).num_joints, 3

    def told(self, frames: Tensor) -> dict[str, Tensor]:
        """What it tells of walks (B, T, V, C): ``embedding`` (B, D) that is compared.

        A method that tells attributes adds their probabilities as ``attributes`` (B, A).
        """
        return {"embedding": self.embed(frames)}

    def embed(self, frames: Tensor) -> Tensor:
        """Embedding that is compared: (B, T, V, C) to (B, D), or wider with augmentation."""
        embedding: Tensor
        if not self.tta:
            embedding = self(frames)
            return embedding
        views = (frames, *(view(frames) for view in self.test_time_views))
        # not chunk(), whose number of pieces an exported graph of any batch could not tell
        return torch.cat(self(torch.cat(views)).unflatten(0, (len(views), -1)).unbind(), dim=1)

    def training_step(self, batch: GaitBatch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        embedding, subject = gathered(batch.share, self(batch.frames), batch.subject)
        loss: Tensor = self.loss(embedding, subject)
        size = len(subject)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        return loss

    def on_train_batch_start(self, batch: GaitBatch, batch_idx: int) -> None:
        """Let dropout follow from the batch too, so that a run resumes to the same weights."""
        torch.manual_seed(batch.seed + (batch.share.rank if batch.share else 0))

    def validation_step(self, batch: GaitBatch, batch_idx: int) -> dict[str, Tensor]:
        """What is told of a batch, and its rows; logs the validation loss."""
        told = self.told(batch.frames)
        self.log_validation(told, batch)
        return {**told, "row": batch.row}

    def log_validation(self, told: dict[str, Tensor], batch: GaitBatch) -> None:
        """Log the validation loss of the plain embedding."""
        views = 1 + len(self.test_time_views) * self.tta
        plain = told["embedding"].chunk(views, dim=1)[0]
        embedding, subject = gathered(batch.share, plain, batch.subject)
        loss = self.validation_loss(embedding, subject)
        self.log("val/loss", loss, prog_bar=True, batch_size=len(subject))

    def test_step(self, batch: GaitBatch, batch_idx: int) -> dict[str, Tensor]:
        """What is told of a batch, and its rows."""
        return {**self.told(batch.frames), "row": batch.row}

    def predict_step(self, batch: GaitBatch, batch_idx: int) -> dict[str, Tensor]:
        """What is told of a batch, and its rows."""
        return self.test_step(batch, batch_idx)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW or Adam under a schedule that steps with every batch."""
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.optimizer]
        optimizer = kind(
            self.parameter_groups(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=self.fused,
        )
        schedule = self.schedule(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def fused(self) -> bool | None:
        """Whether the optimiser's step is one kernel; None leaves it to torch.

        It is on a GPU, but with 16-mixed, whose gradients such a step scales by itself, so that
        they cannot be clipped. On a CPU its last digits are others, and it gains nothing.
        """
        on_gpu = self.device.type == "cuda" and self.trainer.precision != "16-mixed"
        return True if on_gpu else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, in groups with a rate or decay of their own, as torch writes them."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The one-cycle schedule; a method that was published with another gives its own.

        Its place must follow from ``last_epoch`` and its settings, which a resumed training takes
        from the user.

        Source: authors' code of Teepe et al. 2022, arXiv 2204.07855: 30 % rise from a 25th of the
        peak, cosine down to a 250,000th, beta1 0.95 to 0.85 and back.

        Raises:
            InputError: if the run has no end.
        """
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < float("inf"):
            raise InputError(
                "a one-cycle schedule needs to know its end; give trainer.max_epochs or "
                "trainer.max_steps above 0"
            )
        last = int(self.hold_rate_from * steps)
        return OneCycle(optimizer, self.learning_rate, int(steps), last)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down what is needed to judge whether the weights fit, and how they were judged."""
        data: Any = getattr(self._trainer, "datamodule", None)
        # where Lightning's seed_everything leaves it; what was not trained here has none
        seed = os.environ.get("PL_GLOBAL_SEED") if self._trainer is not None else None
        checkpoint["gaitbench"] = {
            "version": gaitbench.__version__,
            "method": type(self).__name__,
            "skeleton": self.skeleton,
            "dataset": data and data.dataset,
            "frame_kind": data and data.frame_kind,
            "protocols": list(data.default_protocols) if data else [],
            "seed": int(seed) if seed else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of another skeleton or network before a shape error does.

        Raises:
            InputError: naming what differs.
        """
        origin = checkpoint.get("gaitbench", {})
        skeleton = origin.get("skeleton", self.skeleton)
        if skeleton != self.skeleton:
            raise InputError(
                f"the checkpoint was trained on skeleton {skeleton}, the data are {self.skeleton}; "
                f"give data.skeleton {skeleton} or another checkpoint"
            )
        data: Any = getattr(self._trainer, "datamodule", None)
        kind = origin.get("frame_kind")
        if data is not None and kind not in (None, data.frame_kind):
            raise InputError(
                f"the checkpoint was trained on frames of kind {kind}, {data.dataset} holds "
                f"{data.frame_kind}; name other data or another checkpoint"
            )
        own, found = self.state_dict(), checkpoint["state_dict"]
        if self._trainer is None or not self._trainer.training:
            # a classifier is of no use here, and may have been sized for other people
            for name in [name for name in found if name.startswith("loss.")]:
                del found[name]
            found |= {name: value for name, value in own.items() if name.startswith("loss.")}
        missing = [name for name in own if name not in found]
        extra = [name for name in found if name not in own]
        shapes = [
            f"{name} is {tuple(found[name].shape)} there and {tuple(own[name].shape)} here"
            for name in own
            if name in found and own[name].shape != found[name].shape
        ]
        if missing or extra or shapes:
            faults = [f"lacks {missing[0]} and {len(missing) - 1} more"] if missing else []
            faults += [f"has the unknown {extra[0]} and {len(extra) - 1} more"] if extra else []
            faults += shapes[:1]
            raise InputError(
                f"the checkpoint does not fit this {type(self).__name__}: it "
                + ", ".join(faults)
                + "; give the model settings it was trained with"
            )
        self._keep_own_schedule(checkpoint)

    def _keep_own_schedule(self, checkpoint: dict[str, Any]) -> None:
        """Let this run's rate, decay and length hold where the checkpoint's are others.

        Optimiser and schedule restore all of their settings, not only where they stand.

        Raises:
            InputError: if a training is to go on that trains other weights than this one.
        """
        for state in checkpoint.get("lr_schedulers", []):
            for name in set(state) - {"last_epoch", "_step_count", "_last_lr"}:
                del state[name]
        own = self.parameter_groups()
        for state in checkpoint.get("optimizer_states", []):
            found = state["param_groups"]
            sizes = [[len(group["params"]) for group in groups] for groups in (found, own)]
            if sizes[0] != sizes[1] and self._trainer is not None and self._trainer.training:
                raise InputError(
                    "the checkpoint's training trains other weights than this one; give the model "
                    "settings it was trained with, or begin a new training with "
                    "--model.initial_weights in place of --ckpt_path"
                )
            for group, mine in zip(found, own, strict=False):
                peak = mine.get("lr", self.learning_rate)
                group |= {"max_lr": peak, "initial_lr": peak / RISE, "min_lr": peak / RISE / FALL}
                group["weight_decay"] = mine.get("weight_decay", self.weight_decay)
