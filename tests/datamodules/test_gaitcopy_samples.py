from pathlib import Path

import numpy as np
import pytest
import torch

from gaitbench.__main__ import run
from gaitbench.datamodules import DATASETS, GaitCopySamples
from gaitbench.errors import InputError
from gaitbench.protocols import evaluate_neighbours
from gaitbench.video.crops import flow_input, gray_input
from tests.readers.test_gaitcopy_samples import values, write

TUM = "tfimdb_tum_gaid_"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    pytest.importorskip("h5py")
    path = tmp_path_factory.mktemp("samples")
    for part, walks in (
        ("N150_train", ("p001-n01", "p002-s02")),
        ("N016_train", ("p002-n07",)),
        ("N155_ft", ("p010-n01", "p011-n04")),
        ("N155_test_n05-06", ("p010-n05", "p011-n06")),
        ("N016_test_n11-12", ("p010-n11",)),
    ):
        for walk in walks:
            for number in (1, 2):
                for modality in ("gray", "flow"):
                    name = f"{walk}-{number:02d}"
                    write(path / (TUM + part), name, modality, 5 * int(walk[1:4]) + number)
    (path / f"{TUM}N155_ft_of25_60x60" / "p011-n04-02.h5").unlink()
    return path


def test_a_batch_of_both_modalities(tree, tmp_path, capsys):
    data = GaitCopySamples(str(tree), teacher_modality="flow", cache=str(tmp_path), batch_size=4)
    data.prepare_data()
    assert "p011-n04-02.h5 has no flow beside it" in capsys.readouterr().out
    data.setup("fit")
    assert data.skeleton == "gray-25x60x60"
    assert data.num_subjects == 2
    table = data.sequences
    trained, tested = (table.iloc[data.rows[part]] for part in ("train", "test"))
    assert sorted(trained["condition"]) == ["n", "n", "s", "s"]
    assert set(trained["number"]) == {1, 2}  # the second recording does not train
    assert len(tested) == 9
    assert data.default_protocols == ("tum_gaid.first", "tum_gaid.later")
    (batch,) = data.train_dataloader()
    batch = data.on_after_batch_transfer(batch, 0)
    assert sorted(batch.row.tolist()) == data.rows["train"].tolist()
    for frames, flow, row in zip(batch.frames, batch.target, batch.row, strict=True):
        label = table.iloc[int(row)]
        seed = label["first_frame"] - 3
        gray = torch.from_numpy(values("gray", seed)).permute(2, 0, 1)
        torch.testing.assert_close(frames, gray_input(gray))
        pairs = torch.from_numpy(values("flow", seed)).reshape(60, 60, 25, 2)
        torch.testing.assert_close(flow, flow_input(pairs.permute(2, 0, 1, 3)))
    embeddings = np.random.default_rng(0).random((len(tested), 4))
    judged = evaluate_neighbours(
        embeddings, tested.reset_index(drop=True), data.protocols["tum_gaid.first"], bootstrap=0
    )
    assert [*judged.metrics] == ["N"]
    assert judged.metrics["N"]["videos"] == 2


def test_one_modality_has_a_store_of_its_own(tree, tmp_path):
    stores = [
        GaitCopySamples(str(tree), cache=str(tmp_path), **settings).open_store()
        for settings in ({}, {"modality": "flow"}, {"teacher_modality": "flow"})
    ]
    assert [[*store.arrays] for store in stores] == [["gray"], ["flow"], ["gray", "flow"]]
    assert [len(store) for store in stores] == [16, 15, 15]
    assert all(store.path.exists() for store in stores)


def test_by_command_line(tree, tmp_path, capsys):
    cache = ["--cache", str(tmp_path)]
    assert run(["report-data", "gaitcopy-samples", str(tree), "--modality", "flow", *cache]) == 0
    assert "| sequences | 15 |" in capsys.readouterr().out
    assert run(["report-data", "gaitcopy-samples", str(tree), *cache]) == 0
    assert "| sequences | 16 |" in capsys.readouterr().out
    assert run(["report-data", "gaitcopy-samples", str(tmp_path), *cache]) == 2
    assert "has no sample such as" in capsys.readouterr().err


def test_samples_of_casia_b(tmp_path):
    pytest.importorskip("h5py")
    for part, walk in (
        ("N074_train", "001-nm-01-090"),
        ("N050_ft", "090-nm-01-018"),
        ("N050_test_nm05-06_018", "090-nm-05-018"),
    ):
        write(tmp_path / f"tfimdb_casia_b_{part}", f"{walk}-01", "gray")
    data = GaitCopySamples(str(tmp_path), cache=str(tmp_path / "cache"))
    data.setup("test")
    assert data.split.train == ("001",)
    assert data.split.test == ("090",)
    assert data.default_protocols == ("casia_b_video.same_view",)
    write(tmp_path / "tfimdb_casia_b_N050_ft", "001-nm-02-090-01", "gray")
    data = GaitCopySamples(str(tmp_path), cache=str(tmp_path / "cache"))
    with pytest.raises(InputError, match="samples of subject 001 in folders called train"):
        data.setup("test")


def test_settings(tmp_path):
    with pytest.raises(InputError, match=r"data\.frames is 30"):
        GaitCopySamples(str(tmp_path), frames=30)
    with pytest.raises(InputError, match="split 'half' is unknown"):
        GaitCopySamples(str(tmp_path), split="half").find_split("half")
    assert GaitCopySamples in DATASETS
