"""Reading of a tree like OUMVLP-Pose: frames a second, fingerprint, opening of the store.

    python benchmarks/oumvlp_tree.py [--folder /tmp/tree] [--frames 40000] [--people 0.05]

A tree is written under the folder (a temporary one by default) and removed afterwards. Each
measurement runs in a fresh process, the ways to read in turns, with files that the system has
just read. "one" process is bound to one core. The fingerprint is taken of a tree of empty
sequence folders.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gaitbench.oumvlp import IMAGE, KEYPOINTS, NUMBERS, VIEWS

LENGTH = 25  # frames a sequence
POOL = 512  # different frames

READ = """
import json, os, sys, time
from pathlib import Path
root, cache, person, workers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
if workers == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from gaitbench.readers.oumvlp import oumvlp_fingerprint, read_oumvlp
from gaitbench.store import StoreInfo, cached_store
import pandas, pyarrow
def store():
    key = oumvlp_fingerprint(root, "openpose", person=person)
    build = lambda writer: read_oumvlp(root, "openpose", person, writer, cache / ".parts")
    info = StoreInfo("oumvlp", "pose", "openpose18", "pixels, confidence")
    return cached_store(cache, "oumvlp", key, build, info)
times = []
for _ in range(2):
    start, cpu = time.perf_counter(), sum(os.times()[:4])  # children's time, too
    frames = len(store().frames)
    times.append(time.perf_counter() - start)
    times.append(sum(os.times()[:4]) - cpu)
print(json.dumps([frames, *times]))
"""

FINGERPRINT = """
import sys, time
from pathlib import Path
from gaitbench.readers.oumvlp import oumvlp_fingerprint
start = time.perf_counter()
oumvlp_fingerprint(Path(sys.argv[1]), "openpose")
print(time.perf_counter() - start)
"""


def frame_texts(random: np.random.Generator, share: float) -> list[bytes]:
    """Files of frames; in a share of them two people are listed."""
    texts = []
    for _ in range(POOL):
        people = []
        for _ in range(1 + (random.random() < share)):
            points = random.random((18, 3)) * (*IMAGE, 1)
            points[random.random(18) < 0.03] = 0
            values = points.round(3).ravel().tolist()
            people.append({"person_id": [-1], "pose_keypoints_2d": values, "face_keypoints_2d": []})
        texts.append(json.dumps({"version": 1.2, "people": people}).encode())
    return texts


def write_folders(root: Path, sequences: int) -> list[Path]:
    """Empty sequence folders of as many subjects as need be, in order."""
    names = [f"{view:03d}_{number:02d}" for view in VIEWS for number in NUMBERS]
    folders = []
    for i in range(sequences):
        folder = root / KEYPOINTS[0] / f"{i // len(names) + 1:05d}" / names[i % len(names)]
        folder.mkdir(parents=True)
        folders.append(folder)
    return folders


def write_tree(root: Path, frames: int, share: float) -> None:
    """Write the tree with that number of frames."""
    texts = frame_texts(np.random.default_rng(0), share)
    folders = write_folders(root, -(-frames // LENGTH))
    for i in range(frames):
        file = folders[i // LENGTH] / f"{i % LENGTH + 17:04d}_keypoints.json"
        file.write_bytes(texts[i % POOL])


def child(code: str, *arguments: object) -> str:
    """What a fresh process prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def line(name: str, value: float, unit: str, **settings: object) -> None:
    """Print one measurement."""
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, "settings": settings}))


def measure(folder: Path, args: argparse.Namespace) -> None:
    """Write, read and print."""
    root, empty, cache = folder / "tree", folder / "empty", folder / "cache"
    start = time.perf_counter()
    write_tree(root, args.frames, args.people)
    line("write", args.frames / (time.perf_counter() - start), "frames/s", frames=args.frames)
    for _ in range(args.repeats):
        for person in ("first", "smoothest"):
            for workers in ("one", "all"):
                shutil.rmtree(cache, ignore_errors=True)
                out = child(READ, root, cache, person, workers)
                frames, read, cpu, opened, _ = json.loads(out)
                settings = {"workers": workers, "person": person, "people": args.people}
                settings["cpu_us"] = round(1e6 * cpu / frames, 1)  # a frame, over all processes
                line("read", frames / read, "frames/s", **settings)
        line("open", 1000 * opened, "ms", sequences=-(-args.frames // LENGTH))
    write_folders(empty, args.folders)
    for _ in range(args.repeats):
        line("fingerprint", float(child(FINGERPRINT, empty)), "s", sequences=args.folders)


def main() -> None:
    """Measure and print one line of JSON a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help="where the tree is written")
    parser.add_argument("--frames", type=int, default=40_000)
    parser.add_argument("--folders", type=int, default=20_000, help="for the fingerprint")
    parser.add_argument("--people", type=float, default=0.05, help="share of frames with two")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure(Path(folder), args)


if __name__ == "__main__":
    main()
