r"""Pairs of variables whose mutual information is known, at any dimension, amount and shape.

    x = T(u),   c = T(ρ u + √(1 - ρ²) e),   u, e ~ N(0, I_d),   I(x; c) = -d/2 log(1 - ρ²)      (nats)

so ρ² = 1 - exp(-2 I / d). T is an invertible map of each variable, which changes shape and tails and leaves I
as it is (the idea of Czyż et al. 2023, arXiv:2306.11078); every T is scaled to variance 1 by a constant.

| T | |
|---|---|
| none | Gaussian |
| cubic | u³: heavy tails |
| half_cube | sign(u) √|u|³: tails a little heavy |
| asinh | asinh u: light tails |
| wiggly | u + 0.4 sin 2u, monotone: uneven density |
| uniform | Φ(u): bounded margins, a Gaussian copula |
| spiral | each plane of two coordinates turned by half its squared radius; needs d >= 2 |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def _spiral(u: Tensor) -> Tensor:
    """Rotate (u_1, u_2), (u_3, u_4), ... by an angle of half their squared radius; an odd last one stays."""
    even = u.shape[-1] // 2 * 2
    first, second = u[..., 0:even:2], u[..., 1:even:2]
    angle = 0.5 * (first.square() + second.square())
    cos, sin = angle.cos(), angle.sin()
    turned = torch.stack([cos * first - sin * second, sin * first + cos * second], -1).flatten(-2)
    return torch.cat([turned, u[..., even:]], -1)


_WIGGLY = math.sqrt(1 + 0.08 * (1 - math.exp(-8)) + 1.6 * math.exp(-2))

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda u: u,
    "cubic": lambda u: u**3 / math.sqrt(15),
    "half_cube": lambda u: u * u.abs().sqrt() / math.sqrt(2 * math.sqrt(2 / math.pi)),
    "asinh": lambda u: u.asinh() / 0.79565,
    "wiggly": lambda u: (u + 0.4 * (2 * u).sin()) / _WIGGLY,
    "uniform": lambda u: (torch.special.ndtr(u) - 0.5) * math.sqrt(12),
    "spiral": _spiral,
}


@dataclass(frozen=True)
class Tasks:
    """All tasks of one dimension, sampled together.

    Attributes:
        dim: d, of x and of c.
        amounts: mutual informations in nats.
        transforms: names in `TRANSFORMS`.
    """

    dim: int
    amounts: tuple[float, ...]
    transforms: tuple[str, ...]

    @property
    def names(self) -> list[tuple[str, float]]:
        """Transform and amount of each task, in the order of `sample`."""
        return [(t, mi) for t in self.transforms for mi in self.amounts]

    def sample(self, count: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        """x and c, each (count, tasks, d); tasks share the draws u and e, samples do not.

        Args:
            count: number of samples.
            generator: of the draws, on the CPU, so that every device sees the same ones.
            device: where the samples go.
        """
        u, e = torch.randn(2, count, 1, self.dim, generator=generator).to(device)
        amounts = torch.tensor(self.amounts, dtype=torch.float64)[:, None] / self.dim
        rho = (-torch.expm1(-2 * amounts)).sqrt().float().to(device)
        noise = (-amounts).exp().float().to(device)
        pair = torch.stack([u.expand(-1, len(amounts), -1), rho * u + noise * e])
        x, c = torch.cat([TRANSFORMS[name](pair) for name in self.transforms], 2)
        return x, c
