"""Which columns of a table are attributes: categories and numbers, posteriors, ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from idfer.auditing.columns import NAMES
from idfer.auditing.reading import Table, listed
from idfer.errors import IdferError, unknown

FACTOR, SLASH = "factor.", "/"
_USUAL_FACTORS = ("gender", "age", "skin")
_NO_ATTRIBUTES = {
    *(name for names in NAMES.values() for name in names), "path", "input", "key", "file", "filename",
    "file_name", "image", "id", "frame", "face_id", "time", "face_score", "row", "box", "x", "y", "width",
    "height", "landmarks", "detector", "error", "split", "seen", "subject_kind", "label_source", "caption",
    "expression", "embedding", "engine",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """An attribute to be: which columns of a table it is made of.

    Attributes:
        name: of the attribute.
        columns: one, or one per level where these are posteriors.
        levels: of posteriors; () otherwise.
        factor: whether it is ground truth `factor.NAME`.
    """

    name: str
    columns: tuple[str, ...]
    levels: tuple[str, ...] = ()
    factor: bool = False


def choose(table: Table, keys: Sequence[str], use: Sequence[str] | None) -> list[Column]:
    """Which attributes a table has, or those of them that `use` names, in its order.

    Raises:
        UsageError: one of `use` is not there.
        IdferError: there is none.
    """
    found: dict[str, Column] = {}
    parts: dict[str, list[str]] = {}
    for column in table.names:
        attribute, slash, level = column.partition(SLASH)
        if slash and attribute and level and column not in table.lists:
            parts.setdefault(attribute, []).append(column)
    for attribute, columns in _posteriors(table, parts):
        levels = tuple(column.removeprefix(attribute + SLASH) for column in columns)
        found[attribute] = Column(attribute, tuple(columns), levels)
    posterior = {column for column_set in found.values() for column in column_set.columns}
    factors = [c for c in table.names if c.startswith(FACTOR)]
    for column in table.names:
        if column in posterior or column in table.lists or column in keys or column in factors:
            continue
        if column not in found and (column.lower() not in _NO_ATTRIBUTES or column in (use or ())):
            found[column] = Column(column, (column,))
    for column in factors:
        found.setdefault(
            column.removeprefix(FACTOR), Column(column.removeprefix(FACTOR), (column,), factor=True)
        )
    if use is not None:
        for name in use:
            if name not in found:
                raise unknown("attribute", name, list(found), f"They come from {table.name}.")
        return [found[name] for name in dict.fromkeys(use)]
    usual = [found[n] for n in _USUAL_FACTORS if n in found and found[n].factor]
    plain = [c for c in found.values() if not c.factor]
    if chosen := [*plain, *(usual or (c for c in found.values() if c.factor))]:
        return chosen
    raise IdferError(f"{table.name}: no column is an attribute; it has {listed(table.names)}.")


def _posteriors(table: Table, parts: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """Attributes with a column per level, of columns grouped by what stands before their first slash.

    A name may hold a slash itself ("w/o glasses/yes"): where what stands before the last slash names two
    columns or more each time, that is the attribute. Columns without a number ("w/o hat" of yes and no) are
    no posteriors.
    """
    import pandas as pd

    for attribute, columns in parts.items():
        if len(columns) < 2:
            continue
        last: dict[str, list[str]] = {}
        for column in columns:
            last.setdefault(column.rpartition(SLASH)[0], []).append(column)
        groups = last if all(len(group) > 1 for group in last.values()) else {attribute: list(columns)}
        for name, group in groups.items():
            frame = table.columns(group)
            numbers = frame.apply(pd.to_numeric, errors="coerce")
            if not (numbers.isna().all() & frame.notna().any()).any():
                yield name, group
