r"""BMSE: L_VA with Balanced MSE in place of the squared error: what p(y) alone buys, without identity.

    L = BMSE(f(z_exp), y) + ½ (L_PCC + L_CCC)

(Ren et al. 2022, CVPR, arXiv:2203.16427; `objectives/balanced_mse.py`). The correlations stay as ERM has
them, since CCC is what is compared [ours]. σ is learned from `sigma` by an AdamW of its own with the
network's learning rate; theirs has a rate of its own, and its start depends on the labels' unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from idfer.errors import unknown
from idfer.methods.common import Plain, Setup, numbers, terms_of
from idfer.methods.optimise import Companion, within
from idfer.objectives.balanced_mse import bmc, bni, log_marginal
from idfer.objectives.va import correlations
from idfer.types import Batch, Stateful

FORMS = ("bmc", "bni")


class Noise(nn.Module):
    """log σ.

    Args:
        sigma: σ at the start.
    """

    def __init__(self, sigma: float):
        super().__init__()
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma)))


class BMSE(Plain):
    """Balanced MSE and L_PCC, L_CCC."""

    @dataclass(frozen=True)
    class Terms:
        """Settings of Balanced MSE.

        Attributes:
            form: how p(y) is integrated: "bmc", over the batch, or "bni", over bins of the training labels.
            sigma: σ at the start, in units of the labels.
            bins: of bni, on [-1, 1].
        """

        form: str = "bmc"
        sigma: float = 0.3
        bins: int = 40

        def __post_init__(self) -> None:
            if self.form not in FORMS:
                raise unknown("form of Balanced MSE", self.form, list(FORMS), "Give it as --terms.form.")
            within(self, 0.05, 1, "sigma")
            within(self, 2, inf, "bins")

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.terms = terms_of(self.Terms, setup.terms)
        self.noise = Noise(self.terms.sigma)
        self.companion = Companion("noise", self.noise, self.fabric, self.budget)
        marginal = log_marginal(setup.facts.target, self.terms.bins)
        self.log_p, self.grid = (part.to(setup.fabric.device) for part in marginal)

    def _balanced(self, f: Tensor, y: Tensor) -> Tensor:
        if self.terms.form == "bmc":
            return bmc(f, y, self.noise.log_sigma)
        return bni(f, y, self.log_p, self.grid, self.noise.log_sigma)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs the loss, Balanced MSE and σ."""
        said = self.network(batch.image).valence_arousal.float()
        weight = batch.sample_weight / batch.sample_weight.mean().clamp_min(1e-6)
        balanced = (weight * self._balanced(said, batch.target)).mean()
        pcc, ccc = correlations(said, batch.target, batch.sample_weight)
        loss = balanced + 0.5 * ((1 - pcc.mean()) + (1 - ccc.mean()))
        self.companion.clear()
        self.descend(loss)  # its backward pass reaches σ too
        self.companion.step()
        return numbers(loss=loss, balanced=balanced, sigma=self.noise.log_sigma.exp())

    def modules(self) -> dict[str, nn.Module]:
        """The network and σ."""
        return super().modules() | self.companion.modules()

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and schedule of both."""
        return super().optimizers() | self.companion.optimizers()
