from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gaitbench.datamodules import CasiaB, GaitDataModule
from gaitbench.datamodules.casia_b import EXPECTED, NUMBERS, SUBJECTS, VIEWS
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17
from tests.goldens import unpacked


def ready(path: Path, cache: Path, **settings: object) -> CasiaB:
    data = CasiaB(str(path), cache=str(cache), **settings)
    data.prepare_data()
    data.setup("test")
    return data


def people(data: CasiaB, part: str) -> list[str]:
    return sorted(data.sequences["subject"].iloc[data.rows[part]].unique())


def test_splits_divide_all_subjects() -> None:
    assert set(CasiaB.splits) == {"74/50", "62/62", "99/25"}
    for name, split in CasiaB.splits.items():
        assert f"{len(split.train)}/{len(split.test)}" == name
        assert split.train + split.test == SUBJECTS
    assert CasiaB.splits["74/50"].test[0] == "075"
    assert CasiaB.splits["62/62"].test[0] == "063"


def test_the_whole_dataset_is_11_views_of_10_walks_of_124_people() -> None:
    assert SUBJECTS[0] == "001" and SUBJECTS[-1] == "124"
    assert VIEWS == (0, 18, 36, 54, 72, 90, 108, 126, 144, 162, 180)
    assert {condition: len(numbers) for condition, numbers in NUMBERS.items()} == {
        "nm": 6, "bg": 2, "cl": 2,
    }  # fmt: skip
    assert sum(EXPECTED.values()) == 124 * 10 * 11
    assert EXPECTED["nm", 90] == 124 * 6


def test_facts_that_the_rest_relies_on(tmp_path: Path) -> None:
    data = CasiaB(str(tmp_path / "absent.csv"))
    assert isinstance(data, GaitDataModule)
    assert (data.dataset, data.skeleton, data.layout) == ("casia_b", "coco17", COCO17)
    assert set(data.default_protocols) <= set(data.protocols)
    assert all(protocol.id == name for name, protocol in data.protocols.items())
    # GaitGraph2's settings
    assert (data.frames, data.num_subjects, data.split) == (60, 74, CasiaB.splits["74/50"])
    assert CasiaB(str(tmp_path), "62/62").num_subjects == 62


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = CasiaB(str(tmp_path / "absent.csv"), cache=str(tmp_path / "cache"))
    for ask in (data.prepare_data, data.sources, lambda: data.setup("fit")):
        with pytest.raises(InputError, match=r"absent\.csv does not exist; name casia-b_pose_coco"):
            ask()
    assert not (tmp_path / "cache").exists()


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"data\.split '24/100' is unknown; choose .* 74/50, 62/62"
    ):
        CasiaB(str(tmp_path), "24/100")


def test_a_table_as_released(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unpacked("casia-b_pose_coco.csv")
    data = ready(path, tmp_path, eval_batch_size=50)
    assert people(data, "train") == ["001", "074"]
    assert people(data, "test") == ["075", "076", "077", "078", "079", "080"]
    first, second = data.test_dataloader()
    assert first.frames.shape == (50, 60, 17, 3)
    assert second.frames.shape == (22, 60, 17, 3)
    # training people are counted from 0, those of the test follow them
    codes = dict(zip(data.sequences["subject"], data.subject_codes.tolist(), strict=True))
    assert codes == {"001": 0, "074": 73} | {f"{i:03d}": i - 1 for i in range(75, 81)}
    assert "| subjects | 8 |" in capsys.readouterr().out
    assert (data.open_store().path / "report.md").is_file()
    assert data.open_store().path.parent == tmp_path
    # the other split divides the same store: nobody here is between 063 and 073
    other = ready(path, tmp_path, split="62/62")
    assert other.open_store().path == data.open_store().path
    assert people(other, "train") == ["001"]
    assert people(other, "test") == ["074", *people(data, "test")]
    assert capsys.readouterr().out == ""


def test_frames_of_a_window_are_those_of_the_table(tmp_path: Path) -> None:
    path = unpacked("casia-b_pose_coco.csv")
    data = ready(path, tmp_path, frames=5, predict="all")
    (batch,) = data.predict_dataloader()
    lines = {}
    for line in path.read_text().splitlines()[1:]:
        name, *values = line.split(",")
        lines.setdefault(name.split("/")[1], []).append((name, values))
    table = data.sequences
    assert len(lines) == len(table) == len(batch.row)
    row = int(np.argmax(table["length"]))
    walk = table.iloc[row]
    name = f"{walk['subject']}-{walk['condition']}-{walk['number']:02d}-{walk['view']:03d}"
    own = [values for _, values in sorted(lines[name])]
    start = (len(own) - 5) // 2
    expected = np.array(own[start : start + 5], np.float32).reshape(5, 17, 3)
    np.testing.assert_array_equal(batch.frames[row], expected)


def test_synthetic_walkers_take_the_same_way(walkers: Path, cache: Path) -> None:
    data = ready(walkers, cache, frames=8, batch_size=8, validation="held_out", held_out=0.5)
    assert people(data, "train") == ["001"]
    assert people(data, "validate") == ["002"]
    assert people(data, "test") == ["075", "076"]
    table = data.sequences.iloc[data.rows["test"]]
    assert Counter(zip(table["condition"], table["view"], strict=True)) == {
        (condition, view): 2 * len(numbers)
        for condition, numbers in {"nm": (1, 2, 5), "bg": (1,), "cl": (1,)}.items()
        for view in (0, 90)
    }
    assert table["number"].isin([1, 2, 5]).all()
    sizes = [len(batch.row) for batch in data.train_dataloader()]
    assert sizes == [8, 2]


def test_long_sequences_only(tmp_path: Path) -> None:
    """61 frames, GaitGraph's limit: the reference keeps 16 sequences of this table."""
    data = ready(unpacked("casia-b_pose_coco.csv"), tmp_path, min_frames=61)
    assert (data.sequences["length"].iloc[data.rows["all"]] >= 61).all()
    assert len(data.rows["all"]) == 16
