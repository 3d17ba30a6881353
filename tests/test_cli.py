import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gaitbench import synthetic
from gaitbench.__main__ import run
from gaitbench.checkpoints import read_checkpoint
from gaitbench.cli import after_configs, checkpoint_path, one_sentence, stored_settings
from gaitbench.losses import PairContrastive
from gaitbench.methods import GaitGraph2
from tests.conftest import CONFIG, SMALL, Bench, newest_run

DIM = 128  # of casia_b.yaml
METRICS = ("rank1", "rank5", "rank10", "map", "minp", "eer", "tar_at_far_0.01", "tar_at_far_0.001")


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(checkpoint)["state_dict"]
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two nests of plain values and tensors are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def embeddings(run: Path) -> np.ndarray:
    return np.load(run / "predictions" / "embeddings.npy", allow_pickle=False)


def settings_of(run: Path) -> dict[str, Any]:
    """The method's settings that a run says it has used."""
    import yaml

    found: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    return found


# ------------------------------------------------------------------------------ what a run leaves


def test_fit_leaves_a_checkpoint_that_is_safe_to_load(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    assert content["global_step"] == 6
    assert content["gaitbench"]["method"] == "GaitGraph2"
    assert content["gaitbench"]["skeleton"] == "coco17"
    assert content["hyper_parameters"]["learning_rate"] == 0.002
    assert not {"tta", "skeleton"} & set(content["hyper_parameters"])
    run = checkpoint.parents[1]
    assert (run / "config.yaml").is_file()
    assert list(run.glob("events.out.tfevents.*"))


def test_test_leaves_metrics_and_tables(bench: Bench, checkpoint: Path) -> None:
    found = bench("test", f"--ckpt_path={checkpoint}")
    metrics = json.loads((found / "metrics.json").read_text())
    assert set(metrics) == {"casia_b.cross_view", "casia_b.gaitgraph2"}
    assert list(metrics["casia_b.cross_view"]) == ["NM", "BG", "CL"]
    assert list(metrics["casia_b.gaitgraph2"]) == ["NM", "BG", "CL", "overall"]
    for probes in metrics["casia_b.cross_view"].values():
        assert probes["n"] == 4  # one walk of two people, two views
        assert probes["unmatched"] == 0
        for name in METRICS:
            low, high = probes[f"{name}_ci95"]
            assert 0 <= low <= high <= 1
            assert 0 <= probes[name] <= 1
    assert not (found / "predictions").exists()

    for protocol, content in metrics.items():
        table = pd.read_csv(found / "tables" / f"{protocol}.csv", dtype=str)
        assert ",".join(table) == "probe_set,gallery_view,probe_view,metric,value,n"
        cell = table[(table["metric"] == "rank1") & (table["probe_set"] == "NM")]
        cell = cell.dropna(subset=["gallery_view", "probe_view"])
        values = {(g, p): float(v) for g, p, v in cell.iloc[:, [1, 2, 4]].to_numpy()}
        assert {("0", "90"), ("90", "0")} <= set(values)
        mean = (values["0", "90"] + values["90", "0"]) / 2
        assert content["NM"]["rank1"] == pytest.approx(mean)
        assert "| rank-1 (%) | 0 | 90 | mean |" in (found / "tables" / f"{protocol}.md").read_text()
        assert r"\begin{tabular}" in (found / "tables" / f"{protocol}.tex").read_text()
        assert (found / "tables" / f"{protocol}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(found.rglob(".*"))


def test_test_prints_the_table(
    bench: Bench, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bench("test", f"--ckpt_path={checkpoint}")
    shown = capsys.readouterr().out
    for table in (found / "tables").glob("*.md"):
        assert table.read_text().strip() in shown
    assert f"written to {found}" in shown


def test_predict_leaves_embeddings_and_their_labels(bench: Bench, checkpoint: Path) -> None:
    found = bench("predict", f"--ckpt_path={checkpoint}", "--model.tta=false")
    values = embeddings(found)
    assert values.dtype == np.float32
    assert values.shape == (20, DIM)
    labels = pd.read_csv(found / "predictions" / "sequences.csv", dtype={"subject": str})
    assert list(labels)[:5] == ["subject", "condition", "number", "view", "frames"]
    assert "start" not in labels
    assert set(labels["subject"]) == {"075", "076"}
    assert len(labels) == 20
    assert (found / "metrics.json").is_file()
    assert (found / "tables").is_dir()


@pytest.mark.parametrize(("who", "people"), [("train", ["001", "002"]), ("all", None)])
def test_predict_embeds_whom_it_is_told_to(
    who: str, people: list[str] | None, bench: Bench, checkpoint: Path
) -> None:
    found = bench("predict", f"--ckpt_path={checkpoint}", f"--data.predict={who}")
    labels = pd.read_csv(found / "predictions" / "sequences.csv", dtype=str)
    assert sorted(set(labels["subject"])) == (people or ["001", "002", "075", "076"])
    assert len(embeddings(found)) == len(labels)


def test_predictions_go_where_they_are_told_to(bench: Bench, checkpoint: Path) -> None:
    elsewhere = bench.out / "else" / "where"
    found = bench("predict", f"--ckpt_path={checkpoint}", f"--predictions.dir={elsewhere}")
    assert sorted(p.name for p in elsewhere.iterdir()) == ["embeddings.npy", "sequences.csv"]
    assert not (found / "predictions").exists()


def test_protocols_can_be_chosen(bench: Bench, checkpoint: Path) -> None:
    chosen = "--evaluation.protocols=[casia_b.pooled,casia_b.first_walk]"
    found = bench("test", f"--ckpt_path={checkpoint}", chosen, "--evaluation.distance=cosine")
    metrics = json.loads((found / "metrics.json").read_text())
    assert set(metrics) == {"casia_b.pooled", "casia_b.first_walk"}


def test_runs_say_nothing_that_users_cannot_act_on(
    bench: Bench, checkpoint: Path, recwarn: pytest.WarningsRecorder
) -> None:
    bench("fit", "--data.validation=test")
    for command in ("validate", "test", "predict"):
        bench(command, "--data.validation=test", f"--ckpt_path={checkpoint}")
    assert [str(w.message) for w in recwarn] == []


# ------------------------------------------------------- results do not depend on how they are run


def test_table_does_not_depend_on_the_batch_size(bench: Bench, checkpoint: Path) -> None:
    found = {
        (
            bench("test", f"--ckpt_path={checkpoint}", f"--data.eval_batch_size={size}")
            / "metrics.json"
        ).read_bytes()
        for size in (1, 7, 256)
    }
    assert len(found) == 1


def test_same_seed_same_weights(bench: Bench, checkpoint: Path) -> None:
    def fitted(seed: int, *more: str) -> dict[str, torch.Tensor]:
        short = ("--trainer.max_epochs=1", "--model.backbone=resgcn-n21-r8")
        found = bench("fit", *short, f"--seed_everything={seed}", *more)
        return weights(found / "checkpoints" / "last.ckpt")

    first = fitted(1)
    assert same(first, fitted(1))
    assert not same(first, fitted(2))


def test_resumed_training_is_the_unbroken_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in the third epoch, of which the settings know nothing, and a fit from last.ckpt."""
    settings = ("--trainer.max_epochs=4", "--data.sequences_per_subject=4")
    whole = bench("fit", *settings) / "checkpoints" / "last.ckpt"

    class Crash(Exception):
        pass

    def crash(method: GaitGraph2, batch: Any, batch_idx: int) -> None:
        if method.current_epoch == 2 and batch_idx == 1:
            raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(GaitGraph2, "on_train_batch_start", crash, raising=False)
        bench("fit", *settings)
    broken = newest_run(bench.out) / "checkpoints" / "last.ckpt"
    assert broken != whole
    assert read_checkpoint(broken)["global_step"] == 2 * 3

    resumed = bench("fit", *settings, f"--ckpt_path={broken}") / "checkpoints" / "last.ckpt"
    assert resumed != broken
    one, other = read_checkpoint(whole), read_checkpoint(resumed)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert same(one[part], other[part]), part
    assert not same(one["state_dict"], weights(broken))


def test_fit_says_where_its_checkpoint_is(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    run = bench("fit", "--trainer.max_epochs=1")
    path = capsys.readouterr().out.split("checkpoint: ")[1].split("\n")[0]
    assert Path(path).resolve() == (run / "checkpoints" / "last.ckpt").resolve()


@pytest.mark.parametrize(("overlay", "steps"), [("as_published", 4), ("held_out", 2)])
def test_last_checkpoint_is_of_the_last_epoch(
    overlay: str, steps: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the checkpoint that is judged best is an earlier one."""
    losses = iter(range(99))
    monkeypatch.setattr(
        PairContrastive, "forward", lambda self, *batch: torch.tensor(float(next(losses)))
    )
    over = f"--config={CONFIG.with_name(f'casia_b_{overlay}.yaml')}"
    more = (over, "--trainer.check_val_every_n_epoch=1", "--data.held_out=0.5")
    found = bench("fit", *more, "--data.batch_size=10") / "checkpoints"
    assert next(losses) == 2
    assert read_checkpoint(found / "last.ckpt")["global_step"] == steps


def test_two_processes_judge_like_one(bench: Bench, checkpoint: Path) -> None:
    """20 sequences in batches of 7: the shares of the last batch repeat some."""
    shared = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.eval_batch_size=7")
    one = bench("predict", f"--ckpt_path={checkpoint}")
    two = bench.out / "two"
    words = bench.words("predict", f"--ckpt_path={checkpoint}", *shared)
    done = subprocess.run(
        [sys.executable, "-m", "gaitbench", *words, f"--trainer.default_root_dir={two}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    both = newest_run(two)
    assert (both / "metrics.json").read_bytes() == (one / "metrics.json").read_bytes()
    assert (both / "predictions" / "sequences.csv").read_bytes() == (
        one / "predictions" / "sequences.csv"
    ).read_bytes()
    np.testing.assert_allclose(embeddings(both), embeddings(one), atol=1e-5)


# ------------------------------------------------------------ settings that a checkpoint brings in


def test_checkpoint_brings_its_settings(bench: Bench, checkpoint: Path) -> None:
    """Without a config, the method comes from the checkpoint."""
    small = [word for word in SMALL if not word.startswith("--data.frames")]
    words = ["test", "--data=CasiaB", *bench.here, "--data.frames=8", *small]
    assert run([*words, f"--ckpt_path={checkpoint}"]) == 0
    used = settings_of(newest_run(bench.out))
    assert used["learning_rate"] == 0.002
    assert used["temperature"] == 0.05
    with_config = bench("test", f"--ckpt_path={checkpoint}")
    assert json.loads((with_config / "metrics.json").read_text()) == json.loads(
        (bench.out / "lightning_logs" / "version_0" / "metrics.json").read_text()
    )


def overruled(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if " hold: " in line]


def test_training_is_the_users(bench: Bench, checkpoint: Path) -> None:
    """Over the checkpoint's settings stand those of a config, and over these the words."""
    used = settings_of(
        bench(
            "fit",
            f"--ckpt_path={checkpoint}",
            "--model.learning_rate=0.5",
            "--trainer.max_epochs=3",
        )
    )
    assert used["learning_rate"] == 0.5
    assert used["temperature"] == 0.01  # said by the config


@pytest.mark.parametrize("command", ["test", "predict"])
def test_network_that_is_judged_is_the_checkpoints(
    command: str, bench: Bench, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over a config's settings stand the checkpoint's, and over these the words."""
    other = bench.out / "other.yaml"
    other.write_text("model:\n  init_args:\n    backbone: resgcn-b15\n    tta: true\n")
    more = (f"--config={other}", "--model.learning_rate=0.5")
    used = settings_of(bench(command, *more, f"--ckpt_path={checkpoint}"))
    assert (used["backbone"], used["temperature"], used["tta"]) == ("resgcn-n21-r8", 0.05, True)
    assert used["learning_rate"] == 0.5
    assert overruled(capsys) == [
        f"model settings of {checkpoint} hold: backbone resgcn-n21-r8 (configs say resgcn-b15), "
        "temperature 0.05 (configs say 0.01), learning_rate 0.002 (configs say 0.005)"
    ]


def test_nothing_is_said_where_nothing_is_overruled(
    bench: Bench, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = bench.words("test", f"--ckpt_path={checkpoint}")
    saved = checkpoint.parents[1] / "config.yaml"
    assert run([word.replace(str(CONFIG), str(saved)) for word in words]) == 0
    assert overruled(capsys) == []


def test_config_of_another_method_does_no_harm(
    bench: Bench, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its class and what only that knows are replaced, without a word but the one line."""
    other = bench.out / "other.yaml"
    settings = {
        "backbone": "resgcn-n39-r8",
        "streams": "raw",
        "test_time_flip": "time",
        "tta": True,
    }
    model = {"class_path": "GaitGraph", "init_args": settings}
    other.write_text(json.dumps({"model": model, "data": {"class_path": "CasiaB"}}))
    words = bench.words("predict", f"--ckpt_path={checkpoint}")
    assert run([word.replace(str(CONFIG), str(other)) for word in words]) == 0
    shown = capsys.readouterr()
    assert "test_time_flip" not in shown.err
    assert "hold: method GaitGraph2 (configs say GaitGraph), backbone resgcn-n21-r8" in shown.out
    used = settings_of(newest_run(bench.out))
    assert used["streams"] == "branches"
    assert used["tta"] is True
    assert "test_time_flip" not in used
    assert embeddings(newest_run(bench.out)).shape[1] == 3 * DIM


def test_checkpoint_says_which_joints_it_takes(bench: Bench) -> None:
    """Data of another layout are converted as in training, unless the user says otherwise."""
    fitted = bench("fit", "--trainer.max_epochs=1", "--data.skeleton=openpose18")
    ckpt = f"--ckpt_path={fitted}/checkpoints/last.ckpt"
    found = bench("predict", ckpt)
    import yaml

    data = yaml.safe_load((found / "config.yaml").read_text())["data"]["init_args"]
    assert data["skeleton"] == "openpose18"
    assert embeddings(found).shape == (20, 3 * DIM)


def test_training_can_go_on_for_longer(bench: Bench, checkpoint: Path) -> None:
    """The one-cycle schedule of two epochs ends where a third begins; the new one has three."""
    found = bench("fit", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=3")
    content = read_checkpoint(found / "checkpoints" / "last.ckpt")
    assert content["global_step"] == 9
    assert content["lr_schedulers"][0]["total_steps"] == 9


def test_learning_rate_of_the_command_line_is_trained_with(bench: Bench, checkpoint: Path) -> None:
    """Lightning 2.5.5 to 2.6.6 would train on with the stored one, and say the given one."""
    more = ("--trainer.max_epochs=3", "--model.learning_rate=0.1", "--model.weight_decay=0.25")
    found = bench("fit", f"--ckpt_path={checkpoint}", *more)
    assert settings_of(found)["learning_rate"] == 0.1
    content = read_checkpoint(found / "checkpoints" / "last.ckpt")
    assert content["hyper_parameters"]["learning_rate"] == 0.1
    (group,) = content["optimizer_states"][0]["param_groups"]
    assert (group["max_lr"], group["weight_decay"]) == (0.1, 0.25)


@pytest.mark.parametrize("command", ["test", "predict"])
def test_augmentation_of_the_command_line_is_what_happens(
    command: str, bench: Bench, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same checkpoint, trained with tta false, with and without: different embeddings."""
    widths = []
    embed = GaitGraph2.embed

    def watched(method: GaitGraph2, frames: torch.Tensor) -> torch.Tensor:
        embedding = embed(method, frames)
        widths.append(embedding.shape[1])
        return embedding

    monkeypatch.setattr(GaitGraph2, "embed", watched)
    found = {
        tta: bench(command, f"--ckpt_path={checkpoint}", f"--model.tta={tta}")
        for tta in ("true", "false")
    }
    assert widths == [3 * DIM, DIM]
    if command == "predict":
        wide, plain = embeddings(found["true"]), embeddings(found["false"])
        np.testing.assert_allclose(wide[:, :DIM], plain, atol=1e-5)


def test_ckpt_path_of_a_yaml_loads_the_weights(bench: Bench, checkpoint: Path) -> None:
    named = bench.out / "named.yaml"
    named.write_text(f"ckpt_path: {checkpoint}\n")
    one = bench("predict", f"--config={named}")
    other = bench("predict", f"--ckpt_path={checkpoint}")
    assert np.array_equal(embeddings(one), embeddings(other))
    assert settings_of(one)["temperature"] == 0.05


def test_stored_settings_are_those_of_the_method(checkpoint: Path) -> None:
    found = stored_settings(read_checkpoint(checkpoint), checkpoint)
    assert found["class_path"].rpartition(".")[2] == "GaitGraph2"
    assert found["init_args"]["learning_rate"] == 0.002
    assert not [name for name in found["init_args"] if name.startswith("_")]
    assert stored_settings({}, checkpoint) == {}


@pytest.mark.parametrize(
    ("words", "configs", "path"),
    [
        (["--ckpt_path", "a"], [{"ckpt_path": "b"}], "a"),
        (["--ckpt_path=b", "--ckpt_path=a"], [], "a"),
        ([], [{"ckpt_path": "b"}, {"ckpt_path": "a"}, {"model": {}}], "a"),
        ([], [{"ckpt_path": None}], None),
        (["--ckpt_path", "best"], [], None),
        (["--ckpt_path=last"], [{"ckpt_path": "b"}], None),
    ],
)
def test_checkpoint_is_that_which_the_parser_takes(
    words: list[str], configs: list[dict[str, Any]], path: str | None
) -> None:
    assert checkpoint_path(["test", *words], configs) == (path and Path(path))


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["test", "--x=1"], 1),
        (["test", "--config", "a", "--x=1"], 3),
        (["test", "--x=1", "--config=a", "--y"], 3),
        (["test", "-c", "a", "-cb", "--x"], 4),
    ],
)
def test_place_after_the_configs(words: list[str], place: int) -> None:
    assert after_configs(words) == place


# --------------------------------------------------------------------------------------- learning


def test_learning_beats_chance(tmp_path: Path) -> None:
    """45 steps on six walkers tell them apart from another side than that of the gallery."""
    people = synthetic.synthesize_casia_b(
        tmp_path, 10, 0, sequences={"nm": (1, 2, 5), "bg": (1,), "cl": (1,)}, views=(72, 90)
    )
    bench = Bench(people, tmp_path / "cache", tmp_path)
    plain = [f"--data.augmentation.{n}=0" for n in ("reverse", "swap_sides", "joint_noise")]
    found = bench(
        "fit",
        "--data.frames=24",
        "--data.batch_size=24",
        "--data.sequences_per_subject=4",
        "--data.augmentation.point_noise=0",
        "--data.augmentation.move=[0,0]",
        *plain,
        "--model.temperature=0.1",
        "--trainer.max_epochs=15",
    )
    checkpoint = f"--ckpt_path={found}/checkpoints/last.ckpt"
    judged = bench("predict", checkpoint, "--data.frames=24", "--data.predict=train")
    figures = json.loads((judged / "metrics.json").read_text())["casia_b.cross_view"]
    rank1 = [figures[probes]["rank1"] for probes in ("NM", "BG", "CL")]
    chance = 1 / 6
    assert rank1[0] > 4 * chance
    assert np.mean(rank1) > 3 * chance


# ------------------------------------------------------------------------------ words about errors


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Parser key \"model\":\n  Option 'temprature' is not accepted",
            "model.temprature is no setting",
        ),
        ("unrecognized arguments: --nonsense 1", "--nonsense is no setting"),
        ("Parser key \"data.batch_size\":\n  Expected a <class 'int'>. Got value: x",
         "data.batch_size: Expected a <class 'int'>. Got value: x"),
        ("something else\n\n  of two lines", "something else of two lines"),
    ],
)  # fmt: skip
def test_one_sentence_keeps_what_can_be_mended(message: str, sentence: str) -> None:
    assert one_sentence(message) == sentence
