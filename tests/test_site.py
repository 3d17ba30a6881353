"""The documentation site is built with warnings as errors, is whole, and fetches nothing."""

import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import gaitbench
from gaitbench import datamodules
from gaitbench.tools.datasets import DATASETS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
REFERENCE = DOCS / "reference"
DATASET_PAGES = sorted((DOCS / "datasets").glob("*.md"))


class Fetched(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        fetches = tag in ("script", "img", "iframe", "source") or (
            tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "preconnect")
        )
        address = given.get("src") or given.get("href")
        if fetches and address:
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does."""
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return out


def test_every_page_is_there(site: Path) -> None:
    for page in PAGES:
        html = (site / page.relative_to(DOCS).with_suffix(".html")).read_text()
        title = page.read_text().splitlines()[0].removeprefix("# ").replace("`", "")
        assert title.split(":")[0].split("&")[0] in re.sub("<[^>]+>", "", html), page


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for html in site.rglob("*.html"):
        for address in Fetched(html.read_text()).addresses:
            assert not re.match(r"(https?:)?//", address), (html, address)
            if html.name != "404.html":  # is shown for any address, so its own are from the root
                assert (html.parent / address.split("?")[0].split("#")[0]).is_file(), (
                    html,
                    address,
                )
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text()), style


def test_search_needs_no_server(site: Path) -> None:
    assert "casia_b.cross_view" in (site / "search" / "search_index.js").read_text()
    assert "javascripts/iframe-worker.js" in (site / "index.html").read_text()


def test_linked_files_of_the_repository_are_shown(site: Path) -> None:
    config = "configs/gaitgraph2/casia_b.yaml"
    shown = re.sub("<[^>]+>", "", (site / "repository" / f"{config}.html").read_text())
    assert "class_path: GaitGraph2" in shown
    page = (site / "datasets" / "casia_b.html").read_text()
    assert f'href="../repository/{config}.html"' in page


def test_docstrings_are_shown_without_roles(site: Path) -> None:
    page = (site / "reference" / "protocols.html").read_text()
    assert 'id="gaitbench.protocols.protocol.evaluate"' in page
    for html in (site / "reference").glob("*.html"):
        assert not re.search(r":(class|func|mod|data|meth|attr):", html.read_text()), html


def test_each_module_is_on_one_page_of_the_reference() -> None:
    shown = [
        name
        for page in REFERENCE.glob("*.md")
        for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    ]
    modules = pkgutil.walk_packages(gaitbench.__path__, "gaitbench.")
    assert sorted(shown) == sorted(module.name for module in modules)


@pytest.mark.parametrize("page", DATASET_PAGES, ids=lambda page: page.stem)
def test_what_a_dataset_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for config in re.findall(r"configs/[a-z0-9_/.]+\.yaml", text):
        assert (ROOT / config).is_file(), config
    for dataset, words in re.findall(r"^gaitbench report-data (\S+) \S+(.*)$", text, re.MULTILINE):
        for option, value in re.findall(r"--(\w+) (\S+)", words):
            if option != "cache":
                assert value in DATASETS[dataset].options[option], (dataset, option, value)
    everywhere = {name for data in datamodules.DATASETS for name in data.protocols}
    prefixes = {name.split(".")[0] for name in everywhere}
    for name in re.findall(r"`([a-z_0-9]+\.[a-z_0-9]+)`", text):
        assert name.split(".")[0] not in prefixes or name in everywhere or name.endswith("yaml")


def test_each_dataset_is_on_a_page_with_its_command() -> None:
    text = "\n".join(page.read_text() for page in (*DATASET_PAGES, DOCS / "own_data.md"))
    for name, dataset in DATASETS.items():
        assert f"gaitbench report-data {name}" in text, name
        assert f"`{dataset.module}`" in text, name


@pytest.mark.parametrize("page", DATASET_PAGES, ids=lambda page: page.stem)
def test_settings_of_a_dataset_page_exist(page: Path) -> None:
    classes = [
        data for data in datamodules.DATASETS if f"`{data.__name__}`" in page.read_text()
    ] or [datamodules.CasiaB]
    known = {
        parameter
        for data in classes
        for ancestor in data.__mro__
        if "__init__" in vars(ancestor)
        for parameter in inspect.signature(ancestor).parameters
    }
    for setting in re.findall(r"`(?:--)?data\.(\w+)", page.read_text()):
        assert setting in known, setting


def test_a_link_that_leads_nowhere_is_told() -> None:
    spec = importlib.util.spec_from_file_location("links", DOCS / "links.py")
    assert spec is not None and spec.loader is not None
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)
    source = DOCS / "datasets" / "fvg.md"
    assert links._leads("../../Makefile", source, "datasets/fvg.md") == "../repository/Makefile.md"
    assert links._leads("../fvg.png", source, "datasets/fvg.md") == "../fvg.png"
    assert links._leads("../walkers.gif", source, "datasets/fvg.md") == "../walkers.gif"
