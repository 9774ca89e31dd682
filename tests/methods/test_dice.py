"""DICE: pairs and information equal loops, and each term moves what it should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from idfer.methods import dice
from idfer.objectives.mine import MINE
from idfer.types import Batch

from toy_faces import build, toy


def test_partners_are_the_nearest_labels_of_other_people() -> None:
    batch = toy(30, people=5)
    index, valid = dice.partners(batch.target, batch.subject, 0.3)
    for i in range(30):
        distances = {
            j: float((batch.target[i] - batch.target[j]).norm())
            for j in range(30)
            if batch.subject[j] != batch.subject[i]
        }
        nearest = min(distances, key=lambda j: distances[j])
        assert int(index[i]) == nearest
        assert bool(valid[i]) == (distances[nearest] <= 0.3)
    assert not dice.partners(batch.target, torch.zeros(30), 5.0)[1].any()


def test_information_equals_a_loop_and_is_a_differentiable_zero_without_pairs() -> None:
    torch.manual_seed(7)
    critic = MINE(1, 6, 4, bound=10.0, normalise=False)
    x, y = torch.randn(8, 6, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    valid = torch.tensor([1, 1, 0, 1, 1, 0, 1, 1]).bool()
    with torch.no_grad():
        standard = [(v - v.mean(0)) / (v.var(0, correction=0) + 1e-5).sqrt() for v in (x, y)]
        scores = critic.scores(standard[0], standard[1][:, None])[0]
    rows = [i for i in range(8) if valid[i]]
    joint = sum(float(scores[i, i]) for i in rows) / len(rows)
    negative = sum(math.exp(float(scores[i, j])) for i in rows for j in range(8) if j != i) / (len(rows) * 7)
    estimate = dice.information(critic, x, y, valid)
    assert estimate.item() == pytest.approx(joint - math.log(negative), rel=1e-4, abs=1e-6)
    nothing = dice.information(critic, x, y, torch.zeros(8, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0
    assert x.grad is not None
    assert y.grad is not None
    assert float(x.grad.abs().max()) == float(y.grad.abs().max()) == 0


def test_dice_raises_swapped_information_and_beta_lowers_what_both_codes_share() -> None:
    def last(fixed: Batch | None = None, **terms: Any) -> dict[str, float]:
        method = build("dice", toy(48), 80, ramp=0.0, radius=0.5, **terms)
        rows = [method.step(fixed or toy(48, seed=10 + step)) for step in range(80)]
        return {k: float(np.mean([r[k] for r in rows[-10:]])) for k in rows[-1]}

    free, held = (last(alpha=0.2, beta=beta, two_stages=False) for beta in (0.0, 1.0))
    assert free["swapped"] > 1
    assert held["shared"] < free["shared"] - 0.1
    assert held["paired"] > 0.5
    # what the network itself adds, critics held still
    still, pulled = (last(toy(48), alpha=alpha, beta=0.0, critic_lr=0.0, delta=0.0) for alpha in (0.0, 1.0))
    assert pulled["swapped"] > still["swapped"] + 0.1
    assert pulled["identity"] > still["identity"] + 0.1
    near = last(toy(48), alpha=1.0, beta=0.0, critic_lr=0.0, delta=10.0)
    assert near["distance"] < 0.7 * pulled["distance"]


def test_a_frozen_expression_code_does_not_see_the_identity_stage() -> None:
    def weights(beta: float, two_stages: bool) -> torch.Tensor:
        method = build("dice", toy(24), 5, ramp=0.0, alpha=0.0, beta=beta, two_stages=two_stages)
        for _ in range(3):
            shared = method.step(toy(24))["shared"]
        assert shared > 0
        return torch.cat([p.detach().flatten() for p in method.network.module.parameters()])

    assert torch.equal(weights(0.0, True), weights(0.5, True))
    assert not torch.equal(weights(0.0, False), weights(0.5, False))


def test_the_distance_of_a_pair_equals_a_loop() -> None:
    batch = toy(20, people=5)
    code = torch.randn(20, 7, generator=torch.Generator().manual_seed(1))
    index, valid = dice.partners(batch.target, batch.subject, 0.2)
    assert 0 < int(valid.sum()) < 20
    each = [float((code[i] - code[index[i]]).abs().mean()) for i in range(20) if valid[i]]
    assert float(dice.pair_distance(code, index, valid)) == pytest.approx(sum(each) / len(each))
    assert float(dice.pair_distance(code, index, torch.zeros_like(valid))) == 0
