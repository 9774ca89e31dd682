"""One error rate over all tests: step-down max-T (Westfall & Young 1993, algorithm 2.8).

A test's adjusted p-value is the share of null draws in which the largest statistic among it and all weaker
tests reaches its own. Tests that say nearly the same (three dimensions, four metrics, neighbouring groups)
move together in the draws and cost little, where Holm would count each in full.

With intersections there are two families: levels of one attribute, and intersections against everybody else.
There are many more of the second; so that asking for them does not blind the first, each family gets half of
the error rate (p-values are doubled), which keeps the rate over both.

Reference: P. H. Westfall, S. S. Young. Resampling-based multiple testing. Wiley, 1993.
"""

from __future__ import annotations

import numpy as np

from idfer.auditing.moments import Array

_RANKS = 256  # tests stepped through one by one; weaker ones share the maximum over all of them


class MaxT:
    """Collects null draws of T tests, part by part.

    Args:
        observed: (T,) statistics, absolute values count; nan for undefined.
        draws: how many null draws there will be.
    """

    def __init__(self, observed: Array, draws: int) -> None:
        self._observed = np.nan_to_num(np.abs(observed), nan=0.0)
        order = np.argsort(-self._observed, kind="stable")
        self._order = order
        rank = np.empty(len(order), np.intp)
        rank[order] = np.arange(len(order))
        self._rank = np.minimum(rank, _RANKS - 1)
        self._largest = np.zeros((draws, min(_RANKS, max(len(order), 1))))
        self._reached = np.zeros(len(order))
        self._draws = draws

    def add(self, block: slice, first: int, statistics: Array) -> None:
        """Take in draws `block` of tests first, first + 1, ...: (r, k) statistics."""
        size = np.abs(statistics)
        tests = slice(first, first + size.shape[1])
        self._reached[tests] += (size >= self._observed[tests] * (1 - 1e-9)).sum(axis=0)
        largest = self._largest[block]
        for column, rank in enumerate(self._rank[tests].tolist()):
            np.maximum(largest[:, rank], size[:, column], out=largest[:, rank])

    def p_values(self) -> tuple[Array, Array]:
        """One test's and adjusted p-values, both (T,); an observed statistic counts as a draw of its own."""
        single = (1 + self._reached) / (1 + self._draws)
        below = np.maximum.accumulate(self._largest[:, ::-1], axis=1)[:, ::-1]  # over this rank and weaker
        ordered = self._observed[self._order]
        rank = self._rank[self._order]
        stepped = np.array(
            [
                (1 + (below[:, r] >= value * (1 - 1e-9)).sum()) / (1 + self._draws)
                for r, value in zip(rank, ordered, strict=True)
            ]
        )
        adjusted = np.empty(len(ordered))
        adjusted[self._order] = np.maximum.accumulate(stepped) if len(stepped) else stepped
        return single, adjusted

    def critical(self, error: float) -> float:
        """What the strongest of all tests must exceed to be significant at `error`."""
        largest = np.sort(self._largest.max(axis=1))
        allowed = int(np.floor(error * (1 + self._draws))) - 1  # draws that may reach it
        return float(largest[-1 - max(allowed, 0)]) if self._draws else float("inf")
