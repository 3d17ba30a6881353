"""``gaitbench matrix``."""

import contextlib
import csv
import json
import logging
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gaitbench.errors import InputError
from gaitbench.files import METRICS, written_whole
from gaitbench.tools.datasets import command_parser

RECORD, LOG = "cell.json", "log.txt"
HEADLINES = ("rank1", "auroc", "macro_auroc", "micro_jaccard")
"""The figure of a set of probes that the table shows: the first of these that it has."""

Metrics = dict[str, dict[str, dict[str, Any]]]
"""Protocol -> set of probes -> figures, as in ``metrics.json``."""


class Cell(NamedTuple):
    """One checkpoint on one dataset.

    Args:
        row: name of the checkpoint.
        column: name of the dataset's configs.
        checkpoint: its file.
        configs: files that are laid over each other.
        folder: where its files go.
    """

    row: str
    column: str
    checkpoint: Path
    configs: tuple[Path, ...]
    folder: Path


def main(args: Sequence[str]) -> None:
    """Test several checkpoints on several datasets, and write one table.

    Raises:
        InputError: if a cell failed, after all others are there.
    """
    parser = command_parser("matrix", "Test checkpoints on datasets, and write one table.")
    parser.allow_abbrev = False
    parser.add_argument("--ckpt_path", nargs="+", type=Path, required=True, help="rows")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        help="columns: a config file each; several that are laid over each other joined by commas",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of tables and cells")
    parser.add_argument(
        "--again", action="store_true", help="test also what is finished and unchanged"
    )
    parser.epilog = "What else is given goes to each `gaitbench test`: --evaluation.bootstrap 0"
    given, words = parser.parse_known_args(args)
    cells = cells_of(given.ckpt_path, given.data, given.out)
    found: dict[tuple[str, str], Metrics] = {}
    failed: dict[tuple[str, str], str] = {}
    for number, cell in enumerate(cells, 1):
        place = f"[{number}/{len(cells)}] {cell.row} on {cell.column}"
        try:
            key = key_of(cell, words)
            metrics = None if given.again else finished(cell, key)
            if metrics is not None:
                print(f"{place}: unchanged, taken over", flush=True)
            else:
                print(f"{place} ...", flush=True)
                start = time.monotonic()
                metrics = run_cell(cell, words, key)
                print(f"{place}: {time.monotonic() - start:.0f} s", flush=True)
            found[cell.row, cell.column] = metrics
        except InputError as error:
            failed[cell.row, cell.column] = str(error)
            print(f"{place} failed: {error}", flush=True)
        # after each cell, so that an interrupted matrix shows what there is
        write_table(cells, found, failed, given.out)
    print(f"\n{(given.out / 'matrix.md').read_text(encoding='utf-8')}\nwritten to {given.out}")
    if failed:
        (row, column), message = next(iter(failed.items()))
        raise InputError(
            f"{len(failed)} of {len(cells)} cells failed, the first {row} on {column}: {message}"
        )


def cells_of(checkpoints: Sequence[Path], data: Sequence[str], out: Path) -> list[Cell]:
    """All pairs, in the order in which they were named.

    Raises:
        InputError: if a checkpoint or a dataset is named twice, or a config is missing.
    """
    columns = [tuple(Path(part) for part in entry.split(",") if part) for entry in data]
    for what, values in (("--ckpt_path", checkpoints), ("--data", columns)):
        twice = [value for i, value in enumerate(values) if value in values[:i]]
        if twice or not all(values):
            raise InputError(f"{what} names {twice[0] if twice else 'nothing'}; name each once")
    for config in (config for configs in columns for config in configs):
        if not config.is_file():
            raise InputError(f"--data {config} does not exist; name a config file of a dataset")
    rows = short_names([[path] for path in checkpoints])
    names = short_names(columns)
    return [
        Cell(row, name, path, configs, out / "cells" / _file_name(row) / _file_name(name))
        for row, path in zip(rows, checkpoints, strict=True)
        for name, configs in zip(names, columns, strict=True)
    ]


def short_names(entries: Sequence[Sequence[Path]]) -> list[str]:
    """Names that tell entries of one or more files apart.

    They are stems with as many folders as needed; of single files without what all of them end in,
    so that ``a/checkpoints/last.ckpt`` and ``b/checkpoints/last.ckpt`` are ``a`` and ``b``.
    """
    parts = [[path.resolve().with_suffix("").parts for path in entry] for entry in entries]
    if len(parts) > 1 and all(len(entry) == 1 for entry in parts):
        while len({entry[0][-1] for entry in parts}) == 1 and all(entry[0][1:] for entry in parts):
            parts = [[entry[0][:-1]] for entry in parts]
    for depth in range(1, max(len(path) for entry in parts for path in entry) + 1):
        names = ["+".join("/".join(path[-depth:]) for path in entry) for entry in parts]
        if len(set(names)) == len(names):
            return names
    # files that differ in their suffix alone
    return ["+".join(str(path) for path in entry) for entry in entries]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+-_=." else "_" for c in name)


def key_of(cell: Cell, words: Sequence[str]) -> str:
    """Fingerprint of checkpoint, configs and words.

    Raises:
        InputError: if the checkpoint is missing.
    """
    from gaitbench import __version__
    from gaitbench.store import fingerprint

    if not cell.checkpoint.is_file():
        raise InputError(f"{cell.checkpoint} does not exist; name a checkpoint")
    files = [cell.checkpoint, *cell.configs]
    return fingerprint(files, words=list(words), version=__version__)


def finished(cell: Cell, key: str) -> Metrics | None:
    """What the cell gave before, if it was the same cell; None otherwise."""
    try:
        record = json.loads((cell.folder / RECORD).read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        metrics: Metrics = json.loads((cell.folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return metrics


def run_cell(cell: Cell, words: Sequence[str], key: str) -> Metrics:
    """Test the checkpoint; what is printed goes to ``log.txt`` in the cell's folder.

    Raises:
        InputError: saying why it failed.
    """
    from gaitbench import cli

    for name in (RECORD, METRICS):
        (cell.folder / name).unlink(missing_ok=True)
    configs = [word for config in cell.configs for word in ("--config", str(config))]
    fixed = [
        "--trainer.logger=false",
        f"--trainer.default_root_dir={cell.folder}",
        "--trainer.devices=1",  # with several, each would start this whole command again
        "--trainer.enable_progress_bar=false",
        f"--ckpt_path={cell.checkpoint}",
    ]
    with logged(cell.folder / LOG):
        try:
            cli.main(args=["test", *configs, *fixed, *words])
        except InputError:
            raise
        except Exception as error:  # the other cells shall still be tested
            traceback.print_exc()
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"{type(error).__name__}: {reason} ({cell.folder / LOG} has the details)"
            ) from error
    try:
        metrics: Metrics = json.loads((cell.folder / METRICS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"nothing was judged, as {cell.folder / LOG} tells; name protocols with "
            "--evaluation.protocols, or leave it out"
        ) from error
    record = {
        "key": key,
        "checkpoint": str(cell.checkpoint),
        "configs": [str(config) for config in cell.configs],
        "words": list(words),
    }
    with written_whole(cell.folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return metrics


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Send what is printed to a file; of what is logged, warnings alone go on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = logging.root.manager.disable
    with path.open("w", encoding="utf-8") as file:
        logging.disable(logging.INFO)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            logging.disable(before)


def write_table(
    cells: Sequence[Cell],
    found: Mapping[tuple[str, str], Metrics],
    failed: Mapping[tuple[str, str], str],
    out: Path,
) -> None:
    """Write ``matrix.csv``, ``matrix.md`` and ``matrix.json``, each whole.

    Args:
        cells: all of them.
        found: row and column to what they gave.
        failed: row and column to why they did not.
        out: folder.
    """
    rows = list(dict.fromkeys(cell.row for cell in cells))
    columns = list(dict.fromkeys(cell.column for cell in cells))
    heads: list[tuple[str, str]] = []  # column and which of its figures
    values: dict[tuple[str, tuple[str, str]], float] = {}
    for column in columns:
        own: dict[str, None] = {}
        for row in rows:
            for name, value in headlines(found.get((row, column), {})):
                own[name] = None
                values[row, (column, name)] = value
        if not own and any((row, column) in failed for row in rows):
            own[""] = None
        heads += [(column, name) for name in own]
    titles = [f"{column}/{name}".removesuffix("/") for column, name in heads]

    lines = [["checkpoint", *titles]]
    lines += [[row, *(str(values.get((row, head), "")) for head in heads)] for row in rows]
    with written_whole(out / "matrix.csv") as path, path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)

    lines = [["(%)", *titles], ["---", *["---:"] * len(heads)]]
    for row in rows:
        missing = ["failed" if (row, column) in failed else "-" for column, _ in heads]
        shown = [
            f"{100 * values[row, head]:.1f}" if (row, head) in values else instead
            for head, instead in zip(heads, missing, strict=True)
        ]
        lines.append([row, *shown])
    text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    if failed:
        text += "\n" + "".join(
            f"- {row} on {column}: {why}\n" for (row, column), why in failed.items()
        )
    with written_whole(out / "matrix.md") as path:
        path.write_text(text, encoding="utf-8", newline="\n")

    whole: dict[str, dict[str, Any]] = {row: {} for row in rows}
    for (row, column), metrics in found.items():
        whole[row][column] = metrics
    for (row, column), why in failed.items():
        whole[row][column] = {"error": why}
    with written_whole(out / "matrix.json") as path:
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def headlines(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """Name and value of each set of probes; those of single views and attributes are left out."""
    for protocol, sets in metrics.items():
        for name, figures in sets.items():
            key = next((key for key in HEADLINES if isinstance(figures.get(key), float)), None)
            if key and "/" not in name:
                yield f"{protocol}/{name}/{key}", figures[key]
