import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from PIL import Image

from gaitbench.draw import animate_maps, canvas, draw_maps, has_ffmpeg, map_summary, maps
from gaitbench.errors import InputError
from gaitbench.skeleton import COCO17, OPENPOSE18, Skeleton

both_layouts = pytest.mark.parametrize("layout", [COCO17, OPENPOSE18], ids=lambda s: s.name)
# what a joint of COCO looks like on a person who stands upright and faces the camera, y down
UPRIGHT = {
    "nose": (100, 20), "left_eye": (103, 17), "right_eye": (97, 17), "left_ear": (107, 19),
    "right_ear": (93, 19), "left_shoulder": (118, 40), "right_shoulder": (82, 40),
    "left_elbow": (124, 65), "right_elbow": (76, 65), "left_wrist": (127, 88),
    "right_wrist": (73, 88), "left_hip": (111, 92), "right_hip": (89, 92), "left_knee": (112, 130),
    "right_knee": (88, 130), "left_ankle": (112, 165), "right_ankle": (88, 165), "neck": (100, 40),
}  # fmt: skip


def upright(layout: Skeleton, frames: int = 5) -> np.ndarray:
    pose = np.ones((frames, layout.num_joints, 3))
    pose[..., :2] = [UPRIGHT[name] for name in layout.joints]
    pose[..., 0] += 4 * np.arange(frames)[:, None]
    return pose


def limbs_and_joints(figure: Figure, panel: int) -> tuple[LineCollection, PathCollection]:
    collections = figure.axes[panel].collections
    limbs = next(c for c in collections if isinstance(c, LineCollection))
    return limbs, next(c for c in collections if isinstance(c, PathCollection))


@both_layouts
def test_each_joint_has_its_own_value_at_its_own_place(layout: Skeleton) -> None:
    """Upright on paper, the walker in the middle, whatever order joints are drawn in."""
    pose = upright(layout)
    values = np.random.default_rng(0).permutation(5 * layout.num_joints).reshape(5, -1)
    values = values / values.max()
    figure = draw_maps(pose, {"a": values, "b": 1 - values}, layout, [0, 3], title="Title")
    assert figure.get_suptitle() == "Title"
    assert [axes.get_title() for axes in figure.axes[:4]] == ["frame 1", "frame 4", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes[:4]] == ["a", "", "b", ""]
    for panel, (frame, shown) in enumerate(
        [(0, values), (3, values), (0, 1 - values), (3, 1 - values)]
    ):
        limbs, joints = limbs_and_joints(figure, panel)
        places = np.asarray(joints.get_offsets())
        offset = places.mean(0) - pose[frame, :, :2].mean(0)
        found = joints.get_array()
        assert found is not None
        for joint, place in enumerate(pose[frame, :, :2] + offset):
            (k,) = np.flatnonzero(np.abs(places - place).max(1) < 1e-6)
            assert found[k] == pytest.approx(shown[frame, joint])
            assert joints.get_sizes()[k] == pytest.approx(
                maps.SMALL + maps.LARGE * shown[frame, joint]
            )
        assert np.all(np.diff(found) >= 0)  # the greatest in front
        down = figure.axes[panel].transData.transform(places)[:, 1]
        assert down.argmax() in np.flatnonzero(places[:, 1] == places[:, 1].min())
        for edge, segment in zip(layout.edges, limbs.get_segments(), strict=True):
            np.testing.assert_allclose(segment, pose[frame, edge, :2] + offset)
    middles = [np.asarray(limbs_and_joints(figure, k)[1].get_offsets()).mean(0) for k in (0, 1)]
    np.testing.assert_allclose(*middles)
    bar = figure.axes[-1]
    assert bar.get_ylim() == (0, 1)
    assert bar.get_ylabel()


def test_colours_of_values_darken_in_even_steps() -> None:
    """CIE lightness: what a reader sees who does not tell hues apart, and print without colour."""
    srgb = maps.VALUES(np.arange(maps.VALUES.N))[:, :3]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = -np.diff(lightness)
    assert steps.min() > 3 and steps.max() < 5.5


def test_sides_differ_in_more_than_colour() -> None:
    figure = draw_maps(upright(COCO17), {"a": np.zeros((5, 17))}, COCO17, [0])
    limbs, _ = limbs_and_joints(figure, 0)
    style = dict(zip(COCO17.edges, limbs.get_linestyles(), strict=True))
    assert style[7, 9] == style[13, 15] != style[8, 10] == style[14, 16]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["left side", "right side"]


def test_unseen_joints_are_left_out_with_their_limbs() -> None:
    pose = upright(COCO17)
    pose[0, 9] = (0, 0, 0.02)
    figure = draw_maps(pose, {"a": np.linspace(0, 1, 85).reshape(5, 17)}, COCO17, [0, 1])
    limbs, joints = limbs_and_joints(figure, 0)
    assert len(limbs.get_segments()[COCO17.edges.index((7, 9))]) == 1  # no line
    assert np.isnan(np.ma.filled(joints.get_offsets(), np.nan)[:, 0]).sum() == 1
    low, _ = figure.axes[0].get_xlim()
    assert low > 50  # the corner of the image is not in the box


@pytest.mark.parametrize("scale", [0.01, 1, 40])
def test_film_shows_every_frame_whole_whatever_the_image_size(tmp_path: Path, scale: float) -> None:
    pose = upright(COCO17, 6) * [scale, scale, 1]
    values = np.zeros((6, 17))
    values[:, 0] = 1
    path = tmp_path / "new" / "walk.gif"
    animate_maps(pose, {"a": values, "b": values}, COCO17, [path], "075, nm 05, 90°")
    assert os.listdir(path.parent) == ["walk.gif"]
    with Image.open(path) as image:
        assert image.n_frames == 6
        assert image.info["duration"] == 80
        assert image.info["loop"] == 0
        assert image.size[0] < 600
        for frame in range(6):
            image.seek(frame)
            pixels = np.asarray(image.convert("RGB")).astype(int)
            assert (pixels[0, 0] == 255).all()
            # one dark nose in each panel beside the dark end of the colour bar
            dark = (abs(pixels - [13, 8, 135]).sum(2) < 60).any(axis=0)
            assert (np.diff(dark.astype(int)) == 1).sum() == 3
            assert not dark[:5].any()
    assert path.stat().st_size < 100_000


def test_film_of_an_empty_detection_is_drawn(tmp_path: Path) -> None:
    for pose in (np.zeros((3, 17, 3)), np.concatenate([upright(COCO17, 2), np.zeros((1, 17, 3))])):
        animate_maps(pose, {"a": np.zeros((3, 17))}, COCO17, [tmp_path / "a.gif"])


def fake_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_mp4_gets_even_frames_of_raw_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is piped to ffmpeg: the fake one writes its words and its input down."""
    fake_ffmpeg(
        tmp_path / "bin",
        f'for last; do :; done\necho "$@" > {tmp_path}/words\ncat > "$last"',
        monkeypatch,
    )
    frames = [np.full((5, 7, 3), k, np.uint8) for k in (10, 20, 30)]
    path = canvas.write_mp4(tmp_path / "new" / "walk.mp4", frames, 12.5)
    pixels = np.frombuffer(path.read_bytes(), np.uint8).reshape(3, 6, 8, 3)
    np.testing.assert_array_equal(pixels[:, :5, :7], np.stack(frames))
    assert (pixels[:, 5] == 255).all() and (pixels[:, :, 7] == 255).all()
    words = (tmp_path / "words").read_text()
    for word in ("-s 8x6", "-r 12.5", "-pix_fmt yuv420p", "-f rawvideo"):
        assert word in words
    assert os.listdir(path.parent) == ["walk.mp4"]


@pytest.mark.skipif(not has_ffmpeg(), reason="ffmpeg is not installed")
def test_mp4_is_written(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    animate_maps(upright(COCO17), {"a": np.zeros((5, 17))}, COCO17, [path])
    assert b"ftyp" in path.read_bytes()[:12]


def test_ffmpeg_that_fails_or_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [np.zeros((4, 4, 3), np.uint8)]
    fake_ffmpeg(
        tmp_path / "bin", "cat > /dev/null; echo one >&2; echo no codec >&2; exit 1", monkeypatch
    )
    with pytest.raises(InputError, match=r"walk.mp4 cannot be written by ffmpeg \(no codec\)"):
        canvas.write_mp4(tmp_path / "walk.mp4", frames, 25)
    monkeypatch.setenv("PATH", "")
    assert not has_ffmpeg()
    with pytest.raises(InputError, match=r"walk.mp4 needs the program ffmpeg"):
        canvas.write_mp4(tmp_path / "walk.mp4", frames, 25)
    assert os.listdir(tmp_path) == ["bin"]


def test_maps_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    pose = upright(COCO17)
    with pytest.raises(ValueError, match=r"map 'a' of shape \(5, 17\), found \(4, 17\)"):
        animate_maps(pose, {"a": np.zeros((4, 17))}, COCO17, [tmp_path / "a.gif"])
    with pytest.raises(ValueError, match="at least one map"):
        draw_maps(pose, {}, COCO17, [0])
    with pytest.raises(ValueError, match="found 1 for 2"):
        draw_maps(pose, {"a": np.zeros((5, 17))}, COCO17, [0, 1], ["one"])
    assert not os.listdir(tmp_path)


def summary_table(layout: Skeleton, names: list[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        for k, joint in enumerate(layout.joints):
            rows.append((name, "joint", joint, k / 20, k / 20 - 0.01, k / 20 + 0.02))
        for k in range(8):
            rows.append((name, "phase", str(k / 8), 0.5, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["map", "kind", "name", "mean", "low", "high"])


def test_summary_has_a_bar_a_joint_and_a_bar_a_phase() -> None:
    figure = map_summary(summary_table(COCO17, ["a", "b"]), "Title")
    assert len(figure.axes) == 4
    joints, phases = figure.axes[2:]
    bars = joints.containers[0]
    assert [bar.get_height() for bar in bars] == pytest.approx([k / 20 for k in range(17)])
    labels = [text.get_text() for text in joints.get_xticklabels()]
    assert labels[:2] == ["nose", "left eye"]
    assert [bar.get_hatch() is not None for bar in bars] == ["right" in name for name in labels]
    assert [bar.get_x() + bar.get_width() / 2 for bar in phases.containers[0]] == pytest.approx(
        [(k + 0.5) / 8 for k in range(8)]
    )
    assert joints.get_ylabel().startswith("b")
    with pytest.raises(ValueError, match="at least one map"):
        map_summary(summary_table(COCO17, []))
