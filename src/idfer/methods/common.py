"""What every method shares: what it is given, its terms, the plain method, numbers for the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from idfer.errors import UsageError, unknown
from idfer.methods.optimise import Budget, descend, optimiser
from idfer.models.network import Network
from idfer.types import Stateful


@dataclass(frozen=True)
class Facts:
    """What is known of the n training faces beforehand.

    Attributes:
        target: (n, 2) valence and arousal in [-1, 1].
        retrieved: (n, A, E) retrieved ID vectors; A = 0 where none were given.
        posterior: (n, K) level posteriors, the attributes' levels side by side; K = 0 where none were given.
        levels: level names of each attribute.
        subject: (n,) number of the person, 0 to S - 1.
        image: (n,) key of the image; rows that show the same one have the same.
    """

    target: Tensor
    retrieved: Tensor
    posterior: Tensor
    levels: Mapping[str, list[str]]
    subject: Tensor
    image: Tensor


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


T = TypeVar("T")


def terms_of(kind: type[T], given: Mapping[str, Any]) -> T:
    """A method's `Terms` with what a user set.

    Raises:
        UsageError: a name that the method does not have, or a value of another type.
    """
    if not is_dataclass(kind):
        raise UsageError(f"{kind!r}: the `Terms` of a method must be a dataclass of its settings.")
    defaults: dict[str, Any] = {f.name: f.default for f in fields(kind)}
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
