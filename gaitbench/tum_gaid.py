"""TUM-GAID's facts, for those who read the dataset and those who write what looks like it.

Source: Hofmann, Geiger, Bachmann, Schuller and Rigoll 2014, "The TUM gait from audio, image and
depth (GAID) database", Journal of Visual Communication and Image Representation 25.
"""

from types import MappingProxyType

SUBJECTS = tuple(f"{subject:03d}" for subject in range(1, 306))
TWICE = SUBJECTS[:32]
"""Who was recorded again months later."""

NUMBERS = MappingProxyType(
    {
        1: MappingProxyType({"n": range(1, 7), "b": range(1, 3), "s": range(1, 3)}),
        2: MappingProxyType({"n": range(7, 13), "b": range(3, 5), "s": range(3, 5)}),
    }
)
"""Session -> condition (normal, backpack, covers over the shoes) -> numbers of its walks."""

IMAGE = (640, 480)
FPS = 30
IMAGES, LABELS = "image", "labels"
"""Folder of the walks' images, and folder of the lists below."""

BACKGROUNDS = MappingProxyType({1: "back/background.jpg", 2: "back2/background.jpg"})
"""Session -> a person's empty room, in the folder of this person's images."""

LISTS = MappingProxyType(
    {
        "train": "tumgaidtrainids.lst",
        "validation": "tumgaidvalids.lst",
        "test": "tumgaidtestids.lst",
    }
)
"""Part of the split -> file with its subjects' numbers, one a line."""
