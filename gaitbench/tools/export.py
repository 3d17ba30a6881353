"""``gaitbench export``."""

from collections.abc import Sequence
from pathlib import Path

from gaitbench.tools.datasets import command_parser, own_class


def main(args: Sequence[str]) -> None:
    """Write a checkpoint's embedding network to one file, checked against PyTorch."""
    parser = command_parser(
        "export",
        "Write a checkpoint's network, from the frames that a dataset hands it to the embedding, "
        "to one file that runs without this project.",
    )
    parser.add_argument("ckpt_path", type=Path, help="the trained network")
    parser.add_argument("--format", choices=["onnx", "torch-export"], default="onnx")
    parser.add_argument("--out", type=Path, required=True, help="the file, such as gait.onnx")
    parser.add_argument(
        "--frames",
        type=int,
        default=0,
        help="frames of a window where the network takes any number (default 60)",
    )
    parser.add_argument(
        "--tta", action="store_true", help="with the method's test-time augmentation in the graph"
    )
    parser.add_argument(
        "--model", help="class of the method, such as my_method.Network, where it is of your own"
    )
    given = parser.parse_args(args)
    from gaitbench import methods
    from gaitbench.checkpoints import read_checkpoint
    from gaitbench.cli import stored_settings
    from gaitbench.errors import InputError
    from gaitbench.exporting import export, trained_method

    if given.frames and given.frames < 3:
        raise InputError(f"--frames is {given.frames}; give 3 or more")
    suffix = ".onnx" if given.format == "onnx" else ".pt2"
    if given.out.suffix != suffix:
        raise InputError(f"--out {given.out} is to hold {given.format}; end its name in {suffix}")
    content = read_checkpoint(given.ckpt_path)
    settings = stored_settings(content, given.ckpt_path, [given.model] if given.model else [])
    if not settings:
        raise InputError(
            f"{given.ckpt_path} does not tell its method; name a checkpoint that `fit` or "
            "`import-checkpoint` has written"
        )
    named = settings["class_path"]
    own = named not in methods.__all__
    kind = own_class(named, methods.GaitMethod) if own else getattr(methods, named)
    method = trained_method(kind, settings["init_args"], content, given.tta)
    found = export(method, content, given.ckpt_path, given.out, given.format, given.frames)
    info = found.info
    length = "any number T" if info.any_length else f"T = {info.frames}"
    shape = ", ".join(map(str, info.frame_shape))
    print(f"{given.out}: {info.method} of {given.ckpt_path} ({info.checkpoint[:12]})")
    print(f"takes frames (B, T, {shape}), {length}, {info.skeleton}: {info.units}")
    others = "".join(f", {name}" for name in info.outputs if name != "embedding")
    print(f"gives embedding ({info.embedding_dim} values){others}")
    print(
        f"largest difference from PyTorch {found.difference:.1e}, of values up to "
        f"{found.largest:.3g}"
    )
    print(
        f"one walk of {info.frames} frames on one core: {1e3 * found.seconds:.2f} ms, PyTorch "
        f"{1e3 * found.torch_seconds:.2f} ms (processor time, "
        f"medians of {found.runs})"
    )
