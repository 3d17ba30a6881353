"""Networks that ``gaitbench export`` has written: what they are, and how they are run.

Needs numpy and onnxruntime alone, neither torch nor Lightning.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from gaitbench.errors import InputError

METADATA = "gaitbench"
"""Name of the description in an ONNX file; a torch.export archive has it in ``gaitbench.json``."""

INPUT = "frames"
"""Name of the graph's input."""

LARGEST = 1 << 26
"""Values of a window."""

NEEDS = "pip install 'gaitbench[export]'"


@dataclass(frozen=True)
class ExportInfo:
    """What an exported network is, and what it takes.

    Attributes:
        method: name of the class.
        version: of gaitbench that has exported it.
        checkpoint: SHA-256 of the checkpoint's file.
        skeleton: layout of the poses, or modality and size of the pictures.
        frame_kind: ``pose``, ``skeleton3d``, ``images`` or ``encodings``; None if the checkpoint
            does not tell.
        normalisation: ``pelvis`` for poses in units of the body, y upwards; ``none`` otherwise.
        units: of the values of a frame.
        frames: T of a window.
        any_length: whether other numbers of frames will do.
        crop: how windows are cut of walks, as ``data.crop`` says it.
        frame_shape: shape of one frame.
        outputs: names of what it tells, in order.
        embedding_dim: size D of an embedding, test-time augmentation included.
        attributes: names of the attributes that it tells, in order.
        tta: whether test-time augmentation is in the graph.
    """

    method: str
    version: str
    checkpoint: str
    skeleton: str
    frame_kind: str | None
    normalisation: Literal["none", "pelvis"]
    units: str
    frames: int
    any_length: bool
    crop: Literal["reflected", "tiled"]
    frame_shape: tuple[int, ...]
    outputs: tuple[str, ...]
    embedding_dim: int
    attributes: tuple[str, ...]
    tta: bool

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ExportInfo":
        """What :meth:`to_json` has written.

        Raises:
            ValueError: if it is something else.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or {*content} != {*cls.__dataclass_fields__}:
            raise ValueError("expected the facts of an exported network")
        facts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        for name, kind in get_type_hints(cls).items():
            if not _is_of(facts[name], kind):
                raise ValueError(f"expected {kind} as {name}")
        if facts["frames"] * math.prod(facts["frame_shape"]) > LARGEST:
            raise ValueError(f"expected windows of at most {LARGEST} values")
        return cls(**facts)

    @property
    def origin(self) -> dict[str, Any]:
        """The same as a checkpoint says it of its network's data."""
        return {"skeleton": self.skeleton, "normalized": self.normalisation == "pelvis"}


def _is_of(value: object, kind: Any) -> bool:
    """Whether a value is of a field's type; numbers are sizes, which are above zero."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inside
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_of(part, inside[0]) for part in value)
    if inside:
        return any(_is_of(value, one) for one in inside)
    return type(value) is kind and (kind is not int or value > 0)  # type: ignore[operator]


class OnnxNetwork:
    """A network in an ONNX file.

    Args:
        path: of the file.
        threads: that work on one batch; 0 for as many as there are cores.

    Raises:
        InputError: if there is no such file, it is something else, or onnxruntime is missing.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                f"ONNX files need {error.name}, which is not installed; {NEEDS}"
            ) from error
        if not path.is_file():
            raise InputError(f"{path} does not exist; name a file that `gaitbench export` wrote")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # its warnings are advice to those who build the graph
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common class of them
            raise InputError(
                f"{path} is no ONNX file, or a damaged one; name one that `gaitbench export` wrote"
            ) from error
        self.path = path
        try:  # names and facts are anybody's text
            told: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
            self.info = ExportInfo.from_json(told.get(METADATA, ""))
            agrees = self._is_as_told()
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{path} does not tell what it takes; name a file that `gaitbench export` wrote"
            ) from error
        if not agrees:
            raise InputError(
                f"{path} takes or gives something else than it tells; export the network again"
            )

    def _is_as_told(self) -> bool:
        info, given = self.info, self._session.get_inputs()
        if [one.name for one in given] != [INPUT] or "embedding" not in info.outputs:
            return False
        _, *window = given[0].shape or [None]
        frames = window[:1] if info.any_length else [info.frames]
        outputs = [one.name for one in self._session.get_outputs()]
        return window == [*frames, *info.frame_shape] and outputs == list(info.outputs)

    def __call__(self, frames: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What it tells of windows (B, T, ...), by name: ``embedding`` (B, D) and others.

        Raises:
            ValueError: if the windows have another shape.
            InputError: if the network cannot be worked out, or gives something else.
        """
        info = self.info
        length = frames.shape[1:2]
        if frames.shape[2:] != info.frame_shape or (
            not info.any_length and length != (info.frames,)
        ):
            raise ValueError(
                f"expected windows of {info.frames} frames {info.frame_shape}, found {frames.shape}"
            )
        try:
            values = self._session.run(list(info.outputs), {INPUT: frames})
        except Exception as error:  # as above
            raise InputError(
                f"the network in {self.path} fails on windows {frames.shape}; export it again"
            ) from error
        found = dict(zip(info.outputs, values, strict=True))
        if found["embedding"].shape != (len(frames), info.embedding_dim):
            raise InputError(
                f"the network in {self.path} gives embeddings {found['embedding'].shape} where it "
                f"tells {info.embedding_dim} values a window; export it again"
            )
        return found
