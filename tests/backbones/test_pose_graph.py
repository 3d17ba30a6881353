"""GaitFormer's ST-GCN against a plain one, written as its authors describe it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.backbones import PoseGraph
from gaitbench.backbones.pose_graph import spatial_partition
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17, OPENPOSE18
from tests.goldens import GAITFORMER, golden


def test_partition_is_the_references() -> None:
    expected = golden("graph_openpose", GAITFORMER)["A_spatial"]
    np.testing.assert_allclose(spatial_partition(OPENPOSE18), expected, rtol=0, atol=1e-7)


def test_columns_of_a_partition_sum_to_one() -> None:
    found = spatial_partition(COCO17)
    assert found.shape == (3, 17, 17)
    np.testing.assert_allclose(found.sum(axis=(0, 1)), 1, rtol=1e-6)


def network(precision: torch.dtype = torch.float64) -> PoseGraph:
    """A narrow network whose every parameter and statistic matters."""
    torch.manual_seed(0)
    model = PoseGraph(width=16, projection_dim=8, attributes=5, dropout=0.0)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or name == "edge_importance":
            nn.init.uniform_(parameter, 0.2, 1.0)
    for name, buffer in model.named_buffers():
        if "running" in name:
            nn.init.uniform_(buffer, 0.5, 1.5)
    for layer in model.st_gcn_networks:
        layer.dropout = 0.0
    return model.to(precision)


def plain(model: PoseGraph, frames: Tensor) -> tuple[Tensor, ...]:
    """The layers in torch's own words, joint by joint and slice by slice."""
    w = dict(model.named_parameters()) | dict(model.named_buffers())

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        if model.training:
            mean, var = None, None
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        return F.batch_norm(x, mean, var, weight, bias, training=model.training)

    batch, time, joints, channels = frames.shape
    x = norm(frames.permute(0, 2, 3, 1).reshape(batch, joints * channels, time), "data_bn")
    x = x.reshape(batch, joints, channels, time).permute(0, 2, 3, 1)
    for i in range(10):
        name, stride = f"st_gcn_networks.{i}", 2 if i in (4, 7) else 1
        y = F.conv2d(x, w[f"{name}.gcn.conv.weight"], w[f"{name}.gcn.conv.bias"])
        slices = y.chunk(3, dim=1)
        hops = w["A"] * w["edge_importance"][i]
        y = sum(torch.einsum("bctv,vw->bctw", s, hop) for s, hop in zip(slices, hops, strict=True))
        y = norm(y, f"{name}.tcn.0").relu()
        conv, bias = w[f"{name}.tcn.2.weight"], w[f"{name}.tcn.2.bias"]
        y = norm(F.conv2d(y, conv, bias, (stride, 1), (4, 0)), f"{name}.tcn.3")
        if f"{name}.residual.0.weight" in w:
            conv, bias = w[f"{name}.residual.0.weight"], w[f"{name}.residual.0.bias"]
            y = y + norm(F.conv2d(x, conv, bias, (stride, 1)), f"{name}.residual.1")
        elif i:
            y = y + x
        x = y.relu()
    f = x.mean((2, 3))
    q = F.gelu(f @ w["projection.weight"].T + w["projection.bias"])
    appearance = torch.sigmoid(f @ w["out_appearance.weight"].T + w["out_appearance.bias"])
    return f / f.norm(dim=1, keepdim=True), q / q.norm(dim=1, keepdim=True), appearance


@pytest.mark.parametrize("training", [False, True])
def test_same_as_plain(training: bool) -> None:
    """Outputs and gradients, with running statistics and with a batch's."""
    model = network().train(training)
    frames = torch.randn(4, 12, 18, 3, generator=torch.Generator().manual_seed(1)).double()
    expected, found = plain(model, frames), model(frames)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)
    weights = [torch.randn_like(y) for y in expected]
    ours, theirs = (
        torch.autograd.grad(
            sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)),
            list(model.parameters()),
        )
        for outputs in (found, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_dropout_is_of_training_alone() -> None:
    model = PoseGraph(width=16, dropout=0.3).eval()
    assert [layer.dropout for layer in model.st_gcn_networks] == [0.2] * 9 + [0.3]
    frames = torch.rand(2, 8, 18, 3)
    assert torch.equal(model(frames)[0], model(frames)[0])
    model.train()
    assert not torch.allclose(model(frames)[0], model(frames)[0])


def test_published_size_and_names() -> None:
    model = PoseGraph()
    assert sum(p.numel() for p in model.parameters()) == 3_118_030
    assert sum(b.numel() for b in model.buffers()) == 7_503
    assert model.edge_importance.shape == (10, 3, 18, 18)
    assert "st_gcn_networks.4.residual.0.weight" in model.state_dict()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"projection_dim": 0}, "model.projection_dim is 0; give 1 or more"),
        ({"dropout": -0.1}, "model.dropout is -0.1; give 0 or more, below 1"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PoseGraph(**settings)
