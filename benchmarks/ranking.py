"""How well scores put faces in the order of their labels, with intervals from resampled people.

The bootstrap draws people with replacement (Davison & Hinkley 1997, section 3.8), so that several photographs
of one person count as one piece of evidence. Every measure is a function of how often each person was drawn;
two models on the same faces are measured on the same draws, and their difference has the interval of the
differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
REPLICATES = 2000


@dataclass(frozen=True)
class Measured:
    """A measure of N scores: its value, and its values in R replicates; nan where it cannot be told."""

    value: float
    draws: Array

    def minus(self, other: Measured) -> Measured:
        """The difference to a measure on the same draws."""
        return Measured(self.value - other.value, self.draws - other.draws)

    def plain(self) -> dict[str, float | None]:
        """Value and 95 % percentile interval, for JSON; None where there is none."""
        kept = self.draws[np.isfinite(self.draws)]
        low, high = np.quantile(kept, [0.025, 0.975]) if len(kept) > 1 else (np.nan, np.nan)
        numbers = {"value": self.value, "low": float(low), "high": float(high)}
        return {key: round(number, 6) if np.isfinite(number) else None for key, number in numbers.items()}


@dataclass(frozen=True)
class People:
    """Who N faces are of, and how often each is drawn.

    Attributes:
        of: (N,) number of each face's person, 0 to P - 1.
        counts: (1 + R, P): a row of ones, which is the sample itself, and R bootstrap draws.
    """

    of: NDArray[np.intp]
    counts: Array

    @classmethod
    def named(cls, names: Sequence[str], seed: int = 0, replicates: int = REPLICATES) -> People:
        """Draws of the people of these faces; the same names and seed give the same draws."""
        unique, of = np.unique(np.asarray(names, object).astype(str), return_inverse=True)
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=replicates)
        return cls(of, np.concatenate([np.ones((1, len(unique))), drawn]))

    def auc(self, scores: Array, upper: NDArray[np.bool_], lower: NDArray[np.bool_]) -> Measured:
        """Probability that a face of `upper` scores above one of `lower` of another person; ties are half.

        Args:
            scores: (N,).
            upper: (N,) mask.
            lower: (N,) mask.
        """
        high, low = np.flatnonzero(upper), np.flatnonzero(lower)
        others = (self.of[high][:, None] != self.of[low]).astype(float)
        won = np.sign(scores[high][:, None] - scores[low]) / 2 + 0.5
        above, below = self.counts[:, self.of[high]], self.counts[:, self.of[low]]
        return _ratio(((above @ (won * others)) * below).sum(1), ((above @ others) * below).sum(1))

    def within(self, scores: Array, upper: NDArray[np.bool_], lower: NDArray[np.bool_]) -> Measured:
        """As `auc`, of faces of the same person: the mean over people who have both."""
        values = np.full(self.counts.shape[1], np.nan)
        for person in np.intersect1d(self.of[upper], self.of[lower]):
            mine = self.of == person
            pairs = scores[mine & upper][:, None] - scores[mine & lower]
            values[person] = (np.sign(pairs) / 2 + 0.5).mean()
        return self._mean(values)

    def difference(self, scores: Array, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Measured:
        """Mean score of `first` less that of `second`, each person's own mean counting once."""
        return self._mean(self._means(scores, first)).minus(self._mean(self._means(scores, second)))

    def _means(self, scores: Array, chosen: NDArray[np.bool_]) -> Array:
        """(P,) mean score of each person's chosen faces; nan of those who have none."""
        size = self.counts.shape[1]
        count = np.bincount(self.of[chosen], minlength=size)
        total = np.bincount(self.of[chosen], weights=scores[chosen], minlength=size)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _mean(self, values: Array) -> Measured:
        """Mean over people of what each has; nan is left out."""
        there = np.isfinite(values)
        counts = self.counts[:, there]
        return _ratio(counts @ values[there], counts.sum(1))


def _ratio(above: Array, below: Array) -> Measured:
    values = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
    return Measured(float(values[0]), values[1:])
