from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaitbench.errors import InputError
from gaitbench.windows import (
    PACES,
    TiledWindow,
    Window,
    central_frames,
    held_frames,
    paced_starts,
    paced_steps,
    padded_to_source,
    swapped_blocks,
)
from tests.goldens import GAITFORMER
from tests.goldens import golden as arrays

TILED = arrays("transforms", GAITFORMER)
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


# GaitFormer's windows.


def center_by_lists(length: int, size: int) -> list[int]:
    """The specification of the deterministic crop, literally."""
    f, half, middle = list(range(length)), size // 2, length // 2
    if middle >= half:
        f = f[middle - half : middle + half]
    elif length < size:
        missing = half - middle
        f = (f[: missing + length % 2] + f + f[-missing:])[:size]
    return (f * (size // len(f) + 2))[:size]


@pytest.mark.parametrize("size", [48, 24, 72, 47, 2])
def test_the_crop_in_the_middle_is_the_references(size: int) -> None:
    found = TiledWindow(size, "center").draw(TILED["lengths"], seed=0)
    assert (found == TILED[f"detcrop/P{size}"]).all()


@given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.integers(2, 130))
def test_the_crop_in_the_middle_follows_the_lists(lengths: list[int], size: int) -> None:
    found = central_frames(np.array(lengths), size)
    assert found.tolist() == [center_by_lists(length, size) for length in lengths]


def test_one_frame_is_the_one_in_the_middle() -> None:
    assert central_frames(np.array([1, 2, 3, 50]), 1).tolist() == [[0], [1], [1], [25]]


def test_random_crops_repeat_short_walks_and_start_where_the_reference_does() -> None:
    lengths = TILED["randcrop/lengths"]
    window = TiledWindow(96, "random")
    starts = np.stack([window.draw(lengths, seed) for seed in range(400)])
    first = starts[..., 0]
    expected = (TILED["randcrop/P96_top0"] + first[..., None]) % lengths[:, None]
    long = lengths > 96
    assert (starts == np.where(long[:, None], starts[..., :1] + np.arange(96), expected)).all()
    assert (first[:, ~long] == 0).all()
    bound = TILED["randcrop/randint_exclusive_high"]
    assert (first[:, long] < bound[long]).all()
    few = long & (bound < 40)
    assert few.any() and (first[:, few].max(axis=0) == bound[few] - 1).all()
    at_seven = window.draw(np.full(4000, 200), 0)
    assert (at_seven[at_seven[:, 0] == 7] == TILED["randcrop/P96_T200_top7"]).all()


def test_a_random_crop_reaches_the_end_on_request() -> None:
    lengths = np.full(4000, 43)
    assert set(TiledWindow(40, "random").draw(lengths, 1)[:, 0]) == {0, 1, 2}
    last = TiledWindow(40, "random", include_last=True).draw(lengths, 1)
    assert set(last[:, 0]) == {0, 1, 2, 3}


@pytest.mark.parametrize(("index", "pace"), list(enumerate(PACES)))
def test_paces_are_the_references(index: int, pace: float) -> None:
    own, key = np.array([index]), f"pace/p{pace:g}"
    assert paced_starts(own, 48) == TILED[f"{key}/n_tops"]
    for start, name in ((0, "top0"), (int(TILED[f"{key}/top"]), "at_top")):
        found = paced_steps(own, np.array([start]), 48)[0]
        assert (found == TILED[f"{key}/{name}"]).all()


def pace_by_lists(crop: list[int], pace: float, start: int) -> tuple[int, ...]:
    """The specification of the random pace, literally."""
    if pace < 1:
        repeated = [frame for frame in crop for _ in range(int(1 / pace))]
        return tuple(repeated[start : start + 48])
    return tuple(crop[start : start + 48 * int(pace) : int(pace)])


def test_paced_windows_are_all_those_of_the_reference() -> None:
    crops = [list(range(first, first + 96)) for first in range(4)]  # the last is never taken
    windows = {
        pace: {pace_by_lists(crop, pace, start) for crop in crops for start in range(n)}
        for pace, n in ((0.25, 49), (0.5, 49), (1.0, 49), (2.0, 1))
    }
    drawn = TiledWindow(48, "random", pace="reference").draw(np.full(20000, 100), 0)
    found = [tuple(row) for row in drawn.tolist()]
    assert set(found) == set.union(*windows.values())
    for pace, share in ((0.25, 1 / 8), (0.5, 1 / 8), (1.0, 5 / 8), (2.0, 1 / 8)):
        assert abs(sum(row in windows[pace] for row in found) / len(found) - share) < 0.01


def test_paced_windows_of_short_walks_repeat_them() -> None:
    frames = TiledWindow(48, "random", pace="reference").draw(np.full(500, 30), 0)
    assert set(np.unique(np.diff(frames, axis=1) % 30)) == {0, 1, 2}
    assert (TiledWindow(48, "random", pace="reference").draw(np.ones(9, int), 0) == 0).all()


def test_an_interpolated_pace_gets_twice_the_frames() -> None:
    lengths = np.array([200, 97, 96, 40])
    frames = TiledWindow(48, "random", pace="interpolated", reverse=0.5, count=3).draw(lengths, 5)
    assert frames.shape == (12, 96)
    length = np.repeat(lengths, 3)[:, None]
    assert set(np.unique(np.diff(frames, axis=1) % length)) <= {1, 39, 95, 96, 199}
    drawn = TiledWindow(48, "random", pace="interpolated", permutation=1.0).draw(lengths, 5)
    assert set(np.unique(np.diff(drawn, axis=1) % lengths[:, None])) == {1}


def test_spread_tiled_windows_reach_both_ends() -> None:
    frames = TiledWindow(40, "spread", count=3).draw(np.array([60, 40, 10]), 0)
    assert frames[:3, 0].tolist() == [0, 10, 20] and frames[2, -1] == 59
    assert (frames[3:6] == np.arange(40)).all()
    assert (frames[6:] == center_by_lists(10, 40)).all()


def test_blocks_change_places_as_in_the_reference() -> None:
    order = swapped_blocks(np.arange(48)[None], np.array([[30]]), np.array([[11]]), 6)
    assert (order[0] == TILED["permutation/ps6_T48_top30_bottom11"]).all()
    top = np.array([[30]])
    assert (swapped_blocks(np.arange(48)[None], top, top, 6) == np.arange(48)).all()


def test_where_blocks_lie() -> None:
    window = TiledWindow(20, "center", permutation=1.0, permutation_size=4)
    frames = window.draw(np.full(6000, 20), 0)
    assert (np.sort(frames, axis=1) == np.arange(20)).all()
    moved = frames != np.arange(20)
    bottom, last = moved.argmax(axis=1), 19 - moved[:, ::-1].argmax(axis=1)
    top = last - 3
    assert moved.any(axis=1).all()
    assert set(top) == set(range(5, 16))  # 4 + 1 to 20 - 4 - 1
    for later in set(top):
        assert set(bottom[top == later]) == set(range(later - 4))
    some = TiledWindow(20, "center", permutation=0.25, permutation_size=4)
    changed = (some.draw(np.full(6000, 20), 0) != np.arange(20)).any(axis=1)
    assert 0.22 < changed.mean() < 0.28


def test_blocks_must_fit_into_the_window() -> None:
    TiledWindow(10, permutation=0.5, permutation_size=4).draw(np.array([10]), 0)
    with pytest.raises(InputError, match=r"in windows of 10 or more, data.frames is 9"):
        TiledWindow(9, permutation=0.5, permutation_size=4)


@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=5))
def test_lost_frames_show_the_one_before(lost: list[list[bool]]) -> None:
    for row, found in zip(lost, held_frames(np.array(lost)).tolist(), strict=True):
        kept = [i for i, gone in enumerate(row) if not gone] or [0]
        expected = [max((k for k in kept if k <= i), default=kept[0]) for i in range(9)]
        assert found == expected


def test_share_of_lost_frames() -> None:
    frames = TiledWindow(40, "center", frame_dropout=0.2).draw(np.full(1000, 40), 0)
    assert 0.18 < (frames != np.arange(40)).mean() < 0.22
    assert (TiledWindow(40, frame_dropout=1.0).draw(np.array([40]), 0) == 0).all()


def test_directions_of_tiled_windows() -> None:
    """The reference reverses where its draw is above the probability; the share is what counts."""
    for probability in (0.0, 0.25, 1.0):
        window = TiledWindow(40, reverse=probability)
        backwards = window.draw(np.full(4000, 50), 3)[:, 0] == 44
        assert abs(backwards.mean() - probability) < 0.03
    assert (TILED["flipseq/p0.25_u0.5"] == np.arange(6)[::-1]).all()
    found = TiledWindow(6, reverse=1.0).draw(np.array([6]), 0)
    assert (found == TILED["flipseq/p0.25_u0.5"]).all()


def test_tiled_windows_shuffle_too() -> None:
    frames = TiledWindow(40, "center", shuffle=True).draw(np.full(5, 50), 7)
    assert (np.sort(frames, axis=1) == np.arange(5, 45)).all()
    assert not (frames == np.arange(5, 45)).all(axis=1).any()


ALL_OF_TIME = TiledWindow(
    48,
    "random",
    reverse=0.5,
    pace="reference",
    permutation=0.5,
    frame_dropout=0.1,
    shuffle=True,
    count=2,
)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_tiled_windows_stay_inside_and_repeat(lengths: list[int], seed: int) -> None:
    counts = np.array(lengths)
    frames = ALL_OF_TIME.draw(counts, seed)
    assert frames.shape == (2 * len(counts), 48) and frames.dtype == np.int64
    assert (frames >= 0).all() and (frames < np.repeat(counts, 2)[:, None]).all()
    assert (frames == ALL_OF_TIME.draw(counts, seed)).all()


def test_views_of_a_walk_are_independent() -> None:
    window = TiledWindow(40, "random", reverse=0.5, count=2)
    frames = window.draw(np.full(4000, 80), 2)
    backwards = (frames[:, 0] > frames[:, 1]).reshape(-1, 2)
    for pairs in (backwards, frames.min(axis=1).reshape(-1, 2)):
        assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.05


def test_the_pace_varies_in_random_windows_only() -> None:
    with pytest.raises(ValueError, match="random windows where their pace varies"):
        TiledWindow(40, "center", pace="reference")
