"""What stands in the fenced blocks of a page of the documentation."""

import re
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block.

    Args:
        language: behind the opening fence; empty where there is none.
        file: the name that the line before ends in, as in "`tcn.py`:"; empty where it does not.
        text: the content.
    """

    language: str
    file: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks, in their order."""
    found: list[Block] = []
    lines = iter(page.splitlines())
    before = ""
    for line in lines:
        if line.startswith("```"):
            inside = []
            for content in lines:
                if content == "```":
                    break
                inside.append(content)
            named = re.search(r"`([\w.]+)`:$", before)
            text = "".join(f"{content}\n" for content in inside)
            found.append(Block(line.removeprefix("```"), named[1] if named else "", text))
        elif line:
            before = line
    return found


def commands_of(page: str) -> list[str]:
    """Lines of the blocks without a language; those that end in a backslash go on."""
    text = "".join(block.text for block in blocks_of(page) if not block.language)
    return re.sub(r"\\\n\s*", "", text).splitlines()
