"""What every dataset shares, on an invented one whose poses say where they are from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from gaitbench.batch import BatchRequest, GaitBatch, Share
from gaitbench.datamodules.base import GaitDataModule, SequenceWindows, Split
from gaitbench.errors import InputError
from gaitbench.geometry import convert, fill_empty_joints, pelvis_normalized
from gaitbench.report import DataReport
from gaitbench.samplers import IndependentBatches, RandomBatches, SubjectBatches
from gaitbench.skeleton import COCO17, OPENPOSE18
from gaitbench.store import StoreWriter
from gaitbench.transforms import PoseAugmentation
from gaitbench.windows import TiledWindow, Window

PEOPLE = ("ann", "ben", "cat", "dan", "eva", "yan", "zoe", "stranger")
CONDITIONS = ("nm", "nm", "bg", "cl")  # of each person's walks
LENGTHS = (30, 12, 8, 3, 9, 20, 11)  # in turn


def invented_table() -> pd.DataFrame:
    """Four walks a person."""
    table = pd.DataFrame(
        [
            {"subject": subject, "condition": condition, "number": i + 1, "view": 18 * i}
            for subject in PEOPLE
            for i, condition in enumerate(CONDITIONS)
        ]
    )
    length = np.resize(LENGTHS, len(table))
    table.insert(0, "start", np.cumsum(length) - length)
    table.insert(1, "length", length)
    return table


TABLE = invented_table()
LENGTH = TABLE["length"].to_numpy()


class Invented(GaitDataModule):
    """x of a joint is 100 times its row, y its frame; joint 3 is empty in every frame."""

    dataset = "invented"
    native_skeleton = "coco17"
    reader_version = 1
    # absent has no sequence, and the order is not that of the alphabet
    splits: ClassVar = {
        "usual": Split(("eva", "absent", "ann", "ben", "cat", "dan"), ("yan", "zoe")),
        "nobody": Split(("absent",), ("absent too",)),
    }
    protocols: ClassVar = {}
    default_protocols = ()

    def __init__(self, path: Path, **settings: Any) -> None:
        given = {"split": "usual", "frames": 10, "batch_size": 6, "eval_batch_size": 3}
        super().__init__(str(path / "source"), cache=str(path / "cache"), **{**given, **settings})

    @property
    def expected(self) -> dict[tuple[str, int], int]:
        return {("nm", 0): 9, ("nm", 18): 8, ("bg", 36): 8, ("cl", 54): 8}

    def sources(self) -> list[Path]:
        return [self.path]

    def read(self, writer: StoreWriter) -> None:
        poses = np.zeros((LENGTH.sum(), 17, 3), np.float32)
        poses[..., 0] = 100 * (np.repeat(np.arange(len(TABLE)), LENGTH) + 1)[:, None]
        poses[..., 1] = np.concatenate([np.arange(n) for n in LENGTH])[:, None]
        poses[..., 2] = 0.5
        poses[:, 3] = 0
        writer.append(poses)
        writer.finish(TABLE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("invented")
    (place / "source").write_text("of invented people")
    return place


def prepared(place: Path, stage: str = "fit", **settings: Any) -> Invented:
    data = Invented(place, **settings)
    data.setup(stage)
    return data


def people(data: Invented, part: str) -> list[str]:
    return sorted(data.sequences["subject"].iloc[data.rows[part]].unique())


def epoch(loader: Any, number: int = 0) -> list[GaitBatch]:
    loader.batch_sampler.sampler.set_epoch(number)
    return list(loader)


def same(first: list[GaitBatch], second: list[GaitBatch]) -> bool:
    return len(first) == len(second) and all(
        a.seed == b.seed and all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
        for a, b in zip(first, second, strict=True)
    )


# Splits.


def test_the_split_decides_who_trains_and_who_is_tested(place: Path) -> None:
    data = prepared(place)
    assert people(data, "train") == ["ann", "ben", "cat", "dan", "eva"]
    assert people(data, "test") == ["yan", "zoe"]
    assert people(data, "all") == sorted(PEOPLE)
    assert {part: len(rows) for part, rows in data.rows.items()} == {
        "train": 20, "validate": 0, "test": 8, "all": 32,
    }  # fmt: skip
    assert data.num_subjects == 6
    assert data.val_dataloader() == []


@pytest.mark.parametrize(
    ("share", "aside"), [(0.2, ["eva"]), (0.35, ["dan", "eva"]), (0.5, ["dan", "eva"])]
)
def test_the_last_training_subjects_are_held_out(place: Path, share: float, aside: list) -> None:
    data = prepared(place, validation="held_out", held_out=share)
    assert people(data, "validate") == aside
    assert people(data, "train") == [
        p for p in ["ann", "ben", "cat", "dan", "eva"] if p not in aside
    ]
    assert people(data, "test") == ["yan", "zoe"]
    found = torch.cat([batch.row for batch in data.val_dataloader()])
    assert found.tolist() == data.rows["validate"].tolist()


def test_validation_on_the_test_subjects(place: Path) -> None:
    data = prepared(place, validation="test")
    assert data.rows["validate"].tolist() == data.rows["test"].tolist()
    assert people(data, "train") == ["ann", "ben", "cat", "dan", "eva"]
    assert same(list(data.val_dataloader()), list(data.test_dataloader()))


@pytest.mark.parametrize(("predict", "count"), [("test", 8), ("train", 20), ("all", 32)])
def test_prediction_embeds_whom_it_is_told_to(place: Path, predict: str, count: int) -> None:
    data = prepared(place, predict=predict)
    row = torch.cat([batch.row for batch in data.predict_dataloader()])
    assert row.tolist() == data.rows[predict].tolist()
    assert len(row) == count


@pytest.mark.parametrize("fewest", [0, 9, 12])
def test_short_sequences_are_left_out_everywhere(place: Path, fewest: int) -> None:
    data = prepared(place, min_frames=fewest)
    for part, names in (("train", PEOPLE[:5]), ("test", PEOPLE[5:7]), ("all", PEOPLE)):
        expected = np.flatnonzero(TABLE["subject"].isin(names) & (fewest <= LENGTH))
        assert data.rows[part].tolist() == expected.tolist()


def test_no_sequence_left_is_said_with_what_is_there(place: Path) -> None:
    data = prepared(place, min_frames=31)
    for loader in (data.train_dataloader, data.test_dataloader, data.predict_dataloader):
        with pytest.raises(InputError) as raised:
            loader()
        message = str(raised.value)
        assert (
            f"sequence is left in {place / 'source'}: it holds 8 subjects (ann to zoe)" in message
        )
        assert "shorter than min_frames 31" in message
    with pytest.raises(InputError, match="no train sequence is left"):
        prepared(place, split="nobody").train_dataloader()


def test_settings_that_cannot_be_are_refused(place: Path) -> None:
    with pytest.raises(
        InputError, match=r"data\.split '74/50' is unknown; choose .* usual, nobody"
    ):
        Invented(place, split="74/50")
    for share in (0, 1, -0.5, 2):
        with pytest.raises(InputError, match=r"data\.held_out is .*; give a share between 0 and 1"):
            Invented(place, held_out=share)


def test_a_split_may_stand_in_a_file(place: Path) -> None:
    class Listed(Invented):
        splits: ClassVar = {}
        asked: ClassVar = []

        def find_split(self, name: str) -> Split:
            self.asked.append(name)
            return Split(("zoe", "gone"), ("ann",))

    data = Listed(place, split="of the list")
    assert Listed.asked == []  # the file may not be there yet
    assert data.num_subjects == 2
    data.setup("fit")
    assert (people(data, "train"), people(data, "test")) == (["zoe"], ["ann"])
    assert Listed.asked == ["of the list"]


def test_training_subjects_are_counted_first_in_the_order_of_the_split(place: Path) -> None:
    data = prepared(place)
    codes = dict(zip(data.sequences["subject"], data.subject_codes.tolist(), strict=True))
    assert codes == {
        "eva": 0, "ann": 2, "ben": 3, "cat": 4, "dan": 5, "stranger": 6, "yan": 7, "zoe": 8,
    }  # fmt: skip
    assert data.subject_codes.dtype == np.int64
    for batch in (*data.train_dataloader(), *data.predict_dataloader()):
        assert batch.subject.tolist() == data.subject_codes[batch.row].tolist()


# Batches.


def test_fields_of_a_batch(place: Path) -> None:
    data = prepared(place, frames=7)
    batches = [*data.train_dataloader(), *data.test_dataloader()]
    assert [len(batch.row) for batch in batches] == [6, 6, 6, 2, 3, 3, 2]
    for batch in batches:
        assert isinstance(batch, GaitBatch)
        assert batch.frames.shape == (len(batch.row), 7, 17, 3)
        assert (batch.frames.dtype, batch.frames.is_contiguous()) == (torch.float32, True)
        assert batch.subject.shape == batch.row.shape == (len(batch.row),)
        assert batch.subject.dtype == batch.row.dtype == torch.int64
        assert isinstance(batch.seed, int)


def assert_from_its_row(batch: GaitBatch) -> None:
    x = batch.frames[..., 0]
    assert torch.equal(x[..., 3], torch.zeros_like(x[..., 3]))
    own = 100 * (batch.row[:, None] + 1).expand_as(x[..., 0])
    for joint in (0, 1, 16):
        assert torch.equal(x[..., joint], own.float())


def test_evaluation_shows_the_centre_of_each_sequence(place: Path) -> None:
    data = prepared(place, predict="all")
    for batch in data.predict_dataloader():
        assert_from_its_row(batch)
        expected = Window(10).draw(LENGTH[batch.row], seed=0)
        assert batch.frames[:, :, 0, 1].tolist() == expected.tolist()
    first, second = list(data.test_dataloader()), epoch(data.test_dataloader(), 5)
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, second, strict=True))


def test_training_shows_random_windows_of_every_sequence(place: Path) -> None:
    data = prepared(place)
    loader = data.train_dataloader()
    assert isinstance(loader.batch_sampler, RandomBatches)
    starts, backwards = set(), set()
    for number in range(12):
        batches = epoch(loader, number)
        assert sorted(torch.cat([b.row for b in batches]).tolist()) == data.rows["train"].tolist()
        for batch in batches:
            assert_from_its_row(batch)
            y = batch.frames[:, :, 0, 1]
            assert (y < torch.tensor(LENGTH[batch.row])[:, None]).all()
            long = y[LENGTH[batch.row] == 30]
            starts |= set(long.amin(dim=1).tolist())
            backwards |= set((long[:, 0] > long[:, 1]).tolist())
    assert len(starts) > 8
    assert backwards == {False, True}
    forwards = prepared(place, augmentation=PoseAugmentation(reverse=0.0)).train_dataloader()
    for batch in forwards:
        y = batch.frames[LENGTH[batch.row] == 30, :, 0, 1]
        assert (y.diff(dim=1) == 1).all()


def test_shuffled_windows(place: Path) -> None:
    shuffling = PoseAugmentation(shuffle=True)
    steps = [
        batch.frames[LENGTH[batch.row] == 30, :, 0, 1].diff(dim=1).abs()
        for batch in prepared(place, augmentation=shuffling).train_dataloader()
    ]
    assert torch.cat(steps).max() > 1


@pytest.mark.parametrize("last", [False, True])
def test_the_last_window_on_request(place: Path, last: bool) -> None:
    vary = PoseAugmentation(reverse=0.0, last_window=last)
    loader = prepared(place, frames=29, augmentation=vary).train_dataloader()
    starts = set()
    for number in range(6):
        for batch in epoch(loader, number):
            starts |= set(batch.frames[LENGTH[batch.row] == 30, 0, 0, 1].tolist())
    assert starts == ({0.0, 1.0} if last else {0.0})


def test_several_windows_of_a_training_sequence(place: Path) -> None:
    torch.manual_seed(0)
    data = prepared(place, train_windows=2)
    batches = [batch for number in range(8) for batch in epoch(data.train_dataloader(), number)]
    plain = [b for n in range(8) for b in epoch(prepared(place).train_dataloader(), n)]
    directions, places = set(), set()
    for batch, one in zip(batches, plain, strict=True):
        assert batch.frames.shape == (2 * len(one.row), 10, 17, 3)
        # the same sequences, each twice, side by side
        assert batch.row.tolist() == one.row.repeat_interleave(2).tolist()
        assert batch.subject.tolist() == one.subject.repeat_interleave(2).tolist()
        assert_from_its_row(batch)
        y = batch.frames[:, :, 0, 1].unflatten(0, (-1, 2))
        long = torch.from_numpy(LENGTH[one.row]) == 30
        directions |= {tuple(pair) for pair in (y[long, :, 1] > y[long, :, 0]).tolist()}
        places |= {len(set(pair)) for pair in y[long].amin(dim=2).tolist()}
    # the two go their own ways
    assert directions == {(True, True), (True, False), (False, True), (False, False)}
    assert 2 in places
    assert all(len(b.row) <= 3 for b in data.test_dataloader())  # in training only


def test_windows_of_a_sequence_vary_independently(place: Path) -> None:
    data = prepared(place, train_windows=2)
    batch = next(iter(data.train_dataloader()))
    batch = batch._replace(frames=batch.frames[:1].expand_as(batch.frames).contiguous())
    varied = arrived(data, batch, training=True).frames
    assert not any(torch.equal(varied[i], varied[i + 1]) for i in range(0, len(varied), 2))


def test_evaluation_in_random_order(place: Path) -> None:
    usual = list(prepared(place).test_dataloader())
    first, again = (list(prepared(place, eval_shuffle=True).test_dataloader()) for _ in range(2))
    assert same(first, again)
    moved = 0
    for batch, one in zip(first, usual, strict=True):
        assert batch.row.tolist() == one.row.tolist()
        y, expected = batch.frames[:, :, 0, 1], one.frames[:, :, 0, 1]
        assert torch.equal(y.sort(dim=1).values, expected.sort(dim=1).values)
        moved += int((y != expected).any(dim=1).sum())
    assert moved == 8  # of all test sequences


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 2 worker processes",  # on a single core
    "ignore:This process .* is multi-threaded",  # from Python 3.12 on
)
def test_workers_give_the_batches_of_the_main_process(place: Path) -> None:
    torch.manual_seed(3)
    alone = prepared(place).train_dataloader()
    helped = prepared(place, num_workers=2).train_dataloader()
    assert (alone.num_workers, helped.num_workers) == (0, 2)
    for number in range(2):
        assert same(epoch(alone, number), epoch(helped, number))


def test_the_run_s_seed_decides_the_batches(place: Path) -> None:
    def batches(seed: int, number: int = 0) -> list[GaitBatch]:
        torch.manual_seed(seed)
        return epoch(prepared(place).train_dataloader(), number)

    first = batches(1)
    torch.rand(5)  # what else a run draws does not matter
    assert same(first, batches(1))
    assert not same(first, batches(2))
    assert not same(first, batches(1, number=1))
    assert same(batches(1, number=1), batches(1, number=1))


def test_subjects_times_sequences(place: Path) -> None:
    data = prepared(place, sequences_per_subject=3, balance_conditions=True)
    loader = data.train_dataloader()
    assert isinstance(loader.batch_sampler, SubjectBatches)
    for batch in epoch(loader):
        subject = batch.subject.reshape(2, 3)
        assert (subject == subject[:, :1]).all() and subject[0, 0] != subject[1, 0]
        condition = data.sequences["condition"].to_numpy()[batch.row].reshape(2, 3)
        assert [sorted(names) for names in condition] == [["bg", "cl", "nm"]] * 2
    loose = prepared(place, sequences_per_subject=3).train_dataloader()
    condition = [data.sequences["condition"].iloc[b.row.tolist()].tolist() for b in epoch(loose)]
    assert any(names.count("nm") > 2 for names in condition)
    with pytest.raises(InputError, match="no multiple of sequences_per_subject 4"):
        prepared(place, sequences_per_subject=4).train_dataloader()


def test_one_request_is_one_gather(place: Path) -> None:
    data = prepared(place)
    windows = SequenceWindows(data.open_store(), data.subject_codes, Window(4, "random"))
    assert len(windows) == len(TABLE)
    rows = np.array([5, 0, 5])
    first, again = (windows.__getitems__(BatchRequest(rows, seed=8)) for _ in range(2))
    assert same([first], [again])
    assert first.row.tolist() == rows.tolist() and first.seed == 8
    assert_from_its_row(first)


def test_processes_share_the_windows_of_one(place: Path) -> None:
    """Also where there are two of each sequence, and where few sequences are left."""
    data = prepared(place)
    for window in (Window(4, "random", shuffle=True), TiledWindow(4, "random", count=2)):
        windows = SequenceWindows(data.open_store(), data.subject_codes, window)
        rows = np.array([5, 0, 5, 3, 2])
        whole = windows.__getitems__(BatchRequest(rows, seed=8))
        assert whole.share is None and whole.total == 5 * window.count
        parts = [
            windows.__getitems__(BatchRequest(rows, 8, Share(((0, 2), (2, 3)), rank)))
            for rank in range(2)
        ]
        assert [part.total for part in parts] == [whole.total] * 2
        assert torch.equal(torch.cat([part.frames for part in parts]), whole.frames)
        assert torch.equal(torch.cat([part.row for part in parts]), whole.row)


def test_how_a_batch_is_shared_out_is_said_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(rank: int, **settings: Any) -> str:
        monkeypatch.setattr("gaitbench.datamodules.base.process_rank", lambda: (rank, 2))
        data = prepared(place, **settings)
        capsys.readouterr()
        data._tell_shares()
        return capsys.readouterr().out

    assert told(0, batch_size=6) == (
        "training batch: 6 sequences over all 2 processes; each takes 3\n"
    )
    assert told(0, batch_size=12, sequences_per_subject=3) == (
        "training batch: 12 sequences over all 2 processes, 4 people x 3; each takes 6 "
        "(2 people x 3)\n"
    )
    assert told(1, batch_size=6) == ""
    with pytest.raises(InputError, match="give 4 or 6"):
        told(1, batch_size=5)


def test_tiled_windows(place: Path) -> None:
    """In training and in evaluation; with the pace, permutation and loss that are asked for."""
    vary = PoseAugmentation(pace="reference", permutation=0.5, permutation_size=2, last_window=True)
    data = prepared(place, crop="tiled", augmentation=vary, train_windows=2)
    for batch in data.train_dataloader():
        window = TiledWindow(
            10, "random", reverse=0.5, include_last=True, count=2, pace="reference",
            permutation=0.5, permutation_size=2,
        )  # fmt: skip
        expected = window.draw(LENGTH[batch.row[::2]], batch.seed)
        assert batch.frames[:, :, 0, 1].tolist() == expected.tolist()
    for batch in data.test_dataloader():
        expected = TiledWindow(10, "center").draw(LENGTH[batch.row], batch.seed)
        assert batch.frames[:, :, 0, 1].tolist() == expected.tolist()
    for batch in prepared(place, crop="tiled", eval_windows=3).test_dataloader():
        expected = TiledWindow(10, "spread", count=3).draw(LENGTH[batch.row[::3]], batch.seed)
        assert batch.frames[:, :, 0, 1].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "vary", [{"pace": "reference"}, {"permutation": 0.5}, {"frame_dropout": 0.1}]
)
def test_what_tiled_windows_alone_do_is_refused_elsewhere(place: Path, vary: dict) -> None:
    (name,) = vary
    with pytest.raises(InputError, match=rf"augmentation\.{name} varies windows of data\.crop til"):
        Invented(place, augmentation=PoseAugmentation(**vary))


def test_pictures_are_not_turned_in_space(place: Path) -> None:
    with pytest.raises(InputError, match=r"augmentation\.turn turns walks about the vertical, for"):
        Invented(place, augmentation=PoseAugmentation(turn=5.0))


def test_batches_drawn_independently(place: Path) -> None:
    data = prepared(place, batches="independent", batch_size=4, train_windows=2)
    loader = data.train_dataloader()
    assert isinstance(loader.batch_sampler, IndependentBatches)
    batches = epoch(loader)
    assert [len(batch.row) for batch in batches] == [8, 8, 8]  # 20 rows, 8 windows a batch
    with pytest.raises(InputError, match=r"data\.batches independent draws from all sequences"):
        Invented(place, batches="independent", sequences_per_subject=2)


# Subsets.


def test_no_subset_is_all(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared(place).train_dataloader()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "rows", "subjects"),
    [
        ({"fraction": 0.5}, 10, 5),
        ({"fraction": 0.01}, 5, 5),
        ({"fraction": 0.4, "fraction_of": "subjects"}, 8, 2),
        ({"fraction": 0.3, "fraction_of": "sequences"}, 6, None),
        ({"fraction": 0.4, "fraction_of": "subjects", "validation": "held_out"}, 8, 2),
        ({"fraction": 0.5, "min_frames": 10}, None, 5),
    ],
)
def test_a_fraction_of_the_training_rows(
    place: Path, settings: dict[str, Any], rows: int | None, subjects: int | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = prepared(place, **settings)
    whole = prepared(place, **{**settings, "fraction": 1.0})
    assert set(data.rows["train"]) <= set(whole.rows["train"])
    for part in ("validate", "test", "all"):
        assert np.array_equal(data.rows[part], whole.rows[part])
    assert rows in (None, len(data.rows["train"]))
    assert subjects in (None, len(people(data, "train")))
    assert (np.diff(data.rows["train"]) > 0).all()
    again = prepared(place, **settings)
    assert np.array_equal(again.rows["train"], data.rows["train"])
    drawn = {tuple(prepared(place, **settings, subset_seed=s).rows["train"]) for s in range(8)}
    assert len(drawn) > 1
    data.train_dataloader()
    said = f"training on {len(data.rows['train'])} sequences of {len(people(data, 'train'))} subj"
    assert capsys.readouterr().out.startswith(said)


def test_runs_are_of_each_subject_and_view(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(place, runs=1)  # each walk of a person has another view
    assert len(data.rows["train"]) == 20
    table = data.sequences.assign(view=[0, 0, 0, 90] * 8)
    monkeypatch.setattr(Invented, "sequences", property(lambda self: table))
    for runs, count in ((1, 10), (2, 15), (3, 20), (0, 20)):
        rows = prepared(place, runs=runs).rows["train"]
        assert len(rows) == count
        pairs = table.iloc[rows].groupby(["subject", "view"]).size()
        assert pairs.max() <= (runs or 3)
    both = prepared(place, runs=2, fraction=0.34).rows["train"]
    assert table["subject"].iloc[both].value_counts().tolist() == [1] * 5


@pytest.mark.parametrize("settings", [{"runs": -1}, {"subset_seed": -1}, {"fraction": 0.0}])
def test_subsets_that_cannot_be_are_refused(place: Path, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(InputError, match=rf"data\.{name} is {settings[name]}"):
        Invented(place, **settings)


# Soft attributes.


def labels(place: Path, text: str) -> str:
    path = place / f"labels-{abs(hash(text))}.csv"
    path.write_text(text)
    return str(path)


EVERYONE = (
    "subject,gender,Backpack\nann,1,.5\nben,0,.25\ncat,1,0\ndan,0,1\neva,1,1\nyan,0,0\nzoe,1,.75\n"
)


def test_without_labels_there_are_no_attributes(place: Path) -> None:
    data = prepared(place)
    assert data.attributes == ()
    assert next(iter(data.train_dataloader())).attributes is None


def test_labels_reach_batch_and_table(place: Path) -> None:
    data = prepared(place, labels=labels(place, EVERYONE), train_windows=2, predict="all")
    assert data.attributes == ("Female", "Backpack")
    known = pd.read_csv(data.labels).set_index("subject")
    values = data.attribute_values
    assert (values.dtype, values.shape) == (np.float32, (32, 2))
    assert values.flags.c_contiguous
    for batch in data.train_dataloader():
        assert batch.attributes.shape == (len(batch.row), 2)
        who = data.sequences["subject"].iloc[batch.row]
        assert np.array_equal(batch.attributes, known.loc[who].to_numpy(np.float32))
    strangers = data.sequences["subject"] == "stranger"
    assert data.sequences.loc[strangers, "Female"].isna().all()
    assert data.sequences.loc[~strangers, "Female"].notna().all()
    assert list(data.sequences)[-2:] == ["Female", "Backpack"]
    varied = arrived(data, batch, training=True)
    assert torch.equal(varied.attributes, batch.attributes)


def test_everybody_who_takes_part_is_labelled(place: Path) -> None:
    with pytest.raises(InputError, match="has no line for subject ann, who is trained on or test"):
        prepared(place, labels=labels(place, EVERYONE.replace("ann,1,.5\n", "")))
    with pytest.raises(InputError, match="has no line for subject zoe"):
        prepared(place, labels=labels(place, EVERYONE.replace("zoe", "zoë")))


# What happens on the device.

STILL = PoseAugmentation(
    reverse=0.0, swap_sides=0.0, joint_noise=0.0, point_noise=0.0, move=(0.0, 0.0)
)


def arrived(data: Invented, batch: GaitBatch, training: bool | None) -> GaitBatch:
    """The batch after its transfer, within or without a run."""
    data.trainer = None if training is None else SimpleNamespace(training=training)
    return data.on_after_batch_transfer(batch, 0)


def test_poses_vary_in_training_only(place: Path) -> None:
    data = prepared(place)
    batch = next(iter(data.train_dataloader()))
    before = batch.frames.clone()
    varied = arrived(data, batch, training=True)
    generator = torch.Generator().manual_seed(batch.seed)
    assert torch.equal(varied.frames, PoseAugmentation()(before, data.layout, generator))
    assert not torch.equal(varied.frames, before)
    assert torch.equal(varied.frames, arrived(data, batch, training=True).frames)
    other = arrived(data, batch._replace(seed=batch.seed + 1), training=True)
    assert not torch.equal(varied.frames, other.frames)
    assert varied[1:] == batch[1:]
    for training in (False, None):
        assert torch.equal(arrived(data, batch, training).frames, before)
    assert torch.equal(batch.frames, before)


@pytest.mark.parametrize(
    ("mode", "in_training", "in_test"),
    [("none", False, False), ("test", False, True), ("all", True, True)],
)
def test_empty_joints_are_filled(place: Path, mode: str, in_training: bool, in_test: bool) -> None:
    data = prepared(place, fill_empty=mode, augmentation=STILL)
    batch = next(iter(data.test_dataloader()))
    filled = fill_empty_joints(batch.frames)
    assert not torch.equal(filled, batch.frames)
    for training, fills in ((True, in_training), (False, in_test), (None, in_test)):
        found = arrived(data, batch, training).frames
        assert torch.equal(found, filled if fills else batch.frames)


@pytest.mark.parametrize("use", ["reference", "valid"])
def test_joints_are_filled_with_the_mean_asked_for(place: Path, use: str) -> None:
    data = prepared(place, fill_empty="all", fill_with=use)
    batch = next(iter(data.test_dataloader()))
    found = arrived(data, batch, training=False).frames
    assert torch.equal(found, fill_empty_joints(batch.frames, use))
    # all joints but one stand at the same x
    own = batch.frames[..., 0, 0]
    torch.testing.assert_close(found[..., 3, 0], own * (1 if use == "valid" else 16 / 17))


def test_the_method_sees_the_layout_asked_for(place: Path) -> None:
    """Converted first, then filled, then varied; the store keeps what was published."""
    plain, data = prepared(place), prepared(place, skeleton="openpose18", fill_empty="all")
    assert (plain.skeleton, plain.layout) == ("coco17", COCO17)
    assert (data.skeleton, data.layout) == ("openpose18", OPENPOSE18)
    assert data.open_store().path == plain.open_store().path
    assert data.open_store().info.skeleton == "coco17"
    batch = next(iter(data.train_dataloader()))
    assert batch.frames.shape[2] == 17
    shown = fill_empty_joints(convert(batch.frames, COCO17, OPENPOSE18))
    assert torch.equal(arrived(data, batch, training=False).frames, shown)
    generator = torch.Generator().manual_seed(batch.seed)
    varied = arrived(data, batch, training=True).frames
    assert torch.equal(varied, data.augmentation(shown, OPENPOSE18, generator))


def test_a_layout_that_poses_cannot_have_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="skeleton 'h36m' is unknown; choose one of coco17"):
        Invented(place, skeleton="h36m")
    monkeypatch.setattr(Invented, "native_skeleton", "openpose18")
    assert Invented(place, skeleton="coco17").skeleton == "coco17"
    assert Invented(place).skeleton == "openpose18"


def test_pixels_become_units_of_the_body(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Converted, filled, normalised, turned, and then varied."""
    data = prepared(place, normalize="pelvis", skeleton="openpose18", fill_empty="all")
    assert data.normalized and not prepared(place).normalized
    assert not prepared(place, normalize="none").normalized
    batch = next(iter(data.train_dataloader()))
    batch = batch._replace(frames=batch.frames + torch.rand(batch.frames.shape))
    before = batch.frames.clone()
    known = fill_empty_joints(convert(before, COCO17, OPENPOSE18))
    shown = pelvis_normalized(known, OPENPOSE18) * torch.tensor([1.0, -1.0, 1.0])
    assert torch.equal(arrived(data, batch, training=False).frames, shown)
    assert torch.equal(batch.frames, before)
    generator = torch.Generator().manual_seed(batch.seed)
    varied = arrived(data, batch, training=True).frames
    assert torch.equal(varied, data.augmentation(shown, OPENPOSE18, generator))
    capsys.readouterr()
    data.trainer = None
    data.prepare_data()
    assert capsys.readouterr().out.splitlines()[-1] == (
        "poses: coco17 in pixels become openpose18 in units of the body, y up "
        "(data.normalize pelvis)"
    )


def test_what_was_published_normalised_is_left_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Invented, "units", "normalised, y up, confidence")
    for choice in (None, "none", "pelvis"):
        data = prepared(place, normalize=choice)
        assert data.normalized and data.published_normalized
        assert data.what_becomes == ""
        batch = next(iter(data.test_dataloader()))
        assert torch.equal(arrived(data, batch, training=False).frames, batch.frames)
    monkeypatch.setattr(Invented, "flip_y", True)
    data = prepared(place, normalize="pelvis")
    shown = arrived(data, batch, training=False).frames
    assert torch.equal(shown, batch.frames * torch.tensor([1.0, -1.0, 1.0]))
    assert data.what_becomes == (
        "poses: coco17 in units of the body, y down become coco17 in units of the body, y up"
    )


def test_nothing_is_said_of_poses_that_stay_as_they_are(place: Path) -> None:
    assert prepared(place).what_becomes == ""
    said = prepared(place, skeleton="openpose18").what_becomes
    assert said == "poses: coco17 in pixels become openpose18 in pixels"


def test_joints_are_filled_before_poses_vary(place: Path) -> None:
    data = prepared(place, fill_empty="all")
    batch = next(iter(data.train_dataloader()))
    found = arrived(data, batch, training=True).frames
    generator = torch.Generator().manual_seed(batch.seed)
    expected = data.augmentation(fill_empty_joints(batch.frames), data.layout, generator)
    assert torch.equal(found, expected)


class Recorder(pl.LightningModule):
    """Trains nothing; keeps the batches that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[GaitBatch]] = {"train": [], "validate": [], "test": []}

    def training_step(self, batch: GaitBatch, batch_idx: int) -> torch.Tensor:
        self.seen["train"].append(batch)
        return self.weight.sum()

    def validation_step(self, batch: GaitBatch, batch_idx: int) -> None:
        self.seen["validate"].append(batch)

    def test_step(self, batch: GaitBatch, batch_idx: int) -> None:
        self.seen["test"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")  # Lightning's advice
def test_in_a_run_epochs_differ_and_only_training_varies(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = prepared(place).train_dataloader()
    expected_epochs = [epoch(expected, number) for number in range(2)]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
        **quiet,
    )
    recorder, data = Recorder(), Invented(place, validation="test")
    torch.manual_seed(11)
    trainer.fit(recorder, data)
    trainer.test(recorder, data, verbose=False)

    plain = [batch for batches in expected_epochs for batch in batches]
    assert len(recorder.seen["train"]) == len(plain) == 8
    for seen, batch in zip(recorder.seen["train"], plain, strict=True):
        assert (seen.row.tolist(), seen.seed) == (batch.row.tolist(), batch.seed)
        generator = torch.Generator().manual_seed(batch.seed)
        assert torch.equal(seen.frames, data.augmentation(batch.frames, data.layout, generator))
    assert not same(*expected_epochs)
    test = list(data.test_dataloader())
    for seen, batch in zip(
        recorder.seen["validate"] + recorder.seen["test"], test * 3, strict=True
    ):
        assert all(torch.equal(x, y) for x, y in zip(seen[:3], batch[:3], strict=True))


# Store and report.


def test_the_store_is_built_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(place)

    def read(self: Invented, writer: StoreWriter) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(Invented, "read", read)
    data = prepared(place)
    assert data.open_store() is data.open_store()
    assert data.open_store().info.dataset == "invented"
    assert data.open_store().info.skeleton == "coco17"
    pd.testing.assert_frame_equal(data.sequences, TABLE, check_dtype=False)


@pytest.mark.parametrize("changed", ["source", "reader_version"])
def test_another_source_or_reader_builds_it_again(tmp_path: Path, changed: str) -> None:
    (tmp_path / "source").write_text("of invented people")
    before = prepared(tmp_path).open_store().path
    if changed == "source":
        (tmp_path / "source").write_text("of other people")
        data = Invented(tmp_path)
    else:
        data = type("Newer", (Invented,), {"reader_version": 2})(tmp_path)
    assert data.open_store().path != before
    assert not before.exists()


def test_choices_in_reading_are_stores_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("of invented people")

    class Chosen(Invented):
        @property
        def store_name(self) -> str:
            return f"{self.dataset}-{self.predict}"

        @property
        def store_settings(self) -> dict[str, Any]:
            return {"chosen": self.predict}

    stores = [prepared(tmp_path, predict=name).open_store() for name in ("test", "all")]
    assert stores[0].path == stores[1].path and stores[0].info.settings == {}
    chosen = []
    for name in ("test", "all", "test"):
        data = Chosen(tmp_path, predict=name)
        assert data.open_store().info.settings == {"chosen": name}
        chosen.append(data.open_store().path)
    assert chosen[0] == chosen[2] != chosen[1]
    assert all(path.exists() for path in (*chosen, stores[0].path))


def test_disagreement_with_a_list_of_subjects_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "source").write_text("of invented people")

    class Listed(Invented):
        splits: ClassVar = {}

        def find_split(self, name: str) -> Split:
            return Split((*PEOPLE[:5], "gone", "absent"), PEOPLE[5:7])

    for _ in range(2):
        Listed(tmp_path).prepare_data()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'source'}: Subjects of the list without a sequence: 2 (absent, gone).",
        f"{tmp_path / 'source'}: Subjects that are not in the list and take no part: 1 (stranger).",
    ]
    report: DataReport = Listed(tmp_path).report()
    assert (report.absent, report.unlisted) == (("absent", "gone"), ("stranger",))
    assert report.short_below == 10


def test_the_report_is_written_beside_the_store_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").write_text("of invented people")
    Invented(tmp_path).prepare_data()
    told = capsys.readouterr().out
    data = Invented(tmp_path)
    data.prepare_data()
    assert capsys.readouterr().out == ""
    written = (data.open_store().path / "report.md").read_text(encoding="utf-8")
    assert told.strip() == written.strip()
    assert "| subjects | 8 |" in written
    assert "| nm | 8 of 9 | 8 |" in written
    report = data.report()
    assert (report.sequences, report.frames) == (len(TABLE), LENGTH.sum())
    assert report.worst == {"left_ear": 1.0}


def test_a_dataset_must_say_where_it_is_and_how_it_is_read(place: Path) -> None:
    class Bare(Invented):
        sources = GaitDataModule.sources
        read = GaitDataModule.read

    with pytest.raises(NotImplementedError):
        Bare(place).sources()
    with pytest.raises(NotImplementedError):
        Bare(place).read(StoreWriter(place))
