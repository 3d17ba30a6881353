import io
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitbench import rows as module
from gaitbench.errors import InputError
from gaitbench.rows import RowFile, mean_of_rows


@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
@pytest.mark.parametrize(
    "batches",
    [
        [[0, 1, 2], [5, 6]],
        [[3, 3, 0, 0], [9, 9, 4, 4]],  # two windows a row
        [[4, 8], [6, 2], [8, 4]],  # processes, and rows that fill the last batch up
    ],
)
def test_a_file_holds_what_memory_would(
    batches: list[list[int]], at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, as numpy would have saved it, and nothing else is left."""
    monkeypatch.setattr(module, "VALUES", at_once)
    generator = torch.Generator().manual_seed(0)
    given = [(torch.tensor(b), torch.randn(len(b), 5, generator=generator)) for b in batches]
    file = RowFile(tmp_path / "new")
    for rows, values in given:
        file.append(rows, values)
    found = io.BytesIO()
    faulty = file.save(found)
    file.close()
    expected = io.BytesIO()
    means = mean_of_rows(*(torch.cat(parts) for parts in zip(*given, strict=True)))[1]
    np.save(expected, means.numpy(), allow_pickle=False)
    assert found.getvalue() == expected.getvalue()
    assert faulty.tolist() == [False] * len(means)
    assert list((tmp_path / "new").iterdir()) == []


def test_rows_that_are_not_finite_are_told(tmp_path: Path) -> None:
    file = RowFile(tmp_path)
    values = torch.zeros(3, 2)
    values[0, 1], values[2, 0] = float("nan"), float("inf")
    file.append(torch.tensor([7, 3, 5]), values)
    assert file.save(io.BytesIO()).tolist() == [False, True, True]
    file.close()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"taken/x cannot be written to: .*; free the disk"):
        RowFile(tmp_path / "taken" / "x")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    file = RowFile(tmp_path)
    file.file.close()
    with (tmp_path / "x").open("wb") as held, open("/dev/full", "wb", buffering=0) as full:
        file.file = full  # type: ignore[assignment]
        assert held.writable()
        with pytest.raises(InputError, match="No space left on device; free the disk"):
            file.append(torch.tensor([0]), torch.zeros(1, 2))
