"""Drawings of the pixels that a network on pictures looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.activation import ACTIVATION
from gaitbench.batch import Rows
from gaitbench.draw import animate_films, as_colors, draw_films, draw_heat, heated, save_figure
from gaitbench.drawings.seen import Drawing, Seen, Values, Walk, over_people

KEY_FRAMES = 8
CELL = 4
"""Pixels of a side of the cells that are summed up."""


@dataclass(frozen=True)
class FrameLook:
    """Animations and sheets in which colours upon the frames tell the values of their pixels.

    A value is a share of the greatest of its walk; below 0 counts as 0. Figures of a walk are the
    shares of its cells in the sum of all values.

    Args:
        modality: what is seen, ``gray``, ``flow`` or ``silhouette``.
        size: H and W of the frames.
        formats: of the files of a walk.
        fps: frames a second of an animation.
    """

    modality: str
    size: tuple[int, int]
    formats: Sequence[str]
    fps: float
    summary = "summary"

    def maps(self, method: Any, frames: Tensor) -> dict[str, Tensor]:
        """See :class:`Look`; (B, T, H, W) of any range."""
        return {ACTIVATION: method.explain_frames(frames)}

    def look(
        self,
        rows: Rows,
        frames: Tensor,
        maps: Mapping[str, Tensor],
        windows: NDArray[np.int64],
        drawn: Sequence[int],
    ) -> Seen:
        """See :class:`Look`."""
        figures = {}
        for name, shown in maps.items():
            cells = F.avg_pool2d(shown.clamp(min=0).mean(1), CELL).flatten(1)
            figures[name] = (cells / cells.sum(1, keepdim=True)).numpy()  # NaN of nothing
        walks = []
        for k in drawn:
            place = torch.from_numpy(windows[k])
            size = int(place.max()) + 1
            first = torch.full((size,), len(place)).scatter_reduce_(
                0, place, torch.arange(len(place)), "amin"
            )
            values = {}
            for name, shown in maps.items():
                # a frame that is shown again and again counts once, for all of them
                whole = shown.new_zeros(size, *shown.shape[2:]).index_add_(0, place, shown[k])
                whole = whole.clamp(min=0)
                values[name] = (whole / whole.max().clamp(min=1e-30)).numpy()
            keys = np.linspace(0, size - 1, min(KEY_FRAMES, size)).round().astype(np.int64)
            walks.append(Walk(int(rows[k]), frames[k, first].numpy(), values, keys))
        return Seen(rows, figures, walks)

    def write(self, drawing: Drawing) -> Sequence[Path]:
        """See :class:`Look`."""
        walk = drawing.walk
        plain = as_colors(np.asarray(walk.pose, np.float64), self.modality)
        films = {self.modality: plain}
        films |= {
            name: heated(plain, values.astype(np.float64)) for name, values in walk.maps.items()
        }
        moving = [path for path in drawing.paths if path.suffix != ".png"]
        if moving:
            animate_films([films], moving, [drawing.title], self.fps, heat=True)
        for path in drawing.paths:
            if path.suffix == ".png":
                title = drawing.title.replace("\n", ", ")
                save_figure(draw_films(films, walk.keys.tolist(), title), path)
        return drawing.paths

    def summarise(self, figures: Mapping[str, Values], people: NDArray[np.str_]) -> pd.DataFrame:
        """See :class:`Look`.

        Returns:
            A row for each cell: columns map, row and column (its first pixels), and those of
            :func:`over_people`, of shares of the whole.
        """
        down, right = np.indices(self._cells).reshape(2, -1) * CELL
        parts = []
        for name, values in figures.items():
            part = pd.DataFrame({"map": name, "row": down, "column": right})
            parts.append(part.join(over_people(values, people)))
        return pd.concat(parts, ignore_index=True)

    def chart(self, table: pd.DataFrame, title: str) -> Figure:
        """See :class:`Look`."""
        means = {
            str(name): part["mean"].to_numpy(np.float64).reshape(self._cells)
            for name, part in table.groupby("map", sort=False)
        }
        return draw_heat(means, title)

    @property
    def _cells(self) -> tuple[int, int]:
        return self.size[0] // CELL, self.size[1] // CELL
