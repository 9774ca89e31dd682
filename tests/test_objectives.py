"""Objectives against known mutual information, explicit loops and their own guards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from idfer.errors import IdferError, UsageError
from idfer.objectives.club import CLUB
from idfer.objectives.infonce import InfoNCE
from idfer.objectives.va import correlations, va_loss
from idfer.statistics.decorrelation import decorrelation_weights


def gaussian_pair(
    rho: float, count: int, seed: int, width: int = 64, dims: int = 2
) -> tuple[torch.Tensor, ...]:
    """x (N, width) and c (N, 1, dims) correlated with x's first coordinates; MI = -dims/2 log(1 - rho²)."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, generator=draw)
    c = rho * x[:, :dims] + math.sqrt(1 - rho**2) * torch.randn(count, dims, generator=draw)
    return x, c[:, None]


def fitted_club(rho: float, steps: int = 400) -> tuple[CLUB, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    club, mask = CLUB(1, 64, 2), torch.ones(1, 2)
    critic = torch.optim.Adam(club.parameters(), lr=3e-3)
    for step in range(steps):
        loss = club.learning_loss(*gaussian_pair(rho, 512, seed=10 + step), mask)
        critic.zero_grad()
        loss.backward()
        critic.step()
    return club, *gaussian_pair(rho, 4096, seed=2), mask


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_club_is_an_upper_bound_near_what_theory_says(rho: float) -> None:
    """vCLUB with the true Gaussian q is rho²/(1 - rho²) per dimension, never below the MI."""
    club, x, c, mask = fitted_club(rho)
    with torch.no_grad():
        estimate = float(club(x, c, mask).mean())
    information = -math.log(1 - rho**2)
    exact_q = 2 * rho**2 / (1 - rho**2)
    assert estimate >= information - 0.1
    assert estimate == pytest.approx(exact_q, rel=0.2, abs=0.1)


def test_club_equals_the_loop_over_all_negatives() -> None:
    torch.manual_seed(3)
    club = CLUB(2, 8, 3)
    torch.nn.init.normal_(club.mlps.out, std=0.3)
    x, c, mask = torch.randn(5, 8), torch.randn(5, 2, 3), torch.tensor([[1.0, 1, 1], [1, 1, 0]])
    mean, log_variance = club.gaussian(x)
    expected = torch.zeros(2, 5)
    for a in range(2):
        for i in range(5):

            def log_q(j: int, a: int = a, i: int = i) -> torch.Tensor:
                error = (c[j, a] - mean[a, i]).square() / log_variance[a, i].exp() + log_variance[a, i]
                return -0.5 * (mask[a] * error).sum()

            others = [log_q(j) for j in range(5) if j != i]
            expected[a, i] = log_q(i) - torch.stack(others).mean()
    torch.testing.assert_close(club(x, c, mask), expected)


def test_club_ignores_padding_and_the_scale_of_features() -> None:
    torch.manual_seed(0)
    club, mask = CLUB(1, 8, 2), torch.tensor([[1.0, 0.0]])
    x, c = torch.randn(6, 8), torch.randn(6, 1, 2)
    changed = c.clone()
    changed[..., 1] += 5
    torch.testing.assert_close(club(x, c, mask), club(x, changed, mask))
    torch.testing.assert_close(club(x, c, mask), club(100 * x, c, mask), atol=1e-3, rtol=1e-3)


def test_club_guards_negative_and_non_finite_estimates() -> None:
    torch.manual_seed(0)
    club, mask, keep = CLUB(1, 4, 1), torch.ones(1, 1), torch.ones(8, 1)
    x = torch.randn(8, 4, requires_grad=True)
    with torch.no_grad():
        wrong = -5 * club.gaussian(x)[0].transpose(0, 1)  # q points the wrong way: the estimate is negative
    club.guarded(x, wrong, mask, keep).backward()
    assert float(club(x, wrong, mask).mean().detach()) < 0
    assert x.grad is not None
    assert x.grad.abs().sum() == 0
    assert club.pop_guards()["negative"] == 1
    assert float(club.guarded(x, wrong * math.nan, mask, keep).detach()) == 0
    assert club.pop_guards() == {"negative": 0, "saturated": 0, "non_finite": 1}


def test_club_refuses_a_batch_of_one() -> None:
    with pytest.raises(UsageError, match="two samples"):
        CLUB(1, 4, 1)(torch.randn(1, 4), torch.randn(1, 1, 1), torch.ones(1, 1))


def test_club_gradients_are_those_of_its_value() -> None:
    torch.manual_seed(0)
    club = CLUB(2, 4, 2).double()
    x = torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    c, mask = torch.randn(5, 2, 2, dtype=torch.double), torch.ones(2, 2, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: club(x, c, mask), x)


def test_infonce_equals_the_loop_and_stays_below_log_batch() -> None:
    torch.manual_seed(0)
    nce = InfoNCE(3, 6, 4)
    x, y = torch.randn(7, 3, 6), torch.randn(7, 3, 4)
    bound = nce(x, y)
    for a in range(3):
        query = torch.nn.functional.normalize(x[:, a] @ nce.project[a], dim=-1)
        key = torch.nn.functional.normalize(y[:, a], dim=-1)
        for i in range(7):
            scores = torch.stack([query[i] @ key[j] for j in range(7)]) * nce.log_scale[a].exp()
            expected = scores[i] - scores.exp().mean().log()
            torch.testing.assert_close(bound[a, i], expected, atol=1e-5, rtol=1e-4)
    assert float(bound.mean(1).max().detach()) <= math.log(7)


def test_infonce_finds_information_and_none_where_there_is_none() -> None:
    estimates = {}
    for rho in (0.0, 0.95):
        torch.manual_seed(0)
        nce = InfoNCE(1, 64, 2, temperature=1.0)
        adam = torch.optim.Adam(nce.parameters(), lr=1e-2)
        for step in range(200):
            x, c = gaussian_pair(rho, 256, seed=10 + step)
            loss = -nce(x[:, None], c).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        x, c = gaussian_pair(rho, 512, seed=5)
        with torch.no_grad():
            estimates[rho] = float(nce(x[:, None], c).mean())
    assert abs(estimates[0.0]) < 0.1
    assert 0.8 < estimates[0.95] <= -math.log(1 - 0.95**2)  # a lower bound of 2.33 nats


def test_correlations_match_numpy_and_weights_mean_repetition() -> None:
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 50, 2))
    times = rng.integers(1, 4, 50)
    pcc, ccc = correlations(torch.tensor(p), torch.tensor(t), torch.tensor(times, dtype=torch.double))
    p, t = np.repeat(p, times, 0), np.repeat(t, times, 0)
    for d in range(2):
        assert float(pcc[d]) == pytest.approx(np.corrcoef(p[:, d], t[:, d])[0, 1], abs=1e-6)
        cov = np.cov(p[:, d], t[:, d], ddof=0)
        expected = 2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + (p[:, d].mean() - t[:, d].mean()) ** 2)
        assert float(ccc[d]) == pytest.approx(expected, abs=1e-6)


def test_va_loss_is_zero_when_right_and_finite_with_gradient_when_constant() -> None:
    target = torch.rand(8, 2) * 2 - 1
    assert float(va_loss(target, target)) == pytest.approx(0, abs=1e-5)
    constant = torch.zeros(8, 2, requires_grad=True)
    loss = va_loss(constant, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert constant.grad is not None
    assert torch.isfinite(constant.grad).all()


def correlated_labels(
    rho: float, people: int = 200, each: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels whose first column follows a person's attribute; the attribute as 3-level soft posteriors."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(people), each)
    trait = rng.normal(size=people)[person]
    valence = rho * trait + math.sqrt(1 - rho**2) * rng.normal(size=len(person))
    scores = 6 * np.column_stack([-trait, 1 - np.abs(trait), trait])
    posterior = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return np.column_stack([valence, rng.normal(size=len(person))]), posterior, person


def test_weights_remove_the_correlation_and_report_their_cost() -> None:
    labels, posterior, person = correlated_labels(-0.7)
    weights = decorrelation_weights(labels, posterior[:, :2], person)
    before, after = weights.correlation
    assert before > 0.5
    assert after < 0.12
    assert weights.values.mean() == pytest.approx(1, abs=1e-5)
    assert 0 < weights.effective < 0.95 * len(labels)


@pytest.mark.parametrize("dependence", ["spread", "interaction"])
def test_the_classifier_ratio_removes_what_the_gaussian_cannot_see(dependence: str) -> None:
    """An attribute that widens a label, or two that move it only together: no shift of any mean by one."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(200), 20)
    first, second = (2 * rng.integers(2, size=(2, 200)) - 1)[:, person]
    noise = rng.normal(size=(len(person), 2))
    if dependence == "spread":
        noise[:, 0] *= np.where(first > 0, 1.3, 0.7)
    else:
        noise[:, 0] += 0.7 * first * second
    posterior = np.clip(0.5 + 0.45 * np.stack([first, second], 1), 0, 1)

    def remaining(weights: np.ndarray) -> float:
        share = weights / weights.sum()
        seen = np.abs(noise[:, 0]) if dependence == "spread" else noise[:, 0]
        sign = first if dependence == "spread" else first * second
        p, t = seen - share @ seen, sign - share @ sign
        return abs(float(share @ (p * t))) / math.sqrt(float(share @ (p * p)) * float(share @ (t * t)))

    before = remaining(np.ones(len(person)))
    gaussian = decorrelation_weights(noise, posterior, person)
    classifier = decorrelation_weights(noise, posterior, person, kind="classifier")
    assert before > 0.25
    assert remaining(gaussian.values) > 0.9 * before
    assert remaining(classifier.values) < 0.4 * before
    assert classifier.effective < gaussian.effective
    assert classifier.values.mean() == pytest.approx(1, abs=1e-5)


def test_the_classifier_ratio_agrees_with_the_gaussian_where_that_is_right() -> None:
    labels, posterior, person = correlated_labels(-0.7)
    gaussian = decorrelation_weights(labels, posterior[:, :2], person)
    classifier = decorrelation_weights(labels, posterior[:, :2], person, kind="classifier")
    assert np.corrcoef(np.log(gaussian.values), np.log(classifier.values))[0, 1] > 0.9
    assert classifier.correlation[1] < 0.15
    same = decorrelation_weights(labels, posterior[:, :2], person, kind="classifier")
    np.testing.assert_array_equal(same.values, classifier.values)
    labels, posterior, person = correlated_labels(0.0)
    alone = decorrelation_weights(labels, posterior[:, :2], person, kind="classifier")
    assert alone.effective > 0.9 * len(labels)


def test_the_classifier_takes_a_constant_attribute_and_refuses_an_unknown_kind() -> None:
    labels, posterior, person = correlated_labels(0.0, people=10)
    constant = np.ones_like(posterior[:, :1])
    weights = decorrelation_weights(labels, constant, person, kind="classifier")
    np.testing.assert_allclose(weights.values, 1, atol=0.05)
    with pytest.raises(UsageError, match="Did you mean 'classifier'"):
        decorrelation_weights(labels, posterior, person, kind="clasifier")  # type: ignore[arg-type]


def test_weights_leave_independent_labels_nearly_alone() -> None:
    labels, posterior, person = correlated_labels(0.0)
    weights = decorrelation_weights(labels, posterior[:, :2], person)
    assert weights.effective > 0.9 * len(labels)


def test_a_person_never_weighs_their_own_fit() -> None:
    """Cross-fitting: a person's labels do not enter the fit that weighs them."""
    labels, posterior, person = correlated_labels(-0.7, people=5)
    base = decorrelation_weights(labels, posterior[:, :2], person, folds=5).values
    swapped = labels.copy()
    rows = np.flatnonzero(person == 0)
    swapped[rows] = swapped[rows[::-1]]
    changed = decorrelation_weights(swapped, posterior[:, :2], person, folds=5).values
    scale = base[rows[::-1]].mean() / changed[rows].mean()
    np.testing.assert_allclose(changed[rows] * scale, base[rows[::-1]], rtol=1e-4)


def test_weights_name_what_they_cannot_use() -> None:
    labels, posterior, person = correlated_labels(0.0, people=3)
    with pytest.raises(IdferError, match="not finite"):
        decorrelation_weights(labels * math.nan, posterior, person)
    with pytest.raises(IdferError, match="two people"):
        decorrelation_weights(labels, posterior, np.zeros(len(labels)))
