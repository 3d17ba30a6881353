"""GaitCopy's own samples of TUM-GAID or CASIA-B: windows that its authors' programs have cut out.

What: windows of 25 frames, 60 x 60 gray values or optical flow, a file each.

Where from: made of the videos by the programs of GaitCopy's authors, or by those of the user.

Licence: that of the videos, see :mod:`gaitbench.datamodules.tum_gaid` and
:mod:`gaitbench.datamodules.casia_b`.

On disk: folders such as ``tfimdb_tum_gaid_N150_train_of25_60x60`` and
``tfimdb_tum_gaid_N150_train_gray25_60x60`` side by side, each with files such as
``p001-n01-01.h5``. See :mod:`gaitbench.readers.gaitcopy_samples`.

Splits: ``published``. Whoever is in a folder whose part is called ``train`` trains, all others are
tested. Walks of TUM-GAID's second recording do not train.

Known gaps: walks without a sample are not told of. Windows that lack a modality that is asked for
are listed.

Citation: Delgado-Escano et al., "GaitCopy: disentangling appearance for gait recognition by
signature copy", IEEE Access 9, 2021.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from torch import Tensor

from gaitbench.datamodules import casia_b_video, tum_gaid
from gaitbench.datamodules.base import People, Split
from gaitbench.datamodules.images import ImageDataModule
from gaitbench.errors import InputError
from gaitbench.protocols import NeighbourProtocol, unmet_neighbours
from gaitbench.readers.gaitcopy_samples import (
    FRAMES,
    READER_VERSION,
    read_samples,
    samples_fingerprint,
)
from gaitbench.store import StoreWriter
from gaitbench.video.crops import HOP, flow_input, gray_input
from gaitbench.video.frames import GRAY

PROTOCOLS = (
    casia_b_video.SAME_VIEW,
    casia_b_video.OTHER_VIEWS,
    tum_gaid.FIRST_DAY,
    tum_gaid.MONTHS_LATER,
    tum_gaid.SECOND_DAY,
)


class GaitCopySamples(ImageDataModule):
    """GaitCopy's samples of TUM-GAID or CASIA-B.

    This module's docstring says what they are and what is known to be missing.

    Args:
        path: the folder above those of the samples.
        split: ``published``.
        frames: 25, as the samples have.
        modality: what the network sees; other modalities need not be there.
        teacher_modality: what a frozen teacher sees of the same windows.
        settings: see :class:`ImageDataModule`, but for those by which windows are cut.
    """

    dataset = "gaitcopy_samples"
    reader_version = READER_VERSION
    units = "gray 0 to 255, flow in hundredths of a pixel"
    protocols: ClassVar[Mapping[str, NeighbourProtocol]] = MappingProxyType(
        {protocol.id: protocol for protocol in PROTOCOLS}
    )
    default_protocols: ClassVar[tuple[str, ...]] = (
        casia_b_video.SAME_VIEW.id,
        tum_gaid.FIRST_DAY.id,
        tum_gaid.MONTHS_LATER.id,
    )

    def __init__(
        self,
        path: str = "data/gaitcopy",
        split: Literal["published"] = "published",
        frames: int = FRAMES,
        modality: Literal["gray", "flow"] = "gray",
        teacher_modality: Literal["none", "gray", "flow"] = "none",
        **settings: Any,
    ) -> None:
        if frames != FRAMES:
            raise InputError(f"data.frames is {frames}, and samples have {FRAMES}; leave it out")
        super().__init__(
            path,
            split,
            frames,
            modality=modality,
            teacher_modality=teacher_modality,
            samples="windows",
            hop=HOP,
            published_windows=False,
            **settings,
        )

    @property
    def modalities(self) -> list[str]:
        """What is read of each window."""
        return sorted({self.modality, self.teacher_modality} - {"none"}, reverse=True)

    @property
    def store_name(self) -> str:
        """A store for each choice of modalities."""
        return "-".join([self.dataset, *self.modalities])

    @property
    def store_settings(self) -> Mapping[str, Any]:
        """The modalities."""
        return {"modality": self.modalities}

    def store_key(self) -> str:
        """Fingerprint of the files."""
        return samples_fingerprint(self.path, self.modalities)

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        read_samples(self.path, self.modalities, writer, keep)

    def find_split(self, name: str) -> Split:
        """Who trains and who is tested, told by the folders.

        Raises:
            InputError: if the name is unknown, or somebody would do both.
        """
        if name != "published":
            raise InputError(f"data.split {name!r} is unknown; choose published")
        table = self.open_store().sequences
        trains = table["part"].str.split("_").map(lambda words: "train" in words)
        train, test = {*table["subject"][trains]}, {*table["subject"][~trains]}
        if both := sorted(train & test):
            raise InputError(
                f"{self.path} has samples of subject {both[0]} in folders called train and in "
                "others, and who has trained cannot be tested; move the samples of one kind away"
            )
        return Split(tuple(sorted(train)), tuple(sorted(test)))

    @property
    def listed(self) -> None:
        """None: there need not be all subjects."""
        return None

    def people(self) -> People:
        """Who trains and who is tested; walks of a second recording do not train."""
        people = super().people()
        first = tum_gaid.of_first_recording(self.open_store().sequences)
        return people._replace(train=people.train & first)

    def setup(self, stage: str) -> None:
        """See :class:`ImageDataModule`; judged is by the protocols of the dataset that it is."""
        super().setup(stage)
        tested = self.sequences.iloc[self.rows["test"]]
        self.default_protocols = tuple(  # type: ignore[misc]
            name
            for name in type(self).default_protocols
            if not unmet_neighbours(tested, self.protocols[name])
        )

    def _input(self, frames: Tensor, modality: str, row: Tensor) -> Tensor:
        """Stored frames, which are cut out already, as networks take them."""
        return gray_input(frames) if modality == GRAY else flow_input(frames)
