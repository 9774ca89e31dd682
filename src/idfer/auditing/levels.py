"""Attributes of an audit from the columns of a table: categories, numbers, posteriors, ground truth.

A column of text or of a few whole numbers is categories; one of many numbers is binned; columns `age/young`,
`age/older`, ... are posteriors of the levels of `age`, as `idfer retrieve` writes them; `factor.age` is
ground truth, as `idfer synth` and manifests have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.checks import Check
from idfer.auditing.choosing import Column
from idfer.auditing.quantities import Cutting, Unfit, cut, one_hot
from idfer.auditing.reading import Table, listed
from idfer.auditing.sample import Attribute
from idfer.errors import IdferError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

MOST_LEVELS = 12
_OFF = 1e-3  # of a row's sum of posteriors: what rounding to three digits may do
_ORDERS = (
    ("young", "middle-aged", "older"), ("light", "medium", "dark"), ("low", "medium", "high"),
    ("child", "teenager", "young", "adult", "middle-aged", "older", "senior"), ("small", "medium", "large"),
)  # fmt: skip
_YES, _NO = {"true", "yes"}, {"false", "no"}


def attributes_of(
    table: Table,
    chosen: Sequence[Column],
    rows: NDArray[np.intp],
    people: NDArray[np.intp],
    bins: Mapping[str, Sequence[float]],
    *,
    asked: bool = False,
    ordered: Sequence[str] = (),
    min_people: int = 20,
) -> tuple[list[Attribute], list[Check]]:
    """The attributes of N faces.

    Args:
        table: theirs.
        chosen: which, see `choose`.
        rows: (N,) the table's row of each face, -1 where it has none.
        people: (N,) person of each face.
        bins: borders by attribute, see `bins.parse_bins`.
        asked: whether `chosen` was named by the user, so that what is unusable is an error.
        ordered: attributes whose few whole numbers are in order, so that small neighbours may be merged.
        min_people: of a group that is shown; numbers are cut into halves where thirds would be smaller.

    Raises:
        UsageError: bins for what is no number, an order of words.
        IdferError: posteriors that are none, or no attribute with two levels.
    """
    if stranger := [name for name in bins if name not in {c.name for c in chosen}]:
        raise unknown("attribute in --bins", stranger[0], [c.name for c in chosen])
    if stranger := [name for name in ordered if name not in {c.name for c in chosen}]:
        raise unknown("attribute in --ordered", stranger[0], [c.name for c in chosen])
    cutting = Cutting(bins, ordered, min_people)
    drawn = _drawn(table) if any(c.factor for c in chosen) else False
    found: list[Attribute] = []
    checks: list[Check] = []
    for column in chosen:
        try:
            attribute = _attribute(table, column, rows, people, cutting, drawn, checks)
        except Unfit as reason:
            if asked:
                raise IdferError(f"{table.name}: {reason}") from None
            checks.append(Check("IDF323", "info", f"{reason} It is left out.", column.name))
            continue
        unknown_rows = int((~attribute.known).sum())
        if unknown_rows:
            share = unknown_rows / len(rows)
            checks.append(
                Check(
                    "IDF322", "warning" if share > 0.05 else "info",
                    f"{attribute.name} of {unknown_rows:,} of {len(rows):,} faces is not known; they count "
                    "in no group of it.", attribute.name,
                )
            )  # fmt: skip
        found.append(attribute)
    if not found:
        reasons = " ".join(check.message for check in checks)
        raise IdferError(f"{table.name}: no attribute can be audited. {reasons}")
    return found, checks


def _attribute(
    table: Table, column: Column, rows: NDArray[np.intp], people: NDArray[np.intp],
    cutting: Cutting, drawn: bool, checks: list[Check],
) -> Attribute:  # fmt: skip
    borders = cutting.bins.get(column.name)
    if column.levels:
        if borders is not None:
            raise UsageError(f"--bins: {column.name} is posteriors of {listed(column.levels)}, not a number.")
        return _in_order(_posteriors(table, column, rows), cutting)
    values: pd.Series = table.columns(column.columns)[column.columns[0]].iloc[rows].reset_index(drop=True)
    values = values.where(rows >= 0)
    source = "ground truth" if column.factor else "given"
    numbers = _numbers(values)
    if borders is not None and numbers is None:
        raise UsageError(f"--bins: {column.name} is not a number (e.g. {values.dropna().iloc[0]!r}).")
    if numbers is None:
        return _in_order(_categories(column.name, values, source), cutting)
    if (
        borders is None
        and drawn
        and column.factor
        and (named := _drawn_levels(column.name, numbers)) is not None
    ):
        return _in_order(_categories(column.name, named, source), cutting)
    found, more = cut(column.name, numbers, people, cutting, source)
    checks += more
    return found


def _in_order(found: Attribute, cutting: Cutting) -> Attribute:
    """An attribute of words; an error where they were said to be in order and nobody knows in which."""
    if found.name in cutting.ordered and not found.ordered:
        raise UsageError(
            f"--ordered: the levels of {found.name} are words ({listed(found.levels, 4)}), whose order "
            "is not known; number them, or give a pandas column of ordered categories."
        )
    return found


def _posteriors(table: Table, column: Column, rows: NDArray[np.intp]) -> Attribute:
    """An attribute whose levels have a column of probabilities each."""
    import pandas as pd

    frame = table.columns(column.columns)
    part = np.column_stack([pd.to_numeric(frame[c], errors="coerce").to_numpy(np.float64) for c in frame])
    bad = np.isnan(part) & frame.notna().to_numpy()
    known = ~np.isnan(part).any(axis=1)
    total = part.sum(axis=1)
    wrong = known & ((np.abs(total - 1) > _OFF) | (part < -_OFF).any(axis=1))
    if bad.any() or wrong.any():
        row = int(np.flatnonzero(bad.any(axis=1) | wrong)[0])
        off = "are not all at least 0" if (part[row] < -_OFF).any() else f"sum to {total[row]:.4g}, not 1"
        what = "are not all numbers" if bad.any() else off
        count = int((bad.any(axis=1) | wrong).sum())
        raise IdferError(
            f"{table.name}: row {row}: the posteriors {listed(column.columns, 6)} {what} ({count:,} such "
            f"rows); give the probability of each level of {column.name}."
        )
    part = np.clip(part, 0, None) / np.where(known, np.clip(part, 0, None).sum(axis=1), np.nan)[:, None]
    part = np.where(rows[:, None] >= 0, part[rows], np.nan)
    hard = bool(np.isin(part[~np.isnan(part).any(axis=1)], (0.0, 1.0)).all())
    clip = table.clip()
    source = (
        "given"
        if hard
        else f"retrieved by CLIP {clip}".removesuffix(" CLIP")
        if clip
        else f"posteriors of {table.name}"
    )
    if not (~np.isnan(part)).any():
        raise Unfit(f"{column.name} is not known of any face.")
    order = _ordered(column.levels)
    if order is not None:
        part = part[:, order]
    levels = column.levels if order is None else tuple(column.levels[i] for i in order)
    return Attribute(column.name, levels, part, not hard, source, order is not None)


def _categories(name: str, values: Any, source: str) -> Attribute:
    """An attribute of texts."""
    import pandas as pd

    ordered = isinstance(values.dtype, pd.CategoricalDtype) and bool(values.dtype.ordered)
    given = [str(c).strip() for c in values.dtype.categories] if ordered else None
    texts = values.astype(object).where(values.notna(), "").map(lambda v: str(v).strip())
    codes, uniques = pd.factorize(texts, use_na_sentinel=False)
    names = [str(u) for u in uniques]
    levels = [n for n in names if n]
    if len(levels) > MOST_LEVELS:
        raise Unfit(f"{name} has {len(levels):,} different values; an attribute has at most {MOST_LEVELS}.")
    if len(levels) < 2:
        raise Unfit(
            f"{name} is {levels[0]!r} of every face; there is no other group to compare with." if levels
            else f"{name} is not known of any face."
        )  # fmt: skip
    if given is not None:
        levels = [n for n in dict.fromkeys(given) if n in levels]
    else:
        levels = sorted(levels)
        order = _ordered(levels)
        ordered = order is not None
        levels = levels if order is None else [levels[i] for i in order]
    place = np.array([levels.index(n) if n else -1 for n in names])
    shown = tuple(levels)
    if {n.lower() for n in levels} <= _YES | _NO and len(levels) == 2:
        answers = tuple(f"{name}: {'yes' if n.lower() in _YES else 'no'}" for n in levels)
        shown = answers if len(set(answers)) == 2 else shown
    return Attribute(name, shown, one_hot(place[codes], len(levels)), False, source, ordered)


def _numbers(values: pd.Series) -> NDArray[np.float64] | None:
    """(N,) numbers, NaN where empty; None where a value is none."""
    import pandas as pd

    if values.dtype.kind in "bMm" or isinstance(values.dtype, (pd.BooleanDtype, pd.CategoricalDtype)):
        return None
    if values.dtype == object and any(isinstance(v, (bool, np.bool_)) for v in values.dropna()):
        return None
    numbers = pd.to_numeric(values, errors="coerce")
    if not numbers.notna().any() or (numbers.isna() & values.notna()).any():
        return None
    found = numbers.to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(found), found, np.nan)


def _ordered(levels: Sequence[str]) -> list[int] | None:
    """The order of levels that have one: known words, or ranges such as 10-19; None for others."""
    lower = [level.lower() for level in levels]
    for order in _ORDERS:
        if len(levels) > 1 and set(lower) <= set(order):
            return sorted(range(len(levels)), key=lambda i: order.index(lower[i]))
    starts = [re.match(r"\D{0,12}?(\d+)\s*(-|–|to|\+|and|and above)", level) for level in lower]
    if len(levels) > 1 and all(starts):
        return sorted(range(len(levels)), key=lambda i: int(starts[i].group(1)))  # type: ignore[union-attr]
    return None


def _drawn(table: Table) -> bool:
    """Whether idfer made all of a table's faces, so that their factors have levels of known names."""
    from idfer.data.manifest import OWN

    return "source" in table and bool(table.columns(["source"])["source"].isin(OWN).all())


def _drawn_levels(name: str, numbers: NDArray[np.float64]) -> pd.Series | None:
    """Names of a drawn factor's levels; None where it has none."""
    import pandas as pd

    from idfer.synthetic.factors import level

    try:
        named = level(name, np.nan_to_num(numbers)).astype(object)
    except UsageError:
        return None
    named[np.isnan(numbers)] = None
    return pd.Series(named)
