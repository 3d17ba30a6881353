import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.geometry import (
    LEAST,
    convert,
    fill_empty_joints,
    joint_velocity_bone_streams,
    mirror_x,
    pelvis_normalized,
    reflect,
    six_channel_streams,
    spatial_streams,
    swap_sides,
    turned,
)
from gaitbench.skeleton import COCO17, KINECT20, OPENPOSE18, Skeleton
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


def metres(*shape: int) -> Tensor:
    """Positions in space."""
    return 2 * torch.rand(*shape, 3, generator=torch.Generator().manual_seed(1)) - 1


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
def gappy_poses(draw: st.DrawFn, fewest_joints: int = 1) -> Tensor:
    """Some frames with joints at x = 0, of which y and confidence may be anything; some empty."""
    frames, joints = draw(st.integers(1, 4)), draw(st.integers(fewest_joints, 18))
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


def test_coco_is_picked_from_openpose() -> None:
    """The list that FastPoseGait picks for OUMVLP-Pose, left before right and without the neck."""
    pose = walk(2, 3, 18)
    picked = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
    assert torch.equal(convert(pose, OPENPOSE18, COCO17), pose[..., picked, :])


def test_the_neck_is_between_the_shoulders() -> None:
    pose = torch.zeros(4, 17, 3)
    pose[:, 5], pose[:, 6] = torch.tensor([10.0, 20, 0.9]), torch.tensor([30.0, 26, 0.4])
    pose[1, 5] = 0
    pose[2, 6] = 0
    pose[3, 5:7] = 0
    neck = convert(pose, COCO17, OPENPOSE18)[:, OPENPOSE18.joints.index("neck")]
    torch.testing.assert_close(neck[0], torch.tensor([20.0, 23.0, 0.4]))
    assert torch.equal(neck[1:], torch.zeros(3, 3))


@settings(max_examples=40, deadline=None)
@given(gappy_poses(18), st.sampled_from([(COCO17, OPENPOSE18), (OPENPOSE18, COCO17)]))
def test_joints_of_both_layouts_survive_the_way_there_and_back(
    pose: Tensor, layouts: tuple[Skeleton, Skeleton]
) -> None:
    here, there = layouts
    pose = pose[:, : here.num_joints]
    before = pose.clone()
    away = convert(pose, here, there)
    back = convert(away, there, here)
    assert torch.equal(pose, before)
    for joint, name in enumerate(here.joints):
        if name in there.joints:
            assert torch.equal(away[:, there.joints.index(name)], pose[:, joint])
            assert torch.equal(back[:, joint], pose[:, joint])


@every_layout
def test_conversion_to_the_same_layout_copies(name: str, skeleton: Skeleton) -> None:
    pose = walk(2, 3, skeleton.num_joints)
    same = convert(pose, skeleton, skeleton)
    assert torch.equal(same, pose)
    same[:] = 0
    assert pose.any()


def test_a_joint_may_be_the_mean_of_three() -> None:
    """Neither number nor names of the joints are wired in."""
    three = Skeleton("three", ("a", "b", "c"), (), (0, 0, 0), (0, 1, 2), 0, ())
    mean = {"m": ("c", "a", "b")}
    one = Skeleton("one", ("b", "m"), (), (0, 0), (0, 1), 0, (), derived=mean)
    pose = torch.tensor([[1.0, 2, 0.3], [4, 5, 0.1], [7, 11, 0.2]])
    expected = torch.tensor([[4, 5, 0.1], [4, 6, 0.1]])
    torch.testing.assert_close(convert(pose, three, one), expected)


def test_a_derived_joint_in_space_is_the_mean_of_three_coordinates() -> None:
    named = {"left_shoulder": 4, "right_shoulder": 8}
    neck = replace(KINECT20, derived={"shoulder_center": tuple(named)})
    source = replace(KINECT20, joints=tuple(n.replace("_center", "") for n in KINECT20.joints))
    target = replace(neck, joints=("shoulder_center", "head"))
    pose = metres(2, 3, 20)
    pose[0, 0, 4, 0] = 0  # straight ahead
    pose[1, 0, 8] = 0
    found = convert(pose, source, target, space=True)
    expected = (pose[:, :, 4] + pose[:, :, 8]) / 2
    expected[1, 0] = 0
    torch.testing.assert_close(found[:, :, 0], expected)
    assert torch.equal(found[:, :, 1], pose[:, :, 3])


def test_a_joint_that_cannot_be_had() -> None:
    few = Skeleton("few", ("left_shoulder", "nose"), (), (0, 0), (0, 1), 0, ())
    with pytest.raises(InputError, match=r"skeleton few cannot become openpose18: .* neck, right_"):
        convert(torch.zeros(2, 3), few, OPENPOSE18)


# GaitGraph's.


def test_six_channel_streams_are_the_references() -> None:
    data = golden("gaitgraph1_transforms")
    layout = replace(COCO17, parents=(5, *COCO17.parents[1:]), center=1)
    streams = six_channel_streams(torch.from_numpy(data["in"])[None], layout)[0]
    expected = torch.from_numpy(data["multi_input"]).permute(2, 3, 0, 1)
    angles, others = torch.zeros(3, 6, dtype=torch.bool), torch.ones(3, 6, dtype=torch.bool)
    angles[2, 3], others[2, 3] = True, False
    for part, tolerance in ((angles, 1e-4), (others, 1e-5)):
        found, want = streams[..., part], expected[..., part]
        torch.testing.assert_close(found, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("skeleton", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_six_channel_streams_follow_their_table(skeleton: Skeleton, frames: int) -> None:
    pose = walk(2, frames, skeleton.num_joints)
    before = pose.clone()
    streams = six_channel_streams(pose, skeleton)
    assert streams.shape == (2, frames, skeleton.num_joints, 3, 6)
    for b, t, v in np.ndindex(2, frames, skeleton.num_joints):
        here = pose[b, t, v]
        bone = here - pose[b, t, skeleton.parents[v]]
        angle = math.acos(bone[1] / (math.hypot(bone[0], bone[1]) + 1e-4))
        expected = torch.zeros(3, 6)
        expected[0] = torch.cat((here, here - pose[b, t, skeleton.center]))
        if t < frames - 2:
            expected[1] = torch.cat((pose[b, t + 1, v] - here, pose[b, t + 2, v] - here))
        expected[2, :4] = torch.tensor([*bone, angle])
        torch.testing.assert_close(streams[b, t, v], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(pose, before)


@pytest.mark.parametrize("skeleton", [KINECT20, COCO17], ids=lambda s: s.name)
@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_streams_in_space_follow_their_table(skeleton: Skeleton, frames: int) -> None:
    pose = metres(2, frames, skeleton.num_joints)
    pose[0, :, 1] = pose[0, :, 0]  # a bone of no length, as IAS-Lab has them
    before = pose.clone()
    streams = spatial_streams(pose, skeleton)
    assert streams.shape == (2, frames, skeleton.num_joints, 3, 6)
    for b, t, v in np.ndindex(2, frames, skeleton.num_joints):
        here = pose[b, t, v]
        bone = here - pose[b, t, skeleton.parents[v]]
        length = math.dist(here.tolist(), pose[b, t, skeleton.parents[v]].tolist())
        expected = torch.zeros(3, 6)
        expected[0] = torch.cat((here, here - pose[b, t, skeleton.center]))
        if t < frames - 2:
            expected[1] = torch.cat((pose[b, t + 1, v] - here, pose[b, t + 2, v] - here))
        angles = [math.acos(part / (length + 1e-4)) for part in bone.tolist()]
        expected[2] = torch.tensor([*bone, *angles])
        torch.testing.assert_close(streams[b, t, v], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(pose, before)


def test_depth_counts_as_the_other_two_coordinates_do() -> None:
    """With x, y, z in another order the channels are in that order, too."""
    pose, order = metres(2, 5, 20), [2, 0, 1]
    found = spatial_streams(pose[..., order], KINECT20)
    expected = spatial_streams(pose, KINECT20)[..., [*order, *(3 + i for i in order)]]
    torch.testing.assert_close(found, expected)


def test_a_turn_is_one_about_the_vertical() -> None:
    pose = metres(3, 5, 20)
    angle = torch.tensor([0.0, math.pi / 2, -0.3])[:, None, None]
    found = turned(pose, angle)
    middle = pose.mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(found.mean(dim=(1, 2), keepdim=True), middle)
    assert torch.equal(found[..., 1], pose[..., 1])
    torch.testing.assert_close(found[0], pose[0])
    # a quarter turn: what was behind the middle is to its right, what was to its right in front
    before, after = (p[1] - middle[1] for p in (pose, found))
    torch.testing.assert_close(after[..., 0], before[..., 2])
    torch.testing.assert_close(after[..., 2], -before[..., 0])
    lengths = [(p[:, :, 1:] - p[:, :, :-1]).norm(dim=-1) for p in (pose, found)]
    torch.testing.assert_close(*lengths)
    torch.testing.assert_close(turned(found, -angle), pose)


def test_mirroring_x_is_the_references() -> None:
    data = golden("gaitgraph1_transforms")
    found = mirror_x(torch.from_numpy(data["in"]))
    np.testing.assert_allclose(found, data["mirror"], rtol=1e-5, atol=1e-4)


def test_mirroring_x_twice_changes_nothing() -> None:
    pose = walk(3, 5, 17)
    once = mirror_x(pose)
    torch.testing.assert_close(mirror_x(once), pose, rtol=0, atol=1e-3)
    torch.testing.assert_close(once[..., 0].mean(-1), pose[..., 0].mean(-1))
    assert torch.equal(once[..., 1:], pose[..., 1:])


def walk_frames(batch: int = 4, frames: int = 8) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(batch, frames, 18, 3, generator=random) * torch.tensor([320.0, 240, 1])


def normalized_by_loops(walk: Tensor) -> Tensor:
    """One walk (T, 18, 3), joint by joint, by the numbers of the joints."""
    pelvis = [(frame[8, :2] + frame[11, :2]) / 2 for frame in walk]
    heights = [abs(frame[1, 1] - p[1]) for frame, p in zip(walk, pelvis, strict=True)]
    found = walk.clone()
    for t, frame in enumerate(walk):
        height = max(heights[t], sum(heights) / len(heights) / 4)
        width = max(abs(frame[2, 0] - frame[5, 0]), height / 4)
        for j in range(18):
            found[t, j, 0] = (frame[j, 0] - pelvis[t][0]) / width
            found[t, j, 1] = (frame[j, 1] - pelvis[t][1]) / height
    return found


def test_normalisation_against_loops() -> None:
    frames = walk_frames().double()
    expected = torch.stack([normalized_by_loops(walk) for walk in frames])
    torch.testing.assert_close(pelvis_normalized(frames, OPENPOSE18), expected)


def test_place_and_size_do_not_count() -> None:
    frames = walk_frames().double()
    moved = frames * torch.tensor([3.0, 3.0, 1.0]) + torch.tensor([50.0, -20.0, 0.0])
    torch.testing.assert_close(
        pelvis_normalized(moved, OPENPOSE18), pelvis_normalized(frames, OPENPOSE18)
    )


def test_normalised_poses_have_unit_shoulders_and_trunk_and_stay_so() -> None:
    frames = walk_frames()
    frames[..., 1, 1] = frames[..., [8, 11], 1].mean(-1) - 60
    frames[..., 5, 0] = frames[..., 2, 0] + 30
    found = pelvis_normalized(frames, OPENPOSE18)
    torch.testing.assert_close(found[..., 5, 0] - found[..., 2, 0], torch.ones(4, 8))
    torch.testing.assert_close(found[..., 1, 1], -torch.ones(4, 8))
    assert torch.equal(found[..., 2], frames[..., 2])
    torch.testing.assert_close(pelvis_normalized(found, OPENPOSE18), found)


def test_shoulders_seen_from_the_side_do_not_blow_up_a_walk() -> None:
    frames = walk_frames()
    frames[..., 5, :] = frames[..., 2, :]
    frames[0, 3] = 0  # nobody there
    frames[1] = 0
    found = pelvis_normalized(frames, OPENPOSE18)
    height = (frames[2:, :, 1, 1] - frames[2:, :, [8, 11], 1].mean(-1)).abs()
    least = LEAST * torch.maximum(height, LEAST * height.mean(1, keepdim=True))
    assert torch.isfinite(found).all()
    assert (found[2:, ..., 0].abs() <= 320 / least[..., None] + 1e-3).all()
    assert (found[1, ..., :2] == 0).all()


def test_without_a_neck_the_middle_of_the_shoulders_serves() -> None:
    frames = walk_frames()
    frames[..., 1, :] = frames[..., [2, 5], :].mean(-2)
    coco = convert(frames, OPENPOSE18, COCO17)
    expected = convert(pelvis_normalized(frames, OPENPOSE18), OPENPOSE18, COCO17)
    torch.testing.assert_close(pelvis_normalized(coco, COCO17), expected)
