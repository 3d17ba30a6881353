from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.video.flow import flow_method
from gaitbench.video.spynet import LEVELS, SPyNet, moved_back, read_spynet
from tests.goldens import GAITCOPY, filled, golden


def weights() -> dict[str, Tensor]:
    """Those of the golden file, by the names that the authors' file has."""
    state = {}
    for name, parameter in SPyNet().named_parameters():
        _, level, layer, kind = name.split(".")
        stream = 5000 + 10 * int(level) + int(layer) + (kind == "bias")
        limit = 0.02
        if kind == "weight":
            limit = np.sqrt(6 / (49 * parameter.shape[1])) * (0.5 if layer == "8" else 0.9)
        value = limit * (2 * filled(tuple(parameter.shape), stream) - 1)
        name = f"moduleBasic.{level}.moduleBasic.{layer}.{kind}"
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("spynet") / "network-sintel-final.pytorch"
    torch.save(weights(), path, _use_new_zipfile_serialization=False)  # as in 2018
    return path


def test_published_weights_give_the_published_flow(file):
    data = golden("spynet", GAITCOPY)
    first = data["frame0_bgr"]
    second = np.roll(first, 2, axis=1) + data["change"]
    # the authors' wrapper swaps red and blue; so does this test
    found = flow_method("spynet", file)(first[..., ::-1], second[..., ::-1])
    apart = np.abs(100 * found.transpose(2, 0, 1) - data["flow"])
    assert apart.max() < 1 + 1e-2  # hundredths were cut off
    hundredths = np.trunc(100 * found.transpose(2, 0, 1))
    assert (hundredths == data["flow"]).mean() > 0.999


def test_parameters(file):
    network = read_spynet(file)
    assert sum(p.numel() for p in network.parameters()) == 1_440_300
    assert len(network.levels) == LEVELS
    assert not network.training


@pytest.mark.parametrize("size", [(50, 70), (33, 31), (20, 90)])
def test_any_size(file, size):
    pictures = torch.rand(2, 2, 3, *size)
    with torch.inference_mode():
        assert read_spynet(file)(*pictures).shape == (2, 2, *size)


def test_moving_back_follows_the_flow():
    picture = torch.rand(1, 3, 20, 30)
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0], flow[:, 1] = 3, -2
    moved = moved_back(picture, flow)
    torch.testing.assert_close(moved[..., 2:, :-3], picture[..., :-2, 3:], atol=1e-5, rtol=0)
    border = picture[..., :1, 3:].expand(-1, -1, 2, -1)
    torch.testing.assert_close(moved[..., :2, :-3], border, atol=1e-5, rtol=0)


@pytest.mark.parametrize("content", [{}, {"a.0.b.0.weight": torch.zeros(3)}, [1]])
def test_other_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth does not hold SPyNet's 6 levels"):
        read_spynet(tmp_path / "a.pth")
