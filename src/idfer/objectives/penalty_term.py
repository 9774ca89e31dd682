r"""The contract of a penalty term: something that grows with I(x; c[a]) and can be minimised safely.

    learning_loss(x, c, mask)    its critic learns, on detached x, with an optimiser of its own
    guarded(x, c, mask, keep)    the encoder minimises, nats summed over attributes
    pop_guards()                 how often a guard of `guards.py` acted

Shapes: x (B, dim_x) shared by all attributes or (B, A, dim_x); c (B, A, dim_y); mask (A, dim_y), 1 for the
coordinates that exist, 0 for padding; y (B, 2), used by the label-conditional term only. Estimates are (A, B)
per-sample values in nats whose mean over B is the estimate, or (A,) where a batch statistic does not split.

Sample weights act on x: an attribute's estimate is Σ_i s_i v_i with shares s ∝ keep, and negatives are drawn
from the batch's own c. That is right for weights that leave p(c) alone, as detach masks and decorrelation
weights do.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.errors import UsageError
from idfer.objectives.guards import Guards, clean, quiet, shares

Sees = Literal["vectors", "levels"]  # whitened ID vectors, or level posteriors


class PenaltyTerm(nn.Module):
    """A penalty term; a subclass gives `estimate` and `losses`.

    Args:
        attributes: A.
        dim_x: width of x.
        dim_y: width of c[a].

    Attributes:
        sees: what c[a] is.
        least: samples that a batch must have.
    """

    sees: ClassVar[Sees] = "vectors"
    least: ClassVar[int] = 2

    def __init__(self, attributes: int, dim_x: int, dim_y: int):
        super().__init__()
        self.guards = Guards()

    def estimate(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """(A, B) or (A,) in nats; share (A, B) sums to 1 over the samples, the rest as in `guarded`."""
        raise NotImplementedError

    def losses(self, x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None) -> Tensor:
        """(A,) what the critic minimises; x carries no gradient."""
        raise NotImplementedError

    def penalty(self, x: Tensor, c: Tensor, mask: Tensor, share: Tensor, y: Tensor | None) -> Tensor:
        """What the encoder minimises, shaped as `estimate`, which it is unless a term says otherwise."""
        return self.estimate(x, c, mask, share, y)

    def forward(self, x: Tensor, c: Tensor, mask: Tensor | None = None, *, y: Tensor | None = None) -> Tensor:
        """The unguarded estimate, (A, B) or (A,) in nats; arguments as in `guarded`.

        Raises:
            UsageError: too few samples.
        """
        self._enough(x)
        mask = c.new_ones(c.shape[1:]) if mask is None else mask
        return self.estimate(x, c * mask, mask, c.new_full(c.shape[1::-1], 1 / len(c)), y)

    def learning_loss(
        self, x: Tensor, c: Tensor, mask: Tensor | None = None, *, y: Tensor | None = None
    ) -> Tensor:
        """What the critic minimises on detached x, a scalar: the sum over attributes, in nats.

        Args:
            x: (B, dim_x) or (B, A, dim_x).
            c: (B, A, dim_y).
            mask: (A, dim_y), or None where nothing is padded.
            y: (B, 2) labels, for the label-conditional term.

        Raises:
            UsageError: too few samples.
        """
        self._enough(x)
        mask = c.new_ones(c.shape[1:]) if mask is None else mask
        x, c, y, usable = clean(x.detach(), c, mask, y)
        losses = self.losses(x, c, mask, y)
        return torch.where(usable, losses, torch.zeros_like(losses)).sum()

    def guarded(self, x: Tensor, c: Tensor, mask: Tensor, keep: Tensor, *, y: Tensor | None = None) -> Tensor:
        """What the encoder minimises, a scalar: Σ_a of the usable, positive estimates, in nats.

        Args:
            x: (B, dim_x) or (B, A, dim_x).
            c: (B, A, dim_y).
            mask: (A, dim_y).
            keep: (B, A) weights of the samples in each attribute's mean, e.g. 0 where it stays attached.
            y: (B, 2) labels, for the label-conditional term.

        Raises:
            UsageError: too few samples.
        """
        self._enough(x)
        x, c, y, usable = clean(quiet(x), c, mask, y)
        share, kept = shares(keep)
        values = self.penalty(x, c, mask, share, y)
        return self.guards.total(values if values.dim() == 1 else (share * values).sum(1), usable, kept)

    def pop_guards(self) -> dict[str, int]:
        """How often each guard acted since the last call."""
        return self.guards.pop()

    def _count_saturated(self, outputs: Tensor, bound: float, mask: Tensor) -> None:
        """Count a call where over half of outputs (A, B, K) with mask (A, K) press against ±bound."""
        edge = (outputs.detach().abs() > 0.95 * bound).to(mask.dtype).mean(1)
        self.guards.count("saturated", (edge * mask).sum() > 0.5 * mask.sum())

    def _enough(self, x: Tensor) -> None:
        if len(x) < self.least:
            number = {2: "two", 4: "four"}.get(self.least, str(self.least))
            raise UsageError(
                f"{type(self).__name__} needs at least {number} samples in a batch, got {len(x)}: "
                "it compares a sample with others. Use a larger batch or drop the last, short one."
            )


def normal(x: Tensor, normalise: bool) -> Tensor:
    """x layer-normalised without affine, so that shrinking the features gains nothing; or x itself.

    Raises:
        UsageError: one or two coordinates, of which layer normalisation leaves nothing or a sign.
    """
    if not normalise:
        return x
    if x.shape[-1] < 3:
        raise UsageError(
            f"layer normalisation of a feature of {x.shape[-1]} numbers loses it; take 3 or more (--code, or "
            "--dim where there is no code), or normalise=False."
        )
    # torch's own eps of 1e-5 lets features of that variance hide by shrinking
    return F.layer_norm(x, x.shape[-1:], eps=1e-8)
