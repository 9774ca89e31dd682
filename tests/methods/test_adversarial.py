"""Adversarial: the terms equal their equations, and the gradient is reversed."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from toy_faces import build, toy


def test_the_logged_terms_are_the_equations_of_the_adversary() -> None:
    batch, spans = toy(12), [(0, 2), (2, 5)]
    method = build("adversarial", batch, ramp=0.0, weight=0.5, critic_lr=0.0)
    with torch.no_grad():
        log_q = method.adversary.log_levels(method.network(batch.image).expression, method.levels.mask)
    expected = 0.0
    for (a, (start, end)), i in product(enumerate(spans), range(12)):
        for k in range(end - start):
            expected -= float(batch.posterior[i, start + k] * log_q[a, i, k]) / 12
    logged = build("adversarial", batch, ramp=0.0, weight=0.5, critic_lr=0.0).step(batch)
    assert logged["adversary"] == pytest.approx(expected, rel=1e-5)
    assert logged["loss"] == pytest.approx(logged["va"] - 0.5 * expected, rel=1e-5)


def test_the_reversed_gradient_is_that_of_the_loss_that_is_logged() -> None:
    batch = toy(12)
    method = build("adversarial", batch)
    feature = torch.randn(12, 16, requires_grad=True)
    posterior, mask = method.levels(batch.posterior), method.levels.mask
    (ahead,) = torch.autograd.grad(method.adversary.losses(feature, posterior, mask, None).sum(), feature)
    back = method.adversary.reversed_loss(feature, posterior, mask, 0.3)
    (turned,) = torch.autograd.grad(back, feature)
    torch.testing.assert_close(turned, -0.3 * ahead)
