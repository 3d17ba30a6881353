import numpy as np
import pytest

from gaitbench.synthetic import Camera, project
from gaitbench.synthetic.render import Solids, exact_flow, in_camera, trace

CAMERA = Camera(90, distance=4, height=1, focal=60, image=(64, 48))


def solids(place: list, axes: list | None = None, **shape: list) -> Solids:
    """K solids that keep their axes in T frames; places (T, K, 3)."""
    where = np.array(place, dtype=float)
    turned = np.broadcast_to(np.eye(3) if axes is None else np.array(axes), (*where.shape, 3))
    return Solids(where, turned, np.array(shape["radius"]), np.array(shape["length"], dtype=float))


def ball(*places: tuple[float, float, float], radius: float = 0.3) -> Solids:
    """One ball, but for a millimetre, a place a frame."""
    return solids([[p] for p in places], radius=[[radius, radius]], length=[1e-3])


def outside(things: Solids, points: np.ndarray, fine: int = 201) -> np.ndarray:
    """How far points (N, 3) are from the surface of one solid's balls, in its own coordinates.

    The hull of two balls is all balls whose middle and radius lie between theirs.
    """
    axes, share = things.axes[0, 0], np.linspace(0, 1, fine)
    own = (points - things.place[0, 0]) @ np.linalg.inv(axes)
    middles = share[:, None] * np.array([0, 0, things.length[0]])
    radii = things.radius[0, 0] * (1 - share) + things.radius[0, 1] * share
    return (np.linalg.norm(own[:, None] - middles, axis=-1) - radii).min(axis=1)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(6))
def test_rays_meet_the_surface_where_they_first_enter_it(seed: int, kind: type) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes = rng.uniform(0.6, 1.6, (3, 1)) * turn  # stretched along its own axes
    radius = rng.uniform(0.1, 0.4, 2)
    length = abs(radius[0] - radius[1]) + rng.uniform(0.05, 0.8)
    thing = solids([[(0, 0, 1)]], [[axes]], radius=[radius], length=[length])
    seen = in_camera(thing, CAMERA)
    hits = trace(Solids(*(array.astype(kind) for array in seen)), CAMERA)
    assert hits.local.dtype == kind
    points = hits.local @ seen.axes[0, 0] + seen.place[0, 0]
    exact = 1e-6 if kind is np.float64 else 1e-4
    assert np.abs(outside(seen, points[::5], 2001)).max() < exact
    x, y = CAMERA.focal * points[:, :2].T / points[:, 2]
    assert np.abs(x + 32 - hits.column - 0.5).max() < 100 * exact
    assert np.abs(24 - y - hits.row - 0.5).max() < 100 * exact
    # in front of the hits, and along all other rays, there is nothing
    column, row = np.meshgrid(np.arange(64), np.arange(48))
    depth = np.full((48, 64), 6.0)
    depth[hits.row, hits.column] = points[:, 2] - 1e-3
    rays = np.stack([(column - 31.5) / 60, (23.5 - row) / 60, np.ones_like(row)], axis=-1)
    for share in np.linspace(0.5, 1, 12):
        before = (share * depth)[..., None] * rays
        assert outside(seen, before[::3, ::4].reshape(-1, 3)).min() > -1e-3
    # normals are of length 1, point outwards and to the camera
    assert np.linalg.norm(hits.normal, axis=-1) == pytest.approx(1)
    assert outside(seen, (points + 1e-2 * hits.normal)[::5]).min() > 0
    assert (np.einsum("ni,ni->n", hits.normal, points) < 1e-3).all()


def test_the_nearer_solid_is_seen_in_the_pixel_that_project_names() -> None:
    things = solids(
        [[(0.2, 0, 1), (0.2, 1, 1), (-0.9, 0, 1.2)]], radius=[[0.3, 0.3]] * 3, length=[0.1] * 3
    )
    hits = trace(in_camera(things, CAMERA), CAMERA)
    place, _ = project(things.place[0], CAMERA)
    for solid, (x, y) in enumerate(place):
        at = (hits.row == int(y)) & (hits.column == int(x))
        assert hits.solid[at].tolist() == [1 if solid == 0 else solid]
    pairs = list(zip(hits.frame, hits.row, hits.column, strict=True))
    assert pairs == sorted(set(pairs))


def test_what_leaves_the_image_is_left_out() -> None:
    wide = trace(in_camera(ball((0, 0, 1), radius=3), CAMERA), CAMERA)
    assert len(wide.row) == 64 * 48
    aside = trace(in_camera(ball((-9, 0, 1), (9, 0, 1)), CAMERA), CAMERA)
    assert len(aside.row) == 0


def test_finer_pixels_see_the_same() -> None:
    seen = in_camera(ball((0, 0, 1)), CAMERA)
    coarse, fine = trace(seen, CAMERA), trace(seen, CAMERA, 3)
    middles = (fine.row % 3 == 1) & (fine.column % 3 == 1)
    assert np.array_equal(fine.row[middles] // 3, coarse.row)
    assert np.allclose(fine.local[middles], coarse.local)


def test_flow_of_a_shift_is_its_projection() -> None:
    step = np.array([0.05, -0.2, 0.03])
    seen = in_camera(ball((0, 0, 1), tuple(np.array([0, 0, 1]) + step)), CAMERA)
    hits = trace(seen._replace(place=seen.place[:1], axes=seen.axes[:1]), CAMERA)
    flow = exact_flow(seen, CAMERA)
    points = CAMERA.position + (hits.local @ seen.axes[0, 0] + seen.place[0, 0]) @ CAMERA.axes
    here, _ = project(points, CAMERA)
    there, _ = project(points + step, CAMERA)
    assert np.allclose(flow.displacement[0, hits.row, hits.column], there - here, atol=1e-5)
    assert np.array_equal(np.argwhere(flow.solid[0]), np.stack([hits.row, hits.column], axis=1))
    assert not flow.displacement[0][~flow.solid[0]].any()


def test_hidden_turned_away_and_lost_points_are_occluded() -> None:
    # the first ball stays; the second comes before it and leaves the image
    places = [[(0, 0, 1), (-1.6, 1, 1)], [(0, 0, 1), (0, 1, 1)], [(0, 0, 1), (2.4, 1, 1)]]
    both = in_camera(solids(places, radius=[[0.3, 0.3]] * 2, length=[1e-3] * 2), CAMERA)
    flow = exact_flow(both, CAMERA)
    assert flow.occluded[0, 24, 32] and flow.solid[0, 24, 32]  # hidden
    assert flow.occluded[1][flow.solid[1]].all()  # of the second, which is lost
    only = exact_flow(in_camera(ball((0, 0, 1), (0, 0, 1)), CAMERA), CAMERA)
    assert only.solid.any() and not only.occluded.any()
    shifted = exact_flow(in_camera(ball((0, 0, 1), (0.4, 0, 1)), CAMERA), CAMERA)
    covered = shifted.occluded[0] & ~shifted.solid[0]
    assert covered.any() and not (shifted.occluded[0] & shifted.solid[0])[20:28].all()
    # a ball that is turned by a quarter about its upright axis shows another side
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    turning = ball((0, 0, 1), (0, 0, 1))._replace(axes=np.stack([np.eye(3), quarter])[:, None])
    flow = exact_flow(in_camera(turning, CAMERA), CAMERA)
    rows = flow.solid[0].sum(axis=1) > 5
    hidden = (flow.occluded & flow.solid)[0][rows].sum() / flow.solid[0][rows].sum()
    assert 0.4 < hidden < 0.6
