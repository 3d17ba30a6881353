"""GaitSet against the numbers of its authors' program and of GaitCopy's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gaitbench.backbones.gaitset import BINS, GaitSet
from gaitbench.errors import InputError
from gaitbench.losses import LinearClassification
from tests.goldens import filled, filled_state, filled_windows, gaitcopy_golden, thinned

COPY = {"part_dim": 128, "padding": 4, "slope": 0.3, "start": "keras"}


def fill(network: GaitSet, keras: bool) -> None:
    """Give a network the golden weights, of which those of the parts were drawn last."""
    shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    shapes["fc_bin"] = shapes.pop("fc_bin")
    network.load_state_dict(filled_state(shapes, keras))


@pytest.mark.parametrize("name", ["gaitset_gray", "gaitset_of"])
@torch.no_grad()
def test_codes_are_those_of_gaitcopys_authors(name: str) -> None:
    data, _ = gaitcopy_golden("nets")
    flow = name.endswith("_of")
    network = GaitSet(1 + flow, **COPY).eval()
    fill(network, keras=True)
    code = network(filled_windows(2, flow, 1000 + flow))
    wanted = data[f"{name}/code"]
    found = thinned(code.numpy(), wanted)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    if not flow:
        shapes = {f"skip{i}": (1,) for i in range(11)}
        head = LinearClassification(7936, 150).probs
        shapes |= {n: tuple(weight.shape) for n, weight in head.state_dict().items()}
        state = filled_state(shapes)
        head.load_state_dict({n: state[n] for n in ("weight", "bias")})
        wanted = data["gaitset_cross_gray/logits"]
        assert np.abs(head(code).numpy() - wanted).max() < 1e-5 * np.abs(wanted).max()


@torch.no_grad()
def test_codes_are_those_of_gaitsets_authors() -> None:
    data, _ = gaitcopy_golden("gaitset_orig")
    network = GaitSet().eval()
    fill(network, keras=False)
    frames = torch.from_numpy(np.floor(2 * filled((2, 30, 64, 44, 1), 6000))).float()
    # sets of 30 and of 17 frames: the shorter one begins again
    shorter = frames[1, torch.arange(30) % 17]
    parts = network(torch.cat((frames, shorter[None]))).unflatten(1, (62, 256)).numpy()
    for found, name in ((parts[:2], "emb"), (parts[[0, 2]], "emb_packed_30_17")):
        found = thinned(found, data[name])
        assert np.abs(found - data[name]).max() < 1e-5 * np.abs(data[name]).max()


def test_order_of_frames_tells_nothing_and_parts_are_those_of_plain_loops() -> None:
    torch.manual_seed(0)
    network = GaitSet(widths=(4, 8, 16), part_dim=8).double()
    frames = torch.randn(2, 5, 64, 44, 1, dtype=torch.float64)
    code = network(frames)
    assert torch.allclose(network(frames[:, [3, 1, 4, 0, 2]]), code)

    def rise(x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x, 0.01)

    for walk, found in zip(frames, code, strict=True):
        x = rise(network.set1(walk.permute(0, 3, 1, 2)))
        x = F.max_pool2d(rise(network.set2(x)), 2)
        y = rise(network.gl2(rise(network.gl1(x.amax(0)[None]))))
        x = F.max_pool2d(rise(network.set4(rise(network.set3(x)))), 2)
        y = rise(network.gl4(rise(network.gl3(F.max_pool2d(y, 2) + x.amax(0)))))
        x = rise(network.set6(rise(network.set5(x)))).amax(0)[None]
        y = y + x
        parts = []
        for count in BINS:
            for maps in (x, y):
                for strip in maps[0].chunk(count, 1):
                    vector = strip.mean((1, 2)) + strip.amax((1, 2))
                    parts.append(vector @ network.fc_bin[len(parts)])
        assert torch.allclose(torch.cat(parts), found)
        plain = torch.autograd.grad(torch.cat(parts).square().sum(), [*network.parameters()])
        own = torch.autograd.grad(found.square().sum(), [*network.parameters()], retain_graph=True)
        assert all(map(torch.allclose, own, plain))


@torch.no_grad()
def test_opengaits_order_has_the_same_parts() -> None:
    torch.manual_seed(1)
    one = GaitSet(widths=(4, 8, 16), part_dim=8)
    other = GaitSet(widths=(4, 8, 16), part_dim=8, order="opengait")
    place, order = 0, {}
    for count in BINS:
        for branch in range(2):
            for strip in range(count):
                order[branch, count, strip] = place
                place += 1
    theirs = [
        order[branch, count, strip]
        for branch in range(2)
        for count in reversed(BINS)
        for strip in range(count)
    ]
    other.load_state_dict({**one.state_dict(), "fc_bin": one.fc_bin[theirs]})
    frames = torch.rand(2, 3, 64, 44, 1)
    parts = one(frames).unflatten(1, (62, 8))
    assert torch.allclose(other(frames).unflatten(1, (62, 8)), parts[:, theirs], atol=1e-6)


@torch.no_grad()
def test_weights_start_within_the_published_limits() -> None:
    torch.manual_seed(2)
    for network, limit in ((GaitSet(), 0.01111), (GaitSet(**COPY), 0.01944)):
        assert float(network.fc_bin.abs().max()) == pytest.approx(limit, rel=1e-3)
        convolution = (6 / (9 * (64 + 128))) ** 0.5
        assert 0.99 * convolution < network.set5.weight.abs().max() <= convolution


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaitSet(slope=0), "slope is 0"),
        (lambda: GaitSet()(torch.zeros(1, 2, 60, 60, 1)), "cuts 15 rows of its map into 16 strips"),
    ],
)
def test_mistakes_are_told(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
