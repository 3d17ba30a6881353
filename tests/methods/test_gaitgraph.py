from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.batch import GaitBatch
from gaitbench.checkpoints import read_published
from gaitbench.datamodules import CasiaB
from gaitbench.errors import InputError
from gaitbench.methods.gaitgraph import INPUT_FORMS, LAYOUT, GaitGraph
from gaitbench.published import recognise
from gaitbench.windows import Window
from tests.goldens import NUMBER, golden, recipe_weights, unpacked

FORMS = {"raw": "gaitgraph1_model_n39r8_1x3", "branches": "gaitgraph1_model_n39r8_3x6"}


def walks(batch: int = 4, frames: int = 12, joints: int = 17) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(batch, frames, joints, 3, generator=random) * torch.tensor([320.0, 240, 1])


def with_weights(data: dict[str, Any], **settings: Any) -> GaitGraph:
    method = GaitGraph(**settings)
    method.backbone.load_state_dict(recipe_weights(data), strict=True)
    return method


def test_layout_is_the_references() -> None:
    data = golden("gaitgraph1_graph")
    assert LAYOUT.parents == tuple(data["coco_connect_joint"])
    for i, part in enumerate(LAYOUT.parts):
        assert part == tuple(data[f"coco_part{i}"])
    np.testing.assert_array_equal(LAYOUT.adjacency(), data["coco_A"])


@pytest.mark.parametrize("streams", FORMS)
def test_embeddings_are_the_references(streams: str) -> None:
    data = golden(FORMS[streams])
    method = with_weights(data, streams=streams).eval()
    assert sum(p.numel() for p in method.parameters()) == int(data["params"])
    raw = torch.from_numpy(data["raw"])
    with torch.no_grad():
        np.testing.assert_allclose(method(raw), data["emb"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            method.embed(raw), data["emb_eval_use_flip"], rtol=1e-4, atol=1e-4
        )
        method.tta = False
        assert torch.equal(method.embed(raw), method(raw))


def test_training_follows_the_references() -> None:
    """Three steps in float64, as the method's own step and loss do them."""
    data = golden("gaitgraph1_train")
    method = with_weights(data).double().train()
    method.log = lambda *args, **how: None  # type: ignore[method-assign]
    frames = torch.from_numpy(data["raw"]).double()
    subject = torch.from_numpy(data["labels"]).repeat(2)
    batch = GaitBatch(frames, subject, torch.arange(len(subject)), seed=0)
    optimizer = torch.optim.Adam(
        method.parameters(), lr=method.learning_rate, weight_decay=method.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        method.learning_rate,
        epochs=int(data["epochs"]),
        steps_per_epoch=int(data["steps_per_epoch"]),
    )
    for step in range(3):
        assert schedule.get_last_lr()[0] == pytest.approx(data["lr_f64"][step], rel=1e-6)
        optimizer.zero_grad()
        loss = method.training_step(batch, step)
        loss.backward()
        assert loss.item() == pytest.approx(data["loss_f64"][step], rel=1e-6)
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(
        method.backbone.fcn.weight[:32].detach(),
        data["fcn_after_rows0to31_from_float64"],
        atol=1e-6,
    )


def test_the_authors_checkpoint_and_table_end_to_end(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A checkpoint as released, a table as released: the authors' embeddings come out."""
    expected = golden("e2e_gaitgraph1")
    data = CasiaB(
        str(unpacked("casia-b_pose_coco.csv")),
        cache=str(tmp_path_factory.mktemp("cache")),
        min_frames=61,
    )
    data.prepare_data()
    data.setup("test")
    method = GaitGraph().eval()
    path = unpacked("gaitgraph1_casia_b.pth")
    method.backbone.load_state_dict(recognise(read_published(path), path).weights, strict=True)
    with torch.no_grad():
        outputs = [
            method.test_step(data.on_after_batch_transfer(batch, 0), i)
            for i, batch in enumerate(data.test_dataloader())
        ]
    sequences = data.sequences.iloc[torch.cat([output["row"] for output in outputs]).numpy()]
    keys = [
        sequences["subject"].astype(int),
        sequences["condition"].map(NUMBER),
        sequences["number"],
        sequences["view"],
    ]
    np.testing.assert_array_equal(np.stack(keys, axis=1), expected["keys"])
    np.testing.assert_array_equal(sequences["length"], expected["frames"])
    embedding = torch.cat([output["embedding"] for output in outputs])
    np.testing.assert_allclose(embedding, expected["emb"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [61, 62, 80, 99, 110])
def test_centre_windows_are_the_references(frames: int) -> None:
    (window,) = Window(60).draw(np.array([frames]), seed=0)
    np.testing.assert_array_equal(window, golden("gaitgraph1_transforms")[f"center_S60_L{frames}"])


def test_a_walk_and_its_reversal_have_one_embedding() -> None:
    method = GaitGraph(streams="branches", test_time_flip="time", embedding_dim=16).eval()
    frames = walks()
    with torch.no_grad():
        found, backwards = method.embed(frames), method.embed(frames.flip(1))
        expected = (method(frames) + method(frames.flip(1))) / 2
    torch.testing.assert_close(found, backwards, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.shape == (4, 16)


@pytest.mark.parametrize("backbone", ["resgcn-n39-r8", "pa-resgcn-n21-r8", "st-gcn"])
@pytest.mark.parametrize("streams", INPUT_FORMS)
def test_every_network_trains(streams: str, backbone: str) -> None:
    if backbone == "st-gcn" and streams != "raw":
        with pytest.raises(InputError, match=r"st-gcn takes one stream.*model.streams raw"):
            GaitGraph(streams=streams, backbone=backbone)
        return
    method = GaitGraph(streams=streams, backbone=backbone, embedding_dim=32, temperature=0.1)
    method.log = lambda *args, **how: None  # type: ignore[method-assign]
    batch = GaitBatch(walks(6), torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(6), seed=0)
    embedding = method(batch.frames)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(6))
    loss = method.training_step(batch, 0)
    assert torch.isfinite(loss) and loss > 0
    loss.backward()
    for name, weight in method.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name


def test_branches_are_those_of_one_layout() -> None:
    frames = walks(joints=18)
    assert GaitGraph("openpose18").eval()(frames).shape == (4, 128)
    spatial = GaitGraph("openpose18", streams="spatial").eval()
    assert torch.equal(spatial.embed(frames), spatial(frames))  # no branch is swapped
    with pytest.raises(InputError, match=r"defined for coco17, the data are openpose18; give"):
        GaitGraph("openpose18", streams="branches")


def test_what_the_run_decides_is_not_stored_with_the_weights() -> None:
    method = GaitGraph(tta=False, test_time_flip="time", temperature=0.05)
    assert not {"tta", "test_time_flip", "skeleton"} & set(method.hparams)
    assert method.hparams["temperature"] == 0.05
    assert {name.split(".")[0] for name in method.state_dict()} == {"backbone"}


def test_defaults_are_those_published_for_casia_b() -> None:
    method = GaitGraph()
    assert sum(p.numel() for p in method.parameters()) == 319_530
    assert (method.learning_rate, method.weight_decay, method.optimizer) == (0.01, 1e-5, "adam")
    assert method.tta and method.streams == "raw" and method.hparams["temperature"] == 0.01
