"""Windows a second out of the store, and through the training transforms and streams.

    python benchmarks/loader.py

Makes a store of 8,140 random walks of 50 to 110 frames (the training half of CASIA-B) in a
temporary folder, then times windows of 60 frames: the loader with 0 and 2 workers,
transforms and streams on one core, and all of it together. The authors' code does about 485
windows a second on a core.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gaitbench import memory
from gaitbench.datamodules import CasiaB
from gaitbench.geometry import joint_velocity_bone_streams
from gaitbench.store import StoreWriter


class RandomWalks(CasiaB):
    """CASIA-B's shape, filled with noise."""

    def sources(self) -> list[Path]:
        """A file, for the fingerprint."""
        return [self.path]

    def read(self, writer: StoreWriter) -> None:
        """Write noise."""
        random = np.random.default_rng(0)
        sequences = 74 * 110
        length = random.integers(50, 111, sequences)
        for count in length:
            writer.append(random.random((count, 17, 3), dtype=np.float32) * 200)
        subject = np.repeat([f"{s:03d}" for s in range(1, 75)], 110)
        number = np.tile(np.repeat(np.arange(1, 11), 11), 74)
        writer.finish(
            pd.DataFrame(
                {
                    "start": np.cumsum(length) - length,
                    "length": length,
                    "subject": subject,
                    "condition": "nm",
                    "number": number,
                    "view": np.tile(np.arange(0, 181, 18), 740),
                }
            )
        )


def seconds(run: Callable[[], int], least: float = 2.0) -> tuple[int, float]:
    """Windows and seconds of as many runs as take ``least`` seconds, after one to warm up."""
    run()
    windows, start = 0, time.perf_counter()
    while time.perf_counter() - start < least:
        windows += run()
    return windows, time.perf_counter() - start


def say(name: str, windows: int, took: float, **settings: int) -> None:
    """Print one line of JSON."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figure = {"name": name, "value": round(windows / took), "unit": "windows/s", **settings}
    print(json.dumps({**figure, "peak_mb": peak}), flush=True)


def ready(frames: torch.Tensor, seed: int, data: CasiaB) -> int:
    """Augment a batch and derive its streams: all that stands before the network."""
    pose = data.augmentation(frames, data.layout, torch.Generator().manual_seed(seed))
    joint_velocity_bone_streams(pose, data.layout)
    return len(frames)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 768])
    given = parser.parse_args()
    memory.keep_pages()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_text("noise")
        for batch in given.batch:
            measure(source, batch)


def measure(source: Path, batch: int) -> None:
    """All figures for one size of batch."""
    for workers in (0, 2):
        data = RandomWalks(str(source), cache=source.parent, batch_size=batch, num_workers=workers)
        data.setup("fit")
        loader = data.train_dataloader()
        took = seconds(lambda loader=loader: sum(len(b.row) for b in loader))
        say("loader", *took, batch=batch, workers=workers)
    frames = torch.rand(batch, 60, 17, 3) * 200
    say("transforms and streams", *seconds(lambda: ready(frames, 0, data)), batch=batch, threads=1)
    data = RandomWalks(str(source), cache=source.parent, batch_size=batch)
    data.setup("fit")
    loader = data.train_dataloader()
    took = seconds(lambda: sum(ready(item.frames, item.seed, data) for item in loader))
    say("windows ready for the network", *took, batch=batch, workers=0, threads=1)


if __name__ == "__main__":
    main()
