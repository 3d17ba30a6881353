import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gaitbench
from gaitbench.callbacks import write_judged
from gaitbench.errors import InputError
from gaitbench.runs import read_run, read_runs, read_settings

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write the folders of a training and its test, as runs leave them, and return the latter."""

    def made(name: str, seed: int = 0, **changes: Any) -> Path:
        base = tmp_path / name
        config = {
            "seed_everything": seed,
            "trainer": {
                "max_epochs": 3,
                "logger": {"init_args": {"version": name}},
                "default_root_dir": str(base),
                "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"dirpath": name}}],
            },
            "model": {"class_path": "gaitbench.methods.GaitGraph2", "init_args": {"rate": 0.1}},
            "data": {
                "class_path": "gaitbench.datamodules.CasiaB",
                "init_args": {"path": "poses.csv", "split": "74/50", "cache": f"{name}/cache"},
            },
            "ckpt_path": None,
        }
        for key, value in changes.items():
            config["model"]["init_args"][key] = value  # type: ignore[index]
        write(base / "fit" / "config.yaml", config)
        (base / "fit" / "checkpoints").mkdir()
        (base / "fit" / "checkpoints" / "last.ckpt").touch()
        # seen from the folder above all
        tested = config | {
            "seed_everything": 0,
            "ckpt_path": f"{name}/fit/checkpoints/last.ckpt",
            "verbose": False,
            "evaluation": {"distance": None, "rerank": False},
        }
        write(base / "test" / "config.yaml", tested)
        metrics = {"casia_b.cross_view": {"NM": {"rank1": 0.5, "n": 10}}}
        (base / "test" / "metrics.json").write_text(json.dumps(metrics))
        return base / "test"

    return made


def write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# pytorch_lightning==2.6.6\n" + yaml.safe_dump(config))


def test_run_tells_what_made_it(make: Make) -> None:
    run = read_run(make("a", seed=3))
    assert (run.method, run.dataset, run.seed) == ("GaitGraph2", "CasiaB", 3)
    assert run.data["split"] == "74/50"
    assert run.versions == {"pytorch_lightning": "2.6.6"}
    assert run.metrics["casia_b.cross_view"]["NM"]["rank1"] == 0.5
    assert (run.distance, run.rerank, run.predictions) == (None, False, None)
    assert run.training["trainer"]["max_epochs"] == 3


def test_recipe_is_the_same_for_runs_that_differ_in_the_seed_alone(make: Make) -> None:
    first, second, other = (
        read_run(make(name, seed, rate=rate))
        for name, seed, rate in (("a", 0, 0.1), ("b", 1, 0.1), ("c", 2, 0.2))
    )
    assert first.recipe == second.recipe
    assert first.recipe != other.recipe
    assert [run.seed for run in (first, second, other)] == [0, 1, 2]


def test_test_in_the_trainings_own_folder_hides_the_seed(make: Make) -> None:
    folder = make("a", seed=3)
    (folder / "config.yaml").replace(folder.parent / "fit" / "config.yaml")
    (folder / "metrics.json").replace(folder.parent / "fit" / "metrics.json")
    run = read_run(folder.parent / "fit")
    assert run.seed is None
    assert run.recipe is None
    # unless the checkpoint tells it; what else was set is not known
    told = {"state_dict": {}, "pytorch-lightning_version": "2.6.6", "gaitbench": {"seed": 3}}
    torch.save(told, folder.parent / "fit" / "checkpoints" / "last.ckpt")
    run = read_run(folder.parent / "fit")
    assert (run.seed, run.recipe) == (3, None)


def test_fingerprint_is_that_of_the_runs_data(make: Make, tmp_path: Path) -> None:
    folder = make("a")
    (tmp_path / "poses.csv").touch()
    for name, source in (("x", tmp_path / "poses.csv"), ("y", tmp_path / "others.csv")):
        store = tmp_path / "a" / "cache" / name / "store.json"
        store.parent.mkdir(parents=True)
        store.write_text(json.dumps({"source": str(source), "fingerprint": name}))
    assert read_run(folder).fingerprint == "x"
    store.write_text(json.dumps({"source": str(tmp_path / "poses.csv"), "fingerprint": "y"}))
    assert read_run(folder).fingerprint is None  # it may be either


def test_predictions_know_what_their_run_knows(make: Make) -> None:
    folder = make("a", seed=4)
    inside = folder / "predictions"
    inside.mkdir()
    for name in ("embeddings.npy", "sequences.csv"):
        (inside / name).touch()
    for named in (folder, inside):
        run = read_run(named)
        assert (run.predictions, run.seed, run.method) == (inside, 4, "GaitGraph2")
        assert list(run.metrics) == ["casia_b.cross_view"]
    assert read_runs([inside])[0].name == "test"


def test_encodings_are_of_the_dataset_that_they_were_made_of(make: Make) -> None:
    source = make("a")
    folder = make("b")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    data = {"class_path": "Encodings", "init_args": {"path": [str(source / "predictions")]}}
    write(folder / "config.yaml", config | {"data": data})
    assert read_run(folder).dataset == "Encodings"
    (source / "predictions").mkdir()
    assert read_run(folder).dataset == "CasiaB"


def test_later_judgement_overrules_the_config_while_its_figures_are_there(make: Make) -> None:
    folder = make("a")
    write_judged(folder, stage="evaluate", distance="cosine", rerank=True)
    run = read_run(folder)
    assert (run.distance, run.rerank, run.stage) == ("cosine", True, "evaluate")
    assert run.versions["gaitbench"] == gaitbench.__version__
    (folder / "metrics.json").write_text("{}")  # another test in the same folder
    run = read_run(folder)
    assert (run.distance, run.rerank, run.stage) == (None, False, None)


def test_names_tell_runs_apart(make: Make) -> None:
    folders = [make("a"), make("b")]
    assert [run.name for run in read_runs(folders)] == ["a/test", "b/test"]
    with pytest.raises(InputError, match="is named twice; name each run once"):
        read_runs([folders[0], folders[0] / ".." / "test"])


def test_refuses_what_is_no_run(make: Make, tmp_path: Path) -> None:
    folder = make("a")
    with pytest.raises(InputError, match="it is a training's, so name"):
        read_run(folder.parent / "fit")
    with pytest.raises(InputError, match="is no folder; name that of a run"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match="; name the folder of a run of `validate`"):
        read_run(tmp_path)
    for text in ("[", '{"a": {"b": 1}}', "[1]"):
        (folder / "metrics.json").write_text(text)
        with pytest.raises(InputError, match="holds no figures"):
            read_run(folder)
    (folder / "metrics.json").write_text("{}")
    for text in (": [", "- a"):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(
            InputError, match=r"config\.yaml (is no readable YAML|holds no settings)"
        ):
            read_run(folder)


def test_a_run_that_begins_knows_the_settings_of_its_training(tmp_path: Path) -> None:
    training, test = tmp_path / "fit", tmp_path / "test"
    for folder in (training / "checkpoints", test):
        folder.mkdir(parents=True)
    assert read_settings(test) == ({}, {})
    checkpoint = training / "checkpoints" / "last.ckpt"
    checkpoint.touch()
    (training / "config.yaml").write_text("seed_everything: 7\n")
    (test / "config.yaml").write_text(f"ckpt_path: {checkpoint}\nverbose: false\n")
    own = {"ckpt_path": str(checkpoint), "verbose": False}
    assert read_settings(test) == (own, {"seed_everything": 7})
    (training / "config.yaml").write_text("a: [")  # no reason to stop the test
    assert read_settings(test) == (own, {})
