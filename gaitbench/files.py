"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gaitbench.errors import InputError

EMBEDDINGS, SEQUENCES = "embeddings.npy", "sequences.csv"
"""What a prediction writes: a row a sequence, and a line a row."""

CONFIG, METRICS, JUDGED = "config.yaml", "metrics.json", "judged.json"
"""What a run leaves in its folder: its settings, figures by protocol and set of probes, and how
these came about."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write a file, moved to ``path`` once the block ends well and removed otherwise.

    The parent folder is made if it is missing.

    Raises:
        InputError: if the folder cannot be written to or the disk is full.
    """
    # the suffix stays last: some writers choose the format by it
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; free the disk, mend the "
            "permissions or name another folder"
        ) from error
    finally:
        with suppress(OSError):  # it is gone, or its folder never was one
            beside.unlink()
