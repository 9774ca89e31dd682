"""What attributes shift in a feature at a fixed label is measured with an instrument and taken out."""

from __future__ import annotations

import pytest
import torch

from idfer.models.offsets import Offsets

SHIFT = 0.5


def batches(count: int = 300, size: int = 64, flips: float = 0.15, follow: float = 0.6):
    """(feature, label, known levels, retrieved levels, true level): valence goes with the level."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        level = (torch.rand(size, generator=generator) < 0.5).float()
        label = 2 * torch.rand(size, 2, generator=generator) - 1
        label[:, 0] = (1 - follow) * label[:, 0] + follow * (level - 0.5)
        wrong = (torch.rand(2, size, generator=generator) < torch.tensor([[flips], [0.05]])).float()
        known, retrieved = (level - wrong[0]).abs(), (level - wrong[1]).abs()
        feature = torch.stack([torch.sin(label[:, 0]) + SHIFT * level, label[:, 1] ** 2], 1)
        feature = feature + 0.1 * torch.randn(size, 2, generator=generator)
        yield feature, label, torch.stack([1 - known, known], 1), torch.stack([1 - retrieved, retrieved], 1), level


def measured(**options: float) -> Offsets:
    offsets = Offsets(2, 2)
    for feature, label, known, retrieved, _ in batches(**options):
        offsets.measure(feature, label, known, retrieved)
    return offsets


def test_an_offset_is_told_from_what_the_label_says_and_from_errors_of_reading() -> None:
    """Levels that err in 15 % must be counted for 1 / .7 as much; a plain regression says less than .5."""
    offsets = measured()
    assert float(offsets.slope[1, 0] - offsets.slope[0, 0]) == pytest.approx(SHIFT / 0.7, abs=0.05)
    assert float(offsets.slope[1, 1] - offsets.slope[0, 1]) == pytest.approx(0, abs=0.05)


def test_what_is_subtracted_leaves_no_offset_on_average() -> None:
    offsets = measured()
    feature, label, known, _, level = (torch.cat(part) for part in zip(*batches(), strict=True))
    left = (feature - offsets(known))[:, 0] - torch.sin(label[:, 0])
    assert float(left[level == 1].mean() - left[level == 0].mean()) == pytest.approx(0, abs=0.03)
    assert abs(float(offsets(known).mean())) < 0.02


def test_nothing_measured_subtracts_nothing() -> None:
    assert Offsets(2, 3)(torch.rand(4, 2)).eq(0).all()


def test_old_batches_are_forgotten() -> None:
    offsets = Offsets(2, 2)
    for feature, label, known, retrieved, level in batches():
        offsets.measure(feature + 3 * level[:, None], label, known, retrieved)
    for feature, label, known, retrieved, _ in batches(600):
        offsets.measure(feature, label, known, retrieved)
    assert float(offsets.slope[1, 0] - offsets.slope[0, 0]) == pytest.approx(SHIFT / 0.7, abs=0.06)
