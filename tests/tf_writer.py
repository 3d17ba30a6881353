"""Writes a TensorFlow checkpoint as the format's description has it, for tests."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def bitwise_crc32c(data: bytes) -> int:
    """The check sum bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def stored(crc: int) -> bytes:
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Each key whole, and one restart."""
    body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in entries)
    return body + struct.pack("<II", 0, 1)


def write_index(path: Path, entries: list[tuple[bytes, bytes]], compressed: int = 0) -> None:
    content = b""
    handles = []
    for part in (entries, [], None):
        rows = [(b"\xff", handles[0])] if part is None else part
        body = block(rows) + bytes([compressed])
        handles.append(varint(len(content)) + varint(len(body) - 1))
        content += body + stored(bitwise_crc32c(body))
    footer = (handles[1] + handles[2]).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    path.write_bytes(content + footer)


def write_checkpoint(prefix: Path, variables: Mapping[str, Any]) -> None:
    """Variables in one shard; check sums of the data by the slow way."""
    entries, data = [(b"", b"\x08\x01\x1a\x02\x08\x01")], b""
    for name in sorted(variables, key=str.encode):
        value = np.asarray(variables[name])
        raw = value.tobytes()
        shape = b"".join(
            b"\x12" + varint(len(varint(n)) + 1) + b"\x08" + varint(n) for n in value.shape
        )
        message = b"\x08" + varint(KINDS[value.dtype.name])
        message += b"\x12" + varint(len(shape)) + shape
        message += b"\x20" + varint(len(data)) + b"\x28" + varint(len(raw))
        message += b"\x35" + stored(bitwise_crc32c(raw))
        entries.append((name.encode(), message))
        data += raw
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    write_index(prefix.with_name(f"{prefix.name}.index"), entries)
