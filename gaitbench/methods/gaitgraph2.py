"""GaitGraph2: three higher-order streams of a 2D skeleton through a residual graph network."""

from functools import partial
from typing import Literal

from torch import Tensor

from gaitbench.backbones import ResGCN
from gaitbench.geometry import joint_velocity_bone_streams, swap_sides
from gaitbench.losses import PairContrastive, SupervisedContrastive
from gaitbench.methods.base import GaitMethod
from gaitbench.skeleton import get_skeleton

# how each input form lays joints, velocities and bones out: (branches, channels)
INPUT_FORMS = {"branches": (3, 5), "concatenated": (1, 15), "raw": (1, 3)}


class GaitGraph2(GaitMethod):
    """GaitGraph2 (Teepe et al., CVPR Workshops 2022, arXiv 2204.07855).

    Joints, velocities and bones of a walk go through a ResGCN whose embedding is trained with the
    supervised contrastive loss. Published on CASIA-B (cross view): NM 82.0, BG 73.2, CL 63.6.

    As published: streams (with their quirks, see
    :func:`gaitbench.geometry.joint_velocity_bone_streams`), network and its initialisation, loss,
    one-cycle schedule, test-time augmentation. Different: ``concatenated`` works (the authors' code
    stops there, its released weights are ``branches``), and a batch of one sequence does too.

    Args:
        skeleton: layout of the poses; given by the dataset.
        backbone: ``[attention-]resgcn-<structure>[-<reduction>]``.
        streams: ``branches`` gives each stream its own input branch, ``concatenated`` puts their 15
            channels into one, ``raw`` takes x, y and confidence alone.
        embedding_dim: size D of an embedding.
        temperature: of the supervised contrastive loss.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: decoupled for AdamW, L2 for Adam.
        optimizer: ``adamw`` (CASIA-B) or ``adam`` (OUMVLP-Pose).
        tta: compare the walk, its reversal in time and its swap of sides together (3 D values).
    """

    def __init__(
        self,
        skeleton: str = "coco17",
        backbone: str = "resgcn-n21-r8",
        streams: Literal["branches", "concatenated", "raw"] = "branches",
        embedding_dim: int = 128,
        temperature: float = 0.01,
        learning_rate: float = 0.005,
        weight_decay: float = 1e-5,
        optimizer: Literal["adamw", "adam"] = "adamw",
        tta: bool = True,
    ) -> None:
        super().__init__(skeleton, learning_rate, weight_decay, optimizer, tta)
        self.save_hyperparameters(ignore=["tta", "skeleton"])
        self.layout = get_skeleton(skeleton)
        self.streams = streams
        self.backbone = ResGCN(backbone, self.layout, *INPUT_FORMS[streams], embedding_dim)
        self.loss = SupervisedContrastive(temperature)
        self.validation_loss = PairContrastive()
        self.test_time_views = (
            lambda frames: frames.flip(1),
            partial(swap_sides, skeleton=self.layout),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Poses (B, T, V, 3) in pixels with confidence to embeddings (B, D), not normalised."""
        embedding: Tensor = self.backbone(self.network_input(frames))[0]
        return embedding

    def network_input(self, frames: Tensor) -> Tensor:
        """Poses (B, T, V, 3) to streams (B, T, V, branches, channels)."""
        if self.streams == "raw":
            return frames[..., None, :]
        streams = joint_velocity_bone_streams(frames, self.layout)
        if self.streams == "concatenated":
            return streams.flatten(-2)[..., None, :]
        return streams
