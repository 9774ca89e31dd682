r"""Residual modules: split backbone features into one expression and A identity features.

The `distilled` form [ours; the paper names residual modules, METHOD notes three forms of the lineage]:

    z' = φ_e(z)      r[a] = φ_a(z)      z_exp = z' - Σ_a m[a] r[a]      φ = LeakyReLU ∘ BatchNorm ∘ Linear

r[a] is trained to predict the retrieved c[a], so CLIP is not needed at inference. m[a] = 1 detaches
attribute a, m[a] = 0 leaves it attached.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

IDENTITY_SCALE = 0.1  # initial scale of identity features against the expression's


class ResidualModules(nn.Module):
    """φ_e and all φ_a in one linear map, one normalisation and one activation.

    The cost hardly grows with the number of attributes: no loop, no kernel per attribute.

    Args:
        attributes: A >= 0; with none, z_exp = φ_e(z) (the ERM model).
        dim_in: F, width of the backbone's features.
        dim: D, width of expression and identity features.
    """

    def __init__(self, attributes: int, dim_in: int, dim: int):
        super().__init__()
        self.attributes, self.dim = attributes, dim
        self.linear = nn.Linear(dim_in, (attributes + 1) * dim, bias=False)
        self.norm = nn.BatchNorm1d((attributes + 1) * dim)
        # Identity features are learned within a few steps; at full scale they would drown z' before the
        # expression is learned, so they start small [ours]. The critics that train them ignore scale.
        nn.init.constant_(self.norm.weight[dim:], IDENTITY_SCALE)

    def forward(self, z: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Split features.

        Args:
            z: (B, F) backbone features.
            strength: (B, A) or (1, A), m[a]: 1 detaches an attribute, 0 leaves it attached.

        Returns:
            z_exp (B, D) and r (B, A, D).
        """
        parts = F.leaky_relu(self.norm(self.linear(z)), 0.1).view(len(z), self.attributes + 1, self.dim)
        identity = parts[:, 1:]
        return parts[:, 0] - (strength[..., None] * identity).sum(1), identity
