from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gaitbench.__main__ import run
from gaitbench.batch import GaitBatch
from gaitbench.errors import InputError
from gaitbench.losses import SimCLR, SupCon
from gaitbench.methods.gaitformer import LEAST, GaitFormer, pelvis_normalized
from gaitbench.schedules import CyclicPhases, OneCycle, Phase
from gaitbench.skeleton import OPENPOSE18
from tests.conftest import SMALL, Bench, newest_run

CONFIG = Path(__file__).parents[2] / "configs" / "gaitformer" / "casia_b_contrastive.yaml"
TINY: dict[str, Any] = {"period": 8, "width": 16, "depth": 2, "heads": 2, "projection_dim": 8}
PHASES: list[Phase] = [
    {"epoch": 0, "base": 1e-4, "peak": 3e-4, "up": 1, "down": 1, "mode": "triangular"},
    {"epoch": 2, "base": 1e-5, "peak": 2e-4, "up": 1, "down": 2, "mode": "triangular2"},
]


def tiny(**settings: Any) -> GaitFormer:
    torch.manual_seed(0)
    method = GaitFormer(**{**TINY, **settings})
    method.log = lambda *args, **how: None  # type: ignore[method-assign]
    return method


def walks(batch: int = 4, frames: int = 8) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(batch, frames, 18, 3, generator=random) * torch.tensor([320.0, 240, 1])


def normalized_by_loops(walk: Tensor) -> Tensor:
    """One walk (T, 18, 3), joint by joint, by the numbers of the joints."""
    pelvis = [(frame[8, :2] + frame[11, :2]) / 2 for frame in walk]
    heights = [abs(frame[1, 1] - p[1]) for frame, p in zip(walk, pelvis, strict=True)]
    found = walk.clone()
    for t, frame in enumerate(walk):
        height = max(heights[t], sum(heights) / len(heights) / 4)
        width = max(abs(frame[2, 0] - frame[5, 0]), height / 4)
        for j in range(18):
            found[t, j, 0] = (frame[j, 0] - pelvis[t][0]) / width
            found[t, j, 1] = (frame[j, 1] - pelvis[t][1]) / height
    return found


def test_normalisation_against_loops() -> None:
    frames = walks().double()
    expected = torch.stack([normalized_by_loops(walk) for walk in frames])
    torch.testing.assert_close(pelvis_normalized(frames), expected)


def test_place_and_size_do_not_count() -> None:
    frames = walks().double()
    moved = frames * torch.tensor([3.0, 3.0, 1.0]) + torch.tensor([50.0, -20.0, 0.0])
    torch.testing.assert_close(pelvis_normalized(moved), pelvis_normalized(frames))


def test_normalised_poses_have_unit_shoulders_and_trunk_and_stay_so() -> None:
    frames = walks()
    frames[..., 1, 1] = frames[..., [8, 11], 1].mean(-1) - 60
    frames[..., 5, 0] = frames[..., 2, 0] + 30
    found = pelvis_normalized(frames)
    torch.testing.assert_close(found[..., 5, 0] - found[..., 2, 0], torch.ones(4, 8))
    torch.testing.assert_close(found[..., 1, 1], -torch.ones(4, 8))
    assert torch.equal(found[..., 2], frames[..., 2])
    torch.testing.assert_close(pelvis_normalized(found), found)


def test_shoulders_seen_from_the_side_do_not_blow_up_a_walk() -> None:
    frames = walks()
    frames[..., 5, :] = frames[..., 2, :]
    frames[0, 3] = 0  # nobody there
    frames[1] = 0
    found = pelvis_normalized(frames)
    height = (frames[2:, :, 1, 1] - frames[2:, :, [8, 11], 1].mean(-1)).abs()
    least = LEAST * torch.maximum(height, LEAST * height.mean(1, keepdim=True))
    assert torch.isfinite(found).all()
    assert (found[2:, ..., 0].abs() <= 320 / least[..., None] + 1e-3).all()
    assert (found[1, ..., :2] == 0).all()


@pytest.mark.parametrize("normalize", ["none", "pelvis"])
@pytest.mark.parametrize("units", ["pixels, confidence", "normalised, y up, confidence"])
@pytest.mark.parametrize("pixels", [None, True, False])
def test_what_the_network_sees(normalize: str, units: str, pixels: bool | None) -> None:
    """Pixels are normalised and turned upwards; whether they are pixels, the data say."""
    method = tiny(normalize=normalize, pixels=pixels)
    method._trainer = SimpleNamespace(datamodule=SimpleNamespace(units=units), ckpt_path=None)
    method.setup("test")
    frames = walks()
    expected = frames.clone()
    if pixels or (pixels is None and units.startswith("pixels")):
        expected = pelvis_normalized(frames) if normalize == "pelvis" else expected
        expected[..., 1] *= -1
    given = frames.clone()
    assert torch.equal(method.network_input(given), expected)
    assert torch.equal(given, frames)
    assert "pixels" not in method.hparams


def test_a_representation_is_compared_and_a_projection_is_trained() -> None:
    method = tiny(temperature=0.1).eval()
    batch = GaitBatch(walks(), torch.tensor([0, 0, 1, 1]), torch.arange(4), seed=0)
    output = method.backbone(method.network_input(batch.frames))
    assert torch.equal(method(batch.frames), output.representation)
    assert torch.equal(method.embed(batch.frames), output.representation)
    assert output.representation.shape == (4, 16)
    loss = method.training_step(batch, 0)
    torch.testing.assert_close(loss, SupCon(0.1)(output.projection, batch.subject))
    loss.backward()
    untrained = {name for name, p in method.named_parameters() if p.grad is None}
    assert untrained == {"backbone.out_appearance.weight", "backbone.out_appearance.bias"}
    assert not method.backbone.out_appearance.weight.requires_grad


def test_augmentation_in_the_test_adds_the_reversed_walk() -> None:
    method = tiny(tta=True).eval()
    frames = walks()
    found = method.embed(frames)
    expected = torch.cat((method(frames), method(frames.flip(1))), dim=1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("contrast", ["supcon", "simclr"])
def test_the_loss_falls_in_a_few_steps(contrast: str) -> None:
    method = tiny(contrast=contrast, temperature=0.1, dropout=0.0)
    frames = walks(6).repeat_interleave(2, 0)
    frames += 2 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(3))
    batch = GaitBatch(frames, torch.arange(6).repeat_interleave(2), torch.arange(12), seed=0)
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        loss = method.training_step(batch, 0)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def scheduled(method: GaitFormer, batches: int = 10, accumulated: int = 1) -> Any:
    trainer = SimpleNamespace(
        estimated_stepping_batches=20,
        fit_loop=SimpleNamespace(setup_data=lambda: None),
        num_training_batches=batches,
        accumulate_grad_batches=accumulated,
    )
    method.trainer = trainer  # type: ignore[assignment]
    found: Any = method.configure_optimizers()
    assert found["lr_scheduler"]["interval"] == "step"
    return found["lr_scheduler"]["scheduler"]


@pytest.mark.parametrize(("batches", "accumulated", "steps"), [(10, 1, 10), (10, 4, 3)])
def test_phases_make_a_cyclic_rate(batches: int, accumulated: int, steps: int) -> None:
    schedule = scheduled(tiny(phases=PHASES), batches, accumulated)
    assert isinstance(schedule, CyclicPhases)
    assert schedule.steps_per_epoch == steps
    (group,) = schedule.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (1e-4, 0.01)
    frozen = len(list(tiny().backbone.out_appearance.parameters()))
    assert len(group["params"]) == len(list(tiny().parameters())) - frozen


def test_without_phases_there_is_one_cycle() -> None:
    assert isinstance(scheduled(tiny(learning_rate=0.002)), OneCycle)


def test_other_layouts_and_windows_are_refused() -> None:
    with pytest.raises(InputError, match=r"the data are coco17; give data.skeleton openpose18"):
        GaitFormer("coco17")
    with pytest.raises(InputError, match=r"windows of 8 frames, found 9; give data.frames 8 or"):
        tiny()(walks(frames=9))


def test_simclr_needs_two_windows_a_sequence() -> None:
    method = tiny(contrast="simclr")
    assert isinstance(method.loss, SimCLR)
    data = SimpleNamespace(train_windows=1, units="pixels, confidence")
    method._trainer = SimpleNamespace(ckpt_path=None, datamodule=data)  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"data.train_windows is 1; give 2"):
        method.setup("fit")
    method.setup("test")
    data.train_windows = 2
    method.setup("fit")


def test_the_published_network_is_the_default() -> None:
    method = GaitFormer()
    assert sum(p.numel() for p in method.backbone.parameters()) == 2_244_010
    assert isinstance(method.loss, SupCon)
    assert (method.loss.temperature, method.loss.epsilon) == (0.001, 1e-6)
    assert method.skeleton == OPENPOSE18.name
    assert not {"tta", "skeleton"} & set(method.hparams)
    demographic = GaitFormer(attributes=["gender", "body", "viewpoint", "age-group"])
    assert len(demographic.backbone.out_appearance.bias) == 12


def words(bench: Bench, command: str, *more: str) -> list[str]:
    network = [f"--model.{name}={value}" for name, value in TINY.items()]
    return [command, f"--config={CONFIG}", *bench.here, *SMALL, *network, *more]


def test_a_resumed_training_ends_as_an_unbroken_one(bench: Bench) -> None:
    """Across the begin of a phase, with dropout; and its network is judged as published."""
    phases = f"--model.phases={PHASES}"

    def trained(epochs: int, *more: str) -> tuple[str, dict[str, Any]]:
        assert run(words(bench, "fit", phases, f"--trainer.max_epochs={epochs}", *more)) == 0
        path = newest_run(bench.out) / "checkpoints" / "last.ckpt"
        return str(path), torch.load(path, weights_only=True)

    _, whole = trained(4)
    half, _ = trained(1)
    path, resumed = trained(4, f"--ckpt_path={half}")
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name
    assert whole["lr_schedulers"][0]["_last_lr"] == resumed["lr_schedulers"][0]["_last_lr"]
    assert run(words(bench, "test", f"--ckpt_path={path}")) == 0
    assert {p.name for p in (newest_run(bench.out) / "tables").iterdir()} >= {
        "casia_b.pooled.csv",
        "casia_b.cross_view.csv",
    }


def test_phases_need_no_end(bench: Bench) -> None:
    steps = ("--trainer.max_epochs=-1", "--trainer.max_steps=3")
    assert run(words(bench, "fit", *steps, "--model.contrast=simclr")) == 0
    path = newest_run(bench.out) / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 3


def test_mistakes_are_told_in_a_sentence(bench: Bench, refused: Any) -> None:
    assert "give data.skeleton openpose18" in refused(words(bench, "fit", "--data.skeleton=coco17"))
    assert "give data.frames 8" in refused(words(bench, "fit", "--data.frames=9"))
