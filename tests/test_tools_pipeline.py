"""Stages of a method by one command."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitbench.__main__ import run
from gaitbench.checkpoints import read_checkpoint
from gaitbench.errors import InputError
from gaitbench.methods import GaitGraph2
from gaitbench.recovery import checkpoints_of
from gaitbench.synthetic import synthesize_biwi
from gaitbench.tools import pipeline
from tests.conftest import CONFIG, SMALL

PIPELINES = sorted(CONFIG.parents[1].rglob("*.pipeline.yaml"))
STAGES: dict[str, Any] = {
    "train": {"run": "fit", "config": "small.yaml"},
    "embed": {
        "run": "predict",
        "config": ["small.yaml"],
        "set": {"data.predict": "all"},
        "from": {"ckpt_path": "train"},
    },
    "further": {
        "run": "fit",
        "config": "small.yaml",
        "from": {"model.initial_weights": "train"},
    },
    "judge": {"run": "test", "config": "small.yaml", "from": {"ckpt_path": "further"}},
}
PLACES = r"\[(\d)/\d\] (\w+): (.*)"


@pytest.fixture
def file(walkers: Path, cache: Path, tmp_path: Path) -> Path:
    """Four stages on a tiny dataset."""
    content = yaml.safe_load(CONFIG.read_text())
    content["data"]["init_args"] |= {"path": str(walkers), "cache": str(cache)}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    return written(tmp_path / "tiny.pipeline.yaml", STAGES)


def written(path: Path, stages: Any) -> Path:
    path.write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return path


def status(file: Path, *words: str) -> int:
    return run(["pipeline", str(file), "--out", str(file.parent / "out"), *SMALL, *words])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Stage -> the last that was said of it."""
    found = re.findall(PLACES, capsys.readouterr().out)
    assert [int(number) for number, _, _ in found] == sorted(int(n) for n, _, _ in found)
    return {name: text for _, name, text in found}


def ran(said: dict[str, str]) -> list[str]:
    return [name for name, text in said.items() if "unchanged" not in text]


def test_stages_run_once_and_again_where_something_changed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = file.parent / "out"
    assert status(file) == 0
    assert ran(told(capsys)) == ["train", "embed", "further", "judge"]
    assert (out / "train" / "checkpoints" / "last.ckpt").is_file()
    assert (out / "embed" / "predictions" / "embeddings.npy").is_file()
    assert json.loads((out / "judge" / "metrics.json").read_text())
    assert (out / "train" / "config.yaml").is_file()

    # words for one stage, and what comes after it takes up what it gave; a comment is no setting
    config = file.parent / "small.yaml"
    config.write_text(config.read_text() + "# indeed\n")
    words = ("--data.num_workers=0", "--further.model.learning_rate=0.004", "--again", "embed")
    assert status(file, *words) == 0
    assert ran(told(capsys)) == ["embed", "further", "judge"]
    assert (out / "further.previous" / "checkpoints" / "last.ckpt").is_file()
    # what was lost is made anew
    (out / "embed" / "predictions" / "sequences.csv").unlink()
    written(file, {name: STAGES[name] for name in ("train", "embed")})
    assert status(file, "--data.num_workers=0") == 0
    assert ran(told(capsys)) == ["embed"]


def test_changed_data_are_trained_on_anew(
    file: Path, walkers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = {"train": STAGES["train"]}
    written(file, stages)
    other = file.parent / "poses.csv"
    other.write_bytes(walkers.read_bytes())
    words = (f"--data.path={other}", f"--data.cache={file.parent / 'cache'}")
    for expected in (": fit ...", "unchanged"):
        assert status(file, *words) == 0
        assert expected in capsys.readouterr().out
    state = other.stat()
    lines = other.read_text().splitlines(keepends=True)
    other.write_text("".join(lines[:-1]))
    assert other.stat().st_size < state.st_size
    assert status(file, *words) == 0
    assert "unchanged" not in capsys.readouterr().out


def test_a_stopped_training_goes_on(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(file, {name: STAGES[name] for name in ("train", "embed")})
    out = file.parent / "out"
    assert status(file) == 0
    whole = pipeline.mark_of(out / "embed" / "predictions")
    capsys.readouterr()

    def dies(method: GaitGraph2, *anything: Any) -> None:
        if method.trainer.global_step == 4:
            raise RuntimeError("killed\nby somebody")

    often = ("--recovery.every_minutes=0", "--trainer.log_every_n_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(GaitGraph2, "on_train_batch_start", dies)
        assert status(file, *often, "--again", "train") == 2
    said = capsys.readouterr().err
    assert said.endswith("error: stage train (fit) failed: RuntimeError: killed\n")
    assert "mark" not in json.loads((out / "train" / "stage.json").read_text())
    # within the second epoch, and not from the end of the first; the newest was not written whole
    before, newest = (out / "train" / "recovery" / f"step-{step:09d}.ckpt" for step in (4, 5))
    assert before.is_file()
    newest.write_bytes(b"half")
    assert status(file, *often) == 0
    said = capsys.readouterr().out
    assert f"{newest} is no checkpoint that can be read safely" in said
    assert f"[1/2] train: fit, going on from {before} ..." in said
    assert pipeline.mark_of(out / "embed" / "predictions") == whole
    assert not before.parent.exists()


def test_a_stopped_training_whose_checkpoints_are_all_damaged(
    file: Path, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is thrown away before somebody has looked."""
    written(file, {"train": STAGES["train"]})
    stage = file.parent / "out" / "train"

    def dies(method: GaitGraph2) -> None:
        if method.current_epoch == 1:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(GaitGraph2, "on_train_epoch_start", dies)
        assert status(file) == 2
    left = checkpoints_of(stage)
    assert left
    for path in left:
        path.write_bytes(b"half")
    sentence = refused(["pipeline", str(file), "--out", str(stage.parent), *SMALL])
    assert f"stage train (fit) failed: no checkpoint in {stage} is whole" in sentence
    assert sorted(checkpoints_of(stage)) == sorted(left)


def test_a_later_stages_mistake_is_found_before_the_first_runs(
    file: Path, refused: Callable[[list[str]], str]
) -> None:
    words = ["pipeline", str(file), "--out", str(file.parent / "out")]
    sentence = refused([*words, "--judge.model.nonsense=1"])
    assert "stage judge (test) cannot run: model.nonsense is no setting" in sentence
    assert "'lost' belongs to no setting; write --setting=lost" in refused([*words, "lost"])
    assert "--again names nobody, " in refused([*words, "--again", "nobody"])
    assert not (file.parent / "out").exists()


def test_a_foreign_folder_is_left_alone(file: Path, refused: Callable[[list[str]], str]) -> None:
    mine = file.parent / "out" / "train" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    sentence = refused(["pipeline", str(file), "--out", str(file.parent / "out"), *SMALL])
    assert f"{mine.parent} is not of a pipeline; name another folder with --out" in sentence
    assert os.listdir(mine.parent) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stages: [", "is no YAML ("),
        ("stages: {}", "holds no pipeline; expected `stages:` alone"),
        ("{stages: {a: {}}, more: 1}", "holds no pipeline"),
        ("stages: {data: {run: fit}}", "stage data: a name has letters"),
        ("stages: {a b: {run: fit}}", "stage a b: a name has letters"),
        ("stages: {a: {runs: fit}}", "stage a: expected the entries run, config, set, from"),
        ("stages: {a: {run: fly}}", "stage a: run is 'fly', expected one of fit, validate"),
        ("stages: {a: {run: fit}}", "stage a: config names no file"),
        ("stages: {a: {run: fit, config: no.yaml}}", "no.yaml does not exist; mend it"),
        ("stages: {a: {run: fit, config: c.yaml, set: [1]}}", "lines `setting: ...`"),
        (
            "stages: {a: {run: fit, config: c.yaml, from: {data.path: b}}}",
            "stage a: from takes data.path of 'b', which is no stage before it",
        ),
        (
            "stages: {a: {run: predict, config: c.yaml}, "
            "b: {run: fit, config: c.yaml, from: {data.path: [a, c]}}}",
            "stage b: from takes data.path of 'c', which is no stage before it",
        ),
        (
            "stages: {a: {run: fit, config: c.yaml, from: {data.path: []}}}",
            "stage a: from takes data.path of [], expected a stage before it",
        ),
        (
            "stages: {a: {run: fit, config: c.yaml}, "
            "b: {run: test, config: c.yaml, from: {ckpt_path: [a, a]}}}",
            "stage b: from takes ckpt_path of ['a', 'a'], expected a stage before it",
        ),
        (
            "stages: {a: {run: predict, config: c.yaml}, "
            "b: {run: test, config: c.yaml, from: {ckpt_path: a}}}",
            "stage b: from takes ckpt_path of a, which trains nothing",
        ),
        (
            "stages: {a: {run: predict, config: c.yaml}, "
            "b: {run: test, config: c.yaml, from: {data.path: a/best}}}",
            "stage b: from takes data.path of 'a/best', expected a, or of a fit /best",
        ),
    ],
)
def test_faulty_files_are_refused_in_one_sentence(
    content: str, message: str, tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    (tmp_path / "c.yaml").write_text("seed_everything: 0\n")
    path = tmp_path / "x.pipeline.yaml"
    path.write_text(content)
    assert message in refused(["pipeline", str(path)])


def test_a_missing_file_is_refused(tmp_path: Path, refused: Callable[[list[str]], str]) -> None:
    assert "no.yaml cannot be read (No such" in refused(["pipeline", str(tmp_path / "no.yaml")])


def test_the_best_checkpoint_is_the_one_that_is_not_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with pytest.raises(InputError, match=r"no last checkpoint; give .* filename last"):
        pipeline.outcome(tmp_path)
    (folder / "last.ckpt").write_text("")
    assert pipeline.outcome(tmp_path) == folder / "last.ckpt"
    with pytest.raises(InputError, match=r"no best checkpoint; give .* with a monitor"):
        pipeline.outcome(tmp_path, "best")
    (folder / "chosen-03.ckpt").write_text("")
    assert pipeline.outcome(tmp_path, "best") == folder / "chosen-03.ckpt"
    assert pipeline.outcome(tmp_path) == folder / "last.ckpt"
    (folder / "last.ckpt").unlink()
    assert pipeline.outcome(tmp_path) == folder / "chosen-03.ckpt"


def test_words_go_to_the_stages_they_name() -> None:
    stages = [pipeline.Stage(name, "fit", (), ("--own",), {}) for name in ("a", "b", "c")]
    given = ["--x=1", "--a,c.y", "2", "--b.z.w=3"]
    words = [stage.words for stage in pipeline.with_words(stages, given)]
    assert words == [
        ("--own", "--x=1", "--y", "2"),
        ("--own", "--x=1", "--z.w=3"),
        ("--own", "--x=1", "--y", "2"),
    ]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.name)
def test_shipped_pipelines_fit_their_configs(path: Path) -> None:
    stages = pipeline.read_stages(path)
    assert (stages[0].command, stages[-1].command) == ("fit", "test")
    for stage in stages:
        pipeline.check(stage)


def test_the_published_stages_run_on_a_tiny_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthesize_biwi(tmp_path, 2, 0)
    out = tmp_path / "out"
    given = [f"--encode,extract.data.path={tmp_path}", f"--encode,extract.data.cache={tmp_path}"]
    words = ["--trainer.max_epochs=2", "--encode.model.hidden=8", "--evaluation.bootstrap=0"]
    words += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    file = next(path for path in PIPELINES if path.stem == "biwi_as_published.pipeline")
    for expected in (["encode", "extract", "recognise", "judge"], ["judge"]):
        assert run(["pipeline", str(file), "--out", str(out), *given, *words]) == 0
        assert ran(told(capsys)) == expected
        if len(expected) > 1:
            (out / "judge" / "metrics.json").write_text("{}")
    figures = json.loads((out / "judge" / "metrics.json").read_text())
    assert list(figures) == ["encodings.closed_set_reference", "encodings.closed_set"]
    assert sorted(p.name for p in (out / "recognise" / "checkpoints").iterdir()) == ["best.ckpt"]
    # a part of the stages, on encodings that are named
    config = CONFIG.parents[1] / "sgela" / "recognise.yaml"
    part = written(tmp_path / "part.yaml", {"again": {"run": "fit", "config": str(config)}})
    words.remove("--encode.model.hidden=8")
    words.append(f"--data.path={out / 'extract'}")
    for expected in (["again"], []):
        assert run(["pipeline", str(part), "--out", str(out), *words]) == 0
        assert ran(told(capsys)) == expected
    settings = yaml.safe_load((out / "judge" / "config.yaml").read_text())
    assert settings["ckpt_path"] == str(out / "recognise" / "checkpoints" / "best.ckpt")


def test_a_stage_may_take_what_several_gave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Networks with targets of their own, and a classifier of their encodings side by side."""
    synthesize_biwi(tmp_path, 2, 0)
    out = tmp_path / "out"
    words = [f"--data.path={tmp_path}", f"--data.cache={tmp_path}", "--model.hidden=8"]
    names = ("reversed", "next", "sorted")
    words = [f"--encode_{name},extract_{name}.{word[2:]}" for name in names for word in words]
    words += ["--trainer.max_epochs=1", "--evaluation.bootstrap=0", "--trainer.accelerator=cpu"]
    words += ["--trainer.enable_progress_bar=false", "--recognise.model.hidden=16"]
    file = next(path for path in PIPELINES if path.stem == "journal_plus.pipeline")
    assert run(["pipeline", str(file), "--out", str(out), *words]) == 0
    assert len(ran(told(capsys))) == 8
    settings = yaml.safe_load((out / "recognise" / "config.yaml").read_text())
    path = settings["data"]["init_args"]["path"]
    assert path == [str(out / f"extract_{name}" / "predictions") for name in names]
    last = read_checkpoint(out / "recognise" / "checkpoints" / "last.ckpt")
    assert last["gaitbench"]["skeleton"] == "age-6x3x24"
    # another network of the three, and what comes after it
    words.append("--encode_sorted.model.attention=locality")
    assert run(["pipeline", str(file), "--out", str(out), *words]) == 0
    assert ran(told(capsys)) == ["encode_sorted", "extract_sorted", "recognise", "judge"]
