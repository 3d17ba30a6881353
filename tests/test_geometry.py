import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gaitbench.geometry import (
    fill_empty_joints,
    joint_velocity_bone_streams,
    reflect,
    swap_sides,
)
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton
from tests.goldens import LAYOUTS, golden

GOLDEN = golden("transforms")
every_layout = pytest.mark.parametrize(("name", "skeleton"), LAYOUTS.items())


def array(name: str) -> Tensor:
    return torch.from_numpy(GOLDEN[name])


def walk(*shape: int, seed: int = 0) -> Tensor:
    """Positions in quarters of a pixel, so that sums and differences are exact in float32."""
    random = torch.Generator().manual_seed(seed)
    pose = torch.randint(1, 1200, (*shape, 3), generator=random) / 4
    pose[..., 2] = torch.rand(shape, generator=random)
    return pose


def assert_streams(found: Tensor, expected: Tensor) -> None:
    """Within the tolerances of the golden files: angles near 0 and pi are ill-conditioned."""
    torch.testing.assert_close(found[..., :2, :], expected[..., :2, :], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[..., 2, :4], expected[..., 2, :4], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[..., 2, 4], expected[..., 2, 4], rtol=1e-4, atol=1e-4)


@every_layout
def test_streams_are_the_references(name: str, skeleton: Skeleton) -> None:
    pose = array(f"mi_{name}_in")[None]
    assert_streams(joint_velocity_bone_streams(pose, skeleton)[0], array(f"mi_{name}_multibranch"))
    backwards = joint_velocity_bone_streams(pose.flip(1), skeleton)
    assert_streams(backwards[0], array(f"tta_{name}_time"))
    swapped = joint_velocity_bone_streams(swap_sides(pose, skeleton), skeleton)
    assert_streams(swapped[0], array(f"tta_{name}_leftright"))


@every_layout
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_streams_of_few_frames(name: str, skeleton: Skeleton, frames: int) -> None:
    streams = joint_velocity_bone_streams(array(f"mi_{name}_in")[None, :frames], skeleton)
    assert_streams(streams[0], array(f"mi_{name}_T{frames}_multibranch"))


def streams_by_loops(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """The table of the docstring, value by value, in double precision."""
    time, joints, _ = pose.shape
    streams = torch.zeros(time, joints, 3, 5, dtype=torch.float64)
    p = pose.double().tolist()
    for t in range(time):
        for v in range(joints):
            (x, y, c), (ox, oy, _) = p[t][v], p[t][skeleton.center]
            dx, dy = x - p[t][skeleton.parents[v]][0], y - p[t][skeleton.parents[v]][1]
            streams[t, v, 0] = torch.tensor([x, y, c, x - ox, y - oy])
            streams[t, v, 1, 3] = c
            if t < time - 2:
                streams[t, v, 1, 0] = p[t + 1][v][0] - x
                streams[t, v, 1, 1] = p[t + 1][v][1] - y
                streams[t, v, 1, 4] = p[t + 2][v][1] - y
            angle = math.acos(dy / (math.hypot(dx, dy) + 1e-4))
            streams[t, v, 2] = torch.tensor([dx, dy, 0, c, angle])
    return streams.float()


@pytest.mark.parametrize("skeleton", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_streams_follow_their_table(skeleton: Skeleton, frames: int) -> None:
    pose = walk(3, frames, skeleton.num_joints)
    pose[0, 0, skeleton.num_joints - 1, :2] = pose[0, 0, skeleton.parents[-1], :2]  # no length
    before = pose.clone()
    streams = joint_velocity_bone_streams(pose, skeleton)
    assert streams.shape == (3, frames, skeleton.num_joints, 3, 5)
    assert streams.dtype == torch.float32
    for found, one in zip(streams, pose, strict=True):
        # 5e-3: the arc cosine of a limb that points straight down, where its slope is infinite
        expected = streams_by_loops(one, skeleton)
        torch.testing.assert_close(found[..., :4], expected[..., :4], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[..., 4], expected[..., 4], rtol=1e-6, atol=5e-3)
    assert torch.equal(pose, before)


def test_long_upright_limbs_have_an_angle() -> None:
    """Where a limb swallows the epsilon, a root that errs in its last bit leaves [-1, 1].

    A vectorised root does so about once in a million limbs, hence as many.
    """
    pose = torch.zeros(1, 60_000, 17, 3)
    pose[..., 1] = 1e5 * torch.rand(pose.shape[:3], generator=torch.Generator().manual_seed(0))
    angle = joint_velocity_bone_streams(pose, COCO17)[..., 2, 4]
    assert torch.isfinite(angle).all()
    assert angle.min() >= 0 and angle.max() <= math.pi + 1e-6
    torch.testing.assert_close(angle[..., 0], torch.full((1, 60_000), math.pi / 2))


def test_a_shift_changes_only_the_positions() -> None:
    pose = walk(2, 9, 17)
    shifted = pose + torch.tensor([64.0, -32.0, 0.0])
    found, moved = (joint_velocity_bone_streams(p, COCO17) for p in (pose, shifted))
    assert torch.equal(moved[..., 0, :2], found[..., 0, :2] + torch.tensor([64.0, -32.0]))
    assert torch.equal(moved[..., 0, 2:], found[..., 0, 2:])
    assert torch.equal(moved[..., 1:, :], found[..., 1:, :])


def test_each_walk_of_a_batch_stands_alone() -> None:
    pose = walk(3, 5, 18)
    together = joint_velocity_bone_streams(pose, OPENPOSE18)
    for i in range(3):
        assert torch.equal(together[i], joint_velocity_bone_streams(pose[i : i + 1], OPENPOSE18)[0])


@every_layout
def test_swap_and_reflection_undo_themselves(name: str, skeleton: Skeleton) -> None:
    pose = walk(2, 6, skeleton.num_joints)
    before = pose.clone()
    swapped = swap_sides(pose, skeleton)
    assert not torch.equal(swapped, pose)
    assert torch.equal(swap_sides(swapped, skeleton), pose)
    image = reflect(pose, skeleton)
    torch.testing.assert_close(reflect(image, skeleton), pose, rtol=0, atol=1e-3)
    assert torch.equal(pose, before)


def test_swap_moves_joints_and_nothing_else() -> None:
    pose = walk(4, 17)
    swapped = swap_sides(pose, COCO17)
    for joint, name in enumerate(COCO17.joints):
        other = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert torch.equal(swapped[:, joint], pose[:, COCO17.joints.index(other)])


def test_reflection_mirrors_x_at_the_mean_of_the_sequence() -> None:
    pose = walk(3, 6, 17)
    image = reflect(pose, COCO17)
    for one, found in zip(pose, image, strict=True):
        middle = one[..., 0].mean()
        for joint, other in enumerate(COCO17.mirrored):
            mirrored_x = 2 * middle - one[:, other, 0]
            torch.testing.assert_close(found[:, joint, 0], mirrored_x, rtol=0, atol=1e-3)
            assert torch.equal(found[:, joint, 1:], one[:, other, 1:])
    # distances between joints, hence the body, stay as they are
    limbs = [list(edge) for edge in COCO17.edges]
    length = (pose[..., limbs, :2].diff(dim=-2)).norm(dim=-1)
    mirrored = [[COCO17.mirrored[a], COCO17.mirrored[b]] for a, b in limbs]
    found = (image[..., mirrored, :2].diff(dim=-2)).norm(dim=-1)
    torch.testing.assert_close(found, length, rtol=0, atol=1e-3)


@every_layout
def test_filling_is_the_references(name: str, skeleton: Skeleton) -> None:
    once = fill_empty_joints(array(f"ne_{name}_in"))
    torch.testing.assert_close(once, array(f"ne_{name}_out"), rtol=1e-5, atol=1e-5)
    twice = fill_empty_joints(once)
    torch.testing.assert_close(twice, array(f"ne_{name}_twice"), rtol=1e-5, atol=1e-5)


def fill_by_loops(pose: Tensor, use: str) -> Tensor:
    """The specification, literally, in double precision."""
    frames = pose.double().clone()
    for frame in frames:
        present = frame[frame[:, 0] != 0]
        for joint in frame:
            if joint[0] == 0:
                if use == "reference":
                    joint[:2] = frame[:, :2].mean(dim=0)
                else:
                    joint[:2] = present[:, :2].mean(dim=0) if len(present) else 0
                joint[2] = 0
    return frames.float()


@st.composite
def gappy_poses(draw: st.DrawFn) -> Tensor:
    """Some frames with joints at x = 0, of which y and confidence may be anything; some empty."""
    frames, joints = draw(st.integers(1, 4)), draw(st.integers(1, 18))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pose = random.uniform(0.5, 400, (frames, joints, 3)).astype(np.float32)
    pose[..., 2] = random.random((frames, joints))
    gone = random.random((frames, joints)) < draw(st.sampled_from([0, 0.2, 0.9]))
    pose[gone, 0] = 0
    pose[gone & (random.random((frames, joints)) < 0.7)] = 0
    if draw(st.booleans()):
        pose[random.integers(frames)] = 0
    return torch.from_numpy(pose)


@settings(max_examples=60, deadline=None)
@given(gappy_poses(), st.sampled_from(["reference", "valid"]))
def test_filling_follows_the_loops(pose: Tensor, use: str) -> None:
    before = pose.clone()
    filled = fill_empty_joints(pose, use)
    torch.testing.assert_close(filled, fill_by_loops(pose, use), rtol=1e-5, atol=1e-4)
    assert torch.equal(pose, before)
    present = pose[..., 0] != 0
    assert torch.equal(filled[present], pose[present])
    assert (filled[~present][:, 2] == 0).all()


def test_a_frame_without_joints_stays_empty() -> None:
    for use in ("reference", "valid"):
        assert torch.equal(
            fill_empty_joints(torch.zeros(2, 3, 17, 3), use), torch.zeros(2, 3, 17, 3)
        )


def test_filling_with_valid_joints_does_not_pull() -> None:
    pose = torch.zeros(4, 3)
    pose[1:3] = torch.tensor([[10.0, 20.0, 0.9], [30.0, 40.0, 0.8]])
    assert fill_empty_joints(pose, "valid")[[0, 3], :2].tolist() == [[20.0, 30.0]] * 2
    assert fill_empty_joints(pose, "reference")[[0, 3], :2].tolist() == [
        [10.0, 15.0],
        [12.5, 18.75],
    ]


def test_unknown_filling() -> None:
    with pytest.raises(ValueError, match="expected use 'reference' or 'valid', found 'mean'"):
        fill_empty_joints(torch.zeros(17, 3), "mean")
