"""Blocks against naive formulations and finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from gaitbench.backbones.graph import (
    _RawMoments,
    batch_norm,
    conv_norm,
    graph_conv_norm,
    moments,
)


def random_norm(channels: int) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels).double()
    for tensor in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    return bn


def activations(channels: int) -> torch.Tensor:
    x = torch.randn(3, channels, 7, 5, dtype=torch.float64) + 1
    return x.to(memory_format=torch.channels_last)


def twins(norm: nn.BatchNorm2d) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
    other = nn.BatchNorm2d(norm.num_features).double()
    other.load_state_dict(norm.state_dict())
    return norm, other


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_moments_are_mean_and_covariance() -> None:
    x = activations(4)
    rows = x.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    mean, covariance, size = moments(x)
    assert size == len(rows)
    np.testing.assert_allclose(mean, rows.mean(0))
    np.testing.assert_allclose(covariance, np.cov(rows.T, bias=True))


def test_gradient_of_moments() -> None:
    torch.manual_seed(0)
    rows = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_RawMoments.apply, rows)
    assert torch.autograd.gradgradcheck(_RawMoments.apply, rows)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("outputs", "kernel", "stride"), [(16, 1, 1), (16, 1, 2), (3, 9, 2)])
def test_conv_norm_is_convolution_then_norm(
    training: bool, outputs: int, kernel: int, stride: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, outputs, (kernel, 1), (stride, 1), (kernel // 2, 0)).double()
    bn, plain = twins(random_norm(outputs).train(training))
    plain.train(training)
    x = activations(4)
    weights = torch.randn(outputs, dtype=torch.float64)[:, None, None]

    grads = []
    for result in (conv_norm(x, conv, bn), plain(conv(x))):
        conv.zero_grad()
        (result.sin() * weights).sum().backward()
        grads.append((conv.weight.grad.clone(), conv.bias.grad.clone()))
    assert_same(conv_norm(x, conv, bn), plain(conv(x)))
    assert_same(bn.weight.grad, plain.weight.grad)
    assert_same(bn.bias.grad, plain.bias.grad)
    assert_same(grads[0][0], grads[1][0])
    assert_same(grads[0][1], grads[1][1])
    if training:
        assert not grads[0][1].any()  # exactly 0, not rounding noise
    for name, value in plain.state_dict().items():
        assert_same(bn.state_dict()[name], value)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("slices", [3, 4])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 16), (4, 4), (6, 210)])
def test_graph_conv_is_sum_over_neighbours(
    training: bool, slices: int, inputs: int, outputs: int
) -> None:
    """The three orders of work (few inputs, few channels, many) give the naive sum."""
    torch.manual_seed(0)
    conv = nn.Conv2d(inputs, slices * outputs, 1).double()
    bn, plain = twins(random_norm(outputs).train(training))
    plain.train(training)
    hops = torch.rand(slices, 5, 5, dtype=torch.float64, requires_grad=True)
    x = activations(inputs)

    z = conv(x)
    naive = torch.stack(
        [
            sum(z[:, k * outputs : (k + 1) * outputs] @ hops[k][:, w, None] for k in range(slices))
            for w in range(5)
        ],
        -1,
    )[..., 0, :]
    results = (graph_conv_norm(x, conv, bn, hops), plain(naive))
    assert_same(*results)
    grads = [
        torch.autograd.grad(result.sin().sum(), (hops, conv.weight, conv.bias))
        for result in results
    ]
    for ours, expected in zip(*grads, strict=True):
        assert_same(ours, expected)
    for name, value in plain.state_dict().items():
        assert_same(bn.state_dict()[name], value)


def test_single_value_is_normalised_by_running_statistics() -> None:
    bn = random_norm(4).train()
    before = {name: value.clone() for name, value in bn.state_dict().items()}
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64)
    y = batch_norm(x, bn)
    assert_same(y, bn.eval()(x))
    assert all(torch.equal(before[name], value) for name, value in bn.state_dict().items())
