"""What the datasets of GaitFormer's family share: a table, and an ``.npy`` file a sequence."""

from typing import Literal

import pandas as pd

from gaitbench.datamodules.base import GaitDataModule
from gaitbench.readers.annotated import (
    READER_VERSION,
    Annotated,
    annotated_fingerprint,
    read_annotated,
)
from gaitbench.store import StoreWriter


class AnnotatedDataModule(GaitDataModule):
    """Base of datasets that :mod:`gaitbench.readers.annotated` reads.

    Attributes:
        on_error: what becomes of files that cannot be used; set by the subclass.
    """

    reader_version = READER_VERSION
    on_error: Literal["raise", "skip"]

    @property
    def source(self) -> Annotated:
        """The table, and where its files are.

        Raises:
            InputError: if there is no table.
        """
        raise NotImplementedError

    def to_table(self, annotations: pd.DataFrame) -> pd.DataFrame:
        """Columns of the store, made of those of the published table."""
        raise NotImplementedError

    def store_key(self) -> str:
        """Fingerprint of the table and of the folders of its files."""
        return annotated_fingerprint(
            self.source,
            skeleton=self.native_skeleton,
            reader=self.reader_version,
            **self.store_settings,
        )

    def read(self, writer: StoreWriter) -> None:
        """Read the files; what was read of them is kept until the store is finished."""
        keep = self.cache / f".{self.store_name}.parts"
        read_annotated(self.source, self.to_table, self.on_error, writer, keep)
