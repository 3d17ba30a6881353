"""Error of optical flow on rendered walkers, whose exact flow is known.

    gaitbench synthesize casia-b-video rendered --subjects 10 --flow 10
    python benchmarks/flow.py rendered/DatasetB [--flow dis farneback]

Takes what `synthesize casia-b-video` or `tum-gaid` has written with the exact flow of some walks.
Prints a line of JSON a method: the mean length, in pixels of the video, of the difference between
estimated and exact flow (end-point error), inside the body, where what is seen of it is seen in
the next frame too, and on the background; the mean of what moves inside the body; and the largest
mean of one walk. Pixels of all walks count alike.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitbench.video.decode import Video
from gaitbench.video.flow import FlowMethod, flow_method


def video_of(tree: Path, name: str) -> Path:
    """The video of a walk with exact flow: a file of CASIA-B's, a folder of TUM-GAID's."""
    file = tree / "video" / f"{name}.avi"
    return file if file.is_file() else tree / "image" / Path(*name.split("-"))


def sums(tree: Path, method: FlowMethod) -> Iterator[NDArray[np.float64]]:
    """Of each walk the sums of errors and sizes, and of how many pixels they are, (2, 4)."""
    for path in sorted((tree / "flow").glob("*.npz")):
        with np.load(path, allow_pickle=False) as exact:
            moved, body, hidden = (exact[k] for k in ("displacement", "solid", "occluded"))
        total = np.zeros((2, 4))
        frames = pairwise(Video(video_of(tree, path.stem)).frames())
        for pair, true, inside, lost in zip(frames, moved, body, hidden, strict=True):
            error = np.linalg.norm(method(*pair) - true, axis=-1)
            size = np.linalg.norm(true, axis=-1)
            wheres = ((error, inside), (error, inside & ~lost), (error, ~inside), (size, inside))
            total += np.array([(values[where].sum(), where.sum()) for values, where in wheres]).T
        yield total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--flow", nargs="+", default=["dis"], choices=["dis", "farneback"])
    args = parser.parse_args()
    for name in args.flow:
        walks = np.stack([*sums(args.tree, flow_method(name))])
        values, counts = walks.sum(axis=0)
        figures = dict(zip(("inside", "visible", "behind", "moved"), values / counts, strict=True))
        figures["largest"] = (walks[:, 0, 0] / walks[:, 1, 0]).max()
        rounded = {figure: round(float(value), 3) for figure, value in figures.items()}
        print(json.dumps({"flow": name, "walks": len(walks), **rounded}))


if __name__ == "__main__":
    main()
