"""GaitGraph: a skeleton through a residual graph network, trained on two views of each walk."""

from dataclasses import replace
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.geometry import six_channel_streams
from gaitbench.losses import TwoViewContrastive
from gaitbench.methods.base import OF_THE_RUN
from gaitbench.methods.graph import SPATIAL, SPATIAL_FORM, GraphMethod
from gaitbench.precision import precise
from gaitbench.skeleton import COCO17, get_skeleton

# branches and channels of each input form
INPUT_FORMS = {"raw": (1, 3), "branches": (3, 6), SPATIAL: SPATIAL_FORM}

# the nose hangs on a shoulder, positions are relative to the left eye, and head and torso are one
LAYOUT = replace(
    COCO17,
    parents=(5, *COCO17.parents[1:]),
    center=1,
    parts=(*COCO17.parts[:4], (5, 6, 11, 12, *COCO17.parts[4])),
)


class GaitGraph(GraphMethod):
    """GaitGraph (Teepe et al., ICIP 2021, arXiv 2101.11228).

    A walk's poses go through a ResGCN to unit vectors, trained with the supervised contrastive loss
    on two windows of each sequence that are cut and varied independently: give
    ``data.train_windows`` 2. Published on CASIA-B (cross view): NM 87.7, BG 74.8, CL 66.3, after a
    second training from the first one's weights (``initial_weights``).

    As published: network and its initialisation, both input forms, loss, one-cycle schedule, and
    the flip in evaluation, which turns over the branches. Different: the two windows are drawn
    independently (in the authors' code the second starts from the first one's mirror image).

    Args:
        skeleton: layout of the poses; given by the dataset. ``branches`` are defined for coco17
            only.
        num_subjects: training subjects; given by the dataset.
        backbone: ``[attention-]resgcn-<structure>[-<reduction>]``, or ``st-gcn`` for one branch.
        streams: ``raw`` takes the three values of a joint; ``branches`` gives joints, velocities
            and bones an input branch each, see :func:`gaitbench.geometry.six_channel_streams`, and
            so does ``spatial`` with 3D poses, see :func:`gaitbench.geometry.spatial_streams`.
        embedding_dim: size D of an embedding.
        temperature: of the contrastive loss.
        learning_rate: peak of the one-cycle schedule; the second training has 1e-5.
        weight_decay: decoupled for AdamW, L2 for Adam.
        optimizer: ``adam`` or ``adamw``.
        tta: compare the mean of a walk's embedding and that of its flip, (B, D).
        test_time_flip: ``branches``, as published, swaps joints and bones: a single branch stays
            what it is, and three are fed the wrong streams (but for ``spatial``, which was not
            published and stays what it is, too). ``time`` reverses the walk. It is a setting of the
            run and never stored in a checkpoint.
        settings: see :class:`GraphMethod`.

    Raises:
        InputError: if ``branches`` are asked of another layout than coco17.
    """

    def __init__(
        self,
        skeleton: str = "coco17",
        num_subjects: int = 0,
        backbone: str = "resgcn-n39-r8",
        streams: Literal["raw", "branches", "spatial"] = "raw",
        embedding_dim: int = 128,
        temperature: float = 0.01,
        learning_rate: float = 0.01,
        weight_decay: float = 1e-5,
        optimizer: Literal["adamw", "adam"] = "adam",
        tta: bool = True,
        test_time_flip: Literal["branches", "time"] = "branches",
        **settings: Any,
    ) -> None:
        if streams == "branches" and skeleton != LAYOUT.name:
            raise InputError(
                f"GaitGraph's streams branches are defined for {LAYOUT.name}, the data are "
                f"{skeleton}; give model.streams raw (or spatial, if they are 3D) or data.skeleton "
                f"{LAYOUT.name}"
            )
        super().__init__(
            layout=LAYOUT if skeleton == LAYOUT.name else get_skeleton(skeleton),
            backbone=backbone,
            streams=streams,
            input_form=INPUT_FORMS[streams],
            embedding_dim=embedding_dim,
            contrastive=TwoViewContrastive(temperature),
            skeleton=skeleton,
            num_subjects=num_subjects,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
            tta=tta,
            **settings,
        )
        self.save_hyperparameters(ignore=[*OF_THE_RUN, "test_time_flip"])
        self.test_time_flip = test_time_flip

    def plane_streams(self, frames: Tensor) -> Tensor:
        """Joints, velocities and bones, (B, T, V, 3, 6)."""
        return six_channel_streams(frames, self.layout)

    def forward(self, frames: Tensor) -> Tensor:
        """Poses (B, T, V, 3) to unit vectors (B, D)."""
        return self._unit_vectors(self.network_input(frames))

    def embed(self, frames: Tensor) -> Tensor:
        """Vectors that are compared, (B, D): of unit length, or with ``tta`` the mean of two."""
        streams = self.network_input(frames)
        embedding = self._unit_vectors(streams)
        if not self.tta:
            return embedding
        if self.test_time_flip == "time":
            flipped = self.network_input(frames.flip(1))
        elif self.streams == "branches":
            flipped = streams.flip(-2)
        else:
            return embedding  # nothing to turn over
        return (embedding + self._unit_vectors(flipped)) / 2

    def _unit_vectors(self, streams: Tensor) -> Tensor:
        """(B, T, V, S, C) to (B, D)."""
        return F.normalize(precise(self.backbone(streams)[0]))
