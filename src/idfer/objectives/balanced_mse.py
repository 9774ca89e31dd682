r"""Balanced MSE: squared error with the imbalance of the labels divided out.

    -log [ N(y_i; f_i, σ²) / ∫ p(y) N(y; f_i, σ²) dy ] · 2 σ²

(Ren et al. 2022, CVPR, arXiv:2203.16427): a network that minimises it is a regression under uniform labels,
though trained under p(y). Two ways to the integral, both theirs: `bmc`, a mean over the batch's own labels,
and `bni`, a sum over bins of the training labels. The factor 2 σ² (without gradient) brings the loss to the
scale of a squared error. σ is learned.

f (B, 2), y (B, 2); log_sigma (); returns (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from idfer.objectives.conditional_information import conditional_information


def bmc(f: Tensor, y: Tensor, log_sigma: Tensor) -> Tensor:
    """Batch-based Monte Carlo, valence and arousal jointly; log B of it is a constant and left out.

    Args:
        f: (B, 2) predicted valence and arousal.
        y: (B, 2) labels in [-1, 1].
        log_sigma: () log σ.
    """
    variance = (2 * log_sigma).exp()
    logits = -0.5 * (f[:, None] - y[None]).square().sum(-1) / variance
    own = torch.diagonal(logits)
    return (logits.logsumexp(1) - own) * (2 * variance).detach()


def bni(f: Tensor, y: Tensor, log_p: Tensor, grid: Tensor, log_sigma: Tensor) -> Tensor:
    """Bin-based numerical integration, valence and arousal each by its own marginal.

    Args:
        f: (B, 2) predicted valence and arousal.
        y: (B, 2) labels in [-1, 1].
        log_p: (2, K) log p(y_b).
        grid: (K,) centres y_b of the bins.
        log_sigma: () log σ.
    """
    variance = (2 * log_sigma).exp()
    nats = conditional_information(f, y, log_p[None], grid, log_sigma.expand(2))
    return -nats * (2 * variance).detach()


def log_marginal(y: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """log p(y_b) of each label (2, K) and the centres of K bins on [-1, 1]; half a face is added to each.

    Args:
        y: (n, 2) training labels in [-1, 1].
        bins: K.
    """
    counts = torch.stack([torch.histc(column.cpu().double(), bins, -1, 1) for column in y.T]) + 0.5
    centre = (torch.arange(bins) + 0.5) * (2 / bins) - 1
    return (counts / counts.sum(1, keepdim=True)).log().float().to(y.device), centre.to(y.device)
