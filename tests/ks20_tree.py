"""KS20 in small, in the text that is read of it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gaitbench.kinect import KS20_VIEWS


def write_ks20(
    root: Path,
    people: Iterable[int] = (7, 12),
    takes: Iterable[int] = (1, 2, 3),
    frames: int = 14,
    views: Iterable[str] = KS20_VIEWS,
) -> dict[tuple[str, int, int], np.ndarray]:
    """Write takes of invented joints; (view, take, person) -> joints (T, 25, 3) of each."""
    random, found = np.random.default_rng(0), {}
    for view in views:
        folder = root / view
        folder.mkdir(parents=True)
        for take in takes:
            for person in people:
                poses = random.normal((0, 0, 3), 0.3, (frames, 25, 3)).round(4)
                found[view, take, person] = poses
                for number, pose in enumerate(poses):
                    lines = (f"1,{x:.4f},{y:.4f},{z:.4f},2\n" for x, y, z in pose)
                    # not in the order of their names
                    name = f"gc{take}_body{person}_{33 * number}_skeleton.txt"
                    (folder / name).write_text("".join(lines))
    return found
