"""What invented people look like, and how body and gait show it."""

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from gaitbench.densegait import ATTRIBUTES
from gaitbench.synthetic.people import Body, Gait, Subject, scaled

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
BUILDS, BUILD_SHARES = (-1.6, 0.0, 1.6), (0.18, 0.62, 0.2)
"""How stout the thin, the normal and the fat are on average, and their shares. Few are between two
of them, so that a middle class can be learned too."""

CONDITION_SHARES = MappingProxyType({"nm": 0.65, "bg": 0.2, "cl": 0.15})
BACKPACKS = 0.15  # share of those who carry no bag
DRESSES = 0.25  # share of women


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
            bulk=float(rng.choice(BUILDS, p=BUILD_SHARES) + rng.normal(0, 0.35)),
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
    """The same person with the body and the gait that go with sex, age, bulk, backpack and dress.

    The directions are common knowledge (men have the broader shoulders, women move the pelvis more,
    children have large heads and short legs, the old take fewer and smaller steps and stoop, the
    stout waddle with feet and arms apart, a dress shortens the step, who carries a backpack leans
    forward). How much is an assumption, and more than in life, made so that attributes can be
    learned from poses that say nothing of size.
    """
    child = float(np.clip((18 - traits.years) / 8, 0, 1))
    aged = float(np.clip((traits.years - 30) / 50, 0, 1))
    sex = 1.0 if traits.female else -1.0
    bulk, pack = traits.bulk, float(traits.backpack)
    return replace(
        subject,
        body=_shaped_body(subject.body, sex, child, bulk),
        gait=_shaped_gait(subject.gait, sex, child, aged, bulk, pack, float(traits.dress)),
    )


def _shaped_body(body: Body, sex: float, child: float, bulk: float) -> Body:
    size = (1 - 0.035 * sex) * (1 - 0.3 * child)
    factors = dict.fromkeys(vars(body), size)
    factors["head"] = 1 + 0.5 * child  # a factor already, of stature
    for name, factor in (
        ("shoulder_spacing", (1 - 0.09 * sex) * (1 - 0.05 * child)),
        ("hip_spacing", (1 + 0.09 * sex) * (1 + 0.14 * bulk)),
        ("thigh", 1 - 0.2 * child),
        ("shank", 1 - 0.2 * child),
    ):
        factors[name] *= factor
    return Body(**{name: value * factors[name] for name, value in vars(body).items()})


def _shaped_gait(
    gait: Gait, sex: float, child: float, aged: float, bulk: float, pack: float, dress: float
) -> Gait:
    swings = {  # of the limbs
        "hip": (1 - 0.35 * aged) * (1 - 0.12 * bulk) * (1 - 0.4 * dress),
        "knee": (1 - 0.2 * aged) * (1 - 0.12 * bulk) * (1 - 0.25 * dress),
        "ankle": 1 - 0.2 * aged,
        "shoulder": (1 - 0.4 * aged) * (1 - 0.3 * pack) * (1 + 0.1 * sex),
        "elbow": (1 - 0.4 * aged) * (1 - 0.3 * pack),
    }
    central = dict(gait.central)
    for name in ("pelvic_rotation", "pelvic_obliquity", "sway"):
        central[name] = scaled(central[name], 1 + 0.3 * sex)
    waddle = max(1 + 0.4 * bulk, 0.1)
    for name in ("sway", "trunk_list"):
        central[name] = scaled(central[name], waddle)
    central["trunk_rotation"] = scaled(central["trunk_rotation"], 1 - 0.2 * sex)
    central["trunk_lean"] = scaled(
        central["trunk_lean"], mean=22 * aged + 7 * pack - 2 * bulk - sex
    )
    sided = {name: scaled(curves, swings[name]) for name, curves in gait.sided.items()}
    sided["elbow"] = scaled(sided["elbow"], mean=20 * aged + 25 * pack + 12 * bulk + 5 * sex)
    return replace(
        gait,
        cadence=gait.cadence * (1 + 0.03 * sex) * (1 + 0.2 * child) * (1 - 0.15 * aged),
        step_width=float(
            np.clip(gait.step_width + 0.04 * bulk - 0.012 * sex - 0.03 * dress, 0.02, 0.25)
        ),
        arm_spread=float(np.clip(gait.arm_spread + 9 * bulk - 2 * sex, -2, 35)),
        head_pitch=gait.head_pitch + 45 * aged,
        sided=sided,
        central=central,
    )
