r"""q(level|x): a softmax over each attribute's levels, for hard or soft posteriors.

    CE_i = -Σ_k p_ik log q_k(x_i)      (nats)

fitted by cross-entropy on detached features. Logits pass through a tanh that keeps them in ±`logit`, so a
level that never occurs costs a bounded number of nats instead of infinity. Padded levels have probability 0.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from idfer.objectives.attribute_mlps import AttributeMLPs
from idfer.objectives.penalty_term import PenaltyTerm, Sees, normal

_NEVER = -1e4  # logit of a padded level: exp is 0, and 0 times it is not NaN


class LevelDecoder(PenaltyTerm):
    """A categorical q for A attributes; a subclass gives `values`.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: largest number of levels.
        hidden: width of the hidden layer.
        logit: bound of |logit|, in nats.
        normalise: layer-normalise x.
    """

    sees: ClassVar[Sees] = "levels"

    def __init__(
        self,
        attributes: int,
        dim_x: int,
        dim_y: int,
        hidden: int = 64,
        logit: float = 10.0,
        normalise: bool = True,
    ):
        super().__init__(attributes, dim_x, dim_y)
        self.attributes, self.logit, self.normalise = attributes, logit, normalise
        self.mlps = AttributeMLPs(attributes, dim_x, dim_y, hidden)

    def log_levels(self, x: Tensor, mask: Tensor) -> Tensor:
        """log q(level|x), (A, B, dim_y) in nats, for mask (A, dim_y)."""
        return self._log_softmax(self._logits(x), mask)

    def _logits(self, x: Tensor) -> Tensor:
        return self.logit * torch.tanh(self.mlps(normal(x, self.normalise)) / self.logit)

    def _log_softmax(self, logits: Tensor, mask: Tensor) -> Tensor:
        return logits.masked_fill(mask[:, None] == 0, _NEVER).log_softmax(-1)

    def values(self, log_q: Tensor, p: Tensor, share: Tensor) -> Tensor:
        """The bound (A, B) given log q and posteriors (A, B, dim_y) and shares (A, B)."""
        raise NotImplementedError

    def estimate(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """The bound per attribute and sample, (A, B) in nats; c are posteriors."""
        logits = self._logits(x)
        self._count_saturated(logits, self.logit, mask)
        return self.values(self._log_softmax(logits, mask), c.transpose(0, 1), share)

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """Cross-entropy against the posteriors, (A,) in nats."""
        return -(c.transpose(0, 1) * self.log_levels(x, mask)).sum(-1).mean(1)
