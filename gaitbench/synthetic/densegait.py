"""Invented people in the format of DenseGait: tracklets with soft labels of appearance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from gaitbench.densegait import ANNOTATIONS, ATTRIBUTES, VALIDATION, attribute_names
from gaitbench.errors import InputError
from gaitbench.skeleton import OPENPOSE18
from gaitbench.synthetic.annotated import Row, normalised, write_annotated
from gaitbench.synthetic.cameras import Camera, Detector, detect
from gaitbench.synthetic.people import Array, Body, Gait, Subject, scaled, walk
from gaitbench.synthetic.trees import tree_written_whole

FOLDER = "DenseGait"
DETECTOR = Detector(jitter=0.5, drift=0.5, offset=0.7, drop_rate=0.002, miss_rate=0)
"""AlphaPose on people of middling size, whose tracks have no gaps; a guess as the others are."""

LENGTHS = (30, 120)
"""Least and greatest number of frames of a tracklet."""

CAMERA = Camera(view=0, distance=12, focal=1200, image=(1920, 1080))
HEIGHTS = (1.0, 3.0)  # metres above the ground at which cameras hang
AGES = MappingProxyType(
    {
        "AgeChild": (5, 16),
        "AgeYoungAdult": (16, 36),
        "AgeMediumAdult": (36, 51),
        "AgeOldAdult": (51, 66),
        "AgeSenior": (66, 88),
    }
)
"""Attribute -> years of age from and to; the limits are a guess."""

AGE_SHARES = (0.06, 0.32, 0.30, 0.18, 0.14)
CONDITION_SHARES = MappingProxyType({"nm": 0.65, "bg": 0.2, "cl": 0.15})
BACKPACKS = 0.15  # share of those who carry no bag
DRESSES = 0.25  # share of women

RATES: Mapping[str, float] = MappingProxyType(
    {
        "HandTrunk": 0.03, "OtherAttchment": 0.08, "Sandals": 0.02, "Shoes": 0.3,
        "LeatherShoes": 0.2, "SportShoes": 0.25, "Boots": 0.06, "Sneaker": 0.15,
        "ClothShoes": 0.05, "CasualWear": 0.85, "Jacket": 0.3, "FormalWear": 0.1,
        "CarryingOther": 0.06, "LongSleeve": 0.9, "Calling": 0.02, "Talking": 0.05,
        "Gathering": 0.06, "Holding": 0.08, "Pulling": 0.02, "CarryingbyArm": 0.06,
        "HoldObjectsInFront": 0.05,
    }
)  # fmt: skip
"""Attribute -> how often people have it, where nothing in the pose tells. Guesses that keep the
published order: sandals and calls are rare, long sleeves common."""

DOUBT, NOISE = 0.03, 1.6
"""How far labels of what is certain are from 0 and 1, and the spread of their error in logits. It
puts 1.5 % of them on the wrong side of one half."""


@dataclass(frozen=True)
class Traits:
    """What the labels of a tracklet would be if they were right.

    Args:
        female: a woman, or a girl.
        years: of age.
        bulk: how stout, standard deviations from the mean.
        condition: ``nm``, ``bg`` (carries a bag) or ``cl`` (wears a long coat).
        backpack: carries one.
        dress: wears one.
        view: where the camera is, see :class:`gaitbench.synthetic.Camera`.
    """

    female: bool
    years: float
    bulk: float
    condition: str
    backpack: bool
    dress: bool
    view: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Traits":
        """Somebody who passes by a camera."""
        female = bool(rng.random() < 0.45)
        condition = str(rng.choice(list(CONDITION_SHARES), p=list(CONDITION_SHARES.values())))
        limits = [AGES["AgeChild"][0], *(until for _, until in AGES.values())]
        return cls(
            female=female,
            years=float(np.interp(rng.random(), np.cumsum([0, *AGE_SHARES]), limits)),
            bulk=float(rng.normal()),
            condition=condition,
            backpack=bool(rng.random() < BACKPACKS) and condition != "bg",
            dress=bool(rng.random() < DRESSES) and female,
            view=float(rng.uniform(0, 360)),
        )

    @property
    def degrees(self) -> dict[str, float]:
        """Attribute -> how far it is true, 0..1, for those that show in body, gait or view."""
        thin, fat = _step((-self.bulk - 0.9) / 0.15), _step((self.bulk - 0.9) / 0.15)
        ages = {
            name: _step((self.years - low) / 2) * _step((high - self.years) / 2)
            for name, (low, high) in AGES.items()
        }
        ages["AgeChild"] = _step((AGES["AgeChild"][1] - self.years) / 2)
        ages["AgeSenior"] = _step((self.years - AGES["AgeSenior"][0]) / 2)
        towards, across = np.cos(np.radians(self.view)), abs(np.sin(np.radians(self.view)))
        sides = np.exp(10 * np.array([towards, across, -towards]))
        sides /= sides.sum()
        bag = self.condition == "bg"
        return {
            "Female": float(self.female),
            "BodyThin": thin,
            "BodyNormal": (1 - thin) * (1 - fat),
            "BodyFat": fat,
            **dict(zip(ATTRIBUTES["viewpoint"], sides.tolist(), strict=True)),
            **ages,
            "Backpack": float(self.backpack),
            "Bag": float(bag),
            "No accessory": float(not bag and not self.backpack),
            "No carrying": float(not bag),
            "CarryingbyHand": float(bag),
            "LongCoat": float(self.condition == "cl"),
            "Dress": float(self.dress),
            "Trousers": float(not self.dress),
            "LongTrousers": float(not self.dress),
        }


def _step(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def shaped(subject: Subject, traits: Traits) -> Subject:
    """The same person with the body and the gait that go with sex, age, bulk and a backpack.

    The directions are common knowledge (men have the broader shoulders, women move the pelvis more,
    children have large heads and short legs, the old take fewer and smaller steps and stoop, the
    stout walk with feet and arms apart, who carries a backpack leans forward). How much is an
    assumption, made so that attributes can be learned from poses.
    """
    child = float(np.clip((17 - traits.years) / 12, 0, 1))
    aged = float(np.clip((traits.years - 30) / 50, 0, 1))
    sex = 1.0 if traits.female else -1.0
    bulk, pack = traits.bulk, float(traits.backpack)
    return replace(
        subject,
        body=_shaped_body(subject.body, sex, child, bulk),
        gait=_shaped_gait(subject.gait, sex, child, aged, bulk, pack),
    )


def _shaped_body(body: Body, sex: float, child: float, bulk: float) -> Body:
    size = (1 - 0.035 * sex) * (1 - 0.3 * child)
    factors = dict.fromkeys(vars(body), size)
    factors["head"] = 1 + 0.3 * child  # a factor already, of stature
    for name, factor in (
        ("shoulder_spacing", (1 - 0.08 * sex) * (1 - 0.05 * child)),
        ("hip_spacing", (1 + 0.07 * sex) * (1 + 0.1 * bulk)),
        ("thigh", 1 - 0.1 * child),
        ("shank", 1 - 0.1 * child),
    ):
        factors[name] *= factor
    return Body(**{name: value * factors[name] for name, value in vars(body).items()})


def _shaped_gait(
    gait: Gait, sex: float, child: float, aged: float, bulk: float, pack: float
) -> Gait:
    swings = {  # of the limbs
        "hip": (1 - 0.35 * aged) * (1 - 0.06 * bulk),
        "knee": (1 - 0.2 * aged) * (1 - 0.06 * bulk),
        "ankle": 1 - 0.2 * aged,
        "shoulder": (1 - 0.4 * aged) * (1 - 0.3 * pack) * (1 + 0.1 * sex),
        "elbow": (1 - 0.4 * aged) * (1 - 0.3 * pack),
    }
    central = dict(gait.central)
    for name in ("pelvic_rotation", "pelvic_obliquity", "sway"):
        central[name] = scaled(central[name], 1 + 0.3 * sex)
    central["trunk_rotation"] = scaled(central["trunk_rotation"], 1 - 0.2 * sex)
    central["trunk_lean"] = scaled(central["trunk_lean"], mean=8 * aged + 7 * pack - 3 * bulk - sex)
    sided = {name: scaled(curves, swings[name]) for name, curves in gait.sided.items()}
    sided["elbow"] = scaled(sided["elbow"], mean=10 * aged + 25 * pack + 5 * sex)
    return replace(
        gait,
        cadence=gait.cadence * (1 + 0.03 * sex) * (1 + 0.2 * child) * (1 - 0.15 * aged),
        step_width=float(np.clip(gait.step_width + 0.03 * bulk - 0.012 * sex, 0.03, 0.2)),
        arm_spread=float(np.clip(gait.arm_spread + 6 * bulk - 2 * sex, 1, 25)),
        head_pitch=gait.head_pitch + 18 * aged,
        sided=sided,
        central=central,
    )


def soft_labels(traits: Traits, rng: np.random.Generator) -> dict[str, float]:
    """Attribute -> probability as fallible networks would give it, to four decimals.

    Attributes that no pose can tell are drawn at their rates, independently of everything.
    """
    names = attribute_names()
    drawn = {name: float(rng.random() < rate) for name, rate in RATES.items()}
    degrees = drawn | traits.degrees
    sure = np.clip([degrees[name] for name in names], DOUBT, 1 - DOUBT)
    logits = np.log(sure / (1 - sure)) + rng.normal(0, NOISE, len(names))
    probabilities = (1 / (1 + np.exp(-logits))).round(4)
    return dict(zip(names, probabilities.tolist(), strict=True))


def synthesize_densegait(out: Path, tracks: int, seed: int) -> Path:
    """Write invented people in the format of DenseGait, its validation set included.

    Each tracklet shows another person from another side. Labels are soft and wrong at times. The
    validation set has a fifth as many tracklets, of other people. What tracklet k shows depends on
    the seed and on k, not on how many others there are, and the same arguments give the same bytes.

    Args:
        out: folder; made if it is not there.
        tracks: tracklets to train on.
        seed: of everything drawn.

    Returns:
        ``out/DenseGait``, which is there whole or not at all; y grows downwards in its files.

    Raises:
        InputError: if there are fewer than 2 tracklets, the folder is there already or cannot be
            written.
    """
    if tracks < 2:
        raise InputError(
            f"subjects is {tracks}, but each tracklet of DenseGait is a subject of its own and no "
            "two are alike; choose 2 or more"
        )
    tree = Path(out) / FOLDER
    with tree_written_whole(tree) as beside:
        write_annotated(beside, ANNOTATIONS, _tracklets(ANNOTATIONS, tracks, (seed, 0)))
        write_annotated(beside, VALIDATION, _tracklets(VALIDATION, max(1, tracks // 5), (seed, 1)))
    return tree


def _tracklets(annotations: str, count: int, seed: tuple[int, ...]) -> Iterator[tuple[Row, Array]]:
    folder = annotations.rpartition("/")[0]
    for number in range(1, count + 1):
        poses, labels = _tracklet((*seed, number))
        file_name = f"{folder}/poses/{number:05d}.npy"
        yield {"file_name": file_name, "track_id": number, **labels}, poses


def _tracklet(seed: tuple[int, ...]) -> tuple[Array, dict[str, float]]:
    """Poses (T, 18, 3) and labels."""
    rng = np.random.default_rng((*seed, 1))
    traits = Traits.draw(rng)
    labels = soft_labels(traits, rng)
    frames = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    camera = replace(CAMERA, view=traits.view, height=float(rng.uniform(*HEIGHTS)))
    person = shaped(Subject.draw((*seed, 2)), traits)
    joints = walk(person, traits.condition, (*seed, 3), path=np.inf, max_frames=frames)
    poses, _ = detect(joints, camera, traits.condition, rng, DETECTOR, OPENPOSE18)
    return normalised(poses, upwards=False), labels
