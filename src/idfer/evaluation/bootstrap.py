"""Intervals by resampling people, not rows: rows of one person are no independent evidence.

The cluster bootstrap (Davison & Hinkley 1997, section 3.8): draw S of the S subjects with replacement, take
all their rows, measure, repeat. Every metric here is a function of sums over rows, so a replicate is one
row of counts (how often each subject was drawn) times the subjects' sums: a matrix product, no loop over
replicates. The same seed and subjects give the same draws, so two models measured on the same rows are
compared replicate by replicate (paired), which removes what is common to both.

The interval is the percentile interval. It speaks of these models on other people; it does not hold the
spread over training seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idfer.errors import IdferError
from idfer.evaluation import metrics

Array = NDArray[np.float64]

_BLOCK = 4_000_000  # cells of the count matrix held at a time (32 MB)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `low` and `high` are nan where there are fewer than 2 subjects."""

    value: float
    low: float
    high: float


def resample(sums: Array, replicates: int = 1000, seed: int = 0) -> Array:
    """Total sums of bootstrap replicates: (S, ...) per-subject sums -> (replicates, ...).

    Args:
        sums: additive statistics per subject, subjects in a fixed order.
        replicates: how many draws of S subjects.
        seed: the draws' seed; equal S, replicates and seed give equal draws.
    """
    flat = sums.reshape(len(sums), -1)
    totals = [counts @ flat for counts in _counts(len(sums), replicates, seed)]
    return np.concatenate(totals).reshape(replicates, *sums.shape[1:])


def by_subject(rows: Array, subjects: ArrayLike) -> Array:
    """Add up row statistics (N, ...) within each subject: (S, ...), subjects in sorted order."""
    names, index = np.unique(np.asarray(subjects), return_inverse=True)
    if len(index) != len(rows):
        raise IdferError(f"{len(rows)} rows but {len(index)} subjects; give one subject per row.")
    total = np.zeros((len(names), *rows.shape[1:]))
    np.add.at(total, index.ravel(), rows)
    return total


def interval(replicates: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Percentile interval down the first axis; replicates without a value are left out.

    Returns:
        low and high, each of the shape of one replicate; nan where no replicate has a value.
    """
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    empty = np.isnan(replicates).all(axis=0)
    low, high = np.nanquantile(np.where(empty, 0.0, replicates), tails, axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def bootstrap(
    target: ArrayLike, prediction: ArrayLike, subjects: ArrayLike, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Array]:
    """Bootstrap replicates of every metric.

    Args:
        target: (N,) or (N, D) labels.
        prediction: the same shape.
        subjects: (N,) whose face each row is.
        replicates: number of replicates R.
        seed: the draws' seed.

    Returns:
        (R, D) per metric name (D = 1 for flat input).
    """
    rows = metrics.sums(target, prediction)
    return metrics.from_sums(resample(by_subject(rows, subjects), replicates, seed))


def estimates(
    target: ArrayLike, prediction: ArrayLike, subjects: ArrayLike, *, replicates: int = 1000, seed: int = 0
) -> dict[str, list[Estimate]]:
    """Every metric with its interval: per metric D dimensions, then their mean.

    Raises:
        IdferError: no rows, different shapes, or a value that is not finite.
    """
    rows = metrics.sums(target, prediction)
    people = by_subject(rows, subjects)
    values = metrics.from_sums(rows.sum(axis=0))
    draws = metrics.from_sums(resample(people, replicates, seed))
    return {name: _with_mean(values[name], draws[name], len(people)) for name in metrics.METRICS}


def differences(
    target: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    subjects: ArrayLike,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, list[Estimate]]:
    """Paired difference `second - first` of two models on the same rows, laid out as `estimates`."""
    stacked = np.stack([metrics.sums(target, first), metrics.sums(target, second)], axis=1)
    people = by_subject(stacked, subjects)
    values = metrics.from_sums(stacked.sum(axis=0))
    draws = metrics.from_sums(resample(people, replicates, seed))
    return {
        name: _with_mean(
            values[name][1] - values[name][0], draws[name][:, 1] - draws[name][:, 0], len(people)
        )
        for name in metrics.METRICS
    }


def _with_mean(values: Array, draws: Array, subjects: int) -> list[Estimate]:
    """Values (D,) and replicates (R, D) -> D estimates and the estimate of their mean."""
    values = np.append(values, values.mean())
    draws = np.concatenate([draws, draws.mean(axis=1, keepdims=True)], axis=1)
    low, high = interval(draws) if subjects > 1 else (np.full(len(values), np.nan),) * 2
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]


def _counts(subjects: int, replicates: int, seed: int) -> Iterator[Array]:
    """How often each subject is drawn, (block, S) at a time."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // subjects)
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        drawn = rng.integers(subjects, size=(size, subjects)) + subjects * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * subjects)
        yield counts.reshape(size, subjects).astype(np.float64)
