"""Extraction of people from one video: frames a second, and a sheet to look at.

    python benchmarks/extraction.py VIDEO [--modality gray,flow,silhouette] [--flow dis]
        [--sheet FILE.png --track 1 --credit TEXT]

Prints one JSON line. ``fps`` counts all frames of the video by the clock, ``cpu_fps`` by the
process's time on its cores, which other programs disturb less. The sheet shows the person of one
track in frames of a walk, cut out as networks see them.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaitbench.draw import save_figure
from gaitbench.draw.samples import draw_samples
from gaitbench.parts import Part
from gaitbench.video.crops import cropped, flow_input
from gaitbench.video.decode import Video
from gaitbench.video.extraction import Extraction, Source, read_video
from gaitbench.video.frames import FLOW_STEPS, WIDTH

SHOWN, APART = 8, 2  # pictures of the sheet, and frames from one to the next
MARGIN = 10  # columns of a silhouette that networks do not see, on either side


def sheet(part: Part, track: int, credit: str, path: Path) -> None:
    """Draw the frames of a track in which its person moves most."""
    assert isinstance(part.frames, dict)
    length = part.sequences["length"]
    rows = slice(length[: track - 1].sum(), length[:track].sum())
    own: dict[str, NDArray[Any]] = {name: array[rows] for name, array in part.frames.items()}
    boxes = own["boxes"].astype(float)
    scale = WIDTH / part.sequences["width"][track - 1]
    columns = np.arange(WIDTH)
    inside = (columns >= scale * boxes[:, :1]) & (columns < scale * boxes[:, 2:3])
    speed = (np.abs(own["flow"]).sum(axis=-1) * inside[:, None]).mean(axis=(1, 2)) / FLOW_STEPS
    spell = np.convolve(speed, np.ones(SHOWN * APART), "valid")
    chosen = int(spell.argmax()) + APART * np.arange(SHOWN)
    middle = torch.from_numpy(own["boxes"][chosen[SHOWN // 2]])[None]
    width = torch.from_numpy(part.sequences["width"][track - 1 : track].astype(np.int64))
    windows = {
        name: cropped(torch.from_numpy(own[name][chosen])[None], middle, width)[0]
        for name in ("gray", "flow")
    }
    titles = [f"frame {part.sequences['first_frame'][track - 1] + frame}" for frame in chosen]
    figure = draw_samples(
        windows["gray"].numpy(),
        flow_input(windows["flow"]).double().numpy(),
        own["silhouette"][chosen][..., MARGIN:-MARGIN],
        titles,
        credit,
    )
    save_figure(figure, path)


def main() -> None:
    """Read the video once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--modality", default="gray,flow,silhouette")
    parser.add_argument("--flow", default="dis")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--track", type=int, default=1)
    parser.add_argument("--credit", default="")
    given = parser.parse_args()
    options = Extraction(tuple(given.modality.split(",")), given.flow, given.weights)
    video = Video(given.video)
    frames = sum(1 for _ in video.frames())
    wall, cpu = time.perf_counter(), time.process_time()
    part = read_video(Source(given.video, given.video.stem), options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        json.dumps(
            {
                "video": given.video.name,
                "size": f"{video.width}x{video.height}",
                "frames": frames,
                "people": len(part.sequences["length"]),
                "stored": int(part.sequences["length"].sum()),
                "modality": given.modality,
                "flow": given.flow,
                "fps": round(frames / wall, 1),
                "cpu_fps": round(frames / cpu, 1),
            }
        )
    )
    if given.sheet:
        sheet(part, given.track, given.credit, given.sheet)


if __name__ == "__main__":
    main()
