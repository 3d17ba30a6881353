from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from gaitbench.batch import Share
from gaitbench.errors import InputError
from gaitbench.geometry import mirror_x, reflect, swap_sides
from gaitbench.skeleton import COCO17, KINECT20, OPENPOSE18, Skeleton
from gaitbench.transforms import PoseAugmentation, resampled
from gaitbench.windows import PACES, TiledWindow, Window, paced_starts, paced_steps
from tests.goldens import GAITFORMER, golden

GOLDEN = golden("transforms")
FORMER = golden("transforms", GAITFORMER)
SEED = int(GOLDEN["rng_seed"])


def only(**settings: object) -> PoseAugmentation:
    """An augmentation with everything off but what is given."""
    nothing = {"reverse": 0.0, "swap_sides": 0.0, "joint_noise": 0.0, "point_noise": 0.0}
    return PoseAugmentation(**{**nothing, "move": (0.0, 0.0), **settings})  # type: ignore[arg-type]


EVERYTHING = PoseAugmentation(mirror=0.5, mirror_x=0.5, scale=0.2)
GAITGRAPH = PoseAugmentation(
    swap_sides=0.0,
    mirror_x=0.5,
    noise="gaussian",
    joint_noise=0.25,
    point_noise=0.05,
    clamp_confidence=False,
    move=(0.0, 0.0),
)


def seeded(seed: int = SEED) -> Generator:
    return Generator().manual_seed(seed)


def poses(*shape: int, seed: int = 0) -> Tensor:
    pose = torch.rand(*shape, 3, generator=seeded(seed))
    return pose * torch.tensor([320.0, 240.0, 1.0])


def same_poses(batch: int, time: int = 6) -> Tensor:
    return poses(1, time, 17).expand(batch, -1, -1, -1)


# What the reference draws. Its files hold output or output - input of one sequence of 80 frames.


def test_joint_noise_is_the_references() -> None:
    pose = torch.from_numpy(GOLDEN["rng_in"])[None]
    change = only(joint_noise=0.1)(pose, COCO17, seeded()) - pose
    np.testing.assert_allclose(change[0], GOLDEN["rng_jointnoise_0.1"], rtol=0, atol=5e-5)


def test_point_noise_is_the_references() -> None:
    pose = torch.from_numpy(GOLDEN["rng_in"])[None]
    found = only(point_noise=0.05)(pose, COCO17, seeded())
    np.testing.assert_allclose(found[0], GOLDEN["rng_pointnoise_0.05"], rtol=1e-6, atol=1e-5)


def test_move_is_the_references() -> None:
    pose = torch.from_numpy(GOLDEN["rng_in"])[None]
    change = only(move=(3.0, 1.0))(pose, COCO17, seeded()) - pose
    np.testing.assert_allclose(change[0], GOLDEN["rng_randommove_3_1"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("seed", [20240, 20241, 20242])
def test_training_pipeline_is_the_references(seed: int) -> None:
    pose = torch.from_numpy(GOLDEN["rng_in"])
    augmentation = PoseAugmentation()
    window = Window(60, "random", augmentation.reverse, augmentation.shuffle)
    (frames,) = window.draw(np.array([len(pose)]), seed)
    # the reference goes on with the generator that has drawn direction and place of the window
    generator = seeded(seed)
    torch.rand(1, generator=generator)
    torch.randint(0, 20, (1,), generator=generator)
    found = augmentation(pose[None, frames], COCO17, generator)[0]
    expected = GOLDEN[f"rng_train_pipeline_seed{seed}"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_point_noise_has_the_references_statistics() -> None:
    noise = only(point_noise=0.05)(torch.full((64, 40, 17, 3), 0.5), COCO17, seeded()) - 0.5
    found = torch.stack((noise.amin((0, 1, 2)), noise.amax((0, 1, 2)), noise.std((0, 1, 2))), dim=1)
    expected = GOLDEN["stat_pointnoise_0.05_min_max_std_xyc"]
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_noise_has_the_statistics_of_gaitgraph() -> None:
    data, pose = golden("gaitgraph1_transforms"), torch.full((400, 60, 17, 3), 0.5)
    vary = replace(GAITGRAPH, mirror_x=0.0)
    points = replace(vary, joint_noise=0.0)(pose, COCO17, seeded()) - 0.5
    expected = data["stat_pointnoise_0.05_std_xyc"]
    np.testing.assert_allclose(points.std((0, 1, 2)), expected, rtol=0.02)
    joints = replace(vary, point_noise=0.0)(pose, COCO17, seeded()) - 0.5
    assert torch.equal(joints, joints[:, :1].expand_as(joints))
    expected = data["stat_jointnoise_0.1_std_xyc"]  # its 0.1 is never read
    np.testing.assert_allclose(joints.std((0, 1, 2)), expected, rtol=0.02)
    for noise in (points[..., 0] / 0.05, joints[:, 0, :, 0] / 0.25):
        assert noise.pow(4).mean() == pytest.approx(3, abs=0.2)  # of a normal distribution


def test_confidence_is_held_only_where_asked_to() -> None:
    free = GAITGRAPH(torch.ones(4, 6, 17, 3), COCO17, seeded())[..., 2]
    held = replace(GAITGRAPH, clamp_confidence=True)(torch.ones(4, 6, 17, 3), COCO17, seeded())
    assert free.max() > 1
    assert torch.equal(held[..., 2], free.clamp(0, 1))


# What every augmentation keeps.

VARIANTS = [
    PoseAugmentation(),
    EVERYTHING,
    replace(GAITGRAPH, clamp_confidence=True),
    only(),
    only(swap_sides=1.0),
    only(mirror=1.0),
    only(mirror_x=1.0),
    only(joint_noise=0.1),
    only(point_noise=0.05),
    only(move=(3.0, 1.0)),
    only(scale=0.1),
    only(squeeze=0.1, squeeze_flip=0.5, squeeze_axis="x"),
    only(joint_dropout=0.5),
]


@pytest.mark.parametrize("augmentation", VARIANTS)
@pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=lambda s: s.name)
def test_the_input_is_not_written_to(augmentation: PoseAugmentation, skeleton: Skeleton) -> None:
    pose = poses(5, 7, skeleton.num_joints)
    before = pose.clone()
    for seed in range(4):  # with and without a swap
        found = augmentation(pose, skeleton, seeded(seed))
        assert found.shape == pose.shape and found.dtype == pose.dtype
        assert torch.equal(pose, before)


@pytest.mark.parametrize("augmentation", VARIANTS)
def test_confidence_stays_a_share(augmentation: PoseAugmentation) -> None:
    pose = poses(8, 20, 17)
    pose[:, ::2, :, 2] = 0
    pose[:, 1::4, :, 2] = 1
    confidence = augmentation(pose, COCO17, seeded())[..., 2]
    assert confidence.min() >= 0 and confidence.max() <= 1


@pytest.mark.parametrize("augmentation", [PoseAugmentation(), EVERYTHING, GAITGRAPH])
def test_the_same_seed_gives_the_same_walks(augmentation: PoseAugmentation) -> None:
    pose = poses(4, 6, 17)
    first, again = (augmentation(pose, COCO17, seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augmentation(pose, COCO17, seeded(4)))


@pytest.mark.parametrize("augmentation", [*VARIANTS, PoseAugmentation(pace="interpolated")])
def test_each_process_varies_its_walks_as_one_would(augmentation: PoseAugmentation) -> None:
    pose = poses(7, 6, 17)
    whole = augmentation(pose, COCO17, seeded(3))
    parts = [
        augmentation(pose[share.own], COCO17, seeded(3), share=share)
        for share in (Share(((0, 4), (4, 1), (5, 2)), rank) for rank in range(3))
    ]
    assert torch.allclose(torch.cat(parts), whole, rtol=1e-6, atol=1e-6)


def test_only_the_generator_given_is_drawn_from() -> None:
    state = torch.get_rng_state()
    EVERYTHING(poses(4, 6, 17), COCO17, seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_changed_or_drawn_when_all_is_off() -> None:
    pose, generator = poses(4, 6, 17), seeded()
    assert torch.equal(only()(pose, COCO17, generator), pose)
    assert torch.equal(generator.get_state(), seeded().get_state())


# Each line for itself.


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("swap_sides", swap_sides),
        ("mirror", reflect),
        ("mirror_x", lambda pose, skeleton: mirror_x(pose)),
    ],
)
def test_probabilities(name: str, change: Callable[[Tensor, Skeleton], Tensor]) -> None:
    pose = same_poses(4000, 2)
    changed = change(pose, COCO17)
    assert torch.equal(only(**{name: 1.0})(pose, COCO17, seeded()), changed)
    found = only(**{name: 0.25})(pose, COCO17, seeded())
    was_changed = (found == changed).all(dim=(1, 2, 3))
    was_kept = (found == pose).all(dim=(1, 2, 3))
    assert (was_changed ^ was_kept).all()
    assert 0.22 < was_changed.float().mean() < 0.28


def test_noise_of_joints_is_uniform_and_the_same_in_all_frames() -> None:
    pose = same_poses(1500)
    change = only(joint_noise=0.4)(pose, COCO17, seeded()) - pose
    torch.testing.assert_close(change, change[:, :1].expand_as(change), rtol=0, atol=1e-4)
    assert (change[..., 2] == 0).all()
    assert_uniform(change[:, 0, :, 0], 0.4)
    assert_uniform(change[:, 0, :, 1], 0.4)
    assert (change[:, 0, 0] != change[:, 0, 1]).any(dim=1).all()


def test_noise_of_points_is_uniform_everywhere() -> None:
    pose = torch.full((60, 30, 17, 3), 0.5)
    change = only(point_noise=0.4)(pose, COCO17, seeded()) - pose
    for channel in range(3):
        assert_uniform(change[..., channel], 0.4)
    flat = change.flatten(0, 2)
    assert torch.corrcoef(flat.T).fill_diagonal_(0).abs().max() < 0.03
    assert torch.corrcoef(change[:, :2, 0, 0].T)[0, 1].abs() < 0.5


def test_a_move_shifts_the_whole_walk() -> None:
    pose = same_poses(4000)
    change = only(move=(3.0, 1.0))(pose, COCO17, seeded()) - pose
    first = change[:, :1, :1].expand_as(change)
    torch.testing.assert_close(change, first, rtol=0, atol=1e-4)
    assert (change[..., 2] == 0).all()
    assert_uniform(change[:, 0, 0, 0], 3.0)
    assert_uniform(change[:, 0, 0, 1], 1.0)
    sideways = only(move=(3.0, 0.0))(pose, COCO17, seeded())
    assert torch.equal(sideways[..., 1:], pose[..., 1:])


def test_scaling_keeps_the_mean_and_the_form() -> None:
    pose = same_poses(1500)
    found = only(scale=0.2)(pose, COCO17, seeded())
    middle = pose[..., :2].mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(found[..., :2].mean(dim=(1, 2), keepdim=True), middle)
    assert torch.equal(found[..., 2], pose[..., 2])
    spread = [(p[..., :2] - middle).square().sum(dim=(1, 2, 3)).sqrt() for p in (found, pose)]
    factor = spread[0] / spread[1]
    assert_uniform(factor - 1, 0.2)
    expected = middle + factor[:, None, None, None] * (pose[..., :2] - middle)
    torch.testing.assert_close(found[..., :2], expected, rtol=0, atol=1e-3)


def assert_uniform(values: Tensor, width: float) -> None:
    """Within [-width, width] apart from rounding, and spread as a uniform draw is."""
    assert values.abs().max() <= width + 1e-4
    values = values.flatten() / width
    tolerance = 4 / len(values) ** 0.5
    assert values.mean().abs() < tolerance
    assert (values.square().mean() - 1 / 3).abs() < tolerance
    assert values.abs().max() > 0.95


@pytest.mark.parametrize("augmentation", VARIANTS[7:])
def test_each_walk_of_a_batch_has_its_own_draw(augmentation: PoseAugmentation) -> None:
    found = augmentation(same_poses(6), COCO17, seeded())
    for i in range(6):
        for j in range(i):
            assert not torch.equal(found[i], found[j])


def test_swaps_are_drawn_before_noise_and_a_move_last() -> None:
    """The order matters for repeating a run: the draws of later lines follow those of earlier."""
    pose = same_poses(3)
    generator = seeded()
    step = only(swap_sides=0.5)(pose, COCO17, generator)
    step = only(joint_noise=0.1)(step, COCO17, generator)
    step = only(point_noise=0.05)(step, COCO17, generator)
    step = only(move=(3.0, 1.0))(step, COCO17, generator)
    assert torch.equal(PoseAugmentation()(pose, COCO17, seeded()), step)


@pytest.mark.parametrize(
    ("what", "name"),
    [
        *(("probability", name) for name in ("reverse", "swap_sides", "mirror", "mirror_x")),
        *(("probability", name) for name in ("permutation", "frame_dropout", "squeeze_flip")),
        *(("share", name) for name in ("squeeze", "joint_dropout")),
    ],
)
def test_probabilities_and_shares_are_checked(what: str, name: str) -> None:
    for value in (1.5, -0.1, float("nan")):
        with pytest.raises(InputError, match=f"augmentation.{name} is {value}; give a {what}"):
            PoseAugmentation(**{name: value})  # type: ignore[arg-type]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"augmentation.permutation_size is 0; give 1 or more"):
        PoseAugmentation(permutation_size=0)
    with pytest.raises(InputError, match=r"augmentation.shuffle leaves no neighbours"):
        PoseAugmentation(shuffle=True, pace="interpolated")


# In space.


def metres(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape, 20, 3, generator=seeded()) - 1


def same_metres(batch: int, time: int = 6) -> Tensor:
    return metres(1, time).expand(batch, -1, -1, -1)


def in_space(pose: Tensor, **settings: object) -> Tensor:
    return only(**settings)(pose, KINECT20, seeded(), space=True)


def test_noise_of_joints_in_space_has_three_coordinates() -> None:
    pose = same_metres(400)
    change = in_space(pose, joint_noise=0.02) - pose
    torch.testing.assert_close(change, change[:, :1].expand_as(change), rtol=0, atol=1e-6)
    for axis in range(3):
        assert_uniform(change[:, 0, :, axis] / 0.02, 1.0)
    assert torch.corrcoef(change[:, 0].flatten(0, 1).T).fill_diagonal_(0).abs().max() < 0.05


def test_scaling_in_space_keeps_the_mean_and_the_form() -> None:
    pose = same_metres(1500)
    found = in_space(pose, scale=0.2)
    middle = pose.mean(dim=(1, 2), keepdim=True)
    factor = ((found - middle) / (pose - middle)).flatten(1).median(dim=1).values
    assert_uniform(factor - 1, 0.2)
    expected = middle + factor[:, None, None, None] * (pose - middle)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("turn", [30.0, 180.0])
def test_turns_are_of_all_angles_and_about_the_vertical(turn: float) -> None:
    pose = same_metres(3000)
    found = in_space(pose, turn=turn)
    assert torch.equal(found[..., 1], pose[..., 1])
    middle = pose.mean(dim=(1, 2), keepdim=True)
    before, after = (torch.complex(p[..., 2], p[..., 0]) for p in (pose - middle, found - middle))
    torch.testing.assert_close(before.abs(), after.abs(), rtol=0, atol=1e-5)
    angle = (after * before.conj()).sum(dim=(1, 2)).angle().rad2deg()
    assert_uniform(angle, turn)
    each = (after * before.conj()).angle().rad2deg() - angle[:, None, None]
    assert torch.minimum(each.abs(), 360 - each.abs())[before.abs() > 0.1].max() < 0.01


@pytest.mark.parametrize("name", ["turn", "scale", "joint_noise"])
def test_each_walk_in_space_has_its_own_draw(name: str) -> None:
    found = in_space(same_metres(6), **{name: 0.1})
    assert all(not torch.equal(found[i], found[j]) for i in range(6) for j in range(i))


def test_a_turn_is_drawn_between_size_and_noise() -> None:
    pose, generator = metres(3, 4), seeded()
    for step in ({"scale": 0.1}, {"turn": 20.0}, {"joint_noise": 0.1}):
        pose = only(**step)(pose, KINECT20, generator, space=True)
    together = in_space(metres(3, 4), scale=0.1, turn=20.0, joint_noise=0.1)
    assert torch.equal(pose, together)


def test_turns_beyond_a_half_are_refused() -> None:
    for turn in (-1.0, 181.0, float("nan")):
        with pytest.raises(InputError, match=rf"augmentation.turn is {turn}; give degrees, 0 to"):
            only(turn=turn)


# GaitFormer's. What its reference draws is handed in.

PUBLISHED = PoseAugmentation(
    pace="reference",
    squeeze=0.1,
    squeeze_flip=0.5,
    swap_sides=0.0,
    noise="gaussian",
    joint_noise=0.0005,
    point_noise=0.0005,
    clamp_confidence=False,
    move=(0.0, 0.0),
)


def draw_instead(patch: pytest.MonkeyPatch, **values: Sequence[object]) -> None:
    """Have ``torch.rand`` or ``torch.randn`` return what is given, call by call."""

    def from_list(left: list[object]) -> Callable[..., Tensor]:
        def draw(shape: tuple[int, ...], dtype: torch.dtype, **how: object) -> Tensor:
            return torch.as_tensor(left.pop(0)).to(dtype).reshape(shape).clone()

        return draw

    for name, given in values.items():
        patch.setattr(torch, name, from_list(list(given)))


@pytest.mark.parametrize("number", range(5))
def test_squeezing_the_nose_is_the_references(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_instead(monkeypatch, rand=FORMER[f"squeeze/draws{number}"])
    pose = torch.from_numpy(FORMER["squeeze/input"])[None]
    found = only(squeeze=0.1, squeeze_flip=0.5)(pose, OPENPOSE18, seeded())
    np.testing.assert_allclose(found[0], FORMER[f"squeeze/u{number}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["joint", "point"])
def test_gaussian_noise_is_the_references(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_instead(monkeypatch, randn=[FORMER[f"{name}noise/draw"] / 0.0005])
    pose = torch.from_numpy(FORMER["noise/input_f32"])[None]
    vary = only(noise="gaussian", clamp_confidence=False, **{f"{name}_noise": 0.0005})
    found = vary(pose, OPENPOSE18, seeded())[0]
    np.testing.assert_allclose(found, FORMER[f"{name}noise/out"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("length", [60, 150])
def test_the_whole_training_transform_is_the_references(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk, seed = (FORMER[f"chain/T{length}/{name}"] for name in ("input", "np_seed"))
    random = np.random.RandomState(int(seed))
    crop = random.randint(0, length - 96) if length > 96 else 0
    pace = np.array([PACES.index(random.choice(PACES))])
    start = np.array([random.randint(0, paced_starts(pace, 48)[0])])
    squeeze, reverse = random.uniform(size=2), random.uniform() > 0.5
    joints, points = random.normal(0, 0.0005, (18, 2)), random.normal(0, 0.0005, (48, 18, 3))

    frames = (crop + paced_steps(pace, start, 48)[0]) % length
    pose = torch.from_numpy(walk[frames[::-1] if reverse else frames])[None]
    draw_instead(monkeypatch, rand=squeeze, randn=[joints / 0.0005, points / 0.0005])
    found = PUBLISHED(pose, OPENPOSE18, seeded())[0]
    expected = FORMER[f"chain/T{length}/output"].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_squeezing_x_leaves_the_pelvis_and_all_else() -> None:
    pose = torch.randn(2000, 2, 18, 3, generator=seeded())
    pose[..., 8, 0] = 0
    found = only(squeeze=0.2, squeeze_flip=0.25, squeeze_axis="x")(pose, OPENPOSE18, seeded(1))
    assert torch.equal(found[..., 1:], pose[..., 1:]) and (found[..., 8, 0] == 0).all()
    factor = found[:, 0, 0, 0] / pose[:, 0, 0, 0]
    torch.testing.assert_close(found[..., 0], factor[:, None, None] * pose[..., 0])
    assert 0.22 < (factor < 0).float().mean() < 0.28
    assert_uniform(factor.abs() - 0.9, 0.1)


def test_lost_joints_are_empty() -> None:
    found = only(joint_dropout=0.4)(same_poses(500, 40), COCO17, seeded())
    lost = (found == 0).all(dim=-1)
    assert torch.equal(found, torch.where(lost[..., None], 0, same_poses(500, 40)))
    share = lost.float().mean(dim=(1, 2))
    assert share.mean() == pytest.approx(0.2, abs=0.01)
    assert share.min() < 0.02 and share.max() > 0.38
    assert not torch.equal(lost[:, 0], lost[:, 1])


def test_poses_between_frames_lie_on_the_line() -> None:
    pose = poses(2, 5, 17)
    times = torch.tensor([[0.0, 0.25, 4.0], [3.5, 1.0, 0.0]])
    found = resampled(pose, times)
    assert torch.equal(found[0, 0], pose[0, 0]) and torch.equal(found[0, 2], pose[0, 4])
    torch.testing.assert_close(found[0, 1], 0.75 * pose[0, 0] + 0.25 * pose[0, 1])
    torch.testing.assert_close(found[1, 0], (pose[1, 3] + pose[1, 4]) / 2)
    assert torch.equal(found[1, 1:], pose[1, [1, 0]])


def ramps(batch: int, frames: int) -> Tensor:
    """Walks whose every value is the number of the frame."""
    return torch.arange(float(frames)).view(1, -1, 1, 1).expand(batch, -1, 17, 3)


def test_interpolated_paces_are_steady_and_reach_everything() -> None:
    found = only(pace="interpolated")(ramps(8000, 96), COCO17, seeded())
    assert found.shape == (8000, 48, 17, 3)
    assert torch.equal(found, found[..., :1, :1].expand_as(found))
    times = found[..., 0, 0]
    steps = times.diff(dim=1)
    assert torch.equal(steps, steps[:, :1].expand_as(steps))
    for pace in PACES:
        chosen = times[steps[:, 0] == pace]
        assert len(chosen) / len(times) == pytest.approx(1 / 8, abs=0.02)
        span = pace * 47
        assert set(chosen[:, 0].tolist()) == set(range(int(95 - span) + 1))
    assert times.min() == 0 and times.max() == 95


def test_with_an_interpolated_pace_blocks_change_places_on_the_device() -> None:
    vary = only(pace="interpolated", permutation=0.5, permutation_size=4)
    times = vary(ramps(6000, 40), COCO17, seeded())[..., 0, 0]  # windows of 20
    order = times.argsort(dim=1)
    moved = order != torch.arange(20)
    assert 0.47 < moved.any(dim=1).float().mean() < 0.53
    step = times.sort(dim=1).values.diff(dim=1)
    assert torch.equal(step, step[:, :1].expand_as(step))  # nothing between two blocks
    first = moved.float().argmax(dim=1)[moved.any(dim=1)]
    last = 19 - moved.flip(1).float().argmax(dim=1)[moved.any(dim=1)]
    assert set((last - 3).tolist()) == set(range(5, 16))
    for later in range(5, 16):
        assert set(first[last - 3 == later].tolist()) == set(range(later - 4))


def test_windows_and_device_agree_about_the_pace() -> None:
    """From the numbers of the frames to the poses that the method sees."""
    walk = ramps(1, 300)[0]
    lengths = np.full(64, 300)
    for pace in ("none", "reference", "interpolated"):
        vary = only(pace=pace)
        window = TiledWindow(48, "random", pace=vary.pace, reverse=0.5)
        found = vary(walk[window.draw(lengths, 3)], COCO17, seeded())
        assert found.shape == (64, 48, 17, 3)
        steps = found[..., 0, 0].diff(dim=1)
        assert 0.2 < (steps[:, -1] < 0).float().mean() < 0.8
        assert steps.abs().max() <= 2
