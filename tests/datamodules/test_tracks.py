"""Sets of this family that are trained on alone: GREW, OU-ISIR and UWG."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitbench.__main__ import run
from gaitbench.datamodules import DATASETS, Grew, OuIsir, Uwg
from gaitbench.datamodules.annotated import TracksDataModule
from gaitbench.errors import InputError
from gaitbench.skeleton import OPENPOSE18
from gaitbench.tracks import GREW, OUISIR, OUISIR_JOINTS, UWG

TRACKS = (5, 12, 5, 7, 12, 5)
LENGTHS = (50, 3, 60, 17, 9, 1)
SETS: dict[type[TracksDataModule], str] = {Grew: GREW, OuIsir: OUISIR, Uwg: UWG}


def poses(i: int) -> np.ndarray:
    return np.random.default_rng(i).standard_normal((LENGTHS[i], 18, 3)).astype("f4")


def write(root: Path, table: str, folder: str, prefix: str, **columns: list[str]) -> Path:
    """A table below ``root``; files lie in ``folder`` there, names begin with ``prefix``."""
    (root / table).parent.mkdir(parents=True, exist_ok=True)
    (root / folder).mkdir(parents=True, exist_ok=True)
    with (root / table).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "track_id", *columns])
        for i, track in enumerate(TRACKS):
            np.save(root / folder / f"{i}.npy", poses(i))
            rows.writerow([f"{prefix}{i}.npy", track, *(values[i] for values in columns.values())])
    return root


CAMERAS = {
    "camera_id": ["0", "90", "0", "0", "90", "90"],
    "seq_id": ["00", "00", "01", "0", "1", "2"],
}


def written(root: Path, kind: type[TracksDataModule]) -> Path:
    """As the authors keep it."""
    if kind is Grew:  # absolute
        return write(root, GREW, "GREW/train/poses", f"{root}/GREW/train/poses/")
    if kind is OuIsir:
        return write(root, OUISIR, "poses", "", **CAMERAS)
    folder = UWG.rpartition("/")[0]
    return write(root, UWG, folder, "/home/somebody/data/uwg-big-plain-2-andy/poses/")


def ready(kind: type[TracksDataModule], path: Path, cache: Path, **settings: Any) -> Any:
    data = kind(str(path), cache=str(cache), **settings)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize("kind", SETS)
def test_as_the_authors_keep_it(kind: type[TracksDataModule], tmp_path: Path) -> None:
    assert kind in DATASETS
    data = ready(kind, written(tmp_path / "data", kind), tmp_path / "cache")
    table = data.sequences
    assert table["subject"].tolist() == [str(track) for track in TRACKS]
    assert table["length"].tolist() == list(LENGTHS)
    assert data.num_subjects == 3
    assert data.subject_codes.tolist() == [0, 1, 0, 2, 1, 0]
    for part in ("train", "test", "all"):
        assert data.rows[part].tolist() == list(range(6))
    assert len(set(zip(table["subject"], table["number"], table["view"], strict=True))) == 6
    assert data.normalized and data.attributes == ()
    assert not data.protocols

    frames = np.concatenate([poses(i) for i in range(6)])
    if kind is OuIsir:
        frames = frames[:, OUISIR_JOINTS["reference"]]
    assert np.array_equal(data.open_store().frames, frames)
    batch = next(iter(data.test_dataloader()))
    shown = data.on_after_batch_transfer(batch, 0).frames
    assert torch.equal(shown, batch.frames * torch.tensor([1.0, -1.0, 1.0]))


@pytest.mark.parametrize("kind", SETS)
def test_a_folder_that_moved(kind: type[TracksDataModule], tmp_path: Path) -> None:
    """Absolute names of before, and any folder on the way to the table."""
    root = written(tmp_path / "before", kind)
    moved = root.rename(tmp_path / "after")
    for place in (moved, (moved / SETS[kind]).parent, moved / SETS[kind]):
        assert len(ready(kind, place, tmp_path / "cache").sequences) == 6


def test_grew_as_the_later_programs_have_it(tmp_path: Path) -> None:
    write(tmp_path, GREW, "GREW/train/poses", "")
    assert len(ready(Grew, tmp_path, tmp_path / "cache").sequences) == 6


@pytest.mark.parametrize("kind", SETS)
def test_a_file_that_is_nowhere(kind: type[TracksDataModule], tmp_path: Path) -> None:
    root = written(tmp_path / "data", kind)
    next(root.rglob("3.npy")).unlink()
    with pytest.raises(InputError, match=r"annotations.* line 5: .*3\.npy is not there"):
        ready(kind, root, tmp_path / "cache")
    data = ready(kind, root, tmp_path / "cache", on_error="skip")
    assert data.sequences["subject"].tolist() == ["5", "12", "5", "12", "5"]
    assert (data.num_subjects, data.subject_codes.tolist()) == (3, [0, 1, 0, 1, 0])
    report = data.report()
    assert (report.skipped, len(report.skipped_first)) == (1, 1)
    assert report.skipped_first[0].startswith("line 5: ")
    assert "| left out in reading, whole or in part | 1 |" in report.to_text()


def test_a_fraction_of_tracks_or_of_each_one_s_sequences(tmp_path: Path) -> None:
    root, cache = written(tmp_path, Uwg), tmp_path / "cache"
    part = ready(Uwg, root, cache, fraction=0.34)
    assert len(set(part.subject_codes[part.rows["train"]])) == 1
    each = ready(Uwg, root, cache, fraction=0.34, fraction_of="each_subject")
    assert sorted(each.subject_codes[each.rows["train"]]) == [0, 1, 2]
    assert part.rows["test"].tolist() == list(range(6))
    runs = ready(OuIsir, written(tmp_path / "ouisir", OuIsir), cache, runs=1)
    assert len(runs.rows["train"]) == 4  # 5 has two walks before camera 0


def test_what_was_held_out_comes_last_in_the_table(tmp_path: Path) -> None:
    data = ready(Uwg, written(tmp_path, Uwg), tmp_path / "cache", validation="held_out")
    assert data.rows["validate"].tolist() == [3]
    assert data.rows["train"].tolist() == [0, 1, 2, 4, 5]


def test_labels_of_tracks(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("track_id,Female\n12,1\n5,0\n07,1\n")
    data = ready(
        Uwg, written(tmp_path, Uwg), tmp_path / "cache", labels=str(tmp_path / "labels.csv")
    )
    assert data.attribute_values.ravel().tolist() == [0, 1, 0, 1, 1, 0]


def test_ouisir_s_joints() -> None:
    """Against the list of pairs, one after the other upon poses that are there already."""
    pairs = (
        (0, 0), (4, 1), (6, 2), (10, 3), (13, 4), (7, 5), (11, 6), (15, 7), (12, 8), (16, 9),
        (2, 10), (14, 11), (1, 12), (3, 13), (17, 14), (5, 15), (7, 16), (9, 17),
    )  # fmt: skip
    joints = list(range(18))
    for destination, source in pairs:
        joints[destination] = source
    assert tuple(joints) == OUISIR_JOINTS["reference"]
    repaired = OUISIR_JOINTS["repaired"]
    assert sorted(repaired) == list(range(18))
    differ = [j for j in range(18) if repaired[j] != joints[j]]
    assert {OPENPOSE18.joints[j]: repaired[j] for j in differ} == {"left_wrist": 5, "right_hip": 16}


def test_both_orders_of_ouisir_s_joints_have_a_store(tmp_path: Path) -> None:
    root, cache = written(tmp_path / "data", OuIsir), tmp_path / "cache"
    stores = {
        order: ready(OuIsir, root, cache, joint_order=order).open_store()
        for order in ("reference", "repaired")
    }
    assert all(store.path.is_dir() for store in stores.values())
    for order, store in stores.items():
        assert store.info.settings["joint_order"] == order
        expected = poses(2)[:, OUISIR_JOINTS[order]]
        assert np.array_equal(store.frames[53:113], expected)
    with pytest.raises(InputError, match="'mended' is unknown; choose reference or repaired"):
        OuIsir(str(root), joint_order="mended")


def test_ouisir_s_cameras_and_sequences(tmp_path: Path) -> None:
    data = ready(OuIsir, written(tmp_path / "a", OuIsir), tmp_path / "cache")
    assert data.sequences["view"].tolist() == [0, 90, 0, 0, 90, 90]
    assert data.sequences["number"].tolist() == [0, 0, 1, 0, 1, 2]
    named = {"camera_id": list("babbab"), "seq_id": ["A", "B", "B", "1", "C", "C"]}
    root = write(tmp_path / "b", OUISIR, "poses", "", **named)
    data = ready(OuIsir, root, tmp_path / "cache")
    assert data.sequences["view"].tolist() == [1, 0, 1, 1, 0, 1]
    assert data.sequences["number"].tolist() == [1, 2, 2, 0, 3, 3]


def test_tools_know_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = ["--cache", str(tmp_path / "cache")]
    for name, kind in (("grew", Grew), ("ouisir", OuIsir), ("uwg", Uwg)):
        path = str(written(tmp_path / name, kind))
        assert run(["report-data", name, path, *cache]) == 0
        assert "| subjects | 3 |" in capsys.readouterr().out
    assert run(["report-data", "ouisir", path, *cache, "--joint_order", "repaired"]) == 2
    assert run(["report-data", "uwg", path, *cache, "--on_error", "skip"]) == 0
    with pytest.raises(SystemExit):
        run(["synthesize", "grew", str(tmp_path / "out")])
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("kind", SETS)
def test_facts_that_the_rest_relies_on(kind: type[TracksDataModule], tmp_path: Path) -> None:
    data = kind(str(tmp_path / "absent"))  # nothing is read yet
    assert (data.skeleton, data.frames, data.fraction_of) == ("openpose18", 48, "subjects")
    with pytest.raises(InputError, match=r"absent holds no .*annotations"):
        data.open_store()
    with pytest.raises(InputError, match=r"data\.split '62/62' is unknown"):
        kind(str(tmp_path), split="62/62")
