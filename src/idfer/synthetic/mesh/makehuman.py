"""The head of MakeHuman (CC0) as an asset file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idfer.errors import IdferError
from idfer.progress import bar
from idfer.synthetic.mesh import checkout as files

WHERE = "https://github.com/makehumancommunity/makehuman"
LICENCE = "CC0-1.0; derived from the base mesh and targets of MakeHuman"
_PEOPLE = ("african", "asian", "caucasian")
_YEARS = ("child", "old", "young")
_SEXES = ("female", "male")
_AMOUNTS = ("average", "max", "min")
_DETAILS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
_PARTS = {
    "skin": ("body",), "eyes": ("helper-l-eye", "helper-r-eye"),
    "teeth": ("helper-upper-teeth", "helper-lower-teeth"), "tongue": ("helper-tongue",),
}  # fmt: skip
_FLOOR, _WIDTH = 5.75, 0.9  # of the head and neck within the base mesh, in its units (decimetres)


def arrays(checkout: str | Path, progress: bool = True) -> dict[str, np.ndarray]:
    """The arrays of an asset file, from a checkout.

    Raises:
        UsageError: no checkout of MakeHuman.
        IdferError: a file is missing, a Git LFS pointer or cut short.
    """
    data = files.folder(checkout, ("makehuman/data", "data"), "MakeHuman", WHERE)
    base = files.wavefront(data / "3dobjs" / "base.obj")
    count = len(base.vertices)
    kept, triangles, region = _cut(base, data / "3dobjs" / "base.obj")
    targets = data / "targets"
    macro = [f"{p}-{s}-{y}" for p in _PEOPLE for s in _SEXES for y in _YEARS]
    universal = [
        f"universal-{s}-{y}-{m}muscle-{w}weight"
        for s in _SEXES for y in _YEARS for m in _AMOUNTS for w in _AMOUNTS
        if (m, w) != ("average", "average")  # which changes nothing
    ]  # fmt: skip
    detail = _details(targets)
    units = _units(targets)
    total = len(macro) + len(universal) + len(detail) + len(_PEOPLE) * len(units)
    with bar("reading targets", total, progress) as advance:

        def read(paths: list[Path]) -> np.ndarray:
            offsets = sum(files.target(path, count)[kept] for path in paths)
            advance(1)
            return np.asarray(offsets, np.float16)

        macros = targets / "macrodetails"
        found: dict[str, np.ndarray] = {
            "macro": np.stack([read([macros / f"{name}.target"]) for name in macro]),
            "universal": np.stack([read([macros / f"{name}.target"]) for name in universal]),
            "detail": np.stack([read(paths) for paths in detail.values()]),
            "expr": np.stack(
                [
                    np.stack([read([targets / "expression" / "units" / p / f"{u}.target"]) for u in units])
                    for p in _PEOPLE
                ]
            ),
        }
    return found | {
        "neutral": base.vertices[kept],
        "tri": triangles.astype(np.uint32),
        "region": region,
        "region_names": np.array(list(_PARTS)),
        "src_index": kept.astype(np.uint32),
        "macro_names": np.array(macro),
        "universal_names": np.array(universal),
        "detail_names": np.array(list(detail)),
        "expr_eth": np.array(_PEOPLE),
        "expr_names": np.array(units),
    }


def _cut(base: files.Wavefront, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of the head and neck (V',), triangles among them, and the part of each."""
    inside = (base.vertices[:, 1] > _FLOOR) & (np.abs(base.vertices[:, 0]) < _WIDTH)
    part = np.full(len(base.vertices), 255, np.uint8)
    faces: list[list[int]] = []
    for number, groups in enumerate(_PARTS.values()):
        if missing := [name for name in groups if not base.groups.get(name)]:
            raise IdferError(f"{path} has no group {missing[0]!r}; check the repository out again.")
        for face in (face for name in groups for face in base.groups[name]):
            if inside[face].all():
                faces.append(face)
                part[face] = number
    triangles = files.triangles(faces)
    kept, renumbered = np.unique(triangles, return_inverse=True)
    return kept, renumbered.reshape(triangles.shape), part[kept]


def _details(targets: Path) -> dict[str, list[Path]]:
    """Name -> files of the details of the face; left and right are one."""
    found: dict[str, list[Path]] = {}
    for place in _DETAILS:
        paths = sorted((targets / place).glob("*.target"))
        if not paths:
            raise IdferError(f"{targets / place} holds no targets; check the repository out again, whole.")
        for path in paths:
            name = path.stem[2:] if path.stem.startswith(("l-", "r-")) else path.stem
            found.setdefault(f"{place}/{name}", []).append(path)
    return dict(sorted(found.items()))


def _units(targets: Path) -> list[str]:
    units = sorted(path.stem for path in (targets / "expression" / "units" / _PEOPLE[-1]).glob("*.target"))
    if not units:
        raise IdferError(
            f"{targets / 'expression' / 'units'} holds no targets; check the repository out again."
        )
    return units
