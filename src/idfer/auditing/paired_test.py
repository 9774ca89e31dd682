"""Differences of two models' gaps, tested by signs of what people add to them (wild cluster bootstrap).

What each person adds to a difference, were there none, gets a random sign (null imposed: Cameron, Gelbach &
Miller 2008, Review of Economics and Statistics 90(3)), and the difference over its error is computed anew.
The observed difference is the one draw with all signs as they are, by the same function. What a person adds
is measured half-way between the models, so that its sign turns, and nothing else changes, if the two models
are swapped for this person: of models that differ by chance the test of everybody's metrics is exact, and
that of gaps nearly so. The function weighs scores about the group's new value by the person's share u of the
group's rows, over 1 - u, as the jackknife does. With uneven rows those who make a difference large make its
error look small too, which draws must not overlook. How often something is found where nothing is stands in
`benchmarks/compare_calibration.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.intervals import Array
from idfer.auditing.multiple import MaxT
from idfer.auditing.studentised import normal

_BLOCK = 250  # draws at a time
_MOST = 0.9  # of a group's rows by one person, as far as its share counts


@dataclass(frozen=True)
class Sides:
    """What people add to one difference of gaps; units U, metrics and dimensions K.

    Attributes:
        scores: (S, U, K) what each unit adds to the one or two sides' differences if the test's is 0.
        share: (S, U) of the side's rows.
    """

    scores: Array
    share: Array

    @property
    def _turn(self) -> Array:
        """(S, 1) sign of each side in the difference."""
        return np.array([1.0, -1.0])[: len(self.share), None]

    @property
    def freedom(self) -> Array:
        """(K) degrees of freedom, few where few people carry a difference; no sign changes them."""
        own = (self._turn[..., None] * self.scores).sum(axis=0)
        count = int((self.share > 0).any(axis=0).sum())
        squares, fourth = (own**2).sum(axis=0), (own**4).sum(axis=0)
        df = 2 * squares**2 / np.maximum(fourth - squares**2 / max(count, 1), 1e-300)
        return np.asarray(np.clip(df, 1.0, max(count - 1, 1)))

    def drawn(self, signs: Array) -> tuple[Array, Array]:
        """Differences (r, K) with signs (r, U), and their squared errors."""
        turn, grown = self._turn, 1 / (1 - np.minimum(self.share, _MOST))
        own = ((turn * grown)[..., None] * self.scores).sum(axis=0)  # (U, K)
        share = turn * grown * self.share  # (S, U), of what each side's new value takes away
        moved = np.stack([signs @ part for part in self.scores])  # (S, r, K)
        spread = np.broadcast_to((own**2).sum(axis=0), moved.shape[1:]).copy()
        for i, to in enumerate(moved):
            spread -= 2 * to * (signs @ (own * share[i][:, None]))
            for j, other in enumerate(moved):
                spread += to * other * (share[i] @ share[j])
        floor = 1e-3 * (own**2).sum(axis=0)
        return (turn[:, :, None] * moved).sum(axis=0), np.maximum(spread, floor)


def sides(added: Sequence[Array], rows: Sequence[Array]) -> Sides:
    """Sides of a test.

    If both sides' differences were equal, they would be their mean, weighed by precision: a unit's score is
    what it adds to its side less its share of that; where there is one side, all that it adds.

    Args:
        added: per side, (U, K) what each unit adds to the models' difference.
        rows: per side, (U) each unit's.
    """
    share = np.stack([count / max(float(count.sum()), 1e-300) for count in rows])
    scores = np.stack(
        [
            np.where((count > 0)[:, None], np.nan_to_num(part, nan=0.0), 0.0)
            for part, count in zip(added, rows, strict=True)
        ]
    )
    if len(added) < 2:
        return Sides(scores, share)
    values = scores.sum(axis=1)  # (S, K)
    square = ((scores - share[..., None] * values[:, None]) ** 2).sum(axis=1)
    other = square[::-1] / np.maximum(square.sum(axis=0), 1e-300)  # the other's variance is this one's weight
    equal = (other * values).sum(axis=0)
    return Sides(scores - share[..., None] * equal, share)


def p_values(
    tests: Sequence[Sides], usable: NDArray[np.bool_], most: Array, draws: int, seed: int
) -> tuple[Array, Array]:
    """One test's and adjusted p-values (max-T over all), both (T, K), NaN where unusable.

    Observed and drawn statistics alike become standard normal by their degrees of freedom: groups of few
    people have heavy tails, and would alone fill the maximum over all tests.

    Args:
        tests: T of them.
        usable: (T, K) which differences there are.
        most: (T, K) what an observed statistic counts at most, in standard normal units: that of the
            jackknife, which sees the curvature that scores do not.
        draws: of signs.
        seed: of the draws.
    """
    units, width = tests[0].share.shape[1], usable.shape[1]
    df = [test.freedom for test in tests]

    def statistics(t: int, signs: Array) -> Array:
        moved, spread = tests[t].drawn(signs)
        return np.where(usable[t], normal(moved, spread, df[t]), 0.0)

    observed = np.concatenate([statistics(t, np.ones((1, units)))[0] for t in range(len(tests))])
    observed = np.minimum(np.abs(observed), np.abs(np.nan_to_num(most.ravel(), nan=0.0)))
    collected = MaxT(observed, draws)
    rng = np.random.default_rng([seed, 43])
    for start in range(0, draws, _BLOCK):
        part = slice(start, min(start + _BLOCK, draws))
        signs = rng.choice((-1.0, 1.0), (part.stop - start, units))
        for t in range(len(tests)):
            collected.add(part, t * width, statistics(t, signs))
    single, adjusted = (found.reshape(usable.shape) for found in collected.p_values())
    return np.where(usable, single, np.nan), np.where(usable, adjusted, np.nan)
