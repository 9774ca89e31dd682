"""The table of predictions: its columns, and writing it piece by piece as CSV, JSON lines or Parquet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    Write = Callable[[pd.DataFrame], None]

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
_DIGITS = 6


def table(rows: Sequence[dict[str, Any]], attributes: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a DataFrame with all columns of `COLUMNS`, then one float column per entry of `attributes`.

    What a row does not say is missing (NaN or <NA>), except `error`, which is then empty.
    """
    import pandas as pd

    types = COLUMNS | dict.fromkeys(attributes, "float64")
    frame = pd.DataFrame(rows, columns=list(types)).astype(types)
    return frame.assign(error=frame["error"].fillna(""))


def check_out(out: str | Path | None) -> Path | None:
    """The output file as a path, None for stdout.

    Raises:
        UsageError: the suffix is none of `SUFFIXES`, or the path is a folder.
    """
    if out is None:
        return None
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: cannot tell the format; end the name with one of {', '.join(SUFFIXES)}.")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the name of a file in it, e.g. {path / 'out.csv'}.")
    return path


@contextmanager
def writer(path: Path | None, attributes: Sequence[str] = ()) -> Iterator[Write]:
    """Yield a function that appends a DataFrame of `table` to a file, by suffix, or to stdout as CSV.

    Args:
        path: file to write (what was there is overwritten), or None for stdout.
        attributes: the extra columns that every DataFrame has.
    """
    empty = table([], attributes)
    if path is None:
        yield from _stdout(empty)
    elif path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.Table.from_pandas(empty, preserve_index=False).schema
        with pq.ParquetWriter(path, schema) as parquet:
            yield lambda f: parquet.write_table(pa.Table.from_pandas(f, schema=schema, preserve_index=False))
    else:
        yield from _text_file(path, empty)


def _text_file(path: Path, empty: pd.DataFrame) -> Iterator[Write]:
    lines = _csv if path.suffix.lower() == ".csv" else _jsonl
    with path.open("w", encoding="utf-8", newline="") as stream:

        def write(frame: pd.DataFrame) -> None:
            stream.write(lines(frame))  # one call, so that an interrupt leaves no half row

        stream.write(_csv(empty, header=True) if lines is _csv else "")
        yield write


def _stdout(empty: pd.DataFrame) -> Iterator[Write]:
    def write(frame: pd.DataFrame, header: bool = False) -> None:
        sys.stdout.write(_csv(frame, header))
        sys.stdout.flush()

    write(empty, header=True)
    yield write


def _csv(frame: pd.DataFrame, header: bool = False) -> str:
    text: str = frame.to_csv(index=False, header=header, float_format=f"%.{_DIGITS}g", lineterminator="\n")
    return text


def _jsonl(frame: pd.DataFrame) -> str:
    rows = frame.round(_DIGITS).astype(object).where(frame.notna(), None).to_dict("records")
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
