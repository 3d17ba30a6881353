from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gaitbench.protocols import Protocol, evaluate
from gaitbench.protocols.figures import Trials, bootstrap_weights
from gaitbench.protocols.paired import PAIRED, paired_difference, unpaired
from gaitbench.protocols.retrieval import METRICS

PROTOCOL = Protocol(
    id="test.paired",
    description="For tests.",
    gallery={"number": (1,)},
    probes={"ALL": {"number": (2, 3)}},
    gallery_views="each",
    exclude_same_view=True,
    unmatched="skip",
)


def walks() -> pd.DataFrame:
    """Seven people, of whom one is not seen from one view, and one has no gallery there."""
    rows = [(f"{s:03d}", "nm", n, v) for s in range(7) for n in (1, 2, 3) for v in (0, 60, 90)]
    rows = [row for row in rows if row[0] != "003" or row[3] != 60]
    rows.remove(("005", "nm", 1, 90))
    return pd.DataFrame(rows, columns=["subject", "condition", "number", "view"])


def embeddings(table: pd.DataFrame, seed: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    people = np.random.default_rng(0).normal(size=(7, 5))[table["subject"].astype(int)]
    return (people + noise * rng.normal(size=people.shape)).astype(np.float32)


def by_hand(trials: Trials, figure: str, drawn: list[int]) -> float:
    """The figure of these subjects, each as often as it is named, trial by trial."""
    if figure == "rank1_per_subject":
        own = {s: trials.values[trials.subject == s, 0].mean() for s in set(drawn)}
        return float(np.mean([own[s] for s in drawn]))
    column = list(METRICS).index(figure)
    cells: dict[int, dict[int, list[float]]] = {}
    for s in drawn:
        for i in np.flatnonzero(trials.subject == s):
            views = cells.setdefault(int(trials.probe_view[i]), {})
            views.setdefault(int(trials.gallery_view[i]), []).append(trials.values[i, column])
    return float(np.mean([np.mean([np.mean(v) for v in c.values()]) for c in cells.values()]))


@pytest.mark.parametrize("figure", PAIRED)
def test_difference_and_interval_against_brute_force(figure: str) -> None:
    """Intervals of single figures too: resamples written out, percentiles by sorting."""
    table = walks()
    first, second = (
        evaluate(embeddings(table, seed, noise), table, PROTOCOL, bootstrap=200)
        for seed, noise in ((1, 0.6), (2, 0.9))
    )
    ours, theirs = first.trials["ALL"], second.trials["ALL"]
    got = paired_difference(ours, theirs, figure, resamples=200)
    people = sorted(set(ours.subject.tolist()))
    draws = [
        [people[i] for i in range(len(people)) for _ in range(int(times[i]))]
        for times in bootstrap_weights(len(people), 200, 0)
    ]
    left, right = ([by_hand(t, figure, drawn) for drawn in draws] for t in (ours, theirs))
    for evaluation, values in ((first, left), (second, right)):
        assert evaluation.metrics["ALL"][figure] == pytest.approx(values[0])
        ends = evaluation.metrics["ALL"][f"{figure}_ci95"]
        assert ends == pytest.approx(percentiles(values[1:]))
    gains = [a - b for a, b in zip(left, right, strict=True)]
    assert got.value == pytest.approx(gains[0])
    assert (got.value != 0) == (figure != "rank10")  # of seven people the tenth is none
    assert (got.low, got.high) == pytest.approx(percentiles(gains[1:]))
    beyond = [g for g in gains[1:] if abs(g) < 1e-12 or (g > 0) != (gains[0] > 0)]
    assert got.other_side == pytest.approx(len(beyond) / 200)
    assert got.subjects == 7


def percentiles(values: list[float]) -> list[float]:
    """The 2.5th and 97.5th, on the straight line between the two values beside each."""
    ordered = sorted(values)
    found = []
    for share in (0.025, 0.975):
        below, rest = divmod(share * (len(ordered) - 1), 1)
        low, high = ordered[int(below)], ordered[min(int(below) + 1, len(ordered) - 1)]
        found.append(low + rest * (high - low))
    return found


def test_shared_difficulty_vanishes_from_the_difference() -> None:
    """Each person is right or wrong for both; the first has one more right of each person's ten."""
    subject = np.repeat(np.arange(20), 10)
    right = np.where(np.arange(200) % 10 < 9, (subject < 10).astype(float), 0.0)
    more = np.where(np.arange(200) % 10 < 9, right, 1.0)
    nothing = np.zeros(200, np.int64)
    theirs = Trials(
        np.arange(200), subject, nothing, nothing - 1, nothing == 0, right[:, None].repeat(5, 1),
        nothing + 1,
    )  # fmt: skip
    ours = replace(theirs, values=more[:, None].repeat(5, 1))
    got = paired_difference(ours, theirs)
    assert got == pytest.approx((0.1, 0.1, 0.1, 0.0, 20))
    assert paired_difference(theirs, theirs) == (0, 0, 0, 1, 20)
    back = paired_difference(theirs, ours)
    assert back[:4] == pytest.approx((-0.1, -0.1, -0.1, 0.0))


def test_other_trials_are_no_pairs() -> None:
    table = walks()
    trials = evaluate(embeddings(table, 1, 0.5), table, PROTOCOL, bootstrap=0).trials["ALL"]
    with pytest.raises(ValueError, match="differ in probe"):
        paired_difference(trials, trials[np.arange(len(trials)) > 0])
    with pytest.raises(ValueError, match="1 resample or more"):
        paired_difference(trials, trials, resamples=0)


def test_tables_that_name_other_sequences() -> None:
    table = walks()
    assert unpaired(table, table.sample(frac=1, random_state=0)) == ""
    assert unpaired(table, table.assign(subject=table["subject"].astype(object))) == ""
    fewer = table.drop(index=4)
    assert unpaired(table, fewer) == ("1 sequences are only in the former, the first 000-nm-2-60")
    assert "only in the latter" in unpaired(fewer, table)
    twice = pd.concat([table, table.iloc[:2]])
    assert unpaired(table, twice) == f"one has {len(table)} sequences and the other {len(twice)}"
