"""Windows: which frames of a sequence a batch shows, as index arithmetic for the whole batch.

A window is a row of frame numbers counted from the start of its sequence. Nothing here touches a
frame; the store turns the numbers of a whole batch into one gather.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

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
