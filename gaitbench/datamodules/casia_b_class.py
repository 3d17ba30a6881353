from typing import Literal, Any
from pathlib import Path
from gaitbench.datamodules.base import GaitDataModule, Split
from gaitbench.datamodules.casia_b import SUBJECTS, TRAIN_SUBJECTS, casia_b_sources, read_casia_b
from gaitbench.datamodules.casia_b_protocols import PROTOCOLS
from gaitbench.skeleton import COCO17
from gaitbench.store import StoreWriter

class CasiaB(GaitDataModule):
    """CASIA-B: 124 people, ten walks each, eleven views, as COCO-17 poses.

    The module's docstring says where the data come from and what is known to be missing.

    Args:
        path: the table of poses, ``.csv`` or ``.csv.gz``, or a folder that holds it or GaitGraph's
            split files.
        split: ``74/50`` (the field's) or ``62/62`` (GaitFormer's), training and test subjects.
        frames: frames of a window.
        settings: see :class:`GaitDataModule`.
    """

    dataset = "casia_b"
    skeleton = COCO17.name
    splits = {
        name: Split(train, tuple(s for s in SUBJECTS if s not in train))
        for name, train in TRAIN_SUBJECTS.items()
    }
    protocols = PROTOCOLS
    default_protocols = ("casia_b.cross_view", "casia_b.gaitgraph2")

    def __init__(
        self,
        path: str = "data/casia-b_pose_coco.csv",
        split: Literal["74/50", "62/62"] = "74/50",
        frames: int = 60,
        **settings: Any,
    ) -> None:
        super().__init__(path, split, frames, **settings)

    def sources(self) -> list[Path]:
        """The table, or the split files."""
        return casia_b_sources(self.path)

    def read(self, writer: StoreWriter) -> None:
        """Parse the table."""
        read_casia_b(self.path, writer)
