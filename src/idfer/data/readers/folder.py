"""A folder of images in folders named by emotion: a class stands for a point of the valence-arousal plane.

Format: `ROOT/[SPLIT/]CLASS/*.jpg`, SPLIT train, val or test. Images without a class folder have no label, and
    a manifest needs one: read them with `idfer predict`, or list labels in a table (`idfer manifest table`).
Labels: no rating, but the anchor of the class in Russell & Mehrabian 1977, with neutral at 0, 0 [ours];
    `label_source` says so. Good for a look and for tests of the machinery, no evidence of accuracy. Contempt
    and any other name without an anchor are dropped and counted.
Identity: not known. Licence: the pictures' own.
Citation: J. A. Russell, A. Mehrabian. Evidence for a three-factor theory of emotions. J. Research in
    Personality 11, 1977.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from idfer.data.images import SUFFIXES
from idfer.data.readers import disk
from idfer.data.readers.tally import MISSING, OUTSIDE, SPLITS, Options, Tally, not_there, refuse_images
from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

ANCHORS = {
    "neutral": (0.0, 0.0),
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "anger": (-0.51, 0.59),
}
"""Valence and arousal of each class."""

_SAME = {
    "happiness": "happy", "joy": "happy", "sadness": "sad", "surprised": "surprise", "fearful": "fear",
    "disgusted": "disgust", "angry": "anger",
}  # fmt: skip
LABEL_SOURCE = "class anchor (Russell & Mehrabian 1977)"
NO_CLASS = "image is in no class folder"
LOOP = "link leads to a folder that holds it"


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per image in a class folder under `root`.

    Raises:
        UsageError: a folder of images was given.
        IdferError: no folder is named by an emotion.
    """
    import pandas as pd

    refuse_images(options, "a folder of classes", "in its class folders")
    if not root.is_dir():
        raise not_there(root, ["CLASS/*.jpg", "train/CLASS/*.jpg"], "a folder of class folders")
    inside = disk.Inside(root, options.follow_links)
    rows = []
    for folder, name in _images(root, inside, tally):
        parts = folder.split("/") if folder else []
        split = SPLITS.get(parts[0].lower(), "") if parts else ""
        classes = parts[1:] if split else parts
        emotion = classes[0].lower() if classes else ""
        anchor = ANCHORS.get(_SAME.get(emotion, emotion))
        path = _joined(folder, name)
        if anchor is None:
            tally.add(f"class {emotion!r} has no anchor" if emotion else NO_CLASS, 1, path)
        else:
            rows.append((path, split, emotion, *anchor))
    if not rows:
        raise IdferError(
            f"{root}: no image is in a folder named by an emotion ({', '.join(ANCHORS)}). Images without "
            "labels make no manifest: read them with `idfer predict`, or list labels in a table for `idfer "
            "manifest table`."
        )
    table = pd.DataFrame(rows, columns=["path", "split", "expression", "valence", "arousal"])
    return table.assign(label_source=LABEL_SOURCE)


def _images(root: Path, inside: disk.Inside, tally: Tally) -> Iterator[tuple[str, str]]:
    """Folder (relative to the root) and name of every image."""
    # folders to look into, each with those that hold it
    waiting: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while waiting:
        base, above = waiting.pop()
        for name, state in sorted((inside.files(base) or {}).items()):
            if name.startswith(".") or Path(name).suffix.lower() not in SUFFIXES:
                continue
            if state == disk.PRESENT:
                yield base, name
            elif not (root / base / name).is_dir():
                tally.add(OUTSIDE if state == disk.OUTSIDE else MISSING, 1, _joined(base, name))
        below = []
        for name in _folders(root / base):
            path = _joined(base, name)
            real = os.path.realpath(root / path)
            if not inside.holds(root / path):
                tally.add(OUTSIDE, 1, f"{path} (a link)")
            elif real in above:
                tally.add(LOOP, 1, f"{path} (a link)")
            else:
                below.append((path, (*above, real)))
        waiting += reversed(below)


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, and of links to folders, without those that are hidden."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and _is_folder(entry))
    except OSError:  # it may not be listed; `Inside.files` finds nothing in it either
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
