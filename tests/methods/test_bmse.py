"""Balanced MSE: both forms equal loops, and undo the imbalance of the labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from idfer.objectives.balanced_mse import bmc, bni, log_marginal

from toy_faces import build, toy


def test_both_forms_equal_loops() -> None:
    draw = torch.Generator().manual_seed(0)
    f, y = 2 * torch.rand(2, 6, 2, generator=draw, dtype=torch.float64) - 1
    log_sigma = torch.tensor(math.log(0.4), dtype=torch.float64)
    joint = bmc(f, y, log_sigma)
    for i in range(6):
        kernel = [math.exp(-0.5 * math.dist(f[i], y[j]) ** 2 / 0.16) for j in range(6)]
        assert float(joint[i]) == pytest.approx(-math.log(kernel[i] / sum(kernel)) * 2 * 0.16)
    log_p = torch.randn(2, 5, generator=draw, dtype=torch.float64).log_softmax(1)
    grid = torch.linspace(-1, 1, 5, dtype=torch.float64)
    binned = bni(f, y, log_p, grid, log_sigma)
    for i in range(6):
        expected = 0.0
        for d in range(2):
            own = math.exp(-0.5 * float(f[i, d] - y[i, d]) ** 2 / 0.16)
            bins = [
                math.exp(float(log_p[d, k]) - 0.5 * float(f[i, d] - grid[k]) ** 2 / 0.16) for k in range(5)
            ]
            expected -= math.log(own / sum(bins)) * 2 * 0.16
        assert float(binned[i]) == pytest.approx(expected)


def test_the_marginal_counts_labels_and_is_never_zero() -> None:
    y = torch.tensor([[-1.0, 0.3], [-0.9, 0.3], [1.0, 0.3]])
    log_p, grid = log_marginal(y, 4)
    assert grid.tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert log_p.exp()[0].tolist() == pytest.approx([2.5 / 5, 0.5 / 5, 0.5 / 5, 1.5 / 5])
    assert log_p.exp()[1].tolist() == pytest.approx([0.5 / 5, 0.5 / 5, 3.5 / 5, 0.5 / 5])


@pytest.mark.parametrize("form", ["bmc", "bni"])
def test_a_regression_of_skewed_labels_is_that_of_uniform_ones(form: str) -> None:
    """x = y + noise, labels mostly low: under squared error what is said of x is drawn to them."""
    draw = torch.Generator().manual_seed(1)
    count, spread = 4000, 0.4
    y = 2 * torch.rand(count, 2, generator=draw).pow(3) - 1
    x = y + spread * torch.randn(count, 2, generator=draw)

    def fitted(balanced: bool) -> Tensor:
        """Predictions of a cubic of x at x = 0, where y = 0 is as likely as any under uniform labels."""
        powers = torch.stack([x**k for k in range(4)], -1)
        weight = torch.zeros(2, 4).index_fill_(1, torch.tensor(1), 1.0).requires_grad_()
        log_sigma = torch.tensor(math.log(spread), requires_grad=True)
        adam = torch.optim.Adam([weight, log_sigma], lr=0.01)
        for _ in range(400):
            rows = torch.randint(count, (256,), generator=draw)
            f = (powers[rows] * weight).sum(-1)
            if not balanced:
                loss = (f - y[rows]).square().sum(1)
            elif form == "bmc":
                loss = bmc(f, y[rows], log_sigma)
            else:
                loss = bni(f, y[rows], *log_marginal(y, 40), log_sigma)
            adam.zero_grad()
            loss.mean().backward()
            adam.step()
        return weight[:, 0].detach()

    assert fitted(False).max() < -0.15
    assert fitted(True).abs().max() < 0.1


@pytest.mark.parametrize("form", ["bmc", "bni"])
def test_training_learns_labels_and_noise(form: str) -> None:
    batch = toy(48)
    method = build("bmse", batch, steps=120, form=form, sigma=0.9)
    rows = [method.step(toy(48, seed=step)) for step in range(120)]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["sigma"] < 0.8
    assert "noise" in method.modules()
