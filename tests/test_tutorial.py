"""The tutorial's commands are run word for word, and what it shows is what comes."""

import contextlib
import io
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from gaitbench.__main__ import run

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(\w+)( [^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DECIMAL = re.compile(r"[+-]?\d+\.\d+")

MEANS, CELLS = 10.0, 20.0
"""How far a percentage may lie from the page's: half an interval over the eight test people, and
twice that of a single camera, with a tenth of the trials. A training at another temperature was 4
and 16 points away."""

MADE = (
    "walkers.gif",
    "long/config.yaml",
    "long/model_card.md",
    "long-found/metrics.json",
    "long-found/predictions/embeddings.npy",
    "long-found/tables/casia_b.cross_view.png",
    "report.html",
    "found/embeddings.npy",
    "found/sequences.csv",
)


class Step(NamedTuple):
    """Commands of the page, and the lines that it shows of what they print."""

    commands: str
    shown: list[str]


def steps() -> list[Step]:
    """The page's, without those that set up."""
    found: list[Step] = []
    for language, title, content in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if language == "sh" and not title:
            found.append(Step(content, []))
        elif language == "text":
            found[-1].shown.extend(content.splitlines())
    return found


def follow(line: str) -> str:
    """What a command prints; gaitbench's run in this process, whose imports take longest."""
    word, *rest = shlex.split(line)
    printed = io.StringIO()
    if word == "gaitbench":
        with contextlib.redirect_stdout(printed):
            assert run(rest) == 0, line
        return printed.getvalue()
    return subprocess.run(line, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands are run; ``<k>.out`` is what those of step k printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "configs").symlink_to(ROOT / "configs")
    with contextlib.chdir(folder):
        for k, step in enumerate(steps()):
            lines = step.commands.replace("\\\n", " ").splitlines()
            Path(f"{k}.out").write_text("".join(map(follow, lines)), encoding="utf-8")
    return folder


def shape(line: str) -> str:
    """A line without its decimals, and without the spaces that their widths make."""
    return re.sub(r"[ \r]+", " ", DECIMAL.sub("#", line)).strip()


def close(shown: str, printed: str) -> bool:
    """Whether the decimals of two lines of one shape are near each other."""
    pairs = list(zip(decimals(shown), decimals(printed), strict=True))
    cells = len(pairs) - 1 if re.match(r"\| (NM|BG|CL)#", shown) else 0
    return all(abs(a - b) <= (CELLS if k < cells else MEANS) for k, (a, b) in enumerate(pairs))


def decimals(line: str) -> list[float]:
    """Those of a line, but for the share of resamples behind an interval, which may be anything."""
    return [float(number) for number in DECIMAL.findall(re.sub(r"\] +[\d.]+$", "]", line))]


@pytest.mark.parametrize("k", range(len(steps())))
def test_what_the_page_shows_is_printed(folder: Path, k: int) -> None:
    printed: dict[str, list[str]] = {}
    for line in (folder / f"{k}.out").read_text(encoding="utf-8").splitlines():
        printed.setdefault(shape(line), []).append(line)
    for line in steps()[k].shown:
        assert shape(line) in printed, line
        alike = printed[shape(line)]
        assert any(close(line, other) for other in alike), (line, alike)


def test_what_the_page_promises_is_there(folder: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in MADE:
        assert (folder / "tutorial" / name).stat().st_size > 0, name
        assert Path(name).name in text, name


def test_the_network_has_learned(folder: Path) -> None:
    metrics = json.loads((folder / "tutorial" / "long-found" / "metrics.json").read_text())
    found = metrics["casia_b.cross_view"]["NM"]
    assert found["rank1"] > 0.18  # one of eight people is 0.125
