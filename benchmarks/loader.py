"""Windows a second out of the store, and through all that a network's input passes in training.

    python benchmarks/loader.py [--family gaitgraph | gaitformer]

The family ``gaitgraph`` makes a store of 8,140 random walks of 50 to 110 frames (the training half
of CASIA-B) in a temporary folder, then times windows of 60 frames: the loader with 0 and 2 workers,
transforms and streams on one core, and all of it together. The authors' code does about 485
windows a second on a core.

The family ``gaitformer`` reads 3,000 random tracks like DenseGait's, of 48 to 400 frames with 42
attributes, then times windows of 48 frames, two of each track and 256 a batch: crop, pace,
direction, squeeze and noise as published, and with the intended changes. The authors' code does
1,271 windows a second on two cores.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from gaitbench import memory
from gaitbench.datamodules import CasiaB, DenseGait
from gaitbench.densegait import ANNOTATIONS, attribute_names
from gaitbench.geometry import joint_velocity_bone_streams
from gaitbench.store import StoreWriter
from gaitbench.synthetic.annotated import write_annotated
from gaitbench.transforms import PoseAugmentation

PUBLISHED = PoseAugmentation(
    pace="reference",
    squeeze=0.1,
    squeeze_flip=0.5,
    swap_sides=0.0,
    noise="gaussian",
    joint_noise=0.0005,
    point_noise=0.0005,
    clamp_confidence=False,
    move=(0.0, 0.0),
)
"""GaitFormer's, as its program applies it to DenseGait."""
INTENDED = replace(PUBLISHED, pace="interpolated", squeeze_axis="x", permutation=0.5)


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


def seconds(run: Callable[[], int], least: float = 2.0) -> tuple[int, float, float]:
    """Windows of as many runs as take ``least`` seconds, after one to warm up.

    Returns:
        Windows, seconds, and seconds of the processor in this process, which others hardly touch.
    """
    run()
    windows, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < least:
        windows += run()
    return windows, time.perf_counter() - start, time.process_time() - cpu


def say(name: str, windows: int, took: float, cpu: float, **settings: object) -> None:
    """Print one line of JSON."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figure = {"name": name, "value": round(windows / took), "unit": "windows/s", **settings}
    print(json.dumps({**figure, "by_cpu_s": round(windows / cpu), "peak_mb": peak}), flush=True)


def ready(frames: torch.Tensor, seed: int, data: CasiaB) -> int:
    """Augment a batch and derive its streams: all that stands before the network."""
    pose = data.augmentation(frames, data.layout, torch.Generator().manual_seed(seed))
    joint_velocity_bone_streams(pose, data.layout)
    return len(frames)


def tracks() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Rows and poses of 3,000 tracks."""
    random = np.random.default_rng(0)
    names = attribute_names()
    for track in range(3000):
        row = {"file_name": f"data-2.02/poses/{track}.npy", "track_id": track}
        length = int(np.clip(random.normal(130, 60), 48, 400))
        attributes = dict(zip(names, random.random(len(names)).round(4), strict=True))
        yield row | attributes, random.standard_normal((length, 18, 3), dtype=np.float32)


def measure_gaitformer(folder: Path) -> None:
    """All figures of GaitFormer's input: batches of 128 tracks, two windows of each."""
    write_annotated(folder, ANNOTATIONS, tracks())
    settings: dict[str, Any] = {
        "cache": str(folder / "cache"),
        "crop": "tiled",
        "batches": "independent",
        "batch_size": 128,
        "train_windows": 2,
    }
    for workers in (0, 2):
        data = DenseGait(str(folder), **settings, augmentation=PUBLISHED, num_workers=workers)
        data.setup("fit")
        loader = data.train_dataloader()
        took = seconds(lambda loader=loader: sum(len(batch.row) for batch in loader))
        say("loader", *took, batch=256, workers=workers)
    for name, augmentation in (("published", PUBLISHED), ("intended", INTENDED)):
        data = DenseGait(str(folder), **settings, augmentation=augmentation)
        data.setup("fit")
        data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
        loader = data.train_dataloader()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            took = seconds(
                lambda data=data, loader=loader: sum(
                    len(data.on_after_batch_transfer(batch, 0).frames) for batch in loader
                )
            )
            say(
                "windows ready for the network",
                *took,
                batch=256,
                threads=threads,
                augmentation=name,
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=("gaitgraph", "gaitformer"), default="gaitgraph")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 768], help="of gaitgraph")
    given = parser.parse_args()
    memory.keep_pages()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if given.family == "gaitformer":
            measure_gaitformer(Path(folder))
            return
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
