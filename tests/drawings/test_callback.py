"""Drawings as `predict` makes them: which, and into which files."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gaitbench.drawings import Drawings
from gaitbench.drawings.callback import matching, one_of_each, unique_names
from gaitbench.errors import InputError
from gaitbench.methods import GaitGraph2
from gaitbench.skeleton import COCO17
from tests.conftest import Bench

OVERLAY = f"--config={Path(__file__).parents[2] / 'configs' / 'draw.yaml'}"
QUICK = ("--draw.formats=[png]", "--draw.workers=1", "--evaluation.bootstrap=0")

TABLE = pd.DataFrame(
    {
        "subject": ["075", "075", "076", "076", "076", "077"],
        "condition": ["nm", "nm", "nm", "bg", "cl", "n/m"],
        "number": [1, 5, 1, 1, 2, 3],
        "view": [0, 90, 0, 18, 180, 90],
    },
    index=[3, 4, 7, 8, 9, 20],
)


def summary(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "summary.csv", dtype={"name": str})


# ------------------------------------------------------------------------------ what a run leaves


def test_predict_draws_chosen_walks_and_sums_up_those_that_meet_the_query(
    bench: Bench, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "--draw.query=subject == '076' and view == 90 and condition in ['nm', 'cl']"
    found = bench(
        "predict", OVERLAY, f"--ckpt_path={checkpoint}", "--data.frames=100", query,
        "--draw.limit=3", "--draw.formats=[gif, png]", "--draw.workers=2",
    )  # fmt: skip
    names = ["076-cl-01-090", "076-nm-01-090", "076-nm-02-090"]
    files = [f"{name}.{ending}" for name in names for ending in ("gif", "png")]
    folder = found / "drawings"
    assert sorted(p.name for p in folder.iterdir()) == [*files, "summary.csv", "summary.png"]
    assert "3 walks drawn, 4 walks of 1 subject summed up" in capsys.readouterr().out
    # walks are shorter than the window: frames that padding made are not drawn
    table = pd.read_csv(found / "predictions" / "sequences.csv", dtype={"subject": str})
    for name in names:
        subject, condition, number, view = name.split("-")
        rows = table[(table["subject"] == subject) & (table["condition"] == condition)]
        row = rows[(rows["number"] == int(number)) & (rows["view"] == int(view))]
        with Image.open(folder / f"{name}.gif") as image:
            assert image.n_frames == int(row["frames"].iloc[0]) < 100
    numbers = summary(folder)
    assert list(numbers) == ["map", "kind", "name", "mean", "low", "high", "people"]
    assert numbers["map"].unique().tolist() == ["activation"]
    assert numbers["name"].tolist() == [*COCO17.joints, *(str(k / 8) for k in range(8))]
    assert numbers["mean"].between(0, 1).all()
    assert (numbers["people"] == 1).all()
    board = EventAccumulator(str(found), size_guidance={"images": 0}).Reload()
    assert {f"draw/{name}" for name in (*names, "summary")} <= set(board.Tags()["images"])


def test_numbers_are_those_of_the_plain_view_in_whatever_batches(
    bench: Bench, checkpoint: Path
) -> None:
    """With and without augmentation at test, batch by batch or in one."""
    found = [
        bench("predict", f"--ckpt_path={checkpoint}", "--draw.limit=1", *QUICK, *more)
        for more in (["--model.tta=true"], ["--model.tta=false", "--data.eval_batch_size=3"])
    ]
    one, other = (summary(run / "drawings") for run in found)
    assert (one["people"] == 2).all()
    assert (one["low"] <= one["mean"]).all() and (one["mean"] <= one["high"]).all()
    pd.testing.assert_frame_equal(one, other, atol=1e-4)


def test_windows_of_a_walk_are_averaged_and_one_of_them_is_drawn(
    bench: Bench, checkpoint: Path, tmp_path: Path
) -> None:
    found = tmp_path / "elsewhere"
    bench(
        "predict", f"--ckpt_path={checkpoint}", "--draw.limit=2", *QUICK, f"--draw.dir={found}",
        "--data.eval_windows=3", "--data.eval_shuffle=true",
    )  # fmt: skip
    assert len(list(found.glob("07?-*.png"))) == 2
    assert (summary(found)["people"] == 2).all()


def test_nothing_is_asked_for_and_nothing_is_done(
    bench: Bench, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(self: Any, frames: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(GaitGraph2, "explain", explain)
    assert not (bench("predict", f"--ckpt_path={checkpoint}") / "drawings").exists()


def test_mistakes_are_one_sentence(
    bench: Bench, checkpoint: Path, refused: Callable[[list[str]], str]
) -> None:
    """Of the query before anything is computed; of maps once they are known."""
    words = ["predict", f"--ckpt_path={checkpoint}", "--draw.limit=2"]
    complaint = refused(bench.words(*words, "--draw.query=view = 90"))
    assert "cannot be understood" in complaint
    complaint = refused(bench.words(*words, "--draw.maps=[ja]"))
    assert "'ja', but this network has activation" in complaint


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"limit": -1}, "draw.limit is -1"),
        ({"query": "view == 90"}, "draw.limit is 0"),
        ({"limit": 1, "fps": 0.0}, "draw.fps is 0"),
        ({"limit": 1, "workers": -1}, "draw.workers is -1"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Drawings(**setting)


def test_method_that_cannot_say_where_it_looks_is_refused() -> None:
    trainer = SimpleNamespace(datamodule=SimpleNamespace(frame_kind="pose", dataset="casia_b"))
    Drawings(0).on_predict_start(trainer, torch.nn.Module())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Module on casia_b has nothing that is drawn upon poses"):
        Drawings(1).on_predict_start(trainer, torch.nn.Module())  # type: ignore[arg-type]


def test_mp4_without_its_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="needs the program ffmpeg"):
        Drawings(1, formats=["mp4"])
    assert Drawings(1).formats == ["gif", "png"]


# ---------------------------------------------------------------------------------------- choosing


def test_query_sees_columns_and_nothing_else() -> None:
    assert matching(TABLE, "subject == '076' and view < 90").tolist() == [0, 0, 1, 1, 0, 0]
    for query in (
        "view == @np.pi",
        "",
        "view =",
        "viewpoint == 90",
        "subject < 75",
        "(",
        "view + 1",
    ):
        with pytest.raises(InputError, match=r"cannot be understood .* subject \('075'\)") as error:
            matching(TABLE, query)
        assert "\n" not in str(error.value)
    for query in ("subject == '001'", "subject == 75"):
        with pytest.raises(InputError, match=r"by none of the 6 .* subject \('075'\)"):
            matching(TABLE, query)


def test_everybody_has_a_turn_first() -> None:
    subject = pd.Series(["a"] * 50 + ["b"] * 3 + ["c"] * 10)
    order = one_of_each(subject)
    assert sorted(order) == list(range(63))
    assert set(subject[order[:3]]) == set(subject[order[3:6]]) == {"a", "b", "c"}
    assert set(subject[order[9:23]]) == {"a", "c"}
    assert order.tolist() == one_of_each(subject).tolist()
    assert order[:1] != [0]


def test_names_are_unique_and_fit_for_files() -> None:
    assert unique_names(TABLE)[0] == "075-nm-01-000"
    assert unique_names(TABLE)[-1] == "077-n_m-03-090"
    twice = pd.concat([TABLE, TABLE.iloc[:1].set_axis([30])])
    names = unique_names(twice)
    assert names[0] == "075-nm-01-000-row3"
    assert names[-1] == "075-nm-01-000-row30"
    assert len(set(names)) == 7
