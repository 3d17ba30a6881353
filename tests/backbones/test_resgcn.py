"""ResGCN against the published counts and the authors' numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.backbones import ResGCN
from gaitbench.geometry import joint_velocity_bone_streams
from gaitbench.skeleton import COCO17, OPENPOSE18

GOLDEN = Path(__file__).parents[1] / "golden" / "gaitgraph"
SKELETON = {"coco": COCO17, "oumvlp": OPENPOSE18}


def golden(name: str) -> dict[str, Any]:
    path = GOLDEN / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not part of this checkout")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def recipe(data: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a golden file, drawn as its README says."""
    skeleton = SKELETON[str(data["layout"])]
    state = {}
    for i, (name, shape) in enumerate(json.loads(str(data["keys"]))):
        random = np.random.RandomState(int(data["wseed"]) + i)  # noqa: NPY002  the frozen recipe
        if name.endswith("num_batches_tracked"):
            value: Any = np.zeros((), np.int64)
        elif name == "A" or name.endswith(".A"):
            value = skeleton.adjacency()
        elif name.endswith("running_mean") or name.endswith("bias"):
            value = 0.1 * random.standard_normal(shape)
        elif name.endswith("running_var"):
            value = 0.5 + random.random_sample(shape)
        elif name.endswith(".edge"):
            value = 1 + 0.2 * random.standard_normal(shape)
        elif len(shape) == 1:
            value = 0.6 + 0.8 * random.random_sample(shape)
        else:
            value = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        value = data.get(f"override/{name}", value)
        state[name] = torch.as_tensor(value if value.dtype == np.int64 else value.astype("f4"))
    return state


def build(data: dict[str, Any]) -> ResGCN:
    branches, channels = map(int, str(data["mode"]).split("x"))
    model = ResGCN(str(data["name"]), SKELETON[str(data["layout"])], branches, channels)
    model.load_state_dict(recipe(data), strict=True)
    return model


def golden_input(data: dict[str, Any]) -> Tensor:
    if "x" in data:
        return torch.from_numpy(data["x"])
    return joint_velocity_bone_streams(torch.from_numpy(data["raw"]), SKELETON[str(data["layout"])])


MODELS = [
    "model_b19_coco_3x5",
    "model_n21r8_coco_1x15",
    "model_n21r8_coco_3x5",
    "model_n39r8_coco_1x3",
    "model_n51r4_oumvlp_3x5",
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


@pytest.mark.parametrize("name", ["train_casia_1x15", "train_casia_3x5"])
def test_golden_training(name: str) -> None:
    """Three steps in float64 from the stored input follow the authors' to 1e-6."""
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import SupConLoss

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
