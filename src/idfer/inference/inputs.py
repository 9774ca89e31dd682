"""From what a user names (files, folders) to the list of images to predict on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from idfer.data.images import SUFFIXES
from idfer.errors import IdferError, UsageError

_VIDEO = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"])


def image_files(inputs: Iterable[str | Path]) -> list[Path]:
    """List the image files, in the order given; a folder stands for its images at any depth, sorted by path.

    Hidden files and folders inside a folder (names that begin with a dot) are left out. A file named directly
    is kept whatever its name, and even if it is missing: reading it tells what is wrong with it.

    Raises:
        UsageError: no input at all, or a video.
        IdferError: a folder holds no image that can be listed.
    """
    found: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found.extend(_inside(path))
        elif path.suffix.lower() in _VIDEO:
            raise UsageError(
                f"{path}: video comes in a later version; for now save its frames as images, e.g. "
                f"`ffmpeg -i {path.name} frames/%06d.png`, and give that folder."
            )
        else:
            found.append(path)
    if not found:
        raise UsageError("nothing to predict on; name one or more image files or folders.")
    return found


def _inside(folder: Path) -> list[Path]:
    images = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not images:
        raise IdferError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))}); give another folder.")
    return images
