"""How the documentation site (`make docs`) differs from the folder that it is built from.

A folder in the navigation stands for all pages in it. A link to a file of the repository outside of
this folder leads to a page that shows the file. What docstrings say in Sphinx's roles is shown as
code.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SHOWN = "repository"
"""Folder of the site that has the files from outside of the documentation."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[/#])([^)#\s]+)")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")
LANGUAGES = {".yaml": "yaml", ".py": "python", ".toml": "toml", ".css": "css", ".js": "js"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder where the navigation names the folder."""
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that some page links to."""
    waiting = [ROOT / "docs" / file.src_uri for file in files.documentation_pages()]
    shown = set()
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if path in shown or not path.is_file() or not _outside(path):
                continue
            shown.add(path)
            files.append(File.generated(config, _place(path), content=_show(path)))
            if path.suffix == ".md":
                waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to the repository lead to the pages that show it."""
    here = page.file.src_uri
    source = ROOT / "docs" / here
    if here.startswith(f"{SHOWN}/"):
        source = ROOT / here.removeprefix(f"{SHOWN}/")
        if source.suffix != ".md":
            return markdown  # is code
    return LINK.sub(lambda link: _leads(link[0], source, here), markdown)


class PlainRoles(griffe.Extension):
    """Turns Sphinx's roles in docstrings, such as ``:class:`Store` ``, into code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)


def _expanded(nav: Any) -> Any:
    """The navigation with a list of pages in the place of each folder."""
    if isinstance(nav, dict):
        return {title: _expanded(content) for title, content in nav.items()}
    if isinstance(nav, list):
        pages = []
        for item in nav:
            found = _expanded(item)
            pages.extend(found if isinstance(item, str) and isinstance(found, list) else [found])
        return pages
    if nav.endswith("/"):
        found = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / nav).glob("*.md"))
        return sorted(found, key=lambda page: not page.endswith("/index.md"))
    return nav


def _outside(path: Path) -> bool:
    return path.is_relative_to(ROOT) and not path.is_relative_to(DOCS)


def _place(path: Path) -> str:
    """Where a file of the repository stands in the site."""
    place = path.relative_to(ROOT).as_posix()
    return f"{SHOWN}/{place}" if path.suffix == ".md" else f"{SHOWN}/{place}.md"


def _show(path: Path) -> str:
    """The page of a file."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return content
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {path.relative_to(ROOT).as_posix()}\n\n````{language}\n{content.rstrip()}\n````\n"


def _leads(target: str, source: Path, here: str) -> str:
    """The link of a page of the site that leads where that of its source does."""
    path = (source.parent / target).resolve()
    if not path.is_file():
        return target  # is told as missing
    place = _place(path) if _outside(path) else path.relative_to(DOCS).as_posix()
    return posixpath.relpath(place, posixpath.dirname(here))
