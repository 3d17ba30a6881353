from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaitbench.windows import Window, padded_to_source

GOLDEN = np.load(Path(__file__).parent / "golden" / "gaitgraph" / "transforms.npz")


def golden(prefix: str) -> list[tuple[int, int, np.ndarray]]:
    """(S, L, frames) of every golden array named ``<prefix>_S<S>_L<L>``."""
    found = []
    for name in GOLDEN.files:
        if name.startswith(prefix + "_S"):
            size, length = (int(part[1:]) for part in name.split("_")[1:])
            found.append((size, length, GOLDEN[name]))
    assert found
    return found


def pad_by_lists(length: int, size: int) -> list[int]:
    """The specification, literally."""
    if length > size:
        return list(range(length))
    missing = size + 1 - length
    a, b = -(-missing // 2), missing // 2 + 1
    f = list(range(length))
    while a > len(f) or b > len(f):
        f = f[::-1] + f + f[::-1]
    return (f[1:a][::-1] + f + f[max(len(f) - 1 - b, 0) : len(f) - 1][::-1])[:size]


def pad(length: int, size: int) -> list[int]:
    positions = np.arange(max(length, size))[None]
    return padded_to_source(positions, np.array([length]), size)[0].tolist()


@pytest.mark.parametrize(("size", "length", "frames"), golden("pad"))
def test_padding_is_the_references(size: int, length: int, frames: np.ndarray) -> None:
    assert pad(length, size) == frames.tolist()


@given(st.integers(1, 200), st.integers(1, 130))
def test_padding_follows_the_lists(length: int, size: int) -> None:
    assert pad(length, size) == pad_by_lists(length, size)


@pytest.mark.parametrize(("size", "length", "frames"), golden("center") + golden("padcenter"))
def test_center_window_is_the_references(size: int, length: int, frames: np.ndarray) -> None:
    assert Window(size).draw(np.array([length]), seed=0)[0].tolist() == frames.tolist()


def test_random_window_starts_where_the_reference_starts() -> None:
    seed, starts = int(GOLDEN["rng_seed"]), GOLDEN["rng_select60_start"]
    for i, start in enumerate(starts):
        torch.manual_seed(seed + i)
        assert int(torch.randint(0, 20, (1,))) == start
        # the first word of the reference's lone draw is our second: the first decides the direction
        words = np.random.RandomState(seed + i).randint(0, 2**32, 2, dtype=np.uint32)
        assert words[0] % 20 == start
        drawn = Window(60, "random").draw(np.array([80]), seed + i)[0]
        assert drawn[0] == words[1] % 20


def test_direction_is_the_references_uniform() -> None:
    for seed in range(50):
        torch.manual_seed(seed)
        backwards = bool(torch.rand(1) <= 0.5)
        start = int(torch.randint(0, 20, (1,)))
        frames = Window(60, "random", reverse=0.5).draw(np.array([80]), seed)[0]
        forwards = np.arange(80)[::-1] if backwards else np.arange(80)
        assert frames.tolist() == forwards[start : start + 60].tolist()


@given(st.lists(st.integers(1, 150), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_random_windows_stay_inside_and_in_order(lengths: list[int], seed: int) -> None:
    counts = np.array(lengths)
    frames = Window(40, "random").draw(counts, seed)
    assert frames.shape == (len(lengths), 40)
    assert (frames >= 0).all() and (frames < counts[:, None]).all()
    steps = np.diff(frames, axis=1)
    assert (np.abs(steps) <= 1).all()
    assert (steps[counts >= 40] == 1).all()


def test_last_window_only_on_request() -> None:
    lengths = np.full(4000, 43)
    assert set(Window(40, "random").draw(lengths, 1)[:, 0]) == {0, 1, 2}
    assert set(Window(40, "random", include_last=True).draw(lengths, 1)[:, 0]) == {0, 1, 2, 3}


def test_shuffling_permutes_the_window() -> None:
    lengths = np.full(5, 50)
    plain = Window(40, "center").draw(lengths, 7)
    shuffled = Window(40, "center", shuffle=True).draw(lengths, 7)
    assert (np.sort(shuffled, axis=1) == plain).all()
    assert not (shuffled == plain).all(axis=1).any()


def test_reversal_probabilities() -> None:
    lengths = np.full(2000, 50)
    first = Window(40, "center", reverse=0.25).draw(lengths, 3)[:, :2]
    assert (np.diff(Window(40, reverse=1.0).draw(lengths, 3)[:, :2]) == -1).all()
    assert (np.diff(Window(40, reverse=0.0).draw(lengths, 3)[:, :2]) == 1).all()
    assert 0.2 < (np.diff(first) == -1).mean() < 0.3


def test_a_window_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="at least 1 frame"):
        Window(0)


def test_spread_windows_reach_both_ends() -> None:
    frames = Window(40, "spread", count=3).draw(np.array([60, 40, 10]), 0)
    assert frames.shape == (9, 40)
    assert frames[:3, 0].tolist() == [0, 10, 20] and frames[2, -1] == 59
    assert (frames[3:6] == np.arange(40)).all()
    center = Window(40).draw(np.array([10]), 0)
    assert (frames[6:] == center).all()


def test_there_is_one_centre() -> None:
    with pytest.raises(ValueError, match="several not at the centre"):
        Window(40, "center", count=3)
    with pytest.raises(ValueError, match="expected one window"):
        Window(40, "random", count=0)


@given(
    st.lists(st.integers(1, 150), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_several_random_windows_are_those_of_repeated_sequences(
    lengths: list[int], count: int, seed: int, shuffle: bool
) -> None:
    several = Window(40, "random", reverse=0.5, shuffle=shuffle, count=count)
    one = Window(40, "random", reverse=0.5, shuffle=shuffle)
    frames = several.draw(np.array(lengths), seed)
    assert frames.tolist() == one.draw(np.repeat(lengths, count), seed).tolist()


def test_windows_of_a_sequence_are_independent() -> None:
    frames = Window(40, "random", reverse=0.5, count=2).draw(np.full(4000, 80), 2)
    backwards = (frames[:, 0] > frames[:, 1]).reshape(-1, 2)
    start = frames.min(axis=1).reshape(-1, 2)
    for pairs in (backwards, start):
        assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.05
