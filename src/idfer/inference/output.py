"""The table of predictions: its columns and their types, and its rows as plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "input": "string",
    "frame": "Int64",
    "time": "float64",
    "face_id": "Int64",
    "x": "Int64",
    "y": "Int64",
    "width": "Int64",
    "height": "Int64",
    "face_score": "float64",
    "valence": "float64",
    "arousal": "float64",
    "detector": "string",
    "error": "string",
}
"""Column names of a prediction table, in order, with their pandas types."""

SUFFIXES = (".csv", ".jsonl", ".parquet")


def table(rows: Sequence[dict[str, Any]], attributes: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a DataFrame with all columns of `COLUMNS`, then one float column per entry of `attributes`.

    What a row does not say is missing (NaN or <NA>), except `error`, which is then empty.
    """
    import numpy as np
    import pandas as pd

    # column by column: to guess types first and then convert takes longer than the network on one face
    types: dict[str, Any] = COLUMNS | dict.fromkeys(attributes, "float64")
    columns: dict[str, Any] = {}
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        if name == "error":
            values = ["" if value is None else value for value in values]
        columns[name] = np.array(values, np.float64) if kind == "float64" else pd.array(values, dtype=kind)
    return pd.DataFrame(columns, copy=False)


def check_out(out: str | Path | None) -> Path | None:
    """The output file as a path, None for stdout.

    Raises:
        UsageError: the suffix is none of `SUFFIXES`, or the path is a folder.
        IdferError: the system takes no such name.
    """
    if out is None:
        return None
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: cannot tell the format; end the name with one of {', '.join(SUFFIXES)}.")
    try:
        folder = path.is_dir()
    except OSError as error:
        raise IdferError(
            f"{str(path)[:200]}: cannot be written ({error.strerror}); give another name."
        ) from error
    if folder:
        raise UsageError(f"{path}: is a folder; give the name of a file in it, e.g. {path / 'out.csv'}.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is a pipe or device; give the name of a file, or leave -o out for stdout.")
    return path.resolve() if path.is_symlink() else path  # a link goes on pointing to what is written


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain Python values; what is missing (NaN, <NA>) is None."""
    rows: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return list(rows)


def to_json(frame: pd.DataFrame) -> str:
    """A table as a strict JSON list of one object per row; what is missing is null."""
    return json.dumps(records(frame), ensure_ascii=False, allow_nan=False, indent=1)
