"""Backbone, residual modules and valence-arousal head, with attributes detached at run time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from idfer.errors import unknown
from idfer.models.backbone import create_backbone, feature_width
from idfer.models.residual import ResidualModules
from idfer.types import Prediction


class Network(nn.Module):
    """image -> z -> (z_exp, r[a]) -> valence and arousal.

    Args:
        backbone: timm model name.
        size: input side in pixels.
        attributes: names of the attributes with a residual module; () is a plain (ERM) regressor.
        dim: D, width of expression and identity features.
        pretrained: as in `create_backbone`.
    """

    def __init__(
        self,
        backbone: str,
        size: int,
        attributes: Sequence[str] = (),
        dim: int = 128,
        pretrained: bool | str = False,
    ):
        super().__init__()
        self.attributes = tuple(attributes)
        self.backbone = create_backbone(backbone, size, pretrained)
        self.dim, self.dim_backbone = dim, feature_width(self.backbone, size)
        self.residual = ResidualModules(len(self.attributes), self.dim_backbone, dim)
        # an MLP instead of the lineage's 2-unit bottleneck [ours]
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 2))

    def strength(self, detach: Sequence[str] | None = None) -> Tensor:
        """m (1, A) for the attributes to detach; None detaches all, [] none.

        Raises:
            UsageError: a name is not one of this network's attributes.
        """
        detached = self.attributes if detach is None else detach
        for name in detached:
            if name not in self.attributes:
                raise unknown(
                    "attribute", name, list(self.attributes), "These are the attributes of this model."
                )
        mask = [float(a in detached) for a in self.attributes]
        return next(self.parameters()).new_tensor(mask)[None]

    def forward(
        self, image: Tensor, detach: Sequence[str] | None = None, *, strength: Tensor | None = None
    ) -> Prediction:
        """Predict B faces.

        Args:
            image: (B, 3, H, W) normalised as the preprocessing contract says.
            detach: attributes whose identity feature is subtracted; None is all of them.
            strength: (B, A) or (1, A) explicit m[a] instead of `detach`.

        Returns:
            The prediction; in eval mode valence and arousal are clamped to [-1, 1].

        Raises:
            UsageError: `detach` names an attribute this network does not have.
        """
        z = self.backbone(image)
        expression, identity = self.residual(z, self.strength(detach) if strength is None else strength)
        valence_arousal = self.head(expression)
        if not self.training:
            valence_arousal = torch.clamp(valence_arousal, -1.0, 1.0)
        return Prediction(valence_arousal, expression, identity, z)
