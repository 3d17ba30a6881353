"""Spoil valid files at random and read them: they are read, or refused in one sentence.

    python benchmarks/fuzz.py [--only NAME ...] [--inputs 200000] [--minutes 10] [--seed 0]

Each target is a reader, in a process of its own with a limit of memory and a limit of time for
each input. A finding is anything but a value or an ``InputError``: another exception, a warning of
numpy's, a hang, more memory than the limit, a process that dies, code that is run, a file outside
the input's folder that is opened. Its input is kept, and the line that is printed tells the seed
that makes it again. Check sums are taken for right, so that spoilt inputs reach what lies behind.
"""

import argparse
import contextlib
import faulthandler
import gzip
import io
import json
import logging
import multiprocessing
import os
import pickle
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from gaitbench import checkpoints, kinect, store
from gaitbench.backbones.gait_encoder import AgeClassifier, GaitEncoder
from gaitbench.casia_b import COLUMNS
from gaitbench.errors import InputError
from gaitbench.gallery import Gallery, read_gallery, write_gallery
from gaitbench.methods import GaitFormer, GaitGraph, GaitGraph2
from gaitbench.protocols.open_set import Threshold
from gaitbench.published import recognise
from gaitbench.published.sgela import (
    ENCODER,
    PROJECTION,
    published_classifier,
    published_encoder,
)
from gaitbench.readers import (
    annotated,
    casia_b,
    encodings,
    gaitcopy_samples,
    keypoints,
    labels,
    oumvlp,
    pickles,
    sgela,
    silhouettes,
    skeletons,
    tf_checkpoint,
)
from gaitbench.readers import kinect as kinect_files
from gaitbench.skeleton import KINECT20
from gaitbench.tools import import_checkpoint

MEMORY = 3 << 30
"""Bytes beyond what a process has at its start."""
SECONDS = 5
"""Of the processor, for one input."""
SILENCE = 120
"""Seconds without a sign after which a process is taken to hang outside of Python."""
SHOWN = 3
"""Findings of a target that are printed and kept, of each kind."""

RUNS = frozenset(
    ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn")
) | {"socket.connect", "os.remove", "os.rename", "shutil.rmtree", "os.mkdir"}
"""What no reader does, as Python's audit hooks call it."""

OUTSIDE = "outside"
"""Name of what lies beside an input's folder and is none of its business."""

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass
class Target:
    """A reader and what it is fed.

    Attributes:
        seeds: valid inputs, each a table of file names and contents.
        read: reads what lies in a folder.
        spoil: how a file is spoilt that ends so; others as plain bytes.
        most: inputs at most, where each is expensive.
    """

    seeds: list[dict[str, bytes]]
    read: Callable[[Path], Any]
    spoil: dict[str, Mutation] = field(default_factory=dict)
    most: int = 1 << 60


class Slow(BaseException):
    """An input took too long."""


# ------------------------------------------------------------------------------ what spoils a file

TOKENS = [
    *(b"", b"0", b"-0", b"-1", b"1e999", b"1e39", b"nan", b"NaN", b"inf", b"-Infinity", b"null"),
    *(b"9223372036854775808", b"18446744073709551616", b"4294967295", b"-2147483649", b"9" * 400),
    *(b"../outside", b"/etc/passwd", b"..", b"\\..\\", b"\0", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b'"', b"'", b",", b";", b"\r", b"\n\n", b"{}", b"[]", b"true", b"x" * 5000, b"0x10", b"1_0"),
    *("²".encode(), "\u2028".encode(), b"%s%n", b"1e-400", b"9" * 5000),
]
NUMBERS = [0, 1, -1, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 31, (1 << 31) - 1, (1 << 32) - 1]
NUMBERS += [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 0x7FF0000000000000, 0x7FC00000]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1 << 40, 1 << 62, 1 << 70, -(1 << 63), 1e308, -0.0, 1e-320),
    *(float("nan"), float("inf"), "", "0", "nan", "../outside", "/etc/passwd", "\0", "x" * 3000),
    *([], {}, [[]], [0], {"a": 1}, [None], "1e5", "-1", "²", [[[[0]]]], [1 << 70], 10**4000),
]


def plain(content: bytes, draw: random.Random) -> bytes:
    """Bits, bytes, pieces."""
    data = bytearray(content)
    place = draw.randrange(len(data) + 1)
    size = min(draw.choice((1, 2, 4, 8, 16, 100, 1000)), max(1, len(data)))
    kind = draw.randrange(9)
    if not data:
        return draw.randbytes(size)
    at = min(place, len(data) - 1)
    if kind == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        data[at] = draw.randrange(256)
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        del data[place : place + size]
    elif kind == 4:
        data[place:place] = data[place : place + size]
    elif kind == 5:
        data[place:place] = draw.randbytes(size)
    elif kind == 6:
        data[place : place + draw.choice((0, 1, 4, 8))] = draw.choice(TOKENS)
    elif kind == 7:
        number = draw.choice(NUMBERS) & (1 << 64) - 1
        wide = draw.choice((1, 2, 4, 8))
        packed = (number & (1 << 8 * wide) - 1).to_bytes(wide, draw.choice(("little", "big")))
        data[at : at + wide] = packed
    else:
        other = draw.randrange(len(data))
        data[at : at + size] = data[other : other + size]
    return bytes(data)


def text(content: bytes, draw: random.Random) -> bytes:
    """Lines and fields, or bytes."""
    if draw.random() < 0.3:
        return plain(content, draw)
    lines = content.split(b"\n")
    place = draw.choice((0, draw.randrange(len(lines))))
    kind = draw.randrange(6)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[draw.randrange(len(lines))])
    elif kind == 2:
        lines[place] = draw.choice(TOKENS)
    else:
        mark = next((m for m in (b";", b",") if m in lines[place]), b"/")
        fields = lines[place].split(mark)
        field = draw.randrange(len(fields))
        if kind == 3:
            del fields[field]
        elif kind == 4:
            fields.insert(field, draw.choice(fields))
        else:
            fields[field] = draw.choice(TOKENS)
        lines[place] = mark.join(fields)
    return b"\n".join(lines)


def zipped_text(content: bytes, draw: random.Random) -> bytes:
    """Within gzip, or gzip itself."""
    if draw.random() < 0.4:
        return plain(content, draw)
    try:
        return gzip.compress(text(gzip.decompress(content), draw), 1)
    except Exception:
        return plain(content, draw)


def tree(content: bytes, draw: random.Random) -> bytes:
    """A node of a JSON file, or its bytes."""
    chance = draw.random()
    if chance < 0.25:
        return plain(content, draw)
    if chance < 0.27:
        depth = draw.choice((100, 1000, 1100, 100000))
        return draw.choice((b"[" * depth, b'{"people":' * depth + b"1" + b"}" * depth))
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return plain(content, draw)
    nodes: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        children = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in list(children):
            nodes.append((node, key))
            if isinstance(child, dict | list):
                walk(child)

    if isinstance(found, dict | list):
        walk(found)
    if not nodes:
        return json.dumps(draw.choice(VALUES)).encode()
    # near the top there are few nodes, and most is decided there
    near = min(9, len(nodes))
    node, key = nodes[draw.choice((draw.randrange(len(nodes)), draw.randrange(near)))]
    kind = draw.randrange(5)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, list):
        node.insert(key, node[key])
    elif kind == 2:
        other, name = draw.choice(nodes)
        with contextlib.suppress(LookupError, TypeError):
            node[key] = json.loads(json.dumps(other[name]))
    else:
        node[key] = draw.choice(VALUES)
    try:
        return json.dumps(found).encode()
    except ValueError:  # a number of too many digits
        return plain(content, draw)


HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 17, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 17, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<U9', 'fortran_order': True, 'shape': (2, 2), }",
    "{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 17, 3), }",
    "{'descr': '<M8[us]', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<c16', 'fortran_order': False, 'shape': (2, 17, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 17, 3), }",
    "{'descr': '|S0', 'fortran_order': False, 'shape': (3, 17, 3), }",
    "[" * 3000,
    "(" * 900 + ")" * 900,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 17, 3), }\n  x",
    "'''",
]


def array(content: bytes, draw: random.Random) -> bytes:
    """The head of an .npy file, its values, or its bytes."""
    chance = draw.random()
    if chance < 0.3 or not content.startswith(b"\x93NUMPY"):
        return plain(content, draw)
    size = 10 + int.from_bytes(content[8:10], "little")
    head, body = content[10:size], content[size:]
    if chance < 0.5:
        head = draw.choice(HEADERS).encode().ljust(len(head) - 1) + b"\n"
    elif chance < 0.7:
        head = text(head.replace(b"(", b",(").replace(b")", b",)"), draw)
    elif chance < 0.75:
        kind = draw.choice((b"<f8", b"<f2", b">f4", b"<i4", b"|u1", b"|b1", b"<U1", b"<g"))
        head = re.sub(rb"'[<|>][a-zA-Z][0-9]*'", b"'" + kind + b"'", head, count=1)
    else:
        body = plain(body, draw)
    if draw.random() < 0.1:
        return b"\x93NUMPY\x02\0" + len(head).to_bytes(4, "little") + head + body
    return content[:8] + (len(head) & 0xFFFF).to_bytes(2, "little") + head + body


def archive(content: bytes, draw: random.Random) -> bytes:
    """A member of a zip file, their names, or the file's bytes."""
    if draw.random() < 0.3:
        return plain(content, draw)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            members = [(info.filename, opened.read(info)) for info in opened.infolist()]
    except Exception:
        return plain(content, draw)
    place = draw.randrange(len(members))
    name, member = members[place]
    kind = draw.randrange(12)
    packing = zipfile.ZIP_STORED
    if kind == 0:
        del members[place]
    elif kind == 1:
        name = draw.choice(("../outside.npy", "/tmp/x.npy", "a/../../b.npy", "", "x" * 300, "\0"))
        members[place] = name, member
    elif kind == 2:
        members.append((name, members[draw.randrange(len(members))][1]))
    elif kind == 3:
        packing = draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif kind == 4:
        members[place] = name, members[draw.randrange(len(members))][1]
    elif kind == 5 and draw.random() < 0.05:  # a bomb: 40 MB of zeros a member, many of them
        zeros = io.BytesIO()
        np.save(zeros, np.zeros((200_000, 17, 3), np.float32))
        members += [(f"zeros{i}.npy", zeros.getvalue()) for i in range(3)]
        packing = zipfile.ZIP_DEFLATED
    else:
        spoil = program if name.endswith(".pkl") else array
        members[place] = name, spoil(member, draw)
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(out, "w", packing) as packed:
            for name, member in members:
                packed.writestr(name, member)
    except Exception:  # some names cannot be written
        return plain(content, draw)
    result = out.getvalue()
    return plain(result, draw) if packing != zipfile.ZIP_STORED and draw.random() < 0.5 else result


CODES = b"0123456789abcdefghijlpqrstu}]).(NRbeoIKMJGVXT2\x81\x85\x86\x93\x94"
"""Operations of pickles."""
WITNESS = b"cposix\nsystem\n(S'touch outside-witness'\ntR."
PROGRAMS = [
    WITNESS,
    b"cbuiltins\nexec\n(S'import os; os.system(\"true\")'\ntR.",
    b"c__builtin__\neval\n(S'open(\"outside\")'\ntR.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(\x8a\x06\0\0\0\0\0\x01cnumpy\ndtype\n"
    b"(\x8c\x02u1tR)\x8c\x01CtR.",
    # the same thing twice within itself, forty times
    b"\x80\x02]\x94(K\x01e" + b"0h\x00h\x00\x86\x94" * 3 + b".",
    b"\x80\x02}q\0(K\0]q\1("
    + b"K\1" * 1000
    + b"e"
    + b"".join(b"M" + struct.pack("<H", i) + b"h\1" for i in range(1, 2000))
    + b"u.",
    b"\x80\x02]" + b"]" * 50000 + b"a" * 50000 + b".",
    b"(" * 50000 + b"t" * 50000 + b".",
    b"\x80\x02r\xff\xff\xff\x7f.",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.",
    b"I" + b"9" * 6000 + b"\n.",
    b"\x8b\xff\xff\xff\x7f.",
]


def program(content: bytes, draw: random.Random) -> bytes:
    """A pickle: bytes of it, operations put into it, or another altogether."""
    chance = draw.random()
    head = b""
    if content.startswith(b"\x93NUMPY"):
        if chance < 0.2:
            return array(content, draw)
        size = 10 + int.from_bytes(content[8:10], "little")
        head, content = content[:size], content[size:]
    if chance < 0.3:
        return head + draw.choice(PROGRAMS)
    if chance < 0.6:
        return head + plain(content, draw)
    place = draw.randrange(len(content) + 1)
    if chance < 0.8:
        put = bytes(draw.choices(CODES, k=draw.randrange(1, 5)))
    else:
        put = draw.choice(PROGRAMS)[: draw.choice((-1, None))]
    return head + content[:place] + put + content[place:]


def torch_file(content: bytes, draw: random.Random) -> bytes:
    """A zip file as torch writes them, or the older form."""
    return (archive if content.startswith(b"PK") else program)(content, draw)


# ------------------------------------------------------------------------------- what is read there


class Nowhere:
    """Takes what a store's writer would write."""

    path = Path(os.devnull)

    def append(self, frames: Any) -> None:
        """Forget it."""

    def finish(self, *anything: Any) -> None:
        """Forget it."""


def packed_array(**arrays: Any) -> bytes:
    """An .npz file."""
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def one_array(values: Any) -> bytes:
    """An .npy file."""
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def torch_content(content: Any, zipped: bool = True) -> bytes:
    """A torch file."""
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def written_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def only(folder: Path) -> Path:
    """The one file in a folder."""
    return next(folder.iterdir())


class Equal:
    """Equals everything, as check sums do here."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def keypoint_seeds() -> list[dict[str, bytes]]:
    """The formats of keypoint files."""
    draw = np.random.default_rng(0)
    pose = draw.uniform(1, 99, (6, 17, 3)).round(1)
    flat = pose.reshape(6, -1).tolist()
    results = [
        {"image_id": f"{i:06d}.jpg", "keypoints": row, "score": 1.0, "idx": i % 2, "category_id": 1}
        for i, row in enumerate(flat)
    ]
    dataset = {
        "images": [
            {"id": i, "file_name": f"a/{i}.jpg", "video_id": 1, "frame_id": i} for i in range(3)
        ],
        "annotations": [
            {"image_id": i, "keypoints": flat[i], "track_id": 1, "iscrowd": 0} for i in range(3)
        ],
        "videos": [{"id": 1, "name": "walk"}],
    }
    frames = [
        {"frame_id": i, "instances": [
            {"keypoints": pose[i, :, :2].tolist(), "keypoint_scores": [0.5] * 17, "track_id": 2}
        ]} for i in range(3)
    ]  # fmt: skip
    people = {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [0.5] * 75}] * 2}
    found: dict[str, Any] = {
        "coco.json": results,
        "dataset.json": dataset,
        "mmpose.json": {"meta_info": {}, "instance_info": frames},
        "0001_keypoints.json": people,
        "cmu.json": {f"{i}.jpg": {"bodies": [{"joints": flat[i]}]} for i in range(3)},
    }
    seeds = [{name: json.dumps(content).encode()} for name, content in found.items()]
    return seeds


def keypoint_table() -> bytes:
    """A table of poses, with sequences and tracks."""
    from gaitbench.skeleton import COCO17

    head = ["sequence", "frame", "track"]
    head += [f"{joint}_{axis}" for joint in COCO17.joints for axis in ("x", "y", "conf")]
    rows = [[f"00{i % 2}-nm-01-090", i, i % 2, *[0.5] * 51] for i in range(6)]
    return "\n".join(",".join(map(str, row)) for row in [head, *rows]).encode()


def read_keypoints(folder: Path) -> None:
    """All of a file that a store would hold."""
    path = only(folder)
    skeleton = keypoints.keypoint_layout(path)
    source = keypoints._Source(folder, True, "smoothest", skeleton.name, None, "")
    keypoints._read_part(source, keypoints._videos(path)[1])


def read_skeletons(folder: Path) -> None:
    """The same of a file of skeletons."""
    path = only(folder)
    skeleton = skeletons.skeleton_layout(path)
    options = skeletons.Options("millimetres", "-z", "cut")
    source = skeletons._Source(folder, True, options, skeleton.name, None, "")
    skeletons._read_part(source, skeletons._files(path)[1])


def skeleton_seeds() -> tuple[list[dict[str, bytes]], bytes]:
    """Arrays in all forms, and a table."""
    pose = np.random.default_rng(0).normal(size=(7, 20, 3)).astype(np.float32)
    joined = packed_array(
        joints=pose,
        start=np.array([0, 3]),
        length=np.array([3, 4]),
        subject=np.array(["a", "b"]),
        view=np.array([0, 90]),
        sequence=np.array(["one", "two"]),
        joint_names=np.array(KINECT20.joints),
        fps=np.array(30),
    )
    seeds = [
        {"joined.npz": joined},
        {"several.npz": packed_array(one=pose, two=pose[:3])},
        {"single.npy": one_array(pose)},
    ]
    head = ["sequence", "frame", "subject", "view"]
    head += [f"{joint}_{axis}" for joint in KINECT20.joints for axis in "xyz"]
    rows = [["ab"[i // 4], i, f"00{i // 4}", 90, *[0.25 * i] * 60] for i in range(7)]
    return seeds, "\n".join(",".join(map(str, row)) for row in [head, *rows]).encode()


def body(states: bool = True) -> bytes:
    """A frame of BIWI."""
    rows = [
        [1, 1, *(0.5 + joint, 1, 3), *[0] * 4, *[0] * 5] if states else [1, 0.1, 0.2, 3, 2]
        for joint in range(20 if states else 25)
    ]
    if states:
        for row in rows:
            row[kinect.STATE] = 2
    return "\n".join(",".join(map(str, row)) for row in rows).encode()


def read_biwi(folder: Path) -> None:
    """A recording of two bodies' frames."""
    recording = kinect_files.Recording(str(folder), "001", "train", 0, (0, 0))
    kinect_files._read_frames(kinect_files.Options("tracked", "cut"), (0, recording))


def read_kgbd(folder: Path) -> None:
    """A walk."""
    recording = kinect_files.Recording(str(only(folder)), "001", "train", 1, (0, 0))
    kinect_files._read_walk(kinect_files.Options(), (0, recording))


def read_ks20(folder: Path) -> None:
    """A take."""
    for recording in kinect_files._takes(folder, (0, 0), 90):
        kinect_files._read_take(kinect_files.Options(), (0, recording))


def read_windows(folder: Path) -> None:
    """Windows that SGE-LA's authors cut."""
    sgela._read(kinect.KGBD_ORDER, sgela.WindowFiles(str(folder), "train", "", "BIWI", 6))


def annotated_set(folder: Path) -> annotated.Annotated:
    """A set with a column of each kind."""
    kinds: dict[str, Any] = {"track_id": "subject", "kind": "text", "run": "integer"}
    kinds["p"] = "probability"
    return annotated.Annotated(folder / "annotations.csv", (folder,), kinds, True)


def read_annotated(folder: Path) -> None:
    """The table and its files."""
    data = annotated_set(folder)
    annotated.annotated_fingerprint(data)
    table = annotated.read_annotations(data)
    for _, block in annotated._parts(
        table["file_name"], {"line": table["line"]}, (str(folder),), "raise", ""
    ):
        annotated._read_block("annotations.csv", (str(folder),), (), "raise", block)


def read_encodings(folder: Path) -> None:
    """What a prediction has left, and that it is finite."""
    values, _ = encodings.read_encodings([folder])
    encodings.refuse_not_finite(values[0], folder)


def read_images(folder: Path) -> None:
    """A walk of silhouettes."""
    silhouettes._read_walk(folder)


def image_seeds() -> list[dict[str, bytes]]:
    """Images of each kind."""
    seeds = []
    for ending, kind, mode in (("png", "PNG", "L"), ("jpg", "JPEG", "L"), ("bmp", "BMP", "1"),
                               ("png", "PNG", "P"), ("png", "TIFF", "RGB"), ("png", "EPS", "L"),
                               ("bmp", "GIF", "P"), ("png", "WEBP", "RGB")):  # fmt: skip
        out = io.BytesIO()
        Image.new(mode, (30, 40), 1).save(out, kind)
        seeds.append({f"001.{ending}": out.getvalue()})
    return seeds


def pickle_seeds() -> list[dict[str, bytes]]:
    """An array of bytes in all protocols."""
    values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    return [{f"{p}.pkl": pickle.dumps(values, protocol=p)} for p in range(6)]


def h5_seeds() -> list[dict[str, bytes]]:
    """Samples of GaitCopy in both modalities."""
    import h5py

    seeds = []
    for name, (shape, dtype, factor) in gaitcopy_samples.KINDS.items():
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            file.create_dataset("data", data=np.ones(shape, dtype), compression="gzip")
            file["frames"] = np.arange(25)
            file.attrs["compressFactor"] = np.uint8(factor)
        seeds.append({f"{name}.h5": out.getvalue()})
    return seeds


def read_sample(folder: Path) -> None:
    """A sample, which has a fault of its own."""
    path = only(folder)
    with contextlib.suppress(gaitcopy_samples._Fault):
        gaitcopy_samples._read_file(path, path.stem)


def tensorflow_files(prefix: str, variables: dict[str, np.ndarray]) -> dict[str, bytes]:
    """A checkpoint in one shard, check sums left at zero."""

    def varint(value: int) -> bytes:
        out = b""
        while value >= 0x80:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])

    def block(rows: list[tuple[bytes, bytes]]) -> bytes:
        told = (b"\0" + varint(len(k)) + varint(len(v)) + k + v for k, v in rows)
        return b"".join(told) + struct.pack("<II", 0, 1) + b"\0"

    entries, data = [(b"", b"\x08\x01\x1a\x02\x08\x01")], b""
    for name in sorted(variables):
        raw = variables[name].tobytes()
        sides = (b"\x08" + varint(side) for side in variables[name].shape)
        shape = b"".join(b"\x12" + varint(len(side)) + side for side in sides)
        told = b"\x08\x01\x12" + varint(len(shape)) + shape + b"\x20" + varint(len(data))
        entries.append((name.encode(), told + b"\x28" + varint(len(raw)) + b"\x35\0\0\0\0"))
        data += raw
    content, handles = b"", []
    for rows in (entries, [], None):
        made = block([(b"\xff", handles[0])] if rows is None else rows)
        handles.append(varint(len(content)) + varint(len(made) - 1))
        content += made + bytes(4)
    footer = (handles[1] + handles[2]).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    return {f"{prefix}.index": content + footer, f"{prefix}.data-00000-of-00001": data}


def encoder_seed() -> dict[str, bytes]:
    """A small gait encoder."""
    state = GaitEncoder(20, 4, axes=1).state_dict()
    return tensorflow_files("m", {there: state[name][0].numpy() for name, there in ENCODER.items()})


def classifier_seed() -> dict[str, bytes]:
    """A small recognition network."""
    state = AgeClassifier(12, 3, 4).state_dict()
    return tensorflow_files(
        "m",
        {
            there: state[name].mT.contiguous().numpy()
            if state[name].ndim > 1
            else state[name].numpy()
            for name, there in PROJECTION.items()
        },
    )


def imported(published: Any, names: tuple[str, ...], folder: Path) -> None:
    """A network of what a file holds, as whatever it may be."""
    for name in names:
        kind, programs = import_checkpoint.IMPORTS[name]
        if published.origin in programs:
            told = set(published.untold) - set(published.settings)
            if not told:
                import_checkpoint._method_of(published, name, folder / kind)
            return


def read_published(folder: Path) -> None:
    """A published network."""
    path = only(folder)
    published = recognise(checkpoints.read_published(path), path)
    names = ("gaitgraph2", "gaitgraph", "opengait-gaitgraph2", "gaitformer")
    imported(published, names, path)


def read_tensorflow(folder: Path) -> None:
    """One of SGE-LA's networks."""
    variables = tf_checkpoint.read_tf_checkpoint(folder)
    if "W1" in variables:
        imported(published_classifier(folder), ("sgela-recognition",), folder)
    else:
        imported(published_encoder([folder] * 3), ("sgela",), folder)


def published_seeds() -> list[dict[str, bytes]]:
    """Networks as their authors' programs write them, in both of torch's forms."""
    two = GaitGraph2(backbone="resgcn-n21-r8", skeleton="coco17").backbone.state_dict()
    one = GaitGraph(skeleton="coco17").backbone.state_dict()
    small = {"width": 16, "depth": 1, "heads": 2, "projection_dim": 8}
    former = GaitFormer(**small, skeleton="openpose18").backbone.state_dict()
    there = {"input_branches.": "head.", "main_stream.": "backbone.", "fcn.": "fcn."}
    opengait = {
        next((f"ResGCN.{b}{k.removeprefix(a)}" for a, b in there.items() if k.startswith(a)), k): v
        for k, v in two.items()
    }
    options = argparse.Namespace(learning_rate=0.1, temp=0.07)
    return [
        {"a.ckpt": torch_content({"state_dict": {f"backbone.{k}": v for k, v in two.items()},
                                  "hyper_parameters": {"learning_rate": 0.1}})},
        {"b.pth": torch_content({"model": one, "opt": options}, zipped=False)},
        {"c.pt": torch_content({"model": opengait})},
        {"d.pt": torch_content(former)},
    ]  # fmt: skip


def checkpoint_seed() -> dict[str, bytes]:
    """What a run leaves, without most of its weights."""
    return {
        "last.ckpt": torch_content(
            {
                "state_dict": {"a": torch.ones(3, 4), "b": torch.zeros(2, dtype=torch.int64)},
                "pytorch-lightning_version": "2.5",
                "hyper_parameters": {"width": 3, "_class_path": "gaitbench.methods.GaitFormer"},
                "gaitbench": {"skeleton": "coco17"},
            }
        )
    }


def gallery_seed(folder: Path) -> dict[str, bytes]:
    """A gallery with a threshold."""
    values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    entries = pd.DataFrame(
        {"subject": list("abcd"), "condition": "nm", "number": 1, "view": np.arange(4)}
    )
    known = Gallery(values, entries, "cosine", Threshold(0.5, 0.01, 1, 100, ("x",)))
    folder.mkdir(exist_ok=True)
    write_gallery(known, folder / "known.npz")
    return written_in(folder)


def read_and_search(folder: Path) -> None:
    """A gallery, of which what is read can be used."""
    found = read_gallery(only(folder))
    found.search(np.ones((1, found.embeddings.shape[1]), np.float32), 2)
    _ = found.people
    if found.threshold is not None:
        f"{found.threshold.value:g} {found.threshold.fpir:g} {len(found.threshold.people)}"
        _ = found.threshold.value > 1.0


def store_seed(folder: Path) -> dict[str, bytes]:
    """A store of six frames."""
    info = store.StoreInfo("x", "pose", "coco17", "pixels")
    table = pd.DataFrame(
        {"start": [0, 2], "length": [2, 4], "subject": ["a", "b"], "condition": "nm",
         "number": [1, 2], "view": [0, 90]}
    )  # fmt: skip

    def build(writer: store.StoreWriter) -> None:
        writer.append(np.ones((6, 17, 3), np.float32))
        writer.finish(table)

    path = store.store_at(folder, "0" * 64, build, info).path
    (path / ".lock").unlink(missing_ok=True)
    return written_in(path)


def read_store(folder: Path) -> None:
    """A store and all its frames."""
    opened = store.SequenceStore.open(folder)
    rows = np.flatnonzero(opened.sequences["length"].to_numpy() > 0)
    opened.gather(rows[:4], np.zeros((len(rows[:4]), 1), np.int64))
    opened.verify()


def video_seed(folder: Path) -> dict[str, bytes]:
    """A film of eight small pictures."""
    import av

    folder.mkdir(exist_ok=True)
    with av.open(str(folder / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(8):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        film.mux(stream.encode())
    return written_in(folder)


def read_video(folder: Path) -> None:
    """All its pictures."""
    from gaitbench.video.decode import Video

    for _ in Video(only(folder)).frames():
        pass


CONFIG = Path(__file__).parents[1] / "configs" / "gaitgraph2" / "casia_b.yaml"


def read_config(folder: Path) -> None:
    """A run's settings, up to where its data would be looked for."""
    from gaitbench.cli import main

    out = str(folder / "out")
    words = [f"--config={folder / 'run.yaml'}", "--data.path=/nowhere", f"--data.cache={out}"]
    words += [f"--trainer.default_root_dir={out}", "--trainer.accelerator=cpu"]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(args=["fit", *words])
    except SystemExit as error:
        if error.code != 2:
            raise
    except InputError as error:
        if "/nowhere" not in str(error):
            raise


def casia_b_table() -> bytes:
    """A table of poses."""
    rows = [[f"./00{i % 2}-nm-01-090/{i:06d}.jpg", *[0.5 * i] * 51] for i in range(8)]
    return "\n".join(",".join(map(str, row)) for row in [COLUMNS, *rows]).encode()


def read_casia_b(folder: Path) -> None:
    """All of a table."""
    casia_b.read_casia_b(only(folder), Nowhere())  # type: ignore[arg-type]


def targets(folder: Path) -> dict[str, Callable[[], Target]]:
    """All of them by name; their seeds are made when they are asked for."""
    pose = np.random.default_rng(0).uniform(1, 9, (5, 18, 3)).astype(np.float32)
    frame = json.dumps({"people": [{"pose_keypoints_2d": [0.5] * 54}] * 2}).encode()
    one = packed_array(
        frames=np.ones((6, 8, 9), np.uint8),
        start=np.array([0, 2]),
        length=np.array([2, 4]),
        subject=np.array([1, 2]),
        condition=np.array(["nm", "bg"]),
        view=np.array([0, 90]),
        number=np.array([1, 2]),
    )
    arrays = [
        {"one.npz": packed_array(walk=pose[:, :17], other=pose[:3, :17])},
        {"two.npz": packed_array(a=pose[:, :17, :2], a_scores=pose[:, :17, 2])},
        {"three.npy": one_array(pose)},
    ]
    made, table = skeleton_seeds()
    walk = "\n".join(f"{name};0.1;0.2;0.3" for _ in range(3) for name in kinect.KGBD_JOINTS)
    axis = one_array(np.ones((12, 20)))
    windows = {f"source_{a}_BIWI_6.npy": axis for a in "xyz"}
    ids = io.BytesIO()
    np.save(ids, np.array({1: [0], 2: [1]}, dtype=object), allow_pickle=True)
    annotations = b"file_name,track_id,kind,run,p\na.npy,1,x,2,0.5\nb.npy,2,y,3,1\n"
    predicted = b"subject,condition,number,view,frames\na,nm,1,0,6\nb,nm,2,90,6\n"
    json_files, npz, npy, csv = {".json": tree}, {".npz": archive}, {".npy": array}, {".csv": text}
    people = b"track_id,gender,glasses\n1,0,0.5\n002,1,1\n"
    named = b"sequence,subject,view\none,a,90\ntwo,b,0\n"
    ids_list = b"Training,Testing\n1,2\n3,4\n5.0,\n"
    yaml = CONFIG.read_bytes()
    return {
        "casia_b": lambda: Target([{"p.csv": casia_b_table()}], read_casia_b, csv),
        "casia_b gzip": lambda: Target(
            [{"p.csv.gz": gzip.compress(casia_b_table())}], read_casia_b, {".gz": zipped_text}
        ),
        "oumvlp": lambda: Target(
            [{f"00001/000_00/{i:04d}_keypoints.json": frame for i in range(2)}],
            lambda f: oumvlp._read_part("smoothest", [str(f / "00001")]),
            json_files,
        ),
        "oumvlp id list": lambda: Target(
            [{"list.csv": ids_list}], lambda f: oumvlp.read_id_list(f / "list.csv"), csv
        ),
        "keypoints JSON": lambda: Target(keypoint_seeds(), read_keypoints, json_files),
        "keypoints CSV": lambda: Target([{"k.csv": keypoint_table()}], read_keypoints, csv),
        "keypoints numpy": lambda: Target(arrays, read_keypoints, npz | npy),
        "labels of sequences": lambda: Target(
            [{"labels.csv": named}], lambda f: keypoints.read_sequence_labels(only(f)), csv
        ),
        "labels of subjects": lambda: Target(
            [{"labels.csv": people}], lambda f: labels.read_labels(only(f)), csv
        ),
        "biwi, ias_lab": lambda: Target(
            [{"001_0001_skel.txt": body(), "001_0002_skel.txt": body() + b"\n" + body()}],
            read_biwi,
            {".txt": text},
        ),
        "kgbd": lambda: Target([{"1.txt": walk.encode()}], read_kgbd, {".txt": text}),
        "ks20": lambda: Target(
            [{f"gc1_body7_{i}_s.txt": body(False) for i in range(2)}], read_ks20, {".txt": text}
        ),
        "sgela windows": lambda: Target(
            [windows | {"ids_BIWI_6.npy": ids.getvalue()}], read_windows, npy
        ),
        "sgela ids": lambda: Target(
            [{"ids.npy": ids.getvalue()}], lambda f: sgela.read_ids(only(f)), {".npy": program}
        ),
        "skeletons numpy": lambda: Target(made, read_skeletons, npz | npy),
        "skeletons CSV": lambda: Target([{"s.csv": table}], read_skeletons, csv),
        "annotated": lambda: Target(
            [{"annotations.csv": annotations, "a.npy": one_array(pose), "b.npy": one_array(pose)}],
            read_annotated,
            npy | csv,
        ),
        "encodings": lambda: Target(
            [
                {
                    "embeddings.npy": one_array(np.ones((2, 36), np.float32)),
                    "sequences.csv": predicted,
                }
            ],
            read_encodings,
            npy | csv,
        ),
        "silhouette images": lambda: Target(image_seeds(), read_images),
        "silhouettes npz": lambda: Target(
            [{"s.npz": one}], lambda f: silhouettes._read_arrays(only(f)), npz
        ),
        "pickles": lambda: Target(
            pickle_seeds(), lambda f: pickles.read_byte_array(only(f)), {".pkl": program}
        ),
        "gaitcopy h5": lambda: Target(h5_seeds(), read_sample),
        "tf_checkpoint": lambda: Target([encoder_seed(), classifier_seed()], read_tensorflow),
        "published": lambda: Target(
            published_seeds(),
            read_published,
            {".ckpt": torch_file, ".pth": torch_file, ".pt": torch_file},
        ),
        "checkpoint": lambda: Target(
            [checkpoint_seed()],
            lambda f: checkpoints.read_checkpoint(only(f)),
            {".ckpt": torch_file},
        ),
        "gallery": lambda: Target([gallery_seed(folder / "gallery")], read_and_search, npz),
        "store": lambda: Target([store_seed(folder / "store")], read_store, json_files | npy),
        "video": lambda: Target([video_seed(folder / "video")], read_video),
        "config": lambda: Target([{"run.yaml": yaml}], read_config, {".yaml": text}),
    }


# ------------------------------------------------------------------------------------ how it is run


def spoilt(target: Target, name: str, number: int, seed: int) -> dict[str, bytes]:
    """The files of one input."""
    draw = random.Random(f"{seed} {name} {number}")
    files = dict(draw.choice(target.seeds))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        file = draw.choice(list(files))
        how = next((spoil for end, spoil in target.spoil.items() if file.endswith(end)), plain)
        files[file] = how(files[file], draw)
    return files


class Watch:
    """What the process does while a file is read."""

    def __init__(self) -> None:
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in RUNS:
            self.seen.append(f"{event} {str(arguments)[:80]}")
        elif event == "open" and isinstance(arguments[0], str) and OUTSIDE in arguments[0]:
            self.seen.append(f"opened {arguments[0]}")


def tried(
    target: Target, files: dict[str, bytes], folder: Path, watch: Watch, whole: bool = False
) -> str:
    """What is wrong with how an input is read; empty if nothing is."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    watch.seen = []
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        watch.active = True
        target.read(folder)
        found = ""
    except InputError as error:
        found = str(error) if whole else ""
    except Slow:
        found = f"took more than {SECONDS} s"
    except BaseException as error:
        own = [f for f in traceback.extract_tb(error.__traceback__) if "gaitbench" in f.filename]
        where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        found = f"{type(error).__name__}{where}: {str(error)[:120]}"
    finally:
        watch.active = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "; ".join([*([found] if found else []), *watch.seen])


def fed(
    make: Callable[[], Target], name: str, begin: int, end: int, seed: int, until: float, pipe: Any
) -> None:
    """Try inputs one after the other, in a process of its own; tell of each."""

    def slow(*anything: Any) -> None:
        raise Slow

    target = make()
    faulthandler.disable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    signal.signal(signal.SIGPROF, slow)
    tf_checkpoint.masked = lambda crc: Equal()  # type: ignore[assignment,return-value]
    tf_checkpoint.crc32c = lambda data: 0
    store.zlib = argparse.Namespace(crc32=lambda *anything: Equal())  # type: ignore[assignment]
    checkpoints._is_flipped = lambda path: False
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    (folder / f"{OUTSIDE}.npy").write_bytes(one_array(np.ones((5, 18, 3), np.float32)))
    watch = Watch()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    sunk = os.open(os.devnull, os.O_WRONLY)  # libraries in C complain there
    os.dup2(sunk, 2)
    try:
        for files in target.seeds if not begin else ():
            if found := tried(target, files, folder / "input", watch, whole=True):
                pipe.send((0, f"a whole input, {', '.join(files)}: {found}"))
        for number in range(begin, min(end, target.most)):
            pipe.send((number, None))
            if time.monotonic() > until:
                break
            found = tried(target, spoilt(target, name, number, seed), folder / "input", watch)
            if found:
                pipe.send((number, found))
        else:
            pipe.send((end, None))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fuzz(
    make: Callable[[], Target], name: str, inputs: int, seconds: float, seed: int, wait: float = 0
) -> tuple[int, float, list[tuple[int, str]]]:
    """Inputs tried, the seconds they took, and what was found at which."""
    begun = time.monotonic()
    until, number, findings = begun + seconds, 0, []
    context = multiprocessing.get_context("fork")
    while number < inputs and time.monotonic() < until:
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=fed, args=(make, name, number, inputs, seed, until, theirs), daemon=True
        )
        process.start()
        theirs.close()
        last = number
        try:
            while mine.poll(SILENCE + wait):
                last, found = mine.recv()
                if found:
                    findings.append((last, found))
            findings.append((last, f"no sign for {SILENCE} s"))
            process.kill()
        except EOFError:
            process.join()
            if process.exitcode:
                findings.append((last, f"the process ended with {process.exitcode}"))
            elif process.exitcode == 0:
                number = last
                break
        process.join()
        number = last + 1
    return number, time.monotonic() - begun, findings


def kinds(findings: list[tuple[int, str]]) -> Iterator[tuple[str, list[int]]]:
    """Findings of one kind together."""
    found: dict[str, list[int]] = {}
    for number, what in findings:
        found.setdefault(re.sub(r"[0-9]{3,}|'.*'", "#", what)[:90], []).append(number)
    yield from found.items()


def main() -> None:
    """Run, print one line a target and what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of targets")
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--minutes", type=float, default=10, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that found something")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        known = targets(Path(folder))
        print("| target | inputs | minutes | findings |\n|---|---|---|---|")
        for name in args.only or known:
            count, seconds, findings = fuzz(
                known[name], name, args.inputs, 60 * args.minutes, args.seed
            )
            print(f"| {name} | {count:,} | {seconds / 60:.1f} | {len(findings)} |", flush=True)
            for what, numbers in kinds(findings):
                print(f"    {len(numbers)} x {what} (inputs {numbers[:SHOWN]})", flush=True)
            if args.keep and findings:
                with tempfile.TemporaryDirectory() as again:
                    target = targets(Path(again))[name]()
                    for number, _ in (
                        f for _, ns in kinds(findings) for f in [(n, 0) for n in ns[:SHOWN]]
                    ):
                        for file, content in spoilt(target, name, number, args.seed).items():
                            place = args.keep / f"{name} {number}" / file
                            place.parent.mkdir(parents=True, exist_ok=True)
                            place.write_bytes(content)


if __name__ == "__main__":
    main()
