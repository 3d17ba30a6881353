"""SGE-LA: gait encodings learned without labels, by drawing skeletons in reverse.

Source: Rao et al. 2020, IJCAI, arXiv 2008.09435, and the authors' program. The contrastive term,
and the next or the sorted window as targets: Rao et al. 2021, T-PAMI, arXiv 2009.03671.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from gaitbench.backbones.gait_encoder import (
    ContextProjection,
    DecoderInput,
    GaitEncoder,
    GaitEncoding,
)
from gaitbench.batch import GaitBatch, Share
from gaitbench.errors import InputError
from gaitbench.losses import GaitEncodingLoss, NeighbourContrast
from gaitbench.methods.base import OF_THE_RUN
from gaitbench.methods.rated import RatedMethod
from gaitbench.processes import gathered
from gaitbench.skeleton import get_skeleton

AXES = "xyz"


class SGELA(RatedMethod):
    """The encoder-decoder of all three axes, trained to draw a window from its encoding.

    No label is used. What is compared, or recognised by :class:`AgeRecognition`, is the gait
    encoding: encoded frames, weighted by the attention of each decoder step; 3 T H values, axis by
    axis and step by step.

    Losses are sums over a batch and no means, as published, so that the L2 term weighs the less
    the larger the batch is. What is logged is the mean over a window.

    Args:
        skeleton: layout of the poses; given by the dataset.
        num_subjects: not used; given by the dataset.
        frames: T of a window, the same as ``data.frames``.
        hidden: H, of every layer and of the attention.
        attention: ``locality`` punishes attention far from the frame that a step should draw,
            ``basic`` does not. Either way that frame is taken to be the last for the first step and
            so on, as published, also where the target runs forwards.
        decoder_input: what the decoder is fed, see :class:`GaitEncoder`.
        target: what is drawn: the window ``reversed``, or the ``same``; the ``next`` window, which
            ``data.following`` tells; or ``sorted``, the window whose frames are shown out of order,
            each window in one of its own for all epochs. In evaluation frames keep their order.
        contrast_weight: what the contrastive term of 2021 counts, whose positive pairs are
            neighbours in a batch; 0 leaves it out, 1 is published.
        temperature: of that term; published 0.1, for KGBD 0.5.
        start: of LSTM kernels and of the contrastive head, ``random`` or ``published``, see
            :class:`GaitEncoder` and :class:`ContextProjection`.
        l2: coefficient of half the sum of squares of all weights, biases too.
        clip: see :class:`RatedMethod`.
        learning_rate: constant, or peak of the one cycle.
        rate: ``constant``, as published, or ``one_cycle``.
        optimizer: ``tf_adam``, see :class:`gaitbench.optimizers.TensorFlowAdam`, or ``adam``.
        settings: see :class:`GaitMethod`.

    Raises:
        InputError: if a setting is impossible.
    """

    orders: Tensor  # (N, T) in which the frames of each window are shown, where they are to sort

    def __init__(
        self,
        skeleton: str = "kinect20",
        num_subjects: int = 0,
        frames: int = 6,
        hidden: int = 256,
        attention: Literal["locality", "basic"] = "locality",
        decoder_input: DecoderInput = "zeros",
        target: Literal["reversed", "same", "next", "sorted"] = "reversed",
        contrast_weight: float = 0.0,
        temperature: float = 0.1,
        start: Literal["random", "published"] = "random",
        l2: float = 0.02,
        clip: float | None = 5.0,
        learning_rate: float = 5e-4,
        rate: Literal["constant", "one_cycle"] = "constant",
        optimizer: Literal["tf_adam", "adam"] = "tf_adam",
        **settings: Any,
    ) -> None:
        if frames < 1:
            raise InputError(f"model.frames is {frames}; give 1 or more")
        if contrast_weight < 0:
            raise InputError(f"model.contrast_weight is {contrast_weight}; give 0 or more")
        if target == "next" and decoder_input == "shifted_target":
            raise InputError(
                "model.decoder_input shifted_target feeds what is to be drawn, which with "
                "model.target next nobody knows in tests; give zeros or free"
            )
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
        self.frames = frames
        self.target = target
        self.contrast_weight = contrast_weight
        joints = get_skeleton(skeleton).num_joints
        self.backbone = GaitEncoder(joints, hidden, len(AXES), decoder_input, start)
        self.head: ContextProjection | None = None
        if contrast_weight:
            how: Literal["published", "scaled"] = "published" if start == "published" else "scaled"
            self.head = ContextProjection(len(AXES), frames, hidden, how)
        self.loss = GaitEncodingLoss(frames, attention)
        self.contrast = NeighbourContrast(temperature)
        self.register_buffer("orders", torch.zeros(0, frames, dtype=torch.int64), persistent=False)

    @property
    def window_shape(self) -> tuple[int | None, ...]:
        """See :class:`gaitbench.methods.GaitMethod`."""
        return self.frames, *super().window_shape[1:]

    def setup(self, stage: str) -> None:
        """See :class:`GaitMethod`; look at what the data are.

        Raises:
            InputError: if their third value is no coordinate, or windows have another length.
        """
        data: Any = getattr(self._trainer, "datamodule", None)
        if data is not None and data.frame_kind != "skeleton3d":
            raise InputError(
                f"SGELA takes joints as x, y and z, {data.dataset} has {data.units}; name a "
                "dataset of 3D skeletons"
            )
        if data is not None and data.frames != self.frames:
            raise InputError(
                f"this SGELA takes windows of {self.frames} frames, data.frames is {data.frames}; "
                f"give data.frames {self.frames}, or train one with model.frames {data.frames}"
            )
        if data is not None and self.target == "next" and stage in ("fit", "validate"):
            self._refuse_no_next(data)
        if data is not None and self.target == "sorted" and stage == "fit":
            seeded = torch.Generator().manual_seed(torch.initial_seed() % 2**32)
            self.orders = torch.rand(len(data.sequences), self.frames, generator=seeded).argsort()
        super().setup(stage)

    def _refuse_no_next(self, data: Any) -> None:
        if data.following == "none":
            raise InputError(
                "model.target next draws the window that follows, data.following none shows none; "
                "give data.following recording, or row as published"
            )
        if data.validation != "none":
            raise InputError(
                "model.target next has no loss of validation windows, for which no next one is "
                "shown; give data.validation none"
            )

    def forward(self, frames: Tensor) -> Tensor:
        """Joints (B, T, V, 3) to gait encodings (B, 3 T H)."""
        return self.encode(frames).of_sequences

    def encode(self, frames: Tensor, target: Tensor | None = None) -> GaitEncoding:
        """All that the network makes of joints (B, T, V, 3), and of what it shall draw of them."""
        target = self._target(frames) if target is None else target
        encoding: GaitEncoding = self.backbone(frames, target)
        return encoding

    def attention_maps(self, frames: Tensor) -> dict[str, Tensor]:
        """Weight of each encoded frame at each decoder step, (B, T, T), by axis."""
        return dict(zip(AXES, self.encode(frames).alignments, strict=True))

    def _target(self, frames: Tensor) -> Tensor:
        """What shall be drawn of frames in their order."""
        return frames.flip(1) if self.target == "reversed" else frames

    def task(self, batch: GaitBatch) -> tuple[Tensor, Tensor]:
        """Joints that are shown in training and those that shall be drawn, (B, T, V, 3) each."""
        frames = batch.frames
        if self.target == "sorted":
            order = self.orders[batch.row, :, None, None]
            return frames.take_along_dim(order, dim=1), frames
        return frames, self._target(frames) if batch.target is None else batch.target

    def losses(
        self, encoding: GaitEncoding, target: Tensor, share: Share | None = None
    ) -> dict[str, Tensor]:
        """Terms of the loss by name, sums over the batch; of the reconstruction one an axis.

        Args:
            encoding: of this process's windows.
            target: what should be drawn of them.
            share: which part of the global batch they are; None for all.
        """
        outputs, target, alignments = gathered(
            share, encoding.outputs, target, encoding.alignments.transpose(0, 1)
        )
        error, astray = self.loss(outputs, target, alignments.transpose(0, 1))
        terms = {f"reconstruction_{axis}": value for axis, value in zip(AXES, error, strict=True)}
        if self.loss.attention == "locality":
            terms["locality"] = astray.sum()
        if self.head is not None:
            # this one is a mean, as published
            (vectors,) = gathered(share, self.head(encoding.contexts).transpose(0, 1))
            terms["contrast"] = self.contrast(vectors.transpose(0, 1)).sum()
        return terms

    def training_step(self, batch: GaitBatch, batch_idx: int) -> Tensor:
        """Sum of the terms, with the L2 term left to the optimiser."""
        frames, target = self.task(batch)
        terms = self.losses(self.encode(frames, target), target, batch.share)
        size = batch.total
        for name, value in terms.items():
            mean = value if name == "contrast" else value / size
            self.log(f"train/{name}", mean, on_step=True, on_epoch=True, batch_size=size)
        contrast = self.contrast_weight * terms.pop("contrast", torch.zeros(()))
        total = torch.stack([*terms.values()]).sum()
        settings: dict[str, Any] = {"prog_bar": True, "on_step": True, "on_epoch": True}
        self.log("train/loss", (total + contrast) / size, batch_size=size, **settings)
        return total + contrast

    def validation_step(self, batch: GaitBatch, batch_idx: int) -> dict[str, Tensor]:
        """The encoding and its rows; logs the reconstruction of a window as the loss."""
        encoding = self.encode(batch.frames)
        size = batch.total
        terms = self.losses(encoding, self._target(batch.frames), batch.share)
        error = torch.stack([terms[f"reconstruction_{axis}"] for axis in AXES]).sum() / size
        self.log("val/loss", error, prog_bar=True, batch_size=size)
        return {"embedding": encoding.of_sequences, "row": batch.row}
