"""Figures of the shift protocols, in the report's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.experiments.protocol import ORACLE
from idfer.experiments.protocol_measures import MEAN, WORST, Levels, estimate, methods_of
from idfer.experiments.protocols.design import Design
from idfer.reporting.style import COLOURS, INK, MARKERS, SOFT, grid, handle, legend_outside, styled, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def protocol_chart(design: Design, levels: Levels) -> Figure:
    """A panel per level, a row per method: CCC of every cell, and of the worst with its interval.

    Args:
        design: the protocol.
        levels: rows by level.
    """
    from matplotlib.figure import Figure

    methods = methods_of(levels)
    worst = {m: estimate(design, levels, m, WORST).value for m in methods}
    order = sorted(methods, key=lambda m: (m != ORACLE, -worst[m]))
    figure = Figure(
        figsize=(2.6 + 3.4 * len(levels), 1.7 + 0.42 * len(order)), layout="constrained", facecolor="white"
    )
    panels = figure.subplots(1, len(levels), sharey=True, sharex=True, squeeze=False)[0]
    for level, axis in zip(levels, panels, strict=True):
        for k, method in enumerate(order):
            _cells(axis, design, levels, method, level, k)
        axis.set_title(level if len(levels) > 1 else "agreement with the labels (CCC)")
        grid(axis)
        _highlight(axis, order)
    panels[0].set_yticks(range(len(order)), order)
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    handles = [handle(COLOURS[j % 6], MARKERS[j % 6], cell) for j, cell in enumerate(design.cells)]
    handles.append(handle(INK, "|", "worst cell of each seed, 95 %"))
    legend_outside(figure, handles, 3 + len(levels))
    return figure


def _cells(axis: Axes, design: Design, levels: Levels, method: str, level: str, at: int) -> None:
    for j, cell in enumerate(design.cells):
        found = estimate(design, levels, method, f"{cell}_ccc", level).value
        axis.plot(found, at - 0.12, MARKERS[j % 6], color=COLOURS[j % 6], markersize=5.5, alpha=0.85)
    worst = estimate(design, levels, method, WORST, level)
    axis.plot([worst.low, worst.high], [at + 0.2, at + 0.2], color=INK, linewidth=1.5)
    axis.plot(worst.value, at + 0.2, "|", color=INK, markersize=8)
    edge = worst.high if np.isfinite(worst.high) else worst.value
    axis.annotate(
        text(worst.value),
        (edge, at + 0.2),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _highlight(axis: Axes, order: Sequence[str]) -> None:
    if OURS in order:
        k = order.index(OURS)
        axis.axhspan(k - 0.5, k + 0.5, color="#eef3f8", zorder=0)


@styled
def overview_chart(found: Mapping[str, Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> Figure:
    """A row per protocol: worst-cell and mean CCC of ERM, the best baseline, idfer and the oracle.

    Args:
        found: per protocol its `results`.
        lines: per protocol and measure idfer against the best baseline, with a verdict.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 1.8 + 0.45 * len(found)), layout="constrained", facecolor="white")
    names = list(found)
    series = {"erm": (SOFT, "o"), "best baseline": (COLOURS[1], "s"), OURS: (COLOURS[0], "D")}
    series[ORACLE] = (COLOURS[2], "|")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, measure, title in zip(panels, (WORST, MEAN), ("worst cell", "mean over cells"), strict=True):
        for line in (line for line in lines if line["measure"] == measure):
            at, summary = names.index(line["protocol"]), found[line["protocol"]]["summary"]
            for name, (colour, marker) in series.items():
                method = line["second"] if name == "best baseline" else name
                if method in summary:
                    axis.plot(summary[method][measure], at, marker, color=colour, markersize=7)
            axis.annotate(
                line["verdict"], (1.0, at), xycoords=axis.get_yaxis_transform(), xytext=(-2, 0),
                textcoords="offset points", ha="right", va="center", fontsize=8, color=SOFT,
            )  # fmt: skip
        axis.set_title(f"CCC, {title}")
        axis.margins(x=0.16)
        grid(axis)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    handles = [handle(colour, marker, name) for name, (colour, marker) in series.items()]
    legend_outside(figure, handles, len(handles))
    return figure
