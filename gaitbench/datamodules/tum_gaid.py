"""TUM-GAID: 305 people who walk by a Kinect, as images.

What: the TUM Gait from Audio, Image and Depth database. Each walks six times as usual (``n``),
twice with a backpack (``b``) and twice with covers over the shoes (``s``); 32 of them did so again
months later. 640 x 480 pixels, 30 frames a second. Depth and sound are not read.

Where from: the Institute for Human-Machine Communication, Technical University of Munich, on
request.

Licence: research only, under its agreement.

On disk: ``image/p001/n01/001.jpg``, ``image/p001/back/background.jpg`` of the empty room (``back2``
of the second recording), and lists of subjects ``tumgaidtrainids.lst``, ``tumgaidvalids.lst`` and
``tumgaidtestids.lst`` there, above, or in ``labels``.

Splits: ``150/155`` trains on those of the first two lists and tests those of the third; ``100/155``
trains on those of the first alone. Walks of the second recording train only if asked for.

Known gaps: walks in which nobody is found are listed.

Citation: Hofmann, Geiger, Bachmann, Schuller and Rigoll, "The TUM gait from audio, image and depth
(GAID) database: multimodal recognition of subjects and traits", Journal of Visual Communication and
Image Representation 25, 2014.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gaitbench.datamodules.base import People, Split
from gaitbench.datamodules.videos import VideoDataModule
from gaitbench.errors import InputError
from gaitbench.protocols import NeighbourProtocol, Protocol, Selection
from gaitbench.readers.keypoints import Label
from gaitbench.tum_gaid import BACKGROUNDS, IMAGES, LABELS, LISTS, NUMBERS, TWICE
from gaitbench.video.crops import WINDOW

if TYPE_CHECKING:
    from gaitbench.video.extraction import Source

SPLITS = MappingProxyType({"150/155": ("train", "validation"), "100/155": ("train",)})
"""Split -> lists of those who train."""

PERSON, WALK = re.compile("p([0-9]{3})"), re.compile("([nbs])([0-9]{2})")
VIEW = 90


def _walks(condition: str, *numbers: int) -> Selection:
    return {"condition": (condition,), "number": numbers}


FIRST, LATER = (
    MappingProxyType({"N": _walks("n", 5, 6), "B": _walks("b", 1, 2), "S": _walks("s", 1, 2)}),
    MappingProxyType({"TN": _walks("n", 11, 12), "TB": _walks("b", 3, 4), "TS": _walks("s", 3, 4)}),
)
_BY = "windows vote by their 7 nearest neighbours"

FIRST_DAY = NeighbourProtocol(
    id="tum_gaid.first",
    description=f"Gallery n 1-4, probes n 5-6, b 1-2, s 1-2 of the first recording; {_BY}.",
    gallery=_walks("n", 1, 2, 3, 4),
    probes=FIRST,
)
"""N, B and S of the published division (Hofmann et al., 2014)."""

MONTHS_LATER = NeighbourProtocol(
    id="tum_gaid.later",
    description=(
        "Of those recorded twice: gallery n 1-4 of the first recording, probes n 11-12, b 3-4, "
        f"s 3-4 of months later; {_BY}."
    ),
    gallery={"subject": TWICE, **_walks("n", 1, 2, 3, 4)},
    probes=LATER,
)
"""TN, TB and TS as the literature has them, among the 16 test subjects who came again."""

SECOND_DAY = NeighbourProtocol(
    id="tum_gaid.second",
    description=(
        f"As GaitCopy's program: gallery n 7-10, probes n 11-12, b 3-4, s 3-4, all of the second "
        f"recording; {_BY}."
    ),
    gallery=_walks("n", 7, 8, 9, 10),
    probes=LATER,
)
"""What GaitCopy's program calls elapsed time: no time has passed between gallery and probes."""

FIRST_RETRIEVAL, LATER_RETRIEVAL = (
    Protocol(
        id=f"{votes.id}_retrieval",
        description=(
            f"Gallery and probes of {votes.id}: the nearest recording, by the mean of its windows."
        ),
        gallery=votes.gallery,
        probes=votes.probes,
        gallery_views="pooled",
        exclude_same_view=False,
        unmatched="wrong",
        windows="averaged",
    )
    for votes in (FIRST_DAY, MONTHS_LATER)
)
"""The field's retrieval of recordings, in place of votes of windows; all are of one view."""


def of_first_recording(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each sequence is of the first recording, or none of TUM-GAID's."""
    last = table["condition"].map({name: max(of) for name, of in NUMBERS[1].items()})
    return ~(table["number"] > last).to_numpy(bool)


class TumGaid(VideoDataModule):
    """TUM-GAID: 305 people, ten walks each, 32 of them again months later, from the side.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder that holds ``image``.
        split: training and test subjects, ``150/155`` or ``100/155``.
        frames: frames of a sample.
        train_later: whether walks of the second recording train, too; published is not.
        settings: see :class:`VideoDataModule`.
    """

    dataset = "tum_gaid"
    reader_version = 1
    protocols: ClassVar[Mapping[str, NeighbourProtocol | Protocol]] = MappingProxyType(
        {
            protocol.id: protocol
            for protocol in (
                *(FIRST_DAY, MONTHS_LATER, SECOND_DAY),
                *(FIRST_RETRIEVAL, LATER_RETRIEVAL),
            )
        }
    )
    default_protocols = (FIRST_DAY.id, MONTHS_LATER.id)

    def __init__(
        self,
        path: str = "data/TUM_GAID",
        split: Literal["150/155", "100/155"] = "150/155",
        frames: int = WINDOW,
        train_later: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
        self.train_later = train_later

    def people(self) -> People:
        """Who trains and who is tested; see ``train_later``."""
        people = super().people()
        if self.train_later:
            return people
        first = of_first_recording(self.open_store().sequences)
        return people._replace(train=people.train & first)

    def find_split(self, name: str) -> Split:
        """The division that the published lists tell.

        Raises:
            InputError: if the name is unknown, or a list is missing or names no subjects.
        """
        if name not in SPLITS:
            raise InputError(f"data.split {name!r} is unknown; choose one of {', '.join(SPLITS)}")
        train = [subject for part in SPLITS[name] for subject in self._listed(part)]
        return Split(tuple(sorted(train)), tuple(self._listed("test")))

    def _listed(self, part: str) -> list[str]:
        """The subjects of a list, in order."""
        folders = [self.path, self.path / LABELS, self.path / IMAGES, self.path.parent / LABELS]
        places = [folder / LISTS[part] for folder in folders]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise InputError(
                f"{self.path} has no list {LISTS[part]}, there or in {LABELS}; copy it from the "
                "published set"
            )
        words = place.read_text(encoding="ascii", errors="replace").split()
        if wrong := [word for word in words if not re.fullmatch("p?[0-9]{1,3}", word)]:
            raise InputError(f"{place} names {wrong[0]!r}, expected numbers of subjects; mend it")
        return sorted({word.removeprefix("p").zfill(3) for word in words})

    @property
    def listed(self) -> Collection[str]:
        """Subjects of all lists."""
        return [subject for part in LISTS for subject in self._listed(part)]

    def find_videos(self) -> "list[Source]":
        """The walks, each with the empty room of its recording if there is one."""
        from gaitbench.video.extraction import Source

        images = self.path / IMAGES if (self.path / IMAGES).is_dir() else self.path
        found = []
        for person in sorted(_folders(images)):
            if not (subject := PERSON.fullmatch(person.name)):
                continue
            for walk in sorted(_folders(person)):
                if not (match := WALK.fullmatch(walk.name)):
                    continue
                condition, number = match[1], int(match[2])
                session = 1 if number in NUMBERS[1][condition] else 2
                room = person / BACKGROUNDS[session]
                label = Label(subject[1], condition, number, VIEW)
                name = f"{person.name}-{walk.name}"
                found.append(Source(walk, name, label, None, room if room.is_file() else None))
        if not found:
            raise InputError(
                f"{images} has no folder of a walk, such as p001/n01; name TUM-GAID's folder"
            )
        return found


def _folders(path: Path) -> list[Path]:
    try:
        return [place for place in path.iterdir() if place.is_dir()]
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name TUM-GAID's folder"
        ) from error
