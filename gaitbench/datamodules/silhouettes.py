"""Silhouettes as OpenGait's users hold them, of CASIA-B or of any other set.

What: walks as silhouettes, a folder a walk.

Where from: CASIA-B's come with its videos, see :mod:`gaitbench.datamodules.casia_b`; those of other
sets are prepared by programs such as OpenGait's.

Licence: that of the set.

On disk: ``<subject>/<condition>/<view>``, each with images or one pickled array; or one ``.npz``
file. See :mod:`gaitbench.readers.silhouettes`.

Splits: of CASIA-B's subjects ``74/50`` (the field's), ``73/50`` (without 005, whose silhouettes are
incomplete: GaitSet's) and ``62/62``; of any set ``all``, which trains nobody and tests all.

Known gaps: frames that show nobody are left out. Walks that cannot be read are listed.

Citation: that of the set. Normalisation and use as a set: Chao et al., "GaitSet: regarding gait as
a set for cross-view gait recognition", AAAI 2019, arXiv 1811.06186.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from gaitbench.casia_b import SUBJECTS, TRAIN_SUBJECTS
from gaitbench.datamodules.base import Split
from gaitbench.datamodules.casia_b import PROTOCOLS
from gaitbench.datamodules.images import ImageDataModule
from gaitbench.errors import InputError
from gaitbench.protocols import Protocol
from gaitbench.readers.silhouettes import (
    READER_VERSION,
    read_silhouettes,
    silhouettes_fingerprint,
)
from gaitbench.store import StoreWriter

INCOMPLETE = "005"

SPLITS = MappingProxyType(
    {
        "74/50": Split(TRAIN_SUBJECTS["74/50"], SUBJECTS[74:]),
        "73/50": Split(
            tuple(name for name in TRAIN_SUBJECTS["74/50"] if name != INCOMPLETE), SUBJECTS[74:]
        ),
        "62/62": Split(TRAIN_SUBJECTS["62/62"], SUBJECTS[62:]),
    }
)
"""Those of CASIA-B's subjects."""


class Silhouettes(ImageDataModule):
    """Walks as silhouettes.

    Args:
        path: the folder above those of the subjects, or the ``.npz`` file.
        split: training and test subjects, see this module's docstring. If none is given it is
            ``74/50`` where all subjects are CASIA-B's, else ``all``.
        frames: frames of a training sample; GaitSet's are 30.
        samples: see :class:`ImageDataModule`.
        settings: see :class:`ImageDataModule`; there is one modality.
    """

    dataset = "silhouettes"
    reader_version = READER_VERSION
    units = "silhouettes 0 to 255"
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    default_protocols = ("casia_b.cross_view",)

    def __init__(
        self,
        path: str = "data/silhouettes",
        split: Literal["74/50", "73/50", "62/62", "all"] | None = None,
        frames: int = 30,
        samples: Literal["windows", "recordings"] = "recordings",
        **settings: Any,
    ) -> None:
        super().__init__(
            path,
            split or "",
            frames,
            modality="silhouette",
            teacher_modality="none",
            samples=samples,
            **settings,
        )

    def find_split(self, name: str) -> Split:
        """The division of that name, or the one that suits the subjects.

        Raises:
            InputError: if a subject is none of CASIA-B's, to which the division belongs.
        """
        found = {*self.open_store().sequences["subject"]}
        strangers = sorted(found - {*SUBJECTS})
        if name == "all" or (not name and strangers):
            return Split((), tuple(sorted(found)))
        if strangers:
            raise InputError(
                f"data.split {name} divides CASIA-B's subjects 001 to 124, and {self.path} holds "
                f"{strangers[0]}; give data.split all"
            )
        return SPLITS[name or "74/50"]

    @property
    def listed(self) -> None:
        """None: there need not be all of CASIA-B's subjects."""
        return None

    def store_key(self) -> str:
        """Fingerprint of the files."""
        return silhouettes_fingerprint(self.path)

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        read_silhouettes(self.path, writer, self.cache / f".{self.store_name}.parts")
