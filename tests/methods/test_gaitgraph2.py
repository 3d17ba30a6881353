import numpy as np
import pytest
import torch
from torch import Tensor

from gaitbench.batch import GaitBatch
from gaitbench.datamodules import CasiaB
from gaitbench.errors import InputError
from gaitbench.geometry import fill_empty_joints, swap_sides
from gaitbench.methods import GaitGraph2
from gaitbench.methods.gaitgraph2 import INPUT_FORMS
from gaitbench.skeleton import COCO17, KINECT20, OPENPOSE18, Skeleton
from gaitbench.windows import Window
from tests.goldens import LAYOUTS, NUMBER, golden, recipe_weights, unpacked


def walks(batch: int = 4, frames: int = 12, joints: int = 17) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(batch, frames, joints, 3, generator=random) * torch.tensor([320.0, 240, 1])


@pytest.mark.parametrize("name", ["coco_1x15", "coco_1x3", "coco_3x5", "oumvlp_3x5"])
def test_sequences_of_any_length_embed_as_the_references(name: str) -> None:
    data = golden(f"tta_{name}")
    form = tuple(map(int, str(data["mode"]).split("x")))
    (streams,) = [name for name, shape in INPUT_FORMS.items() if shape == form]
    skeleton = LAYOUTS[str(data["layout"])]
    method = GaitGraph2(skeleton.name, backbone=str(data["name"]), streams=streams).eval()
    method.backbone.load_state_dict(recipe_weights(data), strict=True)

    size = data["x"].shape[1] if "x" in data else 30
    frames = Window(size).draw(data["lengths"], seed=0)
    raw = [torch.from_numpy(data[f"raw{i}"]) for i in range(len(frames))]
    windows = torch.stack([r[f] for r, f in zip(raw, frames, strict=True)])
    if skeleton is OPENPOSE18:
        windows = fill_empty_joints(windows)
    else:
        found = method.network_input(windows)
        angle = (..., found.shape[-2] - 1, slice(found.shape[-1] - 1, None))  # ill-conditioned
        np.testing.assert_allclose(found[angle], data["x"][angle], rtol=1e-4, atol=1e-4)
        found[angle] = torch.from_numpy(data["x"][angle])
        np.testing.assert_allclose(found, data["x"], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        embedding = method.embed(windows)
        method.tta = False
        plain = method.embed(windows)
    np.testing.assert_allclose(embedding, data["emb"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plain, data["emb_no_tta"], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> CasiaB:
    data = CasiaB(
        str(unpacked("casia-b_pose_coco.csv")),
        cache=str(tmp_path_factory.mktemp("cache")),
        eval_batch_size=16,
    )
    data.prepare_data()
    data.setup("test")
    return data


def test_the_authors_checkpoint_and_table_end_to_end(table: CasiaB) -> None:
    """A checkpoint as released, a table as released: the authors' embeddings come out."""
    expected = golden("e2e_gaitgraph2")
    checkpoint = torch.load(unpacked("gaitgraph2_casia_b.ckpt"), weights_only=True)
    method = GaitGraph2().eval()
    method.on_load_checkpoint(checkpoint)
    method.load_state_dict(checkpoint["state_dict"], strict=True)

    outputs = []
    with torch.no_grad():
        for i, batch in enumerate(table.test_dataloader()):
            batch = table.on_after_batch_transfer(batch, 0)
            outputs.append(method.test_step(batch, i))
    row = torch.cat([output["row"] for output in outputs])
    embedding = torch.cat([output["embedding"] for output in outputs])

    sequences = table.sequences.iloc[row.numpy()]
    keys = np.stack(
        [
            sequences["subject"].astype(int),
            sequences["condition"].map(NUMBER),
            sequences["number"],
            sequences["view"],
        ],
        axis=1,
    )
    np.testing.assert_array_equal(keys, expected["keys"])
    np.testing.assert_array_equal(sequences["length"], expected["frames"])
    np.testing.assert_allclose(embedding, expected["emb_tta"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(embedding[:, :128], expected["emb"], rtol=1e-4, atol=1e-4)
    trained = table.sequences["subject"].iloc[table.rows["train"]].astype(int).unique()
    assert trained.tolist() == expected["train_subjects"].tolist()


@pytest.mark.parametrize("streams", INPUT_FORMS)
@pytest.mark.parametrize("skeleton", [*LAYOUTS.values(), KINECT20], ids=lambda s: s.name)
def test_every_input_form_trains(streams: str, skeleton: Skeleton) -> None:
    method = GaitGraph2(skeleton.name, streams=streams, embedding_dim=32, temperature=0.1)
    method.log = lambda *args, **how: None  # type: ignore[method-assign]
    frames = walks(6, joints=skeleton.num_joints)
    assert method.network_input(frames).shape == (6, 12, skeleton.num_joints, *INPUT_FORMS[streams])
    batch = GaitBatch(frames, torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(6), seed=0)
    loss = method.training_step(batch, 0)
    assert torch.isfinite(loss) and loss > 0
    loss.backward()
    for name, weight in method.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name


def test_concatenated_streams_keep_their_order() -> None:
    frames = walks()
    apart = GaitGraph2().network_input(frames)
    joined = GaitGraph2(streams="concatenated").network_input(frames)
    assert torch.equal(joined[..., 0, :], torch.cat(apart.unbind(-2), dim=-1))
    assert torch.equal(GaitGraph2(streams="raw").network_input(frames)[..., 0, :], frames)


@pytest.mark.parametrize("streams", INPUT_FORMS)
def test_embeddings_do_not_depend_on_the_rest_of_the_batch(streams: str) -> None:
    method, frames = GaitGraph2(streams=streams).eval(), walks()
    with torch.no_grad():
        together = method.embed(frames)
        alone = torch.cat([method.embed(frame[None]) for frame in frames])
    assert together.shape == (4, 384)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_augmentation_embeds_walk_reversal_and_swap() -> None:
    method, frames = GaitGraph2(embedding_dim=16).eval(), walks()
    with torch.no_grad():
        found = method.embed(frames)
        views = (frames, frames.flip(1), swap_sides(frames, COCO17))
        expected = torch.cat([method(view) for view in views], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.shape == (4, 48)
    before = [view.clone() for view in views]
    method.embed(frames)
    assert all(torch.equal(view, kept) for view, kept in zip(views, before, strict=True))


def test_what_the_run_decides_is_not_stored_with_the_weights() -> None:
    method = GaitGraph2(tta=False, temperature=0.05)
    assert set(method.hparams) == {
        "backbone", "streams", "nose_bone", "embedding_dim", "temperature", "learning_rate",
        "weight_decay", "optimizer",
    }  # fmt: skip
    assert method.hparams["temperature"] == 0.05
    assert {name.split(".")[0] for name in method.state_dict()} == {"backbone"}


def test_defaults_are_those_published_for_casia_b() -> None:
    method = GaitGraph2()
    assert sum(p.numel() for p in method.parameters()) == 350_822
    assert (method.learning_rate, method.weight_decay, method.optimizer) == (0.005, 1e-5, "adamw")
    assert method.tta and method.streams == "branches" and method.hparams["temperature"] == 0.01


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"streams": "raw"}, ["does not fit this GaitGraph2", "input_branches", "more"]),
        ({"embedding_dim": 64}, ["backbone.fcn.weight is (128, 256) there and (64, 256) here"]),
        ({"backbone": "resgcn-n39-r8"}, ["does not fit", "lacks", "settings it was trained with"]),
    ],
)
def test_weights_of_another_network_are_refused(settings: dict, words: list[str]) -> None:
    checkpoint = torch.load(unpacked("gaitgraph2_casia_b.ckpt"), weights_only=True)
    with pytest.raises(InputError) as raised:
        GaitGraph2(**settings).on_load_checkpoint(checkpoint)
    assert all(word in str(raised.value) for word in words)
    assert "\n" not in str(raised.value)


def test_weights_of_another_skeleton_are_refused() -> None:
    checkpoint = {"state_dict": GaitGraph2("openpose18").state_dict()}
    GaitGraph2("openpose18").on_save_checkpoint(checkpoint)
    with pytest.raises(InputError, match="trained on skeleton openpose18, the data are coco17"):
        GaitGraph2().on_load_checkpoint(checkpoint)


def test_unknown_settings() -> None:
    with pytest.raises(InputError, match="skeleton 'h36m' is unknown"):
        GaitGraph2("h36m")
    with pytest.raises(InputError, match="n22"):
        GaitGraph2(backbone="resgcn-n22-r8")


def test_the_bone_to_the_nose_may_begin_at_the_shoulder() -> None:
    """As in OpenGait: the bones of all other joints, and the other streams, stay as they are."""
    frames = walks(3)
    own = GaitGraph2().network_input(frames)
    other = GaitGraph2(nose_bone="left_shoulder").network_input(frames)
    torch.testing.assert_close(other[..., 0, 2, :2], frames[..., 0, :2] - frames[..., 5, :2])
    assert torch.equal(other[..., 1:, :, :], own[..., 1:, :, :])
    assert torch.equal(other[..., :2, :], own[..., :2, :])
    with pytest.raises(
        InputError, match=r"model\.nose_bone is left_shoulder, which is defined for"
    ):
        GaitGraph2("openpose18", nose_bone="left_shoulder")
