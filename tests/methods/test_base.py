from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gaitbench
from gaitbench.batch import GaitBatch
from gaitbench.errors import InputError
from gaitbench.methods.base import OF_THE_RUN, GaitMethod


class Mean(GaitMethod):
    """Embeds a walk as a linear function of its mean pose."""

    def __init__(self, tta: bool = True, size: int = 4, **settings: Any) -> None:
        defaults = {"learning_rate": 0.005, "weight_decay": 1e-5, "optimizer": "adamw"}
        given = {"skeleton": "coco17", "num_subjects": 0, **defaults, **settings}
        super().__init__(**given, tta=tta)
        self.save_hyperparameters(ignore=OF_THE_RUN)
        torch.manual_seed(0)
        self.linear = nn.Linear(6, size)
        self.loss = Distance(1.0)
        self.validation_loss = Distance(10.0)
        self.test_time_views = (lambda frames: frames.flip(1), lambda frames: -frames)
        self.logged: dict[str, Tensor] = {}

    def forward(self, frames: Tensor) -> Tensor:
        # frames weighted by time, so that a reversed walk is another
        weight = torch.arange(1.0, frames.shape[1] + 1)[:, None, None]
        return self.linear((frames * weight).mean(dim=1).flatten(1))

    def log(self, name: str, value: Any, **how: Any) -> None:
        self.logged[name] = value


class Distance(nn.Module):
    """A stand-in that tells which embedding it was given."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, embedding: Tensor, subject: Tensor) -> Tensor:
        return self.factor * (embedding.sum(dim=1) * (subject + 1)).sum()


@pytest.fixture
def batch() -> GaitBatch:
    frames = torch.randn(3, 5, 2, 3, generator=torch.Generator().manual_seed(1))
    return GaitBatch(frames, torch.tensor([0, 1, 1]), torch.tensor([7, 9, 4]), seed=5)


def test_what_methods_are_made_of_is_none() -> None:
    with pytest.raises(InputError, match="GaitMethod is what methods are made of"):
        GaitMethod("coco17", 0, 0.005, 1e-5, "adamw", tta=False)


def test_views_stand_side_by_side(batch: GaitBatch) -> None:
    method = Mean()
    found = method.embed(batch.frames)
    views = (batch.frames, batch.frames.flip(1), -batch.frames)
    torch.testing.assert_close(found, torch.cat([method(view) for view in views], dim=1))
    assert found.shape == (3, 12)


def test_views_are_embedded_in_one_pass(batch: GaitBatch) -> None:
    method = Mean()
    sizes: list[int] = []
    method.linear.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    method.embed(batch.frames)
    assert sizes == [9]


def test_without_augmentation_the_embedding_is_plain(batch: GaitBatch) -> None:
    method = Mean(tta=False)
    assert torch.equal(method.embed(batch.frames), method(batch.frames))
    alone = Mean()
    alone.test_time_views = ()
    assert torch.equal(alone.embed(batch.frames), alone(batch.frames))


def test_training_takes_the_loss_of_the_plain_embedding(batch: GaitBatch) -> None:
    method = Mean()
    loss = method.training_step(batch, 0)
    torch.testing.assert_close(loss, method.loss(method(batch.frames), batch.subject))
    assert method.logged == {"train/loss": loss}
    loss.backward()
    assert method.linear.weight.grad is not None


@pytest.mark.parametrize("tta", [False, True])
def test_validation_takes_the_loss_of_the_plain_embedding(batch: GaitBatch, tta: bool) -> None:
    method = Mean(tta)
    outputs = method.validation_step(batch, 0)
    expected = method.validation_loss(method(batch.frames), batch.subject)
    torch.testing.assert_close(method.logged["val/loss"], expected)
    assert torch.equal(outputs["embedding"], method.embed(batch.frames))
    assert torch.equal(outputs["row"], batch.row)


@pytest.mark.parametrize("step", ["test_step", "predict_step"])
def test_test_and_prediction_give_embeddings_and_rows(batch: GaitBatch, step: str) -> None:
    method = Mean()
    outputs = getattr(method, step)(batch, 0)
    assert torch.equal(outputs["embedding"], method.embed(batch.frames))
    assert torch.equal(outputs["row"], batch.row)
    assert set(outputs) == {"embedding", "row"}
    assert method.attribute_names == ()
    assert not method.logged


def configured(method: GaitMethod, steps: float) -> tuple[torch.optim.Optimizer, Any]:
    method.trainer = SimpleNamespace(estimated_stepping_batches=steps)  # type: ignore[assignment]
    found: Any = method.configure_optimizers()
    assert found["lr_scheduler"]["interval"] == "step"
    return found["optimizer"], found["lr_scheduler"]["scheduler"]


def test_one_cycle_of_200_epochs_of_11_steps() -> None:
    """The reference's rates and momenta of CASIA-B: peak 0.005, 2,200 steps."""
    optimizer, schedule = configured(Mean(), 200 * 11)
    (group,) = optimizer.param_groups
    rates, momenta = [], []
    for _ in range(2200):
        rates.append(group["lr"])
        momenta.append(group["betas"][0])
        optimizer.step()
        schedule.step() if len(rates) < 2200 else None
    assert rates[0] == pytest.approx(0.0002)
    assert rates.index(max(rates)) == 659
    assert max(rates) == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(2e-8)
    assert (momenta[0], momenta[659], momenta[-1]) == pytest.approx((0.95, 0.85, 0.95))


def test_a_held_rate_is_that_of_the_reference() -> None:
    """Weight averaging of 750 epochs threw the schedule away at epoch 599: 0.000952 from there."""
    method = Mean(hold_rate_from=599 / 750)
    optimizer, schedule = configured(method, 7500)
    (group,) = optimizer.param_groups
    rates, momenta = [], []
    for step in range(7500):
        rates.append(group["lr"])
        momenta.append(group["betas"][0])
        optimizer.step()
        schedule.step() if step < 7499 else None
    whole = configured(Mean(), 7500)[1]
    assert rates[5990] == pytest.approx(0.000952, abs=1e-6)
    assert set(rates[5990:]) == {rates[5990]}
    assert set(momenta[5990:]) == {momenta[5990]}
    assert rates[5989] > rates[5990] > whole.get_last_lr()[0]


def test_frozen_weights_are_not_optimised() -> None:
    method = Mean()
    method.linear.bias.requires_grad_(False)
    optimizer, _ = configured(method, 10)
    assert [p is method.linear.weight for p in optimizer.param_groups[0]["params"]] == [True]


def fitting(method: GaitMethod, resumed: str | None = None) -> GaitMethod:
    method._trainer = SimpleNamespace(ckpt_path=resumed)  # type: ignore[assignment]
    return method


def written(path: Path, method: GaitMethod) -> str:
    torch.save({**saved(method), "pytorch-lightning_version": "2.6.6"}, path)
    return str(path)


def test_a_second_stage_starts_from_the_first(tmp_path: Path) -> None:
    first = Mean()
    torch.nn.init.constant_(first.linear.weight, 0.25)
    path = written(tmp_path / "first.ckpt", first)
    second = fitting(Mean(initial_weights=path))
    second.setup("test")
    assert not torch.equal(second.linear.weight, first.linear.weight)
    second.setup("fit")
    assert torch.equal(second.linear.weight, first.linear.weight)
    # what is resumed knows its own weights
    resumed = fitting(Mean(initial_weights=path), resumed="last.ckpt")
    resumed.setup("fit")
    assert not torch.equal(resumed.linear.weight, first.linear.weight)
    assert "initial_weights" not in second.hparams


def test_initial_weights_that_do_not_fit_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Mean(size=5)
    first.extra = nn.Linear(2, 2)
    path = written(tmp_path / "first.ckpt", first)
    with pytest.raises(InputError, match=r"no weight in .*first\.ckpt fits this Mean"):
        fitting(Mean(initial_weights=path)).setup("fit")
    second = fitting(Mean(initial_weights=path))
    second.extra = nn.Linear(2, 2)
    second.setup("fit")
    assert torch.equal(second.extra.weight, first.extra.weight)
    fresh, unused = caplog.messages
    assert fresh == f"{path}: linear.weight, linear.bias start fresh"
    assert unused == f"{path}: linear.weight, linear.bias are not used"


def test_a_classifier_of_other_people_does_not_stand_in_the_way() -> None:
    """Its loss may have been sized for other subjects: only a training needs it."""
    trained, here = Mean(), Mean()
    trained.loss, here.loss = nn.Linear(3, 7), nn.Linear(3, 2)
    checkpoint = saved(trained)
    here.on_load_checkpoint(checkpoint)
    here.load_state_dict(checkpoint["state_dict"])
    here._trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    assert "loss.weight is (7, 3) there and (2, 3) here" in complaint(saved(trained), here)


def test_optimisers_and_their_decay() -> None:
    adamw, _ = configured(Mean(weight_decay=0.25), 10)
    adam, _ = configured(Mean(optimizer="adam", weight_decay=0.0, learning_rate=0.1), 10)
    assert type(adamw) is torch.optim.AdamW
    assert type(adam) is torch.optim.Adam
    assert adamw.param_groups[0]["weight_decay"] == 0.25
    assert adam.param_groups[0]["weight_decay"] == 0
    assert adam.param_groups[0]["max_lr"] == 0.1
    assert len(adam.param_groups[0]["params"]) == 2


class InGroups(Mean):
    """Trains its bias at another rate and without decay."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        weight, bias = self.linear.weight, self.linear.bias
        return [{"params": [weight]}, {"params": [bias], "lr": 0.1, "weight_decay": 0.0}]


def test_a_resumed_training_keeps_its_own_rates_and_decays() -> None:
    optimizer, _ = configured(InGroups(), 10)
    state = {"optimizer_states": [optimizer.state_dict()]}
    method = InGroups(learning_rate=0.02, weight_decay=0.5)
    method.on_load_checkpoint({**saved(method), **state})
    first, second = state["optimizer_states"][0]["param_groups"]
    assert (first["max_lr"], first["weight_decay"]) == (0.02, 0.5)
    assert (second["max_lr"], second["weight_decay"]) == (0.1, 0.0)


def test_a_training_of_other_weights_is_not_resumed() -> None:
    optimizer, _ = configured(InGroups(), 10)
    checkpoint = {**saved(Mean()), "optimizer_states": [optimizer.state_dict()]}
    method = Mean()
    method._trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    assert "trains other weights than this one" in complaint(checkpoint, method)
    Mean().on_load_checkpoint(checkpoint)  # but its network may be tested


def saved(method: GaitMethod) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": method.state_dict()}
    method.on_save_checkpoint(checkpoint)
    return checkpoint


def test_a_checkpoint_says_where_it_is_from_and_is_taken_back() -> None:
    checkpoint = saved(Mean())
    assert checkpoint["gaitbench"] == {
        "version": gaitbench.__version__,
        "method": "Mean",
        "skeleton": "coco17",
        "dataset": None,
        "frame_kind": None,
        "protocols": [],
        "seed": None,
    }
    Mean(tta=False).on_load_checkpoint(checkpoint)


def test_a_foreign_checkpoint_that_fits_is_taken() -> None:
    Mean().on_load_checkpoint({"state_dict": Mean().state_dict()})


def complaint(checkpoint: dict[str, Any], method: GaitMethod | None = None) -> str:
    with pytest.raises(InputError) as raised:
        (method or Mean()).on_load_checkpoint(checkpoint)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_checkpoint_of_another_skeleton_is_refused() -> None:
    # named before the shapes, which would differ too
    assert complaint(saved(Mean(skeleton="openpose18", size=3))) == (
        "the checkpoint was trained on skeleton openpose18, the data are coco17; give "
        "data.skeleton openpose18 or another checkpoint"
    )


def test_a_checkpoint_of_other_frames_is_refused() -> None:
    """Joints of one layout may be x, y, z or x, y and confidence: no shape would tell."""
    data = SimpleNamespace(dataset="own3d", frame_kind="skeleton3d", default_protocols=())
    method = Mean()
    method._trainer = SimpleNamespace(datamodule=data, training=False)  # type: ignore[assignment]
    checkpoint: dict[str, Any] = {"state_dict": method.state_dict()}
    method.on_save_checkpoint(checkpoint)
    method.on_load_checkpoint(checkpoint)
    Mean().on_load_checkpoint(checkpoint)  # of data nothing is known
    method._trainer.datamodule = SimpleNamespace(dataset="casia_b", frame_kind="pose")
    assert complaint(checkpoint, method) == (
        "the checkpoint was trained on frames of kind skeleton3d, casia_b holds pose; name other "
        "data or another checkpoint"
    )


def test_a_checkpoint_that_lacks_weights_is_refused() -> None:
    checkpoint = saved(Mean())
    checkpoint["state_dict"] = {"linear.bias": checkpoint["state_dict"]["linear.bias"]}
    assert complaint(checkpoint) == (
        "the checkpoint does not fit this Mean: it lacks linear.weight and 0 more; give the model "
        "settings it was trained with"
    )
    checkpoint["state_dict"] = {}
    assert "lacks linear.weight and 1 more" in complaint(checkpoint)


def test_a_checkpoint_with_unknown_weights_is_refused() -> None:
    checkpoint = saved(Mean())
    checkpoint["state_dict"] |= {"extra.a": torch.zeros(1), "extra.b": torch.zeros(1)}
    assert "it has the unknown extra.a and 1 more;" in complaint(checkpoint)


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    message = complaint(saved(Mean(size=5)))
    assert "linear.weight is (5, 6) there and (4, 6) here; give" in message
    assert "linear.bias" not in message


def test_several_faults_stand_in_one_sentence() -> None:
    checkpoint = saved(Mean(size=5))
    checkpoint["state_dict"]["other"] = checkpoint["state_dict"].pop("linear.bias")
    message = complaint(checkpoint)
    assert "lacks linear.bias and 0 more, has the unknown other and 0 more, linear.w" in message
