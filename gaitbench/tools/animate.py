"""``gaitbench animate``."""

from collections.abc import Sequence
from pathlib import Path

from gaitbench.errors import InputError
from gaitbench.tools.datasets import DATASETS, command_parser, open_dataset


def main(args: Sequence[str]) -> None:
    """Draw walks of a dataset as an animation."""
    parser = command_parser("animate", "Draw walks of a dataset, side by side, as an animated GIF.")
    parser.add_argument("--out", type=Path, required=True, help="the .gif to write")
    names = " or ".join(dataset.walk for dataset in DATASETS.values())
    parser.add_argument("--walks", nargs="+", required=True, help=f"such as {names}")
    parser.add_argument("--skeleton", help="draw in this layout, such as coco17")
    given, data = open_dataset(parser, args)
    if data.frame_kind != "pose":
        raise InputError(
            f"{given.dataset} holds 3D skeletons, which are not drawn yet; name one of 2D poses"
        )
    import torch

    from gaitbench.draw import animate_poses
    from gaitbench.geometry import convert

    store = data.open_store()
    table = store.sequences
    form = DATASETS[given.dataset].walk
    poses = []
    for walk in given.walks:
        try:
            subject, condition, number, view = walk.split("-")
            chosen = (table["number"] == int(number)) & (table["view"] == int(view))
        except ValueError as error:
            raise InputError(f"walk {walk!r} is not of the form {form}") from error
        row = table[chosen & (table["subject"] == subject) & (table["condition"] == condition)]
        if not len(row):
            raise InputError(f"{given.path} has no walk {walk}; see `gaitbench report-data`")
        start, length = int(row["start"].iloc[0]), int(row["length"].iloc[0])
        pose = torch.tensor(store.frames[start : start + length])
        pose = convert(pose, data.native_layout, data.layout)
        poses.append((pose * torch.tensor(_paper(data.units))).numpy())
    animate_poses(poses, data.layout, given.out, given.walks, follow=True)
    print(f"written to {given.out}")


def _paper(units: str) -> tuple[float, float, float]:
    """Factors of x, y and confidence that make poses in a store's units fit for drawing."""
    # seen from the front, shoulders are about 0.77 of neck to pelvis apart (Drillis and Contini)
    wide = 0.77 if units.startswith("normalised") else 1.0
    return wide, -1.0 if "y up" in units else 1.0, 1.0
