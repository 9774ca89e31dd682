"""AVCE: sparsemax, similarity and contrast equal loops, and training draws views near."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from idfer.methods import avce

from toy_faces import build, toy


def test_sparsemax_is_the_projection_onto_the_simplex() -> None:
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(50, 6, generator=draw, dtype=torch.float64) * 2
    points = avce.sparsemax(x)
    assert points.sum(1).tolist() == pytest.approx([1.0] * 50)
    assert (points == 0).any()
    for row, point in zip(x, points, strict=True):
        # bisection for the threshold at which the clipped row sums to 1
        low, high = float(row.min()) - 1, float(row.max())
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if float((row - middle).clamp_min(0).sum()) > 1 else (low, middle)
        assert point.tolist() == pytest.approx((row - low).clamp_min(0).tolist(), abs=1e-9)
    assert avce.sparsemax(torch.zeros(1, 4)).tolist() == [[0.25] * 4]
    assert torch.autograd.gradcheck(avce.sparsemax, (x[:3].clone().requires_grad_(),))


def test_similarity_and_contrast_equal_loops() -> None:
    draw = torch.Generator().manual_seed(5)
    a, b, c = torch.randn(3, 7, 2, generator=draw, dtype=torch.float64)

    def s(p: Tensor, q: Tensor) -> float:
        long_p, long_q = math.hypot(*p.tolist()), math.hypot(*q.tolist())
        cosine = float(p @ q) / (long_p * long_q)
        value = min(1.0, max(0.0, 1 - 0.25 * math.acos(cosine / 2) / math.pi))
        return value + 0.8 * (1 - abs(long_p - long_q)) - (0.05 if p[0] * q[0] < 0 else 0)

    positive, negative = avce.similarity(a, b), avce.similarity(a, c)
    for i in range(7):
        assert float(positive[i]) == pytest.approx(s(a[i], b[i]), abs=1e-6)
        assert float(negative[i]) == pytest.approx(s(a[i], c[i]), abs=1e-6)
    expected = 0.0
    for i in range(7):
        up, down = s(a[i], b[i]), s(a[i], c[i])
        expected += (up - 0.5 * down - 0.0025 * up * up - 0.25 * down * down) / 7
    assert float(avce.contrast(positive, negative)) == pytest.approx(expected, abs=1e-6)


def test_the_regulariser_equals_a_loop() -> None:
    draw = torch.Generator().manual_seed(6)
    whole, sparse, smooth = 0.6 * torch.rand(3, 9, 8, generator=draw, dtype=torch.float64)
    expected = 0.0
    for v, p, n in zip(whole.tolist(), sparse.tolist(), smooth.tolist(), strict=True):
        expected += max(0.0, 1 - math.dist(p, n) ** 2) / 9
        unit = [x / math.hypot(*v) for x in v]
        for view in (p, n):
            expected += 0.01 * (math.dist([x / math.hypot(*view) for x in view], unit) - 1) / 9
    assert float(avce.regulariser(whole, sparse, smooth)) == pytest.approx(expected, abs=1e-6)
    zeros = torch.zeros(4, 8, requires_grad=True)  # of ReLUs that are all off
    avce.regulariser(zeros, zeros, zeros).backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_similarity_prefers_like_angle_length_and_sign_and_has_a_gradient_at_the_origin() -> None:
    point = torch.tensor([0.5, 0.5])
    same, turned, shorter = (
        avce.similarity(point, torch.tensor(p)) for p in ([0.5, 0.5], [0.5, -0.5], [0.2, 0.2])
    )
    mirrored = avce.similarity(point, torch.tensor([-0.5, 0.5]))
    assert same > turned > mirrored
    assert same > shorter
    origin = torch.zeros(2, requires_grad=True)
    avce.similarity(origin, point).backward()
    assert origin.grad is not None
    assert origin.grad.isfinite().all()


def test_the_weight_is_of_a_sum_over_the_batch() -> None:
    batch = toy(32)
    logged = build("avce", batch, weight=0.01, regulariser=0.5).step(batch)
    expected = logged["va"] - 0.01 * 32 * logged["avce"] + 0.5 * logged["regulariser"]
    assert logged["loss"] == pytest.approx(expected, rel=1e-5)


def test_training_draws_the_positive_view_near_and_both_views_apart() -> None:
    batch = toy(32)

    def last(**terms: float) -> dict[str, float]:
        method = build("avce", batch, steps=60, **terms)
        return [method.step(batch) for _ in range(50)][-1]

    with_it, without = last(weight=0.02, regulariser=0.0), last(weight=0.0, regulariser=0.0)
    assert with_it["avce"] > without["avce"] + 0.05
    assert with_it["positive"] - with_it["negative"] > without["positive"] - without["negative"] + 0.02
    assert last(weight=0.0, regulariser=1.0)["regulariser"] < 0.7 * without["regulariser"]
