"""SPyNet, the flow network that GaitCopy's data were made with.

A. Ranjan and M. J. Black, "Optical flow estimation using a spatial pyramid network", CVPR 2017. Its
weights are published for research only, so none come with this program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitbench.checkpoints import read_published
from gaitbench.errors import InputError

LEVELS = 6
CHANNELS = (8, 32, 64, 32, 16, 2)
KERNEL = 7
COARSEST = 32  # pixels of the longer side below which a picture is not halved again
MEAN, STD = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)
"""Of blue, green and red, over ImageNet."""


class SPyNet(nn.Module):
    """Flow by a pyramid: each level refines what the coarser one found.

    A level sees the first picture, the second one moved back by the flow so far, and that flow.
    The first level is the coarsest; of small pictures the last levels are not needed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level() for _ in range(LEVELS))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Displacement of each pixel from the first picture to the second.

        Args:
            first: (B, 3, H, W), blue, green, red, from 0 to 1.
            second: likewise.

        Returns:
            (B, 2, H, W), x and y in pixels.
        """
        height, width = first.shape[-2:]
        # sides that can be halved five times; rounded up, so that nothing is lost
        size = [-(-side // COARSEST) * COARSEST for side in (height, width)]
        pyramids = [self._pyramid(picture, size) for picture in (first, second)]
        flow = first.new_zeros(len(first), 2, *(side // 2 for side in pyramids[0][-1].shape[-2:]))
        for level, before, after in zip(self.levels, *map(reversed, pyramids), strict=False):
            flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            missing = [there - here for there, here in zip(before.shape, flow.shape, strict=True)]
            flow = F.pad(flow, (0, missing[3], 0, missing[2]), mode="replicate")
            flow = flow + level(torch.cat([before, moved_back(after, flow), flow], dim=1))
        scale = flow.new_tensor([width / size[1], height / size[0]])[:, None, None]
        flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
        return flow * scale

    def _pyramid(self, picture: Tensor, size: list[int]) -> list[Tensor]:
        """The picture and its halves, quarters, ...; finest first."""
        picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)
        # the network takes red, green, blue
        levels = [((picture - self.mean) / self.std).flip(1)]
        while len(levels) < LEVELS and max(levels[-1].shape[-2:]) > COARSEST:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels


def moved_back(picture: Tensor, flow: Tensor) -> Tensor:
    """What a picture (B, C, H, W) shows at the places that a flow (B, 2, H, W) leads to.

    Beyond the border it shows the border.
    """
    height, width = picture.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    # as grid_sample counts with aligned corners: from -1, the first pixel's centre, to the last's
    places = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], dim=-1)
    return F.grid_sample(picture, places, padding_mode="border", align_corners=True)


def read_spynet(path: Path) -> SPyNet:
    """The network with published weights, whatever their file calls the layers.

    Args:
        path: a file of torch; in its names the last two numbers are level and layer.

    Raises:
        InputError: if it holds other tensors.
    """
    state = read_published(path)
    found = {}
    for name, value in state.items() if isinstance(state, Mapping) else ():
        numbers = re.findall("[0-9]+", str(name))
        if isinstance(value, Tensor) and len(numbers) >= 2:
            found[int(numbers[-2]), int(numbers[-1]), value.ndim == 1] = value
    network = SPyNet()
    wanted = dict(network.named_parameters())
    tensors = [found[key] for key in sorted(found)]
    if [value.shape for value in tensors] != [value.shape for value in wanted.values()]:
        raise InputError(
            f"{path} does not hold SPyNet's {LEVELS} levels of {len(CHANNELS) - 1} convolutions; "
            "name the published weights, such as network-sintel-final.pytorch"
        )
    network.load_state_dict(dict(zip(wanted, tensors, strict=True)), strict=False)
    return network.eval()


def _level() -> nn.Sequential:
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(CHANNELS):
        layers += [nn.Conv2d(wide, narrow, KERNEL, padding=KERNEL // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
