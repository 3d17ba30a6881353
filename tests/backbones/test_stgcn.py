"""ST-GCN against a formulation as described, one operation a layer."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.backbones import STGCN
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton

both_layouts = pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=lambda s: s.name)


def randomised(skeleton: Skeleton, channels: int = 3) -> STGCN:
    """A network whose every parameter and statistic matters."""
    torch.manual_seed(0)
    model = STGCN(skeleton, channels).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    for importance in model.edge_importance:
        nn.init.uniform_(importance, 0.5, 1.5)
    return model


class Plain(nn.Module):
    """The layers of another network, called as its description says."""

    def __init__(self, model: STGCN) -> None:
        super().__init__()
        self.model = model

    def forward(self, streams: Tensor) -> tuple[Tensor, Tensor]:
        layer = self.model.get_submodule
        batch, frames, joints, _, channels = streams.shape
        x = streams.reshape(batch * frames, joints * channels, 1, 1)
        x = layer("data_bn")(x).reshape(batch, frames, joints, channels).permute(0, 3, 1, 2)
        for i, importance in enumerate(self.model.edge_importance):
            name = f"st_gcn_networks.{i}."
            z = layer(name + "gcn.conv")(x).unflatten(1, (4, -1))
            y = torch.einsum("bkctv,kvw->bctw", z, self.model.A * importance)
            y = layer(name + "tcn.2")(F.relu(layer(name + "tcn.0")(y)))
            y = layer(name + "tcn.3")(y)
            if i in (4, 7):
                x = layer(name + "residual.1")(layer(name + "residual.0")(x))
            x = F.relu(y + x if i else y)
        return layer("fcn")(x.mean((2, 3))), x


@both_layouts
@pytest.mark.parametrize(("channels", "frames"), [(3, 7), (15, 8)])
def test_same_as_plain(skeleton: Skeleton, channels: int, frames: int) -> None:
    """Embedding, feature map, gradients and running statistics."""
    model, plain = randomised(skeleton, channels), Plain(randomised(skeleton, channels))
    streams = torch.randn(3, frames, skeleton.num_joints, 1, channels).double()
    for training in (True, False):
        model.train(training), plain.train(training)
        outputs, expected = model(streams), plain(streams)
        for ours, theirs in zip(outputs, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        model.zero_grad(), plain.zero_grad()
        outputs[0].square().sum().backward()
        expected[0].square().sum().backward()
        for key, ours in model.named_parameters():
            theirs = plain.model.get_parameter(key)
            scale = float(theirs.grad.abs().max()) + 1e-3  # biases before a norm: rounding noise
            assert (ours.grad - theirs.grad).abs().max() < 1e-9 * scale, key
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-9, atol=1e-9)


@both_layouts
def test_parameter_counts(skeleton: Skeleton) -> None:
    count = sum(p.numel() for p in STGCN(skeleton).parameters())
    assert count == {"coco17": 3_327_758, "openpose18": 3_329_164}[skeleton.name]


@both_layouts
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frames", [1, 9])
def test_batch_of_one(skeleton: Skeleton, training: bool, frames: int) -> None:
    model = randomised(skeleton).train(training)
    embedding, feature_map = model(torch.randn(1, frames, skeleton.num_joints, 1, 3).double())
    assert embedding.shape == (1, 128)
    assert feature_map.shape == (1, 256, (frames + 3) // 4, skeleton.num_joints)
    embedding.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())


def test_every_slice_of_the_adjacency_counts() -> None:
    model = randomised(OPENPOSE18).eval()
    model(torch.randn(2, 8, 18, 1, 3).double())[0].square().sum().backward()
    for importance in model.edge_importance:
        assert (importance.grad.abs().sum((1, 2)) > 0).all()


def test_embedding_does_not_depend_on_neighbours_in_evaluation() -> None:
    model = randomised(COCO17).eval()
    streams = torch.randn(4, 9, 17, 1, 3).double()
    alone = torch.cat([model(one[None])[0] for one in streams])
    torch.testing.assert_close(model(streams)[0], alone)
