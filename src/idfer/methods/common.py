"""What every method shares: what it is given, its optimiser, its schedule, one step down a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from idfer.errors import IdferError, UsageError, unknown
from idfer.models.network import Network
from idfer.types import Stateful


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


@dataclass(frozen=True)
class Facts:
    """What is known of the n training faces beforehand.

    Attributes:
        target: (n, 2) valence and arousal in [-1, 1].
        retrieved: (n, A, E) retrieved ID vectors; A = 0 where none were given.
        posterior: (n, K) level posteriors, the attributes' levels side by side; K = 0 where none were given.
        levels: level names of each attribute.
        subject: (n,) number of the person, 0 to S - 1.
    """

    target: Tensor
    retrieved: Tensor
    posterior: Tensor
    levels: Mapping[str, list[str]]
    subject: Tensor


@dataclass(frozen=True)
class Setup:
    """What a method is built from.

    Attributes:
        network: the network to train.
        fabric: device, precision and backward.
        budget: optimisation settings.
        facts: the training faces.
        terms: settings of the method's own objectives, by name; the class's `Terms` has the defaults.
    """

    network: Network
    fabric: Fabric
    budget: Budget
    facts: Facts
    terms: Mapping[str, Any] = field(default_factory=dict)


class MethodClass(Protocol):
    """A class that satisfies `idfer.types.Method` once built."""

    Terms: type[Any]

    def __call__(self, setup: Setup) -> Any:
        """Build the method."""


T = TypeVar("T")


def terms_of(kind: type[T], given: Mapping[str, Any]) -> T:
    """A method's `Terms` with what a user set.

    Raises:
        UsageError: a name that the method does not have, or a value of another type.
    """
    defaults: dict[str, Any] = {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in defaults:
            raise unknown("term", name, sorted(defaults), "These are the terms of this method.")
        default = defaults[name]
        if isinstance(default, bool) != isinstance(value, bool) or not isinstance(
            value, (int, float) if isinstance(default, float) else type(default)
        ):
            raise UsageError(
                f"--terms.{name} is {value!r}; it must be {'a number' if isinstance(default, float) else ''}"
                f"{'' if isinstance(default, float) else type(default).__name__}, like {default!r}."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--terms.{name} is {value!r}; it must be finite.")
        checked[name] = float(value) if isinstance(default, float) else value
    return kind(**checked)


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
            f"the loss became {float(loss.detach())}; lower --lr or the weights in --terms and run again "
            "(training goes on from the last good checkpoint)."
        )
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    fabric.clip_gradients(module, optimizer, max_norm=clip, error_if_nonfinite=False)
    optimizer.step()


class Plain:
    """The network, its AdamW and its schedule: what methods without other modules share."""

    def __init__(self, setup: Setup):
        self.fabric, self.budget = setup.fabric, setup.budget
        adam, self.schedule = optimiser(setup.network, setup.budget)
        self.network, self.adam = setup.fabric.setup(setup.network, adam)

    def descend(self, loss: Tensor) -> None:
        """One step down `loss` and one of the schedule. Raises as `descend`."""
        descend(self.fabric, loss, self.network, self.adam, self.budget.clip)
        self.schedule.step()

    def modules(self) -> dict[str, nn.Module]:
        """The network."""
        return {"network": self.network.module}

    def optimizers(self) -> dict[str, Stateful]:
        """AdamW and its schedule."""
        return {"adam": self.adam, "schedule": self.schedule}


def numbers(**values: Tensor) -> dict[str, float]:
    """Named scalars for the log, brought over from the device in one go."""
    stacked = torch.stack([v.detach().float().reshape(()) for v in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))
