"""Accuracy against the nats that a feature may tell beyond the label: a curve over the residual's weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.experiments.grid import BASE, Variant
from idfer.experiments.measures import CCCS, MEASURES, Rows, estimate
from idfer.reporting.style import COLOURS, INK, MARKERS, SOFT, handle, legend_below, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NATS = "residual_nats"
BIT = math.log(2)  # nats that tell one of two: below them no draw tells everybody's gender
ACCURACIES = (*CCCS, "sampled_balanced_ccc")


def budget_curve(rows: Rows, variants: Sequence[Variant]) -> list[str]:
    """The base and variants that change the residual's weight alone, fewest nats first; [] if only one is."""
    names = [v.name for v in variants if v.name == BASE or _only_residual(v.given)]
    nats = {name: estimate(rows, name, NATS).value for name in names}
    finite = sorted((name for name in names if np.isfinite(nats[name])), key=lambda name: nats[name])
    return finite if len(finite) > 1 else []


def _only_residual(given: Mapping[str, Any]) -> bool:
    terms = (given.get("terms") or {}) if list(given) == ["terms"] else {}
    return list(terms) == ["residual"] and terms["residual"] > 0


@styled
def budget_chart(rows: Rows, curve: Sequence[str]) -> Figure:
    """CCC of each test, and of sampled features, against nats beyond the label, with 95 % intervals.

    Args:
        rows: a row per variant and seed.
        curve: variants, fewest nats first.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    nats = [estimate(rows, name, NATS).value for name in curve]
    marks = list(zip((SOFT, *COLOURS), MARKERS, ACCURACIES, strict=False))
    for colour, marker, measure in marks:
        scores = [estimate(rows, name, measure) for name in curve]
        low, high = zip(*((score.low, score.high) for score in scores), strict=True)
        axis.fill_between(nats, low, high, color=colour, alpha=0.12, linewidth=0)
        axis.plot(nats, [score.value for score in scores], marker=marker, color=colour, markersize=6)
    for at, name in zip(nats, curve, strict=True):
        axis.text(
            at, 0.02, f" {name}", transform=axis.get_xaxis_transform(), rotation=90, va="bottom", ha="center",
            fontsize=8, color=SOFT,
        )  # fmt: skip
    axis.set_ylim(axis.get_ylim()[0] - 0.25 * np.ptp(axis.get_ylim()), None)
    axis.axvline(BIT, color=INK, linewidth=0.8, linestyle=":")
    axis.text(BIT, 1.01, " ln 2: one bit", transform=axis.get_xaxis_transform(), fontsize=8.5, color=SOFT)
    axis.set_xlim(left=0)
    axis.set_xlabel("nats that one draw of the feature tells beyond the label", color=SOFT)
    axis.set_ylabel("CCC")
    handles = [
        handle(colour, marker, MEASURES[measure].title.removeprefix("CCC "))
        for colour, marker, measure in marks
    ]
    legend_below(axis, handles, 2, inches=0.5)
    return figure
