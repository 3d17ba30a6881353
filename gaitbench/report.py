"""What is in a store, what is not, and what looks wrong: read before the first training."""

import csv
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitbench.files import written_whole
from gaitbench.skeleton import get_skeleton
from gaitbench.store import SequenceStore

REPORT = "report.md"
SKIPPED = "skipped.csv"
"""File in a store's folder that lists what was left out in reading: line, file_name, reason."""

AXES = {"pose": ("x", "y", "confidence"), "skeleton3d": ("x", "y", "z")}
"""Kind of frame -> names of its last axis; the values of other kinds have no names."""

CHUNK = 1 << 22  # bytes of frames looked at at a time
WORST = 3  # joints named
NAMED = 5  # subjects, or files left out, that are named

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Count:
    """Sequences of one condition and view; ``expected`` is None where the dataset names none."""

    condition: str
    view: int
    expected: int | None
    found: int


@dataclass(frozen=True)
class DataReport:
    """Counts and ranges of one store.

    Args:
        dataset: name of the dataset.
        kind: kind of frame.
        subjects: number of people.
        sequences: number of sequences.
        frames: number of frames.
        counts: sequences by condition and view, conditions in alphabetical order.
        length: fewest, median and most frames a sequence.
        short: sequences with at least one frame but fewer than ``short_below``.
        short_below: frames.
        empty: sequences without a frame.
        missing_frames: frames between a sequence's first and last that the source lacks; None
            where frames carry no numbers.
        incomplete: sequences that lack such frames; None likewise.
        several: frames in which several people were found, of whom one was taken; None where the
            dataset's reader does not choose.
        not_first: those of which another than the first was taken; None likewise.
        absent: subjects that the dataset's own list names and that have no sequence.
        unlisted: subjects that have sequences and that the list does not name.
        skipped: files or lines that could not be used, or not to their end.
        skipped_first: the first of them and why, a phrase each.
        unseen: share of joints whose confidence is zero; None where frames are not poses.
        worst: up to three joints that are unseen most often, with their share.
        ranges: axis -> least and greatest value; of poses, only over joints that are seen.
        units: of the values.
        notes: what else there is to know before the first training, a sentence each.
        details: further lines of the table, what and found.
    """

    dataset: str
    kind: str
    subjects: int
    sequences: int
    frames: int
    counts: tuple[Count, ...]
    length: tuple[int, float, int]
    short: int
    short_below: int
    empty: int
    missing_frames: int | None
    incomplete: int | None
    several: int | None
    not_first: int | None
    absent: tuple[str, ...]
    unlisted: tuple[str, ...]
    skipped: int
    skipped_first: tuple[str, ...]
    unseen: float | None
    worst: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    units: str
    notes: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def to_text(self) -> str:
        """As Markdown."""
        fewest, median, most = self.length
        lines = [
            f"# {self.dataset}, {self.kind}",
            "",
            "| what | found |",
            "|---|---|",
            f"| subjects | {self.subjects:,} |",
            f"| sequences | {self.sequences:,} |",
            f"| frames | {self.frames:,} |",
            f"| frames a sequence, fewest / median / most | {fewest} / {median:g} / {most} |",
            f"| sequences shorter than {self.short_below} frames | {self.short:,} |",
            f"| empty sequences | {self.empty:,} |",
        ]
        if self.skipped:
            lines.append(f"| left out in reading, whole or in part | {self.skipped:,} |")
        if self.missing_frames is not None:
            missing = f"{self.missing_frames:,} in {self.incomplete:,} sequences"
            lines.append(f"| frames missing between first and last | {missing} |")
        if self.several is not None:
            others = f"{self.several:,} ({self.not_first:,} times another than the first was taken)"
            lines.append(f"| frames that list several people | {others} |")
        if self.unseen is not None:
            worst = ", ".join(f"{joint} {share:.2%}" for joint, share in self.worst.items())
            lines.append(
                f"| joints with zero confidence | {self.unseen:.2%}"
                f"{f' ({worst})' if worst else ''} |"
            )
        lines += [
            f"| {axis}, least to greatest | {low:g} to {high:g} |"
            for axis, (low, high) in self.ranges.items()
        ]
        lines += [f"| {what} | {found} |" for what, found in self.details]
        lines += ["", f"Units: {self.units}.", ""]
        for sentence in self.remarks():
            lines += [sentence, ""]
        if self.skipped:
            more = [f"- and {self.skipped - NAMED:,} more"] * (self.skipped > NAMED)
            named = [*(f"- {what}" for what in self.skipped_first), *more]
            lines += [f"Left out in reading, listed in {SKIPPED}:", "", *named, ""]
        return "\n".join([*lines, *self._count_table(), ""])

    def remarks(self) -> list[str]:
        """What there is to know before the first training, a sentence each.

        First how the dataset's own list of subjects and its sequences disagree.
        """
        remarks = []
        for people, what in (
            (self.absent, "Subjects of the list without a sequence"),
            (self.unlisted, "Subjects that are not in the list and take no part"),
        ):
            if people:
                some = ", ".join(people[:NAMED]) + (", ..." if len(people) > NAMED else "")
                remarks.append(f"{what}: {len(people):,} ({some}).")
        return [*remarks, *self.notes]

    def write(self, directory: Path) -> Path:
        """Write ``report.md`` into a folder, usually the store's, and return its path."""
        path = directory / REPORT
        with written_whole(path) as beside:
            beside.write_text(self.to_text(), encoding="utf-8")
        return path

    def _count_table(self) -> list[str]:
        views = sorted({count.view for count in self.counts})
        cells = {(count.condition, count.view): count for count in self.counts}
        lines = [
            "Sequences by condition and view; «found of expected» where they differ.",
            "",
            "| condition | " + " | ".join(f"{view:03d}" for view in views) + " | all |",
            "|---|" + "---:|" * (len(views) + 1),
        ]
        for condition in sorted({count.condition for count in self.counts}):
            row = [cells[condition, view] for view in views if (condition, view) in cells]
            known = [count.expected for count in row if count.expected is not None]
            total = _cell(sum(count.found for count in row), sum(known) if known else None)
            shown = [
                _cell(cells[condition, view].found, cells[condition, view].expected)
                if (condition, view) in cells
                else ""
                for view in views
            ]
            lines.append(f"| {condition} | " + " | ".join([*shown, total]) + " |")
        return lines


def data_report(
    store: SequenceStore,
    expected: Mapping[tuple[str, int], int] | None = None,
    short_below: int = 60,
    listed: Collection[str] | None = None,
    notes: Sequence[str] = (),
    details: Sequence[tuple[str, str]] = (),
) -> DataReport:
    """Count and measure a store; memory does not grow with the number of frames.

    Args:
        store: to look at.
        expected: (condition, view) -> sequences that the dataset's publication names.
        short_below: sequences with fewer frames are counted as short; 60 frames are what
            GaitGraph2 trains on.
        listed: subjects that the dataset's own list names; None where it has no list.
        notes: what else there is to know, a sentence each.
        details: further lines of the table, what and found.
    """
    table = store.sequences
    # of very many subjects only the number is wanted, without an object for each
    present = set() if listed is None else set(table["subject"])
    length = table["length"].to_numpy()
    groups = table.groupby(["condition", "view"], sort=False).size()
    found: dict[tuple[str, int], int]
    found = dict(zip(groups.index.to_list(), groups.tolist(), strict=True))
    wanted = dict(expected or {})
    counts = tuple(
        Count(*key, wanted.get(key, 0 if wanted else None), found.get(key, 0))
        for key in sorted({*found, *wanted})
    )

    def total(column: str) -> int | None:
        return int(table[column].sum()) if column in table else None

    skipped = _skipped(store)
    unseen, worst = _unseen(store)
    return DataReport(
        dataset=store.info.dataset,
        kind=store.info.kind,
        subjects=table["subject"].nunique(),
        sequences=len(table),
        frames=len(store.frames),
        counts=counts,
        length=(int(length.min()), float(np.median(length)), int(length.max())),
        short=int(((length > 0) & (length < short_below)).sum()),
        short_below=short_below,
        empty=int((length == 0).sum()),
        missing_frames=total("missing"),
        incomplete=int((table["missing"] > 0).sum()) if "missing" in table else None,
        several=total("several"),
        not_first=total("not_first"),
        absent=() if listed is None else tuple(sorted({*listed} - present)),
        unlisted=() if listed is None else tuple(sorted(present - {*listed})),
        skipped=len(skipped),
        skipped_first=tuple(skipped[:NAMED]),
        unseen=unseen,
        worst=worst,
        ranges=_ranges(store),
        units=store.info.units,
        notes=tuple(notes),
        details=tuple(details),
    )


def _chunks(frames: NDArray[Any]) -> list[NDArray[Any]]:
    step = max(1, CHUNK // max(1, frames[0].nbytes))
    return [frames[begin : begin + step] for begin in range(0, len(frames), step)]


def list_skipped(
    folder: Path,
    source: str,
    rows: Sequence[tuple[int | str, str, str]],
    what: str = "left out",
) -> None:
    """Write what was left out in reading beside a store's files, and warn of it.

    Args:
        folder: of the store.
        source: what was read.
        rows: line of it (empty where it has none), name, and reason.
        what: befell them.
    """
    if not rows:
        return
    with written_whole(folder / SKIPPED) as path, path.open("w", newline="") as listing:
        writer = csv.writer(listing, lineterminator="\n")
        writer.writerow(("line", "file_name", "reason"))
        writer.writerows(rows)
    _, name, reason = rows[0]
    logger.warning(
        "%s: %s %d, listed in %s; the first: %s %s",
        source,
        what,
        len(rows),
        SKIPPED,
        name,
        reason,
    )


def _skipped(store: SequenceStore) -> list[str]:
    """What was left out in reading and why."""
    if not (store.path / SKIPPED).exists():
        return []
    with (store.path / SKIPPED).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [
            f"{row['line'] and 'line ' + row['line'] + ': '}{row['file_name']} {row['reason']}"
            for row in rows
        ]


def _unseen(store: SequenceStore) -> tuple[float | None, dict[str, float]]:
    """Share of unseen joints, and the joints most often unseen."""
    if store.info.kind != "pose" or store.info.skeleton is None:
        return None, {}
    joints = get_skeleton(store.info.skeleton).joints
    share = sum((c[..., 2] == 0).sum(axis=0) for c in _chunks(store.frames)) / len(store.frames)
    worst = np.argsort(-share, kind="stable")[:WORST]
    return float(share.mean()), {joints[j]: float(share[j]) for j in worst if share[j] > 0}


def _ranges(store: SequenceStore) -> dict[str, tuple[float, float]]:
    """Least and greatest value of each axis."""
    axes = AXES.get(store.info.kind, ("value",))
    low = high = np.full(len(axes), np.nan)
    for chunk in _chunks(store.frames):
        if store.info.kind == "pose":  # an unseen joint lies at the origin
            chunk = np.where(chunk[..., 2:] == 0, np.float32(np.nan), chunk)
        # over frames first: an inner axis of three is slow; fmin and fmax pass over nan
        rows = chunk.reshape(len(chunk), -1)
        least, most = np.fmin.reduce(rows), np.fmax.reduce(rows)
        low = np.fmin(low, np.fmin.reduce(least.reshape(-1, len(axes))))
        high = np.fmax(high, np.fmax.reduce(most.reshape(-1, len(axes))))
    found = zip(axes, low.tolist(), high.tolist(), strict=True)
    return {axis: (least, most) for axis, least, most in found if least <= most}


def _cell(found: int, expected: int | None) -> str:
    return f"{found}" if expected in (None, found) else f"{found} of {expected}"
