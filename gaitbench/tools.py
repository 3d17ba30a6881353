"""The tools of the command line: what needs no training run."""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gaitbench import oumvlp
from gaitbench.errors import InputError

if TYPE_CHECKING:
    from gaitbench.checkpoints import Published
    from gaitbench.datamodules import GaitDataModule
    from gaitbench.methods import GaitMethod


class Dataset(NamedTuple):
    """A dataset as the tools see it.

    Args:
        module: its class in :mod:`gaitbench.datamodules`.
        writer: the function of :mod:`gaitbench.synthetic` that invents it.
        walk: a walk's name.
        options: settings of its own and what they may be.
    """

    module: str
    writer: str
    walk: str
    options: Mapping[str, Sequence[str]]


ON_ERROR = ("raise", "skip")
DATASETS = {
    "casia-b": Dataset("CasiaB", "synthesize_casia_b", "001-nm-01-090", {}),
    "densegait": Dataset(
        "DenseGait",
        "synthesize_densegait",
        "1-walk-0-0",
        {"part": ("train", "validation"), "on_error": ON_ERROR},
    ),
    "fvg": Dataset("FVG", "synthesize_fvg", "001-session1-02-000", {"on_error": ON_ERROR}),
    "oumvlp": Dataset(
        "OumvlpPose",
        "synthesize_oumvlp",
        "00001-nm-00-090",
        {"keypoints": oumvlp.KEYPOINTS, "person": oumvlp.PERSONS},
    ),
}
AUTHORS = ("GaitGraph2", "GaitGraph")
IMPORTS = {
    "gaitgraph2": AUTHORS,
    "gaitgraph": AUTHORS,
    "opengait-gaitgraph2": ("OpenGait",),
}
"""What a published checkpoint may be imported as, and the programs whose files that takes."""


def run(command: str, args: Sequence[str]) -> None:
    """Run one tool with the words that follow its name."""
    {
        "synthesize": synthesize,
        "evaluate": evaluate,
        "report-data": report_data,
        "animate": animate,
        "import-checkpoint": import_checkpoint,
    }[command](args)


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(f"gaitbench {command}", description=description)


def synthesize(args: Sequence[str]) -> None:
    """Write a dataset of synthetic walkers in the format of a real one."""
    parser = _parser("synthesize", "Write synthetic walkers in the format of a real dataset.")
    parser.add_argument("dataset", choices=list(DATASETS))
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
    given = parser.parse_args(args)
    options = {} if given.keypoints is None else {"keypoints": (given.keypoints,)}
    if not options.keys() <= DATASETS[given.dataset].options.keys():
        parser.error(f"{given.dataset} has no --keypoints")
    from gaitbench import synthetic

    write = getattr(synthetic, DATASETS[given.dataset].writer)
    path = write(given.out, given.subjects, given.seed, **options)
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
) -> "tuple[argparse.Namespace, GaitDataModule]":
    """Parse ``args`` with a dataset and its own settings among them."""
    parser.add_argument("dataset", choices=list(DATASETS))
    parser.add_argument("path", help="the dataset as its owner published it")
    parser.add_argument("--cache", default="data/cache", help="where its store is kept")
    options = {name: of for dataset in DATASETS.values() for name, of in dataset.options.items()}
    for name, choices in options.items():
        having = ", ".join(key for key, dataset in DATASETS.items() if name in dataset.options)
        parser.add_argument(f"--{name}", choices=choices, help=f"of {having}")
    given = parser.parse_args(args)
    settings = {name: getattr(given, name, None) for name in (*options, "skeleton")}
    settings = {name: value for name, value in settings.items() if value is not None}
    chosen = DATASETS[given.dataset]
    for name in settings:
        if name in options and name not in chosen.options:
            parser.error(f"{given.dataset} has no --{name}")
    from gaitbench import datamodules

    module = getattr(datamodules, chosen.module)
    return given, module(given.path, cache=given.cache, **settings)


def report_data(args: Sequence[str]) -> None:
    """Say what is in a dataset and what is missing."""
    parser = _parser("report-data", "Say what is in a dataset and what is missing.")
    _, data = _open_dataset(parser, args)
    print(data.report().to_text())


def animate(args: Sequence[str]) -> None:
    """Draw walks of a dataset as an animation."""
    parser = _parser("animate", "Draw walks of a dataset, side by side, as an animated GIF.")
    parser.add_argument("--out", type=Path, required=True, help="the .gif to write")
    names = " or ".join(dataset.walk for dataset in DATASETS.values())
    parser.add_argument("--walks", nargs="+", required=True, help=f"such as {names}")
    parser.add_argument("--skeleton", help="draw in this layout, such as coco17")
    given, data = _open_dataset(parser, args)
    import torch

    from gaitbench.draw import animate_poses
    from gaitbench.geometry import convert

    store = data.open_store()
    table = store.sequences
    form = DATASETS[given.dataset].walk
    poses = []
    for walk in given.walks:
        try:
            subject, condition, number, view = walk.split("-")
            chosen = (table["number"] == int(number)) & (table["view"] == int(view))
        except ValueError as error:
            raise InputError(f"walk {walk!r} is not of the form {form}") from error
        row = table[chosen & (table["subject"] == subject) & (table["condition"] == condition)]
        if not len(row):
            raise InputError(f"{given.path} has no walk {walk}; see `gaitbench report-data`")
        start, length = int(row["start"].iloc[0]), int(row["length"].iloc[0])
        pose = torch.tensor(store.frames[start : start + length])
        pose = convert(pose, data.native_layout, data.layout)
        poses.append((pose * torch.tensor(_paper(data.units))).numpy())
    animate_poses(poses, data.layout, given.out, given.walks, follow=True)
    print(f"written to {given.out}")


def _paper(units: str) -> tuple[float, float, float]:
    """Factors of x, y and confidence that make poses in a store's units fit for drawing."""
    # seen from the front, shoulders are about 0.77 of neck to pelvis apart (Drillis and Contini)
    wide = 0.77 if units.startswith("normalised") else 1.0
    return wide, -1.0 if "y up" in units else 1.0, 1.0


def import_checkpoint(args: Sequence[str]) -> None:
    """Turn a checkpoint that others have published into one that `test` and `predict` take."""
    parser = _parser(
        "import-checkpoint",
        "Turn a published checkpoint into one that `test` and `predict` take. Nothing in the file "
        "is run; what it holds is found out from its weights.",
    )
    parser.add_argument(
        "method",
        choices=list(IMPORTS),
        help="what it shall serve; opengait- reads files of OpenGait and FastPoseGait",
    )
    parser.add_argument("source", type=Path, help="the published .ckpt, .pth or .pt")
    parser.add_argument("target", type=Path, help="the .ckpt to write")
    given = parser.parse_args(args)
    from gaitbench.checkpoints import read_published, recognise

    content = read_published(given.source)
    published = recognise(content, given.source)
    method, unmatched = _method_of(published, given.method, given.source)
    _write_checkpoint(given.target, method, content, _dataset_of(published), given.source)
    settings = dict(method.hparams) | {"skeleton": method.skeleton}
    print(f"{given.source} is a checkpoint of {published.origin}; as {type(method).__name__}:")
    for name, value in settings.items():
        print(f"  {name}: {value}")
    print(f"weights: {len(published.weights)}; unmatched keys: {', '.join(unmatched) or 'none'}")
    for remark in published.remarks:
        print(f"note: {remark}")
    dataset = _dataset_of(published)
    name = dataset.__name__ if dataset else "DATASET"
    print(f"written to {given.target}; `gaitbench test --data {name} --ckpt_path {given.target}`")


def _method_of(published: "Published", name: str, source: Path) -> "tuple[GaitMethod, list[str]]":
    """The method with the published weights, and the file's keys that it has no place for.

    Raises:
        InputError: if the file is one of another method, or weights are missing or of other shapes.
    """
    from gaitbench.methods import gaitgraph, gaitgraph2

    if published.origin not in IMPORTS[name]:
        fitting = [other for other, origins in IMPORTS.items() if published.origin in origins]
        raise InputError(
            f"{source} is a checkpoint of {published.origin}, not of "
            f"{' or '.join(IMPORTS[name])}; import it as {' or '.join(fitting)}"
        )
    kind, forms = (
        (gaitgraph.GaitGraph, gaitgraph.INPUT_FORMS)
        if name == "gaitgraph"
        else (gaitgraph2.GaitGraph2, gaitgraph2.INPUT_FORMS)
    )
    streams = {form: streams for streams, form in forms.items()}.get(published.input_form)
    if streams is None:
        takes = ", ".join("{} x {}".format(*form) for form in forms.values())
        has = "{} x {}".format(*published.input_form)
        raise InputError(
            f"{source} takes streams of {has} branches and channels, {kind.__name__} has {takes}; "
            "import it as another method"
        )
    settings = published.settings | {"streams": streams, "skeleton": published.skeleton.name}
    method = kind(**settings)
    network = method.backbone.state_dict()
    faults = [f"lacks {key}" for key in network if key not in published.weights]
    faults += [
        f"has {key} of shape {tuple(value.shape)} in place of {tuple(network[key].shape)}"
        for key, value in published.weights.items()
        if key in network and value.shape != network[key].shape
    ]
    if faults:
        raise InputError(
            f"{source} is no whole {published.settings['backbone']}: it {faults[0]}, and "
            f"{len(faults) - 1} more; download it again from where it was published"
        )
    method.backbone.load_state_dict({key: published.weights[key] for key in network})
    return method, published.unmatched + [key for key in published.weights if key not in network]


def _dataset_of(published: "Published") -> "type[GaitDataModule] | None":
    """What a network was trained on: GaitGraph's authors had one dataset of each layout."""
    from gaitbench import datamodules

    known = {17: datamodules.CasiaB, 18: datamodules.OumvlpPose}
    return known[published.skeleton.num_joints] if published.origin in AUTHORS else None


def _write_checkpoint(
    target: Path,
    method: "GaitMethod",
    content: Mapping[str, Any],
    dataset: "type[GaitDataModule] | None",
    source: Path,
) -> None:
    """Write what Lightning would write of the method, and where its weights are from."""
    import torch

    from gaitbench.files import written_whole

    progress = {name: content.get(name) for name in ("epoch", "global_step")}
    checkpoint: dict[str, Any] = {
        **{name: value if isinstance(value, int) else 0 for name, value in progress.items()},
        "pytorch-lightning_version": version("pytorch-lightning"),
        "state_dict": method.state_dict(),
        "hparams_name": "kwargs",
        "hyper_parameters": {
            **method.hparams,
            "_class_path": f"gaitbench.methods.{type(method).__name__}",
            "_instantiator": "pytorch_lightning.cli.instantiate_module",
        },
    }
    method.on_save_checkpoint(checkpoint)
    if dataset is not None:
        checkpoint["gaitbench"]["dataset"] = dataset.dataset
        checkpoint["gaitbench"]["protocols"] = list(dataset.default_protocols)
    with source.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()
    checkpoint["gaitbench"]["source"] = {"file": source.name, "sha256": mark}
    with written_whole(target) as place, place.open("wb") as file:
        torch.save(checkpoint, file)
