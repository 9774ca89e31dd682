"""OMG-Emotion: utterances cut from YouTube videos, one label each.

Format: `omg_TrainVideos.csv`, `omg_ValidationVideos.csv`, `omg_TestVideos_WithLabels.csv` with the columns
    `link, start, end, video, utterance, arousal, valence, EmotionMaxVote`. The set has no pictures: its
    scripts download the videos and cut them. This reads frames saved as images, in
    `{Train,Validation,Test}_Set/VIDEO/UTTERANCE/*.jpg` (also without the set's folder, or under `frames`;
    UTTERANCE is `utterance` of the CSV without its suffix). Each frame gets its utterance's label.
Labels: valence from -1 to 1; arousal from 0 (calm) to 1 (excited), stretched to [-1, 1] by 2 a - 1. These
    ranges are remembered, not verified: compare with the organisers' page.
Identity: not given. `subject` is the video, a stand-in (`subject_kind` "video"): a speaker may have several.
Splits: official `train`, `val` and `test`.
Licence: annotations for research; the videos belong to their authors on YouTube, and many are gone.
Official loader: none in a kept library.
Citation: P. Barros et al. The OMG-Emotion behavior dataset. IJCNN 2018.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from idfer.data.images import SUFFIXES
from idfer.data.readers import disk
from idfer.data.readers.table import read_table
from idfer.data.readers.tally import ABSENT, OUTSIDE, Options, Tally, keep_valid, not_there, number_columns
from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

FILES = {
    "omg_TrainVideos.csv": ("train", "Train_Set"),
    "omg_ValidationVideos.csv": ("val", "Validation_Set"),
    "omg_TestVideos_WithLabels.csv": ("test", "Test_Set"),
}
COLUMNS = ("video", "utterance", "arousal", "valence")
NO_FRAMES = "utterance has no frames saved as images"


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per saved frame of OMG-Emotion under `root`; see the module for the format.

    Raises:
        IdferError: no list of utterances is here, or one lacks a column.
    """
    import pandas as pd

    lists = [root / name for name in FILES if (root / name).is_file()]
    if not lists:
        raise not_there(root, list(FILES), "OMG-Emotion")
    for name in FILES.keys() - {file.name for file in lists}:
        tally.add(ABSENT, 1, name)
    inside = disk.Inside(root, options.follow_links)
    parts = []
    for file in lists:
        split, folder = FILES[file.name]
        table = read_table(file)
        if missing := [name for name in COLUMNS if name not in table.columns]:
            raise IdferError(
                f"{file}: column {missing[0]!r} is missing; it should have {', '.join(COLUMNS)}."
            )
        video, utterance = (table[name].fillna("").astype(str) for name in ("video", "utterance"))
        table = number_columns(table.assign(path=video + "/" + utterance, split=split))
        table["arousal"] = 2 * table["arousal"] - 1
        table = keep_valid(table, tally)
        bases = [f"{options.images}/{folder}", options.images] if options.images else [
            folder, f"frames/{folder}", "frames", "",
        ]  # fmt: skip
        parts.append(_frames(table, bases, inside, tally))
    table = pd.concat(parts, ignore_index=True)
    return table if len(table) else pd.DataFrame({"path": []})


def _frames(table: pd.DataFrame, bases: list[str], inside: disk.Inside, tally: Tally) -> pd.DataFrame:
    """One row per image of each utterance."""
    import pandas as pd

    folders, names, repeats = [], [], []
    for path in table["path"]:
        stem = PurePosixPath(path).with_suffix("").as_posix()
        images: list[str] = []
        for base in bases:
            folder = f"{base}/{stem}" if base else stem
            files = inside.files(folder)
            if files is None:
                tally.add(OUTSIDE, 1, folder)
                break
            away = [name for name, state in files.items() if state == disk.OUTSIDE]
            tally.add(OUTSIDE, len(away), f"{folder}/{away[0]}" if away else "")
            images = sorted(
                name
                for name, state in files.items()
                if state == disk.PRESENT and name[0] != "." and PurePosixPath(name).suffix.lower() in SUFFIXES
            )
            if images:
                break
        if not images:
            tally.add(NO_FRAMES, 1, path)
        folders += [folder] * len(images)
        names += images
        repeats.append(len(images))
    rows = np.repeat(np.arange(len(table)), repeats)
    chosen = table.iloc[rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "path": [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)],
            "valence": chosen["valence"],
            "arousal": chosen["arousal"],
            "split": chosen["split"],
            "subject": chosen["video"].astype(str),
            "subject_kind": "video",
            "utterance": chosen["utterance"].astype(str),
        }
    )
