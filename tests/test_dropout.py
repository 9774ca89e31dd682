"""`--dropout`: training leaves out some of the backbone's features, use none."""

from __future__ import annotations

from pathlib import Path

import torch

import idfer
from idfer import Manifest
from idfer.training.checkpoint import load_checkpoint

from conftest import BACKBONE


def test_steps_leave_features_out_and_use_sees_all(squares: Manifest, tmp_path: Path) -> None:
    run = idfer.fit(
        squares, method="erm", out=tmp_path / "run", backbone=BACKBONE, size=32, batch_size=16, dim=16,
        epochs=1, dropout=0.75, device="cpu", progress=False,
    )  # fmt: skip
    network = load_checkpoint(run).network
    images = torch.randn(64, 3, 32, 32)
    with torch.no_grad():
        seen, again = (network(images).backbone for _ in range(2))
        torch.testing.assert_close(seen, again)
        network.training = True  # it alone, not its normalisation
        left, other = (network(images).backbone for _ in range(2))
    kept = left[seen != 0] != 0
    assert 0.2 < kept.float().mean() < 0.3
    torch.testing.assert_close(left[left != 0], 4 * seen[left != 0])
    assert not torch.equal(left, other)
