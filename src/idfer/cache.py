"""Small results by content key in one SQLite file, so that a stopped run goes on where it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from idfer.errors import IdferError

_LOOKUP = 500  # keys per SELECT: SQLite before 3.32 takes at most 999 parameters


class Cache:
    """Bytes by bytes; several processes may share the file, one thread at a time an object."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(path, timeout=60, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing, a power cut a batch
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS result (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
        )

    def add(self, values: Mapping[bytes, bytes]) -> None:
        """Commit all of these or none; a key that is there keeps its value."""
        with self._file:
            self._file.executemany("INSERT OR IGNORE INTO result VALUES (?, ?)", list(values.items()))

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there."""
        values: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _LOOKUP):
            part = keys[start : start + _LOOKUP]
            marks = ",".join("?" * len(part))
            values.update(self._file.execute(f"SELECT key, value FROM result WHERE key IN ({marks})", part))
        return values

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextmanager
def open_cache(path: Path, what: str) -> Iterator[Cache]:
    """A cache for a `with` block.

    Args:
        path: the SQLite file, made where it is missing.
        what: it holds, for messages, e.g. "face".

    Raises:
        IdferError: SQLite or the file system complains, here or in the block; the message names the file.
    """
    try:
        with closing(Cache(path)) as cache:
            yield cache
    except (sqlite3.Error, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        cure = ("Delete that file and run again." if damaged else
                "Free some space or set IDFER_CACHE to another folder, and run again: "
                "what is done so far is kept.")  # fmt: skip
        raise IdferError(f"{path}: the {what} cache cannot be used ({reason}). {cure}") from error
