"""How a method sees attributes: a row of posteriors each, or whitened vectors."""

from __future__ import annotations

import pytest
import torch

from idfer import IdferError, UsageError
from idfer.methods.attribute_targets import LevelPosteriors, WhitenedVectors

from toy_faces import LEVELS


def test_posteriors_get_a_row_per_attribute() -> None:
    levels = LevelPosteriors(LEVELS, torch.device("cpu"))
    rows = levels(torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.5]]))
    assert rows.tolist() == [[pytest.approx([0.9, 0.1, 0.0]), pytest.approx([0.2, 0.3, 0.5])]]
    assert levels.mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    with pytest.raises(UsageError, match="at least one attribute"):
        LevelPosteriors({}, torch.device("cpu"))


def test_whitening_gives_unit_uncorrelated_coordinates_and_masks_the_rest() -> None:
    torch.manual_seed(0)
    posterior = torch.softmax(3 * torch.randn(200, 2, 3), -1)
    posterior[:, 0, 2] = 0
    posterior[:, 0] /= posterior[:, 0].sum(-1, keepdim=True)
    retrieved = torch.einsum("nak,ake->nae", posterior, torch.randn(2, 3, 16))
    white = WhitenedVectors(retrieved, {"gender": 2, "age": 3})
    whitened = white(retrieved)
    assert white.mask.tolist() == [[1, 0], [1, 1]]
    torch.testing.assert_close(whitened[:, 1].T @ whitened[:, 1] / 200, torch.eye(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(whitened[:, 0, 1], torch.zeros(200))


def test_an_attribute_that_never_varies_is_named() -> None:
    retrieved = torch.ones(10, 1, 4)
    with pytest.raises(IdferError, match="'view' is the same"):
        WhitenedVectors(retrieved, {"view": 2})
