"""The contract of all penalty terms: loops, gradients, padding, weights, guards and bad input."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from idfer.errors import UsageError
from idfer.objectives.barber_agakov import BarberAgakov
from idfer.objectives.club import CLUB
from idfer.objectives.club_categorical import ClubCategorical
from idfer.objectives.club_sampled import ClubSampled, negatives
from idfer.objectives.conditional_club import ConditionalCLUB, label_neighbours
from idfer.objectives.gaussian_decoder import GaussianDecoder
from idfer.objectives.gradient_reversal import Adversary, reverse_gradient
from idfer.objectives.guards import quiet
from idfer.objectives.hsic import HSIC, hsic, kernel
from idfer.objectives.infonce import InfoNCE
from idfer.objectives.jsd import JSD
from idfer.objectives.l1out import L1Out
from idfer.objectives.level_decoder import LevelDecoder
from idfer.objectives.mine import MINE
from idfer.objectives.nwj import NWJ
from idfer.objectives.penalty_term import PenaltyTerm
from idfer.objectives.separable_critic import SeparableCritic
from idfer.objectives.smile import SMILE

DECODERS = [BarberAgakov, CLUB, ClubSampled, L1Out, ConditionalCLUB]
CRITICS = [NWJ, MINE, JSD, SMILE]
LEVELS = [ClubCategorical, Adversary]
TERMS = [*DECODERS, *CRITICS, *LEVELS, InfoNCE, HSIC]
A, B, X, C = 2, 7, 6, 3
MASK = torch.tensor([[1.0, 1, 1], [1, 1, 0]], dtype=torch.double)


def made(kind: type[PenaltyTerm], seed: int = 0) -> PenaltyTerm:
    """A term with parameters far from their start, in float64."""
    torch.manual_seed(seed)
    term = kind(A, X, C).double()
    for parameter in term.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return term


def batch(kind: type[PenaltyTerm], count: int = B, seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, c (posteriors where the term wants them; padded), keep and y."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, X, generator=g, dtype=torch.double)
    c = torch.randn(count, A, C, generator=g, dtype=torch.double)
    c[..., :2] += x[:, None, :2]
    if issubclass(kind, LevelDecoder):
        c = c.masked_fill(MASK == 0, -math.inf).softmax(-1)
    keep = torch.rand(count, A, generator=g, dtype=torch.double)
    y = 2 * torch.rand(count, 2, generator=g, dtype=torch.double) - 1
    return x, c * MASK, keep, y


def expected(term: PenaltyTerm, x: Tensor, c: Tensor, y: Tensor) -> Tensor:
    """Each estimate by a loop over attributes and samples, (A, B)."""
    count = len(x)
    rows = torch.zeros(A, count, dtype=torch.double)
    for a in range(A):
        mask = MASK[a]

        def log_q(i: int, j: int, a: int = a, mask: Tensor = mask) -> Tensor:
            """log q(c_j|x_i), of a Gaussian or of levels."""
            if isinstance(term, LevelDecoder):
                return (c[j, a] * term.log_levels(x, MASK)[a, i])[mask > 0].sum()
            mean, log_variance = (v[a, i] for v in term.gaussian(x, y))
            square = (c[j, a] - mean) ** 2 / log_variance.exp()
            return -0.5 * ((square + log_variance) * mask).sum()

        def f(i: int, j: int, a: int = a) -> Tensor:
            """The critic on one pair alone."""
            return term.scores(x[i : i + 1], c[j : j + 1])[a, 0, 0]

        for i in range(count):
            others = [j for j in range(count) if j != i]
            if isinstance(term, CLUB | ClubCategorical):
                rows[a, i] = log_q(i, i) - sum(log_q(i, j) for j in others) / len(others)
            elif isinstance(term, ConditionalCLUB):
                near = [math.exp(-float((y[i] - y[j]).square().sum()) / 2 / 0.1**2) for j in others]
                mean = sum(w * log_q(i, j) for w, j in zip(near, others, strict=True)) / sum(near)
                rows[a, i] = log_q(i, i) - mean
            elif isinstance(term, L1Out):
                rows[a, i] = log_q(i, i) - (sum(log_q(j, i).exp() for j in others) / len(others)).log()
            elif isinstance(term, BarberAgakov):
                variance = c[:, a].var(0, unbiased=False)[mask > 0]
                rows[a, i] = 0.5 * (1 + variance.log()).sum() + log_q(i, i)
            elif isinstance(term, Adversary):
                prior = c[:, a].mean(0)[mask > 0]
                rows[a, i] = log_q(i, i) - (prior * prior.log()).sum()
            elif isinstance(term, InfoNCE):
                scores = [f(i, j) for j in range(count)]
                rows[a, i] = scores[i] - (sum(s.exp() for s in scores) / count).log()
            elif isinstance(term, NWJ):
                rows[a, i] = 1 + f(i, i) - sum(f(i, j).exp() for j in others) / len(others)
            elif isinstance(term, MINE | JSD | SMILE):
                tau = 5.0 if isinstance(term, SMILE) else math.inf
                pairs = [f(k, j).clamp(-tau, tau).exp() for k, j in permutations(range(count), 2)]
                rows[a, i] = f(i, i) - (sum(pairs) / len(pairs)).log()
    return rows


@pytest.mark.parametrize("kind", [k for k in TERMS if k not in (HSIC, ClubSampled)])
def test_estimates_equal_a_loop(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, _, y = batch(kind)
    with torch.no_grad():
        torch.testing.assert_close(term(x, c, MASK, y=y), expected(term, x, c, y))


def test_sampled_club_is_club_on_average_and_never_against_itself() -> None:
    for _ in range(50):
        other = negatives(B, torch.device("cpu"))
        assert (other != torch.arange(B)).all()
        assert sorted(other.tolist()) == list(range(B))
    sampled, club = made(ClubSampled), made(CLUB)
    x, c, _, _ = batch(CLUB)
    with torch.no_grad():
        mean = torch.stack([sampled(x, c, MASK) for _ in range(4000)]).mean(0)
        torch.testing.assert_close(mean, club(x, c, MASK), rtol=0.1, atol=0.3)


@pytest.mark.parametrize("normalised", [True, False])
def test_hsic_equals_a_loop_over_distinct_samples(normalised: bool) -> None:
    x, c, keep, _ = batch(HSIC, 6)
    keep[0, 0] = 0
    k, m = kernel(x[None])[0], kernel(c.transpose(0, 1))

    def loop(k: Tensor, m: Tensor, w: Tensor) -> Tensor:
        two = list(permutations(range(len(w)), 2))
        three, four = list(permutations(range(len(w)), 3)), list(permutations(range(len(w)), 4))
        first = sum(w[i] * w[j] * k[i, j] * m[i, j] for i, j in two) / sum(w[i] * w[j] for i, j in two)
        last = sum(w[i] * w[j] * w[q] * k[i, j] * m[i, q] for i, j, q in three)
        middle = sum(w[i] * w[j] * w[q] * w[r] * k[i, j] * m[q, r] for i, j, q, r in four)
        last = last / sum(w[i] * w[j] * w[q] for i, j, q in three)
        return first + middle / sum(w[i] * w[j] * w[q] * w[r] for i, j, q, r in four) - 2 * last

    dependence = HSIC(A, X, C, normalised=normalised).estimate(x, c, MASK, (keep / keep.sum(0)).T, None)
    for a in range(A):
        value = loop(k, m[a], keep[:, a])
        if normalised:
            value = value / (loop(k, k, keep[:, a]) * loop(m[a], m[a], keep[:, a])).sqrt()
        torch.testing.assert_close(dependence[a], value)


def test_hsic_sees_nonlinear_dependence_and_gains_nothing_from_scale() -> None:
    g = torch.Generator().manual_seed(0)
    x, noise = torch.randn(400, 20, generator=g), torch.randn(400, 2, 2, generator=g)
    c = noise.clone()
    c[:, 0] = x[:, :2].square() + 0.1 * noise[:, 0]  # uncorrelated with x, not independent of it
    term = HSIC(2, 20, 2)
    values = term(x, c)
    assert float(values[0]) > 4 * abs(float(values[1]))
    assert abs(float(values[1])) < 0.02  # independent, in 20 dimensions: the biased form gives about 0.9
    small = (1e-3 * x).requires_grad_(True)
    estimate = term(small, c)
    torch.testing.assert_close(estimate, values, rtol=1e-3, atol=1e-4)
    estimate[0].backward()
    assert small.grad is not None
    along = small.grad * small.detach()
    assert abs(float(along.sum())) < 1e-3 * float(along.abs().sum())


def test_hsic_takes_hard_levels_and_calls_a_constant_independent() -> None:
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    one_hot = torch.nn.functional.one_hot((x[:, 0] > 1).long(), 2).float()  # most distances are 0
    c = torch.stack([one_hot, torch.ones_like(one_hot)], 1)
    values = HSIC(2, 2, 2)(x, c)
    assert float(values[0]) > 0.1
    assert float(values[1]) == 0
    few = torch.zeros(200, 2)
    few[:3] = 1  # three samples with weight leave nothing to compare
    assert float(HSIC(2, 2, 2).guarded(x, c, torch.ones(2, 2), few)) == 0


@pytest.mark.parametrize("kind", TERMS)
def test_the_order_of_a_batch_does_not_matter(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, keep, y = batch(kind)
    order = torch.randperm(B, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        first = term.learning_loss(x, c, MASK, y=y)
        torch.testing.assert_close(first, made(kind).learning_loss(x[order], c[order], MASK, y=y[order]))
        if kind is not ClubSampled:  # its negatives are drawn
            penalty = term.guarded(x, c, MASK, keep, y=y)
            turned = term.guarded(x[order], c[order], MASK, keep[order], y=y[order])
            torch.testing.assert_close(penalty, turned)


@pytest.mark.parametrize("kind", TERMS)
def test_gradients_are_those_of_the_value(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, _, y = batch(kind, 5)

    def value(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return term(x, c, MASK, y=y)

    if kind is HSIC:  # the bandwidth is detached, so finite differences see what the gradient leaves out
        k = kernel(x[None]).detach().requires_grad_(True)
        m, share = kernel(c.transpose(0, 1)), torch.full((A, 5), 0.2, dtype=torch.double)
        assert torch.autograd.gradcheck(lambda k: hsic(k, m, share), k)
    else:
        assert torch.autograd.gradcheck(value, x.requires_grad_(True))


@pytest.mark.parametrize("kind", TERMS)
def test_features_of_each_attribute_may_differ_or_be_shared(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, _, y = batch(kind)
    each = x[:, None].expand(-1, A, -1)
    torch.manual_seed(3)
    shared = term(x, c, MASK, y=y).detach()
    torch.manual_seed(3)
    torch.testing.assert_close(term(each, c, MASK, y=y).detach(), shared)
    changed = each.clone()
    changed[:, 1] += torch.randn(B, X, dtype=torch.double, generator=torch.Generator().manual_seed(9))
    torch.manual_seed(3)
    estimate = term(changed, c, MASK, y=y).detach()
    torch.testing.assert_close(estimate[0], shared[0])
    assert not torch.allclose(estimate[1], shared[1])


@pytest.mark.parametrize("kind", TERMS)
def test_padding_is_ignored_whatever_it_holds(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, keep, y = batch(kind)
    padded = c.clone()
    padded[:, 1, 2] = math.nan
    torch.manual_seed(3)
    clean = float(term.guarded(x, c, MASK, keep, y=y).detach())
    torch.manual_seed(3)
    assert float(term.guarded(x, padded, MASK, keep, y=y).detach()) == clean
    assert term.pop_guards()["non_finite"] == 0


@pytest.mark.parametrize("kind", [k for k in TERMS if k is not ClubSampled])
def test_a_sample_without_weight_counts_as_a_negative_only(kind: type[PenaltyTerm]) -> None:
    """`keep` weighs the positives; equal weights are no weights; no weight at all is worth 0."""
    term = made(kind)
    x, c, keep, y = batch(kind)
    with torch.no_grad():
        share = (keep / keep.sum(0)).T
        values = term.penalty(x, c, MASK, share, y)
        bounds = values if values.dim() == 1 else (share * values).sum(1)
        penalty = term.guarded(x, c, MASK, keep, y=y)
        torch.testing.assert_close(penalty, bounds.clamp_min(0).sum())
        ones = torch.ones_like(keep)
        torch.testing.assert_close(
            term.guarded(x, c, MASK, 3 * ones, y=y), term.guarded(x, c, MASK, ones, y=y)
        )
        term.pop_guards()
        assert float(term.guarded(x, c, MASK, 0 * keep, y=y)) == 0
        guards = term.pop_guards()
    assert guards["negative"] == guards["non_finite"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("where", ["x", "c"])
@pytest.mark.parametrize("kind", TERMS)
def test_what_cannot_be_computed_sits_out_and_leaves_no_nan(
    kind: type[PenaltyTerm], where: str, bad: float
) -> None:
    """In c it costs that attribute; in a shared x all of them. The rest goes on, and is counted."""
    term = made(kind).float()
    x, c, keep, y = (v.float() for v in batch(kind))
    mask = MASK.float()
    torch.manual_seed(3)
    whole = term.guarded(x, c, mask, keep * torch.tensor([0.0, 1.0]), y=y).detach()
    term.pop_guards()
    (x if where == "x" else c)[2, 0, ...] = bad
    x.requires_grad_(True)
    torch.manual_seed(3)
    value = term.guarded(x, c, mask, keep, y=y)
    value.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert term.pop_guards()["non_finite"] == (2 if where == "x" else 1)
    if where == "x":
        assert float(value.detach()) == 0
        assert x.grad.abs().sum() == 0
    else:
        torch.testing.assert_close(value.detach(), whole)
    loss = term.learning_loss(x, c, mask, y=y)
    term.zero_grad()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in term.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", [*DECODERS, *CRITICS, *LEVELS])
def test_a_broken_critic_does_not_reach_the_encoder(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, keep, y = batch(kind)
    x.requires_grad_(True)
    with torch.no_grad():
        next(term.parameters()).fill_(math.nan)
    value = term.guarded(x, c, MASK, keep, y=y)
    value.backward()
    assert float(value.detach()) == 0
    assert x.grad is not None
    assert x.grad.abs().sum() == 0
    assert term.pop_guards()["non_finite"] == 2


def test_a_gradient_that_is_not_finite_is_stopped_and_others_pass() -> None:
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    quiet(x).sqrt().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.25]


@pytest.mark.parametrize("kind", [*DECODERS, *CRITICS, *LEVELS, HSIC])
def test_a_constant_attribute_is_worth_nothing(kind: type[PenaltyTerm]) -> None:
    """After fitting: a level or vector that never varies is found to carry no information."""
    torch.manual_seed(0)
    term = kind(1, 4, 2)
    c = torch.tensor([1.0, 0.0]).expand(32, 1, 2)
    y = torch.zeros(32, 2)
    draw = torch.Generator().manual_seed(0)
    parameters = list(term.parameters())
    if parameters:
        adam = torch.optim.Adam(parameters, lr=1e-2)
        for _ in range(60):
            adam.zero_grad()
            term.learning_loss(torch.randn(32, 4, generator=draw), c, y=y).backward()
            adam.step()
    x = torch.randn(32, 4, generator=draw, requires_grad=True)
    value = term.guarded(x, c, torch.ones(1, 2), torch.ones(32, 1), y=y)
    value.backward()
    assert 0 <= float(value.detach()) < 0.02
    assert x.grad is None or torch.isfinite(x.grad).all()


@pytest.mark.parametrize("kind", [k for k in TERMS if k is not InfoNCE])
def test_too_small_a_batch_is_refused_by_name(kind: type[PenaltyTerm]) -> None:
    x, c, keep, y = batch(kind)
    term = made(kind)
    for call in (
        lambda: term(x[:1], c[:1], MASK, y=y[:1]),
        lambda: term.guarded(x[:1], c[:1], MASK, keep[:1]),
    ):
        with pytest.raises(UsageError, match=f"{kind.__name__} needs at least (two|four) samples"):
            call()


def test_the_label_conditional_term_asks_for_labels() -> None:
    x, c, keep, _ = batch(ConditionalCLUB)
    with pytest.raises(ValueError, match="needs the labels"):
        made(ConditionalCLUB).guarded(x, c, MASK, keep)
    with pytest.raises(ValueError, match="needs the labels"):
        made(ConditionalCLUB).learning_loss(x, c, MASK)


def test_label_neighbours_are_near_never_oneself_and_sum_to_one() -> None:
    y = torch.tensor([[0.0, 0.0], [0.05, 0.0], [0.9, 0.9], [-0.9, 0.9]])
    weight = label_neighbours(y, 0.1)
    torch.testing.assert_close(weight.sum(1), torch.ones(4))
    assert weight.diagonal().abs().sum() == 0
    assert float(weight[0, 1]) > 0.99
    assert torch.isfinite(weight).all()  # the far ones too


@pytest.mark.parametrize("kind", TERMS)
def test_only_the_critic_learns_from_its_loss(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, _, y = batch(kind)
    x.requires_grad_(True)
    term.learning_loss(x, c, MASK, y=y).backward()
    assert x.grad is None
    assert all(p.grad is not None for p in term.parameters())
    if kind is HSIC:
        assert float(term.learning_loss(x, c, MASK).detach()) == 0


@pytest.mark.parametrize("kind", [k for k in TERMS if k is not HSIC])
def test_shrinking_the_features_gains_nothing(kind: type[PenaltyTerm]) -> None:
    term = made(kind)
    x, c, _, y = batch(kind)
    torch.manual_seed(3)
    value = term(x, c, MASK, y=y).detach()
    torch.manual_seed(3)
    torch.testing.assert_close(term(1e-2 * x, c, MASK, y=y).detach(), value, rtol=5e-2, atol=5e-2)


def test_one_or_two_coordinates_cannot_be_normalised() -> None:
    with pytest.raises(UsageError, match="normalise=False"):
        CLUB(1, 2, 1)(torch.randn(4, 2), torch.randn(4, 1, 1))


def test_mine_corrects_its_gradient_by_the_moving_average() -> None:
    """Donsker-Varadhan's value; the second term's gradient is divided by the average, not the batch's."""
    term = made(MINE)
    assert isinstance(term, MINE)
    x, c, _, _ = batch(MINE)
    term.learning_loss(x, c, MASK)  # the first batch starts the average
    start = term.log_average.clone()
    x, c, _, _ = batch(MINE, seed=7)
    loss = term.learning_loss(x, c, MASK)
    torch.testing.assert_close(loss.detach(), -term(x, c, MASK).detach().mean(1).sum())
    scores = term.scores(x, c)
    off = torch.ones(B, B, dtype=torch.bool).fill_diagonal_(False)
    mean = scores[:, off].exp().mean(1)
    average = (1 - term.decay) * start.exp() + term.decay * mean.detach()
    torch.testing.assert_close(term.log_average.exp(), average)
    by_hand = -(scores.diagonal(dim1=1, dim2=2).mean(1) - mean / average).sum()
    for value, wanted in zip(
        torch.autograd.grad(loss, list(term.parameters())),
        torch.autograd.grad(by_hand, list(term.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(value, wanted)


def test_jsd_minimises_a_bounded_divergence_that_is_a_loop() -> None:
    term = made(JSD)
    x, c, keep, _ = batch(JSD)
    scores = term.scores(x, c)
    softplus = torch.nn.functional.softplus
    total = torch.zeros((), dtype=torch.double)
    for a in range(A):
        mean = torch.zeros((), dtype=torch.double)
        for i in range(B):
            others = [softplus(scores[a, i, j]) for j in range(B) if j != i]
            value = -softplus(-scores[a, i, i]) - sum(others) / len(others) + 2 * math.log(2)
            mean = mean + keep[i, a] / keep[:, a].sum() * value
        total = total + mean.clamp_min(0)
    torch.testing.assert_close(term.guarded(x, c, MASK, keep), total)
    assert float(total.detach()) <= 2 * A * math.log(2)


def test_gradient_reversal_turns_the_encoder_and_not_the_adversary() -> None:
    term = made(Adversary)
    assert isinstance(term, Adversary)
    x, c, _, _ = batch(Adversary)
    x.requires_grad_(True)
    straight = torch.autograd.grad(term.losses(x, c, MASK, None).sum(), [x, *term.parameters()])
    loss = term.reversed_loss(x, c, MASK, strength=0.3)
    turned = torch.autograd.grad(loss, [x, *term.parameters()])
    torch.testing.assert_close(turned[0], -0.3 * straight[0])
    for value, wanted in zip(turned[1:], straight[1:], strict=True):
        torch.testing.assert_close(value, wanted)
    assert torch.equal(reverse_gradient(x, 2.0), x)


def test_guards_count_saturation_and_reset() -> None:
    x, c, keep, y = batch(CLUB)
    for kind in (CLUB, NWJ, ClubCategorical):
        term = made(kind)
        with torch.no_grad():
            for name, parameter in term.named_parameters():
                parameter.mul_(1 if name == "log_scale" else 200)
        assert isinstance(term, GaussianDecoder | SeparableCritic | LevelDecoder)
        term.guarded(x, c, MASK, keep, y=y)
        assert term.pop_guards()["saturated"] == 1
        assert set(term.pop_guards().values()) == {0}
