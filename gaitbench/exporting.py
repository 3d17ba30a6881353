"""From a checkpoint to one file with the whole embedding network, checked against PyTorch."""

import hashlib
import inspect
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import gaitbench
from gaitbench.errors import InputError
from gaitbench.exported import INPUT, METADATA, NEEDS, ExportInfo, OnnxNetwork
from gaitbench.files import written_whole
from gaitbench.methods import GaitMethod

Format = Literal["onnx", "torch-export"]
Network = Callable[[Tensor], Sequence[Tensor]]

TOLERANCE = 1e-4
"""Largest difference from PyTorch, of values up to 1; larger ones count in their own size."""

DEFAULT_FRAMES = 60
"""Of a window where the network takes any number."""

BATCHES = 1, 3
"""Sizes of the batches that a file is checked with."""

MOST_RUNS, MOST_SECONDS = 200, 3.0
"""Of the measurement of the time for one walk."""


class Report(NamedTuple):
    """What came out of an export.

    Args:
        info: what the file says of itself.
        difference: largest one from PyTorch.
        largest: absolute value that PyTorch gives.
        seconds: median processor time for one walk on one core.
        torch_seconds: the same of PyTorch.
        runs: how many each is the median of.
    """

    info: ExportInfo
    difference: float
    largest: float
    seconds: float
    torch_seconds: float
    runs: int


class ToldSideBySide(nn.Module):
    """A method as a function of windows alone.

    Args:
        method: in evaluation mode.
    """

    def __init__(self, method: GaitMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """What it tells of windows (B, T, ...), in the order of its names."""
        return tuple(self.method.told(frames).values())


def trained_method(
    kind: type[GaitMethod], settings: dict[str, Any], content: dict[str, Any], tta: bool = False
) -> GaitMethod:
    """The method in a checkpoint, ready to embed.

    Args:
        kind: its class.
        settings: that it was trained with.
        content: as :func:`gaitbench.checkpoints.read_checkpoint` gives it.
        tta: with test-time augmentation.

    Raises:
        InputError: if the weights do not fit, or the method has no such augmentation.
    """
    origin = content.get("gaitbench", {})
    if "skeleton" in origin:
        settings = {**settings, "skeleton": origin["skeleton"]}
    # losses are left out, and so is whatever hangs on how many people trained
    method = kind(**settings, num_subjects=len(origin.get("subjects", ())) or 2)
    method.on_load_checkpoint(content)
    method.load_state_dict(content["state_dict"])
    if tta and "tta" not in inspect.signature(kind).parameters:
        raise InputError(f"{kind.__name__} has no test-time augmentation; leave --tta out")
    method.tta = tta
    return method.eval().requires_grad_(False)


def export(
    method: GaitMethod, content: dict[str, Any], source: Path, path: Path, how: Format, frames: int
) -> Report:
    """Write the method's network to a file, once it is known to give what PyTorch gives.

    Args:
        method: see :func:`trained_method`.
        content: of its checkpoint.
        source: that checkpoint's file.
        path: of the file.
        how: ``onnx`` or ``torch-export``.
        frames: of a window, where the network takes any number; 0 for what it was made for.

    Raises:
        InputError: if it gives something else, the file cannot be written, or a package is missing.
    """
    network = ToldSideBySide(method)
    examples = [
        made_up_windows(method, content, batch, length)
        for batch, length in zip(BATCHES, _lengths(method, frames), strict=True)
    ]
    with torch.inference_mode(False), torch.no_grad(), _quiet():
        # before tracing, in which tensors that are kept for later would be kept as stand-ins
        told = method.told(examples[0])
        info = _info(method, content, source, told, frames or _lengths(method, 0)[0])
        # batch, and where the network allows it frames
        dynamic = dict.fromkeys(range(1 + info.any_length), torch.export.Dim.DYNAMIC)
        program = torch.export.export(
            network,
            (examples[1],),
            dynamic_shapes=(dynamic,),
            strict=False,
        )
        with written_whole(path) as beside:
            written: Network
            if how == "onnx":
                _write_onnx(program, info, beside)
                written = _of_onnx(beside)
            else:
                torch.export.save(program, beside, extra_files={f"{METADATA}.json": info.to_json()})
                written = torch.export.load(beside).module()
            difference, largest = largest_difference(network, written, examples)
            if not difference <= TOLERANCE * max(1.0, largest):
                raise InputError(
                    f"what {how} makes of this {info.method} differs from PyTorch by "
                    f"{difference:.1e} in values up to {largest:.3g}, more than {TOLERANCE:g} of "
                    "them, so nothing was written; export in the other format and report this"
                )
            seconds, torch_seconds, runs = walk_times((written, network), examples[0])
    return Report(info, difference, largest, seconds, torch_seconds, runs)


def largest_difference(
    expected: Network, found: Network, examples: Sequence[Tensor]
) -> tuple[float, float]:
    """Largest absolute difference over all outputs and batches, and largest value expected.

    A value that is not finite makes the difference infinite.
    """
    difference, largest = 0.0, 0.0
    for frames in examples:
        for wanted, given in zip(expected(frames), found(frames), strict=True):
            gap = float((wanted - given).abs().nan_to_num(nan=torch.inf).max())
            difference, largest = max(difference, gap), max(largest, float(wanted.abs().max()))
    return difference, largest


def made_up_windows(method: GaitMethod, content: dict[str, Any], count: int, length: int) -> Tensor:
    """Windows (count, length, ...) with values as large as those that the method sees.

    Poses stand somewhere and move a little from frame to frame.
    """
    shape = method.window_shape[1:]
    generator = torch.Generator().manual_seed(count)
    place = torch.randn(count, 1, *shape, generator=generator)  # type: ignore[arg-type]
    moves = torch.randn(count, length, *shape, generator=generator)  # type: ignore[arg-type]
    kind, normalized = _kind(method, content)
    if kind == "images":
        return moves.sigmoid() if method.skeleton.startswith("silhouette") else moves.tanh() / 2
    frames = place / 2 + moves / 20
    if kind == "pose" and not normalized:
        frames[..., :2] = 150 + 100 * frames[..., :2]
    if kind == "pose":
        frames[..., 2] = frames[..., 2].sigmoid()
    return frames


def _kind(method: GaitMethod, content: dict[str, Any]) -> tuple[str, bool]:
    """Kind of the frames, and whether they are poses in units of the body."""
    origin = content.get("gaitbench", {})
    shape = method.window_shape
    guess = "images" if len(shape) == 4 else "pose" if shape[0] is None else "skeleton3d"
    kind = origin.get("frame_kind") or guess
    return str(kind), kind == "pose" and bool(origin.get("normalized"))


UNITS = {
    "pose": "x and y in pixels, y downwards, confidence from 0 to 1",
    "skeleton3d": "x, y and z in metres, y upwards",
    "encodings": "gait encodings of SGE-LA",
    "gray": "gray values from -0.5 to 0.5",
    "flow": "movement in x and y in pixels",
    "silhouette": "from 0, background, to 1, person",
}


def _info(
    method: GaitMethod, content: dict[str, Any], source: Path, told: dict[str, Tensor], frames: int
) -> ExportInfo:
    kind, normalized = _kind(method, content)
    units = UNITS.get(method.skeleton.partition("-")[0] if kind == "images" else kind, kind)
    if normalized:
        units = "x and y in units of the body from the pelvis, y upwards, confidence from 0 to 1"
    any_length, *shape = method.window_shape
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ExportInfo(
        method=type(method).__name__,
        version=gaitbench.__version__,
        checkpoint=digest,
        skeleton=method.skeleton,
        frame_kind=content.get("gaitbench", {}).get("frame_kind"),
        normalisation="pelvis" if normalized else "none",
        units=units,
        frames=frames,
        any_length=any_length is None,
        crop="tiled" if "period" in method.hparams else "reflected",
        frame_shape=tuple(size for size in shape if size is not None),
        outputs=tuple(told),
        embedding_dim=told["embedding"].shape[1],
        attributes=tuple(method.attribute_names),
        tta=method.tta,
    )


def _lengths(method: GaitMethod, frames: int) -> tuple[int, int]:
    """Frames of the windows of both batches that a file is checked with.

    Raises:
        InputError: if ``frames`` are asked of a network that takes another number.
    """
    own = method.window_shape[0]
    if own is None:
        own = frames or int(method.hparams.get("period", DEFAULT_FRAMES))
        return own, own + 7
    if frames not in (0, own):
        raise InputError(
            f"this {type(method).__name__} takes windows of {own} frames, --frames is {frames}; "
            "leave it out"
        )
    return own, own


def _write_onnx(program: torch.export.ExportedProgram, info: ExportInfo, path: Path) -> None:
    try:
        converted: Any = torch.onnx.export(
            program,
            input_names=[INPUT],
            output_names=list(info.outputs),
            dynamo=True,
            optimize=False,  # onnxruntime does it on loading; onnxscript fails on GaitSet
            verbose=False,
        )
    except ImportError as error:
        raise InputError(
            f"ONNX files need {error.name}, which is not installed; {NEEDS}"
        ) from error
    converted.model.metadata_props[METADATA] = info.to_json()
    converted.save(path, external_data=False)


def _of_onnx(path: Path) -> Network:
    run = OnnxNetwork(path, threads=1)
    return lambda frames: [torch.from_numpy(values) for values in run(frames.numpy()).values()]


def walk_times(networks: Sequence[Network], walks: Tensor) -> tuple[float, float, int]:
    """Median seconds for one walk of both networks on one core, and how many runs they are of.

    It is processor time, which other programs on the machine hardly change.
    """
    walk, found = walks[:1], []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for network in networks:
            network(walk)  # the first run finds memory
            taken: list[float] = []
            while len(taken) < MOST_RUNS and (len(taken) < 10 or sum(taken) < MOST_SECONDS):
                start = time.thread_time()
                network(walk)
                taken.append(time.thread_time() - start)
            found.append(taken)
    finally:
        torch.set_num_threads(threads)
    runs = min(map(len, found))
    return float(np.median(found[0][:runs])), float(np.median(found[1][:runs])), runs


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch tells those who work on its exporters."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
