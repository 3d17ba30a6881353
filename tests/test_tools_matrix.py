"""Several checkpoints on several datasets, in one table."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitbench import cli
from gaitbench.__main__ import run
from gaitbench.errors import InputError
from gaitbench.runs import read_run
from gaitbench.tools.matrix import cells_of, short_names
from tests.conftest import CONFIG

POOLED, CROSS = "casia_b.pooled", "casia_b.cross_view"


def config(path: Path, walkers: Path, cache: Path, protocol: str) -> Path:
    """A dataset's config as `test` takes it."""
    content = yaml.safe_load(CONFIG.read_text())
    content["data"]["init_args"] |= {"path": str(walkers), "cache": str(cache), "frames": 8}
    content["evaluation"] = {"protocols": [protocol], "bootstrap": 0}
    content["trainer"] |= {"accelerator": "cpu", "enable_model_summary": False}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def rows(checkpoint: Path, tmp_path: Path) -> list[Path]:
    """Two checkpoints of the same name."""
    paths = [tmp_path / name / "checkpoints" / "last.ckpt" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir(parents=True)
        shutil.copyfile(checkpoint, path)
    return paths


def matrix(rows: list[Path], columns: list[Path | str], out: Path, *words: str) -> int:
    given = ["--ckpt_path", *map(str, rows), "--data", *map(str, columns), "--out", str(out)]
    return run(["matrix", *given, *words])


def read(out: Path) -> tuple[list[list[str]], str, dict[str, Any]]:
    with (out / "matrix.csv").open(newline="") as file:
        table = list(csv.reader(file))
    return table, (out / "matrix.md").read_text(), json.loads((out / "matrix.json").read_text())


def test_each_checkpoint_on_each_dataset(
    rows: list[Path],
    walkers: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    near = config(tmp_path / "near.yaml", walkers, cache, POOLED)
    far = config(tmp_path / "far.yaml", walkers, cache, CROSS)
    gone = config(tmp_path / "gone.yaml", tmp_path / "nowhere", cache, CROSS)
    out = tmp_path / "out"
    assert matrix(rows, [near, far, gone], out, "--data.eval_batch_size=7") == 2
    shown = capsys.readouterr()
    assert "[6/6] two on gone failed: " in shown.out
    assert shown.err.count("\n") == 1
    assert "2 of 6 cells failed, the first one on gone: " in shown.err
    table, text, whole = read(out)
    near_sets = [f"near/{POOLED}/{name}/rank1" for name in ("NM", "BG", "CL")]
    far_sets = [f"far/{CROSS}/{name}/rank1" for name in ("NM", "BG", "CL")]
    assert table[0] == ["checkpoint", *near_sets, *far_sets, "gone"]
    assert [line[0] for line in table[1:]] == ["one", "two"]
    assert table[1][1:] == table[2][1:]
    assert table[1][-1] == ""
    cell = read_run(out / "cells" / "one" / "far")  # as `compare` reads it
    assert (cell.method, cell.dataset, cell.stage) == ("GaitGraph2", "CasiaB", "test")
    figures = whole["one"]["far"][CROSS]
    assert float(table[1][4]) == figures["NM"]["rank1"]
    assert whole["two"]["gone"]["error"] in shown.out
    line = next(line for line in text.splitlines() if line.startswith("| two"))
    assert f" {100 * figures['NM']['rank1']:.1f} |" in line
    assert line.endswith(" failed |")
    assert text in shown.out
    cell = out / "cells" / "one" / "far"
    assert (cell / "tables" / f"{CROSS}.md").is_file()
    assert f"### {CROSS}" in (cell / "log.txt").read_text()
    assert not list(out.rglob(".*"))


def test_finished_cells_are_taken_over(
    rows: list[Path],
    walkers: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = [tmp_path / name for name in ("a.yaml", "b.yaml")]
    for column in columns:
        column.write_text("seed_everything: 0\n")
    calls: list[list[str]] = []

    def tested(args: list[str]) -> None:
        """A test that writes its figures, unless told to fail."""
        calls.append(args)
        folder = Path(next(w.partition("=")[2] for w in args if "default_root_dir" in w))
        if "--fail" in args and "b.yaml" in " ".join(args):
            raise RuntimeError("out of luck\nand more")
        figures = {"x.p": {"NM": {"rank1": 0.5, "n": 3}, "NM/090": {"auroc": 1.0}}}
        if "--silent" not in args:
            (folder / "metrics.json").write_text(json.dumps(figures))

    monkeypatch.setattr(cli, "main", tested)
    out = tmp_path / "out"

    def count(status: int, *words: str) -> int:
        calls.clear()
        assert matrix(rows, columns, out, *words) == status
        return len(calls)

    assert count(0) == 4
    words = calls[0]
    assert words[:3] == ["test", "--config", str(columns[0])]
    assert {"--trainer.logger=false", "--trainer.devices=1"} < set(words)
    assert f"--ckpt_path={rows[0]}" in words
    before = read(out)
    assert before[0][0] == ["checkpoint", "a/x.p/NM/rank1", "b/x.p/NM/rank1"]
    assert count(0) == 0
    assert read(out) == before
    assert "[4/4] two on b: unchanged, taken over" in capsys.readouterr().out
    assert count(0, "--again") == 4
    columns[1].write_text("seed_everything: 1\n")
    assert count(0) == 2
    rows[0].write_bytes(rows[0].read_bytes() + b" ")
    assert count(0) == 2
    assert count(2, "--fail") == 4
    assert "b failed: RuntimeError: out of luck (" in capsys.readouterr().out
    log = out / "cells" / "one" / "b" / "log.txt"
    assert "Traceback" in log.read_text()
    # what has failed is not taken for what it gave before
    assert count(2, "--fail") == 2
    assert count(2, "--silent") == 4
    assert "nothing was judged, as " in capsys.readouterr().out
    (out / "cells" / "one" / "a" / "cell.json").write_text("{")
    assert count(0) == 4


def test_several_configs_make_one_column(
    rows: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base.yaml", "more.yaml"):
        (tmp_path / name).write_text("seed_everything: 0\n")
    joined = f"{tmp_path / 'base.yaml'},{tmp_path / 'more.yaml'}"
    cells = cells_of(rows, [str(tmp_path / "base.yaml"), joined], tmp_path / "out")
    assert [cell.column for cell in cells] == ["base", "base+more"] * 2
    assert len({cell.folder for cell in cells}) == 4


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names([[Path("/a/b/x.ckpt")], [Path("/a/c/y.ckpt")]]) == ["x", "y"]
    assert short_names([[Path("/a/b/x.ckpt")], [Path("/a/c/x.ckpt")]]) == ["b", "c"]
    deep = [[Path("/a/b/x.ckpt")], [Path("/a/c/x.ckpt")], [Path("/a/c/y.ckpt")]]
    assert short_names(deep) == ["b/x", "c/x", "c/y"]
    same = short_names([[Path("/a/x.ckpt")], [Path("/a/x.pt")]])
    assert same == ["/a/x.ckpt", "/a/x.pt"]


def test_wrong_words_are_refused(
    rows: list[Path], tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    row = str(rows[0])
    message = refused(["matrix", "--ckpt_path", row, "--data", "no.yaml", *out])
    assert "--data no.yaml does not exist" in message
    (tmp_path / "a.yaml").write_text("seed_everything: 0\n")
    data = ["--data", str(tmp_path / "a.yaml")]
    assert "names" in refused(["matrix", "--ckpt_path", row, row, *data, *out])
    message = refused(["matrix", "--ckpt_path", "no.ckpt", *data, *out])
    assert "1 of 1 cells failed" in message
    assert "no.ckpt does not exist; name a checkpoint" in message
    with pytest.raises(InputError, match="names nothing"):
        cells_of(rows, [","], tmp_path)
