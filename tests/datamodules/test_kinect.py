import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from gaitbench.__main__ import run
from gaitbench.batch import GaitBatch
from gaitbench.datamodules import DATASETS, Biwi, GaitDataModule, IasLab, Kgbd
from gaitbench.datamodules.kinect import KinectDataModule
from gaitbench.datamodules.spatial import STILL
from gaitbench.errors import InputError
from gaitbench.transforms import PoseAugmentation
from tests.goldens import kinect_trees


def prepared(data: KinectDataModule) -> KinectDataModule:
    data.prepare_data()
    data.setup("fit")
    return data


def biwi(cache: Path, **settings: Any) -> Biwi:
    settings.setdefault("samples", "recordings")
    return Biwi(str(kinect_trees()), cache=str(cache), **settings)


def kgbd(cache: Path, **settings: Any) -> Kgbd:
    settings.setdefault("samples", "recordings")
    return Kgbd(str(kinect_trees()), cache=str(cache), **settings)


def conditions(data: KinectDataModule, part: str) -> dict[str, list[str]]:
    """Condition -> subjects of the sequences of a part."""
    rows = data.sequences.iloc[data.rows[part]]
    return {str(name): group["subject"].tolist() for name, group in rows.groupby("condition")}


@pytest.mark.parametrize("kind", [Biwi, IasLab, Kgbd])
def test_is_a_dataset_like_the_others(kind: type[GaitDataModule]) -> None:
    assert kind in DATASETS
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(GaitDataModule, "data")
    words = [f"--data=gaitbench.datamodules.{kind.__name__}", "--data.frames=9"]
    data = parser.instantiate_classes(parser.parse_args(words)).data
    assert (data.frames, data.skeleton, data.augmentation) == (9, "kinect20", STILL)
    words += ["--data.augmentation.point_noise=0.01", "--data.augmentation.reverse=0.5"]
    vary = parser.instantiate_classes(parser.parse_args(words)).data.augmentation
    assert (vary.point_noise, vary.reverse, vary.clamp_confidence) == (0.01, 0.5, False)


def test_biwi_trains_on_those_who_are_tested(tmp_path: Path) -> None:
    data = prepared(biwi(tmp_path))
    assert data.split.train == data.split.test == ("000", "022")
    assert data.num_subjects == 2
    assert conditions(data, "train") == {"train": ["000", "022"]}
    assert conditions(data, "test") == {"walking": ["000", "022"], "still": ["000", "022"]}
    everybody = prepared(biwi(tmp_path, split="all"))
    assert everybody.num_subjects == 3
    assert conditions(everybody, "train") == {"train": ["000", "003", "022"]}
    for module in (data, everybody):  # one map of persons to classes, for training and test
        subject = module.sequences["subject"]
        codes = {name: set(module.subject_codes[subject == name]) for name in module.split.train}
        assert codes == {name: {i} for i, name in enumerate(module.split.train)}


def test_ias_lab_is_tested_twice(tmp_path: Path) -> None:
    data = prepared(IasLab(str(kinect_trees() / "IAS"), cache=str(tmp_path), samples="recordings"))
    assert conditions(data, "train") == {"train": ["000", "001"]}
    assert conditions(data, "test") == {"A": ["000", "001"], "B": ["000", "001"]}
    row, start = data.windows(data.rows["train"], training=True)
    assert len(row) == 44  # as the authors' program makes of the same recordings
    once, _ = data.windows(data.rows["train"], training=True, duplicates=False)
    assert len(set(zip(row, start, strict=True))) == len(once)
    row, start = data.windows(data.rows["test"], training=False)
    assert len(row) == 8
    assert not (start % 6).any()


def test_kgbd_is_divided_by_chance_person_by_person(tmp_path: Path) -> None:
    data = prepared(kgbd(tmp_path))
    assert conditions(data, "train") == {"train": ["001", "015"]}
    assert conditions(data, "test") == {"gallery": ["001", "001", "015"], "probe": ["001", "015"]}
    drawn = [kgbd(tmp_path, split_seed=seed).part.tolist() for seed in range(8)]
    assert drawn[0] == data.part.tolist()
    assert len({tuple(part) for part in drawn}) > 3
    assert len(data.windows(data.rows["train"], training=True)[0]) == sum(
        data.sequences["length"].iloc[data.rows["train"]] // 6
    )
    folder = kinect_trees() / "KGBD" / "kinect gait raw dataset"
    alone = tmp_path / "kinect gait raw dataset"
    shutil.copytree(folder / "Person015", alone / "Person015")
    lonely = Kgbd(str(tmp_path), cache=str(tmp_path / "cache"))
    assert lonely.part.tolist() == data.part[4:].tolist()  # whoever else is there
    (alone / "Person015" / "3.txt").unlink()
    assert sorted(Kgbd(str(tmp_path), cache=str(tmp_path / "cache")).part) == ["probe", "train"]
    (alone / "Person015" / "2.txt").unlink()
    with pytest.raises(InputError, match="has no recording to test"):
        _ = Kgbd(str(tmp_path), cache=str(tmp_path / "cache")).split


def test_batches_hold_metres(tmp_path: Path) -> None:
    data = prepared(biwi(tmp_path, frames=8, batch_size=2, eval_batch_size=3))
    (batch,) = data.train_dataloader()
    assert batch.frames.shape == (2, 8, 20, 3)
    assert sorted(batch.subject.tolist()) == [0, 1]
    assert 1 < float(batch.frames[..., 2].mean()) < 4
    data.trainer = type("Trainer", (), {"training": True})()  # type: ignore[assignment]
    assert data.on_after_batch_transfer(batch, 0).frames.equal(batch.frames)
    assert [len(b.row) for b in data.test_dataloader()] == [3, 1]


def test_report_tells_what_became_of_frames_and_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = biwi(tmp_path)
    text = data.report().to_text()
    assert "# biwi, skeleton3d" in text
    assert "| z, least to greatest |" in text
    assert re.search(r"Frames left out as no whole body is in them: 12\.\n", text)
    assert "Frames clipped off at the ends of recordings: 140." in text
    assert "do not train (data.split all lets them): 003." in text
    assert (
        "| frames that list several people | 5 (0 times another than the first was taken) |" in text
    )
    assert (data.open_store().path / "report.md").read_text() == text
    words = ["report-data", "biwi", str(kinect_trees()), "--cache", str(tmp_path)]
    assert run([*words, "--body", "tracked", "--gaps", "cut", "--clip", "none"]) == 0
    text = capsys.readouterr().out
    assert "clipped" not in text
    assert "| frames missing between first and last | 0 in 0 sequences |" in text
    assert len(list(tmp_path.glob("biwi-*"))) == 2


def test_options_belong_to_datasets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, fault in (
        (("--body", "first"), "kgbd has no --body"),
        (("--joint_order", "repaired"), "--joint_order repaired is unknown to kgbd; choose"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run(["report-data", "kgbd", str(tmp_path), *words])
        assert fault in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"fill_empty": "all"}, "fill_empty"),
        ({"normalize": "pelvis"}, "normalize"),
        ({"augmentation": PoseAugmentation()}, "augmentation.clamp_confidence"),
        ({"augmentation": {"joint_dropout": 0.1}}, "augmentation.joint_dropout"),
        ({"augmentation": {"squeeze": 0.1}}, "augmentation.squeeze_axis nose"),
        (
            {"augmentation": {"point_noise": 0.1, "clamp_confidence": True}},
            "augmentation.clamp_confidence",
        ),
    ],
)
def test_what_takes_z_for_a_confidence_is_refused(settings: dict[str, Any], name: str) -> None:
    if isinstance(vary := settings.get("augmentation"), dict):
        settings = {"augmentation": PoseAugmentation(**(vars(STILL) | vary))}
    with pytest.raises(
        InputError, match=rf"data\.{name} is made for x, y and confidence, biwi has"
    ):
        Biwi(**settings)


def test_poses_vary_in_all_three_coordinates_and_in_training_only(tmp_path: Path) -> None:
    vary = PoseAugmentation(**(vars(STILL) | {"joint_noise": 0.02, "scale": 0.1, "turn": 90.0}))
    data = prepared(biwi(tmp_path, frames=8, batch_size=2, augmentation=vary))
    (batch,) = data.train_dataloader()
    data.trainer = type("Trainer", (), {"training": True})()  # type: ignore[assignment]
    seen = data.on_after_batch_transfer(batch, 0).frames
    assert torch.equal(data.on_after_batch_transfer(batch, 0).frames, seen)  # by the batch's seed
    draws = torch.Generator().manual_seed(batch.seed)
    assert torch.equal(vary(batch.frames, data.layout, draws, space=True), seen)
    assert (seen != batch.frames).all(dim=(0, 1, 2)).all()
    data.trainer = type("Trainer", (), {"training": False})()  # type: ignore[assignment]
    assert data.on_after_batch_transfer(batch, 0).frames.equal(batch.frames)


def test_other_layouts_and_splits_are_refused() -> None:
    with pytest.raises(InputError, match="poses of skeleton kinect20 cannot become coco17"):
        Biwi(skeleton="coco17")
    with pytest.raises(
        InputError, match=r"data\.split 'random' is unknown; choose one of published"
    ):
        Biwi(split="random")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data\.split 'all' is unknown; choose one of random"):
        Kgbd(split="all")  # type: ignore[arg-type]


def test_who_is_tested_must_have_trained(tmp_path: Path) -> None:
    tree = tmp_path / "BIWI"
    shutil.copytree(kinect_trees() / "BIWI", tree)
    (tree / "Training" / "022").rename(tree / "Testing" / "Walking" / "003")
    data = Biwi(str(tree), cache=str(tmp_path / "cache"))
    with pytest.raises(InputError, match="is a frame of person 022 in the folder of 003"):
        data.prepare_data()
    shutil.rmtree(tree / "Testing" / "Walking" / "003")
    with pytest.raises(
        InputError, match=r"has test recordings of 022 but none to train on.*; copy"
    ):
        data.prepare_data()


def windows(path: Path, name: str) -> Path:
    """What the authors made of a set: two persons, 4 training windows and 1 to test."""
    for part, prefix, ids in (
        ("train", "", {1: [0, 2], 8: [1, 3]}),
        ("test", "t_", {1: [0], 8: []}),
    ):
        folder = path / f"{name}_{part}_npy_data"
        folder.mkdir(parents=True)
        count = sum(map(len, ids.values()))
        for axis in "xyz":
            values = np.random.default_rng(count).normal(size=(count * 6, 20))
            np.save(folder / f"{prefix}source_{axis}_{name}_6.npy", values)
        np.save(folder / f"ids_{name}_6.npy", np.array(ids, object), allow_pickle=True)
    return path


def test_windows_cut_beforehand_serve_as_well(tmp_path: Path) -> None:
    path = windows(tmp_path / "Datasets", "BIWI")
    data = prepared(Biwi(str(path), cache=str(tmp_path / "cache")))
    # who has no window to test is a class nevertheless, as for the authors
    assert (data.split.train, data.split.test) == (("001", "008"), ("001",))
    assert conditions(data, "train") == {"train": ["001", "008", "001", "008"]}
    assert conditions(data, "test") == {"test": ["001"]}
    row, start = data.windows(data.rows["train"], training=True)
    assert (row.tolist(), start.tolist()) == ([0, 1, 2, 3], [0] * 4)
    assert data.open_store().info.settings == {"windows": 6}
    # one test part without a name: there is nothing to search in
    assert Biwi.default_protocols == ("biwi.walking", "biwi.still")
    assert data.default_protocols == ()
    with pytest.raises(InputError, match=r"data\.body tracked is a way to read recordings, .* cut"):
        Biwi(str(path), body="tracked").prepare_data()
    with pytest.raises(InputError, match=r"BIWI_8\.npy is missing, there are windows of 6 frames"):
        Biwi(str(path), frames=8).prepare_data()
    path = windows(tmp_path / "Datasets", "KGBD")
    data = prepared(Kgbd(str(tmp_path), cache=str(tmp_path / "cache"), joint_order="published"))
    assert conditions(data, "test") == {"test": ["001"]}
    assert data.open_store().info.settings == {"windows": 6, "joint_order": "published"}


def test_every_window_has_a_row_of_its_own(tmp_path: Path) -> None:
    data = prepared(biwi(tmp_path, samples="windows", eval_batch_size=4, predict="all"))
    by_recording = prepared(biwi(tmp_path))
    store, table = data.open_store(), data.sequences
    assert list(table) == [
        *("start", "length", "subject", "condition", "number", "view"),
        *("recording", "first_frame"),
    ]
    rows, starts = by_recording.windows(by_recording.rows["train"], training=True)
    tested = by_recording.windows(by_recording.rows["test"], training=False)
    row, start = np.concatenate([rows, tested[0]]), np.concatenate([starts, tested[1]])
    assert len(table) == len(row)
    assert data.rows["train"].tolist() == list(range(len(rows)))
    assert data.rows["test"].tolist() == list(range(len(rows), len(row)))
    assert data.rows["all"].tolist() == list(range(len(row)))
    recordings = store.sequences.iloc[row]
    assert table["subject"].tolist() == recordings["subject"].tolist()
    assert table["recording"].tolist() == recordings["recording"].tolist()
    assert table["start"].tolist() == (recordings["start"] + start).tolist()
    assert table["first_frame"].tolist() == (recordings["first_frame"] + start).tolist()
    assert (table["length"] == 6).all()
    assert set(table["subject"]) == {"000", "022"}  # not 003, who is not tested
    seen = 0
    for batch in data.predict_dataloader():
        for i, at in enumerate(batch.row):
            first = table["start"][int(at)]
            assert np.array_equal(batch.frames[i], store.frames[first : first + 6])
            code = data.split.train.index(table["subject"][int(at)])
            assert int(batch.subject[i]) == code
            seen += 1
    assert seen == len(table)


def test_windows_are_shown_as_published_or_as_meant(tmp_path: Path) -> None:
    def shown(epochs: int = 1, **settings: Any) -> list[list[int]]:
        """Rows in the order in which epochs show them."""
        torch.manual_seed(0)
        data = prepared(biwi(tmp_path, samples="windows", batch_size=8, **settings))
        loader = data.train_dataloader()
        found = []
        for epoch in range(epochs):
            loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            found.append([int(row) for batch in loader for row in batch.row])
        return found

    count = len(shown()[0])
    first, second = shown(2)
    assert sorted(first) == sorted(second) == list(range(count))
    assert first != second
    first, second = shown(2, order="once")
    assert first == second
    assert sorted(first) == list(range(count)) != first
    assert shown(order="file")[0] == list(range(count))
    assert len(shown(keep_tail=False)[0]) == count // 8 * 8 < count
    # as the published program cuts: the last ceil(N / 3) are set aside, before shuffling
    assert sorted(shown(pretext_share=0.66667)[0]) == list(range(count - -(-count // 3)))
    assert len(shown(duplicates=False)[0]) < count
    with pytest.raises(InputError, match=r"28 training samples do not fill .*batch_size 64; lower"):
        biwi_few = prepared(biwi(tmp_path, samples="windows", batch_size=64, keep_tail=False))
        biwi_few.train_dataloader()
    with pytest.raises(InputError, match=r"data\.pretext_share is 0; give a share above 0"):
        biwi(tmp_path, pretext_share=0)


def test_a_window_is_shown_with_the_one_that_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told by a loop over the training windows in the order of the file."""

    def shown(**settings: Any) -> tuple[Biwi, dict[int, np.ndarray]]:
        data = prepared(biwi(tmp_path, samples="windows", batch_size=8, **settings))
        data.trainer = type("Trainer", (), {"training": True})()  # type: ignore[assignment]
        found = {}
        for batch in data.train_dataloader():
            whole = data.on_after_batch_transfer(batch, 0)
            assert whole.target is not None
            assert whole.frames.shape == whole.target.shape
            for row, frames, target in zip(whole.row, whole.frames, whole.target, strict=True):
                first = data.sequences["start"][int(row)]
                assert np.array_equal(frames, data.open_store().frames[first : first + 6])
                found[int(row)] = target.numpy()
        return data, found

    data, found = shown(following="row")
    frames, start = data.open_store().frames, data.sequences["start"]
    last = data.rows["train"][-1]
    assert sorted(found) == data.rows["train"].tolist()
    for row, target in found.items():
        first = start[min(row + 1, last)]
        assert np.array_equal(target, frames[first : first + 6])

    capsys.readouterr()
    data, found = shown(following="recording")
    expected = {}
    for row, after in zip(data.rows["train"][:-1], data.rows["train"][1:], strict=True):
        one, other = data.sequences.iloc[row], data.sequences.iloc[after]
        if one["recording"] == other["recording"] and other["start"] > one["start"]:
            expected[int(row)] = frames[other["start"] : other["start"] + 6]
            assert other["start"] == one["start"] + 3
    assert 0 < len(expected) < len(data.rows["train"])
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[row], expected[row]) for row in expected)
    left = (
        f"{len(data.rows['train']) - len(expected)} of {len(data.rows['train'])} training windows"
    )
    assert f"{left} are left out" in capsys.readouterr().out
    assert next(iter(data.test_dataloader())).frames.shape[1] == 6

    data = prepared(biwi(tmp_path, samples="windows", following="row", origin="body"))
    data.trainer = type("Trainer", (), {"training": True})()  # type: ignore[assignment]
    whole = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert whole.target is not None
    assert not whole.target[:, :, 0].any()
    assert whole.target.any()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"samples": "recordings"}, r"data\.samples recordings none does; give data\.samples win"),
        ({"augmentation": {"reverse": 0.5}}, r"augmentation\.reverse changes the order of frames"),
        ({"augmentation": {"shuffle": True}}, r"augmentation\.shuffle changes the order of fra"),
    ],
)
def test_what_has_no_order_is_followed_by_nothing(settings: dict[str, Any], fault: str) -> None:
    if isinstance(vary := settings.get("augmentation"), dict):
        settings = {"augmentation": PoseAugmentation(**(vars(STILL) | vary))}
    with pytest.raises(InputError, match=fault):
        Biwi(following="row", **settings)


def test_windows_cut_beforehand_are_followed_by_rows_alone(tmp_path: Path) -> None:
    path = windows(tmp_path / "Datasets", "BIWI")
    data = prepared(Biwi(str(path), cache=str(tmp_path / "cache"), following="recording"))
    with pytest.raises(
        InputError, match=r"is followed by one of its recording, which windows that"
    ):
        data.train_dataloader()
    data = prepared(Biwi(str(path), cache=str(tmp_path / "cache"), following="row"))
    (batch,) = data.train_dataloader()
    assert batch.frames.shape == (4, 12, 20, 3)


def test_what_fills_no_batch_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = prepared(biwi(tmp_path, samples="windows", batch_size=9, keep_tail=False))
    count = len(data.rows["train"])
    capsys.readouterr()
    data.train_dataloader()
    assert f"{count % 9} of {count} training samples fill no batch and" in capsys.readouterr().out


def test_positions_are_measured_from_the_camera_or_from_the_body(tmp_path: Path) -> None:
    def batch(**settings: Any) -> GaitBatch:
        data = prepared(biwi(tmp_path, samples="windows", **settings))
        found: GaitBatch = next(iter(data.test_dataloader()))
        return data.on_after_batch_transfer(found, 0)

    camera, body = batch().frames, batch(origin="body").frames
    hips = camera[:, :, :1]
    assert torch.equal(body, camera - hips)
    assert hips[..., 2].any()
    assert not body[:, :, 0].any()


def test_windows_of_held_out_people_and_of_subsets(tmp_path: Path) -> None:
    data = prepared(biwi(tmp_path, samples="windows", validation="held_out", held_out=0.5))
    assert conditions(data, "train").keys() == conditions(data, "validate").keys() == {"train"}
    assert set(conditions(data, "validate")["train"]) == {"022"}
    assert set(conditions(data, "train")["train"]) == {"000"}
    assert len(data.rows["all"]) == len(data.sequences)
    data = prepared(biwi(tmp_path, samples="windows", validation="test", train_windows=2))
    assert data.rows["validate"].tolist() == data.rows["test"].tolist()
    (batch, *_) = data.train_dataloader()
    assert batch.row[::2].equal(batch.row[1::2])
    assert batch.frames[::2].equal(batch.frames[1::2])


def test_recordings_without_a_window_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = prepared(biwi(tmp_path, samples="windows", frames=16))
    short = data.open_store().sequences["length"] < 16
    kept = data.open_store().sequences["subject"].isin(["000", "022"])
    assert (short & kept).any()
    assert f"{(short & kept).sum()} recordings have fewer than data.frames 16 and so no window" in (
        caplog.text
    )
