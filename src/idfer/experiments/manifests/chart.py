"""The figure of `benchmark compare`, in the report's style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.experiments.manifests.measures import LEAK_OF, by_accuracy, estimate_of
from idfer.experiments.measures import Measure, Rows, values
from idfer.reporting.style import COLOURS, INK, MARKERS, SOFT, grid, handle, legend_below, styled, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACCURACY = {"test_ccc": "as tested", "weighted_ccc": "weighted: labels and attributes made independent"}


@styled
def compare_chart(rows: Rows, measures: Mapping[str, Measure], overlap: float) -> Figure:
    """A row per method, the most accurate at the top: CCC of the test people, and what probes read.

    Args:
        rows: a row per method and place.
        measures: of the rows.
        overlap: of the places, for the intervals.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = by_accuracy(rows, measures)
    leaks = [key for key in measures if key.startswith(LEAK_OF)]
    widths = [5.2, 4.0] if leaks else [5.2]
    figure = Figure(
        figsize=(1.4 + sum(widths), 2.1 + 0.55 * len(order)), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    accuracy = [key for key in _ACCURACY if key in measures]
    _panel(panels[0], rows, order, {key: measures[key] for key in accuracy}, 0, overlap, numbers=True)
    panels[0].margins(x=0.12)  # room for the numbers
    panels[0].set_title("agreement with the labels (CCC)")
    labels = [_ACCURACY[key] for key in accuracy]
    _legend(panels[0], labels, 0, "higher is better; small marks: each fold or seed; bar: 95 %")
    if leaks:
        _panel(panels[1], rows, order, {key: measures[key] for key in leaks}, 2, overlap)
        panels[1].set_title("read by a probe from the mean feature")
        panels[1].axvline(0, color=INK, linewidth=1)
        panels[1].set_xlim(-0.14, 1.05)  # intervals of few places may be longer than the scale
        _legend(panels[1], [key.removeprefix(LEAK_OF) for key in leaks], 2, "0 chance · 1 read perfectly")
    panels[0].set_yticks(range(len(order)), order)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    for label in panels[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == OURS else "normal")
    for axis in panels:
        grid(axis)
        for k in range(len(order) - 1):
            axis.axhline(k + 0.5, color=SOFT, linewidth=0.4, alpha=0.4)
    return figure


def _panel(
    axis: Axes, rows: Rows, order: list[str], measures: Mapping[str, Measure], first: int, overlap: float,
    numbers: bool = False,
) -> None:  # fmt: skip
    """Mean with its interval, and small marks for the places, a line per measure within a method's row."""
    step = 0.72 / len(measures)
    for j, measure in enumerate(measures.values()):
        colour, marker = COLOURS[(first + j) % len(COLOURS)], MARKERS[(first + j) % len(MARKERS)]
        for k, method in enumerate(order):
            at = k + step * (j - (len(measures) - 1) / 2)
            found = estimate_of(rows, method, measure, overlap)
            each = values(rows, method, measure)
            axis.plot(
                each, np.full(len(each), at), marker, color=colour, markersize=2.5, alpha=0.45, zorder=2
            )
            axis.plot([found.low, found.high], [at, at], color=colour, linewidth=2, alpha=0.5)
            axis.plot(
                found.value, at, marker, color=colour, markersize=6.5, markeredgecolor="white", zorder=3
            )
            if numbers and np.isfinite(found.value):
                edge = np.nanmax([found.high, *each])
                axis.annotate(
                    text(found.value), (edge, at), xytext=(4, 0), textcoords="offset points", va="center",
                    fontsize=8.5, color=colour,
                )  # fmt: skip


def _legend(axis: Axes, labels: list[str], first: int, note: str) -> None:
    axis.set_xlabel(note, fontsize=8.5, color=SOFT)
    handles = [
        handle(COLOURS[(first + j) % len(COLOURS)], MARKERS[(first + j) % len(MARKERS)], label)
        for j, label in enumerate(labels)
    ]
    legend_below(axis, handles, min(len(labels), 4), inches=0.5)
