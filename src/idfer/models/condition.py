"""What a decoder is asked to draw, as one vector [ours].

The expression feature, and a token per attribute: its identity feature where the attribute is attached, and
one learned for "unknown" where it is not. Identity features know more of their photograph than the person
(pose, light, some of the expression). Where they come from *another* photograph, as in a swap, that must not
be drawn: they are then read otherwise, and the decoder learns what of them belongs to the person.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 192


class Condition(nn.Module):
    """(expression feature, identity features, strengths) -> the vector that modulates a generator's layers.

    Args:
        expression: D, width of expression features.
        identity: (A, E), number and width of identity features; A = 0 without.
        width: W, of the vector.
    """

    expression_centre: Tensor
    expression_scale: Tensor
    identity_centre: Tensor
    identity_scale: Tensor

    def __init__(self, expression: int, identity: tuple[int, int], width: int = WIDTH):
        super().__init__()
        count, wide = identity
        self.register_buffer("expression_centre", torch.zeros(expression))
        self.register_buffer("expression_scale", torch.ones(expression))
        self.register_buffer("identity_centre", torch.zeros(count, wide))
        self.register_buffer("identity_scale", torch.ones(count, wide))
        self.read_expression = nn.Linear(expression, width)
        self.read_identity = nn.Parameter(torch.randn(count, wide, width) / max(1, wide) ** 0.5)
        self.unknown = nn.Parameter(torch.zeros(count, width))
        self.read_lent = nn.Parameter(
            torch.zeros(count, wide, width)
        )  # nothing, until it is known to be theirs
        self.mix = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def calibrate(self, expression: Tensor, identity: Tensor) -> None:
        """Take centre and scale of features from those of the training faces, (N, D) and (N, A, E)."""
        for name, values in (("expression", expression), ("identity", identity)):
            getattr(self, f"{name}_centre").copy_(values.mean(0))
            getattr(self, f"{name}_scale").copy_(values.std(0).clamp_min(1e-4))

    def forward(self, expression: Tensor, identity: Tensor, strength: Tensor, lent: Tensor) -> Tensor:
        """Ask for B faces.

        Args:
            expression: (B, D) expression features.
            identity: (B, A, E) identity features.
            strength: (B, A): 1 attached, 0 detached; strengths beyond extrapolate.
            lent: (B,) 1 where the identity features are of another photograph than the expression feature.

        Returns:
            (B, W).
        """
        shown = (expression - self.expression_centre) / self.expression_scale
        who = (identity - self.identity_centre) / self.identity_scale
        own, theirs = (torch.einsum("bae,aew->baw", who, w) for w in (self.read_identity, self.read_lent))
        token = torch.lerp(own, theirs, lent[:, None, None].to(own.dtype))
        token = self.unknown + strength[..., None] * (token - self.unknown)
        return self.mix(self.read_expression(shown) + token.sum(1))  # type: ignore[no-any-return]
