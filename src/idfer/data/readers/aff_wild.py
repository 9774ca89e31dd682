"""Aff-Wild: videos annotated frame by frame.

Format: `annotations/{train,test}/{valence,arousal}/NNN.txt`, a number a line, no header; line i, from
    0, is frame i of `videos/{train,test}/NNN.mp4` (any video suffix).
Boxes: `bboxes/{train,test}/NNN/K.pts` (or the folder `train` once more), a text of four corners `x y` between
    braces, in pixels of the frame, where a face was found. K counts frames from 1, as users' code reads it; a
    video whose files begin with 0.pts is taken to count from 0 (not verified on the set itself: look at a few
    crops). A frame without a box is left to the detector. `landmarks` (68 points) are not read.
Labels: [-1, 1]. A line without a number is no label: dropped, and the frames after it keep their numbers.
Rows: one per frame, `path` the video, `frame` its number. Consecutive frames are nearly the same picture:
    `idfer crop` once, then train on the crops.
Identity: not given. `subject` is the video, a stand-in (`subject_kind` "video").
Splits: official `train`; the labels of `test` were never public, and are read where somebody has them.
Overlap: Aff-Wild2 contains these videos under other names, and no list of which is which is known here; use
    one of the two. In a manifest of both, `idfer check` finds videos whose labels are the same (IDF211).
Licence: research only, by an agreement with the iBUG group.
Official loader: none in a kept library.
Citation: D. Kollias et al. Deep affect prediction in-the-wild: Aff-Wild database and challenge, deep
    architectures, and beyond. Int. J. Computer Vision 127, 2019.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.data.columns import BOX, VIDEO
from idfer.data.readers import disk
from idfer.data.readers.tally import MISSING, OUTSIDE, SPLITS, Options, Tally, keep_valid, not_there
from idfer.errors import IdferError
from idfer.progress import bar

if TYPE_CHECKING:
    import pandas as pd

NO_PARTNER = "file has valence or arousal alone"
UNEQUAL = "frame has valence or arousal alone"
BROKEN = "annotation file cannot be read"
NO_BOX = "box file cannot be read (a detector places that face)"


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per labelled frame of Aff-Wild under `root`; see the module for the format.

    Raises:
        IdferError: no annotations are here.
    """
    import pandas as pd

    sets = [name for name in ("train", "val", "test") if (root / "annotations" / name / "valence").is_dir()]
    if not sets:
        raise not_there(root, ["annotations/train/valence/NNN.txt"], "Aff-Wild")
    inside = disk.Inside(root, options.follow_links)
    parts = [pd.DataFrame({"path": []})]
    for name in sets:
        videos = _videos(f"{options.images or 'videos'}/{name}", inside, tally)
        folder = root / "annotations" / name
        valence = {file.stem: file for file in sorted((folder / "valence").glob("*.txt"))}
        arousal = {file.stem: file for file in sorted((folder / "arousal").glob("*.txt"))}
        alone = sorted(valence.keys() ^ arousal.keys())
        tally.add(NO_PARTNER, len(alone), f"{name}/{alone[0]}.txt" if alone else "")
        both = sorted(valence.keys() & arousal.keys())
        with bar(f"reading {name}", len(both), options.progress) as advance:
            for stem in both:
                made = _frames(stem, name, (valence[stem], arousal[stem]), videos, inside, tally)
                parts += [_boxed(part, _boxes(f"{name}/{stem}", inside, tally)) for part in made]
                advance()
    parts = [part for part in parts if len(part)] or parts[:1]
    table = pd.concat(parts, ignore_index=True)
    return keep_valid(table, tally) if len(table) else table


def _videos(folder: str, inside: disk.Inside, tally: Tally) -> dict[str, str]:
    """Path of each video by its name without suffix."""
    files = inside.files(folder)
    if files is None:
        tally.add(OUTSIDE, 1, folder)
    videos = {}
    for name, state in (files or {}).items():
        if name.rpartition(".")[2].lower() in VIDEO and state == disk.PRESENT:
            videos[name.rpartition(".")[0]] = f"{folder}/{name}"
        elif state == disk.OUTSIDE:
            tally.add(OUTSIDE, 1, f"{folder}/{name}")
    return videos


def _frames(
    stem: str, split: str, files: tuple[Path, Path], videos: dict[str, str], inside: disk.Inside, tally: Tally
) -> list[pd.DataFrame]:
    """The labelled frames of one video, or nothing where it is not there."""
    import pandas as pd

    if not all(inside.holds(file) for file in files):
        tally.add(OUTSIDE, 1, f"{split}/{stem}.txt")
        return []
    try:
        first, second = (disk.label_lines(disk.text_lines(file), 1)[:, 0] for file in files)
    except IdferError:
        tally.add(BROKEN, 1, f"{split}/{stem}.txt")
        return []
    count = min(len(first), len(second))
    tally.add(UNEQUAL, max(len(first), len(second)) - count, f"{split}/{stem}.txt")
    if stem not in videos:
        tally.add(MISSING, count, f"{stem}.mp4, frame 0")
        return []
    return [
        pd.DataFrame(
            {
                "path": pd.Series([videos[stem]], dtype="str").repeat(count).array,
                "frame": np.arange(count),
                "valence": first[:count],
                "arousal": second[:count],
                "split": pd.Series([SPLITS[split]], dtype="str").repeat(count).array,
                "subject": pd.Series([stem], dtype="str").repeat(count).array,
                "subject_kind": pd.Series(["video"], dtype="str").repeat(count).array,
            }
        )
    ]


def _boxed(table: pd.DataFrame, boxes: dict[int, tuple[float, ...]]) -> pd.DataFrame:
    """The frames of a video with their boxes, x, y, width and height; NaN where there is none."""
    absent = (np.nan,) * 4
    values = np.array([boxes.get(frame, absent) for frame in table["frame"].tolist()], float).reshape(-1, 4)
    return table.assign(**dict(zip(BOX, values.T, strict=True)))


def _boxes(name: str, inside: disk.Inside, tally: Tally) -> dict[int, tuple[float, ...]]:
    """Boxes of a video by frame, from 0."""
    split, _, stem = name.partition("/")
    folder = next(
        (f for f in (f"bboxes/{split}/{stem}", f"bboxes/{split}/{split}/{stem}") if inside.files(f)), ""
    )
    files = {
        int(file.removesuffix(".pts")): f"{folder}/{file}"
        for file, state in (inside.files(folder) or {}).items() if folder
        if file.endswith(".pts") and file[:-4].isdecimal() and state == disk.PRESENT
    }  # fmt: skip
    first = 0 if 0 in files else 1
    found = {}
    for number, path in sorted(files.items()):
        box = _corners(inside.root / path)
        if box is None:
            tally.add(NO_BOX, 1, path)
        else:
            found[number - first] = box
    return found


def _corners(file: Path) -> tuple[float, ...] | None:
    """x, y, width and height around the points of a .pts file; None where they are no box."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        inner = text[text.index("{") + 1 : text.index("}")]
        points = np.array([line.split() for line in inner.split("\n") if line.strip()], float)
    except (OSError, ValueError):
        return None
    if points.shape != (4, 2) or not np.isfinite(points).all():
        return None
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    return (*low.tolist(), *size.tolist()) if (size > 0).all() else None
