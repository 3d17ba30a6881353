import json

import numpy as np
import pandas as pd
import pytest

from gaitbench import report
from gaitbench.report import data_report, list_skipped
from gaitbench.store import SequenceStore, StoreInfo, StoreWriter, cached_store


def table(lengths=(4, 0, 2, 3), **columns) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "start": np.cumsum([0, *lengths[:-1]]),
            "length": lengths,
            "subject": ["001", "001", "002", "002"],
            "condition": ["nm", "bg", "nm", "nm"],
            "number": [1, 1, 1, 2],
            "view": [0, 0, 90, 90],
            **columns,
        }
    )


def store_of(path, frames, sequences, info) -> SequenceStore:
    def build(writer: StoreWriter) -> None:
        writer.append(frames)
        writer.finish(sequences)

    return cached_store(path, "some", "0" * 64, build, info)


@pytest.fixture
def poses(tmp_path) -> SequenceStore:
    generator = np.random.default_rng(0)
    frames = generator.uniform(10, 300, (9, 17, 3)).astype(np.float32)
    frames[:3, 9] = 0
    frames[0, 4] = 0
    frames[5, 2, 0] = 1
    frames[7, 3, 1] = 999
    info = StoreInfo("walkers", "pose", "coco17", "pixels, confidence")
    return store_of(tmp_path, frames, table(missing=[0, 0, 3, 1]), info)


@pytest.mark.parametrize("chunk", [1, 500, 1 << 24])
def test_counts_and_ranges(poses, monkeypatch, chunk):
    monkeypatch.setattr(report, "CHUNK", chunk)
    found = data_report(poses, {("nm", 0): 2, ("nm", 90): 2, ("bg", 0): 1, ("bg", 90): 1}, 4)
    assert (found.subjects, found.sequences, found.frames) == (2, 4, 9)
    assert [(c.condition, c.view, c.expected, c.found) for c in found.counts] == [
        ("bg", 0, 1, 1),
        ("bg", 90, 1, 0),
        ("nm", 0, 2, 1),
        ("nm", 90, 2, 2),
    ]
    assert found.length == (0, 2.5, 4)
    assert (found.short, found.empty) == (2, 1)
    assert (found.missing_frames, found.incomplete) == (4, 2)
    assert found.unseen == pytest.approx(4 / (9 * 17))
    assert found.worst == {"left_wrist": pytest.approx(3 / 9), "right_ear": pytest.approx(1 / 9)}
    seen = poses.frames[poses.frames[..., 2] > 0]
    for axis, name in enumerate(("x", "y", "confidence")):
        assert found.ranges[name] == (seen[:, axis].min(), seen[:, axis].max())
    assert found.ranges["x"][0] == 1  # not the origin, where unseen joints lie
    assert found.ranges["y"][1] == 999


def test_text(poses):
    text = data_report(poses, {("nm", 0): 2, ("nm", 90): 2, ("bg", 0): 1}, 4).to_text()
    assert "| subjects | 2 |" in text
    assert "| frames a sequence, fewest / median / most | 0 / 2.5 / 4 |" in text
    assert "| sequences shorter than 4 frames | 2 |" in text
    assert "| frames missing between first and last | 4 in 2 sequences |" in text
    assert "left_wrist 33.33%" in text
    assert "| condition | 000 | 090 | all |" in text
    assert "| bg | 1 |  | 1 |" in text
    assert "| nm | 1 of 2 | 2 | 3 of 4 |" in text


def test_several_people(tmp_path):
    frames = np.ones((9, 17, 3), np.float32)
    info = StoreInfo("walkers", "pose", "coco17", "pixels, confidence")
    counted = table(several=[2, 0, 1, 1000], not_first=[1, 0, 0, 7])
    found = data_report(store_of(tmp_path, frames, counted, info))
    assert (found.several, found.not_first) == (1003, 8)
    line = "| frames that list several people | 1,003 (8 times another than the first was taken) |"
    assert line in found.to_text()


def test_no_choice_and_no_list_are_not_mentioned(poses):
    found = data_report(poses)
    assert (found.several, found.not_first, found.absent, found.unlisted) == (None, None, (), ())
    assert "several people" not in found.to_text()
    assert found.remarks() == []
    assert data_report(poses, listed=["001", "002"]).remarks() == []


def test_a_list_of_subjects_that_disagrees(poses):
    listed = ["002", *(f"{i:03d}" for i in range(5000, 3000, -1))]
    found = data_report(poses, listed=listed)
    assert found.absent == tuple(str(i) for i in range(3001, 5001))
    assert found.unlisted == ("001",)
    absent, unlisted = found.remarks()
    names = "3001, 3002, 3003, 3004, 3005, ..."
    assert absent == f"Subjects of the list without a sequence: 2,000 ({names})."
    assert unlisted == "Subjects that are not in the list and take no part: 1 (001)."
    assert absent in found.to_text() and unlisted in found.to_text()


@pytest.mark.parametrize("count", [2, 7])
def test_what_was_left_out_in_reading(poses, count):
    rows = [f"{i + 2},poses/{i}.npy,is truncated" for i in range(count)]
    (poses.path / "skipped.csv").write_text("\n".join(["line,file_name,reason", *rows]) + "\n")
    found = data_report(poses)
    assert found.skipped == count
    assert found.skipped_first[0] == "line 2: poses/0.npy is truncated"
    text = found.to_text()
    assert f"| left out in reading, whole or in part | {count} |" in text
    assert text.count("is truncated") == min(count, 5)
    assert ("- and 2 more" in text) == (count == 7)
    assert found.remarks() == []  # the reader has said so already


def test_what_a_reader_lists_is_told(poses, caplog):
    list_skipped(poses.path, "walks", [])
    assert data_report(poses).skipped == 0
    list_skipped(poses.path, "walks", [("", "a,b", "is empty"), (3, "c", "is bad")])
    assert data_report(poses).skipped_first == ("a,b is empty", "line 3: c is bad")
    assert "walks: left out 2, listed in skipped.csv; the first: a,b is empty" in caplog.text


def test_plain_data(poses):
    found = data_report(poses)
    plain = found.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["counts"][0] == {"condition": "bg", "view": 0, "expected": None, "found": 1}
    assert plain["ranges"].keys() == {"x", "y", "confidence"}


def test_written_beside_the_store(poses):
    path = data_report(poses).write(poses.path)
    assert path == poses.path / "report.md"
    assert path.read_text(encoding="utf-8").startswith("# walkers, pose")
    assert len(SequenceStore.open(poses.path)) == 4  # and the store is still one


def test_frames_without_joints(tmp_path):
    frames = np.zeros((9, 8, 6), np.uint8)
    frames[3, 2, 1] = 255
    found = data_report(
        store_of(tmp_path, frames, table(), StoreInfo("walkers", "silhouette", None, "0 or 255"))
    )
    assert found.unseen is None
    assert found.missing_frames is None
    assert found.ranges == {"value": (0, 255)}
    assert "joints" not in found.to_text()
