"""The datasets as the tools see them, and how they are named on the command line."""

import argparse
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gaitbench import kinect, oumvlp
from gaitbench.errors import InputError
from gaitbench.tracks import OUISIR_JOINTS

if TYPE_CHECKING:
    from gaitbench.datamodules import GaitDataModule

Kind = TypeVar("Kind")


class Dataset(NamedTuple):
    """A dataset as the tools see it.

    Args:
        module: its class in :mod:`gaitbench.datamodules`.
        writer: the function of :mod:`gaitbench.synthetic` that invents it; None if none does.
        walk: a walk's name.
        options: settings of its own and what they may be.
    """

    module: str
    writer: str | None
    walk: str
    options: Mapping[str, Sequence[str]]


ON_ERROR = ("raise", "skip")
CLIP = {"clip": kinect.CLIP_CHOICES}
RECORDINGS = {"body": kinect.BODY_CHOICES, "gaps": kinect.GAP_CHOICES, **CLIP}
OWN3D = {
    "units": ("metres", "millimetres"),
    "up": ("y", "-y", "z", "-z"),
    "gaps": kinect.GAP_CHOICES,
}
VIDEOS = {"flow": ("dis", "farneback"), "background": ("published", "found")}
DATASETS = {
    "biwi": Dataset("Biwi", "synthesize_biwi", "022-walking-0-0", RECORDINGS),
    "casia-b": Dataset("CasiaB", "synthesize_casia_b", "001-nm-01-090", {}),
    "casia-b-tracks": Dataset("CasiaBTracks", None, "001-nm-01-090", {"on_error": ON_ERROR}),
    "casia-b-video": Dataset("CasiaBVideo", "synthesize_casia_b_video", "001-nm-01-090", VIDEOS),
    "densegait": Dataset(
        "DenseGait",
        "synthesize_densegait",
        "1-walk-0-0",
        {"part": ("train", "validation"), "on_error": ON_ERROR},
    ),
    "fvg": Dataset("FVG", "synthesize_fvg", "001-session1-02-000", {"on_error": ON_ERROR}),
    "gaitcopy-samples": Dataset(
        "GaitCopySamples", None, "001-n-1-90", {"modality": ("gray", "flow")}
    ),
    "grew": Dataset("Grew", None, "1-walk-0-0", {"on_error": ON_ERROR}),
    "ias-lab": Dataset("IasLab", "synthesize_ias_lab", "003-A-0-0", RECORDINGS),
    "kgbd": Dataset(
        "Kgbd", "synthesize_kgbd", "001-walk-1-0", {**CLIP, "joint_order": kinect.JOINT_ORDERS}
    ),
    "ks20": Dataset("Ks20", None, "007-walk-1-30", {"gaps": kinect.GAP_CHOICES}),
    "ouisir": Dataset(
        "OuIsir", None, "1-walk-0-0", {"joint_order": list(OUISIR_JOINTS), "on_error": ON_ERROR}
    ),
    "oumvlp": Dataset(
        "OumvlpPose",
        "synthesize_oumvlp",
        "00001-nm-00-090",
        {"keypoints": oumvlp.KEYPOINTS, "person": oumvlp.PERSONS},
    ),
    "own": Dataset("OwnSequences", None, "Ada-walk-1-0", {"person": oumvlp.PERSONS}),
    "own3d": Dataset("OwnSkeletons", None, "001-walk-1-0", OWN3D),
    "silhouettes": Dataset("Silhouettes", None, "001-nm-01-090", {}),
    "tum-gaid": Dataset("TumGaid", "synthesize_tum_gaid", "001-n-1-90", VIDEOS),
    "uwg": Dataset("Uwg", None, "1-walk-0-0", {"on_error": ON_ERROR}),
}


def command_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser that calls itself by the tool's name."""
    return argparse.ArgumentParser(f"gaitbench {command}", description=description)


def own_class(path: str, kind: type[Kind]) -> type[Kind]:
    """The class that a user names from outside the package, such as ``my_data.Walks``.

    Raises:
        InputError: if it cannot be imported, or is of another kind.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} cannot be imported ({error}); name a class as module.Class, and put the "
            "folder of its file on PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise InputError(f"{path} is no {kind.__name__}; name a class that is derived from it")
    return found


def open_dataset(
    parser: argparse.ArgumentParser, args: Sequence[str]
) -> "tuple[argparse.Namespace, GaitDataModule]":
    """Parse ``args`` with a dataset and its own settings among them."""
    parser.add_argument(
        "dataset",
        metavar="dataset",
        help=f"{', '.join(DATASETS)}; or a class of your own, such as my_data.Walks",
    )
    parser.add_argument("path", help="the dataset as its owner published it")
    parser.add_argument("--cache", default="data/cache", help="where its store is kept")
    options: dict[str, list[str]] = {}
    for dataset in DATASETS.values():
        for name, of in dataset.options.items():
            options[name] = [*dict.fromkeys([*options.get(name, ()), *of])]
    for name, choices in options.items():
        having = ", ".join(key for key, dataset in DATASETS.items() if name in dataset.options)
        parser.add_argument(f"--{name}", choices=choices, help=f"of {having}")
    given = parser.parse_args(args)
    settings = {name: getattr(given, name, None) for name in (*options, "skeleton")}
    settings = {name: value for name, value in settings.items() if value is not None}
    own = given.dataset not in DATASETS
    if own and "." not in given.dataset:
        parser.error(f"dataset {given.dataset!r} is unknown; choose one of {', '.join(DATASETS)}")
    chosen = Dataset("", None, "", {}) if own else DATASETS[given.dataset]
    for name in settings:
        if name in options and name not in chosen.options:
            parser.error(f"{given.dataset} has no --{name}")
        if name in options and settings[name] not in chosen.options[name]:
            parser.error(
                f"--{name} {settings[name]} is unknown to {given.dataset}; choose "
                f"{' or '.join(chosen.options[name])}"
            )
    from gaitbench import datamodules

    kind = datamodules.GaitDataModule
    module: Any = own_class(given.dataset, kind) if own else getattr(datamodules, chosen.module)
    return given, module(given.path, cache=given.cache, **settings)
