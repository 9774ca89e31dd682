"""The verdict on two models: is one more accurate, which gaps differ, and which is the surest difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from idfer.auditing.engine import AuditSettings
from idfer.auditing.tables import records
from idfer.auditing.wording import METRICS, brief, thousandths

if TYPE_CHECKING:
    import pandas as pd


def comparison_verdict(
    gaps: pd.DataFrame, overall: pd.DataFrame, first: str, second: str, settings: AuditSettings
) -> list[str]:
    """Two or three sentences: accuracy, how many gaps differ and which way, and the clearest of them."""
    said = [_overall(records(overall), first, second, 1 - settings.level)]
    if not len(gaps):
        return [
            *said,
            f"No gap was compared: no attribute has two groups of {settings.min_people} people among the "
            "faces that both have.",
        ]
    told = [r for r in records(gaps) if r["p_adjusted"] <= 1 - settings.level]
    if not told:
        return [*said, f"None of {len(gaps)} gaps between groups surely differs between the two."]
    largest = max(told, key=lambda r: abs(r["difference"]) / abs(r["high"] - r["low"]))
    smaller = sum(abs(r["gap_b"]) < abs(r["gap_a"]) for r in told)
    counted = [f"{n} {'is' if n == 1 else 'are'} {how}" for n, how in (
        (smaller, f"smaller in {second}"), (len(told) - smaller, f"larger in {second}"),
    ) if n]  # fmt: skip
    said.append(
        f"{len(told)} of {len(gaps)} gaps between groups differ between the two (at most "
        f"{brief(100 * (1 - settings.level))}% risk that any of them is a false alarm): {', '.join(counted)}."
    )
    said.append(
        f"The clearest is that in {METRICS[largest['metric']]} of {_of(largest)}: {largest['level_a']} minus "
        f"{largest['level_b']} is {thousandths(largest['gap_a'], True)} in {first} and "
        f"{thousandths(largest['gap_b'], True)} in {second}."
    )
    return said


def _overall(rows: Sequence[Mapping[str, Any]], first: str, second: str, error: float) -> str:
    """How the two compare over everybody."""
    of = {(row["metric"], row["dimension"]): row for row in rows}
    row = of.get(("ccc", "mean")) or of.get(("mean", "mean")) or rows[0]
    sure, higher = row["p_adjusted"] <= error, row["difference"] > 0
    better, worse = (second, first) if higher else (first, second)
    if row["metric"] == "ccc":
        said = f"{better} agrees better with the labels than {worse}"
        said = said if sure else "Neither model surely agrees better with the labels"
    else:
        said = f"On the whole {better} predicts higher values than {worse}"
        said = said if sure else "Neither model surely predicts higher values on the whole"
    low, high = (thousandths(row[end], True) for end in ("low", "high"))
    return (
        f"{said}: {METRICS[row['metric']]} of {_of(row)} is {thousandths(row['value_a'])} in {first} and "
        f"{thousandths(row['value_b'])} in {second} (difference {thousandths(row['difference'], True)}, "
        f"interval {low} to {high})."
    )


def _of(row: Mapping[str, Any]) -> str:
    return "valence and arousal (their mean)" if row["dimension"] == "mean" else str(row["dimension"])
