"""SGE-LA's stages as methods: the authors' numbers through the method's own steps."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.backbones.gait_encoder import AgeClassifier, ContextProjection, GaitEncoder
from gaitbench.batch import GaitBatch
from gaitbench.errors import InputError
from gaitbench.losses import half_squares
from gaitbench.methods import SGELA, AgeRecognition
from gaitbench.methods.rated import RatedMethod
from gaitbench.optimizers import TensorFlowAdam
from gaitbench.published.sgela import (
    ENCODER,
    classifier_weights,
    encoder_weights,
    projection_weights,
)
from tests.goldens import SGELA as NUMBERS
from tests.goldens import golden

COPIES = ("lstm_weights_layer_1", "lstm_weights_layer_2")


def part(data: dict[str, Any], name: str) -> dict[str, Any]:
    return {key.removeprefix(name): data[key] for key in data if key.startswith(name)}


def three_times(array: np.ndarray) -> Tensor:
    """An axis' numbers for all three."""
    return torch.from_numpy(array)[..., None].repeat(1, 1, 1, 3)


def batch_of(frames: Tensor, subject: Tensor | None = None) -> GaitBatch:
    row = torch.arange(len(frames))
    return GaitBatch(frames, row if subject is None else subject, row, 0)


class Bench:
    """Steps of a method as a trainer takes them, and what it logs."""

    def __init__(self, method: RatedMethod) -> None:
        self.method = method
        self.logged: dict[str, float] = {}
        method.log = self._log  # type: ignore[assignment,method-assign]
        method._trainer = SimpleNamespace(world_size=1, training=True)  # type: ignore[assignment]
        found: Any = method.configure_optimizers()
        self.optimizer = found["optimizer"]
        self.schedule = found["lr_scheduler"]["scheduler"]

    def _log(self, name: str, value: Tensor, **settings: Any) -> None:
        self.logged[name] = float(value.detach())

    def step(self, batch: GaitBatch) -> float:
        self.optimizer.zero_grad()
        loss = self.method.training_step(batch, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        if isinstance(self.optimizer, torch.optim.Optimizer):
            self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())


def test_three_steps_are_the_authors() -> None:
    """Of one axis, for all three at once; 4 frames and 25 joints."""
    data = golden("ged_small_f4_LA_J25", NUMBERS)
    state = part(data, "state/")
    method = SGELA(frames=4, hidden=24)
    method.backbone = GaitEncoder(25, 24)
    method.backbone.load_state_dict(encoder_weights([state] * 3))
    frames = three_times(data["in/x"])
    bench, rows = Bench(method), []
    for _ in range(3):
        total = bench.step(batch_of(frames))
        size = len(frames)
        errors = [bench.logged[f"train/reconstruction_{axis}"] * size for axis in "xyz"]
        locality = bench.logged["train/locality"] * size / 3
        assert np.allclose(errors, errors[0])
        assert np.isclose(total, 3 * (errors[0] + locality), rtol=1e-5)
        assert np.isclose(bench.logged["train/loss"], total / size, rtol=1e-5)
        rows.append([errors[0], locality])
    assert np.allclose(rows, data["steps/loss"][:3, [0, 2]], rtol=1e-4)
    for name, there in ENCODER.items():
        end = method.backbone.get_parameter(name).detach().numpy()
        for axis in range(3):
            assert np.allclose(end[axis], data[f"end/{there}"], rtol=0, atol=2e-5)
    encoding = method.encode(frames)
    attention = encoding.alignments[1].transpose(0, 1).detach().numpy()
    assert np.allclose(attention, data["steps/attention_after"], atol=2e-5)
    embedding = method.told(frames)["embedding"]
    assert torch.equal(embedding, encoding.of_sequences)
    assert embedding.shape == (size, 3 * 4 * 24)


def test_three_steps_with_the_contrastive_head_are_the_authors() -> None:
    data = golden("cage_small_f6", NUMBERS)
    state = part(data, "state/")
    method = SGELA(hidden=16, contrast_weight=1)
    assert isinstance(method.head, ContextProjection)
    method.backbone.load_state_dict(encoder_weights([state] * 3))
    method.head.load_state_dict(projection_weights([state] * 3))
    frames = three_times(data["in/x"])
    copies = [torch.nn.Parameter(torch.from_numpy(state[name])) for name in COPIES]
    decay = TensorFlowAdam(copies, weight_decay=0.02, clip=5)
    bench, rows = Bench(method), []
    for _ in range(3):
        with torch.no_grad():
            l2 = 0.02 * (half_squares(method.parameters()) + 3 * half_squares(copies))
        total = bench.step(batch_of(frames))
        rows.append([(total + float(l2)) / 3, bench.logged["train/contrast"] / 3])
        for copy in copies:
            copy.grad = torch.zeros_like(copy)
        decay.step()
    assert np.allclose(rows, data["steps/loss"][:3], rtol=1e-4)


@pytest.mark.parametrize("manner", ["ap"])
def test_three_steps_of_recognition_are_the_authors(manner: str) -> None:
    """By frames; or by the whole (``sc``), with the columns in the order of the authors' files."""
    data = part(golden("rn_train", NUMBERS), f"BIWI_{manner}/")
    x = torch.from_numpy(data["in/X"])
    subject = torch.from_numpy(data["in/onehot"].argmax(1))
    hidden = x.shape[1] // (3 if manner == "ap" else 18)
    if manner == "ap":
        name, frames = f"age-1x3x{hidden}", x.view(-1, 1, 3, hidden)
    else:
        name, frames = f"age-6x3x{hidden}", x.view(-1, 3, 6, hidden).transpose(1, 2)
    method = AgeRecognition(name, 5, manner=manner, hidden=32)  # type: ignore[arg-type]
    method.backbone.load_state_dict(classifier_weights(part(data, "state/")))
    bench = Bench(method)
    losses = [bench.step(batch_of(frames, subject)) for _ in range(3)]
    assert np.allclose(losses, data["steps"][:3, 0], rtol=1e-4)
    for name, end in classifier_weights(part(data, "end/")).items():
        found = method.backbone.get_parameter(name)
        assert torch.allclose(found, end, rtol=0, atol=2e-5)
    told = method.told(frames)
    logits = torch.from_numpy(data["out/logits_end"])
    assert torch.allclose(told["embedding"], logits, atol=1e-4)
    assert told["scores"].shape == ((len(x), 1, 5) if manner == "ap" else (len(x), 5))


def test_frames_are_recognised_one_by_one_and_their_logits_averaged() -> None:
    method = AgeRecognition("age-6x3x4", 3, hidden=8)
    assert isinstance(method.backbone, AgeClassifier)
    frames = torch.randn(5, 6, 3, 4)
    told = method.told(frames)
    for b in range(5):
        for t in range(6):
            alone = method.backbone(frames[b, t].reshape(1, 12))[0]
            assert torch.allclose(told["scores"][b, t], alone, atol=1e-6)
    assert torch.allclose(told["embedding"], told["scores"].mean(1))
    assert torch.equal(method(frames), told["embedding"])


def test_adam_clips_and_decays_too() -> None:
    """With ``adam`` the L2 term comes after the clip."""
    method = SGELA(hidden=4, optimizer="adam", clip=0.001, l2=0.5)
    bench = Bench(method)
    assert type(bench.optimizer) is torch.optim.Adam
    assert bench.optimizer.param_groups[0]["weight_decay"] == 0.5
    method.training_step(batch_of(torch.randn(3, 6, 20, 3)), 0).backward()  # type: ignore[no-untyped-call]
    method.clip_gradients = lambda *args, **settings: None  # type: ignore[method-assign]
    method.configure_gradient_clipping(bench.optimizer)
    largest = [float(p.grad.abs().max()) for p in method.parameters() if p.grad is not None]
    assert max(largest) <= 0.001 * (1 + 1e-6)


def test_what_is_drawn_is_a_setting() -> None:
    frames = torch.randn(3, 6, 20, 3)
    torch.manual_seed(0)
    method = SGELA(hidden=4, target="same", attention="basic")
    terms = method.losses(method.encode(frames), frames)
    outputs = method.backbone(frames, frames).outputs
    error = 0.5 * (outputs - frames).square().sum(dim=(0, 1, 2))
    assert torch.allclose(torch.stack([*terms.values()]), error)
    assert list(terms) == ["reconstruction_x", "reconstruction_y", "reconstruction_z"]
    fed = SGELA(hidden=4, decoder_input="shifted_target")
    assert not torch.allclose(fed.encode(frames).outputs, fed.backbone(frames, frames).outputs)


@pytest.mark.parametrize(
    ("skeleton", "frames", "joints"),
    [("body14", 20, 14), ("kinect25", 4, 25), ("kinect20", 10, 20)],
)
def test_other_layouts_and_lengths_are_encoded(skeleton: str, frames: int, joints: int) -> None:
    """Those of the journal version: CASIA-B, KS20, and windows of 4 to 20 frames."""
    torch.manual_seed(0)
    method = SGELA(skeleton, frames=frames, hidden=4, contrast_weight=1)
    bench, batch = Bench(method), batch_of(torch.randn(5, frames, joints, 3))
    first = bench.step(batch)
    for _ in range(20):
        last = bench.step(batch)
    assert last < first
    assert method(batch.frames).shape == (5, 3 * frames * 4)


def test_the_next_window_is_drawn() -> None:
    torch.manual_seed(0)
    method = SGELA(hidden=4, target="next", attention="basic")
    frames, target = torch.randn(2, 3, 6, 20, 3)
    bench = Bench(method)
    with torch.no_grad():
        error = 0.5 * (method.backbone(frames).outputs - target).square().sum()
        total = method.training_step(batch_of(frames)._replace(target=target), 0)
    assert torch.allclose(total, error)
    assert np.isclose(bench.logged["train/loss"], float(error) / 3)


def test_shuffled_windows_are_put_in_order() -> None:
    """Each in one order of its own for all epochs, and never where it is encoded."""
    torch.manual_seed(0)
    method = SGELA(hidden=4, target="sorted", attention="basic")
    data = SimpleNamespace(frame_kind="skeleton3d", frames=6, sequences=range(50))
    method._trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    method.setup("fit")
    orders = method.orders.clone()
    assert torch.equal(orders.sort(dim=1).values, torch.arange(6).expand(50, 6))
    assert len({tuple(order) for order in orders.tolist()}) > 30
    method.setup("fit")
    assert torch.equal(method.orders, orders)
    assert not any("orders" in name for name in method.state_dict())
    frames, row = torch.randn(4, 6, 20, 3), torch.tensor([7, 3, 49, 0])
    batch = batch_of(frames)._replace(row=row)
    bench = Bench(method)
    shown = torch.stack([frames[i, orders[r]] for i, r in enumerate(row)])
    with torch.no_grad():
        error = 0.5 * (method.backbone(shown).outputs - frames).square().sum()
        assert torch.allclose(method.training_step(batch, 0), error)
        assert torch.equal(method(frames), method.backbone(frames).of_sequences)
        method.validation_step(batch, 0)
    straight = 0.5 * (method.backbone(frames).outputs - frames).square().sum().detach()
    assert np.isclose(bench.logged["val/loss"], float(straight) / 4)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"following": "none"}, "data.following none shows none; give data.following recording"),
        ({"following": "row", "validation": "test"}, "has no loss of validation windows"),
    ],
)
def test_the_next_window_must_be_told(told: dict[str, str], fault: str) -> None:
    method = SGELA(hidden=4, target="next")
    settings = {"frame_kind": "skeleton3d", "frames": 6, "validation": "none"} | told
    method._trainer = SimpleNamespace(datamodule=SimpleNamespace(**settings))  # type: ignore[assignment]
    with pytest.raises(InputError, match=fault.replace(".", r"\.")):
        method.setup("fit")
    method.setup("predict")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"frames": 0}, "model.frames is 0; give 1 or more"),
        ({"l2": -1}, "model.l2 is -1; give 0 or more"),
        ({"clip": 0}, "model.clip is 0; give more than 0, or null for none"),
        ({"contrast_weight": -1}, "model.contrast_weight is -1; give 0 or more"),
        ({"hidden": 0}, "model.hidden is 0; give 1 or more"),
        ({"learning_rate": -1}, "model.learning_rate is -1; give 0 or more"),
        ({"temperature": 0, "contrast_weight": 1}, "temperature is 0; give more than 0"),
        ({"target": "next", "decoder_input": "shifted_target"}, "nobody knows in tests; give zer"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault.replace(".", r"\.")):
        SGELA(**settings)


def test_poses_are_refused() -> None:
    method = SGELA(hidden=4)
    data = SimpleNamespace(frame_kind="pose", dataset="casia_b", units="pixels, confidence")
    method._trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    with pytest.raises(InputError, match="takes joints as x, y and z, casia_b has pixels"):
        method.setup("fit")
