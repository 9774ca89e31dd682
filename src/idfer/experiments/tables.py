"""Numbers of benchmarks as text: cells and tables, for Markdown and for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from idfer.evaluation.bootstrap import Estimate
from idfer.experiments.statistics import Paired


def interval_text(found: Estimate, digits: int = 3, sign: str = "") -> str:
    """`0.512 [0.480, 0.544]`; without brackets where there is no interval, `-` where there is no value."""
    if not np.isfinite(found.value):
        return "-"
    text = f"{found.value:{sign}.{digits}f}"
    if not np.isfinite(found.low):
        return text
    return f"{text} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"


def settings_text(given: Mapping[str, Any]) -> str:
    """`lr: 0.1, terms: {alpha: 0.0}`: settings as they stand in a YAML file, without the outer braces."""
    return json.dumps(given)[1:-1].replace('"', "")


def flat(found: Paired) -> dict[str, Any]:
    """A paired comparison as flat numbers, for JSON and `bracket`."""
    return {
        "difference": found.difference.value, "low": found.difference.low, "high": found.difference.high,
        "p": found.p, "relative": found.relative.value, "relative_low": found.relative.low,
        "relative_high": found.relative.high, "higher": found.higher, "seeds": found.seeds,
    }  # fmt: skip


def verdict(one: Mapping[str, Any], higher_is_better: bool) -> str:
    """`better`, `worse` or `not told apart`, by whether the interval of the difference holds 0."""
    if not one["low"] > 0 and not one["high"] < 0:
        return "not told apart"
    return "better" if (one["low"] > 0) == higher_is_better else "worse"


def bracket(one: Mapping[str, Any], value: str, low: str, high: str, form: str) -> str:
    """`value [low, high]` of three entries of a comparison; without brackets where there is no interval."""
    text = f"{one[value]:{form}}"
    return text if np.isnan(one[low]) else f"{text} [{one[low]:{form}}, {one[high]:{form}}]"


def p_text(p: float) -> str:
    """A p value to three digits."""
    return "-" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def pipes(table: list[list[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return [lines[0], "|" + "---|" * len(table[0]), *lines[1:]]


def columns(table: list[list[str]]) -> str:
    """The same for a terminal."""
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
