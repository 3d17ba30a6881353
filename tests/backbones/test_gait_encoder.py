"""SGE-LA's networks against the authors' numbers, and against a plain loop over axes and steps."""

import zlib
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitbench.backbones.gait_encoder import (
    AgeClassifier,
    ContextProjection,
    DecoderInput,
    GaitEncoder,
    GaitEncoding,
    published_start,
)
from gaitbench.errors import InputError
from gaitbench.losses import GaitEncodingLoss, NeighbourContrast, half_squares
from gaitbench.optimizers import TensorFlowAdam
from gaitbench.published.sgela import (
    ENCODER,
    classifier_weights,
    encoder_weights,
    projection_weights,
)
from tests.goldens import SGELA, golden

COPIES = ("lstm_weights_layer_1", "lstm_weights_layer_2")
"""Variables of the authors' program that only its L2 term knows."""


def part(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key.removeprefix(name): data[key] for key in data if key.startswith(name)}


def one_axis(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array)[..., None]


def near(found: Tensor, wanted: np.ndarray, tolerance: float = 2e-5) -> bool:
    return np.allclose(found.detach().numpy(), wanted, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def joints25() -> tuple[dict[str, Any], GaitEncoder]:
    """Numbers of one axis: 4 frames, 25 joints, locality-aware attention; and the network."""
    data = golden("ged_small_f4_LA_J25", SGELA)
    network = GaitEncoder(25, 24, axes=1)
    network.load_state_dict(encoder_weights([part(data, "state/")]))
    return data, network


def test_everything_that_it_gives_is_the_authors(
    joints25: tuple[dict[str, Any], GaitEncoder],
) -> None:
    data, network = joints25
    x = one_axis(data["in/x"])
    out = network(x)
    assert near(out.encoder_outputs[0], data["out/encoder_outputs"])
    assert near(out.alignments[0].transpose(0, 1), data["out/attention"])
    assert near(out.contexts[0], data["out/context"])
    assert near(out.outputs[..., 0], data["out/train_outputs"])
    assert near(network(x, decoder_input="free").outputs[..., 0], data["out/free_outputs"])


def test_loss_gradients_and_three_steps_are_the_authors() -> None:
    data = golden("ged_small_f4_LA_J25", SGELA)
    state = part(data, "state/")
    network = GaitEncoder(25, 24, axes=1)
    network.load_state_dict(encoder_weights([state]))
    x, y = one_axis(data["in/x"]), one_axis(data["in/y"])
    rows, norms = train(network, nn.Module(), state, x, y, NeighbourContrast())
    assert np.allclose(rows[0][:2], [data["out/loss_rec"], data["out/cost"]], rtol=2e-5)
    assert np.allclose(rows, data["steps/loss"], rtol=1e-4)
    for name, there in ENCODER.items():
        assert np.isclose(norms[name], data[f"gradnorm/{there}"], rtol=1e-4)
        assert near(network.get_parameter(name)[0], data[f"end/{there}"])
    drawn = network(x, decoder_input="free").outputs
    assert near(drawn[..., 0], data["steps/free_outputs_after"])
    assert near(network(x).alignments[0].transpose(0, 1), data["steps/attention_after"])


def test_contrastive_head_trains_as_the_authors() -> None:
    data = golden("cage_small_f6", SGELA)
    state = part(data, "state/")
    network, head = GaitEncoder(20, 16, axes=1), ContextProjection(1, 6, 16)
    network.load_state_dict(encoder_weights([state]))
    head.load_state_dict(projection_weights([state]))
    x, y = one_axis(data["in/x"]), one_axis(data["in/y"])
    vectors = head(network(x).contexts)
    assert near(vectors[0], data["out/contrast_v"])
    contrast = NeighbourContrast(float(data["temperature"]))
    assert near(contrast(vectors), data["out/c_loss"])
    rows, _ = train(network, head, state, x, y, contrast)
    assert np.allclose([[row[1], row[3]] for row in rows], data["steps/loss"], rtol=1e-4)


def train(
    network: GaitEncoder,
    head: nn.Module,
    state: dict[str, Any],
    x: Tensor,
    y: Tensor,
    contrast: NeighbourContrast,
) -> tuple[list[list[float]], dict[str, float]]:
    """Three steps; losses before each and after the last, and norms of the first gradients.

    Losses are the reconstruction, the whole cost and locality, and contrast where there is a head.
    """
    copies = [nn.Parameter(torch.from_numpy(state[name])) for name in COPIES]
    weights = [*network.parameters(), *head.parameters(), *copies]
    optimizer = TensorFlowAdam(weights, weight_decay=0.02, clip=5)
    loss = GaitEncodingLoss(x.shape[1])
    rows, norms = [], {}
    for step in range(4):
        out = network(x)
        error, astray = loss(out.outputs, y, out.alignments)
        terms = [error, astray]
        if isinstance(head, ContextProjection):
            terms.append(contrast(head(out.contexts)))
        total = torch.stack(terms).sum()
        with torch.no_grad():
            cost = total + 0.02 * half_squares(weights)
        rows.append([float(v.detach()) for v in (error, cost, *terms[1:])])
        if step == 3:
            break
        optimizer.zero_grad()
        total.backward()
        for copy in copies:
            copy.grad = torch.zeros_like(copy)
        optimizer.step()
        if step == 0:
            # the optimiser leaves what it has used: with L2, and clipped
            norms = {name: float(p.grad.norm()) for name, p in network.named_parameters()}  # type: ignore[union-attr]
    return rows, norms


def test_recognition_network_trains_as_the_authors() -> None:
    data = part(golden("rn_train", SGELA), "BIWI_ap/")
    network = AgeClassifier(96, 5, 32)
    network.load_state_dict(classifier_weights(part(data, "state/")))
    x = torch.from_numpy(data["in/X"])
    subject = torch.from_numpy(data["in/onehot"].argmax(1))
    optimizer = TensorFlowAdam(network.parameters())
    rows = []
    for step in range(4):
        logits = network(x)
        loss = F.cross_entropy(logits, subject)
        rows.append([float(loss.detach()), float((logits.argmax(1) == subject).float().mean())])
        if step < 3:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert np.allclose(rows, data["steps"], rtol=1e-4)
    assert near(logits, data["out/logits_end"], 1e-4)
    for name, end in classifier_weights(part(data, "end/")).items():
        assert near(network.get_parameter(name), end.numpy())


def plain(network: GaitEncoder, frames: Tensor, fed: str, target: Tensor) -> GaitEncoding:
    """The network in words, axis by axis and step by step, a concatenation and a product each."""

    def cell(weights: Any, axis: int, x: Tensor, c: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.cat([x, h], 1) @ weights.kernel[axis] + weights.bias[axis]
        i, j, f, o = torch.split(z, z.shape[1] // 4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
        return c, torch.sigmoid(o) * torch.tanh(c)

    batch, steps, joints, axes = frames.shape
    hidden = network.memory.weight.shape[1]
    found = []
    for axis in range(axes):
        zero = frames.new_zeros(batch, hidden)
        states = [(zero, zero), (zero, zero)]
        encoded = []
        for t in range(steps):
            x = frames[:, t, :, axis]
            for layer in (0, 1):
                states[layer] = cell(network.encoder[layer], axis, x, *states[layer])
                x = states[layer][1]
            encoded.append(x)
        e = torch.stack(encoded, 1)
        keys = e @ network.memory.weight[axis]
        a, y = zero, frames.new_zeros(batch, joints)
        outputs, alignments, contexts = [], [], []
        for t in range(steps):
            u = torch.zeros_like(y)
            if t and fed != "zeros":
                u = y if fed == "free" else target[:, t - 1, :, axis]
            x = torch.cat([u, a], 1)
            for layer in (0, 1):
                states[layer] = cell(network.decoder[layer], axis, x, *states[layer])
                x = states[layer][1]
            weights = (keys * x[:, None]).sum(2).softmax(1)
            context = (weights[:, :, None] * e).sum(1)
            a = torch.cat([x, context], 1) @ network.attention.weight[axis]
            y = a @ network.output.weight[axis] + network.output.bias[axis]  # type: ignore[index]
            outputs.append(y)
            alignments.append(weights)
            contexts.append(context)
        found.append([torch.stack(v, 1) for v in (outputs, alignments, contexts)] + [e])
    outputs, alignments, contexts, encoded = (torch.stack(v) for v in zip(*found, strict=True))
    return GaitEncoding(outputs.permute(1, 2, 3, 0), alignments, contexts, encoded)


def network_of(**settings: Any) -> GaitEncoder:
    """A small network in which every parameter matters."""
    torch.manual_seed(0)
    network = GaitEncoder(**{"joints": 5, "hidden": 7, **settings}).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def walks(batch: int = 4, frames: int = 5, joints: int = 5, axes: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(batch, frames, joints, axes, generator=random).double()


@pytest.mark.parametrize("fed", ["zeros", "shifted_target", "free"])
@pytest.mark.parametrize("axes", [1, 3])
def test_one_batched_computation_is_the_plain_loop(fed: DecoderInput, axes: int) -> None:
    network, x = network_of(axes=axes, decoder_input=fed), walks(axes=axes).requires_grad_()
    target = walks(axes=axes).flip(0)
    inputs = [x, *network.parameters()]
    random = torch.Generator().manual_seed(2)
    grads = []
    for out in (network(x, target), plain(network, x, fed, target)):
        weights = [
            torch.randn(v.shape, generator=random.manual_seed(i)).double()
            for i, v in enumerate(out)
        ]
        total = torch.stack([(w * v).sum() for w, v in zip(weights, out, strict=True)]).sum()
        grads.append(torch.autograd.grad(total, inputs))
    for ours, wanted in zip(network(x, target), plain(network, x, fed, target), strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-10, atol=1e-12)
    for ours, wanted in zip(*grads, strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-9, atol=1e-11)


def test_axes_see_nothing_of_each_other() -> None:
    network, x = network_of(), walks()
    moved = x.clone()
    moved[..., 1] += 1
    before, after = network(x), network(moved)
    for i in (0, 2):
        assert torch.equal(before.contexts[i], after.contexts[i])
        assert torch.equal(before.outputs[..., i], after.outputs[..., i])
    assert not torch.equal(before.contexts[1], after.contexts[1])


def test_target_is_looked_at_only_where_it_is_fed() -> None:
    network, x = network_of(), walks()
    assert torch.equal(network(x).outputs, network(x, x + 1).outputs)
    fed = network(x, x.flip(1), decoder_input="shifted_target")
    assert torch.equal(fed.outputs, network(x, decoder_input="shifted_target").outputs)
    last = x.flip(1).clone()
    last[:, -1] += 1
    assert torch.equal(fed.outputs, network(x, last, decoder_input="shifted_target").outputs)
    assert not torch.equal(fed.outputs, network(x).outputs)


def test_encodings_are_the_contexts_in_order() -> None:
    out = network_of()(walks())
    batch, steps, hidden = 4, 5, 7
    assert out.of_frames.shape == (batch, steps, 3 * hidden)
    assert out.of_sequences.shape == (batch, 3 * steps * hidden)
    assert torch.equal(out.of_frames[1, 2, hidden : 2 * hidden], out.contexts[1, 1, 2])
    assert torch.equal(out.of_sequences[1].view(3, steps, hidden), out.contexts[:, 1])


def test_one_frame_is_a_sequence_too() -> None:
    network, x = network_of(), walks(frames=1)
    out = network(x)
    out.outputs.sum().backward()
    assert torch.allclose(out.outputs, plain(network, x, "zeros", x).outputs)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


def test_autocast_changes_nothing() -> None:
    network, x = network_of().float(), walks().float()
    wanted = network(x).outputs
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(x.bfloat16().float()).outputs, network(x.bfloat16()).outputs)
        assert torch.equal(network(x).outputs, wanted)


def test_published_start_is_the_stream_of_the_authors() -> None:
    data = golden("lstm_init", SGELA)
    kernels = [key.removesuffix("/shape") for key in data if key.endswith("/shape")]
    for kernel in kernels:
        numbers = published_start(int(np.prod(data[f"{kernel}/shape"])))
        assert np.array_equal(numbers[:32], data[f"{kernel}/first32"])
        assert np.array_equal(numbers[-32:], data[f"{kernel}/last32"])
        crc = zlib.crc32(numbers.astype("<f4").tobytes())
        assert crc == int(data[f"{kernel}/crc32_le_float32"])
    network = GaitEncoder(20, 8, start="published")
    kernel = network.get_parameter("decoder.0.kernel")
    assert np.array_equal(kernel[2].detach().numpy().ravel(), published_start(kernel[2].numel()))


def test_random_starts_are_in_their_limits_and_differ_between_axes() -> None:
    torch.manual_seed(0)
    network = GaitEncoder(20, 32)
    limits = {"kernel": 0.1, "memory.weight": (6 / 64) ** 0.5, "attention.weight": (6 / 96) ** 0.5}
    limits |= {"output.weight": 0.2, "bias": 0.0}
    for name, parameter in network.named_parameters():
        limit = next(limit for end, limit in limits.items() if name.endswith(end))
        assert 0.9 * limit <= parameter.abs().max() <= limit
        assert limit == 0 or not torch.equal(parameter[0], parameter[1])


def test_starts_of_the_classifier() -> None:
    torch.manual_seed(0)
    published, scaled = AgeClassifier(start="published"), AgeClassifier()
    assert published.hidden.weight.std().item() == pytest.approx(1, abs=0.02)
    x = torch.randn(64, 768)
    assert published(x).std() > 100
    assert scaled(x).std() < 3
    assert published.hidden.bias.abs().max() == 0
    assert ContextProjection(start="published").hidden.weight.std().item() > 0.9


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"model\.hidden is 0; give 1 or more"):
        GaitEncoder(hidden=0)
    with pytest.raises(InputError, match="at least 2 training subjects, found 1"):
        AgeClassifier(subjects=1)


def test_second_derivatives_are_refused() -> None:
    network, x = network_of(), walks().requires_grad_()
    (slope,) = torch.autograd.grad(network(x).outputs.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()
