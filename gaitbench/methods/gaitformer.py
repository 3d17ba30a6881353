"""GaitFormer: a transformer over the frames of a 2D skeleton, trained on two views of each walk."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gaitbench.backbones import PoseTransformer
from gaitbench.batch import GaitBatch
from gaitbench.densegait import ATTRIBUTES, attribute_names
from gaitbench.errors import InputError
from gaitbench.losses import PairContrastive, SimCLR, SupCon
from gaitbench.methods.base import OF_THE_RUN, GaitMethod
from gaitbench.schedules import CyclicPhases, Phase
from gaitbench.skeleton import OPENPOSE18

NECK = OPENPOSE18.joints.index("neck")
SHOULDERS = tuple(OPENPOSE18.joints.index(f"{side}_shoulder") for side in ("left", "right"))
HIPS = tuple(OPENPOSE18.joints.index(f"{side}_hip") for side in ("left", "right"))

LEAST = 0.25
"""Least share of the trunk's height in a walk's mean, and of the shoulders' width in the trunk."""


class GaitFormer(GaitMethod):
    """GaitFormer (Cosma and Radoi, Sensors 2022, doi 10.3390/s22186803), trained by contrast.

    A walk's frames go through a transformer to a unit vector, the representation, which is compared
    by L1 distance (protocol ``casia_b.pooled``). The loss sees a projection of it, for two windows
    of each sequence that are cut and varied independently: give ``data.train_windows`` 2, and
    ``trainer.gradient_clip_val`` 1.5 as published. Published for CASIA-B after a training on other
    people alone (DenseGait): NM 92.5, by that protocol, which is easier than the field's.

    As published: network and its initialisation, losses, optimiser, cyclic rate. The head of the
    attributes is there so that published weights fit; nothing trains it here. Different: windows
    are those of every method here, cut at random in training and from the middle in evaluation,
    and a short walk is padded by reflection. The authors' program repeats a short walk's own head
    and tail, slows down and speeds up training windows by repeating and leaving out frames, and
    means to mirror them but scales the nose; none of this is done here.

    Args:
        skeleton: layout of the poses, openpose18; given by the dataset.
        num_subjects: training subjects; given by the dataset.
        period: frames of a window, the same as ``data.frames``.
        width: size D of tokens and embedding.
        depth: layers: 4, 8 or 12 in the published sizes sm, md and xl.
        heads: of the attention.
        projection_dim: of the vectors that the loss sees.
        attributes: categories whose attributes the third output tells, in its order; see
            :data:`gaitbench.densegait.ATTRIBUTES`.
        dropout: everywhere in the transformer.
        readout: ``first`` token, as the published program, or ``mean`` over all, as the published
            figure.
        normalize: what is done to poses in pixels: ``pelvis`` puts the middle of the hips at the
            origin and scales each frame, see :func:`pelvis_normalized`; ``none`` leaves them.
        pixels: whether poses are in pixels, y down, and so to be normalised and turned upwards; as
            the units of the data say if not given. It is never stored in a checkpoint, so that a
            network trained on one kind can be tested on the other.
        contrast: ``supcon``, or ``simclr``, which tells every sequence from every other.
        temperature: of the loss.
        base_temperature: of :class:`gaitbench.losses.SupCon`.
        epsilon: of that loss; 0 gives the equation's.
        phases: of the cyclic learning rate, see :class:`gaitbench.schedules.Phase`. If none are
            named there is one cycle with its peak at ``learning_rate``.
        learning_rate: peak of the one cycle; phases have their own rates.
        weight_decay: decoupled for AdamW, L2 for Adam.
        optimizer: ``adamw`` or ``adam``.
        tta: also compare the walk reversed in time (2 D values); not published.
        settings: see :class:`GaitMethod`.

    Raises:
        InputError: if the poses have another layout, or a setting is impossible.
    """

    def __init__(
        self,
        skeleton: str = OPENPOSE18.name,
        num_subjects: int = 0,
        period: int = 48,
        width: int = 256,
        depth: int = 4,
        heads: int = 8,
        projection_dim: int = 128,
        attributes: Sequence[str] = tuple(ATTRIBUTES),
        dropout: float = 0.1,
        readout: Literal["first", "mean"] = "first",
        normalize: Literal["none", "pelvis"] = "pelvis",
        pixels: bool | None = None,
        contrast: Literal["supcon", "simclr"] = "supcon",
        temperature: float = 0.001,
        base_temperature: float = 0.07,
        epsilon: float = 1e-6,
        phases: Sequence[Phase] = (),
        learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        optimizer: Literal["adamw", "adam"] = "adamw",
        tta: bool = False,
        **settings: Any,
    ) -> None:
        if skeleton != OPENPOSE18.name:
            raise InputError(
                f"GaitFormer takes the 18 joints of {OPENPOSE18.name}, the data are {skeleton}; "
                f"give data.skeleton {OPENPOSE18.name}"
            )
        super().__init__(
            skeleton=skeleton,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
            tta=tta,
            **settings,
        )
        self.save_hyperparameters(ignore=[*OF_THE_RUN, "pixels"])
        self.period = period
        self.normalize = normalize
        self.pixels = pixels
        self.in_pixels = pixels is not False
        self.contrast = contrast
        self.phases = list(phases)
        self.backbone = PoseTransformer(
            period,
            OPENPOSE18.num_joints * 3,
            width,
            depth,
            heads,
            projection_dim,
            len(attribute_names(attributes)),
            dropout,
            readout,
        )
        self.backbone.out_appearance.requires_grad_(False)
        self.loss = (
            SimCLR(temperature)
            if contrast == "simclr"
            else SupCon(temperature, base_temperature, epsilon)
        )
        self.validation_loss = PairContrastive()
        self.test_time_views = (lambda frames: frames.flip(1),)

    def setup(self, stage: str) -> None:
        """See :class:`GaitMethod`; look at the data's units and at their windows a sequence.

        Raises:
            InputError: if SimCLR gets more or fewer than two, or if no initial weight fits.
        """
        data = getattr(self._trainer, "datamodule", None)
        if self.pixels is None and data is not None:
            self.in_pixels = data.units.startswith("pixels")
        windows = getattr(data, "train_windows", 2)
        if stage == "fit" and self.contrast == "simclr" and windows != 2:
            raise InputError(
                f"model.contrast simclr compares two windows of each sequence, data.train_windows "
                f"is {windows}; give 2"
            )
        super().setup(stage)

    def network_input(self, frames: Tensor) -> Tensor:
        """Poses (B, T, 18, 3) of the dataset as the network sees them.

        Raises:
            InputError: if T is not the period.
        """
        if frames.shape[1] != self.period:
            raise InputError(
                f"this GaitFormer takes windows of {self.period} frames, found {frames.shape[1]}; "
                f"give data.frames {self.period} or train one with another model.period"
            )
        if not self.in_pixels:
            return frames
        if self.normalize == "pelvis":
            frames = pelvis_normalized(frames)
        x, y, confidence = frames.unbind(-1)
        return torch.stack((x, -y, confidence), dim=-1)

    def forward(self, frames: Tensor) -> Tensor:
        """Poses (B, T, 18, 3) to representations (B, D) of unit length."""
        representation: Tensor = self.backbone(self.network_input(frames)).representation
        return representation

    def training_step(self, batch: GaitBatch, batch_idx: int) -> Tensor:
        """Loss of a batch's projections."""
        torch.manual_seed(batch.seed)  # dropout too, so that a run resumes to the same weights
        projection = self.backbone(self.network_input(batch.frames)).projection
        loss: Tensor = self.loss(projection, batch.subject)
        size = len(batch.subject)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=size)
        return loss

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The cyclic phases, or one cycle where none are named.

        Raises:
            InputError: if they do not follow each other.
        """
        if not self.phases:
            return super().schedule(optimizer)
        self.trainer.fit_loop.setup_data()  # has the loader made, whose batches are counted
        batches = int(self.trainer.num_training_batches)
        steps = -(-batches // self.trainer.accumulate_grad_batches)
        return CyclicPhases(optimizer, self.phases, steps)


def pelvis_normalized(pose: Tensor) -> Tensor:
    """Poses relative to the pelvis, in units of the body, frame by frame.

    The middle of the hips is the origin. x is measured in widths of the shoulders as they are seen,
    y in heights from pelvis to neck. From the side shoulders have next to no width, and a lost
    joint may leave no height: a frame's height counts as a quarter of the walk's mean height at
    least, and its width as a quarter of its height. Empty joints are taken for joints: fill them
    first (``data.fill_empty all``).

    Args:
        pose: (..., T, 18, 3): x, y in any unit, confidence.

    Returns:
        A new tensor of the same shape; confidence is left alone.

    Source: Cosma and Radoi 2022, doi 10.3390/s22186803, who publish no program of it; the two
    least sizes are ours.
    """
    position = pose[..., :2]
    pelvis = (position[..., HIPS[0], :] + position[..., HIPS[1], :]) / 2  # (..., T, 2)
    width = (position[..., SHOULDERS[0], 0] - position[..., SHOULDERS[1], 0]).abs()
    height = (position[..., NECK, 1] - pelvis[..., 1]).abs()
    tiny = torch.finfo(pose.dtype).eps
    height = torch.maximum(height, LEAST * height.mean(dim=-1, keepdim=True)).clamp(min=tiny)
    width = torch.maximum(width, LEAST * height)
    unit = torch.stack((width, height), dim=-1)[..., None, :]
    return torch.cat(((position - pelvis[..., None, :]) / unit, pose[..., 2:]), dim=-1)
