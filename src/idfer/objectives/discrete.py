r"""Exact mutual information of discrete variables, from two sets of posteriors.

    P_kl = Σ_i w_i p_ik q_il,     I(s; c) = Σ_kl P_kl log P_kl / (P_k· P_·l) = H(s) + H(c) - H(s, c)   (nats)

(Cover, Thomas 2006, chapter 2). s and c are levels drawn from the posteriors p and q of the same sample; hard
posteriors give the plug-in MI of two columns of levels. Exact for the table; as an estimate from B samples of
what holds for all faces it is biased upwards by about (K-1)(L-1) / 2B (Miller 1955). 0 <= I <= log min(K, L).
Differentiable in p and q. A level that never occurs adds 0 and its gradient stays finite.

p (B, A, K) and q (B, A, L), or (B, K) and (B, L); returns (A,), or a scalar: the table does not split into
samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NOTHING = 1e-30  # probability below which log is cut: p log p is 0 there, and its slope must be finite


def joint_table(p: Tensor, q: Tensor, weight: Tensor | None = None) -> Tensor:
    """The joint distribution of levels, (A, K, L) or (K, L), summing to 1.

    Args:
        p: (B, A, K) or (B, K) posteriors; padded levels are 0.
        q: (B, A, L) or (B, L) posteriors of the same samples.
        weight: (B, A) or (B,) non-negative; None weighs alike.

    Raises:
        ValueError: an empty batch.
    """
    if len(p) == 0:
        raise ValueError("a joint table needs at least one sample.")
    if weight is None:
        weight = p.new_ones(p.shape[:-1])
    weight = weight if weight.dim() == p.dim() - 1 else weight[:, None]
    table = torch.einsum("b...k,b...l->...kl", p * weight[..., None], q)
    return table / table.sum((-2, -1), keepdim=True).clamp_min(_NOTHING)


def discrete_information(p: Tensor, q: Tensor, weight: Tensor | None = None) -> Tensor:
    """I(s; c) in nats, (A,) or a scalar; arguments as in `joint_table`."""
    table = joint_table(p, q, weight)
    return entropy(table.sum(-1)) + entropy(table.sum(-2)) - entropy(table, (-2, -1))


def entropy(probability: Tensor, over: tuple[int, ...] = (-1,)) -> Tensor:
    """-Σ p log p over some dimensions, in nats."""
    return -(probability * probability.clamp_min(_NOTHING).log()).sum(over)
