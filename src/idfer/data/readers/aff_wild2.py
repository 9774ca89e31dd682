"""Aff-Wild2, the valence-arousal track of ABAW: frames of videos, each an aligned crop.

Format: `VA_Estimation_Challenge/{Train_Set,Validation_Set}/VIDEO.txt` (`VA_Set` in older releases), a header
    `valence,arousal`, then a line a frame. Line i after the header, from 1, is
    `cropped_aligned/VIDEO/%05d.jpg` with number i. Both folders are found here or one folder down; further
    `cropped_aligned*` folders (a release comes in two archives) count too.
Labels: [-1, 1]; -5 marks frames without a label: dropped. A frame without a crop has no face that was found:
    dropped and counted as missing.
Identity: not given. `subject` is the video, a stand-in (`subject_kind` "video"); `_left` and `_right` are two
    people in one video and two subjects, with one `video`: to keep a scene in one fold, split by `video`.
Splits: official `train` and `val`; the labels of the test set are not public.
Overlap: it contains the videos of Aff-Wild under other names; `idfer check` finds crops that occur twice.
Licence: research only, by an agreement signed for the ABAW competition.
Official loader: none; toolboxes have configurations for their own training loops only.
Citation: D. Kollias, S. Zafeiriou. Aff-Wild2: extending the Aff-Wild database for affect recognition,
    arXiv:1811.07770; D. Kollias et al., the ABAW competitions (CVPR workshops).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.data.readers import disk
from idfer.data.readers.tally import (
    ABSENT,
    MISSING,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    OUTSIDE,
    Options,
    Tally,
    not_there,
)
from idfer.errors import IdferError
from idfer.progress import bar

if TYPE_CHECKING:
    import pandas as pd

ANNOTATIONS = ("VA_Estimation_Challenge", "VA_Set")
SETS = {"Train_Set": "train", "Validation_Set": "val"}
CROPS = "cropped_aligned"
INVALID = "frame has no label (-5)"
BROKEN = "annotation file cannot be read"
_PERSON = re.compile(r"_(left|right)$")


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per labelled crop of Aff-Wild2 under `root`; see the module for the format.

    Raises:
        IdferError: annotations or crops are not here, or the folder given for crops is not under `root`.
    """
    import pandas as pd

    places = [root, *sorted(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
    labelled = [place / name for place in places for name in ANNOTATIONS if (place / name).is_dir()]
    if not labelled:
        raise not_there(root, ["VA_Estimation_Challenge/Train_Set", "VA_Set/Train_Set"], "Aff-Wild2 (ABAW)")
    crops = _crops(root, places, options, tally)
    files = [
        (file, split)
        for name, split in SETS.items()
        for file in sorted(labelled[0].glob(f"{name}/*.txt"))
        if not file.name.startswith(".")  # what macOS puts beside files
    ]
    if not files:
        raise not_there(labelled[0], [f"{name}/*.txt" for name in SETS], "annotations of Aff-Wild2")
    for name, split in SETS.items():
        if split not in {found for _, found in files}:
            tally.add(ABSENT, 1, f"{labelled[0].name}/{name}")
    inside = disk.Inside(root, options.follow_links)
    parts = []
    with bar("reading Aff-Wild2", len(files), options.progress) as advance:
        for file, split in files:
            advance()
            if not inside.holds(file):
                tally.add(OUTSIDE, 1, str(file.relative_to(root)))
                continue
            try:
                lines = disk.text_lines(file)
            except IdferError:
                tally.add(BROKEN, 1, str(file.relative_to(root)))
                continue
            parts.append(_video(file.stem, split, lines, crops, inside, tally))
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"path": []})


def _crops(root: Path, places: list[Path], options: Options, tally: Tally) -> list[str]:
    """Folders of crops, relative to the root."""
    if options.images:
        folders = [root / options.images]
        if not folders[0].is_dir():
            raise not_there(root, [options.images], "the folder of crops")
        if disk.below(root, folders[0]) is None:
            raise IdferError(
                f"{folders[0]}: is not under {root}; give --images a folder of crops under ROOT, or a ROOT "
                "that holds both."
            )
    else:
        folders = [path for place in places for path in sorted(place.glob(f"{CROPS}*")) if path.is_dir()]
    if not folders:
        raise not_there(root, [f"{CROPS}/VIDEO/00001.jpg"], "the crops of Aff-Wild2")
    # archives hold the folder once more: cropped_aligned/cropped_aligned/VIDEO
    nested = [inner for outer in folders for inner in sorted(outer.glob(f"{CROPS}*")) if inner.is_dir()]
    return [name for path in dict.fromkeys([*folders, *nested]) if (name := disk.below(root, path))]


def _video(
    name: str, split: str, lines: list[str], crops: list[str], inside: disk.Inside, tally: Tally
) -> pd.DataFrame:
    """The frames of one video that have a valid label and a crop."""
    import pandas as pd

    headed = bool(lines) and not _is_numbers(lines[0])
    labels = disk.label_lines(lines[1:] if headed else lines, 2)
    number = np.arange(1, len(labels) + 1)
    state = (labels == -5).any(axis=1).astype(int)  # 0 good, then why not
    with np.errstate(invalid="ignore"):
        state[(state == 0) & np.isnan(labels).any(axis=1)] = 2
        state[(state == 0) & (np.abs(labels) > 1).any(axis=1)] = 3
    for code, reason in ((1, INVALID), (2, NOT_A_NUMBER), (3, OUT_OF_RANGE)):
        bad = np.flatnonzero(state == code)
        tally.add(reason, bad.size, f"{name}.txt, frame {bad[0] + 1}" if bad.size else "")
    good = state == 0
    folder, files = _folder(name, crops, inside)
    names = [f"{i:05d}.jpg" for i in number[good].tolist()]
    if files is None:
        tally.add(OUTSIDE, len(names), f"{folder}/{names[0]}" if names else "")
        files, names = {}, []
        good = np.zeros(len(good), bool)
    there = np.array([files.get(file, disk.MISSING) for file in names], int)
    for code, reason in ((disk.MISSING, MISSING), (disk.OUTSIDE, OUTSIDE)):
        bad = np.flatnonzero(there == code)
        tally.add(reason, bad.size, f"{folder}/{names[bad[0]]}" if bad.size else "")
    kept = labels[good][there == disk.PRESENT]
    paths = [f"{folder}/{file}" for file, state in zip(names, there.tolist(), strict=True) if not state]
    return pd.DataFrame(
        {
            "path": pd.Series(paths, dtype="str"),
            "valence": kept[:, 0].astype(np.float32),
            "arousal": kept[:, 1].astype(np.float32),
            "split": pd.Series([split], dtype="str").repeat(len(paths)).array,
            "subject": pd.Series([name], dtype="str").repeat(len(paths)).array,
            "video": pd.Series([_PERSON.sub("", name)], dtype="str").repeat(len(paths)).array,
            "subject_kind": pd.Series(["video"], dtype="str").repeat(len(paths)).array,
            "detector": pd.Series(["none"], dtype="str").repeat(len(paths)).array,
        }
    )


def _folder(name: str, crops: list[str], inside: disk.Inside) -> tuple[str, dict[str, int] | None]:
    """The folder of a video's crops and what it holds; the first where none is there."""
    for crop in crops:
        files = inside.files(f"{crop}/{name}")
        if files is None or files:
            return f"{crop}/{name}", files
    return f"{crops[0]}/{name}", {}


def _is_numbers(line: str) -> bool:
    return not np.isnan(disk.label_lines([line], 2)).any()
