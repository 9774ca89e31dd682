"""Numbers of benchmarks as text: cells and tables, for Markdown and for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from idfer.evaluation.bootstrap import Estimate
from idfer.experiments.statistics import LEVEL, Paired


def interval_text(estimated: Estimate, digits: int = 3, sign: str = "") -> str:
    """`0.512 [0.480, 0.544]`; without brackets where there is no interval, `-` where there is no value."""
    if not np.isfinite(estimated.value):
        return "-"
    text = f"{estimated.value:{sign}.{digits}f}"
    if not np.isfinite(estimated.low):
        return text
    return f"{text} [{estimated.low:{sign}.{digits}f}, {estimated.high:{sign}.{digits}f}]"


def settings_text(given: Mapping[str, Any]) -> str:
    """`lr: 0.1, terms: {alpha: 0.0}`: settings as in a YAML file, no outer braces; `defaults` for none."""
    return json.dumps(given)[1:-1].replace('"', "") or "defaults"


def source_text(of: Mapping[str, Sequence[str]]) -> str:
    """Which source a report's parts were computed by, and plainly where it is more than one."""
    every = sorted({source for sources in of.values() for source in sources})
    if len(every) < 2:
        return ", ".join(every) or "not known"
    parts = "; ".join(f"{name} {', '.join(sources)}" for name, sources in of.items() if sources)
    return f"{parts}. More than one: not all of it was computed by the same code"


def flat(compared: Paired) -> dict[str, Any]:
    """A paired comparison as flat numbers, for JSON and `bracket`."""
    difference, relative = compared.difference, compared.relative
    return {
        "difference": difference.value, "low": difference.low, "high": difference.high, "p": compared.p,
        "relative": relative.value, "relative_low": relative.low, "relative_high": relative.high,
        "higher": compared.higher, "seeds": compared.seeds,
    }  # fmt: skip


def verdict(compared: Mapping[str, Any], higher_is_better: bool, p: str = "") -> str:
    """`better`, `worse` or `not told apart`: by whether the interval of the difference holds 0.

    Args:
        compared: a paired comparison.
        higher_is_better: of its measure.
        p: go by this p value, which may be corrected, instead of the interval.
    """
    told = compared[p] < 1 - LEVEL if p else compared["low"] > 0 or compared["high"] < 0
    if not told:
        return "not told apart"
    return "better" if (compared["difference"] > 0) == higher_is_better else "worse"


def bracket(compared: Mapping[str, Any], value: str, low: str, high: str, form: str) -> str:
    """`value [low, high]` of three entries of a comparison; without brackets where there is no interval."""
    text = f"{compared[value]:{form}}"
    return text if np.isnan(compared[low]) else f"{text} [{compared[low]:{form}}, {compared[high]:{form}}]"


def p_text(p: float) -> str:
    """A p value to three digits."""
    return "-" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def pipes(table: list[list[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return [lines[0], "|" + "---|" * len(table[0]), *lines[1:]]


def columns(table: list[list[str]]) -> str:
    """The same for a terminal."""
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
