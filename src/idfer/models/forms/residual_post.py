r"""residual_post: identity features from features and ID vectors, subtracted after φ_e [lineage].

z' = φ_e(z)     r[a] = φ_a([z; c[a]])     z_exp = z' - Σ_a m[a] r[a]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from idfer.models.forms.form import ResidualForm
from idfer.models.forms.layers import activated, identity_features, identity_maps, identity_norm


class ResidualPost(ResidualForm):
    """φ_e and, as one batched operation, all φ_a.

    Arguments are those of `ResidualForm`.
    """

    def __init__(self, attributes: int, dim_in: int, dim: int, embedding: int = 0):
        super().__init__(attributes, dim_in, dim, embedding)
        self.linear = nn.Linear(dim_in, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)
        self.maps = identity_maps(attributes, dim_in + embedding, dim)
        self.maps_norm = identity_norm(attributes, dim)

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """z' (B, D), r and r, (B, A, D)."""
        joint = torch.cat([z[:, None].expand(-1, self.attributes, -1), self.required(retrieved)], dim=-1)
        identity = identity_features(joint, self.maps, self.maps_norm)
        return activated(self.linear(z), self.norm), identity, identity
