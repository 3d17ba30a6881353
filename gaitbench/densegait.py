"""DenseGait's facts, for those who read the dataset and those who write what looks like it."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gaitbench.errors import InputError

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gender": ("Female",),
        "body": ("BodyThin", "BodyNormal", "BodyFat"),
        "viewpoint": ("Front", "Side", "Back"),
        "age-group": ("AgeChild", "AgeYoungAdult", "AgeMediumAdult", "AgeOldAdult", "AgeSenior"),
        "accessory": (
            "Backpack", "Bag", "HandTrunk", "No accessory", "OtherAttchment", "No carrying",
        ),
        "footware": (
            "Sandals", "Shoes", "LeatherShoes", "SportShoes", "Boots", "Sneaker", "ClothShoes",
        ),
        "clothing": (
            "CasualWear", "Jacket", "FormalWear", "LongTrousers", "CarryingOther", "Dress",
            "LongCoat", "Trousers", "LongSleeve",
        ),
        "apparent-action": (
            "Calling", "Talking", "Gathering", "Holding", "Pulling", "CarryingbyArm",
            "CarryingbyHand", "HoldObjectsInFront",
        ),
    }
)  # fmt: skip
"""Category -> columns, spelt and ordered as published (Cosma and Radoi, 2022): 42 together."""

SUBSETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "all": tuple(ATTRIBUTES),
        "demographic": ("gender", "body", "viewpoint", "age-group"),
        "clothing": ("accessory", "footware", "clothing"),
    }
)
"""The sets of categories that networks were published for: 42, 12 and 22 attributes."""

ANNOTATIONS = "data-2.02/annotations.csv"
"""The table of the tracklets that train, below the dataset's folder."""

VALIDATION = "validation/annotations.csv"
"""The table of the tracklets that attributes are judged on."""


def attribute_names(categories: Iterable[str] = tuple(ATTRIBUTES)) -> tuple[str, ...]:
    """The columns of some categories, in their order; those of all if none are named.

    Raises:
        InputError: if a category is unknown or named twice.
    """
    categories = tuple(categories)
    for category in categories:
        if category not in ATTRIBUTES:
            raise InputError(
                f"attribute category {category!r} is unknown; choose from {', '.join(ATTRIBUTES)}"
            )
        if categories.count(category) > 1:
            raise InputError(f"attribute category {category!r} is named twice; name it once")
    return tuple(name for category in categories for name in ATTRIBUTES[category])
