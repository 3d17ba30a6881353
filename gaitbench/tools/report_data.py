"""``gaitbench report-data``."""

from collections.abc import Sequence

from gaitbench.tools.datasets import command_parser, open_dataset


def main(args: Sequence[str]) -> None:
    """Say what is in a dataset and what is missing; look whether its store is what was written."""
    parser = command_parser("report-data", "Say what is in a dataset and what is missing.")
    _, data = open_dataset(parser, args)
    data.open_store().verify()
    print(data.report().to_text())
