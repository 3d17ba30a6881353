import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.__main__ import run
from gaitbench.batch import GaitBatch
from gaitbench.datamodules import DenseGait
from gaitbench.densegait import ATTRIBUTES, attribute_names
from gaitbench.errors import InputError
from gaitbench.losses import AttributeLoss, SimCLR, SupCon
from gaitbench.methods import GaitFormer
from gaitbench.schedules import CyclicPhases, OneCycle, Phase, SteadyFall
from gaitbench.skeleton import COCO17, KINECT20, OPENPOSE18, Skeleton
from tests.conftest import SMALL, Bench, newest_run
from tests.goldens import GAITFORMER, golden, unpacked_folder

CONFIGS = Path(__file__).parents[2] / "configs" / "gaitformer"
TINY: dict[str, Any] = {"period": 8, "width": 16, "depth": 2, "heads": 2, "projection_dim": 8}
PHASES: list[Phase] = [
    {"epoch": 0, "base": 1e-4, "peak": 3e-4, "up": 1, "down": 1, "mode": "triangular"},
    {"epoch": 2, "base": 1e-5, "peak": 2e-4, "up": 1, "down": 2, "mode": "triangular2"},
]
MULTI_TASK = {"attribute_weight": 0.5}
APPEARANCE = {"contrastive_weight": 0.0, "attribute_weight": 1.0}


def tiny(**settings: Any) -> GaitFormer:
    torch.manual_seed(0)
    method = GaitFormer(**{**TINY, **settings})
    method.log = lambda *args, **how: None  # type: ignore[method-assign]
    return method


def walks(batch: int = 4, frames: int = 8) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(batch, frames, 18, 3, generator=random) * torch.tensor([3.0, 3.0, 1])


def looks(batch: int = 4, attributes: int = 42) -> Tensor:
    return torch.rand(batch, attributes, generator=torch.Generator().manual_seed(4))


def batch_of(frames: Tensor, attributes: Tensor | None = None) -> GaitBatch:
    subject = torch.arange(len(frames)) // 2
    return GaitBatch(frames, subject, torch.arange(len(frames)), 0, attributes)


def data(**facts: Any) -> SimpleNamespace:
    """Stands for a dataset."""
    given: dict[str, Any] = {"attributes": attribute_names(), "train_windows": 2}
    given |= {
        "frame_kind": "pose",
        "normalized": True,
        "units": "pixels, confidence",
        "dataset": "casia_b",
        "default_protocols": (),
    }
    return SimpleNamespace(**{**given, **facts})


def attached(method: GaitFormer, stage: str = "fit", **facts: Any) -> GaitFormer:
    """The method after it has looked at data."""
    method._trainer = SimpleNamespace(  # type: ignore[assignment]
        datamodule=data(**facts),
        ckpt_path=None,
        precision="32-true",
        training=stage == "fit",
        estimated_stepping_batches=100,
    )
    method.setup(stage)
    return method


# --- what is told and what is trained ------------------------------------------------------------


def test_the_published_network_is_the_default() -> None:
    method = GaitFormer()
    assert sum(p.numel() for p in method.backbone.parameters()) == 2_244_010
    assert isinstance(method.loss, SupCon)
    assert (method.loss.temperature, method.loss.epsilon) == (0.001, 1e-6)
    assert method.skeleton == OPENPOSE18.name
    assert not {"tta", "skeleton"} & set(method.hparams)
    demographic = GaitFormer(attributes=["gender", "body", "viewpoint", "age-group"])
    assert len(demographic.backbone.out_appearance.bias) == 12
    graph = GaitFormer(backbone="st-gcn")
    assert sum(p.numel() for p in graph.backbone.parameters()) == 3_118_030


@pytest.mark.parametrize("backbone", ["gaitformer", "st-gcn"])
@pytest.mark.parametrize(
    ("settings", "untrained"),
    [
        (MULTI_TASK, set()),
        ({}, {"out_appearance"}),
        ({"contrast": "simclr"}, {"out_appearance"}),
        (APPEARANCE, {"projection", "out_embedding"}),
    ],
    ids=["multi-task", "contrastive", "simclr", "appearance"],
)
def test_each_regime_trains_what_its_losses_reach(
    settings: dict[str, Any], untrained: set[str], backbone: str
) -> None:
    """The loss is the weighted sum; what no loss reaches takes no part."""
    method = tiny(temperature=0.1, dropout=0.0, backbone=backbone, **settings).train()
    batch = batch_of(walks(), looks())
    torch.manual_seed(0)
    output = method.backbone(batch.frames)
    expected = method.contrastive_weight * method.loss(output.projection, batch.subject)
    if method.attribute_weight:
        pairs = zip(output.appearance.flatten(), batch.attributes.flatten(), strict=True)
        terms = [-y * torch.log(p) - (1 - y) * torch.log(1 - p) for p, y in pairs]
        expected = expected + method.attribute_weight * torch.stack(terms).mean()
    method.on_train_batch_start(batch, 0)
    loss = method.training_step(batch, 0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    without = {
        name.split(".")[0] for name, p in method.backbone.named_parameters() if p.grad is None
    }
    if backbone == "st-gcn":
        untrained = untrained - {"out_embedding"}
    assert without == untrained
    trained = {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert trained == {id(p) for p in method.parameters() if p.grad is not None}


def test_a_representation_is_compared_and_attributes_are_told() -> None:
    method = tiny(**MULTI_TASK).eval()
    batch = batch_of(walks(), looks())
    output = method.backbone(batch.frames)
    assert torch.equal(method(batch.frames), output.representation)
    assert torch.equal(method.embed(batch.frames), output.representation)
    for step in (method.test_step, method.predict_step, method.validation_step):
        told = step(batch, 0)
        assert set(told) == {"embedding", "row", "attributes"}
        assert torch.equal(told["embedding"], output.representation)
        assert torch.equal(told["attributes"], output.appearance)
        assert torch.equal(told["row"], batch.row)
    assert method.attribute_names == attribute_names()
    # an untrained head is not asked
    assert tiny().attribute_names == ()
    assert set(tiny().eval().test_step(batch, 0)) == {"embedding", "row"}


def test_augmentation_in_the_test_adds_the_reversed_walk() -> None:
    method = tiny(tta=True, **MULTI_TASK).eval()
    frames = walks()
    told = method.told(frames)
    views = [method.backbone(view) for view in (frames, frames.flip(1))]
    torch.testing.assert_close(told["embedding"], torch.cat([v.representation for v in views], 1))
    appearance = (views[0].appearance + views[1].appearance) / 2
    torch.testing.assert_close(told["attributes"], appearance)
    torch.testing.assert_close(method.embed(frames), told["embedding"])


@pytest.mark.parametrize("settings", [{}, {"contrast": "simclr"}, MULTI_TASK, APPEARANCE])
def test_the_loss_falls_in_a_few_steps(settings: dict[str, Any]) -> None:
    method = tiny(temperature=0.1, dropout=0.0, **settings)
    frames = walks(6).repeat_interleave(2, 0)
    frames += 0.02 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(3))
    batch = batch_of(frames, looks(6).round().repeat_interleave(2, 0))
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = method.training_step(batch, 0)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


# --- attributes of network and data --------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "categories", "common"),
    [
        (("Bag", "Female", "Hat"), ("gender", "accessory"), ("Female", "Bag")),
        (("Female",), tuple(ATTRIBUTES), ("Female",)),
        (("Side", "Hat"), ("viewpoint",), ("Side",)),
    ],
)
def test_attributes_that_both_know_are_trained(
    known: tuple[str, ...],
    categories: tuple[str, ...],
    common: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    method = attached(tiny(attributes=categories, dropout=0.0, **APPEARANCE), attributes=known)
    said = capsys.readouterr().out
    assert f"attributes: {len(common)} attribute" in said
    assert all(name in said for name in common)
    batch = batch_of(walks(), looks(attributes=len(known)))
    told = method.backbone(batch.frames).appearance
    own = attribute_names(categories)
    expected = AttributeLoss()(
        torch.stack([told[:, own.index(name)] for name in common], dim=1),
        torch.stack([batch.attributes[:, known.index(name)] for name in common], dim=1),
    )
    torch.testing.assert_close(method.training_step(batch, 0), expected)
    # a test says nothing of it, and judges all that the network tells
    attached(method, "test", attributes=())
    assert not capsys.readouterr().out
    assert method.told(batch.frames)["attributes"].shape == (4, len(own))


def test_data_without_the_networks_attributes_are_refused() -> None:
    with pytest.raises(InputError, match=r"no attribute, the network 42 attributes \(Female, Body"):
        attached(tiny(**MULTI_TASK), attributes=())
    with pytest.raises(
        InputError, match=r"the data tell 1 attribute \(Hat\), .*; give data.labels"
    ):
        attached(tiny(**MULTI_TASK), attributes=("Hat",))
    attached(tiny(), attributes=())  # nothing to train


# --- what the data must be -----------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_poses_in_pixels_are_refused(stage: str) -> None:
    with pytest.raises(InputError, match=r"data are in pixels; give data.normalize pelvis"):
        attached(tiny(), stage, normalized=False)


@pytest.mark.parametrize("backbone", ["gaitformer", "st-gcn"])
@pytest.mark.parametrize("layout", [COCO17, KINECT20], ids=lambda s: s.name)
def test_poses_may_have_any_number_of_joints(layout: Skeleton, backbone: str) -> None:
    method = tiny(skeleton=layout.name, backbone=backbone, temperature=0.1)
    frames = torch.rand(4, 8, layout.num_joints, 3, generator=torch.Generator().manual_seed(5))
    method.training_step(batch_of(frames), 0).backward()
    # every value of every joint counts
    weight = method.backbone.skeleton_encoding.weight if backbone == "gaitformer" else None
    if weight is not None:
        assert weight.shape == (16, 3 * layout.num_joints)
        assert weight.grad is not None and (weight.grad != 0).any(dim=0).all()
    assert method.eval()(frames).shape == (4, 16)


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_poses_in_space_are_measured_from_the_body(stage: str) -> None:
    facts: dict[str, Any] = {"frame_kind": "skeleton3d", "normalized": False, "dataset": "biwi"}
    with pytest.raises(InputError, match=r"those of biwi are measured from the camera; give data"):
        attached(tiny(skeleton="kinect20"), stage, origin="camera", **facts)
    method = attached(tiny(skeleton="kinect20"), stage, origin="body", **facts)
    checkpoint: dict[str, Any] = {"state_dict": method.state_dict()}
    method.on_save_checkpoint(checkpoint)
    # a test with them does not ask for poses in units of the body
    assert checkpoint["gaitbench"]["normalized"] is False
    assert checkpoint["gaitbench"]["frame_kind"] == "skeleton3d"


def test_weights_of_another_layout_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    published = tiny()
    checkpoint: dict[str, Any] = {"state_dict": published.state_dict()}
    published.on_save_checkpoint(checkpoint)
    with pytest.raises(InputError, match=r"trained on skeleton openpose18, the data are kinect20"):
        tiny(skeleton="kinect20").on_load_checkpoint(checkpoint)
    path = tmp_path / "published.ckpt"
    torch.save({**checkpoint, "pytorch-lightning_version": "2.5.5"}, path)
    torch.manual_seed(1)
    method = GaitFormer("kinect20", **TINY, initial_weights=str(path))
    attached(method, frame_kind="skeleton3d", origin="body")
    assert "was trained on skeleton openpose18, the data are kinect20" in caplog.text
    assert "backbone.skeleton_encoding.weight start fresh" in caplog.text
    layer = "encoder.layers.1.linear1.weight"
    own, theirs = method.backbone.state_dict(), published.backbone.state_dict()
    assert torch.equal(own[layer], theirs[layer])


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"windows of 8 frames, found 9; give data.frames 8 or"):
        tiny()(walks(frames=9))
    with pytest.raises(InputError, match=r"windows of 8 frames, found 9; give data.frames 8 or"):
        tiny().training_step(batch_of(walks(frames=9)), 0)
    assert tiny(backbone="st-gcn")(walks(frames=9)).shape == (4, 16)


def test_simclr_needs_two_windows_a_sequence() -> None:
    method = tiny(contrast="simclr")
    assert isinstance(method.loss, SimCLR)
    with pytest.raises(InputError, match=r"data.train_windows is 1; give 2"):
        attached(method, train_windows=1)
    attached(method, "test", train_windows=1)
    attached(method)
    attached(tiny(contrast="simclr", **APPEARANCE), train_windows=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"contrastive_weight": 0.0}, "contrastive_weight and model.attribute_weight are both 0"),
        ({"attribute_weight": -1.0}, "model.attribute_weight is -1.0; give 0 or more"),
        ({"llrd": "intended", "phases": PHASES}, "llrd intended has rates of its own; give"),
        ({"head_rate": -0.1}, "model.head_rate is -0.1; give 0 or more"),
        ({"attributes": ["hats"]}, "attribute category 'hats' is unknown"),
        ({"backbone": "st-gcn", "width": 0}, "model.width is 0; give 1 or more"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tiny(**settings)


# --- rates ---------------------------------------------------------------------------------------


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


def test_without_phases_there_is_one_cycle() -> None:
    assert isinstance(scheduled(tiny(learning_rate=0.002)), OneCycle)


def grouped(method: GaitFormer) -> list[list[str]]:
    """Names of the backbone's parameters in each group."""
    names = {id(p): name for name, p in method.backbone.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in method.parameter_groups()]


@pytest.mark.parametrize(("size", "depth"), [("sm", 4), ("l2", 2)])
def test_layer_wise_rates_are_the_references(size: str, depth: int) -> None:
    """Groups, their order, rate and decay, and the rates of the first steps."""
    numbers = golden("schedules", GAITFORMER)
    expected = {name: numbers[f"llrd/{size}/{name}"] for name in ("lr", "weight_decay")}
    method = GaitFormer(depth=depth, llrd="reference", learning_rate=3.5e-4, **MULTI_TASK)
    groups = method.parameter_groups()
    for name, values in expected.items():
        np.testing.assert_allclose([group[name] for group in groups], values, rtol=1e-12)
    assert grouped(method) == json.loads(str(numbers[f"llrd/{size}/params"]))
    left = json.loads(str(numbers[f"llrd/{size}/not_in_any_group"]))
    assert [f"backbone.{name}" for name in left] == list(method._ungrouped())

    schedule = scheduled(method)
    assert isinstance(schedule, SteadyFall)
    rates = []
    for _ in range(20):
        rates.append([group["lr"] for group in schedule.optimizer.param_groups])
        schedule.optimizer.step()
        schedule.step()
    steps = numbers[f"llrd/{size}/lr_first20_steps"] if size == "sm" else np.array(rates)
    np.testing.assert_allclose(rates, steps, rtol=1e-12)


@pytest.mark.parametrize("backbone", ["gaitformer", "st-gcn"])
def test_intended_rates_reach_every_layer(backbone: str) -> None:
    method = tiny(llrd="intended", learning_rate=1.0, backbone=backbone, **MULTI_TASK)
    names = [name for group in grouped(method) for name in group]
    assert sorted(names) == sorted(name for name, _ in method.backbone.named_parameters())
    assert not method._ungrouped()
    rates = {
        name: group["lr"]
        for group, members in zip(method.parameter_groups(), grouped(method), strict=True)
        for name in members
    }
    assert rates["projection.weight"] == method.head_rate
    if backbone == "gaitformer":
        assert rates["encoder.layers.1.norm1.weight"] == pytest.approx(0.9)
        assert rates["encoder.layers.0.norm1.weight"] == pytest.approx(0.81)
        assert rates["positional_embedding"] == pytest.approx(0.729)
    else:
        assert rates["st_gcn_networks.9.tcn.0.weight"] == pytest.approx(0.9)
        assert rates["edge_importance"] == rates["data_bn.bias"] == pytest.approx(0.9**11)


def test_of_the_graph_network_the_reference_trains_the_heads() -> None:
    method = tiny(llrd="reference", backbone="st-gcn", **MULTI_TASK)
    names = {name.split(".")[0] for group in grouped(method) for name in group}
    assert names == {"projection", "out_appearance"}


# --- the authors' training steps -----------------------------------------------------------------

TRAINERS: dict[str, dict[str, Any]] = {
    "weak-multi-task/T0.01": MULTI_TASK,
    "weak-multi-task/T0.001": MULTI_TASK,
    "wildgait/T0.07": {},
    "appearance/T0.01": APPEARANCE,
    "recognition-fine-tuner/T0.01": {"llrd": "reference"},
}


@pytest.mark.parametrize("kind", ["f64", "f32"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_three_steps_are_the_references(trainer: str, kind: str) -> None:
    """Losses, gradients, their norm before the clip and the weights after three steps.

    Rates stand still, as in the numbers.
    """
    numbers, network = golden("train_steps", GAITFORMER), golden("model_gaitformer_l2", GAITFORMER)
    precision = {"f64": torch.float64, "f32": torch.float32}[kind]
    settings = {"learning_rate": 3.5e-4} if "fine" in trainer else {}
    method = GaitFormer(
        depth=2,
        dropout=0.0,
        temperature=float(trainer.split("/T")[1]),
        **TRAINERS[trainer],
        **settings,
    ).to(precision)
    method.log = lambda *args, **how: None  # type: ignore[method-assign]
    weights = {k[3:]: torch.from_numpy(v) for k, v in network.items() if k.startswith("sd/")}
    method.backbone.load_state_dict(weights)
    attached(method)

    rate = float(np.nan_to_num(numbers[f"{trainer}/f64/lr"]))  # none where groups have their own
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=rate, weight_decay=0.01)
    losses, norms = [], []
    for images, attributes in zip(numbers["images"], numbers["attributes"], strict=True):
        frames = torch.from_numpy(images).to(precision)[..., 0].permute(0, 2, 3, 1)
        batch = GaitBatch(
            frames,
            torch.from_numpy(numbers["track_id"]),
            torch.arange(16),
            0,
            torch.from_numpy(attributes),
        )
        loss = method.training_step(batch, 0)
        losses.append(loss.item())
        if len(losses) == 4:
            break
        optimizer.zero_grad()
        loss.backward()
        gradients = {n: p.grad for n, p in method.backbone.named_parameters() if p.grad is not None}
        if len(losses) == 1 and kind == "f64":
            expected = json.loads(str(numbers[f"{trainer}/f64/first_grad_norms"]))
            assert set(expected) == set(gradients)
            for name, norm in expected.items():
                assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-9, abs=1e-12)
        norms.append(torch.stack([g.norm() for g in gradients.values()]).norm().item())
        if method.llrd == "reference":
            method.configure_gradient_clipping(optimizer, 1.5, "norm")
        else:
            torch.nn.utils.clip_grad_norm_(method.parameters(), 1.5)
        optimizer.step()
    tolerance = {"f64": 1e-7, "f32": 5e-5}[kind]
    np.testing.assert_allclose(losses, numbers[f"{trainer}/{kind}/loss"], rtol=0, atol=tolerance)
    clipped = numbers[f"{trainer}/{kind}/grad_norm_before_clip"]
    np.testing.assert_allclose(norms, clipped, rtol=0, atol=tolerance)
    if kind == "f64":
        expected = json.loads(str(numbers[f"{trainer}/f64/final_param_sum_and_norm"]))
        for name, parameter in method.backbone.named_parameters():
            found = parameter.sum().item(), parameter.norm().item()
            assert found == pytest.approx(expected[name], rel=1e-9, abs=1e-8), name


def test_published_weights_see_files_as_their_program_does(tmp_path: Path) -> None:
    root = unpacked_folder("import")
    config = json.loads((root / "model_config.json").read_text())
    args = config["model_args"]
    method = GaitFormer(
        width=args["embedding_size"],
        depth=args["n_layers"],
        heads=args["n_heads"],
        projection_dim=args["projection_size"],
        attributes=config["appearance_categories"],
        **MULTI_TASK,
    ).eval()
    assert list(method.attribute_names) == config["attributes"]
    (checkpoint,) = root.glob("*.ckpt")
    weights = torch.load(checkpoint, weights_only=True)
    method.backbone.load_state_dict({k.removeprefix("module."): v for k, v in weights.items()})
    walkers = DenseGait(
        str(root / "densegait"), part="validation", crop="tiled", cache=str(tmp_path)
    )
    walkers.setup("predict")
    (batch,) = walkers.predict_dataloader()
    with torch.no_grad():
        told = method.predict_step(walkers.on_after_batch_transfer(batch, 0), 0)
    expected = golden("expected", root)
    for ours, theirs in {"embedding": "representation", "attributes": "appearance"}.items():
        numbers = expected[f"densegait_validation/{theirs}"]
        np.testing.assert_allclose(told[ours], numbers, rtol=0, atol=2e-6)


def test_gradients_that_pile_up_count_in_the_clip() -> None:
    method = attached(tiny(llrd="reference", temperature=0.1, dropout=0.0))
    optimizer = torch.optim.AdamW(method.parameter_groups())
    layer = method.backbone.encoder.layers[0].linear1.weight
    before = layer.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        method.training_step(batch_of(walks()), 0).backward()
    grads = [p.grad for p in method.parameters() if p.grad is not None]
    whole = torch.stack([g.norm() for g in grads]).norm()
    piled_up, of_head = layer.grad.clone(), method.backbone.projection.weight.grad.clone()
    method.configure_gradient_clipping(optimizer, float(whole) / 2, "norm")
    torch.testing.assert_close(layer.grad, piled_up / 2)
    torch.testing.assert_close(method.backbone.projection.weight.grad, of_head / 2)
    optimizer.step()
    assert torch.equal(layer, before)
    method.configure_gradient_clipping(optimizer, None, None)  # no clipping
    method.on_validation_model_zero_grad()  # Lightning's, after each epoch
    torch.testing.assert_close(layer.grad, piled_up / 2)
    plain = attached(tiny(temperature=0.1))
    plain.training_step(batch_of(walks()), 0).backward()
    plain.on_validation_model_zero_grad()
    assert all(p.grad is None for p in plain.parameters())


def test_gradients_that_pile_up_travel_with_the_checkpoint() -> None:
    method = attached(tiny(llrd="reference", temperature=0.1))
    method.training_step(batch_of(walks()), 0).backward()
    checkpoint: dict[str, Any] = {"state_dict": method.state_dict()}
    method.on_save_checkpoint(checkpoint)
    assert set(checkpoint["piled_up"]) == set(method._ungrouped())
    again = attached(tiny(llrd="reference", temperature=0.1))
    again.on_load_checkpoint(checkpoint)
    again.on_train_start()
    for name, p in again._ungrouped().items():
        assert torch.equal(p.grad, checkpoint["piled_up"][name])
    plain: dict[str, Any] = {"state_dict": method.state_dict()}
    tiny().on_save_checkpoint(plain)
    assert "piled_up" not in plain


def test_half_precision_that_scales_is_refused_with_gradients_that_pile_up() -> None:
    method = tiny(llrd="reference")
    method._trainer = SimpleNamespace(  # type: ignore[assignment]
        datamodule=data(), ckpt_path=None, precision="16-mixed", training=True
    )
    with pytest.raises(InputError, match=r"give 32-true or bf16-mixed"):
        method.setup("fit")


# --- checkpoints ---------------------------------------------------------------------------------


def written(path: Path, method: GaitFormer) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {
        "state_dict": method.state_dict(),
        "pytorch-lightning_version": "2.6.6",
        "hyper_parameters": dict(method.hparams),
    }
    method.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return checkpoint


def test_a_checkpoint_says_what_it_takes_and_tells(tmp_path: Path) -> None:
    origin = written(tmp_path / "a.ckpt", tiny(attributes=["gender", "body"]))["gaitbench"]
    assert origin["normalized"] is True
    assert origin["attributes"] == ["Female", "BodyThin", "BodyNormal", "BodyFat"]


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_checkpoint_of_other_attributes_is_refused(tmp_path: Path, stage: str) -> None:
    """Also of as many."""
    checkpoint = written(tmp_path / "a.ckpt", tiny(attributes=["body"]))
    for own in (["viewpoint"], ["gender", "body"]):
        method = attached(tiny(attributes=own), stage)
        with pytest.raises(
            InputError, match=r"tells 3 attributes .*; give model.attributes \['body'"
        ):
            method.on_load_checkpoint(checkpoint)
    del checkpoint["gaitbench"]["attributes"]
    with pytest.raises(InputError, match=r"tells 3 attributes"):
        attached(tiny(attributes=["viewpoint"]), stage).on_load_checkpoint(checkpoint)


def test_a_head_of_other_attributes_starts_fresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also of as many."""
    path = tmp_path / "first.ckpt"
    first = tiny(attributes=["body"])
    torch.nn.init.ones_(first.backbone.out_appearance.weight)
    torch.nn.init.ones_(first.backbone.out_embedding.weight)
    written(path, first)
    second = attached(tiny(attributes=["viewpoint"], initial_weights=str(path), **MULTI_TASK))
    assert (second.backbone.out_embedding.weight == 1).all()
    assert not (second.backbone.out_appearance.weight == 1).any()
    assert "their head starts fresh" in caplog.text
    caplog.clear()
    same = attached(tiny(attributes=["body"], initial_weights=str(path), **MULTI_TASK))
    assert (same.backbone.out_appearance.weight == 1).all()
    assert not caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "st-gcn"}, "of model.backbone st-gcn, this one has gaitformer; give"),
        ({"depth": 3}, "of model.depth 3, this one has 2; give model.depth 3 or"),
        ({"heads": 4}, "of model.heads 4, this one has 2"),
    ],
)
def test_weights_of_another_network_are_no_beginning(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    """Even where all of them fit, as those of another number of heads do."""
    path = tmp_path / "first.ckpt"
    written(path, tiny(**settings))
    with pytest.raises(InputError, match=words):
        attached(tiny(initial_weights=str(path)))


def words(bench: Bench, tracks: Path, command: str, *more: str) -> list[str]:
    network = [f"--model.{name}={value}" for name, value in TINY.items()]
    data = ["--data.batch_size=4", f"--data.path={tracks}"]
    config = f"--config={CONFIGS / 'densegait.yaml'}"
    return [command, config, *bench.here, *SMALL, *network, *data, *more]


REGIMES = {
    "multi-task": (f"--model.phases={PHASES}",),
    "simclr": ("--model.contrast=simclr", "--model.attribute_weight=0"),
    "appearance": ("--model.contrastive_weight=0",),
    "reference": ("--model.phases=[]", "--model.llrd=reference", "--model.temperature=0.1"),
    "intended": ("--model.phases=[]", "--model.llrd=intended", "--model.learning_rate=0.001"),
    "st-gcn": ("--model.backbone=st-gcn",),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_a_resumed_training_ends_as_an_unbroken_one(
    bench: Bench, tracks: Path, regime: str
) -> None:
    """With dropout, across the begin of a phase, with gradients that piled up and were clipped."""
    clip = ("--trainer.gradient_clip_val=0.05",)

    def trained(epochs: int, *more: str) -> tuple[str, dict[str, Any]]:
        given = (*REGIMES[regime], *clip, f"--trainer.max_epochs={epochs}", *more)
        assert run(words(bench, tracks, "fit", *given)) == 0
        path = newest_run(bench.out) / "checkpoints" / "last.ckpt"
        return str(path), torch.load(path, weights_only=True)

    _, whole = trained(4)
    half, _ = trained(2)
    _, resumed = trained(4, f"--ckpt_path={half}")
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name
    assert whole["lr_schedulers"][0]["_last_lr"] == resumed["lr_schedulers"][0]["_last_lr"]
    assert ("piled_up" in whole) == (regime == "reference")


def test_mistakes_are_told_in_a_sentence(bench: Bench, tracks: Path, refused: Any) -> None:
    said = refused(words(bench, tracks, "fit", "--data.frames=9"))
    assert "give data.frames 8" in said
    assert run(words(bench, tracks, "fit", "--trainer.max_epochs=1")) == 0
    checkpoint = f"--ckpt_path={newest_run(bench.out) / 'checkpoints' / 'last.ckpt'}"
    said = refused(words(bench, tracks, "fit", checkpoint, "--model.attributes=[gender]"))
    assert "the checkpoint tells 42 attributes" in said
    said = refused(words(bench, tracks, "predict", checkpoint, "--model.attributes=[gender]"))
    assert "the checkpoint tells 42 attributes" in said
    said = refused(words(bench, tracks, "fit", checkpoint, "--model.attribute_weight=0"))
    assert "trains other weights than this one" in said
