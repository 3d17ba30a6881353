"""Drawings of the joints that a graph network looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gaitbench import activation
from gaitbench.batch import Rows
from gaitbench.draw import (
    SLANTING,
    animate_maps,
    draw_maps,
    from_above,
    map_summary,
    save_figure,
    seen_from,
)
from gaitbench.drawings.seen import Drawing, Seen, Values, Walk, over_people
from gaitbench.skeleton import Skeleton

KEY_FRAMES = 8
PHASES = 8
"""Bins of the phase of the step."""


@dataclass(frozen=True)
class ActivationLook:
    """Animations and sheets in which size and colour of a joint tell its value.

    A value is a share of the greatest of its walk. Figures of a walk are the mean value of each
    joint and in each phase of the step, V + PHASES numbers a map.

    Args:
        skeleton: layout of the joints.
        spatial: whether poses are x, y, z in space, and are drawn from aslant.
        formats: of the files of a walk.
        fps: frames a second of an animation.
    """

    skeleton: Skeleton
    spatial: bool
    formats: Sequence[str]
    fps: float
    summary = "summary"

    def maps(self, method: Any, frames: Tensor) -> dict[str, Tensor]:
        """See :class:`Look`; (B, T', V) of any range."""
        maps: dict[str, Tensor] = method.explain(frames)
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
        order, real = map(torch.from_numpy, activation.in_time(windows))
        batch = torch.arange(len(rows))[:, None]
        pose = frames[batch, order]
        values = {
            name: activation.at_frames(activation.share_of_greatest(shown), frames.shape[1])[
                batch, order
            ]
            for name, shown in maps.items()
        }
        plan = pose
        if self.spatial:  # steps are told from the ankles on the ground
            plan = torch.from_numpy(from_above(pose.numpy(), self.skeleton))
        steps = activation.find_steps(plan, self.skeleton, real)
        share = real.float() / real.sum(1, keepdim=True)
        bins = (steps.phase.nan_to_num(0) * PHASES).long() % PHASES
        known = real & ~steps.phase.isnan()
        in_bin = torch.nn.functional.one_hot(bins, PHASES).float() * known[..., None]
        of_bin = in_bin / in_bin.sum(1, keepdim=True)  # NaN where the bin is empty
        figures = {}
        for name, value in values.items():
            of_joint = (value * share[..., None]).sum(1)
            of_phase = (value.mean(2)[..., None] * of_bin).sum(1)
            figures[name] = torch.cat([of_joint, of_phase], 1).numpy()
        walks = []
        for k in drawn:
            size = int(real[k].sum())
            own = activation.Steps(steps.phase[k : k + 1], steps.frames[k : k + 1])
            walks.append(
                Walk(
                    int(rows[k]),
                    self._paper(pose[k, :size].numpy()),
                    {name: value[k, :size].numpy() for name, value in values.items()},
                    activation.key_frames(own, size, KEY_FRAMES),
                )
            )
        return Seen(rows, figures, walks)

    def _paper(self, pose: Values) -> ArrayLike:
        return seen_from(pose, self.skeleton, SLANTING) if self.spatial else pose

    def write(self, drawing: Drawing) -> Sequence[Path]:
        """See :class:`Look`."""
        walk = drawing.walk
        films = [path for path in drawing.paths if path.suffix != ".png"]
        if films:
            animate_maps(walk.pose, walk.maps, self.skeleton, films, drawing.title, self.fps)
        for path in drawing.paths:
            if path.suffix == ".png":
                title = drawing.title.replace("\n", ", ")
                keys = walk.keys.tolist()
                figure = draw_maps(walk.pose, walk.maps, self.skeleton, keys, (), title)
                save_figure(figure, path)
        return drawing.paths

    def summarise(self, figures: Mapping[str, Values], people: NDArray[np.str_]) -> pd.DataFrame:
        """See :class:`Look`.

        Returns:
            Columns map, kind (``joint`` or ``phase``), name (of the joint, or where the bin
            begins), and those of :func:`over_people`.
        """
        kinds = [("joint", joint) for joint in self.skeleton.joints]
        kinds += [("phase", str(k / PHASES)) for k in range(PHASES)]
        parts = []
        for name, values in figures.items():
            part = pd.DataFrame(kinds, columns=["kind", "name"])
            part.insert(0, "map", name)
            parts.append(part.join(over_people(values, people)))
        return pd.concat(parts, ignore_index=True)

    def chart(self, table: pd.DataFrame, title: str) -> Figure:
        """See :class:`Look`."""
        return map_summary(table, title)
