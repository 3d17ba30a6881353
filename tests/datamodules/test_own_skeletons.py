import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from gaitbench.__main__ import run
from gaitbench.datamodules import DATASETS, GaitDataModule, OwnSkeletons
from gaitbench.errors import InputError
from gaitbench.skeleton import KINECT20

CONFIGS = Path(__file__).parents[2] / "configs" / "sgela"
HEAD, ANKLES = KINECT20.joints.index("head"), [14, 18]


def body(frames: int, seed: int) -> NDArray[np.float32]:
    """(T, V, 3) somebody upright, 1.6 metres from the ankles to the head."""
    random = np.random.default_rng(seed)
    poses = random.uniform(0.1, 1.4, (frames, 20, 3))
    poses[:, HEAD, 1], poses[:, ANKLES, 1] = 1.6, 0
    return poses.astype(np.float32)


def write(path: Path, labels: dict[str, list[Any]], frames: int = 14) -> Path:
    count = len(labels["subject"])
    joints = np.concatenate([body(frames, seed) for seed in range(count)])
    start = np.arange(count) * frames
    np.savez(path, joints=joints, start=start, length=np.full(count, frames), **labels)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ada (three walks, not in their order), Bo (two), Cy (one) and Di (two)."""
    labels = {
        "subject": ["Ada", "Ada", "Ada", "Bo", "Bo", "Cy", "Di", "Di"],
        "condition": ["nm", "cl", "nm", "train", "coat", "train", "train", "train"],
        "number": [2, 1, 1, 1, 1, 1, 2, 1],
        "split": ["", "", "", "test", "test", "", "train", "train"],
    }
    return write(tmp_path / "walks.npz", labels)


def opened(source: Path, **settings: Any) -> OwnSkeletons:
    settings.setdefault("samples", "recordings")
    data = OwnSkeletons(str(source), cache=str(source.parent / "cache"), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def parts(data: OwnSkeletons) -> dict[str, list[str]]:
    """Part of the split -> names of its sequences."""
    found = data.open_store().sequences["sequence"].groupby(data.part)
    return {str(part): names.tolist() for part, names in found}


def test_is_a_dataset_like_the_others(source: Path) -> None:
    assert OwnSkeletons in DATASETS
    assert OwnSkeletons.__dict__.get("native_skeleton") is None  # it is the source's
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(GaitDataModule, "data")
    words = ["--data=OwnSkeletons", f"--data.path={source}", "--data.up=-z", "--data.gaps=cut"]
    data = parser.instantiate_classes(parser.parse_args(words)).data
    assert data.native_skeleton == data.skeleton == "kinect20"
    assert data.store_name == "own3d-metres--z-cut"
    with pytest.raises(InputError, match=r"data.split 'first' is unknown; choose one of last, "):
        OwnSkeletons(str(source), split="first")  # type: ignore[arg-type]


def test_the_last_of_each_is_a_probe(source: Path) -> None:
    """In order of condition and number: Ada's third, for cl, nm 1, nm 2 is the order."""
    data = opened(source)
    assert parts(data) == {
        "probe": ["0", "3", "6"],
        "train": ["1", "2", "4", "5", "7"],
    }
    assert data.split.train == ("Ada", "Bo", "Cy", "Di")
    assert data.split.test == ("Ada", "Bo", "Di")
    table = data.sequences.iloc[data.rows["test"]]
    assert table["condition"].unique().tolist() == ["probe"]
    assert table["number"].tolist() == [3, 2, 2]
    assert not data.default_protocols  # there is no gallery


def test_conditions_tell_the_parts(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has test recordings of Ada but none to train on"):
        opened(source, split="conditions")
    known = {"subject": ["a", "a", "b"], "condition": ["train", "probe", "train"]}
    data = opened(write(tmp_path / "known.npz", known), split="conditions")
    assert parts(data) == {"probe": ["1"], "train": ["0", "2"]}
    nobody = write(tmp_path / "nobody.npz", {"subject": [1, 1], "condition": ["a", "b"]})
    with pytest.raises(InputError, match=r"no sequence of condition train \(it has a, b\)"):
        opened(nobody, split="conditions")


def test_nobody_who_is_tested_has_trained(source: Path) -> None:
    data = opened(source, split="people")
    assert parts(data) == {
        "train": ["6", "7"],
        "probe": ["0", "3"],
        "gallery": ["1", "2", "4", "5"],
    }
    assert data.split.train == ("Di",)
    assert data.split.test == ("Ada", "Bo", "Cy")
    assert data.default_protocols == ("own3d.probe",)
    trained, tested = (
        set(data.sequences["subject"].iloc[data.rows[part]]) for part in ("train", "test")
    )
    assert not trained & tested
    assert data.num_subjects == 1


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (["train", "", "", ""], "labels a with some sequences alone with the split train"),
        (["test", "", "", ""], "labels nobody with the split train"),
    ],
)
def test_people_train_with_all_they_have(split: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "walks.npz", {"subject": ["a", "a", "b", "b"], "split": split})
    with pytest.raises(InputError, match=message):
        opened(path, split="people")


def test_pieces_of_a_sequence_stay_in_one_part(tmp_path: Path) -> None:
    poses = body(20, 0)
    poses[8] = 0
    labels = tmp_path / "labels.csv"
    labels.write_text("sequence,subject\nx,a\ny,a\n")
    np.savez(tmp_path / "walks.npz", x=body(9, 1), y=poses)
    data = opened(tmp_path / "walks.npz", gaps="cut")
    assert data.part.tolist() == ["train", "probe", "probe"]
    assert data.sequences["number"].tolist() == [1, 2, 2]
    assert data.sequences["first_frame"].tolist() == [0, 0, 9]


def test_windows_are_cut_from_the_body_out(source: Path) -> None:
    data = opened(source, samples="windows", origin="body", duplicates=False, batch_size=5)
    assert len(data.rows["train"]) == 5 * (14 - 6 + 1)  # each of the first six frames begins one
    assert len(data.rows["test"]) == 3 * (14 // 6)
    batch = next(iter(data.train_dataloader()))
    seen = data.on_after_batch_transfer(batch, 0).frames
    torch.testing.assert_close(seen, batch.frames - batch.frames[..., :1, :])
    row = int(batch.row[0])
    recording, first = int(data.recording[row]), int(data.first[row])
    np.testing.assert_array_equal(batch.frames[0], body(14, recording)[first : first + 6])


def test_a_newer_kinect_serves_networks_of_the_older(tmp_path: Path) -> None:
    poses = np.random.default_rng(0).random((9, 25, 3), dtype=np.float32)
    np.savez(tmp_path / "walks.npz", a=poses, b=poses)
    data = opened(tmp_path / "walks.npz", skeleton="kinect20")
    batch = next(iter(data.train_dataloader()))
    assert batch.frames.shape[2] == 25
    seen = data.on_after_batch_transfer(batch, 0).frames
    torch.testing.assert_close(seen, batch.frames[..., [0, 1, 20, *range(3, 20)], :])


def test_sequences_that_are_too_short_for_any_window_are_told(source: Path) -> None:
    with pytest.raises(InputError, match=r"no recording of .* has data.frames 15 frames or more"):
        opened(source, samples="windows", frames=15)


def test_sequences_without_labels_can_be_embedded_and_are_not_tested(tmp_path: Path) -> None:
    np.savez(tmp_path / "walks.npz", a=body(9, 0), b=body(9, 1))
    data = opened(tmp_path / "walks.npz", predict="all")
    (batch,) = data.predict_dataloader()
    assert batch.row.tolist() == [0, 1]
    assert data.split.train == ("a", "b")
    with pytest.raises(InputError, match="no test sequence is left in"):
        data.test_dataloader()


def test_it_says_what_was_found_and_which_labels_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    np.savez(tmp_path / "walks.npz", a=body(9, 0), b=body(9, 1))
    (tmp_path / "labels.csv").write_text("sequence,subject\na,Ada\nx,Bo\n")
    with caplog.at_level(logging.WARNING):
        opened(tmp_path / "walks.npz")
    assert "walks.npz: 2 sequences of kinect20\n" in capsys.readouterr().out
    assert "labels no sequence x" in caplog.text
    assert "has no label for b" in caplog.text


@pytest.mark.parametrize(
    ("how", "height"),
    [({}, None), ({"up": "-y"}, "-1.6"), ({"units": "millimetres"}, "0.0016"), ({"up": "z"}, "0")],
)
def test_bodies_that_do_not_stand_upright_are_told(
    how: dict[str, Any], height: str | None, source: Path
) -> None:
    poses = np.load(source)["joints"]
    poses[..., ANKLES, 2] = poses[..., [HEAD], 2]
    arrays = dict(np.load(source)) | {"joints": poses}
    np.savez(source, **arrays)
    said = opened(source, **how).report().to_text()
    assert (f"Heads are {height} metres above ankles" in said) == (height is not None)
    assert ("above ankles" in said) == (height is not None)


def test_the_data_report_counts_what_was_left_out(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(np.load(source))
    arrays["joints"][[3, 20]] = 0
    arrays["joints"][30, 2, 1] = np.nan
    arrays["joints"][14 * 5 : 14 * 6] = np.nan
    np.savez(source, **arrays)
    words = ["report-data", "own3d", str(source), f"--cache={source.parent}", "--gaps=cut"]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "Frames left out as no whole body is in them: 3, in 2 of them all joints are at" in said
    assert "- 5 is left out: none of its 14 frames has a whole body" in said
    assert "| sequences | 10 |" in said  # seven, three of them in two pieces


SMALL = (
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


def stages(name: str, source: Path, of: str, *words: str) -> Path:
    """Run a pipeline on the source; its folder."""
    out = source.parent / name
    where = [f"--{of}data.path={source}", f"--{of}data.cache={source.parent / 'cache'}"]
    config = CONFIGS / f"{name}.pipeline.yaml"
    assert run(["pipeline", str(config), f"--out={out}", *where, *SMALL, *words]) == 0
    return out


def test_all_stages_recognise_those_who_trained(source: Path) -> None:
    out = stages("own", source, "encode,extract.", "--model.hidden=8", "--evaluation.bootstrap=10")
    metrics = json.loads((out / "judge" / "metrics.json").read_text())
    figures = metrics["encodings.closed_set"]["probe"]
    assert figures["n"] == 3 * (14 // 6)
    assert figures["subjects"] == 4


def test_strangers_are_searched_for(source: Path) -> None:
    words = ("--encode.model.hidden=8", "--search.evaluation.bootstrap=10")
    out = stages("own_people", source, "", *words)
    figures = json.loads((out / "search" / "metrics.json").read_text())["own3d.probe"]["probe"]
    assert figures["n"] == 2 * (14 // 6)
    assert 0 <= figures["rank1"] <= 1
