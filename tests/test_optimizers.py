"""TensorFlow's Adam against its formula, weight by weight."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from gaitbench.errors import InputError
from gaitbench.optimizers import TensorFlowAdam


def formula(
    weight: np.ndarray, grads: list[np.ndarray], rate: float, l2: float, clip: float | None
) -> np.ndarray:
    m, v, w = np.zeros_like(weight), np.zeros_like(weight), weight.copy()
    for t, grad in enumerate(grads, start=1):
        g = grad + l2 * w
        if clip:
            g = np.clip(g, -clip, clip)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
    return w


@pytest.mark.parametrize(("l2", "clip"), [(0.0, None), (0.02, 5.0)])
def test_steps_are_those_of_the_formula(l2: float, clip: float | None) -> None:
    random = np.random.default_rng(0)
    # gradients near the epsilon, common ones, and some that are clipped
    grads = [random.normal(size=60) * np.logspace(-10, 2, 60) for _ in range(5)]
    weight = nn.Parameter(torch.from_numpy(random.normal(size=60) * np.logspace(-8, 0, 60)))
    start = weight.detach().numpy().copy()
    optimizer = TensorFlowAdam([weight], lr=1e-3, weight_decay=l2, clip=clip)
    plain = nn.Parameter(weight.detach().clone())
    other = torch.optim.Adam([plain], lr=1e-3)
    for grad in grads:
        weight.grad, plain.grad = torch.from_numpy(grad.copy()), torch.from_numpy(grad.copy())
        optimizer.step()
        other.step()
    wanted = formula(start, grads, 1e-3, l2, clip)
    assert np.allclose(weight.detach().numpy(), wanted, rtol=1e-10, atol=1e-13)
    assert not np.allclose(plain.detach().numpy(), wanted, rtol=1e-10, atol=1e-5)


def test_resumed_it_goes_on_as_it_would_have() -> None:
    def run(steps: int, weight: nn.Parameter, optimizer: TensorFlowAdam) -> None:
        for step in range(steps):
            weight.grad = torch.full_like(weight, 1e-7 * (step + 1))
            optimizer.step()

    weight = nn.Parameter(torch.ones(3))
    optimizer = TensorFlowAdam([weight], weight_decay=0.1)
    run(2, weight, optimizer)
    resumed = nn.Parameter(weight.detach().clone())
    again = TensorFlowAdam([resumed])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(3, weight, optimizer)
    run(3, resumed, again)
    assert torch.equal(weight, resumed)


def test_closure_groups_and_weights_without_gradient() -> None:
    first, second, third = (nn.Parameter(torch.ones(2)) for _ in range(3))
    groups = [{"params": [first], "lr": 0.1}, {"params": [second, third], "clip": 1.0}]
    optimizer = TensorFlowAdam(groups, lr=0.2)

    def closure() -> float:
        loss = 4 * first.sum() + 4 * second.sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 16
    assert torch.allclose(first, torch.full((2,), 0.9)) and third.grad is None
    assert torch.allclose(second, torch.full((2,), 0.8)) and torch.equal(third, torch.ones(2))
    assert second.grad is not None and second.grad.tolist() == [1, 1]


def test_clip_that_clips_all_is_refused() -> None:
    with pytest.raises(InputError, match="clip of gradients is 0"):
        TensorFlowAdam([nn.Parameter(torch.ones(1))], clip=0)
