r"""What keeps an estimate that fails from reaching the encoder, shared by all penalty terms [ours].

Minimising an estimate of I(x; c[a]) goes wrong in ways that are known, and each has a guard that is counted:

- `non_finite`: attribute a's inputs hold NaN, infinity or a number too large to square, or its estimate is
  not finite: the attribute sits this step out, in learning and in minimising;
- `negative`: an estimate at or below 0 nats cannot be improved on, its minimisation diverges: no gradient;
- `saturated`: more than half of the critic's outputs of one call press against their bound (counted only).

`torch.where(ok, value, 0)` alone is not enough: its backward multiplies a NaN derivative by 0, which is NaN.
So inputs are made finite *before* the graph (`clean`), and what flows back to x passes `quiet`. Counters stay
tensors, so counting waits for no device; `pop` reads them all at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LARGEST = 1e15  # its square, summed over thousands of coordinates, is still a float32
GUARDS = ("negative", "saturated", "non_finite")


class Guards:
    """Counters of the guards that acted."""

    def __init__(self) -> None:
        self._counts: dict[str, Tensor] = {}

    def count(self, name: str, times: Tensor) -> None:
        """Add a scalar tensor to a guard's counter, on its own device."""
        times = times.detach()
        self._counts[name] = self._counts[name] + times if name in self._counts else times

    def pop(self) -> dict[str, int]:
        """How often each guard acted since the last call."""
        counts, self._counts = self._counts, {}
        numbers = torch.stack(list(counts.values())).tolist() if counts else []
        return dict.fromkeys(GUARDS, 0) | dict(zip(counts, map(int, numbers), strict=True))

    def total(self, bound: Tensor, ok: Tensor, kept: Tensor) -> Tensor:
        """Σ_a of the estimates (A,) that are usable and positive, a scalar; the rest give no gradient.

        Args:
            bound: (A,) estimates in nats.
            ok: (A,) whether an attribute's inputs were finite.
            kept: (A,) whether any sample of an attribute has weight; without one its share is 0, uncounted.
        """
        finite = ok & torch.isfinite(bound)
        positive = finite & kept & (bound > 0)
        self.count("non_finite", (~finite).sum())
        self.count("negative", (finite & kept & ~positive).sum())
        return torch.where(positive, bound, torch.zeros_like(bound)).sum()


class _Quiet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].nan_to_num(0.0, 0.0, 0.0)


def quiet(x: Tensor) -> Tensor:
    """x itself; in the backward pass a gradient that is not finite becomes 0."""
    result: Tensor = _Quiet.apply(x)
    return result


def clean(
    x: Tensor, c: Tensor, mask: Tensor, y: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Inputs with 0 for what cannot be computed with, and which attributes had none of it.

    Args:
        x: (B, dim_x) or (B, A, dim_x).
        c: (B, A, dim_y).
        mask: (A, dim_y); padding may hold anything.
        y: (B, 2) or None.

    Returns:
        x, c and y, all finite, and (A,) bool.
    """
    fine_x, fine_c = x.abs() < _LARGEST, (c.abs() < _LARGEST) | (mask == 0)
    usable = fine_c.all(2).all(0) & (fine_x.all() if x.dim() == 2 else fine_x.all(2).all(0))
    c = torch.where((c.abs() < _LARGEST) & (mask != 0), c, torch.zeros_like(c))
    if y is not None:
        fine_y = y.abs() < _LARGEST
        usable, y = usable & fine_y.all(), torch.where(fine_y, y, torch.zeros_like(y))
    return torch.where(fine_x, x, torch.zeros_like(x)), c, y, usable


def shares(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Sample weights (B, A) as shares (A, B) that sum to 1, and (A,) whether an attribute has any weight.

    Where all weights are 0 the shares are uniform, so that what is computed with them stays finite.
    """
    weight = keep.transpose(0, 1)
    sums = weight.sum(1, keepdim=True)
    kept = sums > 0
    uniform = torch.full_like(weight, 1 / max(1, weight.shape[1]))
    return torch.where(kept, weight / sums.clamp_min(1e-12), uniform), kept.squeeze(1)
