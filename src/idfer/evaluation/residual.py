r"""The conditional certificate, measured: what one draw of a feature tells about a face beyond its label.

    residual(x, y) = KL( N(μ(x), σ²(x)) || b(z | y) )     E residual >= I(z; x | y) >= I(z; identity | y)

(Fischer 2020, arXiv:2002.05379; `idfer.objectives.conditional_budget`.) The bound holds for any b that is
fixed before the faces are seen, so b is fitted to *other people's* features: mean and log-variance of each
unit as smooth functions of valence and arousal. A better b makes the bound tighter, never wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idfer.errors import IdferError

Array = NDArray[np.float64]
FOLDS = 5
_KNOTS = 4
_RIDGE = 1e-3


def residual_nats(
    mean: NDArray[np.floating],
    spread: NDArray[np.floating],
    labels: NDArray[np.floating],
    subjects: NDArray[np.generic],
    seed: int = 0,
) -> Array:
    """KL of every face to a backward encoder fitted on other people, (N,) in nats.

    Args:
        mean: (N, D) of the sampled feature.
        spread: (N, D) its standard deviations, above 0.
        labels: (N, 2) valence and arousal.
        subjects: (N,) whose face each is.
        seed: deals the people into folds.

    Raises:
        IdferError: there are fewer than two people.
    """
    people, person = np.unique(subjects, return_inverse=True)
    if len(people) < 2:
        raise IdferError("the conditional certificate needs faces of at least two people.")
    folds = min(FOLDS, len(people))
    fold = np.random.default_rng(seed).permutation(np.arange(len(people)) % folds)[person]
    mu, variance = mean.astype(np.float64), np.square(spread.astype(np.float64))
    nats = np.empty(len(mu))
    for held in (fold == k for k in range(folds)):
        of_label = _fitted(labels[~held], mu[~held], variance[~held], labels[held])
        nats[held] = _divergence(mu[held], variance[held], *of_label)
    return nats


def _fitted(labels: Array, mean: Array, variance: Array, new_labels: Array) -> tuple[Array, Array]:
    """b's mean and variance (m, D) at new labels."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

    def smooth(degree: int) -> object:
        splines = SplineTransformer(_KNOTS, degree=3, extrapolation="linear")
        return make_pipeline(
            splines, PolynomialFeatures(degree, include_bias=False), Ridge(_RIDGE * len(labels))
        )

    centre = smooth(2).fit(labels, mean)  # type: ignore[attr-defined]
    within = np.square(mean - centre.predict(labels)) + variance
    # of the logarithm, so that it stays positive; then scaled so that it is right on average
    shape = smooth(1).fit(labels, np.log(within))  # type: ignore[attr-defined]
    scale = (within / np.exp(shape.predict(labels))).mean(0)
    return centre.predict(new_labels), np.exp(shape.predict(new_labels)) * scale


def _divergence(mean: Array, variance: Array, b_mean: Array, b_variance: Array) -> Array:
    ratio = variance / b_variance
    return np.asarray(0.5 * (np.square(mean - b_mean) / b_variance + ratio - 1 - np.log(ratio)).sum(-1))
