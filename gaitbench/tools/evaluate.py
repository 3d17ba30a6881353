"""``gaitbench evaluate``."""

from collections.abc import Sequence
from pathlib import Path

from gaitbench.tools.datasets import command_parser


def main(args: Sequence[str]) -> None:
    """Judge saved embeddings by a protocol, without a model."""
    parser = command_parser(
        "evaluate", "Judge the embeddings that `predict` wrote, without a model."
    )
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
