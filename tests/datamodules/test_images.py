from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.datamodules import ImageDataModule, Silhouettes
from gaitbench.datamodules.base import Split
from gaitbench.datamodules.images import FrameSets
from gaitbench.errors import InputError
from gaitbench.image_transforms import FrameAugmentation
from gaitbench.video.crops import cropped, flow_input, gray_input
from tests.readers.test_silhouettes import masks, write

LENGTHS = (31, 40, 25, 24)
RNG = np.random.default_rng(0)
ARRAYS = {
    "gray": RNG.integers(0, 256, (sum(LENGTHS), 60, 80), dtype=np.uint8),
    "flow": RNG.integers(-900, 900, (sum(LENGTHS), 60, 80, 2)).astype(np.int16),
    "silhouette": RNG.integers(0, 256, (sum(LENGTHS), 64, 64), dtype=np.uint8),
    "boxes": np.sort(RNG.integers(0, 300, (sum(LENGTHS), 4)).astype(np.int16)),
}


class Tiny(ImageDataModule):
    """Two people who train and one who is tested; the second of their walks is too short."""

    dataset = "tiny"
    reader_version = 1

    def find_split(self, name):
        return Split(("001", "002"), ("003",))

    def store_key(self):
        return "0" * 64

    def read(self, writer):
        writer.append(ARRAYS)
        table = pd.DataFrame(
            {
                "start": np.cumsum(LENGTHS) - LENGTHS,
                "length": LENGTHS,
                "subject": ["001", "002", "003", "003"],
                "condition": "nm",
                "number": [1, 1, 1, 2],
                "view": 90,
                "first_frame": [3, 0, 0, 0],
                "width": [320, 320, 640, 320],
            }
        )
        writer.finish(table)


@pytest.fixture
def make(tmp_path):
    def make(training: bool = False, **settings):
        data = Tiny("tiny", "any", cache=str(tmp_path), **settings)
        data.setup("fit")
        data.trainer = SimpleNamespace(training=training)
        return data

    return make


def batches(data, loader):
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def test_windows_are_rows(make):
    data = make()
    table = data.sequences
    assert table["recording"].tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert table["first_frame"].tolist() == [3, 8, 0, 5, 10, 15, 0]
    assert data.rows["train"].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.rows["test"].tolist() == [6]
    assert data.skeleton == "gray-25x60x60"
    assert data.num_subjects == 2
    published = make(published_windows=True).sequences
    assert published["first_frame"].tolist() == [3, 8, 0, 5, 10]  # 15 + 25 ends with the walk


@pytest.mark.parametrize(("modality", "published"), [("gray", False), ("flow", True)])
def test_a_batch_holds_the_windows_cropped(make, modality, published):
    data = make(modality=modality, published_windows=published, predict="all")
    (batch,) = batches(data, data.predict_dataloader())
    table = data.sequences
    stored = torch.from_numpy(np.stack([ARRAYS[modality][s : s + 25] for s in table["start"]]))
    boxes = torch.from_numpy(ARRAYS["boxes"][table["start"] + 12 + published])
    width = torch.tensor([[320, 320, 640][row] for row in table["recording"]])
    moved = cropped(stored, boxes, width)
    expected = gray_input(moved) if modality == "gray" else flow_input(moved)
    assert batch.row.tolist() == [*range(len(table))]
    torch.testing.assert_close(batch.frames, expected, rtol=0, atol=0)
    assert batch.target is None


def test_a_teacher_sees_the_same_windows_varied_alike(make):
    varied = FrameAugmentation(warp=1, mirror=0.5, clip=0)
    data = make(True, teacher_modality="flow", frame_augmentation=varied, batch_size=6)
    torch.manual_seed(0)
    (raw,) = data.train_dataloader()
    batch = data.on_after_batch_transfer(raw, 0)
    data.trainer.training = False
    plain = data.on_after_batch_transfer(raw, 0)
    assert batch.frames.shape == (6, 25, 60, 60, 1)
    assert batch.target.shape == (6, 25, 60, 60, 2)
    warp = varied.draw(6, 60, 60, torch.Generator().manual_seed(raw.seed))
    assert 0 < warp.mirrored.sum() < 6
    torch.testing.assert_close(batch.frames, warp(plain.frames))
    torch.testing.assert_close(batch.target, warp(plain.target))
    assert not torch.equal(batch.frames, plain.frames)


def test_what_stands_still_can_be_left_out_of_gray_windows(make):
    plain, moving = make(), make(moving=True)
    assert moving.skeleton == f"{plain.skeleton}-moving"
    for whole, part in zip(
        batches(plain, plain.test_dataloader()),
        batches(moving, moving.test_dataloader()),
        strict=True,
    ):
        frames = whole.frames.double()
        expected = 4 * (frames - sum(frames.unbind(1))[:, None] / frames.shape[1])
        torch.testing.assert_close(part.frames.double(), expected, atol=1e-5, rtol=0)
        assert part.frames.abs().max() > 0.1
    with pytest.raises(InputError, match=r"data\.moving is of gray windows, .* flow; leave it out"):
        make(modality="flow", moving=True)
    with pytest.raises(InputError, match=r"mend data\.modality, data\.frames or data\.moving"):
        make(skeleton=moving.skeleton)


def test_other_tones_are_of_gray_frames_alone(make):
    varied = FrameAugmentation(warp=0, clip=0, tone=1)
    data = make(True, teacher_modality="flow", frame_augmentation=varied, batch_size=6)
    torch.manual_seed(0)
    (raw,) = data.train_dataloader()
    batch = data.on_after_batch_transfer(raw, 0)
    data.trainer.training = False
    plain = data.on_after_batch_transfer(raw, 0)
    curve = varied.toned(plain.frames, torch.Generator().manual_seed(raw.seed))
    torch.testing.assert_close(batch.frames, curve)
    assert (batch.frames - plain.frames).abs().flatten(1).amax(dim=1).min() > 0.1
    assert torch.equal(batch.target, plain.target)
    data = make(True, modality="flow", frame_augmentation=varied, batch_size=6)
    torch.manual_seed(0)
    (raw,) = data.train_dataloader()
    varied_flow = data.on_after_batch_transfer(raw, 0).frames
    data.trainer.training = False
    torch.testing.assert_close(varied_flow, data.on_after_batch_transfer(raw, 0).frames)


def test_signatures_of_the_same_windows(make, tmp_path):
    table = make(predict="all").sequences
    told = table.drop(columns="start").rename(columns={"length": "frames"})
    order = np.random.default_rng(1).permutation(len(told))
    values = np.arange(len(told) * 4, dtype=np.float32).reshape(-1, 4)
    folder = tmp_path / "predictions"
    folder.mkdir()
    np.save(folder / "embeddings.npy", values[order])
    told.iloc[order].to_csv(folder / "sequences.csv", index=False)
    data = make(True, signatures=str(tmp_path), batch_size=3)
    for batch in batches(data, data.train_dataloader()):
        np.testing.assert_array_equal(batch.target, values[batch.row])

    np.save(folder / "embeddings.npy", values[1:])
    told[1:].to_csv(folder / "sequences.csv", index=False)
    with pytest.raises(InputError, match=r"lacks 1 of 6 training windows, first 001-nm-01-090"):
        make(signatures=str(tmp_path))
    told[1:].drop(columns="first_frame").to_csv(folder / "sequences.csv", index=False)
    with pytest.raises(InputError, match="lacks the column first_frame"):
        make(signatures=str(tmp_path))
    with pytest.raises(InputError, match=r"holds no embeddings\.npy"):
        make(signatures=str(tmp_path / "absent"))


def written(folder, table, values):
    """What `predict` of a teacher leaves."""
    folder.mkdir()
    np.save(folder / "embeddings.npy", values)
    told = table.drop(columns="start").rename(columns={"length": "frames"})
    told.to_csv(folder / "sequences.csv", index=False)
    return str(folder)


def test_a_mirrored_window_has_a_signature_of_its_own(make, tmp_path):
    table = make().sequences
    plain = np.arange(len(table) * 4, dtype=np.float32).reshape(-1, 4)
    folders = {
        "signatures": written(tmp_path / "a", table, plain),
        "mirrored_signatures": written(tmp_path / "b", table, -plain),
    }
    varied = FrameAugmentation(warp=0.8, mirror=0.6, clip=0)
    data = make(True, **folders, frame_augmentation=varied, batch_size=6, validation="test")
    torch.manual_seed(0)
    (raw,) = data.train_dataloader()
    batch = data.on_after_batch_transfer(raw, 0)
    warp = varied.draw(6, 60, 60, torch.Generator().manual_seed(raw.seed))
    assert 0 < warp.mirrored.sum() < 6
    for row, turned, target in zip(batch.row, warp.mirrored, batch.target, strict=True):
        np.testing.assert_array_equal(target, -plain[row] if turned else plain[row])
    data.trainer.training = False
    for batch in batches(data, data.val_dataloader()):
        np.testing.assert_array_equal(batch.target, plain[batch.row.numpy()])

    with pytest.raises(InputError, match=r"mirror is 0\.6, and data\.signatures are of windows"):
        make(signatures=folders["signatures"], frame_augmentation=varied)
    with pytest.raises(InputError, match=r"give data\.signatures of the windows as they are"):
        make(mirrored_signatures=folders["signatures"])
    folders["mirrored_signatures"] = written(tmp_path / "c", table, plain[:, :3])
    with pytest.raises(InputError, match="vectors of different lengths"):
        make(**folders)


@pytest.mark.parametrize("modality", ["gray", "flow"])
def test_windows_may_be_shown_mirrored(make, modality):
    """Columns the other way round, and flow along x negated."""
    settings = {"modality": modality, "predict": "all", "teacher_modality": "flow"}
    (plain,), (shown,) = (
        batches(data, data.predict_dataloader())
        for data in (make(**settings), make(**settings, eval_mirror=True))
    )
    turned = FrameAugmentation(warp=1, shifts=(0,), zoom=0, mirror=1)
    warp = turned.draw(len(plain.row), 60, 60, torch.Generator())
    for before, after in ((plain.frames, shown.frames), (plain.target, shown.target)):
        for column in (0, 17, 59):
            sign = torch.tensor([-1.0, 1.0]) if before.shape[-1] == 2 else 1
            torch.testing.assert_close(after[:, :, :, column], before[:, :, :, 59 - column] * sign)
        torch.testing.assert_close(after, warp(before))


def test_batches_may_hold_as_much_of_each_condition(make):
    data = make(batches="conditions", batch_size=4)
    data.table["condition"] = ["cl", "nm", "nm", "nm", "nm", "nm", "nm"]
    (first, second) = data.train_dataloader()
    for batch in (first, second):
        assert (batch.row == 0).sum() == 2
        assert len(batch.row) == 4
    with pytest.raises(InputError, match=r"data\.batches conditions draws from all"):
        make(batches="conditions", sequences_per_subject=2)


def test_frames_as_sets():
    lengths = np.array([3, 200])
    drawn = FrameSets(30, "random", count=2).draw(lengths, 5)
    assert drawn.shape == (4, 30)
    assert set(drawn[0]) == {0, 1, 2}  # with replacement
    assert drawn.min() == 0
    assert drawn[2:].max() > 100
    assert (drawn < np.repeat(lengths, 2)[:, None]).all()
    np.testing.assert_array_equal(drawn, FrameSets(30, "random", count=2).draw(lengths, 5))
    whole = FrameSets(30).draw(lengths, 0)
    assert whole.shape == (2, 200)
    assert whole[0, :7].tolist() == [0, 1, 2, 0, 1, 2, 0]
    np.testing.assert_array_equal(whole[1], np.arange(200))


def test_settings_that_do_not_go_together(make):
    for settings, why in (
        ({"normalize": "pelvis"}, "data.normalize is made for poses"),
        ({"fill_empty": "all"}, "data.fill_empty"),
        ({"eval_windows": 3}, "data.eval_windows"),
        ({"samples": "recordings"}, "recordings takes silhouettes"),
        ({"hop": 0}, "data.hop is 0"),
        ({"teacher_modality": "flow", "signatures": "x"}, "leave one out"),
        ({"modality": "silhouette", "teacher_modality": "flow"}, "different sizes"),
        ({"modality": "gray", "teacher_modality": "silhouette"}, "different sizes"),
        ({"skeleton": "flow-25x60x60"}, "gives gray-25x60x60"),
        ({"frames": 41}, "too short|lower data.frames"),
    ):
        with pytest.raises(InputError, match=why):
            make(**settings)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    path = tmp_path_factory.mktemp("silhouettes")
    for subject, walk in (("001", "nm-01"), ("001", "cl-01"), ("075", "nm-01"), ("075", "nm-05")):
        for view in ("000", "090"):
            write(path / subject / walk / view, masks(5 + int(view) // 30))
    return path


def test_silhouettes_of_casia_b(tree, tmp_path):
    data = Silhouettes(str(tree), cache=str(tmp_path), batch_size=2, eval_batch_size=3)
    data.setup("fit")
    assert data.skeleton == "silhouette-64x44"
    assert data.num_subjects == 74
    assert set(data.sequences["subject"].iloc[data.rows["train"]]) == {"001"}
    data.trainer = SimpleNamespace(training=True)
    first = batches(data, data.train_dataloader())
    assert [batch.frames.shape for batch in first] == [(2, 30, 64, 44, 1)] * 2
    assert first[0].frames.max() == 1
    tests = batches(data, data.test_dataloader())
    assert [len(batch.frames) for batch in tests] == [3, 1]
    row = tests[0].row.tolist().index(int(data.rows["test"][0]))
    own = data.store.frames[data.sequences["start"].iloc[data.rows["test"][0]] :][:5]
    shown = tests[0].frames[row, :5, :, :, 0] * 255
    torch.testing.assert_close(shown, torch.tensor(own[:, :, 10:54]).float())
    report = data.report()
    assert report.kind == "images"
    assert report.remarks() == []
    shown = data.store.sequences
    data.store.sequences = shown.assign(dropped=[2, 1, 0, 0, 0, 0, 0, 0])
    assert data.report().remarks() == ["Frames left out as they show nobody: 3."]
    assert "show nobody: 3." in (data.store.path / "report.md").read_text()


def test_splits_of_silhouettes(tree, tmp_path):
    def split(name, path=tree):
        return Silhouettes(str(path), split=name, cache=str(tmp_path)).split

    assert len(split("62/62").test) == 62
    assert "005" in split("74/50").train
    assert "005" not in split("73/50").train
    assert len(split("73/50").train) == 73
    assert split("all").test == ("001", "075")
    write(tmp_path / "own" / "00300" / "00" / "000", masks(5))
    assert split(None, tmp_path / "own").test == ("00300",)
    with pytest.raises(InputError, match="holds 00300; give"):
        split("74/50", tmp_path / "own")
