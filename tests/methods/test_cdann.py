"""CDANN: the adversary knows the label, and so leaves alone what the label implies."""

from __future__ import annotations

import math

import pytest
import torch

from idfer.methods.cdann import label_features

from toy_faces import build, replace, toy


def test_label_features() -> None:
    assert label_features(torch.tensor([[0.5, -0.2]])).tolist() == [
        pytest.approx([0.5, -0.2, 0.25, 0.04, -0.1])
    ]


def levels_from_labels(name: str, weight: float) -> tuple[float, float]:
    """Adversary's CE in nats and L_VA after training where an attribute is the sign of valence."""
    torch.manual_seed(0)
    rows = []
    method = build(name, toy(64), 120, weight=weight, ramp=0.3)
    for step in range(120):
        batch = toy(64, seed=step)
        high = (batch.target[:, 0] > 0).float()
        third = torch.full((64, 3), 1 / 3)
        posterior = torch.cat([high[:, None], 1 - high[:, None], third], 1)
        rows.append(method.step(replace(batch, posterior=posterior)))
    last = rows[-10:]
    return sum(r["adversary"] for r in last) / 10, sum(r["va"] for r in last) / 10


def test_an_attribute_that_the_label_implies_costs_no_accuracy() -> None:
    _, free = levels_from_labels("adversarial", 0.0)
    _, hurt = levels_from_labels("adversarial", 3.0)
    knows, spared = levels_from_labels("cdann", 3.0)
    assert hurt > free + 0.2
    assert spared < free + 0.05
    assert knows < math.log(3) + 0.2  # all of what is a guess for everybody, little of the implied one


def test_the_logged_terms_are_the_equations_of_the_adversary() -> None:
    batch = toy(12)
    method = build("cdann", batch, ramp=0.0, weight=0.5, critic_lr=0.0)
    with torch.no_grad():
        feature = method.network(batch.image).expression
        unit = (feature - feature.mean(1, keepdim=True)) / (
            feature.var(1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
        seen = torch.cat([unit, label_features(batch.target)], 1)
        log_q = method.adversary.log_levels(seen, method.levels.mask)
    both = [(0, 0, 2), (1, 2, 5)]
    expected = -sum(float((batch.posterior[:, i:j] * log_q[a, :, : j - i]).sum()) / 12 for a, i, j in both)
    logged = build("cdann", batch, ramp=0.0, weight=0.5, critic_lr=0.0).step(batch)
    assert logged["adversary"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["adversarial", "cdann"])
def test_sample_weights_act_on_the_adversary(name: str) -> None:
    """A face of weight 0 says nothing: its posterior may be anything."""
    batch = toy(16)
    weight = torch.ones(16)
    weight[8:] = 0
    turned = batch.posterior.clone()
    turned[8:, :2] = turned[8:, :2].flip(1)
    logged = [
        build(name, batch).step(replace(batch, sample_weight=weight, posterior=posterior))["adversary"]
        for posterior in (batch.posterior, turned)
    ]
    assert logged[0] == pytest.approx(logged[1], rel=1e-6)
