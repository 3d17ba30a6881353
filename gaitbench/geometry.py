"""Maths on poses: streams, mirrored sides, missing joints. Functions of tensors, on any device."""

from functools import cache

import torch
from torch import Tensor

from gaitbench.skeleton import Skeleton

# keeps the argument of the arc cosine just below 1
ANGLE_EPSILON = 1e-4


@cache
def _indices(joints: tuple[int, ...], device: torch.device) -> Tensor:
    """Joints as a tensor, copied to each device once: a copy in every step would wait for it."""
    return torch.tensor(joints, device=device)


def swap_sides(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Give every joint the place of its partner on the other side; x is not mirrored.

    Args:
        pose: (..., V, C).
        skeleton: the layout of the V joints.

    Returns:
        A new tensor of the same shape.

    Source: Teepe et al. 2022, arXiv 2204.07855. Not a reflection: the left knee moves to where the
    right one was, seen from the same side. See :func:`reflect` for the true one.
    """
    return pose.index_select(-2, _indices(skeleton.mirrored, pose.device))


def reflect(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Mirror image of a walk: sides swapped and x mirrored at the sequence's mean x.

    Args:
        pose: (..., T, V, 3) in pixels.
        skeleton: the layout of the V joints.

    Returns:
        A new tensor of the same shape: the walker as seen in a mirror, so a view of 36 degrees
        becomes one of 36 degrees on the other side.
    """
    image = swap_sides(pose, skeleton)
    x = image[..., 0]
    image[..., 0] = 2 * x.mean(dim=(-2, -1), keepdim=True) - x
    return image


def fill_empty_joints(pose: Tensor, use: str = "reference") -> Tensor:
    """Replace the position of empty joints (x exactly 0) and set their confidence to 0.

    Args:
        pose: (..., V, 3): x, y, confidence.
        use: ``"reference"`` takes the mean over all joints of the frame as it stands when the
            joint's turn comes: zeros of joints still empty and joints filled before are included,
            so a fill pulls the next ones. ``"valid"`` takes the mean over the joints that are
            not empty. A frame without any joint stays 0 either way.

    Returns:
        A new tensor of the same shape.

    Source: authors' code of Teepe et al. 2022, arXiv 2204.07855, used for OUMVLP-Pose. With V
    joints and r = 1 + 1/V the frame's running sum of x after k fills is r**k times the first sum;
    the sum of y also loses the value replaced. Both are evaluated in closed form here.
    """
    joints = pose.shape[-2]
    position, confidence = pose[..., :2], pose[..., 2:]
    empty = pose[..., :1] == 0  # (..., V, 1)
    if use == "valid":
        valid = (~empty).sum(dim=-2, keepdim=True)
        mean = (position * ~empty).sum(dim=-2, keepdim=True) / valid.clamp(min=1)
    elif use == "reference":
        growth = 1 + 1 / joints
        filled = empty.cumsum(dim=-2)  # fills so far, this joint's included
        # old values that earlier fills took out of the sum, scaled back by the growth since
        old = torch.where(empty, position / growth**filled, 0)
        lost = old.cumsum(dim=-2) - old
        mean = (position.sum(dim=-2, keepdim=True) - lost) * growth ** (filled - 1) / joints
    else:
        raise ValueError(f"expected use 'reference' or 'valid', found {use!r}")
    return torch.cat(
        (torch.where(empty, mean, position), torch.where(empty, 0, confidence)), dim=-1
    )


def joint_velocity_bone_streams(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """The three streams of GaitGraph2, five channels each.

    =========  =======  =======  ===  =====  ======================================
    stream     0        1        2    3      4
    =========  =======  =======  ===  =====  ======================================
    joints     x        y        c    x - o  y - o (relative to the centre joint o)
    velocity   dx/dt    dy/dt    0    c      y two frames on - y
    bones      x - p    y - p    0    c      arccos((y - p) / (length + 1e-4))
    =========  =======  =======  ===  =====  ======================================

    As published the confidence stands where the x part of the second-order quantity would, channel
    2 of velocity and bones is 0, and velocities are 0 in the last two frames: released weights
    expect it so. The bone of a root is 0 and its angle pi / 2.

    Args:
        pose: (B, T, V, 3): x, y in pixels (y down), confidence.
        skeleton: the layout of the V joints; parents and centre are used.

    Returns:
        (B, T, V, 3, 5) streams joints, velocity, bones. In memory it lies as (B, 3, 5, T, V), which
        is how it is cheapest to write.

    Source: Teepe et al. 2022, arXiv 2204.07855, section 3.1, and the authors' code.
    """
    batch, time, joints, _ = pose.shape
    planes = pose.permute(0, 3, 1, 2).contiguous()  # (B, 3, T, V)
    position, y, confidence = planes[:, :2], planes[:, 1], planes[:, 2]
    streams = pose.new_zeros(batch, 3, 5, time, joints)
    joint, velocity, bone = streams[:, 0], streams[:, 1], streams[:, 2]

    joint[:, :3] = planes
    joint[:, 3:] = position - position[..., skeleton.center, None]
    if time > 2:
        velocity[:, :2, :-2] = position[:, :, 1:-1] - position[:, :, :-2]
        velocity[:, 4, :-2] = y[:, 2:] - y[:, :-2]
    velocity[:, 3] = confidence
    limb = position - position.index_select(-1, _indices(skeleton.parents, pose.device))
    bone[:, :2] = limb
    bone[:, 3] = confidence
    length = limb.square().sum(dim=1).sqrt()
    # long limbs swallow the epsilon in float32, and rounding may then leave [-1, 1]
    bone[:, 4] = (limb[:, 1] / (length + ANGLE_EPSILON)).clamp_(-1, 1).acos()
    return streams.permute(0, 3, 4, 1, 2)
