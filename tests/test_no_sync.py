"""No step asks the device for a number: looked at on a CPU, operation by operation.

``benchmarks/no_sync.py`` has CUDA itself look, where there is a GPU.
"""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.no_sync import CASES, batch_of, step_of, varied, waits

CPU = torch.device("cpu")
WAITING = {
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "repeat_interleave.Tensor",
    "multinomial",
    # numbers of this process become a tensor
    "lift_fresh",
}
"""Operations for which this process waits for a GPU."""


class Waits(TorchDispatchMode):
    """Refuses them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.").removesuffix(".default")
        masked = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
            for indices in args
            if isinstance(indices, list | tuple)
            for index in indices
        )
        if name in WAITING or masked:
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_nothing(name: str) -> None:
    make, (frames, *frame) = CASES[name]
    torch.manual_seed(0)
    fixed = name.startswith(("GaitFormer", "SGELA", "Age", "GaitCopy"))
    shape = (frames if fixed else 4, *frame)
    method = make().train()
    batch = batch_of(shape, CPU)
    step_of(method, batch)  # gives it what a trainer would
    method.training_step(varied(batch, method), 0)  # what is copied to a device once, is
    with Waits():
        loss = method.training_step(varied(batch, method), 0)
        loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: torch.tensor([1.0, 2.0]),
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
    ],
)
def test_what_waits_is_seen(wait: Any) -> None:
    with Waits(), pytest.raises(AssertionError, match="waits for the device"):
        wait(torch.ones(3))


def test_the_whole_step_runs_where_there_is_no_gpu() -> None:
    assert waits("SGELA", CPU) == ""
