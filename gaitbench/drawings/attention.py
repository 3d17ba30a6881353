"""Drawings of the frames that a decoder attends to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.batch import Rows
from gaitbench.draw import SLANTING, attention_summary, draw_attention, save_figure, seen_from
from gaitbench.drawings.seen import Drawing, Seen, Values, Walk, over_people
from gaitbench.losses import locality_mask
from gaitbench.skeleton import Skeleton

KEY_FRAMES = 10


@dataclass(frozen=True)
class AttentionLook:
    """Sheets of matrices, decoder step by encoded frame, beside the mask that the loss has.

    Figures of a window are its matrices, T T numbers an axis.

    Args:
        skeleton: layout of the joints.
        frames: T of a window.
    """

    skeleton: Skeleton
    frames: int
    summary = "attention"
    formats = ("png",)

    def maps(self, method: Any, frames: Tensor) -> dict[str, Tensor]:
        """See :class:`Look`; (B, T, T), each step's weights sum to 1."""
        maps: dict[str, Tensor] = method.attention_maps(frames)
        return maps

    def look(
        self,
        rows: Rows,
        frames: Tensor,
        maps: Mapping[str, Tensor],
        windows: NDArray[np.int64],
        drawn: Sequence[int],
    ) -> Seen:
        """See :class:`Look`."""
        size = min(KEY_FRAMES, self.frames)
        keys = np.linspace(0, self.frames - 1, size).round().astype(np.int64)
        walks = [
            Walk(
                int(rows[k]),
                seen_from(frames[k], self.skeleton, SLANTING),
                {name: values[k].numpy() for name, values in maps.items()},
                keys,
            )
            for k in drawn
        ]
        return Seen(rows, {name: values.flatten(1).numpy() for name, values in maps.items()}, walks)

    def write(self, drawing: Drawing) -> Sequence[Path]:
        """See :class:`Look`."""
        walk, title = drawing.walk, drawing.title.replace("\n", ", ")
        mask = locality_mask(self.frames).numpy()
        figure = draw_attention(
            walk.pose, walk.maps, mask, self.skeleton, walk.keys.tolist(), title
        )
        return [save_figure(figure, path) for path in drawing.paths]

    def summarise(self, figures: Mapping[str, Values], people: NDArray[np.str_]) -> pd.DataFrame:
        """See :class:`Look`.

        Returns:
            A row for each ``cell`` of an axis's matrix, and one for each ``distance`` from where
            the mask is 1, with the share of attention at that distance. Columns
            axis, kind, step and frame (of a cell; counted from 1), distance, mask, even (what
            attention to all frames alike would be), and those of :func:`over_people`.
        """
        size = self.frames
        step, frame = np.divmod(np.arange(size * size), size)
        distance = np.abs(frame - (size - 1 - step))
        mask = locality_mask(size).numpy().astype(np.float64)
        lies = (distance[:, None] == np.arange(size)) / size  # (T T, T), a mean over steps
        cells = pd.DataFrame(
            {
                "kind": "cell",
                "step": step + 1,
                "frame": frame + 1,
                "distance": distance,
                "mask": mask.ravel(),
                "even": 1 / size,
            }
        )
        distances = pd.DataFrame(
            {
                "kind": "distance",
                "distance": np.arange(size),
                "mask": mask[-1],  # in the last step it is 1 at the first frame
                "even": lies.sum(0) / size,
            }
        )
        kinds = pd.concat([cells, distances], ignore_index=True)
        kinds = kinds.astype({"step": "Int64", "frame": "Int64"})  # of a distance there is none
        parts = []
        for axis, values in figures.items():
            part = kinds.join(over_people(np.hstack([values, values @ lies]), people))
            part.insert(0, "axis", axis)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def chart(self, table: pd.DataFrame, title: str) -> Figure:
        """See :class:`Look`."""
        return attention_summary(table, title)
