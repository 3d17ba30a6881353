"""Published checkpoints: read without running anything, recognised, imported, and used."""

import json
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor, nn

from gaitbench.__main__ import run
from gaitbench.backbones import STGCN, PoseGraph, ResGCN
from gaitbench.backbones.attention import ATTENTIONS
from gaitbench.backbones.resgcn import REDUCTIONS, STRUCTURES
from gaitbench.checkpoints import Inert, read_checkpoint, read_published
from gaitbench.cli import main
from gaitbench.datamodules import CasiaB, OumvlpPose
from gaitbench.densegait import attribute_names
from gaitbench.errors import InputError
from gaitbench.published import recognise
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton
from tests.conftest import CONFIG, Bench, newest_run
from tests.goldens import GAITGRAPH, golden, recipe_weights, unpacked, unpacked_folder

FILES = ("gaitgraph2_casia_b.ckpt", "gaitgraph1_casia_b.pth")
FORMS = ((1, 3), (3, 5), (1, 15), (3, 6))
CONDITIONS = ("nm", "bg", "cl")


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose weights need not be drawn, for speed."""
    monkeypatch.setattr(nn.init, "normal_", lambda tensor, **settings: tensor)


def network(name: str, form: tuple[int, int], skeleton: Skeleton = COCO17) -> dict[str, Tensor]:
    return ResGCN(name, skeleton, *form, embedding_dim=32).state_dict()


def in_opengait(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of OpenGait, by hand: its three parts, and no graph but in the branches."""
    parts = {"input_branches": "head", "main_stream": "backbone", "fcn": "fcn"}
    return {
        f"ResGCN.{parts[name.split('.')[0]]}.{name.split('.', 1)[1]}": value
        for name, value in weights.items()
        if name != "A"
    }


# ------------------------------------------------------------------------- reading without running


class Evil:
    """Calls anything when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Attributes(dict[str, Any]):
    """As Lightning's dictionary of hyper-parameters, which its files name by class."""


def evaluate() -> None:
    """A function that a file refers to by name."""


def evil_things(witness: Path) -> dict[str, Evil]:
    import os

    touch = f"open({str(witness)!r}, 'w')"
    return {
        "os.system": Evil(os.system, f"touch {witness}"),
        "eval": Evil(eval, touch),
        "exec": Evil(exec, touch),
        "getattr": Evil(getattr, Evil(Path, str(witness)), "touch"),
        "method": Evil(Path.touch, witness),
        "import": Evil(__import__, "antigravity"),
        "open": Evil(open, str(witness), "w"),
        "loads": Evil(pickle.loads, pickle.dumps(Evil(Path.touch, witness))),
    }


NEWER = {"new": True, "old": False}


@pytest.mark.parametrize("age", NEWER)
@pytest.mark.parametrize("thing", evil_things(Path("x")))
def test_nothing_in_a_file_is_run(thing: str, age: str, tmp_path: Path) -> None:
    """Not on its own, nor where a class of the file is built, called or filled."""
    evil = evil_things(tmp_path / "evil")[thing]
    file, weights = tmp_path / "x.pth", {"w": torch.ones(2)}
    torch.save({"model": weights, "opt": evil}, file, _use_new_zipfile_serialization=NEWER[age])
    refusals = {"os.system": r"it asks for \w+\.system", "method": "it wants to run what it holds"}
    if thing in refusals:
        with pytest.raises(InputError, match=refusals[thing]):
            read_published(file)
    else:
        content = read_published(file)
        assert torch.equal(content["model"]["w"], weights["w"])
        assert content["opt"] == {}
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]


@pytest.mark.parametrize("age", NEWER)
def test_what_foreign_classes_kept_is_read(age: str, tmp_path: Path) -> None:
    content = {
        "opt": Namespace(learning_rate=0.25, function=evaluate),
        "hyper_parameters": Attributes(learning_rate=0.5),
        "model": {"half": torch.ones(3).half(), "view": torch.arange(6.0).view(2, 3).T},
        "path": tmp_path,
        "best": {"rank1": np.float64(0.5), "of": np.arange(3)},
        "call": {"back": [Namespace(a=1), {Attributes: 1}], "bound": Attributes(a=1).copy},
    }
    file = tmp_path / "x.pth"
    torch.save(content, file, _use_new_zipfile_serialization=NEWER[age])
    before = torch.serialization.get_safe_globals()
    found = read_published(file)
    assert set(torch.serialization.get_safe_globals()) == set(before)
    assert found["opt"].learning_rate == 0.25
    assert found["opt"].function is Inert
    assert found["hyper_parameters"] == {"learning_rate": 0.5}
    assert found["path"] == {}
    assert found["best"].keys() == {"rank1", "of"}
    assert found["call"] == {"back": [{}, {Inert: 1}], "bound": {}}
    for name, value in content["model"].items():
        assert torch.equal(found["model"][name], value)
        assert found["model"][name].dtype == value.dtype


def test_modules_that_a_file_names_are_not_imported(tmp_path: Path) -> None:
    import sys

    assert "evaluate" not in sys.modules
    read_published(unpacked("gaitgraph1_casia_b.pth"))
    assert "evaluate" not in sys.modules


def _script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", pickle.dumps(()))
        archive.writestr("x/data.pkl", pickle.dumps({}))


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("weights of a network\n"),
    "page": lambda path: path.write_text("<!DOCTYPE html><html>404: Not Found</html>"),
    "plain pickle": lambda path: path.write_bytes(pickle.dumps({"model": {}})),
    "other archive": lambda path: zipfile.ZipFile(path, "w").close(),
    "program": _script,
    "truncated": lambda path: path.write_bytes(unpacked(FILES[0]).read_bytes()[:99999]),
    "truncated old": lambda path: (
        torch.save({"model": {"w": torch.ones(999)}}, path, _use_new_zipfile_serialization=False),
        path.write_bytes(path.read_bytes()[:-999]),
    ),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(9999)),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_files_that_are_something_else(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    BROKEN[fault](path)
    expected = "does not exist" if fault in ("missing", "folder") else "cannot be read safely"
    with pytest.raises(InputError, match=expected):
        read_published(path)


# forty levels of a pair of the one before, which torch would write out in its complaint
TWICE = b"\x80\x02]q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(40))
ENDLESS = {
    "call of what grows": (TWICE + b")R.", "it wants to run what it holds"),
    "made of what grows": (TWICE + b")\x81.", "it wants to run what it holds"),
    # torch would search it for words, a second for every 20,000 characters and four for twice that
    "name": (b"\x80\x02c" + b"(" * 300_000 + b"\nx\n.", "no torch file"),
}


@pytest.mark.parametrize("read", [read_published, read_checkpoint])
@pytest.mark.parametrize("thing", ENDLESS)
def test_complaints_end(thing: str, read: Callable[[Path], Any], tmp_path: Path) -> None:
    program, why = ENDLESS[thing]
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("data.pkl", program), ("byteorder", b"little"), ("version", b"3")):
            archive.writestr(f"x/{name}", content)
    with pytest.raises(InputError, match=why if read is read_published else "be read safely"):
        read(path)


# ------------------------------------------------------------------------------ which network it is


def test_every_resgcn_is_recognised(no_drawing: None) -> None:
    names = [
        "-".join(filter(None, parts))
        for prefix in ("", *ATTENTIONS)
        for structure in STRUCTURES
        for parts in [
            (prefix, "resgcn", structure, reduction)
            for reduction in (REDUCTIONS if structure.startswith("n") else ("",))
        ]
    ]
    assert len(names) == 7 * (4 + 5 * 4)
    # five is prime to the four reductions and the seven attentions: each meets each form
    for i, name in enumerate(names[::5]):
        form, skeleton = FORMS[i % 4], (COCO17, OPENPOSE18)[i // 4 % 2]
        weights = network(name, form, skeleton)
        found = recognise({"model": weights}, Path("x"))
        assert found.settings == {"backbone": name, "embedding_dim": 32}
        assert (found.input_form, found.skeleton) == (form, skeleton)
        assert found.weights.keys() == weights.keys()
        assert (found.unmatched, found.remarks) == ([], [])


@pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=lambda s: s.name)
def test_st_gcn_is_recognised(skeleton: Skeleton) -> None:
    weights = STGCN(skeleton, 3, 64).state_dict()
    found = recognise({"state_dict": {f"backbone.{n}": v for n, v in weights.items()}}, Path("x"))
    assert found.settings == {"backbone": "st-gcn", "embedding_dim": 64}
    assert (found.input_form, found.skeleton, found.origin) == ((1, 3), skeleton, "GaitGraph2")
    assert found.weights.keys() == weights.keys()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_of_several_gpus_are_the_same_names(prefix: str, no_drawing: None) -> None:
    weights = network("resgcn-n21-r8", (1, 3))
    content = {"model": {f"{prefix}{name}": value for name, value in weights.items()}}
    content["model"]["epoch_of_this"] = torch.zeros(())
    found = recognise(content, Path("x"))
    assert found.origin == "GaitGraph"
    assert found.weights.keys() == weights.keys()
    assert found.unmatched == ["epoch_of_this"]


@pytest.mark.parametrize("skeleton", [COCO17, OPENPOSE18], ids=lambda s: s.name)
def test_opengait_is_recognised(skeleton: Skeleton, no_drawing: None) -> None:
    weights = network("resgcn-n51-r4", (3, 5), skeleton)
    found = recognise({"model": in_opengait(weights), "iteration": 3}, Path("x"))
    assert found.origin == "OpenGait"
    bones = {"nose_bone": "left_shoulder"} if skeleton is COCO17 else {}
    assert found.settings == {"backbone": "resgcn-n51-r4", "embedding_dim": 32} | bones
    assert found.weights.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(found.weights[name], value)
    assert not found.remarks


def test_graph_of_the_file_is_used_and_told(no_drawing: None) -> None:
    weights = network("resgcn-n21-r8", (3, 5))
    other = weights["A"].flip(1)
    found = recognise({"model": {**weights, "A": other}}, Path("x"))
    assert torch.equal(found.weights["A"], other)
    assert found.remarks == ["its graph is not that of coco17; the file's is used"]


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda weights: weights.pop(name)


def _put(name: str, *shape: int) -> Callable[[dict[str, Any]], None]:
    return lambda weights: weights.update({name: torch.zeros(shape)})


UNKNOWN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "nothing": (dict.clear, "holds no network: expected weights under"),
    "another network": (
        lambda weights: (weights.clear(), weights.update(conv=torch.ones(2))),
        "holds no network that is known here: its weights lack 'fcn.weight'",
    ),
    "an object": (lambda weights: weights.update(A={}), "pickled object where the weight A should"),
    "joints": (_put("main_stream.0.edge", 4, 25, 25), "for 25 joints; expected 17 or 18"),
    "reduction": (
        _put("main_stream.0.scn.conv_down.weight", 42, 32, 1, 1),
        "ResGCN of an unknown structure",
    ),
    "structure": (_put("main_stream.2.scn.bn_up.weight", 256), "of an unknown structure"),
}


@pytest.mark.parametrize("fault", UNKNOWN)
def test_networks_that_are_unknown(fault: str, no_drawing: None) -> None:
    harm, message = UNKNOWN[fault]
    weights: dict[str, Any] = dict(network("resgcn-n21-r8", (1, 3)))
    harm(weights)
    with pytest.raises(InputError, match=message):
        recognise({"model": weights}, Path("x.pth"))


@pytest.mark.parametrize("content", [[], 3, {"optimizer": {}}, {"model": [1]}, torch.ones(2)])
def test_files_without_a_network(content: Any) -> None:
    with pytest.raises(InputError, match=r"x.pth holds no network"):
        recognise(content, Path("x.pth"))


def test_basic_blocks_of_opengait_are_another_network(no_drawing: None) -> None:
    weights = in_opengait(network("resgcn-b19", (3, 5)))
    with pytest.raises(InputError, match="basic blocks resgcn-b19 of OpenGait"):
        recognise({"model": weights}, Path("x.pt"))


# ------------------------------------------------------------------------------------- file to file


def imported(method: str, source: Path, folder: Path, *words: str) -> Path:
    target = folder / f"{method}.ckpt"
    assert run(["import-checkpoint", method, str(source), str(target), *words]) == 0
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imported")


@pytest.fixture(scope="module")
def of_gaitgraph2(folder: Path) -> Path:
    return imported("gaitgraph2", unpacked("gaitgraph2_casia_b.ckpt"), folder / "2")


@pytest.fixture(scope="module")
def gaitgraph_in_2(folder: Path) -> Path:
    return imported("gaitgraph2", unpacked("gaitgraph1_casia_b.pth"), folder / "1in2")


@pytest.fixture(scope="module")
def of_gaitgraph(folder: Path) -> Path:
    return imported("gaitgraph", unpacked("gaitgraph1_casia_b.pth"), folder / "1")


def predicted(folder: Path, checkpoint: Path, *more: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Embeddings and labels that the script writes, with GaitGraph2's config, as users do."""
    table = unpacked("casia-b_pose_coco.csv")
    words = (
        "predict",
        f"--config={CONFIG}",
        f"--data.path={table}",
        f"--data.cache={folder / 'cache'}",
        f"--ckpt_path={checkpoint}",
        f"--predictions.dir={folder / 'out'}",
        f"--trainer.default_root_dir={folder}",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--evaluation.bootstrap=0",
        "--evaluation.protocols=[casia_b.pooled]",  # the quickest
    )
    main(CasiaB, [*words, *more])
    return written(folder / "out")


def written(out: Path) -> tuple[np.ndarray, pd.DataFrame]:
    embeddings = np.load(out / "embeddings.npy", allow_pickle=False)
    return embeddings, pd.read_csv(out / "sequences.csv", dtype={"subject": str})


def agree(found: tuple[np.ndarray, pd.DataFrame], keys: np.ndarray, expected: np.ndarray) -> None:
    """Same sequences, told by their labels, with the same embeddings."""
    embeddings, labels = found
    rows = {
        (int(s), CONDITIONS.index(c), n, v): i
        for i, (s, c, n, v) in enumerate(
            labels[["subject", "condition", "number", "view"]].itertuples(index=False)
        )
    }
    assert len(rows) == len(keys) == len(labels)
    order = [rows[tuple(key)] for key in keys.tolist()]
    np.testing.assert_allclose(embeddings[order], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("tta", "array"), [("false", "emb"), ("true", "emb_tta")])
def test_gaitgraph2_from_file_to_file(
    tta: str, array: str, of_gaitgraph2: Path, folder: Path
) -> None:
    expected = golden("e2e_gaitgraph2")
    found = predicted(folder, of_gaitgraph2, f"--model.tta={tta}")
    agree(found, expected["keys"], expected[array])


def test_gaitgraph_in_gaitgraph2_from_file_to_file(
    gaitgraph_in_2: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config speaks of another network; the checkpoint's settings hold, and it is said."""
    expected = golden("e2e_gaitgraph1_in_2")
    capsys.readouterr()
    found = predicted(folder, gaitgraph_in_2, "--model.tta=false")
    agree(found, expected["keys"], expected["emb"])
    lines = [line for line in capsys.readouterr().out.splitlines() if " hold: " in line]
    assert lines == [
        f"model settings of {gaitgraph_in_2} hold: backbone resgcn-n39-r8 (configs say "
        "resgcn-n21-r8), streams raw (configs say branches), learning_rate 0.01 (configs say 0.005)"
    ]
    used = yaml.safe_load((newest_run(folder) / "config.yaml").read_text())["model"]["init_args"]
    assert (used["backbone"], used["streams"]) == ("resgcn-n39-r8", "raw")
    assert used["tta"] is False


def test_gaitgraph_from_file_to_file(of_gaitgraph: Path, folder: Path) -> None:
    """A config of GaitGraph2 is named: the method itself is the checkpoint's too."""
    expected = golden("e2e_gaitgraph1")
    found = predicted(folder, of_gaitgraph, "--data.min_frames=61", "--data.predict=all")
    agree(found, expected["keys"], expected["emb"])
    used = yaml.safe_load((newest_run(folder) / "config.yaml").read_text())["model"]
    assert used["class_path"].rpartition(".")[2] == "GaitGraph"
    assert used["init_args"]["backbone"] == "resgcn-n39-r8"


@pytest.fixture(scope="module")
def tree(folder: Path) -> Path:
    with zipfile.ZipFile(GAITGRAPH / "oumvlp_tree.zip") as archive:
        archive.extractall(folder / "tree")
    return folder / "tree"


@pytest.fixture(scope="module")
def of_oumvlp(folder: Path) -> Path:
    """As the authors' program writes it, with the weights of the golden arrays."""
    weights = recipe_weights(golden("model_n51r4_oumvlp_3x5"))
    settings = {"learning_rate": 0.005, "loss_temperature": 0.01, "tta": True}
    content = {
        "epoch": 749,
        "global_step": 9,
        "pytorch-lightning_version": "1.6.5",
        "state_dict": {f"backbone.{name}": value for name, value in weights.items()},
        "hyper_parameters": Attributes(settings),
    }
    torch.save(content, folder / "last.ckpt")
    return imported("gaitgraph2", folder / "last.ckpt", folder / "oumvlp")


@pytest.mark.parametrize("keypoints", ["openpose", "alphapose"])
def test_oumvlp_from_tree_to_file(
    keypoints: str, tree: Path, of_oumvlp: Path, folder: Path
) -> None:
    expected = golden("e2e_oumvlp")
    words = (
        "predict",
        f"--config={CONFIG.with_name('oumvlp.yaml')}",
        f"--data.path={tree}",
        f"--data.keypoints={keypoints}",
        f"--data.cache={folder / 'cache'}",
        f"--ckpt_path={of_oumvlp}",
        f"--predictions.dir={folder / keypoints}",
        f"--trainer.default_root_dir={folder}",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--evaluation.bootstrap=0",
    )
    main(OumvlpPose, words)
    subject, view, number, frames = expected[f"{keypoints}_test_keys"].T
    keys = np.stack([subject, np.zeros_like(subject), number, view], axis=1)
    embeddings, labels = written(folder / keypoints)
    agree((embeddings, labels), keys, expected[f"{keypoints}_test_emb_tta"])
    assert sorted(labels["frames"]) == sorted(frames)


def test_training_of_oumvlp_was_another(of_oumvlp: Path) -> None:
    settings = read_checkpoint(of_oumvlp)["hyper_parameters"]
    found = {name: settings[name] for name in ("optimizer", "weight_decay", "temperature")}
    assert found == {"optimizer": "adam", "weight_decay": 0.0, "temperature": 0.01}
    assert settings["backbone"] == "resgcn-n51-r4"


def test_test_takes_an_imported_checkpoint_alone(of_gaitgraph2: Path, folder: Path) -> None:
    """No config, no setting of the method, and the open command."""
    words = [f"--data.path={unpacked('casia-b_pose_coco.csv')}", f"--ckpt_path={of_gaitgraph2}"]
    here = [f"--data.cache={folder / 'cache'}", f"--trainer.default_root_dir={folder}"]
    quick = ["--trainer.accelerator=cpu", "--evaluation.bootstrap=0"]
    assert run(["test", "--data=CasiaB", *words, *here, *quick]) == 0
    metrics = json.loads((newest_run(folder) / "metrics.json").read_text())
    assert set(metrics) == {"casia_b.cross_view", "casia_b.gaitgraph2"}


def test_imported_checkpoint_says_what_it_is(of_gaitgraph: Path) -> None:
    import hashlib

    content = torch.load(of_gaitgraph, weights_only=True)
    source = unpacked("gaitgraph1_casia_b.pth")
    told = content["gaitbench"]
    assert (told["method"], told["skeleton"]) == ("GaitGraph", "coco17")
    assert told["dataset"] == "casia_b"
    assert told["protocols"] == ["casia_b.cross_view", "casia_b.gaitgraph2"]
    assert told["source"] == {
        "file": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    assert (content["epoch"], content["global_step"]) == (300, 0)
    settings = content["hyper_parameters"]
    assert settings["learning_rate"] == 0.01
    assert not {"tta", "skeleton"} & set(settings)
    assert read_checkpoint(of_gaitgraph).keys() == content.keys()


def test_imported_checkpoint_is_what_a_run_would_write(
    of_gaitgraph2: Path, checkpoint: Path
) -> None:
    own, other = read_checkpoint(checkpoint), read_checkpoint(of_gaitgraph2)
    assert other.keys() <= own.keys()
    hidden = ("_class_path", "_instantiator")
    assert [other["hyper_parameters"][k] for k in hidden] == [
        own["hyper_parameters"][k] for k in hidden
    ]
    assert set(other["hyper_parameters"]) <= set(own["hyper_parameters"])
    assert other["state_dict"].keys() == own["state_dict"].keys()
    assert own["gaitbench"].keys() <= other["gaitbench"].keys()


def test_imported_weights_start_a_training_but_resume_none(
    of_gaitgraph2: Path, bench: Bench, refused: Callable[[list[str]], str]
) -> None:
    assert "--model.initial_weights in place of --ckpt_path" in refused(
        bench.words("fit", f"--ckpt_path={of_gaitgraph2}")
    )
    more = (f"--model.initial_weights={of_gaitgraph2}", "--trainer.fast_dev_run=true")
    assert bench.status("fit", *more) == 0


def test_opengait_from_file_to_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The authors' weights under OpenGait's names: with the authors' bones the same embeddings."""
    weights = read_published(unpacked("gaitgraph2_casia_b.ckpt"))["state_dict"]
    plain = {name.removeprefix("backbone."): value for name, value in weights.items()}
    source = folder / "opengait.pt"
    content = {"model": {**in_opengait(plain), "Head.fc_bin": torch.ones(3)}, "iteration": 500}
    torch.save(content, source)
    capsys.readouterr()
    checkpoint = imported("opengait-gaitgraph2", source, folder)
    shown = capsys.readouterr().out
    assert "weights: 330; unmatched keys: Head.fc_bin\n" in shown
    assert "  nose_bone: left_shoulder\n" in shown
    expected = golden("e2e_gaitgraph2")
    found = predicted(folder, checkpoint, "--model.tta=false", "--model.nose_bone=none")
    agree(found, expected["keys"], expected["emb"])


def test_imports_that_are_refused(
    tmp_path: Path, of_gaitgraph2: Path, refused: Callable[[list[str]], str]
) -> None:
    ckpt, pth = (unpacked(name) for name in FILES)
    weights = dict(network("resgcn-n21-r8", (1, 3)))
    (tmp_path / "file").touch()
    edge = "input_branches.0.layers.0.edge"
    cut = {name: value for name, value in weights.items() if name != edge}
    files = {
        "less": {"model": cut},
        "other": {"model": {**cut, edge: torch.ones(3, 17, 17)}},
        "object": {"model": {**cut, edge: Namespace()}},
        "opengait": {"model": in_opengait(weights)},
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    for method, source, target, message in (
        ("gaitgraph", ckpt, "x", "streams of 3 x 5 branches and channels, GaitGraph has 1 x 3"),
        ("opengait-gaitgraph2", pth, "x", "import it as gaitgraph2 or gaitgraph"),
        ("gaitgraph2", "opengait", "x", "import it as opengait-gaitgraph2"),
        ("gaitgraph2", "less", "x", f"no whole resgcn-n21-r8: it lacks {edge}, and 0 more"),
        ("gaitgraph2", "other", "x", f"{edge} of shape (3, 17, 17) in place of (4, 17, 17)"),
        ("gaitgraph2", "object", "x", f"a pickled object where the weight {edge} should be"),
        ("gaitgraph2", of_gaitgraph2, "x", "`test` and `predict` take it as it is"),
        ("gaitgraph2", "none", "x", "none does not exist"),
        ("gaitgraph2", ckpt, "file/x", "file/x cannot be written"),
        ("gaitgraph2", ckpt, ".", "cannot be written"),
    ):
        words = [str(tmp_path / source), str(tmp_path / target)]
        assert message in refused(["import-checkpoint", method, *words])
        assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_target_is_replaced_whole(
    tmp_path: Path, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves what was there."""
    target = tmp_path / "x.ckpt"
    target.write_text("earlier")

    def full(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        words = ["import-checkpoint", "gaitgraph2", str(unpacked(FILES[0])), str(target)]
        assert "x.ckpt cannot be written: No space left on device" in refused(words)
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]
    assert target.read_text() == "earlier"
    assert run(words) == 0
    assert "state_dict" in read_checkpoint(target)


STATE_DICT = "epoch=7-val_acc=0.1234.ckpt"


@pytest.fixture(scope="module")
def of_gaitformer(folder: Path) -> Path:
    source = unpacked_folder("import") / STATE_DICT
    return imported("gaitformer", source, folder / "gf", "--heads", "4")


CASES = {
    "densegait_train": ("DenseGait", "densegait/data-2.02", ["--data.part=train"]),
    "densegait_validation": ("DenseGait", "densegait/validation", ["--data.part=validation"]),
    "fvg_test": (
        "FVG",
        "fvg/FVG-andy/data",
        ["--data.split=136/89", "--evaluation.protocols=[fvg.ws]"],
    ),
}


@pytest.mark.parametrize("part", CASES)
def test_gaitformer_from_files_to_files(part: str, of_gaitformer: Path, folder: Path) -> None:
    """Annotations, poses and a state dict in; representations and attributes out."""
    dataset, place, words = CASES[part]
    golden_folder, out = unpacked_folder("import"), folder / part
    annotations = golden_folder / place / "annotations.csv"
    main(
        args=[
            "predict", f"--data={dataset}", f"--data.path={annotations}", *words,
            "--data.crop=tiled", "--data.frames=48", "--data.on_error=skip",
            f"--data.cache={folder / 'cache'}", f"--ckpt_path={of_gaitformer}",
            f"--predictions.dir={out}", f"--trainer.default_root_dir={folder}",
        ]
    )  # fmt: skip
    with np.load(golden_folder / "expected.npz", allow_pickle=False) as file:
        expected = dict(file)
    files = pd.read_csv(annotations)["file_name"]
    listed = expected.get(f"{part}/file_name")
    order = files.tolist() if listed is None else json.loads(str(listed))
    table = pd.read_csv(out / "sequences.csv")
    rows = [order.index(name) for name in files[table["line"] - 2]]
    assert len(rows) >= 5
    told = pd.read_csv(out / "attributes.csv")[list(attribute_names())]
    found = np.load(out / "embeddings.npy")
    np.testing.assert_allclose(found, expected[f"{part}/representation"][rows], atol=2e-6)
    np.testing.assert_allclose(told, expected[f"{part}/appearance"][rows], atol=2e-6)


def test_gaitformers_that_do_not_tell(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no tensor tells is asked for, or assumed and said."""
    weights = read_published(unpacked_folder("import") / STATE_DICT)
    source, target = tmp_path / "odd.ckpt", tmp_path / "out.ckpt"
    odd = {
        name: value[:8] if "out_appearance" in name else value for name, value in weights.items()
    }
    torch.save(odd, source)
    words = ["import-checkpoint", "gaitformer", str(source), str(target)]
    capsys.readouterr()
    assert run(words) == 2
    assert "it tells 8 attributes and not which; name them with --attributes" in (
        capsys.readouterr().err
    )
    assert not target.exists()
    assert run([*words, "--attributes", "apparent-action"]) == 0
    said = capsys.readouterr().out
    assert "  depth: 2\n" in said and "  width: 64\n" in said and "  projection_dim: 32\n" in said
    assert "note: no tensor tells the heads of its attention; 8 are assumed" in said
    del odd["module.skeleton_encoding.weight"]
    torch.save(odd, source)
    assert run(words) == 2
    assert "its weights lack 'skeleton_encoding.weight'" in capsys.readouterr().err


def test_graph_of_gaitformers_family_is_recognised() -> None:
    weights = {
        f"module.{name}": value for name, value in PoseGraph(attributes=12).state_dict().items()
    }
    found = recognise(weights, Path("x"))
    assert found.origin == "GaitFormer"
    assert found.settings["backbone"] == "st-gcn"
    assert (found.settings["width"], found.settings["projection_dim"]) == (256, 128)
    assert found.settings["attributes"] == ["gender", "body", "viewpoint", "age-group"]
    PoseGraph(attributes=12).load_state_dict(found.weights, strict=True)
