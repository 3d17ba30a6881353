"""Random changes of a batch of poses, on the device that holds it."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from gaitbench.errors import InputError
from gaitbench.geometry import mirror_x, reflect, swap_sides
from gaitbench.skeleton import Skeleton


@dataclass(frozen=True)
class PoseAugmentation:
    """What is varied in a training window of poses. 0 switches a line off.

    Time first (:class:`gaitbench.windows.Window` does it while the window is cut), then space (the
    batch does it on its device), in the order of the reference.

    Args:
        reverse: probability that a window runs backwards.
        shuffle: frames in random order.
        last_window: whether a random window may be the very last one; the reference never draws it.
        swap_sides: probability that left and right joints change places, x unchanged.
        mirror: probability of a true mirror image instead (not in the reference).
        mirror_x: probability that x alone is mirrored, frame by frame (GaitGraph).
        noise: how the next two are drawn: ``uniform`` within a half-width, or ``gaussian`` with a
            standard deviation (GaitGraph).
        joint_noise: in pixels, of an offset a joint, the same in all frames.
        point_noise: of the noise on every value, confidence included.
        clamp_confidence: hold the confidence within 0 and 1 after that (GaitGraph does not).
        move: half-widths in pixels (x, y) of an offset of the whole walk.
        scale: largest relative change of size about the walk's mean (not in the reference).

    The defaults are those of Teepe et al. 2022, arXiv 2204.07855 (authors' code; the offsets are
    called standard deviations there but are drawn uniformly).
    """

    reverse: float = 0.5
    shuffle: bool = False
    last_window: bool = False
    swap_sides: float = 0.5
    mirror: float = 0.0
    mirror_x: float = 0.0
    noise: Literal["uniform", "gaussian"] = "uniform"
    joint_noise: float = 0.1
    point_noise: float = 0.05
    clamp_confidence: bool = True
    move: tuple[float, float] = (3.0, 1.0)
    scale: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("reverse", "swap_sides", "mirror", "mirror_x"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"augmentation.{name} is {getattr(self, name)}; give a probability, 0 to 1"
                )

    def __call__(self, pose: Tensor, skeleton: Skeleton, generator: Generator) -> Tensor:
        """Vary each walk of a batch.

        Args:
            pose: (B, T, V, 3): x, y in pixels, confidence. Not written to.
            skeleton: the layout of the V joints.
            generator: of the device that holds ``pose``.

        Returns:
            (B, T, V, 3).
        """
        batch, _, joints, _ = pose.shape

        how: Any = {"generator": generator, "device": pose.device, "dtype": pose.dtype}

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, **how)

        def noise(spread: float, *shape: int) -> Tensor:
            if self.noise == "gaussian":
                return torch.randn(shape, **how).mul_(spread)
            return uniform(*shape).mul_(2 * spread).sub_(spread)

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
            position = pose[..., :2]
            center = position.mean(dim=(1, 2), keepdim=True)
            pose = torch.cat((center + factor * (position - center), pose[..., 2:]), dim=-1)
        if self.joint_noise:
            offset = noise(self.joint_noise, batch, 1, joints, 2)
            pose = pose + torch.nn.functional.pad(offset, (0, 1))
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
        return pose
