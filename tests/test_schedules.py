import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gaitbench.errors import InputError
from gaitbench.schedules import CyclicPhases, Milestones, Phase, SteadyFall, layer_wise_groups
from tests.goldens import GAITFORMER, golden

RISING: Phase = {
    "epoch": 0, "base": 0.001, "peak": 0.004, "up": 1, "down": 2, "mode": "triangular"
}  # fmt: skip
FALLING: Phase = {
    "epoch": 5, "base": 0.002, "peak": 0.0001, "up": 2, "down": 1, "mode": "triangular"
}  # fmt: skip
HALVING: Phase = {
    "epoch": 9, "base": 1e-5, "peak": 0.001, "up": 1, "down": 1, "mode": "triangular2"
}  # fmt: skip
PHASES = [RISING, FALLING, HALVING]


def optimizer() -> torch.optim.Optimizer:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]
    return torch.optim.AdamW([{"params": [p]} for p in parameters], lr=1.0)


def follow(schedule: CyclicPhases, steps: int) -> list[float]:
    """Rates of the next steps."""
    rates = []
    for _ in range(steps):
        first, second = (group["lr"] for group in schedule.optimizer.param_groups)
        assert first == second
        rates.append(first)
        schedule.optimizer.step()
        schedule.step()
    return rates


def by_loops(phases: list[Phase], steps_per_epoch: int, epochs: int) -> list[float]:
    """Cycle by cycle with torch's own cyclic schedule, a fresh one a phase, all on one rate."""
    rates = [phases[0]["base"]]
    for epoch in range(epochs):
        for phase in phases:
            if phase["epoch"] == epoch:
                now, into = phase, 0
        for _ in range(steps_per_epoch):
            into += 1
            # walk the triangles one after the other
            up, down = now["up"] * steps_per_epoch, now["down"] * steps_per_epoch
            rest, amplitude = into, now["peak"] - now["base"]
            while rest >= up + down:
                rest -= up + down
                amplitude *= 0.5 if now["mode"] == "triangular2" else 1
            share = rest / up if rest <= up else 1 - (rest - up) / down
            rates.append(now["base"] + amplitude * share)
    return rates[:-1]


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 4, 7])
def test_rates_against_loops(steps_per_epoch: int) -> None:
    schedule = CyclicPhases(optimizer(), PHASES, steps_per_epoch)
    found = follow(schedule, 18 * steps_per_epoch)
    assert found == pytest.approx(by_loops(PHASES, steps_per_epoch, 18), rel=1e-12)


@pytest.mark.parametrize("mode", ["triangular", "triangular2"])
def test_one_phase_is_torchs_cyclic_rate(mode: Any) -> None:
    schedule = CyclicPhases(optimizer(), [{**HALVING, "epoch": 0, "down": 3, "mode": mode}], 5)
    plain = optimizer()
    theirs = torch.optim.lr_scheduler.CyclicLR(
        plain, 1e-5, 0.001, 5, 15, mode, cycle_momentum=False
    )
    expected = []
    for _ in range(70):
        expected.append(plain.param_groups[0]["lr"])
        plain.step()
        theirs.step()
    assert follow(schedule, 70) == pytest.approx(expected, rel=1e-9)


def test_a_phase_takes_over_after_its_first_step() -> None:
    """Published numbers: two steps an epoch, the third phase from epoch 150."""
    phases: list[Phase] = [
        {"epoch": e, "base": b, "peak": 1.5e-4, "up": 10, "down": 10, "mode": mode}
        for e, b, mode in (
            (0, 1e-4, "triangular"),
            (100, 1e-5, "triangular"),
            (150, 1e-5, "triangular2"),
        )
    ]
    rates = follow(CyclicPhases(optimizer(), phases, 2), 400)
    assert rates[0] == 1e-4
    # the last rate of the phase before, then one step into the cycle
    assert rates[300:302] == pytest.approx([1.5e-4, 1.7e-5])
    # the second of its cycles is half as high
    assert rates[320] == pytest.approx(1.5e-4)
    assert rates[360] == pytest.approx(8e-5)


def test_a_resumed_schedule_goes_on_as_it_would_have() -> None:
    whole = follow(CyclicPhases(optimizer(), PHASES, 4), 60)
    first = CyclicPhases(optimizer(), PHASES, 4)
    follow(first, 23)
    again = optimizer()
    second = CyclicPhases(again, PHASES, 4)
    again.load_state_dict(first.optimizer.state_dict())
    # a training keeps where it stands and takes its settings anew
    place = ("last_epoch", "_step_count", "_last_lr")
    second.load_state_dict({name: first.state_dict()[name] for name in place})
    assert follow(second, 37) == whole[23:]


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([], r"begin in epochs \[\]; begin with 0"),
        ([FALLING], r"begin in epochs \[5\]; begin with 0"),
        ([RISING, HALVING, FALLING], r"begin in epochs \[0, 9, 5\]"),
        ([RISING, {**FALLING, "epoch": 0}], r"begin in epochs \[0, 0\]"),
        ([{**RISING, "up": 0}], "the phase of epoch 0 rises for 0 and falls for 2 epochs; give"),
    ],
)
def test_impossible_phases_are_refused(phases: list[Phase], words: str) -> None:
    with pytest.raises(InputError, match=words):
        CyclicPhases(optimizer(), phases, 4)


@pytest.mark.parametrize("config", ["base", "stgcn", "ouisir", "toy"])
def test_phases_are_the_references(config: str) -> None:
    data = golden("schedules", GAITFORMER)
    phases: list[Phase] = [
        {
            "epoch": phase["start_epoch"],
            "base": phase["base_lr"],
            "peak": phase["max_lr"],
            "up": phase["step_size_up"],
            "down": phase["step_size_down"],
            "mode": phase["mode"],
        }
        for phase in json.loads(str(data[f"cyclic/{config}/phases"]))
    ]
    expected = data[f"cyclic/{config}/lr"]
    schedule = CyclicPhases(optimizer(), phases, int(data[f"cyclic/{config}/steps_per_epoch"]))
    np.testing.assert_allclose(follow(schedule, len(expected)), expected, rtol=1e-9)


def test_a_steady_fall_multiplies_each_rate_and_resumes() -> None:
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    trained = torch.optim.AdamW(
        [{"params": [p], "lr": rate} for p, rate in zip(parameters, (0.5, 0.02), strict=True)]
    )
    schedule = SteadyFall(trained, 0.9)
    for step in range(7):
        rates = [group["lr"] for group in trained.param_groups]
        assert rates == pytest.approx([0.5 * 0.9**step, 0.02 * 0.9**step], rel=1e-12)
        if step == 3:
            state = {"last_epoch": schedule.last_epoch, "_step_count": schedule._step_count}
            for group, rate in zip(trained.param_groups, (0.5, 0.02), strict=True):
                group["initial_lr"] = rate
            schedule = SteadyFall(trained, 0.9)
            schedule.load_state_dict(state)
        trained.step()
        schedule.step()


def test_layer_wise_groups_by_hand() -> None:
    names = "stem.weight stem.bias net.0.weight net.1.weight net.1.bias net.10.weight head.weight"
    parameters = [(name, nn.Parameter(torch.zeros(1))) for name in names.split()]
    name_of = {id(parameter): name for name, parameter in parameters}
    groups = layer_wise_groups(parameters, ("head",), "net", ("stem",), 2, 1.0, 0.1, 0.01)
    found = [
        ([name_of[id(p)] for p in group["params"]], round(group["lr"], 9), group["weight_decay"])
        for group in groups
    ]
    assert found == [
        ([], 1.0, 0.0),
        (["head.weight"], 1.0, 0.01),
        ([], 0.1, 0.0),
        ([], 0.1, 0.01),
        (["net.1.bias"], 0.09, 0.0),
        (["net.1.weight"], 0.09, 0.01),
        ([], 0.081, 0.0),
        (["net.0.weight"], 0.081, 0.01),
        (["stem.bias"], 0.0729, 0.0),
        (["stem.weight"], 0.0729, 0.01),
    ]


def test_milestones_multiply_each_rate_and_resume() -> None:
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [{"params": [p], "lr": rate} for p, rate in zip(parameters, (1, 0.5), strict=True)]
    trained = torch.optim.SGD(groups)
    schedule = Milestones(trained, (2, 4, 5), 0.1)
    for fallen in (0, 0, 1, 1, 2, 3, 3):
        rates = [group["lr"] for group in trained.param_groups]
        assert rates == pytest.approx([0.1**fallen, 0.5 * 0.1**fallen], rel=1e-12)
        if fallen == 2:
            state = {"last_epoch": schedule.last_epoch, "_step_count": schedule._step_count}
            schedule.load_state_dict(state)
        trained.step()
        schedule.step()
