"""``gaitbench evaluate``."""

from collections.abc import Sequence
from pathlib import Path

from gaitbench.tools.datasets import command_parser, own_class


def main(args: Sequence[str]) -> None:
    """Judge saved embeddings and attributes by protocols, without a model."""
    parser = command_parser(
        "evaluate", "Judge the embeddings and attributes that `predict` wrote, without a model."
    )
    parser.add_argument("directory", type=Path, help="a run's folder, or its predictions folder")
    parser.add_argument(
        "--protocol",
        action="append",
        required=True,
        help="id, or a YAML file of one of your own; may be repeated",
    )
    parser.add_argument(
        "--data", help="class of a dataset of your own, such as my_data.Walks, that has protocols"
    )
    parser.add_argument("--distance", choices=["euclidean", "l1", "cosine"])
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples over subjects")
    given = parser.parse_args(args)
    from gaitbench.callbacks import (
        chosen_protocols,
        judge,
        publish,
        read_attributes,
        read_predictions,
    )
    from gaitbench.datamodules import DATASETS, GaitDataModule
    from gaitbench.protocols import read_protocol

    own = [own_class(given.data, GaitDataModule)] if given.data else []
    datasets = (*DATASETS, *own)
    known = {name: protocol for data in datasets for name, protocol in data.protocols.items()}
    files = {name for name in given.protocol if name.endswith((".yaml", ".yml"))}
    known |= {name: read_protocol(Path(name)) for name in files}
    chosen = chosen_protocols(known, given.protocol)
    embeddings, sequences = read_predictions(given.directory)
    evaluations = judge(
        chosen,
        embeddings,
        sequences,
        read_attributes(given.directory, sequences),
        bootstrap=given.bootstrap,
        distance=given.distance,
        rerank=given.rerank,
    )
    publish(
        evaluations,
        given.directory,
        stage="evaluate",
        distance=given.distance,
        rerank=given.rerank,
        bootstrap=given.bootstrap,
    )
    print(f"\nwritten to {given.directory}")
