"""What datasets of videos share: people are found in them, and all modalities are stored."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gaitbench.datamodules.images import ImageDataModule
from gaitbench.errors import InputError
from gaitbench.store import StoreInfo, StoreWriter
from gaitbench.video.crops import WINDOW

if TYPE_CHECKING:
    from gaitbench.video.extraction import Extraction, Source


class VideoDataModule(ImageDataModule):
    """A dataset of videos, each of one walk.

    Args:
        path: the dataset as its owner published it.
        split: name of the division into training and test subjects.
        frames: frames of a sample.
        flow: how optical flow is found.
        weights: the published network of ``flow spynet``.
        background: ``published`` finds people before the picture of the empty place that belongs to
            the video, where there is one; ``found`` makes one of the video itself.
        settings: see :class:`ImageDataModule`.
    """

    def __init__(
        self,
        path: str,
        split: str,
        frames: int = WINDOW,
        flow: Literal["dis", "farneback", "spynet"] = "dis",
        weights: str | None = None,
        background: Literal["published", "found"] = "published",
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)
        self.flow = flow
        self.weights = None if weights is None else Path(weights)
        self.background = background

    def find_videos(self) -> "Sequence[Source]":
        """The videos and whose walks they are.

        Raises:
            InputError: if there is none.
        """
        raise NotImplementedError

    @cached_property
    def videos(self) -> "Sequence[Source]":
        """See :meth:`find_videos`."""
        _need_video()
        found = self.find_videos()
        if self.background == "found":
            found = [source._replace(background=None) for source in found]
        return found

    @cached_property
    def extraction(self) -> "Extraction":
        """What is stored of them."""
        _need_video()
        from gaitbench.video.extraction import Extraction

        return Extraction(flow=self.flow, weights=self.weights)

    @property
    def store_info(self) -> StoreInfo:
        """What the store's description says of its frames."""
        return self.extraction.info(self.dataset)

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """How flow and people are found."""
        return self.extraction.info(self.dataset).settings

    def store_key(self) -> str:
        """Fingerprint of the videos and of how they are read."""
        from gaitbench.video.extraction import video_marks

        marks = video_marks(self.videos, self.extraction)
        return hashlib.sha256("".join(marks).encode(), usedforsecurity=False).hexdigest()

    def read(self, writer: StoreWriter) -> None:
        """Find people; what was read is kept until the store is finished."""
        from gaitbench.video.extraction import read_videos

        read_videos(self.videos, self.extraction, writer, self.cache / f".{self.store_name}.parts")


def _need_video() -> None:
    try:
        import gaitbench.video.extraction  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"videos need {error.name}, which is not installed; pip install 'gaitbench[video]'"
        ) from error
