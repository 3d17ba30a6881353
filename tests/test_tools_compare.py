import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from gaitbench.__main__ import run
from gaitbench.callbacks import publish, write_predictions
from gaitbench.datamodules.casia_b import CROSS_VIEW
from gaitbench.protocols import (
    ClosedSetProtocol,
    NeighbourProtocol,
    evaluate,
    evaluate_closed_set,
    evaluate_neighbours,
    write_metrics,
)
from gaitbench.protocols.paired import paired_difference
from gaitbench.protocols.probes import Probes
from gaitbench.tools.compare import ENDINGS

Make = Callable[..., Path]
Shown = Callable[..., list[dict[str, str]]]

PEOPLE = 50
VIEWS = range(0, 181, 18)


def sequences(views: range | tuple[int, ...] = (0, 90)) -> pd.DataFrame:
    rows = [
        (f"{s + 75:03d}", "nm", number, view)
        for s in range(PEOPLE)
        for number in (1, 5, 6)
        for view in views
    ]
    return pd.DataFrame(rows, columns=["subject", "condition", "number", "view"])


def embeddings(table: pd.DataFrame, wrong: int) -> np.ndarray:
    """Each a person's own place, but of so many probes that of the next person."""
    person = table["subject"].astype(int).to_numpy() - 75
    probes = np.flatnonzero(table["number"] > 1)
    person[probes[np.random.default_rng(0).permutation(len(probes))[:wrong]]] += 1
    return np.eye(PEOPLE, dtype=np.float32)[person % PEOPLE]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write the folder of a `predict` or `test` run."""

    def made(
        name: str,
        wrong: int,
        seed: int = 0,
        method: str = "GaitGraph2",
        predictions: bool = True,
        views: range | tuple[int, ...] = (0, 90),
        split: str = "74/50",
    ) -> Path:
        folder = tmp_path / name
        config = {
            "seed_everything": seed,
            "model": {"class_path": f"gaitbench.methods.{method}", "init_args": {}},
            "data": {
                "class_path": "gaitbench.datamodules.CasiaB",
                "init_args": {"path": "poses.csv", "split": split, "min_frames": 0},
            },
            "ckpt_path": f"{name}-fit/checkpoints/last.ckpt",
        }
        for place, more in ((f"{name}-fit", {"ckpt_path": None}), (name, {"verbose": False})):
            (tmp_path / place).mkdir()
            (tmp_path / place / "config.yaml").write_text(yaml.safe_dump(config | more))
        (tmp_path / f"{name}-fit" / "checkpoints").mkdir()
        (tmp_path / f"{name}-fit" / "checkpoints" / "last.ckpt").touch()
        table = sequences(views)
        values = embeddings(table, wrong)
        if predictions:
            rows = table.assign(start=0, length=60)
            write_predictions(folder / "predictions", values, rows)
        write_metrics([evaluate(values, table, CROSS_VIEW, bootstrap=100)], folder)
        return folder

    return made


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """Lines of the CSV that a comparison prints."""

    def compare(*words: object) -> list[dict[str, str]]:
        capsys.readouterr()
        assert run(["compare", "--format", "csv", *map(str, words)]) == 0
        return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    return compare


def test_lines_have_figures_intervals_and_the_gain_over_the_first(make: Make, shown: Shown) -> None:
    first, second = make("first", 60), make("second", 20)
    one, two = shown(first, second)
    assert (one["protocol"], one["probes"], one["figure"]) == ("casia_b.cross_view", "NM", "rank1")
    assert [line["run"] for line in (one, two)] == ["first", "second"]
    assert float(one["value"]) == pytest.approx(1 - 60 / 200)
    assert float(one["low"]) < float(one["value"]) < float(one["high"])
    assert one["n"] == "200"
    assert one["gain"] == one["published"] == ""
    assert two["paired_with"] == "first"
    assert float(two["gain"]) == pytest.approx(40 / 200)
    assert 0 < float(two["gain_low"]) < float(two["gain"]) < float(two["gain_high"])
    assert (float(two["other_side"]), two["subjects"]) == (0, "50")
    # the other way round it is the same with the other sign
    back = shown(second, first)[1]
    for ours, theirs in (("gain", "gain"), ("gain_low", "gain_high")):
        assert float(back[ours]) == pytest.approx(-float(two[theirs]))


def test_seeds_have_a_mean_and_a_deviation(make: Make, shown: Shown) -> None:
    folders = [make("a", 10, seed=0), make("b", 20, seed=1), make("c", 60, seed=2)]
    lines = shown(*folders)
    assert [line["run"] for line in lines] == ["a", "b", "c", "3 seeds"]
    values = [1 - wrong / 200 for wrong in (10, 20, 60)]
    assert float(lines[3]["value"]) == pytest.approx(np.mean(values))
    assert float(lines[3]["deviation"]) == pytest.approx(np.std(values, ddof=1))
    assert lines[3]["seed"] == "0, 1, 2"
    # a recipe of its own, and a seed that comes twice
    other = make("d", 10, seed=3, method="GaitFormer")
    assert "2 seeds" not in [line["run"] for line in shown(folders[0], other)]
    again = make("e", 20, seed=0)
    assert len(shown(folders[0], again)) == 2


def test_published_figure_stands_beside_the_same_protocol_alone(make: Make, shown: Shown) -> None:
    (line,) = shown(make("whole", 110, views=VIEWS))
    assert line["n"] == "1100"
    assert line["published"] == "0.82"
    assert "Teepe et al. 2022" in line["source"]
    assert float(line["difference"]) == pytest.approx(float(line["value"]) - 0.82)
    for other in (
        make("few", 10),
        make("split", 110, views=VIEWS, split="62/62"),
        make("method", 110, views=VIEWS, method="SGELA"),
    ):
        assert shown(other)[0]["published"] == ""
    folder = make("cosine", 110, views=VIEWS)
    words = ["--protocol", "casia_b.cross_view", "--bootstrap", "0", "--distance", "cosine"]
    assert run(["evaluate", str(folder), *words]) == 0
    (line,) = shown(folder)
    assert line["protocol"] == "casia_b.cross_view, cosine"
    assert (line["published"], line["low"]) == ("", "")


def test_embeddings_are_judged_as_the_others_were(make: Make, shown: Shown) -> None:
    first, second = make("first", 60), make("second", 20)
    (second / "metrics.json").unlink()
    lines = shown(first, second / "predictions")
    assert [float(line["value"]) for line in lines] == pytest.approx([0.7, 0.9])
    assert float(lines[1]["gain"]) == pytest.approx(0.2)
    lines = shown(first, "--protocol", "casia_b.pooled", "--figure", "map", "--figure", "rank1")
    assert [(line["protocol"], line["figure"]) for line in lines] == [
        ("casia_b.pooled", "map"),
        ("casia_b.pooled", "rank1"),
    ]
    lines = shown(first, "--protocol", "casia_b.cross_view", "--protocol", "fvg.ws")
    assert [line["protocol"] for line in lines] == ["casia_b.cross_view"]
    assert not (first / "predictions" / "metrics.json").exists()
    assert list(json.loads((first / "metrics.json").read_text())) == ["casia_b.cross_view"]


def test_what_cannot_be_paired_is_said_in_a_line(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    first, mute = make("first", 60), make("mute", 20, predictions=False)
    short, stale = make("short", 20), make("stale", 20)
    table = sequences().iloc[:-1].assign(start=0, length=60)
    write_predictions(short / "predictions", embeddings(table, 20), table)
    table = sequences().assign(start=0, length=60)
    write_predictions(stale / "predictions", embeddings(table, 30), table)
    assert run(["compare", *map(str, (first, mute, short, stale))]) == 0
    text = capsys.readouterr().out
    assert "Not paired: mute left neither probes nor embeddings, so it is not known which" in text
    assert "first and short, for 1 probes are only in the former, the first 124-nm-6-90." in text
    assert "the figures of stale in casia_b.cross_view NM are not those of its probes" in text
    assert "same probes" not in text


def judged_run(folder: Path, seed: int, stage: str = "test") -> Path:
    """A run that left figures of three kinds of protocols and what its probes gave, no more."""
    table = sequences().assign(recording=lambda t: t.index // 2)
    random = np.random.default_rng(seed)
    points = embeddings(table, 0) + random.normal(scale=0.5, size=(len(table), PEOPLE))
    known = sorted({*table["subject"]})
    given: dict[str, Any] = {"gallery": {"number": [1]}, "probes": {"ALL": {"number": [5, 6]}}}
    publish(
        [
            evaluate(points, table, CROSS_VIEW, bootstrap=20),
            evaluate_neighbours(
                points, table, NeighbourProtocol("own.votes", "", **given), bootstrap=20
            ),
            evaluate_closed_set(
                points, known, table, ClosedSetProtocol("own.known", "", {"ALL": {}}), bootstrap=20
            ),
        ],
        folder,
        stage=stage,
        distance=None,
        rerank=False,
    )
    return folder


def test_every_kind_of_protocol_is_paired_by_what_probes_gave(
    tmp_path: Path, shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [judged_run(tmp_path / name, seed) for seed, name in enumerate(("a", "b"))]
    words = [word for name in ("rank1", "video_rank1", "cmc_auc") for word in ("--figure", name)]
    lines = [line for line in shown(*folders, *words) if line["run"] == "b"]
    assert [(line["protocol"], line["figure"]) for line in lines] == [
        ("casia_b.cross_view", "rank1"),
        ("own.votes", "rank1"),
        ("own.votes", "video_rank1"),
        ("own.known", "rank1"),
        ("own.known", "cmc_auc"),
    ]
    for line in lines:
        before, after = (
            json.loads((folder / "metrics.json").read_text())[line["protocol"]][line["probes"]]
            for folder in folders
        )
        assert int(line["n"]) == after["videos" if line["figure"] == "video_rank1" else "n"]
        assert float(line["gain"]) == pytest.approx(after[line["figure"]] - before[line["figure"]])
        ours, theirs = (
            Probes.read(folder / "probes" / f"{line['protocol']}.parquet").sets[line["probes"]]
            for folder in folders
        )
        wanted = paired_difference(theirs, ours, line["figure"], resamples=1000)
        told = [line[name] for name in ("gain", "gain_low", "gain_high", "other_side", "subjects")]
        assert [*map(float, told)] == pytest.approx(wanted)
    # what is there of a protocol that was judged before is no longer that of the figures
    metrics = json.loads((folders[1] / "metrics.json").read_text())
    metrics["own.known"]["ALL"]["rank1"] -= 0.01
    (folders[1] / "metrics.json").write_text(json.dumps(metrics))
    gained = {line["protocol"] for line in shown(*folders) if line["gain"]}
    assert gained == {"casia_b.cross_view", "own.votes"}
    assert run(["compare", *map(str, folders)]) == 0
    assert "the figures of b in own.known ALL are not those of its probes" in (
        capsys.readouterr().out
    )


def test_validation_stands_apart_from_a_test(
    tmp_path: Path, shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    test, one, two = (
        judged_run(tmp_path / name, seed, stage)
        for seed, (name, stage) in enumerate(
            (("test", "test"), ("one", "validate"), ("two", "validate"))
        )
    )
    lines = shown(test, one, "--figure", "cmc_auc")
    assert [(line["protocol"], line["run"], line["gain"]) for line in lines] == [
        ("own.known", "test", ""),
        ("own.known, validate", "one", ""),
    ]
    assert run(["compare", str(test), str(one)]) == 0
    assert "one was judged by `validate`, whose people may be others" in capsys.readouterr().out
    assert shown(one, two, "--figure", "cmc_auc")[1]["gain"] != ""


@pytest.mark.parametrize("form", ENDINGS)
def test_every_form_is_written_and_printed(
    form: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(make("first", 60)), str(make("second", 20))]
    path = tmp_path / f"new/table{ENDINGS[form]}"
    assert run([*words, "--format", form, "--out", str(path)]) == 0
    text = capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == text
    begins = {
        "text": "Figures, with 95 % intervals",
        "markdown": "**Figures, with",
        "latex": "% Figures, with 95 % intervals",
        "csv": "protocol,probes,figure,method,run,seed,n,value,low,high,",
        "html": "<!doctype html>",
    }
    assert text.startswith(begins[form])
    shown = {"csv": "0.2,", "latex": "+20.0 [+"}.get(form, "+20.0 [+")
    assert shown in text
    assert sorted(path.parent.iterdir()) == [path]


def test_mistakes_are_one_sentence(
    make: Make, tmp_path: Path, refused: Callable[[list[str]], str]
) -> None:
    folder = make("first", 60)
    for words, message in (
        (["--out", "table.xlsx"], "ends in none of .txt, .md, .tex, .csv, .html; name one"),
        (["--figure", "rank2"], "no run has a figure of rank2; they have casia_b.cross_view"),
        (["--protocol", "casia_b.none"], "protocol 'casia_b.none' is unknown"),
        ([str(tmp_path / "no")], "is no folder; name that of a run"),
    ):
        assert message in refused(["compare", str(folder), *words])
    (folder / "metrics.json").unlink()
    assert "were not judged yet; name a --protocol" in refused(["compare", str(folder)])
