"""What single probes gave: of what figures are means, in memory and as a file of a run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gaitbench.errors import InputError
from gaitbench.files import written_whole
from gaitbench.protocols.figures import (
    Floats,
    Integers,
    bootstrap_weights,
    interval,
    mean_of_means,
    mean_of_subjects,
)

FOLDER = "probes"
"""Where a run's folder has them, a file a protocol."""

KEY = ("subject", "condition", "number", "view")
"""Columns that name a sequence."""

WINDOW = ("recording", "first_frame")
"""Columns that tell the windows of a sequence apart, where a table has both."""

PER_SUBJECT = "_per_subject"
"""Ends the name of a figure that is a mean over subjects."""

PLACES = ("probe_set", "cell", "group", "gallery_view")
"""Further columns of the file; all that come behind them are figures."""

METADATA = b"gaitbench"


@dataclass(frozen=True)
class Outcomes:
    """What the trials of one set of probes gave.

    A figure is the mean over groups of the mean over their cells of the mean over a cell's trials;
    one whose name ends in :data:`PER_SUBJECT` the mean over subjects of that over their trials.

    Attributes:
        rows: sequences, with ``subject`` and what else names them.
        row: place of each trial's probe among them, (n,).
        cell: number of each trial's cell, (n,), 0 to C - 1.
        group: number of each cell's group, (C,).
        gallery_view: of each cell, whole degrees, (C,); -1 where they are pooled or there are none.
        values: figure to what each trial gave to it, (n,); NaN where a trial has no part in it.
    """

    rows: pd.DataFrame
    row: Integers
    cell: Integers
    group: Integers
    gallery_view: Integers
    values: Mapping[str, Floats]

    @cached_property
    def subject(self) -> Integers:
        """Place of each trial's subject among the names of those who have trials, (n,)."""
        codes = pd.factorize(self.rows["subject"].astype(str), sort=True)[0]
        subject: Integers = np.unique(codes[self.row], return_inverse=True)[1]
        return subject

    @property
    def people(self) -> int:
        """How many subjects have trials."""
        return int(self.subject.max()) + 1

    def names(self) -> pd.DataFrame:
        """What names the probe of each trial, n rows."""
        columns = [name for name in (*KEY, *WINDOW) if name in self.rows]
        return self.rows[columns].iloc[self.row].reset_index(drop=True)

    def estimates(self, figure: str, weights: Floats, less: Floats | float = 0.0) -> Floats:
        """A figure where subjects count by weights, (R, S) to (R,).

        Args:
            figure: its name.
            weights: as :func:`bootstrap_weights` gives them.
            less: taken from what each trial gave, (n,).
        """
        values = self.values[figure] - less
        part = ~np.isnan(values)
        subject, cell, values = self.subject[part], self.cell[part], values[part]
        if figure.endswith(PER_SUBJECT):
            return mean_of_subjects(weights, subject, values)
        return mean_of_means(weights, subject, cell, self.group, values[:, None])[:, 0]

    def value(self, figure: str) -> float:
        """A figure of all subjects as they are."""
        return float(self.estimates(figure, np.ones((1, self.people)))[0])

    def figures(self, bootstrap: int, seed: int = 0) -> dict[str, float | int | list[float]]:
        """All figures, each with its 95 % interval ``<name>_ci95`` over resampled subjects.

        Args:
            bootstrap: resamples; 0 leaves the intervals out.
            seed: of the resamples.
        """
        weights = bootstrap_weights(self.people, bootstrap, seed)
        found: dict[str, float | int | list[float]] = {}
        for name in self.values:
            drawn = self.estimates(name, weights)
            found[name] = float(drawn[0])
            if bootstrap:
                found[f"{name}_ci95"] = interval(drawn[1:])
        return found


@dataclass(frozen=True)
class Probes:
    """What single probes gave by one protocol.

    Attributes:
        sets: set of probes to its trials.
        against: fingerprint of what they were compared with.
    """

    sets: Mapping[str, Outcomes]
    against: str

    @classmethod
    def of(cls, sets: Mapping[str, Outcomes], against: pd.DataFrame) -> "Probes":
        """These, compared with the sequences or known subjects that a table names, in any order."""
        columns = [name for name in (*KEY, *WINDOW) if name in against]
        lines = against[columns].to_csv(index=False, lineterminator="\n").splitlines()
        return cls(sets, hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest())

    def write(self, path: Path) -> None:
        """Write a Parquet file, a line a trial, whole or not at all."""
        import pyarrow as pa
        from pyarrow import parquet

        parts = []
        for name, found in self.sets.items():
            part = found.names()
            degrees = pd.Series(found.gallery_view[found.cell], dtype="Int64")
            places = (name, found.cell, found.group[found.cell], degrees.mask(degrees < 0))
            columns: dict[str, Any] = dict(zip(PLACES, places, strict=True))
            parts.append(part.assign(**columns, **found.values))
        table = pa.Table.from_pandas(pd.concat(parts, ignore_index=True), preserve_index=False)
        told = {METADATA: json.dumps({"against": self.against}).encode()}
        with written_whole(path) as beside:
            parquet.write_table(table.replace_schema_metadata(told), beside, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> "Probes":
        """What :meth:`write` has written.

        Raises:
            InputError: if it is something else.
        """
        from pyarrow import parquet

        try:
            table = parquet.read_table(path, partitioning=None)
            told = json.loads(table.schema.metadata[METADATA])
            frame = table.to_pandas(ignore_metadata=True)
            figures = list(frame.columns)[frame.columns.get_loc(PLACES[-1]) + 1 :]
            groups = frame.groupby("probe_set", sort=False)
            sets = {str(name): _outcomes(part, figures) for name, part in groups}
            return cls(sets, str(told["against"]))
        except Exception as error:  # pyarrow raises anything on a damaged file
            raise InputError(f"{path} tells no single probes; judge the run again") from error


def _outcomes(frame: pd.DataFrame, figures: list[str]) -> Outcomes:
    """Those of one set, of its lines in the file; figures that it has not are left out."""
    _, first, cell = np.unique(
        frame["cell"].to_numpy(np.int64), return_index=True, return_inverse=True
    )
    views = frame["gallery_view"].fillna(-1).to_numpy(np.int64)
    values: dict[str, Any] = {name: frame[name].to_numpy(np.float64) for name in figures}
    return Outcomes(
        rows=frame[[name for name in (*KEY, *WINDOW) if name in frame]].reset_index(drop=True),
        row=np.arange(len(frame)),
        cell=cell,
        group=frame["group"].to_numpy(np.int64)[first],
        gallery_view=views[first],
        values={name: value for name, value in values.items() if not np.isnan(value).all()},
    )
