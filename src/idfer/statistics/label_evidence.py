r"""What each attribute says of the label, as natural parameters that add up [ours].

A linear-Gaussian regression of labels on level posteriors c[a], all attributes at once:

    y ~ N(m, s²)        y | c ~ N( m + Σ_a B_a (c[a] - mean c[a]), s_J² )                    (per label)

    log p(y | c) / p(y) = Σ_a ( η_a y - ½ Λ_a y² ) + constant
    η_a = B_a (c[a] - mean c[a]) / s_J² + m Λ_a      Λ_a = (1 / s_J² - 1 / s²) v_a / Σ_a v_a

v_a is the variance that attribute a explains. So evidence is attached by adding (η_a, Λ_a) and detached by
leaving it out, attribute by attribute and by any real strength; all attached is the regression itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_MOST = 0.95  # share of a label's variance that attributes may explain: a label is never taken to be known


@dataclass(frozen=True)
class LabelEvidence:
    """The regression of labels on the levels of A attributes, K at most.

    Attributes:
        slope: (A, K, 2) η per unit of a level's posterior, for valence and arousal.
        centre: (A, K) mean posterior.
        offset: (A, 2) η of the mean posterior.
        precision: (A, 2) Λ >= 0.
    """

    slope: Array
    centre: Array
    offset: Array
    precision: Array


def label_evidence(
    labels: NDArray[np.floating], levels: NDArray[np.floating], ridge: float = 1e-2
) -> LabelEvidence:
    """Fit what attributes say of labels.

    Args:
        labels: (n, 2) valence and arousal in [-1, 1].
        levels: (n, A, K) level posteriors, 0 where an attribute has fewer levels.
        ridge: penalty per sample of the regression on standardised posteriors; those of one attribute are
            collinear.
    """
    y, c = labels.astype(np.float64), levels.astype(np.float64)
    count, attributes, width = c.shape
    centre = c.mean(0)
    scale = np.maximum(c.std(0), 1e-3)
    x = ((c - centre) / scale).reshape(count, -1)
    mean = y.mean(0)
    solved = np.linalg.solve(x.T @ x + ridge * count * np.eye(x.shape[1]), x.T @ (y - mean))
    slope = solved.reshape(attributes, width, 2) / scale[..., None]
    parts = np.einsum("nak,akd->nad", c - centre, slope)
    marginal = np.maximum(y.var(0), 1e-6)
    left = np.clip((y - mean - parts.sum(1)).var(0), (1 - _MOST) * marginal, marginal)
    explained = parts.var(0)
    share = explained / np.maximum(explained.sum(0), 1e-12)
    precision = (1 / left - 1 / marginal) * share
    return LabelEvidence(slope / left, centre, mean * precision, precision)
