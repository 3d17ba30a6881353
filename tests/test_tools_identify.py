"""``gaitbench identify`` upon predictions, against distances worked out by a loop."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gaitbench.__main__ import run
from gaitbench.callbacks import write_predictions
from gaitbench.gallery import read_gallery


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Predictions of 12 people with 10 walks each, numbers 0 to 9."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "subject": np.repeat([f"{i:03d}" for i in range(12)], 10),
            "condition": "nm",
            "number": np.tile(np.arange(10), 12),
            "view": 90,
            "start": 0,
            "length": 60,
        }
    )
    centres = draw.normal(size=(12, 6)).repeat(10, axis=0)
    values = centres + 0.6 * draw.normal(size=centres.shape)
    write_predictions(tmp_path / "found", values.astype(np.float32), table)
    return tmp_path / "found"


def test_people_are_enrolled_strangers_choose_and_others_are_judged(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = str(tmp_path / "known.npz")
    identify = ["identify"]
    enrolled = ["--only", "subject=000..004", "--only", "number=0..3"]
    assert run([*identify, "build", known, str(folder), *enrolled]) == 0
    assert "20 walks of 5 people" in capsys.readouterr().out
    assert run([*identify, "judge", known, str(folder)]) == 2
    assert "has no threshold" in capsys.readouterr().err
    choosing = [*identify, "calibrate", known, str(folder), "--only", "subject=003..007"]
    assert run([*choosing, "--fpir", "0.2"]) == 0
    said = capsys.readouterr().out
    assert "left out: 20 walks of enrolled people" in said
    assert "6 of 30 searches of 3 strangers" in said
    assert run([*identify, "judge", known, str(folder)]) == 0
    said = capsys.readouterr().out
    assert "left out: 20 walks that are entries themselves" in said
    assert "left out: 30 walks of people who chose the threshold" in said

    values = np.load(folder / "embeddings.npy").astype(np.float64)
    table = pd.read_csv(folder / "sequences.csv", dtype={"subject": str})
    entry = (table["subject"] <= "004") & (table["number"] <= 3)
    gaps = np.linalg.norm(values[:, None] - values[entry][None], axis=2)
    nearest, names = gaps.min(1), table["subject"][entry].to_numpy()[gaps.argmin(1)]
    chose = table["subject"].between("005", "007")
    threshold = np.sort(nearest[chose])[6]
    written = read_gallery(Path(known)).threshold
    assert written is not None and written.value == pytest.approx(threshold)
    assert written.people == ("005", "006", "007")
    own, stranger = (table["subject"] <= "004") & ~entry, table["subject"] >= "008"
    right = names == table["subject"]
    below = nearest < threshold
    for name, counts, among in (
        ("found and right", right & below, own),
        ("found and wrong", ~right & below, own),
        ("right without a threshold", right, own),
        ("strangers taken", below, stranger),
    ):
        line = next(line for line in said.splitlines() if line.startswith(name))
        assert f"({(counts & among).sum()} of {among.sum()} searches" in line

    out = tmp_path / "search.csv"
    words = [*identify, "search", known, str(folder), "--only", "subject=011", "--top", "2"]
    assert run([*words, "--out", str(out)]) == 0
    found = pd.read_csv(out, dtype={"subject": str, "found_subject": str})
    assert found["rank"].tolist() == [1, 2] * 10
    rows = np.flatnonzero(table["subject"] == "011")
    np.testing.assert_allclose(found["distance"], np.sort(gaps[rows])[:, :2].ravel())
    assert (found["accepted"] == (found["distance"] < threshold)).all()
    assert (found["found_subject"][::2] == names[rows]).all()


def test_mistakes_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, away = str(tmp_path / "known.npz"), str(tmp_path / "known")
    here = str(folder)
    assert run(["identify", "build", known, here, "--only", "subject=000"]) == 0
    capsys.readouterr()
    for words, sentence in (
        (["build", away, here], "end its name in .npz"),
        (["build", known, here, "--only", "who=000"], "names no column"),
        (["build", known, here, "--only", "number=many"], "many is no number"),
        (["build", known, here, "--only", "subject=x"], "has no walk that is subject=x"),
        (["calibrate", known, here, "--fpir", "0.001"], "needs 1000 searches"),
        (["calibrate", known, here, "--fpir", "0.1", "--only", "subject=000"], "everybody in"),
        (["search", known, here, "--out", "x.csv", "--top", "0"], "give 1 or more"),
        (["search", away, here, "--out", "x.csv"], "does not exist"),
    ):
        assert run(["identify", *words]) == 2
        assert sentence in capsys.readouterr().err
