"""Bodies of rounded cones, seen by a camera: what each pixel shows, and where that moves.

A rounded cone is the hull of two balls. Each has a frame of its own, in which a point of its
surface keeps its coordinates while the body moves, whatever the frame does: turned, shortened or
stretched across its axis. So the motion seen in a pixel is known exactly, from the point of
surface seen there.

All of it is done for many pairs of ray and solid at once; the nearest hit of a ray is kept.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaitbench.synthetic.cameras import Camera

Real = NDArray[np.floating[Any]]
Indices = NDArray[np.integer[Any]]

HIDDEN = 0.002  # metres that something must be nearer to hide a point


class Solids(NamedTuple):
    """K rounded cones in T frames.

    In a solid's own coordinates, metres when it is not stretched, the balls' middles are the
    origin and (0, 0, length).

    Attributes:
        place: (T, K, 3), where each origin is.
        axes: (T, K, 3, 3), along which each own axis points and how long its unit is; the three
            stand at right angles.
        radius: (K, 2) of the two balls; they differ by less than the length.
        length: (K,), more than 0.
    """

    place: Real
    axes: Real
    radius: Real
    length: Real

    def points(self, which: Indices, local: Real) -> Real:
        """Where points (N, 3) of the solids ``which`` (N,), counted over frames and solids, are."""
        axes = self.axes.reshape(-1, 3, 3)[which]
        return np.asarray(self.place.reshape(-1, 3)[which] + np.einsum("ni,nij->nj", local, axes))


class Hits(NamedTuple):
    """The N pixels of all frames in which a solid is seen, frame by frame.

    Attributes:
        frame: (N,).
        row: (N,) of the pixel.
        column: (N,).
        solid: (N,), which is seen.
        local: (N, 3), where, in its own coordinates.
        normal: (N, 3) of the surface, in the camera's frame, of length 1.
    """

    frame: Indices
    row: Indices
    column: Indices
    solid: Indices
    local: Real
    normal: Real


class Flow(NamedTuple):
    """How the surface seen in the middle of each pixel moves until the next frame.

    What is behind the solids rests.

    Attributes:
        displacement: (T - 1, H, W, 2) float32, pixels to the right and down.
        occluded: (T - 1, H, W), whether the point is not seen in the next frame: something hides
            it, it has turned away or it has left the image.
        solid: (T - 1, H, W), whether a solid is seen.
    """

    displacement: NDArray[np.float32]
    occluded: NDArray[np.bool_]
    solid: NDArray[np.bool_]


def in_camera(solids: Solids, camera: Camera) -> Solids:
    """Solids in a camera's frame: x to the right, y up, z along its axis, from its pinhole."""
    turn = camera.axes
    return solids._replace(
        place=np.einsum("...i,ji->...j", solids.place - camera.position, turn),
        axes=np.einsum("...i,ji->...j", solids.axes, turn),
    )


def trace(solids: Solids, camera: Camera, scale: int = 1) -> Hits:
    """What is seen in the middle of each pixel.

    Args:
        solids: in the camera's frame, see :func:`in_camera`; all before the camera.
        camera: its image and focal length.
        scale: pixels are so many times as many along rows and columns.
    """
    frames, count = solids.place.shape[:2]
    low, high = _boxes(solids, camera, scale)
    columns = np.maximum(high[..., 0] - low[..., 0], 0).ravel()
    runs = columns * np.maximum(high[..., 1] - low[..., 1], 0).ravel()
    which = np.repeat(np.arange(frames * count, dtype=np.int32), runs)
    within = np.arange(len(which), dtype=np.int32) - np.repeat(
        np.cumsum(runs, dtype=np.int32) - runs, runs
    )
    row, column = np.divmod(within, columns[which])
    row += low[..., 1].ravel()[which]
    column += low[..., 0].ravel()[which]

    depth = _depths(solids, which, *_directions(solids, column, row, camera, scale))
    struck = np.flatnonzero(np.isfinite(depth))
    which, row, column, depth = which[struck], row[struck], column[struck], depth[struck]
    corner, (width, height) = low.min(axis=(0, 1)), np.ptp([low, high], axis=(0, 1, 2))
    pixel = (which // count * height + row - corner[1]) * width + column - corner[0]
    nearest = np.full(frames * height * width, np.inf, dtype=depth.dtype)
    np.minimum.at(nearest, pixel, depth)
    first = np.full(nearest.shape, -1, dtype=np.int32)
    of_nearest = np.flatnonzero(depth == nearest[pixel])
    first[pixel[of_nearest]] = of_nearest  # of two at the same depth, one
    kept = first[first >= 0]

    which, row, column, depth = which[kept], row[kept], column[kept], depth[kept]
    x, y = _directions(solids, column, row, camera, scale)
    local = _own(solids, which, depth[:, None] * np.stack([x, y, np.ones_like(x)], axis=-1))
    normal = _normals(solids, which, local)
    return Hits(which // count, row, column, which % count, local, normal)


def exact_flow(solids: Solids, camera: Camera) -> Flow:
    """How the surface moves, from a point's own coordinates, which it keeps.

    Args:
        solids: in the camera's frame, in double precision.
        camera: its image and focal length.
    """
    hits = trace(solids, camera)
    frames, count = solids.place.shape[:2]
    width, height = camera.image
    seen = np.zeros((frames, height, width), dtype=bool)
    seen[hits.frame, hits.row, hits.column] = True
    displacement = np.zeros((frames - 1, height, width, 2), dtype=np.float32)
    occluded = ~seen[:-1] & seen[1:]  # of the background
    for frame in range(frames - 1):
        of = slice(*np.searchsorted(hits.frame, (frame, frame + 1)))
        row, column, solid = hits.row[of], hits.column[of], hits.solid[of]
        moved = solids.points((frame + 1) * count + solid, hits.local[of])
        x, y = moved[:, 0] / moved[:, 2], moved[:, 1] / moved[:, 2]
        place = np.stack(
            [width / 2 + camera.focal * x - 0.5, height / 2 - camera.focal * y - 0.5], axis=-1
        )
        displacement[frame, row, column] = place - np.stack([column, row], axis=-1)
        everything = (frame + 1) * count + np.tile(np.arange(count), len(solid))
        depth = _depths(solids, everything, np.repeat(x, count), np.repeat(y, count))
        hidden = depth.reshape(-1, count).min(axis=1, initial=np.inf) < moved[:, 2] - HIDDEN
        outside = (place < -0.5) | (place >= np.array(camera.image) - 0.5)
        occluded[frame, row, column] = hidden | outside.any(axis=-1)
    return Flow(displacement, occluded, seen[:-1])


def _boxes(solids: Solids, camera: Camera, scale: int) -> tuple[Indices, Indices]:
    """First and last but one column and row (T, K, 2) of pixels that may show each solid."""
    ends = np.stack(
        [solids.place, solids.place + solids.axes[..., 2, :] * solids.length[:, None]], axis=-2
    )
    # an ellipsoid reaches as far in a direction as its semi-axes are long in it, squared and added
    reach = np.linalg.norm(solids.axes, axis=-2)[..., None, :] * solids.radius[..., None]
    near, far = ends[..., 2] - reach[..., 2], ends[..., 2] + reach[..., 2]

    def extreme(axis: int, sign: int) -> Real:
        edge = sign * ends[..., axis] + reach[..., axis]
        return np.asarray(sign * np.maximum(edge / near, edge / far).max(axis=-1))

    focal, (width, height) = camera.focal, camera.image
    left, right = (width / 2 + focal * extreme(0, sign) for sign in (-1, 1))
    top, bottom = (height / 2 - focal * extreme(1, sign) for sign in (1, -1))
    limit = scale * np.array(camera.image)
    low = np.floor(scale * np.stack([left, top], axis=-1))
    high = np.ceil(scale * np.stack([right, bottom], axis=-1))
    return np.clip(low, 0, limit).astype(np.int32), np.clip(high, 0, limit).astype(np.int32)


def _directions(
    solids: Solids, column: Indices, row: Indices, camera: Camera, scale: int
) -> tuple[Real, Real]:
    """Rays (x, y, 1) through the middles of pixels, as exact as the solids are."""
    width, height = camera.image
    step = 1 / (scale * camera.focal)
    kind = solids.place.dtype
    x = column.astype(kind) * kind.type(step) + kind.type(step / 2 - width / 2 / camera.focal)
    y = row.astype(kind) * kind.type(-step) + kind.type(height / 2 / camera.focal - step / 2)
    return x, y


def _inverse(solids: Solids) -> tuple[Real, Real]:
    """Matrices (T K, 3, 3) and offsets (T K, 3): own coordinates are M p - offset."""
    axes = solids.axes.reshape(-1, 3, 3)
    matrix = axes / np.square(axes).sum(axis=-1, keepdims=True)
    return matrix, np.einsum("nij,nj->ni", matrix, solids.place.reshape(-1, 3))


def _own(solids: Solids, which: Indices, points: Real) -> Real:
    """Points (N, 3) of the camera's frame in the solids' own coordinates."""
    matrix, offset = _inverse(solids)
    return np.asarray(np.einsum("nij,nj->ni", matrix[which], points) - offset[which])


def _depths(solids: Solids, which: Indices, x: Real, y: Real) -> Real:
    """How deep rays (x, y, 1) from the pinhole enter the solids ``which``; infinite if never.

    In own coordinates the side of a rounded cone is where c r = a - s z, with r the distance from
    the axis, a and b the radii, s = (a - b) / length and c = sqrt(1 - s^2). A point of the side
    has its nearest point of the axis' part between the balls at (z - a s) / c^2, 0 to the length.
    """
    matrix, offset = _inverse(solids)
    of = which % len(solids.length)
    start, end = solids.radius[of].T
    length = solids.length[of]
    slope = ((solids.radius[:, 0] - solids.radius[:, 1]) / solids.length)[of]
    cone = 1 - slope**2
    # along a ray, own coordinates are depth * ahead - offset; counted from the solid's own depth
    ahead = [x * m[:, 0][which] + y * m[:, 1][which] + m[:, 2][which]
             for m in np.moveaxis(matrix, 1, 0)]  # fmt: skip
    base = solids.place.reshape(-1, 3)[:, 2][which]
    origin = [base * a - o[which] for a, o in zip(ahead, offset.T, strict=True)]

    aa = ahead[0] ** 2 + ahead[1] ** 2
    oa = origin[0] * ahead[0] + origin[1] * ahead[1]
    oo = origin[0] ** 2 + origin[1] ** 2
    width = start - slope * origin[2]
    side = _entry(
        cone * aa - (slope * ahead[2]) ** 2, cone * oa + slope * ahead[2] * width,
        cone * oo - width**2,
    )  # fmt: skip
    along = (origin[2] + side * ahead[2] - start * slope) / cone
    side = np.where((along >= 0) & (along <= length), side, np.inf)

    aa = aa + ahead[2] ** 2
    oa = oa + origin[2] * ahead[2]
    oo = oo + origin[2] ** 2
    first = _entry(aa, oa, oo - start**2)
    second = _entry(aa, oa - length * ahead[2], oo + length * (length - 2 * origin[2]) - end**2)
    return np.asarray(base + np.fmin(np.fmin(side, first), np.fmin(second, np.inf)))


def _entry(a: Real, b: Real, c: Real) -> Real:
    """Where a t^2 + 2 b t + c becomes negative for the last time; not a number if nowhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((-b - np.sqrt(b * b - a * c)) / a)


def _normals(solids: Solids, which: Indices, local: Real) -> Real:
    """Of the surface at own coordinates (N, 3), in the camera's frame, of length 1."""
    of = which % len(solids.length)
    start, end = solids.radius[of].T
    slope = (start - end) / solids.length[of]
    along = np.clip((local[:, 2] - start * slope) / (1 - slope**2), 0, solids.length[of])
    outward = local.copy()
    outward[:, 2] -= along
    normal = np.einsum("ni,nij->nj", outward, _inverse(solids)[0][which])
    return np.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True))
