"""Skeletons in space, brought to paper as they are seen from far away, in true proportions."""

import numpy as np
from numpy.typing import ArrayLike

from gaitbench.draw.canvas import Array
from gaitbench.skeleton import Skeleton

FROM_CAMERA, SLANTING, FROM_SIDE = 0.0, 45.0, 90.0
"""Degrees by which a viewer stands beside the camera, seen from above against the clock."""


def seen_from(pose: ArrayLike, skeleton: Skeleton, degrees: float) -> Array:
    """Poses as a viewer far away sees them.

    Args:
        pose: (..., T, V, 3): x right, y up, z away from the camera.
        skeleton: layout of the joints.
        degrees: where the viewer stands: 0 behind the camera, 90 on its right-hand side.

    Returns:
        (..., T, V, 3) as other drawings take them: x right, y down, and 1, or 0 for joints that
        were lost.
    """
    x, y, z = np.moveaxis(np.asarray(pose, dtype=np.float64), -1, 0)
    turn = np.deg2rad(degrees)
    across = x * np.cos(turn) + z * np.sin(turn)
    return np.stack([across, -y, _found(pose, skeleton)], axis=-1)


def on_paper(pose: ArrayLike, skeleton: Skeleton, spatial: bool, upwards: bool) -> Array:
    """Poses as they were published, as other drawings take them.

    Args:
        pose: (..., T, V, 3).
        skeleton: layout of the joints.
        spatial: whether they are x, y, z in space; these are seen from the side.
        upwards: whether y of those in a picture grows upwards.

    Returns:
        (..., T, V, 3): x right, y down, and confidence; 0 where a joint has no finite position.
    """
    if spatial:
        drawn = seen_from(pose, skeleton, FROM_SIDE)
    else:
        drawn = np.array(pose, dtype=np.float64)
        drawn[..., 1] *= -1 if upwards else 1
    drawn[~np.isfinite(drawn).all(-1)] = 0
    return drawn


def from_above(pose: ArrayLike, skeleton: Skeleton) -> Array:
    """Where on the ground joints stand: (..., T, V, 3) of x, z, and 1, or 0 if lost."""
    x, _, z = np.moveaxis(np.asarray(pose, dtype=np.float64), -1, 0)
    return np.stack([x, z, _found(pose, skeleton)], axis=-1)


def _found(pose: ArrayLike, skeleton: Skeleton) -> Array:
    """1 for joints at some distance from the camera, (..., T, V).

    A walk whose middle joint is 0 in all frames is measured from there: it has lost no joint.
    """
    pose = np.asarray(pose)
    from_body = (pose[..., skeleton.center, :] == 0).all(axis=(-2, -1))
    return np.where(from_body[..., None, None], 1.0, pose[..., 2] != 0)
