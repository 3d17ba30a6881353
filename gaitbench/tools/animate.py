"""``gaitbench animate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitbench.errors import InputError
from gaitbench.tools.datasets import DATASETS, command_parser, open_dataset

if TYPE_CHECKING:
    import pandas as pd

    from gaitbench.draw.canvas import Array
    from gaitbench.store import SequenceStore


def main(args: Sequence[str]) -> None:
    """Draw walks of a dataset as an animation."""
    parser = command_parser(
        "animate",
        "Draw walks of a dataset as an animated GIF: skeletons side by side, or of videos what "
        "networks see of the middle of each, gray values, optical flow and silhouette.",
    )
    parser.add_argument("--out", type=Path, required=True, help="the .gif to write")
    names = " or ".join(dataset.walk for dataset in DATASETS.values())
    parser.add_argument("--walks", nargs="+", required=True, help=f"such as {names}")
    parser.add_argument("--skeleton", help="draw in this layout, such as coco17")
    parser.add_argument("--fps", type=float, default=25, help="frames a second (default 25)")
    given, data = open_dataset(parser, args)
    if not 0 < given.fps <= 50:
        raise InputError(f"--fps is {given.fps:g}; give more than 0 and at most 50")
    import torch

    from gaitbench.draw import (
        FROM_CAMERA,
        FROM_SIDE,
        animate_films,
        animate_poses,
        seen_from,
    )
    from gaitbench.geometry import convert

    views = {"from the camera": FROM_CAMERA, "from the side": FROM_SIDE}
    spatial, pictured = data.frame_kind == "skeleton3d", data.frame_kind == "images"
    if pictured and given.skeleton:
        raise InputError(f"{given.dataset} has images and no skeletons; leave --skeleton out")

    store = data.open_store()
    table = store.sequences
    form = DATASETS[given.dataset].walk if given.dataset in DATASETS else "subject-condition-1-90"
    poses, titles, films = [], [], []
    for walk in given.walks:
        try:
            subject, condition, number, view = walk.rsplit("-", 3)
            chosen = (table["number"] == int(number)) & (table["view"] == int(view))
        except ValueError as error:
            raise InputError(f"walk {walk!r} is not of the form {form}") from error
        row = table[chosen & (table["subject"] == subject) & (table["condition"] == condition)]
        if not len(row):
            raise InputError(f"{given.path} has no walk {walk}; see `gaitbench report-data`")
        if pictured:
            films.append(_sample(store, row.iloc[0]))
            titles.append(walk)
            continue
        start, length = int(row["start"].iloc[0]), int(row["length"].iloc[0])
        pose = torch.tensor(store.frames[start : start + length])
        pose = convert(pose, data.native_layout, data.layout)
        if spatial:
            poses += [seen_from(pose, data.layout, degrees) for degrees in views.values()]
            titles += [f"{walk}\n{view}" for view in views]
        else:
            poses.append((pose * torch.tensor(_paper(data.units))).numpy())
            titles.append(walk)
    if pictured:
        animate_films(films, [given.out], titles, given.fps)
    else:
        animate_poses(
            poses, data.layout, given.out, titles, given.fps, follow=True, one_scale=spatial
        )
    print(f"written to {given.out}")


def _sample(store: "SequenceStore", walk: "pd.Series[Any]") -> "dict[str, Array]":
    """What networks see of the middle of a walk, as films by modality; silhouettes of all of it."""
    import numpy as np
    import torch

    from gaitbench.draw import as_colors
    from gaitbench.image_transforms import silhouette_values
    from gaitbench.video.crops import MIDDLE, WINDOW, cropped, flow_input, gray_input
    from gaitbench.video.frames import BOXES, FLOW, GRAY, SILHOUETTE

    start, length = int(walk["start"]), int(walk["length"])
    if BOXES not in store.arrays:
        stored = torch.tensor(store.frames[start : start + length])
        return {
            SILHOUETTE: as_colors(silhouette_values(stored[None, ..., None])[0].numpy(), SILHOUETTE)
        }
    start += max(0, length - WINDOW) // 2
    window = slice(start, start + min(WINDOW, length))
    box = torch.tensor(store.arrays[BOXES][window][min(MIDDLE, length - 1)][None])
    width = torch.tensor([int(walk["width"])])
    films = {}
    for name, input_of in ((GRAY, gray_input), (FLOW, flow_input)):
        if name in store.arrays:
            frames = cropped(torch.tensor(store.arrays[name][window][None]), box, width)
            films[name] = as_colors(input_of(frames)[0].numpy().astype(np.float64), name)
    if SILHOUETTE in store.arrays:
        stored = torch.tensor(store.arrays[SILHOUETTE][window])
        films[SILHOUETTE] = as_colors(
            silhouette_values(stored[None, ..., None])[0].numpy(), SILHOUETTE
        )
    return films


def _paper(units: str) -> tuple[float, float, float]:
    """Factors of x, y and confidence that make poses in a store's units fit for drawing."""
    # seen from the front, shoulders are about 0.77 of neck to pelvis apart (Drillis and Contini)
    wide = 0.77 if units.startswith("normalised") else 1.0
    return wide, -1.0 if "y up" in units else 1.0, 1.0
