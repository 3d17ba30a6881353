"""What is kept of the walks that a network is watched on, and means over people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gaitbench.batch import Rows

NORMAL_95 = 1.96
"""Deviations of the mean to either side that hold 95 % of a normal distribution."""

Values = NDArray[np.float32]


class Walk(NamedTuple):
    """One walk, or one window of it, that will be drawn: the frames that it has, without padding.

    Args:
        row: of the table.
        pose: (T, V, 3) as on paper: x right, y down, and what is drawn of it above 0. Of pictures,
            these, (T, H, W, C).
        maps: name -> values (T, ...) in 0..1.
        keys: frames for the sheet.
    """

    row: int
    pose: ArrayLike
    maps: Mapping[str, Values]
    keys: NDArray[np.int64]


class Drawing(NamedTuple):
    """A walk with what is written upon it and the files it becomes."""

    walk: Walk
    title: str
    paths: Sequence[Path]


class Seen(NamedTuple):
    """What one process has seen of a run.

    Args:
        rows: (N,) table rows, some of them several times.
        figures: map -> (N, K) numbers of each row, NaN where one is not known.
        walks: those that will be drawn.
    """

    rows: Rows
    figures: Mapping[str, Values]
    walks: Sequence[Walk]


class Look(Protocol):
    """One way to look at a network: what is kept of its maps, and the pictures made of them."""

    @property
    def summary(self) -> str:
        """Name of the files about all walks."""

    @property
    def formats(self) -> Sequence[str]:
        """Endings of the files about a walk."""

    def maps(self, method: Any, frames: Tensor) -> dict[str, Tensor]:
        """Maps by name of frames (B, S, V, 3), or of pictures (B, S, H, W, C)."""

    def look(
        self,
        rows: Rows,
        frames: Tensor,
        maps: Mapping[str, Tensor],
        windows: NDArray[np.int64],
        drawn: Sequence[int],
    ) -> Seen:
        """What the maps of some walks come to, and all of those that are to be drawn.

        Args:
            rows: (B,) of the table.
            frames: (B, S, V, 3) poses, or pictures; on the CPU, as are the maps.
            maps: what :meth:`maps` gave.
            windows: (B, S) which frame of its walk each is.
            drawn: which of the B to keep for drawing.
        """

    def write(self, drawing: Drawing) -> Sequence[Path]:
        """Make the files of a walk."""

    def summarise(self, figures: Mapping[str, Values], people: NDArray[np.str_]) -> pd.DataFrame:
        """A table of means over people; figures as in :class:`Seen`, people (N,)."""

    def chart(self, table: pd.DataFrame, title: str) -> Figure:
        """The table as a picture."""


def joined(parts: Sequence[Seen]) -> Seen:
    """One of all: each row once, with the mean of its windows, in the order of the table."""
    rows = np.concatenate([part.rows for part in parts])
    found, place = np.unique(rows, return_inverse=True)
    figures = {}
    for name in parts[0].figures:
        values = np.concatenate([part.figures[name] for part in parts])
        figures[name] = _means(values, place, len(found))
    walks = {walk.row: walk for part in parts for walk in part.walks}
    return Seen(found, figures, [walks[row] for row in sorted(walks)])


def over_people(values: Values, people: NDArray[np.str_]) -> pd.DataFrame:
    """Means over people, and the 95 % intervals of these means by the normal distribution.

    Args:
        values: (N, K), NaN where one is not known.
        people: (N,) whose they are; a person counts once, however many walks there are.

    Returns:
        K rows of mean, low, high and people; NaN where nobody, or for an interval a single person,
        was seen.
    """
    names, place = np.unique(people, return_inverse=True)
    own = _means(values, place, len(names)).astype(np.float64)
    count = (~np.isnan(own)).sum(0)
    mean = np.nansum(own, 0) / np.where(count, count, np.nan)
    spare = np.where(count > 1, count - 1, np.nan)
    half = NORMAL_95 * np.sqrt(np.nansum((own - mean) ** 2, 0) / spare / count)
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half, "people": count})


def _means(values: Values, group: NDArray[np.int64], count: int) -> Values:
    """Mean (count, K) of the values (N, K) of each group, NaN left out where others are known."""
    known = ~np.isnan(values)
    total, times = np.zeros((2, count, values.shape[1]))
    np.add.at(total, group, np.where(known, values, 0))
    np.add.at(times, group, known)
    return np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0).astype("f4")
