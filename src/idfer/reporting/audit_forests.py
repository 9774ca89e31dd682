"""The forest plots of an audit: gaps, effects of drawn changes, and two models' gaps beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idfer.auditing.interventions import told
from idfer.evaluation.anova import NAMED
from idfer.reporting.audit_words import (
    METRICS,
    Row,
    Rows,
    compared,
    dimension_of,
    in_order,
    interval_text,
    metric_of,
    place,
    value_of,
)
from idfer.reporting.forest import Lane, forest
from idfer.reporting.invariance import UNNAMED, in_words
from idfer.reporting.style import number
from idfer.reporting.svg import Chart, key, legend

DIMENSIONS = ("valence", "arousal", "mean")  # series, in this order of colours and markers
SHOWN = 6  # rows of a panel; the others are in its table
_NAN = float("nan")
_TOLD = [
    key("filled, with a number and *: told from 0 over all tests", "ink", "o"),
    key("hollow: not told from 0", "ink", "o", hollow=True),
]


def gaps(audit: Mapping[str, Any]) -> Chart | None:
    """A panel per metric, a row per two groups, a lane per dimension; None without gaps."""
    found = [row for row in audit["gaps"] if row["gap"] is not None]
    unseen = {place(row): value_of(row, "detectable") for row in audit["power"]}
    panels, said = [], []
    for metric in in_order(found, "metric", METRICS):
        part = [row for row in found if row["metric"] == metric]
        rows = [
            (compared(pair[0]), [_gap_lane(row, unseen) for row in sorted(pair, key=_series)])
            for pair in _largest(part, unseen)
        ]
        panels.append(forest(f"Gap in {metric_of(part[0])}", rows, _direction(metric)))
        sure = [row for row in part if row["significant"]]
        largest = max(sure or part, key=lambda row: abs(row["gap"]))
        said.append(
            f"{metric_of(largest)}: {len(sure)} of {len(part)} told from 0; the largest "
            f"{'of them ' if sure else ''}is {compared(largest)}, {dimension_of(largest)}, "
            f"{interval_text(largest, 'gap', signed=True)}."
        )
    missed = 100 - 100 * audit["settings"]["power"]
    band = key(f"grey band: a gap in here is missed in over {missed:.0f} % of samples", "line", "_")
    keys = [*_dimensions(found), *_TOLD, band]
    alt = f"Gaps between groups. {' '.join(said)} The rest is in the tables below."
    return Chart(panels, alt, keys, kind="top") if panels else None


def effects(audit: Mapping[str, Any]) -> Chart | None:
    """A row per attribute, a lane per dimension, the largest effects only; None without interventions."""
    found = [row for row in audit["effects"] if row["effect"] is not None]
    rows, said = [], []
    for attribute in _first_effects(found):
        part = sorted((row for row in found if row["attribute"] == attribute), key=_series)
        rows.append((in_words(attribute), [_effect_lane(row, len(found)) for row in part]))
        values = ", ".join(f"{row['dimension']} {interval_text(row, 'effect', signed=True)}" for row in part)
        said.append(f"{in_words(attribute)}: {values}")
    if not rows:
        return None
    keys = [
        *_dimensions(found),
        key("filled, with a number and *: told from 0 over all effects", "ink", "o"),
        key("hollow: not told from 0", "ink", "o", hollow=True),
    ]
    panels = [forest("Effect at the same expression", rows, "change of the prediction")]
    return Chart(panels, f"Effects of what was drawn otherwise. {'; '.join(said[:6])}. See the table.", keys)


def _first_effects(rows: Rows) -> list[str]:
    """Attributes that models are told of, then the others with the largest effects."""
    largest: dict[str, float] = {}
    for row in rows:
        largest[row["attribute"]] = max(largest.get(row["attribute"], 0.0), abs(row["effect"]))
    others = sorted((name for name in largest if name not in NAMED), key=lambda name: -largest[name])
    return [*(name for name in NAMED if name in largest), *others[:UNNAMED]]


def comparison(audit: Mapping[str, Any], names: Sequence[str]) -> Chart | None:
    """Two models' gaps and their difference: a panel per metric, of the largest differences; None without."""
    found = [row for row in audit["comparison"] if row["difference"] is not None]
    alpha = 1 - audit["settings"]["level"]
    panels, said = [], []
    for metric in in_order(found, "metric", METRICS):
        part = sorted(
            (row for row in found if row["metric"] == metric),
            key=lambda row: (not _told(row, alpha), -abs(row["difference"])),
        )
        rows = [
            (f"{compared(row)}, {dimension_of(row)}", _compared_lanes(row, alpha)) for row in part[:SHOWN]
        ]
        panels.append(forest(f"Gap in {metric_of(part[0])}", rows, "gap of each, and their difference"))
        first, count = part[0], sum(_told(row, alpha) for row in part)
        both = " and ".join(number(first[name], signed=True) for name in ("gap_a", "gap_b"))
        said.append(
            f"{metric_of(first)}: {count} of {len(part)} differences told from 0; the first is "
            f"{compared(first)}, {dimension_of(first)}: {both}, difference "
            f"{interval_text(first, 'difference', signed=True)}."
        )
    keys = [*legend([f"gap of {names[0]}", f"gap of {names[1]}", "difference"]), *_TOLD]
    whole = " ".join([*said, "The rest is in the table below."])
    alt = f"Gaps of {names[0]} and {names[1]} on the same faces. {whole}"
    return Chart(panels, alt, keys, kind="top") if panels else None


def _largest(part: Rows, unseen: Mapping[tuple[str, ...], float]) -> list[list[Row]]:
    """Gaps of one metric by pair of groups: told ones first, then pairs before crossings, then by size."""
    pairs: dict[tuple[str, ...], list[Row]] = {}
    for row in part:
        pairs.setdefault(place(row)[:3], []).append(row)

    def rank(pair: list[Row]) -> tuple[bool, bool, float]:
        sure = any(row["significant"] for row in pair)
        size = max(abs(row["gap"]) / (unseen.get(place(row)) or 1.0) for row in pair)
        return (not sure, pair[0].get("kind") == "rest", -size)

    return sorted(pairs.values(), key=rank)[:SHOWN]


def _gap_lane(row: Row, unseen: Mapping[tuple[str, ...], float]) -> Lane:
    return Lane(
        row["gap"], value_of(row, "low"), value_of(row, "high"), _series(row), bool(row["significant"]),
        unseen.get(place(row), _NAN),
    )  # fmt: skip


def _effect_lane(row: Row, among: int) -> Lane:
    low, high = value_of(row, "low"), value_of(row, "high")
    return Lane(row["effect"], low, high, _series(row), told(row, among))


def _compared_lanes(row: Row, alpha: float) -> list[Lane]:
    difference = Lane(
        row["difference"], value_of(row, "low"), value_of(row, "high"), 2, _told(row, alpha)
    )  # fmt: skip
    return [
        *(Lane(value_of(row, name), _NAN, _NAN, i, None) for i, name in enumerate(("gap_a", "gap_b"))),
        difference,
    ]


def _told(row: Row, alpha: float) -> bool:
    return row["p_adjusted"] is not None and row["p_adjusted"] <= alpha


def _series(row: Row) -> int:
    return DIMENSIONS.index(row["dimension"])


def _dimensions(rows: Rows) -> list[dict[str, str]]:
    """A key per dimension that rows have."""
    keys = legend([dimension_of({"dimension": name}) for name in DIMENSIONS])
    return [keys[series] for series in sorted({_series(row) for row in rows})]


def _direction(metric: str) -> str:
    return METRICS[metric].direction if metric in METRICS else "first group minus second"
