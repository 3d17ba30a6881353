"""What spoils a file: each function takes a valid one and gives it back with a fault."""

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

Spoiler = Callable[[bytes, Random], bytes]

TOKENS = [
    *(b"", b"0", b"-0", b"-1", b"1e999", b"1e39", b"nan", b"NaN", b"inf", b"-Infinity", b"null"),
    *(b"9223372036854775808", b"18446744073709551616", b"4294967295", b"-2147483649", b"9" * 400),
    *(b"../outside", b"/etc/passwd", b"..", b"\\..\\", b"\0", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b'"', b"'", b",", b";", b"\r", b"\n\n", b"{}", b"[]", b"true", b"x" * 5000, b"0x10", b"1_0"),
    *("²".encode(), "\u2028".encode(), b"%s%n", b"1e-400", b"9" * 5000),
]
NUMBERS = [0, 1, (1 << 64) - 1, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 31, (1 << 31) - 1, (1 << 32) - 1]
NUMBERS += [1 << 62, (1 << 63) - 1, 1 << 63, 0x7FF0000000000000, 0x7FC00000]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1 << 40, 1 << 62, 1 << 70, -(1 << 63), 1e308, -0.0, 1e-320),
    *(float("nan"), float("inf"), "", "0", "nan", "../outside", "/etc/passwd", "\0", "x" * 3000),
    *([], {}, [[]], [0], {"a": 1}, [None], "1e5", "-1", "²", [[[[0]]]], [1 << 70], 10**4000),
]
MAGIC = b"\x93NUMPY"
HEADERS = [
    *(
        f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode()
        for kind, shape in (
            ("'<f4'", "(1099511627776, 17, 3)"),
            ("'<f4'", "(-1, 17, 3)"),
            ("'<f4'", "(4611686018427387904, 4)"),
            ("'<f4'", "(True, 17, 3)"),
            ("'<f4'", "(0, 17, 3)"),
            ("'<f4'", "(1L, 17, 3)"),
            ("'|O'", "()"),
            ("'|O'", "(2, 3)"),
            ("[('a', '<f4'), ('b', '|O')]", "(2,)"),
            ("'<U9'", "(2, 2)"),
            ("'|V0'", "(1099511627776,)"),
            ("'|S0'", "(3, 17, 3)"),
            ("'<M8[us]'", "(3,)"),
            ("'<c16'", "(2, 17, 3)"),
        )
    ),
    *(b"[" * 3000, b"(" * 900 + b")" * 900, b"'''"),
]
KINDS = (b"<f8", b"<f2", b">f4", b"<i4", b"|u1", b"|b1", b"<U1", b"<g")
NAMES = ("../outside.npy", "/tmp/x.npy", "a/../../b.npy", "", "x" * 300, "\0")
PACKINGS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
CODES = b"0123456789abcdefghijlpqrstu}]).(NRbeoIKMJGVXT2\x81\x85\x86\x93\x94"
"""Operations of pickles."""
PROGRAMS = [
    b"cposix\nsystem\n(S'touch outside-witness'\ntR.",
    b"cbuiltins\nexec\n(S'import os; os.system(\"true\")'\ntR.",
    b"c__builtin__\neval\n(S'open(\"outside\")'\ntR.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(\x8a\x06\0\0\0\0\0\x01cnumpy\ndtype\n"
    b"(\x8c\x02u1tR)\x8c\x01CtR.",
    # the same thing twice within itself, and one long list two thousand times
    b"\x80\x02]\x94(K\x01e" + b"0h\x00h\x00\x86\x94" * 3 + b".",
    b"\x80\x02}q\0(K\0]q\1(%be%bu."
    % (b"K\1" * 1000, b"".join(b"M" + struct.pack("<H", i) + b"h\1" for i in range(1, 2000))),
    b"\x80\x02]" + b"]" * 50000 + b"a" * 50000 + b".",
    b"(" * 50000 + b"t" * 50000 + b".",
    b"\x80\x02r\xff\xff\xff\x7f.",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.",
    b"I" + b"9" * 6000 + b"\n.",
    b"\x8b\xff\xff\xff\x7f.",
]
"""Pickles that run something, or that grow."""


def plain(content: bytes, draw: Random) -> bytes:
    """Bits, bytes, pieces."""
    size = draw.choice((1, 2, 4, 8, 16, 100, 1000))
    if not content:
        return draw.randbytes(size)
    at, place = draw.randrange(len(content)), draw.randrange(len(content) + 1)
    wide = draw.choice((1, 2, 4, 8))
    number = draw.choice(NUMBERS) & (1 << 8 * wide) - 1
    begin, end, put = draw.choice(
        (
            (at, at + 1, bytes([content[at] ^ 1 << draw.randrange(8)])),
            (at, at + 1, draw.randbytes(1)),
            (place, len(content), b""),
            (place, place + size, b""),
            (place, place, content[place : place + size]),
            (place, place, draw.randbytes(size)),
            (place, place + draw.choice((0, 1, 4, 8)), draw.choice(TOKENS)),
            (at, at + wide, number.to_bytes(wide, draw.choice(("little", "big")))),
            (at, at + size, content[place : place + size]),
        )
    )
    return content[:begin] + put + content[end:]


def text(content: bytes, draw: Random) -> bytes:
    """Lines and fields, or bytes."""
    if draw.random() < 0.3:
        return plain(content, draw)

    def spoil(parts: list[bytes], at: int) -> None:
        twice = [parts[at], draw.choice(parts)]
        parts[at : at + 1] = draw.choice(([], twice, [draw.choice(TOKENS)]))

    lines = content.split(b"\n")
    at = draw.choice((0, draw.randrange(len(lines))))
    if draw.random() < 0.5:
        spoil(lines, at)
    else:
        mark = next((mark for mark in (b";", b",") if mark in lines[at]), b"/")
        fields = lines[at].split(mark)
        spoil(fields, draw.randrange(len(fields)))
        lines[at] = mark.join(fields)
    return b"\n".join(lines)


def zipped_text(content: bytes, draw: Random) -> bytes:
    """Within gzip, or gzip itself."""
    try:
        inside = gzip.decompress(content)
    except Exception:  # it was spoilt before
        return plain(content, draw)
    if draw.random() < 0.4:
        return plain(content, draw)
    return gzip.compress(text(inside, draw), 1)


def tree(content: bytes, draw: Random) -> bytes:
    """A node of a JSON file, or its bytes."""
    chance = draw.random()
    if chance < 0.02:
        depth = draw.choice((100, 1000, 1100, 100000))
        return draw.choice((b"[" * depth, b'{"people":' * depth + b"1" + b"}" * depth))
    if chance < 0.25:
        return plain(content, draw)
    try:
        return json.dumps(_changed(json.loads(content), draw)).encode()
    except (ValueError, RecursionError):  # spoilt before; a number of too many digits
        return plain(content, draw)


def _changed(found: Any, draw: Random) -> Any:
    nodes = list(_nodes(found))
    if not nodes:
        return draw.choice(VALUES)
    # near the top there are few nodes, and most is decided there
    node, key = draw.choice((draw.choice(nodes), draw.choice(nodes[:9])))
    other, name = draw.choice(nodes)
    kind = draw.randrange(5)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, list):
        node.insert(key, node[key])
    else:
        node[key] = json.loads(json.dumps(other[name])) if kind == 2 else draw.choice(VALUES)
    return found


def _nodes(found: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(found, dict | list):
        for key in list(found) if isinstance(found, dict) else range(len(found)):
            yield found, key
            yield from _nodes(found[key])


def array(content: bytes, draw: Random) -> bytes:
    """The head of an .npy file, its values, or its bytes; a pickle where it holds one."""
    chance = draw.random()
    if chance < 0.3 or not content.startswith(MAGIC):
        return plain(content, draw)
    size = 10 + int.from_bytes(content[8:10], "little")
    head, body = content[10:size], content[size:]
    if b"'|O'" in head and draw.random() < 0.7:
        return content[:size] + program(body, draw)
    if chance < 0.5:
        head = draw.choice(HEADERS).ljust(len(head) - 1) + b"\n"
    elif chance < 0.7:
        head = text(head.replace(b"(", b",(").replace(b")", b",)"), draw)
    elif chance < 0.75:
        kind = b"'" + draw.choice(KINDS) + b"'"
        head = re.sub(rb"'[<|>][a-zA-Z][0-9]*'", kind, head, count=1)
    else:
        body = plain(body, draw)
    if draw.random() < 0.1:
        return MAGIC + b"\x02\0" + len(head).to_bytes(4, "little") + head + body
    return content[:8] + (len(head) & 0xFFFF).to_bytes(2, "little") + head + body


def archive(content: bytes, draw: Random) -> bytes:
    """A member of a zip file, their names, or the file's bytes; torch's older files are pickles."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            members = [(info.filename, opened.read(info)) for info in opened.infolist()]
    except Exception:
        return program(content, draw)
    if draw.random() < 0.3 or not members:
        return plain(content, draw)
    at, packing = draw.randrange(len(members)), zipfile.ZIP_STORED
    name, member = members[at]
    other = draw.choice(members)[1]
    kind = draw.randrange(12)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members[at] = draw.choice(NAMES), member
    elif kind == 2:
        members.append((name, other))
    elif kind == 3:
        packing = draw.choice(PACKINGS)
    elif kind == 4:
        members[at] = name, other
    elif kind == 5 and draw.random() < 0.05:  # a bomb: 40 MB of zeros a member, three of them
        zeros = io.BytesIO()
        np.save(zeros, np.zeros((200_000, 17, 3), np.float32))
        members += [(f"zeros{i}.npy", zeros.getvalue()) for i in range(3)]
        packing = zipfile.ZIP_DEFLATED
    else:
        members[at] = name, (program if name.endswith(".pkl") else array)(member, draw)
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(out, "w", packing) as packed:
            for name, member in members:
                packed.writestr(name, member)
    except Exception:  # some names cannot be written
        return plain(content, draw)
    again = packing != zipfile.ZIP_STORED and draw.random() < 0.5
    return plain(out.getvalue(), draw) if again else out.getvalue()


def program(content: bytes, draw: Random) -> bytes:
    """A pickle: bytes of it, operations put into it, or another altogether."""
    chance, at = draw.random(), draw.randrange(len(content) + 1)
    if chance < 0.3:
        return draw.choice(PROGRAMS)
    if chance < 0.6:
        return plain(content, draw)
    if chance < 0.8:
        put = bytes(draw.choices(CODES, k=draw.randrange(1, 5)))
    else:
        put = draw.choice(PROGRAMS)[: draw.choice((-1, None))]
    return content[:at] + put + content[at:]


ENDINGS: dict[str, Spoiler] = {
    **dict.fromkeys((".csv", ".txt", ".yaml"), text),
    **dict.fromkeys((".npz", ".ckpt", ".pth", ".pt"), archive),
    ".gz": zipped_text,
    ".json": tree,
    ".npy": array,
    ".pkl": program,
}
"""How a file is spoilt that ends so; others as plain bytes."""


def spoilt(seeds: list[dict[str, bytes]], draw: Random) -> dict[str, bytes]:
    """The files of one of several valid inputs, with one to three faults."""
    files = dict(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        file = draw.choice(list(files))
        spoil = next((spoil for end, spoil in ENDINGS.items() if file.endswith(end)), plain)
        files[file] = spoil(files[file], draw)
    return files
