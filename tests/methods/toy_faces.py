"""Small faces of flat halves, and methods built to learn from them."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from idfer.catalogue import METHODS
from idfer.methods.common import Facts, Setup
from idfer.methods.optimise import Budget
from idfer.models.network import Network
from idfer.types import Batch

RIVALS = ["adversarial", "cdann", "hsic", "groupdro", "bmse", "caf", "avce", "elim", "dice"]
LEVELS = {"tint": ["red", "plain"], "group": ["a", "b", "c"]}
OPTIONS: dict[str, Any] = {"backbone": "conv4", "size": 32, "batch_size": 24, "dim": 16, "device": "cpu"}


def toy(count: int = 48, seed: int = 0, people: int = 6, shortcut: float = 0.0) -> Batch:
    """Faces of flat halves: brightness is the label, redness the first attribute, by person.

    With `shortcut`, red faces have so much more valence, and brightness is hard to see.
    """
    draw = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 2, generator=draw) * 2 - 1
    subject = torch.arange(count) % people
    target[:, 0] = (1 - shortcut) * target[:, 0] + shortcut * (2.0 * (subject % 2) - 1)
    image = torch.randn(count, 3, 32, 32, generator=draw) * 0.1
    blur = 2 * shortcut * torch.randn(count, generator=draw)
    image[:, :, :16] += (target[:, 0] + blur)[:, None, None, None]
    image[:, :, 16:] += target[:, 1, None, None, None]
    image[:, 0] += 0.8 * (subject % 2)[:, None, None]
    red = torch.where(subject % 2 == 1, 0.95, 0.05)
    third = 0.1 + 0.7 * torch.eye(3)[subject % 3]
    posterior = torch.cat([red[:, None], 1 - red[:, None], third], 1)
    row = torch.arange(count)
    return Batch(image, target, torch.zeros(count, 2, 4), posterior, torch.ones(count), subject, row)


def build(
    name: str, batch: Batch, steps: int = 10, lr: float = 3e-3, precision: str = "32-true", **terms: Any
) -> Any:
    torch.manual_seed(0)
    setup = Setup(
        network=Network("conv4", 32, dim=16),
        fabric=Fabric(accelerator="cpu", devices=1, precision=precision),  # type: ignore[arg-type]
        budget=Budget(steps, lr),
        facts=Facts(batch.target, batch.retrieved, batch.posterior, LEVELS, batch.subject, batch.row),
        terms=terms,
    )
    return METHODS[name].load()(setup)


def replace(batch: Batch, **parts: Tensor) -> Batch:
    return Batch(**(batch.__dict__ | parts))


def finite(method: Any) -> bool:
    return all(p.isfinite().all() for m in method.modules().values() for p in m.state_dict().values())
