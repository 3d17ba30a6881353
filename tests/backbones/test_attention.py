"""Each attention against its definition, written out one step at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.backbones.attention import ATTENTIONS, Attention
from gaitbench.skeleton import COCO17


def naive(kind: str, att: Attention, x: Tensor) -> Tensor:
    """The factors by name of the layers that published checkpoints have."""
    layer = att.get_submodule
    if kind == "fa":
        pooled = torch.stack([x.mean((1, 3)), x.max(3).values.max(1).values], 1)
        return layer("conv")(pooled[..., None])
    if kind == "ja":
        h = x.mean((1, 2))[:, :, None, None]
    elif kind in ("psa", "pca"):
        h = torch.zeros(())
        for p, part in enumerate(COCO17.parts):
            prefix = "part_pool." if kind == "psa" else f"part_pool.{p}."
            z = layer(prefix + "1")(layer(prefix + "0")(x[:, :, :, list(part)]))
            h = h + F.relu(z).mean((2, 3), keepdim=True)
    else:
        h = x.mean((2, 3), keepdim=True)
    down, bn, up = (0, 1, 3) if kind in ("psa", "pca") else (1, 2, 4)
    h = layer(f"fcn.{up}")(F.relu(layer(f"fcn.{bn}")(layer(f"fcn.{down}")(h))))
    if kind == "ca":
        return h.softmax(1)
    if kind == "ja":
        return h.softmax(1).transpose(1, 3)
    h = h.view(len(x), x.shape[1], len(COCO17.parts)).softmax(2)
    joints = [next(p for p, s in enumerate(COCO17.parts) if v in s) for v in range(17)]
    return torch.stack([h[:, :, p] for p in joints], 2)[:, :, None]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention(kind: str, training: bool) -> None:
    torch.manual_seed(0)
    ours, other = (ATTENTIONS[kind](8, COCO17).double().train(training) for _ in range(2))
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    other.load_state_dict(ours.state_dict())
    x = torch.randn(3, 8, 6, 17, dtype=torch.float64)
    expected = F.relu(other.bn(x * naive(kind, other, x)) + x)
    torch.testing.assert_close(ours(x), expected, rtol=1e-9, atol=1e-10)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_factors_are_read_on_the_way(kind: str) -> None:
    """As drawing reads them: with a hook before the module, which changes nothing."""
    torch.manual_seed(0)
    att = ATTENTIONS[kind](8, COCO17).double().eval()
    x, seen = torch.randn(3, 8, 6, 17, dtype=torch.float64), []
    plain = att(x)
    hook = att.register_forward_pre_hook(lambda module, given: seen.append(module.attend(*given)))
    assert torch.equal(att(x), plain)
    hook.remove()
    (factors,) = seen
    torch.testing.assert_close(factors, naive(kind, att, x), rtol=1e-9, atol=1e-10)
    assert factors.expand_as(x).shape == x.shape
