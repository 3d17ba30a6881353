"""An exported network in the place of a method: it is judged, never trained."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaitbench.errors import InputError
from gaitbench.exported import OnnxNetwork
from gaitbench.methods.base import GaitMethod


class ExportedNetwork(GaitMethod):
    """A network that ``gaitbench export`` has written; it comes trained and needs no checkpoint.

    Args:
        path: ONNX file.
        skeleton: layout of the poses; given by the dataset.
        num_subjects: not used; given by the dataset.

    Raises:
        InputError: if it is no such file.
    """

    def __init__(self, path: str, skeleton: str = "", num_subjects: int = 0) -> None:
        self.network = OnnxNetwork(Path(path))
        info = self.network.info
        super().__init__(skeleton or info.skeleton, num_subjects, 0.0, 0.0, "adam", tta=False)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes that it tells of a walk."""
        return self.network.info.attributes

    @property
    def window_shape(self) -> tuple[int | None, ...]:
        """See :class:`GaitMethod`."""
        info = self.network.info
        return None if info.any_length else info.frames, *info.frame_shape

    def setup(self, stage: str) -> None:
        """Look at what the data are.

        Raises:
            InputError: if the network takes others, or shall be trained.
        """
        path, info = self.network.path, self.network.info
        if stage == "fit":
            raise InputError(f"{path} is an exported network, which cannot be trained on")
        data: Any = getattr(self._trainer, "datamodule", None)
        if data is None:
            return
        pelvis = "pelvis" if data.normalized else "none"
        for setting, wanted, found in (
            ("skeleton", info.skeleton, self.skeleton),
            ("normalize", info.normalisation, pelvis),
            ("frames", info.frames, info.frames if info.any_length else data.frames),
        ):
            if wanted != found:
                raise InputError(
                    f"the network in {path} takes data.{setting} {wanted}, the data have {found}; "
                    f"give data.{setting} {wanted} or another network"
                )
        if info.frame_kind not in (None, data.frame_kind):
            raise InputError(
                f"the network in {path} takes frames of kind {info.frame_kind}, {data.dataset} "
                f"holds {data.frame_kind}; name other data or another network"
            )

    def told(self, frames: Tensor) -> dict[str, Tensor]:
        """See :class:`GaitMethod`."""
        told = self.network(frames.float().cpu().contiguous().numpy())
        return {name: torch.from_numpy(value).to(frames.device) for name, value in told.items()}
