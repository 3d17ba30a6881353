"""CASIA-B as videos: 124 people seen from eleven sides.

What, where from and licence: see :mod:`gaitbench.datamodules.casia_b`.

On disk: ``<subject>-<condition>-<number>-<view>.avi`` in a folder or below, and beside them
``<subject>-bkgrd-<view>.avi`` of the empty room, as published.

Splits: ``74/50``, ``73/50`` (without 005) and ``62/62``, as of :class:`Silhouettes`.

Known gaps: videos in which nobody is found are listed. Of several people the one is taken who is
seen longest.

Citation: Yu, Tan, Tan, "A framework for evaluating the effect of view angle, clothing and carrying
condition on gait recognition", ICPR 2006. Votes of windows: Delgado-Escano et al., "GaitCopy:
disentangling appearance for gait recognition by signature copy", IEEE Access 9, 2021.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gaitbench.datamodules.base import Split
from gaitbench.datamodules.casia_b import (
    CROSS_VIEW,
    EXPECTED,
    FIRST_FOUR,
    PROBES,
    PROTOCOLS,
)
from gaitbench.datamodules.silhouettes import SPLITS
from gaitbench.datamodules.videos import VideoDataModule
from gaitbench.errors import InputError
from gaitbench.protocols import NeighbourProtocol, Protocol
from gaitbench.readers.keypoints import label_of
from gaitbench.video.crops import WINDOW

if TYPE_CHECKING:
    from gaitbench.video.extraction import Source

WALK = re.compile("[0-9]{3}-(?:nm|bg|cl)-[0-9]{2}-[0-9]{3}")
EMPTY = re.compile("([0-9]{3})-bkgrd-([0-9]{3})")

SAME_VIEW = NeighbourProtocol(
    id="casia_b_video.same_view",
    description=(
        "Windows vote by their 7 nearest neighbours; gallery nm 1-4 and probes nm 5-6, bg, cl of "
        "the same view; mean over views."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    views="same",
)
"""What GaitCopy's program judges by (Delgado-Escano et al., 2021): a view at a time."""

OTHER_VIEWS = NeighbourProtocol(
    id="casia_b_video.other_views",
    description=(
        "As casia_b_video.same_view with gallery and probes of different views; mean over gallery "
        "views, then over probe views."
    ),
    gallery=FIRST_FOUR,
    probes=PROBES,
    views="others",
)
"""The field's cross-view comparison, by votes: as UGaitNet (Marin-Jimenez et al., 2021)."""


class CasiaBVideo(VideoDataModule):
    """CASIA-B: 124 people, ten walks each, eleven views, as videos.

    This module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the folder of the videos, or one above.
        split: training and test subjects, ``74/50``, ``73/50`` or ``62/62``.
        frames: frames of a sample.
        settings: see :class:`VideoDataModule`.
    """

    dataset = "casia_b_video"
    reader_version = 1
    splits: ClassVar[Mapping[str, Split]] = SPLITS
    protocols: ClassVar[Mapping[str, NeighbourProtocol | Protocol]] = MappingProxyType(
        {SAME_VIEW.id: SAME_VIEW, OTHER_VIEWS.id: OTHER_VIEWS, **PROTOCOLS}
    )
    default_protocols = (SAME_VIEW.id, CROSS_VIEW.id)

    def __init__(
        self,
        path: str = "data/DatasetB",
        split: Literal["74/50", "73/50", "62/62"] = "74/50",
        frames: int = WINDOW,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)

    @property
    def expected(self) -> Mapping[tuple[str, int], int]:
        """Those of all subjects."""
        return EXPECTED

    def find_videos(self) -> "list[Source]":
        """The walks, each with the empty room of its subject and view if there is one."""
        from gaitbench.video.extraction import Source

        files = sorted(self.path.rglob("*.avi"), key=lambda file: file.stem)
        rooms = {match.groups(): file for file in files if (match := EMPTY.fullmatch(file.stem))}
        found: dict[str, Source] = {}
        for file in files:
            if not WALK.fullmatch(file.stem):
                continue
            if file.stem in found:
                raise InputError(
                    f"{found[file.stem].path} and {file} are the same walk; move one away"
                )
            room = rooms.get((file.stem[:3], file.stem[-3:]))
            found[file.stem] = Source(file, file.stem, label_of(file.stem, {}), None, room)
        if not found:
            raise InputError(
                f"{self.path} holds no video called like 001-nm-01-090.avi; name CASIA-B's folder"
            )
        return list(found.values())
