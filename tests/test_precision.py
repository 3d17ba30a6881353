"""Every method trains in each precision that a CPU has, and its losses agree with float32's."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from gaitbench.batch import GaitBatch
from gaitbench.cli import QUIET
from gaitbench.losses import (
    BatchAllTriplet,
    Classification,
    HardTriplet,
    LinearClassification,
    PairContrastive,
    SemiHardTriplet,
    SupervisedContrastive,
    Triplet,
    TwoViewContrastive,
)
from gaitbench.methods import (
    SGELA,
    AgeRecognition,
    GaitCopyStudent,
    GaitCopyTeacher,
    GaitFormer,
    GaitGraph,
    GaitGraph2,
    GaitMethod,
    GaitSet,
)
from gaitbench.optimizers import TensorFlowAdam
from gaitbench.precision import exactly, precise

PEOPLE, EACH = 4, 2
IMAGES: dict[str, Any] = {"embedding_dim": 32, "num_subjects": PEOPLE, "network": "3d-smallB"}
GRAPH: dict[str, Any] = {"backbone": "resgcn-n21-r8", "temperature": 0.07, "learning_rate": 2e-3}

Case = tuple[Callable[[], GaitMethod], tuple[int, ...], int]
CASES: dict[str, Case] = {
    "GaitGraph2": (lambda: GaitGraph2(**GRAPH), (8, 17, 3), 30),
    "GaitGraph": (lambda: GaitGraph(**GRAPH), (8, 17, 3), 30),
    "GaitFormer": (
        lambda: GaitFormer(period=8, depth=2, temperature=0.07, attribute_weight=0.5, dropout=0.0),
        (8, 18, 3),
        30,
    ),
    "SGELA": (lambda: SGELA(hidden=16), (6, 20, 3), 30),
    "AgeRecognition": (lambda: AgeRecognition("age-6x3x8", PEOPLE), (6, 3, 8), 30),
    "GaitCopyTeacher": (lambda: GaitCopyTeacher(rate="constant", **IMAGES), (25, 60, 60, 2), 3),
    "GaitCopyStudent": (
        lambda: GaitCopyStudent(rate="constant", dropout=0.0, **{**IMAGES, "learning_rate": 1e-4}),
        (25, 60, 60, 1),
        3,
    ),
    "GaitSet": (lambda: GaitSet(embedding_dim=62 * 8), (1, 64, 44, 1), 3),
}
"""Name -> method, shape of a window, and steps."""


class Walks(IterableDataset[GaitBatch]):
    """Batches of made-up people, each of whom looks like themselves."""

    def __init__(self, shape: tuple[int, ...], steps: int) -> None:
        self.shape, self.steps = shape, steps

    def __iter__(self) -> Iterator[GaitBatch]:
        random = torch.Generator().manual_seed(0)
        people = torch.rand(PEOPLE, *self.shape, generator=random).repeat_interleave(EACH, 0)
        size = len(people)
        for seed in range(self.steps):
            noise = torch.rand(size, *self.shape, generator=random)
            yield GaitBatch(
                people + 0.2 * noise,
                torch.arange(PEOPLE).repeat_interleave(EACH),
                torch.arange(size),
                seed,
                attributes=torch.rand(size, 42, generator=random),
                target=torch.rand(size, 32, generator=random) if self.shape[0] == 25 else None,
            )


class Losses(pl.Callback):
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, method: pl.LightningModule, outputs: Any, *place: Any
    ) -> None:
        self.found.append(float(outputs["loss"]))


def curve(name: str, precision: Any, steps: int) -> tuple[torch.Tensor, GaitMethod]:
    """Losses of a training in a precision, and what was trained."""
    make, shape, _ = CASES[name]
    torch.manual_seed(0)
    method, losses = make(), Losses()
    trainer = pl.Trainer(
        accelerator="cpu",
        precision=precision,
        max_epochs=1,
        max_steps=CASES[name][2],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[losses],
    )
    trainer.fit(method, DataLoader(Walks(shape, steps), batch_size=None))
    return torch.tensor(losses.found), method


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hear of a run what its user hears."""
    with warnings.catch_warnings():
        for pattern in QUIET:
            warnings.filterwarnings("ignore", pattern)
        yield


@pytest.mark.parametrize("name", CASES)
def test_loss_curves_agree(name: str) -> None:
    steps = CASES[name][2]
    single, _ = curve(name, "32-true", steps)
    assert single.isfinite().all() and len(single) == steps
    # convolutions in float64 are slow
    for precision, bound, some in (("bf16-mixed", 0.05, steps), ("64-true", 0.01, min(steps, 10))):
        found, method = curve(name, precision, some)
        off = ((found - single[:some]).abs().mean() / single.abs().mean()).item()
        assert off < bound, precision
        if precision == "bf16-mixed":
            # autocast leaves weights alone, and what is compared has all its digits
            method.eval()
            frames = next(iter(Walks(CASES[name][1], 1))).frames
            with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
                told = method.told(frames)
            assert {p.dtype for p in method.parameters()} == {torch.float32}
            assert told["embedding"].float().isfinite().all()


@pytest.mark.parametrize(
    "loss",
    [
        SupervisedContrastive(0.01),
        TwoViewContrastive(0.01),
        PairContrastive(),
        Triplet(0.2),
        BatchAllTriplet(0.2, unit=False, parts=2),
        SemiHardTriplet(0.25),
        HardTriplet(0.2),
        Classification(16, 4),
        LinearClassification(16, 4),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_keep_their_digits_under_autocast(loss: torch.nn.Module) -> None:
    torch.manual_seed(1)
    embedding, subject = torch.randn(12, 16), torch.arange(12) % 4
    loss.train(False)
    plain = loss(embedding, subject)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(embedding, subject), plain)
        half = loss(embedding.bfloat16(), subject)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(embedding.bfloat16().float(), subject))


def test_last_layers_keep_their_digits() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 64), torch.randn(4, 64)
    plain = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(exactly(layer, x), plain)
    assert exactly(layer.double(), x.double()).dtype == torch.float64
    assert precise(x.half()).dtype == torch.float32 and precise(x.double()).dtype == torch.float64


def test_gradients_are_unscaled_before_l2_and_clip() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = TensorFlowAdam([weight], clip=1.0)
    # torch's scaler, and Lightning's clipping, ask for this
    assert not getattr(optimizer, "_step_supports_amp_scaling", False)
