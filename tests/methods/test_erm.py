"""ERM against the two methods that add a penalty to it: what they gain; without weight they are ERM."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from idfer.methods.adversarial import Adversarial
from idfer.methods.erm import ERM
from idfer.methods.hsic import HSICPenalty
from idfer.types import Batch

from toy_faces import build, toy


def readout(method: Any, batch: Batch) -> float:
    """R² on held-out faces of a ridge regression of redness on the expression feature."""
    network = method.network.module.eval()
    with torch.no_grad():
        feature = network(batch.image).expression
    network.train()
    x = F.layer_norm(feature, feature.shape[1:]).double()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    y = batch.posterior[:, 0].double()
    half = len(x) // 2
    weight = torch.linalg.solve(x[:half].T @ x[:half] + 1e-2 * torch.eye(x.shape[1]), x[:half].T @ y[:half])
    return float(
        1 - (x[half:] @ weight - y[half:]).square().sum() / (y[half:] - y[half:].mean()).square().sum()
    )


def trained(name: str, steps: int = 150, **terms: Any) -> tuple[float, float]:
    fresh = toy(240, seed=1)
    method = build(name, fresh, steps, **terms)
    for step in range(steps):
        logged = method.step(toy(48, seed=10 + step, shortcut=0.3))
    return readout(method, fresh), logged.get("va", logged["loss"])


def test_penalties_on_attributes_lower_what_a_linear_readout_finds() -> None:
    plain, plain_loss = trained("erm")
    assert plain > 0.7
    for name, weight in (("adversarial", 1.0), ("hsic", 3.0)):
        score, loss = trained(name, weight=weight, ramp=0.3)
        assert score < plain - 0.4, (name, score, plain)
        assert loss < plain_loss + 0.2, (name, loss, plain_loss)  # not by giving up on the labels


def test_without_weight_both_penalties_are_erm() -> None:
    assert issubclass(Adversarial, ERM.__bases__[0])
    assert issubclass(HSICPenalty, ERM.__bases__[0])
    batch = toy(16)
    losses = [build(name, batch, **terms).step(batch)["loss"] for name, terms in (
        ("erm", {}), ("adversarial", {"weight": 0.0}), ("hsic", {"weight": 0.0}),
    )]  # fmt: skip
    assert losses[1:] == pytest.approx([losses[0]] * 2)
