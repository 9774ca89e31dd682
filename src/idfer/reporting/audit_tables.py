"""The tables of an audit's page, each from the rows of audit.json; those without rows are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idfer.reporting.audit_words import (
    CROSSING,
    METRICS,
    Row,
    Rows,
    compared,
    count,
    in_order,
    measure,
    metric_of,
    p_text,
    place,
    share,
    value_of,
    with_interval,
)
from idfer.reporting.style import number
from idfer.reporting.table import Cell, Table

MOST = 120  # rows of a table; all are in audit.json
LONG = 8  # rows from which on a table is folded: each is a card on a telephone


def accuracy(audit: Mapping[str, Any]) -> Table | None:
    """A row per dimension, a column per metric."""
    rows = audit["accuracy"]
    metrics = in_order(rows, "metric", METRICS)
    return cut(
        "Agreement with the labels over everybody. CCC: 1 is perfect, 0 is none. RMSE: size of an error. "
        "Bias: mean of prediction − label. Calibration slope: 1 is calibrated. In brackets the "
        f"{share(audit['settings']['level'])} interval over people.",
        ["Dimension", *(_head(m) for m in metrics), "Faces", "People"],
        [[*key, *cells] for key, cells in _spread(rows, ("dimension",), metrics)],
        "dimensions",
    )


def groups(audit: Mapping[str, Any]) -> list[Table]:
    """Levels by the mean of both dimensions, then by dimension, then crossings."""
    rows = audit["groups"]
    levels = [row for row in rows if CROSSING not in row["attribute"]]
    means = [row for row in levels if row["dimension"] == "mean"]
    crossed = [row for row in rows if CROSSING in row["attribute"]]
    crossed = [row for row in crossed if row["dimension"] == "mean"] or crossed
    settings = audit["settings"]
    said = (
        f"{share(settings['level'])} intervals over people. Groups of fewer than "
        f"{settings['min_people']} people are merged with their neighbours or withheld."
    )
    of = ", mean of valence and arousal" if means else ""
    found = [
        _group_table(means or levels, f"Every group{of}. {said}", long=f"Every group{of}, as a table"),
        _group_table(levels if means else [], f"Every group by dimension. {said}", "Groups by dimension"),
        _group_table(
            crossed, f"Groups of two attributes at once{of}. {said}", "Groups of two attributes at once"
        ),
    ]
    return [table for table in found if table is not None]


def gaps(audit: Mapping[str, Any]) -> list[Table]:
    """Gaps told from zero, then all between levels, then those of crossings."""
    unseen = {place(row): value_of(row, "detectable") for row in audit["power"]}
    rows = [row for row in audit["gaps"] if row["gap"] is not None]
    told = [row for row in rows if row["significant"]]
    pairs = [row for row in rows if row.get("kind") != "rest"]
    crossed = [row for row in rows if row.get("kind") == "rest"]
    settings = audit["settings"]
    said = (
        f"Gap: first group minus second, with its {share(settings['level'])} interval over people. p: over "
        "all tests together, * where told from 0. At equal labels: both groups weighted to the same labels, "
        "given where labels go with the attribute. Detectable: the smallest gap that is found in "
        f"{share(settings['power'])} of such samples."
    )
    parts = [
        (
            _sorted(told), f"The {len(told)} gaps told from 0, by metric, largest first. {said}",
            f"The {len(told)} gaps told from 0 as a table" if len(told) > LONG else "",
        ),
        (pairs, f"All gaps between levels of an attribute. {said}", f"All {len(pairs)} gaps between levels"),
        (
            _sorted(crossed), f"Groups of two attributes at once against everybody else. {said}",
            f"{len(crossed)} gaps of groups of two attributes at once",
        ),
    ]  # fmt: skip
    heads = ("Groups", "Dimension", "Metric", "Gap", "p", "At equal labels", "Detectable", "People")
    found = [
        cut(caption, heads, [_gap_cells(row, unseen) for row in part], "gaps", folded)
        for part, caption, folded in parts
    ]
    return [table for table in found if table is not None]


def leakage(audit: Mapping[str, Any]) -> Table | None:
    """All probes."""
    rows: list[list[Cell]] = [
        [
            measure(row["feature"]), measure(row["attribute"]), row["probe"],
            f"not measured: {row['note']}" if row["score"] is None else with_interval(row, "score"),
            number(row["chance"]), number(row["ceiling"]), count(row["people"]),
        ]
        for row in audit["leakage"]
    ]  # fmt: skip
    return cut(
        "All probes. Score, chance and ceiling on one scale: 0 is chance, 1 is read perfectly. Ceiling: the "
        "most that anybody could read where levels are noisy.",
        ("Features", "Attribute", "Probe", "Score", "Chance", "Ceiling", "People"), rows, "probes",
        "All probes as a table",
    )  # fmt: skip


def information(audit: Mapping[str, Any]) -> Table | None:
    """Nats of attributes in features, against shuffled attributes."""
    found = [row for row in audit["information"] if row["nats"] is not None]
    estimators = list(dict.fromkeys(row["estimator"] for row in found if row["estimator"]))
    rows: list[list[Cell]] = [
        [
            measure(row["feature"]), measure(row["attribute"]), with_interval(row, "nats", places=3),
            number(row["null_high"], 3), p_text(row.get("p")),
        ]
        for row in found
    ]  # fmt: skip
    return cut(
        "Information in nats that features hold of an attribute. “| labels”: beyond what the labels tell. "
        "Shuffled: the upper end of what is found when the attribute is shuffled over people; below it there "
        f"is nothing to see. By {'; '.join(estimators) or 'an estimator that is not named'}.",
        ("Features", "Attribute", "Nats", "Shuffled", "p"), rows, "estimates",
        "Information in nats as a table",
    )  # fmt: skip


def sensitivity(audit: Mapping[str, Any]) -> Table | None:
    """How errors of a classified attribute bear on gaps; the largest gaps first."""
    rows: list[list[Cell]] = [
        [
            compared(row), row["dimension"], metric_of(row), number(row["gap"], signed=True),
            share(row["error_rate"]), number(row["corrected_gap"], signed=True),
            share(row["error_to_vanish"]), share(row["error_to_make"]),
        ]
        for row in sorted(audit["sensitivity"], key=lambda row: -abs(row["gap"] or 0))
    ]  # fmt: skip
    return cut(
        "Attributes that a classifier gave. Error: the share of levels it gets wrong, as estimated. "
        "Corrected: the gap if its errors fell on all alike. To hide, to make: the share of wrong levels at "
        "which a gap like this would vanish, or could arise from errors alone.",
        ("Groups", "Dimension", "Metric", "Gap", "Error", "Corrected", "To hide", "To make"), rows, "gaps",
        most=24, long="What errors do to each gap, as a table",
    )  # fmt: skip


def effects(audit: Mapping[str, Any]) -> Table | None:
    """Effects of interventions: a row per attribute."""
    rows = audit["effects"]
    dimensions = list(dict.fromkeys(row["dimension"] for row in rows))
    at = {(row["attribute"], row["dimension"]): row for row in rows}
    cells: list[list[Cell]] = [
        [
            measure(a),
            *(with_interval(at[a, d], "effect", True) if (a, d) in at else "n/a" for d in dimensions),
        ]
        for a in dict.fromkeys(row["attribute"] for row in rows)
    ]
    return cut(
        "Change of the prediction at the same expression, with its 95 % interval.",
        ("Attribute", *(_capital(d) for d in dimensions)), cells, "effects", "Effects as a table",
    )  # fmt: skip


def components(audit: Mapping[str, Any]) -> Table | None:
    """How far predictions spread with expression, person and the rest: a row per dimension."""
    rows = audit["components"]
    parts = list(dict.fromkeys(row["part"] for row in rows))
    at = {(row["dimension"], row["part"]): row for row in rows}
    cells: list[list[Cell]] = [
        [d, *(with_interval(at[d, part], "value") if (d, part) in at else "n/a" for part in parts)]
        for d in dict.fromkeys(row["dimension"] for row in rows)
    ]
    return cut(
        "How far predictions spread over the drawn faces, as a standard deviation, and its ratios. "
        "Interaction: one person's expression read otherwise than another's, and all that is left.",
        ("Dimension", *(_capital(part.replace("_", " ")) for part in parts)), cells, "dimensions",
    )  # fmt: skip


def overall(audit: Mapping[str, Any], names: Sequence[str]) -> Table | None:
    """Two models' accuracy over everybody, and the paired difference."""
    cells: list[list[Cell]] = [
        [
            row["dimension"], metric_of(row), number(row["value_a"]), number(row["value_b"]),
            with_interval(row, "difference", True), p_text(row["p_adjusted"]),
        ]
        for row in audit["accuracy_comparison"]
    ]  # fmt: skip
    return cut(
        f"Agreement with the labels over everybody: {names[1]} minus {names[0]}, paired.",
        ("Dimension", "Metric", names[0], names[1], "Difference", "p"), cells, "metrics", row_heads=2,
    )  # fmt: skip


def comparison(rows: Rows, names: Sequence[str]) -> Table | None:
    """Gaps of two models and their paired differences."""
    cells: list[list[Cell]] = [
        [
            compared(row), row["dimension"], metric_of(row), number(row["gap_a"], signed=True),
            number(row["gap_b"], signed=True), with_interval(row, "difference", True),
            p_text(row["p_adjusted"]),
        ]
        for row in sorted(rows, key=lambda row: (row["p_adjusted"] is None, row["p_adjusted"] or 0))
    ]  # fmt: skip
    return cut(
        "Gaps of both models on the same faces, and their difference with its interval over people. p: over "
        "all tests together.",
        ("Groups", "Dimension", "Metric", f"Gap of {names[0]}", f"Gap of {names[1]}", "Difference", "p"),
        cells, "comparisons", "All comparisons as a table",
    )  # fmt: skip


def cut(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    what: str,
    folded: str = "",
    most: int = MOST,
    row_heads: int = 1,
    columns: int = 2,
    kind: str = "stacked cards tall",
    long: str = "",
) -> Table | None:
    """A table of at most so many rows, that says how many it leaves out; None without rows.

    It stands behind the fold `folded`, or behind `long` where it has more than `LONG` rows.
    """
    if not rows:
        return None
    if len(rows) > most:
        caption += f" Here are the first {most} of {len(rows)} {what}; all are in audit.json."
    fold = folded or (long if len(rows) > LONG else "")
    return Table(caption, heads, rows[:most], row_heads, kind, columns, fold)


def _group_table(rows: Rows, caption: str, folded: str = "", long: str = "") -> Table | None:
    metrics = in_order(rows, "metric", METRICS)
    single = len({row["dimension"] for row in rows}) == 1
    keys = ("attribute", "level") if single else ("attribute", "level", "dimension")
    heads = ["Group", *([] if single else ["Dimension"]), *(_head(m) for m in metrics), "Faces", "People"]
    cells: list[list[Cell]] = [
        [f"{measure(key[0])}: {key[1]}", *key[2:], *values] for key, values in _spread(rows, keys, metrics)
    ]
    return cut(caption, heads, cells, "groups", folded, row_heads=1 if single else 2, long=long)


def _spread(
    rows: Rows, keys: Sequence[str], metrics: Sequence[str]
) -> list[tuple[tuple[str, ...], list[Cell]]]:
    """Rows of a long table side by side: what names them; a cell per metric, faces and people."""
    grouped: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        grouped.setdefault(tuple(str(row[name]) for name in keys), {})[row["metric"]] = row
    spread: list[tuple[tuple[str, ...], list[Cell]]] = []
    for key, by_metric in grouped.items():
        first = next(iter(by_metric.values()))
        note = first.get("note") or ""
        values: list[Cell] = [_value(by_metric.get(m)) for m in metrics]
        if note and all(row["value"] is None for row in by_metric.values()):
            values = [note, *[""] * (len(metrics) - 1)]
        elif note and len(key) > 1:
            key = (key[0], f"{key[1]} ({note})", *key[2:])
        if keys[-1] == "dimension":
            key = (*key[:-1], str(first["dimension"]))
        spread.append((key, [*values, count(first["rows"]), count(first["people"])]))
    return spread


def _value(row: Row | None) -> Cell:
    return "n/a" if row is None else with_interval(row, "value", signed=row["metric"] in ("bias", "mean"))


def _gap_cells(row: Row, unseen: Mapping[tuple[str, ...], float]) -> list[Cell]:
    equal: Cell = "n/a"
    if row.get("standardised_gap") is not None:
        equal = with_interval(row, "standardised_gap", True, ends="standardised_")
    return [
        compared(row), row["dimension"], metric_of(row), with_interval(row, "gap", True),
        p_text(row["p_adjusted"]) + ("\u00a0*" if row["significant"] else ""), equal,
        number(unseen.get(place(row))), f"{count(row.get('people_a'))},\u00a0{count(row.get('people_b'))}",
    ]  # fmt: skip


def _sorted(rows: Rows) -> list[Row]:
    order = in_order(rows, "metric", METRICS)
    return sorted(rows, key=lambda row: (order.index(row["metric"]), -abs(row["gap"])))


def _head(metric: str) -> str:
    return _capital(metric_of({"metric": metric}))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
