"""GaitFormer's network against torch's own transformer, layer by layer as described."""

import pytest
import torch
from torch import Tensor, nn

from gaitbench.backbones import PoseTransformer
from gaitbench.errors import InputError
from tests.goldens import GAITFORMER, golden

SMALL = {"period": 6, "width": 16, "depth": 3, "heads": 4, "projection_dim": 8, "attributes": 5}


def network(**settings: object) -> PoseTransformer:
    """A small network whose every parameter matters."""
    torch.manual_seed(0)
    model = PoseTransformer(**{**SMALL, **settings}).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            nn.init.uniform_(parameter, 0.2, 1.0)
        elif ".layers." in name:  # they start as copies of one
            nn.init.normal_(parameter, std=0.3)
    return model


def walks(batch: int = 3, frames: int = 6) -> Tensor:
    return torch.randn(batch, frames, 18, 3, generator=torch.Generator().manual_seed(1)).double()


class Plain(nn.Module):
    """The publication's program in words: torch's layers, all tokens, and the three heads."""

    def __init__(self, model: PoseTransformer, readout: str) -> None:
        super().__init__()
        width, heads, depth = SMALL["width"], SMALL["heads"], SMALL["depth"]
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.positional_embedding = nn.Parameter(torch.empty(1, SMALL["period"], width))
        self.skeleton_encoding = nn.Linear(54, width)
        self.out_embedding = nn.Linear(width, width, bias=False)
        self.projection = nn.Linear(width, SMALL["projection_dim"])
        self.out_appearance = nn.Linear(width, SMALL["attributes"])
        self.double().load_state_dict(model.state_dict(), strict=True)
        self.readout = readout

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = [
            torch.stack([frames[:, t, j, c] for j in range(18) for c in range(3)], dim=1)
            for t in range(frames.shape[1])
        ]
        tokens = self.skeleton_encoding(torch.stack(values, dim=1)) + self.positional_embedding
        tokens = self.encoder(tokens)
        read = tokens[:, 0] if self.readout == "first" else tokens.mean(dim=1)
        e = self.out_embedding(read)
        q = self.projection(0.5 * e * (1 + torch.erf(e / 2**0.5)))
        appearance = 1 / (1 + torch.exp(-self.out_appearance(read)))
        return e / e.norm(dim=1, keepdim=True), q / q.norm(dim=1, keepdim=True), appearance


@pytest.mark.parametrize("readout", ["first", "mean"])
def test_same_as_plain(readout: str) -> None:
    """Names, outputs and gradients; the readout of one token works out no other at the end."""
    model = network(readout=readout, dropout=0.0).train()
    plain = Plain(model, readout).train()
    outputs, expected = model(walks()), plain(walks())
    assert outputs._fields == ("representation", "projection", "appearance")
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = [torch.randn_like(y) for y in outputs]
    for found in (outputs, expected):
        sum((y * w).sum() for y, w in zip(found, weights, strict=True)).backward()
    theirs = dict(plain.named_parameters())
    for name, ours in model.named_parameters():
        torch.testing.assert_close(ours.grad, theirs[name].grad, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("depth", "attributes", "count"),
    [(4, 42, 2_244_010), (4, 22, 2_238_870), (4, 12, 2_236_300), (12, 42, 6_460_842)],
)
def test_parameter_counts_are_the_published(depth: int, attributes: int, count: int) -> None:
    model = PoseTransformer(depth=depth, attributes=attributes)
    assert sum(p.numel() for p in model.parameters()) == count


def test_layers_start_as_copies_of_one() -> None:
    model = PoseTransformer(**SMALL)
    first, *others = (layer.state_dict() for layer in model.encoder.layers)
    assert len(others) == 2
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert model.encoder.layers[0].linear1.weight is not model.encoder.layers[1].linear1.weight


def test_dropout_is_of_training_alone() -> None:
    model = network(dropout=0.5)
    frames = walks()
    assert torch.equal(model(frames)[0], model(frames)[0])
    model.train()
    assert not torch.allclose(model(frames)[0], model(frames)[0])


def test_compiles_whole() -> None:
    model = network()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(walks()), model(walks()))


def test_half_precision_leaves_unit_vectors_precise() -> None:
    model, frames = network().float(), walks().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(frames)
    for half, full in zip(found, model(frames), strict=True):
        assert half.dtype == torch.float32
        assert (half - full).abs().max() < 0.05
    for vectors in found[:2]:
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"heads": 3}, "model.width 16 does not divide into model.heads 3; give a multiple"),
        ({"depth": 0}, "model.depth is 0; give 1 or more"),
        ({"projection_dim": 0}, "model.projection_dim is 0; give 1 or more"),
        ({"dropout": 1.0}, "model.dropout is 1.0; give 0 or more, below 1"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PoseTransformer(**{**SMALL, **settings})


@pytest.mark.parametrize(
    ("precision", "prefix", "tolerance"),
    [(torch.float32, "out", 2e-6), (torch.float64, "out64", 1e-9)],
)
def test_outputs_are_the_references(precision: torch.dtype, prefix: str, tolerance: float) -> None:
    data = golden("model_gaitformer_l2", GAITFORMER)
    model = PoseTransformer(depth=2).to(precision).eval()
    model.load_state_dict(
        {k[3:]: torch.from_numpy(v) for k, v in data.items() if k.startswith("sd/")}
    )
    frames = torch.from_numpy(data["input"]).to(precision)[..., 0].permute(0, 2, 3, 1)
    for name, found in model(frames)._asdict().items():
        expected = torch.from_numpy(data[f"{prefix}_{name}"])
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
