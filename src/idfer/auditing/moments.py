"""Metrics as functions of sums over rows, their gradients, and the scales on which they are tested.

Each row gives 11 numbers: 1, then t, p, t^2, p^2, t p of valence and of arousal (t label, p prediction, both
less one constant per dimension). Weighted and added over any rows they give every metric of those rows, so a
person is 11 numbers per group, and leaving people out or dealing them anew is arithmetic on sums.

    ccc    2 cov(t, p) / (var(t) + var(p) + (mean t - mean p)^2)      0 where a side is constant
    rmse   sqrt(mean((p - t)^2))
    bias   mean(p - t)
    slope  cov(t, p) / var(p), of the label on the prediction: 1 is calibrated; nan where p is constant
    mean   mean p, where there are no labels

The third dimension, "mean", is the mean of the two dimensions' values. Tests and intervals work on scales
on which the spread depends little on the value: Fisher's z of ccc, the logarithm of rmse, the others as is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COLUMNS = 11
METRICS = ("ccc", "rmse", "bias", "slope")
UNLABELLED = ("mean",)
DIMENSIONS = ("valence", "arousal", "mean")
_OF = np.array([[0, 1, 2, 3, 4, 5], [0, 6, 7, 8, 9, 10]])  # the columns of each dimension
_NONE = 1e-9  # an RMSE of no error at all: its logarithm and slope stop here
_SMALL = 1e-13  # of the mean square: below the rounding of a difference, a variance is 0


def row_sums(label: Array | None, predicted: Array, centre: Array) -> Array:
    """Statistics of rows, (N, 11).

    Args:
        label: (N, 2); None counts as 0, so that `mean` is the bias from 0.
        predicted: (N, 2).
        centre: (2,) subtracted from both; any constant near the labels keeps the squares exact.
    """
    p = predicted - centre
    t = np.broadcast_to(-centre, p.shape) if label is None else label - centre
    parts = np.stack([t, p, t * t, p * p, t * p], axis=-1).reshape(len(p), 10)
    return np.concatenate([np.ones((len(p), 1)), parts], axis=1)


def values(total: Array, metrics: Sequence[str] = METRICS) -> Array:
    """Metrics of sums (..., 11): (..., metric, dimension); nan without rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return _with_mean(np.stack([value for value, _ in _measured(_means(total), metrics)], axis=-2))


def scaled(total: Array, metrics: Sequence[str] = METRICS) -> Array:
    """`values` on the scales of the tests, (..., metric, dimension)."""
    return to_scale(values(total, metrics), metrics)


def scaled_gradient(total: Array, metrics: Sequence[str] = METRICS) -> tuple[Array, Array]:
    """`scaled`, and its gradient by the sums: (..., metric, dimension) and (..., metric, dimension, 11)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = _means(total)
        found = _measured(means, metrics, slopes=True)
        raw = _with_mean(np.stack([value for value, _ in found], axis=-2))
        by_mean = np.stack([np.stack(slopes, axis=-1) for _, slopes in found], axis=-3)  # (..., M, 2, 5)
        inner = np.stack(means, axis=-1)[..., None, :, :]
        by_rows = -(by_mean * inner).sum(axis=-1)  # a metric does not change when all sums double
        by_rows, by_mean = (part / total[..., :1, None, None] for part in (by_rows[..., None], by_mean))
    gradient = np.zeros((*total.shape[:-1], len(metrics), 3, COLUMNS))
    for i in range(2):
        gradient[..., i, 0] = by_rows[..., i, 0]
        gradient[..., i, _OF[i, 1:]] = by_mean[..., i, :]
    gradient[..., 2, :] = gradient[..., :2, :].mean(axis=-2)
    for k, metric in enumerate(metrics):
        gradient[..., k, :, :] *= _steepness(raw[..., k, :], metric)[..., None]
    return to_scale(raw, metrics), gradient


def to_scale(raw: Array, metrics: Sequence[str] = METRICS) -> Array:
    """Values (..., metric, dimension) on the scales of the tests."""
    scale = raw.copy()
    for k, metric in enumerate(metrics):
        if metric == "ccc":
            scale[..., k, :] = np.arctanh(np.clip(raw[..., k, :], -1 + 1e-12, 1 - 1e-12))
        elif metric == "rmse":
            scale[..., k, :] = np.log(np.maximum(raw[..., k, :], _NONE))
    return scale


def from_scale(scale: Array, metrics: Sequence[str] = METRICS) -> Array:
    """Back from `to_scale`."""
    raw = scale.copy()
    for k, metric in enumerate(metrics):
        if metric == "ccc":
            raw[..., k, :] = np.tanh(scale[..., k, :])
        elif metric == "rmse":
            with np.errstate(over="ignore"):
                raw[..., k, :] = np.exp(scale[..., k, :])
    return raw


def _steepness(raw: Array, metric: str) -> Array:
    """d scale / d raw."""
    if metric == "ccc":
        return 1 / np.maximum(1 - raw**2, 1e-12)
    if metric == "rmse":
        return np.where(raw > _NONE, 1 / np.maximum(raw, _NONE), 0.0)
    return np.ones_like(raw)


def _with_mean(both: Array) -> Array:
    """Values (..., M, 2) of both dimensions and their mean, (..., M, 3)."""
    return np.concatenate([both, both.mean(axis=-1, keepdims=True)], axis=-1)


def _means(total: Array) -> tuple[Array, ...]:
    """Means of t, p, t^2, p^2 and t p, each (..., 2) by dimension."""
    part = total[..., _OF]
    return tuple(part[..., k] / part[..., 0] for k in range(1, 6))


def _measured(
    means: tuple[Array, ...], metrics: Sequence[str], slopes: bool = False
) -> list[tuple[Array, tuple[Array, ...]]]:
    """Metrics (..., 2) of both dimensions, each with its derivatives by the five means where wanted."""
    t, p, tt, pp, tp = means
    zero, one = np.zeros_like(t), np.ones_like(t)
    if tuple(metrics) == UNLABELLED:
        return [(p - t, (-one, one, zero, zero, zero))]
    var_t, var_p = np.maximum(tt - t * t, 0), np.maximum(pp - p * p, 0)
    flat_p = var_p <= _SMALL * np.maximum(pp, 1e-300)
    flat = (var_t <= _SMALL * np.maximum(tt, 1e-300)) | flat_p
    cov, spread = tp - t * p, var_t + var_p + (t - p) ** 2
    ccc = np.where(flat, 0.0, 2 * cov / spread) + 0 * t  # nan without rows
    rmse = np.sqrt(np.maximum(tt - 2 * tp + pp, 0))
    slope = np.where(flat_p, np.nan, cov / var_p)
    if not slopes:
        return [(ccc, ()), (rmse, ()), (p - t, ()), (slope, ())]
    by_cov = (-p, -t, zero, zero, one)
    by_spread = (-2 * p, -2 * t, one, one, zero)  # spread = tt + pp - 2 t p
    d_ccc = tuple(
        np.where(flat, 0.0, (2 * c - ccc * s) / spread) for c, s in zip(by_cov, by_spread, strict=True)
    )
    half = 0.5 / np.maximum(rmse, _NONE)
    d_slope = tuple(
        np.where(flat_p, np.nan, (c - slope * v) / var_p)
        for c, v in zip(by_cov, (zero, -2 * p, zero, one, zero), strict=True)
    )
    return [
        (ccc, d_ccc),
        (rmse, (zero, zero, half, half, -2 * half)),
        (p - t, (-one, one, zero, zero, zero)),
        (slope, d_slope),
    ]
