"""Sums over people's rows of two models on the same faces, and what each person adds to their difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.auditing.moments import Array, row_sums, values
from idfer.auditing.pools import MOST_UNITS, POOLS
from idfer.auditing.sample import Sample


def units(people: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """(N,) unit of each row: its person, or a random pool where people are so many that audits pool them."""
    count = int(people.max()) + 1
    if count <= MOST_UNITS:
        return people
    pool: NDArray[np.intp] = np.random.default_rng([seed, 41]).integers(POOLS, size=count)[people]
    return pool


def unit_sums(sample: Sample, weight: Array, unit: NDArray[np.intp], count: int) -> Array:
    """(U, L, 11) sums of each unit's rows, weighted by level."""
    assert sample.predicted is not None
    anchor = sample.label if sample.label is not None else sample.predicted
    rows = row_sums(
        sample.label, sample.predicted, anchor.mean(axis=0) if sample.label is not None else np.zeros(2)
    )
    parts = [
        np.stack([np.bincount(unit, rows[:, c] * w, count) for c in range(rows.shape[1])], axis=1)
        for w in weight.T
    ]
    return np.stack(parts, axis=1)


def left_out(
    sums: list[Array], metrics: tuple[str, ...], levels: tuple[int, ...]
) -> tuple[Array, Array, Array, Array]:
    """Values, or gaps of two levels, (K) of both models, and those without each unit (U, K)."""
    whole: list[list[Array]] = []  # of each model, per level
    without: list[list[Array]] = []
    for part in sums:
        total = part.sum(axis=0)
        whole.append([values(total[level], metrics).ravel() for level in levels])
        without.append(
            [values(total[level] - part[:, level], metrics).reshape(len(part), -1) for level in levels]
        )
    gaps = [of[0] - of[1] if len(of) > 1 else of[0] for of in (*whole, *without)]
    return gaps[0], gaps[1], gaps[2], gaps[3]


def added(sums: list[Array], metrics: tuple[str, ...], level: int) -> Array:
    """(U, K) what each unit adds to the second model's values less the first's, half-way between the models.

    Half-way is the same whichever model is the second for whom: swapping the models for a unit turns the sign
    of what it adds, and changes nothing of what others add.
    """
    first, second = (part[:, level] for part in sums)
    half, apart = (first.sum(axis=0) + second.sum(axis=0)) / 2, (second - first) / 2
    step = values(half + apart, metrics) - values(half - apart, metrics)
    return np.asarray(step.reshape(len(step), -1))
