"""What batches tell of rows of a table: its mean for each row, in memory or through a file."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from gaitbench.errors import InputError

VALUES = 1 << 22
"""Values of the rows that are put in order at a time: 16 MB."""


def mean_of_rows(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of what each row gave, in the order of the rows: (n,), (n, ...) to (N,), (N, ...).

    A row comes once for each of its windows, and samplers repeat rows to give all processes equal
    work; in float64 the mean is the same however often it comes.
    """
    found, place, times = torch.unique(rows, return_inverse=True, return_counts=True)
    if len(found) == len(rows):
        return found, values[place.argsort()]
    total = values.new_zeros(len(found), *values.shape[1:], dtype=torch.float64)
    total.index_add_(0, place, values.double())
    return found, (total / times.view(-1, *[1] * (values.dim() - 1))).float()


class RowFile:
    """Values of rows, which come batch by batch and wait in a file until all are there.

    The file has no name, and is gone once it is closed or the process has ended.

    Args:
        directory: on the disk that has room for them.

    Raises:
        InputError: here and in :meth:`append` if that cannot be written to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # no tensors: small ones that stay would keep apart the large ones that come and go
        self.rows: list[int] = []
        self.width = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # stays open
        except OSError as error:
            raise self._refusal(error) from error

    def append(self, rows: Tensor, values: Tensor) -> None:
        """Keep the values (n, D) of rows (n,), of which some may have come before."""
        self.rows += rows.tolist()
        self.width = values.shape[1]
        try:
            self.file.write(values.float().cpu().contiguous().numpy().data)
        except OSError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Give the file up."""
        self.file.close()

    def save(self, file: BinaryIO) -> Tensor:
        """Write the mean of what each row gave, in the order of the rows, as ``numpy.save`` does.

        Returns:
            (N,) which rows are not finite.
        """
        rows = torch.tensor(self.rows)
        shape = (len(np.unique(rows)), self.width)
        head = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        faulty = []
        for values in self._means(rows):
            faulty.append(~values.isfinite().all(dim=1))
            file.write(values.numpy().data)
        return torch.cat(faulty)

    def _means(self, rows: Tensor) -> Iterator[Tensor]:
        """:func:`mean_of_rows` of all, some at a time."""
        order = rows.argsort(stable=True)
        end = np.unique(rows, return_counts=True)[1].cumsum()
        step = max(1, VALUES // max(1, self.width))
        self.file.flush()
        start = 0
        for stop in [*end[step - 1 : -1 : step].tolist(), int(end[-1])]:
            some = order[start:stop]
            # mapped anew, so that pages that have been read are given back
            held = np.memmap(self.file, np.float32, "r", shape=(len(rows), self.width))
            yield mean_of_rows(rows[some], torch.from_numpy(held[some.numpy()]))[1]
            start = stop

    def _refusal(self, error: OSError) -> InputError:
        return InputError(
            f"{self.directory} cannot be written to: {error.strerror or error}; free the disk, "
            "mend the permissions or name another folder"
        )
