"""ResGCN against the published counts and the authors' numbers."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from gaitbench.backbones import ResGCN
from gaitbench.errors import InputError
from gaitbench.geometry import joint_velocity_bone_streams
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton
from tests.goldens import LAYOUTS, golden, recipe_weights

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "train_step.py"
spec = importlib.util.spec_from_file_location("train_step", BENCHMARK)
assert spec is not None and spec.loader is not None
train_step = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train_step)  # holds the plain formulation


def build(data: dict[str, Any]) -> ResGCN:
    branches, channels = map(int, str(data["mode"]).split("x"))
    model = ResGCN(str(data["name"]), LAYOUTS[str(data["layout"])], branches, channels)
    model.load_state_dict(recipe_weights(data), strict=True)
    return model


def golden_input(data: dict[str, Any]) -> Tensor:
    if "x" in data:
        return torch.from_numpy(data["x"])
    return joint_velocity_bone_streams(torch.from_numpy(data["raw"]), LAYOUTS[str(data["layout"])])


MODELS = [
    "model_b19_coco_3x5",
    "model_n21r8_coco_1x15",
    "model_n21r8_coco_3x5",
    "model_n39r8_coco_1x3",
    "model_pa_n21r4_coco_3x5",
]


@pytest.mark.parametrize("name", MODELS)
def test_golden_network(name: str) -> None:
    data = golden(name)
    model = build(data).eval()
    assert [[k, list(v.shape)] for k, v in model.state_dict().items()] == json.loads(
        str(data["keys"])
    )
    assert sum(p.numel() for p in model.parameters()) == int(data["params"])
    with torch.no_grad():
        embedding, feature_map = model(golden_input(data))
    assert feature_map.shape == tuple(data["feat_shape"])
    np.testing.assert_allclose(embedding, data["emb"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(feature_map.mean((2, 3)), data["feat_pooled"], rtol=1e-4, atol=1e-4)
    if "feat_of_sample0" in data:
        np.testing.assert_allclose(feature_map[0], data["feat_of_sample0"], rtol=1e-4, atol=1e-4)
        activation = torch.einsum("kc,ctv->ktv", model.fcn.weight.detach(), feature_map[0])
        np.testing.assert_allclose(activation.amax(0), data["activation"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["train_casia_1x15", "train_casia_3x5"])
def test_golden_training(name: str) -> None:
    """Three steps in float64 from the stored input follow the authors' to 1e-6."""
    data = golden(name)
    model = build(data).double().train()
    x = torch.from_numpy(data["x"]).double()
    labels = torch.from_numpy(data["labels"]).flatten()
    loss_function = SupConLoss(0.01, distance=LpDistance(normalize_embeddings=True))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.005, weight_decay=float(data["weight_decay"])
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.005, epochs=int(data["epochs"]), steps_per_epoch=int(data["steps_per_epoch"])
    )
    for step in range(3):
        optimizer.zero_grad()
        loss = loss_function(model(x)[0], labels)
        loss.backward()
        np.testing.assert_allclose(loss.item(), data["loss_f64"][step], rtol=1e-6)
        if step == 0:
            edge = model.get_parameter("main_stream.0.edge").grad
            first = model.get_parameter("input_branches.0.layers.0.scn.conv.gcn.weight").grad
            for grad, key in (
                (model.fcn.weight.grad[:32], "fcn_rows0to31"), (edge, "edge"), (first, "first_gcn"),
            ):  # fmt: skip
                expected = data[f"grad0_{key}_from_float64"]
                np.testing.assert_allclose(grad, expected, atol=1e-5 * np.abs(expected).max())
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(
        model.fcn.weight[:32].detach(), data["fcn_after_rows0to31_from_float64"], atol=1e-6
    )
    bn = model.input_branches[0].bn
    np.testing.assert_allclose(bn.running_mean, data["input_bn_mean_after_from_float64"], 1e-6)
    np.testing.assert_allclose(bn.running_var, data["input_bn_var_after_from_float64"], 1e-6)
    model.eval()
    np.testing.assert_allclose(
        model(x)[0].detach(), data["emb_after_from_float64"], rtol=1e-5, atol=1e-5
    )


# Trainable parameters by name for 1x3, 1x15, 3x5 and 3x6 (branches x channels), COCO, D = 128
SHAPES = ((1, 3), (1, 15), (3, 5), (3, 6))
COUNTS = {
    "resgcn-b15": (2021442, 2023770, 2273074, 2273656),
    "resgcn-b19": (3009866, 3012194, 3261498, 3262080),
    "resgcn-b23": (3259474, 3261802, 3612746, 3613328),
    "resgcn-b29": (4446686, 4449014, 4799958, 4800540),
    "resgcn-n21": (1490102, 1492430, 1628574, 1629156),
    "resgcn-n21-r2": (596822, 599150, 707198, 707780),
    "resgcn-n21-r4": (336806, 339134, 437742, 438324),
    "resgcn-n21-r8": (253454, 255782, 350822, 351404),
    "resgcn-n39-r1": (2878786, 2881114, 3153202, 3153784),
    "resgcn-n39-r2": (1036194, 1038522, 1191506, 1192088),
    "resgcn-n39-r4": (495058, 497386, 613858, 614440),
    "resgcn-n39-r8": (319530, 321858, 425834, 426416),
    "resgcn-n51-r1": (4199498, 4201826, 4473914, 4474496),
    "resgcn-n51-r2": (1453098, 1455426, 1608410, 1608992),
    "resgcn-n51-r4": (644378, 646706, 763178, 763760),
    "resgcn-n51-r8": (381138, 383466, 487442, 488024),
    "resgcn-n57-r1": (4533330, 4535658, 4943690, 4944272),
    "resgcn-n57-r2": (1560306, 1562634, 1760554, 1761136),
    "resgcn-n57-r4": (684354, 686682, 821018, 821600),
    "resgcn-n57-r8": (399018, 401346, 514258, 514840),
    "resgcn-n75-r1": (6119902, 6122230, 6530262, 6530844),
    "resgcn-n75-r2": (2061950, 2064278, 2262198, 2262780),
    "resgcn-n75-r4": (864718, 867046, 1001382, 1001964),
    "resgcn-n75-r8": (474038, 476366, 589278, 589860),
}
ATTENTION_COUNTS = {  # 3x5, of n21-r8 and b19
    "pa": (476678, 3639066),
    "ca": (393222, 3388698),
    "fa": (351628, 3263916),
    "ja": (352216, 3265680),
    "pca": (565158, 3904506),
    "psa": (482086, 3655290),
}


def count(name: str, skeleton: Skeleton, branches: int, channels: int) -> int:
    with torch.device("meta"):
        model = ResGCN(name, skeleton, branches, channels)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    assert tuple(count(name, COCO17, *shape) for shape in SHAPES) == COUNTS[name]


@pytest.mark.parametrize("prefix", ATTENTION_COUNTS)
def test_parameter_counts_with_attention(prefix: str) -> None:
    names = (f"{prefix}-resgcn-n21-r8", f"{prefix}-resgcn-b19")
    assert tuple(count(name, COCO17, 3, 5) for name in names) == ATTENTION_COUNTS[prefix]


def test_parameter_counts_of_openpose() -> None:
    counts = {
        ("n51-r4", 3, 5): 765278,
        ("n51-r4", 1, 3): 645638,
        ("n39-r8", 3, 5): 427654,
        ("n21-r8", 3, 5): 351942,
    }
    for (name, *shape), expected in counts.items():
        assert count(f"resgcn-{name}", OPENPOSE18, *shape) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet-n21-r8", ["form"]),
        ("resgcn", ["form"]),
        ("resgcn-n21-r8-x", ["form"]),
        ("resgcn-n22-r8", ["structure 'n22'", "b15, b19"]),
        ("resgcn-n21-r3", ["reduction 'r3'", "r1, r2, r4, r8"]),
        ("qa-resgcn-n21-r8", ["attention 'qa'", "pa, ca, fa, ja, pca, psa"]),
        ("", ["form"]),
    ],
)
def test_unknown_names(name: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        ResGCN(name, COCO17, 3, 5)
    assert all(word in str(error.value) for word in (repr(name), *words))


def test_initial_weights() -> None:
    torch.manual_seed(0)
    model = ResGCN("resgcn-n39-r4", COCO17, 3, 5)
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if name.endswith("bias"):
            assert not value.any(), name
        elif name.endswith("edge") or (value.ndim == 1 and not name.endswith("bn_up.weight")):
            assert (value == 1).all(), name
        elif value.ndim == 1:
            assert not value.any(), name
        else:
            expected = 0.001 if name == "fcn.weight" else (2 / (len(value) * value.shape[2])) ** 0.5
            assert value.std() == pytest.approx(expected, rel=5 / value.numel() ** 0.5), name
    attentive = ResGCN("pa-resgcn-n21-r8", COCO17, 3, 5).state_dict()
    assert (attentive["main_stream.0.tcn.bn_up.weight"] == 1).all()
    assert (attentive["input_branches.0.layers.1.tcn.bn_up.weight"] == 0).all()


def randomised(name: str, branches: int, channels: int) -> ResGCN:
    """A network whose every parameter and statistic matters."""
    torch.manual_seed(0)
    model = ResGCN(name, COCO17, branches, channels).double()
    for key, value in model.state_dict().items():
        if not key.endswith(("A", "tracked")):
            if value.ndim == 1 or key.endswith("edge"):
                value += torch.rand_like(value) / 2
            elif key == "fcn.weight":
                value *= 100
    return model


@pytest.mark.parametrize(
    ("name", "branches", "channels", "frames"),
    [
        ("resgcn-n21-r8", 3, 5, 13),
        ("resgcn-n39-r4", 1, 15, 8),
        ("resgcn-n21-r1", 1, 3, 5),
        ("resgcn-b15", 2, 5, 7),
    ],
)
def test_same_as_plain(name: str, branches: int, channels: int, frames: int) -> None:
    """Embedding, feature map, gradients and running statistics of the formulation as described."""
    model = randomised(name, branches, channels)
    plain = train_step.PlainResGCN(name, COCO17, branches, channels).double()
    plain.load_state_dict(model.state_dict(), strict=True)
    streams = torch.randn(3, frames, 17, branches, channels).double()
    for training in (True, False):
        model.train(training), plain.train(training)
        outputs, expected = model(streams), plain(streams)
        for ours, theirs in zip(outputs, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        model.zero_grad(), plain.zero_grad()
        outputs[0].square().sum().backward()
        expected[0].square().sum().backward()
        for key, ours in model.named_parameters():
            theirs = plain.get_parameter(key)
            scale = float(theirs.grad.abs().max()) + 1e-3  # biases before a norm: rounding noise
            assert (ours.grad - theirs.grad).abs().max() < 1e-9 * scale, key
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-9, atol=1e-9)


def test_float32_is_near_float64() -> None:
    model = randomised("resgcn-n21-r8", 3, 5)
    exact = model.train()(x := torch.randn(4, 20, 17, 3, 5).double())[0]
    rounded = model.float()(x.float())[0]
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("prefix", ["", "pa-", "ca-", "fa-", "ja-", "pca-", "psa-"])
def test_batch_of_one(prefix: str, training: bool) -> None:
    model = randomised(f"{prefix}resgcn-n21-r8", 3, 5).train(training)
    embedding, feature_map = model(torch.randn(1, 6, 17, 3, 5).double())
    assert embedding.shape == (1, 128) and feature_map.shape == (1, 256, 2, 17)
    embedding.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())


@pytest.mark.parametrize("training", [True, False])
def test_order_of_batch(training: bool) -> None:
    model = randomised("pa-resgcn-n21-r8", 1, 15).train(training)
    streams, order = torch.randn(5, 9, 17, 1, 15).double(), torch.randperm(5)
    torch.testing.assert_close(model(streams)[0][order], model(streams[order])[0])


def test_embedding_does_not_depend_on_neighbours_in_evaluation() -> None:
    model = randomised("resgcn-n21-r8", 3, 5).eval()
    streams = torch.randn(4, 9, 17, 3, 5).double()
    alone = torch.cat([model(one[None])[0] for one in streams])
    torch.testing.assert_close(model(streams)[0], alone)


def test_bfloat16_autocast() -> None:
    model = randomised("resgcn-n21-r8", 3, 5).float()
    streams = torch.randn(4, 12, 17, 3, 5)
    exact = model(streams)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(streams)[0]
    assert torch.cosine_similarity(rough.float(), exact).min() > 0.99
    rough.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_traces_without_graph_breaks() -> None:
    model = randomised("resgcn-n21-r8", 1, 5)
    streams = torch.randn(2, 6, 17, 1, 5).double()
    expected = model(streams)[0]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(streams)[0], expected)
