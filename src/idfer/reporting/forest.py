"""A forest plot: differences with their intervals around zero, a few lanes to a row, named above them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, grid, number, styled
from idfer.reporting.svg import panel, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _NUMBERS = 4.2, 0.62  # inches of a panel, and of them for the numbers at its right
_LINE, _LANE, _GAP = 0.17, 0.155, 0.1  # inches: of a line of text, a lane, between rows
_LETTERS = 54  # of a name's line


@dataclass(frozen=True)
class Lane:
    """One difference.

    Attributes:
        value: the difference; NaN draws nothing.
        low: lower end of its interval; NaN for a point without one.
        high: upper end.
        series: which colour and marker.
        told: whether it is told from zero: its marker is filled, its number stands at the right, starred.
            None where that is not asked: the marker is filled, without a number.
        unseen: half the width of the grey band around zero, in which a difference would go unseen; NaN: none.
    """

    value: float
    low: float
    high: float
    series: int
    told: bool | None = False
    unseen: float = float("nan")


@styled
def forest(title: str, rows: Sequence[tuple[str, Sequence[Lane]]], below: str) -> str:
    """One panel, as SVG markup.

    Args:
        title: above it.
        rows: names and lanes, from top to bottom.
        below: what the axis says, a line or two.
    """
    names = [textwrap.wrap(name, _LETTERS) for name, _ in rows]
    tall = sum(
        len(name) * _LINE + len(lanes) * _LANE + _GAP for name, (_, lanes) in zip(names, rows, strict=True)
    )
    figure, axis = panel(_WIDTH, tall + 0.72 + 0.14 * below.count("\n"))
    at = 0.0
    for name, (_, lanes) in zip(names, rows, strict=True):
        for line in name:
            axis.text(0, at, line, transform=axis.get_yaxis_transform(), va="top", fontsize=8.6, color=INK)
            at += _LINE
        axis.plot([0, 0], [at, at + len(lanes) * _LANE], color=INK, linewidth=1, zorder=1)
        for lane in lanes:
            _draw(axis, at + _LANE / 2, lane)
            at += _LANE
        at += _GAP
    axis.set_ylim(tall, -0.04)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    reach = _reach(rows)
    axis.set_xlim(-reach, reach * (1 + 2 * _NUMBERS / _WIDTH))
    axis.set_xticks([tick for tick in axis.get_xticks() if abs(tick) <= reach])
    axis.set_title(title)
    axis.set_xlabel(below, fontsize=8.6)
    grid(axis)
    return svg(figure)


def _draw(axis: Axes, at: float, lane: Lane) -> None:
    """A band that hides, an interval, a marker and, where told from zero, the number."""
    colour = COLOURS[lane.series % 6]
    if np.isfinite(lane.unseen):
        half = 0.22 * _LANE
        axis.fill_between(
            [-lane.unseen, lane.unseen], at - half, at + half, color=FAINT, linewidth=0, zorder=0
        )
        for end in (-lane.unseen, lane.unseen):
            axis.plot([end, end], [at - half, at + half], color=SOFT, linewidth=0.9, zorder=1)
    if not np.isfinite(lane.value):
        return
    if np.isfinite(lane.low) and np.isfinite(lane.high):
        axis.plot(
            [lane.low, lane.high], [at, at], color=colour, linewidth=1.8 if lane.told else 1.2, zorder=2
        )
    axis.plot(
        lane.value, at, MARKERS[lane.series % 6], color=colour, markersize=6 if lane.told else 5,
        markerfacecolor="white" if lane.told is False else colour, markeredgecolor=colour,
        markeredgewidth=1.2, zorder=3,
    )  # fmt: skip
    if lane.told:
        axis.text(
            1, at, f"{number(lane.value, signed=True)} *", transform=axis.get_yaxis_transform(), ha="right",
            va="center", fontsize=8.2, weight="bold", color=INK,
        )  # fmt: skip


def _reach(rows: Sequence[tuple[str, Sequence[Lane]]]) -> float:
    """Half the width of the axis: every interval and band, and never so near that noise looks large."""
    ends = [
        abs(end)
        for _, lanes in rows
        for lane in lanes
        for end in (lane.value, lane.low, lane.high, lane.unseen)
        if np.isfinite(end)
    ]
    return 1.08 * max([0.05, *ends])
