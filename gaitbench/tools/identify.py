"""``gaitbench identify``."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gaitbench.tools.datasets import command_parser

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from gaitbench.gallery import Gallery

SHOWN = 10
"""Searches that are printed; all are written."""


def main(args: Sequence[str]) -> None:
    """Build a gallery of known people, choose its threshold, search it, judge it."""
    parser = command_parser(
        "identify",
        "Find who walks among known people: build a gallery, let people who are not in it choose "
        "a threshold, then search, or judge how often that is right.",
    )
    parts = parser.add_subparsers(dest="step", required=True, metavar="STEP")

    def step(name: str, text: str) -> argparse.ArgumentParser:
        part = parts.add_parser(name, help=text, description=text)
        part.add_argument("gallery", type=Path, help="the gallery's file, such as known.npz")
        part.add_argument(
            "predictions",
            type=Path,
            nargs="+",
            help="folders that `predict` or `embed` has written",
        )
        part.add_argument(
            "--only",
            action="append",
            default=[],
            metavar="COLUMN=VALUE,...",
            help="take walks with these labels alone, such as condition=nm, number=1..4 or "
            "subject=075..099; may be repeated",
        )
        return part

    build = step("build", "make a gallery of known people")
    build.add_argument("--distance", choices=["euclidean", "l1", "cosine"], default="euclidean")
    calibrate = step("calibrate", "choose the threshold by people who are not in the gallery")
    calibrate.add_argument(
        "--fpir",
        type=float,
        required=True,
        help="share of strangers' searches that may name somebody, such as 0.01",
    )
    search = step("search", "write the nearest entries of each walk to a table")
    search.add_argument("--out", type=Path, required=True, help="CSV file")
    search.add_argument("--top", type=int, default=5, help="entries of each walk (default 5)")
    judge = step("judge", "say how often searches of labelled walks are right")
    for part in (calibrate, search, judge):
        part.add_argument("--exact", action="store_true", help="look at all entries of an index")
    given = parser.parse_args(args)
    steps: dict[str, Callable[[argparse.Namespace], None]] = {
        "build": _build,
        "calibrate": _calibrate,
        "search": _search,
        "judge": _judge,
    }
    steps[given.step](given)


def _build(given: argparse.Namespace) -> None:
    from gaitbench.errors import InputError
    from gaitbench.gallery import LABELS, Gallery, write_gallery

    if given.gallery.suffix != ".npz":
        raise InputError(f"the gallery {given.gallery} is a numpy archive; end its name in .npz")
    embeddings, sequences = _walks(given)
    gallery = Gallery(embeddings, sequences[[*LABELS]], given.distance).with_index()
    write_gallery(gallery, given.gallery)
    size = f"{len(embeddings):,} walks of {len(gallery.people):,} people"
    print(f"{given.gallery}: {size}, {given.distance} distance")
    if gallery.cells is not None:
        cells = gallery.cells
        print(
            f"index of {len(cells.centres):,} cells, of which a search visits {cells.visited}; "
            "each search tells its recall"
        )
    print(f"no threshold yet: gaitbench identify calibrate {given.gallery} FOLDER --fpir 0.01")


def _calibrate(given: argparse.Namespace) -> None:
    import numpy as np

    from gaitbench.errors import InputError
    from gaitbench.gallery import read_gallery, write_gallery
    from gaitbench.protocols.open_set import choose_threshold

    gallery = read_gallery(given.gallery)
    embeddings, sequences = _walks(given)
    stranger = ~np.isin(sequences["subject"], gallery.people)
    _tell_left_out(~stranger, "of enrolled people")
    if not stranger.any():
        raise InputError(
            f"everybody in {given.predictions[0]} is enrolled in {given.gallery}; name walks of "
            "people who are not"
        )
    embeddings, people = embeddings[stranger], sequences["subject"][stranger].tolist()
    distances = _nearest(gallery, embeddings, 1, given.exact)[1][:, 0]
    threshold = choose_threshold(distances, people, given.fpir)
    write_gallery(replace(gallery, threshold=threshold), given.gallery)
    print(
        f"threshold {threshold.value:.6g}: {threshold.accepted:,} of {threshold.searches:,} "
        f"searches of {len(threshold.people):,} strangers end below it "
        f"(wanted: at most {threshold.fpir:g})"
    )


def _search(given: argparse.Namespace) -> None:
    import numpy as np
    import pandas as pd

    from gaitbench.errors import InputError
    from gaitbench.files import written_whole
    from gaitbench.gallery import LABELS, read_gallery

    if given.top < 1:
        raise InputError(f"--top is {given.top}; give 1 or more")
    gallery = read_gallery(given.gallery)
    embeddings, sequences = _walks(given)
    places, distances = _nearest(gallery, embeddings, given.top, given.exact)
    count = places.shape[1]
    named = [name for name in ("sequence", *LABELS) if name in sequences]
    table = sequences[named].loc[sequences.index.repeat(count)].reset_index(drop=True)
    table["rank"] = np.tile(np.arange(1, count + 1), len(places))
    entries = gallery.entries.iloc[places.ravel()].reset_index(drop=True).add_prefix("found_")
    table = pd.concat([table, entries], axis=1).assign(distance=distances.ravel())
    first = table["rank"] == 1
    if gallery.threshold is not None:
        table["accepted"] = table["distance"] < gallery.threshold.value
    with written_whole(given.out) as path:
        table.to_csv(path, index=False, lineterminator="\n")
    print(table[first].drop(columns="rank").head(SHOWN).to_string(index=False))
    if len(places) > SHOWN:
        print(f"and {len(places) - SHOWN:,} more")
    if gallery.threshold is None:
        print("no threshold was chosen: whoever is nearest may be a stranger all the same")
    else:
        accepted = int(table.loc[first, "accepted"].sum())
        print(
            f"{accepted:,} of {len(places):,} find somebody below the threshold "
            f"{gallery.threshold.value:.6g}"
        )
    print(f"written to {given.out}")


def _judge(given: argparse.Namespace) -> None:
    import numpy as np

    from gaitbench.errors import InputError
    from gaitbench.gallery import is_enrolled, read_gallery
    from gaitbench.protocols.open_set import judge_open_set

    gallery = read_gallery(given.gallery)
    if gallery.threshold is None:
        raise InputError(
            f"{given.gallery} has no threshold; choose one with `gaitbench identify calibrate`"
        )
    embeddings, sequences = _walks(given)
    entries = is_enrolled(gallery, sequences)
    _tell_left_out(entries, "that are entries themselves")
    choosers = np.isin(sequences["subject"], gallery.threshold.people)
    _tell_left_out(choosers, "of people who chose the threshold")
    kept = ~(entries | choosers)
    if not kept.any():
        raise InputError(
            f"{given.predictions[0]} has no walk that can be judged; name others than those of "
            "the gallery and of the people who chose its threshold"
        )
    places, distances = _nearest(gallery, embeddings[kept], 1, given.exact)
    found = gallery.entries["subject"].to_numpy()[places[:, 0]].tolist()
    result = judge_open_set(
        distances[:, 0],
        found,
        sequences["subject"][kept].tolist(),
        gallery.people,
        gallery.threshold.value,
    )
    said = gallery.threshold
    print(
        f"threshold {said.value:.6g}, chosen for a false-positive rate of {said.fpir:g} by "
        f"{len(said.people):,} other people"
    )
    for name, rate, lack in (
        ("found and right (DIR, rank 1)", result.identification, "nobody enrolled"),
        ("found and wrong", result.confusion, "nobody enrolled"),
        ("right without a threshold (rank 1)", result.rank1, "nobody enrolled"),
        ("strangers taken for somebody (FPIR)", result.false_positive, "no stranger"),
    ):
        print(f"{name + ':':<37}{rate or f'not judged, {lack} is among the walks'}")


def _walks(given: argparse.Namespace) -> "tuple[NDArray[np.float32], pd.DataFrame]":
    """Embeddings and labels of the walks that were asked for."""
    import numpy as np
    import pandas as pd

    from gaitbench.callbacks import read_predictions
    from gaitbench.errors import InputError

    read = [read_predictions(folder) for folder in given.predictions]
    sizes = {values.shape[1] for values, _ in read}
    if len(sizes) > 1:
        raise InputError(
            f"the embeddings in {', '.join(map(str, given.predictions))} have different sizes "
            f"({', '.join(map(str, sorted(sizes)))}); name folders of one network"
        )
    embeddings = np.concatenate([values for values, _ in read]).astype(np.float32, copy=False)
    sequences = pd.concat([table for _, table in read], ignore_index=True)
    kept = np.ones(len(sequences), bool)
    for word in given.only:
        kept &= chosen(sequences, word)
    if not kept.any():
        asked = f" that is {' and '.join(given.only)}" if given.only else ""
        raise InputError(f"{given.predictions[0]} has no walk{asked}; mend --only or the folder")
    return embeddings[kept], sequences[kept].reset_index(drop=True)


def chosen(sequences: "pd.DataFrame", word: str) -> "NDArray[np.bool_]":
    """Which walks have a label: ``column=value,value`` or ``column=first..last``.

    Raises:
        InputError: if there is no such column, or a value is no number where numbers are.
    """
    import numpy as np
    import pandas as pd

    from gaitbench.errors import InputError

    name, equals, values = word.partition("=")
    if not equals or name not in sequences:
        raise InputError(
            f"--only {word} names no column; write COLUMN=VALUE with one of "
            f"{', '.join(map(str, sequences.columns))}"
        )
    column = sequences[name]
    number = pd.api.types.is_numeric_dtype(column)
    kept = np.zeros(len(column), bool)
    for value in values.split(","):
        bounds = value.split("..")
        try:
            first, last = (float(b) if number else b for b in (bounds[0], bounds[-1]))
        except ValueError as error:
            raise InputError(f"--only {word}: {value} is no number; give numbers") from error
        kept |= column.between(first, last).to_numpy(bool)
    return kept


def _nearest(
    gallery: "Gallery", embeddings: "NDArray[np.float32]", count: int, exact: bool
) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Search; with an index, tell how good it is."""
    found = gallery.search(embeddings, count, exact)
    if gallery.cells is not None and not exact:
        share, tried = gallery.index_recall(embeddings, count)
        print(
            f"approximate search: recall {100 * share:.2f} % of the {found[0].shape[1]} nearest, "
            f"measured on {tried:,} of {len(embeddings):,} walks; --exact looks at all entries"
        )
    return found


def _tell_left_out(which: "NDArray[np.bool_]", what: str) -> None:
    if which.any():
        print(f"left out: {int(which.sum()):,} walks {what}")
