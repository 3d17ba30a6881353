from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitbench.__main__ import run
from gaitbench.datamodules import DATASETS, Ks20
from gaitbench.errors import InputError
from gaitbench.skeleton import KINECT20, KINECT25
from tests.ks20_tree import write_ks20

VIEWS = ("left_lateral", "frontal")


def prepared(path: Path, **settings: Any) -> Ks20:
    data = Ks20(str(path), cache=str(path.parent / "cache"), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three takes of two people from each view, of 14 frames."""
    root = tmp_path_factory.mktemp("ks20") / "KS20"
    write_ks20(root)
    return root


def test_takes_are_divided_by_chance_person_by_person(tree: Path) -> None:
    assert Ks20 in DATASETS
    data = prepared(tree, samples="recordings")
    assert (data.skeleton, data.split.train) == ("kinect25", ("007", "012"))
    table = data.open_store().sequences.assign(part=data.part)
    groups = table.groupby(["subject", "view"])["part"].apply(sorted)
    assert len(groups) == 10
    assert all(parts == ["gallery", "probe", "train"] for parts in groups)
    others = [
        prepared(tree, split_seed=seed, samples="recordings").part.tolist() for seed in (1, 2)
    ]
    assert len({tuple(part) for part in [*others, data.part.tolist()]}) == 3
    assert set(data.protocols) == {"ks20.probe"}


def test_takes_are_divided_by_their_number(tree: Path) -> None:
    data = prepared(tree, split="take", view=130)
    assert data.open_store().info.settings == {"gaps": "join", "view": 130}
    table = data.sequences
    assert set(table["view"]) == {130}
    assert set(zip(table["condition"], table["recording"] % 3, strict=True)) == {
        ("train", 0),
        ("gallery", 1),
        ("probe", 2),
    }
    # 14 frames have, from 6 offsets at half a window's distance, 3, 3, 3, 2, 2 and 2 windows
    assert table.groupby("condition").size().to_dict() == {"train": 30, "gallery": 4, "probe": 4}


def test_a_cut_take_stays_in_one_part(tmp_path: Path) -> None:
    write_ks20(tmp_path / "KS20", people=(3,), frames=5)
    for take in (1, 2, 3):
        zeros = tmp_path / "KS20" / "frontal" / f"gc{take}_body3_66_skeleton.txt"
        zeros.write_text("1,0,0,0\n" * 25)
    data = prepared(tmp_path / "KS20", gaps="cut", view=90, samples="recordings")
    table = data.open_store().sequences.assign(part=data.part)
    assert table["length"].tolist() == [2] * 6
    assert table.groupby("number")["part"].nunique().tolist() == [1, 1, 1]
    assert sorted(data.part) == sorted(["gallery", "probe", "train"] * 2)
    notes = data.report().remarks()
    assert (
        "left out as no whole body is in them: 3, in 3 of them all joints are at zero." in notes[0]
    )


def test_few_takes_train_first(tmp_path: Path) -> None:
    for number, parts in ((1, ["train"]), (2, ["probe", "train"])):
        path = tmp_path / str(number) / "KS20"
        write_ks20(path, people=(3,), takes=range(1, number + 1), frames=2)
        data = Ks20(str(path), cache=str(path.parent / "cache"), view=30)
        assert sorted(data.part) == parts


def test_graph_methods_may_see_twenty_of_its_joints(tree: Path) -> None:
    data = prepared(tree, view=0, skeleton="kinect20")
    (batch, *_) = data.test_dataloader()
    shown = data.on_after_batch_transfer(batch, 0).frames
    assert shown.shape[2] == KINECT20.num_joints
    for name, source in (("shoulder_center", "spine_shoulder"), ("left_foot", "left_foot")):
        joint, there = KINECT20.joints.index(name), KINECT25.joints.index(source)
        assert np.array_equal(shown[:, :, joint], batch.frames[:, :, there])


def test_one_view_may_be_all_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ks20(tmp_path / "KS20", views=("frontal",), frames=6)
    assert set(prepared(tmp_path / "KS20", view=90).sequences["view"]) == {90}
    with pytest.raises(InputError, match=r"has no folder left_lateral nor .*; KS20 has left_lat"):
        prepared(tmp_path / "KS20")
    with pytest.raises(InputError, match="is not KS20 as published: it has no folder right_diag"):
        prepared(tmp_path / "elsewhere", view=130)
    write_ks20(tmp_path / "whole" / "KS20", frames=6)
    words = ["report-data", "ks20", str(tmp_path / "whole"), "--cache", str(tmp_path / "c")]
    assert run([*words, "--gaps", "cut"]) == 0
    assert "| walk | 6 | 6 | 6 | 6 | 6 | 30 |" in capsys.readouterr().out
