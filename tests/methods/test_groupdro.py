"""GroupDRO: losses and weights equal loops, and the worst group gains."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest
import torch

import idfer
from idfer import Manifest
from idfer.catalogue import MethodEntry
from idfer.methods import groupdro
from idfer.methods.common import Setup
from idfer.methods.erm import ERM
from idfer.types import Batch

from toy_faces import OPTIONS, build, toy


def test_group_losses_and_sample_weights_equal_loops() -> None:
    draw = torch.Generator().manual_seed(2)
    batch = toy(20)
    weight = torch.rand(20, generator=draw) + 0.5
    error = torch.rand(20, generator=draw)
    member = groupdro.memberships(batch.posterior, batch.target, True)
    assert member.shape == (20, 20)
    for i, k in product(range(20), range(5)):
        quadrant = 2 * int(batch.target[i, 0] >= 0) + int(batch.target[i, 1] >= 0)
        for r in range(4):
            expected = batch.posterior[i, k] if r == quadrant else 0.0
            assert float(member[i, 4 * k + r]) == pytest.approx(float(expected))
    losses, present = groupdro.group_losses(error, member, weight)
    q = groupdro.GroupWeights(20)
    q.update(losses, present, 0.7)
    raw = [math.exp(0.7 * float(losses[g])) if present[g] else 1.0 for g in range(20)]
    assert q.log_q.exp().tolist() == pytest.approx([r / sum(raw) for r in raw], rel=1e-5)
    weights = groupdro.sample_weights(q.log_q, member, weight, present)
    seen = [g for g in range(20) if present[g]]
    total = sum(raw[g] for g in seen)
    for i in range(20):
        expected = sum(
            raw[g] / total * float(member[i, g] * weight[i] / (member[:, g] * weight).sum()) for g in seen
        )
        assert float(weights[i]) == pytest.approx(20 * expected, rel=1e-4)
    for g in range(20):
        mean = sum(float(member[i, g] * weight[i] * error[i]) for i in range(20))
        mean /= max(1e-6, sum(float(member[i, g] * weight[i]) for i in range(20)))
        assert float(losses[g]) == pytest.approx(mean, rel=1e-4, abs=1e-6)
        assert bool(present[g]) == (float(member[:, g].sum()) >= 1)
    # the weighted error is the q-weighted sum of group losses: what the paper minimises
    whole = sum(raw[g] / total * float(losses[g]) for g in seen)
    assert float((weights * error).mean()) == pytest.approx(whole, rel=1e-4)


def test_the_worst_group_gains_weight_and_an_absent_one_keeps_its_share() -> None:
    member = torch.eye(4)[torch.arange(30) % 3]  # the fourth group is empty
    error = torch.tensor([0.1, 0.2, 0.9])[torch.arange(30) % 3]
    q = groupdro.GroupWeights(4)
    for _ in range(20):
        losses, present = groupdro.group_losses(error, member, torch.ones(30))
        q.update(losses, present, 0.2)
    share = q.log_q.exp()
    assert present.tolist() == [True, True, True, False]
    assert share.argmax() == 2
    assert float(share.sum()) == pytest.approx(1)
    assert float(share[2] / share[0]) == pytest.approx(math.exp(20 * 0.2 * 0.8), rel=1e-4)
    weight = groupdro.sample_weights(q.log_q, member, torch.ones(30), present)
    assert float(weight.mean()) == pytest.approx(1, rel=1e-4)
    assert weight[2] > 5 * weight[0]
    nobody = torch.zeros(4, dtype=torch.bool)
    assert groupdro.sample_weights(q.log_q, member, torch.ones(30), nobody).tolist() == [1.0] * 30


def test_uniform_sampling_makes_groups_equally_frequent() -> None:
    batch = toy(300, people=7)
    posterior = torch.cat([torch.eye(2)[(torch.arange(300) % 10 == 0).long()], torch.zeros(300, 1)], 1)
    share = groupdro.uniform_sampling(posterior)  # nine in ten are of the first group, nobody of the third
    assert (posterior * share[:, None]).sum(0).tolist() == pytest.approx([0.5, 0.5, 0.0])
    doubts = torch.tensor([[1.0, 0.0, 0.0]] * 3 + [[0.0, 0.8, 0.2]] * 3)
    share = groupdro.uniform_sampling(doubts)  # of the third group there is less than one face in all
    assert share.tolist() == pytest.approx([1 / 6] * 6)
    assert float(groupdro.uniform_sampling(torch.tensor([[0.5, 0.5]])).sum()) == pytest.approx(1)
    method = build("groupdro", batch)
    assert method.sampling.shape == (300,)
    assert float(method.sampling.sum()) == pytest.approx(1)
    assert build("groupdro", batch, uniform=False).sampling is None


def test_a_method_that_states_how_often_it_wants_each_face_gets_that(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Few(ERM):
        def __init__(self, setup: Setup):
            super().__init__(setup)
            self.sampling = torch.zeros(72)
            self.sampling[:5] = torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1])

        def step(self, batch: Batch) -> dict[str, float]:
            seen.extend(batch.row.tolist())
            return super().step(batch)

    monkeypatch.setattr(MethodEntry, "load", lambda self: Few)
    idfer.fit(squares, out=tmp_path / "run", **(OPTIONS | {"method": "erm", "epochs": 4, "progress": False}))
    assert len(seen) == 4 * 72  # an epoch is as long as ever
    assert set(seen) == set(range(5))
    assert 0.5 < seen.count(0) / len(seen) < 0.7
