"""Random changes of a batch of poses, on the device that holds it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from gaitbench.batch import Share, drawn
from gaitbench.errors import InputError
from gaitbench.geometry import mirror_x, reflect, swap_sides, turned
from gaitbench.skeleton import Skeleton
from gaitbench.windows import PACES, Pace, swapped_blocks


def squeezed(pose: Tensor, factor: Tensor, axis: Literal["nose", "x"]) -> Tensor:
    """Poses multiplied by a factor in one place.

    Args:
        pose: (B, T, V, 3): x, y, confidence.
        factor: (B, 1, 1, 1); a negative one mirrors, and every joint keeps its name.
        axis: ``x`` multiplies the x of all joints, so the origin ought to be the pelvis;
            ``nose`` all three values of joint 0, as published.

    Returns:
        A new tensor of the same shape.

    Source: authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803, where an index that is
    meant for x hits the first joint.
    """
    place = (0, slice(None)) if axis == "nose" else (slice(None), 0)
    factors = pose.new_ones(len(pose), 1, *pose.shape[2:])
    factors[(..., *place)] = factor[..., 0]
    return pose * factors


def resampled(pose: Tensor, times: Tensor) -> Tensor:
    """Poses between frames, each value on the straight line between its two neighbours.

    Args:
        pose: (B, T, V, C).
        times: (B, S), in frames, 0 to T - 1.

    Returns:
        A new tensor (B, S, V, C).
    """
    length, shape = pose.shape[1], (*times.shape, *pose.shape[2:])
    frames = pose.reshape(len(pose) * length, -1)
    first = length * torch.arange(len(pose), device=pose.device)[:, None]
    before = times.long()
    after = (before + 1).clamp_(max=length - 1)
    share = (times - before).view(-1, 1)
    start, end = (frames.index_select(0, (first + step).view(-1)) for step in (before, after))
    return torch.lerp(start, end, share).view(shape)


@dataclass(frozen=True)
class PoseAugmentation:
    """What is varied in a training window of poses. 0 switches a line off.

    Time first (:class:`gaitbench.windows.Window` does it while the window is cut), then space (the
    batch does it on its device), in the order of the reference. What is in pixels here is in the
    poses' own units, so for 3D poses in metres.

    Args:
        reverse: probability that a window runs backwards.
        shuffle: frames in random order.
        last_window: whether a random window may be the very last one; the reference never draws it.
        pace: whether the walk's speed varies from a quarter to twice its own: ``reference`` repeats
            and leaves out frames, so that slow windows show only the first part of what they are
            cut from; ``interpolated`` shows poses between frames, from anywhere in it. Where a
            short walk begins again, its last pose runs into its first. This and the next three
            belong to GaitFormer, and to tiled windows.
        permutation: probability that two blocks of frames change places.
        permutation_size: frames of such a block.
        frame_dropout: probability that a frame is lost; the one before it is shown instead.
        squeeze: largest share by which the walk is made narrower.
        squeeze_flip: probability that it is mirrored too.
        squeeze_axis: what these two change: ``nose`` as published, or ``x`` about the origin; see
            :func:`squeezed`.
        swap_sides: probability that left and right joints change places, x unchanged.
        mirror: probability of a true mirror image instead (not in the reference).
        mirror_x: probability that x alone is mirrored, frame by frame (GaitGraph).
        noise: how the next two are drawn: ``uniform`` within a half-width, or ``gaussian`` with a
            standard deviation (GaitGraph).
        joint_noise: in pixels, of an offset a joint, the same in all frames; in all three
            coordinates of 3D poses.
        point_noise: of the noise on every value, confidence included.
        clamp_confidence: hold the confidence within 0 and 1 after that (GaitGraph does not).
        move: half-widths in pixels (x, y) of an offset of the whole walk.
        scale: largest relative change of size about the walk's mean (not in the reference).
        turn: largest angle in degrees by which a walk in space is turned about the vertical through
            its mean, either way (not in the reference).
        joint_dropout: largest share of a walk's joints that are lost, each in each frame by
            itself: all three of their values become 0.

    The defaults are those of Teepe et al. 2022, arXiv 2204.07855 (authors' code; the offsets are
    called standard deviations there but are drawn uniformly).
    """

    reverse: float = 0.5
    shuffle: bool = False
    last_window: bool = False
    pace: Pace = "none"
    permutation: float = 0.0
    permutation_size: int = 6
    frame_dropout: float = 0.0
    squeeze: float = 0.0
    squeeze_flip: float = 0.0
    squeeze_axis: Literal["nose", "x"] = "nose"
    swap_sides: float = 0.5
    mirror: float = 0.0
    mirror_x: float = 0.0
    noise: Literal["uniform", "gaussian"] = "uniform"
    joint_noise: float = 0.1
    point_noise: float = 0.05
    clamp_confidence: bool = True
    move: tuple[float, float] = (3.0, 1.0)
    scale: float = 0.0
    turn: float = 0.0
    joint_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        for what, names in (
            ("probability", "reverse swap_sides mirror mirror_x"),
            ("probability", "permutation frame_dropout squeeze_flip"),
            ("share", "squeeze joint_dropout"),
        ):
            for name in names.split():
                if not 0 <= getattr(self, name) <= 1:
                    raise InputError(
                        f"augmentation.{name} is {getattr(self, name)}; give a {what}, 0 to 1"
                    )
        if not 0 <= self.turn <= 180:
            raise InputError(f"augmentation.turn is {self.turn}; give degrees, 0 to 180")
        if self.permutation_size < 1:
            raise InputError(
                f"augmentation.permutation_size is {self.permutation_size}; give 1 or more"
            )
        if self.shuffle and self.pace == "interpolated":
            raise InputError(
                "augmentation.shuffle leaves no neighbours between which poses could be "
                "interpolated; give augmentation.pace reference or none"
            )

    def __call__(
        self,
        pose: Tensor,
        skeleton: Skeleton,
        generator: Generator,
        space: bool = False,
        share: Share | None = None,
    ) -> Tensor:
        """Vary each walk of a batch.

        Args:
            pose: (B, T, V, 3): x, y in pixels, confidence. Not written to. With an interpolated
                pace T is twice the frames wanted.
            skeleton: the layout of the V joints.
            generator: of the device that holds ``pose``.
            space: whether the third value is a coordinate, and no confidence.
            share: which part of a global batch these walks are; None for all.

        Returns:
            (B, T, V, 3), or (B, T / 2, V, 3) with an interpolated pace.
        """
        batch, frames, joints, _ = pose.shape
        axes = 3 if space else 2

        how: Any = {"generator": generator, "device": pose.device, "dtype": pose.dtype}

        def uniform(*shape: int) -> Tensor:
            return drawn(torch.rand, shape, share, **how)

        def noise(spread: float, *shape: int) -> Tensor:
            if self.noise == "gaussian":
                return drawn(torch.randn, shape, share, **how).mul_(spread)
            return uniform(*shape).mul_(2 * spread).sub_(spread)

        if self.pace == "interpolated":
            pose = resampled(pose, self._times(frames // 2, uniform(batch, 5)))
        if self.squeeze or self.squeeze_flip:
            factor = 1 - self.squeeze * uniform(batch, 1, 1, 1)
            flipped = uniform(batch, 1, 1, 1) < self.squeeze_flip
            pose = squeezed(pose, torch.where(flipped, -factor, factor), self.squeeze_axis)
        if self.swap_sides:
            chosen = uniform(batch, 1, 1, 1) <= self.swap_sides
            pose = torch.where(chosen, swap_sides(pose, skeleton), pose)
        if self.mirror:
            chosen = uniform(batch, 1, 1, 1) <= self.mirror
            pose = torch.where(chosen, reflect(pose, skeleton), pose)
        if self.mirror_x:
            chosen = uniform(batch, 1, 1, 1) <= self.mirror_x
            pose = torch.where(chosen, mirror_x(pose), pose)
        if self.scale:
            factor = 1 + self.scale * (2 * uniform(batch, 1, 1, 1) - 1)
            position = pose[..., :axes]
            center = position.mean(dim=(1, 2), keepdim=True)
            pose = torch.cat((center + factor * (position - center), pose[..., axes:]), dim=-1)
        if self.turn:
            pose = turned(pose, math.radians(self.turn) * (2 * uniform(batch, 1, 1) - 1))
        if self.joint_noise:
            offset = noise(self.joint_noise, batch, 1, joints, axes)
            pose = pose + torch.nn.functional.pad(offset, (0, 3 - axes))
        if self.point_noise:
            pose = noise(self.point_noise, *pose.shape).add_(pose)
            if self.clamp_confidence:
                pose[..., 2].clamp_(0, 1)
        if any(self.move):
            # x and y are drawn one after the other, as the reference does for each walk
            offset = 2 * uniform(batch, 1, 1, 2) - 1
            for axis, width in enumerate(self.move):
                offset[..., axis] *= width
            pose = pose + torch.nn.functional.pad(offset, (0, 1))
        if self.joint_dropout:
            lost = uniform(*pose.shape[:3], 1) < self.joint_dropout * uniform(batch, 1, 1, 1)
            pose = torch.where(lost, 0, pose)
        return pose

    def _times(self, size: int, uniform: Tensor) -> Tensor:
        """Moments (B, S) within 2 S frames that S poses at a random pace show.

        The pace is one of :data:`PACES`, and the first moment any whole frame after which the rest
        still follows: a window at full speed shows the frames as they are, and each part of the
        walk comes at each pace.

        Args:
            size: S.
            uniform: (B, 5) draws: pace, start, permutation or not, and the two blocks' places.
        """

        def below(count: Tensor | int, draw: int) -> Tensor:
            return (uniform[:, draw, None] * count).floor_()

        pace = PACES[0] * (1 + below(len(PACES), 0))
        steps = torch.arange(size, device=uniform.device, dtype=uniform.dtype).expand(len(pace), -1)
        start = below((2 * size - 1 - pace * (size - 1)).floor_() + 1, 1)
        if self.permutation:
            block = self.permutation_size
            top = block + 1 + below(size - 2 * block - 1, 3)
            bottom = below(top - block, 4)
            bottom = torch.where(uniform[:, 2, None] <= self.permutation, bottom, top)
            steps = swapped_blocks(steps, top, bottom, block)
        return start + pace * steps
