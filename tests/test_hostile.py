"""Bad input: one sentence that names the place, exit status 2, and nothing half-written."""

import errno
import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Bench
from tests.goldens import unpacked

Refused = Callable[[list[str]], str]


def left_in(*folders: Path) -> list[str]:
    """Files and folders that are there, but for locks and the folders given."""
    found = [p for folder in folders for p in folder.rglob("*") if p not in folders]
    return sorted(p.name for p in found if p.suffix != ".lock")


@pytest.fixture
def lines(walkers: Path) -> list[str]:
    """The table of poses: its header, 60 frames of a training and of a test subject."""
    whole = walkers.read_text().splitlines()
    cut = [[line for line in whole if line.startswith(f"./{s}-")][:60] for s in ("001", "075")]
    return [whole[0], *cut[0], *cut[1]]


class Poses:
    """A table of poses of one's own, and the command line on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "raw" / "poses.csv"
        self.cache, self.out = folder / "cache", folder / "out"
        for made in (self.path.parent, self.cache, self.out):
            made.mkdir()

    def write(self, lines: list[str]) -> None:
        self.path.write_text("".join(f"{line}\n" for line in lines))

    def words(self, command: str = "fit", *more: str) -> list[str]:
        return Bench(self.path, self.cache, self.out).words(command, *more)

    @property
    def left(self) -> list[str]:
        return left_in(self.cache, self.out)


@pytest.fixture
def poses(tmp_path: Path) -> Poses:
    return Poses(tmp_path)


# ---------------------------------------------------------------------------------- the pose table


def field(lines: list[str], line: int, column: int, value: str) -> None:
    """Put a value in a table at a line that counts the header as 1 and a column from 0."""
    fields = lines[line - 1].split(",")
    fields[column] = value
    lines[line - 1] = ",".join(fields)


def _columns(lines: list[str]) -> None:
    lines[0] = lines[0].replace("nose_x", "nose_u")


def _joints(lines: list[str]) -> None:
    lines[:] = [line.rsplit(",", 3)[0] for line in lines]


def _duplicate(lines: list[str]) -> None:
    lines.insert(9, lines[4])


TABLES: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "wrong column": (_columns, "line 1"),
    "wrong joint count": (_joints, "line 1"),
    "short line": (lambda t: t.__setitem__(6, t[6].rsplit(",", 1)[0]), "line 7"),
    "text": (lambda t: field(t, 5, 2, "left"), "line 5: nose_y is 'left'"),
    "NaN": (lambda t: field(t, 5, 1, "nan"), "line 5: nose_x is 'nan'"),
    "infinity": (lambda t: field(t, 121, 3, "inf"), "line 121: nose_conf is 'inf'"),
    "nothing": (lambda t: field(t, 8, 51, ""), "line 8: right_ankle_conf is ''"),
    "image name": (lambda t: field(t, 6, 0, "./001-nm-1-090/1.jpg"), "line 6: image_name is"),
    "no frame": (lambda t: field(t, 6, 0, "./001-nm-01-090/.jpg"), "line 6: image_name is"),
    "duplicated frame": (_duplicate, "line 10"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_table_of_poses(fault: str, poses: Poses, lines: list[str], refused: Refused) -> None:
    harm, place = TABLES[fault]
    harm(lines)
    poses.write(lines)
    sentence = refused(poses.words())
    assert f"{poses.path} {place}" in sentence
    assert poses.left == []


def test_table_that_is_missing(poses: Poses, refused: Refused) -> None:
    assert f"{poses.path} does not exist" in refused(poses.words())
    assert poses.left == []


@pytest.mark.parametrize("rows", [0, 1])
def test_table_that_is_empty(rows: int, poses: Poses, lines: list[str], refused: Refused) -> None:
    """No byte at all, and a header alone."""
    poses.write(lines[:rows])
    assert str(poses.path) in refused(poses.words())
    assert poses.left == []


def test_truncated_gzip(poses: Poses, lines: list[str], refused: Refused) -> None:
    poses.write(lines)
    packed = gzip.compress(poses.path.read_bytes())
    poses.path.write_bytes(packed[: len(packed) // 2])
    assert f"{poses.path} is truncated or damaged gzip" in refused(poses.words())
    assert poses.left == []


def test_good_part_of_those_tables_is_accepted(poses: Poses, lines: list[str]) -> None:
    """So that the tests above fail for the fault alone."""
    poses.write(lines)
    bench = Bench(poses.path, poses.cache, poses.out)
    assert bench.status("fit", "--trainer.fast_dev_run=true") == 0


# --------------------------------------------------------------------- sequences that are not there


def test_nobody_to_train(poses: Poses, lines: list[str], refused: Refused) -> None:
    poses.write([lines[0], *(line for line in lines if line.startswith("./075-"))])
    sentence = refused(poses.words())
    assert "no train sequence is left" in sentence
    assert f"{poses.path}" in sentence
    assert "1 subjects (075 to 075)" in sentence
    assert "metrics.json" not in poses.left


def test_every_sequence_is_too_short(bench: Bench, checkpoint: Path, refused: Refused) -> None:
    for command in ("fit", "test"):
        words = bench.words(command, "--data.min_frames=1000")
        words += [f"--ckpt_path={checkpoint}"] if command == "test" else []
        assert "data.min_frames" in refused(words)
    assert not list(bench.out.rglob("metrics.json"))


@pytest.mark.parametrize(
    ("wanted", "kept", "message"),
    [("gallery", "-bg-", "wants gallery sequences"), ("probe", "-nm-01-", "wants probe sequences")],
)
def test_nobody_to_compare_with(
    wanted: str,
    kept: str,
    message: str,
    poses: Poses,
    walkers: Path,
    checkpoint: Path,
    refused: Refused,
) -> None:
    header, *rows = walkers.read_text().splitlines()
    poses.write([header, *(row for row in rows if kept in row)])
    sentence = refused(poses.words("predict", f"--ckpt_path={checkpoint}"))
    assert f"casia_b.cross_view {message}" in sentence
    assert not list(poses.out.rglob("metrics.json"))
    assert not list(poses.out.rglob("tables"))


# -------------------------------------------------------------------------------------- checkpoints


class Evil:
    """What a pickle can do."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


def _edited(checkpoint: Path, to: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    torch.save(content, to)


def _unknown_skeleton(content: dict[str, Any]) -> None:
    content["gaitbench"]["skeleton"] = "pose25"


def _other_network(content: dict[str, Any]) -> None:
    content["state_dict"].popitem()


def _unknown_method(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["_class_path"] = "gaitbench.methods.Nonsense"


FAULTS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "missing": (lambda ckpt, to: None, "does not exist"),
    "folder": (lambda ckpt, to: to.mkdir(), "does not exist"),
    "empty": (lambda ckpt, to: to.write_bytes(b""), "is no checkpoint"),
    "text": (lambda ckpt, to: to.write_text("weights of a network\n"), "is no checkpoint"),
    "truncated": (lambda ckpt, to: to.write_bytes(ckpt.read_bytes()[:9999]), "is no checkpoint"),
    "evil": (lambda ckpt, to: torch.save({"state_dict": Evil(to.with_name("evil"))}, to), "safely"),
    "evil pickle": (
        lambda ckpt, to: to.write_bytes(pickle.dumps(Evil(to.with_name("evil")))),
        "safely",
    ),
    "weights alone": (lambda ckpt, to: torch.save({"w": torch.ones(2)}, to), "lacks state_dict"),
    "a tensor": (lambda ckpt, to: torch.save(torch.ones(2), to), "lacks state_dict"),
    "a bare state_dict": (
        lambda ckpt, to: torch.save({"state_dict": torch.load(ckpt)["state_dict"]}, to),
        "bad.ckpt",
    ),
    "unknown skeleton": (
        lambda ckpt, to: _edited(ckpt, to, _unknown_skeleton),
        "skeleton 'pose25' is unknown",
    ),
    "weight that is none": (
        lambda ckpt, to: _edited(ckpt, to, lambda content: content["state_dict"].update(w=[1])),
        "is damaged: its weight w is no tensor",
    ),
    "list of settings": (
        lambda ckpt, to: _edited(ckpt, to, lambda content: content.update(hyper_parameters=[1])),
        "is damaged: its hyper_parameters is no table",
    ),
    "other network": (lambda ckpt, to: _edited(ckpt, to, _other_network), "does not fit this Gait"),
    "unknown method": (lambda ckpt, to: _edited(ckpt, to, _unknown_method), "Nonsense"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_checkpoint(fault: str, bench: Bench, checkpoint: Path, refused: Refused) -> None:
    harm, message = FAULTS[fault]
    bad = bench.out / "bad.ckpt"
    harm(checkpoint, bad)
    assert message in refused(bench.words("test", f"--ckpt_path={bad}"))
    assert not (bench.out / "evil").exists()
    assert not list(bench.out.rglob("metrics.json"))


def test_checkpoint_of_another_skeleton(bench: Bench, checkpoint: Path, refused: Refused) -> None:
    words = bench.words("test", f"--ckpt_path={checkpoint}", "--data.skeleton=openpose18")
    assert "was trained on skeleton coco17, the data are openpose18" in refused(words)


def test_training_that_cannot_go_on(bench: Bench, checkpoint: Path, refused: Refused) -> None:
    weights = bench.out / "weights.ckpt"
    _edited(checkpoint, weights, lambda content: content.pop("optimizer_states"))
    sentence = refused(bench.words("fit", f"--ckpt_path={weights}"))
    assert "holds weights but no training that can go on" in sentence


def test_published_checkpoint_before_its_import(bench: Bench, refused: Refused) -> None:
    path = unpacked("gaitgraph1_casia_b.pth")
    sentence = refused(bench.words("test", f"--ckpt_path={path}"))
    assert "it holds more than tensors" in sentence
    assert "goes through `gaitbench import-checkpoint` first" in sentence


def test_checkpoint_of_other_settings(bench: Bench, checkpoint: Path, refused: Refused) -> None:
    words = bench.words("test", f"--ckpt_path={checkpoint}", "--model.embedding_dim=64")
    sentence = refused(words)
    assert "is (128, 256) there and (64, 256) here" in sentence


# ----------------------------------------------------------------------------------------- settings

SETTINGS = {
    "word": (["--nonsense=1"], "nonsense"),
    "word with its value apart": (["--nonsense", "1"], "nonsense"),
    "method's": (["--model.temprature=1"], "temprature"),
    "dataset's": (["--data.batchsize=8"], "batchsize"),
    "trainer's": (["--trainer.max_epoch=1"], "max_epoch"),
    "device that is not there": (["--trainer.accelerator=tpu"], "mend this setting"),
    "precision": (["--trainer.precision=16-true"], "give bf16-mixed, 16-mixed"),
    "logger that is not installed": (["--trainer.logger=CometLogger"], "CometLogger: "),
    "devices of none": (["--trainer.devices=0"], "devices='0'"),
    "strategy": (["--trainer.strategy=alone"], "invalid strategy name: `strategy='alone'`"),
    "share of batches": (["--trainer.limit_train_batches=2.5"], "limit_train_batches"),
    "epochs below zero": (["--trainer.max_epochs=-5"], "`max_epochs` must be"),
    "validation after more batches than there are": (
        ["--trainer.val_check_interval=99", "--data.validation=test"],
        "`val_check_interval` (99) must be less than or equal",
    ),
    "validation after no epoch": (
        ["--trainer.check_val_every_n_epoch=0"],
        "trainer.check_val_every_n_epoch is 0; give 1 or more",
    ),
    "batches of none": (
        ["--trainer.accumulate_grad_batches=0"],
        "trainer.accumulate_grad_batches is 0; give 1 or more",
    ),
    "the same callback twice": (
        ["--trainer.callbacks=[ModelCheckpoint, ModelCheckpoint]"],
        "more than one stateful callback of type `ModelCheckpoint`",
    ),
    "nested": (["--data.augmentation.joint_noises=1"], "joint_noises"),
    "evaluation's": (["--evaluation.protocol=casia_b.pooled"], "protocol"),
    "cut short": (["--model.temp=1"], "temp"),
    "class": (["--model=GaitGraf"], "GaitGraf"),
    "type": (["--data.batch_size=many"], "batch_size"),
    "type of the method's": (["--model.learning_rate=fast"], "learning_rate"),
    "choice": (["--data.validation=some"], "validation"),
    "choice of the method's": (["--model.streams=two"], "streams"),
    "split": (["--data.split=80/44"], "split"),
    "share": (["--data.held_out=1.5"], "held_out"),
    "protocol": (["--evaluation.protocols=[casia_b.none]"], "casia_b.none"),
    "distance": (["--evaluation.distance=far"], "distance"),
    "network": (["--model.backbone=resgcn-x9"], "resgcn-x9"),
    "batch that does not divide": (
        ["--data.sequences_per_subject=3"],
        "batch_size 8 is no multiple of sequences_per_subject 3; 6 and 9 are",
    ),
    "more subjects than there are": (["--data.sequences_per_subject=2"], "needs 4 subjects"),
    "batch of none": (["--data.batch_size=0"], "batch_size is 0"),
    "evaluation batch of none": (
        ["--data.eval_batch_size=0", "--data.validation=test"],
        "batch_size is 0",
    ),
    "negative batch": (["--data.batch_size=-8"], "batch_size is -8"),
    "K below zero": (["--data.sequences_per_subject=-1"], "sequences_per_subject"),
    "window of none": (["--data.frames=0"], "frames"),
    "workers below zero": (["--data.num_workers=-1"], "num_workers"),
    "learning rate below zero": (["--model.learning_rate=-1"], "learning_rate"),
    "temperature of zero": (["--model.temperature=0"], "temperature"),
    "config file": (["--config=none.yaml"], "none.yaml"),
}


@pytest.mark.parametrize("mistake", SETTINGS)
def test_setting(mistake: str, bench: Bench, refused: Refused) -> None:
    words, message = SETTINGS[mistake]
    assert message in refused(bench.words("fit", *words))
    assert not list(bench.out.rglob("*.ckpt"))


YAMLS = {
    "broken": ("model: [1, 2\ntrainer: {", "bad.yaml"),
    "not a mapping": ("just words", "bad.yaml"),
    "misspelt section": ("modell:\n  class_path: GaitGraph2\n", "modell"),
    "misspelt key": ("model:\n  init_args:\n    temprature: 1\n", "temprature"),
    "misspelt nested key": (
        "data:\n  init_args:\n    augmentation:\n      joint_noises: 1\n",
        "joint_noises",
    ),
    "misspelt key of the trainer": ("trainer:\n  max_epoch: 1\n", "max_epoch"),
    "wrong type": ("trainer:\n  max_epochs: many\n", "max_epochs"),
    "unknown class": ("model:\n  class_path: GaitGraf\n", "GaitGraf"),
    "no dataset": ("data:\n  class_path: GaitDataModule\n", "GaitDataModule is what datasets"),
}


@pytest.mark.parametrize("mistake", YAMLS)
def test_yaml(mistake: str, bench: Bench, refused: Refused) -> None:
    content, message = YAMLS[mistake]
    bad = bench.out / "bad.yaml"
    bad.write_text(content)
    assert message in refused(bench.words("fit", f"--config={bad}"))
    assert left_in(bench.out) == ["bad.yaml"]


def test_nothing_said_at_all(refused: Refused) -> None:
    for command in ("fit", "test"):
        refused([command])


# ----------------------------------------------------------------------------- places to write to


def test_cache_below_a_file(bench: Bench, refused: Refused) -> None:
    file = bench.out / "file"
    file.touch()
    sentence = refused(bench.words("fit", f"--data.cache={file}/cache"))
    assert str(file) in sentence
    assert left_in(bench.out) == ["file"]


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_output_below_a_file(
    command: str, bench: Bench, checkpoint: Path, refused: Refused
) -> None:
    file = bench.out / "file"
    file.touch()
    words = bench.words(command, f"--trainer.default_root_dir={file}/out")
    words += [f"--ckpt_path={checkpoint}"] if command != "fit" else []
    assert str(file) in refused(words)
    assert left_in(bench.out) == ["file"]


def test_predictions_below_a_file(bench: Bench, checkpoint: Path, refused: Refused) -> None:
    file = bench.out / "file"
    file.touch()
    words = bench.words("predict", f"--ckpt_path={checkpoint}", f"--predictions.dir={file}/out")
    assert f"{file}/out" in refused(words)


def test_disk_full_while_the_store_is_written(
    poses: Poses, lines: list[str], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*anything: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    poses.write(lines)
    monkeypatch.setattr("gaitbench.store._sync", full)
    sentence = refused(poses.words())
    assert "No space left on device" in sentence
    assert str(poses.cache) in sentence
    assert poses.left == []
    monkeypatch.undo()
    bench = Bench(poses.path, poses.cache, poses.out)
    assert bench.status("fit", "--trainer.fast_dev_run=true") == 0


def test_disk_full_while_results_are_written(
    bench: Bench, checkpoint: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*anything: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array_header_1_0", full)
    sentence = refused(bench.words("predict", f"--ckpt_path={checkpoint}"))
    assert "embeddings.npy cannot be written: No space left on device" in sentence
    assert not list(bench.out.rglob("*embeddings*"))


# ------------------------------------------------------------------------- training that diverges


def test_weights_that_are_not_numbers(bench: Bench, checkpoint: Path, refused: Refused) -> None:
    def spoil(content: dict[str, Any]) -> None:
        next(v for v in content["state_dict"].values() if v.is_floating_point()).fill_(torch.nan)

    _edited(checkpoint, bench.out / "nan.ckpt", spoil)
    sentence = refused(bench.words("test", f"--ckpt_path={bench.out / 'nan.ckpt'}"))
    assert (
        "20 of 20 embeddings are not finite, the first that of sequence 075-bg-01-000" in sentence
    )
    assert not list(bench.out.rglob("metrics.json"))


def test_training_that_goes_astray(
    bench: Bench, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def astray(self: Any, embedding: torch.Tensor, subject: torch.Tensor) -> torch.Tensor:
        return embedding.sum() * float("nan")

    monkeypatch.setattr("gaitbench.losses.SupervisedContrastive.forward", astray)
    message = refused(bench.words("fit"))
    assert "the training loss of epoch 0 is not finite in batch 0, of sequences 00" in message
    assert message.endswith("no checkpoint was written before")
    assert not list(bench.out.rglob("*.ckpt"))
