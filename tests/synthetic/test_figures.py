from dataclasses import replace

import numpy as np
import pytest

from gaitbench.synthetic import JOINTS, Camera, Subject, project, walk
from gaitbench.synthetic.figures import Build, Outfit, figure
from gaitbench.synthetic.render import in_camera, trace

CAMERA = Camera(90)
PERSON = Subject.draw(3)
MIDDLE = slice(35, 38)


def silhouette(outfit: Outfit, view: float = 90, build: Build | None = None) -> np.ndarray:
    """(3, H, W)."""
    joints = walk(PERSON, "nm", 1)[MIDDLE]
    things, _ = figure(joints, PERSON.body.stature, build or Build.draw(0), outfit)
    camera = replace(CAMERA, view=view)
    hits = trace(in_camera(things, camera), camera)
    seen = np.zeros((3, 240, 320), dtype=bool)
    seen[hits.frame, hits.row, hits.column] = True
    return seen


PLAIN = Outfit.draw(1)


@pytest.mark.parametrize("view", [0, 54, 90, 180])
def test_a_figure_covers_its_joints_and_little_else(view: int) -> None:
    seen = silhouette(PLAIN, view)
    joints = walk(PERSON, "nm", 1)[MIDDLE]
    edge = ("ear", "heel", "foot")  # which lie on the surface
    inner = [number for number, name in enumerate(JOINTS) if not name.endswith(edge)]
    pixels, _ = project(joints[:, inner], replace(CAMERA, view=view))
    for frame in range(3):
        x, y = pixels[frame].astype(int).T
        assert seen[frame, y, x].mean() > 0.95
        rows, columns = np.nonzero(seen[frame])
        assert np.abs([columns.min() - x.min(), columns.max() - x.max()]).max() < 25
        # from the soles to the top of the head it is as tall as the person
        tall = CAMERA.focal / CAMERA.distance * PERSON.body.stature
        if view == 90:
            assert rows.max() - rows.min() == pytest.approx(tall, rel=0.07)


def test_what_is_worn_and_carried_shows() -> None:
    plain = silhouette(PLAIN)
    area = plain.sum()
    assert silhouette(PLAIN.with_coat(1)).sum() > 1.1 * area
    overshoes = silhouette(replace(PLAIN, overshoes=True))
    assert (plain & ~overshoes).sum() < 5 and overshoes.sum() > area
    # a backpack is on the back; at 90 degrees people walk to the left
    added = silhouette(PLAIN.with_backpack(1)) & ~plain
    assert added.sum() > 100
    assert np.nonzero(added)[2].mean() > np.nonzero(plain)[2].mean() + 5
    # from the front, somebody's left hand is to the right
    for side, sign in ((0, 1), (1, -1)):
        front = silhouette(PLAIN, 0)
        added = silhouette(PLAIN.with_bag(1, side), 0) & ~front
        assert sign * (np.nonzero(added)[2].mean() - np.nonzero(front)[2].mean()) > 5


def test_people_are_built_differently_and_depend_on_their_seed() -> None:
    builds = [Build.draw((1, number)) for number in range(200)]
    assert Build.draw((1, 7)) == builds[7]
    trunks = np.array([build.trunk for build in builds])
    assert 0.05 < trunks.std() < 0.12 and trunks.mean() == pytest.approx(1, abs=0.03)
    areas = [silhouette(PLAIN, 0, build).sum() for build in builds[:4]]
    assert len(set(areas)) == 4


def test_the_wardrobe_misleads() -> None:
    coats = [Outfit.draw(number).with_coat(number).coat for number in range(40)]
    tops = [Outfit.draw(number).top for number in range(40)]
    for colours in (np.array(coats), np.array(tops)):
        apart = np.linalg.norm(colours[:, None] - colours, axis=-1) + 999 * np.eye(40)
        assert (apart.min(axis=1) < 12).mean() > 0.8  # somebody else wears nearly the same


def test_cloth_follows_the_seam() -> None:
    joints = walk(PERSON, "nm", 1)[MIDDLE]
    bare = replace(PLAIN, bare=1.0, stripes=0.0)
    _, short = figure(joints, 1.7, Build.draw(0), bare)
    _, long = figure(joints, 1.7, Build.draw(0), replace(bare, bare=0.0))
    differing = np.flatnonzero((short.seam != long.seam).any(axis=1))
    assert len(differing) == 2  # the forearms
    local = np.repeat([[0, 0, 0.1]], 2, axis=0)
    distance = short.colours(differing, local) - np.array(Build.draw(0).skin)
    assert np.abs(distance).max() < 0.4 * 255
    assert np.abs(short.colours(differing, local) - long.colours(differing, local)).max() > 20
