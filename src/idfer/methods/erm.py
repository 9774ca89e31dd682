"""ERM: empirical risk minimisation of L_VA, the baseline that is hard to beat when well tuned."""

from __future__ import annotations

from lightning_fabric import Fabric
from torch import nn

from idfer.methods.common import Budget, descend, optimiser
from idfer.models.network import Network
from idfer.objectives.va import va_loss
from idfer.types import Batch, Stateful


class ERM:
    """Minimise L_VA(z_exp, y) with z_exp = φ_e(z): no identity features, no MI terms.

    Args:
        network: a network without attributes.
        fabric: device, precision and backward.
        budget: optimisation settings.
    """

    def __init__(self, network: Network, fabric: Fabric, budget: Budget):
        self.fabric, self.budget = fabric, budget
        adam, self.schedule = optimiser(network, budget)
        self.network, self.adam = fabric.setup(network, adam)

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; logs `loss`."""
        prediction = self.network(batch.image)
        loss = va_loss(prediction.valence_arousal.float(), batch.target, batch.weight)
        descend(self.fabric, loss, self.network, self.adam, self.budget.clip)
        self.schedule.step()
        return {"loss": float(loss.detach())}

    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"network": self.network.module}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule."""
        return {"adam": self.adam, "schedule": self.schedule}
