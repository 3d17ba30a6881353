"""GaitCopy's stages: the authors' numbers through the methods' own steps, and whole runs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from gaitbench.batch import GaitBatch
from gaitbench.callbacks import PredictionWriter, ProtocolEvaluation
from gaitbench.checkpoints import read_checkpoint
from gaitbench.errors import InputError
from gaitbench.losses import BatchAllTriplet, HardTriplet, SemiHardTriplet
from gaitbench.methods import GaitCopyStudent, GaitCopyTeacher
from gaitbench.methods.frames import FrameMethod
from gaitbench.tools.pipeline import check, read_stages
from tests.goldens import filled, filled_state, filled_windows, gaitcopy_golden
from tests.methods.image_walks import ImageWalks

FACTS = gaitcopy_golden("nets")[1]["train"]
PIPELINES = sorted((Path(__file__).parents[2] / "configs" / "gaitcopy").glob("*.pipeline.yaml"))
FAST: dict[str, Any] = {"network": "3d-smallB", "embedding_dim": 16, "learning_rate": 3e-4}


def with_golden_weights(method: FrameMethod) -> dict[str, nn.Parameter]:
    """Give a method the golden weights; its parameters by their golden names."""
    shapes = {name: tuple(value.shape) for name, value in method.state_dict().items()}
    method.load_state_dict(filled_state(shapes))
    short = {name: name.split(".", 1)[1] for name in shapes}
    return {
        short[name].removeprefix("classifier."): value for name, value in method.named_parameters()
    }


class Bench:
    """Steps of a method as a trainer takes them, and what it logs."""

    def __init__(self, method: FrameMethod) -> None:
        self.method = method
        self.logged: dict[str, float] = {}
        method.log = self._log  # type: ignore[assignment,method-assign]
        method._trainer = SimpleNamespace(world_size=1, training=True)  # type: ignore[assignment]
        self.optimizer: torch.optim.Optimizer = method.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]

    def _log(self, name: str, value: Tensor, **settings: Any) -> None:
        self.logged[name] = float(value.detach())

    def step(self, batch: GaitBatch) -> float:
        self.optimizer.zero_grad()
        loss = self.method.training_step(batch, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())


def batch_of(frames: Tensor, subject: Tensor, target: Tensor | None = None) -> GaitBatch:
    return GaitBatch(frames, subject, torch.arange(len(frames)), 5, target=target)


def golden_student() -> tuple[GaitCopyStudent, GaitBatch, list[str]]:
    method = GaitCopyStudent(network="3d-smallB", dropout=0, learning_rate=1e-4)
    target = torch.from_numpy(sum(filled((4, 1024), 1200 + i) for i in range(3)) - 1.5)
    frames, subject = filled_windows(4, False, 1100), torch.arange(4)
    return method, batch_of(frames, subject, F.normalize(target).float()), ["signature"]


def golden_teacher() -> tuple[GaitCopyTeacher, GaitBatch, list[str]]:
    method = GaitCopyTeacher(num_subjects=150)
    frames, subject = filled_windows(6, True, 1101), torch.tensor([0, 0, 1, 1, 2, 2])
    return method, batch_of(frames, subject), ["triplet", "classifier"]


@pytest.mark.parametrize(
    ("name", "make", "bound"),
    # in the teacher's third step the authors' distances have lost digits: ours in float64 are as
    # far from theirs
    [("student_smallB_sL1", golden_student, 1e-7), ("teacher3d_of_both", golden_teacher, 1e-5)],
)
def test_three_steps_are_the_authors(name: str, make: Any, bound: float) -> None:
    method, batch, terms = make()
    named = with_golden_weights(method)
    bench = Bench(method.train())
    *steps, last = FACTS[name]
    for step, told in enumerate(steps):
        total = bench.step(batch)
        # what is left of a loss after a step may be tiny
        close = 1e-2 if step else 1e-5
        assert total == pytest.approx(told["total"], rel=close)
        assert bench.logged["train/loss"] == total
        assert [bench.logged[f"train/{t}"] for t in terms] == pytest.approx(told["parts"], close)
        assert bench.logged["train/penalty"] == pytest.approx(told["reg"], rel=1e-5)
    for place, probe in last["params_after"].items():
        value = named[place.replace("kernel", "weight")].detach()
        if value.dim() > 1:
            value = value.permute(*range(2, value.dim()), 1, 0)
        found = value.flatten()[probe["idx"]].numpy()
        assert np.abs(found - np.array(probe["val"])).max() <= bound
        assert float(value.double().norm()) == pytest.approx(probe["l2"], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "kind", "margin", "squared"),
    [
        ({"mining": "semi_hard"}, SemiHardTriplet, 0.25, False),
        ({"mining": "softplus", "unit": False}, SemiHardTriplet, None, True),
        ({"mining": "hard"}, HardTriplet, 0.25, False),
        ({"mining": "all"}, BatchAllTriplet, 0.25, False),
    ],
)
def test_the_loss_is_made_of_its_terms(
    settings: dict[str, Any], kind: type, margin: float | None, squared: bool
) -> None:
    method = GaitCopyTeacher(num_subjects=3, **FAST, **settings, classifier_weight=0.3)
    loss = method.loss["triplet"]  # type: ignore[index]
    assert type(loss) is kind
    assert (loss.margin, loss.squared, loss.unit) == (margin, squared, settings.get("unit", True))
    code, subject = torch.randn(6, 16), torch.arange(6) // 2
    terms = method.terms(code, batch_of(code, subject))
    scores = method.loss["classifier"].probs(code)  # type: ignore[index,operator,union-attr]
    assert torch.equal(terms["triplet"], kind(margin, loss.unit, squared)(code, subject))
    assert torch.allclose(terms["classifier"], F.cross_entropy(scores, subject))
    alone = GaitCopyTeacher(num_subjects=3, **FAST, triplet_weight=0, classifier_weight=1)
    assert list(alone.loss) == ["classifier"]  # type: ignore[arg-type]


def test_signatures_are_compared_and_codes_are_learned() -> None:
    method = GaitCopyStudent(**FAST).eval()
    frames = torch.randn(2, 25, 60, 60, 1)
    assert torch.allclose(method.told(frames)["embedding"].norm(dim=1), torch.ones(2))
    assert torch.allclose(method.embed(frames), F.normalize(method(frames)))


def test_a_student_may_copy_windows_of_the_same_person_and_noise() -> None:
    subject = torch.arange(400) % 4
    signatures = F.normalize(torch.randn(400, 8))
    batch = batch_of(signatures, subject)
    crossed = GaitCopyStudent(**FAST, cross=0.75).varied(signatures, batch)
    taken = (crossed[:, None] == signatures).all(2).float().argmax(1)
    assert torch.equal(crossed, signatures[taken])
    assert torch.equal(subject[taken], subject)
    # one in a hundred draws itself
    assert (taken == torch.arange(400)).float().mean() == pytest.approx(0.2575, abs=0.08)
    assert torch.equal(crossed, GaitCopyStudent(**FAST, cross=0.75).varied(signatures, batch))
    noisy = GaitCopyStudent(**FAST, noise=0.01).varied(signatures, batch)
    assert float((noisy - signatures).std()) == pytest.approx(0.01, rel=0.05)
    assert GaitCopyStudent(**FAST).varied(signatures, batch) is signatures


def test_signatures_are_copied_in_each_form() -> None:
    code, target = torch.randn(2, 4, 16).unbind()
    batch = batch_of(code, torch.arange(4), target)
    for form in ("smooth_l1", "huber", "mse"):
        method = GaitCopyStudent(**FAST, form=form)  # type: ignore[arg-type]
        assert torch.equal(method.terms(code, batch)["signature"], method.copying(code, target))


def test_codes_of_length_one_are_copied() -> None:
    """Their length is nobody's concern then, and the loss of small differences is 1 - cosine."""
    code, target = torch.randn(4, 512), F.normalize(torch.randn(4, 512))
    batch = batch_of(code, torch.arange(4), target)
    loss = GaitCopyStudent(**FAST, unit_copy=True).terms(code, batch)["signature"]
    assert torch.allclose(loss, (1 - F.cosine_similarity(code, target)).sum())
    assert torch.allclose(loss, GaitCopyStudent(**FAST).copying(F.normalize(code), target))


def fitted(
    method: FrameMethod,
    data: ImageWalks,
    out: Path,
    ckpt_path: Path | None = None,
    **settings: Any,
) -> Path:
    """Train; the checkpoint."""
    trainer = pl.Trainer(
        default_root_dir=out, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, **settings,
    )  # fmt: skip
    trainer.fit(method, data, ckpt_path=ckpt_path)  # type: ignore[arg-type]
    path = out / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


def run(command: str, method: FrameMethod, data: ImageWalks, path: Path, callback: Any) -> None:
    trainer = pl.Trainer(
        default_root_dir=path.parent, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, callbacks=[callback],
    )  # fmt: skip
    getattr(trainer, command)(method, datamodule=data, ckpt_path=path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["signatures", "teacher"])
def test_a_student_copies_its_teacher(how: str, tmp_path: Path) -> None:
    """Through the files that `predict` writes, or with the teacher beside it."""
    pl.seed_everything(0)
    data = ImageWalks("flow")
    teacher = GaitCopyTeacher(data.skeleton, data.num_subjects, **FAST)
    checkpoint = fitted(teacher, data, tmp_path / "teacher", max_epochs=2)
    if how == "signatures":
        run("predict", teacher, data, checkpoint, PredictionWriter(str(tmp_path / "told")))
        seen: dict[str, Any] = {"signatures": tmp_path / "told"}
    else:
        seen = {"teacher_modality": "flow"}
    asked = str(checkpoint) if how == "teacher" else None
    validation: Any = "test" if how == "signatures" else "none"
    data = ImageWalks("gray", validation=validation, **seen)
    student = GaitCopyStudent(data.skeleton, data.num_subjects, **FAST, dropout=0.1, teacher=asked)
    batch = data.batch(range(24))
    with torch.no_grad():
        wanted = teacher.eval().embed(ImageWalks("flow").batch(range(24)).frames)
    before = F.huber_loss(student(batch.frames), wanted).item()
    path = fitted(student, data, tmp_path / "student", max_epochs=9)
    assert torch.allclose(student.signatures(batch), wanted, atol=1e-6)
    after = F.huber_loss(student.eval()(batch.frames), wanted).item()
    assert after < before / 3
    if how == "signatures":
        assert student.trainer.callback_metrics["val/mean_error"] < 0.15
        assert student.trainer.callback_metrics["val/loss"] < 16 * before
    content = read_checkpoint(path)
    assert "teacher" not in content["hyper_parameters"]
    assert all(name.startswith("backbone.") for name in content["state_dict"])

    alone = GaitCopyStudent(data.skeleton, 99, **FAST)
    run("test", alone, ImageWalks("gray"), path, ProtocolEvaluation(bootstrap=10))
    figures = json.loads((tmp_path / "student" / "metrics.json").read_text())["walks.votes"]
    # a window is a row: nothing was averaged
    assert (figures["last"]["n"], figures["last"]["videos"]) == (12, 6)
    assert figures["last"]["video_rank1"] == 1


@pytest.mark.filterwarnings("ignore")
def test_an_asked_teacher_never_trains_and_a_training_resumes(tmp_path: Path) -> None:
    """The teacher lies in no checkpoint; a training goes on to the same weights."""
    data = ImageWalks("flow", people=2, windows=1)
    teacher = GaitCopyTeacher(data.skeleton, data.num_subjects, **FAST)
    asked = fitted(teacher, data, tmp_path / "teacher", max_epochs=1)
    data = ImageWalks("gray", people=2, windows=1, batch_size=2, teacher_modality="flow")

    def trained(name: str, epochs: int, resumed: Path | None = None) -> GaitCopyStudent:
        pl.seed_everything(1)
        student = GaitCopyStudent(
            data.skeleton, 2, **FAST, dropout=0, rate="constant", teacher=str(asked)
        )
        fitted(student, data, tmp_path / name, resumed, max_epochs=epochs)
        return student

    whole = trained("whole", 2)
    trained("half", 1)
    path = tmp_path / "half" / "last.ckpt"
    student = trained("resumed", 2, path)
    for name, value in whole.state_dict().items():
        assert torch.equal(student.state_dict()[name], value), name
    content = read_checkpoint(path)
    assert set(content["state_dict"]) == set(GaitCopyStudent(**FAST).state_dict())
    assert "teacher" not in content["hyper_parameters"]
    kept = {name: value for name, value in teacher.state_dict().items() if "backbone." in name}
    for name, value in student._asked[0].state_dict().items():
        assert torch.equal(kept[f"backbone.{name}"], value)
    assert not student._asked[0].training
    assert not any(p.requires_grad for p in student._asked[0].parameters())


def test_the_rate_falls_as_it_is_told(tmp_path: Path) -> None:
    """At epochs, at steps, and where the loss stalls; a plateau goes on when it is resumed."""

    def rates(**settings: Any) -> list[float]:
        method = GaitCopyStudent(**FAST | {"learning_rate": 1.0}, **settings)
        found: Any = Bench(method) and method.configure_optimizers()
        assert found["lr_scheduler"]["interval"] == (
            "step" if settings["rate"] in ("steps", "constant") else "epoch"
        )
        optimizer, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
        told = []
        for loss in (5, 4, 4, 4, 4, 4, 4, 4, 4, 4):
            told.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step(*[loss] if settings["rate"] == "plateau" else [])
        return told

    at = {"milestones": (2, 5), "rate_factor": 0.1}
    fallen = pytest.approx([1.0] * 2 + [0.1] * 3 + [0.01] * 5)
    assert rates(rate="epochs", **at) == fallen
    assert rates(rate="steps", **at) == fallen
    assert rates(rate="constant") == [1.0] * 10
    stalls = pytest.approx([1.0] * 6 + [0.2] * 4)
    assert rates(rate="plateau", patience=3, rate_factor=0.2) == stalls

    method = GaitCopyStudent(**FAST, rate="plateau")
    Bench(method)
    state = {"best": 4.0, "num_bad_epochs": 2, "factor": 0.9, "last_epoch": 3}
    checkpoint = {"state_dict": method.state_dict(), "lr_schedulers": [state]}
    method.on_load_checkpoint(checkpoint)
    assert state == {"best": 4.0, "num_bad_epochs": 2, "last_epoch": 3}


def test_impossible_settings_are_refused() -> None:
    for settings, sentence in (
        ({"triplet_weight": -1}, "model.triplet_weight is -1; give 0 or more"),
        ({"signature_weight": 0}, "all losses have weight 0"),
        ({"rate_factor": 1.0}, "model.rate_factor is 1.0"),
        ({"rate": "epochs", "milestones": ()}, "give model.milestones"),
        ({"milestones": (5, 2)}, "rising order"),
        ({"noise": -1}, "model.noise is -1"),
        ({"cross": 2}, "model.cross is 2"),
        ({"skeleton": "coco17"}, "takes windows of pictures .* the data are coco17"),
        ({"network": "4d"}, "network '4d' is unknown"),
    ):
        with pytest.raises(InputError, match=sentence):
            GaitCopyStudent(**settings)  # type: ignore[arg-type]


def test_a_student_without_a_fitting_teacher_is_refused(tmp_path: Path) -> None:
    def refused(sentence: str, data: dict[str, Any], **settings: Any) -> None:
        method = GaitCopyStudent(**FAST | settings)
        seen = {"frame_kind": "images", "dataset": "walks", "units": "pictures", **data}
        method._trainer = SimpleNamespace(datamodule=SimpleNamespace(**seen), ckpt_path=None)  # type: ignore[assignment]
        with pytest.raises(InputError, match=sentence):
            method.setup("fit")

    def checkpoint(name: str, **settings: Any) -> str:
        teacher = GaitCopyTeacher(**FAST | settings)
        content: dict[str, Any] = {
            "state_dict": teacher.state_dict(),
            "hyper_parameters": dict(teacher.hparams),
            "pytorch-lightning_version": pl.__version__,
        }
        teacher.on_save_checkpoint(content)
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    good, wide = checkpoint("good.ckpt"), checkpoint("wide.ckpt", embedding_dim=32)
    flow = {"teacher_modality": "flow"}
    refused("has poses", {"frame_kind": "pose", "units": "poses"})
    refused("a student copies", {})
    refused("must see the windows too", {"teacher_modality": "none"}, teacher=good)
    refused("sees flow, .* is gray", {"teacher_modality": "gray"}, teacher=good)
    refused("32 values, this student of 16", flow, teacher=wide)
    refused("does not exist", flow, teacher=str(tmp_path / "none.ckpt"))
    content = torch.load(good, weights_only=True)
    for fault, sentence in (("network", "are not those of its network 2d"), ("", "no teacher")):
        content["hyper_parameters"][fault or "x"] = "2d-bmvc"
        if not fault:
            content["gaitbench"]["skeleton"] = "coco17"
        torch.save(content, tmp_path / "bad.ckpt")
        refused(sentence, flow, teacher=str(tmp_path / "bad.ckpt"))
    method = GaitCopyStudent(**FAST)
    frames = torch.zeros(2, 16)
    with pytest.raises(InputError, match="have no signatures"):
        method.signatures(batch_of(frames, torch.arange(2)))
    with pytest.raises(InputError, match="have 7 values, this student's codes 16"):
        method.signatures(batch_of(frames, torch.arange(2), frames[:, :7]))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_stages_fit_together(path: Path) -> None:
    """All settings exist; the student's codes have the size of the teacher's."""
    stages = read_stages(path)
    assert [stage.name for stage in stages][3:] == ["student", "judge_student"]
    for stage in stages:
        check(stage)
    sizes = []
    for stage in (stages[0], stages[3]):
        told: dict[str, Any] = {}
        for config in stage.configs:
            told |= yaml.safe_load(config.read_text())["model"]["init_args"]
        sizes.append(told["embedding_dim"])
    assert sizes[0] == sizes[1]
