"""Rows that a killed run left in its partial file, for a run with the same request to go on from.

Everything after a frame hangs on what was before it (numbers of faces, smoothing, the drawn video), so the
frames whose rows are kept are decoded again and their rows are used as they stand, which costs neither
detector nor network. Work begins again at the last frame that the detector looked at in its turn: rows do not
say where a face that is followed has its landmarks. That frame and those after it, of which the last may lack
rows, are predicted again and must agree, or the two runs did not have the same model and options.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from idfer.errors import IdferError, UsageError
from idfer.inference.output import COLUMNS
from idfer.inference.tracks import FOLLOWED

_TEXT = (".csv", ".jsonl")
_WHOLE = {name for name, kind in COLUMNS.items() if kind == "Int64"}
_WORDS = {name for name, kind in COLUMNS.items() if kind == "string"}


@dataclass
class Kept:
    """The rows in a partial file up to the frame where work begins again.

    Attributes:
        columns: what it must have.
        detect_every: the detector looks at every so many frames.
        path: the file, once it is held.
        count: frames kept.
    """

    columns: Sequence[str]
    detect_every: int = 1
    path: Path | None = None
    count: int = 0
    _end: int = 0
    _again: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # rows of frames predicted again

    @classmethod
    def of(cls, target: Path | None, columns: Sequence[str], detect_every: int = 1) -> Kept:
        """Rows of an output to be taken up once its partial file is held, see `open`.

        Raises:
            UsageError: stdout or Parquet.
        """
        if target is None or target.suffix.lower() not in _TEXT:
            raise UsageError(
                "--resume needs an output file ending in .csv or .jsonl: stdout is not kept, and a Parquet "
                "file that was cut short cannot be read."
            )
        return cls(columns, detect_every)

    def open(self, path: Path) -> None:
        """Take the rows of a file up; it is cut before the frame where work begins again.

        Raises:
            IdferError: it has other columns.
        """
        self.path = path
        start, number, seen = 0, None, 0
        for row, begin, _ in _rows(path, path.stat().st_size):
            if row is None:
                continue
            if list(row) != list(self.columns):
                raise self._other("has other columns than this request makes")
            if (row["input"], row["frame"]) != number:
                number = (row["input"], row["frame"])
                if seen == 0 or self._looked_at(row):
                    start, self.count, self._again = begin, seen, {}
                seen += 1
            self._again.setdefault(row["frame"], []).append(row)
        self._end = start if self.count else 0
        os.truncate(path, self._end)

    def _looked_at(self, row: dict[str, Any]) -> bool:
        """Whether the detector looked at a row's frame in its turn, and not for a face that was lost."""
        found_by = row["detector"] or ""
        return row["frame"] % self.detect_every == 0 and found_by != "" and not found_by.endswith(FOLLOWED)

    def frames(self, name: str) -> Iterator[list[dict[str, Any]]]:
        """The rows of each frame kept, in order.

        Raises:
            IdferError: they are of another input.
        """
        assert self.path is not None, "taken up first"
        rows = (row for row, _, _ in _rows(self.path, self._end) if row is not None)
        for _, group in groupby(rows, key=lambda row: row["frame"]):
            some = list(group)
            if some[0]["input"] != name:
                raise self._other(f"holds rows of {some[0]['input']}")
            yield some

    def compare(self, rows: Sequence[dict[str, Any]], tolerance: float) -> None:
        """Check a frame predicted anew against the rows that the earlier run had of it, if any.

        Raises:
            IdferError: they differ.
        """
        anew = {row.get("face_id"): row for row in rows}
        for row in self._again.pop(rows[0]["frame"], ()):
            if not _alike(row, anew.get(row["face_id"]), tolerance):
                raise self._other(
                    f"was made with another model or other options (frame {row['frame']} differs)"
                )

    def _other(self, why: str) -> IdferError:
        return IdferError(f"{self.path}: {why}; give the same command, or delete the file to begin anew.")


def _alike(before: dict[str, Any], now: dict[str, Any] | None, tolerance: float) -> bool:
    """Whether a row read back says what a new one of the same face does."""
    if now is None or before["frame"] != now["frame"]:
        return False
    if (before["detector"] or "") != (now.get("detector") or ""):
        return False
    for name in ("valence", "arousal"):
        one, other = before[name], now.get(name)
        if (one is None) != (other is None):
            return False
        if one is not None and other is not None and abs(one - other) > tolerance:
            return False
    return True


def _rows(path: Path, end: int) -> Iterator[tuple[dict[str, Any] | None, int, int]]:
    """Each whole row of a text file before a position, with where it begins and ends; None for a header."""
    place = 0

    def lines() -> Iterator[str]:
        nonlocal place
        with path.open("rb") as stream:
            for line in stream:
                if place + len(line) > end or not line.endswith(b"\n"):
                    return
                place += len(line)
                yield line.decode("utf-8", "replace")

    begin = 0
    if path.suffix.lower() == ".jsonl":
        for line in lines():
            yield json.loads(line), begin, place
            begin = place
        return
    header: list[str] | None = None
    for values in csv.reader(lines()):
        if header is None:
            header = values
            yield None, begin, place
        elif len(values) == len(header):
            yield dict(zip(header, map(_value, header, values), strict=True)), begin, place
        else:
            return
        begin = place


def _value(name: str, text: str) -> Any:
    if name in _WORDS:
        return text
    if not text:
        return None
    return int(text) if name in _WHOLE else float(text)
