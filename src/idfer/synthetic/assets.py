"""`idfer assets`: the files of the mesh engine, from a checkout of an open face model.

idfer ships no face model. MakeHuman's assets are in the public domain (CC0); ICT FaceKit is under the MIT
licence, whose notice the file carries and whoever passes it on must keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Made:
    """An asset file that was written."""

    path: Path
    vertices: int
    licence: str

    def __str__(self) -> str:
        return f"{self.path}: a head of {self.vertices:,} vertices. Licence: {self.licence}."


def assets_makehuman(checkout: str | Path, out: str | Path, progress: bool = True) -> Made:
    """Make the file of MakeHuman's head (CC0) for `idfer synth --engine mesh`.

    Args:
        checkout: a clone of https://github.com/makehumancommunity/makehuman
        out: file to write, ending in .npz.
        progress: show a progress bar.

    Returns:
        What was written.

    Raises:
        UsageError: the folder is no checkout of MakeHuman, or the file has another ending.
        IdferError: a file of the checkout is missing or cut short, or the file cannot be written.
    """
    from idfer.synthetic.mesh import makehuman

    target = _target(out)
    return _write(
        makehuman.arrays(checkout, progress), "makehuman", makehuman.LICENCE, makehuman.WHERE, target
    )


def assets_ict(checkout: str | Path, out: str | Path, progress: bool = True) -> Made:
    """Make the file of ICT FaceKit's head (MIT) for `idfer synth --engine mesh`.

    Args:
        checkout: a clone of https://github.com/ICT-VGL/ICT-FaceKit
        out: file to write, ending in .npz.
        progress: show a progress bar.

    Returns:
        What was written.

    Raises:
        UsageError: the folder is no checkout of ICT FaceKit, or the file has another ending.
        IdferError: a file of the checkout is missing or cut short, or the file cannot be written.
    """
    from idfer.synthetic.mesh import ict

    target = _target(out)
    found = ict.arrays(checkout, progress)
    return _write(found, "ict", ict.LICENCE, ict.WHERE, target, ict.notice(checkout))


def _target(out: str | Path) -> Path:
    from idfer.files import check_target

    target = Path(out)
    if target.suffix != ".npz":
        raise UsageError(f"{target} must end in .npz, as `idfer synth --assets` reads it.")
    check_target(target)
    return target


def _write(
    arrays: dict[str, np.ndarray], kind: str, licence: str, source: str, target: Path, notice: str = ""
) -> Made:
    import numpy as np

    from idfer.files import atomic
    from idfer.synthetic.mesh import asset

    about: dict[str, str | int] = {
        "format": asset.FORMAT,
        "version": asset.VERSION,
        "kind": kind,
        "licence": licence,
        "source": source,
        "notice": notice,
    }
    with atomic(target) as temporary, temporary.open("wb") as stream:
        contents: dict[str, Any] = arrays | {name: np.array(value) for name, value in about.items()}
        np.savez_compressed(stream, **contents)
    return Made(target, len(arrays["neutral"]), licence)
