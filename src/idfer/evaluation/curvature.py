r"""What a linear probe cannot see: regression along the directions in which a target curves, and on cosines.

A feature that tells an attribute by |u·x| or by x_j x_k is uncorrelated with it; a network of 128 inputs does
not find u among 500 people either. Its direction is an eigenvector of the average Hessian,

    H = E[ r w wᵀ ] - E[r] I,      w the whitened feature, r what the linear probe leaves of the target

(principal Hessian directions: Li 1992, JASA 87(420)), for a target of several outputs of Σ_k H_k². Ridge
regression on squares, products and magnitudes of the M leading coordinates follows; M, its strength and how
many principal components are searched are chosen on people not fitted to. Narrow features are also read by
ridge regression on random cosines (Rahimi & Recht 2007), which takes any smooth function. [ours]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.evaluation.bootstrap import Array
from idfer.evaluation.ridge import ridge, ridge_path, standardise

_WIDEST = 256  # whitened components searched at most, and
_ROWS = 4  # at least so many rows a component: whitening fewer makes noise look like structure
_LEADING = 32  # the leading components are searched alone too: few people find more in a smaller space
_DIRECTIONS = (1, 2, 4, 8)
_STRENGTHS = np.logspace(0, 5, 6)
_NARROW, _COSINES = 8, 128  # widest feature read by cosines, and how many
_WORTH = 0.002  # share of what is left that a stage must explain on unseen people to be kept


def curved(x: Array, y: Array, inner: NDArray[np.intp], x_test: Array, seed: int) -> tuple[Array, Array]:
    """Predict what a linear probe leaves.

    Args:
        x: (n, D) features, standardised.
        y: (n, T, K) what is left of T targets, each row from a probe that did not see the row's person.
        inner: (n,) inner fold of each row's person.
        x_test: (m, D) features of other people, scaled alike.
        seed: of the cosines.

    Returns:
        (m, T, K) for `x_test`; (n, T, K) for `x`, each by a probe blind to the row's inner fold. 0 for
        targets of which nothing was found on unseen people.
    """
    w, w_test = whiten(x, x_test)
    guess, held_out = np.zeros((len(x_test), *y.shape[1:])), np.zeros_like(y)
    for target in range(y.shape[1] if w.shape[1] else 0):
        found = _along_directions(w, y[:, target], inner, w_test)
        if found:
            guess[:, target], held_out[:, target] = found
    if 0 < w.shape[1] <= _NARROW:
        frequency, phase = _waves(w.shape[1], seed)
        waves, waves_test = np.cos(w @ frequency + phase), np.cos(w_test @ frequency + phase)
        more, more_held_out = ridge(waves, y - held_out, inner, waves_test)
        left = ((y - held_out) ** 2).sum(axis=(0, 2))
        worth = left - ((y - held_out - more_held_out) ** 2).sum(axis=(0, 2)) > _WORTH * left
        guess += more * worth[:, None]
        held_out += more_held_out * worth[:, None]
    return guess, held_out


def whiten(x: Array, x_test: Array) -> tuple[Array, Array]:
    """Leading principal components of `x` (n, D) in units of their spread, largest first.

    At most 256 of them and a quarter of n; values beyond 4 are cut, as products would carry outliers far.
    """
    mean = x.mean(axis=0)
    centred = x - mean
    if x.shape[1] <= len(x):
        values, basis = np.linalg.eigh(centred.T @ centred)
    else:  # the same directions from the rows' Gram matrix, which is smaller
        values, rows = np.linalg.eigh(centred @ centred.T)
        basis = centred.T @ (rows / np.sqrt(np.maximum(values, 1e-300)))
    most = min(_WIDEST, max(1, len(x) // _ROWS))
    kept = np.flatnonzero(values > 1e-10 * max(float(values[-1]), 1e-300))[::-1][:most]
    scale = basis[:, kept] * np.sqrt(len(x) / values[kept])
    return np.clip(centred @ scale, -4, 4), np.clip((x_test - mean) @ scale, -4, 4)


def _along_directions(
    w: Array, r: Array, inner: NDArray[np.intp], w_test: Array
) -> tuple[Array, Array] | None:
    """One target's prediction from its curved directions: (m, K), (n, K), or None where nothing was found."""
    widths = sorted({min(_LEADING, w.shape[1]), w.shape[1]})
    choices = [(width, many) for width in widths for many in _DIRECTIONS if many <= width]
    held_out = np.empty((len(choices), len(_STRENGTHS), *r.shape))
    for held in range(int(inner.max()) + 1):
        fit, test = inner != held, inner == held
        along = dict(zip(widths, directions(w[fit], r[fit], widths), strict=True))
        for i, (width, many) in enumerate(choices):
            axes = along[width][:, :many]
            held_out[i][:, test] = _ridge_on(w[fit, :width] @ axes, r[fit], w[test, :width] @ axes)
    loss = ((held_out - r) ** 2).sum(axis=(2, 3))
    best, strength = np.unravel_index(loss.argmin(), loss.shape)
    if loss[best, strength] > (1 - _WORTH) * (r**2).sum():
        return None
    width, many = choices[best]
    axes = directions(w, r, [width])[0][:, :many]
    guess = _ridge_on(w[:, :width] @ axes, r, w_test[:, :width] @ axes, _STRENGTHS[[strength]])
    return guess[0], held_out[best, strength]


def directions(w: Array, r: Array, widths: list[int]) -> list[Array]:
    """Directions in which r (n, K) curves, per width d of leading columns of w: (d, at most 8), first first.

    Args:
        w: (n, D) whitened.
        r: (n, K); of levels all but the last are read, which says nothing more.
        widths: how many leading columns of w to search.
    """
    single = w.astype(np.float32)  # half the time, and noise is far larger than its error
    squares = [np.zeros((d, d)) for d in widths]
    for output in r.T[: max(1, r.shape[1] - 1)]:
        moment = (single * output[:, None].astype(np.float32)).T @ single / len(w)
        for d, square in zip(widths, squares, strict=True):
            hessian = moment[:d, :d] - output.mean() * np.eye(d)
            square += hessian @ hessian
    return [np.linalg.eigh(square)[1][:, ::-1][:, : _DIRECTIONS[-1]] for square in squares]


def _ridge_on(u: Array, r: Array, u_test: Array, strengths: Array = _STRENGTHS) -> Array:
    """Ridge regression (strengths, m, K) on squares, products and magnitudes of coordinates."""
    x, x_test = standardise(_products(u), _products(u_test))
    return ridge_path(x, r, x_test, strengths)


def _products(u: Array) -> Array:
    """(n, M) -> (n, M (M + 3) / 2): all products of two coordinates, and every magnitude."""
    first, second = np.triu_indices(u.shape[1])
    return np.concatenate([u[:, first] * u[:, second], np.abs(u)], axis=1)


def _waves(width: int, seed: int) -> tuple[Array, Array]:
    """Frequencies (width, C) from slow to fast, and phases (C,)."""
    rng = np.random.default_rng(seed)
    speed = np.geomspace(0.7, 4, _COSINES) / np.sqrt(width)
    return rng.normal(size=(width, _COSINES)) * speed, rng.uniform(0, 2 * np.pi, _COSINES)
