"""What docs/methods names is there: configs, commands, classes, settings, figures, links."""

import argparse
import inspect
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from string import Template
from typing import Any, NoReturn

import pytest
import yaml

from gaitbench import cli, datamodules, methods, protocols, published
from gaitbench.__main__ import RUNS, TOOLS
from gaitbench.image_transforms import FrameAugmentation
from gaitbench.tools import pipeline
from gaitbench.tools import run as run_tool
from gaitbench.transforms import PoseAugmentation
from tests.doc_pages import blocks_of, commands_of

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "methods").glob("*.md"))
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
CLASSES: dict[str, tuple[Sequence[type], Sequence[type]]] = {
    "baselines": ([methods.GaitGraph2, methods.GaitFormer], [datamodules.CasiaB]),
    "gaitcopy": (
        [methods.GaitCopyStudent, methods.GaitCopyTeacher],
        [datamodules.CasiaBVideo, datamodules.TumGaid],
    ),
    "gaitformer": ([methods.GaitFormer], [datamodules.CasiaB, datamodules.FVG]),
    "gaitgraph": ([methods.GaitGraph], [datamodules.CasiaB]),
    "gaitgraph2": ([methods.GaitGraph2], [datamodules.CasiaB, datamodules.OumvlpPose]),
    "gaitset": ([methods.GaitSet], [datamodules.Silhouettes]),
    "sgela": (
        [methods.SGELA, methods.AgeRecognition, methods.GaitGraph2],
        [datamodules.Biwi, datamodules.Kgbd, datamodules.Ks20, datamodules.OwnSkeletons],
    ),
}
"""Page -> the methods and the datasets that its settings are of."""
SCRIPTS: dict[str, type[datamodules.GaitDataModule]] = {
    "gait_casia_b.py": datamodules.CasiaB,
    "gait_densegait.py": datamodules.DenseGait,
    "gait_oumvlp.py": datamodules.OumvlpPose,
}
PARTS = {"augmentation": PoseAugmentation, "frame_augmentation": FrameAugmentation}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


class Understood(Exception):
    """The command line was parsed."""


def parameters(kinds: Sequence[type]) -> dict[str, list[Any]]:
    """Name -> defaults of all settings of these classes, those of their bases among them."""
    found: dict[str, list[Any]] = {}
    for kind in kinds:
        own: dict[str, Any] = {}
        for base in kind.__mro__:
            if "__init__" in vars(base):
                for name, parameter in inspect.signature(base.__init__).parameters.items():
                    own.setdefault(name, parameter.default)
        for name, default in own.items():
            found.setdefault(name, []).append(default)
    return found


def test_each_method_has_a_page() -> None:
    told = "\n".join(page.read_text() for page in PAGES)
    assert {page.stem for page in PAGES} == {*CLASSES}
    for name in methods.__all__:
        if name not in ("GaitMethod", "ExportedNetwork"):
            assert f"`{name}`" in told


@every_page
def test_page_has_a_figure_and_says_what_is_missing(page: Path) -> None:
    text = page.read_text()
    for image in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (page.parent / image).is_file()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    if page.stem != "baselines":
        assert headings[:3] == ["Idea", "As published", "Run it"]
        assert "Figures" in headings
    assert headings[-1].startswith("Limits")
    assert "![" in text


@every_page
def test_configs_exist(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"configs/[\w/.]+\.yaml", text):
        assert (ROOT / name).is_file(), name
    known = {config.name for config in CONFIGS}
    for name in re.findall(r"`([^`\s/]+\.yaml)`", text):
        begin, _, rest = name.partition("{")
        choices, _, end = rest.partition("}")
        for choice in choices.split(",") if rest else [""]:
            wanted = f"{begin}{choice}{end}"
            pattern = re.escape(wanted).replace(r"\*", ".+")
            assert any(re.fullmatch(pattern, other) for other in known), wanted


@every_page
def test_classes_exist(page: Path) -> None:
    known = {*methods.__all__, *datamodules.__all__, *protocols.__all__}
    for name in re.findall(r"`([A-Z][a-z]\w*|FVG|SGELA)`", page.read_text()):
        assert name in known | {"Female"}, name


@every_page
def test_settings_exist_and_defaults_are_told_rightly(page: Path) -> None:
    kinds, sets = CLASSES[page.stem]
    known = {"model": parameters(kinds), "data": parameters([*sets, datamodules.CasiaBVideo])}
    text = page.read_text()
    for section, name, part in re.findall(r"`(?:--)?(model|data)\.(\w+)(?:\.(\w+))?", text):
        assert name in known[section], f"{section}.{name}"
        if part:
            assert part in {field.name for field in fields(PARTS[name])}, f"{section}.{name}.{part}"
    checked = 0
    for names, told in re.findall(
        r"^\| ((?:`\w+\.\w+`(?:, )?)+) \| ([^|;]+?)(?:[:;] [^|]*)? \|", text, re.M
    ):
        said = [value.strip("`") for value in told.split(", ")]
        settings = [name.strip("`").split(".") for name in names.split(", ")]
        if len(said) != len(settings) or not re.fullmatch(r"(`[^`]+`|[\d.e,-]+)(, `[^`]+`)*", told):
            continue
        for (section, name), value in zip(settings, said, strict=True):
            defaults = [str(default).lower() for default in known[section][name]]
            numbers = [str(float(d)) for d in known[section][name] if isinstance(d, float | int)]
            number = re.fullmatch(r"\d[\d.]*(e-\d+)?", value)
            assert value in defaults or (number and str(float(value)) in numbers), (name, value)
            checked += 1
    assert checked or page.stem == "baselines"


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools stop once their words are understood."""
    known = argparse.ArgumentParser.parse_known_args

    def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
        _, rest = known(self, args, namespace)
        assert not rest, rest
        raise Understood

    def parse_known(self: Any, args: Any = None, namespace: Any = None) -> Any:
        found = known(self, args, namespace)
        if self.prog.startswith("gaitbench ") and "pipeline" not in self.prog:
            raise Understood
        return found

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known)
    # the stages' words are looked at, and then none is run
    monkeypatch.setattr(pipeline, "run_stage", lambda *given: Path())
    monkeypatch.chdir(ROOT)


def commands() -> Iterator[Any]:
    seen = set()
    for page in [*PAGES, ROOT / "docs" / "pipelines.md"]:
        variables: dict[str, str] = {}
        for written in commands_of(page.read_text()):
            line = Template(written).safe_substitute(variables)
            if assigned := re.fullmatch(r"([A-Z0-9]+)=\"?([^\"]*)\"?", line):
                variables[assigned[1]] = assigned[2]
            elif line and line not in seen:
                seen.add(line)
                yield pytest.param(line, id=f"{page.stem}: {written[:70]}")


@pytest.mark.parametrize("line", [*commands()])
@pytest.mark.usefixtures("only_parse")
def test_command_is_understood(line: str) -> None:
    program, command, *words = shlex.split(line, comments=True)
    data = datamodules.GaitDataModule
    if program == "python":
        data, command, *words = SCRIPTS[command], *words
    else:
        assert program == "gaitbench"
    if command in RUNS:
        # the checkpoint is the reader's
        _, words = cli.taken([command, *words], "--ckpt_path")
        cli.command_line(cli.Parsed, words, data)
    elif command == "pipeline":
        run_tool(command, words)
    else:
        assert command in TOOLS
        with pytest.raises(Understood):
            run_tool(command, words)


@pytest.mark.parametrize(
    ("page", "method", "protocol"),
    [
        ("gaitgraph", "GaitGraph", "casia_b.cross_view"),
        ("gaitgraph2", "GaitGraph2", "casia_b.cross_view"),
        ("gaitgraph2", "GaitGraph2", "oumvlp.gaitgraph2"),
        ("gaitformer", "GaitFormer", "casia_b.pooled"),
        ("gaitset", "GaitSet", "casia_b.cross_view"),
    ],
)
def test_published_figures_are_those_that_runs_are_compared_with(
    page: str, method: str, protocol: str
) -> None:
    figures = yaml.safe_load((Path(published.__file__).parent / "figures.yaml").read_text())
    first = next(f for f in figures if f["method"] == method and protocol in f["protocols"])
    text = (ROOT / "docs" / "methods" / f"{page}.md").read_text().partition("## Figures")[2]
    assert f"`{protocol}`" in text
    for value in first["values"].values():
        assert f"{value:.1f}" in text


def test_python_of_the_baselines_runs(
    walkers: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "methods" / "baselines.md").read_text()
    (block,) = [block.text for block in blocks_of(text) if block.language == "python"]
    code = block.replace("demo/casia-b_pose_coco.csv", str(walkers)).replace(
        "demo/cache", str(cache)
    )
    assert code.count(str(cache)) == 1
    exec(code, {})
    assert re.search(r"\| NM#5 \| [\d.]+ \| [\d.]+ \|", capsys.readouterr().out)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {*plain}


@pytest.mark.parametrize("page", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
