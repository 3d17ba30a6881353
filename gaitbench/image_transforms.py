"""Random changes of a batch of windows of frames, on the device that holds it.

Windows are (B, T, H, W, C): gray frames have one channel, and flow has two, the displacement to the
next frame in pixels of the video, along x and y.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from gaitbench.batch import Share, drawn
from gaitbench.errors import InputError


@cache
def _on_device(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers as a tensor, copied to each device once: a copy in every step would wait for it."""
    return torch.tensor(values, dtype=torch.float64, device=device)


def gray_values(stored: Tensor) -> Tensor:
    """Gray frames of bytes as values from -0.5 to 0.5."""
    return stored.float() / 255 - 0.5


CONTRAST = 4
"""Times that what moves differs more: clothes before a wall then span what gray values do."""


def moving_parts(gray: Tensor) -> Tensor:
    """Windows of gray values (B, T, H, W, 1) without what stands still: each pixel less its mean.

    Ours, not published.
    """
    return CONTRAST * (gray - gray.mean(dim=1, keepdim=True))


def flow_values(stored: Tensor, scale: float = 100) -> Tensor:
    """Flow of whole numbers, ``scale`` of them a pixel, in pixels."""
    return stored.float() / scale


def silhouette_values(stored: Tensor, columns: int = 44) -> Tensor:
    """Silhouettes of bytes (B, T, H, W, 1) as values from 0 to 1, of their middle columns."""
    margin = (stored.shape[3] - columns) // 2
    return stored[:, :, :, margin : margin + columns].float() / 255


def without_extremes(flow: Tensor, largest: Tensor, smallest: Tensor) -> Tensor:
    """Flow with 0 in place of values whose size is above the largest or below the smallest.

    Args:
        flow: (B, T, H, W, 2), in pixels.
        largest: of each window, (B,).
        smallest: of each window, (B,).
    """
    size = flow.abs()
    limits = [limit.view(-1, 1, 1, 1, 1).to(flow) for limit in (largest, smallest)]
    return flow.masked_fill((size > limits[0]) | (size < limits[1]), 0)


def mirrored(frames: Tensor) -> Tensor:
    """Windows (B, T, H, W, C) with left and right swapped; flow along x is negated."""
    frames = frames.flip(3)
    if frames.shape[-1] == 2:
        frames[..., 0].neg_()
    return frames


class Warp(NamedTuple):
    """Where each row and column of a changed window comes from.

    Rows and columns are weighted sums of those of the window, by the same weights in all of its
    frames, so that the gray frames and the flow of a window can be changed alike.

    Args:
        rows: weights, (B, H, H).
        columns: weights, (B, W, W).
        mirrored: whether left and right have changed places, (B,).
        told: whether a network that copies signatures is told so, and copies that of the mirrored
            window, (B,).
    """

    rows: Tensor
    columns: Tensor
    mirrored: Tensor
    told: Tensor

    def __call__(self, frames: Tensor) -> Tensor:
        """Change windows (B, T, H, W, C); in mirrored ones flow along x is negated."""
        channels = frames.shape[-1]
        sign = self.columns.new_ones(len(frames), channels)
        if channels == 2:
            sign[:, 0] = torch.where(self.mirrored, -1.0, 1.0)
        unit = torch.eye(channels, dtype=sign.dtype, device=sign.device)
        # both channels of all columns in one product, (B, W C, W C)
        columns = torch.einsum("bvw,bc,cd->bvcwd", self.columns, sign, unit)
        columns = columns.flatten(3).flatten(1, 2).to(frames)
        x = self.rows[:, None].to(frames) @ frames.flatten(3)  # (B, T, H, W C)
        x = x.flatten(1, 2) @ columns.mT
        return x.view_as(frames)


def sampling_weights(size: int, zoom: Tensor, shift: Tensor, off_centre: float) -> Tensor:
    """Weights (B, size, size) that draw pixel p from c + zoom (p - c) + shift.

    What lies between two pixels is a mixture of them, and what lies outside is the outermost pixel.

    Args:
        size: pixels of the axis.
        zoom: (B,); above 1 makes what is seen smaller.
        shift: (B,), in pixels.
        off_centre: how far c is from the middle of the axis.
    """
    pixel = torch.arange(size, device=zoom.device, dtype=torch.float64)
    centre = (size - 1) / 2 + off_centre
    source = centre + zoom[:, None] * (pixel - centre) + shift[:, None]
    source = source.clamp(0, size - 1)
    return (1 - (source[..., None] - pixel).abs()).clamp(min=0)


TONES = 5
"""Points of a curve of tones: black, white and three grays between."""


@dataclass(frozen=True)
class FrameAugmentation:
    """What is varied in a training window of gray frames or flow.

    Args:
        warp: probability that a window is shifted and zoomed.
        shifts: in pixels, one of which is drawn for rows and another for columns.
        zoom: largest relative change of each axis' size.
        off_centre: how many pixels below and right of the middle the zoom's centre lies; 1 in the
            version of Keras that the authors used.
        mirror: probability that a warped window is mirrored.
        mirror_others: mirror all windows that are not warped without telling, as the authors'
            student does: it then copies signatures of windows that it does not see.
        clip: probability that a window of flow loses its extreme values.
        clip_above: from which size, in pixels.
        clip_below: up to which size, in pixels.
        clip_spread: standard deviations by which these two vary; 0.1 and 0.03 for the student.
        tone: probability that a window of gray frames is shown in other tones, so that dark clothes
            may be light ones: a curve through grays drawn at random. Ours, not published.

    Source: Delgado-Escano et al. 2021, IEEE Access 9, document 9646881, authors' program.
    """

    warp: float = 0.75
    shifts: tuple[float, ...] = (-5, -3, 0, 3, 5)
    zoom: float = 0.04
    off_centre: float = 0.0
    mirror: float = 0.5
    mirror_others: bool = False
    clip: float = 0.5
    clip_above: float = 23.0
    clip_below: float = 0.5
    clip_spread: tuple[float, float] = (0.0, 0.0)
    tone: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("warp", "mirror", "clip", "tone"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"augmentation.{name} is {getattr(self, name)}; give a probability, 0 to 1"
                )
        if not self.shifts:
            raise InputError("augmentation.shifts is empty; give [0] for none")
        if not 0 <= self.zoom < 1:
            raise InputError(f"augmentation.zoom is {self.zoom}; give 0 or more, below 1")

    def draw(
        self, batch: int, height: int, width: int, generator: Generator, share: Share | None = None
    ) -> Warp:
        """Draw how each of B windows is changed in space.

        Args:
            batch: B.
            height: H of the frames.
            width: W of the frames.
            generator: of the device that holds the windows.
            share: which part of a global batch these windows are; None for all.
        """
        how: Any = {"generator": generator, "device": generator.device}
        uniform = drawn(torch.rand, (6, batch), share, dim=1, **how)
        warped = uniform[0] < self.warp
        told = warped & (uniform[1] < self.mirror)
        mirrored = told | ~warped if self.mirror_others else told
        shifts = _on_device(self.shifts, uniform.device)
        weights = []
        for size, draws in ((height, uniform[2:4]), (width, uniform[4:])):
            shift = shifts[(draws[0] * len(shifts)).long().clamp(max=len(shifts) - 1)]
            zoom = 1 + self.zoom * (2 * draws[1].double() - 1)
            shift, zoom = torch.where(warped, shift, 0), torch.where(warped, zoom, 1)
            weights.append(sampling_weights(size, zoom, shift, self.off_centre))
        rows, columns = weights
        columns = torch.where(mirrored[:, None, None], columns.flip(1), columns)
        return Warp(rows, columns, mirrored, told)

    def clipped(self, flow: Tensor, generator: Generator, share: Share | None = None) -> Tensor:
        """Take the extreme values from some windows of flow (B, T, H, W, 2), in pixels.

        Limits are whole hundredths of a pixel, the unit in which the authors store flow.
        """
        how: Any = {"generator": generator, "device": flow.device}
        chosen = drawn(torch.rand, (len(flow),), share, **how) < self.clip
        noise = drawn(torch.randn, (2, len(flow)), share, dim=1, **how)
        limits = []
        for mean, spread, draws in zip(
            (self.clip_above, self.clip_below), self.clip_spread, noise, strict=True
        ):
            limits.append((100 * (mean + spread * draws)).trunc() / 100)
        above = torch.where(chosen, limits[0], torch.inf)
        return without_extremes(flow, above, torch.where(chosen, limits[1], 0))

    def toned(self, gray: Tensor, generator: Generator, share: Share | None = None) -> Tensor:
        """Show some windows of gray values (B, T, H, W, 1), -0.5 to 0.5, in other tones.

        All pixels of a window follow one curve, straight from each of its points to the next.
        """
        how: Any = {"generator": generator, "device": gray.device}
        chosen = drawn(torch.rand, (len(gray), 1), share, **how) < self.tone
        others = drawn(torch.rand, (len(gray), TONES), share, **how) - 0.5
        as_they_are = torch.linspace(-0.5, 0.5, TONES, device=gray.device)
        tones = torch.where(chosen, others, as_they_are)
        place = (gray.flatten(1) + 0.5).clamp(0, 1) * (TONES - 1)
        below = place.long().clamp(max=TONES - 2)
        low, high = tones.gather(1, below), tones.gather(1, below + 1)
        return torch.lerp(low, high, place - below).view_as(gray)

    def __call__(self, frames: Tensor, generator: Generator, share: Share | None = None) -> Tensor:
        """Vary each window of a batch: the values before the place, by what they are.

        Args:
            frames: (B, T, H, W, C), gray values or pixels of flow. Not written to.
            generator: of the device that holds the frames.
            share: which part of a global batch these windows are; None for all.
        """
        if frames.shape[-1] == 2 and self.clip:
            frames = self.clipped(frames, generator, share)
        if frames.shape[-1] == 1 and self.tone:
            frames = self.toned(frames, generator, share)
        batch, _, height, width, _ = frames.shape
        return self.draw(batch, height, width, generator, share)(frames)
