import numpy as np
import pytest

from gaitbench.protocols.figures import (
    bootstrap_weights,
    interval,
    mean_of_means,
    mean_of_subjects,
)


def test_weights_start_with_the_data_and_then_draw_as_many() -> None:
    weights = bootstrap_weights(7, 50, seed=3)
    assert weights.shape == (51, 7)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == 7).all()
    assert (weights == bootstrap_weights(7, 50, seed=3)).all()
    assert (weights != bootstrap_weights(7, 50, seed=4)).any()


def test_means_of_resamples_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    n, subjects = 60, 5
    subject = np.concatenate([np.arange(subjects), rng.integers(0, subjects, n - subjects)])
    cell = np.concatenate([np.arange(6), rng.integers(0, 6, n - 6)])
    group = np.array([0, 0, 4, 4, 4, 2])
    values = rng.random((n, 2))
    weights = bootstrap_weights(subjects, 30, 0)
    got = mean_of_means(weights, subject, cell, group, values)
    got_subjects = mean_of_subjects(weights, subject, values[:, 0])
    for row, weight in enumerate(weights):
        # the resample written out: every trial of a subject as often as it is drawn
        drawn = [t for s in range(subjects) for t in np.flatnonzero(subject == s).repeat(weight[s])]
        for m in range(2):
            groups = []
            for g in np.unique(group):
                cells = [
                    values[[t for t in drawn if cell[t] == c], m]
                    for c in np.flatnonzero(group == g)
                ]
                means = [c.mean() for c in cells if len(c)]
                if means:
                    groups.append(np.mean(means))
            assert got[row, m] == pytest.approx(np.mean(groups))
        own = [values[subject == s, 0].mean() for s in range(subjects)]
        assert got_subjects[row] == pytest.approx(np.average(own, weights=weight))


def test_interval() -> None:
    assert interval(np.arange(1001.0)) == [25, 975]
