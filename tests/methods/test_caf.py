"""CAF: the critic equals loops over pairs, separates, and the weak rise."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from idfer.methods import caf

from toy_faces import build, toy


def information(x: list[float], y: list[float]) -> float:
    """log N(y; x, .2) - log of the mean of N(y; -1, .2) and N(y; 1, .2): mean over coordinates, in nats."""
    total = 0.0
    for a, b in zip(x, y, strict=True):
        between = math.exp(-((b - a) ** 2) / 0.4)
        ends = 0.5 * math.exp(-((b + 1) ** 2) / 0.4) + 0.5 * math.exp(-((b - 1) ** 2) / 0.4)
        total += math.log(between / ends)
    return min(2.5, max(0.0, total / len(x)))


def margin(i: int, score: list[list[float]], strong: list[int]) -> float:
    """0.7 / sqrt(k - 1) by adding neighbours one by one until most are of a kind."""
    others = sorted((j for j in range(len(score)) if j != i), key=lambda j: math.dist(score[i], score[j]))
    for k in range(1, len(others) + 1):
        share = sum(strong[j] for j in others[:k]) / k
        if abs(share - 0.5) > 0.7 / math.sqrt(k):
            return 0.7 / math.sqrt(k - 1)
    return 0.7 / math.sqrt(len(others))


def test_the_critic_loss_equals_loops_over_pairs() -> None:
    draw = torch.Generator().manual_seed(9)
    kinds = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1]
    strong = torch.tensor(kinds).bool()
    score = torch.randn(15, 3, generator=draw) * 0.7 + 0.5 * strong[:, None]
    rows = score.double().tolist()
    square = {(i, j): math.dist(rows[i], rows[j]) ** 2 for i, j in product(range(15), repeat=2)}
    near = [square[i, j] for i, j in square if i != j and kinds[i] and kinds[j]]
    far = [
        max(0.0, information(rows[i], rows[j]) + margin(i, rows, kinds) - square[i, j])
        for i, j in square
        if kinds[i] and not kinds[j]
    ]
    margins = caf.adaptive_margin(score, strong, 0.7).tolist()
    assert margins == pytest.approx([margin(i, rows, kinds) for i in range(15)], rel=1e-5)
    assert len(set(margins)) > 2  # neighbourhoods of several sizes
    assert any(0 < information(rows[i], rows[j]) < 2.5 for i, j in square)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    c = 1 - 0.5 * (mean([d * d for d in near]) + mean([d * d for d in far]))
    loss, broken = caf.critic_loss(score, strong, torch.tensor(0.3), 0.7, 0.1)
    assert float(broken) == pytest.approx(c, rel=1e-4)
    assert float(loss) == pytest.approx(mean(near) + mean(far) + 0.3 * c + 0.05 * c * c, rel=1e-4)
    weak = [mean(row) for row, kind in zip(rows, kinds, strict=True) if not kind]
    assert float(caf.weak_score(score, strong)) == pytest.approx(mean(weak), rel=1e-5)


@pytest.mark.parametrize("strong", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
def test_a_batch_without_both_kinds_of_pairs_gives_a_differentiable_zero(strong: list[int]) -> None:
    score = torch.randn(4, 16, requires_grad=True)
    mask = torch.tensor(strong).bool()
    loss, c = caf.critic_loss(score, mask, torch.tensor(0.5), 0.7, 1e-6)
    total = loss + caf.weak_score(score, mask)
    total.backward()
    assert total.item() == c.item() == 0
    assert score.grad is not None
    assert score.grad.abs().max() == 0


def test_the_critic_separates_strong_from_weak_and_the_network_raises_the_weak() -> None:
    batch = toy(48)
    method = build("caf", batch, steps=150, critic_lr=1e-3, weight=0.0)
    before = method.step(batch)
    assert before["strong"] == pytest.approx(0.5, abs=0.05)
    for _ in range(100):
        after = method.step(batch)
    assert after["critic"] < 0.5 * before["critic"]
    strong = batch.target.square().sum(1) >= method.threshold
    with torch.no_grad():
        score = method.critic.eval()(method.network(batch.image).backbone)
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
