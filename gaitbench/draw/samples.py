"""What networks on images see of a walk: gray values, optical flow as colours, silhouettes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from gaitbench.draw.canvas import (
    GRID,
    INK,
    Array,
    new_figure,
    pictures,
    write_gif,
    write_mp4,
)

INCH = 0.9  # of a picture's side on paper
FASTEST = 95.0  # percentile of speed that has full colour

BOX = 1.2  # inches of a film's side
HEAT = ListedColormap(colormaps["inferno"](np.linspace(0.4, 1, 256)), "heat")
COVER = 0.95  # of a picture by the greatest value

Images = NDArray[np.uint8]


def flow_colors(flow: Array, fastest: float | None = None) -> Array:
    """Flow (..., 2) as colours (..., 3): the hue is the direction, white does not move.

    To the right is red, downwards yellow-green, to the left cyan, upwards violet.

    Args:
        flow: x to the right and y down, in pixels.
        fastest: speed of the fullest colour; the 95th percentile of what moves if none is given.
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])
    if fastest is None:
        moving = speed[speed > 0]
        fastest = float(np.percentile(moving, FASTEST)) if moving.size else 1.0
    hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    share = np.clip(speed / max(fastest, np.finfo(np.float32).tiny), 0, 1)
    colors: Array = hsv_to_rgb(np.stack([hue, share, np.ones_like(hue)], axis=-1))
    return colors


def draw_samples(
    gray: Images, flow: Array, silhouettes: Images, titles: Sequence[str], credit: str = ""
) -> Figure:
    """Frames side by side, what is known of each below one another.

    Args:
        gray: (K, H, W) gray values.
        flow: (K, H, W, 2) from each frame to the next, in pixels.
        silhouettes: (K, H', W'), 0 to 255.
        titles: K words above the columns.
        credit: where the pictures are from, written below.
    """
    figure = new_figure(INCH * len(titles) + 0.7, 3 * INCH + 0.45 + 0.2 * bool(credit))
    axes = figure.subplots(3, len(titles), squeeze=False)
    rows: list[tuple[str, NDArray[Any]]] = [
        ("gray", gray),
        ("flow", flow_colors(flow)),
        ("silhouette", silhouettes),
    ]
    for row, (name, frames) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name, fontsize=9, color=INK)
        for paper, picture in zip(row, frames, strict=True):
            _shown(paper, picture)
    for paper, title in zip(axes[0], titles, strict=True):
        paper.set_title(title, fontsize=9, color=INK)
    if credit:
        figure.supxlabel(credit, fontsize=7, color=INK)
    return figure


def as_colors(frames: Array, modality: str) -> Array:
    """Frames (T, H, W, C) as networks see them, as colours (T, H, W, 3) of 0..1.

    Args:
        frames: ``gray`` from -0.5 to 0.5, ``flow`` in pixels, ``silhouette`` from 0 to 1.
        modality: which of these they are.
    """
    if modality == "flow":
        return flow_colors(frames)
    colors: Array = np.repeat(np.clip(frames + 0.5 * (modality == "gray"), 0, 1), 3, axis=-1)
    return colors


def heated(colors: Array, values: Array) -> Array:
    """Colours (..., 3) covered with those of values (...) in 0..1, the more the greater these."""
    share = COVER * np.sqrt(values)[..., None]
    mixed: Array = (1 - share) * colors + share * HEAT(values)[..., :3]
    return mixed


def animate_films(
    films: Sequence[Mapping[str, Array]],
    paths: Sequence[Path],
    titles: Sequence[str] = (),
    fps: float = 25.0,
    heat: bool = False,
) -> Sequence[Path]:
    """Write films side by side, a line each of several people, as what repeats.

    A shorter film waits at its end.

    Args:
        films: of each line its films by name, colours (T, H, W, 3) of 0..1.
        paths: of the files, ``.gif`` or ``.mp4``; their folders are made if they are not there.
        titles: one a line, or none.
        fps: frames a second.
        heat: add the scale of :func:`heated`.

    Raises:
        InputError: if a file cannot be written.
    """
    columns = max(map(len, films))
    ratios = [film.shape[2] / film.shape[1] for film in max(films, key=len).values()]
    figure = new_figure(BOX * sum(ratios) + 0.1 + 0.8 * heat, (BOX + 0.45) * len(films))
    grid = figure.subplots(len(films), columns, squeeze=False, gridspec_kw={"width_ratios": ratios})
    moving: list[tuple[AxesImage, Array]] = []
    for row, line, title in zip(grid, films, titles or [""] * len(films), strict=True):
        for paper in row[len(line) :]:
            paper.set_axis_off()
        for paper, (name, film) in zip(row, line.items(), strict=False):
            moving.append((_shown(paper, film[0]), film))
            paper.set_xlabel(name, fontsize=8, color=INK)
        row[0].set_title(title, fontsize=8, color=INK, loc="left")
    if heat:
        _scale(figure, list(grid.flat))

    def show(frame: int) -> None:
        for image, film in moving:
            image.set_data(film[min(frame, len(film) - 1)])

    longest = max(len(film) for _, film in moving)
    frames = list(pictures(figure, [image for image, _ in moving], show, longest))
    for path in paths:
        if path.suffix == ".mp4":
            write_mp4(path, frames, fps)
        else:
            write_gif(path, frames, None, fps)
    return paths


def draw_films(films: Mapping[str, Array], keys: Sequence[int], title: str) -> Figure:
    """Chosen frames of films (T, H, W, 3) side by side, one film below the other, with a scale."""
    high, wide = next(iter(films.values())).shape[1:3]
    figure = new_figure(INCH * wide / high * len(keys) + 1.2, (INCH + 0.06) * len(films) + 0.6)
    grid = figure.subplots(len(films), len(keys), squeeze=False)
    for row, (name, film) in zip(grid, films.items(), strict=True):
        row[0].set_ylabel(name, fontsize=8, color=INK)
        for paper, key in zip(row, keys, strict=True):
            _shown(paper, film[key])
    for paper, key in zip(grid[0], keys, strict=True):
        paper.set_title(f"frame {key}", fontsize=7.5, color=INK)
    figure.suptitle(title, fontsize=8.5, color=INK)
    _scale(figure, list(grid.flat))
    return figure


def draw_heat(maps: Mapping[str, Array], title: str) -> Figure:
    """Mean values of cells (H, W) over people, one map beside the other."""
    figure = new_figure(2.6 * len(maps) + 0.4, 3.0)
    for paper, (name, values) in zip(
        figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True
    ):
        image = paper.imshow(100 * values, cmap=HEAT, vmin=0, interpolation="nearest")
        paper.set_xticks([])
        paper.set_yticks([])
        paper.set_xlabel(name, fontsize=8, color=INK)
        bar = figure.colorbar(image, ax=paper, fraction=0.05, pad=0.02)
        bar.ax.tick_params(labelsize=7.5, length=0)
        bar.set_label("share of the whole (%)", fontsize=8, color=INK)
        bar.outline.set_visible(False)
    figure.suptitle(title, fontsize=8.5, color=INK, wrap=True)
    return figure


def _shown(paper: Axes, picture: NDArray[Any]) -> AxesImage:
    """A picture in its frame; gray values are 0 to 255."""
    image = paper.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    paper.set_xticks([])
    paper.set_yticks([])
    for spine in paper.spines.values():
        spine.set_color(GRID)
    return image


def _scale(figure: Figure, axes: Sequence[Axes]) -> None:
    """What the colours of values mean."""
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), HEAT), ax=list(axes), pad=0.02, aspect=28)
    bar.set_ticks([0, 0.5, 1])
    bar.ax.tick_params(labelsize=7, length=0)
    bar.set_label("value (greatest = 1)", fontsize=7.5, color=INK)
    bar.outline.set_visible(False)
