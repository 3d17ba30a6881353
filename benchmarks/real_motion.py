"""Train on real motion with several seeds, test, and draw the learning curves.

    python benchmarks/real_motion.py ../shared/real --out results --recipe pk

For each seed it runs the commands of docs/results.md: `fit` on the motion-capture walks, `test` on
their 22 unseen people, and `test` of the same checkpoint on PsyMo's ten people. Then it prints the
figures as mean and standard deviation over seeds, and writes the curves.

The recipes see the same number of walks in training, 600 batches of 128, in the one-branch form:
``pk`` (P x K batches, noise of pose estimators), ``plain`` (as published: random batches, published
augmentation and test-time views) and ``plus`` (what has since beaten it, put together).
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

STEPS = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "600")
RECIPES = {
    "pk": (("casia_b.yaml", "casia_b_pk.yaml"), ()),
    "plain": (("casia_b.yaml", "casia_b_concat.yaml"), ("--data.batch_size", "128", *STEPS)),
    "plus": (("casia_b.yaml", "casia_b_concat.yaml", "casia_b_plus.yaml"), STEPS),
}
TESTS = {
    "mocap": ("mocap/pose_coco.csv.gz", ("casia_b.cross_view",)),
    "psymo10": ("psymo10/pose_coco.csv.gz", ("casia_b.first_walk",)),
}


def gaitbench(recipe: str, command: str, data: Path, out: Path, name: str, *settings: str) -> None:
    """Run one command of the tool; its files go to ``out/name``."""
    names, changes = RECIPES[recipe]
    configs = [word for c in names for word in ("--config", f"configs/gaitgraph2/{c}")]
    logger = ("TensorBoardLogger", "--trainer.logger.save_dir", str(out))
    place = ("--trainer.logger.name", "", "--trainer.logger.version", name)
    words = [command, *configs, *changes, "--data.path", str(data)]
    words += ["--data.cache", str(out / "cache")]
    run = [sys.executable, "-m", "gaitbench", *words, "--trainer.logger", *logger, *place]
    with (out / f"{name}.log").open("w") as log:
        subprocess.run([*run, *settings], check=True, stdout=log, stderr=subprocess.STDOUT)


def main() -> None:
    """Train, test, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path, help="folder that holds mocap and psymo10")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--recipe", choices=RECIPES, default="pk")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    curves, figures = {}, {}
    for seed in given.seeds:
        start, run = time.perf_counter(), f"{given.recipe}-{seed}"
        seeded = ("--seed_everything", str(seed))
        gaitbench(given.recipe, "fit", given.real / TESTS["mocap"][0], given.out, run, *seeded)
        minutes = (time.perf_counter() - start) / 60
        events = EventAccumulator(str(given.out / run)).Reload()
        curves[f"seed {seed}"] = zip(
            *((e.step, e.value) for e in events.Scalars("train/loss_step")), strict=True
        )
        for name, (table, protocols) in TESTS.items():
            checkpoint = str(given.out / run / "checkpoints" / "last.ckpt")
            chosen = ("--evaluation.protocols", json.dumps(protocols))
            place = f"{run}-{name}"
            words = ("--ckpt_path", checkpoint, *chosen)
            gaitbench(given.recipe, "test", given.real / table, given.out, place, *words)
            found = json.loads((given.out / place / "metrics.json").read_text())
            for protocol, sets in found.items():
                for probes, metrics in sets.items():
                    for metric in ("rank1", "rank1_per_subject", "map", "eer"):
                        if metric in metrics:
                            key = (name, protocol, probes, metric)
                            figures.setdefault(key, []).append(100 * metrics[metric])
        print(
            json.dumps({"recipe": given.recipe, "seed": seed, "minutes_to_fit": round(minutes, 1)}),
            flush=True,
        )
    for (name, protocol, probes, metric), values in figures.items():
        line = {"data": name, "protocol": protocol, "probes": probes, "metric": metric}
        line["values"] = [round(value, 1) for value in values]
        line["mean"] = round(statistics.mean(values), 1)
        line["sd"] = round(statistics.stdev(values), 1) if len(values) > 1 else 0.0
        print(json.dumps(line))
    series = {name: tuple(map(list, curve)) for name, curve in curves.items()}
    figure = learning_curve({"training loss": series}, "GaitGraph2 on mocap walks")
    save_figure(figure, given.out / f"learning_curve-{given.recipe}.png")


if __name__ == "__main__":
    main()
