"""GaitSet: a walk as a set of frames, in which their order tells nothing.

Source: Chao et al. 2019, arXiv 1811.06186; the variant of gray and flow frames is that of
Delgado-Escano et al. 2021, IEEE Access 9, document 9646881. Layers have the names of the latter's
Keras model.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.errors import InputError
from gaitbench.precision import without_autocast

BINS = (1, 2, 4, 8, 16)
"""Into how many strips of rows a map is cut."""

PARTS = 2 * sum(BINS)
"""Strips of both maps."""


class GaitSet(nn.Module):
    """Convolutions of each frame, the largest value over all frames, and strips of the map.

    The largest value over frames is taken at three depths; of the first two a second branch makes a
    map of its own. Both maps are cut into 1, 2, 4, 8 and 16 strips of rows, and each of these 62
    parts, the mean plus the largest value of its positions, has a matrix of its own.

    A frame that is repeated changes nothing: walks of different lengths fit into one batch if the
    shorter ones begin again.

    Args:
        channels: C.
        widths: filters of the three depths; doubled as published for OU-MVLP.
        part_dim: values of a part.
        padding: of the first convolution: 2 keeps the size of a frame of 64 rows, 4 makes 64 of 60.
        slope: of the leaky rectifier.
        order: of the parts: ``gaitset`` has both maps' strips next to each other and begins with
            the whole; ``opengait``, that of OpenGait's checkpoints, tells the maps one after the
            other and begins with 16 strips.
        start: the limits of the parts' matrices as ``torch`` or as ``keras`` works them out.

    The defaults are those of Chao et al. for silhouettes of 64 x 44; GaitCopy's are
    ``part_dim=128, padding=4, slope=0.3, start="keras"``.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (32, 64, 128),
        part_dim: int = 256,
        padding: int = 2,
        slope: float = 0.01,
        order: Literal["gaitset", "opengait"] = "gaitset",
        start: Literal["torch", "keras"] = "torch",
    ) -> None:
        if slope <= 0:
            raise InputError(f"slope is {slope}; give more than 0")
        super().__init__()
        self.slope = slope
        self.order = order
        low, middle, high = widths
        self.set1 = nn.Conv2d(channels, low, 5, padding=padding, bias=False)
        self.set2 = _convolution(low, low)
        self.set3 = _convolution(low, middle)
        self.set4 = _convolution(middle, middle)
        self.set5 = _convolution(middle, high)
        self.set6 = _convolution(high, high)
        self.gl1 = _convolution(low, middle)
        self.gl2 = _convolution(middle, middle)
        self.gl3 = _convolution(middle, high)
        self.gl4 = _convolution(high, high)
        self.fc_bin = nn.Parameter(torch.empty(PARTS, high, part_dim))
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight)
        if start == "keras":
            # the first axis counts as positions of a kernel
            limit = (6 / (PARTS * (high + part_dim))) ** 0.5
            nn.init.uniform_(self.fc_bin, -limit, limit)

    def forward(self, frames: Tensor) -> Tensor:
        """Codes (B, 62 times the values of a part), part by part, of frames (B, T, H, W, C).

        Raises:
            InputError: if the map's rows cannot be cut into 16 strips.
        """
        x = frames.flatten(0, 1).permute(0, 3, 1, 2)  # memory stays as it is: channels last
        sets = frames.shape[:2]
        x = self._rise(self.set1(x))
        # Rising functions and largest values change places: the fewer values are worked on.
        x = self._rise(F.max_pool2d(self.set2(x), 2))
        first = _largest(x, sets)
        x = self._rise(self.set3(x))
        x = self._rise(F.max_pool2d(self.set4(x), 2))
        second = _largest(x, sets)
        x = self._rise(self.set5(x))
        own = self._rise(_largest(self.set6(x), sets))

        y = self._rise(self.gl1(first))
        y = self._rise(F.max_pool2d(self.gl2(y), 2)) + second
        y = self._rise(self.gl3(y))
        y = self._rise(self.gl4(y)) + own

        parts = self._parts(torch.cat((own, y)))
        with without_autocast(parts):
            parts = parts.transpose(0, 1).to(self.fc_bin.dtype)
            # (62, B, high) by (62, high, part_dim)
            return (parts @ self.fc_bin).transpose(0, 1).flatten(1)

    def _rise(self, x: Tensor) -> Tensor:
        return F.leaky_relu_(x, self.slope)

    def _parts(self, maps: Tensor) -> Tensor:
        """Maps of both branches one after the other, (2 B, D, H, W), to parts (B, 62, D)."""
        rows = maps.shape[2]
        if rows % BINS[-1]:
            raise InputError(
                f"GaitSet cuts {rows} rows of its map into {BINS[-1]} strips; give frames of 64 "
                "rows, or of 60 with a padding of 4"
            )
        strips = []
        for count in BINS:
            strip = maps.view(*maps.shape[:2], count, -1)
            strips.append((strip.mean(3) + strip.amax(3)).transpose(1, 2))
        if self.order == "opengait":
            return torch.cat(torch.cat(strips[::-1], 1).chunk(2), 1)
        return torch.cat([half for strip in strips for half in strip.chunk(2)], 1)


def _convolution(wide_in: int, wide_out: int) -> nn.Conv2d:
    return nn.Conv2d(wide_in, wide_out, 3, padding=1, bias=False)


def _largest(x: Tensor, sets: tuple[int, ...]) -> Tensor:
    """Maps of all frames (B T, D, H, W) to their largest values over the frames of each set."""
    return x.view(*sets, *x.shape[1:]).max(1).values
