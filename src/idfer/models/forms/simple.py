r"""simple: subtract projected ID vectors [lineage].

z_exp = W z - Σ_a m[a] P c[a]     r[a] = P c[a]
"""

from __future__ import annotations

from torch import Tensor, nn

from idfer.models.forms.form import ResidualForm


class Simple(ResidualForm):
    """W and P; nothing is normalised.

    Arguments are those of `ResidualForm`.
    """

    def __init__(self, attributes: int, dim_in: int, dim: int, embedding: int = 0):
        super().__init__(attributes, dim_in, dim, embedding)
        self.linear = nn.Linear(dim_in, dim, bias=False)
        self.project = nn.Linear(embedding, dim, bias=False)

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """W z (B, D), P c and P c, (B, A, D)."""
        projected = self.project(self.required(retrieved))
        return self.linear(z), projected, projected
