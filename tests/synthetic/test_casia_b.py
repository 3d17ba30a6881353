import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from gaitbench.casia_b import VIEWS
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17
from gaitbench.synthetic import Subject, casia_b_subjects, synthesize_casia_b
from gaitbench.synthetic.casia_b import LABELS, WIDE

SMALL = {"nm": (1, 2), "bg": (1,)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize_casia_b(tmp_path_factory.mktemp("made") / "deep" / "er", 5, seed=3)


@pytest.fixture(scope="module")
def rows(written: Path) -> list[list[str]]:
    with open(written, newline="") as file:
        return list(csv.reader(file))


def test_file_has_the_published_format(written: Path, rows: list[list[str]]) -> None:
    assert written.name == "casia-b_pose_coco.csv"
    header, *body = rows
    assert header[0] == "image_name"
    assert header[1:] == [f"{j}_{c}" for j in COCO17.joints for c in ("x", "y", "conf")]
    assert {len(row) for row in body} == {52}
    names = [row[0] for row in body]
    assert names == sorted(set(names))
    text = np.array([row[1:] for row in body])
    assert np.all(np.strings.find(text, ".") == np.strings.str_len(text) - 3)  # two decimals
    values = text.astype(float).reshape(len(body), 17, 3)
    assert 0 <= values[..., 0].min() <= values[..., 0].max() <= 319
    assert 0 <= values[..., 1].min() <= values[..., 1].max() <= 239
    assert 0 < values[..., 2].min() <= values[..., 2].max() < 1


def test_file_holds_every_sequence(rows: list[list[str]]) -> None:
    lengths: dict[tuple[str, ...], list[int]] = {}
    for row in rows[1:]:
        prefix, folder, frame = row[0].split("/")
        assert prefix == "."
        assert len(frame) == 10
        assert frame.endswith(".jpg")
        lengths.setdefault(tuple(folder.split("-")), []).append(int(frame[:6]))
    conditions = {"nm": 6, "bg": 2, "cl": 2}
    expected = {
        (subject, condition, f"{number:02d}", f"{view:03d}")
        for subject in ("001", "002", "003", "075", "076")
        for condition, numbers in conditions.items()
        for number in range(1, numbers + 1)
        for view in VIEWS
    }
    assert set(lengths) == expected
    counts = np.array([len(frames) for frames in lengths.values()])
    assert 30 <= counts.min() <= counts.max() <= 110
    assert np.median(counts) > 60
    gaps = [max(np.diff(frames)) > 1 for frames in lengths.values()]
    assert 0.1 < np.mean(gaps) < 0.9


def test_same_seed_same_bytes_and_people_do_not_depend_on_their_number(tmp_path: Path) -> None:
    def make(name: str, subjects: int, seed: int) -> bytes:
        path = synthesize_casia_b(
            tmp_path / name, subjects, seed, sequences=SMALL, views=(0, 90, 180)
        )
        assert sorted(os.listdir(path.parent)) == [LABELS, path.name]
        return path.read_bytes()

    two = make("a", 2, seed=1)
    assert hashlib.sha256(two).digest() == hashlib.sha256(make("b", 2, seed=1)).digest()
    assert two != make("b", 2, seed=2)  # written over
    four = make("c", 4, seed=1)
    assert set(two.splitlines()) < set(four.splitlines())


@pytest.mark.parametrize("count", [2, 3, 5, 20, 62, 73, 120, 123, 124])
def test_subjects_lie_on_both_sides_of_the_split(count: int) -> None:
    numbers = casia_b_subjects(count)
    assert len(set(numbers)) == count
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert numbers[-1] <= 124
    train = [number for number in numbers if number <= 74]
    assert train == list(range(1, len(train) + 1))
    assert numbers[len(train)] == 75
    assert len(train) == pytest.approx(0.6 * count, abs=1)


@pytest.mark.parametrize("count", [-1, 0, 1, 125])
def test_impossible_numbers_of_subjects_are_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"subjects is {count}, .* choose 2 to 124"):
        synthesize_casia_b(tmp_path / "x", count, 0)
    assert not (tmp_path / "x").exists()


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"file.*casia-b_pose_coco\.csv cannot be written"):
        synthesize_casia_b(tmp_path / "file", 2, 0, sequences=SMALL, views=(90,))


def test_people_can_be_told_apart_but_not_easily(rows: list[list[str]]) -> None:
    """Same view, nearest mean pose: far above chance (20 %), below certainty."""
    sequences: dict[str, list[list[float]]] = {}
    for row in rows[1:]:
        _, folder, _ = row[0].split("/")
        if "-nm-" in folder and folder.endswith(("-090", "-036")):
            sequences.setdefault(folder, []).append([float(value) for value in row[1:]])
    features, names = [], list(sequences)
    for values in sequences.values():
        pose = np.array(values).reshape(-1, 17, 3)[..., :2]
        pose = pose - pose[:, 11:13].mean(axis=1, keepdims=True)
        pose /= np.ptp(pose[..., 1], axis=1)[:, None, None]
        features.append(np.concatenate([pose.mean(axis=0), pose.std(axis=0)]).ravel())
    distance = np.linalg.norm(np.array(features)[:, None] - np.array(features)[None], axis=-1)
    right = []
    for i, name in enumerate(names):
        others = [j for j, n in enumerate(names) if j != i and n[-3:] == name[-3:]]
        nearest = names[min(others, key=lambda j, i=i: distance[i, j])]
        right.append(nearest[:3] == name[:3])
    assert 0.45 < np.mean(right) < 1


def test_labels_follow_the_body(written: Path) -> None:
    with open(written.with_name(LABELS), newline="") as file:
        labels = {row["subject"]: row["Female"] for row in csv.DictReader(file)}
    assert list(labels) == ["001", "002", "003", "075", "076"]
    for name, female in labels.items():
        body = Subject.draw((3, int(name))).body
        assert (female == "1") == (body.hip_spacing > WIDE * body.shoulder_spacing)
    many = [Subject.draw((0, number)).body for number in range(300)]
    assert 0.4 < np.mean([b.hip_spacing > WIDE * b.shoulder_spacing for b in many]) < 0.6
