"""Windows: which frames of a sequence a batch shows, as index arithmetic for the whole batch.

A window is a row of frame numbers counted from the start of its sequence. Nothing here touches a
frame; the store turns the numbers of a whole batch into one gather.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gaitbench.errors import InputError

Indices = NDArray[np.int64]
Steps = TypeVar("Steps", Indices, Tensor)
Pace = Literal["none", "reference", "interpolated"]

PACES = tuple(0.25 * step for step in range(1, 9))
"""Speeds of a training window as multiples of the recorded one, each as likely as the others.

Source: authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803.
"""

# that program cuts speeds and their inverses to whole numbers: 0.75 and 1.25 to 1.75 do nothing
_REPEATS = np.array([max(int(1 / pace), 1) for pace in PACES])
_STRIDES = np.array([max(int(pace), 1) for pace in PACES])

_POWERS_OF_THREE = 3 ** np.arange(20, dtype=np.int64)


def padded_to_source(positions: Indices, lengths: Indices, size: int) -> Indices:
    """Frame of the sequence that stands at each position of the sequence padded by reflection.

    A sequence longer than ``size`` is its own padding. Otherwise d = size + 1 - L frames are
    missing, a = ceil(d / 2), b = floor(d / 2) + 1; the frame list f becomes reversed(f) + f +
    reversed(f) as often as it is shorter than a or b (edge frames repeat; a and b stay); and the
    padding is reversed(f[1..a-1]) + f + reversed(f[..len(f)-2]), cut to ``size``. Edges are not
    repeated at the two outer reflections, and very short sequences lie off-centre.

    Args:
        positions: (B, N), 0 up to ``max(length, size) - 1``.
        lengths: (B,) frames of each sequence, at least 1.
        size: frames wanted, S.

    Returns:
        (B, N) frame numbers within each sequence.

    Source: authors' code of Teepe et al. 2022, arXiv 2204.07855. Tripling makes a wave of period
    2 L, so that no list is ever built.
    """
    missing = size + 1 - lengths
    before, after = (missing + 1) // 2, missing // 2 + 1
    triplings = np.searchsorted(_POWERS_OF_THREE, -(-np.maximum(before, after) // lengths))
    copies = _POWERS_OF_THREE[triplings]
    tripled = (lengths * copies)[:, None]
    period = 2 * lengths[:, None]

    inner = np.abs(positions - (before - 1)[:, None])
    inner = np.where(inner >= tripled, 2 * tripled - 2 - inner, inner)
    wave = (inner - (copies // 2 * lengths)[:, None]) % period
    padded = np.minimum(wave, period - 1 - wave)
    return np.where(lengths[:, None] > size, positions, padded)


@dataclass(frozen=True)
class Window:
    """How a window is cut from each sequence of a batch.

    Args:
        size: frames S of a window; shorter sequences are padded by reflection.
        place: ``"random"``, ``"center"`` or ``"spread"``: evenly from the first to the last.
        reverse: probability that the window runs backwards in time.
        shuffle: frames in random order (the published ablation of temporal order).
        include_last: whether a random window may be the very last one. The reference never draws
            it (and a sequence of S + 1 frames always starts at 0), hence False.
        count: windows a sequence, side by side; random ones are drawn independently, and there is
            but one centre.
    """

    size: int
    place: Literal["random", "center", "spread"] = "center"
    reverse: float = 0.0
    shuffle: bool = False
    include_last: bool = False
    count: int = 1

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.size < 1:
            raise ValueError(f"expected a window of at least 1 frame, found {self.size}")
        if self.count < 1 or (self.count > 1 and self.place == "center"):
            raise ValueError(f"expected one window, or several not at the centre, found {self}")

    def draw(self, lengths: Indices, seed: int) -> Indices:
        """Frame numbers (B * count, S) within sequences of the given ``lengths`` (B,).

        The same lengths and seed give the same windows. Two words are drawn for each window,
        one for its direction and one for its place, so that a batch of one draws what the
        reference draws: the legacy generator is the Mersenne Twister that torch uses on a CPU,
        seeded alike.

        Source: authors' code of Teepe et al. 2022, arXiv 2204.07855, for order and bounds.
        """
        lengths = np.repeat(lengths, self.count)
        random = np.random.RandomState(seed)
        words = random.randint(0, 2**32, size=(len(lengths), 2), dtype=np.uint32).astype(np.int64)
        padded = np.maximum(lengths, self.size)
        spare = padded - self.size
        if self.place == "spread":
            step = np.arange(len(lengths)) % self.count
            start = spare * step // max(self.count - 1, 1)
        elif self.place == "center":
            start = spare // 2
        else:
            start = words[:, 1] % np.maximum(spare + self.include_last, 1)
        positions = start[:, None] + np.arange(self.size)
        # a float32 uniform is the low 24 bits of a word
        backwards = self.reverse > 0 and (words[:, :1] % 2**24) / 2**24 <= self.reverse
        positions = np.where(backwards, padded[:, None] - 1 - positions, positions)
        if self.shuffle:
            order = random.random_sample(positions.shape).argsort(axis=1)
            positions = np.take_along_axis(positions, order, axis=1)
        return padded_to_source(positions, lengths, self.size)


def central_frames(lengths: Indices, size: int) -> Indices:
    """Frames of GaitFormer's deterministic crop: the middle of a walk, to the exact index.

    With h = floor(S / 2) and m = floor(L / 2) these are the frames m - h to m + h - 1. Where m < h
    the walk's first h - m frames (one more if L is odd) stand before it and its last h - m behind
    it, not mirrored. What is then shorter than S is repeated: a walk of less than about S / 3
    frames, and a window of odd S, whose last frame is its first.

    Args:
        lengths: (B,) frames of each sequence, at least 1.
        size: frames wanted, S.

    Returns:
        (B, S) frame numbers within each sequence.

    Source: authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803; it stops at an S of 1,
    which is the middle frame here.
    """
    half = size // 2
    first = lengths // 2 - half
    missing = np.maximum(-first, 0)
    head = np.where(missing, np.minimum(missing + lengths % 2, lengths), 0)
    tail = np.minimum(missing, lengths)
    cycle = np.where(missing, head + lengths + tail, max(2 * half, 1))
    step = np.arange(size) % cycle[:, None]

    head, tail, length = head[:, None], tail[:, None], lengths[:, None]
    outside = (step >= head) * head + (step >= head + length) * tail
    return np.maximum(first, 0)[:, None] + step - outside


def paced_steps(pace: Indices, start: Indices, size: int) -> Indices:
    """Steps into a stretch of 2 S frames at which a window of S shows them at another speed.

    Args:
        pace: (B,) index of the speed in :data:`PACES`. Below 1 each frame of the stretch is
            repeated, above 1 some are left out, a whole number of times; so speeds cut to whole
            numbers are as slow as that.
        start: (B,) frames skipped, counted after the repetition: less than :func:`paced_starts`.
        size: frames of the window, S.

    Returns:
        (B, S) steps, 0 to 2 S - 1.

    Source: authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803.
    """
    steps = start[:, None] + np.arange(size) * _STRIDES[pace][:, None]
    return np.asarray(steps // _REPEATS[pace][:, None])


def paced_starts(pace: Indices, size: int) -> Indices:
    """How many starts (B,) a window at each speed has.

    They are counted as if no frame were repeated, so the slow windows of the reference show the
    first half of the stretch, or its first quarter, only.
    """
    return np.asarray(size * (2 - _STRIDES[pace]) + 1)


def swapped_blocks(steps: Steps, top: Steps, bottom: Steps, block: int) -> Steps:
    """The order in which two blocks of frames have changed places.

    Args:
        steps: (..., S) numbers of the frames, 0 to S - 1: of an array or a tensor.
        top: (..., 1) first frame of the later block.
        bottom: (..., 1) first frame of the earlier block; the same as ``top`` for no change.
        block: frames of a block.

    Returns:
        (..., S) which frame stands at each step.
    """
    later = (steps >= top) & (steps < top + block)
    earlier = (steps >= bottom) & (steps < bottom + block)
    return steps + (top - bottom) * (earlier * 1 - later * 1)


def held_frames(lost: NDArray[np.bool_]) -> Indices:
    """Steps at which each lost frame shows the one before it, or the first that is not lost.

    Args:
        lost: (B, S) frames that are lost; where all are, all show the first.

    Returns:
        (B, S) steps, 0 to S - 1.
    """
    steps = np.where(lost, -1, np.arange(lost.shape[1]))
    held = np.maximum.accumulate(steps, axis=1)
    return np.asarray(np.maximum(held, (~lost).argmax(axis=1)[:, None]))


@dataclass(frozen=True)
class TiledWindow(Window):
    """How GaitFormer cuts a window from each sequence: short ones are repeated, not reflected.

    In this order: a random crop, its pace, its direction, lost frames, two blocks that change
    places, shuffled frames.

    Args:
        size: frames S of a window.
        place: as of :class:`Window`. ``center`` is :func:`central_frames`, and so are all
            ``spread`` windows of a sequence with fewer than S frames.
        reverse: as of :class:`Window`; ``shuffle``, ``include_last`` and ``count`` too.
        pace: ``reference`` crops 2 S frames at random and shows S of them as :func:`paced_steps`
            does, at one of the :data:`PACES`. ``interpolated`` returns the 2 S frames, from which
            :class:`gaitbench.transforms.PoseAugmentation` makes S on the device.
        permutation: probability that two blocks change places. Not with an interpolated pace,
            after which the device does it.
        permutation_size: frames of such a block.
        frame_dropout: probability that a frame is lost and shows the one before it.

    Raises:
        InputError: if a window cannot hold two blocks.

    Source: authors' program of Cosma and Radoi 2022, doi 10.3390/s22186803. There ``reverse`` is
    the probability that a window runs forwards, the same at the published 0.5; exchanged blocks
    are switched off; and lost frames, which are not used, shorten a window.
    """

    pace: Pace = "none"
    permutation: float = 0.0
    permutation_size: int = 6
    frame_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.pace != "none" and self.place != "random":
            raise ValueError(f"expected random windows where their pace varies, found {self}")
        if self.permutation and self.size < 2 * self.permutation_size + 2:
            raise InputError(
                f"blocks of {self.permutation_size} frames change places only in windows of "
                f"{2 * self.permutation_size + 2} or more, data.frames is {self.size}; lower "
                "augmentation.permutation_size or set augmentation.permutation 0"
            )

    def draw(self, lengths: Indices, seed: int) -> Indices:
        """Frame numbers (B * count, S) within sequences of the given ``lengths`` (B,).

        They are (B * count, 2 S) neighbouring frames with an interpolated pace. The same lengths
        and seed give the same windows.
        """
        lengths = np.repeat(lengths, self.count)
        random = np.random.default_rng(seed)
        frames = self._placed(lengths, random)
        rows, size = frames.shape
        if self.reverse:
            chosen = random.random((rows, 1)) < self.reverse
            frames = np.where(chosen, frames[:, ::-1], frames)
        if self.frame_dropout:
            lost = random.random(frames.shape) < self.frame_dropout
            frames = np.take_along_axis(frames, held_frames(lost), axis=1)
        if self.permutation and self.pace != "interpolated":
            block = self.permutation_size
            top = random.integers(block + 1, size - block, (rows, 1))
            bottom = random.integers(0, top - block)
            bottom = np.where(random.random((rows, 1)) <= self.permutation, bottom, top)
            order = swapped_blocks(np.arange(size)[None], top, bottom, block)
            frames = np.take_along_axis(frames, order, axis=1)
        if self.shuffle:
            order = random.random(frames.shape).argsort(axis=1)
            frames = np.take_along_axis(frames, order, axis=1)
        return frames

    def _placed(self, lengths: Indices, random: np.random.Generator) -> Indices:
        """The frames in the order in which they were recorded."""
        if self.place == "center":
            return central_frames(lengths, self.size)
        crop = self.size if self.pace == "none" else 2 * self.size
        spare = np.maximum(lengths - crop, 0)
        if self.place == "spread":
            step = np.arange(len(lengths)) % self.count
            first = spare * step // max(self.count - 1, 1)
            frames = first[:, None] + np.arange(crop)
            short = lengths[:, None] < crop
            return np.where(short, central_frames(lengths, crop), frames) if short.any() else frames
        # the reference never takes the last window of a longer sequence
        first = random.integers(0, np.maximum(spare + self.include_last, 1))
        if self.pace == "reference":
            pace = random.integers(0, len(PACES), len(lengths))
            start = random.integers(0, paced_starts(pace, self.size))
            steps = paced_steps(pace, start, self.size)
        else:
            steps = np.arange(crop)[None]
        return np.asarray((first[:, None] + steps) % lengths[:, None])
