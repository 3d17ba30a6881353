"""Compiling a network by torch.compile, where there is a compiler."""

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


def compiler_fault(device: torch.device) -> str:
    """Why nothing can be compiled for a device, in a few words; empty if it can.

    A function of one line is compiled and called, which takes some seconds the first time.
    """

    def trial(x: Tensor) -> Tensor:
        return x.sin() + 1

    try:
        # compilers tell of themselves where users expect results
        with contextlib.redirect_stdout(io.StringIO()):
            torch.compile(trial, dynamic=False)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a missing or broken compiler makes of it
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
    return ""


def compile_network(network: nn.Module, device: torch.device) -> bool:
    """Have a network compiled in place when it is first called; its state dict stays as it is.

    Training and evaluation are compiled for the first shape of input that each of them sees: that
    of a full batch. What has another shape, such as the last batch of an epoch or walks of other
    lengths, goes through the network as it was.

    Args:
        network: it takes tensors by position.
        device: on which it will work.

    Returns:
        Whether it will be: a warning says why not.
    """
    fault = compiler_fault(device)
    if fault:
        logger.warning("the network is not compiled, since nothing can be (%s)", fault)
        return False
    network.compile(dynamic=False)
    network._compiled_call_impl = _FirstShapes(network, network._compiled_call_impl)
    return True


class _FirstShapes:
    """Calls the compiled form for the first shapes of each mode and the network's own otherwise.

    Args:
        network: that was compiled.
        compiled: its compiled form.
    """

    def __init__(self, network: nn.Module, compiled: Callable[..., Any] | None) -> None:
        assert compiled is not None
        self.network = network
        self.compiled = compiled
        self.shapes: dict[bool, tuple[torch.Size, ...]] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        """What the network makes of the inputs."""
        shapes = tuple(x.shape for x in inputs)
        if self.shapes.setdefault(self.network.training, shapes) == shapes:
            return self.compiled(*inputs)
        return self.network._call_impl(*inputs)  # type: ignore[no-untyped-call]
