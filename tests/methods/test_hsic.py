"""HSIC as a method: the term equals its equation, and short batches are refused."""

from __future__ import annotations

import pytest
import torch

from idfer import UsageError
from idfer.objectives.hsic import HSIC

from toy_faces import build, toy


def test_the_logged_terms_are_the_equations_of_hsic() -> None:
    batch, spans = toy(12), [(0, 2), (2, 5)]
    with torch.no_grad():
        feature = build("hsic", batch).network(batch.image).expression
    each = [HSIC(1, 16, end - start)(feature, batch.posterior[:, None, start:end]) for start, end in spans]
    logged = build("hsic", batch, ramp=0.0, weight=0.5).step(batch)
    assert logged["hsic"] == pytest.approx(sum(max(0.0, float(e)) for e in each), rel=1e-4)
    assert logged["loss"] == pytest.approx(logged["va"] + 0.5 * logged["hsic"], rel=1e-5)


def test_hsic_refuses_a_batch_too_small_to_compare() -> None:
    batch = toy(3)
    with pytest.raises(UsageError, match="compares 4 faces with each other and a batch has 3"):
        build("hsic", batch).step(batch)
