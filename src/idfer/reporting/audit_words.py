"""An audit's names and numbers for a reader."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idfer.reporting.style import number

Row = Mapping[str, Any]  # of a table of audit.json
Rows = Sequence[Row]

CROSSING = " x "  # what the name of two attributes crossed holds


@dataclass(frozen=True)
class Metric:
    """How a metric is called, and what a gap in it says.

    Attributes:
        short: its name on a page.
        direction: which way the axis of gaps runs.
    """

    short: str
    direction: str


METRICS = {
    "ccc": Metric("CCC", "← first group read worse      first group read better →"),
    "rmse": Metric("RMSE", "← first group read better      first group read worse →"),
    "bias": Metric("bias", "← read lower      read higher →\n(than labelled, against the second group)"),
    "slope": Metric("calibration slope", "← read strongly      read weakly →\n(against the second group)"),
    "mean": Metric("mean prediction", "← first group read lower      first group read higher →"),
}  # fmt: skip


def measure(name: str) -> str:
    """An attribute or feature as it stands in a sentence."""
    return name.replace("_", " ").replace(CROSSING, " × ")


def compared(row: Row) -> str:
    """Which two groups a gap is between: "age: older − younger"."""
    return f"{measure(row['attribute'])}: {row['level_a']} − {row['level_b']}"


def dimension_of(row: Row) -> str:
    """What a row is of: "valence", "arousal", "mean of both"."""
    return "mean of both" if row["dimension"] == "mean" else str(row["dimension"])


def metric_of(row: Row) -> str:
    """In which metric: "CCC", "RMSE", ..."""
    name = str(row["metric"])
    return METRICS[name].short if name in METRICS else name


def place(row: Row) -> tuple[str, ...]:
    """What tells one gap from the others, alike in `gaps`, `power` and `sensitivity`."""
    return tuple(row[name] for name in ("attribute", "level_a", "level_b", "dimension", "metric"))


def value_of(row: Row, name: str) -> float:
    """A number of a row; NaN for null."""
    value = row.get(name)
    return float("nan") if value is None else float(value)


def with_interval(
    row: Row, name: str, signed: bool = False, places: int = 2, ends: str = ""
) -> tuple[str, str]:
    """A value and its interval as the two parts of a table's cell.

    Args:
        row: of audit.json.
        name: of the value.
        signed: whether a plus sign stands before what is not negative.
        places: digits after the point.
        ends: what stands before `low` and `high`.
    """
    low, high = (number(row.get(f"{ends}{end}"), places, signed) for end in ("low", "high"))
    return number(row[name], places, signed), "" if low == high == "n/a" else f"[{low}, {high}]"


def interval_text(row: Row, name: str, signed: bool = False) -> str:
    """A value with its interval: "−0.14 [−0.19, −0.09]"."""
    return " ".join(with_interval(row, name, signed)).strip()


def p_text(p: float | None) -> str:
    """A p value: "0.012", "< 0.001", "n/a"."""
    if p is None:
        return "n/a"
    return "<\u00a00.001" if p < 0.001 else number(p, 3)


def count(value: float | None) -> str:
    """A number of things: "8,240"; "n/a" where it is withheld."""
    return "n/a" if value is None else f"{int(value):,}"


def share(value: float | None) -> str:
    """A part of a whole: "14 %"; "n/a" for null."""
    return "n/a" if value is None else f"{100 * value:.{1 if 0.99 < value < 1 else 0}f} %"


def in_signs(text: str) -> str:
    """Text with true minus and multiplication signs; hyphens within words and ranges stay."""
    return re.sub(r"(?<![\w.)-])-(?=\.?\d)", "−", text).replace(CROSSING, " × ")


def in_order(rows: Rows, name: str, order: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """The values that a column has, in the order given; others last, as they come."""
    seen = list(dict.fromkeys(row[name] for row in rows))
    return [value for value in order if value in seen] + [value for value in seen if value not in order]
