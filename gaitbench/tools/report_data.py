"""``gaitbench report-data``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaitbench.tools.datasets import command_parser, open_dataset

if TYPE_CHECKING:
    from gaitbench.datamodules import GaitDataModule

SHEET = "poses.png"
"""Beside the report in a store's folder: some of its sequences, drawn."""

DRAWN = 8  # sequences of a sheet


def main(args: Sequence[str]) -> None:
    """Say what is in a dataset and what is missing; look whether its store is what was written.

    Of your own poses a sheet of skeletons is drawn as well.
    """
    parser = command_parser("report-data", "Say what is in a dataset and what is missing.")
    given, data = open_dataset(parser, args)
    store = data.open_store()
    store.verify()
    print(data.report().to_text())
    if given.dataset == "own":
        print(f"drawn: {draw_some(data, store.path / SHEET)}")


def draw_some(data: "GaitDataModule", path: Path) -> Path:
    """Draw sequences of poses in pixels, spread evenly over a store, on one sheet."""
    import numpy as np

    from gaitbench.draw import draw_sheet, save_figure

    store = data.open_store()
    some = np.unique(np.linspace(0, len(store.sequences) - 1, DRAWN).round().astype(int))
    poses, titles = [], []
    for row in store.sequences.iloc[some].to_dict("records"):
        poses.append(np.asarray(store.frames[row["start"] : row["start"] + row["length"]]))
        labels = f"{row['subject']}, {row['condition']} {row['number']}, view {row['view']}"
        titles.append(f"{row['sequence']}   ({labels}, {row['length']} frames)")
    return save_figure(draw_sheet(poses, data.native_layout, titles), path)
