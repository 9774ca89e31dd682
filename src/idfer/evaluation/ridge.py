"""Ridge regression for many targets at once, its strength chosen on people not fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.bootstrap import Array

People = NDArray[np.intp]
_ALPHAS = np.logspace(-1, 6, 15)


def ridge(x: Array, y: Array, inner: People, x_test: Array, *, levels: bool = False) -> tuple[Array, Array]:
    """Ridge regression of T targets, its strength chosen per target on unseen training people.

    Args:
        x: (n, D) features.
        y: (n, T, K) numbers to predict.
        inner: (n,) inner fold of each row's person.
        x_test: (m, D) features of other people.
        levels: whether y are indicators of K levels; then balanced log loss chooses, else squared error.

    Returns:
        (m, T, K) predictions for `x_test`; (n, T, K) for `x`, each by a fit blind to the row's inner fold.
    """
    flat = y.reshape(len(y), -1)
    held_out = np.empty((len(_ALPHAS), *y.shape))
    for held in range(int(inner.max()) + 1):
        fit, test = inner != held, inner == held
        held_out[:, test] = ridge_path(x[fit], flat[fit], x[test]).reshape(-1, int(test.sum()), *y.shape[1:])
    squares = ((held_out - y) ** 2).sum(axis=(1, 3))
    loss = _surprise(held_out, y.argmax(axis=-1)) if levels else squares
    best = loss.argmin(axis=0)[None, None, :, None]
    path = ridge_path(x, flat, x_test).reshape(-1, len(x_test), *y.shape[1:])
    return np.take_along_axis(path, best, axis=0)[0], np.take_along_axis(held_out, best, axis=0)[0]


def ridge_path(x: Array, y: Array, x_test: Array, strengths: Array = _ALPHAS) -> Array:
    """Ridge predictions (strengths, m, columns) for every strength, from one decomposition."""
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    if x.shape[1] <= len(x):
        values, basis = np.linalg.eigh(centred.T @ centred)
        inner, outer = basis.T @ (centred.T @ (y - y_mean)), (x_test - x_mean) @ basis
    else:  # fewer rows than features: the same solution from the rows' Gram matrix
        values, basis = np.linalg.eigh(centred @ centred.T)
        inner, outer = basis.T @ (y - y_mean), (x_test - x_mean) @ centred.T @ basis
    values = np.maximum(values, 0)
    return np.stack([y_mean + outer @ (inner / (values + a)[:, None]) for a in strengths])


def discriminant(held_out: Array, y: People, guess: Array) -> Array:
    """Log-odds (m, K) of the levels for each row of `guess` (m, K), all equally likely beforehand.

    Linear discriminant analysis on the K indicator predictions: with ridge it is penalised discriminant
    analysis (Hastie, Buja & Tibshirani 1995), which, unlike the largest indicator, does not overlook the
    middle one of ordered levels. Centroids and spread come from predictions for unseen people (`held_out`).
    """
    member = np.eye(guess.shape[1])[y]
    centroid = (member.T @ held_out) / np.maximum(member.sum(axis=0), 1)[:, None]
    rest = held_out - centroid[y]
    within = rest.T @ rest / len(rest)
    metric = np.linalg.pinv(within + 1e-6 * max(float(np.trace(within)), 1e-12) * np.eye(len(within)))
    lift = centroid @ metric
    return np.asarray(guess @ lift.T - 0.5 * (lift * centroid).sum(axis=1))


def _surprise(held_out: Array, y: People) -> Array:
    """Balanced log loss (strengths, T) of the discriminant on predictions `held_out` (strengths, n, T, K)."""
    loss = np.empty((len(held_out), y.shape[1]))
    for i, column in np.ndindex(loss.shape):
        level, score = y[:, column], held_out[i, :, column]
        odds = discriminant(score, level, score)
        odds -= odds.max(axis=1, keepdims=True)
        miss = np.log(np.exp(odds).sum(axis=1)) - odds[np.arange(len(odds)), level]
        loss[i, column] = (np.bincount(level, miss) / np.maximum(np.bincount(level), 1)).mean()
    return loss


def standardise(x: Array, *others: Array) -> tuple[Array, ...]:
    """Standardise `x` and others by the mean and spread of `x`; its constant columns become 0.

    Values beyond 10 standard deviations are cut there: one outlier must not carry a probe.
    """
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-8 * np.maximum(np.abs(mean), 1.0), 1 / np.maximum(spread, 1e-300), 0.0)
    return tuple(np.clip((values - mean) * scale, -10, 10) for values in (x, *others))
