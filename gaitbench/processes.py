"""What the processes of one training share: whole batches, and numbers that all of them see.

A training of several processes has one global batch. Each takes its share of it through the
network, and what comes out is gathered, so that every process works out one and the same loss: that
of the global batch.

The gradient of that is exact. All N processes have the same loss L, so the one whose gradient they
work out together is N L: what a process gives to the others comes back as the sum of all their
gradients, N dL/dx. Strategies such as DDP then take the mean over processes of each weight's
gradient, 1/N of the sum of N dL/dw of every share, which is that of one process with the whole
batch. A weight within the loss, and one in a penalty, has dL/dw in every process, whose mean it is.
"""

import re
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaitbench.batch import Share

Value = TypeVar("Value")

LOST = re.compile(
    r"(Connection (closed|reset) by peer( \[[^]]*\](:[0-9]+)?)?|Timed out waiting [^.]*|"
    r"Application timeout caused pair closure|((Read|Write) timeout|Socket closed) \[[^]]*\]|"
    r"Broken pipe|(remote process exited|Watchdog caught collective operation timeout)[^.]*)"
)
"""How gloo and NCCL complain where another process has ended or hangs."""


def process_rank() -> tuple[int, int]:
    """Number of this process and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def lost_process(error: RuntimeError) -> str:
    """What a collective operation says of a process that is no more; empty if it is about else."""
    found = LOST.search(str(error)) if process_rank()[1] > 1 else None
    return found[0].strip() if found else ""


class _AllGather(torch.autograd.Function):
    """One tensor of each process, stacked; the gradients of all processes are added up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        return torch.stack(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


@torch.compiler.disable  # type: ignore[untyped-decorator]
def everywhere(x: Tensor) -> Tensor:
    """Tensors of one shape from all N processes, (N, ...), with gradient."""
    stacked: Tensor = _AllGather.apply(x.contiguous())  # type: ignore[no-untyped-call]
    return stacked


def gathered(share: Share | None, *values: Tensor) -> tuple[Tensor, ...]:
    """Each of the values of the global batch (B, ...) in its order, with gradient.

    All processes must ask at the same time. What several of them hold comes once.

    Args:
        share: what this process holds; None where one process has all.
        values: (count, ...) of this process.
    """
    return values if share is None else tuple(_whole(x, share) for x in values)


def _whole(x: Tensor, share: Share) -> Tensor:
    largest = max(count for _, count in share.parts)
    missing = x.new_zeros(largest - len(x), *x.shape[1:])
    known, pieces = 0, []
    for (first, count), part in zip(share.parts, everywhere(torch.cat([x, missing])), strict=True):
        pieces.append(part[known - first : count])
        known = max(known, first + count)
    return torch.cat(pieces)


def of_the_first(value: Value) -> Value:
    """What the first process has, a plain value, in all of them."""
    if process_rank()[1] == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]
