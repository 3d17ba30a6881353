"""What the methods on windows of pictures share: network, penalty, optimiser and rate."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from gaitbench.backbones import GaitSet, frame_network
from gaitbench.batch import GaitBatch
from gaitbench.errors import InputError
from gaitbench.frame_activation import frame_activation
from gaitbench.losses import (
    BatchAllTriplet,
    HardTriplet,
    LinearClassification,
    MinedTriplet,
    PairContrastive,
    SemiHardTriplet,
)
from gaitbench.methods.base import GaitMethod
from gaitbench.optimizers import TensorFlowAdam
from gaitbench.processes import gathered
from gaitbench.schedules import Milestones, SteadyFall

IMAGES = "images"
"""The kind of frames that these methods take."""

CHANNELS = {"gray": 1, "flow": 2, "silhouette": 1}
"""Modality, which the data's name begins with -> channels of a frame."""

EXPLAINED = 8
"""Windows whose activation is worked out at a time, since gradients need memory."""

KERAS_EPSILON = 1e-7
SGD_MOMENTUM = 0.9

Rate = Literal["constant", "one_cycle", "epochs", "steps", "plateau"]
Mining = Literal["semi_hard", "softplus", "hard", "all"]


def mined_triplet(mining: Mining, margin: float, unit: bool = True) -> MinedTriplet:
    """The triplet loss of that name on codes.

    Args:
        mining: ``semi_hard``; ``softplus``, the same of squared distances without a margin;
            ``hard``; or ``all``.
        margin: by which a negative shall be farther than a positive.
        unit: measure between unit vectors.
    """
    if mining == "softplus":
        return SemiHardTriplet(None, unit, squared=True)
    kinds: dict[str, type[MinedTriplet]]
    kinds = {"semi_hard": SemiHardTriplet, "hard": HardTriplet, "all": BatchAllTriplet}
    return kinds[mining](margin, unit)


def unit_code(code: Tensor) -> Tensor:
    """Codes (B, D) scaled to unit length: signatures.

    A code shorter than 1e-6 is divided by that, as TensorFlow does.
    """
    return F.normalize(code, eps=1e-6)


class FrameMethod(GaitMethod):
    """Windows of pictures go through a network, whose code is the embedding.

    A subclass gives the terms of its loss in :meth:`terms`. What a term has of weights, such as a
    classifier, lies in ``loss``, so that tests do without.

    Args:
        skeleton: modality and size of the windows, such as ``gray-25x60x60``; given by the dataset.
        network: see :func:`gaitbench.backbones.frame_network`.
        embedding_dim: D of the code.
        dropout: before the code.
        start: how the 3D-CNN's kernels are drawn.
        weights: name of each term of the loss and what it counts; those of 0 are left out.
        losses: name of a term and the module that it is made of.
        penalty: add the sum of squares of some kernels, as the authors of GaitCopy do: those of
            the 3D-CNN's code layer or of the 2D-CNN's convolutions. GaitSet has none.
        optimizer: ``tf_adam``, Adam as Keras has it, ``adam``, or ``sgd`` with a momentum of 0.9.
        learning_rate: to begin with; peak of the one cycle.
        rate: ``constant``; ``one_cycle``; multiplied by ``rate_factor`` at each of ``milestones``,
            which are ``epochs`` or ``steps``; or, on a ``plateau``, whenever the validation loss,
            without validation the mean training loss of a window, has not become lower for more
            than ``patience`` epochs, down to ``rate_floor``.
        milestones: in rising order.
        rate_factor: see above.
        patience: see above.
        rate_floor: see above.
        settings: see :class:`GaitMethod`.

    Raises:
        InputError: if a setting is impossible.
    """

    def __init__(
        self,
        skeleton: str,
        network: str,
        embedding_dim: int,
        weights: Mapping[str, float],
        losses: Mapping[str, nn.Module],
        dropout: float = 0.0,
        start: Literal["glorot", "he"] = "glorot",
        penalty: bool = True,
        optimizer: Literal["tf_adam", "adam", "sgd"] = "tf_adam",
        rate: Rate = "constant",
        milestones: Sequence[int] = (),
        rate_factor: float = 0.1,
        patience: int = 3,
        rate_floor: float = 1e-5,
        **settings: Any,
    ) -> None:
        for name, weight in weights.items():
            if weight < 0:
                raise InputError(f"model.{name}_weight is {weight}; give 0 or more")
        if not any(weights.values()):
            raise InputError("all losses have weight 0; give one of them more")
        if not 0 < rate_factor < 1:
            raise InputError(f"model.rate_factor is {rate_factor}; give a share between 0 and 1")
        if rate in ("epochs", "steps") and not milestones:
            raise InputError(f"model.rate {rate} needs to know when; give model.milestones")
        if list(milestones) != sorted({*milestones}):
            raise InputError(f"model.milestones are {[*milestones]}; give them in rising order")
        super().__init__(skeleton=skeleton, optimizer="adam", tta=False, **settings)
        modality = skeleton.partition("-")[0]
        if modality not in CHANNELS:
            raise InputError(
                f"{type(self).__name__} takes windows of pictures ({', '.join(CHANNELS)}), the "
                f"data are {skeleton}; name a dataset of videos or silhouettes"
            )
        self.backbone = frame_network(network, CHANNELS[modality], embedding_dim, dropout, start)
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.loss = nn.ModuleDict({name: losses[name] for name in self.weights if name in losses})
        self.validation_loss = PairContrastive()
        self.penalty = penalty and hasattr(self.backbone, "penalty")
        self.kind = optimizer
        self.rate: Rate = rate
        self.milestones = milestones
        self.rate_factor = rate_factor
        self.patience = patience
        self.rate_floor = rate_floor
        # what a plateau looks at: losses of this epoch's windows so far, and the last validation's
        self._losses, self._windows = torch.zeros(()), 0
        self._validated: float | None = None

    @property
    def window_shape(self) -> tuple[int | None, ...]:
        """Shape of one window, (T, H, W, C); T is None if any number of frames will do."""
        modality, _, size = self.skeleton.partition("-")
        *frames, height, width = map(int, size.split("x"))
        any_number = isinstance(self.backbone, GaitSet) or not frames
        return None if any_number else frames[0], height, width, CHANNELS[modality]

    def setup(self, stage: str) -> None:
        """See :class:`GaitMethod`; look at what the data are.

        Raises:
            InputError: if they are no pictures, or no initial weight fits.
        """
        data: Any = getattr(self._trainer, "datamodule", None)
        if data is not None and data.frame_kind != IMAGES:
            raise InputError(
                f"{type(self).__name__} takes windows of pictures, {data.dataset} has "
                f"{data.units}; name a dataset of videos or silhouettes"
            )
        super().setup(stage)

    def forward(self, frames: Tensor) -> Tensor:
        """Windows (B, T, H, W, C) to codes (B, D)."""
        # what the data make of bytes has float32, where a trainer with 64-true has double weights
        code: Tensor = self.backbone(frames.to(self.dtype))
        return code

    def explain_frames(self, frames: Tensor) -> Tensor:
        """How much each pixel of windows (B, T, H, W, C) adds to the code, (B, T, H, W)."""
        maps = [frame_activation(self.backbone, some) for some in torch.split(frames, EXPLAINED)]
        return torch.cat([some.on_frames(*frames.shape[1:4]) for some in maps])

    def whole(self, code: Tensor, batch: GaitBatch) -> tuple[Tensor, GaitBatch]:
        """Codes, and what their losses need beside them, of the global batch."""
        code, subject = gathered(batch.share, code, batch.subject)
        return code, batch._replace(subject=subject)

    def terms(self, code: Tensor, batch: GaitBatch) -> dict[str, Tensor]:
        """Terms of the loss by name, without their weights, of codes (B, D) of a global batch."""
        return {name: loss(code, batch.subject) for name, loss in self.loss.items()}  # type: ignore[operator]

    def training_step(self, batch: GaitBatch, batch_idx: int) -> Tensor:
        """Weighted sum of the terms, and the penalty; logs each."""
        terms = self.terms(*self.whole(self(batch.frames), batch))
        total = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        if self.penalty:
            terms["penalty"] = self.backbone.penalty()  # type: ignore[operator]
            total = total + terms["penalty"]
        settings: dict[str, Any] = {"on_step": True, "on_epoch": True}
        settings["batch_size"] = batch.total
        if len(terms) > 1:
            for name, value in terms.items():
                self.log(f"train/{name}", value, **settings)
        self.log("train/loss", total, prog_bar=True, **settings)
        if self.rate == "plateau":
            self._losses = self._losses.to(total) + batch.total * total.detach()
            self._windows += batch.total
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and a schedule that steps with every batch, epoch or validation."""
        groups = self.parameter_groups()
        how: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        optimizer: torch.optim.Optimizer
        if self.kind == "tf_adam":
            optimizer = TensorFlowAdam(groups, epsilon=KERAS_EPSILON, **how)
        elif self.kind == "adam":
            optimizer = torch.optim.Adam(groups, fused=self.fused, **how)
        else:
            optimizer = torch.optim.SGD(groups, momentum=SGD_MOMENTUM, fused=self.fused, **how)
        if self.rate != "plateau":
            schedule = self.schedule(optimizer)
            interval = "epoch" if self.rate == "epochs" else "step"
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "interval": interval},
            }
        fall = ReduceLROnPlateau(
            optimizer, factor=self.rate_factor, patience=self.patience, min_lr=self.rate_floor
        )
        # its steps are taken here, at the end of an epoch
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": fall, "interval": "epoch", "reduce_on_plateau": False},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """See Lightning's; a plateau has its step at the end of an epoch."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        """Let the rate fall on a plateau, before the epoch's checkpoints are written.

        Lightning's own turn comes after them: a training that goes on from one would lack a step.

        Raises:
            InputError: if there should have been a validation, and was none.
        """
        fall: Any = self.lr_schedulers()
        missed = isinstance(fall, ReduceLROnPlateau) and fall.last_epoch <= self.current_epoch
        if not missed or not self.trainer.is_last_batch:
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is not None and data.validation != "none":
            loss = self._last_validation()
        elif self._windows:
            loss = float(self._losses) / self._windows
        else:  # the epoch was trained before such means were kept
            return
        if loss is None:
            raise InputError(
                f"model.rate plateau looks at the validation loss, and epoch {self.current_epoch} "
                "had none; leave trainer.limit_val_batches and check_val_every_n_epoch "
                "out, or give data.validation none or another model.rate"
            )
        fall.step(loss)
        self._losses, self._windows = torch.zeros(()), 0

    def _last_validation(self) -> float | None:
        told = getattr(self._trainer, "callback_metrics", {}).get("val/loss", self._validated)
        return None if told is None else float(told)

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The rate of every epoch or step."""
        if self.rate == "one_cycle":
            return super().schedule(optimizer)
        if self.rate == "constant":
            return SteadyFall(optimizer, 1)
        return Milestones(optimizer, self.milestones, self.rate_factor)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See :class:`GaitMethod`; what a plateau has seen is kept."""
        super().on_save_checkpoint(checkpoint)
        if self.rate == "plateau":
            checkpoint["plateau"] = self._losses, self._windows, self._last_validation()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See :class:`GaitMethod`; a plateau goes on from its best loss and what it had seen."""
        states = checkpoint.get("lr_schedulers", [])
        stand = [
            {name: state[name] for name in ("best", "num_bad_epochs") if name in state}
            for state in states
        ]
        super().on_load_checkpoint(checkpoint)
        for state, kept in zip(states, stand, strict=True):
            state |= kept
        if "plateau" in checkpoint:
            self._losses, self._windows, self._validated = checkpoint["plateau"]


def classifier(weight: float, *settings: Any, **more: Any) -> dict[str, nn.Module]:
    """The term ``classifier``, which nobody makes where it counts nothing."""
    return {"classifier": LinearClassification(*settings, **more)} if weight else {}
