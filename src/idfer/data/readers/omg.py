"""OMG-Emotion: utterances cut from YouTube videos, one label each.

Format: `omg_TrainVideos.csv`, `omg_ValidationVideos.csv`, `omg_TestVideos_WithLabels.csv` with the columns
    `link, start, end, video, utterance, arousal, valence, EmotionMaxVote`. The set has no pictures: its
    scripts download the videos and cut them. Of each utterance the first of these that is there is read, in
    `{Train,Validation,Test}_Set` (also without the set's folder, or under `frames` or `videos`):
    `VIDEO/UTTERANCE/*.jpg`, frames saved as images (UTTERANCE is `utterance` of the CSV without its suffix);
    `VIDEO/UTTERANCE.mp4`, the utterance cut out; `VIDEO.mp4`, the whole video, of which it is the frames from
    `start` until before `end` (any suffix of videos). Each frame gets its utterance's label.
Labels: valence from -1 to 1; arousal from 0 (calm) to 1 (excited), stretched to [-1, 1] by 2 a - 1. These
    ranges are remembered, not verified: compare with the organisers' page. So is that `start` and `end` are
    seconds from the beginning of the video.
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

from idfer.data.columns import STILL, VIDEO
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
NO_FRAMES = "utterance has no frames, clip or video"
NO_TIMES = "utterance has no start and end in seconds"
UNREADABLE = "video cannot be read"


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per frame of OMG-Emotion under `root`; see the module for the format.

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
            folder, f"frames/{folder}", f"videos/{folder}", "frames", "videos", "",
        ]  # fmt: skip
        parts.append(_frames(table, bases, inside, tally))
    table = pd.concat(parts, ignore_index=True)
    return table if len(table) else pd.DataFrame({"path": []})


def _frames(table: pd.DataFrame, bases: list[str], inside: disk.Inside, tally: Tally) -> pd.DataFrame:
    """One row per frame of each utterance."""
    import pandas as pd

    paths: list[str] = []
    numbers: list[int] = []
    repeats = []
    times: dict[str, list[float]] = {}  # of whole videos
    spans = table.reindex(columns=["start", "end"]).apply(pd.to_numeric, errors="coerce").to_numpy(float)
    for path, (start, end) in zip(table["path"], spans.tolist(), strict=True):
        stem = PurePosixPath(path).with_suffix("").as_posix()
        images = _images(stem, bases, inside, tally)
        found: list[tuple[str, int]] = [(image, STILL) for image in images]
        if not images and (clip := _video(stem, bases, inside)):
            found = [(clip, number) for number, _ in enumerate(_times(clip, inside, tally))]
        elif not images and (whole := _video(PurePosixPath(stem).parent.as_posix(), bases, inside)):
            if not start < end:
                tally.add(NO_TIMES, 1, path)
            elif whole not in times:
                times[whole] = _times(whole, inside, tally)
            shown = enumerate(times.get(whole, []))
            found = [(whole, number) for number, time in shown if start <= time < end]
        elif not images:
            tally.add(NO_FRAMES, 1, path)
        paths += [file for file, _ in found]
        numbers += [number for _, number in found]
        repeats.append(len(found))
    rows = np.repeat(np.arange(len(table)), repeats)
    chosen = table.iloc[rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "path": pd.Series(paths, dtype="str"),
            "frame": np.array(numbers, np.int64),
            "valence": chosen["valence"],
            "arousal": chosen["arousal"],
            "split": chosen["split"],
            "subject": chosen["video"].astype(str),
            "subject_kind": "video",
            "utterance": chosen["utterance"].astype(str),
        }
    )


def _images(stem: str, bases: list[str], inside: disk.Inside, tally: Tally) -> list[str]:
    """Paths of the images of an utterance, in the first folder that holds any."""
    for base in bases:
        folder = f"{base}/{stem}" if base else stem
        files = inside.files(folder)
        if files is None:
            tally.add(OUTSIDE, 1, folder)
            return []
        away = [name for name, state in files.items() if state == disk.OUTSIDE]
        tally.add(OUTSIDE, len(away), f"{folder}/{away[0]}" if away else "")
        names = sorted(
            name
            for name, state in files.items()
            if state == disk.PRESENT and name[0] != "." and PurePosixPath(name).suffix.lower() in SUFFIXES
        )
        if names:
            return [f"{folder}/{name}" for name in names]
    return []


def _video(stem: str, bases: list[str], inside: disk.Inside) -> str:
    """Path of a video without its suffix, under the first base that holds it; "" where none does."""
    for base in bases:
        path = PurePosixPath(f"{base}/{stem}" if base else stem)
        for name, state in sorted((inside.listed(path.parent.as_posix()) or {}).items()):
            start, _, suffix = name.rpartition(".")
            if start == path.name and suffix.lower() in VIDEO and state == disk.PRESENT:
                return path.with_name(name).as_posix()
    return ""


def _times(path: str, inside: disk.Inside, tally: Tally) -> list[float]:
    """Seconds at which the frames of a video are shown; none where it cannot be read."""
    from idfer.data.frames import VideoFile, pyav

    pyav()  # without it nothing can be read: an error, and no count
    try:
        with VideoFile(inside.root / path) as video:
            return video.times()
    except IdferError:
        tally.add(UNREADABLE, 1, path)
        return []
