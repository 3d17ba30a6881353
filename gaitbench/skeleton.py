"""Joint layouts: the facts from which every graph, stream and mirror image is derived."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError


@dataclass(frozen=True)
class Skeleton:
    """One joint layout. Joints are numbered from 0 in the order of ``joints``.

    Args:
        name: the name that stores, configs and checkpoints carry.
        joints: joint names in snake case.
        edges: undirected limbs of the graph that networks see.
        parents: parent of each joint, for bones; a root names itself. Not always an edge.
        mirrored: the joint on the other side of the body; a middle joint names itself.
        center: the joint that relative positions are measured from.
        parts: left arm, right arm, left leg, right leg, head, for attention over body parts.
        derived: joint -> joints whose mean it is where poses come from a layout that lacks it.
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    parents: tuple[int, ...]
    mirrored: tuple[int, ...]
    center: int
    parts: tuple[tuple[int, ...], ...]
    derived: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def num_joints(self) -> int:
        """Number of joints V."""
        return len(self.joints)

    @cached_property
    def hops(self) -> NDArray[np.int64]:
        """Number of limbs between two joints, (V, V); -1 where they are not connected."""
        v = self.num_joints
        linked = np.eye(v, dtype=bool)
        for a, b in self.edges:
            linked[a, b] = linked[b, a] = True
        hops = np.full((v, v), -1, dtype=np.int64)
        reached = np.eye(v, dtype=bool)
        hops[reached] = 0
        for hop in range(1, v):
            grown = (reached.astype(np.int64) @ linked) > 0
            hops[grown & ~reached] = hop
            reached = grown
        return hops

    def adjacency(self, max_hop: int = 3) -> NDArray[np.float32]:
        """Adjacency by hop distance, (max_hop + 1, V, V), column-normalised over all slices.

        Slice h holds 1 / (joints within ``max_hop`` of joint j) at [i, j] where i and j are h
        limbs apart, so the slices of a column sum to 1 together: a network that uses the first
        three slices of four sees columns that sum to less.

        Source: Teepe et al. 2022, arXiv 2204.07855 (authors' graph, "distance" partition).
        """
        near = (self.hops >= 0) & (self.hops <= max_hop)
        weight = near / near.sum(axis=0, keepdims=True)
        by_hop = self.hops[None] == np.arange(max_hop + 1)[:, None, None]
        adjacency: NDArray[np.float32] = (weight * by_hop).astype(np.float32)
        return adjacency


COCO17 = Skeleton(
    name="coco17",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    # ears hang on the shoulders, and shoulders and hips close the torso
    edges=(
        (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
        (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
    ),
    parents=(0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    mirrored=(0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15),
    center=0,
    parts=((5, 7, 9), (6, 8, 10), (11, 13, 15), (12, 14, 16), (0, 1, 2, 3, 4)),
)  # fmt: skip
"""COCO keypoints, as in the released CASIA-B poses of GaitGraph."""

OPENPOSE18 = Skeleton(
    name="openpose18",
    joints=(
        "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
        "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip",
        "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
    ),
    edges=(
        (0, 1), (0, 14), (0, 15), (14, 16), (15, 17), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6),
        (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    ),
    # the hips' parents are the shoulders of their side, although the edges join them to the neck
    parents=(1, 1, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),
    mirrored=(0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16),
    center=1,
    parts=((5, 6, 7), (2, 3, 4), (11, 12, 13), (8, 9, 10), (0, 1, 14, 15, 16, 17)),
    # as the data were annotated that OpenPose was trained on
    derived={"neck": ("left_shoulder", "right_shoulder")},
)  # fmt: skip
"""OpenPose BODY-18 order, as in OUMVLP-Pose (both estimators)."""

KINECT20 = Skeleton(
    name="kinect20",
    joints=(
        "hip_center", "spine", "shoulder_center", "head", "left_shoulder", "left_elbow",
        "left_wrist", "left_hand", "right_shoulder", "right_elbow", "right_wrist", "right_hand",
        "left_hip", "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee",
        "right_ankle", "right_foot",
    ),
    edges=(
        (0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6), (6, 7), (2, 8), (8, 9), (9, 10), (10, 11),
        (0, 12), (12, 13), (13, 14), (14, 15), (0, 16), (16, 17), (17, 18), (18, 19),
    ),
    parents=(0, 0, 1, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
    mirrored=(0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15),
    center=0,
    # the trunk has joints of its own here; it goes with the head
    parts=(
        (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16, 17, 18, 19), (0, 1, 2, 3),
    ),
    # what SDK 2 calls them
    derived={
        "hip_center": ("spine_base",), "spine": ("spine_mid",),
        "shoulder_center": ("spine_shoulder",),
    },
)  # fmt: skip
"""Kinect's SDK 1, as in BIWI RGBD-ID and IAS-Lab RGBD-ID; its third value is no confidence."""

KINECT25 = Skeleton(
    name="kinect25",
    joints=(
        "spine_base", "spine_mid", "neck", "head", "left_shoulder", "left_elbow", "left_wrist",
        "left_hand", "right_shoulder", "right_elbow", "right_wrist", "right_hand", "left_hip",
        "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle",
        "right_foot", "spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip",
        "right_thumb",
    ),
    # a thumb hangs on the wrist
    edges=(
        (0, 1), (1, 20), (20, 2), (2, 3), (20, 4), (4, 5), (5, 6), (6, 7), (7, 21), (6, 22),
        (20, 8), (8, 9), (9, 10), (10, 11), (11, 23), (10, 24), (0, 12), (12, 13), (13, 14),
        (14, 15), (0, 16), (16, 17), (17, 18), (18, 19),
    ),
    parents=(
        0, 0, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 1, 7, 6, 11, 10,
    ),
    mirrored=(
        0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 20, 23, 24, 21, 22,
    ),
    center=0,
    parts=(
        (4, 5, 6, 7, 21, 22), (8, 9, 10, 11, 23, 24), (12, 13, 14, 15), (16, 17, 18, 19),
        (0, 1, 2, 3, 20),
    ),
)  # fmt: skip
"""Kinect's SDK 2 (its ``JointType``), as in KS20; its third value is no confidence."""

BODY14 = Skeleton(
    name="body14",
    joints=(
        "head", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
        "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip",
        "left_knee", "left_ankle",
    ),
    edges=(
        (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11),
        (11, 12), (12, 13),
    ),
    parents=(1, 1, 1, 2, 3, 1, 5, 6, 1, 8, 9, 1, 11, 12),
    mirrored=(0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10),
    center=1,
    parts=((5, 6, 7), (2, 3, 4), (11, 12, 13), (8, 9, 10), (0, 1)),
    # what SDK 1 of Kinect calls it
    derived={"neck": ("shoulder_center",)},
)  # fmt: skip
"""Poses estimated in space from images of CASIA-B, as SGE-LA's journal version takes them; its
third value is no confidence."""

SKELETONS: Mapping[str, Skeleton] = MappingProxyType(
    {s.name: s for s in (COCO17, OPENPOSE18, KINECT20, KINECT25, BODY14)}
)


def get_skeleton(name: str) -> Skeleton:
    """The layout of that name.

    Raises:
        InputError: if there is none.
    """
    if name not in SKELETONS:
        raise InputError(f"skeleton {name!r} is unknown; choose one of {', '.join(SKELETONS)}")
    return SKELETONS[name]


def joint_sources(source: Skeleton, target: Skeleton) -> tuple[tuple[int, ...], ...]:
    """Which joints of one layout each joint of another is made of, told by their names.

    Args:
        source: the layout that poses have.
        target: the layout that they shall have.

    Returns:
        For each joint of ``target`` the numbers of joints in ``source``: one where ``source`` has
        a joint of that name, several where it is derived as their mean.

    Raises:
        InputError: if a joint can be had neither way.
    """
    number = {name: i for i, name in enumerate(source.joints)}
    names = [(name,) if name in number else target.derived.get(name, ()) for name in target.joints]
    missing = [
        joint
        for joint, parts in zip(target.joints, names, strict=True)
        if not parts or not number.keys() >= set(parts)
    ]
    if missing:
        raise InputError(
            f"poses of skeleton {source.name} cannot become {target.name}: they lack "
            f"{', '.join(missing)}; give data.skeleton a layout that needs only joints they have"
        )
    return tuple(tuple(number[part] for part in parts) for parts in names)
