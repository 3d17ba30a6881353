"""``gaitbench synthesize``."""

from collections.abc import Sequence
from pathlib import Path

from gaitbench import oumvlp
from gaitbench.tools.datasets import DATASETS, command_parser

OPTIONS = {
    "keypoints": ("oumvlp",),
    "views": ("casia-b", "casia-b-video"),
    "flow": ("casia-b-video", "tum-gaid"),
}
"""Option -> datasets that have it."""


def main(args: Sequence[str]) -> None:
    """Write a dataset of synthetic walkers in the format of a real one."""
    parser = command_parser(
        "synthesize", "Write synthetic walkers in the format of a real dataset."
    )
    writers = {name: dataset.writer for name, dataset in DATASETS.items() if dataset.writer}
    parser.add_argument("dataset", choices=list(writers))
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument(
        "--subjects",
        type=int,
        default=20,
        help="people, at least 2 (default 20); of densegait tracklets, each of another person, and "
        "a fifth as many for validation",
    )
    parser.add_argument("--seed", type=int, default=0, help="other seed, other people (default 0)")
    parser.add_argument(
        "--keypoints", choices=oumvlp.KEYPOINTS, help="of oumvlp, one estimator (default both)"
    )
    parser.add_argument(
        "--views", type=int, nargs="+", help="of casia-b and casia-b-video, degrees (default all)"
    )
    parser.add_argument(
        "--flow",
        type=int,
        help="of casia-b-video and tum-gaid, people whose first walk comes with its exact optical "
        "flow (default 1)",
    )
    given = parser.parse_args(args)
    options = {name: getattr(given, name) for name in OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if given.dataset not in OPTIONS[name]:
            parser.error(f"{given.dataset} has no --{name}")
    if options.get("flow", 0) < 0:
        parser.error(f"--flow is {given.flow}; name 0 people or more")
    if "keypoints" in options:
        options["keypoints"] = (options["keypoints"],)
    from gaitbench import synthetic

    write = getattr(synthetic, writers[given.dataset])
    path = write(given.out, given.subjects, given.seed, **options)
    print(f"{given.subjects} synthetic walkers written to {path}")
