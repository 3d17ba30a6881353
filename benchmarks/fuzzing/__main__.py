"""Spoil valid files at random and read them: they are read, or refused in one sentence.

    python -m benchmarks.fuzzing [--only NAME ...] [--out FILE.csv] [--jobs N] [--seed N]

Each target is a reader. A target is done after 200,000 inputs or ten minutes of the processor; they
take turns of one minute. ``--out`` keeps a row a target: the same words add to it, and skip what is
done, so that a run may be ended at any moment and goes on another day, with the same seed or
another one. A finding is anything but a value or an ``InputError``: another exception, a warning of
numpy's, a hang, more memory than the limit, a process that dies, code that is run, a file outside
the input's folder that is opened. What is printed of it tells the input's number.
"""

import argparse
import csv
import datetime
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import torch

from benchmarks.fuzzing.runner import Tally, files_of, fuzz
from benchmarks.fuzzing.targets import TARGETS
from gaitbench.files import written_whole

HEAD = [field.name for field in fields(Tally) if field.name != "found"]
SHOWN = 3
"""Findings of a kind that are printed and kept."""


def main() -> None:
    """Fuzz; print one line a turn, and what was found in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzzing")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=TARGETS, default=[*TARGETS])
    parser.add_argument("--inputs", type=int, default=200_000, help="of each target, at most")
    parser.add_argument("--minutes", type=float, default=10, help="of the processor, each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--out", type=Path, help="CSV of a row a target, which is added to")
    parser.add_argument("--keep", type=Path, help="folder for inputs that found something")
    args = parser.parse_args()
    torch.set_num_threads(1)
    described = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(described, capture_output=True, text=True).stdout.strip() or "unknown"
    known: dict[str, Tally] = {}
    if args.out and args.out.exists():
        with args.out.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                values = {name: type(getattr(Tally, name))(row[name]) for name in HEAD}
                known[row["target"]] = Tally(**values)

    def turn(name: str, tally: Tally) -> None:
        known[name], tally.date = tally, datetime.date.today().isoformat()
        tally.commits = " ".join(dict.fromkeys([*tally.commits.split(), commit]))
        tally.seeds = " ".join(dict.fromkeys([*tally.seeds.split(), str(args.seed)]))
        tally.cpu_seconds = round(tally.cpu_seconds, 3)
        lines = [[name, *(getattr(row, column) for column in HEAD)] for name, row in known.items()]
        print(name, *(f"{column} {getattr(tally, column)}" for column in HEAD), sep=", ")
        if args.out:
            with written_whole(args.out) as path, path.open("w", newline="") as file:
                csv.writer(file).writerows([["target", *HEAD], *lines])
        tell(name, tally.found)
        tally.found = []

    def tell(name: str, found: list[tuple[int, str]]) -> None:
        kinds: dict[str, list[int]] = {}
        for number, what in found:
            kinds.setdefault(re.sub(r"[0-9]{3,}|'.*'", "#", what)[:90], []).append(number)
        for what, numbers in kinds.items():
            print(f"{name}: {len(numbers)} x {what} (inputs {numbers[:SHOWN]})")
            for number in numbers[:SHOWN] if args.keep else ():
                for file, content in files_of(targets[name], name, number, args.seed).items():
                    place = args.keep / f"{name} {number}" / file
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content)
        sys.stdout.flush()

    targets = {name: TARGETS[name] for name in args.only}
    fuzz(targets, args.inputs, 60 * args.minutes, args.seed, args.jobs, known, turn)


if __name__ == "__main__":
    main()
