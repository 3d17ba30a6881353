"""The page of ``gaitbench report``: one file that a browser opens from the disk."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from gaitbench import __version__
from gaitbench.page.content import Content, Judged, content_of
from gaitbench.protocols.curves import RANKS

__all__ = ["LARGEST", "Content", "Judged", "content_of", "rendered"]

LARGEST = 5_000_000
"""Bytes that a page stays below."""


def rendered(content: Content) -> str:
    """The page, every word of a file or setting escaped."""
    parts: dict[str, Any] = {
        name: (files(__name__) / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    }
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    template = environment.from_string(parts["page.html"])
    return template.render(
        content=content,
        style=parts["page.css"],
        script=parts["page.js"],
        ranks=RANKS,
        version=__version__,
    )
