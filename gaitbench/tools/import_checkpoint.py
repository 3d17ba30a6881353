"""``gaitbench import-checkpoint``."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitbench.errors import InputError
from gaitbench.tools.datasets import command_parser

if TYPE_CHECKING:
    from gaitbench.datamodules import GaitDataModule
    from gaitbench.methods import GaitMethod
    from gaitbench.published import Published

AUTHORS = ("GaitGraph2", "GaitGraph")
IMPORTS = {
    "gaitgraph2": ("GaitGraph2", AUTHORS),
    "gaitgraph": ("GaitGraph", AUTHORS),
    "opengait-gaitgraph2": ("GaitGraph2", ("OpenGait",)),
    "gaitformer": ("GaitFormer", ("GaitFormer",)),
    "sgela": ("SGELA", ("SGE-LA",)),
    "sgela-recognition": ("AgeRecognition", ("SGE-LA",)),
}
"""What a published checkpoint may be imported as: method, and programs whose files that takes."""

OPTIONS = {
    "heads": ("gaitformer",),
    "attributes": ("gaitformer",),
    "frames": ("sgela", "sgela-recognition"),
    "subjects": ("sgela-recognition",),
}
"""What a file may not tell, and of which methods."""


def main(args: Sequence[str]) -> None:
    """Turn a checkpoint that others have published into one that `test` and `predict` take."""
    parser = command_parser(
        "import-checkpoint",
        "Turn a published checkpoint into one that `test` and `predict` take. Nothing in the file "
        "is run; what it holds is found out from its weights.",
    )
    parser.add_argument(
        "method",
        choices=list(IMPORTS),
        help="what it shall serve; opengait- reads files of OpenGait and FastPoseGait",
    )
    parser.add_argument(
        "source",
        type=Path,
        nargs="+",
        help="the published .ckpt, .pth or .pt; of sgela the TensorFlow checkpoints of x, y and z, "
        "or what their names have in common before _x",
    )
    parser.add_argument("target", type=Path, help="the .ckpt to write")
    parser.add_argument("--heads", type=int, help="of a gaitformer's attention (default 8)")
    parser.add_argument(
        "--attributes",
        nargs="+",
        metavar="CATEGORY",
        help="what a gaitformer tells, where it is none of the published sets",
    )
    parser.add_argument("--frames", type=int, help="of a window of sgela (default 6)")
    parser.add_argument(
        "--subjects",
        nargs="+",
        help="of sgela-recognition, the people it knows in the order of its outputs; where they "
        "are not named, those of the data are taken for them",
    )
    given = parser.parse_args(args)
    told = {name: value for name in OPTIONS if (value := getattr(given, name)) is not None}
    for name in told:
        if given.method not in OPTIONS[name]:
            parser.error(f"{given.method} has no --{name}")
    content: Mapping[str, Any] = {}
    if given.method in OPTIONS["frames"]:
        subjects = told.pop("subjects", None)
        published, files = _of_tensorflow(given.method, given.source, told)
        told = {}
    else:
        subjects = None
        if len(given.source) > 1:
            parser.error(f"{given.method} has one source, {len(given.source)} are named")
        from gaitbench.checkpoints import read_published
        from gaitbench.published import recognise

        files = given.source
        content = read_published(files[0])
        published = recognise(content, files[0])
    source = given.source[0]
    published.settings.update(told)
    untold = {name: note for name, note in published.untold.items() if name not in told}
    for name, note in untold.items():
        if name not in published.settings:
            raise InputError(f"{source}: {note}; name them with --{name}")
    method, unmatched = _method_of(published, given.method, source)
    if subjects is not None:
        _name_subjects(method, subjects, source)
    dataset = _dataset_of(published, given.method)
    _write_checkpoint(given.target, method, content, dataset, files)
    settings = dict(method.hparams) | {"skeleton": method.skeleton}
    print(f"{source} is a checkpoint of {published.origin}; as {type(method).__name__}:")
    for name, value in settings.items():
        print(f"  {name}: {value}")
    print(f"weights: {len(published.weights)}; unmatched keys: {', '.join(unmatched) or 'none'}")
    for remark in (*published.remarks, *untold.values()):
        print(f"note: {remark}")
    name = dataset.__name__ if dataset else "DATASET"
    print(f"written to {given.target}; `gaitbench test --data {name} --ckpt_path {given.target}`")


def _of_tensorflow(
    name: str, sources: Sequence[Path], told: Mapping[str, Any]
) -> "tuple[Published, list[Path]]":
    """The network that SGE-LA's program has written, and the files it is in.

    Raises:
        InputError: if it is another one, or files are missing.
    """
    from gaitbench.published import sgela
    from gaitbench.readers.tf_checkpoint import checkpoint_files

    if told.get("frames", 1) < 1:
        raise InputError(f"--frames is {told['frames']}; give 1 or more")
    if name == "sgela-recognition":
        if len(sources) > 1:
            raise InputError(f"{name} has one source, {len(sources)} are named; name one")
        published = sgela.published_classifier(sources[0], **told)
    else:
        sources = _axes(sources)
        published = sgela.published_encoder(sources, **told)
    return published, [file for source in sources for file in checkpoint_files(source)]


def _axes(sources: Sequence[Path]) -> list[Path]:
    """Checkpoints of x, y and z."""
    if len(sources) == 1:
        sources = [sources[0].with_name(f"{sources[0].name}_{axis}") for axis in "xyz"]
        missing = [str(path) for path in sources if not path.is_dir()]
        if missing:
            raise InputError(
                f"{' and '.join(missing)} is no folder of a checkpoint; name the folders of x, y "
                "and z, or their name before _x"
            )
    if len(sources) != 3:
        raise InputError(f"{len(sources)} checkpoints are named; name those of x, y and z")
    return list(sources)


def _name_subjects(method: "GaitMethod", subjects: Sequence[str], source: Path) -> None:
    """Tell a method of recognition whom its outputs stand for."""
    if len(set(subjects)) != len(subjects) or len(subjects) != method.num_subjects:
        raise InputError(
            f"--subjects names {len(set(subjects))} people, {source} knows {method.num_subjects}; "
            "name each once"
        )
    if list(subjects) != sorted(subjects):
        raise InputError("--subjects is not sorted, as the outputs of the program are; sort it")
    method.subjects = tuple(subjects)  # type: ignore[assignment]


def _method_of(published: "Published", name: str, source: Path) -> "tuple[GaitMethod, list[str]]":
    """The method with the published weights, and the file's keys that it has no place for.

    Raises:
        InputError: if the file is one of another method, or weights are missing or of other shapes.
    """
    import torch

    from gaitbench import methods

    kind, programs = IMPORTS[name]
    if published.origin not in programs:
        fitting = [other for other, (_, of) in IMPORTS.items() if published.origin in of]
        raise InputError(
            f"{source} is a checkpoint of {published.origin}, not of {' or '.join(programs)}; "
            f"import it as {' or '.join(fitting)}"
        )
    settings = {"skeleton": published.skeleton.name} | published.settings
    if published.input_form:
        settings["streams"] = _streams(published.input_form, kind, source)
    with torch.device("meta"):  # sizes are the file's word, and memory is not given on it
        network = getattr(methods, kind)(**settings).backbone.state_dict()
    faults = [f"lacks {key}" for key in network if key not in published.weights]
    faults += [
        f"has {key} of shape {tuple(value.shape)} in place of {tuple(network[key].shape)}"
        for key, value in published.weights.items()
        if key in network and value.shape != network[key].shape
    ]
    if faults:
        raise InputError(
            f"{source} is no whole {published.settings.get('backbone', kind)}: it {faults[0]}, and "
            f"{len(faults) - 1} more; download it again from where it was published"
        )
    method: Any = getattr(methods, kind)(**settings)
    method.backbone.load_state_dict({key: published.weights[key] for key in network})
    return method, published.unmatched + [key for key in published.weights if key not in network]


def _streams(form: tuple[int, int], kind: str, source: Path) -> str:
    """What a method calls streams of so many branches and channels."""
    from gaitbench.methods import gaitgraph, gaitgraph2

    forms = {"GaitGraph": gaitgraph, "GaitGraph2": gaitgraph2}[kind].INPUT_FORMS
    for name, known in forms.items():
        if known == form:
            return str(name)
    takes = ", ".join("{} x {}".format(*known) for known in forms.values())
    has = "{} x {}".format(*form)
    raise InputError(
        f"{source} takes streams of {has} branches and channels, {kind} has {takes}; import it as "
        "another method"
    )


def _dataset_of(published: "Published", name: str) -> "type[GaitDataModule] | None":
    """What a network is judged on: GaitGraph's authors had one dataset of each layout.

    Authors of other networks had several of the same, and their files do not tell.
    """
    from gaitbench import datamodules

    if name == "sgela-recognition":
        return datamodules.Encodings
    known = {17: datamodules.CasiaB, 18: datamodules.OumvlpPose}
    return known[published.skeleton.num_joints] if published.origin in AUTHORS else None


def _write_checkpoint(
    target: Path,
    method: "GaitMethod",
    content: Mapping[str, Any],
    dataset: "type[GaitDataModule] | None",
    files: Sequence[Path],
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
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.read_bytes())
    names = ", ".join(file.name for file in files)
    checkpoint["gaitbench"]["source"] = {"file": names, "sha256": digest.hexdigest()}
    with written_whole(target) as place, place.open("wb") as file:
        torch.save(checkpoint, file)
