"""p(y | identity) and the conditional information bound, against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from idfer.errors import IdferError
from idfer.methods.idfer import Idfer
from idfer.objectives.conditional_information import conditional_information
from idfer.statistics.label_prior import LabelPrior, label_prior


def confounded(
    people: int = 300, faces: int = 20, rho: float = 0.7, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n, 2), valence correlated by `rho` with the person's attribute (n, 1), and people (n,)."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), faces)
    score = rng.standard_normal(people)[person]
    g = np.stack([rho * score, np.zeros_like(score)], 1)
    g += np.sqrt([1 - rho**2, 1.0]) * rng.standard_normal((len(person), 2))
    phi = 0.5 * (1 + torch.erf(torch.from_numpy(g) / math.sqrt(2))).numpy()
    return 2 * phi - 1, 1 / (1 + np.exp(-3 * score))[:, None], person


def on_device(prior: LabelPrior) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(prior.log_p), torch.from_numpy(prior.grid)


def test_the_prior_knows_what_identity_explains_and_nothing_more() -> None:
    y, c, person = confounded()
    prior = label_prior(y, c, person, by_person=False)
    assert prior.explained[0] == pytest.approx(0.49, abs=0.08)
    assert prior.explained[1] == pytest.approx(0.0, abs=0.03)
    np.testing.assert_allclose(np.exp(prior.log_p).sum(-1), 1, atol=1e-5)
    assert np.corrcoef(prior.mean[:, 0], c[:, 0])[0, 1] > 0.95


def test_labels_of_other_faces_stand_in_for_an_attribute_that_was_not_retrieved() -> None:
    y, _, person = confounded()
    nothing = np.zeros((len(y), 0))
    assert label_prior(y, nothing, person, by_person=False).explained[0] == pytest.approx(0, abs=0.02)
    assert label_prior(y, nothing, person).explained[0] == pytest.approx(0.47, abs=0.08)


def test_a_face_never_informs_its_own_prior() -> None:
    """With one face a person there are no others: the labels cannot leak into what is known beforehand."""
    y, _, _ = confounded(people=600, faces=1)
    prior = label_prior(y, np.zeros((600, 0)), np.arange(600))
    assert abs(prior.explained[0]) < 0.02


def test_copies_of_a_face_are_no_other_faces_of_its_person() -> None:
    """Rows repeated to show some faces more often tell nothing that the faces themselves do not."""
    y, _, _ = confounded(people=600, faces=1)
    face = np.repeat(np.arange(600), 3)
    copies, nothing = y[face], np.zeros((1800, 0))
    prior = label_prior(copies, nothing, face, images=face)
    assert abs(prior.explained[0]) < 0.02
    assert label_prior(copies, nothing, face).explained[0] > 0.5  # what it would take them for


def test_a_face_that_is_repeated_weighs_as_one_among_the_others() -> None:
    y, _, person = confounded(people=100, faces=4)
    rows = np.concatenate([np.arange(400), np.repeat(np.arange(0, 400, 4), 5)])
    read = 0.5 + 0.5 * y[:, :1]  # posteriors that err with the expression
    once = label_prior(y, read, person, images=np.arange(400))
    repeated = label_prior(y[rows], read[rows], person[rows], images=rows)
    for image in (0, 1):  # one that is repeated, one that is not
        known = np.corrcoef(once.mean[image::4, 0], repeated.mean[:400][image::4, 0])[0, 1]
        assert known > 0.99


def test_constant_labels_and_one_person_have_defined_answers() -> None:
    y, c, person = confounded(people=12, faces=5)
    prior = label_prior(np.zeros_like(y), c, person)
    assert np.isfinite(prior.log_p).all()
    assert prior.explained == (0.0, 0.0)
    with pytest.raises(IdferError, match="at least two people"):
        label_prior(y, c, np.zeros(len(y), int))
    with pytest.raises(IdferError, match="not finite"):
        label_prior(y, np.where(c > 0.5, np.nan, c), person)


def test_information_equals_the_loop_and_passes_gradcheck() -> None:
    torch.manual_seed(0)
    f, y = torch.rand(5, 2, dtype=torch.float64) - 0.5, torch.rand(5, 2, dtype=torch.float64) - 0.5
    log_p, grid = torch.randn(5, 2, 7, dtype=torch.float64).log_softmax(-1), torch.linspace(-1, 1, 7).double()
    log_sigma = torch.tensor([-1.0, -0.5], dtype=torch.float64)

    def density(at: torch.Tensor, mean: torch.Tensor, d: int) -> torch.Tensor:
        sigma = log_sigma[d].exp()
        return torch.exp(-0.5 * ((at - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))

    expected = torch.zeros(5, dtype=torch.float64)
    for i in range(5):
        for d in range(2):
            known = sum(log_p[i, d, b].exp() * density(grid[b], f[i, d], d) for b in range(7))
            expected[i] += torch.log(density(y[i, d], f[i, d], d) / known)
    torch.testing.assert_close(conditional_information(f, y, log_p, grid, log_sigma), expected)
    order = torch.randperm(5)
    again = conditional_information(f[order], y[order], log_p[order], grid, log_sigma)
    torch.testing.assert_close(again, expected[order])
    f, log_sigma = f.requires_grad_(), log_sigma.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: conditional_information(a, y, log_p, grid, b), (f, log_sigma)
    )


def test_the_bound_stays_below_the_conditional_mutual_information() -> None:
    """f = y + noise: no bound exceeds what a Gaussian channel carries of labels spread as given identity."""
    y, c, person = confounded(people=400, faces=20)
    prior = label_prior(y, c, person, by_person=False)
    log_p, grid = on_device(prior)
    labels = torch.from_numpy(y).float()
    f = labels + 0.2 * torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    best = max(
        float(conditional_information(f, labels, log_p, grid, torch.full((2,), math.log(s))).mean())
        for s in (0.1, 0.15, 0.2, 0.25, 0.3)
    )
    most = 0.5 * sum(math.log(1 + v / 0.04) for v in (y - prior.mean).var(0).tolist())
    assert 1.5 < best < most


def most_earned(power: float) -> float:
    """Most nats that what identity says of the label, or its opposite, earns at any scale and σ."""
    y, c, person = confounded()
    prior = label_prior(y, c, person, power=power)
    log_p, grid = on_device(prior)
    labels = torch.from_numpy(y).float()
    shortcut = torch.from_numpy(label_prior(y, c, person).mean)
    assert (shortcut - labels).square().mean() < 0.9 * labels.square().mean()
    return max(
        float(
            conditional_information(
                scale * shortcut, labels, log_p, grid, torch.full((2,), math.log(s))
            ).mean()
        )
        for scale in (-1.5, -1.0, -0.7, -0.4, -0.2, 0.2, 0.5, 1.0, 2.0)
        for s in (0.3, 0.5, 0.7, 1.0)
    )


@pytest.mark.parametrize("power", [1.0, Idfer.Terms().prior_power])
def test_a_shortcut_through_identity_earns_nothing_nor_does_its_opposite(power: float) -> None:
    """It lowers squared error, but neither it nor its opposite is ever put above 0 nats, as shipped."""
    assert most_earned(power) < 0.003


def test_beyond_the_shipped_margin_the_opposite_of_a_shortcut_earns() -> None:
    assert most_earned(1.7) > 0.01


def test_a_sharpened_prior_says_the_same_more_firmly_and_0_says_nothing() -> None:
    y, c, person = confounded()
    plain, sharp, flat = (
        label_prior(y, c, person, by_person=False, power=power) for power in (1.0, 1.4, 0.0)
    )
    slope = np.polyfit(plain.mean[:, 0], sharp.mean[:, 0], 1)[0]
    assert 1.1 < slope < 1.4
    assert np.corrcoef(plain.mean[:, 0], sharp.mean[:, 0])[0, 1] > 0.99
    np.testing.assert_allclose(np.exp(sharp.log_p).sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(flat.log_p, np.broadcast_to(flat.log_p[:1], flat.log_p.shape), atol=1e-5)
    assert sharp.explained == plain.explained
