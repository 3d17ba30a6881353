import copy
import pickle

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.skeleton import (
    BODY14,
    COCO17,
    KINECT20,
    KINECT25,
    OPENPOSE18,
    SKELETONS,
    Skeleton,
    get_skeleton,
    joint_sources,
)
from tests.goldens import LAYOUTS, golden

every_layout = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


@every_layout
def test_lengths_and_joint_numbers_agree(skeleton: Skeleton) -> None:
    v = skeleton.num_joints
    assert len(skeleton.joints) == len(set(skeleton.joints)) == v
    assert len(skeleton.parents) == len(skeleton.mirrored) == v
    for numbers in (skeleton.parents, skeleton.mirrored, *skeleton.edges, *skeleton.parts):
        assert set(numbers) <= set(range(v))
    assert 0 <= skeleton.center < v


@every_layout
def test_parents_lead_to_one_root(skeleton: Skeleton) -> None:
    roots = set()
    for joint in range(skeleton.num_joints):
        for _ in skeleton.joints:
            joint = skeleton.parents[joint]
        roots.add(joint)
    (root,) = roots
    assert skeleton.parents[root] == root
    assert [j for j, parent in enumerate(skeleton.parents) if j == parent] == [root]


@every_layout
def test_mirror_swaps_left_and_right_by_name(skeleton: Skeleton) -> None:
    other = {"left": "right", "right": "left"}
    for joint, mirrored in zip(skeleton.joints, skeleton.mirrored, strict=True):
        side, _, rest = joint.partition("_")
        expected = f"{other[side]}_{rest}" if side in other else joint
        assert skeleton.joints[mirrored] == expected
    assert [skeleton.mirrored[j] for j in skeleton.mirrored] == list(range(skeleton.num_joints))


@every_layout
def test_edges_join_all_joints_and_are_symmetric(skeleton: Skeleton) -> None:
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert len(edges) == len(skeleton.edges)
    assert all(len(edge) == 2 for edge in edges)
    assert {frozenset(skeleton.mirrored[j] for j in edge) for edge in edges} == edges
    assert (skeleton.hops >= 0).all()


@every_layout
def test_parts_are_two_mirrored_pairs_and_a_head(skeleton: Skeleton) -> None:
    def mirrored(part: tuple[int, ...]) -> set[int]:
        return {skeleton.mirrored[j] for j in part}

    left_arm, right_arm, left_leg, right_leg, head = skeleton.parts
    assert mirrored(left_arm) == set(right_arm)
    assert mirrored(left_leg) == set(right_leg)
    assert mirrored(head) == set(head)
    joints = [j for part in skeleton.parts for j in part]
    assert len(joints) == len(set(joints))
    # no joint is left for the torso: shoulders belong to the arms, hips to the legs
    assert sorted(joints) == list(range(skeleton.num_joints))
    for part, side in ((left_arm, "left"), (right_arm, "right"), (left_leg, "left")):
        assert all(skeleton.joints[j].startswith(f"{side}_") for j in part)


@every_layout
def test_hops_are_shortest_paths(skeleton: Skeleton) -> None:
    v = skeleton.num_joints
    shortest = np.where(np.eye(v, dtype=bool), 0, v)
    for a, b in skeleton.edges:
        shortest[a, b] = shortest[b, a] = 1
    for k in range(v):  # Floyd and Warshall
        shortest = np.minimum(shortest, shortest[:, k, None] + shortest[k])
    np.testing.assert_array_equal(skeleton.hops, shortest)


def test_joints_without_a_path_are_never_near() -> None:
    pieces = Skeleton("pieces", ("a", "b", "c"), ((0, 1),), (0, 0, 0), (0, 1, 2), 0, ())
    assert pieces.hops.tolist() == [[0, 1, -1], [1, 0, -1], [-1, -1, 0]]
    assert pieces.adjacency(1)[:, 2, :2].max() == 0
    assert pieces.adjacency(1)[0, 2, 2] == 1


@every_layout
@pytest.mark.parametrize("max_hop", [0, 1, 3, 17])
def test_columns_of_all_slices_sum_to_one(skeleton: Skeleton, max_hop: int) -> None:
    adjacency = skeleton.adjacency(max_hop)
    assert adjacency.shape == (max_hop + 1, skeleton.num_joints, skeleton.num_joints)
    assert adjacency.dtype == np.float32
    np.testing.assert_allclose(adjacency.sum(axis=(0, 1)), 1, rtol=1e-6)


@pytest.mark.parametrize(("name", "skeleton"), LAYOUTS.items())
def test_layout_is_the_references(name: str, skeleton: Skeleton) -> None:
    graph = {k.removeprefix(f"{name}_"): v for k, v in golden("graph").items()}
    # the reference looks no further than three hops
    np.testing.assert_array_equal(np.where(skeleton.hops > 3, -1, skeleton.hops), graph["hop"])
    np.testing.assert_array_equal(skeleton.adjacency(), graph["A"])
    assert {frozenset(e) for e in skeleton.edges} == {frozenset(e) for e in graph["edges"].tolist()}
    assert list(skeleton.parents) == graph["connect_joint"].tolist()
    assert list(skeleton.mirrored) == graph["flip_idx"].tolist()
    assert skeleton.center == graph["center"]
    for i, part in enumerate(skeleton.parts):
        assert list(part) == graph[f"part{i}"].tolist()


def test_layouts_are_found_by_name() -> None:
    assert all(get_skeleton(name).name == name for name in SKELETONS)
    with pytest.raises(InputError, match=r"skeleton 'h36m' is unknown; .* coco17, openpose18"):
        get_skeleton("h36m")


def test_sources_are_found_by_name() -> None:
    detected = (COCO17, OPENPOSE18)
    for source in detected:
        for target in detected:
            sources = joint_sources(source, target)
            assert len(sources) == target.num_joints
            for joint, numbers in zip(target.joints, sources, strict=True):
                names = tuple(source.joints[i] for i in numbers)
                assert names == ((joint,) if joint in source.joints else target.derived[joint])


@pytest.mark.parametrize("other", [COCO17, OPENPOSE18])
def test_joints_of_a_kinect_are_not_those_of_an_image(other: Skeleton) -> None:
    assert joint_sources(KINECT20, KINECT20) == tuple((joint,) for joint in range(20))
    for source, target in ((KINECT20, other), (other, KINECT20)):
        with pytest.raises(InputError, match=f"{source.name} cannot become {target.name}"):
            joint_sources(source, target)


def test_layouts_of_kinects_become_each_other_by_what_joints_are() -> None:
    old, new = KINECT20.joints, KINECT25.joints
    others = {"hip_center": "spine_base", "spine": "spine_mid", "shoulder_center": "spine_shoulder"}
    expected = tuple((new.index(others.get(joint, joint)),) for joint in old)
    assert joint_sources(KINECT25, KINECT20) == expected
    for source, neck in ((KINECT20, "shoulder_center"), (KINECT25, "neck"), (BODY14, "neck")):
        picked = [source.joints[i] for (i,) in joint_sources(source, BODY14)]
        assert picked == [neck if joint == "neck" else joint for joint in BODY14.joints]
    with pytest.raises(InputError, match="kinect20 cannot become kinect25: they lack spine_base"):
        joint_sources(KINECT20, KINECT25)


def test_joints_of_kinects_sdk_2_have_its_numbers() -> None:
    """Microsoft's enumeration JointType: the first 20 where SDK 1 has them, five behind."""
    number = {name: i for i, name in enumerate(KINECT25.joints)}
    assert KINECT25.joints[4:20] == KINECT20.joints[4:]
    assert [number[name] for name in ("spine_base", "spine_mid", "neck", "head")] == [0, 1, 2, 3]
    assert number["spine_shoulder"] == 20
    assert [number[f"left_{tip}"] for tip in ("hand_tip", "thumb")] == [21, 22]
    assert [number[f"right_{tip}"] for tip in ("hand_tip", "thumb")] == [23, 24]
    assert KINECT25.joints[KINECT25.parents[number["left_thumb"]]] == "left_wrist"


def test_missing_joints_are_named_together() -> None:
    legless = Skeleton("legless", COCO17.joints[:13], (), (0,) * 13, tuple(range(13)), 0, ())
    assert joint_sources(COCO17, legless) == tuple((i,) for i in range(13))
    with pytest.raises(InputError) as raised:
        joint_sources(legless, OPENPOSE18)
    assert "legless cannot become openpose18" in str(raised.value)
    assert "lack right_knee, right_ankle, left_knee, left_ankle;" in str(raised.value)


@every_layout
def test_a_layout_can_be_copied_and_hashed(skeleton: Skeleton) -> None:
    """A method that holds one is copied for the average of its weights."""
    assert copy.deepcopy(skeleton) == skeleton
    assert pickle.loads(pickle.dumps(skeleton)) == skeleton
    assert len({skeleton, copy.deepcopy(skeleton)}) == 1
