"""Intervals over people without resampling: the jackknife, Student's t with estimated freedom, MOVER.

Leave out one person at a time; the pieces' spread gives the standard error (Efron & Stein 1981), and their
own spread the degrees of freedom: with d_s the centred pieces, a sum of n squares of normal numbers would
have sum(d^4) = 3 (sum d^2)^2 / n, so

    df = 2 (sum d^2)^2 / (sum d^4 - (sum d^2)^2 / n)      at most n - 1

which falls where few people carry the sum: heavy tails, or some people with most of the rows. The interval
is made on the metric's scale (`moments.to_scale`) and mapped back. The gap of two groups gets the square-and-
add interval of their single intervals (MOVER: Zou & Donner 2008), which keeps their asymmetry; groups that
share people enter with the correlation of their pieces.

Why not the bootstrap: with 20 to 100 people, uneven rows per person and heavy tails the percentile interval
of a gap holds its truth too seldom (`benchmarks/audit_calibration.py` has both).

References:
    B. Efron, C. Stein. The jackknife estimate of variance. Annals of Statistics 9(3), 1981.
    G. Y. Zou, A. Donner. Construction of confidence limits about effect measures: a general approach.
    Statistics in Medicine 27(10), 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jackknifed:
    """Estimates with what is needed for intervals; all arrays share their trailing shape, written K.

    Attributes:
        value: (K) on the metrics' scales.
        error: (K) standard errors.
        df: (K) degrees of freedom.
        pieces: (S, K) centred pieces, one per person; 0 for who is not in the group.
    """

    value: Array
    error: Array
    df: Array
    pieces: Array

    def ends(self, level: float) -> tuple[Array, Array]:
        """Low and high ends, (K), on the scale; nan without two people."""
        from scipy.special import stdtrit

        reach = stdtrit(self.df, (1 + level) / 2) * self.error
        return self.value - reach, self.value + reach


def jackknife(value: Array, without: Array, present: NDArray[np.bool_]) -> Jackknifed:
    """Standard errors of `value` (K) from the values without each person.

    Args:
        value: (K) of everybody.
        without: (S, K) with one person left out.
        present: (S, K) or broadcastable: who is part of the group at all.
    """
    present = np.broadcast_to(present, without.shape)
    count = present.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, without, 0.0).sum(axis=0) / count
        pieces = np.where(present, without - mean, 0.0)
        squares = (pieces**2).sum(axis=0)
        fourth = (pieces**4).sum(axis=0)
        error = np.where(count > 1, np.sqrt(squares * (count - 1) / count), np.nan)
        df = 2 * squares**2 / np.maximum(fourth - squares**2 / count, 1e-300)
    df = np.clip(np.where(squares > 0, df, count - 1), 1.0, np.maximum(count - 1, 1))
    return Jackknifed(value, error, df, pieces)


def correlation(a: Array, b: Array) -> Array:
    """Correlation (K) of the pieces (S, K) of two groups: 0 where no person is in both."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.where(np.isfinite(r), np.clip(r, -1, 1), 0.0)


def gap_ends(
    a: Array, a_low: Array, a_high: Array, b: Array, b_low: Array, b_high: Array, r: Array
) -> tuple[Array, Array]:
    """MOVER ends of a - b from the single intervals and the correlation r of the two estimates."""
    down = _reach(a - a_low, b_high - b, r)
    up = _reach(a_high - a, b - b_low, r)
    return a - b - down, a - b + up


def _reach(x: Array, y: Array, r: Array) -> Array:
    return np.sqrt(np.maximum(x * x + y * y - 2 * r * x * y, 0))
