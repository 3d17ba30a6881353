"""Reading of a set like DenseGait: tracklets a second, peak memory, fingerprint, opening.

    python benchmarks/annotated.py [--folder /tmp/set] [--tracklets 20000] [--frames 60]

A set is written under the folder (a temporary one by default) and removed afterwards. Each
measurement runs in a fresh process, the ways to read in turns, with files that the system has
just read. "one" process is bound to one core. Peak memory is that of the process that joins the
parts, with what its imports take (``base_mb``), and of the largest worker. The time for all of
DenseGait is what the measured rate comes to; ``--tracklets 217954`` measures it, on 6 GB of disk.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gaitbench.densegait import ANNOTATIONS, attribute_names

POOL = 64  # different tracklets
PUBLISHED = 217_954  # tracklets of DenseGait

READ = """
import json, os, sys, time
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
if sys.argv[3] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from gaitbench.datamodules import DenseGait
import pandas, pyarrow
def peak(whose):
    return getrusage(whose).ru_maxrss / 1024
def ready():
    data = DenseGait(sys.argv[1], cache=sys.argv[2])
    start = time.perf_counter()
    data.open_store()
    opened = time.perf_counter()
    data.setup("fit")
    return [opened - start, time.perf_counter() - opened, peak(RUSAGE_SELF)]
base = peak(RUSAGE_SELF)
read, _, used = ready()
worker = peak(RUSAGE_CHILDREN)
opened, sorted_, _ = ready()
print(json.dumps([read, base, used, worker, opened, sorted_]))
"""


def write_set(root: Path, tracklets: int, frames: int) -> None:
    """Write the table and its files."""
    random = np.random.default_rng(0)
    poses = random.standard_normal((POOL, frames, 18, 3)).astype(np.float32)
    folder = Path(ANNOTATIONS).parent / "poses"
    (root / folder).mkdir(parents=True)
    with (root / ANNOTATIONS).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "track_id", *attribute_names()])
        for i in range(tracklets):
            name = folder / f"{i:06d}.npy"
            np.save(root / name, poses[i % POOL])
            rows.writerow([name, i, *random.random(len(attribute_names())).round(4)])


def line(name: str, value: float, unit: str, **settings: object) -> None:
    """Print one measurement."""
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, "settings": settings}))


def measure(folder: Path, args: argparse.Namespace) -> None:
    """Write, read and print."""
    root, cache = folder / "set", folder / "cache"
    start = time.perf_counter()
    write_set(root, args.tracklets, args.frames)
    what = {"tracklets": args.tracklets, "frames": args.frames}
    line("write", args.tracklets / (time.perf_counter() - start), "tracklets/s", **what)
    for _ in range(args.repeats):
        for workers in ("one", "all"):
            shutil.rmtree(cache, ignore_errors=True)
            command = [sys.executable, "-c", READ, str(root), str(cache), workers]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            read, base, used, worker, opened, sorted_ = json.loads(out)
            rate, how = args.tracklets / read, what | {"workers": workers}
            line("read", rate, "tracklets/s", **how, densegait_s=round(PUBLISHED / rate, 1))
            line("peak", used, "MB", **how, base_mb=round(base), worker_mb=round(worker))
        line("open", 1000 * opened, "ms", **what)
        line("setup", 1000 * sorted_, "ms", **what)


def main() -> None:
    """Measure and print one line of JSON a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help="where the set is written")
    parser.add_argument("--tracklets", type=int, default=20_000)
    parser.add_argument("--frames", type=int, default=60, help="of a tracklet")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure(Path(folder), args)


if __name__ == "__main__":
    main()
