r"""CDANN: an adversary that knows the label, so that identity which the label implies is not punished.

    adversary:  min_θ Σ_a CE_a(θ; z_exp, y)      network:  min L_VA - λ τ(t) Σ_a CE_a(θ; z_exp, y)     (nats)

(Li et al. 2018, "Deep Domain Generalization via Conditional Invariant Adversarial Networks", ECCV). Where
labels go with attributes, an adversary without the label (`methods/adversarial.py`) is lowest when z_exp says
nothing of the label; this one asks for I(z_exp; attribute | y) = 0 only. [ours]:

- the source has one adversary per class; labels are continuous here, so one adversary reads
  (v, a, v², a², v a) beside z_exp;
- its class-prior-normalised second adversary is left out: it makes P(y) alike in all domains, which the
  decorrelation weights do (`adversarial_weights`);
- posteriors, steps, schedule and all else as in Adversarial.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from idfer.methods.adversarial import Adversarial


def label_features(target: Tensor) -> Tensor:
    """v, a, v², a² and v a of labels (B, 2), (B, 5)."""
    valence, arousal = target.unbind(1)
    return torch.stack([valence, arousal, valence.square(), arousal.square(), valence * arousal], 1)


class CDANN(Adversarial):
    """L_VA and gradient reversal from an adversary that sees the label."""

    extra: ClassVar[int] = 5
    normalise: ClassVar[bool] = False  # the feature is normalised below, before the label joins it

    def seen(self, feature: Tensor, target: Tensor) -> Tensor:
        """z_exp (B, D), layer-normalised, and features of the label (B, 2): (B, D + 5)."""
        return torch.cat([F.layer_norm(feature, feature.shape[-1:]), label_features(target)], 1)
