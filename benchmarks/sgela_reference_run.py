"""Does training SGE-LA from scratch reach what the authors' program reached?

    python benchmarks/sgela_reference_run.py SHARED/golden/sgela/e2e_synthetic.npz --out OUT
        [--attention basic] [--seeds 0 1]

The file holds eleven synthetic walkers (IAS-Lab's parts) and what the authors' program, unchanged
but for 40 epochs of encoding in place of 400, made of them: the loss of each axis, and rank-1 of
both test parts all along the recognition network's training. Here the same windows, in the layout
that the program reads, go through ``gaitbench pipeline`` with its settings and whole batches alone.
Random numbers differ, so figures agree within a few points. The program's loss is that of one batch
after the epoch, ours the mean over the epoch. Some four minutes a run on two cores; a second start
goes on where the first one stopped.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gaitbench.__main__ import run as gaitbench

CONFIGS = Path(__file__).parent.parent / "configs" / "sgela"
SIZE, STRIDE, BATCH = 6, 3, 128
PARTS = {"train": "train_mm", "IAS-A": "testA_mm", "IAS-B": "testB_mm"}
RUNS = {"locality": "LA", "basic": "BA"}
PROTOCOL = "encodings.closed_set_reference"
SHOWN = 1, 5, 10, 20, 40
"""Epochs whose loss is told."""
LAST_TESTS, LAST_EPOCHS = 50, 38
"""The program tests every 50 steps, we after every epoch of 66."""


def write_windows(content: dict[str, NDArray[np.int16]], folder: Path) -> None:
    """The windows as the authors' program reads them, a file an axis, and whose they are."""
    for tag, key in PARTS.items():
        training = tag == "train"
        tracks = content[key].astype(np.float64) / 1000
        people, count, length = tracks.shape[:3]
        offsets, stride = (range(SIZE), STRIDE) if training else (range(1), SIZE)
        windows: list[NDArray[np.float64]] = []
        ids: dict[int, list[int]] = {person: [] for person in range(people)}
        for offset, person, track in product(offsets, range(people), range(count)):
            for start in range(offset, length - SIZE + 1, stride):
                ids[person].append(len(windows))
                windows.append(tracks[person, track, start : start + SIZE])
        name, prefix = ("IAS", "") if training else (tag, "t_")
        part = folder / f"IAS_{'train' if training else 'test'}_npy_data"
        part.mkdir(parents=True, exist_ok=True)
        for axis, values in zip("xyz", np.moveaxis(np.array(windows), -1, 0), strict=True):
            np.save(part / f"{prefix}source_{axis}_{name}_{SIZE}.npy", values.reshape(-1, 20))
        np.save(part / f"ids_{name}_{SIZE}.npy", np.array(ids, object), allow_pickle=True)


def write_pipeline(folder: Path) -> Path:
    """All stages with the authors' settings."""
    encode = str(CONFIGS / "ias.yaml")
    recognise = [str(CONFIGS / f"recognise{name}.yaml") for name in ("", "_as_published")]
    stages = {
        "encode": {"run": "fit", "config": encode},
        "extract": {
            "run": "predict",
            "config": encode,
            "set": {"data.predict": "all"},
            "from": {"ckpt_path": "encode"},
        },
        "recognise": {"run": "fit", "config": recognise, "from": {"data.path": "extract"}},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return path


def scalars(run: Path, name: str) -> NDArray[np.float64]:
    """What TensorBoard has of a run by that name, step by step."""
    board = EventAccumulator(str(run), size_guidance={"scalars": 0})
    board.Reload()
    return np.array([event.value for event in board.Scalars(name)])


def tell(run: str, losses: Sequence[NDArray[np.float64]], curve: NDArray[np.float64]) -> None:
    """A line of figures: losses of a batch (x, y, z) and the mean of rank-1 curves (n, A and B)."""
    shown = {
        axis: [round(float(loss[epoch - 1]), 2) for epoch in SHOWN]
        for axis, loss in zip("xyz", losses, strict=True)
    }
    rank1 = dict(zip("AB", curve.mean(0).round(4).tolist(), strict=True))
    print(json.dumps({"run": run, "epochs": SHOWN, "loss": shown, "rank1": rank1}), flush=True)


def main() -> None:
    """Train, and print beside the program's figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--attention", choices=RUNS, default="locality")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    with np.load(args.file, allow_pickle=False) as content:
        found = dict(content)
    data, short = args.out / "npy", RUNS[args.attention]
    if not data.exists():
        write_windows(found, data)
    pipeline = write_pipeline(args.out)
    for seed in args.seeds:
        out = args.out / f"{short}_{seed}"
        words = [f"--seed_everything={seed}", "--recognise.trainer.max_epochs=300"]
        settings = {
            "data.path": data,
            "data.cache": args.out / "cache",
            "model.attention": args.attention,
        }
        words += [f"--encode,extract.{name}={value}" for name, value in settings.items()]
        words.append("--encode.trainer.max_epochs=40")
        if status := gaitbench(["pipeline", str(pipeline), "--out", str(out), *words]):
            raise SystemExit(status)
    for run in sorted(key.split("/")[1] for key in found if key.endswith("/rank1")):
        if run.startswith(short):
            losses = [found[f"ref/{run}/val_{axis}"] for axis in "xyz"]
            tell(f"program, {run}", losses, found[f"ref/{run}/rn_test_curve"][-LAST_TESTS:])
    for seed in args.seeds:
        out = args.out / f"{short}_{seed}"
        names = [f"train/reconstruction_{axis}_epoch" for axis in "xyz"]
        losses = [BATCH * scalars(out / "encode", name) for name in names]
        curve = [scalars(out / "recognise", f"val/{PROTOCOL}/{part}/rank1") for part in "AB"]
        tell(f"gaitbench, {short}_{seed}", losses, np.stack(curve, 1)[-LAST_EPOCHS:])


if __name__ == "__main__":
    main()
