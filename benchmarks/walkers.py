"""How hard are the synthesized walkers? Rank-1 of chance and of a nearest neighbour.

Usage: python benchmarks/walkers.py [--subjects 40] [--seed 0]

Synthesizes CASIA-B into a temporary folder and prints one line of JSON. The nearest neighbour
learns nothing of people: a sequence becomes the mean and standard deviation over its frames of
the joints' places, which are taken relative to the middle of the hips and in units of the
person's apparent height, standardised over the training subjects. Protocol: test subjects,
gallery nm 1-4 in one view, probes nm 5-6, bg, cl in another (identical views excluded), mean over
pairs of views.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gaitbench.synthetic import synthesize_casia_b

Array = NDArray[np.float64]


def sequences(path: Path) -> tuple[pd.DataFrame, Array]:
    """One row a sequence (subject, condition, number, view, start, length); frames (F, 17, 3)."""
    rows = pd.read_csv(path, engine="pyarrow")
    folder = rows["image_name"].str.split("/").str[1].to_numpy(dtype=str)
    start = np.flatnonzero(np.r_[True, folder[1:] != folder[:-1]])
    parts = pd.Series(folder[start]).str.split("-", expand=True)
    table = parts.set_axis(["subject", "condition", "number", "view"], axis=1)
    table = table.astype({"subject": int, "number": int, "view": int})
    table["start"], table["length"] = start, np.diff(np.r_[start, len(rows)])
    return table, rows.iloc[:, 1:].to_numpy(dtype=np.float64).reshape(-1, 17, 3)


def features(table: pd.DataFrame, frames: Array) -> Array:
    """Mean and standard deviation of the joints' places over each sequence, (N, 68)."""
    hips = frames[:, 11:13, :2].mean(axis=1, keepdims=True)
    height = frames[:, 15:17, 1].mean(axis=1) - frames[:, :5, 1].mean(axis=1)
    places = ((frames[..., :2] - hips) / height[:, None, None]).reshape(len(frames), -1)
    start, length = table["start"].to_numpy(), table["length"].to_numpy()[:, None]
    mean = np.add.reduceat(places, start) / length
    square = np.add.reduceat(places**2, start) / length
    return np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0))], axis=1)


def rank1(table: pd.DataFrame, embeddings: Array, same_view: bool = False) -> dict[str, float]:
    """Percent for NM, BG and CL: mean over pairs of different (or of equal) views."""
    gallery = ((table["condition"] == "nm") & (table["number"] <= 4)).to_numpy()
    probes = {
        "NM": ((table["condition"] == "nm") & (table["number"] >= 5)).to_numpy(),
        "BG": (table["condition"] == "bg").to_numpy(),
        "CL": (table["condition"] == "cl").to_numpy(),
    }
    subject, view = table["subject"].to_numpy(), table["view"].to_numpy()
    result = {}
    for name, probe in probes.items():
        pairs = []
        for probe_view in np.unique(view):
            for gallery_view in np.unique(view):
                if (probe_view == gallery_view) != same_view:
                    continue
                p = np.flatnonzero(probe & (view == probe_view))
                g = np.flatnonzero(gallery & (view == gallery_view))
                distance = np.linalg.norm(embeddings[p, None] - embeddings[None, g], axis=-1)
                pairs.append((subject[g[distance.argmin(axis=1)]] == subject[p]).mean())
        result[name] = round(100 * float(np.mean(pairs)), 2)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=40, help="two fifths are tested")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        path = synthesize_casia_b(Path(folder), settings.subjects, settings.seed)
        seconds = time.perf_counter() - began
        table, frames = sequences(path)
    embeddings = features(table, frames)
    training = (table["subject"] <= 74).to_numpy()
    embeddings = (embeddings - embeddings[training].mean(0)) / embeddings[training].std(0)
    test, tested = table[~training].reset_index(drop=True), embeddings[~training]
    people = test["subject"].nunique()
    print(
        json.dumps(
            {
                "name": "walkers",
                "value": rank1(test, tested),
                "unit": "rank-1 percent, 1-NN, mean over pairs of different views",
                "same_view": rank1(test, tested, same_view=True),
                "chance": round(100 / people, 2),
                "settings": {"subjects": settings.subjects, "tested": people, **vars(settings)},
                "sequences": len(table),
                "frames": len(frames),
                "synthesis_s": round(seconds, 2),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
