"""CAF: the critic equals loops over pairs, separates, and the weak rise."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from idfer.methods import caf

from toy_faces import build, toy


def test_the_critic_loss_equals_loops_over_pairs() -> None:
    draw = torch.Generator().manual_seed(3)
    score = torch.randn(9, generator=draw)
    strong = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1]).bool()
    multiplier = torch.tensor(0.3)
    near = [
        (score[i] - score[j]) ** 2
        for i, j in product(range(9), repeat=2)
        if i != j and strong[i] and strong[j]
    ]
    far = [(score[i] - score[j]) ** 2 for i, j in product(range(9), repeat=2) if strong[i] and not strong[j]]
    e_near, e_far = float(sum(near)) / len(near), float(sum(far)) / len(far)
    c = 1 - 0.5 * (e_near + e_far)
    hinge = sum(max(0.0, 0.8 - float(d)) for d in far) / len(far)
    loss, broken = caf.critic_loss(score, strong, multiplier, 0.8, 0.1)
    assert float(broken) == pytest.approx(c, rel=1e-5)
    assert float(loss) == pytest.approx(e_near + hinge + 0.3 * c - 0.05 * c * c, rel=1e-5)
    weak = [float(s) for s, is_strong in zip(score, strong, strict=True) if not is_strong]
    assert float(caf.weak_score(score, strong)) == pytest.approx(sum(weak) / len(weak), rel=1e-5)


@pytest.mark.parametrize("strong", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
def test_a_batch_without_both_kinds_of_pairs_gives_a_differentiable_zero(strong: list[int]) -> None:
    score = torch.randn(4, requires_grad=True)
    mask = torch.tensor(strong).bool()
    loss, c = caf.critic_loss(score, mask, torch.tensor(0.5), 1.0, 1e-6)
    total = loss + caf.weak_score(score, mask)
    total.backward()
    assert total.item() == c.item() == 0
    assert score.grad is not None
    assert score.grad.tolist() == [0.0] * 4


def test_the_critic_separates_strong_from_weak_and_the_network_raises_the_weak() -> None:
    batch = toy(48)
    method = build("caf", batch, steps=150, critic_lr=1e-2, weight=0.0)
    before = method.step(batch)
    assert before["strong"] == pytest.approx(0.5, abs=0.05)
    for _ in range(100):
        after = method.step(batch)
    assert after["critic"] < 0.5 * before["critic"]
    strong = batch.target.square().sum(1) >= method.threshold
    with torch.no_grad():
        score = method.critic(method.network(batch.image).expression)
    distance, near, far, _ = caf.pair_distances(score, strong)
    assert (far * distance).sum() > 3 * (near * distance).sum()
    raised, left = (build("caf", batch, 40, critic_lr=0.0, weight=w, rho=0.0) for w in (2.0, 0.0))
    for _ in range(30):
        up, same = raised.step(batch)["weak"], left.step(batch)["weak"]
    assert up > same


def test_the_multiplier_climbs_with_the_broken_constraint() -> None:
    batch = toy(24)
    method = build("caf", batch, rho=0.5)
    c = method.step(batch)["c"]
    assert float(method.critic.multiplier) == pytest.approx(0.5 * c, rel=1e-5)
