"""Drawings as `predict` makes them, and the numbers in their summary."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gaitbench import drawings
from gaitbench.activation import at_frames, find_steps, share_of_greatest
from gaitbench.drawings import ActivationDrawings, Seen, joined, look, matching, one_of_each
from gaitbench.errors import InputError
from gaitbench.methods import GaitGraph2
from gaitbench.skeleton import COCO17
from gaitbench.windows import Window
from tests.conftest import Bench

OVERLAY = f"--config={Path(__file__).parents[1] / 'configs' / 'draw.yaml'}"
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
        ActivationDrawings(**setting)


def test_method_that_cannot_say_where_it_looks_is_refused() -> None:
    trainer = SimpleNamespace(datamodule=SimpleNamespace(frame_kind="pose", dataset="casia_b"))
    ActivationDrawings(0).on_predict_start(trainer, torch.nn.Module())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Module on casia_b has nothing that is drawn upon poses"):
        ActivationDrawings(1).on_predict_start(trainer, torch.nn.Module())  # type: ignore[arg-type]


def test_mp4_without_its_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="needs the program ffmpeg"):
        ActivationDrawings(1, formats=["mp4"])
    assert ActivationDrawings(1).formats == ["gif", "png"]


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
    assert drawings.unique_names(TABLE)[0] == "075-nm-01-000"
    assert drawings.unique_names(TABLE)[-1] == "077-n_m-03-090"
    twice = pd.concat([TABLE, TABLE.iloc[:1].set_axis([30])])
    names = drawings.unique_names(twice)
    assert names[0] == "075-nm-01-000-row3"
    assert names[-1] == "075-nm-01-000-row30"
    assert len(set(names)) == 7


# ----------------------------------------------------------------------------------------- numbers


def test_figures_are_means_over_the_frames_that_are_real() -> None:
    """Against a loop over walks, frames and bins."""
    generator = torch.Generator().manual_seed(0)
    windows = Window(40, "center").draw(np.array([33, 70]), 0)
    turns = torch.from_numpy(windows) / 24.0
    frames = torch.rand(2, 40, 17, 3, generator=generator) + 0.1
    frames[:, :, 15, 0] = 50 + 20 * torch.cos(2 * torch.pi * turns)
    frames[:, :, 16, 0] = 50 - 20 * torch.cos(2 * torch.pi * turns)
    shown = torch.randn(2, 10, 17, generator=generator)
    seen = look(np.array([7, 3]), frames, {"a": shown}, windows, COCO17, [1])
    values = at_frames(share_of_greatest(shown), 40)
    for k, length in enumerate((33, 40)):
        start = next(
            s for s in range(40) if (np.diff(windows[k, s : s + length]) == 1).sum() == length - 1
        )
        own, pose = values[k, start : start + length], frames[k, start : start + length]
        phase = find_steps(pose[None], COCO17).phase[0]
        expected = [own[:, joint].mean() for joint in range(17)]
        for step in range(8):
            inside = [own[t].mean() for t in range(length) if int(phase[t] * 8) % 8 == step]
            expected.append(torch.stack(inside).mean())
        np.testing.assert_allclose(seen.figures["a"][k], expected, atol=1e-5)
    (walk,) = seen.walks
    assert walk.row == 3
    np.testing.assert_array_equal(walk.pose, frames[1])
    np.testing.assert_array_equal(walk.maps["a"], values[1])
    assert len(walk.keys) == drawings.KEY_FRAMES


def test_walks_that_two_processes_saw_count_once() -> None:
    def seen(rows: list[int]) -> Seen:
        figures = np.array([[row, np.nan if row == 2 else 1] for row in rows], np.float32)
        walks = [drawings.Walk(row, *[None] * 3) for row in rows if row % 2]  # type: ignore[arg-type]
        return Seen(np.array(rows), {"a": figures}, walks)

    whole = joined([seen([0, 1, 2]), seen([5, 3]), seen([0, 5])])
    assert whole.rows.tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(whole.figures["a"][:, 0], whole.rows)
    np.testing.assert_array_equal(whole.figures["a"][:, 1], [1, 1, np.nan, 1, 1])
    assert [walk.row for walk in whole.walks] == [1, 3, 5]


def test_a_person_counts_once_in_means_and_intervals() -> None:
    random = np.random.default_rng(0)
    people = np.array(["a"] * 5 + ["b"] + ["c"] * 2)
    values = random.random((8, 17 + drawings.PHASES)).astype(np.float32)
    values[5, 3] = np.nan  # b was never seen there
    values[:, 4] = np.nan
    table = drawings.summarise({"m": values}, people, COCO17)
    means = pd.DataFrame(values.astype(float)).groupby(people).mean()
    np.testing.assert_allclose(table["mean"], means.mean(), rtol=1e-5)
    half = 1.96 * means.std() / np.sqrt(means.count().where(means.count() > 0))
    np.testing.assert_allclose(table["high"] - table["mean"], half, rtol=1e-4)
    assert table["people"].tolist() == means.count().tolist()
    alone = drawings.summarise({"m": values[:5]}, people[:5], COCO17)
    assert alone["low"].isna().all()
    assert alone["mean"].notna().sum() == 24
