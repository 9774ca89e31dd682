"""Every estimator against known mutual information: amounts, dimensions, shapes, and the side it errs on."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch

from idfer.catalogue import BOUNDS
from idfer.experiments.mi.fit import Settings, estimates
from idfer.experiments.mi.tasks import TRANSFORMS, Tasks
from idfer.objectives.barber_agakov import BarberAgakov
from idfer.objectives.club import CLUB
from idfer.objectives.club_categorical import ClubCategorical
from idfer.objectives.club_sampled import ClubSampled
from idfer.objectives.conditional_club import ConditionalCLUB
from idfer.objectives.discrete import discrete_information
from idfer.objectives.gradient_reversal import Adversary
from idfer.objectives.infonce import InfoNCE
from idfer.objectives.l1out import L1Out

BATCH = 128
LOWER = [name for name, side in BOUNDS.items() if side == "lower"]
SHAPES = ("none", "half_cube", "asinh", "uniform", "spiral")
AMOUNTS = (0.0, 1.0, 2.0, 10.0)


def shapes_of(dim: int) -> tuple[str, ...]:
    return {1: SHAPES[:-1], 64: ("none", "uniform")}.get(dim, SHAPES)


@cache
def found(estimator: str, dim: int) -> dict[tuple[str, float], float]:
    """Estimates of all tasks of a dimension, fitted together."""
    tasks = Tasks(dim, AMOUNTS, shapes_of(dim))
    settings = Settings(steps=200, batch_size=BATCH, lr=8e-3 if dim < 64 else 4e-3, held_out=16)
    values, _, _ = estimates(estimator, tasks, 0, settings, torch.device("cpu"))
    return dict(zip(tasks.names, values, strict=True))


@pytest.mark.parametrize("dim", [1, 4, 64])
@pytest.mark.parametrize("estimator", list(BOUNDS))
def test_no_information_is_found_where_there_is_none(estimator: str, dim: int) -> None:
    # a decoder of 64 dimensions fitted on few samples is a little worse than the prior
    low = -1.0 if (estimator, dim) == ("barber_agakov", 64) else -0.3
    for shape in shapes_of(dim):
        assert low < found(estimator, dim)[shape, 0.0] < 0.05


@pytest.mark.parametrize("dim", [1, 4, 64])
@pytest.mark.parametrize("estimator", LOWER)
def test_lower_bounds_stay_below_the_truth(estimator: str, dim: int) -> None:
    for (shape, amount), value in found(estimator, dim).items():
        most = decoder_limit(shape, amount, dim) if estimator == "barber_agakov" else amount
        assert value < most + 0.1, (shape, amount)


def decoder_limit(shape: str, amount: float, dim: int) -> float:
    """What Barber-Agakov gives with the best Gaussian q: d E_u 1/2 log Var(c) / Var(c | u), by quadrature.

    It takes c for Gaussian, so this may exceed I; not where c is Gaussian, as a turned one is.
    """
    if shape in ("none", "spiral"):
        return amount
    node, weight = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(100))
    weight = weight / weight.sum()
    rho = math.sqrt(-math.expm1(-2 * amount / dim))
    c = TRANSFORMS[shape](rho * node[:, None] + math.sqrt(1 - rho**2) * node[None])
    variance = (c.square() @ weight - (c @ weight).square()).clamp_min(1e-9)
    return dim * float(-0.5 * variance.log() @ weight)


@pytest.mark.parametrize("estimator", LOWER)
@pytest.mark.parametrize("shape", ["none", "half_cube", "asinh", "uniform"])
def test_lower_bounds_find_most_of_a_little_information(estimator: str, shape: str) -> None:
    for dim in (1, 4):
        assert found(estimator, dim)[shape, 1.0] > 0.6, dim


@pytest.mark.parametrize("estimator", LOWER)
def test_lower_bounds_find_more_where_there_is_more(estimator: str) -> None:
    for dim in (4, 64):
        for shape in ("none", "uniform"):
            values = [found(estimator, dim)[shape, amount] for amount in AMOUNTS]
            assert values[0] < values[1] < values[2] < values[3], (dim, shape)


@pytest.mark.parametrize("dim", [1, 4, 64])
def test_infonce_never_exceeds_the_logarithm_of_the_batch(dim: int) -> None:
    values = found("infonce", dim)
    assert max(values.values()) <= math.log(BATCH)
    if dim == 4:
        assert values["none", 10.0] > math.log(BATCH) - 0.7  # and comes near it


@pytest.mark.parametrize("estimator", ["club", "club_sampled", "l1out"])
@pytest.mark.parametrize("dim", [1, 4])
def test_upper_bounds_stay_above_the_truth_where_q_fits(estimator: str, dim: int) -> None:
    for amount in (0.0, 1.0, 2.0):
        assert found(estimator, dim)["none", amount] > amount - 0.1


def test_club_is_what_theory_says_in_64_dimensions() -> None:
    for amount in (1.0, 2.0):
        exact = 64 * math.expm1(2 * amount / 64)  # d ρ²/(1 - ρ²)
        assert found("club", 64)["none", amount] == pytest.approx(exact, rel=0.15)


def exact_gaussian(kind: type, dim: int, amount: float) -> float:
    """An estimator on 4096 samples with the true q(c|x) instead of a fitted one."""
    x, c = Tasks(dim, (amount,), ("none",)).sample(
        4096, torch.Generator().manual_seed(1), torch.device("cpu")
    )
    term = kind(1, dim, dim, normalise=False, log_variance=40.0)
    rho = math.sqrt(-math.expm1(-2 * amount / dim))
    term.gaussian = lambda x, y=None: (
        rho * x.transpose(0, 1),
        torch.full((1, len(x), dim), -2 * amount / dim),
    )
    with torch.no_grad():
        return float(term(x, c).mean())


@pytest.mark.parametrize("dim", [1, 16, 64])
@pytest.mark.parametrize("amount", [0.5, 2.0, 6.0])
def test_the_true_decoder_gives_what_theory_says(dim: int, amount: float) -> None:
    club = exact_gaussian(CLUB, dim, amount)
    assert club == pytest.approx(dim * math.expm1(2 * amount / dim), rel=0.1)
    assert exact_gaussian(ClubSampled, dim, amount) == pytest.approx(club, rel=0.1)
    assert exact_gaussian(BarberAgakov, dim, amount) == pytest.approx(amount, abs=0.1)
    # an upper bound in expectation, which 4096 samples estimate within 0.1
    assert amount - 0.1 < exact_gaussian(L1Out, dim, amount) < club + 0.1


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_transforms_are_invertible_and_of_variance_one(name: str) -> None:
    transform = TRANSFORMS[name]
    u = torch.randn(400_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    moved = transform(u)
    assert float(moved.var()) == pytest.approx(1, abs=0.03)
    if name == "spiral":
        torch.testing.assert_close(moved.norm(dim=1), u.norm(dim=1))
        assert float((moved - u).norm(dim=1).mean()) > 0.5  # a turn, not the identity
        odd = transform(u[:, [0, 1, 0]])
        torch.testing.assert_close(odd[:, 2], u[:, 0])
    else:
        line = transform(torch.linspace(-5, 5, 2001, dtype=torch.double))
        assert (line.diff() > 0).all()


def test_samples_carry_the_information_they_should() -> None:
    amounts = (0.0, 0.5, 3.0)
    x, c = Tasks(4, amounts, ("none",)).sample(200_000, torch.Generator().manual_seed(0), torch.device("cpu"))
    for i, amount in enumerate(amounts):
        both = torch.cat([x[:, i], c[:, i]], 1).double().T
        joint, left, right = (torch.logdet(torch.cov(v)) for v in (both, both[:4], both[4:]))
        assert float(0.5 * (left + right - joint)) == pytest.approx(amount, abs=0.01)


def levels(count: int, seed: int, sharp: float = 1.5) -> tuple[torch.Tensor, torch.Tensor, float]:
    """x (N, 8) of two classes in Gaussian noise, one-hot (N, 1, 3) of which two occur, and I(x; k)."""
    draw = torch.Generator().manual_seed(seed)
    level = torch.randint(2, (count,), generator=draw)
    x = torch.randn(count, 8, generator=draw)
    x[:, 0] += sharp * (2 * level - 1)
    grid = torch.linspace(-12, 12, 20001, dtype=torch.double)
    density = [torch.exp(-0.5 * (grid - s * sharp) ** 2) / math.sqrt(2 * math.pi) for s in (-1, 1)]
    mixture = 0.5 * (density[0] + density[1])
    entropy = -torch.trapezoid(mixture * mixture.log(), grid)
    return (
        x,
        torch.nn.functional.one_hot(level, 3)[:, None].float(),
        float(entropy) - 0.5 * math.log(2 * math.pi * math.e),
    )


@pytest.mark.parametrize("sharp", [0.0, 0.7, 1.5])
def test_categorical_bounds_enclose_the_information_about_a_level(sharp: float) -> None:
    """Levels of which one never occurs: the adversary is below the truth, CLUB above, and near."""
    torch.manual_seed(0)
    terms = [ClubCategorical(1, 8, 3, normalise=False), Adversary(1, 8, 3, normalise=False)]
    for term in terms:
        adam = torch.optim.Adam(term.parameters(), lr=5e-3)
        for step in range(150):
            x, k, _ = levels(512, 10 + step, sharp)
            adam.zero_grad()
            term.learning_loss(x, k).backward()
            adam.step()
    x, k, truth = levels(20_000, 1, sharp)
    with torch.no_grad():
        upper, lower = (float(term(x, k).mean()) for term in terms)
    assert lower < truth + 0.02
    assert upper > truth - 0.02
    assert lower > truth - 0.05
    exact = discrete_information(torch.stack([x[:, 0] > 0, x[:, 0] <= 0], 1).float(), k[:, 0])
    assert float(exact) < truth + 0.02  # the sign of x tells less than x


def test_conditional_club_forgives_what_the_label_implies() -> None:
    """x reads c through y only: I(x; c | y) = 0 though I(x; c) > 0; with a path of its own it is found."""

    def draw(seed: int, direct: float) -> tuple[torch.Tensor, ...]:
        g = torch.Generator().manual_seed(seed)
        y = 2 * torch.rand(512, 2, generator=g) - 1
        c = 1.5 * y[:, :1] + 0.4 * torch.randn(512, 1, generator=g)
        x = torch.randn(512, 8, generator=g)
        x[:, :2] += 3 * y
        x[:, 2:3] += direct * (c - 1.5 * y[:, :1])
        return x, c[:, None], y

    values = {}
    for kind in (CLUB, ConditionalCLUB):
        for direct in (0.0, 4.0):
            torch.manual_seed(0)
            term = kind(1, 8, 1, normalise=False)
            adam = torch.optim.Adam(term.parameters(), lr=5e-3)
            for step in range(200):
                x, c, y = draw(100 + step, direct)
                adam.zero_grad()
                term.learning_loss(x, c, y=y).backward()
                adam.step()
            with torch.no_grad():
                estimates = [term(*draw(s, direct)[:2], y=draw(s, direct)[2]).mean() for s in range(8)]
            values[kind, direct] = float(torch.stack(estimates).mean())
    assert values[CLUB, 0.0] > 0.5
    assert abs(values[ConditionalCLUB, 0.0]) < 0.1  # the kernel's width lets a little through
    assert values[ConditionalCLUB, 4.0] > 0.5


def test_infonce_of_one_sample_is_zero() -> None:
    value = InfoNCE(1, 4, 2)(torch.randn(1, 4), torch.randn(1, 1, 2))
    assert float(value.detach().abs().max()) < 1e-6
