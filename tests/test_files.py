import errno
import os
from pathlib import Path

import pytest

from gaitbench.errors import InputError
from gaitbench.files import written_whole


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    with written_whole(path) as beside:
        beside.write_text("whole")
        assert beside.parent == path.parent
        assert beside.suffix == ".csv"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["table.csv"]


def test_an_older_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with written_whole(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(type(error)) as raised, written_whole(path) as beside:
        beside.write_text("half")
        raise error
    assert raised.value is error
    assert os.listdir(tmp_path) == ["table.csv"]
    assert path.read_text() == "old"


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(InputError) as raised, written_whole(path) as beside:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(beside))
    assert str(raised.value) == (
        f"{path} cannot be written: {os.strerror(errno.ENOSPC)}; free the disk, mend the "
        "permissions or name another folder"
    )
    assert isinstance(raised.value.__cause__, OSError)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("below", ["table.csv", "folder/table.csv"])
def test_a_folder_that_cannot_be_is_named(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("a regular file, under which nobody may write, root included")
    entered = False
    with pytest.raises(InputError, match=r"table\.csv cannot be written: "):  # noqa: SIM117
        with written_whole(file / below):
            entered = True
    assert not entered
    assert file.read_text().startswith("a regular file")


def test_a_folder_in_the_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv" / "inside").mkdir(parents=True)
    with (
        pytest.raises(InputError, match=r"table\.csv cannot be written: "),
        written_whole(tmp_path / "table.csv") as beside,
    ):
        beside.write_text("whole")
    assert os.listdir(tmp_path) == ["table.csv"]
    assert (tmp_path / "table.csv" / "inside").is_dir()
