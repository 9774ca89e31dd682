"""Scores of probes with intervals that hold what a probe learned, not only whom it reads.

A person acts twice on a cross-fitted score: its rows are read, and the probes that read the others learned
from them. Drawing held-out people anew (the bootstrap of `evaluation.bootstrap`) counts the first alone. The
second is of second order where a leak is clear, as a probe near its best hardly gets worse by a person more
or less, and all there is where nothing leaks: there the score is a sum over pairs of people (one read, one
learned from), each pair counted both ways, whose variance is twice what drawing the readers anew says. So

    spread^2 = that of the bootstrap + that of the bootstrap of a score where nothing leaks

and the latter is measured: targets dealt to other people go through the same pipeline for `chance` anyway.
Half of a null score's variance would be missing without it. The deal of people to folds is in it: dealing
targets is dealing people. `benchmarks/leak_calibration.py` measures how often intervals hold, with and
without. [ours]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from idfer.evaluation.bootstrap import Array, interval, resample

_TWO_SIDED = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Scored:
    """One probe's score (0 chance, 1 read perfectly) with its measure, chance and 95 % interval."""

    raw: float
    chance: float
    score: float
    low: float
    high: float


def of_readers(sums: Array, continuous: bool, seed: int) -> tuple[float, float]:
    """Ends of the interval that draws the people who are read anew and nothing else; see `scored`."""
    low, high = interval(_score(_values(resample(sums, seed=seed), continuous), continuous)[2])
    return float(low), float(high)


def scored(sums: Array, continuous: bool, seed: int) -> Scored:
    """Score a target with what its dealings score.

    Args:
        sums: (S, 1 + shuffles, ...) sums per person of the target and of the target dealt to other people:
            (2) squared errors of a number's probe and of its mean, or (K, 2) correct and seen rows by level.
        continuous: whether the target is a number.
        seed: of the bootstrap over people.
    """
    values = _values(sums.sum(axis=0), continuous)
    draws = _values(resample(sums, seed=seed), continuous)
    raw, chance, score = _score(values, continuous)
    low, high = interval(_score(draws, continuous)[2])
    learned = draws[:, 1:].var(axis=0).mean()
    if not continuous:  # the mean over the dealings stands in the score, and so does its own second order
        learned *= (1 + 1 / (sums.shape[1] - 1)) / max((1 - float(chance)) ** 2, 1e-12)
    reach = _TWO_SIDED * np.sqrt(learned)
    return Scored(
        float(raw),
        float(chance),
        float(score),
        float(score - np.hypot(score - low, reach)),
        float(score + np.hypot(high - score, reach)),
    )


def _values(sums: Array, continuous: bool) -> Array:
    """R^2 or balanced accuracy (..., 1 + shuffles) of summed parts."""
    if continuous:
        return np.asarray(1 - sums[..., 0] / np.maximum(sums[..., 1], 1e-300))
    seen = sums[..., 1] > 0
    return np.asarray((sums[..., 0] / np.maximum(sums[..., 1], 1)).sum(axis=-1) / seen.sum(axis=-1))


def _score(values: Array, continuous: bool) -> tuple[Array, Array, Array]:
    """Measure, its chance and the score, each (...), of values of the target and then its dealings."""
    raw, chance = values[..., 0], values[..., 1:].mean(axis=-1)
    return raw, chance, raw if continuous else (raw - chance) / (1 - chance)
