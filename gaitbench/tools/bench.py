"""``gaitbench bench``."""

import contextlib
import json
import sys
from collections.abc import Sequence

from gaitbench.errors import InputError
from gaitbench.tools.datasets import command_parser

QUIETLY = ("logger", "enable_progress_bar", "enable_model_summary")
"""Switches of the trainer that say nothing of its speed."""


def main(args: Sequence[str]) -> None:
    """Measure how fast a config trains, and what limits it.

    Raises:
        InputError: if the training cannot be measured.
    """
    parser = command_parser(
        "bench",
        "Measure how fast a config trains on this machine: loader, step, both, floating-point "
        "operations against a matrix product, memory. Further words are those of `gaitbench fit`, "
        "such as --config FILE; nothing is written.",
    )
    parser.allow_abbrev = False
    parser.add_argument(
        "--repeats", type=int, default=5, help="measurements, whose median is told (default 5)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of a table")
    given, words = parser.parse_known_args(args)
    if given.repeats < 1:
        raise InputError(f"--repeats is {given.repeats}; give 1 or more")
    from gaitbench import cli
    from gaitbench.throughput import measure

    quiet = [f"--trainer.{name}=false" for name in QUIETLY]
    # what runs print besides is no result here
    with contextlib.redirect_stdout(sys.stderr):
        run = cli.command_line(cli.Built, ["fit", *words, *quiet, "--trainer.limit_val_batches=0"])
        found = measure(run.trainer, run.model, run.datamodule, given.repeats)
    print(json.dumps(found.to_dict()) if given.json else found.to_text())
