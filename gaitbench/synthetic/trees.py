"""Whole folders, written as whole files are."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitbench.errors import InputError


@contextmanager
def tree_written_whole(tree: Path) -> Iterator[Path]:
    """A folder to write to, moved to ``tree`` once the block ends well and removed otherwise.

    Raises:
        InputError: if ``tree`` is there already or cannot be written.
    """
    if tree.exists():
        raise InputError(f"{tree} is there already; name another folder, or remove it first")
    beside = tree.with_name(f".{tree.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        yield beside
        beside.rename(tree)
    except OSError as error:
        raise InputError(
            f"{tree} cannot be written: {error.strerror or error}; free the disk, mend the "
            "permissions or name another folder"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
