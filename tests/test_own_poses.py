"""Keypoints as each program writes them, to embeddings, a table and a report, by commands alone."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from gaitbench.__main__ import run
from gaitbench.callbacks import read_predictions
from gaitbench.datamodules import CasiaB
from gaitbench.skeleton import COCO17
from tests.conftest import SMALL, newest_run

CONFIGS = Path(__file__).parents[1] / "configs"
KEY = ["subject", "condition", "number", "view"]
Walks = dict[str, NDArray[np.float32]]

PROTOCOL = {
    "id": "own.second_walk",
    "gallery": {"number": 1},
    "probes": {"nm": {"condition": "nm", "number": [2]}, "cl": {"condition": ["cl"]}},
    "views": "each_other",
}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def points(pose: NDArray[np.float32]) -> list[float]:
    return [float(value) for value in pose.ravel()]


def halves(pose: NDArray[np.float32]) -> dict[str, object]:
    return {"keypoints": pose[:, :2].tolist(), "keypoint_scores": pose[:, 2].tolist()}


def coco(folder: Path, walks: Walks) -> str:
    for name, poses in walks.items():
        found = [
            {"image_id": i, "category_id": 1, "keypoints": points(pose), "score": 0.9}
            for i, pose in enumerate(poses)
        ]
        write(folder / f"{name}.json", found)
    return "{}"


def coco_dataset(folder: Path, walks: Walks) -> str:
    """All walks in one file, its images in a folder each."""
    frames = [(name, i, pose) for name, poses in walks.items() for i, pose in enumerate(poses)]
    images = [{"id": k, "file_name": f"{n}/{i:06d}.jpg"} for k, (n, i, _) in enumerate(frames)]
    people = [
        {"id": k, "image_id": k, "iscrowd": 0, "keypoints": points(pose)}
        for k, (_, _, pose) in enumerate(frames)
    ]
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints)}
    write(folder / "all.json", {"images": images, "annotations": people, "categories": [category]})
    return "all/{}"


def openpose(folder: Path, walks: Walks) -> str:
    """BODY_25, of which feet and the middle of the hips are left at 0."""
    order = [0, 0, 6, 8, 10, 5, 7, 9, 0, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *[0] * 6]
    for name, poses in walks.items():
        for i, pose in enumerate(poses[:, order]):
            path = folder / name / f"{name}_{i:012d}_keypoints.json"
            write(path, {"version": 1.3, "people": [{"pose_keypoints_2d": points(pose)}]})
    return "{0}/{0}"


def alphapose(folder: Path, walks: Walks) -> str:
    for name, poses in walks.items():
        found = [
            {"image_id": f"{i}.jpg", "keypoints": points(pose), "score": 2.5, "idx": 1}
            for i, pose in enumerate(poses)
        ]
        write(folder / name / "alphapose-results.json", found)
    return "{}/alphapose-results#1"


def mmpose(folder: Path, walks: Walks) -> str:
    for name, poses in walks.items():
        found = [{"frame_id": i, "instances": [halves(pose)]} for i, pose in enumerate(poses)]
        names = dict(enumerate(COCO17.joints))
        told = {"meta_info": {"keypoint_id2name": names}, "instance_info": found}
        write(folder / f"results_{name}.json", told)
    return "results_{}"


def table(folder: Path, walks: Walks) -> str:
    folder.mkdir()
    head = [f"{joint}_{axis}" for joint in COCO17.joints for axis in ("x", "y", "score")]
    lines = [",".join(["sequence", "frame", *head])]
    for name, poses in walks.items():
        lines += [",".join([name, str(i), *map(str, points(p))]) for i, p in enumerate(poses)]
    (folder / "walks.csv").write_text("\n".join(lines))
    return "walks/{}"


def npz(folder: Path, walks: Walks) -> str:
    """Joints in an order of their own, with their names."""
    folder.mkdir()
    order = np.random.default_rng(0).permutation(17)
    names = np.array(COCO17.joints)[order]
    shuffled = {name: poses[:, order] for name, poses in walks.items()}
    np.savez(folder / "walks.npz", **shuffled, joint_names=names)
    return "walks/{}"


def pickles(folder: Path, walks: Walks) -> str:
    """A tree of OpenGait or FastPoseGait, in float64."""
    for name, poses in walks.items():
        subject, condition, number, view = name.split("-")
        path = folder / subject / f"{condition}-{number}" / view / f"{view}.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(pickle.dumps(poses.astype(np.float64)))
    return ""  # its folders tell everything


FORMATS = (coco, coco_dataset, openpose, alphapose, mmpose, table, npz, pickles)


@pytest.fixture(scope="module")
def walks(walkers: Path, cache: Path) -> Walks:
    """Twelve frames of 16 walks of four people, two nm, two cl by label."""
    store = CasiaB(str(walkers), cache=str(cache)).open_store()
    found = {}
    for row in store.sequences.to_dict("records"):
        if row["condition"] in ("nm", "cl") and row["number"] in (1, 2):
            name = f"{row['subject']}-{row['condition']}-{row['number']:02d}-{row['view']:03d}"
            found[name] = store.frames[row["start"] : row["start"] + 12]
    assert len(found) == 24
    return found


def labelled(folder: Path, walks: Walks, form: str) -> None:
    """Labels by the sequences' names, where these do not tell them by themselves."""
    if form:
        lines = [",".join([form.format(name), *name.split("-")]) for name in walks]
        (folder / "labels.csv").write_text("\n".join([",".join(["sequence", *KEY]), *lines]))


@pytest.fixture(scope="module")
def expected(
    walks: Walks, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[NDArray[np.float32], object]:
    """Embeddings and figures of the walks as arrays with names like CASIA-B's."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "src").mkdir()
    np.savez(folder / "src" / "walks.npz", **walks)
    return embedded(folder / "src", checkpoint, folder)


def embedded(source: Path, checkpoint: Path, out: Path) -> tuple[NDArray[np.float32], object]:
    """What the first two commands give; embeddings in the order of their labels."""
    quick = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--frames=8")
    found, protocol = out / "found", out / "protocol.yaml"
    protocol.write_text(yaml.safe_dump(PROTOCOL))
    where = ["--ckpt_path", str(checkpoint), "--out", str(found), "--cache", str(out / "cache")]
    assert run(["embed", str(source), *where, *quick]) == 0
    judge = ["evaluate", str(found), "--protocol", str(protocol), "--bootstrap", "0"]
    assert run(judge) == 0
    embeddings, sequences = read_predictions(found)
    order = sequences.sort_values(KEY).index
    return embeddings[order], json.loads((found / "metrics.json").read_text())


@pytest.mark.parametrize("exported", FORMATS, ids=lambda f: f.__name__)
def test_foreign_files_become_embeddings_a_table_and_a_report(
    exported: Callable[[Path, Walks], str],
    walks: Walks,
    checkpoint: Path,
    expected: tuple[NDArray[np.float32], object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "src"
    labelled(source, walks, exported(source, walks))
    embeddings, metrics = embedded(source, checkpoint, tmp_path)
    np.testing.assert_allclose(embeddings, expected[0], atol=1e-5)
    assert metrics == expected[1]
    assert {*metrics["own.second_walk"]} == {"nm", "cl"}  # type: ignore[call-overload, index]
    capsys.readouterr()
    assert run(["report-data", "own", str(source), "--cache", str(tmp_path / "cache")]) == 0
    shown = capsys.readouterr().out
    assert "| sequences by subject | 001 6, 002 6, 075 6, 076 6 |" in shown
    assert "| cl | 4 | 4 | 8 |" in shown
    drawn = Path(shown.rpartition("drawn: ")[2].strip())
    with Image.open(drawn) as sheet:
        assert sheet.width > 500


@pytest.mark.parametrize(
    ("configs", "more"),
    [
        (("gaitgraph2/own_poses.yaml",), ()),
        (("gaitgraph2/own_poses.yaml", "gaitgraph2/casia_b_st_gcn.yaml"), ()),
        (("gaitformer/own_poses.yaml",), ("--model.period=8", "--model.depth=1")),
    ],
)
def test_methods_train_and_are_tested_on_own_poses(
    configs: tuple[str, ...], more: tuple[str, ...], walks: Walks, tmp_path: Path
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    np.savez(source / "walks.npz", **walks)
    lines = ["sequence,split"]
    lines += [
        f"walks/{name},{'train' if name < '075' else 'gallery' if '-nm-01-' in name else 'probe'}"
        for name in walks
    ]
    (source / "labels.csv").write_text("\n".join(lines))
    words = [f"--config={CONFIGS / config}" for config in configs]
    words += [f"--data.path={source}", f"--data.cache={tmp_path / 'cache'}", *SMALL, *more]
    words += [f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=1"]
    assert run(["fit", *words]) == 0
    trained = newest_run(tmp_path)
    assert "| trained on | 12 samples of 2 people |" in (trained / "model_card.md").read_text()
    assert run(["test", *words, f"--ckpt_path={trained / 'checkpoints' / 'last.ckpt'}"]) == 0
    metrics = json.loads((newest_run(tmp_path) / "metrics.json").read_text())
    assert metrics["own.probe"]["probe"]["n"] == 8
    assert "### own.probe: last.ckpt on OwnSequences" in (trained / "model_card.md").read_text()
