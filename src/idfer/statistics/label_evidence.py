r"""What each attribute says of the label: a linear-Gaussian regression on all attributes' levels [ours].

    y ~ N(m, s²)        y | c ~ N( m + Σ_a g_a, s_J² )        g_a = B_a (c[a] - mean c[a])        (per label)

v_a is the variance that attribute a explains, Σ_a v_a = s² - s_J². Attributes of which only some are known, a
to the degree w_a, are the same regression with the rest averaged out:

    y | known ~ N( m + Σ_a w_a g_a, s_J² + Σ_a (1 - w_a) v_a )

exact where contributions of attributes are uncorrelated over people. Where two attributes say the same, the
regression splits it between them.
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
        slope: (A, K, 2) B, for valence and arousal.
        centre: (A, K) mean posteriors.
        mean: (2,) m.
        variance: (2,) s².
        left: (2,) s_J².
        explained: (A, 2) v.
    """

    slope: Array
    centre: Array
    mean: Array
    variance: Array
    left: Array
    explained: Array


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
    mean, variance = y.mean(0), np.maximum(y.var(0), 1e-6)
    solved = np.linalg.solve(x.T @ x + ridge * count * np.eye(x.shape[1]), x.T @ (y - mean))
    slope = solved.reshape(attributes, width, 2) / scale[..., None]
    parts = np.einsum("nak,akd->nad", c - centre, slope)
    left = np.clip((y - mean - parts.sum(1)).var(0), (1 - _MOST) * variance, variance)
    share = parts.var(0) / np.maximum(parts.var(0).sum(0), 1e-12)
    return LabelEvidence(slope, centre, mean, variance, left, (variance - left) * share)
