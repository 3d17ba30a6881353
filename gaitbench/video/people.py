"""Who is where in a video of a fixed camera: what differs from the background, followed in time.

All of it works on pictures that are made smaller first, see :func:`shrunken`: a person of 60 pixels
is found as surely as one of 600, and a silhouette is 64 high in the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitbench.video.decode import Image

# videos are read side by side, and OpenCV's threads survive no fork: it must never have any
cv2.setNumThreads(1)

Mask = NDArray[np.bool_]
Box = NDArray[np.int64]
"""(4,) x0, y0, x1, y1: pixels from the first to before the last."""

HEIGHT = 240
"""Most lines of a picture that people are sought in."""

SAMPLES, STRETCHES, ALIKE = 48, 12, 12
"""Pictures that a background is made of; stretches of time they are counted by; steps of 256 in
each colour up to which two pixels are alike, above the noise of cameras and codecs."""

CROWDED = 0.03  # share of a picture covered by people that halves its say in the background
FAINTEST, NOISE = 20, 6.0  # steps of 256 that tell a person from background; times the noise
CLEAR = (3.0, 0.02)  # times that threshold; share of a piece's pixels that are so clear
SMALLEST, LOWEST = 0.004, 0.15  # of the picture: area and height of whom a track begins with
FRAGMENT = 0.0005  # of the picture: area of what a track may be continued with
FEET, BARE = 0.15, 0.1  # of a body's height where shadows fall; of it, what cannot be shadow alone
DIMMEST, TINTED = 0.45, 0.12  # share of light in a shadow; by how much it differs between colours
NEAR = (0.02, 0.06)  # of the picture's height: gaps across and along in what is one body
REACH = 0.15  # body heights that a person moves between frames, at most
OVERLAP = 0.1  # share in common with a track's reach that continues the track
PATIENCE = 0.5  # seconds that a person may be lost
CHUNK = 1 << 12  # pixels whose colours in all samples stay in a core's cache


def shrunken(image: Image) -> Image:
    """The picture with at most :data:`HEIGHT` lines, each pixel the mean of a square."""
    factor = shrinkage(len(image))
    if factor == 1:
        return image
    size = (image.shape[1] // factor, image.shape[0] // factor)
    small: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return small


def shrinkage(height: int) -> int:
    """Lines of a picture of that height that become one of the smaller picture."""
    return math.ceil(height / HEIGHT)


def sampled(images: Iterable[Image]) -> tuple[NDArray[np.uint8], int]:
    """At most :data:`SAMPLES` small pictures spread evenly over a video, and its length.

    Args:
        images: all frames; of them, few are held at a time.
    """
    kept: list[Image] = []
    step, length = 1, 0
    for length, image in enumerate(images, start=1):
        if (length - 1) % step == 0:
            kept.append(shrunken(image))
            if len(kept) == 2 * SAMPLES:
                kept, step = kept[::2], 2 * step
    chosen = np.linspace(0, len(kept) - 1, min(SAMPLES, len(kept))).astype(int)
    return np.stack([kept[i] for i in chosen]), length


def background(samples: NDArray[np.uint8]) -> Image:
    """What a fixed camera sees without people.

    Of the colours that a pixel has had, the one is chosen that is seen in most stretches of the
    video: a background comes back after each person, a person who stands still does not, however
    long. This is done twice; the second time, pictures with few people in them count for more.

    Args:
        samples: (N, h, w, 3) pictures in order of time.
    """
    first = _recurrent(samples, np.ones(len(samples)))
    crowd = np.array([foreground(image, first, FAINTEST).mean() for image in samples])
    return _recurrent(samples, 1 / (1 + crowd / CROWDED))


def threshold(samples: NDArray[np.uint8], background: Image) -> float:
    """Steps of 256 from which on a pixel is no longer background."""
    noise = np.median(cv2.absdiff(samples, np.broadcast_to(background, samples.shape).copy()))
    return max(FAINTEST, NOISE * float(noise))


def foreground(image: Image, background: Image, threshold: float) -> Mask:
    """(h, w) where a small picture differs from the background.

    Shadows and reflections are mostly faint: a piece without clear pixels is none.
    """
    differs = cv2.absdiff(image, background).max(axis=-1)
    mask = (differs > threshold).view(np.uint8)
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    oval = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 7))
    count, labels = cv2.connectedComponents(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, oval))
    clear = np.bincount(labels[differs > CLEAR[0] * threshold], minlength=count)
    kept = clear >= CLEAR[1] * np.bincount(labels.ravel(), minlength=count)
    kept[0] = False  # what is no piece
    pieces: Mask = kept[labels]
    return pieces


class Body(NamedTuple):
    """What may be a person in one small picture."""

    box: Box
    mask: Mask  # of the box alone


def bodies(mask: Mask, image: Image, background: Image) -> list[Body]:
    """The connected parts of a foreground; parts that are near each other are one body.

    At the feet, shadows are left out. Elsewhere nothing is taken for one: a gray coat before a
    white wall looks the same.

    Args:
        mask: (h, w) the foreground.
        image: the small picture.
        background: what is behind.
    """
    across, along = (2 * round(near * len(mask)) + 1 for near in NEAR)
    pieces = mask.view(np.uint8)
    grown = cv2.dilate(pieces, np.ones((along, across), np.uint8))
    count, labels = cv2.connectedComponents(grown)
    labels[~mask] = 0
    found = []
    for label in range(1, count):
        part = labels == label
        if part.sum() < FRAGMENT * mask.size:
            continue
        x, y, w, h = cv2.boundingRect(part.view(np.uint8))
        feet = slice(y + round((1 - FEET) * h), y + h), slice(x, x + w)
        bare = part[feet] & ~_shaded(image[feet], background[feet])
        bare = cv2.morphologyEx(bare.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        if bare.sum() >= BARE * part[feet].sum():
            part[feet] = bare
            x, y, w, h = cv2.boundingRect(part.view(np.uint8))
        found.append(Body(np.array([x, y, x + w, y + h]), part[y : y + h, x : x + w]))
    return found


def _shaded(image: Image, background: Image) -> Mask:
    """(h, w) where a picture is the background with less light: alike in all colours."""
    share = (image + np.float32(1)) / (background + np.float32(1))
    least, most = share.min(axis=-1), share.max(axis=-1)
    shaded: Mask = (least > DIMMEST) & (most < 1) & (most - least < TINTED)
    return shaded


@dataclass
class Track:
    """A person followed through a video.

    Attributes:
        first: frame of the video that the track begins with.
        bodies: where the person is in each frame from there; None where nobody was seen.
    """

    first: int
    bodies: list[Body | None] = field(default_factory=list)

    @property
    def last(self) -> Body:
        """Where the person was seen last."""
        return next(body for body in reversed(self.bodies) if body is not None)

    @property
    def unseen(self) -> int:
        """Frames since then."""
        return next(i for i, body in enumerate(reversed(self.bodies)) if body is not None)

    def boxes(self) -> NDArray[np.float64]:
        """(L, 4) of each frame; where nobody was seen, on the straight way between neighbours."""
        seen = np.flatnonzero([body is not None for body in self.bodies])
        known = np.array([body.box for body in self.bodies if body is not None])
        frames = np.arange(len(self.bodies))
        return np.stack([np.interp(frames, seen, edge) for edge in known.T], axis=1)


class Tracker:
    """Follows bodies from frame to frame by their overlap.

    A frame's body belongs to the track that it overlaps most with; several bodies of one track are
    pieces of one person. Whoever overlaps with nobody, and is large enough, begins a track.

    Args:
        fps: frames a second, 0 if they are not known.
        shape: lines and columns of the small pictures.
    """

    def __init__(self, fps: float, shape: tuple[int, ...]) -> None:
        self.patience = round(PATIENCE * (fps or 25))
        self.shape = shape
        self.frame = 0
        self.active: list[Track] = []
        self.ended: list[Track] = []

    def add(self, found: Sequence[Body]) -> None:
        """Take in the bodies of the next frame."""
        known = [track.last.box for track in self.active]
        pieces: list[list[Body]] = [[] for _ in known]
        for body in found:
            overlaps = [_overlap(box, body.box) for box in known]
            if overlaps and max(overlaps) >= OVERLAP:
                pieces[overlaps.index(max(overlaps))].append(body)
            elif self._is_person(body):
                self.active.append(Track(self.frame))
                pieces.append([body])
        for track, own in zip(self.active, pieces, strict=True):
            track.bodies.append(_joined(own) if own else None)
        self.frame += 1
        self._end([track for track in self.active if track.unseen > self.patience])

    def finish(self) -> list[Track]:
        """All tracks, in the order of their beginning; each ends where somebody was seen."""
        self._end([*self.active])
        return sorted(self.ended, key=lambda track: track.first)

    def _end(self, tracks: Sequence[Track]) -> None:
        for track in tracks:
            del track.bodies[len(track.bodies) - track.unseen :]
            self.active.remove(track)
            self.ended.append(track)

    def _is_person(self, body: Body) -> bool:
        height, width = self.shape[:2]
        tall = body.box[3] - body.box[1] >= LOWEST * height
        return bool(tall and body.mask.sum() >= SMALLEST * height * width)


def _overlap(track: Box, body: Box) -> float:
    """Share of a body, or of a track's reach, that both have in common; whichever is larger."""
    reach = REACH * (track[3] - track[1])
    wide = track + reach * np.array([-1, -1, 1, 1])
    low, high = np.maximum(wide[:2], body[:2]), np.minimum(wide[2:], body[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / float(min(np.prod(wide[2:] - wide[:2]), np.prod(body[2:] - body[:2])))


def _joined(pieces: Sequence[Body]) -> Body:
    """One body of several pieces."""
    if len(pieces) == 1:
        return pieces[0]
    boxes = np.stack([piece.box for piece in pieces])
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    for (x0, y0, x1, y1), part in pieces:
        mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] |= part
    return Body(box, mask)


def _recurrent(samples: NDArray[np.uint8], weight: NDArray[np.float64]) -> Image:
    """The colour of each pixel that comes back in most stretches of time.

    A stretch counts with the greatest weight of its pictures that show the colour; all pictures
    that show it decide between colours that are seen in equally many, and are averaged.
    """
    count = len(samples)
    stretch = np.arange(count) * min(STRETCHES, count) // count
    begins = np.flatnonzero(np.diff(stretch, prepend=-1))
    say = np.round(weight / weight.max() * 255).astype(np.uint8)[:, None]
    planes = samples.reshape(count, -1, 3).transpose(0, 2, 1)
    result = np.empty(planes.shape[1:], np.uint8)
    for begin in range(0, planes.shape[2], CHUNK):
        colours = np.ascontiguousarray(planes[..., begin : begin + CHUNK])
        best = np.full(colours.shape[2], -1)
        mean = np.zeros(colours.shape[1:])
        for candidate in colours:
            shown = _alike(colours, candidate) * say
            total = shown.sum(axis=0, dtype=np.int64)
            score = np.maximum.reduceat(shown, begins).sum(axis=0, dtype=np.int64) << 16
            better = score + total > best
            best = np.where(better, score + total, best)
            mean = np.where(better, candidate, mean)
        shown = _alike(colours, mean.astype(np.uint8)) * say
        result[:, begin : begin + CHUNK] = np.round(
            np.einsum("ncp,np->cp", colours, shown, dtype=np.float64) / shown.sum(axis=0)
        )
    return np.ascontiguousarray(result.T).reshape(samples.shape[1:])


def _alike(colours: NDArray[np.uint8], candidate: NDArray[np.uint8]) -> Mask:
    """(N, P) which of (N, 3, P) colours are like those of (3, P)."""
    apart = cv2.absdiff(colours, np.broadcast_to(candidate, colours.shape).copy())
    alike: Mask = apart.max(axis=1) <= ALIKE
    return alike
