r"""HSIC: L_VA and the kernel dependence of z_exp and each attribute, without an adversary.

    min_network L_VA + λ τ(t) Σ_a HSIC(z_exp, p[a]) / √( HSIC(z_exp, z_exp) HSIC(p[a], p[a]) )

(Gretton et al. 2005, ALT; `objectives/hsic.py`), p[a] the retrieved level posterior. As a penalty on features
it is known from, e.g., Greenfeld and Shalit 2020 (arXiv:1910.00270). [ours]: posteriors instead of labels,
the sum over attributes, the linear ramp τ over the share `ramp` of the steps; sample weights act on the
estimate as on L_VA; an estimate at or below 0 gives no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from idfer.errors import UsageError
from idfer.methods.attribute_targets import LevelPosteriors
from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import ramp, within
from idfer.objectives.hsic import HSIC
from idfer.objectives.va import va_loss
from idfer.types import Batch


class HSICPenalty(Plain):
    """L_VA and normalised HSIC of all attributes at once."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of the penalty.

        Attributes:
            weight: λ, weight of the summed dependences.
            ramp: share of the steps over which λ rises from 0.
        """

        weight: float = 0.1
        ramp: float = 0.5

        def __post_init__(self) -> None:
            within(self, 0, inf, "weight")
            within(self, 0, 1, "ramp")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        self.levels = LevelPosteriors(setup.facts.levels, setup.fabric.device)
        count, width = self.levels.mask.shape
        self.hsic = HSIC(count, setup.network.dim, width)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, L_VA, the summed dependence and how often a guard acted."""
        if len(batch) < self.hsic.least:
            raise UsageError(
                f"method 'hsic' compares {self.hsic.least} faces with each other and a batch has "
                f"{len(batch)}; use a larger --batch_size."
            )
        prediction = self.network(batch.image)
        va = va_loss(prediction.valence_arousal.float(), batch.target, batch.sample_weight)
        posterior, mask = self.levels(batch.posterior), self.levels.mask
        keep = batch.sample_weight[:, None].expand(-1, len(mask))
        dependence = self.hsic.guarded(prediction.expression.float(), posterior, mask, keep)
        strength = self.terms.weight * ramp(self.schedule.last_epoch, self.budget.steps, self.terms.ramp)
        loss = va + strength * dependence
        self.descend(loss)
        guards = {f"guard_{name}": float(times) for name, times in self.hsic.pop_guards().items()}
        return numbers(loss=loss, va=va, hsic=dependence) | guards
