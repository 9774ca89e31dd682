r"""log p(y) - log p(y | c) by a linear-Gaussian regression: dependence of the mean, nothing else [ours].

    y | c ~ N( [1, c] B, Σ ),    y ~ N( m, S )      (nats)

Labels y (n, d) should be made Gaussian by ranks first; c (n, k) standardised. Returns (m,).
"""

from __future__ import annotations

import numpy as np


def gaussian_log_ratio(
    y: np.ndarray, c: np.ndarray, y_new: np.ndarray, c_new: np.ndarray, ridge: float
) -> np.ndarray:
    """log p(y) - log p(y | c) at new points, both Gaussians fitted on (y, c).

    Args:
        y: (n, d) labels to fit on.
        c: (n, k) attributes to fit on.
        y_new: (m, d).
        c_new: (m, k).
        ridge: penalty per sample; posteriors of one attribute are collinear.
    """
    x, x_new = np.column_stack([np.ones(len(c)), c]), np.column_stack([np.ones(len(c_new)), c_new])
    penalty = ridge * len(x) * np.eye(x.shape[1])
    penalty[0, 0] = 0
    coefficients = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    residual, centred = y - x @ coefficients, y - y.mean(0)
    marginal = _log_density(y_new - y.mean(0), centred)
    return np.asarray(marginal - _log_density(y_new - x_new @ coefficients, residual))


def _log_density(points: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Zero-mean Gaussian log-density at `points` (n, d), covariance from `sample`; constant left out."""
    covariance = sample.T @ sample / len(sample) + 1e-6 * np.eye(sample.shape[1])
    _, log_determinant = np.linalg.slogdet(covariance)
    mahalanobis = np.einsum("nd,nd->n", points @ np.linalg.inv(covariance), points)
    return np.asarray(-0.5 * (mahalanobis + log_determinant))
