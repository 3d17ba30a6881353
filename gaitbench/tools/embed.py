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
        help="a file or folder of keypoints: COCO, OpenPose, AlphaPose, MMPose, npz, npy, CSV",
    )
    parser.add_argument("--ckpt_path", type=Path, required=True, help="the trained network")
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

    # networks over whole windows take no other length, and were made for short walks that repeat
    period = read_checkpoint(given.ckpt_path).get("hyper_parameters", {}).get("period")
    settings = {
        "ckpt_path": given.ckpt_path,
        "data.path": given.source,
        "data.cache": given.cache,
        "data.person": given.person,
        "data.sequence_labels": given.labels,
        "data.frames": given.frames or period,
        "data.crop": period and "tiled",
        "predictions.dir": given.out,
        "trainer.default_root_dir": given.out,
        "trainer.logger": "false",
        "trainer.enable_model_summary": "false",
    }
    words = [f"--{name}={value}" for name, value in settings.items() if value]
    run(OwnSequences, ["predict", *words, *further])
