"""Every shipped YAML, with the open command and with the script of its dataset."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gaitbench import casia_b, synthetic
from gaitbench import tracks as tracks_of
from gaitbench.cli import main
from gaitbench.datamodules import CasiaB
from tests.conftest import CONFIG, SMALL, Bench, newest_run
from tests.goldens import kinect_trees
from tests.ks20_tree import write_ks20
from tests.readers.test_silhouettes import masks
from tests.readers.test_silhouettes import write as write_images

CONFIGS = Path(__file__).parents[1] / "configs"
PIPELINES = sorted(CONFIGS.rglob("*.pipeline.yaml"))
SHIPPED = sorted({*CONFIGS.rglob("*.yaml")} - {*PIPELINES})
# people have to be found in videos first, which takes long
OF_VIDEOS = [config for config in SHIPPED if config.parent.name == "gaitcopy"]
GAITFORMER = CONFIGS / "gaitformer"


def layers(config: Path) -> list[Path]:
    """The configs to name, in order: those it is laid over, by its first line, then itself.

    What its comment names after an "or" would do as well.
    """
    lines = config.read_text().splitlines()
    comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
    found = re.match(r"Laid over (any config\b|[^:]+?\.yaml(?=:|,? or ))", comment)
    if found and found[1] == "any config":
        return [CONFIG, config]
    names = re.findall(r"\S+\.yaml", found[1]) if found else []
    return [*(config.parent / name for name in names), config]


def write_tracks(root: Path, table: str, named_from: str) -> Path:
    """Four short walks in a layout of GaitFormer's family, its table below ``root``."""
    poses = (root / table).parent / "poses"
    poses.mkdir(parents=True)
    random = np.random.default_rng(0)
    with (root / table).open("w", newline="") as file:
        rows = csv.writer(file)
        columns = ["type", "run_id", "camera_id", "seq_id"]
        rows.writerow(["file_name", "track_id", *columns])
        for i, subject in enumerate((1, 1, 2, 100)):
            path = poses / f"{i}.npy"
            np.save(path, random.random((12 + i, 18, 3), dtype=np.float32))
            name = path.relative_to(root / named_from)
            rows.writerow([name, subject, "nm", 1 + i, 18 * i, i])
    return root


def write_encodings(folder: Path) -> Path:
    """Encodings of windows of 8 frames of two people, 12 to train and 4 to test."""
    random = np.random.default_rng(0)
    np.save(folder / "embeddings.npy", random.random((16, 3 * 8 * 4), dtype=np.float32))
    with (folder / "sequences.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["subject", "condition", "number", "view", "frames"])
        rows.writerows([f"00{i % 2}", "train" if i < 12 else "A", i, 0, 8] for i in range(16))
    return folder


def write_silhouettes(root: Path) -> Path:
    """Silhouettes of two people of CASIA-B who train and two who are tested."""
    for subject in ("001", "002", "075", "076"):
        for number in (1, 5):
            folder = root / subject / f"nm-{number:02d}" / "090"
            write_images(folder, masks(9, int(subject) + number))
    return root


def write_skeletons(path: Path) -> Path:
    """Own 3D skeletons of two people who walk three times, of 20 joints."""
    joints = np.random.default_rng(0).random((6 * 12, 20, 3), dtype=np.float32)
    start, length = np.arange(0, 6 * 12, 12), np.full(6, 12)
    np.savez(path, joints=joints, start=start, length=length, subject=[1, 1, 1, 2, 2, 2])
    return path


def write_own_poses(folder: Path) -> Path:
    """Own keypoints of two people who train and one who is tested."""
    random = np.random.default_rng(0)
    names = [f"00{subject}-nm-{number:02d}-090" for subject in (1, 2, 3) for number in range(1, 5)]
    np.savez(folder / "a.npz", **{n: 9 + random.random((12, 17, 3)) for n in names})
    splits = [f"a/{n},{'train' if n < '003' else 'probe'}" for n in names]
    (folder / "labels.csv").write_text("\n".join(["sequence,split", *splits]))
    return folder


@pytest.fixture(scope="session")
def datasets(
    tmp_path_factory: pytest.TempPathFactory, walkers: Path, tree: Path, tracks: Path
) -> dict[str, list[str]]:
    """Begin of a base config's name -> words that give it small data."""

    def laid(table: str, named_from: str = "") -> Path:
        return write_tracks(tmp_path_factory.mktemp("tracks"), table, named_from)

    fvg = synthetic.synthesize_fvg(tmp_path_factory.mktemp("fvg"), 2, 0)
    paths = {
        "biwi": kinect_trees(),
        "casia_b_tracks": laid(casia_b.ANNOTATIONS),
        "casia_b": walkers,
        "densegait": tracks,
        "fvg": fvg,
        "grew": laid(tracks_of.GREW),
        "ias": kinect_trees() / "IAS",
        "kgbd": kinect_trees(),
        "kinect": kinect_trees() / "IAS",
        "ks20": tmp_path_factory.mktemp("ks20"),
        "ouisir": laid(tracks_of.OUISIR, "poses"),
        "oumvlp": tree,
        "own_poses": write_own_poses(tmp_path_factory.mktemp("own_poses")),
        "own": write_skeletons(tmp_path_factory.mktemp("own") / "walks.npz"),
        "recognise": write_encodings(tmp_path_factory.mktemp("encodings")),
        "silhouettes": write_silhouettes(tmp_path_factory.mktemp("silhouettes")),
        "uwg": laid(tracks_of.UWG),
    }
    write_ks20(paths["ks20"])
    found = {name: [f"--data.path={path}"] for name, path in paths.items()}
    found["casia_b_gender"] = [f"--data.labels={walkers.parent / 'casia-b_labels.csv'}"]
    found["fvg_gender"] = [f"--data.labels={fvg / 'labels.csv'}"]
    return found


@pytest.fixture
def words(bench: Bench, datasets: dict[str, list[str]]) -> Callable[..., list[str]]:
    """The command line of a run of a config on small data."""

    def line(config: Path, command: str = "fit", *more: Path) -> list[str]:
        configs = [*layers(config), *more]
        given = [command, *(f"--config={c}" for c in configs), *bench.here, *SMALL]
        for name in (c.stem for c in configs):
            fitting = [known for known in datasets if name.startswith(known)]
            given += datasets[max(fitting, key=len)] if fitting else []
        if config.parent.name == "gaitformer":
            # windows of SMALL's frames, and a small network
            given += [f"--model.{size}" for size in ("period=8", "width=16", "projection_dim=8")]
        if config.parent.name == "gaitset":
            given += ["--data.sequences_per_subject=4", "--model.embedding_dim=124"]
        if config.parent.name == "sgela":
            given += ["--model.hidden=8", "--data.batch_size=2"]
            if config.stem.startswith("recognise"):
                # encodings are read where they are, and are of nobody else
                given = [word for word in given if not word.startswith("--data.cache")]
            else:
                given.append("--model.frames=8")
        return given

    return line


def test_configs_are_shipped() -> None:
    assert CONFIGS / "gaitgraph2" / "casia_b.yaml" in SHIPPED
    names = {config.stem: [c.stem for c in layers(config)] for config in GAITFORMER.glob("*.yaml")}
    assert names["casia_b"] == ["casia_b"]
    assert names["finetune"] == ["casia_b", "finetune"]
    assert names["gender_finetune"] == ["casia_b", "casia_b_gender", "gender", "gender_finetune"]
    assert len(layers(CONFIGS / "draw.yaml")) == 2


@pytest.mark.parametrize(
    "config",
    [config for config in SHIPPED if config not in OF_VIDEOS],
    ids=lambda p: str(p.relative_to(CONFIGS)),
)
def test_config_fits(config: Path, words: Callable[..., list[str]]) -> None:
    """With the open command, for one step: `fit` and, where there is validation, its steps."""
    main(args=[*words(config), "--trainer.fast_dev_run=true", "--data.held_out=0.5"])


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_script_fixes_the_dataset(
    command: str, words: Callable[..., list[str]], checkpoint: Path
) -> None:
    """A script needs no --data CLASS, and the shipped config that names it does no harm."""
    given = words(CONFIGS / "gaitgraph2" / "casia_b.yaml", command)
    given += ["--trainer.fast_dev_run=true", f"--ckpt_path={checkpoint}"]
    main(CasiaB, given)
    if command != "fit":
        return
    given = [word for word in given if not word.startswith("--config")]
    main(CasiaB, [*given, "--model=GaitGraph2"])


@pytest.mark.parametrize("config", SHIPPED, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_printed_config_says_the_same(
    config: Path,
    words: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``--print_config`` prints the whole truth, which as the only --config prints itself."""

    def printed(given: list[str]) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(args=[*given, "--print_config"])
        assert stopped.value.code in (0, None)
        return capsys.readouterr().out

    whole = printed(words(config))
    saved = tmp_path / "whole.yaml"
    saved.write_text(whole)
    assert printed(["fit", f"--config={saved}"]) == whole


def test_printed_config_runs(
    bench: Bench, words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(args=[*words(CONFIGS / "gaitgraph2" / "casia_b.yaml"), "--print_config"])
    saved = bench.out / "whole.yaml"
    saved.write_text(capsys.readouterr().out)
    main(args=["fit", f"--config={saved}", "--trainer.fast_dev_run=true"])


def test_config_that_fit_saved_serves_test_and_predict(bench: Bench, checkpoint: Path) -> None:
    saved = checkpoint.parents[1] / "config.yaml"
    for command in ("test", "predict"):
        out = f"--trainer.default_root_dir={bench.out}"
        main(args=[command, f"--config={saved}", out, f"--ckpt_path={checkpoint}"])
    runs = sorted(p.parent.name for p in bench.out.rglob("metrics.json"))
    assert runs == ["version_0", "version_1"]


@pytest.mark.parametrize(
    "overlays",
    [("md", "contrastive"), ("xl", "appearance", "clothing"), ("stgcn", "simclr", "intended")],
    ids="+".join,
)
def test_overlays_lie_on_each_other(
    overlays: tuple[str, ...], words: Callable[..., list[str]]
) -> None:
    more = (GAITFORMER / f"{name}.yaml" for name in overlays)
    given = words(GAITFORMER / "densegait.yaml", "fit", *more)
    main(args=[*given, "--trainer.fast_dev_run=true"])


def test_a_pretrained_gaitformer_is_tested_elsewhere_and_trained_further(
    bench: Bench, words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Multi-task; zero-shot on a CSV of pixels; fine-tuned to recognise and to tell sex."""

    def trained(given: list[str]) -> str:
        main(args=given)
        return str(newest_run(bench.out) / "checkpoints" / "last.ckpt")

    pretrained = trained(words(GAITFORMER / "densegait.yaml"))
    here = [*bench.here, *SMALL]
    test = ["test", f"--config={GAITFORMER / 'casia_b.yaml'}", *here]
    main(args=[*test, f"--ckpt_path={pretrained}"])
    said = capsys.readouterr().out
    assert "attribute_weight 0.5 (configs say 0.0)" in said
    assert "openpose18 in units of the body, y up (data.normalize pelvis)" in said
    for name in ("finetune", "finetune_reference", "gender_finetune"):
        given = words(GAITFORMER / f"{name}.yaml")
        further = trained([*given, f"--model.initial_weights={pretrained}"])
        if name != "gender_finetune":
            main(args=[*test, f"--ckpt_path={further}"])
    assert "attributes: 1 attribute (Female) trained, of 42" in capsys.readouterr().out
