"""A parametric head as a file: read, checked, and brought into one form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idfer.errors import IdferError, UsageError
from idfer.synthetic.mesh import landmarks
from idfer.synthetic.mesh.arrays import MAKE, SETS, checked

FORMAT = "idfer-face"
VERSION = 1
KINDS = ("makehuman", "ict")


@dataclass(frozen=True)
class FaceAsset:
    """A head: its shape at rest and how it varies. Lengths are the model's own, x to its left, y up.

    Attributes:
        kind: "makehuman" or "ict".
        licence: of the data, as it must be passed on.
        digest: of the arrays, tells files apart.
        neutral: (V, 3) float32.
        triangles: (F, 3) int64.
        parts: (V,) index into `part_names`: skin, eyes, teeth, tongue, mouth.
        identity: (K, V, 3) float32 offsets; `identity_names` (K,).
        expression: (S, E, V, 3) float32 offsets, one set each for S `expression_sets`.
        expression_names: (E,).
        landmarks: (len(landmarks.NAMES),) vertices.
        points68: (68,) vertices of the points of Multi-PIE; (0,) where the model has none.
    """

    kind: str
    licence: str
    digest: str
    neutral: np.ndarray
    triangles: np.ndarray
    parts: np.ndarray
    identity: np.ndarray
    identity_names: tuple[str, ...]
    expression: np.ndarray
    expression_sets: tuple[str, ...]
    expression_names: tuple[str, ...]
    landmarks: np.ndarray
    points68: np.ndarray


PARTS = ("skin", "eyes", "teeth", "tongue", "mouth")
_PART_OF = {
    "skin": 0, "face": 0, "head": 0, "eyes": 1, "eyeL": 1, "eyeR": 1, "teeth": 2, "teethU": 2, "teethL": 2,
    "tongue": 3, "mouth": 4,
}  # fmt: skip


def read(path: str | Path) -> FaceAsset:
    """Read an asset file.

    Raises:
        UsageError: there is no such file.
        IdferError: it is no asset file, of another version, cut short, or does not hold together.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{file} does not exist; {MAKE}.")
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib, numpy: each has its own way to say "cut short"
        raise IdferError(f"{file} cannot be read, perhaps it was cut short ({error}); {MAKE}.") from error
    return _asset(arrays, file)


def _asset(arrays: Mapping[str, np.ndarray], file: Path) -> FaceAsset:
    kind = _kind(arrays, file)
    a: dict[str, Any] = checked(arrays, kind, file)
    identity, identity_names = _identity(kind, a)
    expression = a["expr"].astype(np.float32)
    sets = SETS if kind == "makehuman" else ("all",)
    if kind == "ict":
        expression = expression[None]
    known = [str(name) for name in a["region_names"]]
    if unknown := [name for name in known if name not in _PART_OF]:
        raise IdferError(f"{file}: region {unknown[0]!r} is unknown; {MAKE}.")
    parts = np.array([_PART_OF[name] for name in known])[a["region"].astype(np.int64)]
    sides = a["neutral"][parts == PARTS.index("eyes"), 0]
    if not ((sides > 0).any() and (sides < 0).any()):
        raise IdferError(f"{file}: region has no eye on each side; {MAKE}.")
    return FaceAsset(
        kind=kind,
        licence=str(arrays.get("licence", arrays.get("license", ""))),
        digest=_digest(a),
        neutral=a["neutral"].astype(np.float32),
        triangles=a["tri"].astype(np.int64),
        parts=parts,
        identity=identity,
        identity_names=identity_names,
        expression=expression,
        expression_sets=sets,
        expression_names=tuple(map(str, a["expr_names"])),
        landmarks=_landmarks(kind, a, file),
        points68=_points68(a) if kind == "ict" else np.zeros(0, np.int64),
    )


def _kind(arrays: Mapping[str, np.ndarray], file: Path) -> str:
    """Which model; a file of the same keys that states no format is version 1 too."""
    if "format" in arrays:
        if str(arrays["format"]) != FORMAT:
            raise IdferError(f"{file} is no asset file of faces; {MAKE}.")
        version = str(arrays.get("version", 0))
        if version != str(VERSION):
            raise IdferError(f"{file} is of version {version}, this idfer reads {VERSION}; {MAKE}.")
    kind = str(arrays["kind"]) if "kind" in arrays else "makehuman" if "macro" in arrays else "ict"
    if kind not in KINDS or "neutral" not in arrays:
        raise IdferError(f"{file} is no asset file of faces; {MAKE}.")
    return kind


def _identity(kind: str, a: Mapping[str, np.ndarray]) -> tuple[np.ndarray, tuple[str, ...]]:
    if kind == "ict":
        modes = a["identity"].astype(np.float32)
        return modes, tuple(f"mode{k:03d}" for k in range(len(modes)))
    stacked = np.concatenate([a[name] for name in ("macro", "universal", "detail")]).astype(np.float32)
    names = [str(n) for name in ("macro_names", "universal_names", "detail_names") for n in a[name]]
    return stacked, tuple(names)


def _landmarks(kind: str, a: Mapping[str, np.ndarray], file: Path) -> np.ndarray:
    """Vertices of the landmarks: by their numbers in MakeHuman's mesh, or the nearest to ICT's 68 points."""
    if kind == "ict":
        return _points68(a)[list(landmarks.MULTI_PIE)]
    place = {int(number): k for k, number in enumerate(a["src_index"])}
    if missing := [number for number in landmarks.MAKEHUMAN if number not in place]:
        raise IdferError(
            f"{file} lacks vertex {missing[0]} of the base mesh, a landmark of the face; {MAKE}."
        )
    return np.array([place[number] for number in landmarks.MAKEHUMAN])


def _points68(a: Mapping[str, np.ndarray]) -> np.ndarray:
    """The vertices nearest to ICT's 68 points: a thinned mesh may lack their own."""
    apart = np.linalg.norm(a["neutral"][None].astype(np.float32) - a["landmarks68"][:, None], axis=-1)
    nearest: np.ndarray = apart.argmin(1)
    return nearest


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of names and contents; independent of how the file was compressed."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
