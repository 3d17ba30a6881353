"""Recognition of known people by the gait encodings of SGE-LA.

Source: Rao et al. 2020, IJCAI, arXiv 2008.09435, and the authors' program.
"""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from gaitbench.backbones.gait_encoder import AgeClassifier
from gaitbench.batch import GaitBatch
from gaitbench.errors import InputError
from gaitbench.methods.base import OF_THE_RUN
from gaitbench.methods.rated import RatedMethod
from gaitbench.precision import precise
from gaitbench.processes import gathered
from gaitbench.readers.encodings import EncodingShape


class AgeRecognition(RatedMethod):
    """A classifier with one hidden layer over gait encodings.

    It tells, of each window, a score for every known subject. Which checkpoint counts is what the
    trainer's ModelCheckpoint says: the last, or that with the best ``val/accuracy`` of held-out
    windows, or of test windows as published.

    Args:
        skeleton: name of the encodings' shape; given by the dataset.
        num_subjects: C; given by the dataset.
        manner: ``ap`` recognises by each decoder step's part and takes the mean of the logits,
            ``sc`` by the whole encoding.
        hidden: of the layer between.
        start: ``published``, weights normal with a spread of 1 whatever the size, which begins with
            huge logits, or ``scaled`` to the size of the layer.
        l2: coefficient of half the sum of squares of all weights; published is 0.
        clip: see :class:`RatedMethod`; published is none.
        learning_rate: constant, or peak of the one cycle.
        rate: ``constant``, as published, or ``one_cycle``.
        optimizer: ``tf_adam``, see :class:`gaitbench.optimizers.TensorFlowAdam`, or ``adam``.
        settings: see :class:`GaitMethod`.

    Raises:
        InputError: if the data are no encodings, or there are fewer than two subjects.
    """

    def __init__(
        self,
        skeleton: str = "age-6x3x256",
        num_subjects: int = 2,
        manner: Literal["ap", "sc"] = "ap",
        hidden: int = 256,
        start: Literal["published", "scaled"] = "scaled",
        l2: float = 0.0,
        clip: float | None = None,
        learning_rate: float = 5e-4,
        rate: Literal["constant", "one_cycle"] = "constant",
        optimizer: Literal["tf_adam", "adam"] = "tf_adam",
        **settings: Any,
    ) -> None:
        steps, axes, width = EncodingShape.named(skeleton)
        super().__init__(
            optimizer,
            learning_rate,
            rate,
            l2,
            clip,
            skeleton=skeleton,
            num_subjects=num_subjects,
            **settings,
        )
        self.save_hyperparameters(ignore=OF_THE_RUN)
        self.manner = manner
        inputs = axes * width * (steps if manner == "sc" else 1)
        self.backbone = AgeClassifier(inputs, num_subjects, hidden, start)
        self.subjects: tuple[str, ...] = ()

    @property
    def window_shape(self) -> tuple[int | None, ...]:
        """The encodings' shape, (T, A, H)."""
        return tuple(EncodingShape.named(self.skeleton))

    def setup(self, stage: str) -> None:
        """See :class:`GaitMethod`; take the subjects' names from the data.

        Raises:
            InputError: if whole encodings are to be learned and the data are shown by frames.
        """
        data: Any = getattr(self._trainer, "datamodule", None)
        if data is not None:
            self.subjects = tuple(data.split.train)
            if stage == "fit" and self.manner == "sc" and data.train_on == "frames":
                raise InputError(
                    "model.manner sc learns whole encodings, data.train_on frames shows their "
                    "parts; give data.train_on sequences, or model.manner ap"
                )
        super().setup(stage)

    def forward(self, frames: Tensor) -> Tensor:
        """Encodings (B, T, A, H) to logits (B, C)."""
        logits = self.logits(frames)
        return logits.mean(dim=1) if self.manner == "ap" else logits

    def logits(self, frames: Tensor) -> Tensor:
        """Encodings (B, T, A, H) to logits (B, T, C), or (B, C) in manner ``sc``."""
        whole = frames.flatten(2) if self.manner == "ap" else frames.transpose(1, 2).flatten(1)
        logits: Tensor = self.backbone(whole)
        return logits

    def told(self, frames: Tensor) -> dict[str, Tensor]:
        """Scores of the known subjects; those of a whole window as ``embedding``, too."""
        scores = self.logits(frames)
        whole = scores.mean(dim=1) if self.manner == "ap" else scores
        return {"embedding": whole, "scores": scores}

    def training_step(self, batch: GaitBatch, batch_idx: int) -> Tensor:
        """Cross-entropy of all samples."""
        logits, subject = gathered(batch.share, self.logits(batch.frames), batch.subject)
        loss = _cross_entropy(logits, subject)
        size = len(subject)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        return loss

    def log_validation(self, told: dict[str, Tensor], batch: GaitBatch) -> None:
        """Log the cross-entropy, and the share of windows that are recognised."""
        scores, whole, subject = gathered(
            batch.share, told["scores"], told["embedding"], batch.subject
        )
        settings: dict[str, Any] = {"batch_size": len(subject), "prog_bar": True}
        loss = _cross_entropy(scores, subject)
        right = (whole.argmax(dim=1) == subject).float().mean()
        self.log("val/loss", loss, **settings)
        self.log("val/accuracy", right, **settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See :class:`GaitMethod`; also who is known, in the order of the scores."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["gaitbench"]["subjects"] = list(self.subjects)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that know other people than those of the data.

        Raises:
            InputError: naming who differs.
        """
        known = checkpoint.get("gaitbench", {}).get("subjects")
        if known and self.subjects and tuple(known) != self.subjects:
            other = sorted(set(known) ^ set(self.subjects))
            raise InputError(
                f"the checkpoint knows {len(known)} people and the data have {len(self.subjects)} "
                f"who train, and {', '.join(other[:5]) or 'their order'} differ; give encodings "
                "of the same people, or train on these"
            )
        self.subjects = self.subjects or tuple(known or ())
        super().on_load_checkpoint(checkpoint)


def _cross_entropy(logits: Tensor, subject: Tensor) -> Tensor:
    """Mean over (B, C), or over (B, T, C) where each frame has scores."""
    each = precise(logits).flatten(0, -2)
    return F.cross_entropy(each, subject.repeat_interleave(len(each) // len(subject)))
