"""ERM: empirical risk minimisation of L_VA, the baseline that is hard to beat when well tuned."""

from __future__ import annotations

from dataclasses import dataclass

from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.objectives.va import va_loss
from idfer.types import Batch


class ERM(Plain):
    """Minimise L_VA(z_exp, y) with z_exp = φ_e(z): no identity features, no MI terms."""

    @dataclass(frozen=True)
    class Terms:
        """ERM has no terms of its own."""

    def __init__(self, setup: Setup):
        super().__init__(setup)
        terms_of(self.Terms, setup.terms)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs `loss`."""
        prediction = self.network(batch.image)
        loss = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        self.descend(loss)
        return numbers(loss=loss)
