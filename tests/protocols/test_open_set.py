"""Thresholds and rates on cases that can be worked out by hand."""

import numpy as np
import pytest

from gaitbench.errors import InputError
from gaitbench.protocols.open_set import choose_threshold, judge_open_set, rate_of


def test_a_threshold_lets_through_as_many_as_were_allowed() -> None:
    distances = np.arange(100, 0, -1) / 10
    people = [f"{i % 20:02d}" for i in range(100)]
    for fpir, allowed in ((0.01, 1), (0.05, 5), (0.29, 29), (0.999, 99)):
        found = choose_threshold(distances, people, fpir)
        assert (found.accepted, found.searches, len(found.people)) == (allowed, 100, 20)
        assert (distances < found.value).sum() == allowed


def test_equal_distances_stay_out_together() -> None:
    found = choose_threshold(np.array([1.0, 2, 2, 2, 3, 4, 5, 6, 7, 8]), ["a"] * 10, 0.2)
    assert (found.value, found.accepted) == (2.0, 1)


def test_too_few_strangers_choose_nothing() -> None:
    with pytest.raises(InputError, match=r"needs 100 searches .* found 10"):
        choose_threshold(np.arange(10.0), ["a"] * 10, 0.01)
    for fpir in (0, 1, -0.1):
        with pytest.raises(InputError, match="between 0 and 1"):
            choose_threshold(np.arange(10.0), ["a"] * 10, fpir)


def test_rates_are_those_counted_by_hand() -> None:
    """Enrolled a and b, strangers c; threshold 1, which a distance of 1 does not pass."""
    people = ["a", "a", "a", "b", "b", "c", "c", "c", "c"]
    found = ["a", "a", "b", "b", "a", "a", "a", "b", "b"]
    distance = np.array([0.5, 1.5, 0.5, 1.0, 2.0, 0.9, 1.0, 3.0, 2.0])
    result = judge_open_set(distance, found, people, ["a", "b"], 1.0)
    counts = {name: (rate.count, rate.searches, rate.people) for name, rate in vars(result).items()}
    assert counts == {
        "identification": (1, 5, 2),
        "confusion": (1, 5, 2),
        "rank1": (3, 5, 2),
        "false_positive": (1, 4, 1),
    }
    assert result.identification is not None
    assert str(result.identification).startswith("20.0 % (1 of 5 searches of 2 people; 95 %")
    nobody = judge_open_set(distance[:5], found[:5], people[:5], ["a", "b"], 1.0)
    assert nobody.false_positive is None


def test_bounds_are_those_of_people_drawn_anew() -> None:
    """Against a loop over resamples; and of no success in ten people, in closed form."""
    draw = np.random.default_rng(3)
    people = [f"{i:02d}" for i in draw.integers(15, size=200)]
    counts = draw.random(200) < np.array([int(name) / 15 for name in people])
    rate = rate_of(counts, people, 2000)
    assert rate is not None
    names, shares = sorted(set(people)), []
    for _ in range(2000):
        some = draw.choice(names, len(names))
        rows = [i for name in some for i, own in enumerate(people) if own == name]
        shares.append(counts[rows].mean())
    np.testing.assert_allclose(rate.bounds, np.quantile(shares, [0.025, 0.975]), atol=0.02)
    none = rate_of(np.zeros(40, bool), [str(i % 10) for i in range(40)])
    assert none is not None and none.bounds[0] == 0
    # ten people without one success have a probability of 2.5 % at the upper bound
    assert (1 - none.bounds[1]) ** 10 == pytest.approx(0.025)
