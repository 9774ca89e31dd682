"""The verdict on two models: is one more accurate, which gaps differ, and which is the surest difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idfer.auditing.engine import AuditSettings
from idfer.auditing.tables import records

if TYPE_CHECKING:
    import pandas as pd


def comparison_verdict(
    gaps: pd.DataFrame, overall: pd.DataFrame, first: str, second: str, settings: AuditSettings
) -> list[str]:
    """Three sentences: accuracy, the gaps that differ, and those that are smaller or larger."""
    of = {(row["metric"], row["dimension"]): row for row in records(overall)}
    row = of.get(("ccc", "mean")) or next(iter(of.values()))
    sure = row["p_adjusted"] <= 1 - settings.level
    metric = row["metric"].upper() if row["metric"] in ("ccc", "rmse") else row["metric"]
    what = "mean of valence and arousal" if row["dimension"] == "mean" else row["dimension"]
    said = [
        f"{metric} ({what}) is {row['value_a']:.3f} of {first} and {row['value_b']:.3f} of {second}: "
        f"{'they differ' if sure else 'no difference is told from chance'} "
        f"({row['difference']:+.3f}, interval {row['low']:+.3f} to {row['high']:+.3f})."
    ]
    if not len(gaps):
        return [
            *said,
            f"No gap was compared: no attribute has two groups of {settings.min_people} people among the "
            "faces that both have.",
        ]
    told = [r for r in records(gaps) if r["p_adjusted"] <= 1 - settings.level]
    if not told:
        return [*said, f"Of {len(gaps)} gaps none differs between the two by more than chance makes of it."]
    largest = max(told, key=lambda r: abs(r["difference"]) / abs(r["high"] - r["low"]))
    smaller = sum(abs(r["gap_b"]) < abs(r["gap_a"]) for r in told)
    said.append(
        f"{len(told)} of {len(gaps)} gaps differ, corrected over all of them: {smaller} are smaller in "
        f"{second}, {len(told) - smaller} larger."
    )
    said.append(
        f"The surest is {largest['metric']} of {largest['dimension']} between {largest['level_a']} and "
        f"{largest['level_b']}: {largest['gap_a']:+.3f} in {first}, {largest['gap_b']:+.3f} in {second}."
    )
    return said
