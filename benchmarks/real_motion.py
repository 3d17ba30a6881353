"""Train on real motion with several seeds, test, and draw the learning curves.

    python benchmarks/real_motion.py ../shared/real --out results

For each seed it runs the commands of docs/results.md: `fit` on the motion-capture walks, `test` on
their 22 unseen people, and `test` of the same checkpoint on PsyMo's ten people. Then it prints the
figures as mean and standard deviation over seeds, and writes the curves.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gaitbench.draw import learning_curve, save_figure

CONFIGS = ("casia_b.yaml", "casia_b_pk.yaml")
TESTS = {
    "mocap": ("mocap/pose_coco.csv.gz", ("casia_b.cross_view",)),
    "psymo10": ("psymo10/pose_coco.csv.gz", ("casia_b.first_walk",)),
}


def gaitbench(command: str, data: Path, out: Path, name: str, *settings: str) -> None:
    """Run one command of the tool; its files go to ``out/name``."""
    configs = [word for c in CONFIGS for word in ("--config", f"configs/gaitgraph2/{c}")]
    logger = ("TensorBoardLogger", "--trainer.logger.save_dir", str(out))
    place = ("--trainer.logger.name", "", "--trainer.logger.version", name)
    words = [command, *configs, "--data.path", str(data), "--data.cache", str(out / "cache")]
    run = [sys.executable, "-m", "gaitbench", *words, "--trainer.logger", *logger, *place]
    with (out / f"{name}.log").open("w") as log:
        subprocess.run([*run, *settings], check=True, stdout=log, stderr=subprocess.STDOUT)


def main() -> None:
    """Train, test, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path, help="folder that holds mocap and psymo10")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    curves, figures = {}, {}
    for seed in given.seeds:
        start, run = time.perf_counter(), f"fit-{seed}"
        seeded = ("--seed_everything", str(seed))
        gaitbench("fit", given.real / TESTS["mocap"][0], given.out, run, *seeded)
        minutes = (time.perf_counter() - start) / 60
        events = EventAccumulator(str(given.out / run)).Reload()
        curves[f"seed {seed}"] = zip(
            *((e.step, e.value) for e in events.Scalars("train/loss_step")), strict=True
        )
        for name, (table, protocols) in TESTS.items():
            checkpoint = str(given.out / run / "checkpoints" / "last.ckpt")
            chosen = ("--evaluation.protocols", json.dumps(protocols))
            place = f"{name}-{seed}"
            gaitbench(
                "test", given.real / table, given.out, place, "--ckpt_path", checkpoint, *chosen
            )
            found = json.loads((given.out / place / "metrics.json").read_text())
            for protocol, sets in found.items():
                for probes, metrics in sets.items():
                    for metric in ("rank1", "rank1_per_subject", "map", "eer"):
                        if metric in metrics:
                            key = (name, protocol, probes, metric)
                            figures.setdefault(key, []).append(100 * metrics[metric])
        print(json.dumps({"seed": seed, "minutes_to_fit": round(minutes, 1)}), flush=True)
    for (name, protocol, probes, metric), values in figures.items():
        line = {"data": name, "protocol": protocol, "probes": probes, "metric": metric}
        line["values"] = [round(value, 1) for value in values]
        line["mean"] = round(statistics.mean(values), 1)
        line["sd"] = round(statistics.stdev(values), 1) if len(values) > 1 else 0.0
        print(json.dumps(line))
    series = {name: tuple(map(list, curve)) for name, curve in curves.items()}
    figure = learning_curve({"training loss": series}, "GaitGraph2 on mocap walks")
    save_figure(figure, given.out / "learning_curve.png")


if __name__ == "__main__":
    main()
