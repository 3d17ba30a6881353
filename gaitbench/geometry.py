"""Maths on poses: streams, mirrored sides, missing joints. Functions of tensors, on any device."""

from functools import cache

import torch
from torch import Tensor

from gaitbench.skeleton import Skeleton, joint_sources

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


def convert(pose: Tensor, source: Skeleton, target: Skeleton, space: bool = False) -> Tensor:
    """Poses of one layout as poses of another, joint by joint by name.

    Args:
        pose: (..., V, 3): x, y, confidence.
        source: the layout of the V joints.
        target: the layout wanted. A joint that it derives is the mean of its sources' positions
            with the least of their confidences, and empty (0, 0, 0) where one of them is empty.
        space: whether the third value is a coordinate, and no confidence.

    Returns:
        A new tensor (..., V', 3).

    Raises:
        InputError: if ``source`` lacks what a joint of ``target`` is made of.

    Source: OpenPose's 18 joints as COCO's 17 are those that FastPoseGait's OUMVLP-Pose recipes
    pick, without the neck.
    """
    sources = joint_sources(source, target)
    axes = 3 if space else 2
    first = tuple(joints[0] for joints in sources)
    converted = pose.index_select(-2, _indices(first, pose.device))
    for joint, joints in enumerate(sources):
        if len(joints) > 1:  # derived: the neck, of two shoulders
            parts = pose.index_select(-2, _indices(joints, pose.device))
            values = parts[..., :axes].mean(dim=-2), parts[..., axes:].amin(dim=-2)
            mean = torch.cat(values, dim=-1)
            # in space a joint may well be straight ahead
            there = (parts != 0).any(dim=-1) if space else parts[..., 0] != 0
            found = there.all(dim=-1, keepdim=True)
            converted[..., joint, :] = torch.where(found, mean, 0)
    return converted


def mirror_x(pose: Tensor) -> Tensor:
    """Mirror x at each frame's mean over the joints; no joint changes its name.

    Args:
        pose: (..., V, 3).

    Returns:
        A new tensor of the same shape. The left knee is still called left, so it is no true mirror
        image: see :func:`reflect`. A walk also keeps its direction, since every frame has its own
        mean.

    Source: authors' code of Teepe et al. 2021, arXiv 2101.11228.
    """
    x = pose[..., :1]
    return torch.cat((2 * x.mean(dim=-2, keepdim=True) - x, pose[..., 1:]), dim=-1)


LEAST = 0.25
"""Least share of the trunk's height in a walk's mean, and of the shoulders' width in the trunk."""


def pelvis_normalized(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Poses relative to the pelvis, in units of the body, frame by frame.

    The middle of the hips is the origin. x is measured in widths of the shoulders as they are seen,
    y in heights from pelvis to neck (the middle of the shoulders where the layout has no neck).
    From the side shoulders have next to no width, and a lost joint may leave no height: a frame's
    height counts as a quarter of the walk's mean height at least, and its width as a quarter of its
    height. Empty joints are taken for joints: fill them first (``data.fill_empty all``).

    Args:
        pose: (..., T, V, 3): x, y in any unit, confidence.
        skeleton: the layout of the V joints.

    Returns:
        A new tensor of the same shape; confidence and the sign of y are left alone.

    Source: Cosma and Radoi 2022, doi 10.3390/s22186803, who publish no program of it; the paper's
    text was not verified, and the two least sizes are ours.
    """
    number = {name: i for i, name in enumerate(skeleton.joints)}
    position = pose[..., :2]
    left, right = (position[..., number[f"{side}_shoulder"], :] for side in ("left", "right"))
    pelvis = (position[..., number["left_hip"], :] + position[..., number["right_hip"], :]) / 2
    neck = position[..., number["neck"], :] if "neck" in number else (left + right) / 2
    width = (left[..., 0] - right[..., 0]).abs()
    height = (neck[..., 1] - pelvis[..., 1]).abs()
    tiny = torch.finfo(pose.dtype).eps
    height = torch.maximum(height, LEAST * height.mean(dim=-1, keepdim=True)).clamp(min=tiny)
    width = torch.maximum(width, LEAST * height)
    unit = torch.stack((width, height), dim=-1)[..., None, :]
    return torch.cat(((position - pelvis[..., None, :]) / unit, pose[..., 2:]), dim=-1)


def turned(pose: Tensor, angle: Tensor) -> Tensor:
    """Walks turned about the vertical through the mean of all their joints.

    Args:
        pose: (B, T, V, 3): x, y, z, y upwards.
        angle: (B, 1, 1) in radians; a positive one turns what is away from the camera to the right.

    Returns:
        A new tensor of the same shape.
    """
    x, y, z = pose.unbind(-1)
    middle_x, middle_z = (values.mean(dim=(1, 2), keepdim=True) for values in (x, z))
    x, z, cos, sin = x - middle_x, z - middle_z, angle.cos(), angle.sin()
    return torch.stack((middle_x + cos * x + sin * z, y, middle_z + cos * z - sin * x), dim=-1)


def about_center(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Poses measured from the layout's middle joint, frame by frame, so that nobody moves on.

    Args:
        pose: (..., V, 3): x, y, z.
        skeleton: the layout of the V joints.

    Returns:
        A new tensor of the same shape.

    Source: Rao et al. 2021, arXiv 2009.03671, for CASIA-B (authors' program).
    """
    return pose - pose[..., skeleton.center, None, :]


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
    bone[:, 4:] = _angles(limb, slice(1, 2))
    return streams.permute(0, 3, 4, 1, 2)


def _angles(limb: Tensor, axes: slice = slice(None)) -> Tensor:
    """Angles in radians between bones (B, C, T, V) and some of the C axes, an axis a channel."""
    length = limb.square().sum(dim=1, keepdim=True).sqrt()
    # long limbs swallow the epsilon in float32, and rounding may then leave [-1, 1]
    return (limb[:, axes] / (length + ANGLE_EPSILON)).clamp_(-1, 1).acos()


def six_channel_streams(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """The three streams of GaitGraph, six channels each.

    =========  =====  =====  =====  ==================================  =======  =======
    stream     0      1      2      3                                   4        5
    =========  =====  =====  =====  ==================================  =======  =======
    joints     x      y      c      x - o (relative to the centre o)    y - o    c - o
    velocity   dx/dt  dy/dt  dc/dt  x two frames on - x                 y alike  c alike
    bones      x - p  y - p  c - p  arccos((y - p) / (length + 1e-4))   0        0
    =========  =====  =====  =====  ==================================  =======  =======

    The confidence is a third coordinate here, but for the length. Velocities are 0 in the last two
    frames.

    Args:
        pose: (B, T, V, 3): x, y in pixels (y down), confidence.
        skeleton: the layout of the V joints; parents and centre are used.

    Returns:
        (B, T, V, 3, 6) streams joints, velocity, bones, in memory as (B, 3, 6, T, V).

    Source: authors' code of Teepe et al. 2021, arXiv 2101.11228 (multi-branch form).
    """
    streams = _streams_of_coordinates(pose, skeleton)
    bone = streams[:, 2]
    bone[:, 3:4] = _angles(bone[:, :2], slice(1, 2))
    return streams.permute(0, 3, 4, 1, 2)


def spatial_streams(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """The three streams of a skeleton in space, six channels each.

    =========  =====  =====  =====  ==================================  =======  =======
    stream     0      1      2      3                                   4        5
    =========  =====  =====  =====  ==================================  =======  =======
    joints     x      y      z      x - o (relative to the centre o)    y - o    z - o
    velocity   dx/dt  dy/dt  dz/dt  x two frames on - x                 y alike  z alike
    bones      x - p  y - p  z - p  arccos((x - p) / (length + 1e-4))   y alike  z alike
    =========  =====  =====  =====  ==================================  =======  =======

    Velocities are 0 in the last two frames. The bone of a root is 0 and its angles pi / 2.

    Args:
        pose: (B, T, V, 3): x, y, z in metres.
        skeleton: the layout of the V joints; parents and centre are used.

    Returns:
        (B, T, V, 3, 6) streams joints, velocity, bones, in memory as (B, 3, 6, T, V).

    Source: Song et al. 2020, arXiv 2010.09978, whose streams of 3D joints those of GaitGraph and
    GaitGraph2 are made after.
    """
    streams = _streams_of_coordinates(pose, skeleton)
    bone = streams[:, 2]
    bone[:, 3:] = _angles(bone[:, :3])
    return streams.permute(0, 3, 4, 1, 2)


def _streams_of_coordinates(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Streams (B, 3, 6, T, V) of three coordinates, but for the angles of bones."""
    batch, time, joints, _ = pose.shape
    planes = pose.permute(0, 3, 1, 2).contiguous()  # (B, 3, T, V)
    streams = pose.new_zeros(batch, 3, 6, time, joints)
    # not unbind(), of whose parts an ONNX graph keeps the size that it was traced with
    joint, velocity, bone = streams[:, 0], streams[:, 1], streams[:, 2]

    joint[:, :3] = planes
    joint[:, 3:] = planes - planes[..., skeleton.center, None]
    if time > 2:
        velocity[:, :3, :-2] = planes[:, :, 1:-1] - planes[:, :, :-2]
        velocity[:, 3:, :-2] = planes[:, :, 2:] - planes[:, :, :-2]
    bone[:, :3] = planes - planes.index_select(-1, _indices(skeleton.parents, pose.device))
    return streams
