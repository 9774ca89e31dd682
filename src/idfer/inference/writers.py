"""Writing the table of predictions as its rows are made: CSV, JSON lines, Parquet, or CSV on stdout."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idfer.errors import IdferError
from idfer.inference.notices import say
from idfer.inference.output import records
from idfer.inference.partial import cannot_write, partial_file

if TYPE_CHECKING:
    import pandas as pd

    from idfer.inference.resume import Kept

    Write = Callable[[pd.DataFrame], None]

_DIGITS = 6


def write_all(tables: Iterable[pd.DataFrame], target: Path | None, kept: Kept | None = None) -> None:
    """Write all rows, as they are made, to stdout as CSV or to a file, see `partial_file`.

    With `kept` the rows of an earlier run stay, and `tables` must go on from them. What ends it early is
    raised, after a line on stderr that says where the rows made until then are.

    Raises:
        IdferError: the file cannot be written.
        OSError: stdout cannot be written.
    """
    if target is None:
        with stdout_writer() as write, _saying(lambda: "the rows made until then are on stdout."):
            for table in tables:
                write(table)
        return
    with partial_file(target, keep=kept is not None) as path:
        if kept is not None:
            kept.open(path)

        def where() -> str:
            there = path.stat().st_size > 0
            return f"the rows made until then are in {path}." if there else "no row was made until then."

        try:
            with _saying(where), file_writer(path) as write:
                for table in tables:
                    write(table)
        except BrokenPipeError:  # of stderr, where the progress bar is
            raise
        except OSError as error:
            raise cannot_write(target, error, path if path.stat().st_size else None) from error


@contextmanager
def _saying(kept: Callable[[], str]) -> Iterator[None]:
    """Say what is kept of work that ends early; an output that fails has its own message."""
    try:
        yield
    except OSError:
        raise
    except (KeyboardInterrupt, Exception):
        say(f"stopped early; {kept()}")
        raise


@contextmanager
def file_writer(path: Path) -> Iterator[Write]:
    """Yield a function that appends a DataFrame of `table` to a file, in the format of its suffix.

    CSV and JSON lines are on disk, whole rows of them, when the function returns; if it fails or is
    interrupted, the file ends with the rows before. A Parquet file can be read once the context has ended,
    by an exception too; not after `kill -9`, nor where its last bytes could not be written: it is then
    emptied.

    Args:
        path: an empty file, none yet, or one of text whose rows go on.

    Raises:
        OSError: the disk is full or failing.
    """
    if path.suffix.lower() == ".parquet":
        yield from _parquet_file(path)
    else:
        yield from _text_file(path)


def _parquet_file(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        if writer is None:
            # of an empty table: a column that is missing in all of the first rows has its type all the same
            writer = pq.ParquetWriter(path, pa.Table.from_pandas(frame[:0], preserve_index=False).schema)
        writer.write_table(pa.Table.from_pandas(frame, schema=writer.schema, preserve_index=False))

    try:
        try:
            yield write
        finally:
            if writer is not None:
                writer.close()
    except OSError:
        with suppress(OSError):
            os.truncate(path, 0)
        raise


def _text_file(path: Path) -> Iterator[Write]:
    as_csv = path.suffix.lower() == ".csv"
    with path.open("ab", buffering=0) as stream:

        def write(frame: pd.DataFrame) -> None:
            start = stream.tell()
            text = _csv(frame, header=start == 0) if as_csv else _jsonl(frame)
            left = memoryview(text.encode())
            try:
                while left:
                    left = left[stream.write(left) :]
            except BaseException:  # no half row stays
                stream.truncate(start)
                raise

        yield write


@contextmanager
def stdout_writer() -> Iterator[Write]:
    """Yield a function that appends a DataFrame of `table` to stdout, as CSV.

    A reader that has seen enough, as in `idfer predict ... | head`, ends the context without an error.

    Raises:
        IdferError: there is no stdout.
        OSError: what it leads to is full; the command line makes one line of it.
    """
    if sys.stdout is None:
        raise IdferError("there is no stdout to write to; give a file with -o.")
    encoding = sys.stdout.encoding or "utf-8"
    header = True

    def write(frame: pd.DataFrame) -> None:
        nonlocal header
        sys.stdout.write(_csv(frame, header).encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
        header = False

    try:
        yield write
    except BrokenPipeError:
        _give_up_stdout()


def _give_up_stdout() -> None:
    """Lead stdout nowhere, so that the interpreter's own flush at its end does not fail once more."""
    with suppress(OSError, ValueError):  # a stdout without a file descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _csv(frame: pd.DataFrame, header: bool = False) -> str:
    # Python leaves a lone CR bare, and readers then see two rows
    returns = any("\r" in str(name) for name in frame["input"])
    timed = frame.assign(time=frame["time"].map(_seconds, na_action="ignore").astype(object))
    text: str = timed.to_csv(
        index=False,
        header=header,
        float_format=f"%.{_DIGITS}g",
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
    )
    return text


def _seconds(time: float) -> str:
    """Seconds to the microsecond: six digits would blur an hour's frames."""
    return f"{time:.{_DIGITS}f}".rstrip("0").rstrip(".")


def _jsonl(frame: pd.DataFrame) -> str:
    rows = records(frame.round(_DIGITS))
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
