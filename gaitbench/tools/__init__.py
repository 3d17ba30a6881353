"""The tools of the command line, a file each: what needs no training run."""

from collections.abc import Sequence
from importlib import import_module


def run(command: str, args: Sequence[str]) -> None:
    """Run one tool with the words that follow its name."""
    module = import_module(f"{__name__}.{command.replace('-', '_')}")
    module.main(args)
