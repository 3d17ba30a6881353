"""Build and opening of a CASIA-B-sized store: seconds, sequences a second, peak memory.

    python benchmarks/store.py --folder /tmp/casia_b_sized [--sequences 13640] [--keep]

The table of poses (433 MB at full size) is written once under the folder and removed afterwards
unless ``--keep`` is given. Building and opening run in a fresh process each.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitbench.casia_b import COLUMNS, NUMBERS, VIEWS

CONDITIONS = [(condition, n) for condition in sorted(NUMBERS) for n in NUMBERS[condition]]
JOINTS = len(COLUMNS) // 3
PER_SUBJECT = len(CONDITIONS) * len(VIEWS)


def digits(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Decimal digits of whole numbers, most significant first, (..., width)."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (values[..., None] // powers % 10 + ord("0")).astype(np.uint8)


def write_csv(path: Path, sequences: int, seed: int = 0) -> int:
    """Write a table of random poses in the released format; every row has the same width.

    Returns:
        The number of rows: 50 to 108 a sequence, 79 on average, as in the released recordings.
    """
    generator = np.random.default_rng(seed)
    rows = 0
    with path.open("wb") as file:
        file.write((",".join(COLUMNS) + "\n").encode())
        for row in range(sequences):
            condition, number = CONDITIONS[row % PER_SUBJECT // len(VIEWS)]
            folder = (
                f"./{row // PER_SUBJECT + 1:03d}-{condition}-{number:02d}"
                f"-{VIEWS[row % len(VIEWS)]:03d}/"
            )
            length = int(generator.integers(50, 109))
            name = np.frombuffer(f"{folder}000000.jpg,".encode(), np.uint8)
            names = np.tile(name, (length, 1))
            names[:, len(folder) : len(folder) + 6] = digits(np.arange(1, length + 1), 6)
            point = np.frombuffer(b"000.000,000.000,0.000,", np.uint8)
            points = np.tile(point, (length, JOINTS, 1))
            pixels = generator.integers(100_000, 240_000, (length, JOINTS, 2))
            x, y = np.moveaxis(digits(pixels, 6), -2, 0)
            points[..., 0:3], points[..., 4:7] = x[..., :3], x[..., 3:]
            points[..., 8:11], points[..., 12:15] = y[..., :3], y[..., 3:]
            confidence = generator.integers(300, 1000, (length, JOINTS))
            points[..., 18:21] = digits(confidence, 3)
            lines = np.concatenate([names, points.reshape(length, -1)], axis=1)
            lines[:, -1] = ord("\n")
            file.write(lines.tobytes())
            rows += length
    return rows


CHILD = """
import json, resource, sys, time
from pathlib import Path
from gaitbench.readers.casia_b import casia_b_sources, read_casia_b
from gaitbench.store import StoreInfo, cached_store, fingerprint
import pandas, pyarrow, pyarrow.csv
path, cache = Path(sys.argv[1]), Path(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start, cpu = time.perf_counter(), time.process_time()
store = cached_store(
    cache, "casia_b", fingerprint(casia_b_sources(path)),
    lambda writer: read_casia_b(path, writer),
    StoreInfo("casia_b", "pose", "coco17", "pixels, confidence"),
)
took, cpu = time.perf_counter() - start, time.process_time() - cpu
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([took, cpu, len(store.sequences), len(store.frames), before, after]))
"""


def measure(csv: Path, cache: Path) -> tuple[float, float, int, int, float, float]:
    """Seconds, processor seconds, sequences, frames, MB before and at peak; a new process."""
    command = [sys.executable, "-c", CHILD, str(csv), str(cache)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took, cpu, sequences, frames, before, after = json.loads(out)
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return took, cpu, sequences, frames, before / unit, after / unit


def main() -> None:
    """Measure and print one line of JSON a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=13_640)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="leave the table where it is")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    csv, cache = args.folder / f"casia-b_{args.sequences}.csv", args.folder / "cache"
    try:
        if not csv.exists():
            start = time.perf_counter()
            write_csv(csv, args.sequences)
            print(json.dumps({"name": "write_csv", "value": time.perf_counter() - start}))
        for name in ("build", "open"):
            for _ in range(args.repeats):
                if name == "build":
                    shutil.rmtree(cache, ignore_errors=True)
                took, cpu, sequences, frames, before, after = measure(csv, cache)
                settings = {"sequences": sequences, "frames": frames, "bytes": csv.stat().st_size}
                line = {
                    "name": f"store_{name}",
                    "value": round(took if name == "build" else 1000 * took, 3),
                    "unit": "s" if name == "build" else "ms",
                    "cpu_s": round(cpu, 3),
                    "sequences_per_s": round(sequences / took),
                    "peak_mb": round(after),
                    "imports_mb": round(before),
                    "settings": settings,
                }
                print(json.dumps(line))
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        if not args.keep:
            csv.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
