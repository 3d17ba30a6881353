import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from gaitbench.__main__ import run
from gaitbench.callbacks import write_predictions
from gaitbench.datamodules.casia_b import CROSS_VIEW
from gaitbench.page import LARGEST
from gaitbench.page.walks import FRAMES
from gaitbench.protocols import evaluate, write_metrics
from gaitbench.store import StoreInfo, StoreWriter, cached_store

Make = Callable[..., Path]

MARKUP = "<img src=x onerror=alert(1)>&\"'</script>"
VOID = {"meta", "br", "img", "input", "line"}


class Page(HTMLParser):
    """Elements of a page, each closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        (text,) = [words for tag, words in self.words if tag == "script" and words[0] == "{"]
        found: dict[str, Any] = json.loads(text)
        return found


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write the folder of a run on ten walkers, and the store of their poses."""
    names = [f"{s + 75:03d}" for s in range(9)] + [MARKUP]
    table = pd.DataFrame(
        [(s, "nm", number, view) for s in names for number in (1, 5) for view in (0, 54, 90)],
        columns=["subject", "condition", "number", "view"],
    ).assign(start=lambda rows: 60 * np.arange(len(rows)), length=60)
    source = tmp_path / "poses.csv"
    source.touch()

    def made(
        name: str, wrong: int = 3, predictions: bool = True, store: bool = True, seed: int = 0
    ) -> Path:
        folder, cache = tmp_path / name, tmp_path / f"cache-{name}"
        settings = {"path": str(source), "cache": str(cache), "split": "74/50"}
        config = {
            "seed_everything": seed,
            "model": {"class_path": "gaitbench.methods.GaitGraph2", "init_args": {"note": MARKUP}},
            "data": {"class_path": "gaitbench.datamodules.CasiaB", "init_args": settings},
        }
        folder.mkdir()
        (folder / "config.yaml").write_text(
            "# pytorch_lightning==2.6.6\n" + yaml.safe_dump(config), encoding="utf-8"
        )
        person = np.repeat(np.arange(10), 6)
        probes = np.flatnonzero(table["number"] == 5)
        person[probes[:wrong]] = 7
        noise = np.random.default_rng(seed).normal(scale=0.05, size=(60, 10))
        embeddings = (np.eye(10)[person] + noise).astype(np.float32)
        if store:

            def build(writer: StoreWriter) -> None:
                frames = np.random.default_rng(1).uniform(1, 99, (3600, 17, 3))
                frames[:, 0, 2] = 0  # the nose is never seen
                writer.append(frames.astype(np.float32))
                writer.finish(table)

            info = StoreInfo("casia_b", "pose", "coco17", "pixels, confidence")
            cached_store(cache, "casia_b", "0123456789abcdef", build, info, source)
        if predictions:
            write_predictions(folder / "predictions", embeddings, table)
        judged = evaluate(embeddings, table, CROSS_VIEW, bootstrap=20)
        judged.write(folder)
        write_metrics([judged], folder)
        return folder

    return made


def written(folders: list[Path], *more: str) -> str:
    out = folders[0].parent / "page.html"
    assert run(["report", *map(str, folders), "--out", str(out), *more]) == 0
    assert out.stat().st_size < LARGEST
    return out.read_text(encoding="utf-8")


def test_the_page_is_whole_and_fetches_nothing(make: Make) -> None:
    text = written([make("first"), make("second", wrong=9, seed=1)])
    page = Page(text)
    assert not page.open
    fetched = [
        told
        for _, attributes in page.elements
        for name, told in attributes.items()
        if name in ("src", "href", "action", "srcset", "data", "poster")
    ]
    assert all(told and told.startswith(("#", "data:image/")) for told in fetched)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy is not None and policy.startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    assert {f"#{name}" for name in ids} >= {link["href"] for link in page.all("a")}
    assert page.all("html")[0]["lang"] == "en"


def test_names_of_files_are_words_and_no_markup(make: Make) -> None:
    page = Page(written([make("first")]))
    assert not page.all("img")
    assert len(page.all("script")) == 2
    assert not [a for _, told in page.elements for a in told if a.startswith("on")]
    assert MARKUP in "".join(words for tag, words in page.words if tag == "th")
    assert page.data["maps"]["0"]["labels"]["subject"]["names"][-1] == MARKUP


def test_what_can_be_used_is_named(make: Make) -> None:
    page = Page(written([make("first"), make("second", wrong=9)]))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"])
    assert all(canvas["aria-label"] and canvas["role"] == "img" for canvas in page.all("canvas"))
    assert all(told["tabindex"] == "0" and told["aria-label"] for told in page.all("div")
               if told.get("class", "") and "scroll" in str(told["class"]))  # fmt: skip
    # a label stands around every control
    depth = [tag for tag, _ in page.elements if tag in ("label", "select", "input")]
    for before, tag in zip(["", *depth], depth, strict=False):
        assert tag == "label" or before == "label"
    assert {"Summary", "Curves of all runs", "By view and person"} <= {
        words for tag, words in page.words if tag == "h2"
    }


def test_figures_views_and_people(make: Make) -> None:
    """Three probes of one person lie among another's walks: 9 of 10 people are found, he never."""
    page = Page(written([make("first", wrong=3)]))
    cells = [cell.get("class") for cell in page.all("td")]
    assert cells.count("h9") == 6  # pairs of three views, without equal ones
    assert cells.count("none") == 3
    told = [words for tag, words in page.words if tag in ("dt", "dd")]
    facts = dict(zip(told[::2], told[1::2], strict=True))
    assert facts["fingerprint of the data"] == "0123456789abcdef"
    assert facts["version of pytorch_lightning"] == "2.6.6"
    assert facts["embeddings"] == "60 of 10 values"
    walks = page.data["walks"]
    assert len(page.all("canvas")) == 3 and len(walks) == 3
    assert [len(walk["frames"]) for walk in walks] == [FRAMES] * 3
    frames = np.array(walks[0]["frames"])
    assert frames.shape == (FRAMES, 34) and (frames[:, :2] == -1).all() and frames[:, 2:].min() >= 0
    names = [words for tag, words in page.words if tag == "b"]
    assert names[0].startswith("075-nm-05-") and names[2].startswith("075-nm-01-")
    assert names[1].startswith("082-nm-01-")


def test_what_is_not_there_is_said(make: Make) -> None:
    second = make("second", predictions=False)
    text = written([make("first", store=False), second])
    page = Page(text)
    assert "The walks are not drawn: the store of this run" in text
    assert not page.all("canvas")
    # who was found is told by the probes of a test as well
    assert "This run left no embeddings; single walks are not shown." in text
    assert [words for tag, words in page.words if tag == "h4"].count("People") == 2
    shutil.rmtree(second / "probes")
    alone = written([second])
    assert "left no embeddings and no probes, so people are not known;" in alone
    assert "Rank-1 by person" not in alone
    assert [cell.get("class") for cell in page.all("td")].count("none") == 6
    assert [*page.data["maps"]] == ["0"]


def test_drawings_of_the_run(make: Make) -> None:
    folder = make("first")
    (folder / "drawings").mkdir()
    Image.new("RGB", (40, 30), "red").save(folder / "drawings" / "075-nm-05-000.png")
    Image.new("RGB", (40, 30), "blue").save(folder / "drawings" / "summary.png")
    page = Page(written([folder]))
    assert len(page.all("img")) == 2
    names = [words for tag, words in page.words if tag == "figcaption"]
    assert names[-2:] == ["summary", "075-nm-05-000"]


def test_figures_of_other_embeddings_are_not_mixed(make: Make) -> None:
    folder = make("first")
    told = json.loads((folder / "metrics.json").read_text())
    told[CROSS_VIEW.id]["NM"]["rank1"] = 0.5
    (folder / "metrics.json").write_text(json.dumps(told))
    text = written([folder])
    assert "are not those of the embeddings" in text and not Page(text).data["maps"]


def test_mistakes(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make("first", store=False)
    out = folder.parent / "page.html"
    assert run(["report", str(folder), "--out", str(out), "--protocol", "casia_b.none"]) == 2
    assert "casia_b.none" in capsys.readouterr().err
    monkeypatch.setattr("gaitbench.page.LARGEST", 1000)
    assert run(["report", str(folder), "--out", str(out)]) == 2
    assert "name fewer runs" in capsys.readouterr().err
    assert not out.exists()


def luminance(color: str) -> float:
    """Of a colour ``#rrggbb``, as WCAG 2.2 defines it."""
    color = color if len(color) == 7 else "#" + "".join(2 * sign for sign in color[1:])
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_words_and_lines() -> None:
    """WCAG AA: 4.5 for words, 3 for lines and the edges of controls; in all colour schemes."""
    style = (Path(__file__).parents[1] / "gaitbench/page/page.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r"{([^{}]*--ink: [^{}]*)}", style)
    ]
    assert len(schemes) == 3 and schemes[1] == schemes[2]
    for colors in schemes:
        for ground in (colors["paper"], colors["card"]):
            for words in ("ink", "soft", "link"):
                assert contrast(colors[words], ground) >= 4.5
            for line in ("edge", "left", "right", "middle", *(f"c{i}" for i in range(8))):
                assert contrast(colors[line], ground) >= 3
    cells = re.findall(r"\.h\d+ { background: (#\w+); color: (#\w+); }", style)
    assert len(cells) == 11 and all(contrast(*pair) >= 4.5 for pair in cells)


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
console.error = (...words) => errors.push(words.join(" "));
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
addEventListener("load", () => {
  const told = {};
  const picks = (id) => [...document.getElementById(id).options].map((option) => {
    document.getElementById(id).value = option.value;
    document.getElementById(id).dispatchEvent(new Event("change"));
    return [...document.querySelectorAll("#probes article")].filter((a) => !a.hidden).length;
  });
  told.articles = picks("run");
  document.getElementById("run").value = "0";
  document.getElementById("run").dispatchEvent(new Event("change"));
  told.colour = picks("colour").length;
  told.highlight = picks("only").length;
  told.points = document.querySelectorAll("#points circle").length;
  told.themes = [1, 2, 3].map(() => {
    document.getElementById("theme").click();
    return getComputedStyle(document.body).backgroundColor;
  });
  const slider = document.querySelector(".frame"), canvas = document.querySelector("canvas");
  told.frames = [0, 10].map((frame) => {
    slider.value = frame;
    slider.dispatchEvent(new Event("input"));
    return canvas.toDataURL();
  });
  const button = document.querySelector(".play");
  told.play = [1, 2].map(() => { button.click(); return button.textContent; });
  told.errors = errors;
  document.documentElement.dataset.told = JSON.stringify(told);
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_every_control_works_in_a_browser(make: Make, tmp_path: Path) -> None:
    text = written([make("first"), make("second", wrong=9, seed=1)])
    tried = tmp_path / "tried.html"
    tried.write_text(text.replace("<title>", PROBE + "<title>", 1), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={tmp_path / 'profile'}", tried.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    (told,) = re.findall('<html[^>]* data-told="([^"]*)"', done.stdout)
    found = json.loads(html.unescape(told))
    assert found["errors"] == []
    assert found["articles"] == [1, 1]
    assert found["points"] == 60 and found["colour"] == 2
    light, dark, system = found["themes"]
    assert light != dark and system in (light, dark)
    assert found["frames"][0] != found["frames"][1]
    assert {*found["play"]} == {"Play", "Pause"}
