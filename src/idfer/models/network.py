"""Backbone, residual modules and valence-arousal head, with attributes detached at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from idfer.errors import unknown
from idfer.models.backbone import create_backbone, feature_width
from idfer.models.evidence import Evidence
from idfer.models.residual import residual_modules
from idfer.types import Prediction

Head = Literal["mlp", "bottleneck"]
LOG_VARIANCE = (-8.0, 2.0)  # bounds of the code's log-variance: outside, the noise is nothing or all


def backbone_features(backbone: nn.Module, image: Tensor, mirror: bool) -> Tensor:
    """(B, 3, H, W) -> (B, D_backbone), with `mirror` the mean of an image's and its mirror image's."""
    z: Tensor = backbone(image)
    return (z + backbone(image.flip(-1))) / 2 if mirror else z


class Network(nn.Module):
    """image -> z -> (z_exp, r[a]) -> valence and arousal.

    With `code` > 0 the expression feature is a sample of N(mean, exp(log_variance)) in `code` dimensions,
    both linear in what the residual modules leave: the information budget (`idfer.objectives.budget`).

    Args:
        backbone: timm model name, "alexnet", "conv4" or "conv7" (see `create_backbone`).
        size: input side in pixels.
        attributes: names of the attributes with a residual module; () is a plain (ERM) regressor.
        dim: D, width of expression and identity features.
        pretrained: as in `create_backbone`.
        form: of the residual modules, of `idfer.models.forms` or a class of one's own as `module:Class`.
        embedding: width of retrieved ID vectors, for forms that read them.
        code: width of the sampled expression feature; 0 for none.
        head: "mlp" [ours], or "bottleneck", the lineage's D -> 2 -> BatchNorm -> ReLU -> 2.
        levels: number of levels of each attribute, where what is attached is its evidence of the label
            (`idfer.models.evidence`); () where identity features are added and subtracted themselves.
        mirror: in eval mode, average the backbone's features of an image and of its mirror image.
        dropout: share of the backbone's features that are 0 in training; the others are as much larger.

    Attributes:
        shared: what stands for the backbone in training on several devices: a share of a batch's images ->
            features of the whole batch; None elsewhere.
    """

    def __init__(
        self,
        backbone: str,
        size: int,
        attributes: Sequence[str] = (),
        dim: int = 128,
        pretrained: bool | str = False,
        *,
        form: str = "distilled",
        embedding: int = 0,
        code: int = 0,
        head: Head = "mlp",
        levels: Sequence[int] = (),
        mirror: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.attributes = tuple(attributes)
        self.backbone = create_backbone(backbone, size, pretrained)
        self.dim, self.dim_backbone = code or dim, feature_width(self.backbone, size)
        self.residual = residual_modules(form, len(self.attributes), self.dim_backbone, dim, embedding)
        self.gaussian = nn.Linear(dim, 2 * code) if code else None
        if self.gaussian is not None:
            nn.init.constant_(self.gaussian.bias[code:], -5.0)  # little noise until features have formed
        # an MLP instead of the lineage's 2-unit bottleneck [ours]
        self.head = (
            nn.Sequential(nn.Linear(self.dim, dim), nn.GELU(), nn.Linear(dim, 2))
            if head == "mlp"
            else nn.Sequential(nn.Linear(self.dim, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2))
        )

        self.evidence = Evidence(tuple(levels), dim) if levels else None
        self.mirror, self.dropout = mirror, dropout
        self.shared: Callable[[Tensor], Tensor] | None = None

    def strength(self, detach: Sequence[str] | Mapping[str, float] | None = None) -> Tensor:
        """m (1, A) for the attributes to detach; None detaches all, [] none, a mapping gives strengths.

        Raises:
            UsageError: a name is not one of this network's attributes.
        """
        detached = dict.fromkeys(self.attributes, 1.0) if detach is None else detach
        if not isinstance(detached, Mapping):
            detached = dict.fromkeys(detached, 1.0)
        for name in detached:
            if name not in self.attributes:
                raise unknown(
                    "attribute", name, list(self.attributes), "These are the attributes of this model."
                )
        mask = [float(detached.get(a, 0.0)) for a in self.attributes]
        return next(self.parameters()).new_tensor(mask)[None]

    def _features(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D_backbone)."""
        if self.training:
            z = self.shared(image) if self.shared else self.backbone(image)
            return nn.functional.dropout(z, self.dropout) if self.dropout else z
        return backbone_features(self.backbone, image, self.mirror)

    def forward(
        self,
        image: Tensor,
        detach: Sequence[str] | Mapping[str, float] | None = None,
        *,
        strength: Tensor | None = None,
        retrieved: Tensor | None = None,
        attach: Tensor | None = None,
        sample: bool | None = None,
    ) -> Prediction:
        """Predict B faces.

        Args:
            image: (B, 3, H, W) normalised as the preprocessing contract says.
            detach: attributes to detach; None is all of them. A mapping gives each a real strength. Their
                identity features are subtracted, or their evidence of the label is left out, where the
                network reads it (then all identity features are always subtracted).
            strength: (B, A) or (1, A) explicit m[a] instead of `detach`.
            retrieved: (B, A, E) retrieved ID vectors; for residual forms that read them.
            attach: (B, A, D), or (B, A, 3) of evidence: what to attach of other faces, `attachable` times a
                strength.
            sample: whether to sample the expression feature where there is an information budget; by default
                in training only.

        Returns:
            The prediction; in eval mode valence and arousal are clamped to [-1, 1].

        Raises:
            UsageError: `detach` names an attribute this network does not have, or `retrieved` is missing.
        """
        z = self._features(image)
        m = self.strength(detach) if strength is None else strength
        if self.evidence is None:
            mean, identity = self.residual(z, m, retrieved, attach)
        else:
            mean, identity = self.residual(z, torch.ones_like(m), retrieved)
        expression, log_variance = mean, None
        if self.gaussian is not None:
            mean, raw = self.gaussian(mean).float().chunk(2, dim=-1)
            log_variance = raw.clamp(*LOG_VARIANCE)
            expression = mean
            if self.training if sample is None else sample:
                expression = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        valence_arousal = self.head(expression)
        if self.evidence is not None and not self.training:
            known = (1 - m)[..., None] * self.evidence(identity)
            known = known if attach is None else known + attach
            valence_arousal = self.evidence.attached(valence_arousal.float(), known)
        if not self.training:
            valence_arousal = torch.clamp(valence_arousal, -1.0, 1.0)
        return Prediction(valence_arousal, expression, identity, z, mean, log_variance)

    def attachable(self, image: Tensor, retrieved: Tensor | None = None) -> Tensor:
        """What detaching takes from these faces, so what can be attached to others: (B, A, D) or (B, A, 3).

        Features of `Prediction.identity` (in the form `residual_prev` others), or their evidence of the
        label. Raises as `forward`.
        """
        taken, identity = self.residual.parts(self._features(image), retrieved)[1:]
        return taken if self.evidence is None else self.evidence(identity)
