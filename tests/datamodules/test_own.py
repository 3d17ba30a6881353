"""Your own keypoints as a dataset."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitbench.datamodules.own import OwnSequences
from gaitbench.errors import InputError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three walks of 18 joints, one of them short; a joint of it is not found."""
    folder = tmp_path / "src"
    folder.mkdir()
    random = np.random.default_rng(0)
    walks = {name: random.random((n, 18, 3)) + 0.1 for name, n in (("a", 9), ("b", 12), ("c", 3))}
    walks["c"][:, 0] = 0
    np.savez(folder / "walks.npz", **walks)
    return folder


def opened(source: Path, **settings: Any) -> OwnSequences:
    data = OwnSequences(str(source), frames=8, cache=str(source.parent / "cache"), **settings)
    data.prepare_data()
    data.setup("predict")
    return data


def test_everybody_is_embedded_and_nobody_trains(source: Path) -> None:
    data = opened(source)
    assert data.native_skeleton == data.skeleton == "openpose18"
    assert OwnSequences.__dict__.get("native_skeleton") is None  # it is the source's
    assert data.num_subjects == 0
    assert data.split.test == ("walks/a", "walks/b", "walks/c")
    (batch,) = data.predict_dataloader()
    assert batch.row.tolist() == [0, 1, 2]
    assert batch.frames.shape == (3, 8, 18, 3)
    assert not data.default_protocols


def test_poses_are_converted_and_filled(source: Path) -> None:
    """As the network's layout has them; joints that were not found lie in the middle of others."""
    data = opened(source, skeleton="coco17")
    (batch,) = data.predict_dataloader()
    seen = data.on_after_batch_transfer(batch, 0).frames
    assert seen.shape == (3, 8, 17, 3)
    middle = seen[2, :, 1:, :2].mean(dim=1)
    torch.testing.assert_close(seen[2, :, 0, :2], middle)
    assert (seen[2, :, 0, 2] == 0).all()


def test_short_sequences_can_be_left_out(source: Path) -> None:
    data = opened(source, min_frames=5)
    (batch,) = data.predict_dataloader()
    assert batch.row.tolist() == [0, 1]


def test_it_says_what_was_done_and_which_labels_do_not_fit(
    source: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (source / "labels.csv").write_text("sequence,subject\nwalks/a,Ada\nwalks/x,Bo\n")
    with caplog.at_level(logging.WARNING):
        data = opened(source)
    assert f"{source}: 3 sequences of openpose18\n" in capsys.readouterr().out
    assert "labels no sequence walks/x" in caplog.text
    assert "has no label for walks/b and 1 more" in caplog.text
    assert data.split.test == ("Ada", "walks/b", "walks/c")


def test_a_changed_file_gives_another_store(source: Path) -> None:
    before = opened(source)
    np.savez(source / "walks.npz", a=np.ones((4, 18, 3)))
    after = opened(source)
    assert len(before.sequences) == 3
    assert len(after.sequences) == 1
    assert opened(source, person="largest").open_store().path != after.open_store().path


def test_a_mistake_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; name a file of keypoints or a folder"):
        OwnSequences(str(tmp_path / "none"))
    np.save(tmp_path / "a.npy", np.ones((3, 17, 3)))
    with pytest.raises(InputError, match="is no table of sequences"):
        OwnSequences(str(tmp_path / "a.npy"), sequence_labels=str(tmp_path / "none.csv"))


def test_people_of_the_split_train_train(source: Path) -> None:
    lines = "walks/a,Ada,train\nwalks/b,Bo,gallery\nwalks/c,Bo,probe\n"
    (source / "labels.csv").write_text(f"sequence,subject,split\n{lines}")
    data = opened(source)
    assert (data.split.train, data.split.test) == (("Ada",), ("Bo",))
    assert data.default_protocols == ("own.probe",)
    assert data.rows["train"].tolist() == [0]
    assert data.rows["test"].tolist() == [1, 2]
    (source / "labels.csv").write_text("sequence,subject,split\nwalks/a,Bo,train\n" + lines[16:])
    with pytest.raises(InputError, match="labels Bo with the split train in some sequences alone"):
        opened(source).split  # noqa: B018
    (source / "labels.csv").unlink()
    with pytest.raises(InputError, match=r"nobody to train on.*give a labels.csv beside it"):
        opened(source).train_dataloader()


def test_the_report_tells_what_looks_wrong(source: Path) -> None:
    poses = np.full((9, 17, 3), 0.5)
    poses[:, 0, 1] = 0.9
    (source / "walks.npz").unlink()
    np.savez(source / "w.npz", a=poses, b=poses + np.arange(9)[:, None, None] * (0.01, 0.01, 0))
    (source / "labels.csv").write_text("sequence,subject\nw/a,Ada\nw/b,Ada\nw/z,Bo\n")
    text = opened(source).report().to_text()
    assert "Labels without a sequence: w/z." in text
    assert "one subject, condition, number and view: w/a and 1 more;" in text
    assert "Poses that never move: w/a." in text
    assert "are no pixels" in text
    assert "Heads are below ankles" in text
    assert "have the same confidence, 0.5:" in text
    assert "| sequences by subject | Ada 2 |" in text
