"""The tables of manifests as files: Parquet, or CSV as far as a CSV can keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.errors import IdferError, UsageError
from idfer.files import atomic

if TYPE_CHECKING:
    import pandas as pd

NO_NUMBER = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""What stands for no number, as pandas reads it. In a column of text each but "" is a word like another."""

TEXTS = (
    "path", "subject", "subject_kind", "source", "split", "label_source", "detector", "video", "original",
)  # fmt: skip
"""Columns that are text whatever is in them: 007 and 7 are two people, and so is NA."""

NUMBERS = ("valence", "arousal", "frame", "x", "y", "width", "height", "box", "landmarks")
"""Columns of numbers, in which a word such as `nan` means that there is none."""

_LISTS = ("box", "landmarks")  # what a CSV holds as text that is read back as numbers
_CSV, _PARQUET = ".csv", (".parquet", ".pq", "")


def check_suffix(file: str | Path) -> None:
    """Refuse, before any work, a file that cannot become a manifest by its name.

    Raises:
        UsageError: its suffix is neither .parquet nor .csv.
    """
    if (suffix := Path(file).suffix.lower()) != _CSV and suffix not in _PARQUET:
        raise UsageError(f"{file}: a manifest is written as .parquet or .csv, not as {suffix}; rename it.")


def read(file: Path) -> pd.DataFrame:
    """A manifest's table, unchecked; errors are those of pandas and pyarrow."""
    import pandas as pd

    return _read_csv(file) if file.suffix.lower() == _CSV else pd.read_parquet(file)


def write(table: pd.DataFrame, target: Path) -> None:
    """Write a table as Parquet or, to a .csv, as CSV (atomic: whole or not at all).

    A column of words and numbers becomes text.

    Raises:
        UsageError: another suffix.
        IdferError: a column that the file cannot keep; the message names it.
    """
    check_suffix(target)
    table = table.assign(**{name: _as_text(table[name]) for name in table.columns if _is_mixed(table[name])})
    with atomic(target) as temporary:
        if target.suffix.lower() == _CSV:
            _write_csv(table, temporary, target)
        else:
            _write_parquet(table, temporary, target)


def without_words(column: pd.Series) -> pd.Series:
    """A column of numbers with `NO_NUMBER` as missing, where it is read as text."""
    import pandas as pd

    return column.mask(column.isin(NO_NUMBER)) if pd.api.types.is_string_dtype(column) else column


def _read_csv(file: Path) -> pd.DataFrame:
    import pandas as pd

    # whole columns at a time: in parts one column could be numbers here and text there
    table = pd.read_csv(file, dtype=dict.fromkeys(TEXTS, "str"), low_memory=False)
    words = [name for name in table.columns if name in TEXTS or _may_be_text(table, name)]
    if not words or not isinstance(table.index, pd.RangeIndex):  # its lines have more cells than its head
        return table
    text = pd.read_csv(
        file, dtype="str", usecols=lambda name: name in words, keep_default_na=False, na_values=[""]
    )
    given = [name for name in words if name in text and text[name].notna().any()]
    return table.assign(**{name: text[name].array for name in given})


def _may_be_text(table: pd.DataFrame, name: str) -> bool:
    """Whether a column holds text, of which a word like None may have been taken for missing."""
    if name in NUMBERS:
        return False
    given = table[name].dropna()
    return not len(given) or isinstance(given.iloc[0], str)


def _write_parquet(table: pd.DataFrame, temporary: Path, target: Path) -> None:
    import pyarrow as pa

    try:
        table.to_parquet(temporary, index=False)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise IdferError(
            f"{target}: the manifest cannot be written as Parquet ({reason}); make the values of each column "
            "of one kind, or drop the column."
        ) from error


def _write_csv(table: pd.DataFrame, temporary: Path, target: Path) -> None:
    """Write a CSV and read it back, for it says of no value whether it is text, number or list."""
    table = table.assign(**{name: _as_json(table[name]) for name in _LISTS if name in table.columns})
    table.to_csv(temporary, index=False)
    again = _read_csv(temporary)
    for name in table.columns:
        kept = name in again.columns and len(again) == len(table)
        if not (kept and _is_same(table[name], again[name])):
            raise IdferError(
                f"{target}: column {name!r} would not come back from a CSV as it is (text that looks like "
                "numbers, or values of several parts); write a .parquet, or drop the column."
            )


def _as_json(column: pd.Series) -> pd.Series:
    """Lists and arrays as text."""
    return column.map(lambda value: json.dumps(_plain(value)) if _is_list(value) else value)


def _plain(value: Any) -> Any:
    if _is_list(value):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, dict, np.ndarray))


def _is_same(before: pd.Series, after: pd.Series) -> bool:
    """Whether a column came back: numbers as numbers, text as text, an empty text perhaps as missing."""
    from pandas.api.types import is_numeric_dtype

    if not after.notna().any():
        return not (before.notna() & (before.astype(object) != "")).any()
    if is_numeric_dtype(before) != is_numeric_dtype(after) or any(map(_is_list, before)):
        return False
    if is_numeric_dtype(before):
        kind = np.float32 if before.dtype == np.float32 else np.float64  # .1 in 32 bits is written as 0.1
        wanted, found = (column.to_numpy(kind, na_value=np.nan) for column in (before, after))
        return bool(np.allclose(found, wanted, rtol=1e-12, atol=0, equal_nan=True))
    return bool((_or_empty(before) == _or_empty(after)).all())


def _or_empty(column: pd.Series) -> np.ndarray:
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(object)


def _is_mixed(column: pd.Series) -> bool:
    """Whether a column holds words and numbers: no file has such a column."""
    import numbers

    if column.dtype != object:
        return False
    kinds = set(map(type, column[column.notna()]))
    return (
        str in kinds and len(kinds) > 1 and all(issubclass(k, (str, numbers.Number, np.bool_)) for k in kinds)
    )


def _as_text(column: pd.Series) -> pd.Series:
    return column.map(str, na_action="ignore")
