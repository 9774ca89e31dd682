"""Three plain sentences: the clearest gap, the largest leak beside its control, what could not be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.auditing.simultaneous import widened
from idfer.auditing.wording import METRICS, brief

if TYPE_CHECKING:
    import pandas as pd


def verdict(
    gaps: pd.DataFrame,
    leakage: pd.DataFrame,
    power: pd.DataFrame,
    *,
    name: str,
    people: int,
    units: str,
    withheld: Sequence[str],
    error: float,
    found_with: float,
) -> tuple[str, str, str]:
    """Say what matters.

    Args:
        gaps: the table, with a column `strength`: |T| of each test.
        leakage: the table.
        power: the table.
        name: what is audited.
        people: how many.
        units: what they are: "people" or "rows".
        withheld: names of groups that were withheld.
        error: family-wise error rate of the tests.
        found_with: the chance that `power` speaks of.
    """
    return (
        _gap(gaps, name, error),
        _leak(leakage, name),
        _unseen(power, found_with, people, units, withheld),
    )


def _gap(gaps: pd.DataFrame, name: str, error: float) -> str:
    if not len(gaps):
        return f"No gap of {name} between groups was tested."
    found = gaps[gaps["significant"].astype(bool)]
    if not len(found):
        return (
            f"No gap of {name} between groups stands out from chance in {len(gaps):,} tests (at most "
            f"{brief(100 * error)}% risk that any of them is a false alarm)."
        )
    plain = found[found["kind"] == "pair"]
    worst: Any = (plain if len(plain) else found).sort_values("strength", ascending=False).iloc[0]
    of = "both dimensions" if worst["dimension"] == "mean" else worst["dimension"]
    gap = worst["gap"]
    ends = sorted(end * np.sign(gap) for end in (worst["low"], worst["high"]))
    standardised = ""
    if np.isfinite(worst["standardised_gap"]):
        standardised = f", {brief(worst['standardised_gap'] * np.sign(gap))} at equal labels"
    more = len(found) - 1
    rest = f"; {more:,} more of {len(gaps):,} tests are significant" if more else ""
    return (
        f"{name} does not read all groups of {worst['attribute']} alike: {METRICS[worst['metric']]} of {of} "
        f"is {brief(abs(gap))} {'higher' if gap > 0 else 'lower'} for {worst['level_a']} than for "
        f"{worst['level_b']} (interval {' to '.join(map(brief, ends))}{standardised})"
        f"{rest}."
    )


def _leak(leakage: pd.DataFrame, name: str) -> str:
    found = leakage[
        leakage["score"].notna()
        & ~leakage["feature"].isin(["labels", "prediction + labels"])
        & (leakage["attribute"] != "identity")
    ]
    if not len(found):
        return f"What {name} tells about identity was not measured."
    wide = widened(len(found))  # else one of many probes would leak by chance
    sure = found[found["score"] > wide * (found["score"] - found["low"])]
    worst: Any = (sure if len(sure) else found).sort_values("score", ascending=False).iloc[0]
    same = (leakage["attribute"] == worst["attribute"]) & (leakage["feature"] == "labels")
    control = leakage[same & (leakage["probe"] == worst["probe"])]["score"]
    beside = (
        f"the labels alone give {max(0.0, float(control.iloc[0])):.0%}"
        if len(control) and np.isfinite(control.iloc[0])
        else "there are no labels to compare with"
    )
    if not len(sure):
        return (
            f"No attribute is surely read from {name} on unseen people: the best of {len(found)} probes gets "
            f"{max(0.0, worst['score']):.0%} of the way from chance to certainty ({worst['attribute']} from "
            f"{worst['feature']}); {beside}."
        )
    return (
        f"Of the attributes, {worst['attribute']} leaks most: from {worst['feature']}, a probe reads it of "
        f"unseen people {worst['score']:.0%} of the way from chance to certainty "
        f"({max(0.0, worst['low']):.0%} to {min(1.0, worst['high']):.0%}); {beside}."
    )


def _unseen(table: pd.DataFrame, power: float, people: int, units: str, withheld: Sequence[str]) -> str:
    hidden = ""
    if withheld:
        listed = ", ".join(withheld[:3]) + (f" and {len(withheld) - 3} more" if len(withheld) > 3 else "")
        hidden = f"; nothing is said of {listed}, which have too few people"
    plain = table[table["level_b"] != "everybody else"]
    plain = plain if len(plain) else table
    metric = next((m for m in ("rmse", "mean") if (plain["metric"] == m).any()), None)
    least = plain[(plain["metric"] == metric) & (plain["dimension"] == "mean") & plain["detectable"].notna()]
    if metric is None or not len(least):
        return f"With {people:,} {units} no gap could have been found{hidden}."
    ordered = least.sort_values("detectable")
    best, worst = ordered.iloc[0], ordered.iloc[-1]
    several = ""
    if len(ordered) > 1:
        several = f", and one of {_sides(worst)} from {brief(worst['detectable'])}"
    return (
        f"With {people:,} {units}, a gap in {METRICS[metric]} is found with {power:.0%} chance from "
        f"{brief(best['detectable'])} on ({_sides(best)}){several}; smaller ones may be there unseen{hidden}."
    )


def _sides(test: pd.Series) -> str:
    return f"{test['attribute']}, {test['level_a']} against {test['level_b']}"
