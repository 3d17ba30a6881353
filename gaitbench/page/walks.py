"""Walks as whole numbers, small enough to be played by a page."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gaitbench.draw import LEFT, RIGHT, on_paper
from gaitbench.draw.poses import SEEN, box, followed, limb_colors
from gaitbench.errors import InputError
from gaitbench.protocols.probes import KEY, WINDOW
from gaitbench.skeleton import get_skeleton
from gaitbench.store import SequenceStore

FRAMES = 48
"""Frames that are played of a walk, from its middle; two seconds at 25 a second."""

STEPS = 500
"""Whole numbers that the longer side of a walk's box is divided into."""


@dataclass
class Walks:
    """The walks of a page, each once, however many probes it stands beside.

    Attributes:
        skeletons: limbs of each layout, ``[joint, joint, side]``; side 0 left, 1 right, 2 middle.
        walks: ``skeleton`` (its place), ``size`` of the box and ``frames``, for each x and y of all
            joints in turn, -1 where a joint is not seen.
    """

    skeletons: list[list[list[int]]] = field(default_factory=list)
    walks: list[dict[str, Any]] = field(default_factory=list)
    _layouts: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[Path, int], int] = field(default_factory=dict)

    def add(self, store: SequenceStore, row: int) -> int:
        """The place of a store's walk among ``walks``."""
        key = (store.path, row)
        if key not in self._known:
            self._known[key] = len(self.walks)
            self.walks.append(self._encoded(store, row))
        return self._known[key]

    def _encoded(self, store: SequenceStore, row: int) -> dict[str, Any]:
        start, length = (int(store.sequences[name].iloc[row]) for name in ("start", "length"))
        start += max(0, length - FRAMES) // 2
        pose = store.frames[start : start + min(FRAMES, length)]
        layout = get_skeleton(str(store.info.skeleton))
        info = store.info
        pose = on_paper(pose, layout, info.kind == "skeleton3d", "y up" in info.units)
        pose = followed(pose, (0, 1))
        low, high = box(pose)
        scale = STEPS / float((high - low).max())
        points = ((pose[..., :2] - low) * scale).round().astype(np.int64)
        points[pose[..., 2] < SEEN] = -1
        if layout.name not in self._layouts:
            self._layouts[layout.name] = len(self.skeletons)
            sides = {LEFT: 0, RIGHT: 1}
            self.skeletons.append(
                [
                    [*edge, sides.get(color, 2)]
                    for edge, color in zip(layout.edges, limb_colors(layout), strict=True)
                ]
            )
        return {
            "skeleton": self._layouts[layout.name],
            "size": ((high - low) * scale).round().astype(np.int64).tolist(),
            "frames": points.reshape(len(points), -1).tolist(),
        }


def opened(path: Path | None) -> tuple[SequenceStore | None, str]:
    """The store of a run's poses, or why there is none to draw, a sentence."""
    if path is None:
        return None, (
            "The walks are not drawn: the store of this run's data is not in the cache that its "
            "settings name, or more than one was made of the same file."
        )
    try:
        store = SequenceStore.open(path)
    except InputError as error:
        return None, f"The walks are not drawn: {str(error).rstrip('.')}."
    if store.info.skeleton is None or store.info.kind not in ("pose", "skeleton3d"):
        return None, "The walks are not drawn: the frames of this dataset are no skeletons."
    return store, ""


def rows_in_store(rows: pd.DataFrame, store: pd.DataFrame) -> list[int | None]:
    """The row of a store's table that each row of another one names; None where it is not one."""
    columns = [name for name in (*KEY, *WINDOW) if name in rows and name in store]
    wanted = pd.MultiIndex.from_frame(rows[columns].astype(str))
    there = pd.MultiIndex.from_frame(store[columns].astype(str))
    single = ~there.duplicated(keep=False)
    places = np.flatnonzero(single)
    found = there[single].get_indexer(wanted)
    return [int(places[at]) if at >= 0 else None for at in found]
