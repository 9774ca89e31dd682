"""Faces of two tables brought together by their keys, and what to say where they do not meet."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from idfer.auditing.columns import OWN
from idfer.auditing.reading import Table, listed
from idfer.errors import IdferError

KEY = "path"
_STAND_INS = ("path", "input", "key", "file", "filename", "file_name", "image", "id")
SEPARATOR = "|"


def key_columns(table: Table, key: str, others: Sequence[Table] = ()) -> list[str]:
    """The columns that name a face: those of `key`, or for the default one that stands in for it.

    Args:
        table: whose.
        key: the option: a column, or several with commas between, e.g. "path,frame".
        others: further tables, for the message.

    Raises:
        IdferError: the table has no such column.
    """
    wanted = [name.strip() for name in key.split(",") if name.strip()]
    if all(name in table for name in wanted):
        return wanted
    if key == KEY:
        if OWN[0] in table and OWN[1] in table:
            return [OWN[0]]
        if stand_in := next((name for name in _STAND_INS if name in table), None):
            return [stand_in]
    lacking = next(name for name in wanted if name not in table)
    shared = [n for n in table.names if n not in table.lists and all(n in other for other in others)]
    near = f" Shared with the other tables: {listed(shared, 6)}." if others and shared else ""
    raise IdferError(
        f"{table.name}: no column {lacking!r} to know the faces by; it has {listed(table.names)}. Say which "
        f"with --key COLUMN.{near}"
    )


def keys(table: Table, names: Sequence[str]) -> NDArray[np.object_]:
    """(N,) keys as text, those of several columns joined.

    Raises:
        IdferError: a key is missing or stands twice; the message counts them.
    """
    frame = table.columns(names)
    parts = [_text(frame[name]) for name in names]
    missing = np.zeros(len(frame), bool)
    for part in parts:
        missing |= (part.isna() | (part == "")).to_numpy(bool)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise IdferError(
            f"{table.name}: {rows.size} of {len(frame)} rows have no {' and '.join(names)} (the first: row "
            f"{rows[0]}); fill it in or drop them."
        )
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + SEPARATOR + part
    found = joined.to_numpy(object)
    if (twice := joined.duplicated().to_numpy(bool)).any():
        examples = list(dict.fromkeys(found[twice]))[:3]
        finer = [name for name in ("frame", "face_id") if name in table and name not in names]
        hint = (
            f" For several frames or faces of a file, give --key {','.join([*names, *finer])}."
            if finer else " Keep one row of each."
        )  # fmt: skip
        raise IdferError(
            f"{table.name}: {int(twice.sum())} rows repeat a {SEPARATOR.join(names)} that stands above "
            f"(e.g. {', '.join(map(repr, examples))}).{hint}"
        )
    return np.asarray(found, object)


def places(
    faces: NDArray[np.object_], others: NDArray[np.object_], name: str, of: str, what: str
) -> NDArray[np.intp]:
    """(N,) where each face stands among `others`, -1 where it does not.

    Args:
        faces: (N,) keys.
        others: (M,) keys, each once.
        name: of the table of `others`, for messages.
        of: of the table of `faces`.
        what: what the table of `others` holds.

    Raises:
        IdferError: a table has no rows, or no face is among them; the message says how the keys differ.
    """
    for table, rows in ((of, faces), (name, others)):
        if not len(rows):
            raise IdferError(f"{table}: has no rows, only column names; give one row per face.")
    found = np.asarray(pd.Index(others, dtype=object).get_indexer(pd.Index(faces, dtype=object)), np.intp)
    if (found < 0).all():
        raise IdferError(
            f"{name}: none of the {len(faces):,} faces of {of} is among its {len(others):,} rows of {what}: "
            f"{faces[0]!r} there, {others[0]!r} here.{difference(faces, others)}"
        )
    return found


def difference(faces: NDArray[np.object_], others: NDArray[np.object_]) -> str:
    """How keys that never meet differ, as a sentence; "" where nothing is seen."""
    sample, known = [str(f) for f in faces[:200]], {str(o) for o in others[:200_000]}

    def meets(change: object) -> bool:
        assert callable(change)
        changed = {change(o) for o in known}
        return any(change(s) in changed for s in sample)

    if meets(str.strip):
        return " They differ by spaces; strip them."
    if meets(lambda k: k.replace("\\", "/")):
        return " They differ in the slashes; write / in both."
    if meets(lambda k: posixpath.normpath(k.replace("\\", "/"))):
        return " They differ by './' or '//'; write both paths alike."
    if meets(str.lower):
        return " They differ in upper and lower case; write both alike."
    if meets(lambda k: posixpath.splitext(k)[0]):
        return " They differ by the file's ending; write both alike."
    if meets(lambda k: k.lstrip("0")):
        return " They differ by leading zeros; keep the column as text in both."
    by_name: dict[str, str] = {}
    for other in known:
        by_name.setdefault(posixpath.basename(other.replace("\\", "/")), other)
    for face in sample:
        other = by_name.get(posixpath.basename(face.replace("\\", "/")), "")
        if other and (face.endswith(other) or other.endswith(face)):
            longer, shorter = (face, other) if len(face) > len(other) else (other, face)
            prefix = longer[: len(longer) - len(shorter)]
            side = "the faces'" if longer == face else "the table's"
            return f" The paths differ by a prefix: {side} begin with {prefix!r}; take it away or add it."
        if other:
            return f" File names are alike but folders are not ({face!r}, {other!r}); write both paths alike."
    return " Give --key COLUMN for another column that names the faces in both."


def _text(column: pd.Series) -> pd.Series:
    """A key's column as text; whole numbers without a point."""
    if column.dtype.kind == "f":
        whole = column.dropna() % 1 == 0
        if whole.all():
            column = column.astype("Int64")
    return column.astype(object).where(column.notna(), None).map(lambda v: None if v is None else str(v))
