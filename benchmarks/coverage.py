"""How often the 95 % intervals hold the truth, on made-up people whose true rank-1 is known.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --repetitions 2000 --subjects 50

Each repetition draws people afresh: how well a person is recognised (from a beta distribution, so
that some are easy and some hard), and then whether each of the person's probes is right. A right
probe's embedding is the person's own in the gallery, a wrong one's is somebody else's, and
``evaluate`` judges them as it judges all others. The interval holds the truth if the mean over all
people that there could be lies within. A second method whose outcomes follow the first one's by
half gives the same of the paired difference. ``even`` gives each person four walks before two
cameras; ``uneven`` gives every seventh person 13 times as many as others, as in the motion capture
of docs/results.md, where three of 22 people have 38 of 58 walks. Prints a line of JSON each.
"""

import argparse
import json
import time

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gaitbench.protocols import Evaluation, Protocol, evaluate
from gaitbench.protocols.paired import paired_difference

PROTOCOL = Protocol(
    id="benchmark.coverage",
    description="Gallery walk 0, one view at a time; probes all others; identical views excluded.",
    gallery={"number": (0,)},
    probes={"ALL": {"number": range(1, 1000)}},
    gallery_views="each",
    exclude_same_view=True,
    unmatched="wrong",
)
VIEWS = (0, 90)
SPREAD = 3.0  # sum of the beta distribution's parameters: people differ by 0.2 around a mean of 0.7
RIGHT, GAIN = 0.7, 0.05  # true rank-1 of the second method, and what the first has more


def people(subjects: int, walks: NDArray[np.int64]) -> pd.DataFrame:
    """A gallery walk and the probe walks of each person, before each camera."""
    rows = [
        (f"{person:04d}", "nm", number, view)
        for person in range(subjects)
        for number in range(walks[person] + 1)
        for view in VIEWS
    ]
    return pd.DataFrame(rows, columns=["subject", "condition", "number", "view"])


def judged(
    table: pd.DataFrame,
    right: NDArray[np.bool_],
    bootstrap: int,
    seed: int,
    rng: np.random.Generator,
) -> Evaluation:
    """Embeddings of which those probes are right, judged."""
    person = table["subject"].astype(int).to_numpy()
    subjects = person.max() + 1
    shift = np.where(right, 0, rng.integers(1, subjects, len(table)))
    embeddings = np.eye(subjects, dtype=np.float32)[(person + shift) % subjects]
    return evaluate(embeddings, table, PROTOCOL, verification=False, bootstrap=bootstrap, seed=seed)


def main() -> None:
    """Measure for each number of people and each division of walks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--subjects", type=int, nargs="+", default=[12, 22, 50, 100])
    parser.add_argument("--resamples", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for subjects in given.subjects:
        for division in ("even", "uneven"):
            walks = np.full(subjects, 4 if division == "even" else 1)
            if division == "uneven":
                walks[::7] = 13
            table = people(subjects, walks)
            probe = (table["number"] > 0).to_numpy()
            person = table["subject"].astype(int).to_numpy()
            # person and walk: both cameras see the same walk, so it is right or wrong for both
            walk = table.groupby(["subject", "number"], sort=False).ngroup().to_numpy()
            rng = np.random.default_rng(subjects)
            held = np.zeros(3)
            widths = np.zeros(2)
            start = time.process_time()
            for repetition in range(given.repetitions):
                skill = rng.beta(SPREAD * RIGHT, SPREAD * (1 - RIGHT), subjects)
                chance = rng.random(walk.max() + 1)[walk]
                second = chance < skill[person]
                # the first method is right wherever the second is, and in a share of the others,
                # or it is drawn afresh: half of the people each
                gain = GAIN / (1 - RIGHT)
                better = skill[person] + gain * (1 - skill[person])
                afresh = rng.random(walk.max() + 1)[walk]
                first = np.where(person % 2 == 0, chance, afresh) < better
                ours = judged(table, first | ~probe, given.resamples, repetition, rng)
                theirs = judged(table, second | ~probe, 0, repetition, rng)
                low, high = ours.metrics["ALL"]["rank1_ci95"]  # type: ignore[misc]
                between = ours.metrics["ALL"]["rank1_per_subject_ci95"]
                difference = paired_difference(
                    ours.outcomes["ALL"],
                    theirs.outcomes["ALL"],
                    resamples=given.resamples,
                    seed=repetition,
                )
                held += (
                    low <= RIGHT + GAIN <= high,
                    between[0] <= RIGHT + GAIN <= between[1],  # type: ignore[index]
                    difference.low <= GAIN <= difference.high,
                )
                widths += high - low, difference.high - difference.low
            shares = (held / given.repetitions).round(4).tolist()
            print(
                json.dumps(
                    {
                        "subjects": subjects,
                        "division": division,
                        "repetitions": given.repetitions,
                        **dict(
                            zip(("rank1", "rank1_per_subject", "difference"), shares, strict=True)
                        ),
                        "width": round(widths[0] / given.repetitions, 4),
                        "width_of_difference": round(widths[1] / given.repetitions, 4),
                        "seconds": round(time.process_time() - start, 1),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
