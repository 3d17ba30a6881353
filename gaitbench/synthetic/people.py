"""Kinematic people who walk.

A `Subject` has a body (segment lengths in published proportions) and a gait (joint angles as
Fourier series around published normative curves); `walk` turns both into named 3D joints in metres.

Frame of reference: x forward along the path, y to the walker's left, z up, ground at z = 0.

Sources:
    Drillis and Contini 1966, in Winter, "Biomechanics and motor control of human movement", 2009:
        segment lengths as fractions of stature.
    Winter, "The biomechanics and motor control of human gait", 1991, and Perry and Burnfield,
        "Gait analysis: normal and pathological function", 2010: hip, knee and ankle angles over
        the stride; cadence.
    Saunders, Inman and Eberhart 1953 (JBJS 35-A); Murray, Drought and Kory 1964 (JBJS 46-A):
        motion of the pelvis, step width, toe-out.
    Murray, Sepic and Barnard 1967 (Physical Therapy 47): shoulder and elbow.
    Bell, Brand and Pedersen 1989 (Human Movement Science 8): spacing of the hip joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gaitbench.casia_b import NUMBERS
from gaitbench.skeleton import Skeleton

Array = NDArray[np.float64]

JOINTS = (
    "pelvis", "spine", "neck", "head", "nose",
    *(f"{side}_{joint}"
      for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hand",
                    "hip", "knee", "ankle", "heel", "foot")
      for side in ("left", "right")),
)  # fmt: skip
"""Names of the joints that `walk` returns: COCO's seventeen and those other layouts ask for."""


def joints_of(skeleton: Skeleton) -> list[int]:
    """Where the joints of a layout, in its order, stand in `JOINTS`."""
    return [JOINTS.index(name) for name in skeleton.joints]


_SIDES = ("left", "right")
# metres from the middle of the head of somebody 1.7 m tall; an own estimate
_FACE = {
    "nose": (0.105, 0, -0.015),
    "left_eye": (0.085, 0.032, 0.022),
    "right_eye": (0.085, -0.032, 0.022),
    "left_ear": (0.0, 0.075, 0.005),
    "right_ear": (0.0, -0.075, 0.005),
}
_HARMONICS = 6
# One stride in steps of 5 %, from heel strike to heel strike of the same foot; degrees, flexion
# positive. Hip and ankle after Perry and Burnfield 2010, knee after Winter 1991.
_SIDED_CURVES: dict[str, tuple[float, ...]] = {
    "hip": (27, 27, 25.5, 22, 17, 11.5, 6, 1, -4, -8, -10, -8, -1, 9, 18.5, 26, 30.5, 32, 31, 28.5),
    "knee": (5, 10, 16, 18, 16, 12, 8, 5.5, 5, 7.5, 14, 25, 39, 52, 60, 58, 46, 29, 13, 4.5),
    "ankle": (0, -4.5, -4, 0, 3.5, 5.5, 7, 8.5, 9.5, 9.5, 6, -4, -15, -19, -13, -6, -2, 0, 1, 0.5),
}  # fmt: skip


def _cosine(mean: float, amplitude: float, peak: float, harmonic: int = 1) -> tuple[float, ...]:
    """Twenty samples of one stride of a curve with its maximum at ``peak`` of the stride."""
    phase = np.arange(20) / 20
    return tuple(mean + amplitude * np.cos(2 * np.pi * harmonic * (phase - peak)))


# An arm swings with the leg of the other side: hindmost at its own side's heel strike.
_SIDED_CURVES["shoulder"] = _cosine(-4, 15, peak=0.52)  # 30 degrees in all: Murray 1967
_SIDED_CURVES["elbow"] = _cosine(27, 13, peak=0.53)  # Murray 1967
# Phase counted from the left heel strike. Degrees; signs in `_pose`.
_CENTRAL_CURVES = {
    "pelvic_rotation": _cosine(0, 4, peak=0.5),  # 4 degrees to either side: Saunders 1953
    "pelvic_obliquity": _cosine(0, 4, peak=0.15),  # 4 degrees: Perry and Burnfield 2010
    "pelvic_tilt": _cosine(7.5, 1.2, peak=0.45, harmonic=2),  # Murray 1964
    "trunk_rotation": _cosine(0, 3.5, peak=0.0),  # against the pelvis: Murray 1967
    "trunk_lean": _cosine(3, 1.2, peak=0.1, harmonic=2),
    "trunk_list": _cosine(0, 1.5, peak=0.3),
    # of the pelvis, in centimetres: to the standing leg, and up over it; 4 to 5 in all with
    # what the legs bring about (Saunders 1953, Murray 1964)
    "sway": _cosine(0, 2.0, peak=0.3),
    "lift": _cosine(0, 2.1, peak=0.34, harmonic=2),
}


def _series(samples: Sequence[float]) -> NDArray[np.complex128]:
    """Fourier coefficients c of a stride: value = Re sum_k c_k exp(2 pi i k phase)."""
    coefficients = np.fft.rfft(samples)[: _HARMONICS + 1] / len(samples)
    coefficients[1:] *= 2
    return coefficients


@dataclass(frozen=True)
class Body:
    """Lengths in metres; segments of both sides are equal."""

    stature: float
    thigh: float
    shank: float
    ankle_height: float
    heel: float  # ankle to heel, backwards along the sole
    foot: float  # ankle to ball of the foot, forwards along the sole
    hip_spacing: float
    trunk: float  # pelvis to neck, at the height of the shoulders
    neck: float  # neck to the middle of the head
    head: float  # factor of all distances within the head; 1 for a stature of 1.7
    shoulder_spacing: float
    upper_arm: float
    forearm: float
    hand: float  # wrist to middle of the hand


# Fractions of stature, Drillis and Contini 1966. Joints lie inside the breadths given there: each
# hip 36 % of the distance between the iliac spines from the middle (Bell 1989; spines 0.146 of
# stature apart), each shoulder 3 cm inside its acromion. Heel and ball share a foot of 0.152 with
# the toes; the head's middle is a little below the eyes, at 0.936.
_PROPORTIONS = {
    "thigh": 0.245,
    "shank": 0.246,
    "ankle_height": 0.039,
    "heel": 0.030,
    "foot": 0.085,
    "hip_spacing": 0.105,
    "trunk": 0.288,
    "neck": 0.105,
    "shoulder_spacing": 0.222,
    "upper_arm": 0.186,
    "forearm": 0.146,
    "hand": 0.050,
}


@dataclass(frozen=True)
class Gait:
    """How somebody moves.

    Args:
        cadence: steps a minute.
        step_width: metres between the ankles' lines.
        toe_out: degrees.
        arm_spread: degrees between arm and body, seen from the front.
        head_pitch: degrees, looking down positive.
        sided: joint -> Fourier coefficients (2, harmonics), left and right, degrees over the
            stride of that side.
        central: likewise (harmonics,), over the left stride; ``sway`` and ``lift`` in centimetres.
    """

    cadence: float
    step_width: float
    toe_out: float
    arm_spread: float
    head_pitch: float
    sided: Mapping[str, NDArray[np.complex128]]
    central: Mapping[str, NDArray[np.complex128]]


@dataclass(frozen=True)
class Subject:
    """One person: a body, a gait, and the side on which a bag is carried (0 left, 1 right)."""

    body: Body
    gait: Gait
    bag_side: int

    @classmethod
    def draw(cls, seed: int | Sequence[int]) -> "Subject":
        """A person who depends on the seed alone.

        How much people differ is chosen so that they can be told apart, but not easily; only the
        spread of stature, cadence and step width is that of the literature.
        """
        rng = np.random.default_rng(seed)
        # men and women together: about 1.69 m, 8 cm
        stature = float(np.clip(rng.normal(1.69, 0.075), 1.50, 1.92))
        lengths = {
            name: stature * share * float(np.clip(rng.normal(1, 0.045), 0.88, 1.12))
            for name, share in _PROPORTIONS.items()
        }
        body = Body(stature=stature, head=float(rng.normal(1, 0.04)), **lengths)
        sided = {}
        for name, samples in _SIDED_CURVES.items():
            arm = name in ("shoulder", "elbow")
            both = _varied(_series(samples), rng, gain=0.3 if arm else 0.09,
                           offset=5.0 if arm else 1.7, shape=0.12)  # fmt: skip
            # left and right differ a little
            sided[name] = np.stack(
                [_varied(both, rng, gain=0.1 if arm else 0.02, offset=0.7, shape=0.02)
                 for _ in range(2)]
            )  # fmt: skip
        central = {
            name: _varied(_series(samples), rng, gain=0.25,
                          offset=1.8 if name in ("trunk_lean", "pelvic_tilt") else 0.0, shape=0.1)
            for name, samples in _CENTRAL_CURVES.items()
        }  # fmt: skip
        gait = Gait(
            cadence=float(np.clip(rng.normal(111, 6), 92, 130)),  # Winter 1991: 105-115, natural
            step_width=float(np.clip(rng.normal(0.09, 0.02), 0.04, 0.15)),
            toe_out=float(rng.normal(7, 2.5)),  # Murray 1964
            arm_spread=float(np.clip(rng.normal(8, 3), 2, 16)),
            head_pitch=float(rng.normal(6, 5)),
            sided=sided,
            central=central,
        )
        return cls(body, gait, int(rng.integers(2)))


def _varied(
    series: NDArray[np.complex128],
    rng: np.random.Generator,
    gain: float,
    offset: float,
    shape: float,
) -> NDArray[np.complex128]:
    """The curve with another amplitude (relative), mean (degrees) and shape (per harmonic)."""
    noise = rng.normal(0, shape / np.sqrt(2), (2, len(series) - 1))
    scale = max(0.1, rng.normal(1, gain)) * (1 + noise[0] + 1j * noise[1])
    return np.concatenate([series[:1] + rng.normal(0, offset), series[1:] * scale])


def scaled(
    series: NDArray[np.complex128], swing: float = 1, mean: float = 0
) -> NDArray[np.complex128]:
    """Curves (..., harmonics) with ``swing`` times the amplitude and ``mean`` added."""
    return np.concatenate([series[..., :1] + mean, series[..., 1:] * swing], axis=-1)


def _this_walk(gait: Gait, rng: np.random.Generator, change: float) -> Gait:
    """The same gait as it comes out on one occasion; ``change`` 1 is everyday variation."""

    def again(series: NDArray[np.complex128], arm: bool = False) -> NDArray[np.complex128]:
        gain = 0.1 if arm else 0.03
        return _varied(series, rng, change * gain, offset=0.8 * change, shape=0.03 * change)

    return replace(
        gait,
        cadence=gait.cadence * rng.normal(1, 0.025),
        step_width=gait.step_width + rng.normal(0, 0.008),
        arm_spread=gait.arm_spread + rng.normal(0, 1),
        head_pitch=gait.head_pitch + rng.normal(0, 2.5),
        sided={
            name: np.stack([again(side, name in ("shoulder", "elbow")) for side in series])
            for name, series in gait.sided.items()
        },
        central={
            name: series if name in ("sway", "lift") else again(series)
            for name, series in gait.central.items()
        },
    )


def _dressed(subject: Subject, gait: Gait, condition: str, rng: np.random.Generator) -> Gait:
    """What a bag or a coat does to the motion; nothing for other conditions.

    Each is an assumption for the sake of a harder probe, not a measurement.
    """
    sided, central = dict(gait.sided), dict(gait.central)

    if condition == "bg":
        side = subject.bag_side
        held = float(rng.normal(0, 4))
        for name, swing, mean in (("shoulder", 0.3, 3 + held), ("elbow", 0.4, 22 + 2 * held)):
            arms = sided[name].copy()
            arms[side] = scaled(arms[side], swing, mean)
            sided[name] = arms
        central["trunk_lean"] = scaled(central["trunk_lean"], mean=2.5)
        # the trunk leans away from the bag; a positive list is to the left
        central["trunk_list"] = scaled(central["trunk_list"], mean=2.5 if side == 1 else -2.5)
        return replace(gait, sided=sided, central=central)
    if condition == "cl":
        for name, swing in (("hip", 0.94), ("knee", 0.97), ("shoulder", 0.75)):
            sided[name] = scaled(sided[name], swing)
        return replace(gait, sided=sided, central=central, arm_spread=gait.arm_spread + 4)
    return gait


def drift(rng: np.random.Generator, shape: tuple[int, ...], frames: int, period: float) -> Array:
    """Slow noise (*shape, frames) of unit variance: waves of about ``period`` frames and longer."""
    waves = 4
    frequency = rng.uniform(0.15, 1, (*shape, waves)) * 2 * np.pi / period
    phase = rng.uniform(0, 2 * np.pi, (*shape, waves))
    turn = frequency[..., None] * np.arange(frames) + phase[..., None]
    return np.asarray(np.cos(turn).sum(axis=-2) * np.sqrt(2 / waves))


def _values(series: NDArray[np.complex128], phase: Array) -> Array:
    """A Fourier series (harmonics,) at phases (T,)."""
    # by Horner's rule: a matrix product this small costs more in threads than in arithmetic
    turn = np.exp(2j * np.pi * phase)
    return np.asarray(np.polynomial.Polynomial(series)(turn).real)


def _turn(vectors: Array, axis: int, angle: Array) -> Array:
    """Vectors (..., 3) turned about one axis by radians (...,), right-handed."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.array(vectors)
    turned[..., first] = cos * vectors[..., first] - sin * vectors[..., second]
    turned[..., second] = sin * vectors[..., first] + cos * vectors[..., second]
    return turned


def _ramp(x: Array, low: float, high: float) -> Array:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _since_strike(phase: Array) -> Array:
    """Part of the stride since a foot's nearest heel strike, -0.3 .. 0.7."""
    return np.mod(phase + 0.3, 1) - 0.3


def _smooth(values: Array, width: int) -> Array:
    """Weighted mean over 2 ``width`` + 1 neighbours; the ends are repeated."""
    kernel = np.hanning(2 * width + 3)[1:-1]
    padded = np.concatenate([np.full(width, values[0]), values, np.full(width, values[-1])])
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _pose(body: Body, gait: Gait, phase: Array, effort: Array) -> Array:
    """Joints (T, V, 3) at left stride phases (T,), the pelvis about the origin; as in `JOINTS`.

    Args:
        body: lengths.
        gait: angles.
        phase: of the left stride, in strides.
        effort: factor of all swings of the limbs, (T,), about 1.
    """
    central = {name: _values(series, phase) for name, series in gait.central.items()}
    still = np.zeros(len(phase))
    pelvis = np.stack([still, central["sway"] / 100, central["lift"] / 100], axis=-1)
    angle = {name: np.radians(values) for name, values in central.items()}
    places = {"pelvis": pelvis} | _trunk(body, gait, pelvis, angle)
    for side, name in enumerate(_SIDES):
        own = phase + 0.5 * side
        flexion = {}
        for joint, series in gait.sided.items():
            mean = series[side, 0].real
            flexion[joint] = np.radians(mean + effort * (_values(series[side], own) - mean))
        outward = 1.0 - 2 * side
        limbs = _leg(body, gait, pelvis, angle, flexion, own, outward)
        limbs |= _arm(body, gait, places[f"{name}_shoulder"], angle, flexion, outward)
        places |= {f"{name}_{joint}": place for joint, place in limbs.items()}
    return np.stack([places[name] for name in JOINTS], axis=1)


def _trunk(body: Body, gait: Gait, pelvis: Array, angle: Mapping[str, Array]) -> dict[str, Array]:
    """Spine, shoulders and head over a pelvis (T, 3); they turn about it, in radians (T,)."""
    frames = len(pelvis)

    def raised(place: Sequence[float], share: float = 1.0) -> Array:
        turned = np.broadcast_to(np.array(place, dtype=np.float64), (frames, 3))
        turned = _turn(turned, 2, share * angle["trunk_rotation"])
        turned = _turn(turned, 0, -angle["trunk_list"])  # to the left
        return _turn(turned, 1, angle["trunk_lean"])  # forwards

    neck = pelvis + raised((0, 0, body.trunk))
    # eyes look ahead: the head takes little part in the trunk's rotation
    head = neck + raised((0.02, 0, body.neck), share=0.3)
    places = {
        "spine": pelvis + raised((-0.02, 0, 0.55 * body.trunk)),
        "neck": neck,
        "head": head,
        "left_shoulder": neck + raised((0, body.shoulder_spacing / 2, -0.01)),
        "right_shoulder": neck + raised((0, -body.shoulder_spacing / 2, -0.01)),
    }
    down = np.full(frames, np.radians(gait.head_pitch))
    for name, place in _FACE.items():
        offset = np.broadcast_to(body.head * body.stature / 1.7 * np.array(place), (frames, 3))
        places[name] = head + _turn(_turn(offset, 1, down), 2, 0.3 * angle["trunk_rotation"])
    return places


def _leg(
    body: Body,
    gait: Gait,
    pelvis: Array,
    angle: Mapping[str, Array],
    flexion: Mapping[str, Array],
    phase: Array,
    outward: float,
) -> dict[str, Array]:
    """Hip, knee, ankle, heel and ball of one leg, (T, 3) each.

    A chain in the sagittal plane, tilted sideways about the line of the path so that the ankle
    stays on its own line beside the path.

    Args:
        body: lengths.
        gait: step width and toe-out.
        pelvis: (T, 3).
        angle: of pelvis and trunk, radians (T,).
        flexion: of this leg's joints, radians (T,).
        phase: of this leg's stride, (T,).
        outward: 1 on the left, -1 on the right.
    """
    frames = len(pelvis)
    socket = np.broadcast_to(np.array([0, outward * body.hip_spacing / 2, 0]), (frames, 3))
    socket = _turn(socket, 0, angle["pelvic_obliquity"])
    hip = pelvis + _turn(socket, 2, angle["pelvic_rotation"])

    thigh = flexion["hip"] - angle["pelvic_tilt"]
    shank = thigh - np.maximum(flexion["knee"], 0)
    knee_ahead, knee_down = body.thigh * np.sin(thigh), body.thigh * np.cos(thigh)
    ankle_ahead = knee_ahead + body.shank * np.sin(shank)
    ankle_down = knee_down + body.shank * np.cos(shank)
    sideways = np.arcsin((outward * gait.step_width / 2 - hip[:, 1]) / ankle_down)

    def hung(ahead: Array, down: Array) -> Array:
        return hip + np.stack([ahead, down * np.sin(sideways), -down * np.cos(sideways)], axis=-1)

    # the sole lies flat on the ground in the middle of stance
    since = _since_strike(phase)
    flat = _ramp(since, 0.04, 0.14) - _ramp(since, 0.33, 0.48)
    sole = (shank + flexion["ankle"]) * (1 - flat)
    toe_out = np.full(frames, outward * np.radians(gait.toe_out))
    ankle = hung(ankle_ahead, ankle_down)

    def trodden(along: float) -> Array:
        spot = np.broadcast_to(np.array([along, 0, -body.ankle_height]), (frames, 3))
        return ankle + _turn(_turn(spot, 1, -sole), 2, toe_out)  # a positive angle lifts the toes

    return {
        "hip": hip,
        "knee": hung(knee_ahead, knee_down),
        "ankle": ankle,
        "heel": trodden(-body.heel),
        "foot": trodden(body.foot),
    }


def _arm(
    body: Body,
    gait: Gait,
    shoulder: Array,
    angle: Mapping[str, Array],
    flexion: Mapping[str, Array],
    outward: float,
) -> dict[str, Array]:
    """Elbow, wrist and hand, (T, 3) each, of an arm that hangs from a shoulder (T, 3)."""

    def segment(forwards: Array, spread: float, length: float) -> Array:
        hanging = np.cos(forwards)
        along = np.stack(
            [np.sin(forwards), outward * np.sin(spread) * hanging, -np.cos(spread) * hanging],
            axis=-1,
        )
        return length * _turn(along, 2, angle["trunk_rotation"])

    spread = np.radians(gait.arm_spread)
    bent = flexion["shoulder"] + np.maximum(flexion["elbow"], 0)
    elbow = shoulder + segment(flexion["shoulder"], spread, body.upper_arm)
    # the forearm hangs inwards of the upper arm
    wrist = elbow + segment(bent, 0.2 * spread, body.forearm)
    return {"elbow": elbow, "wrist": wrist, "hand": wrist + segment(bent, 0.0, body.hand)}


_OVERSAMPLING = 4
_HIPS, _KNEES, _ANKLES, _HEELS, _BALLS = (
    [JOINTS.index(f"{foot}_{joint}") for foot in _SIDES]
    for joint in ("hip", "knee", "ankle", "heel", "foot")
)


def _carried(joints: Array, phase: Array, body: Body, samples: float) -> Array:
    """Joints moved along the path and put on the ground, so that the standing foot stays put.

    The pelvis moves as fast as the standing foot moves back under it, and is as high as that foot
    is low. Where two feet stand, both cannot be followed: what is left over is taken up by bending
    the knees. Stance lasts 60 % of the stride, the first and last 10 % on both feet (Perry and
    Burnfield 2010); the foot stands on the heel first, then on the ball.

    Args:
        joints: (T, V, 3) from `_pose`.
        phase: (T,) of the left stride.
        body: lengths.
        samples: a second.
    """
    # phase of each foot since its own heel strike, -0.3 .. 0.7, (T, 2)
    strides = phase[:, None] + np.array([0, 0.5])
    own = _since_strike(strides)
    bearing = _ramp(own, 0, 0.1) - _ramp(own, 0.5, 0.6)  # both feet together bear 1
    on_ball = _ramp(own, 0.05, 0.22)
    sole = body.heel + body.foot
    # where the ball stands or, while the heel stands, will stand
    place = on_ball * joints[:, _BALLS, 0] + (1 - on_ball) * (joints[:, _HEELS, 0] + sole)
    # how high the lower of heel and ball is, rounded off by 3 mm
    height = -0.003 * np.logaddexp(-joints[:, _BALLS, 2] / 0.003, -joints[:, _HEELS, 2] / 0.003)

    speed = -(bearing * np.gradient(place, axis=0)).sum(axis=1)
    width = round(0.25 * samples)
    forward = np.cumsum(_smooth(speed, width))
    upward = _smooth(-(bearing * height).sum(axis=1), width)
    carried = joints.copy()
    carried[..., 0] += forward[:, None]
    carried[..., 2] += upward[:, None]

    # Each foot is held where it is in the middle of its stance, at ground level, and let go in
    # swing; a swinging foot stays 2 cm above the ground (Winter 1991: 1 to 2 cm at the toes).
    place, height = place + forward[:, None], height + upward[:, None]
    held = _ramp(own, -0.14, 0) - _ramp(own, 0.57, 0.7)
    fixed = np.stack(
        [np.interp((strides - own)[:, f] + 0.3, strides[:, f], place[:, f]) for f in range(2)],
        axis=1,
    )
    shift = np.zeros((len(phase), 2, 3))
    shift[..., 0] = held * (fixed - place)
    shift[..., 2] = -held * height
    lifted = 0.004 * np.logaddexp(0, (0.02 - height - shift[..., 2]) / 0.004)
    shift[..., 2] += lifted * (1 - held)
    hip, ankle = carried[:, _HIPS], carried[:, _ANKLES] + shift
    # a leg reaches no further than its length: the foot comes along
    reach = ankle - hip
    length = np.linalg.norm(reach, axis=-1, keepdims=True)
    longest = 0.9995 * (body.thigh + body.shank)
    ankle = hip + reach * np.minimum(1, longest / length)
    shift = ankle - carried[:, _ANKLES]
    for foot in (_ANKLES, _HEELS, _BALLS):
        carried[:, foot] += shift
    carried[:, _KNEES] = _knees(hip, ankle, body)
    return carried


def _knees(hip: Array, ankle: Array, body: Body) -> Array:
    """Where knees (..., 3) are between hips and ankles, bent forwards."""
    reach = ankle - hip
    length = np.linalg.norm(reach, axis=-1, keepdims=True)
    down = reach / length
    ahead = np.array([1.0, 0, 0]) - down[..., :1] * down
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    along = (body.thigh**2 - body.shank**2 + length**2) / (2 * length)
    return np.asarray(hip + along * down + np.sqrt(np.maximum(body.thigh**2 - along**2, 0)) * ahead)


def walk(
    subject: Subject,
    condition: str,
    seed: int | Sequence[int],
    fps: float = 25.0,
    path: float = 4.2,
    max_frames: int = 110,
) -> Array:
    """One person walking once along a path whose middle is the origin.

    Args:
        subject: who walks.
        condition: ``nm``, ``bg`` or ``cl``.
        seed: of this occasion: the same subject never walks twice alike.
        fps: frames a second.
        path: metres that the pelvis covers, at most.
        max_frames: the walk ends there if the path is not done.

    Returns:
        (T, V, 3) metres, joints as in `JOINTS`; x forward, y to the left, z up from the ground.

    Raises:
        ValueError: if the condition is unknown.
    """
    if condition not in NUMBERS:
        raise ValueError(f"condition {condition!r} is none of {', '.join(NUMBERS)}")
    rng = np.random.default_rng(seed)
    change = 1.7 if condition == "cl" else 1.0
    gait = _dressed(subject, _this_walk(subject.gait, rng, change), condition, rng)
    # a stretch before and after lets the first and last steps be complete
    samples = fps * _OVERSAMPLING
    margin = round(0.8 * samples)
    fine = (max_frames - 1) * _OVERSAMPLING + 1 + 2 * margin
    pace = 1 + 0.02 * drift(rng, (), fine, 2 * samples)
    effort = 1 + 0.02 * drift(rng, (), fine, 2 * samples)
    phase = rng.uniform() + np.cumsum(pace) * gait.cadence / 120 / samples
    joints = _carried(_pose(subject.body, gait, phase, effort), phase, subject.body, samples)
    joints = joints[margin:-margin:_OVERSAMPLING]
    joints = joints[joints[:, 0, 0] - joints[0, 0, 0] <= path]
    joints[..., 0] -= joints[[0, -1], 0, 0].mean()
    joints[..., 1] += rng.normal(0, 0.05)
    return _turn(joints, 2, np.broadcast_to(rng.normal(0, np.radians(1.5)), joints.shape[:2]))
