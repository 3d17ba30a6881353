"""Checkpoints of SGE-LA's program become ones that `test` and `predict` take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitbench.__main__ import run
from gaitbench.checkpoints import read_checkpoint
from gaitbench.methods import SGELA, AgeRecognition
from tests.goldens import SGELA as GOLDEN
from tests.goldens import golden, unpacked_folder
from tests.published.test_sgela import variables
from tests.tf_writer import write_checkpoint


def loaded(path: Path, kind: type[Any], **settings: Any) -> tuple[Any, dict[str, Any]]:
    """The method in a checkpoint, and what the checkpoint says of itself."""
    content = read_checkpoint(path)
    stored = content["hyper_parameters"]
    assert stored["_class_path"] == f"gaitbench.methods.{kind.__name__}"
    given = {name: value for name, value in stored.items() if not name.startswith("_")}
    method = kind(**given, **settings)
    method.load_state_dict(content["state_dict"])
    return method.eval(), content["gaitbench"]


@pytest.mark.parametrize("prefix", [True, False])
def test_an_encoder_of_three_axes(
    prefix: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for axis in "xyz":
        (tmp_path / f"BIWI_LA_{axis}").symlink_to(unpacked_folder("tf1_checkpoint", GOLDEN))
    sources = [tmp_path / "BIWI_LA"] if prefix else sorted(tmp_path.glob("BIWI_LA_*"))
    target = tmp_path / "sgela.ckpt"
    assert run(["import-checkpoint", "sgela", *map(str, sources), str(target)]) == 0
    said = capsys.readouterr().out
    assert "is a checkpoint of SGE-LA; as SGELA:" in said
    assert "unmatched keys: lstm_weights_layer_1, lstm_weights_layer_2\n" in said
    assert "note: no variable tells the frames of its windows; 6 are assumed" in said

    method, about = loaded(target, SGELA)
    assert about["source"]["file"].count("trained_model.ckpt.index") == 3
    data = golden("tf1_expected", GOLDEN)
    one = torch.from_numpy(data["in/x"])
    with torch.no_grad():
        found = method(torch.stack([one] * 3, dim=-1)).unflatten(1, (3, -1))
    alignments = data["out/attention"].transpose(1, 0, 2)
    expected = (alignments @ data["out/encoder_outputs"]).reshape(len(one), -1)
    for values in found.unbind(1):
        np.testing.assert_allclose(values.numpy(), expected, atol=2e-6)


def test_frames_may_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(unpacked_folder("tf1_checkpoint", GOLDEN))
    words = ["import-checkpoint", "sgela", *[source] * 3, str(tmp_path / "x"), "--frames", "4"]
    assert run(words) == 0
    assert "assumed" not in capsys.readouterr().out
    assert loaded(tmp_path / "x", SGELA)[0].frames == 4


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """The recognition network of the training that was recorded, in TensorFlow's format."""
    data = golden("rn_train", GOLDEN)
    end = {name: data[f"BIWI_ap/end/{name}"] for name in ("W1", "b1", "W", "Variable")}
    adam = {"W/Adam3": end["W"], "new_train/beta1_power": np.zeros((), np.float32)}
    folder = tmp_path / "BIWI_LA_RN_ap"
    folder.mkdir()
    write_checkpoint(folder / "trained_model.ckpt", end | adam)
    return folder


def test_a_recognition_network(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = golden("rn_train", GOLDEN)
    inputs, logits = data["BIWI_ap/in/X"], data["BIWI_ap/out/logits_end"]
    people = [f"{number:03d}" for number in range(logits.shape[1])]
    target = tmp_path / "rn.ckpt"
    words = ["import-checkpoint", "sgela-recognition", str(classifier), str(target)]
    assert run([*words, "--frames", "1", "--subjects", *people]) == 0
    assert "unmatched keys: none\n" in capsys.readouterr().out

    width = inputs.shape[1] // 3
    settings: dict[str, Any] = {
        "skeleton": f"age-1x3x{width}",
        "num_subjects": len(people),
    }
    method, about = loaded(target, AgeRecognition, **settings)
    assert about["subjects"] == people
    assert (about["dataset"], about["skeleton"]) == ("encodings", settings["skeleton"])
    encodings = torch.from_numpy(inputs).view(len(inputs), 1, 3, width)
    with torch.no_grad():
        found = method.told(encodings)
    assert found["scores"].shape == ((len(inputs), 1, len(people)))
    np.testing.assert_allclose(found["embedding"].numpy(), logits, atol=1e-4)


@pytest.mark.parametrize(("frames", "manner"), [(2, "sc"), (6, "ap")])
def test_the_manner_follows_from_the_sizes(frames: int, manner: str, tmp_path: Path) -> None:
    inputs = 3 * 4 * (frames if manner == "sc" else 1)
    shapes = {"W1": (inputs, 4), "b1": (4,), "W": (4, 5), "Variable": (5,)}
    write_checkpoint(tmp_path / "x", {n: np.ones(s, np.float32) for n, s in shapes.items()})
    target = tmp_path / "rn.ckpt"
    words = ["import-checkpoint", "sgela-recognition", str(tmp_path / "x"), str(target)]
    assert run([*words, "--frames", str(frames)]) == 0
    content = read_checkpoint(target)
    assert content["hyper_parameters"]["manner"] == manner
    assert content["gaitbench"]["skeleton"] == f"age-{frames}x3x4"


def test_mistakes_are_told_in_one_sentence(
    classifier: Path, tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    encoder, target = unpacked_folder("tf1_checkpoint", GOLDEN), str(tmp_path / "x")
    for words, message in (
        (["sgela", str(tmp_path / "no"), target], "no_z is no folder of a checkpoint; name"),
        (["sgela", str(encoder), str(encoder), target], "2 checkpoints are named; name those of x"),
        (
            ["sgela", *[str(classifier)] * 3, target],
            "BIWI_LA_RN_ap holds no gait encoder: it lacks",
        ),
        (["sgela-recognition", str(encoder), target], "holds no recognition network: it lacks W1"),
        (["sgela-recognition", *[str(classifier)] * 2, target], "has one source, 2 are named"),
        (
            ["sgela-recognition", str(classifier), target, "--subjects", "a", "b"],
            "--subjects names 2 people, ",
        ),
        (["sgela", *[str(encoder)] * 3, target, "--frames", "0"], "--frames is 0; give 1 or more"),
    ):
        assert message in refused(["import-checkpoint", *words])
    assert not Path(target).exists()


def test_options_belong_to_methods(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["sgela", "a", "b", "--subjects", "x"], "sgela has no --subjects"),
        (["gaitgraph", "a", "b", "--frames", "6"], "gaitgraph has no --frames"),
        (["gaitgraph", "a", "b", "c"], "gaitgraph has one source, 2 are named"),
    ):
        with pytest.raises(SystemExit):
            run(["import-checkpoint", *words])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(("joints", "skeleton"), [(14, "body14"), (25, "kinect25")])
def test_layouts_of_other_sets(
    joints: int, skeleton: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "KS20_LA_x"
    source.mkdir()
    write_checkpoint(source / "trained_model.ckpt", variables(hidden=4, joints=joints))
    target = tmp_path / "x"
    assert run(["import-checkpoint", "sgela", *[str(source)] * 3, str(target)]) == 0
    assert loaded(target, SGELA, skeleton=skeleton)[1]["skeleton"] == skeleton
    capsys.readouterr()
    write_checkpoint(source / "trained_model.ckpt", variables(hidden=4, joints=5))
    assert run(["import-checkpoint", "sgela", *[str(source)] * 3, str(tmp_path / "y")]) == 2
    fault = capsys.readouterr().err
    assert "draws 5 joints, known are body14 of 14, kinect20 of 20, kinect25 of 25" in fault
    assert not (tmp_path / "y").exists()
