"""Your own recordings: keypoints that any pose estimator wrote, with or without labels.

What: a file or a folder of keypoints of COCO's, OpenPose's, AlphaPose's or MMPose's making, or
numpy arrays, or a table; found out from the content, see docs/own_data.md.

On disk: as the pose estimator left it. A file ``labels.csv`` beside may say who walks in which
sequence: ``sequence``, ``subject``, ``condition``, ``number``, ``view``.

Splits: nobody trains; all are embedded. There is no protocol; ``gaitbench evaluate`` judges the
embeddings by another dataset's protocol if the labels are like that dataset's.

Known gaps: in a video without track numbers one person is followed and the others are left out.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.utilities import rank_zero_only

from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.readers.keypoints import (
    READER_VERSION,
    find_labels,
    keypoint_fingerprint,
    keypoint_layout,
    read_keypoints,
    read_sequence_labels,
)
from gaitbench.skeleton import get_skeleton
from gaitbench.store import StoreWriter

logger = logging.getLogger(__name__)


class OwnSequences(GaitDataModule):
    """Keypoints of your own videos: a sequence a video and person.

    The joint layout is found out from the first person of the files; a source of several layouts is
    refused.

    Args:
        path: a file of keypoints, or a folder whose folders are searched too.
        person: who is followed through a video that has no track numbers: whoever makes the
            ``smoothest`` track, or in each frame the ``largest``, the ``most_confident``, or the
            ``first``.
        sequence_labels: table that says who walks in which sequence; ``labels.csv`` beside the
            keypoints if there is one and no other is named. Without it a sequence is its own
            subject, unless it has a name like ``001-nm-01-090``.
        frames: frames of a window.
        skeleton: layout of the poses that the method sees.
        fill_empty: give joints without a position the mean of the frame.
        fill_with: which mean; ``valid`` is that of the joints that were found.
        settings: see :class:`GaitDataModule`.
    """

    dataset = "own"
    reader_version = READER_VERSION

    def __init__(
        self,
        path: str,
        person: Literal["first", "largest", "most_confident", "smoothest"] = "smoothest",
        sequence_labels: str | None = None,
        frames: int = 60,
        skeleton: str | None = None,
        fill_empty: Literal["none", "test", "all"] = "test",
        fill_with: Literal["reference", "valid"] = "valid",
        **settings: Any,
    ) -> None:
        # of this source, not of the class: it must stand before the base looks at it
        self.native_skeleton = keypoint_layout(Path(path)).name  # type: ignore[misc]
        super().__init__(
            path,
            "all",
            frames,
            skeleton,
            fill_empty=fill_empty,
            fill_with=fill_with,
            **settings,
        )
        self.person = person
        self.sequence_labels = find_labels(self.path, sequence_labels)
        if self.sequence_labels is not None:
            self.named = read_sequence_labels(self.sequence_labels)

    def find_split(self, name: str) -> Split:
        """All subjects are tested."""
        return Split((), tuple(sorted(set(self.open_store().sequences["subject"]))))

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """Who was followed."""
        return {"person": self.person}

    def store_key(self) -> str:
        """Fingerprint of the files and the labels."""
        return keypoint_fingerprint(
            self.path,
            self.sequence_labels,
            skeleton=self.native_skeleton,
            reader=self.reader_version,
            **self.store_settings,
        )

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        layout = get_skeleton(self.native_skeleton)
        read_keypoints(self.path, self.person, layout, self.sequence_labels, writer, keep)

    def prepare_data(self) -> None:
        """Build the store; say once how people were told apart, and which labels went unused."""
        super().prepare_data()
        self._tell()

    @rank_zero_only
    def _tell(self) -> None:
        table = self.open_store().sequences
        followed, several = int(table["followed"].sum()), int(table["several"].sum())
        print(f"{self.path}: {len(table):,} sequences of {self.native_skeleton}")
        if followed:
            print(
                f"in {followed:,} of them, of videos without track numbers, one person is followed "
                f"(data.person {self.person}); {several:,} of their frames list several people"
            )
        if self.sequence_labels is not None:
            there = set(table["sequence"])
            unlabelled = there - self.named.keys()
            warn_of_labels(self.sequence_labels, self.named.keys() - there, unlabelled)


def warn_of_labels(labels: Path, absent: Collection[str], unlabelled: Collection[str]) -> None:
    """Warn of labels and sequences that do not meet.

    Args:
        labels: the table.
        absent: names in it that no sequence has.
        unlabelled: sequences that nothing labels.
    """
    for missing, what in ((absent, "labels no sequence"), (unlabelled, "has no label for")):
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            logger.warning("%s %s %s%s", labels, what, min(missing), more)
