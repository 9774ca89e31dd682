"""Files of a user's checkout of an open face model, read with one clear line for what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idfer.errors import IdferError, UsageError


@dataclass(frozen=True)
class Wavefront:
    """A mesh as an OBJ file gives it: vertices (V, 3), and per group the faces' vertices."""

    vertices: np.ndarray
    groups: dict[str, list[list[int]]]


def folder(checkout: str | Path, wanted: Sequence[str], what: str, where: str) -> Path:
    """The folder of the data in a checkout.

    Args:
        checkout: what the user names: the repository or a folder within it.
        wanted: places of the data, relative to it, nearest first.
        what: the model's name.
        where: address of its repository, for who has none.

    Raises:
        UsageError: the folder does not exist, or holds no such data.
    """
    root = Path(checkout)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give a checkout of {what}: `git clone {where}`.")
    for place in wanted:
        if (root / place).is_dir():
            return root / place
    raise UsageError(
        f"{root} holds no {wanted[0]}, so it is no checkout of {what}; `git clone {where}` makes one."
    )


def lines(path: Path) -> list[str]:
    """The lines of a text file of a checkout.

    Raises:
        IdferError: it is missing, is a pointer of Git LFS, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise IdferError(f"{path} {reason}; check the repository out again, whole.") from error
    if text.startswith("version https://git-lfs"):
        raise IdferError(f"{path} is a pointer of Git LFS, not the file; run `git lfs pull` in the checkout.")
    return text.splitlines()


def wavefront(path: Path) -> Wavefront:
    """An OBJ file; polygons keep their corners, numbers are from 0."""
    found = lines(path)
    groups: dict[str, list[list[int]]] = {}
    faces = groups.setdefault("", [])
    try:
        for line in found:
            if line.startswith("g "):
                faces = groups.setdefault(line[2:].strip(), [])
            elif line.startswith("f "):
                faces.append([int(corner.partition("/")[0]) - 1 for corner in line[2:].split()])
    except ValueError as error:
        raise IdferError(f"{path} is no OBJ file: {error}; check the repository out again.") from error
    return Wavefront(_vertices(found, path), groups)


def vertices(path: Path, count: int) -> np.ndarray:
    """The vertices (V, 3) of an OBJ file that must have so many."""
    found = _vertices(lines(path), path)
    if len(found) != count:
        raise IdferError(
            f"{path} has {len(found):,} vertices, not {count:,}: it was cut short or is of another version; "
            "check the repository out again."
        )
    return found


def _vertices(found: list[str], path: Path) -> np.ndarray:
    try:
        numbers = np.array(" ".join(line[2:] for line in found if line.startswith("v ")).split(), np.float64)
        return numbers.reshape(-1, 3).astype(np.float32)
    except ValueError as error:
        raise IdferError(f"{path} is no OBJ file: {error}; check the repository out again.") from error


def target(path: Path, count: int) -> np.ndarray:
    """Offsets (count, 3) of a MakeHuman target file: lines `vertex dx dy dz`."""
    rows = [line for line in lines(path) if line and not line.startswith("#")]
    offsets = np.zeros((count, 3), np.float32)
    try:
        numbers = np.array(" ".join(rows).split(), np.float64).reshape(-1, 4)
        offsets[numbers[:, 0].astype(int)] = numbers[:, 1:]
    except (ValueError, IndexError) as error:
        raise IdferError(
            f"{path} is no target of the base mesh: {error}; check the repository out again."
        ) from error
    return offsets


def triangles(faces: list[list[int]]) -> np.ndarray:
    """Polygons as fans of triangles (F, 3)."""
    fans = [(face[0], face[k], face[k + 1]) for face in faces for k in range(1, len(face) - 1)]
    return np.array(fans, np.int64).reshape(-1, 3)
