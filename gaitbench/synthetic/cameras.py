"""Cameras, and a pose estimator that errs.

`project` and `detect` make of a walk's joints what a pose estimator would report from a camera.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.skeleton import COCO17, Skeleton
from gaitbench.synthetic.people import Array, drift, joints_of


@dataclass(frozen=True)
class Camera:
    """A pinhole camera beside the path, its axis horizontal and through the path's middle.

    Args:
        view: degrees; at 0 the walker comes towards the camera, at 90 the camera stands on the
            walker's left, at 180 the walker leaves.
        distance: metres from the middle of the path.
        height: metres above the ground.
        focal: focal length in pixels.
        image: its width and height in pixels; the axis passes through its middle.
    """

    view: float
    distance: float = 5.2
    height: float = 1.1
    focal: float = 385.0
    image: tuple[int, int] = (320, 240)

    @property
    def position(self) -> Array:
        """Where its pinhole is, (3,) metres."""
        angle = np.radians(self.view)
        return np.array([self.distance * np.cos(angle), self.distance * np.sin(angle), self.height])

    @property
    def axes(self) -> Array:
        """Directions (3, 3) in which it has its right, its top and its view."""
        angle = np.radians(self.view)
        sin, cos = np.sin(angle), np.cos(angle)
        return np.array([[-sin, cos, 0], [0, 0, 1], [-cos, -sin, 0]])

    def placed(self, rng: np.random.Generator) -> "Camera":
        """The camera as somebody set it up: 3 % of distance, 4 cm of height, 2 degrees."""
        return replace(
            self,
            view=self.view + rng.normal(0, 2),
            distance=self.distance * rng.normal(1, 0.03),
            height=self.height + rng.normal(0, 0.04),
        )


def project(joints: Array, camera: Camera) -> tuple[Array, Array]:
    """What a camera sees.

    Args:
        joints: (..., 3) metres, x forward, y left, z up; in front of the camera.
        camera: where from.

    Returns:
        Pixels (..., 2), x to the right and y down from the image's upper left corner, and depth
        (...,), metres along the camera's axis.
    """
    angle = np.radians(camera.view)
    towards = np.array([np.cos(angle), np.sin(angle)])
    right = np.array([-np.sin(angle), np.cos(angle)])
    depth = camera.distance - joints[..., :2] @ towards
    x = camera.image[0] / 2 + camera.focal * (joints[..., :2] @ right) / depth
    y = camera.image[1] / 2 + camera.focal * (camera.height - joints[..., 2]) / depth
    return np.stack([x, y], axis=-1), depth


class _Spot(NamedTuple):
    """What a detector finds hard about a joint of the left side or the middle.

    Args:
        outward: the horizontal direction (forwards, leftwards) in which the joint lies at the
            body's surface; seen well from there, hidden from behind. Limbs are seen from all but
            the far side.
        sigma: thousandths by which COCO's annotators differ (its keypoint evaluation); the neck,
            which COCO lacks, as the shoulders.
        coat: metres by which a coat moves it outwards.
        blur: condition -> factor of the error.
    """

    outward: tuple[float, float]
    sigma: float
    coat: float = 0.0
    blur: Mapping[str, float] = MappingProxyType({})


_SPOTS = {
    "nose": _Spot((1, 0), 26),
    "eye": _Spot((0.9, 0.4), 25),
    "ear": _Spot((0.1, 0.9), 35),
    "neck": _Spot((0, 0), 79),
    "shoulder": _Spot((0.05, 0.9), 79, coat=0.025, blur={"cl": 1.4}),
    "elbow": _Spot((0.05, 0.9), 72, coat=0.025, blur={"cl": 1.4}),
    "wrist": _Spot((0.05, 0.9), 62, blur={"cl": 1.4, "bg": 1.3}),
    "hip": _Spot((0, 0.75), 107, coat=0.04, blur={"cl": 1.8, "bg": 1.3}),
    "knee": _Spot((0, 0.6), 87, blur={"cl": 2.0}),
    "ankle": _Spot((0, 0.6), 89),
}
_LEG = ("hip", "knee", "ankle")


@dataclass(frozen=True)
class Detector:
    """How a pose estimator errs; all of it is a guess, fitted to no estimator.

    Args:
        jitter: pixels of noise a frame, for a person 130 px tall.
        drift: pixels of slow noise.
        offset: pixels by which each joint is misplaced through a whole sequence.
        swap_rate: bursts of exchanged legs a frame, seen from the side.
        drop_rate: bursts of lost joints a joint and frame.
        miss_rate: bursts of frames without a person, a frame.
    """

    jitter: float = 0.9
    drift: float = 0.9
    offset: float = 1.3
    swap_rate: float = 0.006
    drop_rate: float = 0.0008
    miss_rate: float = 0.006


def bursts(
    rng: np.random.Generator, shape: tuple[int, ...], rate: float | Array, longest: int
) -> NDArray[np.bool_]:
    """Events that begin with probability ``rate`` a frame (last axis), 1 to ``longest`` frames."""
    begins = rng.random(shape) < rate
    lengths = rng.integers(1, longest + 1, shape)
    hit = np.zeros(shape, dtype=bool)
    for delay in range(longest):
        hit[..., delay:] |= (begins & (lengths > delay))[..., : shape[-1] - delay]
    return hit


def detect(
    joints: Array,
    camera: Camera,
    condition: str,
    rng: np.random.Generator,
    detector: Detector | None = None,
    skeleton: Skeleton = COCO17,
) -> tuple[Array, NDArray[np.int64]]:
    """What a pose estimator reports of a walk.

    Frames in which the person is not wholly in the image, and those missed, are left out.

    Args:
        joints: (T, V, 3) from `walk`.
        camera: where from.
        condition: a coat widens hips and shoulders and blurs the knees.
        rng: of the errors.
        detector: how it errs; the default detector if none.
        skeleton: the layout it reports.

    Returns:
        Poses (K, V, 3): x and y in pixels and confidence in 0..1; and the frame numbers (K,)
        within the walk, from 1, rising, with gaps. K may be 0.
    """
    detector = detector or Detector()
    frames, count = len(joints), skeleton.num_joints
    names = [name.rpartition("_")[::2] for name in skeleton.joints]  # side or "", and part
    spots = [_SPOTS[part] for _, part in names]
    side = np.array([{"left": 1.0, "right": -1.0, "": 0.0}[side] for side, _ in names])
    hips = np.flatnonzero([part == "hip" for _, part in names])
    legs = np.flatnonzero([part in _LEG for _, part in names])

    body = joints[:, joints_of(skeleton)]
    heading = body[-1, hips].mean(axis=0) - body[0, hips].mean(axis=0)
    heading = heading[:2] / max(float(np.linalg.norm(heading[:2])), 1e-9)
    leftwards = np.array([-heading[1], heading[0]])
    if condition == "cl":
        body = body.copy()
        bulk = np.array([spot.coat for spot in spots]) * rng.normal(1, 0.3)
        body[..., :2] += (side * bulk)[:, None] * leftwards
        body[:, hips, 2] += rng.normal(-0.02, 0.02)
    pixels, depth = project(body, camera)
    scale = camera.focal / depth.mean(axis=1) * 1.55 / 130  # apparent height over 130 px

    # how far the walker's outer side of each joint is turned away, 0 seen .. 1 hidden
    place = camera.distance * np.array(
        [np.cos(np.radians(camera.view)), np.sin(np.radians(camera.view))]
    )
    sight = place - body[:, :, :2].mean(axis=1)
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    outward = np.array([spot.outward for spot in spots])
    outward[side < 0, 1] *= -1
    facing = np.stack([sight @ heading, sight @ leftwards], axis=-1) @ outward.T  # (T, V)
    hidden = 1 / (1 + np.exp((facing + 0.45) / 0.08))

    blur = np.array([spot.blur.get(condition, 1.0) for spot in spots])
    # hips are found less exactly than eyes: the square root of the spread over its middle
    vagueness = np.sqrt(np.array([spot.sigma for spot in spots]) / 70)
    spread = (scale[:, None] * (1 + hidden) * blur * vagueness)[..., None]
    error = detector.jitter * rng.normal(size=(frames, count, 2))
    error += detector.drift * np.moveaxis(drift(rng, (count, 2), frames, 12.0), -1, 0)
    error += detector.offset * rng.normal(size=(count, 2))
    pixels = pixels + spread * error
    confidence = 0.93 - 0.26 * hidden - 0.05 * (blur - 1) + rng.normal(0, 0.03, (frames, count))

    # legs are exchanged where one hides the other
    beside = abs(float(np.sin(np.radians(camera.view))))
    swapped = bursts(rng, (frames,), detector.swap_rate * (beside > 0.75), longest=4)
    other = np.array(skeleton.mirrored)[legs]
    pixels[np.ix_(swapped, legs)] = pixels[np.ix_(swapped, other)]
    confidence[np.ix_(swapped, legs)] -= 0.15
    # hidden joints are lost more often
    lost = bursts(rng, (count, frames), detector.drop_rate * (1 + 3 * hidden.T), longest=5).T
    pixels[lost] += rng.normal(0, 6, (int(lost.sum()), 2))
    confidence[lost] = rng.uniform(0.03, 0.25, int(lost.sum()))

    inside = ((pixels >= 0) & (pixels <= np.array(camera.image) - 1)).all(axis=(1, 2))
    kept = np.flatnonzero(inside & ~bursts(rng, (frames,), detector.miss_rate, longest=3))
    confidence = np.clip(confidence, 0.01, 0.99)
    return np.concatenate([pixels, confidence[..., None]], axis=-1)[kept], kept + 1
