"""Figures, intervals and differences from what single probes gave, as a file of them tells it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gaitbench.errors import InputError
from gaitbench.protocols import (
    ClosedSetProtocol,
    NeighbourProtocol,
    Protocol,
    evaluate,
    evaluate_closed_set,
    evaluate_neighbours,
)
from gaitbench.protocols.closed_set import METRICS as OF_SEQUENCES
from gaitbench.protocols.figures import bootstrap_weights
from gaitbench.protocols.knn import METRICS as OF_VOTES
from gaitbench.protocols.paired import paired_difference
from gaitbench.protocols.probes import Probes
from gaitbench.protocols.results import Judgement
from gaitbench.protocols.retrieval import METRICS as OF_TRIALS

Judge = Callable[[int], Judgement]

PEOPLE = 6
WHO: dict[str, Any] = {
    "description": "For tests.",
    "gallery": {"number": [1]},
    "probes": {"ALL": {"number": [2, 3]}, "LAST": {"number": [3]}},
}


def windows() -> pd.DataFrame:
    """Up to four windows a walk; one person is not seen from one view."""
    rows = [
        (f"{s:03d}", "nm", n, v, f"{s}-{n}-{v}", 10 * w)
        for s in range(PEOPLE)
        for n in (1, 2, 3)
        for v in (0, 60, 90)
        for w in range(2 + (s + n) % 3)
        if s != 3 or v
    ]
    columns = ["subject", "condition", "number", "view", "recording", "first_frame"]
    return pd.DataFrame(rows, columns=columns)


def points(table: pd.DataFrame, seed: int) -> np.ndarray:
    people = np.random.default_rng(0).normal(size=(PEOPLE, 5))[table["subject"].astype(int)]
    return (people + np.random.default_rng(seed).normal(size=people.shape)).astype(np.float32)


def retrieval(seed: int) -> Judgement:
    table = windows().drop_duplicates("recording").drop(columns=["recording", "first_frame"])
    each: dict[str, Any] = {"gallery_views": "each", "exclude_same_view": True}
    protocol = Protocol("x.views", **WHO, **each, unmatched="skip", overall="zero_same_view")
    return evaluate(points(table, seed), table, protocol, bootstrap=40)


def votes(seed: int) -> Judgement:
    protocol = NeighbourProtocol("x.votes", **WHO, neighbours=3, views="others")
    return evaluate_neighbours(points(windows(), seed), windows(), protocol, bootstrap=40)


def pooled_votes(seed: int) -> Judgement:
    table = windows().drop(columns="view")
    protocol = NeighbourProtocol("x.pool", **WHO, video=("recording",))
    return evaluate_neighbours(points(table, seed), table, protocol, bootstrap=40)


def closed_set(seed: int) -> Judgement:
    table, random = windows(), np.random.default_rng(seed)
    known = [f"{s:03d}" for s in reversed(range(PEOPLE + 2))]
    right = table["subject"].to_numpy()[:, None] == np.array(known)
    scores = right[:, None] + random.normal(size=(len(table), 3, len(known)))
    sets = {"ALL": {"number": [2, 3]}, "LAST": {"number": [3]}}
    protocol = ClosedSetProtocol("x.closed", "Known subjects.", sets)
    return evaluate_closed_set(scores, known, table, protocol, bootstrap=40)


KINDS = [retrieval, votes, pooled_votes, closed_set]


@pytest.mark.parametrize("judge", KINDS)
def test_file_gives_the_figures_of_the_table_to_the_last_digit(
    judge: Judge, tmp_path: Path
) -> None:
    found = judge(1)
    found.write(tmp_path)
    (path,) = (tmp_path / "probes").iterdir()
    assert path.name == f"{found.protocol.id}.parquet"
    read = Probes.read(path)
    assert [*read.sets] == [*found.metrics]
    assert found.probes is not None
    assert read.against == found.probes.against
    for name, trials in read.sets.items():
        again = trials.figures(40)
        assert again
        assert again.items() <= found.metrics[name].items()
        with_intervals = {
            key for key in found.metrics[name] if f"{key}_ci95" in found.metrics[name]
        }
        # those of verification are no means over probes
        assert with_intervals - {*again} <= {"eer", "tar_at_far_0.01", "tar_at_far_0.001"}
    table = pd.read_parquet(path)
    assert {"probe_set", "subject", "rank1"} <= {*table}


def by_hand(table: pd.DataFrame, figure: str, drawn: list[str]) -> float:
    """Mean over views of means over their galleries of means over trials, drawn one by one."""
    places: dict[object, dict[object, list[float]]] = {}
    lines = table.dropna(subset=[figure])[["subject", "group", "cell", figure]].to_numpy().tolist()
    for person in drawn:
        for subject, group, cell, value in lines:
            if subject == person:
                places.setdefault(group, {}).setdefault(cell, []).append(value)
    means = [np.mean([np.mean(v) for v in cells.values()]) for cells in places.values()]
    return float(np.mean(means))


@pytest.mark.parametrize(
    ("judge", "figure"),
    [
        *((retrieval, figure) for figure in ("rank1", "map")),
        *((judge, figure) for judge in (votes, pooled_votes) for figure in OF_VOTES[::2]),
        *((closed_set, figure) for figure in OF_SEQUENCES[::2]),
    ],
)
def test_paired_difference_against_brute_force(judge: Judge, figure: str, tmp_path: Path) -> None:
    """Upon the written files: every resample is drawn person by person, line by line."""
    tables, sets = [], []
    for seed in (1, 2):
        judge(seed).write(tmp_path / str(seed))
        (path,) = (tmp_path / str(seed) / "probes").iterdir()
        table = pd.read_parquet(path)
        tables.append(table[table["probe_set"] == "ALL"])
        sets.append(Probes.read(path).sets["ALL"])
    got = paired_difference(*sets, figure, resamples=30)
    people = sorted({*tables[0]["subject"]})
    gains = []
    for times in bootstrap_weights(len(people), 30, 0):
        drawn = [person for person, n in zip(people, times, strict=True) for _ in range(int(n))]
        ours, theirs = (by_hand(table, figure, drawn) for table in tables)
        gains.append(ours - theirs)
    assert got.value == pytest.approx(gains[0])
    assert got.value != 0
    assert (got.low, got.high) == pytest.approx(np.quantile(gains[1:], [0.025, 0.975]))
    beyond = [g for g in gains[1:] if abs(g) < 1e-12 or (g > 0) != (gains[0] > 0)]
    assert got.other_side == pytest.approx(len(beyond) / 30)
    assert got.subjects == PEOPLE


def test_lines_of_votes_are_the_tables_cells(tmp_path: Path) -> None:
    """The long table's cells, which are worked out by themselves, are means of the lines."""
    found = votes(1)
    found.write(tmp_path)
    lines = pd.read_parquet(tmp_path / "probes" / "x.votes.parquet")
    keys = ["probe_set", "view", "gallery_view"]
    for figure in OF_VOTES:
        own = lines.dropna(subset=[figure]).groupby(keys)[figure].agg(["mean", "size"])
        cells = found.table[found.table["metric"] == figure]
        assert len(cells) == len(own) > 6
        for cell in cells.itertuples():
            mean, size = own.loc[(cell.probe_set, cell.probe_view, cell.gallery_view)]
            assert (cell.value, cell.n) == (pytest.approx(mean), size)
    videos = lines.dropna(subset=["video_rank1"])
    assert (videos["first_frame"] == 0).all()  # a video goes by its first window
    assert len({*OF_TRIALS} & {*lines}) < len(OF_TRIALS)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(InputError, match=r"x\.parquet tells no single probes; judge the run again"):
        Probes.read(path)
    windows().to_parquet(path)
    with pytest.raises(InputError, match="tells no single probes"):
        Probes.read(path)
    retrieval(1).write(tmp_path)
    whole = (tmp_path / "probes" / "x.views.parquet").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="tells no single probes"):
        Probes.read(path)
