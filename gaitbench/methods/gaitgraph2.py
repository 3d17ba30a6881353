"""GaitGraph2: three higher-order streams of a skeleton through a residual graph network."""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.geometry import joint_velocity_bone_streams, swap_sides
from gaitbench.losses import SupervisedContrastive
from gaitbench.methods.base import OF_THE_RUN
from gaitbench.methods.graph import SPATIAL, SPATIAL_FORM, GraphMethod
from gaitbench.skeleton import COCO17, Skeleton, get_skeleton

# how each input form lays joints, velocities and bones out: (branches, channels)
INPUT_FORMS = {
    "branches": (3, 5),
    "concatenated": (1, 15),
    "raw": (1, 3),
    SPATIAL: SPATIAL_FORM,
}


class GaitGraph2(GraphMethod):
    """GaitGraph2 (Teepe et al., CVPR Workshops 2022, arXiv 2204.07855).

    Joints, velocities and bones of a walk go through a ResGCN whose embedding, not normalised, is
    trained with the supervised contrastive loss. Published on CASIA-B (cross view): NM 82.0, BG
    73.2, CL 63.6.

    As published: streams (with their quirks, see
    :func:`gaitbench.geometry.joint_velocity_bone_streams`), network and its initialisation, loss,
    one-cycle schedule, test-time augmentation. Different: ``concatenated`` works (the authors' code
    stops there, its released weights are ``branches``), and a batch of one sequence does too.

    Args:
        skeleton: layout of the poses; given by the dataset.
        num_subjects: training subjects; given by the dataset.
        backbone: ``[attention-]resgcn-<structure>[-<reduction>]``, or ``st-gcn`` for one branch.
        streams: ``branches`` gives each stream its own input branch, ``concatenated`` puts their 15
            channels into one, ``raw`` takes the three values of a joint alone; ``spatial`` gives
            each stream of 3D poses a branch, see :func:`gaitbench.geometry.spatial_streams`.
        nose_bone: where the bone to the nose of coco17 begins: at the nose itself, so that there is
            none (``none``, as published), or at the ``left_shoulder`` (OpenGait, FastPoseGait).
        embedding_dim: size D of an embedding.
        temperature: of the supervised contrastive loss.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: decoupled for AdamW, L2 for Adam.
        optimizer: ``adamw`` (CASIA-B) or ``adam`` (OUMVLP-Pose).
        tta: compare the walk, its reversal in time and its swap of sides together (3 D values).
        settings: see :class:`GraphMethod`.
    """

    def __init__(
        self,
        skeleton: str = "coco17",
        num_subjects: int = 0,
        backbone: str = "resgcn-n21-r8",
        streams: Literal["branches", "concatenated", "raw", "spatial"] = "branches",
        nose_bone: Literal["none", "left_shoulder"] = "none",
        embedding_dim: int = 128,
        temperature: float = 0.01,
        learning_rate: float = 0.005,
        weight_decay: float = 1e-5,
        optimizer: Literal["adamw", "adam"] = "adamw",
        tta: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(
            layout=_layout(skeleton, nose_bone),
            backbone=backbone,
            streams=streams,
            input_form=INPUT_FORMS[streams],
            embedding_dim=embedding_dim,
            contrastive=SupervisedContrastive(temperature),
            skeleton=skeleton,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
            tta=tta,
            **settings,
        )
        self.save_hyperparameters(ignore=OF_THE_RUN)
        self.test_time_views = (
            lambda frames: frames.flip(1),
            partial(swap_sides, skeleton=self.layout),
        )

    def plane_streams(self, frames: Tensor) -> Tensor:
        """Joints, velocities and bones, (B, T, V, branches, channels)."""
        streams = joint_velocity_bone_streams(frames, self.layout)
        if self.streams == "concatenated":
            return streams.flatten(-2)[..., None, :]
        return streams


def _layout(skeleton: str, nose_bone: str) -> Skeleton:
    layout = get_skeleton(skeleton)
    if nose_bone == "none":
        return layout
    if layout != COCO17:
        raise InputError(
            f"model.nose_bone is {nose_bone}, which is defined for {COCO17.name}, the data are "
            f"{skeleton}; leave it at none or give data.skeleton {COCO17.name}"
        )
    return replace(layout, parents=(layout.joints.index(nose_bone), *layout.parents[1:]))
