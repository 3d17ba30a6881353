import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaitbench.__main__ import run
from gaitbench.tools import animate
from tests.conftest import Bench
from tests.goldens import kinect_trees


@pytest.fixture(scope="module")
def predicted(
    walkers: Path, cache: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a `predict` run."""
    bench = Bench(walkers, cache, tmp_path_factory.mktemp("predicted"))
    return bench("predict", f"--ckpt_path={checkpoint}")


PROTOCOLS = ("--protocol", "casia_b.cross_view", "--protocol", "casia_b.gaitgraph2")


@pytest.mark.parametrize("place", [".", "predictions"])
def test_evaluate_says_what_predict_said(place: str, predicted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    (folder / "predictions").mkdir(parents=True)
    for file in (predicted / "predictions").iterdir():
        (folder / "predictions" / file.name).write_bytes(file.read_bytes())
    assert run(["evaluate", str(folder / place), *PROTOCOLS, "--bootstrap", "10"]) == 0
    again = folder / place
    names = ["metrics.json", *(f"tables/{p.name}" for p in (predicted / "tables").glob("*.*"))]
    assert len(names) == 9
    for name in names:
        if not name.endswith(".png"):  # holds the version of what drew it
            assert (again / name).read_bytes() == (predicted / name).read_bytes(), name


def test_evaluate_by_another_protocol_and_distance(predicted: Path, tmp_path: Path) -> None:
    for file in (predicted / "predictions").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    figures = {}
    for distance in ("euclidean", "l1"):
        words = ["--protocol", "casia_b.pooled", "--distance", distance, "--bootstrap", "0"]
        assert run(["evaluate", str(tmp_path), *words, "--rerank"]) == 0
        figures[distance] = json.loads((tmp_path / "metrics.json").read_text())
        assert list(figures[distance]) == ["casia_b.pooled"]
        assert "rank1_ci95" not in figures[distance]["casia_b.pooled"]["NM"]


def test_evaluate_refuses_what_is_not_there(
    predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(predicted.rglob("*"))
    assert run(["evaluate", str(predicted), "--protocol", "casia_b.nonsense"]) == 2
    assert "'casia_b.nonsense' is unknown; choose from biwi.walking," in (capsys.readouterr().err)
    assert sorted(predicted.rglob("*")) == before
    assert run(["evaluate", str(tmp_path / "no"), *PROTOCOLS]) == 2
    assert "embeddings.npy does not exist; give a folder that" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_synthesize_writes_what_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "people"
    assert run(["synthesize", "casia-b", str(out), "--subjects", "2"]) == 0
    table = out / "casia-b_pose_coco.csv"
    assert capsys.readouterr().out == f"2 synthetic walkers written to {table}\n"
    assert sorted(path.name for path in out.iterdir()) == ["casia-b_labels.csv", table.name]
    assert run(["report-data", "casia-b", str(out), "--cache", str(tmp_path / "cache")]) == 0
    shown = capsys.readouterr().out
    assert "| subjects | 2 |" in shown
    assert "| sequences | 220 |" in shown


def test_report_data_says_what_is_missing(
    walkers: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report-data", "casia-b", str(walkers), "--cache", str(cache)]) == 0
    shown = capsys.readouterr().out
    assert "| subjects | 4 |" in shown
    assert "| sequences | 40 |" in shown
    assert "12 of 744" in shown
    (report,) = cache.glob("casia_b-*/report.md")
    assert report.read_text().strip() == shown.strip()


def test_animate_draws_walks_side_by_side(walkers: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "walks.gif"
    where = ["casia-b", str(walkers), "--cache", str(cache), "--out", str(out)]
    assert run(["animate", *where, "--walks", "001-nm-01-090", "075-bg-01-000"]) == 0
    assert list(out.parent.iterdir()) == [out]
    with Image.open(out) as animation:
        assert animation.format == "GIF"
        assert animation.n_frames > 40  # of walks of 60 and more


def test_tools_take_the_other_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Synthesize, report and draw OUMVLP-Pose, of either estimator, in either layout."""
    out, cache = tmp_path / "people", tmp_path / "cache"
    assert run(["synthesize", "oumvlp", str(out), "--subjects", "2"]) == 0
    tree = out / "OUMVLP-Pose"
    assert capsys.readouterr().out == f"2 synthetic walkers written to {tree}\n"
    data = ["oumvlp", str(out), "--cache", str(cache)]
    assert run(["report-data", *data, "--keypoints", "openpose", "--person", "largest"]) == 0
    assert "| subjects | 2 |" in capsys.readouterr().out
    assert run(["animate", *data, "--out", f"{tmp_path}/a.gif", "--walks", "00001-nm-00-090"]) == 0
    words = ["--walks", "00002-nm-01-180", "--skeleton", "coco17", "--out", f"{tmp_path}/b.gif"]
    assert run(["animate", *data, *words]) == 0
    assert sorted(p.name.rpartition("-")[0] for p in cache.iterdir() if p.is_dir()) == [
        "oumvlp-alphapose-first",
        "oumvlp-openpose-largest",
    ]
    assert {"a.gif", "b.gif"} <= {p.name for p in tmp_path.iterdir()}


def test_tools_take_densegait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Synthesize, report and draw both of its tables, and leave out what is missing if told so."""
    assert run(["synthesize", "densegait", str(tmp_path), "--subjects", "10"]) == 0
    tree, cache = tmp_path / "DenseGait", tmp_path / "cache"
    assert capsys.readouterr().out == f"10 synthetic walkers written to {tree}\n"
    data = ["densegait", str(tree), "--cache", str(cache)]
    for part, count in (("train", 10), ("validation", 2)):
        assert run(["report-data", *data, "--part", part]) == 0
        assert f"| sequences | {count} |" in capsys.readouterr().out
    words = ["--walks", "1-walk-0-0", "10-walk-0-0", "--out", f"{tmp_path}/a.gif"]
    assert run(["animate", *data, *words]) == 0
    assert (tmp_path / "a.gif").exists()
    (tree / "data-2.02" / "poses" / "00003.npy").unlink()
    assert run(["report-data", *data]) == 2
    assert "line 4: data-2.02/poses/00003.npy is not there" in capsys.readouterr().err
    assert run(["report-data", *data, "--on_error", "skip"]) == 0
    assert "| sequences | 9 |" in capsys.readouterr().out


def test_tools_take_fvg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synthesize", "fvg", str(tmp_path), "--subjects", "3"]) == 0
    tree = tmp_path / "FVG"
    assert capsys.readouterr().out == f"3 synthetic walkers written to {tree}\n"
    data = ["fvg", str(tree), "--cache", str(tmp_path / "cache")]
    assert run(["report-data", *data]) == 0
    assert "| subjects | 3 |" in capsys.readouterr().out
    walks = ["--walks", "001-session3-02-000", "137-session1-10-000"]
    assert run(["animate", *data, *walks, "--out", f"{tmp_path}/a.gif"]) == 0
    assert run(["animate", *data, "--walks", "1-2", "--out", f"{tmp_path}/b.gif"]) == 2
    assert "'1-2' is not of the form 001-session1-02-000" in capsys.readouterr().err
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames > 40


@pytest.mark.parametrize(
    ("units", "factors"),
    [
        ("pixels, confidence", (1, 1, 1)),
        ("normalised, y up, confidence", (0.77, -1, 1)),
        ("normalised, y down, confidence", (0.77, 1, 1)),
    ],
)
def test_people_are_drawn_upright(units: str, factors: tuple[float, float, float]) -> None:
    assert animate._paper(units) == factors


def test_synthesize_may_write_one_estimator(tmp_path: Path) -> None:
    words = ["--subjects", "2", "--keypoints", "openpose"]
    assert run(["synthesize", "oumvlp", str(tmp_path), *words]) == 0
    tree = tmp_path / "OUMVLP-Pose"
    assert sorted(p.name for p in tree.iterdir()) == ["ID_list.csv", "openpose"]
    with pytest.raises(SystemExit) as stopped:
        run(["synthesize", "casia-b", str(tmp_path), *words])
    assert stopped.value.code == 2


def test_animate_draws_skeletons_in_space_from_two_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "walk.gif"
    words = ["animate", "biwi", str(kinect_trees() / "BIWI"), "--cache", str(tmp_path / "cache")]
    words += ["--out", str(out), "--clip", "none"]
    sizes = []
    for walks in (["022-walking-0-0"], ["022-walking-0-0", "000-still-0-0"]):
        assert run([*words, "--walks", *walks, "--fps", "10"]) == 0
        with Image.open(out) as animation:
            assert animation.info["duration"] == 100
            assert animation.n_frames > 10
            pixels = np.asarray(animation.convert("RGB")).astype(int)
            sizes.append(animation.size)
        # sides are told by colour, in each of two boxes a walk
        for color in ((0xD1, 0x49, 0x5B), (0x2E, 0x6F, 0x95)):
            there = (abs(pixels - color).sum(2) < 40).any(axis=0)
            parts = np.array_split(there, 2 * len(walks))
            assert all(part.any() for part in parts)
    assert sizes[1][0] > 1.5 * sizes[0][0]
    out.unlink()
    assert run([*words, "--walks", "022-walking-0-0", "--fps", "0"]) == 2
    assert "--fps is 0; give more than 0 and at most 50" in capsys.readouterr().err
    assert run([*words, "--walks", "022-walking-7-0"]) == 2
    assert "has no walk 022-walking-7-0" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("walk", "message"),
    [
        ("001-nm-06-090", "has no walk 001-nm-06-090"),
        ("999-nm-01-090", "has no walk 999-nm-01-090"),
        ("001-nm-01", "'001-nm-01' is not of the form 001-nm-01-090"),
        ("001-nm-one-090", "'001-nm-one-090' is not of the form 001-nm-01-090"),
        ("", "'' is not of the form 001-nm-01-090"),
    ],
)
def test_animate_refuses_unknown_walks(
    walk: str,
    message: str,
    walkers: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["casia-b", str(walkers), "--cache", str(cache), "--out", str(tmp_path / "walks.gif")]
    assert run(["animate", *where, "--walks", "001-nm-01-090", walk]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["synthesize", "casia-b", "{out}", "--subjects", "1"], "subjects is 1"),
        (["synthesize", "casia-b", "{out}", "--subjects", "125"], "subjects is 125"),
        (["synthesize", "densegait", "{out}", "--subjects", "1"], "subjects is 1"),
        (["synthesize", "fvg", "{out}", "--subjects", "227"], "subjects is 227"),
        (["synthesize", "casia-b", "{out}/file/x", "--subjects", "2"], "cannot be written"),
        (["report-data", "casia-b", "{out}/none.csv"], "none.csv does not exist"),
        (["animate", "casia-b", "{out}/none", "--out", "x.gif", "--walks", "w"], "does not exist"),
        (["report-data", "oumvlp", "{out}/none"], "none"),
        (
            ["import-checkpoint", "gaitgraph", "{out}/none.pth", "{out}/x"],
            "none.pth does not exist",
        ),
    ],
)
def test_tools_refuse_in_one_sentence(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run([word.format(out=tmp_path) for word in words]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("gaitbench: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["synthesize", "casia", "out"], "argument dataset: invalid choice: 'casia'"),
        (["report-data", "casia-b", "x", "--person", "first"], "casia-b has no --person"),
        (["report-data", "fvg", "x", "--part", "train"], "fvg has no --part"),
        (["synthesize", "fvg", "x", "--keypoints", "openpose"], "fvg has no --keypoints"),
        (["report-data", "casia", "x"], "dataset 'casia' is unknown; choose one of biwi, "),
        (["report-data", "densegait", "x", "--part", "test"], "invalid choice: 'test'"),
        (["report-data", "oumvlp", "x", "--keypoints", "alpha"], "invalid choice: 'alpha'"),
        (["import-checkpoint", "gaitset", "a", "b"], "argument method: invalid choice: 'gaitset'"),
        (["synthesize", "casia-b", "out", "--subjects", "x"], "invalid int value: 'x'"),
        (["evaluate", "out"], "required: --protocol"),
        (["evaluate", "out", "--protocol", "p", "--distance", "far"], "invalid choice: 'far'"),
        (["animate", "casia-b", "x", "--out", "x.gif"], "required: --walks"),
        (["report-data", "casia-b", "x", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_words_that_a_tool_does_not_know(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """argparse's own sentence below its usage, and its status 2."""
    with pytest.raises(SystemExit) as stopped:
        run(words)
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"usage: gaitbench {words[0]} ")
    assert message in errors.splitlines()[-1]
