"""`--fail-on gap=0.1,leak=0.3`: an audit as a gate. What is not sure does not fail it.

gap     the largest significant gap (corrected over all tests) in CCC, RMSE or bias
leak    the largest share that a probe reads of an attribute beyond what the labels alone tell, where its
        interval lies above the labels'
effect  the largest effect of an attribute on drawn faces whose interval leaves out 0
label   the largest normalised mutual information of labels and an attribute, where its adjusted p <= 1 -
        level (data sets)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.errors import UsageError, unknown

if TYPE_CHECKING:
    from idfer.auditing.engine import Audit

GAP_METRICS = ("ccc", "rmse", "bias", "mean")  # in units of the labels' range; a slope is not
FAILED = 3
"""Exit code of an audit that a gate stopped."""


def parse_gate(text: Mapping[str, float] | str) -> dict[str, float]:
    """`gap=0.1,leak=0.3` as limits by name.

    Raises:
        UsageError: an unknown name, or a limit that is no number from 0 to 2.
    """
    if isinstance(text, str):
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        given: dict[str, Any] = {name.strip(): value.strip() for name, _, value in pairs}
    else:
        given = dict(text)
    limits: dict[str, float] = {}
    for name, value in given.items():
        if name not in _LARGEST:
            raise unknown("limit in --fail-on", name, list(_LARGEST))
        try:
            limits[name] = float(value)
        except (TypeError, ValueError):
            limits[name] = float("nan")
        if not 0 <= limits[name] <= 2:
            raise UsageError(
                f"--fail-on: {name}={value or 'nothing'}; give a number from 0 to 2, e.g. {name}=0.1."
            )
    return limits


def failures(audit: Audit, limits: Mapping[str, float]) -> tuple[str, ...]:
    """What lies above its limit, a sentence each."""
    found = []
    for name, limit in limits.items():
        value, what = _LARGEST[name](audit)
        if value > limit:
            found.append(f"{name} {value:.3f} is above {limit:g}: {what}")
    return tuple(found)


def _gap(audit: Audit) -> tuple[float, str]:
    table = audit.gaps
    sure = table[table["significant"].eq(True) & table["metric"].isin(GAP_METRICS)]
    if not len(sure):
        return 0.0, ""
    row = sure.loc[sure["gap"].abs().idxmax()]
    return abs(float(row["gap"])), (
        f"{row['metric']} of {row['dimension']}, {row['level_a']} against {row['level_b']} ({row['attribute']})."
    )


def _leak(audit: Audit) -> tuple[float, str]:
    table = audit.leakage
    scored = table[table["score"].notna()]
    control = scored[scored["feature"] == "labels"].set_index(["attribute", "probe"])
    worst, what = 0.0, ""
    for row in scored[scored["feature"] != "labels"].to_dict("records"):
        place = (row["attribute"], row["probe"])
        told = max(0.0, float(control.loc[place, "score"])) if place in control.index else 0.0
        above = float(row["score"]) - told
        sure = np.isfinite(row["low"]) and row["low"] > told
        if sure and above > worst:
            worst = above
            what = (
                f"{row['attribute']} is read from {row['feature']} ({row['probe']} probe, {row['score']:.2f}; "
                f"labels alone {told:.2f})."
            )
    return worst, what


def _effect(audit: Audit) -> tuple[float, str]:
    table = audit.effects
    sure = table[(table["low"] > 0) | (table["high"] < 0)]
    if not len(sure):
        return 0.0, ""
    row = sure.loc[sure["effect"].abs().idxmax()]
    return abs(float(row["effect"])), f"{row['attribute']} on {row['dimension']}, on drawn faces."


def _label(audit: Audit) -> tuple[float, str]:
    table = audit.stereotype
    sure = table[(table["p_adjusted"] <= 1 - audit.settings.level) & table["normalised"].notna()]
    if not len(sure):
        return 0.0, ""
    row = sure.loc[sure["normalised"].idxmax()]
    return float(row["normalised"]), f"labels ({row['label']}) tell of {row['attribute']}."


_LARGEST: Mapping[str, Callable[[Audit], tuple[float, str]]] = {
    "gap": _gap, "leak": _leak, "effect": _effect, "label": _label,
}  # fmt: skip
