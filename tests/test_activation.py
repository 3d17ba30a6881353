"""Activation against the authors' numbers, attention against its modules, steps against walkers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gaitbench import activation, synthetic
from gaitbench.activation import Steps, at_frames, find_steps, in_time, key_frames
from gaitbench.backbones import graph_network
from gaitbench.backbones.attention import ATTENTIONS, Attention
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton
from gaitbench.windows import Window
from tests.goldens import LAYOUTS, golden, recipe_weights

GOLDEN = {
    "model_n21r8_coco_1x15": "resgcn-n21-r8",
    "model_n39r8_coco_1x3": "resgcn-n39-r8",
    "model_n51r4_oumvlp_3x5": "resgcn-n51-r4",
    "model_stgcn_oumvlp": "st-gcn",
}
both_layouts = pytest.mark.parametrize("layout", [COCO17, OPENPOSE18], ids=lambda s: s.name)


@pytest.mark.parametrize("name", GOLDEN)
def test_activation_is_that_of_the_authors(name: str) -> None:
    data = golden(name)
    streams, weights = torch.from_numpy(data["x"]), recipe_weights(data)
    layout = LAYOUTS[str(data["layout"])]
    backbone = graph_network(GOLDEN[name], layout, *streams.shape[3:], data["emb"].shape[1]).eval()
    backbone.load_state_dict(weights)
    with torch.no_grad():
        maps = activation.explain_graph(backbone, streams)
    assert list(maps) == ["activation"]
    np.testing.assert_allclose(maps["activation"][0], data["activation"], atol=1e-4, rtol=1e-4)


def test_activation_of_more_values_than_a_block() -> None:
    features, weight = torch.randn(3, 5, 4, 7), torch.randn(2 * activation.BLOCK + 5, 5)
    expected = torch.einsum("dc,bctv->bdtv", weight, features).amax(1)
    torch.testing.assert_close(activation.joint_activation(features, weight), expected)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_is_named_after_its_module_and_spreads_over_frames_and_joints(kind: str) -> None:
    backbone = graph_network(f"{kind}-resgcn-n21-r8", COCO17, 1, 3).eval()
    streams = torch.randn(2, 14, 17, 1, 3)
    inputs: dict[str, Tensor] = {}
    for name, module in backbone.named_modules():
        if isinstance(module, Attention):
            module.register_forward_hook(
                lambda module, args, _, name=name: inputs.update({name: args[0].clone()})
            )
    with torch.no_grad():
        maps = activation.explain_graph(backbone, streams)
        if kind == "ca":  # channels have no place on the body
            assert list(maps) == ["activation"]
            return
        assert list(maps) == ["activation", "main_stream.0.att", "main_stream.1.att"]
        for (name, x), frames in zip(inputs.items(), (7, 4), strict=True):
            factors = backbone.get_submodule(name).attend(x)
            expected = (x * 0 + factors).mean(1)
            assert maps[name].shape == (2, frames, 17)
            torch.testing.assert_close(maps[name], expected)
    hooks = [h for module in backbone.modules() for h in module._forward_pre_hooks]
    assert not hooks


def test_attention_in_training_would_move_statistics_and_is_refused() -> None:
    backbone = graph_network("ja-resgcn-n21-r8", COCO17, 1, 3)
    with pytest.raises(ValueError, match="evaluation mode"):
        activation.explain_graph(backbone, torch.randn(2, 8, 17, 1, 3))


def test_shares_are_of_each_walk_and_never_undefined() -> None:
    values = torch.tensor([[[-1.0, 2.0], [4.0, 0.0]], [[-3.0, -1.0], [-2.0, 0.0]]])
    expected = [[[0, 0.5], [1, 0]], [[0, 0], [0, 0]]]
    assert activation.share_of_greatest(values).tolist() == expected


@pytest.mark.parametrize("frames", [1, 2, 5, 6, 30, 59, 60, 61, 64])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_frame_takes_the_value_at_its_time(frames: int, stride: int) -> None:
    count = -(-frames // stride)
    values = torch.arange(float(count))[None, :, None].expand(1, count, 3)
    expected = torch.arange(frames) // stride
    assert at_frames(values, frames)[0, :, 2].tolist() == expected.tolist()


def test_frames_that_are_no_halves_are_refused() -> None:
    with pytest.raises(ValueError, match=r"60 frames halved .* found 20"):
        at_frames(torch.zeros(1, 20, 3), 60)


# --------------------------------------------------------------------------------- which is real


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 30), st.booleans())
def test_each_frame_of_the_walk_is_shown_once_in_order(
    lengths: list[int], size: int, shuffle: bool
) -> None:
    """As many as window and walk have in common, whatever padding and order."""
    windows = Window(size, "center", shuffle=shuffle).draw(np.array(lengths), 1)
    order, real = in_time(windows)
    for window, places, mask in zip(windows, order, real, strict=True):
        assert sorted(places) == list(range(size))
        shown = window[places[mask]].tolist()
        assert shown == sorted(set(window.tolist()))
        assert mask.tolist() == sorted(mask, reverse=True)


def test_padding_is_left_out() -> None:
    windows = Window(40, "center").draw(np.array([25, 60]), 0)
    order, real = in_time(windows)
    assert real.sum(1).tolist() == [25, 40]
    assert order[0][:25].tolist() == list(range(order[0][0], order[0][0] + 25))
    assert windows[0][order[0][:25]].tolist() == list(range(25))
    assert order[1].tolist() == list(range(40))


# ---------------------------------------------------------------------------------------- steps


def swinging(frames: int, stride: float, start: float, angle: float, layout: Skeleton) -> Tensor:
    """Ankles that swing past each other as sinusoids, along a line at some angle."""
    turns = torch.arange(frames) / stride + start
    swing = 20 * torch.cos(2 * torch.pi * turns)
    pose = torch.zeros(1, frames, layout.num_joints, 3)
    direction = torch.tensor([np.cos(angle), np.sin(angle)])
    pose[0, :, layout.joints.index("left_ankle"), :2] = 100 + swing[:, None] * direction
    pose[0, :, layout.joints.index("right_ankle"), :2] = 93 - swing[:, None] * direction
    pose[..., 2] = 1
    return pose


def apart(phase: Tensor, expected: Tensor) -> Tensor:
    """Difference of phases, around the circle."""
    return (phase - expected + 0.5).remainder(1) - 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.integers(24, 110),
    st.floats(10, 32),
    st.floats(0, 1),
    st.floats(0, 3.1),
    st.sampled_from([COCO17, OPENPOSE18]),
)
def test_phase_of_a_sinusoid(
    frames: int, stride: float, start: float, angle: float, layout: Skeleton
) -> None:
    """Half a stride, wherever it swings to; the first and last frames too."""
    stride = min(stride, frames)
    steps = find_steps(swinging(frames, stride, start, angle, layout), layout)
    expected = 2 * (torch.arange(frames) / stride + start)
    assert apart(steps.phase[0], expected).abs().max() < 0.05
    assert steps.frames[0] == pytest.approx(stride / 2, rel=0.05)


@both_layouts
def test_phase_with_frames_and_ankles_missing(layout: Skeleton) -> None:
    pose = swinging(60, 26, 0.2, 0.3, layout)
    expected = find_steps(pose, layout)
    broken, seen = pose.clone(), torch.ones(1, 60, dtype=torch.bool)
    broken[0, [3, 4, 5, 17, 30, 31, 59], layout.joints.index("left_ankle")] = 0
    broken[0, 40:44, layout.joints.index("right_ankle")] = torch.tensor([500.0, 500.0, 0.0])
    broken[0, 50:] = 77
    seen[0, 50:] = False
    steps = find_steps(broken, layout, seen)
    assert apart(steps.phase[0, :50], expected.phase[0, :50]).abs().max() < 0.03
    # walks of a batch know nothing of each other
    both = find_steps(torch.cat([pose, broken]), layout, torch.cat([seen | True, seen]))
    torch.testing.assert_close(both.phase[1:], steps.phase)
    torch.testing.assert_close(both.phase[:1], expected.phase)


@pytest.mark.parametrize("fault", ["still", "noise", "unseen", "short", "no ankles"])
def test_no_step_where_there_is_none(fault: str) -> None:
    pose, layout = swinging(60, 26, 0, 0, COCO17), COCO17
    if fault == "still":
        pose[..., :2] = pose[:, :1, :, :2]
    elif fault == "noise":
        generator = torch.Generator().manual_seed(0)
        pose[..., :2] = torch.randn(1, 60, 17, 2, generator=generator)
    elif fault == "unseen":
        pose[..., 15, 2] = 0
    elif fault == "short":
        pose = pose[:, :3]
    else:
        layout = Skeleton("head", ("nose",), (), (0,), (0,), 0, ())
        pose = pose[:, :, :1]
    steps = find_steps(pose, layout)
    assert steps.phase.isnan().all()
    assert steps.frames.isnan().all()


@pytest.mark.parametrize(("view", "early"), [(0, 0.13), (18, 0.06), (54, 0), (90, 0), (144, 0)])
def test_feet_of_walkers_pass_at_half_a_step(view: int, early: float) -> None:
    """In 3D the one foot passes the other where their distance forwards changes sign.

    Seen from the front, the swinging foot is lifted before it passes.
    """
    late = []
    left, right = (synthetic.JOINTS.index(f"{side}_ankle") for side in ("left", "right"))
    for person in range(6):
        joints = synthetic.walk(synthetic.Subject.draw((0, person)), "nm", (1, person))
        camera, random = synthetic.Camera(view), np.random.default_rng(person)
        pose, numbers = synthetic.detect(joints, camera, "nm", random)
        steps = find_steps(torch.from_numpy(pose)[None], COCO17)
        forward = (joints[:, left, 0] - joints[:, right, 0])[numbers - 1]
        passes = np.flatnonzero(forward[:-1] * forward[1:] < 0)
        share = torch.from_numpy(forward[passes] / (forward[passes] - forward[passes + 1]))
        before, after = steps.phase[0, passes], steps.phase[0, passes + 1]
        late.append(apart(before + share * apart(after, before), torch.tensor(0.5)))
    found = torch.cat(late)
    assert len(found) > 20
    assert abs(float(found.mean()) + early) < 0.04
    assert float(found.std()) < 0.08


def steps_of(walk: int, stride: float, start: float) -> Steps:
    phase = (2 * (torch.arange(walk + 5) / stride + start)) % 1
    return Steps(phase[None], torch.tensor([stride / 2]))


def test_key_frames_are_a_stride_from_feet_apart() -> None:
    for walk, stride, start in ((60, 26.0, 0.1), (60, 40.0, 0.4), (30, 25.0, 0.0)):
        steps = steps_of(walk, stride, start)
        frames = key_frames(steps, walk, 8)
        assert len(frames) == 8
        assert frames.min() >= 0 and frames.max() < walk
        np.testing.assert_allclose(np.diff(frames), stride / 8, atol=1)
        shown = steps.phase[0, frames]
        assert apart(shown, 2 * torch.arange(8) / 8).abs().max() < 2 * 1.2 / stride


@pytest.mark.parametrize(("walk", "count"), [(20, 8), (8, 8), (5, 5), (1, 1)])
def test_key_frames_of_less_than_a_stride_are_of_the_whole_walk(walk: int, count: int) -> None:
    nothing = Steps(torch.full((1, walk), torch.nan), torch.tensor([torch.nan]))
    for steps in (nothing, steps_of(walk, 40.0, 0.3)):
        frames = key_frames(steps, walk, 8)
        assert len(frames) == count
        assert frames[0] == 0 and frames[-1] == walk - 1
