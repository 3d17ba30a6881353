import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from PIL import Image

from gaitbench.draw import (
    LEFT,
    MIDDLE,
    RIGHT,
    animate_poses,
    draw_poses,
    learning_curve,
    save_figure,
    view_heat_map,
)
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton


def poses(frames: int, skeleton: Skeleton = COCO17, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = rng.uniform(20, 120, (1, skeleton.num_joints, 3)) + rng.normal(
        0, 3, (frames, skeleton.num_joints, 3)
    )
    pose[..., 0] += 2 * np.arange(frames)[:, None]
    pose[..., 2] = 0.9
    return pose


@pytest.mark.parametrize("follow", [False, True])
def test_gif_has_every_frame_at_its_pace(tmp_path: Path, follow: bool) -> None:
    path = tmp_path / "new" / "walk.gif"
    pair = [poses(7), poses(5, seed=1)]
    assert animate_poses(pair, COCO17, path, ["a", "b"], fps=25, follow=follow) == path
    assert os.listdir(path.parent) == ["walk.gif"]
    with Image.open(path) as image:
        assert image.n_frames == 7
        assert image.info["duration"] == 40
        assert image.info["loop"] == 0
        for frame in range(7):
            image.seek(frame)
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
            assert (pixels[0] == 255).all()  # paper stays white
            for color in (LEFT, RIGHT):
                rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
                assert (pixels == rgb).all(axis=1).sum() > 50


def test_sticks_have_sides_and_leave_out_what_was_not_seen() -> None:
    pose = poses(4)
    pose[2, COCO17.joints.index("left_wrist"), 2] = 0.01
    figure = draw_poses(pose, COCO17, [0, 2], columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["frame 0", "frame 2"]
    limbs = [
        next(c for c in axes.collections if isinstance(c, LineCollection)) for axes in figure.axes
    ]
    arm = COCO17.edges.index((7, 9))
    first, second = (limb.get_segments() for limb in limbs)
    assert np.isfinite(first[arm]).all()
    assert len(second[arm]) == 1  # only the elbow is left of the forearm
    np.testing.assert_allclose(first[arm][:, 1], pose[0, [7, 9], 1])  # y as given
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low > high  # y down
        assert axes.get_aspect() == 1
    colors = [tuple(np.round(c[:3] * 255).astype(int)) for c in limbs[0].get_colors()]
    for edge, expected in (((7, 9), LEFT), ((14, 16), RIGHT), ((5, 6), MIDDLE), ((0, 1), LEFT)):
        rgb = tuple(int(expected[k : k + 2], 16) for k in (1, 3, 5))
        assert colors[COCO17.edges.index(edge)] == rgb


def test_other_skeletons_and_empty_detections_are_drawn(tmp_path: Path) -> None:
    pose = poses(3, OPENPOSE18)
    pose[1] = 0  # nothing found
    for follow in (False, True):
        path = animate_poses([pose], OPENPOSE18, tmp_path / "a.gif", follow=follow)
        with Image.open(path) as image:
            assert image.n_frames == 3
    animate_poses([np.zeros((2, 18, 3))], OPENPOSE18, tmp_path / "none.gif", follow=True)


def test_poses_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected poses \(T, 17, 3\) of coco17, found \(3, 18"):
        animate_poses([poses(3, OPENPOSE18)], COCO17, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="found 1 for 2"):
        animate_poses([poses(3), poses(3)], COCO17, tmp_path / "a.gif", ["one"])
    with pytest.raises(ValueError, match="found 1 for 2"):
        draw_poses(poses(3), COCO17, [0, 1], ["one"])
    assert not os.listdir(tmp_path)


def view_table() -> pd.DataFrame:
    rows = [
        (probe_set, float(g), float(p), "rank1", 0.01 * (g + p) / 5 + bonus, 10)
        for probe_set, bonus in (("NM", 0.1), ("CL", 0.0))
        for g in (0, 90, 180)
        for p in (0, 90)
        if g != p
    ]
    rows.append(("NM", None, None, "rank1", 0.99, 60))  # pooled
    rows.append(("NM", 0.0, 90.0, "map", 0.77, 10))
    columns = ["probe_set", "gallery_view", "probe_view", "metric", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


def test_heat_map_has_a_panel_a_probe_set_and_a_number_a_cell() -> None:
    figure = view_heat_map(view_table(), "Title")
    assert isinstance(figure.canvas, FigureCanvasAgg)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["NM: mean 41.5 %", "CL: mean 31.5 %"]
    image = panels[1].images[0].get_array()
    assert image is not None
    expected = np.array([[np.nan, 18], [18, np.nan], [36, 54]])
    np.testing.assert_allclose(np.ma.filled(image, np.nan), expected)
    assert image.mask.tolist() == [[True, False], [False, True], [False, False]]
    texts = {tuple(map(float, t.get_position())): t.get_text() for t in panels[0].texts}
    assert texts == {(1, 0): "28", (0, 1): "28", (0, 2): "46", (1, 2): "64"}
    assert [t.get_text() for t in panels[0].get_yticklabels()] == ["0", "90", "180"]
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["0", "90"]
    assert figure.get_suptitle() == "Title"


def test_heat_map_of_another_metric_and_of_none() -> None:
    figure = view_heat_map(view_table(), metric="map")
    assert [axes.get_title() for axes in figure.axes if axes.images] == ["NM: mean 77.0 %"]
    with pytest.raises(ValueError, match="no 'eer' of a pair of views"):
        view_heat_map(view_table(), metric="eer")


def test_heat_map_takes_views_as_nullable_integers() -> None:
    table = view_table().astype({"gallery_view": "Int64", "probe_view": "Int64"})
    assert len([axes for axes in view_heat_map(table).axes if axes.images]) == 2


def test_learning_curve_draws_what_it_is_given() -> None:
    steps, loss = np.arange(50), np.geomspace(4, 0.1, 50)
    figure = learning_curve(
        {
            "loss": {"train": (steps, loss)},
            "rank-1 (%)": {"NM": ([0, 49], [5, 80]), "CL": ([0], [2])},
        },
        title="Run",
        log_scale=["loss"],
    )
    above, below = figure.axes
    assert above.get_ylabel() == "loss"
    assert above.get_yscale() == "log"
    np.testing.assert_array_equal(above.lines[0].get_ydata(), loss)
    assert below.get_ylabel() == "rank-1 (%)"
    assert below.get_xlabel() == "step"
    legend = below.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["NM", "CL"]
    assert above.get_legend() is None
    with pytest.raises(ValueError, match="at least one quantity"):
        learning_curve({})


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved_whole_or_not_at_all(tmp_path: Path, ending: str) -> None:
    figure = learning_curve({"loss": {"train": ([0, 1], [1, 0])}})
    path = tmp_path / "drawings" / f"curve.{ending}"
    assert save_figure(figure, path) == path
    assert os.listdir(path.parent) == [path.name]
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError):
        save_figure(figure, tmp_path / "drawings" / "curve.xyz")
    assert os.listdir(path.parent) == [path.name]


def test_pyplot_is_never_imported() -> None:
    code = "import sys, gaitbench.draw; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
