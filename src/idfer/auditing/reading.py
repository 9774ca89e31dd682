"""Tables as people have them: CSV and Parquet files or DataFrames, of which only the needed columns are read.

A file may have a million rows and an embedding per row, so names are looked at first and columns are read
one selection at a time. What stands in a CSV is read as text: 007 stays 007.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError

if TYPE_CHECKING:
    import pandas as pd

PARQUET = (".parquet", ".pq")
# not "none": that is what tables of glasses, beards or hats call a level
_EMPTY = ["", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "<NA>", "-nan"]


@dataclass(frozen=True)
class Table:
    """A table whose columns are read when they are asked for.

    Attributes:
        name: for messages: the file's path, or what the table is.
        names: its columns' names, in order.
        lists: columns of lists of numbers (embeddings), which only features are read from.
        metadata: of a Parquet file, as text; of a table in memory which `clip` retrieved it, if one did.
    """

    name: str
    names: tuple[str, ...]
    lists: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    _path: Path | None = None
    _frame: pd.DataFrame | None = None
    _mark: str = ","

    @property
    def file(self) -> bool:
        """Whether it is a file, not a table in memory."""
        return self._path is not None

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def columns(self, names: Sequence[str]) -> pd.DataFrame:
        """These columns, all rows.

        Raises:
            IdferError: the file is damaged.
        """
        wanted = list(dict.fromkeys(names))
        if self._frame is not None:
            return self._frame[wanted]
        assert self._path is not None
        try:
            if self._path.suffix.lower() in PARQUET:
                return _parquet(self._path, wanted)
            return _csv(self._path, wanted, self._mark)
        except Exception as error:  # pyarrow raises many kinds for a broken file
            raise _unreadable(self.name, error) from error

    def clip(self) -> str:
        """Which CLIP made it, where it is a table of `idfer retrieve`; "" elsewhere."""
        if "clip" in self.metadata:
            return self.metadata["clip"]
        content = self.metadata.get("idfer.attributes", "")
        try:
            meta = json.loads(content) if content else {}
        except (ValueError, RecursionError):
            return ""
        source = meta.get("source") if isinstance(meta, dict) else None
        return str(source.get("clip", "CLIP")) if isinstance(source, dict) else ""


def open_table(given: Any, what: str) -> Table:
    """Look at a table without reading its rows.

    Args:
        given: the path of a CSV (commas, semicolons or tabs) or Parquet file, or a DataFrame, or a mapping
            of columns.
        what: what it is, for messages, e.g. "predictions".

    Raises:
        IdferError: there is no such file, it is no table, or two columns have one name.
    """
    import pandas as pd

    if isinstance(given, (str, Path)):
        table = _open_file(Path(given), what)
    else:
        try:
            frame = given if isinstance(given, pd.DataFrame) else pd.DataFrame(given)
        except (ValueError, TypeError) as error:
            raise IdferError(f"{what}: {type(given).__name__} is no table ({error}); give a path or a "
                             "pandas DataFrame.") from error  # fmt: skip
        frame = frame.rename(columns=str)
        lists = tuple(n for n in frame.columns if _holds_lists(frame[n])) if frame.columns.is_unique else ()
        meta = {"clip": str(given.attrs["clip"])} if "clip" in getattr(given, "attrs", {}) else {}
        table = Table(what, tuple(frame.columns), lists, meta, _frame=frame)
    seen: set[str] = set()
    for name in table.names:
        if name in seen:
            raise IdferError(f"{table.name}: two columns are called {name!r}; rename one.")
        seen.add(name)
    return table


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, not more than it can hold."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _holds_lists(column: pd.Series) -> bool:
    first = column.iloc[0] if len(column) else None
    return column.dtype == object and hasattr(first, "__len__") and not isinstance(first, (str, bytes))


def _open_file(path: Path, what: str) -> Table:
    try:
        folder, there = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # a name too long, or with a null character
        raise IdferError(f"{what}: {str(path)[:200]!r} is no path ({error}).") from error
    if folder and (path / "manifest.parquet").is_file():
        path = path / "manifest.parquet"
    elif not there:
        kind = "is a folder; give the CSV or Parquet file itself" if folder else "no such file"
        raise IdferError(f"{path}: {kind} ({what}).")
    try:
        if path.suffix.lower() in PARQUET:
            import pyarrow as pa
            import pyarrow.parquet as pq

            schema = pq.read_schema(path)
            lists = tuple(
                f.name for f in schema
                if pa.types.is_list(f.type) or pa.types.is_large_list(f.type)
                or pa.types.is_fixed_size_list(f.type)
            )  # fmt: skip
            meta = {k.decode(): v.decode("utf-8", "replace") for k, v in (schema.metadata or {}).items()}
            names = tuple(name for name in schema.names if not name.startswith("__index_level_"))
            return Table(str(path), names, lists, meta, _path=path)
        mark, names = _header(path)
    except Exception as error:
        raise _unreadable(str(path), error) from error
    if not any(names):
        raise IdferError(f"{path}: is empty; a table begins with a line of column names.")
    return Table(str(path), names, _path=path, _mark=mark)


def _header(path: Path) -> tuple[str, tuple[str, ...]]:
    """What separates the columns of a CSV, and their names."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        head = stream.readline(1 << 20)
        mark = max(",;\t", key=head.count)
        stream.seek(0)
        names = next(csv.reader(stream, delimiter=mark), [])
    return mark, tuple(name.strip() for name in names)


def _csv(path: Path, wanted: list[str], mark: str) -> pd.DataFrame:
    """Columns of a CSV as text; what is empty is missing."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = list(_header(path)[1])
    table = arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=arrow_csv.ParseOptions(delimiter=mark, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted, null_values=_EMPTY,
            strings_can_be_null=True,
        ),
    )  # fmt: skip
    frame: pd.DataFrame = table.to_pandas(strings_to_categorical=False)
    return frame[wanted]


def _parquet(path: Path, wanted: list[str]) -> pd.DataFrame:
    import pyarrow.parquet as pq

    frame: pd.DataFrame = pq.read_table(path, columns=wanted).to_pandas(ignore_metadata=True)
    return frame[wanted]


def _unreadable(name: str, error: Exception) -> IdferError:
    if isinstance(error, IdferError):
        return error
    if isinstance(error, UnicodeDecodeError):
        return IdferError(f"{name}: is not UTF-8 text; save it as UTF-8.")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return IdferError(f"{name}: cannot be read as a table ({reason}). Save it again.")
