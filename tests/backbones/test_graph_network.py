"""Networks by their names, against the authors' numbers."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from gaitbench.backbones import STGCN, ResGCN, graph_network
from gaitbench.errors import InputError
from gaitbench.geometry import joint_velocity_bone_streams
from gaitbench.skeleton import OPENPOSE18
from tests.goldens import LAYOUTS, golden, recipe_weights


def build(data: dict[str, Any]) -> ResGCN | STGCN:
    branches, channels = map(int, str(data["mode"]).split("x"))
    model = graph_network(str(data["name"]), LAYOUTS[str(data["layout"])], branches, channels)
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
    "model_n51r4_oumvlp_3x5",
    "model_pa_n21r4_coco_3x5",
    "model_stgcn_oumvlp",
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
    if "checksum" in data:
        drawn = [
            (float(value.double().sum()), float(value.double().abs().sum()))
            for value in recipe_weights(data, overridden=False).values()
        ]
        np.testing.assert_allclose(drawn, data["checksum"], rtol=1e-4, atol=1e-3)
    if "feat_of_sample0" in data:
        np.testing.assert_allclose(feature_map[0], data["feat_of_sample0"], rtol=1e-4, atol=1e-4)
        activation = torch.einsum("kc,ctv->ktv", model.fcn.weight.detach(), feature_map[0])
        np.testing.assert_allclose(activation.amax(0), data["activation"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["train_casia_1x15", "train_casia_3x5", "train_oumvlp_3x5"])
def test_golden_training(name: str) -> None:
    """Three steps in float64 from the stored input follow the authors' to 1e-6."""
    data = golden(name)
    model = build(data).double().train()
    x = torch.from_numpy(data["x"]).double()
    labels = torch.from_numpy(data["labels"]).flatten()
    loss_function = SupConLoss(0.01, distance=LpDistance(normalize_embeddings=True))
    optimizer = getattr(torch.optim, str(data["optimizer"]))(
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


def test_st_gcn_takes_one_stream() -> None:
    with pytest.raises(InputError, match="st-gcn takes one stream, found 3; give model"):
        graph_network("st-gcn", OPENPOSE18, 3, 5)


def test_unknown_networks_are_named_with_what_is_known() -> None:
    with pytest.raises(InputError, match=r"'gcn' is neither st-gcn nor of the form .*resgcn"):
        graph_network("gcn", OPENPOSE18, 1, 3)
