"""Files spoilt at random are read or refused; ``benchmarks/fuzzing`` does it for longer."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzzing import __main__ as command
from benchmarks.fuzzing.runner import READ, REFUSED, fuzz
from benchmarks.fuzzing.targets import TARGETS, Target
from gaitbench.errors import InputError

INPUTS = {"published": 10, "config": 2}
"""Of those that are expensive."""


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "onnx"])
def test_spoilt_files_are_read_or_refused(name: str) -> None:
    inputs = INPUTS.get(name, 60)
    (tally,) = fuzz({name: TARGETS[name]}, inputs, 120).values()
    assert tally.found == []
    assert tally.inputs == tally.read + tally.refused == inputs


def test_spoilt_networks_are_read_or_refused(tmp_path: Path) -> None:
    """In a process of its own: onnxruntime does not work in the fork of one that has used it."""
    out = tmp_path / "fuzz.csv"
    words = ["-m", "benchmarks.fuzzing", "--only", "onnx", "--inputs", "100", "--out", str(out)]
    subprocess.run([sys.executable, *words], check=True, timeout=300)
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert row["findings"] == "0"
    assert int(row["read"]) + int(row["refused"]) == 100


def read(folder: Path) -> None:
    content = (folder / "a").read_bytes()
    if len(content) > 5:
        raise KeyError("longer")
    if len(content) == 5:
        os._exit(7)
    if len(content) < 4:
        raise InputError("shorter")
    if content != b"abcd":
        os.system("true")


TARGET = Target(lambda: [{"a": b"abcd"}], read)


def test_what_is_wrong_is_found() -> None:
    """So that the tests above fail for what they look for, and go on behind a dead process."""
    (tally,) = fuzz({"x": TARGET}, 100, 60).values()
    said = [what for _, what in tally.found]
    assert {what.split(" ")[0] for what in said} == {"KeyError:", "os.system", "the"}
    assert "the process ended with 7" in said
    assert tally.read + tally.refused + len(said) == tally.inputs == 100
    assert tally.read and tally.refused


def test_a_whole_file_that_is_not_read_is_a_finding() -> None:
    (tally,) = fuzz({"x": Target(lambda: [{"a": b"abc"}], read)}, 1, 60).values()
    assert tally.found[0] == (-1, f"a whole input, a: {REFUSED}")
    assert READ != REFUSED


def test_runs_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run in two pieces and two seeds, and one that finds all of it done."""
    out = tmp_path / "fuzz.csv"
    known = {name: TARGETS[name] for name in ("kgbd", "ks20")}
    monkeypatch.setattr(command, "TARGETS", known)
    rows = []
    for inputs, seed in ((20, 0), (50, 1), (50, 2)):
        words = ["x", "--inputs", inputs, "--seed", seed, "--jobs", 2, "--out", out]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        command.main()
        lines = out.read_text().splitlines()
        rows.append({row["target"]: row for row in csv.DictReader(lines)})
    assert [row["kgbd"]["inputs"] for row in rows] == ["20", "50", "50"]
    assert [row["ks20"]["seeds"] for row in rows] == ["0", "0 1", "0 1"]
    last = rows[-1]["kgbd"]
    assert int(last["read"]) + int(last["refused"]) == 50
    assert last["findings"] == "0"
    assert float(last["cpu_seconds"]) >= float(rows[0]["kgbd"]["cpu_seconds"]) > 0
    assert len(capsys.readouterr().out.splitlines()) == 4
