import csv
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.batch import GaitBatch
from gaitbench.cli import main
from gaitbench.datamodules import DATASETS, CasiaB, DenseGait, GaitDataModule, OumvlpPose
from gaitbench.densegait import ANNOTATIONS, ATTRIBUTES, VALIDATION, attribute_names
from gaitbench.errors import InputError
from gaitbench.skeleton import OPENPOSE18
from tests.goldens import golden, unpacked_folder

TRACKS = (688, 31, 1002, 7, 452, 90, 15, 8000, 263, 41)
LENGTHS = (50, 3, 48, 17, 60, 9, 1, 33, 80, 25)


def labels(seed: int) -> np.ndarray:
    """42 probabilities as the published table has them, four digits each."""
    return np.random.default_rng(seed).random(42).round(4)


def poses(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng(1000 + seed).standard_normal((length, 18, 3)).astype("f4")


def write(root: Path, annotations: str, tracks: tuple[int, ...], prefix: str) -> None:
    """A table and its files; what is in them follows from the track's number."""
    folder = (root / annotations).parent
    (folder / "poses").mkdir(parents=True)
    with (root / annotations).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "track_id", *(n for c in ATTRIBUTES.values() for n in c)])
        for track, length in zip(tracks, LENGTHS, strict=False):
            name = f"{folder.name}/poses/{track:05d}.npy"
            np.save(root / name, poses(track, length))
            rows.writerow([prefix + name, track, *labels(track)])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "DenseGait"
    write(root, ANNOTATIONS, TRACKS, "")
    write(root, VALIDATION, TRACKS[3:6], "")
    return root


def ready(path: Path, cache: Path, **settings: object) -> DenseGait:
    data = DenseGait(str(path), cache=str(cache), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


def trained(data: DenseGait) -> set[str]:
    return set(data.sequences["subject"].iloc[data.rows["train"]])


def test_attributes_are_those_of_the_paper() -> None:
    names = attribute_names()
    assert len(names) == len(set(names)) == 42
    assert names[0] == "Female"
    assert {"No accessory", "No carrying", "OtherAttchment"} <= set(names)
    assert len(attribute_names(["gender", "body", "viewpoint", "age-group"])) == 12
    assert len(attribute_names(["accessory", "footware", "clothing"])) == 22
    assert attribute_names(["viewpoint", "gender"]) == ("Front", "Side", "Back", "Female")
    with pytest.raises(InputError, match=r"'footwear' is unknown; choose from gender, .*footware"):
        attribute_names(["footwear"])
    with pytest.raises(InputError, match="'body' is named twice"):
        attribute_names(["body", "body"])


def test_facts_that_the_rest_relies_on(tmp_path: Path) -> None:
    assert DenseGait in DATASETS
    data = DenseGait(str(tmp_path / "absent"))  # nothing is read yet
    assert isinstance(data, GaitDataModule)
    assert (data.dataset, data.skeleton, data.layout) == ("densegait", "openpose18", OPENPOSE18)
    assert (data.frames, data.fraction, data.on_error) == (48, 1, "raise")
    assert list(data.protocols) == ["densegait.attributes", "densegait.attributes_reference"]
    assert data.default_protocols == ("densegait.attributes",)
    with pytest.raises(InputError, match=r"absent holds no data-2.02/annotations.csv"):
        data.open_store()


@pytest.mark.parametrize("named", ["", "data-2.02", "data-2.02/annotations.csv"])
def test_the_table_holds_tracks_and_attributes(tree: Path, tmp_path: Path, named: str) -> None:
    data = ready(tree / named, tmp_path / "cache")
    table = data.sequences
    assert list(table["subject"]) == [str(track) for track in TRACKS]
    assert list(table["length"]) == list(LENGTHS)
    attributes = table[list(attribute_names())]
    assert (attributes.dtypes == np.float32).all()
    expected = np.stack([labels(track) for track in TRACKS])
    np.testing.assert_array_equal(attributes, expected.astype("f4"))
    frames = np.concatenate([poses(*track) for track in zip(TRACKS, LENGTHS, strict=True)])
    np.testing.assert_array_equal(data.open_store().frames, frames)
    assert data.open_store().info.units == "normalised, y down, confidence"


def test_attributes_reach_the_batch_as_one_array(tree: Path, tmp_path: Path) -> None:
    data = ready(tree, tmp_path / "cache", train_windows=2)
    assert data.attributes == attribute_names()
    values = data.attribute_values
    assert (values.shape, values.dtype, values.flags.c_contiguous) == ((10, 42), np.float32, True)
    for batch in data.train_dataloader():
        expected = np.stack([labels(TRACKS[row]) for row in batch.row.tolist()])
        np.testing.assert_array_equal(batch.attributes, expected.astype("f4"))
    with pytest.raises(InputError, match=r"labels .*: densegait has attributes of its own"):
        DenseGait(str(tree), labels="mine.csv")


def test_no_object_for_each_track(tree: Path, tmp_path: Path) -> None:
    """Neither a split nor a list of them is made on the way to batches."""
    data = ready(tree, tmp_path / "cache", fraction=0.5)
    next(iter(data.train_dataloader()))
    assert "split" not in vars(data)
    assert data.listed is None


def test_file_names_may_count_from_the_folder_s_parent(tmp_path: Path) -> None:
    root = tmp_path / "DenseGait"
    write(root, ANNOTATIONS, TRACKS, "DenseGait/")
    assert list(ready(root, tmp_path / "cache").sequences["length"]) == list(LENGTHS)


def test_y_is_turned_once_and_for_this_family_alone(tree: Path, tmp_path: Path) -> None:
    """In the files and in the store it grows downwards, for a method upwards."""
    data = ready(tree, tmp_path / "cache", frames=80)
    frames = torch.from_numpy(poses(TRACKS[8], 80))[None]
    batch = GaitBatch(frames.clone(), torch.zeros(1), torch.zeros(1), 0)
    shown = data.on_after_batch_transfer(batch, 0).frames
    assert torch.equal(shown, frames * torch.tensor([1.0, -1.0, 1.0]))
    assert torch.equal(batch.frames, frames)  # not in place, for it may be looked at again
    (batch,) = data.test_dataloader()
    assert torch.equal(batch.frames[8], frames[0])
    for other in (CasiaB, OumvlpPose):
        assert not other.flip_y


def test_the_two_tables_have_stores_of_their_own(tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    train, validation = ready(tree, cache), ready(tree, cache, part="validation")
    assert validation.num_subjects == 3
    names = sorted(path.name[:-17] for path in cache.iterdir() if path.name[0] != ".")
    assert names == ["densegait-train", "densegait-validation"]
    assert train.open_store().path.is_dir()
    for part, folder in (("validation", "data-2.02"), ("train", "validation")):
        with pytest.raises(InputError, match=r"annotations.csv is the table of data.part"):
            DenseGait(str(tree / folder), part=part).open_store()


def test_every_track_is_a_person_and_is_predicted(tree: Path, tmp_path: Path) -> None:
    data = ready(tree, tmp_path / "cache")
    assert data.num_subjects == 10
    assert list(data.subject_codes) == list(range(10))
    for part in ("train", "test", "all"):
        assert list(data.rows[part]) == list(range(10))
    assert ready(tree, tmp_path / "cache", min_frames=48).rows["test"].tolist() == [0, 2, 4, 8]


@pytest.mark.parametrize("settings", [{}, {"fraction": 0.4}, {"fraction": 0.01, "min_frames": 2}])
def test_rows_are_those_of_any_dataset_with_that_split(
    tree: Path, tmp_path: Path, settings: dict[str, float]
) -> None:
    """Sorting without an object for each track gives what the base class makes of the split."""
    data = ready(tree, tmp_path / "cache", **settings)
    rows, codes = data.rows, data.subject_codes
    GaitDataModule.setup(data, "fit")
    assert len(data.split.train) == data.num_subjects
    for part in ("train", "validate", "test", "all"):
        np.testing.assert_array_equal(rows[part], data.rows[part])
    np.testing.assert_array_equal(codes[rows["train"]], data.subject_codes[rows["train"]])
    assert sorted(codes) == list(range(10))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.77, 1.0])
def test_a_fraction_is_one_of_tracks(tree: Path, tmp_path: Path, share: float) -> None:
    """Exact, and a larger one of the same seed holds the smaller."""
    cache = tmp_path / "cache"
    data, all_of_them = ready(tree, cache, fraction=share), ready(tree, cache)
    assert len(trained(data)) == max(1, round(share * 10))
    assert trained(data) == trained(ready(tree, cache, fraction=share))
    assert trained(ready(tree, cache, fraction=0.1)) <= trained(data) <= trained(all_of_them)
    assert data.num_subjects == 10
    assert data.subject_codes.tolist() == list(range(10))
    assert data.rows["test"].tolist() == list(range(10))


def test_another_seed_takes_others(tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    takes = {frozenset(trained(ready(tree, cache, fraction=0.5, subset_seed=i))) for i in range(5)}
    assert {len(take) for take in takes} == {5}
    assert len(takes) > 1
    for share in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(InputError, match=r"data.fraction is .*; give a share above 0"):
            DenseGait(str(tree), fraction=share)


def test_tracks_of_several_files(tree: Path, tmp_path: Path) -> None:
    """A track that comes twice is one person, and taken or left as a whole."""
    place = tree / ANNOTATIONS
    table = pd.read_csv(place)
    table["track_id"] = [5, 6, 5, 7, 8, 7, 9, 10, 5, 11]
    table.to_csv(place, index=False)
    data = ready(tree, tmp_path / "cache")
    assert data.num_subjects == 7
    assert data.subject_codes.tolist() == [0, 1, 0, 2, 3, 2, 4, 5, 0, 6]
    assert data.sequences["number"].tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 2, 0]
    part = ready(tree, tmp_path / "cache", fraction=0.4)
    taken = trained(part)
    assert len(taken) == 3
    rows = set(np.flatnonzero(np.isin(table["track_id"], [int(s) for s in taken])))
    assert set(part.rows["train"].tolist()) == rows


def test_tracks_set_aside_for_validation(tree: Path, tmp_path: Path) -> None:
    data = ready(tree, tmp_path / "cache", validation="held_out", held_out=0.3)
    assert data.rows["validate"].tolist() == [7, 8, 9]
    assert data.rows["train"].tolist() == list(range(7))
    data = ready(tree, tmp_path / "cache", validation="test", fraction=0.5)
    assert data.rows["validate"].tolist() == list(range(10))


def test_unreadable_tracks_stop_or_are_left_out_and_told(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tree / "data-2.02/poses/01002.npy").unlink()
    (tree / "data-2.02/poses/00041.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"annotations.csv line 4: data-2.02/poses/01002.npy is n"):
        ready(tree, tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        data = ready(tree, tmp_path / "cache", on_error="skip")
    assert trained(data) == {str(track) for track in TRACKS} - {"1002", "41"}
    assert data.num_subjects == 10
    assert data.subject_codes.tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
    assert (
        "Left out in reading, listed in skipped.csv:\n\n- line 4: data-2.02/poses/01002.npy is not"
        in capsys.readouterr().out
    )
    assert (data.open_store().path / "skipped.csv").is_file()
    # what was left out is not taken for all there is
    with pytest.raises(InputError, match="line 4"):
        ready(tree, tmp_path / "cache")


def test_an_attribute_is_absent_or_no_probability(tree: Path, tmp_path: Path) -> None:
    place = tree / ANNOTATIONS
    text = place.read_text()
    place.write_text(text.replace("OtherAttchment", "OtherAttachment"))
    with pytest.raises(InputError, match=r"no column 'OtherAttchment' .*unknown 'OtherAttachment'"):
        ready(tree, tmp_path / "cache", on_error="skip")
    place.write_text(text.replace(",688,", ",688,1"))
    with pytest.raises(
        InputError, match=r"line 2: Female is '1\d*\.\d+', expected a number from 0"
    ):
        ready(tree, tmp_path / "cache", on_error="skip")


def test_training_and_prediction_without_a_protocol(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data.path", str(tree), "--data.cache", "cache", "--trainer.accelerator", "cpu"]
    words += ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    small = ["--model.backbone", "resgcn-n21-r8", "--data.frames", "10", "--data.batch_size", "8"]
    fit = ["fit", "--model", "GaitGraph", *words, *small, "--data.train_windows", "2"]
    main(DenseGait, [*fit, "--data.validation", "held_out", "--trainer.max_epochs", "1"])
    out = capsys.readouterr().out
    assert "nothing to judge" not in out
    checkpoint = out.split("checkpoint: ")[-1].strip()
    for command in ("test", "predict"):
        main(DenseGait, [command, "--ckpt_path", checkpoint, *words, "--data.frames", "10"])
        assert "nothing to judge: densegait has no protocol" in capsys.readouterr().out
    assert np.load("predictions/embeddings.npy").shape[0] == 10
    assert pd.read_csv("predictions/sequences.csv")["No carrying"].between(0, 1).all()
    with pytest.raises(InputError, match=r"'casia_b\.pooled' is unknown; choose from densegait\.a"):
        main(
            DenseGait,
            ["test", "--ckpt_path", checkpoint, *words, "--evaluation.protocols=[casia_b.pooled]"],
        )


def test_the_reference_s_folders(tmp_path: Path) -> None:
    """Of the 40 tracks eleven are kept here, which are read to its numbers."""
    root = unpacked_folder("import")
    expected = golden("expected", root)
    data = ready(root / "densegait", tmp_path, on_error="skip", crop="tiled", predict="all")
    table = data.sequences
    names = json.loads(str(expected["densegait_train/file_name"]))
    published = pd.read_csv(root / "densegait" / ANNOTATIONS)
    assert published["file_name"].tolist() == names
    place = table["line"].to_numpy() - 2
    # tracks are counted from 0 in the order of their numbers there, of the table here
    codes = expected["densegait_train/track_code"][place]
    assert len(set(codes.tolist())) == len(set(data.subject_codes.tolist())) == len(table)
    assert published["track_id"].iloc[place].astype(str).tolist() == table["subject"].tolist()
    (batch,) = data.predict_dataloader()
    shown = data.on_after_batch_transfer(batch, 0)
    first = place < 3
    frames = shown.frames[first].permute(0, 3, 1, 2).numpy()
    assert first.sum() == 3
    np.testing.assert_array_equal(frames, expected["densegait_train/input_first3"])
    labels = published[list(attribute_names())].iloc[place].to_numpy(np.float32)
    np.testing.assert_array_equal(shown.attributes, labels)
    validation = ready(root / "densegait", tmp_path, part="validation")
    assert len(validation.sequences) == 16
