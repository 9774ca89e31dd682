r"""Residual modules: split backbone features into one expression and A identity features.

The paper names residual modules and no form; three forms are facts of its lineage, one is ours:

    simple         z_exp = W z - Σ_a m[a] P c[a]                                               [lineage]
    residual_post  z' = φ_e(z)   r[a] = φ_a([z; c[a]])   z_exp = z' - Σ_a m[a] r[a]            [lineage]
    residual_prev  z_exp = φ_e(W z - Σ_a m[a] P c[a])    r[a] = φ_a(c[a])                      [lineage]
    distilled      z' = φ_e(z)   r[a] = φ_a(z)           z_exp = z' - Σ_a m[a] r[a]            [ours]

φ = LeakyReLU ∘ BatchNorm ∘ Linear [lineage]. m[a] = 1 detaches attribute a, m[a] = 0 leaves it attached.
W and P bring z and the retrieved c[a] to one width; the lineage has z as wide as CLIP's embedding and needs
neither. `distilled` needs no c: r[a] is trained to predict it, so there is no CLIP at inference.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idfer.errors import UsageError, unknown

Form = Literal["distilled", "simple", "residual_post", "residual_prev"]
FORMS: tuple[Form, ...] = ("distilled", "simple", "residual_post", "residual_prev")
IDENTITY_SCALE = 0.1  # initial scale of identity features against the expression's


class ResidualModules(nn.Module):
    """φ_e and all φ_a: one batched operation each, whatever the number of attributes.

    Args:
        attributes: A >= 0; with none, z_exp = φ_e(z) in every form (the ERM model).
        dim_in: F, width of the backbone's features.
        dim: D, width of expression and identity features.
        form: of `FORMS`.
        embedding: E, width of retrieved ID vectors; only `distilled` does without.

    Raises:
        UsageError: an unknown form.
    """

    def __init__(self, attributes: int, dim_in: int, dim: int, form: Form = "distilled", embedding: int = 0):
        super().__init__()
        if form not in FORMS:
            raise unknown("residual form", form, list(FORMS))
        self.attributes, self.dim, self.form = attributes, dim, form
        inside = attributes if form == "distilled" else 0  # identity features that are a map of z alone
        self.linear = nn.Linear(dim_in, (inside + 1) * dim, bias=False)
        if form != "simple" or not attributes:
            self.norm = nn.BatchNorm1d((inside + 1) * dim)
            # Identity features are learned within a few steps; at full scale they would drown z' before the
            # expression is learned, so they start small [ours]. The critics that train them ignore scale.
            nn.init.constant_(self.norm.weight[dim:], IDENTITY_SCALE)
        if attributes and form in ("simple", "residual_prev"):
            self.project = nn.Linear(embedding, dim, bias=False)
        if attributes and form in ("residual_post", "residual_prev"):
            width = embedding + (dim_in if form == "residual_post" else 0)
            self.maps = nn.Parameter(torch.randn(attributes, width, dim) / math.sqrt(width))
            self.maps_norm = nn.BatchNorm1d(attributes * dim)
            nn.init.constant_(self.maps_norm.weight, IDENTITY_SCALE)

    @property
    def needs_retrieved(self) -> bool:
        """Whether retrieved ID vectors are an input, at inference too."""
        return bool(self.attributes) and self.form != "distilled"

    def forward(
        self, z: Tensor, strength: Tensor, retrieved: Tensor | None = None, attach: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Split features.

        Args:
            z: (B, F) backbone features.
            strength: (B, A) or (1, A), m[a]: 1 detaches an attribute, 0 leaves it attached; any real number.
            retrieved: (B, A, E) retrieved ID vectors; needed by every form but `distilled`.
            attach: (B, A, D) what `parts` says detaching subtracts from other faces, to add here.

        Returns:
            z_exp (B, D) and r (B, A, D).

        Raises:
            UsageError: this form needs `retrieved`.
        """
        whole, taken, identity = self.parts(z, retrieved)
        left = whole - (strength[..., None] * taken).sum(1)
        if attach is not None:
            left = left + attach.sum(1)
        return (self._phi(left) if self.attributes and self.form == "residual_prev" else left), identity

    def parts(self, z: Tensor, retrieved: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Features before anything is detached: the whole (B, D), what detaching subtracts and r, (B, A, D).

        The last two differ in `residual_prev` only, which subtracts P c[a] before φ_e.
        """
        if not self.attributes:
            nothing = z.new_zeros(len(z), 0, self.dim)
            return self._phi(self.linear(z)), nothing, nothing
        if self.form == "distilled":
            joint = self._phi(self.linear(z)).view(len(z), self.attributes + 1, self.dim)
            return joint[:, 0], joint[:, 1:], joint[:, 1:]
        if retrieved is None:
            raise UsageError(
                f"the residual form {self.form!r} reads retrieved ID vectors, here too: give an attribute "
                "table of these faces, or train with the form 'distilled'."
            )
        if self.form == "simple":
            projected = self.project(retrieved)
            return self.linear(z), projected, projected
        if self.form == "residual_post":
            beside = torch.cat([z[:, None].expand(-1, self.attributes, -1), retrieved], dim=-1)
            mapped = self._maps(beside)
            return self._phi(self.linear(z)), mapped, mapped
        return self.linear(z), self.project(retrieved), self._maps(retrieved)

    def _phi(self, projected: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(projected), 0.1)

    def _maps(self, x: Tensor) -> Tensor:
        """φ_a of (B, A, width), all attributes at once."""
        raw = torch.einsum("baf,afd->bad", x, self.maps)
        return F.leaky_relu(self.maps_norm(raw.flatten(1)), 0.1).view_as(raw)
