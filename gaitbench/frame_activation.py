"""Where a network of pictures looks: which pixels of which frames make the embedding.

A map is a tensor (B, T', H', W'), T' frames of H' x W' cells, each in the middle of what its
convolutions see. :class:`FrameMaps` says where they are on the window; T' is 1 where a network has
no order of frames left.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gaitbench.backbones.gaitcopy import StackNetwork, VolumeNetwork
from gaitbench.backbones.gaitset import GaitSet

LAYERS = {VolumeNetwork: "conv2", StackNetwork: "conv2", GaitSet: "set6"}
"""Network -> the convolution whose map is drawn: the last whose cells are a few pixels apart."""

BEFORE = {
    VolumeNetwork: ("conv1", "conv2"),
    StackNetwork: ("conv1", "pool", "conv2"),
    GaitSet: ("set1", "set2", "pool", "set3", "set4", "pool", "set5", "set6"),
}
"""Network -> the steps up to that map, in their order; each pool halves the picture."""


class Axis(NamedTuple):
    """Where the cells of a map are along one axis.

    Args:
        first: place of the first cell's middle, in frames or pixels.
        step: from one cell to the next.
    """

    first: float
    step: float

    def weights(self, cells: int, size: int) -> Tensor:
        """Weights (size, cells) that make values at all places from those of the cells.

        What lies between two is a mixture of them; beyond the outermost its value holds.
        """
        place = (torch.arange(size, dtype=torch.float64) - self.first) / self.step
        place = place.clamp(0, cells - 1)
        return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp(min=0).float()


class FrameMaps(NamedTuple):
    """What each cell adds to the embedding, and where the cells are.

    Args:
        values: (B, T', H', W').
        axes: of frames, rows and columns; None for frames where the network sees all as one.
    """

    values: Tensor
    axes: tuple[Axis | None, Axis, Axis]

    def on_frames(self, frames: int, height: int, width: int) -> Tensor:
        """The same for every pixel, (B, T, H, W)."""
        values = self.values
        for number, (axis, size) in enumerate(
            zip(self.axes, (frames, height, width), strict=True), start=1
        ):
            if axis is None:
                shape = [*values.shape]
                shape[number] = size
                values = values.expand(shape)
                continue
            weights = axis.weights(values.shape[number], size).to(values)
            values = torch.movedim(torch.movedim(values, number, -1) @ weights.mT, -1, number)
        return values


@runtime_checkable
class Watching(Protocol):
    """A method on pictures that can say where it looks."""

    def explain_frames(self, frames: Tensor) -> Tensor:
        """Values (B, T, H, W) of windows (B, T, H, W, C)."""


def frame_activation(backbone: nn.Module, frames: Tensor) -> FrameMaps:
    """How much each place of a map adds to the code, along the direction that the code has.

    The score of a window is the product of its code and its signature, the code at unit length,
    which is held. Each cell's value is the sum over channels of what is there times the gradient
    of the score by it. The convolutions and their (leaky) rectifiers behind the map have no
    curvature: without their biases the values sum up to the score, the length of the code; of
    GaitSet, to what does not come through its second branch.

    Args:
        backbone: of one of :data:`LAYERS`, in evaluation mode.
        frames: windows (B, T, H, W, C).

    Returns:
        Values that may be below 0.

    Source: Draelos and Carin 2020, arXiv 2011.08891, who leave out the mean over places that
    Grad-CAM takes of gradients (Selvaraju et al. 2017, ICCV, arXiv 1610.02391), so that the map is
    exact; the score of embeddings in place of classes is ours.

    Raises:
        ValueError: if the network is in training.
    """
    if backbone.training:
        raise ValueError("expected a network in evaluation mode, found one in training")
    (kind,) = (kind for kind in LAYERS if isinstance(backbone, kind))
    kept: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor], found: Tensor) -> Tensor:
        kept.append(found)
        return found.clone()  # what follows may write into it

    layer = backbone.get_submodule(LAYERS[kind])
    hook = layer.register_forward_hook(keep)
    try:
        # predictions are made without any of what a gradient needs
        with torch.inference_mode(False), torch.enable_grad():
            code = backbone(frames.clone().requires_grad_())
            score = (code * torch.nn.functional.normalize(code.detach())).sum()
            (slope,) = torch.autograd.grad(score, kept)
    finally:
        hook.remove()
    values = (kept[0].detach() * slope).sum(1)
    batch = len(frames)
    if kind is not VolumeNetwork:
        values = values.view(batch, -1, *values.shape[1:])
    return FrameMaps(values, _axes(backbone, kind))


def _axes(backbone: nn.Module, kind: type[nn.Module]) -> tuple[Axis | None, Axis, Axis]:
    """Where a network's cells are, from kernels, strides and padding of the layers before."""
    axes = [Axis(0.0, 1.0)] * 3
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    for name in BEFORE[kind]:
        if name == "pool":
            kernel, stride, padding = (1, 2, 2), (1, 2, 2), (0, 0, 0)
        else:
            layer = backbone.get_submodule(name)
            assert isinstance(layer, nn.Conv2d | nn.Conv3d)
            # without an axis of frames, a frame is seen by itself
            kernel, stride, padding = (
                (empty,) * (3 - len(sizes)) + tuple(map(int, sizes))
                for empty, sizes in (
                    (1, layer.kernel_size),
                    (1, layer.stride),
                    (0, layer.padding),
                )
            )
        axes = [
            Axis(axis.first + ((size - 1) / 2 - beyond) * axis.step, axis.step * step)
            for axis, size, step, beyond in zip(axes, kernel, stride, padding, strict=True)
        ]
    frames = {VolumeNetwork: axes[0], GaitSet: Axis(0.0, 1.0)}.get(kind)
    return frames, axes[1], axes[2]
