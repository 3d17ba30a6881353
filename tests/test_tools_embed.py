"""``gaitbench embed``: keypoints in, embeddings out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench.__main__ import run
from gaitbench.callbacks import read_predictions
from gaitbench.datamodules import CasiaB
from tests.conftest import Bench, newest_run

QUICK = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
KEY = ["subject", "condition", "number", "view"]


def embed(source: Path, checkpoint: Path, out: Path, *more: str) -> list[str]:
    words = ["embed", str(source), "--ckpt_path", str(checkpoint), "--out", str(out / "found")]
    return [*words, "--cache", str(out / "cache"), "--frames", "8", *QUICK, *more]


def predicted(folder: Path) -> pd.DataFrame:
    """Embeddings by labels."""
    embeddings, table = read_predictions(folder)
    return table[KEY].assign(embedding=list(embeddings)).sort_values(KEY, ignore_index=True)


def test_a_table_gives_what_predict_gives(
    bench: Bench, checkpoint: Path, walkers: Path, tmp_path: Path
) -> None:
    """The same poses as CASIA-B and as anybody's table: the same embeddings, bit for bit."""
    expected = predicted(bench("predict", "--data.predict=all", f"--ckpt_path={checkpoint}"))
    assert run(embed(walkers, checkpoint, tmp_path)) == 0
    found = predicted(tmp_path / "found")
    assert found[KEY].equals(expected[KEY])
    np.testing.assert_array_equal([*found["embedding"]], [*expected["embedding"]])
    names = {path.name for path in (tmp_path / "found").iterdir()}
    assert names >= {"embeddings.npy", "sequences.csv", "config.yaml"}
    sequences = pd.read_csv(tmp_path / "found" / "sequences.csv")
    assert {"sequence", "frames", "first_frame", "followed"} <= set(sequences)


def test_json_of_openpose_gives_the_same_as_arrays(
    walkers: Path, cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """BODY_25 for a network of COCO-17; labels and further words take effect."""
    data = CasiaB(str(walkers), cache=str(cache))
    store = data.open_store()
    row = store.sequences.iloc[0]
    poses = store.frames[row["start"] : row["start"] + row["length"]]
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "walk.npy", poses)
    order = [0, 0, 6, 8, 10, 5, 7, 9, 0, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *[0] * 6]
    for i, pose in enumerate(poses[:, order]):
        path = tmp_path / "json" / "walk" / f"{i:012d}_keypoints.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        person = {"pose_keypoints_2d": [float(v) for v in pose.ravel()]}
        path.write_text(json.dumps({"version": 1.3, "people": [person]}))
    labels = tmp_path / "who.csv"
    labels.write_text("sequence,subject,view\nwalk,Ada,45\n")
    found = []
    for kind in ("arrays", "json"):
        out = tmp_path / f"of_{kind}"
        more = ("--labels", str(labels), "--person", "largest", "--data.eval_windows", "2")
        assert run(embed(tmp_path / kind, checkpoint, out, *more)) == 0
        found.append(predicted(out / "found"))
    assert found[0][KEY].to_numpy().tolist() == [["Ada", "walk", 0, 45]]
    np.testing.assert_allclose(found[0]["embedding"][0], found[1]["embedding"][0], atol=1e-6)


def test_a_network_of_attributes_tells_them_of_pixels(
    walkers: Path, tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained on normalised poses of 18 joints, asked of 17 in pixels; the window is its own."""
    fit = [
        *("fit", "--model=GaitFormer", "--data=DenseGait", f"--data.path={tracks}"),
        *(f"--data.cache={tmp_path / 'tracks'}", "--data.frames=6", "--model.period=6"),
        *("--data.train_windows=2", "--data.batch_size=4", "--model.depth=1", "--model.width=16"),
        *("--model.heads=2", "--model.attributes=[gender, body]", "--model.attribute_weight=0.5"),
        *("--trainer.max_epochs=1", f"--trainer.default_root_dir={tmp_path}", *QUICK),
    ]
    assert run(fit) == 0
    (checkpoint,) = newest_run(tmp_path).glob("checkpoints/*.ckpt")
    capsys.readouterr()
    words = ["embed", str(walkers), f"--ckpt_path={checkpoint}", f"--out={tmp_path / 'found'}"]
    assert run([*words, f"--cache={tmp_path / 'cache'}", *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "coco17 in pixels become openpose18 in units of the body, y up" in shown
    told = pd.read_csv(tmp_path / "found" / "attributes.csv", dtype={"subject": str})
    sequences = pd.read_csv(tmp_path / "found" / "sequences.csv", dtype={"subject": str})
    assert told[KEY].equals(sequences[KEY])
    assert list(told)[4:] == ["Female", "BodyThin", "BodyNormal", "BodyFat"]
    assert told.iloc[:, 4:].stack().between(0, 1).all()


def test_mistakes_are_one_sentence(
    walkers: Path,
    checkpoint: Path,
    tmp_path: Path,
    refused: Callable[[list[str]], str],
) -> None:
    source = tmp_path / "src"
    assert "does not exist; name a file of keypoints" in refused(
        embed(source, checkpoint, tmp_path)
    )
    source.mkdir()
    assert "holds no file of keypoints" in refused(embed(source, checkpoint, tmp_path))
    assert "would be read as keypoints the next time" in refused(
        embed(source, checkpoint, source / "out")
    )
    (source / "walk.json").write_text('[{"image_id": 1, "keypoints": [1, 2, NaN]}]')
    assert "walk.json has NaN or Infinity in line 1" in refused(embed(source, checkpoint, tmp_path))
    assert "none.ckpt" in refused(embed(walkers, tmp_path / "none.ckpt", tmp_path))
    assert "data.framez is no setting" in refused(
        embed(walkers, checkpoint, tmp_path, "--data.framez", "3")
    )
    assert not (tmp_path / "found" / "embeddings.npy").exists()
