import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitbench.errors import InputError
from gaitbench.samplers import (
    ConditionBatches,
    IndependentBatches,
    InOrder,
    RandomBatches,
    SubjectBatches,
    process_rank,
    refuse_uneven,
    shares,
)

ROWS = np.arange(100, 123)
SUBJECTS = np.array([0] * 10 + [1] * 3 + [2] * 1 + [3] * 9)


def batches(sampler, epoch: int = 0) -> list[np.ndarray]:
    sampler.set_epoch(epoch)
    return [request.rows for request in sampler]


def test_in_order_takes_every_row_once() -> None:
    sampler = InOrder(ROWS, 5)
    assert np.concatenate(batches(sampler)).tolist() == ROWS.tolist()
    assert [len(b) for b in batches(sampler)] == [5, 5, 5, 5, 3]
    assert len(sampler) == 5


def test_random_batches_are_permutations_that_repeat_by_seed_and_epoch() -> None:
    first = np.concatenate(batches(RandomBatches(ROWS, 5, seed=1), epoch=3))
    again = np.concatenate(batches(RandomBatches(ROWS, 5, seed=1), epoch=3))
    other = np.concatenate(batches(RandomBatches(ROWS, 5, seed=1), epoch=4))
    assert sorted(first) == ROWS.tolist()
    assert first.tolist() == again.tolist() != other.tolist()


def test_seeds_of_draws_differ_from_batch_to_batch() -> None:
    sampler = RandomBatches(ROWS, 5, seed=1)
    seeds = [request.seed for epoch in (0, 1) for request in (sampler.set_epoch(epoch) or sampler)]
    assert len(set(seeds)) == len(seeds)


@given(st.integers(1, 23), st.integers(1, 3), st.integers(0, 9))
def test_independent_batches_are_full_and_hold_nothing_twice(
    size: int, windows: int, epoch: int
) -> None:
    sampler = IndependentBatches(ROWS, size, windows, seed=4)
    found = batches(sampler, epoch)
    assert len(found) == len(sampler) == -(-len(ROWS) // (size * windows))
    for rows in found:
        assert len(rows) == len(set(rows.tolist())) == size
        assert set(rows) <= set(ROWS)
    again = batches(IndependentBatches(ROWS, size, windows, seed=4), epoch)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_an_epoch_of_densegait_is_that_of_the_authors() -> None:
    """Source: specs of the two-views sampler, 217,954 rows in batches of 1,024 windows."""
    assert len(IndependentBatches(np.arange(217_954), 512, 2)) == 213


def test_independent_batches_know_nothing_of_each_other() -> None:
    sampler = IndependentBatches(ROWS, 5, seed=0)
    drawn = [rows for epoch in range(400) for rows in batches(sampler, epoch)]
    times = np.bincount(np.concatenate(drawn) - 100, minlength=23)
    expected = len(drawn) * 5 / 23
    assert np.abs(times - expected).max() < 5 * np.sqrt(expected)
    both = np.mean([len(set(a) & set(b)) for a, b in zip(drawn[::2], drawn[1::2], strict=True)])
    assert both == pytest.approx(25 / 23, abs=0.1)


def test_fewer_rows_than_a_batch_are_drawn_with_repeats(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sampler = IndependentBatches(ROWS, 24, seed=0)
    assert [r.getMessage() for r in caplog.records] == [
        "a batch takes 24 sequences of 23, so each is drawn with repeats"
    ]
    (rows,) = batches(sampler)
    assert len(rows) == 24
    assert not caplog.records[1:]


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 5))
def test_subject_batches_hold_p_subjects_and_k_sequences(p: int, k: int, epoch: int) -> None:
    sampler = SubjectBatches(ROWS, SUBJECTS, p * k, k)
    found = batches(sampler, epoch)
    assert len(found) == len(sampler) == -(-len(ROWS) // (p * k))
    for rows in found:
        by_subject = SUBJECTS[rows - 100].reshape(p, k)
        assert (by_subject == by_subject[:, :1]).all()
        assert len(set(by_subject[:, 0])) == p
        for subject, drawn in zip(by_subject[:, 0], rows.reshape(p, k), strict=True):
            have = (subject == SUBJECTS).sum()
            assert len(set(drawn)) == min(k, have)
            _, repeats = np.unique(drawn, return_counts=True)
            assert repeats.max() - repeats.min() <= 1


def test_subjects_take_turns() -> None:
    sampler = SubjectBatches(np.arange(600), np.repeat(np.arange(10), 60), 12, 4)
    drawn = np.concatenate(batches(sampler)) // 60
    counts = np.bincount(drawn, minlength=10)
    assert counts.max() - counts.min() <= 4


def test_conditions_are_spread_evenly() -> None:
    rows, subjects = np.arange(200), np.repeat(np.arange(4), 50)
    conditions = np.tile([0] * 40 + [1] * 5 + [2] * 5, 4)
    sampler = SubjectBatches(rows, subjects, 2 * 6, 6, conditions)
    for batch in batches(sampler):
        for drawn in batch.reshape(2, 6):
            assert np.sort(conditions[drawn]).tolist() == [0, 0, 1, 1, 2, 2]


@given(st.integers(1, 40), st.integers(1, 7))
def test_shares_make_up_the_batch(total: int, processes: int) -> None:
    parts = shares(total, processes)
    whole = [list(range(first, first + count)) for first, count in parts]
    if total < processes:
        assert whole == [list(range(total))] * processes
    else:
        assert [i for part in whole for i in part] == list(range(total))
        assert max(map(len, whole)) - min(map(len, whole)) <= 1
    equal = shares(total, processes, equal=True)
    assert {count for _, count in equal} == {-(-total // processes)}
    covered = {i for first, count in equal for i in range(first, first + count)}
    assert covered == set(range(total))


@pytest.mark.parametrize("kind", [InOrder, RandomBatches])
def test_processes_share_one_batch_and_one_seed(
    kind: type[InOrder] | type[RandomBatches], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = list(kind(ROWS, 6, seed=2))
    assert {request.share for request in alone} == {None}
    requests = []
    for rank in range(3):
        monkeypatch.setattr("gaitbench.samplers.process_rank", lambda rank=rank: (rank, 3))
        requests.append(list(kind(ROWS, 6, seed=2)))
    for one, several in zip(alone, zip(*requests, strict=True), strict=True):
        found = []
        for rank, request in enumerate(several):
            assert request.rows.tolist() == one.rows.tolist()
            assert request.seed == one.seed
            assert request.share is not None
            assert request.share.rank == rank
            found.append(request.rows[request.share.own])
        if kind is InOrder:  # 5 are left of 23, two for each
            assert len({len(rows) for rows in found}) == 1
            assert set(np.concatenate(found)) == set(one.rows)
        else:
            assert np.concatenate(found).tolist() == one.rows.tolist()


def test_batches_that_cannot_be_shared_out_are_refused_with_those_that_can() -> None:
    refuse_uneven(768, 0, 3)
    refuse_uneven(48, 8, 3)
    for size, k, named in (
        (128, 0, r"batch_size 128 .* 3 processes as many sequences each; give 126 or 129,"),
        (40, 4, r"as many people of data.sequences_per_subject 4 each; give 36 or 48,"),
        (2, 0, r"give 3, or another trainer.devices$"),
    ):
        with pytest.raises(InputError, match=named):
            refuse_uneven(size, k, 3)


def test_one_process_without_a_group() -> None:
    assert process_rank() == (0, 1)


def test_what_does_not_divide_is_refused_with_what_would() -> None:
    with pytest.raises(InputError, match=r"batch_size 10 is no multiple .* 4; 8 and 12 are"):
        SubjectBatches(ROWS, SUBJECTS, 10, 4)
    with pytest.raises(InputError, match=r"needs 5 subjects, the training set has 4; .* 8 or less"):
        SubjectBatches(ROWS, SUBJECTS, 10, 2)
    with pytest.raises(InputError, match="batch_size is 0"):
        InOrder(ROWS, 0)


def test_random_batches_may_keep_their_order_and_drop_the_tail() -> None:
    rows = np.arange(10, 33)
    same = RandomBatches(rows, 5, seed=3, order="once")
    assert [b.tolist() for b in batches(same, 0)] == [b.tolist() for b in batches(same, 7)]
    assert sorted(np.concatenate(batches(same, 0))) == rows.tolist()
    other = RandomBatches(rows, 5, seed=4, order="once")
    assert batches(other)[0].tolist() != batches(same)[0].tolist()
    unshuffled = RandomBatches(rows, 5, seed=3, order="file")
    assert np.concatenate(batches(unshuffled, 2)).tolist() == rows.tolist()
    full = RandomBatches(rows, 5, seed=3, keep_tail=False)
    assert len(full) == 4
    assert [len(b) for b in batches(full)] == [5] * 4
    with pytest.raises(InputError, match=r"23 training samples do not fill .*batch_size"):
        RandomBatches(rows, 24, keep_tail=False)


@pytest.mark.parametrize(("size", "rest"), [(150, 0), (128, 2), (2, 2)])
def test_conditions_have_equal_shares(size: int, rest: int) -> None:
    """Against a count over batches; 300, 150 and 150 walks, as of GaitCopy's authors."""
    rows = np.random.default_rng(0).permutation(1000)[:600]
    conditions = np.repeat([3, 1, 2], [300, 150, 150])
    of = dict(zip(rows.tolist(), conditions.tolist(), strict=True))
    sampler = ConditionBatches(rows, conditions, size, seed=4)
    shown = [request.rows.tolist() for request in sampler]
    assert len(shown) == len(sampler) == -(-600 // size)
    seen: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for batch in shown:
        counts = [sum(of[row] == condition for row in batch) for condition in (1, 2, 3)]
        assert sum(counts) == size
        assert min(counts) >= size // 3
        assert max(counts) <= size // 3 + rest
        for row in batch:
            seen[of[row]].append(row)
    for condition, told in seen.items():
        # all of a condition before any of them again, and then in the same order
        number = int((conditions == condition).sum())
        assert len({*told[:number]}) == min(number, len(told))
        assert all(told[i] == told[i - number] for i in range(number, len(told)))
    if size == 150:
        assert len(shown) == 4 and all(len(told) == 200 for told in seen.values())
    assert [request.rows.tolist() for request in sampler] == shown
    sampler.set_epoch(1)
    assert [request.rows.tolist() for request in sampler] != shown
