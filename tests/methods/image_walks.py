"""Windows of pictures of a few people in memory, as the image datasets give them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from gaitbench.batch import GaitBatch
from gaitbench.callbacks import read_predictions
from gaitbench.protocols import NeighbourProtocol

SIZES = {"gray": (25, 60, 60, 1), "flow": (25, 60, 60, 2), "silhouette": (6, 64, 44, 1)}
TOGETHER = ("subject", "condition", "number", "view", "first_frame")


class Batches(IterableDataset[GaitBatch]):
    """Batches that were made before."""

    def __init__(self, batches: list[GaitBatch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[GaitBatch]:
        return iter(self.batches)


class ImageWalks(pl.LightningDataModule):
    """Everybody walks four times, twice for training and twice in tests, and is held up by noise.

    Args:
        modality: of the windows.
        people: how many.
        windows: of a walk.
        batch_size: of a training batch.
        teacher_modality: of the targets.
        signatures: folder of the targets.
        validation: ``test`` or ``none``.
        predict: ``all`` or ``test``.
    """

    dataset = "walks"
    frame_kind = "images"
    units = "pictures"
    protocols: ClassVar[Mapping[str, Any]] = {
        "walks.votes": NeighbourProtocol(
            "walks.votes", "The last walk.", {"number": [1, 2]}, {"last": {"number": [3, 4]}}, 3
        )
    }
    default_protocols = ("walks.votes",)

    def __init__(
        self,
        modality: str = "gray",
        people: int = 3,
        windows: int = 2,
        batch_size: int = 12,
        teacher_modality: str = "none",
        signatures: Path | None = None,
        validation: Literal["none", "test"] = "none",
        predict: Literal["all", "test"] = "all",
    ) -> None:
        super().__init__()
        places = [
            (f"{subject:03d}", "nm", number, 0, 5 * window)
            for subject in range(people)
            for number in (1, 2, 3, 4)
            for window in range(windows)
        ]
        self.sequences = pd.DataFrame(places, columns=[*TOGETHER]).assign(start=0, length=25)
        self.skeleton = "-".join([modality, "x".join(map(str, SIZES[modality][:-1]))])
        self.num_subjects = people
        self.modality, self.batch_size = modality, batch_size
        self.teacher_modality, self.signatures = teacher_modality, signatures
        self.validation, self.predict = validation, predict

    def pictures(self, modality: str, row: int) -> Tensor:
        """Those of a row: bright where the person is, in another place for everybody."""
        person = int(self.sequences["subject"].iloc[row])
        frames = 0.1 * torch.randn(
            SIZES[modality], generator=torch.Generator().manual_seed(int(row))
        )
        frames[:, 10 + 12 * person : 22 + 12 * person] += 0.4
        return frames

    def batch(self, rows: Any) -> GaitBatch:
        """The windows of table rows."""
        frames = torch.stack([self.pictures(self.modality, row) for row in rows])
        subject = torch.from_numpy(self.sequences["subject"].to_numpy(int)[rows])
        target = None
        if self.teacher_modality != "none":
            target = torch.stack([self.pictures(self.teacher_modality, row) for row in rows])
        elif self.signatures is not None:
            signatures, table = read_predictions(self.signatures)
            assert table[[*TOGETHER]].to_numpy(str).tolist() == (
                self.sequences[[*TOGETHER]].to_numpy(str).tolist()
            )
            target = torch.from_numpy(signatures[rows])
        return GaitBatch(frames, subject, torch.tensor(rows), 7, target=target)

    def _loader(self, numbers: tuple[int, ...], size: int = 8) -> DataLoader[GaitBatch]:
        rows = np.flatnonzero(self.sequences["number"].isin(numbers))
        chosen = [rows[i : i + size] for i in range(0, len(rows), size)]
        batches = [self.batch(some) for some in chosen]
        return DataLoader(Batches(batches), batch_size=None)

    def train_dataloader(self) -> DataLoader[GaitBatch]:
        """The first two walks."""
        return self._loader((1, 2), self.batch_size)

    def val_dataloader(self) -> Any:
        """All walks."""
        return [] if self.validation == "none" else self._loader((1, 2, 3, 4))

    def test_dataloader(self) -> DataLoader[GaitBatch]:
        """All walks."""
        return self._loader((1, 2, 3, 4))

    def predict_dataloader(self) -> DataLoader[GaitBatch]:
        """All walks, or the last two."""
        return self._loader((1, 2, 3, 4) if self.predict == "all" else (3, 4))
