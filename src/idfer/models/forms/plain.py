"""No residual modules: the plain regressor of methods without attributes, whatever the form."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from idfer.models.forms.form import ResidualForm
from idfer.models.forms.layers import activated


class Plain(ResidualForm):
    """z_exp = φ_e(z), and no identity features.

    Args:
        attributes: A = 0.
        dim_in: F, width of the backbone's features.
        dim: D, width of the expression feature.
        embedding: of retrieved ID vectors; not needed.
    """

    needs_retrieved: ClassVar[bool] = False

    def __init__(self, attributes: int, dim_in: int, dim: int, embedding: int = 0):
        super().__init__(0, dim_in, dim, embedding)
        self.linear = nn.Linear(dim_in, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """φ_e(z) (B, D), and nothing, (B, 0, D), twice."""
        nothing = z.new_zeros(z.shape[0], 0, self.dim)
        return activated(self.linear(z), self.norm), nothing, nothing
