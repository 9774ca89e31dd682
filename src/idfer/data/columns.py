"""Face boxes and frames of a manifest, in every way a table writes them, checked row by row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

BOX = ("x", "y", "width", "height")
VIDEO = frozenset([
    "3g2", "3gp", "asf", "avi", "flv", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf",
    "ogg", "ogv", "ts", "vob", "webm", "wmv",
])  # fmt: skip
"""Suffixes (lower case, no dot) of videos."""

STILL = -1  # `frame` of an image that is no video
_MOST = 1 << 53  # beyond this, numbers of a table are not exact


def boxes(table: pd.DataFrame, name: str) -> np.ndarray | None:
    """Face boxes of a table, from a column `box`, from `x, y, width, height`, or from both.

    A `box` is a list, tuple or array of four numbers, or text such as "[10, 20, 64, 64]". In the four columns
    all empty means no box. `width` and `height` without `x` and `y` say how large an image is, and are left
    alone.

    Args:
        table: with a `path` column.
        name: of the manifest, for messages.

    Returns:
        (N, 4) float64 x, y, width, height in pixels, NaN rows where there is none; None where the table has
        no such columns.

    Raises:
        IdferError: a box that is none; the message names the first such row and its value.
    """
    parted = _from_columns(table, name)
    if "box" not in table.columns:
        return parted
    whole = _from_lists(table, name)
    if parted is None:
        return whole
    both = ~np.isnan(parted[:, 0]) & ~np.isnan(whole[:, 0])
    if (bad := np.flatnonzero(both & (parted != whole).any(axis=1))).size:
        raise _box_error(
            table, name, bad[0], f"box is {_plain(whole[bad[0]])}, but x, y, width, height are "
            f"{_plain(parted[bad[0]])}", "keep one of them",
        )  # fmt: skip
    return np.where(np.isnan(whole[:, :1]), parted, whole)


def frames(table: pd.DataFrame, name: str) -> np.ndarray:
    """The `frame` column as (N,) int64: -1 for an image, the number from 0 of a frame of a video.

    Frame 0 of an image file, as `idfer predict` writes it, is -1 too. Of an animation only the first image is
    ever read, so another number is refused for all that is no video by its suffix.

    Raises:
        IdferError: a frame that is no whole number from -1, of a file that is no video, or missing of one
            that is; the message names the first such row.
    """
    values = _to_numbers(table["frame"])
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (values == np.floor(values)) & (values >= STILL) & (values < _MOST)
    if (bad := np.flatnonzero(~whole)).size:
        raise _frame_error(
            table, name, bad, "; it must be a whole number, -1 for an image, from 0 of a video"
        )
    video = videos(table["path"])
    if (bad := np.flatnonzero((values > 0) & ~video)).size:
        raise _frame_error(
            table, name, bad, ", but the file is no video by its name; write -1, or save the frames as images"
        )
    if (bad := np.flatnonzero((values == STILL) & video)).size:
        raise _frame_error(
            table, name, bad, ", but the file is a video; give the number of the frame, counted from 0"
        )
    return np.where(video, values, STILL).astype(np.int64)


def videos(paths: pd.Series) -> np.ndarray:
    """(N,) bool: which paths are those of videos, by their suffix."""
    return np.fromiter((str(p).rpartition(".")[2].lower() in VIDEO for p in paths), bool, len(paths))


def check_whole(table: pd.DataFrame, places: np.ndarray, name: str) -> None:
    """Refuse a row whose `detector` is "none", so that its image is the face, and that has a box within it.

    Raises:
        IdferError: such a row; a box from (0, 0) is what `idfer predict` writes of a whole image.
    """
    with np.errstate(invalid="ignore"):
        within = (table["detector"] == "none").to_numpy() & (places[:, :2] != 0).any(axis=1)
    if (bad := np.flatnonzero(within & ~np.isnan(places[:, 0]))).size:
        raise _box_error(
            table, name, bad[0],
            f"the box is {_plain(places[bad[0]])}, but detector 'none' says that the whole image is the face",
            "empty one of them",
        )  # fmt: skip


def _from_columns(table: pd.DataFrame, name: str) -> np.ndarray | None:
    present = [column for column in BOX if column in table.columns]
    if not {"x", "y"} & set(present):
        return None
    if missing := [column for column in BOX if column not in present]:
        raise IdferError(
            f"{name}: IDF004 column {missing[0]!r} is missing beside {', '.join(present)}; a face box needs "
            "x, y, width and height."
        )
    values = np.column_stack([_to_numbers(table[column]) for column in BOX])
    absent = np.column_stack([table[column].isna() | (table[column].astype(object) == "") for column in BOX])
    wrong = ~np.isfinite(values)
    if (cells := np.argwhere(wrong & ~absent)).size:
        row, column = int(cells[0, 0]), BOX[cells[0, 1]]
        raise _box_error(
            table, name, row, f"{column} is {_value(table, column, row)}", "give a finite number"
        )
    partly = absent.any(axis=1) & ~absent.all(axis=1)
    if (bad := np.flatnonzero(partly)).size:
        empty = BOX[np.flatnonzero(absent[bad[0]])[0]]
        raise _box_error(
            table,
            name,
            bad[0],
            f"{empty} is empty and others are not",
            "give all four of x, y, width, height",
        )
    _check_sizes(table, values, name)
    return values


def _from_lists(table: pd.DataFrame, name: str) -> np.ndarray:
    column = table["box"].to_numpy(object)
    given = np.fromiter((not _is_empty(value) for value in column), bool, len(column))
    values = np.full((len(column), 4), np.nan)
    if not given.any():
        return values
    try:  # a million lists at once
        numbers = np.array([_parts(value) for value in column[given]], np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (given.sum(), 4) or not np.isfinite(numbers).all():
        row = next(int(row) for row in np.flatnonzero(given) if not _is_box(column[row]))
        raise _box_error(
            table, name, row, f"box is {_value(table, 'box', row)}", "give [x, y, width, height] in pixels"
        )
    values[given] = numbers
    _check_sizes(table, values, name)
    return values


def _parts(value: Any) -> Sequence[Any]:
    """The parts of a box, of text too, as JSON, Python and NumPy write it."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] + text[-1:] in ("[]", "()"):
            text = text[1:-1]
        return [float(part) for part in re.split(r"[,;\s]+", text.strip())]
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise TypeError(value)
    return value  # type: ignore[return-value]


def _is_box(value: Any) -> bool:
    try:
        numbers = np.array(_parts(value), np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return numbers.shape == (4,) and bool(np.isfinite(numbers).all())


def _is_empty(value: Any) -> bool:
    import pandas as pd

    if value is None or value is pd.NA:
        return True
    return (isinstance(value, float) and np.isnan(value)) or (isinstance(value, str) and not value.strip())


def _check_sizes(table: pd.DataFrame, values: np.ndarray, name: str) -> None:
    with np.errstate(invalid="ignore"):
        empty = (values[:, 2:] <= 0).any(axis=1)
    if (bad := np.flatnonzero(empty)).size:
        raise _box_error(
            table, name, bad[0], f"the box is {_plain(values[bad[0]])}", "width and height must be above 0"
        )


def _to_numbers(column: pd.Series) -> np.ndarray:
    """(N,) float64; NaN for what is no number."""
    import pandas as pd

    values: np.ndarray = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return values


def _box_error(table: pd.DataFrame, name: str, row: int, problem: str, cure: str) -> IdferError:
    return IdferError(f"{_row(table, name, row)}: IDF004 {problem}; {cure}.")


def _frame_error(table: pd.DataFrame, name: str, rows: np.ndarray, problem: str) -> IdferError:
    value = _value(table, "frame", int(rows[0]))
    return IdferError(
        f"{_row(table, name, int(rows[0]))}: IDF005 frame is {value}{problem} ({rows.size} such rows)."
    )


def _row(table: pd.DataFrame, name: str, row: int) -> str:
    return f"{name}: row {row} ({table['path'].iloc[row]})"


def _value(table: pd.DataFrame, column: str, row: int) -> str:
    """A cell as a message shows it."""
    value = table[column].iloc[row]
    text = " ".join(repr(value if isinstance(value, (str, list, tuple, dict)) else str(value)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
