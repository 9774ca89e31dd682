"""How methods learn: budget, optimiser, schedule, steps of network and critics, ramps and ranges of terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from idfer.errors import IdferError, UsageError
from idfer.types import Stateful


@dataclass(frozen=True)
class Budget:
    """Optimisation settings, the same for every method that is compared.

    Attributes:
        steps: optimisation steps in all.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        min_lr: learning rate that the schedule does not fall below once it has reached its peak.
        clip: largest gradient norm.
    """

    steps: int
    lr: float = 1e-3
    weight_decay: float = 0.05
    min_lr: float = 0.0
    clip: float = 1.0


def optimiser(module: nn.Module, budget: Budget) -> tuple[Optimizer, LambdaLR]:
    """AdamW, weight decay on matrices only; a cosine schedule after a warm-up of 5 % of the steps."""
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": budget.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adam = AdamW([g for g in groups if g["params"]], lr=budget.lr)
    return adam, schedule(adam, budget.steps, budget.min_lr / budget.lr)


def schedule(optimizer: Optimizer, steps: int, least: float = 0.0) -> LambdaLR:
    """From nothing to the peak in the first 5 % of the steps, then down a cosine to `least` of the peak."""
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return max(least, 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm)))))

    return LambdaLR(optimizer, factor)


def descend(fabric: Fabric, loss: Tensor, module: nn.Module, optimizer: Optimizer, clip: float) -> None:
    """One optimisation step down `loss`.

    Raises:
        IdferError: the loss is not finite; the last checkpoint stays as it was.
    """
    if not torch.isfinite(loss.detach()):
        raise IdferError(
            f"the loss became {float(loss.detach())}; lower --lr or the weights in --terms and run again "
            "(training goes on from the last good checkpoint)."
        )
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    fabric.clip_gradients(module, optimizer, max_norm=clip, error_if_nonfinite=False)
    optimizer.step()


def learn_critic(critic: nn.Module, optimizer: Optimizer, loss: Tensor, clip: float) -> None:
    """One step of a critic that learns beside the network, in float32 on detached features.

    Gradients are clipped to the norm `clip`.

    It does not wait for the device to see whether the loss is finite: what a critic says enters the network's
    loss, so a critic that broke stops the run there (`descend`).
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(critic.parameters(), clip)
    optimizer.step()


class Companion:
    """A module that learns on the network's own backward pass, with AdamW, schedule and clipping of its own.

    Args:
        name: of the module in a checkpoint.
        module: moved to the device.
        fabric: device, precision and backward.
        budget: optimisation settings.
    """

    def __init__(self, name: str, module: nn.Module, fabric: Fabric, budget: Budget):
        self.name, self.module = name, module.to(fabric.device)
        self.fabric, self.clip = fabric, budget.clip
        adam, self.schedule = optimiser(self.module, budget)
        self.adam: Any = fabric.setup_optimizers(adam)

    def clear(self) -> None:
        """Forget gradients; before the network's backward pass."""
        self.adam.zero_grad(set_to_none=True)

    def step(self, advance: bool = True) -> None:
        """One step down what that pass left here, clipped apart from the network.

        Args:
            advance: take a step of the schedule, too: once a batch.
        """
        self.fabric.clip_gradients(self.module, self.adam, max_norm=self.clip, error_if_nonfinite=False)
        self.adam.step()
        if advance:
            self.schedule.step()

    def modules(self) -> dict[str, nn.Module]:
        """The module, by name."""
        return {self.name: self.module}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule, by name."""
        return {self.name: self.adam, f"{self.name}_schedule": self.schedule}


def ramp(step: int, steps: int, share: float) -> float:
    """Linear from 0 at the first step to 1 after `share` of the steps; 1 throughout for a share of 0."""
    full = share * steps
    return min(1.0, step / full) if full > 0 else 1.0


def within(terms: Any, low: float, high: float, *names: str) -> None:
    """Check that terms lie in [low, high].

    Raises:
        UsageError: one does not; the message names it.
    """
    for name in names:
        value = getattr(terms, name)
        if not low <= value <= high:
            limit = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise UsageError(f"--terms.{name} is {value!r}; it must be {limit}.")
