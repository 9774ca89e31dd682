"""The conditional budget: KL to a backward encoder, against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from idfer.errors import IdferError
from idfer.evaluation.residual import residual_nats
from idfer.objectives.conditional_budget import BackwardEncoder, residual


def test_residual_is_the_divergence_of_two_gaussians_and_passes_gradcheck() -> None:
    torch.manual_seed(0)
    mean, log_variance, b_mean, b_log_variance = torch.randn(4, 5, 3, dtype=torch.float64).unbind()
    expected = kl_divergence(
        Normal(mean, (0.5 * log_variance).exp()), Normal(b_mean, (0.5 * b_log_variance).exp())
    ).sum(-1)
    torch.testing.assert_close(residual(mean, log_variance, (b_mean, b_log_variance)), expected)
    inputs = [t.requires_grad_() for t in (mean, log_variance, b_mean, b_log_variance)]
    assert torch.autograd.gradcheck(lambda m, s, bm, bs: residual(m, s, (bm, bs)), inputs)


def test_a_feature_that_says_the_label_alone_costs_nothing_once_b_has_learned_it() -> None:
    torch.manual_seed(0)
    y = 2 * torch.rand(512, 2) - 1
    mean, log_variance = (
        torch.cat([torch.sin(2 * y), y.prod(-1, keepdim=True)], 1),
        torch.full((512, 3), -2.0),
    )
    b = BackwardEncoder(3)
    adam = torch.optim.Adam(b.parameters(), lr=1e-2)
    for _ in range(800):
        loss = residual(mean, log_variance, b(y)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss.item() < 0.05


def faces(identity: float, people: int = 200, per_person: int = 10) -> tuple[np.ndarray, ...]:
    """A feature of 4 units: labels, smoothly, plus `identity` times a number of the person; spread .5."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(people), per_person)
    labels = rng.uniform(-1, 1, (len(person), 2))
    mean = np.column_stack([labels, np.sin(2 * labels)])
    mean[:, 0] += identity * rng.standard_normal(people)[person]
    return mean, np.full_like(mean, 0.5), labels, person


def test_nothing_beyond_the_label_measures_near_nothing() -> None:
    assert 0 <= residual_nats(*faces(0.0)).mean() < 0.02


@pytest.mark.parametrize("identity", [0.5, 1.0, 2.0])
def test_what_a_draw_tells_of_the_person_is_bounded_and_tightly(identity: float) -> None:
    """I(z; person | y) of a Gaussian channel is known: half the log of one plus signal over noise."""
    truth = 0.5 * math.log(1 + (identity / 0.5) ** 2)
    measured = residual_nats(*faces(identity)).mean()
    assert truth - 0.03 < measured < truth + 0.1


def test_spread_that_goes_with_the_label_is_met_by_b() -> None:
    mean, spread, labels, person = faces(0.0)
    spread = spread * np.exp(labels[:, :1])
    assert residual_nats(mean, spread, labels, person).mean() < 0.05


def test_one_person_is_refused() -> None:
    mean, spread, labels, person = faces(0.0, people=1)
    with pytest.raises(IdferError, match="two people"):
        residual_nats(mean, spread, labels, person)
