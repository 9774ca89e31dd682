r"""distilled: identity features are a map of z alone, so no CLIP is needed at inference [ours].

    z' = φ_e(z)     r[a] = φ_a(z)     z_exp = z' - Σ_a m[a] r[a]

r[a] is trained to predict the retrieved c[a].
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from idfer.models.forms.form import ResidualForm
from idfer.models.forms.layers import IDENTITY_SCALE, activated


class Distilled(ResidualForm):
    """φ_e and all φ_a as one batched operation, whatever the number of attributes.

    Args:
        attributes: A.
        dim_in: F, width of the backbone's features.
        dim: D, width of expression and identity features.
        embedding: of retrieved ID vectors; not needed.
    """

    needs_retrieved: ClassVar[bool] = False

    def __init__(self, attributes: int, dim_in: int, dim: int, embedding: int = 0):
        super().__init__(attributes, dim_in, dim, embedding)
        self.linear = nn.Linear(dim_in, (attributes + 1) * dim, bias=False)
        self.norm = nn.BatchNorm1d((attributes + 1) * dim)
        nn.init.constant_(self.norm.weight[dim:], IDENTITY_SCALE)

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """z' (B, D), r and r, (B, A, D)."""
        joint = activated(self.linear(z), self.norm).unflatten(1, (self.attributes + 1, self.dim))
        return joint[:, 0], joint[:, 1:], joint[:, 1:]
