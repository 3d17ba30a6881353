"""Which pixels make the embedding, of the three networks of pictures."""

import pytest
import torch
from torch import Tensor, nn

from gaitbench.backbones import frame_network
from gaitbench.backbones.gaitcopy import StackNetwork, VolumeNetwork
from gaitbench.backbones.gaitset import GaitSet
from gaitbench.frame_activation import Axis, FrameMaps, frame_activation

SHAPES = {"3d-smallB": (25, 60, 60), "2d-bmvc": (25, 60, 60), "gaitset": (5, 64, 44)}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return frame_network(name, 1, 62 * 8 if name == "gaitset" else 16).eval()


def windows(name: str) -> Tensor:
    return torch.rand(2, *SHAPES[name], 1, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["3d-smallB", "2d-bmvc"])
def test_values_sum_up_to_the_length_of_the_code(name: str) -> None:
    """As biases are 0 where a training begins; also where gradients are off."""
    net, frames = network(name), windows(name)
    with torch.inference_mode():
        maps = frame_activation(net, frames)
        lengths = net(frames).norm(dim=1)
    torch.testing.assert_close(maps.values.sum((1, 2, 3)), lengths, rtol=1e-4, atol=1e-6)


def test_of_a_set_only_the_frames_that_are_seen_have_values() -> None:
    """A frame whose features are nowhere the largest adds nothing through the last map."""
    net, frames = network("gaitset"), windows("gaitset")
    maps = frame_activation(net, frames)
    assert maps.values.shape == (2, 5, 16, 11)
    frames[:, 3] = frames[:, 1]  # one of the two is as good as the other
    twice = frame_activation(net, frames).values
    both = twice[:, 1] + twice[:, 3]
    alone = frame_activation(net, frames[:, [0, 1, 2, 4]]).values
    torch.testing.assert_close(both, alone[:, 1], rtol=1e-4, atol=1e-7)


def seen(net: nn.Module, name: str, layer: str) -> list[tuple[float, float]]:
    """Where the first cell of a layer and its neighbour look: middles of what they see."""
    kept: list[Tensor] = []
    hook = net.get_submodule(layer).register_forward_hook(lambda m, x, y: kept.append(y))
    frames = windows(name)[:1].requires_grad_()
    net(frames)
    hook.remove()
    found = kept[0]
    last = found.shape[-1] // 2
    middles = []
    for cell in (last, last + 1):
        place = (0, slice(None), *(s // 2 for s in found.shape[2:-1]), cell)
        (slope,) = torch.autograd.grad(found[place].sum(), frames, retain_graph=True)
        columns = slope.abs().sum((0, 1, 2, 4)).nonzero()[:, 0]
        middles.append(float(columns.min() + columns.max()) / 2)
    return [(last, middles[0]), (last + 1, middles[1])]


@pytest.mark.parametrize(
    ("name", "layer", "kind"),
    [
        ("3d-smallB", "conv2", VolumeNetwork),
        ("2d-bmvc", "conv2", StackNetwork),
        ("gaitset", "set6", GaitSet),
    ],
)
def test_cells_are_in_the_middle_of_what_they_see(name: str, layer: str, kind: type) -> None:
    """Against the pixels that a cell's value changes with."""
    net = network(name)
    assert isinstance(net, kind)
    for parameter in net.parameters():
        parameter.data.abs_()  # nothing cancels out or is cut off
    columns = frame_activation(net, windows(name)).axes[2]
    # of what is pooled the largest alone is seen: half a cell at most from the middle
    close = 1e-6 if kind is VolumeNetwork else 2.0
    for cell, middle in seen(net, name, layer):
        assert columns.first + cell * columns.step == pytest.approx(middle, abs=close)
    assert columns.step == {VolumeNetwork: 4, StackNetwork: 2, GaitSet: 4}[kind]


def test_maps_lie_on_the_frames() -> None:
    values = torch.arange(6.0).view(1, 1, 2, 3)
    maps = FrameMaps(values, (None, Axis(1, 2), Axis(0.5, 1)))
    found = maps.on_frames(4, 5, 3)
    assert found.shape == (1, 4, 5, 3)
    assert torch.equal(found[:, 0], found[:, 3])
    expected = [[0, 0.5, 1.5], [0, 0.5, 1.5], [1.5, 2, 3], [3, 3.5, 4.5], [3, 3.5, 4.5]]
    torch.testing.assert_close(found[0, 0], torch.tensor(expected))


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        frame_activation(network("3d-smallB").train(), windows("3d-smallB"))
