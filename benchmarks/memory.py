"""Memory of what grows with a dataset, on stores of made-up poses in true shapes.

    python benchmarks/memory.py --folder /tmp/stores --size densegait
    python benchmarks/memory.py --folder /tmp/stores --size oumvlp
    python benchmarks/memory.py --epochs 50

A store of DenseGait's size (217,954 tracks of 48 to 400 frames, 130 in the middle, 18 joints, 42
attributes; 6 GB) or OUMVLP-Pose's (267,386 sequences of 18 to 32 frames; 1.4 GB) is written if the
folder lacks it; remove it afterwards. Each stage runs in a process of its own and prints one line
of JSON, in MB; ``most`` is the largest resident set. ``anonymous`` is what this process alone has,
``mapped`` are pages of files, which the system takes back when it needs room; both together are the
resident set. ``pss`` is the share of memory that a process answers for: pages that eight processes
share count an eighth in each. ``--epochs`` trains a tiny set for so many epochs and prints how the
memory grows.
"""

import argparse
import gc
import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"densegait": 217_954, "oumvlp": 267_386}
STAGES = ("build", "imports", "open", "setup", "epoch", "workers", "train", "predict", "retrieval")
WORKERS = 8
BATCHES = 40  # read before workers are counted
POSE = 18, 3
BLOCK = 1000  # sequences written at a time


def lengths_of(size: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Frames of each sequence."""
    random = np.random.default_rng(0)
    if size == "densegait":
        return random.normal(130, 60, SIZES[size]).clip(48, 400).astype(np.int64)
    return random.integers(18, 33, SIZES[size])


def write(folder: Path, size: str) -> Path:
    """The store of that size, written if it is not there."""
    import pandas as pd

    from gaitbench.densegait import attribute_names
    from gaitbench.store import StoreInfo, StoreWriter, store_at

    length = lengths_of(size)
    count = len(length)

    def build(writer: StoreWriter) -> None:
        random = np.random.default_rng(1)
        poses = random.random((BLOCK * int(length.max()), *POSE), dtype=np.float32)
        for first in range(0, count, BLOCK):
            writer.append(poses[: int(length[first : first + BLOCK].sum())])
        people = np.arange(count) if size == "densegait" else np.arange(count) // 26
        table = {
            "start": np.cumsum(length) - length,
            "length": length,
            "subject": people.astype(str),
            "condition": "walk" if size == "densegait" else "nm",
            "number": np.arange(count) % 26 // 13,
            "view": 15 * (np.arange(count) % 13),
        }
        if size == "densegait":
            table |= {name: random.random(count, np.float32) for name in attribute_names()}
        writer.finish(pd.DataFrame(table))

    info = StoreInfo("stored", "pose", "openpose18", "normalised, confidence")
    return store_at(folder / size, size, build, info).path


def data_of(path: Path, **settings: Any) -> Any:
    """A dataset that is a store and nothing else."""
    from gaitbench.datamodules.base import GaitDataModule, Split
    from gaitbench.store import SequenceStore

    class Stored(GaitDataModule):
        """See above."""

        dataset, reader_version, native_skeleton = "stored", 1, "openpose18"
        units = "normalised, confidence"

        def find_split(self, name: str) -> Split:
            people = tuple(dict.fromkeys(self.open_store().sequences["subject"]))
            return Split(people, people)

        def open_store(self) -> SequenceStore:
            if self.store is None:
                self.store = SequenceStore.open(path)
            return self.store

        def prepare_data(self) -> None:
            """There is nothing to build."""

    how = {"frames": 48, "crop": "tiled", "batch_size": 512, "eval_batch_size": 512, **settings}
    return Stored(str(path), "all", **how)


def usage(process: int | str = "self") -> dict[str, float]:
    """MB of a process."""
    found: dict[str, float] = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.replace(":", " ").split()
        found[name] = int(value) / 1024
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    kept = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in status if "kB" in line}
    return {
        "most": kept["VmHWM"],
        "resident": found["Rss"],
        "anonymous": kept["RssAnon"],
        "mapped": kept["RssFile"],
        "pss": found["Pss"],
    }


def build_stage(path: Path) -> dict[str, float]:
    """Frames written in blocks of a thousand sequences, and the table; nothing if it is there."""
    begin = time.perf_counter()
    write(path.parent, path.name)
    return {"s": time.perf_counter() - begin}


def open_stage(path: Path) -> dict[str, float]:
    """Time until the store is open, and what it adds."""
    import pandas as pd
    import pyarrow.ipc  # noqa: F401  # what opening imports is no part of it

    from gaitbench.store import SequenceStore

    pd.DataFrame({"subject": ["1"]})
    before, times = usage(), []
    for _ in range(5):
        begin = time.perf_counter()
        store = SequenceStore.open(path)
        times.append(1e3 * (time.perf_counter() - begin))
    added = {f"added_{name}": value - before[name] for name, value in usage().items()}
    return {"ms": float(np.median(times)), "ms_first": times[0], "sequences": len(store), **added}


def setup_stage(path: Path) -> dict[str, float]:
    """Split, rows, labels."""
    data = data_of(path)
    begin = time.perf_counter()
    data.setup("fit")
    return {"s": time.perf_counter() - begin}


def epoch_stage(path: Path) -> dict[str, float]:
    """All training windows once, read in this process."""
    data = data_of(path)
    data.setup("fit")
    begin, batches = time.perf_counter(), 0
    for _ in data.train_dataloader():
        batches += 1
    return {"s": time.perf_counter() - begin, "batches": batches}


def workers_stage(path: Path) -> dict[str, float]:
    """What eight processes that read ahead add to one that has read all frames.

    Of what they add, ``own`` is theirs alone (what they changed of what they inherited, and their
    stacks) and ``waiting`` the batches in shared memory that they have read ahead.
    """
    data = data_of(path, num_workers=WORKERS)
    data.setup("fit")
    for array in data.open_store().arrays.values():
        for first in range(0, len(array), 1 << 20):
            array[first : first + (1 << 20)].max()  # mapped here, whoever reads them later
    gc.collect()
    before = parts_of("self")
    loader = iter(data.train_dataloader())
    for _ in range(BATCHES):
        next(loader)
    workers = (worker.pid for worker in multiprocessing.active_children() if worker.pid)
    found = [parts_of(process) for process in ("self", *workers)]
    after = {name: sum(part[name] for part in found) for name in before}
    added = {name: after[name] - before[name] for name in before}
    return {
        "alone": before["Pss"],
        "with_workers": after["Pss"],
        "added_percent": 100 * added["Pss"] / before["Pss"],
        "own": added["Pss_Anon"],
        "waiting": added["Pss_Shmem"],
        "files": added["Pss_File"],
    }


def train_stage(path: Path) -> dict[str, float]:
    """Three steps of GaitFormer in its published size, 512 windows each, by pairs of windows."""
    import pytorch_lightning as pl

    from gaitbench.methods import GaitFormer

    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        max_steps=3,
        limit_val_batches=0,
    )
    data = data_of(path, batch_size=256, train_windows=2)
    trainer.fit(GaitFormer(attributes=(), contrast="simclr"), datamodule=data)
    return {}


def retrieval_stage(path: Path) -> dict[str, float]:
    """The second half of the people: one walk is the gallery, view by view, one are the probes."""
    from gaitbench.protocols import Protocol, evaluate
    from gaitbench.store import SequenceStore

    table = SequenceStore.open(path).sequences
    table = table.iloc[len(table) // 2 :].reset_index(drop=True)
    walks: dict[str, Any] = {"gallery": {"number": (0,)}, "probes": {"01": {"number": (1,)}}}
    how: dict[str, Any] = {"gallery_views": "each", "exclude_same_view": False, **walks}
    protocol = Protocol(id="x", description="x", unmatched="wrong", **how)
    values = np.random.default_rng(0).standard_normal((len(table), 256), dtype=np.float32)
    begin = time.perf_counter()
    evaluate(values, table, protocol, verification=False, bootstrap=0)
    return {"embeddings": len(table), "s": time.perf_counter() - begin}


def parts_of(process: int | str) -> dict[str, float]:
    """Share of memory that a process answers for, in MB: all, and its parts."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    values = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return {name: value for name, value in values.items() if name.startswith("Pss")}


def predict_stage(path: Path) -> dict[str, float]:
    """Embeddings of all sequences, of a network that does nothing, to a file."""
    import tempfile

    import pytorch_lightning as pl
    from torch import Tensor

    from gaitbench.callbacks import PredictionWriter
    from gaitbench.methods import GaitMethod

    class Idle(GaitMethod):
        """Takes values of a window for its embedding."""

        def forward(self, frames: Tensor) -> Tensor:
            return frames.flatten(1)[:, :256]

    method = Idle("openpose18", 0, 0.0, 0.0, "adamw", False)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        trainer = pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            callbacks=[PredictionWriter(folder)],
        )
        trainer.predict(method, datamodule=data_of(path), return_predictions=False)
    return {}


def growth(epochs: int, folder: Path) -> None:
    """Memory after each tenth of a training of a tiny set."""
    import pytorch_lightning as pl

    from gaitbench.cli import Built, command_line
    from gaitbench.synthetic import synthesize_casia_b

    walks = synthesize_casia_b(folder, 4, 0, sequences={"nm": (1, 2)}, views=(0, 90))
    config = Path(__file__).parents[1] / "configs" / "gaitgraph2" / "casia_b.yaml"
    settings = {
        "data.path": walks,
        "data.cache": folder / "cache",
        "data.frames": 16,
        "data.batch_size": 8,
        "trainer.max_epochs": epochs,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": folder,
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
    }
    run = command_line(
        Built, ["fit", f"--config={config}", *(f"--{k}={v}" for k, v in settings.items())]
    )

    class Watch(pl.Callback):
        """Prints memory."""

        def on_train_epoch_end(self, trainer: pl.Trainer, method: pl.LightningModule) -> None:
            if trainer.current_epoch % max(1, epochs // 10) == max(1, epochs // 10) - 1:
                print(json.dumps({"epoch": trainer.current_epoch + 1, **rounded(usage())}))

    run.trainer.callbacks.append(Watch())  # type: ignore[attr-defined]
    run.trainer.fit(run.model, datamodule=run.datamodule)


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Figures with as many digits as they deserve."""
    return {name: round(value, 1) for name, value in figures.items()}


def main() -> None:
    """Run all stages, each in a process of its own, or one of them here."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("data/benchmark"))
    parser.add_argument("--size", choices=SIZES, default="densegait")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--epochs", type=int, help="growth over so many epochs, and nothing else")
    args = parser.parse_args()
    if args.epochs:
        growth(args.epochs, args.folder)
        return
    if len(args.stages) > 1:
        args.folder.mkdir(parents=True, exist_ok=True)
        for stage in args.stages:
            if stage == "retrieval" and args.size == "densegait":  # everybody walks once
                continue
            words = ["--folder", args.folder, "--size", args.size, "--stages", stage]
            subprocess.run([sys.executable, __file__, *map(str, words)], check=True)
        return
    path, (stage,) = args.folder / args.size, args.stages
    stages = {
        "build": build_stage,
        "open": open_stage,
        "setup": setup_stage,
        "epoch": epoch_stage,
        "workers": workers_stage,
        "train": train_stage,
        "predict": predict_stage,
        "retrieval": retrieval_stage,
    }
    if stage not in ("build", "open"):
        from gaitbench import callbacks, datamodules  # noqa: F401  # not counted as the stage's
    figures = stages[stage](path) if stage in stages else {}
    line = {"size": args.size, "stage": stage, **rounded({**figures, **usage()})}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
