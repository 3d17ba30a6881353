from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gaitbench.synthetic import Camera, Subject, walk
from gaitbench.synthetic.figures import Build, Outfit, figure
from gaitbench.synthetic.films import (
    Film,
    Room,
    empty,
    film,
    write_flow,
    write_silhouettes,
    write_video,
)

CAMERA = Camera(90)
PERSON = Subject.draw(3)


def recorded(noise: float = 0.0, seed: int = 0) -> tuple[Film, Room]:
    things = figure(walk(PERSON, "nm", 1)[30:36], PERSON.body.stature, Build.draw(0), OUTFIT)
    room = Room(CAMERA, 5)
    return film(things, CAMERA, room, np.random.default_rng(seed), noise=noise, flow=True), room


OUTFIT = Outfit.draw(4)


@pytest.fixture(scope="module")
def clean() -> tuple[Film, Room]:
    return recorded()


def test_the_figure_stands_before_the_room(clean: tuple[Film, Room]) -> None:
    shown, room = clean
    assert shown.frames.shape == (6, 240, 320, 3) and shown.frames.dtype == np.uint8
    assert (shown.silhouettes.sum(axis=(1, 2)) > 1500).all()
    away = np.abs(shown.frames.astype(int) - room.picture).max(axis=-1)
    near = np.abs(np.diff(shown.silhouettes, axis=2, prepend=False)) | shown.silhouettes
    wall = np.arange(240) < 140  # above the floor, where shadows fall
    assert away[:, wall][~_grown(shown.silhouettes)[:, wall]].max() <= 1
    assert (away[near] > 15).mean() > 0.7
    # shadows darken the floor, and only by the feet
    darker = room.picture.mean(axis=-1) - shown.frames.astype(float).mean(axis=-1)
    shadow = (darker > 3) & ~_grown(shown.silhouettes)
    assert 50 < shadow[0].sum() < 3000
    assert not shadow[:, wall].any()


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask (T, H, W), a pixel wider on all sides."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    shifts = [padded[:, i : i + 240, j : j + 320] for i in range(3) for j in range(3)]
    return np.logical_or.reduce(shifts)


def test_the_same_surface_looks_the_same_where_the_flow_leads(clean: tuple[Film, Room]) -> None:
    shown, _ = clean
    assert shown.flow is not None
    flow, gray = shown.flow, shown.frames.astype(float).mean(axis=-1)
    agree = (flow.solid == shown.silhouettes[:-1]).mean()
    assert agree > 0.995
    for frame in range(5):
        inside = flow.solid[frame] & ~flow.occluded[frame]
        row, column = np.nonzero(inside)
        x, y = (np.stack([column, row]) + flow.displacement[frame, row, column].T).clip(0)
        i, j = y.astype(int).clip(0, 238), x.astype(int).clip(0, 318)
        a, b = y - i, x - j
        ahead = gray[frame + 1]
        there = (1 - a) * ((1 - b) * ahead[i, j] + b * ahead[i, j + 1])
        there += a * ((1 - b) * ahead[i + 1, j] + b * ahead[i + 1, j + 1])
        here = gray[frame, row, column]
        followed, stayed = np.abs(there - here), np.abs(ahead[row, column] - here)
        assert np.median(followed) < 3 < 0.6 * np.median(stayed)


def test_flow_is_told_only_if_asked_for(clean: tuple[Film, Room]) -> None:
    things = figure(walk(PERSON, "nm", 1)[30:36], PERSON.body.stature, Build.draw(0), OUTFIT)
    shown = film(things, CAMERA, clean[1], np.random.default_rng(0), noise=0)
    assert shown.flow is None
    assert np.array_equal(shown.frames, clean[0].frames)


def test_noise_is_as_strong_as_said() -> None:
    room = Room(CAMERA, 5)
    frames = empty(room, 8, np.random.default_rng(1), noise=3.0)
    assert frames.std(axis=0)[60:100].mean() == pytest.approx(3, rel=0.12)
    noisy, _ = recorded(noise=2.0)
    again, _ = recorded(noise=2.0)
    other, _ = recorded(noise=2.0, seed=1)
    assert np.array_equal(noisy.frames, again.frames)
    assert not np.array_equal(noisy.frames, other.frames)


def test_rooms_differ_and_may_show_no_floor() -> None:
    assert not np.array_equal(Room(CAMERA, 1).picture, Room(CAMERA, 2).picture)
    flat = Room(Camera(0, height=30.0), 1)
    assert np.array_equal(flat.shaded(np.zeros((2, 2))), flat.picture)


def test_videos_are_decoded_as_they_were(tmp_path: Path, clean: tuple[Film, Room]) -> None:
    frames = clean[0].frames
    for name in ("a.avi", "b.avi"):
        write_video(tmp_path / name, iter(frames), 25, 1_500_000)
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()
    with av.open(tmp_path / "a.avi") as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 25
        found = np.stack([image.to_ndarray(format="rgb24") for image in container.decode(stream)])
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 4


def test_silhouettes_and_flow_are_read_as_they_were(
    tmp_path: Path, clean: tuple[Film, Room]
) -> None:
    shown, _ = clean
    write_silhouettes(tmp_path / "deep" / "er", "a-", shown.silhouettes)
    paths = sorted((tmp_path / "deep" / "er").iterdir())
    assert [path.name for path in paths] == [f"a-{number:03d}.png" for number in range(1, 7)]
    found = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert np.array_equal(found, shown.silhouettes * np.uint8(255))
    assert shown.flow is not None
    write_flow(tmp_path / "flow.npz", shown.flow)
    with np.load(tmp_path / "flow.npz", allow_pickle=False) as arrays:
        assert all(np.array_equal(arrays[name], of) for name, of in shown.flow._asdict().items())
