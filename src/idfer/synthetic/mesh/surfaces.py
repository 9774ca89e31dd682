"""Simple surfaces: normals, balls, tubes, ribbons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Surface:
    """Points (V, 3), triangles (F, 3), unit normals (V, 3), and colours (V, 3) or None."""

    points: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray
    colours: np.ndarray | None = None


def normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) of vertices: their triangles' normals, by area."""
    corners = points[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [
            sum(np.bincount(triangles[:, k], faces[:, axis], len(points)) for k in range(3))
            for axis in range(3)
        ],
        -1,
    )
    return unit(total)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1; those of length 0 stay."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def part(triangles: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The triangles (F', 3) whose corners are all wanted (V,) bool, renumbered, and the vertices they use."""
    kept = triangles[wanted[triangles].all(1)]
    used, renumbered = np.unique(kept, return_inverse=True)
    return renumbered.reshape(kept.shape), used


def pieces(triangles: np.ndarray, count: int) -> np.ndarray:
    """(V,) number of the connected piece of each of `count` vertices."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([triangles[:, :2], triangles[:, 1:]])
    joined = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    piece: np.ndarray = connected_components(joined, directed=False)[1]
    return piece


def ball(tilt: np.ndarray, sectors: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Points (V, 3) and triangles of a unit ball, its pole at +z, with rings at these angles from it."""
    turn = 2 * np.pi * np.arange(sectors) / sectors
    points = np.stack(
        [
            np.outer(np.sin(tilt), np.cos(turn)),
            np.outer(np.sin(tilt), np.sin(turn)),
            np.outer(np.cos(tilt), np.ones(sectors)),
        ],
        -1,
    )
    return points.reshape(-1, 3).astype(np.float32), grid(len(tilt), sectors, closed=True)


def grid(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """Triangles of a rows x columns grid of points, row by row; closed joins the last column to the first."""
    row = np.arange(rows - 1)[:, None] * columns
    column = np.arange(columns if closed else columns - 1)[None]
    after = (column + 1) % columns
    a, b = row + column, row + after
    c, d = a + columns, b + columns
    return np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], -2).reshape(-1, 3)


def tube(path: np.ndarray, radius: float, closed: bool = False, sectors: int = 6) -> Surface:
    """A round tube along a path (N, 3)."""
    before, after = np.roll(path, 1, 0), np.roll(path, -1, 0)
    if not closed:
        before[0], after[-1] = path[0], path[-1]
    along = unit(after - before)
    up = unit(
        np.cross(along, np.cross(np.where(np.abs(along[:, 2:]) < 0.9, [0, 0, 1.0], [0, 1.0, 0]), along))
    )
    side = np.cross(along, up)
    turn = 2 * np.pi * np.arange(sectors) / sectors
    out = up[:, None] * np.cos(turn)[:, None] + side[:, None] * np.sin(turn)[:, None]
    points = path[:, None] + radius * out
    rows = len(path) + (1 if closed else 0)
    if closed:
        points, out = np.concatenate([points, points[:1]]), np.concatenate([out, out[:1]])
    return Surface(
        points.reshape(-1, 3).astype(np.float32), grid(rows, sectors, closed=True),
        out.reshape(-1, 3).astype(np.float32),
    )  # fmt: skip


def ribbons(
    strands: np.ndarray, width: np.ndarray, outward: np.ndarray, colours: np.ndarray, turn: np.ndarray
) -> Surface:
    """Flat strands of hair.

    Args:
        strands: (N, S, 3) points along each.
        width: (N, S) full width at each.
        outward: (N, S, 3) unit normals of what they lie on; they are lit as if part of it.
        colours: (N, 3) or (N, S, 3) linear.
        turn: (N,) angle about its own course by which each is turned.
    """
    n, s, _ = strands.shape
    along = np.empty_like(strands)
    along[:, 1:-1] = strands[:, 2:] - strands[:, :-2]
    along[:, 0], along[:, -1] = strands[:, 1] - strands[:, 0], strands[:, -1] - strands[:, -2]
    along = unit(along)
    across = unit(np.cross(along, outward))
    lifted = np.cross(across, along)
    cosine, sine = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    across, lifted = across * cosine + lifted * sine, lifted * cosine - across * sine
    half = 0.5 * width[..., None] * across
    points = np.stack([strands - half, strands + half], 2)
    # rounded across, so that each strand catches light on one side
    shaded = unit(outward * 0.8 + 0.2 * lifted)
    normal = np.stack([unit(shaded - 0.38 * across), unit(shaded + 0.38 * across)], 2)
    if colours.ndim == 2:
        colours = np.broadcast_to(colours[:, None], strands.shape)
    tinted = np.broadcast_to(colours[:, :, None], points.shape)
    one = grid(s, 2)
    triangles = (one[None] + (np.arange(n) * s * 2)[:, None, None]).reshape(-1, 3)
    return Surface(
        points.reshape(-1, 3).astype(np.float32), triangles, normal.reshape(-1, 3).astype(np.float32),
        np.ascontiguousarray(tinted, np.float32).reshape(-1, 3),
    )  # fmt: skip
