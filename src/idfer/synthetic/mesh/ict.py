"""The head of ICT FaceKit (MIT) as an asset file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idfer.errors import IdferError
from idfer.progress import bar
from idfer.synthetic.mesh import checkout as files
from idfer.synthetic.mesh.surfaces import pieces

WHERE = "https://github.com/ICT-VGL/ICT-FaceKit"
LICENCE = "MIT (c) 2020 USC Institute for Creative Technologies; derived from ICT FaceKit"
MODES = 100
# Part -> its vertices in the generic mesh, and the cell in which they are merged; the eyes' sockets, fluids
# and lashes are left out.
_PARTS: dict[str, tuple[int, int, float]] = {
    "face": (0, 9409, 0.0), "head": (9409, 11248, 0.0), "mouth": (11248, 13294, 0.9),
    "tongue": (14062, 17039, 0.8), "teeth": (17039, 21451, 0.35), "eyeL": (21451, 23021, 0.6),
    "eyeR": (23021, 24591, 0.6),
}  # fmt: skip
_VERTICES = 26719
_POINTS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268,
    493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200,
    6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
"""Vertices of the 68 points of Multi-PIE, as the model's README lists them."""


def arrays(checkout: str | Path, progress: bool = True) -> dict[str, np.ndarray]:
    """The arrays of an asset file, from a checkout.

    Raises:
        UsageError: no checkout of ICT FaceKit.
        IdferError: a file is missing, a Git LFS pointer, cut short or of another version.
    """
    data = _data(checkout)
    neutral = data / "generic_neutral_mesh.obj"
    mesh = files.wavefront(neutral)
    if len(mesh.vertices) != _VERTICES:
        raise IdferError(
            f"{neutral} has {len(mesh.vertices):,} vertices, not {_VERTICES:,}: it was cut short or is of "
            "another version; check the repository out again."
        )
    kept, triangles, region = _thinned(mesh)
    names = sorted(
        path.stem for path in data.glob("*.obj")
        if path != neutral and not path.stem.startswith("identity")
    )  # fmt: skip
    if not names:
        raise IdferError(f"{data} holds no expression shapes; check the repository out again, whole.")
    modes = [f"identity{k:03d}" for k in range(MODES)]
    with bar("reading shapes", len(names) + MODES, progress) as advance:

        def offsets(name: str) -> np.ndarray:
            read = files.vertices(data / f"{name}.obj", _VERTICES)[kept] - mesh.vertices[kept]
            advance(1)
            return np.asarray(read, np.float16)

        identity = np.stack([offsets(name) for name in modes])
        expression = np.stack([offsets(name) for name in names])
    return {
        "neutral": mesh.vertices[kept],
        "tri": triangles.astype(np.uint32),
        "region": region,
        "region_names": np.array(list(_PARTS)),
        "src_index": kept.astype(np.uint32),
        "identity": identity,
        "expr": expression,
        "expr_names": np.array(names),
        "landmarks68": mesh.vertices[list(_POINTS)],
    }


def notice(checkout: str | Path) -> str:
    """The licence's text in a checkout, which goes with every copy of its head; else `LICENCE`."""
    file = _data(checkout).resolve().parent / "LICENSE"
    return "\n".join(files.lines(file)) if file.is_file() else LICENCE


def _data(checkout: str | Path) -> Path:
    return files.folder(checkout, ("FaceXModel", "../FaceXModel"), "ICT FaceKit", WHERE)


def _thinned(mesh: files.Wavefront) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices that are kept (V',), triangles among them, and the part of each.

    What is hardly seen (teeth, tongue, eyes, the inside of the mouth) is thinned: the vertices of a cell
    become the one nearest to their mean, so that what is kept still moves as in the model.
    """
    faces = files.triangles([face for group in mesh.groups.values() for face in group])
    piece = pieces(faces, len(mesh.vertices))  # upper and lower teeth are not merged
    place = np.arange(len(mesh.vertices))
    part = np.full(len(mesh.vertices), 255, np.uint8)
    for number, (first, end, cell) in enumerate(_PARTS.values()):
        part[first:end] = number
        if cell:
            place[first:end] = first + _merged(mesh.vertices[first:end], piece[first:end], cell)
    faces = faces[(part[faces] < 255).all(1)]
    merged = place[faces]
    whole = (merged[:, 0] != merged[:, 1]) & (merged[:, 1] != merged[:, 2]) & (merged[:, 2] != merged[:, 0])
    kept, renumbered = np.unique(merged[whole], return_inverse=True)
    return kept, renumbered.reshape(-1, 3), part[kept]


def _merged(points: np.ndarray, piece: np.ndarray, cell: float) -> np.ndarray:
    """For each point the index of the one that stands for its cell and piece."""
    cells = np.concatenate([np.floor(points / cell).astype(int), piece[:, None]], 1)
    _, inverse = np.unique(cells, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    count = inverse.max() + 1
    size = np.bincount(inverse, minlength=count)
    mean = np.stack([np.bincount(inverse, points[:, k], count) / size for k in range(3)], -1)
    apart = np.linalg.norm(points - mean[inverse], axis=1)
    order = np.lexsort((apart, inverse))
    first = np.r_[True, np.diff(inverse[order]) > 0]
    stands: np.ndarray = order[first][inverse]
    return stands
