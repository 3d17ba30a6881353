"""Every shipped YAML, with the open command and with the script of its dataset."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gaitbench.cli import main
from gaitbench.datamodules import CasiaB
from tests.conftest import CONFIG, SMALL, Bench

CONFIGS = Path(__file__).parents[1] / "configs"
SHIPPED = sorted(CONFIGS.rglob("*.yaml"))


def layers(config: Path) -> list[Path]:
    """The configs to name, in order: those it is laid over, by its first line, then itself."""
    found = re.match(r"# Laid over (any config|[^:]+\.yaml)", config.read_text())
    if found and found[1] == "any config":
        return [CONFIG, config]
    names = re.findall(r"\S+\.yaml", found[1]) if found else []
    return [*(config.parent / name for name in names), config]


@pytest.fixture
def words(bench: Bench, tree: Path, tracks: Path) -> Callable[..., list[str]]:
    """The command line of a run of a config on small data."""

    def line(config: Path, command: str = "fit") -> list[str]:
        given = [command, *(f"--config={c}" for c in layers(config)), *bench.here, *SMALL]
        for name, path in {"oumvlp": tree, "densegait": tracks}.items():
            if name in config.name:
                given.append(f"--data.path={path}")
        if config.parent.name == "gaitformer":
            given.append("--model.period=8")  # its windows have that of SMALL
        return given

    return line


def test_configs_are_shipped() -> None:
    assert CONFIGS / "gaitgraph2" / "casia_b.yaml" in SHIPPED
    assert any(len(layers(config)) == 2 for config in SHIPPED)


@pytest.mark.parametrize("config", SHIPPED, ids=lambda p: str(p.relative_to(CONFIGS)))
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
