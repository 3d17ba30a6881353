"""``gaitbench embed``."""

from collections.abc import Sequence
from pathlib import Path

from gaitbench.errors import InputError
from gaitbench.oumvlp import PERSONS
from gaitbench.tools.datasets import command_parser


def main(args: Sequence[str]) -> None:
    """Turn keypoints of anybody's videos into embeddings and attribute probabilities."""
    parser = command_parser(
        "embed",
        "Turn keypoints into embeddings, and into probabilities of attributes if the network tells "
        "any. Further words are settings of `gaitbench predict`, such as --data.eval_windows 5.",
    )
    parser.add_argument(
        "source",
        type=Path,
        help="a file or folder of keypoints: COCO, OpenPose, AlphaPose, MMPose, npz, npy, pkl, CSV",
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--ckpt_path", type=Path, help="the trained network")
    network.add_argument("--model", type=Path, help="an ONNX file of it, of `gaitbench export`")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for embeddings.npy, sequences.csv and attributes.csv",
    )
    parser.add_argument(
        "--person",
        choices=PERSONS,
        help="who is followed where a video has no track numbers (default smoothest)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        help="CSV of sequence, subject, condition, number, view (default labels.csv beside)",
    )
    parser.add_argument(
        "--frames", type=int, help="frames of a window (default the network's own, or 60)"
    )
    parser.add_argument("--cache", default="data/cache", help="where the store is kept")
    given, further = parser.parse_known_args(args)
    if given.source.is_dir() and given.out.resolve().is_relative_to(given.source.resolve()):
        raise InputError(
            f"--out {given.out} lies in {given.source}, where it would be read as keypoints the "
            "next time; name a folder elsewhere"
        )
    from gaitbench.checkpoints import read_checkpoint
    from gaitbench.cli import main as run
    from gaitbench.datamodules.own import OwnSequences
    from gaitbench.exported import OnnxNetwork

    # networks over whole windows take no other length, and were made for short walks that repeat
    if given.model:
        info = OnnxNetwork(given.model).info
        frames, crop = info.frames, info.crop
        named = {"model": "ExportedNetwork", "model.path": given.model}
    else:
        frames = read_checkpoint(given.ckpt_path).get("hyper_parameters", {}).get("period")
        crop = "tiled" if frames else "reflected"
        named = {"ckpt_path": given.ckpt_path}
    settings = {
        **named,
        "data.path": given.source,
        "data.cache": given.cache,
        "data.person": given.person,
        "data.sequence_labels": given.labels,
        "data.frames": given.frames or frames,
        "data.crop": crop,
        "data.predict": "all",
        "predictions.dir": given.out,
        "trainer.default_root_dir": given.out,
        "trainer.logger": "false",
        "trainer.enable_model_summary": "false",
    }
    words = [f"--{name}={value}" for name, value in settings.items() if value]
    run(OwnSequences, ["predict", *words, *further])
