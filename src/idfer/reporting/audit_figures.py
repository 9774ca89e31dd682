"""An audit's probes beside their controls, and its error over the plane of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from idfer.reporting.audit_words import Rows, measure
from idfer.reporting.figures import plane
from idfer.reporting.probes import leakage, leakage_alt, probe_legend
from idfer.reporting.style import COLOURS, INK, number, styled
from idfer.reporting.svg import Chart, key, panel, svg

LEAST = 3  # bins of a group's plane; of fewer nothing is seen
EVERYBODY = "everybody"  # the attribute, in `circumplex`, of all faces together


def probes(audit: Mapping[str, Any]) -> Chart | None:
    """Bars of leakage, an attribute a panel, with the labels as control and the ceiling of noisy levels."""
    import pandas as pd

    found = [row for row in audit["leakage"] if row["score"] is not None]
    if not found:
        return None
    names = {"feature": "features", "attribute": "target", "probe": "kind"}
    table = pd.DataFrame(found).rename(columns=names).assign(model=audit["about"]["name"])
    for column in ("features", "target"):
        table[column] = table[column].map(measure)
    numbers = ["score", "low", "high", "ceiling"]
    table[numbers] = table[numbers].astype(float)
    ceilings = {
        str(target): float(part.max())
        for target, part in table.groupby("target", sort=False)["ceiling"]
        if part.notna().any()
    }
    keys = probe_legend(list(table["kind"]))
    if any(ceiling < 1 for ceiling in ceilings.values()):
        keys.append(key("dotted: ceiling, the most that such noisy levels let anybody read", "soft", "|"))
    return Chart(leakage(table, ceilings), leakage_alt(table, ceilings), keys)


def circumplex(audit: Mapping[str, Any]) -> list[Chart]:
    """RMSE over the plane of labels: a chart per attribute, a panel per level; the most uneven first."""
    found = [row for row in audit["circumplex"] if row["rmse"] is not None]
    if not found:
        return []
    errors = [float(row["rmse"]) for row in found]
    sides = tuple(_side({float(row[name]) for row in found}) for name in ("valence", "arousal"))
    charts = []
    for attribute in dict.fromkeys(row["attribute"] for row in found):
        levels: dict[str, list[Mapping[str, Any]]] = {}
        for row in found:
            if row["attribute"] == attribute:
                levels.setdefault(row["level"], []).append(row)
        first = attribute == EVERYBODY
        levels = {level: rows for level, rows in levels.items() if len(rows) >= LEAST}
        if len(levels) < 2 - first:
            continue
        panels = [_error_plane(level, rows, sides, errors) for level, rows in levels.items()]
        said = "; ".join(_said(level, rows) for level, rows in levels.items())
        means = [_pooled(rows) for rows in levels.values()]
        alt = f"RMSE over the plane of labels by {measure(attribute)}: {said}."
        across = max(min(len(levels), 4), 2)
        chart = Chart(panels, alt, across=across, kind="square", title=measure(attribute))
        charts.append((np.inf if first else max(means) - min(means), chart))
    return [chart for _, chart in sorted(charts, key=lambda pair: -pair[0])]


@styled
def _error_plane(level: str, rows: Rows, sides: Sequence[float], errors: Sequence[float]) -> str:
    """One group's plane: a square per bin, the fuller the larger the RMSE among all, which it names."""
    from matplotlib.patches import Rectangle

    figure, axis = panel(3.1, 3.2)
    plane(axis, words=False)
    wide, high = sides
    least, most = min(errors), max(errors)
    for row in rows:
        x, y = float(row["valence"]), float(row["arousal"])
        full = (row["rmse"] - least) / max(most - least, 1e-9)
        axis.add_patch(
            Rectangle(
                (x - wide / 2, y - high / 2), wide, high, color=COLOURS[1], alpha=0.05 + 0.45 * full,
                linewidth=0,
            )
        )  # fmt: skip
        said = number(row["rmse"]).removeprefix("0")
        axis.text(x, y, said, ha="center", va="center", fontsize=9, color=INK)
    axis.set_title(level)
    return svg(figure)


def _said(level: str, rows: Rows) -> str:
    """A group's plane in words."""
    worst = max(rows, key=lambda row: float(row["rmse"]))
    at = f"valence {number(worst['valence'], 1, True)}, arousal {number(worst['arousal'], 1, True)}"
    return f"{level} {number(_pooled(rows))}, at most {number(worst['rmse'])} near {at}"


def _side(centres: set[float]) -> float:
    """Width of a bin: the least distance of two centres."""
    return min((b - a for a, b in pairwise(sorted(centres))), default=0.4)


def _pooled(rows: Rows) -> float:
    """RMSE of all bins together."""
    counts = np.array([row["rows"] or 1 for row in rows], float)
    return float(np.sqrt(np.average([row["rmse"] ** 2 for row in rows], weights=counts)))
