"""What every method shares: its optimiser, its schedule, one step down a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from idfer.errors import IdferError


@dataclass(frozen=True)
class Budget:
    """Optimisation settings, the same for every method that is compared.

    Attributes:
        steps: optimisation steps in all.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        clip: largest gradient norm.
    """

    steps: int
    lr: float = 1e-3
    weight_decay: float = 0.05
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
    warm = max(1, budget.steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, budget.steps - warm))))

    return adam, LambdaLR(adam, factor)


def descend(fabric: Fabric, loss: Tensor, module: nn.Module, optimizer: Optimizer, clip: float) -> None:
    """One optimisation step down `loss`.

    Raises:
        IdferError: the loss is not finite; the last checkpoint stays as it was.
    """
    if not torch.isfinite(loss.detach()):
        raise IdferError(
            f"the loss became {float(loss.detach())}; lower --lr, --alpha or --beta and run again "
            "(training goes on from the last good checkpoint)."
        )
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    fabric.clip_gradients(module, optimizer, max_norm=clip, error_if_nonfinite=False)
    optimizer.step()
