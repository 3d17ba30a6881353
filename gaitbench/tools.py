"""The tools of the command line: what needs no training run."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaitbench.errors import InputError

if TYPE_CHECKING:
    from gaitbench.datamodules import CasiaB


def run(command: str, args: Sequence[str]) -> None:
    """Run one tool with the words that follow its name."""
    {
        "synthesize": synthesize,
        "evaluate": evaluate,
        "report-data": report_data,
        "animate": animate,
    }[command](args)


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(f"gaitbench {command}", description=description)


def synthesize(args: Sequence[str]) -> None:
    """Write a dataset of synthetic walkers in the format of a real one."""
    parser = _parser("synthesize", "Write synthetic walkers in the format of a real dataset.")
    parser.add_argument("dataset", choices=["casia-b"])
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--subjects", type=int, default=20, help="2 to 124 people (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="other seed, other people (default 0)")
    given = parser.parse_args(args)
    from gaitbench.synthetic import synthesize_casia_b

    path = synthesize_casia_b(given.out, given.subjects, given.seed)
    print(f"{given.subjects} synthetic walkers written to {path}")


def evaluate(args: Sequence[str]) -> None:
    """Judge saved embeddings by a protocol, without a model."""
    parser = _parser("evaluate", "Judge the embeddings that `predict` wrote, without a model.")
    parser.add_argument("directory", type=Path, help="a run's folder, or its predictions folder")
    parser.add_argument("--protocol", action="append", required=True, help="id; may be repeated")
    parser.add_argument("--distance", choices=["euclidean", "l1", "cosine"])
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples over subjects")
    given = parser.parse_args(args)
    from gaitbench import protocols
    from gaitbench.callbacks import chosen_protocols, publish, read_predictions
    from gaitbench.datamodules import DATASETS

    known = {name: protocol for data in DATASETS for name, protocol in data.protocols.items()}
    chosen = chosen_protocols(known, given.protocol)
    embeddings, sequences = read_predictions(given.directory)
    publish(
        [
            protocols.evaluate(
                embeddings,
                sequences,
                protocol,
                distance=given.distance,
                rerank=given.rerank,
                bootstrap=given.bootstrap,
            )
            for protocol in chosen
        ],
        given.directory,
    )
    print(f"\nwritten to {given.directory}")


def _open_dataset(
    parser: argparse.ArgumentParser, args: Sequence[str]
) -> "tuple[argparse.Namespace, CasiaB]":
    parser.add_argument("dataset", choices=["casia-b"])
    parser.add_argument("path", help="the dataset as its owner published it")
    parser.add_argument("--cache", default="data/cache", help="where its store is kept")
    given = parser.parse_args(args)
    from gaitbench.datamodules import CasiaB

    return given, CasiaB(given.path, cache=given.cache)


def report_data(args: Sequence[str]) -> None:
    """Say what is in a dataset and what is missing."""
    parser = _parser("report-data", "Say what is in a dataset and what is missing.")
    _, data = _open_dataset(parser, args)
    print(data.report().to_text())


def animate(args: Sequence[str]) -> None:
    """Draw walks of a dataset as an animation."""
    parser = _parser("animate", "Draw walks of a dataset, side by side, as an animated GIF.")
    parser.add_argument("--out", type=Path, required=True, help="the .gif to write")
    parser.add_argument("--walks", nargs="+", required=True, help="such as 001-nm-01-090")
    given, data = _open_dataset(parser, args)
    from gaitbench.draw import animate_poses
    from gaitbench.skeleton import get_skeleton

    store = data.open_store()
    table = store.sequences
    poses = []
    for walk in given.walks:
        try:
            subject, condition, number, view = walk.split("-")
            chosen = (table["number"] == int(number)) & (table["view"] == int(view))
        except ValueError as error:
            raise InputError(f"walk {walk!r} is not of the form 001-nm-01-090") from error
        row = table[chosen & (table["subject"] == subject) & (table["condition"] == condition)]
        if not len(row):
            raise InputError(f"{given.path} has no walk {walk}; see `gaitbench report-data`")
        start, length = int(row["start"].iloc[0]), int(row["length"].iloc[0])
        poses.append(store.frames[start : start + length])
    animate_poses(poses, get_skeleton(data.skeleton), given.out, given.walks, follow=True)
    print(f"written to {given.out}")
