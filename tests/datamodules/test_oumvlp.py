import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from gaitbench.batch import GaitBatch
from gaitbench.datamodules import DATASETS, GaitDataModule, OumvlpPose
from gaitbench.errors import InputError
from gaitbench.geometry import convert
from gaitbench.methods import GaitGraph2
from gaitbench.oumvlp import VIEWS
from gaitbench.skeleton import COCO17, OPENPOSE18
from gaitbench.synthetic import synthesize_oumvlp
from tests.goldens import GAITGRAPH, golden

GOLDEN = golden("e2e_oumvlp")
both = pytest.mark.parametrize("keypoints", ["openpose", "alphapose"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden tree: three training and two test subjects, few frames a recording."""
    folder = tmp_path_factory.mktemp("oumvlp")
    with zipfile.ZipFile(GAITGRAPH / "oumvlp_tree.zip") as archive:
        archive.extractall(folder)
    return folder / "OUMVLP-Pose"


def ready(path: Path, cache: Path, **settings: object) -> OumvlpPose:
    data = OumvlpPose(str(path), cache=str(cache), **settings)
    data.prepare_data()
    data.setup("test")
    return data


def keys(data: OumvlpPose, part: str) -> list[list[int]]:
    """Subject, angle, number and frames of each sequence, as the golden file has them."""
    table = data.sequences.iloc[data.rows[part]]
    columns = (table[name].astype(int) for name in ("subject", "view", "number", "length"))
    return [list(row) for row in zip(*columns, strict=True)]


def shown(data: OumvlpPose, batch: GaitBatch) -> torch.Tensor:
    """What a method is given of a batch in test."""
    return data.on_after_batch_transfer(batch, 0).frames


def test_facts_that_the_rest_relies_on(tmp_path: Path) -> None:
    assert OumvlpPose in DATASETS
    data = OumvlpPose(str(tmp_path / "absent"))  # nothing is read yet
    assert isinstance(data, GaitDataModule)
    assert (data.dataset, data.skeleton, data.layout) == ("oumvlp", "openpose18", OPENPOSE18)
    assert (data.frames, data.fill_empty, data.keypoints) == (30, "test", "alphapose")
    assert data.person == "first"
    assert set(data.default_protocols) <= set(data.protocols)
    assert OumvlpPose(str(tmp_path), skeleton="coco17").layout == COCO17


@both
def test_sequences_and_their_order_are_the_references(
    tree: Path, tmp_path: Path, keypoints: str
) -> None:
    data = ready(tree, tmp_path, keypoints=keypoints)
    assert data.num_subjects == 3
    assert data.split.train == ("00001", "00003", "00005")
    assert data.split.test == ("00002", "00004")
    for part in ("train", "test"):
        assert keys(data, part) == GOLDEN[f"{keypoints}_{part}_keys"].tolist()
    assert set(data.sequences["condition"]) == {"nm"}


@both
def test_network_input_is_the_references(tree: Path, tmp_path: Path, keypoints: str) -> None:
    """From the files to the network: first person, filled, padded to 30 frames, three streams."""
    data = ready(tree, tmp_path, keypoints=keypoints)
    batch = next(iter(data.test_dataloader()))
    method = GaitGraph2(data.skeleton, "resgcn-n51-r4")
    found = method.network_input(shown(data, batch))[0].clone()
    expected = torch.from_numpy(GOLDEN[f"{keypoints}_test_network_input_first"])
    # bone angles of nearly vertical bones are ill-conditioned
    torch.testing.assert_close(found[..., 2, 4], expected[..., 2, 4], rtol=1e-4, atol=1e-4)
    found[..., 2, 4] = expected[..., 2, 4]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_as_published_only_evaluation_fills_joints(tree: Path, tmp_path: Path) -> None:
    data = ready(tree, tmp_path)
    empty = 0
    for batch in data.test_dataloader():
        empty += int((batch.frames[..., 0] == 0).sum())
        assert (shown(data, batch)[..., 0] != 0).all()
        unfilled = ready(tree, tmp_path, fill_empty="none")
        assert torch.equal(shown(unfilled, batch), batch.frames)
    assert empty


def test_the_joints_of_coco(tree: Path, tmp_path: Path) -> None:
    """The store stays as published, so that both layouts come from one."""
    native, data = ready(tree, tmp_path), ready(tree, tmp_path, skeleton="coco17")
    assert data.open_store().path == native.open_store().path
    batch = next(iter(data.test_dataloader()))
    assert batch.frames.shape[1:] == (30, 18, 3)
    found = shown(data, batch)
    assert found.shape[1:] == (30, 17, 3)
    picked = convert(batch.frames, OPENPOSE18, COCO17)
    full = (picked[..., 0] != 0).all(dim=-1)
    assert torch.equal(found[full], picked[full])
    assert (found[..., 0] != 0).all()


def test_each_choice_has_a_store_that_tells_it(tree: Path, tmp_path: Path) -> None:
    stores = {
        (keypoints, person): ready(tree, tmp_path, keypoints=keypoints, person=person).open_store()
        for keypoints, person in (
            ("openpose", "first"), ("alphapose", "first"), ("openpose", "largest"),
        )
    }  # fmt: skip
    folders = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert folders == sorted(store.path.name for store in stores.values())
    for (keypoints, person), store in stores.items():
        assert store.info.settings == {"keypoints": keypoints, "person": person}
        assert store.path.name.startswith(f"oumvlp-{keypoints}-{person}-")
        assert store.sequences["not_first"].sum() == 0 or person != "first"
    again = ready(tree.parent, tmp_path, keypoints="openpose")  # the folder above it
    assert len(again.open_store()) == len(stores["openpose", "first"])


def test_nothing_is_left_beside_the_stores(tree: Path, tmp_path: Path) -> None:
    ready(tree, tmp_path)
    left = {p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")}
    assert {name.rpartition("-")[0] for name in left} == {"oumvlp-alphapose-first"}


def test_the_list_and_the_tree_may_disagree(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is listed and absent, or there and unlisted, is told and takes no part."""
    own = tmp_path / "tree"
    (own / "openpose").mkdir(parents=True)
    for subject in ("00001", "00002", "00004"):
        (own / "openpose" / subject).symlink_to(tree / "openpose" / subject)
    (own / "ID_list.csv").write_text("training,test\n1,2\n3,\n70,\n")
    data = ready(own, tmp_path / "cache", keypoints="openpose")
    assert data.num_subjects == 3
    assert set(data.sequences["subject"].iloc[data.rows["train"]]) == {"00001"}
    assert set(data.sequences["subject"].iloc[data.rows["test"]]) == {"00002"}
    told = [record.getMessage().removeprefix(f"{own}: ") for record in caplog.records]
    assert told == [
        "Subjects of the list without a sequence: 2 (00003, 00070).",
        "Subjects that are not in the list and take no part: 1 (00004).",
    ]
    printed = capsys.readouterr().out
    assert all(sentence in printed for sentence in told)
    assert "| frames that list several people |" in printed
    # two recordings of each of the four subjects on the list
    assert data.expected == {("nm", view): 8 for view in VIEWS}
    assert "| nm | 6 of 8 | 0 of 8 |" in printed


@pytest.mark.parametrize(("lost", "named"), [("ID_list.csv", "ID_list"), ("alphapose", "alpha")])
def test_what_is_missing_is_named(tree: Path, tmp_path: Path, lost: str, named: str) -> None:
    own = tmp_path / "tree"
    own.mkdir()
    for part in {"ID_list.csv", "alphapose", "openpose"} - {lost}:
        (own / part).symlink_to(tree / part)
    with pytest.raises(InputError, match=named):
        ready(own, tmp_path / "cache")
    with pytest.raises(InputError, match="is no folder"):
        ready(tmp_path / "absent", tmp_path / "cache")


def test_synthetic_walkers_take_the_same_way(tmp_path: Path) -> None:
    path = synthesize_oumvlp(tmp_path, 4, 1, keypoints=("openpose",), views=(0, 90, 270))
    data = ready(path, tmp_path / "cache", keypoints="openpose", batch_size=5, train_windows=2)
    assert (data.split.train, data.split.test) == (("00001", "00003"), ("00002", "00004"))
    counts = Counter(data.sequences["view"])
    assert set(counts) == {0, 90, 270} and set(counts.values()) <= {7, 8}
    lengths = data.sequences["length"]
    assert lengths.min() > 12 and lengths.max() <= 35
    batch = next(iter(data.train_dataloader()))
    assert batch.frames.shape == (10, 30, 18, 3)
    assert np.isin(data.sequences["view"], VIEWS).all()


class Network(torch.nn.Module):
    """What a method is told by the data."""

    def __init__(self, skeleton: str = "?", num_subjects: int = 0) -> None:
        super().__init__()
        self.told = (skeleton, num_subjects)


@pytest.mark.parametrize(
    ("words", "skeleton"),
    [([], "openpose18"), (["--data.skeleton=coco17"], "coco17"),
     (["--data.skeleton=null"], "openpose18")],
)  # fmt: skip
def test_the_command_line_tells_the_method_the_layout_that_it_sees(
    tree: Path, words: list[str], skeleton: str
) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(GaitDataModule, "data")
    parser.add_class_arguments(Network, "model")
    for name in ("skeleton", "num_subjects"):
        parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")
    given = parser.parse_args(["--data=OumvlpPose", f"--data.path={tree}", *words])
    assert parser.instantiate_classes(given).model.told == (skeleton, 3)
