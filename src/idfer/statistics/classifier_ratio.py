r"""log p(y) p(c) / p(y, c) by a classifier that tells true pairs from shuffled ones.

    log p(y, c) / p(y) p(c) = logit of a classifier of (y_i, c_i) against (y_i, c_π(i))      (nats)

(density-ratio estimation by classification: Sugiyama, Suzuki, Kanamori 2012; its use for decorrelation is
ours). The classifier is a ridge-penalised logistic regression, so its optimum is unique and needs no seed of
its own, on products φ_s(y) ψ_t(c): φ = 1, y_s and y_s y_t; ψ = the leading principal components of c_s and
c_s c_t. So it sees what the Gaussian ratio cannot: spread that depends on an attribute, and attributes that
act only together.

y (n, d) standardised, c (n, k) standardised; returns (m,).
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

_COMPONENTS = 24  # of ψ: keeps the number of products, and so the fit, small for any vocabulary


def classifier_log_ratio(
    y: np.ndarray,
    c: np.ndarray,
    y_new: np.ndarray,
    c_new: np.ndarray,
    ridge: float,
    seed: int,
    negatives: int = 4,
) -> np.ndarray:
    """log p(y) p(c) / p(y, c) at new points, the classifier fitted on (y, c).

    Args:
        y: (n, d) labels to fit on.
        c: (n, k) attributes to fit on.
        y_new: (m, d).
        c_new: (m, k).
        ridge: penalty per sample of all coefficients but the intercept.
        seed: of the shuffles.
        negatives: shuffled pairs per true pair; together they weigh as much as the true ones.
    """
    attribute = _Components(c)
    rng = np.random.default_rng(seed)
    phi, psi = _with_products(y), attribute(c)
    shift = rng.choice(np.arange(1, len(y)), size=min(negatives, len(y) - 1), replace=False)
    order = rng.permutation(len(y))
    turned = [np.take(psi[order], np.arange(len(y)) - s, 0, mode="wrap") for s in shift]
    features = np.concatenate([_pairs(phi[order], p) for p in (psi[order], *turned)])
    target = np.repeat([1.0, 0.0], [len(y), len(y) * len(turned)])
    weight = np.where(target == 1, 1.0, 1 / len(turned))
    centre, scale = features.mean(0), np.maximum(features.std(0), 1e-6)
    coefficients = _logistic((features - centre) / scale, target, weight, ridge)
    new = (_pairs(_with_products(y_new), attribute(c_new)) - centre) / scale
    return np.asarray(-(coefficients[0] + new @ coefficients[1:]))


class _Components:
    """ψ: principal components of c and its products, of unit variance, fitted on c."""

    def __init__(self, c: np.ndarray):
        wide = _with_products(c)
        self.mean = wide.mean(0)
        _, singular, directions = np.linalg.svd(wide - self.mean, full_matrices=False)
        deviation = singular / np.sqrt(len(c))
        kept = min(_COMPONENTS, int((deviation > 1e-3 * max(deviation[0], 1e-9)).sum()))
        self.basis = directions[:kept].T / np.maximum(deviation[:kept], 1e-9)

    def __call__(self, c: np.ndarray) -> np.ndarray:
        return np.asarray((_with_products(c) - self.mean) @ self.basis)


def _with_products(x: np.ndarray) -> np.ndarray:
    """x_s and x_s x_t (s <= t), (n, k + k (k + 1) / 2)."""
    s, t = np.triu_indices(x.shape[1])
    return np.concatenate([x, x[:, s] * x[:, t]], 1)


def _pairs(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """All products of (1, φ) and (1, ψ) but 1 · 1."""
    constant = np.ones((len(phi), 1))
    product = np.concatenate([constant, phi], 1)[:, :, None] * np.concatenate([constant, psi], 1)[:, None]
    return np.asarray(product.reshape(len(phi), -1)[:, 1:])


def _logistic(x: np.ndarray, target: np.ndarray, weight: np.ndarray, ridge: float) -> np.ndarray:
    """Weighted ridge logistic regression by damped Newton steps: intercept first, (1 + columns,)."""
    x = np.concatenate([np.ones((len(x), 1)), x], 1)
    penalty = np.full(x.shape[1], ridge * weight.sum())
    penalty[0] = 1e-9
    beta = np.zeros(x.shape[1])

    def loss(b: np.ndarray) -> float:
        z = x @ b
        return float((weight * (np.logaddexp(0, z) - target * z)).sum() + 0.5 * (penalty * b * b).sum())

    now = loss(beta)
    for _ in range(25):
        p = expit(x @ beta)
        gradient = x.T @ (weight * (p - target)) + penalty * beta
        hessian = (x * (weight * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(beta - size * step) > now and size > 1e-3:
            size /= 2
        beta = beta - size * step
        before, now = now, loss(beta)
        if before - now < 1e-7 * abs(before):
            break
    return beta
