"""What people look like: bodies of rounded cones around the joints, skin, hair and clothes.

How thick everything is and what people wear is an own estimate, made so that they look like people
and differ a little in build. Clothes come from a small wardrobe, so that they mislead as in life:
different people wear the same, and the same person wears something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gaitbench.synthetic.people import JOINTS, Array
from gaitbench.synthetic.render import Indices, Real, Solids

Colour = tuple[float, float, float]
"""Red, green and blue, 0..255."""

_STATURE = 1.7  # metres, of whom the measures below are
_SKIN: Sequence[Colour] = ((236, 196, 170), (214, 168, 136), (178, 128, 94), (112, 76, 56))
_HAIR: Sequence[Colour] = ((28, 24, 24), (58, 42, 32), (106, 74, 46), (150, 148, 146))
_TOPS: Sequence[Colour] = (
    (198, 196, 190), (168, 52, 48), (52, 84, 148), (60, 116, 76), (196, 164, 70), (112, 66, 118),
    (46, 48, 54), (128, 136, 144), (206, 128, 92), (70, 132, 142),
)  # fmt: skip
_TROUSERS: Sequence[Colour] = (
    (44, 58, 92), (36, 36, 40), (96, 92, 86), (122, 100, 72), (76, 96, 126),
)  # fmt: skip
_SHOES: Sequence[Colour] = ((30, 28, 28), (92, 62, 42), (190, 190, 188))
_COATS: Sequence[Colour] = ((38, 40, 46), (96, 74, 52), (70, 78, 60), (54, 60, 88), (116, 60, 56))
_BAGS: Sequence[Colour] = ((34, 32, 32), (110, 72, 40), (60, 76, 110))
_OVERSHOES: Colour = (120, 168, 214)  # covers of plastic


@dataclass(frozen=True)
class Build:
    """How thick somebody is, in shares of the usual, and what skin and hair look like."""

    trunk: float
    arm: float
    leg: float
    head: float
    skin: Colour
    hair: Colour

    @classmethod
    def draw(cls, seed: int | Sequence[int]) -> "Build":
        """Somebody who depends on the seed alone: stout or slim as a whole, and here or there."""
        rng = np.random.default_rng(seed)
        stout = rng.normal(1, 0.08)
        trunk, arm, leg = np.clip(stout * rng.normal(1, 0.04, 3), 0.75, 1.35).tolist()
        head = float(rng.normal(1, 0.03))
        return cls(trunk, arm, leg, head, skin=_one(rng, _SKIN), hair=_one(rng, _HAIR))


@dataclass(frozen=True)
class Outfit:
    """What somebody wears and carries.

    Args:
        top: colour.
        trousers: colour.
        shoes: colour.
        bare: share of the forearm that sleeves leave bare.
        stripes: how much lighter and darker stripes of the top are.
        seed: of how its cloth is textured.
        coat: colour of one that reaches below the thighs' middle; None for none.
        bag: colour of one that hangs from a hand; None for none.
        bag_side: the hand, 0 left, 1 right.
        backpack: colour; None for none.
        overshoes: whether covers are worn over the shoes.
    """

    top: Colour
    trousers: Colour
    shoes: Colour
    bare: float
    stripes: float
    seed: int
    coat: Colour | None = None
    bag: Colour | None = None
    bag_side: int = 0
    backpack: Colour | None = None
    overshoes: bool = False

    @classmethod
    def draw(cls, seed: int | Sequence[int]) -> "Outfit":
        """Top, trousers and shoes out of the wardrobe."""
        rng = np.random.default_rng(seed)
        return cls(
            top=_one(rng, _TOPS),
            trousers=_one(rng, _TROUSERS),
            shoes=_one(rng, _SHOES),
            bare=float(rng.choice([0.0, 0.0, 1.0])),
            stripes=float(rng.choice([0.0, 0.0, 0.22])),
            seed=int(rng.integers(2**31)),
        )

    def with_coat(self, seed: int | Sequence[int]) -> "Outfit":
        """A coat over it; few are to be had, so that others wear the same."""
        return replace(self, coat=_one(np.random.default_rng(seed), _COATS), bare=0.0, stripes=0.0)

    def with_bag(self, seed: int | Sequence[int], side: int) -> "Outfit":
        """A bag in the left hand (0) or the right (1)."""
        return replace(self, bag=_one(np.random.default_rng(seed), _BAGS), bag_side=side)

    def with_backpack(self, seed: int | Sequence[int]) -> "Outfit":
        """A backpack."""
        return replace(self, backpack=_one(np.random.default_rng(seed), _BAGS))


def _one(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """A colour out of these, worn or lit a little differently."""
    colour = np.array(colours[int(rng.integers(len(colours)))])
    red, green, blue = np.clip(colour * rng.normal(1, 0.04) + rng.normal(0, 3, 3), 8, 245).tolist()
    return red, green, blue


class _Part(NamedTuple):
    """A rounded cone from one point of the body to another, for somebody 1.7 m tall.

    Args:
        start: the first ball's middle, by the names of `_points`; ``*`` stands for both sides.
        end: the second one's.
        radius: metres of both.
        girth: the field of `Build` that says how much thicker it is.
        stuff: what of, before and beyond the seam.
        stretch: factors across its axis: to the left, or ahead where the axis points to the left;
            and at right angles to that.
        reach: the end lies at this share of the way to ``end``.
        shift: metres ahead and up by which both points are moved.
        seam: (a, b, c): it runs where a y + b z = c in own coordinates, y at right angles to the
            left and z along the axis.
    """

    start: str
    end: str
    radius: tuple[float, float]
    girth: str
    stuff: tuple[str, str]
    stretch: tuple[float, float] = (1, 1)
    reach: float = 1
    shift: tuple[float, float] = (0, 0)
    seam: tuple[float, float, float] = (0, 0, 1)

    def of(self, side: str) -> "_Part":
        """The part of one side."""
        return self._replace(start=self.start.replace("*", side), end=self.end.replace("*", side))

    def over(self, thickness: float) -> "_Part":
        """The part, thicker by metres."""
        return self._replace(radius=(self.radius[0] + thickness, self.radius[1] + thickness))


_SIDES = ("left", "right")
_FOREARM = 0.25  # metres
_PARTS = (
    _Part("pelvis", "spine", (0.105, 0.1), "trunk", ("trousers", "top"), (1.62, 1.1),
          shift=(0, -0.03), seam=(0, 1, 0.1)),
    _Part("spine", "neck", (0.098, 0.1), "trunk", ("top", "top"), (1.42, 1.12), reach=0.72),
    _Part("left_socket", "right_socket", (0.058, 0.058), "trunk", ("top", "top"), (1.2, 1)),
    _Part("neck", "head", (0.062, 0.052), "head", ("top", "skin"), reach=0.8, shift=(-0.01, 0),
          seam=(0, 1, 0.02)),
    _Part("head", "crown", (0.083, 0.088), "head", ("skin", "hair"), (0.9, 1.12),
          shift=(0, -0.03), seam=(0.8, 1, 0.058)),
    _Part("nose", "head", (0.016, 0.02), "head", ("skin", "skin"), reach=0.3),
    _Part("*_socket", "*_elbow", (0.05, 0.042), "arm", ("top", "top")),
    _Part("*_elbow", "*_wrist", (0.042, 0.031), "arm", ("top", "skin")),
    _Part("*_wrist", "*_hand", (0.032, 0.03), "arm", ("skin", "skin"), (0.7, 1.2), reach=1.7),
    _Part("*_hip", "*_knee", (0.088, 0.06), "leg", ("trousers", "trousers"), (1.02, 1.08)),
    _Part("*_knee", "*_ankle", (0.06, 0.043), "leg", ("trousers", "trousers"), (1, 1.05)),
    _Part("*_heel", "*_foot", (0.04, 0.034), "leg", ("shoes", "shoes"), reach=1.45,
          shift=(0, 0.036)),
)  # fmt: skip
_COAT = 0.017  # metres by which a coat is thicker than what it covers
_SKIRT = _Part("pelvis", "knees", (0.13, 0.17), "trunk", ("coat", "coat"), (1.3, 1), reach=0.72)
_HEM = (0, 1, 0.26)  # the coat's on a thigh, as a seam
_OVERSHOE = 0.009  # metres
_BAG = _Part("*_hand", "below_*_hand", (0.05, 0.07), "arm", ("bag", "bag"), (1, 2.3))
_BACKPACK = _Part("spine", "neck", (0.115, 0.1), "trunk", ("backpack", "backpack"), (1.3, 0.9),
                  reach=0.75, shift=(-0.17, 0.04))  # fmt: skip


def _worn(outfit: Outfit) -> list[_Part]:
    """The parts of somebody dressed so."""
    parts = []
    for part in _PARTS:
        if part.start == "*_elbow":
            part = part._replace(seam=(0, 1, _FOREARM * (1 - outfit.bare)))
        if outfit.overshoes and "shoes" in part.stuff:
            part = part.over(_OVERSHOE)
        if outfit.coat is not None and part.start == "*_hip":
            part = part.over(_COAT)._replace(stuff=("coat", "trousers"), seam=_HEM)
        if outfit.coat is not None and "top" in part.stuff:
            before, beyond = ("skin" if stuff == "skin" else "coat" for stuff in part.stuff)
            part = part.over(_COAT)._replace(stuff=(before, beyond))
        parts.extend([part.of(side) for side in _SIDES] if "*" in part.start else [part])
    if outfit.coat is not None:
        parts.append(_SKIRT)
    if outfit.bag is not None:
        parts.append(_BAG.of(_SIDES[outfit.bag_side]))
    if outfit.backpack is not None:
        parts.append(_BACKPACK)
    return parts


def _points(joints: Array) -> dict[str, Array]:
    """Joints (T, 3) by name, and the other points that parts go by."""
    points = {name: joints[:, number] for number, name in enumerate(JOINTS)}
    points["knees"] = (points["left_knee"] + points["right_knee"]) / 2
    points["crown"] = points["head"] + np.array([0, 0, 0.065])
    for side in _SIDES:
        points[f"{side}_socket"] = points[f"{side}_shoulder"] - np.array([0, 0, 0.04])
        points[f"below_{side}_hand"] = points[f"{side}_hand"] - np.array([0, 0, 0.3])
    return points


class Cloth(NamedTuple):
    """What the K solids of a figure are covered with.

    Attributes:
        colour: (K, 2, 3), before and beyond the seam.
        seam: (K, 3), see `_Part`.
        stripes: (K, 2), how much lighter and darker stripes are.
        waves: (K, W, 3) of its texture, radians a metre.
        phase: (K, W) of these.
    """

    colour: Real
    seam: Real
    stripes: Real
    waves: Real
    phase: Real

    def colours(self, solid: Indices, local: Real) -> Real:
        """Colours (N, 3) of points in own coordinates (N, 3), in full light."""
        a, b, c = self.seam[solid].T
        beyond = (a * local[:, 1] + b * local[:, 2] > c).astype(np.intp)
        ripples = np.einsum("nwi,ni->nw", self.waves[solid], local) + self.phase[solid]
        stripes = np.sign(np.sin(2 * np.pi / _STRIPE * local[:, 2]))
        texture = _CONTRAST * np.cos(ripples).mean(axis=-1) + self.stripes[solid, beyond] * stripes
        return np.asarray(self.colour[solid, beyond] * (1 + texture)[:, None])


_WAVES, _WAVE_LENGTHS, _CONTRAST = 4, (0.05, 0.2), 0.36
_STRIPE = 0.07  # metres from one to the next


def _cloth(parts: Sequence[_Part], build: Build, outfit: Outfit) -> Cloth:
    rng = np.random.default_rng(outfit.seed)
    shape = (len(parts), _WAVES)
    waves = rng.normal(size=(*shape, 3))
    waves /= np.linalg.norm(waves, axis=-1, keepdims=True)
    shortest, longest = _WAVE_LENGTHS
    waves *= 2 * np.pi / (shortest * (longest / shortest) ** rng.random((*shape, 1)))
    colours = {
        "skin": build.skin,
        "hair": build.hair,
        "top": outfit.top,
        "trousers": outfit.trousers,
        "shoes": _OVERSHOES if outfit.overshoes else outfit.shoes,
        "coat": outfit.coat,
        "bag": outfit.bag,
        "backpack": outfit.backpack,
    }
    return Cloth(
        colour=np.array([[colours[stuff] for stuff in part.stuff] for part in parts]),
        seam=np.array([part.seam for part in parts], dtype=np.float64),
        stripes=np.array([[outfit.stripes * (s == "top") for s in part.stuff] for part in parts]),
        waves=waves,
        phase=rng.uniform(0, 2 * np.pi, shape),
    )


def figure(joints: Array, stature: float, build: Build, outfit: Outfit) -> tuple[Solids, Cloth]:
    """A walking figure, in the frame of reference of the joints.

    Args:
        joints: (T, V, 3) from :func:`gaitbench.synthetic.people.walk`.
        stature: metres.
        build: whose body it is.
        outfit: what is worn.
    """
    parts = _worn(outfit)
    points = _points(joints)
    size, up = stature / _STATURE, np.array([0, 0, 1])
    across = points["left_hip"] - points["right_hip"]
    leftwards = _unit(across + points["left_shoulder"] - points["right_shoulder"])
    ahead = np.cross(leftwards, up)
    place, axes, length = [], [], []
    for part in parts:
        along = part.reach * (points[part.end] - points[part.start])
        axis = _unit(along)
        # joints come closer and part a little in walking; what lies between them stretches
        rest = float(np.linalg.norm(along, axis=-1).mean()) / size
        sideways = ahead if abs((axis * leftwards).sum(axis=-1)).mean() > 0.8 else leftwards
        first = _unit(sideways - (sideways * axis).sum(axis=-1, keepdims=True) * axis)
        width, depth = size * getattr(build, part.girth) * np.array(part.stretch)
        place.append(points[part.start] + size * (part.shift[0] * ahead + part.shift[1] * up))
        axes.append(np.stack([width * first, depth * np.cross(axis, first), along / rest], axis=1))
        length.append(rest)
    radius = np.array([part.radius for part in parts])
    solids = Solids(np.stack(place, axis=1), np.stack(axes, axis=1), radius, np.array(length))
    return solids, _cloth(parts, build, outfit)


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
