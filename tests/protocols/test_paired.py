from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gaitbench.protocols import Protocol, evaluate
from gaitbench.protocols.figures import Trials, bootstrap_weights
from gaitbench.protocols.paired import paired_difference, unpaired
from gaitbench.protocols.probes import Outcomes, Probes
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


@pytest.mark.parametrize("figure", [*METRICS, "rank1_per_subject"])
def test_difference_and_interval_against_brute_force(figure: str) -> None:
    """Intervals of single figures too: resamples written out, percentiles by sorting."""
    table = walks()
    first, second = (
        evaluate(embeddings(table, seed, noise), table, PROTOCOL, bootstrap=200)
        for seed, noise in ((1, 0.6), (2, 0.9))
    )
    ours, theirs = first.trials["ALL"], second.trials["ALL"]
    outcomes = first.outcomes["ALL"], second.outcomes["ALL"]
    got = paired_difference(*outcomes, figure, resamples=200)
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
    rows = pd.DataFrame({"subject": subject.astype(str), "number": np.arange(200)})
    theirs = one_cell(rows, right)
    ours = one_cell(rows, more)
    got = paired_difference(ours, theirs)
    assert got == pytest.approx((0.1, 0.1, 0.1, 0.0, 20))
    assert paired_difference(theirs, theirs) == (0, 0, 0, 1, 20)
    back = paired_difference(theirs, ours)
    assert back[:4] == pytest.approx((-0.1, -0.1, -0.1, 0.0))


def one_cell(rows: pd.DataFrame, right: np.ndarray) -> Outcomes:
    zero = np.zeros(1, np.int64)
    cell = np.zeros(len(rows), np.int64)
    return Outcomes(rows, np.arange(len(rows)), cell, zero, zero - 1, {"rank1": right})


def test_trials_are_paired_by_their_names_in_any_order() -> None:
    table = walks()
    first, second = (
        evaluate(embeddings(table, seed, 0.7), table, PROTOCOL, bootstrap=0).outcomes["ALL"]
        for seed in (1, 2)
    )
    wanted = paired_difference(first, second, "map", resamples=50)
    assert wanted.value != 0
    order = np.random.default_rng(0).permutation(len(second.row))
    mixed = replace(
        second,
        row=second.row[order],
        cell=second.cell[order],
        values={name: values[order] for name, values in second.values.items()},
    )
    assert paired_difference(first, mixed, "map", resamples=50) == pytest.approx(wanted)
    assert paired_difference(mixed, first, "map", resamples=50).value == pytest.approx(
        -wanted.value
    )
    fewer = replace(
        mixed,
        row=mixed.row[1:],
        cell=mixed.cell[1:],
        values={name: values[1:] for name, values in mixed.values.items()},
    )
    with pytest.raises(ValueError, match="of other probes or galleries"):
        paired_difference(first, fewer)
    with pytest.raises(ValueError, match="1 resample or more"):
        paired_difference(first, second, resamples=0)


def probes(table: pd.DataFrame) -> Probes:
    found = evaluate(embeddings(table, 1, 0.5), table, PROTOCOL, bootstrap=0).probes
    assert found is not None
    return found


def test_probes_that_are_others() -> None:
    table = walks()
    whole = probes(table)
    assert unpaired(whole, probes(table.sample(frac=1, random_state=0))) == ""
    assert unpaired(whole, probes(table.assign(subject=table["subject"].astype(object)))) == ""
    one = probes(table.drop(index=4))  # a probe
    assert unpaired(whole, one) == "1 probes are only in the former, the first 000-nm-2-60"
    assert "only in the latter" in unpaired(one, whole)
    twice = probes(pd.concat([table, table.iloc[4:6]]))
    assert unpaired(whole, twice).startswith("one has ")
    # a gallery item of which each of its probes has another
    more = pd.concat([table, table.iloc[[0]].assign(view=0)])
    assert unpaired(whole, probes(more)) == "they were compared with other galleries"
