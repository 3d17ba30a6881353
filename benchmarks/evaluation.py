"""Speed of judging embeddings, on made-up people; one line of JSON a measurement.

    python benchmarks/evaluation.py --size casia_b
    python benchmarks/evaluation.py --size large --parts retrieval verification bootstrap

``casia_b`` is the test set of CASIA-B, 50 subjects x 10 walks x 11 views, 384 numbers each, by
``casia_b.cross_view``. ``large`` has 5,000 subjects x 2 walks x 14 views less one recording in 14,
130,000 embeddings: one walk is gallery, one view at a time, the other is probe, identical views in.
An embedding is the subject's centre plus noise, so that ranks are neither all right nor all wrong.
Beside the time on the clock stands the processor time of all threads, which other programs disturb
less.
"""

import argparse
import json
import resource
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import torch

from gaitbench.datamodules.casia_b import CROSS_VIEW
from gaitbench.memory import keep_pages
from gaitbench.protocols import Protocol, evaluate

LARGE = Protocol(
    id="benchmark.large",
    description="Gallery walk 0, one view at a time; probes walk 1; identical views in.",
    gallery={"number": (0,)},
    probes={"01": {"number": (1,)}},
    gallery_views="each",
    exclude_same_view=False,
    unmatched="wrong",
)
PARTS: dict[str, dict[str, Any]] = {
    "retrieval": {"verification": False, "bootstrap": 0},
    "verification": {"verification": True, "bootstrap": 0},
    "bootstrap": {"verification": False, "bootstrap": 1000},
    "all": {"verification": True, "bootstrap": 1000},
}


def casia_b() -> pd.DataFrame:
    """Sequences of the test split as published."""
    walks = [("nm", n) for n in range(1, 7)] + [(c, n) for c in ("bg", "cl") for n in (1, 2)]
    rows = [
        (f"{subject:03d}", condition, number, view)
        for subject in range(75, 125)
        for condition, number in walks
        for view in range(0, 181, 18)
    ]
    return pd.DataFrame(rows, columns=["subject", "condition", "number", "view"])


def large(subjects: int) -> pd.DataFrame:
    """Two walks of each subject before 14 cameras, one recording in 14 missing."""
    index = pd.MultiIndex.from_product([range(subjects), ["nm"], range(2), range(0, 210, 15)])
    table = index.to_frame(index=False, name=["subject", "condition", "number", "view"])
    table["subject"] = table["subject"].map("{:05d}".format)
    return table.sample(frac=13 / 14, random_state=0).sort_index(ignore_index=True)


def main() -> None:
    """Measure each part as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=("casia_b", "large"), default="casia_b")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["retrieval", "all"])
    parser.add_argument("--subjects", type=int, default=5000, help="of the large set")
    parser.add_argument("--noise", type=float, help="standard deviation beside centres of 1")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_pages()  # as the command line does

    table = casia_b() if given.size == "casia_b" else large(given.subjects)
    noise = given.noise or {"casia_b": 3.5, "large": 2.0}[given.size]
    codes, people = pd.factorize(table["subject"])
    rng = np.random.default_rng(0)
    embeddings = noise * rng.standard_normal((len(table), given.dim), dtype=np.float32)
    embeddings += rng.standard_normal((len(people), given.dim), dtype=np.float32)[codes]
    protocol = CROSS_VIEW if given.size == "casia_b" else LARGE
    for part in given.parts:
        for _ in range(given.repeats):
            start, work = time.perf_counter(), time.process_time()
            result = evaluate(embeddings, table, protocol, device=given.device, **PARTS[part])
            seconds = time.perf_counter() - start
            work = time.process_time() - work
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            line = {
                "name": f"evaluation/{given.size}/{part}",
                "value": round(seconds, 3),
                "unit": "s",
                "processor_seconds": round(work, 3),
                "settings": {
                    "embeddings": len(table),
                    "dim": given.dim,
                    "subjects": len(people),
                    "noise": noise,
                    "rank1": round(float(next(iter(result.metrics.values()))["rank1"]), 4),  # type: ignore[arg-type]
                    "threads": given.threads,
                    "device": given.device,
                },
                "peak_memory_mb": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
