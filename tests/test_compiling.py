"""A compiled network is the network: same numbers, same state dict; and none where none can be."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaitbench import cli, compiling
from gaitbench.backbones import PoseTransformer, ResGCN
from gaitbench.backbones.gait_encoder import GaitEncoder
from gaitbench.compiling import compile_network, compiler_fault
from gaitbench.methods import GaitMethod
from gaitbench.skeleton import COCO17
from tests.conftest import Bench

CPU = torch.device("cpu")
# what torch says of itself while it compiles
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*TensorFloat32")


class Twice(nn.Module):
    """A network that counts how often its Python is run."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.ran = 0

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            self.ran += 1
        return self.linear(x).relu()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile as torch does, but for writing and building the kernels, which takes long."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()


@pytest.mark.usefixtures("traced")
def test_first_shapes_are_compiled_and_others_go_on_as_they_are() -> None:
    torch.manual_seed(0)
    network = Twice()
    names = [*network.state_dict()]
    x = torch.randn(4, 3)
    want = network(x)
    ran = network.ran
    assert compile_network(network, CPU)
    torch.testing.assert_close(network(x), want)
    torch.testing.assert_close(network(x), want)
    assert network.ran == ran  # compiled code, no Python
    torch.testing.assert_close(network(x[:3]), want[:3])
    assert network.ran == ran + 1  # the last batch
    network.eval()
    torch.testing.assert_close(network(x[:2]), want[:2])
    assert network.ran == ran + 1  # the first shape of an evaluation
    assert [*network.state_dict()] == names


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: GaitEncoder(joints=4, hidden=5), (3, 3, 4, 3)),
        (lambda: ResGCN("resgcn-n21-r8", COCO17, 1, 3, 8), (4, 4, 17, 1, 3)),
        (lambda: PoseTransformer(4, 12, 8, 1, 2, 8, 3, dropout=0.0), (4, 4, 4, 3)),
    ],
    ids=["GaitEncoder", "ResGCN", "PoseTransformer"],
)
def test_outputs_and_gradients_are_those_of_the_plain_network(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network, frames = make(), torch.randn(shape)
    plain = deepcopy(network)
    assert compile_network(network, CPU)
    found = []
    for one in (plain, network):
        outputs = one(frames)
        sum(output.sin().sum() for output in outputs).backward()
        gradients = [p.grad for p in one.parameters() if p.grad is not None]
        found.append([*outputs, *gradients, *one.buffers()])
    assert len(found[0]) == len(found[1])
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(other, ours, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_the_network_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*what: Any, **how: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\n\nmore of it")

    monkeypatch.setattr(torch, "compile", missing)
    network = Twice()
    assert not compile_network(network, CPU)
    assert network._compiled_call_impl is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the network is not compiled")
    assert "No working C++ compiler found" in line and "\n" not in line


def test_a_compiler_that_is_hidden_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    torch._dynamo.reset()
    assert compiler_fault(CPU)


def test_the_switch_compiles_the_backbone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[nn.Module, torch.device]] = []
    monkeypatch.setattr(cli, "compile_network", lambda *what: asked.append(what))
    for words, expected in (([], 0), (["--compile=true"], 1)):
        run = cli.command_line(cli.Built, bench.words("fit", *words))
        assert len(asked) == expected
    assert isinstance(run.model, GaitMethod)
    assert asked == [(run.model.backbone, CPU)]
    assert compiling.__doc__


def test_the_switch_stands_in_a_config(bench: Bench, tmp_path: Path) -> None:
    config = tmp_path / "compiled.yaml"
    config.write_text("compile: true\n")
    run = cli.command_line(cli.Parsed, bench.words("fit", f"--config={config}"))
    assert run.config.fit.compile is True
