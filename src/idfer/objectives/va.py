r"""Supervised valence-arousal loss: maximise I(z_exp; y) and agree with the labels.

    L_VA = MSE_v + MSE_a + ½ (L_PCC + L_CCC),   L_PCC = 1 - mean_d PCC_d,   L_CCC = 1 - mean_d CCC_d

with d over valence and arousal [lineage]. Squared error is the Barber-Agakov bound of I(z_exp; y) under a
Gaussian decoder of fixed variance. CCC is Lin's concordance (Lin 1989, Biometrics 45:255). The sample
weights are ours: every moment below is weighted, so that decorrelation weights act on all terms alike.
"""

from __future__ import annotations

from torch import Tensor

_EPS = 1e-6  # variances below this are a constant batch: correlation is defined as 0 there


def correlations(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weighted PCC and CCC of a batch.

    Args:
        prediction: (B, 2), any range.
        target: (B, 2) in [-1, 1].
        weight: (B,) non-negative; None weighs alike.

    Returns:
        PCC (2,) and CCC (2,), both in [-1, 1]; 0 where a column is constant.
    """
    share = (prediction.new_ones(len(prediction)) if weight is None else weight)[:, None]
    share = share / share.sum().clamp_min(_EPS)
    mean_p, mean_t = (share * prediction).sum(0), (share * target).sum(0)
    p, t = prediction - mean_p, target - mean_t
    var_p, var_t, cov = (share * p * p).sum(0), (share * t * t).sum(0), (share * p * t).sum(0)
    pcc = cov / (var_p * var_t).clamp_min(_EPS**2).sqrt()
    ccc = 2 * cov / (var_p + var_t + (mean_p - mean_t).square()).clamp_min(_EPS)
    return pcc, ccc


def va_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """L_VA of a batch, a scalar (a batch statistic: correlations do not split into samples).

    Args:
        prediction: (B, 2) predicted valence and arousal.
        target: (B, 2) labels in [-1, 1].
        weight: (B,) sample weights, or None.
    """
    error = (prediction - target).square()
    if weight is not None:
        error = error * (weight / weight.mean().clamp_min(_EPS))[:, None]
    pcc, ccc = correlations(prediction, target, weight)
    return error.mean(0).sum() + 0.5 * ((1 - pcc.mean()) + (1 - ccc.mean()))
