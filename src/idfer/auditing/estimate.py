"""Values and intervals of groups and gaps, from the jackknife over people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idfer.auditing import moments
from idfer.auditing.intervals import Jackknifed, correlation, gap_ends, jackknife
from idfer.auditing.moments import Array


class Estimated:
    """A group's metrics with intervals.

    Attributes:
        value: (metrics, 3) in the metrics' units.
        low: lower ends.
        high: upper ends.
        jackknifed: on the metrics' scales.
    """

    def __init__(self, sums: Array, metrics: Sequence[str], level: float) -> None:
        total = sums.sum(axis=0)
        present = sums[:, 0] > 1e-12 * max(float(total[0]), 1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):
            without = np.zeros((len(sums), len(metrics), 3))
            without[present] = moments.scaled(total - sums[present], metrics)
            self.jackknifed: Jackknifed = jackknife(
                moments.scaled(total, metrics), without, present[:, None, None]
            )
            self.value = moments.values(total, metrics)
            low, high = self.jackknifed.ends(level)
            defined = np.isfinite(self.value) & (self.jackknifed.error > 0)
            self.low = np.where(defined, moments.from_scale(low, metrics), np.nan)
            self.high = np.where(defined, moments.from_scale(high, metrics), np.nan)


def gap(a: Estimated, b: Estimated) -> tuple[Array, Array, Array]:
    """a - b with its ends, each (metrics, 3)."""
    r = correlation(a.jackknifed.pieces, b.jackknifed.pieces)
    low, high = gap_ends(a.value, a.low, a.high, b.value, b.low, b.high, r)
    return a.value - b.value, low, high
