r"""CLUB for attributes that have levels: q is a softmax.

    I(x; k) <= E_i Σ_k ( p_ik - 1/(B-1) Σ_{j≠i} p_jk ) log q_k(x_i)      (nats)

(Cheng et al. 2020, arXiv:2006.12013, with a categorical q). For hard retrieval (one-hot p) and soft
posteriors alike: the level is then a draw from the posterior. A Gaussian q degenerates on the K points that
hard ID vectors take; this one does not. Guards as in `club.py`; a batch with a constant level gives 0.

x (B, dim_x) or (B, A, dim_x), c (B, A, K) posteriors, mask (A, K) the levels that exist, returns (A, B).
"""

from __future__ import annotations

from torch import Tensor

from idfer.objectives.level_decoder import LevelDecoder


class ClubCategorical(LevelDecoder):
    """Categorical vCLUB for A attributes in one batched operation; arguments as in `LevelDecoder`."""

    def values(self, log_q: Tensor, p: Tensor, share: Tensor) -> Tensor:
        """The bound (A, B) in nats over all B - 1 negatives of each sample."""
        others = (p.sum(1, keepdim=True) - p) / (p.shape[1] - 1)
        return ((p - others) * log_q).sum(-1)
