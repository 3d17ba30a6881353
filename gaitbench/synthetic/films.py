"""Films of walking figures: a room, light, a camera's noise, and how they are written."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaitbench.errors import InputError
from gaitbench.synthetic.cameras import Camera
from gaitbench.synthetic.figures import Cloth
from gaitbench.synthetic.people import Array
from gaitbench.synthetic.render import Flow, Real, Solids, exact_flow, in_camera, trace

_LIGHT = np.array([0.36, 0.8, -0.48])  # where it comes from, in the camera's frame; of length 1
_AMBIENT = 0.5  # share of light that comes from everywhere
_SHADOW, _SHADOW_SIZE = 0.25, 0.17  # share of light that a foot takes from the floor; metres
_SAMPLES = 2  # a pixel is the mean of so many samples along rows and along columns
_TOGETHER = 4  # frames rendered at once; more only need memory
_CARPET, _WALL = (112, 118, 104), (172, 168, 156)
_WAVES = 24
_TILE, _SEAM, _SKIRTING = 0.6, 0.02, 0.09  # metres


class Film(NamedTuple):
    """What a camera records of a walk.

    Attributes:
        frames: (T, H, W, 3) uint8, red, green and blue.
        silhouettes: (T, H, W), whether the figure covers half of a pixel or more.
        flow: of the figure before the room, if asked for.
    """

    frames: NDArray[np.uint8]
    silhouettes: NDArray[np.bool_]
    flow: Flow | None


class Room:
    """An empty room with a carpet and a wall, as a camera sees it.

    Args:
        camera: the camera.
        seed: of carpet, wall and what hangs there.
        wall: metres from the middle of the path to the wall behind it.

    Attributes:
        picture: (H, W, 3) float32, red, green and blue, 0..255, without noise.
    """

    def __init__(self, camera: Camera, seed: int | Sequence[int], wall: float = 3.5) -> None:
        rng = np.random.default_rng(seed)
        width, height = camera.image
        x = (np.arange(width) + 0.5 - width / 2)[None] / camera.focal
        y = (height / 2 - np.arange(height) - 0.5)[:, None] / camera.focal
        depth = np.full((height, 1), camera.distance + wall)
        np.minimum(depth, -camera.height / y, out=depth, where=y < 0)
        on_floor = (depth < camera.distance + wall)[:, 0]  # rows, from some row on
        self._horizon = int(on_floor.argmax()) if on_floor.any() else height
        right, up = x * depth, camera.height + (y + 0 * x) * depth
        floor = np.stack([right, depth + 0 * x], axis=-1)[self._horizon :]
        self._floor = floor.astype(np.float32)
        behind = np.stack([right, up], axis=-1)[: self._horizon]
        picture = np.concatenate([_wall(behind, rng), _carpet(floor, rng)])
        light = rng.normal(1, 0.04) - 0.2 * (x**2 + y**2)  # lenses darken corners
        self.picture = np.clip(picture * light[..., None], 0, 255).astype(np.float32)

    def shaded(self, feet: Real) -> NDArray[np.float32]:
        """The picture with shadows about feet (N, 2), metres to the right and along the axis."""
        shadow = np.zeros(self._floor.shape[:2], dtype=np.float32)
        for foot in feet.astype(np.float32):
            away = np.square(self._floor - foot).sum(axis=-1)
            np.maximum(shadow, np.exp(away / (-2 * _SHADOW_SIZE**2)), out=shadow)
        picture = self.picture.copy()
        picture[self._horizon :] *= 1 - _SHADOW * shadow[..., None]
        return picture


def _ripples(places: Array, rng: np.random.Generator, shortest: float, longest: float) -> Array:
    """Texture (...,) of unit variance at places (..., 2): waves of many lengths in metres."""
    length = np.exp(rng.uniform(np.log(shortest), np.log(longest), _WAVES))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    texture = np.zeros(places.shape[:-1])
    for k, a, p in zip(2 * np.pi / length, angle, phase, strict=True):
        texture += np.cos(k * (np.cos(a) * places[..., 0] + np.sin(a) * places[..., 1]) + p)
    return np.asarray(texture * np.sqrt(2 / _WAVES))


def _near(colour: Sequence[float] | float, rng: np.random.Generator) -> Array:
    """A colour like this one, (3,)."""
    return np.asarray(np.array(colour) * rng.normal(1, 0.1) + rng.normal(0, 8, 3))


def _carpet(places: Array, rng: np.random.Generator) -> Array:
    """Tiles, at places to the right and along the axis."""
    colour = _near(_CARPET, rng)
    seams = (np.mod(places + rng.uniform(0, _TILE, 2), _TILE) < _SEAM).any(axis=-1)
    shade = 1 + 0.05 * _ripples(places, rng, 0.05, 1.5) - 0.18 * seams
    return colour * shade[..., None]


def _wall(places: Array, rng: np.random.Generator) -> Array:
    """Plaster with pictures and doors, at places to the right and up."""
    colour = _near(_WALL, rng)
    shade = 1 + 0.03 * _ripples(places, rng, 0.2, 4) + 0.02 * _ripples(places, rng, 0.03, 0.2)
    picture = colour * shade[..., None]
    for _ in range(5):
        middle = rng.uniform((-4, 0.9), (4, 2.2))
        half = rng.uniform(0.15, 0.7, 2)
        inside = (np.abs(places - middle) < half).all(axis=-1)
        picture[inside] = _near(rng.uniform(60, 200), rng) * shade[inside, None]
    picture[places[..., 1] < _SKIRTING] *= 0.6
    return picture


def film(
    figure: tuple[Solids, Cloth],
    camera: Camera,
    room: Room,
    rng: np.random.Generator,
    *,
    noise: float = 2.0,
    flow: bool = False,
) -> Film:
    """Record a walk.

    Args:
        figure: solids of T frames, and what covers them.
        camera: it does not move.
        room: seen by that camera.
        rng: of the noise.
        noise: of each pixel's brightness in each frame, standard deviation of 255.
        flow: whether to tell how the figure moves.
    """
    solids, cloth = figure
    seen = in_camera(solids, camera)
    frames = len(solids.place)
    width, height = camera.image
    pictures = np.empty((frames, height, width, 3), dtype=np.uint8)
    silhouettes = np.empty((frames, height, width), dtype=bool)
    single, cloth = _single(seen), _single(cloth)  # which halves the time
    for start in range(0, frames, _TOGETHER):
        some = slice(start, start + _TOGETHER)
        part = single._replace(place=single.place[some], axes=single.axes[some])
        colours, share = _painted(part, cloth, camera)
        for frame, (colour, covered) in enumerate(zip(colours, share, strict=True), start):
            picture = room.shaded(_feet(seen, frame))
            picture *= (1 - covered)[..., None]
            picture += colour
            grain = rng.standard_normal((height, width, 1), dtype=np.float32)
            picture += np.float32(noise) * grain
            silhouettes[frame] = covered >= 0.5
            pictures[frame] = np.clip(picture + 0.5, 0, 255, out=picture)
    return Film(pictures, silhouettes, exact_flow(seen, camera) if flow else None)


def empty(
    room: Room, frames: int, rng: np.random.Generator, noise: float = 2.0
) -> NDArray[np.uint8]:
    """The room without anybody, (T, H, W, 3), see :func:`film`."""
    grain = rng.standard_normal((frames, *room.picture.shape[:2], 1), dtype=np.float32)
    picture = room.picture + np.float32(noise) * grain
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


Arrays = TypeVar("Arrays", Solids, Cloth)


def _single(arrays: Arrays) -> Arrays:
    """The same in single precision."""
    return type(arrays)(*(array.astype(np.float32) for array in arrays))


def _feet(solids: Solids, frame: int) -> Real:
    """Where the two lowest solids are, (2, 2), to the right and along the axis."""
    place = solids.place[frame]
    return np.asarray(place[np.argsort(place[:, 1])[:2]][:, [0, 2]])


def _painted(
    solids: Solids, cloth: Cloth, camera: Camera
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colours (T, H, W, 3) times the share (T, H, W) of each pixel that the figure covers."""
    hits = trace(solids, camera, _SAMPLES)
    width, height = camera.image
    shape = (len(solids.place), height, width)
    facing = np.maximum(np.einsum("ni,i->n", hits.normal, _LIGHT), 0)
    shade = _AMBIENT + (1 - _AMBIENT) * facing
    colours = cloth.colours(hits.solid, hits.local) * shade[:, None]
    pixel = np.ravel_multi_index((hits.frame, hits.row // _SAMPLES, hits.column // _SAMPLES), shape)
    sums = [np.bincount(pixel, weights, np.prod(shape)) for weights in (*colours.T, None)]
    *painted, share = ((total / _SAMPLES**2).astype(np.float32).reshape(shape) for total in sums)
    return np.stack(painted, axis=-1), share


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, bit_rate: int) -> None:
    """Write a video, MPEG-4 in the container that the file's name says.

    The same frames give the same bytes.

    Args:
        path: of the file.
        frames: (H, W, 3), red, green and blue; at least one.
        fps: frames a second.
        bit_rate: bits a second, about.

    Raises:
        InputError: if PyAV is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise InputError(
            "videos are written by PyAV, which is not installed; pip install av"
        ) from error

    with av.open(path, "w", options={"fflags": "+bitexact"}) as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("mpeg4", rate=Fraction(fps))
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt, stream.bit_rate = "yuv420p", bit_rate
                stream.codec_context.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def write_silhouettes(folder: Path, stem: str, silhouettes: NDArray[np.bool_]) -> None:
    """Write silhouettes (T, H, W) as images, white on black, numbered from 1.

    Args:
        folder: is made.
        stem: what their names begin with.
        silhouettes: of all frames.
    """
    folder.mkdir(parents=True)
    for number, silhouette in enumerate(silhouettes, 1):
        image = Image.fromarray(silhouette.astype(np.uint8) * 255)
        image.save(folder / f"{stem}{number:03d}.png", compress_level=1)


def write_flow(path: Path, flow: Flow) -> None:
    """Write exact flow as ``.npz``, each array by its name."""
    np.savez_compressed(path, **flow._asdict())
