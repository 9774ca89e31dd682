"""Which of a set's files are on the disk and under its root: folders are listed once, no file is opened."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

PRESENT, MISSING, OUTSIDE = 0, 1, 2


def tidy(paths: pd.Series, root: Path) -> pd.Series:
    """Paths with forward slashes and without `.` and `..`; absolute ones under `root` become relative.

    They may name `root` as it was given or, where that is a link, as what it leads to. What leaves `root`
    still begins with `..` or `/` afterwards, and `look` says so.
    """
    odd = paths.str.contains(r"\\|//|^/|^[A-Za-z]:|(?:^|/)\.\.?(?:/|$)", regex=True).to_numpy(bool)
    if not odd.any():
        return paths
    bases = _names(root)
    tidied = paths.copy()
    tidied[odd] = [_tidied(path, bases) for path in paths[odd]]
    return tidied


def _names(root: Path) -> list[str]:
    """The absolute paths of a folder: as it was given, and without links."""
    return [Path(os.path.abspath(root)).as_posix(), root.resolve().as_posix()]  # noqa: PTH100


def _tidied(path: str, bases: list[str]) -> str:
    path = posixpath.normpath(path.replace("\\", "/"))
    base = next((base for base in bases if path.startswith(f"{base.rstrip('/')}/")), None)
    return path if base is None else path[len(base.rstrip("/")) + 1 :]


def below(root: Path, path: Path) -> str | None:
    """A path relative to `root`, with forward slashes; None where neither it nor its target is in it."""
    for name in map(PurePosixPath, _names(path)):
        for base in _names(root):
            if name.is_relative_to(base):
                return name.relative_to(base).as_posix()
    return None


def look(root: Path, paths: pd.Series, follow_links: bool = False) -> NDArray[np.int8]:
    """(N,) PRESENT, MISSING or OUTSIDE (of `root`: through `..`, an absolute path or a link) per path."""
    import pandas as pd

    values = paths.tolist()
    cut = [path.rpartition("/") for path in values]
    codes, folders = pd.factorize(np.array([part[0] for part in cut], object))
    names = [part[2] for part in cut]
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(folders)), side="right")
    state = np.full(len(values), MISSING, np.int8)
    start = 0
    inside = Inside(root, follow_links)
    for folder, end in zip(folders, ends, strict=True):
        rows = order[start:end]
        known = inside.files(folder)
        if known is None:
            state[rows] = OUTSIDE
        else:
            state[rows] = [known.get(names[row], MISSING) for row in rows.tolist()]
        start = end
    return state


class Inside:
    """Lists folders under a root, and tells what a link has put there from elsewhere."""

    def __init__(self, root: Path, follow_links: bool = False):
        self.root = self._root = root
        self._listed: dict[str, dict[str, int] | None] = {}
        self._real = os.path.realpath(root)
        self._follow = follow_links

    def files(self, folder: str) -> dict[str, int] | None:
        """PRESENT, MISSING or OUTSIDE by name of what a folder holds; None where it is not under the root."""
        if folder.startswith(("/", "..")) or folder[1:2] == ":":
            return None
        path = self._root / folder
        if not self.holds(path):
            return None
        try:
            with os.scandir(path) as entries:
                return {entry.name: self._state(entry) for entry in entries}
        except OSError:  # not there, or no folder
            return {}

    def listed(self, folder: str) -> dict[str, int] | None:
        """As `files`, remembered: for folders that are asked for again and again."""
        if folder not in self._listed:
            self._listed[folder] = self.files(folder)
        return self._listed[folder]

    def holds(self, path: str | Path) -> bool:
        """Whether a path is under the root once its links are followed, or links may leave it."""
        real = os.path.realpath(path)
        return self._follow or real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)

    def _state(self, entry: os.DirEntry[str]) -> int:
        try:
            if entry.is_symlink():
                if not self.holds(entry.path):
                    return OUTSIDE
                return PRESENT if Path(entry.path).is_file() else MISSING
            return PRESENT if entry.is_file() else MISSING
        except OSError:
            return MISSING


def text_lines(file: Path) -> list[str]:
    """Lines of a text file without their ends, of Unix, Windows or old Mac; bad bytes become marks.

    Raises:
        IdferError: the file cannot be read.
    """
    try:
        if not file.is_file():  # a pipe would wait forever
            raise IdferError(f"{file}: is not a file.")
        text = file.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise IdferError(
            f"{file}: cannot be read ({error.strerror or error}); check its permissions and the disk."
        ) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def label_lines(lines: list[str], width: int) -> NDArray[np.float64]:
    """(n, width) numbers, one line of `width` numbers with commas between each; NaN where it is none.

    A line stays a row whatever it holds, since its number is the frame's.
    """
    parts = [line.split(",") for line in lines]
    try:
        values = np.array(parts, np.float64)
        if values.shape == (len(lines), width):
            return values
    except ValueError:
        pass
    values = np.full((len(lines), width), np.nan)
    for row, part in enumerate(parts):
        if len(part) == width:
            try:
                values[row] = [float(value) for value in part]
            except ValueError:
                continue
    return values
