"""A module that learns on the network's own backward pass, with an optimiser and clipping of its own."""

from __future__ import annotations

from typing import Any

from torch import nn

from idfer.methods.common import Setup, optimiser
from idfer.types import Stateful


class Beside:
    """AdamW and schedule, as the network's, for a module that its loss runs through.

    Args:
        name: of the module in a checkpoint.
        module: moved to the device.
        setup: fabric and budget.
    """

    def __init__(self, name: str, module: nn.Module, setup: Setup):
        self.name, self.module = name, module.to(setup.fabric.device)
        self.fabric, self.clip = setup.fabric, setup.budget.clip
        adam, self.schedule = optimiser(self.module, setup.budget)
        self.adam: Any = setup.fabric.setup_optimizers(adam)

    def clear(self) -> None:
        """Forget gradients; before the network's backward pass."""
        self.adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One step down what that pass left here, clipped apart from the network."""
        self.fabric.clip_gradients(self.module, self.adam, max_norm=self.clip, error_if_nonfinite=False)
        self.adam.step()
        self.schedule.step()

    def modules(self) -> dict[str, nn.Module]:
        """The module, by name."""
        return {self.name: self.module}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, by name."""
        return {self.name: self.adam, f"{self.name}_schedule": self.schedule}
