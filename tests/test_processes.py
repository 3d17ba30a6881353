from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gaitbench.backbones.graph import Moments, moments, of_all_processes
from gaitbench.batch import Share
from gaitbench.processes import gathered, lost_process, of_the_first, process_rank
from gaitbench.samplers import shares


def told(monkeypatch: pytest.MonkeyPatch, parts: list[Tensor], where: str) -> None:
    """Let the others of several processes say these in place of what this one says."""
    padded = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    monkeypatch.setattr(f"gaitbench.{where}.everywhere", lambda x: padded)


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("total", [2, 7, 12])
def test_parts_become_the_global_batch(
    total: int, equal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where some are shorter, and where some overlap."""
    whole = torch.randn(total, 3)
    for rank in range(4):
        share = Share(shares(total, 4, equal), rank)
        parts = [whole[first : first + count] for first, count in share.parts]
        told(monkeypatch, parts, "processes")
        assert share.total == total
        assert torch.equal(*gathered(share, parts[rank]), whole)  # type: ignore[misc]


def test_one_process_has_all() -> None:
    values = torch.arange(3), torch.randn(3, 2)
    assert all(a is b for a, b in zip(gathered(None, *values), values, strict=True))
    assert process_rank() == (0, 1)
    assert of_the_first(7) == 7


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("[pair.cc:535] Connection closed by peer [127.0.0.1]:384", "Connection closed by peer"),
        (
            "[buffer.cc:78] Timed out waiting 3000ms for recv operation. See",
            "Timed out waiting 3000",
        ),
        ("[pair.cc:1] Read timeout [127.0.0.1]:3", "Read timeout [127.0.0.1]"),
        ("Application timeout caused pair closure", "Application timeout caused pair closure"),
        (
            "NCCL error: remote process exited or there was an error.",
            "remote process exited",
        ),
        ("mat1 and mat2 shapes cannot be multiplied", ""),
    ],
)
def test_complaints_about_another_process(
    message: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a process that is alone is about something else."""
    assert lost_process(RuntimeError(message)) == ""
    monkeypatch.setattr("gaitbench.processes.process_rank", lambda: (0, 2))
    found = lost_process(RuntimeError(message))
    assert found.startswith(told) if told else found == ""


def test_a_share_of_windows_is_that_of_their_sequences() -> None:
    share = Share(((0, 2), (2, 1)), 1)
    assert share.own == slice(2, 3)
    assert share.times(3) == Share(((0, 6), (6, 3)), 1)
    assert share.times(3).total == 9


def variance(x: Tensor) -> Moments:
    spread, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return Moments(mean, spread, x.numel() // x.shape[1])


@pytest.mark.parametrize("of", [moments, variance])
def test_moments_of_parts_are_those_of_all(
    of: Callable[[Tensor], Moments], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of parts of different sizes, far from 0."""
    x = 40 + torch.randn(7, 4, 5, 3, dtype=torch.float64)
    parts = [of(x[:2]), of(x[2:3]), of(x[3:])]
    flat = [
        torch.cat([mean, spread.flatten(), torch.tensor([float(size)])])
        for mean, spread, size in parts
    ]
    told(monkeypatch, flat, "backbones.graph")
    found, wanted = of_all_processes(*parts[0]), of(x)
    assert torch.allclose(found.mean, wanted.mean, rtol=1e-12)
    assert torch.allclose(found.covariance, wanted.covariance, rtol=1e-9)
    assert found.size == wanted.size
