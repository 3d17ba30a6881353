from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench.datamodules import Encodings
from gaitbench.errors import InputError
from gaitbench.readers.encodings import EncodingShape, read_encodings

T, H = 4, 5
TABLE = pd.DataFrame(
    {
        # two people with 20 and 7 training windows, a recording each, and 6 and 3 to test
        "subject": ["007"] * 20 + ["010"] * 7 + ["007"] * 6 + ["010"] * 3,
        "condition": ["train"] * 27 + ["A"] * 9,
        "number": 0,
        "view": 0,
        "frames": T,
        "recording": [0] * 20 + [1] * 7 + [2] * 6 + [3] * 3,
        "first_frame": [*range(20), *range(0, 14, 2), *range(6), *range(3)],
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    values = random.normal(size=(len(TABLE), 3 * T * H)).astype(np.float32)
    write(tmp_path, values, TABLE)
    return tmp_path


def write(folder: Path, values: Any, table: pd.DataFrame) -> None:
    np.save(folder / "embeddings.npy", values)
    table.to_csv(folder / "sequences.csv", index=False)


def opened(folder: Path, **settings: Any) -> Encodings:
    data = Encodings(**{"path": str(folder)} | settings)
    data.prepare_data()
    data.setup("fit")
    return data


def axis_major(folder: Path) -> np.ndarray:
    values: np.ndarray = np.load(folder / "embeddings.npy").reshape(-1, 3, T, H)
    return values


def test_encodings_stay_on_the_disk(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = opened(folder)
    assert isinstance(data.values[0].base, np.memmap)
    assert (data.skeleton, data.num_subjects, data.frames) == ("age-4x3x5", 2, 4)
    assert EncodingShape.named(data.skeleton) == (4, 3, 5)
    assert "encodings age-4x3x5 of 2 people: windows of train 27, A 9" in capsys.readouterr().out
    again = Encodings(str(folder), skeleton="age-4x3x5", frames=4)
    assert again.sequences["length"].tolist() == [4] * 36
    (folder / "predictions").mkdir()
    for name in ("embeddings.npy", "sequences.csv"):
        (folder / name).rename(folder / "predictions" / name)
    assert opened(folder).num_subjects == 2  # the folder of a run


def test_training_shows_frames_or_the_whole(folder: Path) -> None:
    values = axis_major(folder)
    for way, steps in (("frames", 1), ("sequences", T)):
        data = opened(folder, train_on=way, batch_size=10)
        seen = []
        for batch in data.train_dataloader():
            assert batch.frames.shape[1:] == (steps, 3, H)
            for frames, subject, row in zip(batch.frames, batch.subject, batch.row, strict=True):
                assert data.split.train[subject] == TABLE["subject"][int(row)]
                whole = values[int(row)].transpose(1, 0, 2)
                if way == "frames":
                    (step,) = np.flatnonzero((whole == frames[0].numpy()).all(axis=(1, 2)))
                    seen.append((int(row), int(step)))
                else:
                    assert np.array_equal(whole, frames)
                    seen.append((int(row), 0))
        assert sorted(seen) == [(row, step) for row in range(27) for step in range(T // steps)]
    for batch in data.test_dataloader():
        assert batch.row.tolist() == list(range(27, 36))
        assert np.array_equal(batch.frames, values[27:].transpose(0, 2, 1, 3))
    torch.manual_seed(0)
    data = opened(folder, order="once", keep_tail=False, train_on="sequences", batch_size=10)
    loader = data.train_dataloader()
    assert [len(batch.row) for batch in loader] == [10, 10]
    one = [batch.row.tolist() for batch in loader]
    loader.batch_sampler.set_epoch(1)  # type: ignore[union-attr]
    assert [batch.row.tolist() for batch in loader] == one


def test_the_end_of_each_persons_windows_is_held_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = opened(folder, validation="held_out", held_out=0.2)
    # of 20 the last 4 from frame 16 on, of 7 the last one from frame 12 on
    assert data.rows["validate"].tolist() == [16, 17, 18, 19, 26]
    # a window of 4 frames from 13 on reaches frame 16; one from 10 on reaches frame 13
    assert data.rows["train"].tolist() == [*range(13), *range(20, 25)]
    assert "4 training windows are left out, as they share frames with the 5 held out" in (
        capsys.readouterr().out
    )
    table = TABLE.drop(columns=["recording", "first_frame"]).assign(number=range(36))
    write(folder, axis_major(folder).reshape(36, -1), table)
    data = opened(folder, validation="held_out", held_out=0.2)
    assert data.rows["train"].tolist() == [*range(16), *range(20, 26)]
    assert opened(folder).rows["validate"].tolist() == []
    assert opened(folder, validation="test").rows["validate"].tolist() == list(range(27, 36))


def test_whole_batches_as_published(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = opened(folder, legacy_batching=True, batch_size=8)
    assert data.rows["train"].tolist() == [*range(16), *range(20, 27), 20]
    assert data.rows["test"].tolist() == list(range(27, 36))
    said = capsys.readouterr().out
    assert "train: 4 windows fill no batch and are left out (data.legacy_batching), 1 are" in said
    data = opened(folder, legacy_batching=True, batch_size=4)
    assert data.rows["test"].tolist() == [27, 28, 29, 30, 33, 34, 35]
    assert len(data.rows["all"]) == 36


def test_encodings_of_several_networks_stand_side_by_side(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    wide = np.random.default_rng(1).normal(size=(len(TABLE), 3 * T * 2)).astype(np.float32)
    write(other, wide, TABLE)
    data = opened(folder, path=[str(folder), str(other)], train_on="frames", batch_size=10)
    assert (data.skeleton, len(data.values)) == ("age-4x3x7", 2)
    assert all(isinstance(values.base, np.memmap) for values in data.values)
    one, two = axis_major(folder), wide.reshape(-1, 3, T, 2)
    for batch in data.test_dataloader():
        expected = np.concatenate([one[batch.row], two[batch.row]], axis=-1)
        assert np.array_equal(batch.frames, expected.transpose(0, 2, 1, 3))
    shown = 0
    for batch in data.train_dataloader():
        for frame, row in zip(batch.frames[:, 0], batch.row, strict=True):
            whole = np.concatenate([one[row], two[row]], axis=-1)
            shown += int((whole.transpose(1, 0, 2) == frame.numpy()).all(axis=(1, 2)).sum())
    assert shown == 27 * T
    assert data.store_key() != opened(folder).store_key()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"subject": ["010"] * 36},
            r"other and .* differ in the window of row 0, and encodings si",
        ),
        ({"first_frame": [*TABLE["first_frame"][:-1], 9]}, "differ in the window of row 35"),
        ({"more": 0}, "differ in columns or lengths of windows"),
        ({"frames": T // 2}, "differ in columns or lengths of windows"),
    ],
)
def test_encodings_of_other_windows_stand_nowhere(
    change: dict[str, Any], fault: str, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other, axis_major(folder).reshape(36, -1), TABLE.assign(**change))
    with pytest.raises(InputError, match=fault):
        Encodings([str(folder), str(other)])
    write(other, axis_major(folder).reshape(36, -1)[:35], TABLE[:35])
    with pytest.raises(InputError, match=r"differ in the number of windows, 35 and 36, and"):
        Encodings([str(folder), str(other)])
    with pytest.raises(InputError, match=r"data\.path names no folder; name one"):
        Encodings([])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"subject": ["003"] * 36, "condition": ["A"] * 36}, "has test windows of 003 but none"),
        ({"frames": [4] * 35 + [5]}, "vectors of 60 values of 4 to 5 frames"),
        ({"frames": [7] * 36}, "vectors of 60 values of 7 to 7 frames"),
        ({"number": [0.5] * 36}, "has a value in column number that is no whole number"),
        ({"view": None}, "lacks the column view; predict again"),
    ],
)
def test_damaged_tables_are_refused(change: dict[str, Any], fault: str, folder: Path) -> None:
    table = TABLE.assign(**{k: v for k, v in change.items() if v is not None})
    table = table.drop(columns=[k for k, v in change.items() if v is None])
    write(folder, axis_major(folder).reshape(36, -1), table)
    with pytest.raises(InputError, match=fault):
        _ = Encodings(str(folder)).num_subjects


def test_damaged_numbers_are_refused(folder: Path) -> None:
    values = axis_major(folder).reshape(36, -1)
    for wrong, fault in (
        (values[:35], r"has shape \(35, 60\) and sequences.csv beside it has 36 rows"),
        (values.astype(np.float64), "holds no float32 numbers"),
        (values[:0], "holds no float32 numbers"),
    ):
        np.save(folder / "embeddings.npy", wrong)
        with pytest.raises(InputError, match=fault):
            read_encodings([folder])
    np.save(folder / "embeddings.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="is no plain numpy array"):
        read_encodings([folder])
    values[17, 3] = np.nan
    np.save(folder / "embeddings.npy", values)
    with pytest.raises(InputError, match="has an encoding that is not finite in row 17; predict"):
        Encodings(str(folder)).prepare_data()
    (folder / "embeddings.npy").unlink()
    with pytest.raises(InputError, match=r"does not exist; give as data\.path a folder that"):
        Encodings(str(folder))


def test_other_shapes_and_empty_parts_are_refused(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds encodings age-4x3x5 .*, not data\.skeleton age-6x"
    ):
        Encodings(str(folder), skeleton="age-6x3x256")
    with pytest.raises(InputError, match=r"age-4x3x5 .*, not data\.frames 6; give the folder"):
        Encodings(str(folder), frames=6)
    with pytest.raises(InputError, match=r"the data are coco17, no gait encodings; give"):
        EncodingShape.named("coco17")
    write(folder, axis_major(folder)[:27].reshape(27, -1), TABLE[:27])
    with pytest.raises(InputError, match=r"has no window to test; predict with"):
        opened(folder).test_dataloader()
