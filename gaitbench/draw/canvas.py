"""What all figures share: colours, a canvas without a display, animations, files that are whole."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from gaitbench.errors import InputError
from gaitbench.files import written_whole

LEFT, RIGHT, MIDDLE = "#d1495b", "#2e6f95", "#4a4a4a"
"""Colours of the body's left and right limbs and of those that join the two."""
INK, PAPER, GRID = "#262626", "#ffffff", "#e4e4e4"
LINES = ("#2e6f95", "#d1495b", "#3f9b6d", "#b07aa1", "#e09f3e", "#4a4a4a")
"""Colours of lines and bars, in the order they are taken."""

FFMPEG = "ffmpeg"

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]


def new_figure(width: float, height: float, dpi: int = 120) -> Figure:
    """An empty figure of so many inches on a canvas in memory."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def on_grid(axes: Axes, lines: Literal["both", "x", "y"] = "both") -> None:
    """Let axes have a pale grid behind what is drawn, and no frame above and to the right."""
    axes.tick_params(labelsize=8, color=GRID)
    axes.grid(axis=lines, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(GRID)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure whole or not at all, in the format of the name's ending.

    Raises:
        InputError: if it cannot be written.
    """
    with written_whole(path) as beside:
        figure.savefig(beside)
    return path


def pictures(
    figure: Figure, moving: Sequence[Artist], show: Callable[[int], None], count: int
) -> Iterator[Picture]:
    """The frames of an animation as pixels (H, W, 3).

    What does not move is drawn once.

    Args:
        figure: with everything in place.
        moving: what a frame draws anew; all of it on axes.
        show: puts frame k in place.
        count: how many frames.
    """
    canvas = FigureCanvasAgg(figure)
    for artist in moving:
        artist.set_visible(False)
    canvas.draw()  # type: ignore[no-untyped-call]
    background = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]
    for artist in moving:
        artist.set_visible(True)
    for k in range(count):
        canvas.restore_region(background)  # type: ignore[no-untyped-call]
        show(k)
        for artist in moving:
            assert artist.axes is not None
            artist.axes.draw_artist(artist)
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def write_gif(
    path: Path, frames: Sequence[Picture], colors: Sequence[str] | None, fps: float, shades: int = 4
) -> Path:
    """Write an animated GIF that repeats.

    Args:
        path: of the file; its folder is made if it is not there.
        frames: pixels (H, W, 3) each.
        colors: what is drawn in; each also comes in ``shades - 1`` mixtures with the paper, for
            smooth edges. One palette for all frames keeps colours still. None finds one in the
            frames, for photographs.
        fps: frames a second; GIF counts in hundredths of a second.
        shades: so many of each colour.
    """
    if colors is None:
        some = np.concatenate(frames[:: -(-len(frames) // 8)])
        palette = Image.fromarray(some).quantize(256)
    else:
        full = np.array([to_rgb(color) for color in colors])
        share = np.arange(shades, 0, -1)[:, None] / shades
        mixed = 1 + share * (full[:, None] - 1)  # the paper is white
        palette = Image.new("P", (1, 1))
        palette.putpalette([255, 255, 255, *(mixed * 255).round().astype(int).ravel().tolist()])
    images = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    with written_whole(path) as beside:
        images[0].save(
            beside, format="GIF", save_all=True, append_images=images[1:],
            duration=max(20, round(100 / fps) * 10), loop=0, disposal=1, optimize=False,
        )  # fmt: skip
    return path


def has_ffmpeg() -> bool:
    """Whether the program that writes MP4 is there."""
    return shutil.which(FFMPEG) is not None


def write_mp4(path: Path, frames: Sequence[Picture], fps: float) -> Path:
    """Write a film by the program ffmpeg, in what every player takes.

    Args:
        path: of the file; its folder is made if it is not there.
        frames: pixels (H, W, 3) each.
        fps: frames a second.

    Raises:
        InputError: if ffmpeg is not on the PATH or fails.
    """
    program = shutil.which(FFMPEG)
    if program is None:
        raise InputError(f"{path} needs the program ffmpeg; install it or ask for gif instead")
    # colours are stored for blocks of 2 x 2 pixels
    height, width = frames[0].shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    pixels = b"".join(np.pad(frame, pad, constant_values=255).tobytes() for frame in frames)
    size = f"{width + width % 2}x{height + height % 2}"
    with written_whole(path) as beside:
        done = subprocess.run(
            [
                program, "-loglevel", "error", "-y",
                "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps:g}", "-i", "-",
                "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(beside),
            ],
            input=pixels, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise InputError(
                f"{path} cannot be written by ffmpeg ({words[-1]}); mend it or ask for gif instead"
            )
    return path
