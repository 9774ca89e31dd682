"""AffectNet, the release of 2017 (CSV) and that of 2021 (a folder of .npy): `read` sees which it is.

Format of 2017: `training.csv`, `validation.csv` (here or in `Manually_Annotated_file_lists`) with the columns
    `subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks, expression, valence,
    arousal`; the header may be missing. Images under `Manually_Annotated_Images`. The automatically annotated
    half is not read: its labels are a network's. The format of 2021 is in `affectnet_2021`.
Labels: one trained rater, valence and arousal in [-1, 1]. -2 marks images without a face and those on which
    the rater was uncertain (classes 10 and 9): dropped. Class 8, none of the emotions, is kept.
Faces: the box of the CSV, in pixels of the image.
Identity: not known; each image counts as a person (`subject` is empty), so a person may be in two splits.
Splits: official `train` and `val`; the test labels are not public, so papers report on `val`.
Licence: research only, by an agreement with the University of Denver; images may not be passed on.
Official loader: none in a kept library.
Citation: A. Mollahosseini, B. Hasani, M. H. Mahoor. AffectNet: a database for facial expression, valence, and
    arousal computing in the wild. IEEE Trans. Affective Computing 10(1), 2019.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idfer.data.readers import affectnet_2021
from idfer.data.readers.tally import (
    ABSENT,
    Options,
    Tally,
    keep_present,
    keep_valid,
    not_there,
    number_columns,
)
from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
)  # fmt: skip
LISTS = ("", "Manually_Annotated_file_lists", "Manually_Annotated/Manually_Annotated_file_lists")
IMAGES = (
    "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated",
    "images", "",
)  # fmt: skip
FILES = {"training.csv": "train", "validation.csv": "val"}
NO_FACE = "no face, or the rater was uncertain (label -2, class 9 or 10)"
BAD_LINE = "line cannot be read"
_SAMPLE = 64  # rows by which the images' folder is found


def read(root: Path, options: Options, tally: Tally) -> pd.DataFrame:
    """A row per labelled image of AffectNet under `root`; see the module for the format.

    Raises:
        IdferError: neither release is here, or both are.
    """
    lists = [root / folder / name for folder in LISTS for name in FILES if (root / folder / name).is_file()]
    newer = affectnet_2021.sets(root)
    if lists and newer:
        raise IdferError(
            f"{root}: holds AffectNet of 2017 ({lists[0].name}) and of 2021 ({newer[0].name}); give the "
            "folder of one of them."
        )
    if newer:
        return affectnet_2021.read(root, options, tally)
    if not lists:
        looked = [*FILES, "Manually_Annotated_file_lists/training.csv", "train_set/annotations"]
        raise not_there(root, looked, "AffectNet")
    return _of_2017(root, lists, options, tally)


def _of_2017(root: Path, lists: list[Path], options: Options, tally: Tally) -> pd.DataFrame:
    import pandas as pd

    for name in FILES.keys() - {file.name for file in lists}:
        tally.add(ABSENT, 1, name)
    table = pd.concat([_listed(file, tally).assign(split=FILES[file.name]) for file in lists])
    table = table.rename(
        columns={"subDirectory_filePath": "path", "face_x": "x", "face_y": "y"}
        | {"face_width": "width", "face_height": "height"}
    )
    table = number_columns(table)
    classes = pd.to_numeric(table["expression"], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    marked = np.isin(classes, (9, 10)) | (table[["valence", "arousal"]] == -2).to_numpy().any(axis=1)
    table, classes = tally.drop(table, marked, NO_FACE), classes[~marked]
    table = keep_valid(table.assign(expression=classes.astype(np.float32)), tally)
    table = _with_folder(table, root, options)
    return _boxes(keep_present(table, root, options, tally))


def _listed(file: Path, tally: Tally) -> pd.DataFrame:
    """The rows of one list, without the landmarks; lines of too few or too many cells are counted."""
    import pandas as pd

    wanted = [name for name in COLUMNS if name != "facial_landmarks"]
    kept, broken = io.BytesIO(), 0
    try:
        with file.open("rb") as stream:
            for line in stream:
                cells = line.strip(b"\xef\xbb\xbf \r\n").split(b",")
                if cells[0].startswith(b"subDirectory_filePath") or cells == [b""]:
                    continue
                if len(cells) == len(COLUMNS) and cells[0]:
                    del cells[5]
                    kept.write(b",".join(cells) + b"\n")
                else:
                    broken += 1
        tally.add(BAD_LINE, broken, file.name)
        if not kept.tell():
            return pd.DataFrame(columns=wanted)
        kept.seek(0)
        return pd.read_csv(
            kept, header=None, names=wanted, quoting=csv.QUOTE_NONE, dtype={wanted[0]: "str"},
            encoding_errors="replace", low_memory=False,
        )  # fmt: skip
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())[:200]
        raise IdferError(f"{file}: cannot be read ({reason}); download it again.") from error


def _with_folder(table: pd.DataFrame, root: Path, options: Options) -> pd.DataFrame:
    """Put the images' folder before `path`: the candidate under which most of a sample of rows is there."""
    candidates = [options.images] if options.images else IMAGES
    step = max(1, len(table) // _SAMPLE)
    sample = [path.replace("\\", "/") for path in table["path"].iloc[::step]]
    hits = [sum((root / folder / path).is_file() for path in sample) for folder in candidates]
    folder = candidates[int(np.argmax(hits))]
    return table.assign(path=f"{folder}/" + table["path"]) if folder else table


def _boxes(table: pd.DataFrame) -> pd.DataFrame:
    """Face boxes as numbers; none where the list gives no box of a size above 0."""
    import pandas as pd

    names = ["x", "y", "width", "height"]
    boxes = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    boxes[bad] = np.nan
    return table.assign(**dict(zip(names, boxes.T, strict=True)))
