"""Tiny films for the tests: something walks through a room."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH = 96, 128
SPEED = 2  # pixels a frame
BODY = (24, 60)  # pixels across and along


def room(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A wall (H, W, 3) with soft texture."""
    coarse = np.random.default_rng(seed).integers(120, 220, (height // 8, width // 8, 3))
    return coarse.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)


def place(frame: int) -> tuple[int, int, int, int]:
    """Where the walker is: x0, y0, x1, y1; outside before and after."""
    x, (across, along) = SPEED * frame - 40, BODY
    return x, 20, x + across, 20 + along


def walk(count: int = 90, seed: int = 0) -> list[np.ndarray]:
    """Frames of a dark textured oval that comes in from the left and leaves on the right."""
    empty, (across, along) = room(seed), BODY
    y, x = np.mgrid[:along, :across] + 0.5
    oval = ((2 * x / across - 1) ** 2 + (2 * y / along - 1) ** 2 <= 1)[..., None]
    cloth = np.random.default_rng(seed + 1).integers(0, 70, (along // 4, across // 4, 3))
    cloth = cloth.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    frames = []
    for frame in range(count):
        image = np.pad(empty, ((0, 0), (400, 400), (0, 0)))
        x0, y0, x1, y1 = place(frame)
        there = image[y0:y1, 400 + x0 : 400 + x1]
        there[:] = np.where(oval, cloth, there)
        frames.append(np.ascontiguousarray(image[:, 400:-400]))
    return frames


def write(path: Path, frames: Iterable[np.ndarray], codec: str = "ffv1", fps: int = 25) -> Path:
    """A film of frames (H, W, 3), blue first; the default codec loses nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = None
        for image in frames:
            if stream is None:
                stream = container.add_stream(codec, rate=Fraction(fps))
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    return path
