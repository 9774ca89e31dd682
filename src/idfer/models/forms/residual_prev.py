r"""residual_prev: projected ID vectors are subtracted before φ_e [lineage].

z_exp = φ_e(W z - Σ_a m[a] P c[a])     r[a] = φ_a(c[a])
"""

from __future__ import annotations

from torch import Tensor, nn

from idfer.models.forms.form import ResidualForm
from idfer.models.forms.layers import activated, identity_features, identity_maps, identity_norm


class ResidualPrev(ResidualForm):
    """W, P, φ_e and, as one batched operation, all φ_a; what is subtracted is not r.

    Arguments are those of `ResidualForm`.
    """

    def __init__(self, attributes: int, dim_in: int, dim: int, embedding: int = 0):
        super().__init__(attributes, dim_in, dim, embedding)
        self.linear = nn.Linear(dim_in, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)
        self.project = nn.Linear(embedding, dim, bias=False)
        self.maps = identity_maps(attributes, embedding, dim)
        self.maps_norm = identity_norm(attributes, dim)

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """W z (B, D), P c and r, (B, A, D)."""
        retrieved = self.required(retrieved)
        identity = identity_features(retrieved, self.maps, self.maps_norm)
        return self.linear(z), self.project(retrieved), identity

    def expression(self, left: Tensor) -> Tensor:
        """φ_e without its W, which came before the subtraction."""
        return activated(left, self.norm)
