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
_V, _A = (0, 1, 2, 3, 4, 5), (0, 6, 7, 8, 9, 10)  # the columns of one dimension
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
    parts = [_dimension(total[..., list(columns)], metrics)[0] for columns in (_V, _A)]
    both = np.stack(parts, axis=-1)
    return np.concatenate([both, both.mean(axis=-1, keepdims=True)], axis=-1)


def scaled(total: Array, metrics: Sequence[str] = METRICS) -> Array:
    """`values` on the scales of the tests, (..., metric, dimension)."""
    return to_scale(values(total, metrics), metrics)


def scaled_gradient(total: Array, metrics: Sequence[str] = METRICS) -> tuple[Array, Array]:
    """`scaled`, and its gradient by the sums: (..., metric, dimension) and (..., metric, dimension, 11)."""
    gradient = np.zeros((*total.shape[:-1], len(metrics), 3, COLUMNS))
    both = []
    for i, columns in enumerate((_V, _A)):
        value, slope = _dimension(total[..., list(columns)], metrics)
        both.append(value)
        gradient[..., i, list(columns)] = slope
    gradient[..., 2, :] = gradient[..., :2, :].mean(axis=-2)
    raw = np.stack(both, axis=-1)
    raw = np.concatenate([raw, raw.mean(axis=-1, keepdims=True)], axis=-1)
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
            scale[..., k, :] = np.log(np.maximum(raw[..., k, :], 1e-150))
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
        return 1 / np.maximum(raw, 1e-150)
    return np.ones_like(raw)


def _dimension(total: Array, metrics: Sequence[str]) -> tuple[Array, Array]:
    """Metrics of one dimension's sums (..., 6) and their gradients: (..., M) and (..., M, 6)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        n = total[..., 0]
        t, p, tt, pp, tp = (total[..., k] / n for k in range(1, 6))
        zero, one = np.zeros_like(t), np.ones_like(t)
        if tuple(metrics) == UNLABELLED:
            found: list[tuple[Array, tuple[Array, ...]]] = [(p - t, (-one, one, zero, zero, zero))]
        else:
            found = _labelled(t, p, tt, pp, tp, zero, one)
        value = np.stack([v for v, _ in found], axis=-1)
        by_mean = np.stack([np.stack(g, axis=-1) for _, g in found], axis=-2)  # (..., M, 5)
        means = np.stack([t, p, tt, pp, tp], axis=-1)[..., None, :]
        by_n = -(by_mean * means).sum(axis=-1, keepdims=True)  # a metric does not change when all sums double
        return value, np.concatenate([by_n, by_mean], axis=-1) / n[..., None, None]


def _labelled(
    t: Array, p: Array, tt: Array, pp: Array, tp: Array, zero: Array, one: Array
) -> list[tuple[Array, tuple[Array, ...]]]:
    """ccc, rmse, bias and slope of means, each with its derivatives by (t, p, tt, pp, tp)."""
    var_t, var_p = np.maximum(tt - t * t, 0), np.maximum(pp - p * p, 0)
    flat_p = var_p <= _SMALL * np.maximum(pp, 1e-300)
    flat = (var_t <= _SMALL * np.maximum(tt, 1e-300)) | flat_p
    cov, spread = tp - t * p, var_t + var_p + (t - p) ** 2
    ccc = np.where(flat, 0.0, 2 * cov / spread)
    by_cov = (-p, -t, zero, zero, one)
    by_spread = (-2 * p, -2 * t, one, one, zero)  # spread = tt + pp - 2 t p
    d_ccc = tuple(
        np.where(flat, 0.0, (2 * c - ccc * s) / spread) for c, s in zip(by_cov, by_spread, strict=True)
    )
    rmse = np.sqrt(np.maximum(tt - 2 * tp + pp, 0))
    half = 0.5 / np.maximum(rmse, 1e-150)
    slope = np.where(flat_p, np.nan, cov / var_p)
    d_slope = tuple(
        np.where(flat_p, np.nan, (c - slope * v) / var_p)
        for c, v in zip(by_cov, (zero, -2 * p, zero, one, zero), strict=True)
    )
    undefined = np.where(np.isnan(t), np.nan, 1.0)  # no rows
    return [
        (ccc * undefined, d_ccc),
        (rmse * undefined, (zero, zero, half, half, -2 * half)),
        (p - t, (-one, one, zero, zero, zero)),
        (slope, d_slope),
    ]
