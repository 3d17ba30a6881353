import numpy as np
import pytest
import torch

from gaitbench.protocols.distances import find_genuine
from gaitbench.protocols.verification import (
    BINS,
    COARSE_BINS,
    PairCounts,
    equal_error_rate,
    true_accept_rate,
)


def roc(genuine, impostor):
    """False and true accept rates at every distance that occurs, by counting."""
    thresholds = np.unique(np.concatenate([genuine, impostor]))
    accepted = [0.0, *((impostor <= t).mean() for t in thresholds)]
    true = [0.0, *((genuine <= t).mean() for t in thresholds)]
    return np.array(accepted), np.array(true)


@pytest.mark.parametrize("seed", range(10))
def test_rates_against_the_whole_curve(seed) -> None:
    rng = np.random.default_rng(seed)
    genuine = rng.integers(0, 60, 40)
    impostor = rng.integers(20, 100, 2000)
    counts = [np.bincount(x, minlength=100).astype(float) for x in (genuine, impostor)]
    accepted, true = roc(genuine, impostor)
    eer = equal_error_rate(*counts)
    at_equal = np.argmax(accepted >= 1 - true)
    assert accepted[at_equal - 1] <= eer <= accepted[at_equal]
    # On the chord from the last threshold before to the first after, both errors are equal.
    share = (eer - accepted[at_equal - 1]) / max(accepted[at_equal] - accepted[at_equal - 1], 1e-9)
    refused = 1 - (true[at_equal - 1] + share * (true[at_equal] - true[at_equal - 1]))
    if accepted[at_equal] > accepted[at_equal - 1]:
        assert refused == pytest.approx(eer)
    for rate in (1e-1, 1e-2, 1e-3):
        best = np.interp(rate, *_upper_ends(accepted, true))
        assert true_accept_rate(*counts, rate) == pytest.approx(best)


def _upper_ends(accepted, true):
    """Of points with the same false-accept rate keep the highest, so that interp may be used.

    The lowest follows just below it, as the chord before ends there.
    """
    points = []
    for rate in np.unique(accepted):
        same = true[accepted == rate]
        points += [(rate - 1e-12, same.min()), (rate, same.max())]
    return np.array(points).T


def test_perfect_and_hopeless() -> None:
    near, far = np.array([5.0, 0.0]), np.array([0.0, 9.0])
    assert equal_error_rate(near, far) == 0
    assert true_accept_rate(near, far, 1e-3) == 1
    assert equal_error_rate(far, near) == 1
    assert equal_error_rate(near, near) == pytest.approx(0.5)


def test_no_pair_of_a_kind_is_nan() -> None:
    assert np.isnan(equal_error_rate(np.zeros(4), np.ones(4)))


def test_leading_axes_are_kept() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (2, 3, 50)).astype(float)
    rates = equal_error_rate(*counts)
    for i in range(3):
        assert rates[i] == equal_error_rate(counts[0, i], counts[1, i])


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_counts_against_measuring_each_pair(distance, block, monkeypatch) -> None:
    monkeypatch.setattr("gaitbench.protocols.verification.BLOCK_ELEMENTS", block)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30, 4, generator=generator)
    subjects = torch.arange(30) // 5
    probes, gallery = torch.arange(2, 28), torch.arange(0, 30, 2)
    counter = PairCounts(points, distance, subjects)
    fine = counter.count(probes, gallery, find_genuine(subjects, probes, gallery))
    expected = [
        np.zeros(BINS),
        np.zeros(BINS),
        np.zeros((6, COARSE_BINS)),
        np.zeros((6, COARSE_BINS)),
    ]
    norm = 1 if distance == "l1" else 2
    for p in probes.tolist():
        for g in gallery.tolist():
            if p != g:
                d = float((points[p] - points[g]).double().norm(p=norm))
                other = int(subjects[p] != subjects[g])
                expected[other][int(d / counter.upper * BINS)] += 1
                expected[2 + other][subjects[p], int(d / counter.upper * COARSE_BINS)] += 1
    for got, want in zip(fine, expected, strict=True):
        assert got.sum() == want.sum()
        # float32 may put a distance, which two pairs share, on the other side of an edge
        assert np.abs(got.cumsum(-1) - want.cumsum(-1)).max() <= 2
