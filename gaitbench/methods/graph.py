"""What the methods on skeleton graphs share: streams, network, losses, feature map."""

from typing import Any

from torch import Tensor, nn

from gaitbench.activation import explain_graph
from gaitbench.backbones import graph_network
from gaitbench.errors import InputError
from gaitbench.geometry import spatial_streams
from gaitbench.losses import Classification, PairContrastive, Triplet, WeightedSum
from gaitbench.methods.base import GaitMethod
from gaitbench.skeleton import Skeleton

SPATIAL = "spatial"
"""The streams of 3D poses."""
SPATIAL_FORM = 3, 6
"""Their branches and channels."""


class GraphMethod(GaitMethod):
    """Poses become streams, streams go through a graph network, its output is the embedding.

    A subclass defines ``plane_streams``.

    Args:
        layout: joints, bones and parts as the method sees them.
        backbone: name of the network, see :func:`gaitbench.backbones.graph_network`.
        streams: name of the input form. ``raw`` takes the three values of a joint as they are;
            ``spatial`` takes joints, velocities and bones of 3D poses of any layout, see
            :func:`gaitbench.geometry.spatial_streams`; others are the method's own, of 2D poses.
        input_form: branches and channels of the streams.
        embedding_dim: size D of an embedding.
        contrastive: the method's own loss, of embeddings (B, D) and subjects (B,).
        contrastive_weight: what it counts.
        triplet_weight: what :class:`gaitbench.losses.Triplet` counts beside it.
        triplet_margin: of that loss.
        classifier_weight: what :class:`gaitbench.losses.Classification` counts beside it.
        settings: see :class:`GaitMethod`.
    """

    def __init__(
        self,
        layout: Skeleton,
        backbone: str,
        streams: str,
        input_form: tuple[int, int],
        embedding_dim: int,
        contrastive: nn.Module,
        contrastive_weight: float = 1.0,
        triplet_weight: float = 0.0,
        triplet_margin: float = 0.2,
        classifier_weight: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.layout = layout
        self.streams = streams
        self.backbone = graph_network(backbone, layout, *input_form, embedding_dim)
        losses = [(contrastive_weight, contrastive)]
        if triplet_weight:
            losses.append((triplet_weight, Triplet(triplet_margin)))
        if classifier_weight:
            losses.append((classifier_weight, Classification(embedding_dim, self.num_subjects)))
        self.loss = WeightedSum(losses)
        self.validation_loss = PairContrastive()

    def setup(self, stage: str) -> None:
        """See :class:`GaitMethod`; look at what the data are.

        Raises:
            InputError: if the streams are not meant for such poses, or no initial weight fits.
        """
        data: Any = getattr(self._trainer, "datamodule", None)
        if data is not None and self.streams != "raw":
            third = "a confidence", "z"
            meant, found = self.streams == SPATIAL, data.frame_kind == "skeleton3d"
            if meant != found:
                fitting = SPATIAL if found else "branches"
                raise InputError(
                    f"model.streams {self.streams} takes the third value of a joint for "
                    f"{third[meant]}, in {data.dataset} it is {third[found]}; give model.streams "
                    f"{fitting} or raw"
                )
        super().setup(stage)

    def network_input(self, frames: Tensor) -> Tensor:
        """Poses (B, T, V, 3) to streams (B, T, V, branches, channels)."""
        if self.streams == "raw":
            return frames[..., None, :]
        if self.streams == SPATIAL:
            return spatial_streams(frames, self.layout)
        return self.plane_streams(frames)

    def plane_streams(self, frames: Tensor) -> Tensor:
        """Poses (B, T, V, 3) in pixels with confidence to the method's own streams."""
        raise NotImplementedError

    def forward(self, frames: Tensor) -> Tensor:
        """Poses (B, T, V, 3) to embeddings (B, D)."""
        embedding: Tensor = self.backbone(self.network_input(frames))[0]
        return embedding

    def explain(self, frames: Tensor) -> dict[str, Tensor]:
        """Maps (B, T', V) of where the network looks, by name, of poses (B, T, V, 3)."""
        return explain_graph(self.backbone, self.network_input(frames))
