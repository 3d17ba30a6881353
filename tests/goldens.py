"""Numbers of the authors' programs: how the files of tests/golden are read."""

import json
import lzma
import os
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaitbench.geometry import joint_velocity_bone_streams
from gaitbench.skeleton import COCO17, OPENPOSE18

GAITGRAPH = Path(__file__).parent / "golden" / "gaitgraph"
GAITFORMER = GAITGRAPH.with_name("gaitformer")
SGELA = GAITGRAPH.with_name("sgela")
GAITCOPY = GAITGRAPH.with_name("gaitcopy")
LAYOUTS = {"coco": COCO17, "oumvlp": OPENPOSE18}
NUMBER = {"nm": 0, "bg": 1, "cl": 2}
"""Numbers of CASIA-B's conditions in the keys of sequences."""


SAME = {
    "train_casia_1x15": ("train_casia_3x5", ["x"]),
    "tta_coco_1x15": ("tta_coco_3x5", ["x", "raw0", "raw1", "raw2", "raw3"]),
    "tta_coco_1x3": ("tta_coco_3x5", ["x", "raw0", "raw1", "raw2", "raw3"]),
}
"""Files whose arrays are those of another file, which alone has them here."""

SCENES = {
    "eval_casia": ["missing", "bg54_absent", "shuffled_order"],
    "eval_oumvlp": ["missing", "probe195_absent"],
}
"""Evaluations whose embeddings are some of those of the full one, by key."""


@cache
def unpacked(name: str) -> Path:
    """A golden file that lies here compressed, as it was published."""
    path = Path(tempfile.mkdtemp(prefix="gaitbench-golden-")) / name
    path.write_bytes(lzma.decompress((GAITGRAPH / f"{name}.xz").read_bytes()))
    return path


@cache
def unpacked_folder(name: str, folder: Path = GAITFORMER) -> Path:
    """A folder of golden files that lies here as a zip file."""
    path = Path(tempfile.mkdtemp(prefix="gaitbench-golden-")) / name
    with zipfile.ZipFile(folder / f"{name}.zip") as file:
        file.extractall(path)
    return path


@cache
def kinect_trees() -> Path:
    """A folder of BIWI, IAS and KGBD as published, and of the authors' identities of windows.

    The golden trees, but for the second person of KGBD, and with 0 where a skeleton file tells of
    pixels and bones. Expected are the windows that the authors' later program makes of them, as
    SHA-256 of their float32 values (raw_expected.json).
    """
    path = Path(tempfile.mkdtemp(prefix="gaitbench-golden-"))
    with tarfile.open(SGELA / "raw.tar.xz") as file:
        file.extractall(path, filter="data")
    return path


def golden(name: str, folder: Path = GAITGRAPH) -> dict[str, Any]:
    """All arrays of a golden file."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        data = dict(file)
    if folder != GAITGRAPH:
        return data
    if "angle" in data:
        data["x"] = _streams(data)
    if name in SAME:
        other, arrays = SAME[name]
        data |= {array: golden(other)[array] for array in arrays}
        # a network of one branch sees the channels of the others behind its own, or not at all
        branches, channels = map(int, str(data["mode"]).split("x"))
        x = data["x"].reshape(*data["x"].shape[:3], -1)[..., : branches * channels]
        data["x"] = x.reshape(*x.shape[:3], branches, channels)
    for scene in SCENES.get(name, ()):
        place = {tuple(key): i for i, key in enumerate(data["full_keys"])}
        rows = [place[tuple(key)] for key in data[f"{scene}_keys"]]
        data[f"{scene}_emb"] = data["full_emb"][rows]
    return data


def _streams(data: dict[str, Any]) -> Any:
    """Streams as published, of poses and of the one channel that rounding tells apart."""
    pose = torch.from_numpy(data["pose"])
    streams = joint_velocity_bone_streams(pose, LAYOUTS[str(data.get("layout", "coco"))])
    streams[..., 2, 4] = torch.from_numpy(data["angle"])
    branches, channels = map(int, str(data["mode"]).split("x"))
    return streams.reshape(*pose.shape[:3], branches, channels).numpy()


def recipe_weights(data: dict[str, Any], overridden: bool = True) -> dict[str, Tensor]:
    """The state dict that a golden file was made with: drawn tensor by tensor from its seed.

    Its batch-norm at the input is ``overridden`` with statistics that suit the data.
    """
    state = {}
    for i, (name, shape) in enumerate(json.loads(str(data["keys"]))):
        random = np.random.RandomState(int(data["wseed"]) + i)
        if name.endswith("num_batches_tracked"):
            value: Any = np.zeros((), np.int64)
        elif name.split(".")[-1] == "A":
            value = LAYOUTS[str(data.get("layout", "coco"))].adjacency()
        elif name.endswith(("running_mean", "bias")):
            value = 0.1 * random.standard_normal(shape)
        elif name.endswith("running_var"):
            value = 0.5 + random.random_sample(shape)
        elif name.endswith(".edge") or name.startswith("edge_importance."):
            value = 1 + 0.2 * random.standard_normal(shape)
        elif len(shape) == 1:
            value = 0.6 + 0.8 * random.random_sample(shape)
        else:
            value = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        if overridden:
            value = data.get(f"override/{name}", value)
        state[name] = torch.as_tensor(value if value.dtype == np.int64 else value.astype("f4"))
    return state


def gaitcopy_golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of one of GaitCopy's golden files, and the numbers that its JSON file tells.

    The files here have less in them than those they were made of: of large arrays every n-th value
    along an axis (see :func:`thinned`), and nothing that follows from the rest. Where
    ``GAITCOPY_GOLDEN`` names the folder of the whole files, these are read.
    """
    folder = os.environ.get("GAITCOPY_GOLDEN")
    data = golden(name, Path(folder) if folder else GAITCOPY)
    if not folder:
        return data, json.loads(str(data.pop("facts")))
    told = Path(folder) / f"{name}.json"
    return data, json.loads(told.read_text()) if told.exists() else {}


def thinned(found: Any, wanted: Any) -> Any:
    """Every n-th value along each axis, so that what was found has the shape of what is wanted."""
    steps = [size // other for size, other in zip(found.shape, wanted.shape, strict=True)]
    return found[tuple(slice(None, None, step) for step in steps)]


def filled(shape: tuple[int, ...], stream: int, seed: int = 1) -> Any:
    """Numbers between 0 and 1 that follow from their place, the stream and the seed alone.

    All of GaitCopy's golden weights and inputs are made of them.
    """
    start = 0x9E3779B9 * (stream + 1) + 0x85EBCA6B * (seed + 1)
    x = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint32) + np.uint32(start % 2**32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return ((x + 0.5) / 2**32).reshape(shape)


def filled_state(shapes: dict[str, tuple[int, ...]], keras: bool = True) -> dict[str, Tensor]:
    """Weights of those names and shapes, drawn one after the other by :func:`filled`.

    Args:
        shapes: as torch has them.
        keras: they were drawn in Keras' order of axes, input and output channels last.
    """
    state = {}
    for stream, (name, shape) in enumerate(shapes.items()):
        conv_or_dense = keras and len(shape) != 3
        order = (*range(2, len(shape)), 1, 0) if conv_or_dense and len(shape) > 1 else None
        drawn = tuple(shape[axis] for axis in order) if order else shape
        inputs = drawn[:-1] if keras else drawn[1:]
        fan_in = shape[1] if len(shape) == 3 else np.prod(inputs)
        limit = 0.05 if len(shape) == 1 else np.sqrt(6 / fan_in)
        value = (limit * (2 * filled(drawn, stream) - 1)).astype(np.float32)
        if order:
            value = value.transpose(np.argsort(order))
        state[name] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def filled_windows(count: int, flow: bool, stream: int) -> Tensor:
    """Windows (B, 25, 60, 60, C) of gray values or of flow, as the files on disk hold them."""
    if flow:
        stored = np.floor(601 * filled((count, 60, 60, 25, 2), stream)) - 300
        return torch.from_numpy(stored.astype(np.float32) / np.float32(100)).permute(0, 3, 1, 2, 4)
    stored = np.floor(256 * filled((count, 60, 60, 25, 1), stream)).astype(np.float32)
    values = stored / np.float32(255) - np.float32(0.5)
    return torch.from_numpy(values).permute(0, 3, 1, 2, 4)
