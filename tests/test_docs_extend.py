"""The how-to pages of docs/extend: their files are written and their commands run as they stand."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gaitbench.__main__ import run
from tests.doc_pages import blocks_of, commands_of

PAGES = Path(__file__).parents[1] / "docs" / "extend"
WALKERS = "gaitbench synthesize casia-b walkers --subjects 10 --views 36 90"
PROGRESS = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
NM, CHANCE = "NM", 0.25


class Reader:
    """Somebody who does what a page says, in a folder of their own."""

    def __init__(self, name: str, folder: Path, walkers: Path) -> None:
        self.page = (PAGES / name).read_text()
        self.folder = folder
        self.said: dict[str, str] = {}
        """Command to what it printed."""
        for block in blocks_of(self.page):
            if block.language:
                (folder / block.file).write_text(block.text)
        self.walkers = walkers

    def follow(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Run all commands in this process, in their order."""
        patch.chdir(self.folder)
        names: dict[str, str] = {}
        for line in commands_of(self.page):
            for name, value in names.items():
                line = line.replace(f"${name}", value)
            word, *rest = shlex.split(line)
            if line == "export PYTHONPATH=.":
                patch.syspath_prepend(self.folder)
            elif line == WALKERS:
                shutil.copytree(self.walkers, "walkers")
            elif "=" in word:
                name, names[name] = word.split("=")
            elif word == "python":
                runpy.run_path(rest[0], run_name="__main__")
            elif word == "gaitbench":
                quiet = PROGRESS if rest[0] in ("fit", "test", "predict") else ()
                assert run([*rest, *quiet]) == 0, line
            else:
                subprocess.run(line, shell=True, check=True)
            self.said[line] = capsys.readouterr().out

    def out_of(self, command: str) -> str:
        """What the command that begins so has printed."""
        (found,) = [out for line, out in self.said.items() if line.startswith(command)]
        return found

    def metrics(self, folder: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / folder / "metrics.json").read_text())
        return found


@pytest.fixture(scope="module")
def ten_walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ten")
    assert run(shlex.split(WALKERS.replace(" walkers ", f" {folder / 'walkers'} "))[1:]) == 0
    return folder / "walkers"


@pytest.fixture
def reader(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    ten_walkers: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Reader]:
    before = {*sys.modules}
    reader = Reader(request.param, tmp_path, ten_walkers)
    reader.follow(monkeypatch, capsys)
    yield reader
    for name in {*sys.modules} - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == tmp_path:
            del sys.modules[name]


def nearest_of(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances of unit vectors."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances: NDArray[np.float64] = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    return distances


@pytest.mark.parametrize("reader", ["method.md"], indirect=True)
def test_a_method_from_outside_trains_tests_and_exports(
    reader: Reader, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tcn import TemporalConvolutions  # type: ignore[import-not-found]

    from gaitbench.exported import OnnxNetwork

    runs = [reader.metrics(f"runs/lightning_logs/version_{k}") for k in (1, 3)]
    tested, exported = (found["casia_b.cross_view"] for found in runs)
    assert tested[NM]["rank1"] > CHANCE + 0.1
    for name, figures in tested.items():
        assert figures["rank1"] == pytest.approx(exported[name]["rank1"], abs=0.03)
    embeddings = np.load(reader.folder / "found" / "embeddings.npy")
    assert embeddings.shape == (len(pd.read_csv(reader.folder / "found" / "sequences.csv")), 32)
    assert OnnxNetwork(Path("tcn.onnx")).info.method == TemporalConvolutions.__name__

    # a class that nobody named is not imported
    monkeypatch.delitem(sys.modules, "tcn")
    last = "runs/lightning_logs/version_0/checkpoints/last.ckpt"
    here = ["--data=CasiaB", "--data.path=walkers/casia-b_pose_coco.csv", f"--ckpt_path={last}"]
    assert "--model tcn.TemporalConvolutions" in refused(["test", *here])
    assert "--model tcn.TemporalConvolutions" in refused(["export", last, "--out", "b.onnx"])
    assert "tcn" not in sys.modules
    words = ["export", last, "--out", "b.onnx", "--model"]
    assert "holds the method tcn" in refused([*words, "tcn.temporal_layer"])


@pytest.mark.parametrize("reader", ["dataset.md"], indirect=True)
def test_a_dataset_from_outside_is_reported_trained_and_tested(
    reader: Reader, refused: Any
) -> None:
    report = reader.out_of("gaitbench report-data")
    for what, count in (("subjects", 10), ("sequences", 200)):
        assert f"| {what} | {count} |" in report
    for condition, count in (("bg", 40), ("cl", 40), ("nm", 120)):
        assert re.search(rf"^\| {condition} \| .+ {count} \|$", report, re.MULTILINE)
    figures = reader.metrics("runs/lightning_logs/version_1")["csv_walks.other_views"]
    assert {name: told["n"] for name, told in figures.items()} == {"NM": 16, "BG": 16, "CL": 16}
    assert (reader.folder / "walk.gif").read_bytes().startswith(b"GIF")

    # what was read is what the walkers' own reader reads, to two decimals
    from csv_walks import CsvWalks  # type: ignore[import-not-found]

    from gaitbench.datamodules import CasiaB

    own = CsvWalks("walks", cache="cache")
    theirs = CasiaB("walkers/casia-b_pose_coco.csv", cache="walkers/cache")
    tables = [data.open_store().sequences for data in (own, theirs)]
    key = ["subject", "condition", "number", "view"]
    one, other = (table.set_index(key).sort_index() for table in tables)
    assert one.index.equals(other.index)
    for row in range(0, 200, 50):
        poses = [
            np.asarray(data.open_store().frames[start : start + length])
            for data, table in ((own, one), (theirs, other))
            for start, length in [table[["start", "length"]].iloc[row]]
        ]
        np.testing.assert_allclose(*poses, atol=0.006)

    (reader.folder / "walks" / "Ada_nm_1_90.csv").write_text("frame,nose.x\n0,1\n")
    words = ["report-data", "csv_walks.CsvWalks", "walks", "--cache", "cache"]
    assert "Ada_nm_1_90.csv has no column nose.y" in refused(words)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module.Walks", "no_such_module.Walks cannot be imported"),
        ("gaitbench.store.Walks", "gaitbench.store.Walks cannot be imported"),
        ("gaitbench.store.SequenceStore", "gaitbench.store.SequenceStore is no GaitDataModule"),
    ],
)
def test_a_class_that_is_no_dataset_is_refused(name: str, message: str, refused: Any) -> None:
    assert message in refused(["report-data", name, "x"])
    words = ["evaluate", "x", "--protocol", "own.y", "--data", name]
    assert message in refused(words)


@pytest.mark.parametrize("reader", ["protocol.md"], indirect=True)
def test_protocols_from_outside_judge_as_they_say(reader: Reader) -> None:
    written = reader.metrics("found")["own.first_nm"]
    told = reader.out_of("gaitbench evaluate found")
    # 075 has 4 of 20 normal walks, and 2 of 8 with bag or coat, from each of two views
    assert {name: figures["unmatched"] for name, figures in written.items()} == {
        "NM": 10,
        "BG": 4,
        "CL": 4,
    }
    assert "has no sequence of 1 of 4 subjects: 075" in told
    seen = reader.metrics("seen")["own.first_seen"]
    assert {name: figures["unmatched"] for name, figures in seen.items()} == dict.fromkeys(seen, 0)

    # by hand: cosine distance, the first walk of each subject in the other view
    table = pd.read_csv(reader.folder / "seen" / "sequences.csv", dtype={"subject": str})
    distance = nearest_of(np.load(reader.folder / "seen" / "embeddings.npy"))
    first = table["number"].where(table["condition"] == "nm").groupby(table["subject"]).min()
    assert first.to_dict() == {"075": 2, "076": 1, "077": 1, "078": 1}
    gallery = (table["condition"] == "nm") & (table["number"] == table["subject"].map(first))
    for condition, name in (("nm", "NM"), ("bg", "BG"), ("cl", "CL")):
        right = []
        for view in (36, 90):
            known = np.flatnonzero(gallery & (table["view"] != view))
            probes = np.flatnonzero(
                ~gallery & (table["view"] == view) & (table["condition"] == condition)
            )
            nearest = known[distance[np.ix_(probes, known)].argmin(axis=1)]
            subject = table["subject"].to_numpy()
            right.append((subject[nearest] == subject[probes]).mean())
        assert seen[name]["rank1"] == pytest.approx(np.mean(right))
