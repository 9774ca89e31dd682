"""`--fail-on gap=0.1,leak=0.3`: an audit as a gate. What is not sure does not fail it.

gap     the largest significant gap (corrected over all tests) in CCC, RMSE or bias
leak    the largest share that a probe reads of an attribute beyond what the labels alone tell, where this
        is more than the uncertainty of both scores, corrected over all scores
effect  the largest effect of an attribute on drawn faces whose interval leaves out 0, widened for how many
        effects there are (Bonferroni)
label   the largest normalised mutual information of labels and an attribute, where its adjusted p <= 1 -
        level

A limit on what this audit could not measure would always pass: `unmeasured` says which limits those are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.auditing.interventions import told
from idfer.auditing.simultaneous import widened
from idfer.auditing.tables import records
from idfer.errors import UsageError, unknown

if TYPE_CHECKING:
    from idfer.auditing.engine import Audit

_CONTROLS = ("labels", "prediction + labels")  # the latter tells the bias
GAP_METRICS = ("ccc", "rmse", "bias", "mean")  # in units of the labels' range; a slope is not


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


def unmeasured(audit: Audit, limits: Mapping[str, float]) -> tuple[str, ...]:
    """Limits on what was not measured at all, each with the reason."""
    return tuple(f"{name}: {why}" for name in limits if (why := _MISSING[name](audit)))


def _no_gap(audit: Audit) -> str:
    """Why no gap was tested, or ""."""
    if any(r["metric"] in GAP_METRICS and np.isfinite(r["p_adjusted"]) for r in records(audit.gaps)):
        return ""
    return _said(audit, "IDF307", "no gap was tested")


def _no_leak(audit: Audit) -> str:
    """Why no attribute was probed, or ""; identity alone stands for none, where there are attributes."""
    read = [row for row in records(audit.leakage) if row["feature"] not in _CONTROLS]
    of_attributes = [row for row in read if row["attribute"] != "identity"] or read
    if any(np.isfinite([row["score"], row["low"]]).all() for row in of_attributes):
        return ""
    notes = dict.fromkeys(f"{row['attribute']}: {row['note']}" for row in of_attributes if row["note"])
    names = ", ".join(dict.fromkeys(row["attribute"] for row in of_attributes)) or "anything"
    return f"no probe of {names} could be fitted" + (f" ({'; '.join(notes)})" if notes else "")


def _no_effect(audit: Audit) -> str:
    """Why there are no effects on drawn faces, or ""."""
    if any(np.isfinite(row["effect"]) for row in records(audit.effects)):
        return ""
    return _said(audit, "IDF326", "no effect was found")


def _no_label(audit: Audit) -> str:
    """Why labels were not held against attributes, or ""."""
    if any(np.isfinite(row["normalised"]) for row in records(audit.stereotype)):
        return ""
    return "labels and attributes tell nothing apart" if len(audit.stereotype) else "there are no labels"


def _said(audit: Audit, code: str, otherwise: str) -> str:
    """What the check of this code says."""
    return next((check.message for check in audit.checks if check.code == code), otherwise).rstrip(".")


def _gap(audit: Audit) -> tuple[float, str]:
    sure = [row for row in records(audit.gaps) if row["significant"] and row["metric"] in GAP_METRICS]
    row = _largest(sure, "gap")
    return _size(row, "gap"), row and (
        f"{row['metric']} of {row['dimension']}, {row['level_a']} against {row['level_b']} "
        f"({row['attribute']})."
    )


def _leak(audit: Audit) -> tuple[float, str]:
    scored = [row for row in records(audit.leakage) if np.isfinite(row["score"])]
    labels = {(r["attribute"], r["probe"]): r for r in scored if r["feature"] == "labels"}
    read = [row for row in scored if row["feature"] not in _CONTROLS]
    wide = widened(len(read))
    sure = []
    for row in read:
        control = labels.get((row["attribute"], row["probe"]), {"score": 0.0, "high": 0.0})
        told = max(0.0, control["score"])
        beyond = row["score"] - told
        if beyond > wide * np.hypot(row["score"] - row["low"], control["high"] - control["score"]):
            sure.append(row | {"beyond": beyond, "told": told})
    row = _largest(sure, "beyond")
    return _size(row, "beyond"), row and (
        f"{row['attribute']} is read from {row['feature']} ({row['probe']} probe {row['score']:.2f}, labels "
        f"alone {row['told']:.2f})."
    )


def _effect(audit: Audit) -> tuple[float, str]:
    row = _largest([row for row in records(audit.effects) if told(row, len(audit.effects))], "effect")
    return _size(row, "effect"), row and f"{row['attribute']} on {row['dimension']}, on drawn faces."


def _label(audit: Audit) -> tuple[float, str]:
    level = 1 - audit.settings.level
    row = _largest([row for row in records(audit.stereotype) if row["p_adjusted"] <= level], "normalised")
    return _size(row, "normalised"), row and f"labels ({row['label']}) tell of {row['attribute']}."


def _largest(rows: list[dict[str, Any]], column: str) -> Any:
    """The row with the largest number of either sign, or "" where there is none."""
    finite = [row for row in rows if np.isfinite(row[column])]
    return max(finite, key=lambda row: abs(row[column])) if finite else ""


def _size(row: Any, column: str) -> float:
    return abs(float(row[column])) if row else 0.0


_LARGEST: Mapping[str, Callable[[Audit], tuple[float, str]]] = {
    "gap": _gap, "leak": _leak, "effect": _effect, "label": _label,
}  # fmt: skip
_MISSING: Mapping[str, Callable[[Audit], str]] = {
    "gap": _no_gap, "leak": _no_leak, "effect": _no_effect, "label": _no_label,
}  # fmt: skip
