"""ELIM: plans and shifts equal loops, both losses descend, batches hold several faces of a person."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import idfer
from idfer import IdferError, Manifest
from idfer.catalogue import METHODS
from idfer.methods import common, elim
from idfer.training.order import by_person
from steps import after_each_step

from toy_faces import OPTIONS, build, replace, toy


def features(seed: int = 6) -> tuple[Tensor, Tensor]:
    """Three people, the last with one face; person 1's features are person 0's moved."""
    draw = torch.Generator().manual_seed(seed)
    shape = torch.randn(5, 8, generator=draw) * 2
    move = torch.randn(8, generator=draw) * 0.5
    z = torch.cat([shape, shape + move, shape[:4] - move, shape[:1]])
    return z, torch.tensor([7] * 5 + [3] * 5 + [1] * 4 + [9])


def test_shifts_equal_a_loop_over_people() -> None:
    z, subject = features()
    shifts, used, _ = elim.id_shifts(z, subject, 2, 5.0, 5)
    anchor = z[subject == 7]
    for person in (3, 1):
        other = z[subject == person]
        cost = 1 - F.normalize(anchor, dim=1) @ F.normalize(other, dim=1).T
        kernel = (-5.0 * cost).exp()
        a = (anchor @ other.mean(0)).clamp_min(0) + 1e-3
        b = (other @ anchor.mean(0)).clamp_min(0) + 1e-3
        a, b = a / a.sum(), b / b.sum()
        v = torch.ones(len(other))
        for _ in range(5):
            u = a / (kernel @ v)
            v = b / (kernel.T @ u)
        plan = u[:, None] * kernel * v[None]
        shift = torch.zeros(8)
        for i, j in product(range(len(anchor)), range(len(other))):
            shift += plan[i, j] * (other[j] - anchor[i]) / plan.sum()
        for row in shifts[subject == person]:
            assert row.tolist() == pytest.approx(shift.tolist(), abs=1e-4)
    assert shifts[subject == 7].abs().max() == 0
    assert shifts[subject == 9].abs().max() == 0
    assert used.tolist() == [True] * 14 + [False]


def test_the_plan_has_its_marginals_and_shifting_aligns_people() -> None:
    z, subject = features()
    place, anchor, target = elim.people(subject, 2)
    plan, a, b = elim.transport(z, place, anchor, target, 5.0, 200)
    assert (plan >= 0).all()
    assert plan.sum(0).tolist() == pytest.approx(b.tolist(), abs=1e-5)
    for first in (5, 10):  # a person stands where its first face does
        members = place[:, first].bool()
        assert plan[:, members].sum(1).tolist() == pytest.approx(a[:, first].tolist(), abs=1e-4)
        assert float(plan[:, members].sum()) == pytest.approx(1, abs=1e-4)
    assert plan[~anchor].abs().max() == 0
    shift, _, _ = elim.id_shifts(z, subject, 2, 5.0, 5)
    for person in (3, 1):
        rows = (subject == person).nonzero().squeeze()
        matched = z[: len(rows)]
        before, after = (z[rows] - matched).norm(), (z[rows] - shift[rows] - matched).norm()
        assert after < 0.7 * before


def test_the_second_step_sums_over_people_and_norm_keeps_the_length() -> None:
    z, subject = features()
    shift, used, place = elim.id_shifts(z, subject, 2, 5.0, 5)
    moved = elim.shifted(z, shift)
    assert moved.norm(dim=1).tolist() == pytest.approx(z.norm(dim=1).tolist(), rel=1e-5)
    assert F.cosine_similarity(moved, z - shift).tolist() == pytest.approx([1.0] * 15, abs=1e-5)
    draw = torch.Generator().manual_seed(0)
    error, weight = torch.rand(2, 15, generator=draw)
    expected = 0.0
    for person in (7, 3, 1):
        rows = subject == person
        expected += float((error * weight)[rows].sum() / weight[rows].sum())
    assert float(elim.person_error(error, weight, used, place)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("subject", [[4] * 6, list(range(6)), [0, 0, 1, 2, 3, 4]])
def test_fewer_than_two_people_that_count_give_a_differentiable_zero(subject: list[int]) -> None:
    z = torch.randn(6, 4, requires_grad=True)
    shift, used, place = elim.id_shifts(z.detach(), torch.tensor(subject), 2, 5.0, 5)
    loss = elim.person_error(elim.shifted(z, shift).square().mean(1), torch.ones(6), used, place)
    loss.backward()
    assert loss.item() == 0
    assert shift.abs().max() == 0
    assert z.grad is not None
    assert z.grad.abs().max() == 0


def test_the_head_learns_to_read_shifted_features_where_people_differ_in_their_labels() -> None:
    def last(weight: float) -> float:
        method = build("elim", toy(48), 80, weight=weight, ramp=0.0)
        rows = [method.step(toy(48, seed=10 + step, shortcut=0.5))["shifted"] for step in range(80)]
        return float(np.mean(rows[-10:]))

    assert last(0.5) < 0.8 * last(0.0)


def test_gumbel_noise_keeps_so_many_faces_of_each_person_and_strong_ones_more_often() -> None:
    torch.manual_seed(0)
    _, subject = features()
    place, _, _ = elim.people(subject, 2)
    target = torch.full((15, 2), 0.1)
    target[0] = 0.8
    times = torch.zeros(15)
    for _ in range(400):
        kept = elim.gumbel_top(target, place, 2)
        assert [int(kept[subject == person].sum()) for person in (7, 3, 1, 9)] == [2, 2, 2, 1]
        times += kept
    share = times / 400
    # two draws without replacement with weights 8, 1, 1, 1, 1: the first has 2/3, then 8/11 of what is left
    assert float(share[0]) == pytest.approx(2 / 3 + 1 / 3 * 8 / 11, abs=0.06)
    assert share[5:10].tolist() == pytest.approx([0.4] * 5, abs=0.08)
    assert elim.gumbel_top(torch.zeros(15, 2), place, 9).all()
    z, kept = features()[0], elim.gumbel_top(target, place, 2)
    shift, used, _ = elim.id_shifts(z, subject, 2, 5.0, 5, kept)
    assert used.tolist() == (kept & (subject != 9)).tolist()
    alone, _, _ = elim.id_shifts(z[kept], subject[kept], 2, 5.0, 5)
    torch.testing.assert_close(shift[kept], alone)


@pytest.mark.parametrize("two_steps", [True, False])
def test_elim_descends_both_losses(two_steps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = toy(24)
    method = build("elim", batch, two_steps=two_steps, ramp=0.0, weight=0.3)
    seen: list[float] = []
    for module in (elim, common):
        step = module.descend

        def spy(fabric: Any, loss: Tensor, *rest: Any, step: Any = step) -> None:
            seen.append(loss.item())
            step(fabric, loss, *rest)

        monkeypatch.setattr(module, "descend", spy)
    logged = method.step(batch)
    parts = [logged["va"], 0.3 * logged["shifted"]]
    assert seen == pytest.approx(parts if two_steps else [sum(parts)], rel=1e-5)
    assert logged["loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert method.schedule.last_epoch == 1


def test_elim_needs_people_with_several_faces() -> None:
    batch = toy(8)
    with pytest.raises(IdferError, match="column 'subject'"):
        build("elim", replace(batch, subject=torch.arange(8)))
    logged = build("elim", batch, two_steps=False).step(replace(batch, subject=torch.arange(8) // 2))
    assert logged["used"] == 1


def test_batches_by_person_hold_the_same_faces_several_of_a_person() -> None:
    rng = np.random.default_rng(0)
    subject = rng.integers(0, 20, 400)
    rows = rng.permutation(400)[:390]
    order = by_person(rows, subject, 8, np.random.default_rng(1))
    assert sorted(order) == sorted(rows)
    assert order.tolist() == by_person(rows, subject, 8, np.random.default_rng(1)).tolist()
    assert order.tolist() != by_person(rows, subject, 8, np.random.default_rng(2)).tolist()
    people = [len(set(subject[order[i : i + 64]])) for i in range(0, 384, 64)]
    assert max(people) <= 16
    alone = sum(int((np.bincount(subject[order[i : i + 64]]) == 1).sum()) for i in range(0, 384, 64))
    assert alone <= 6
    assert by_person(rows[:1], subject, 8, rng).tolist() == rows[:1].tolist()


def test_a_method_that_states_people_per_batch_gets_them(
    squares: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = after_each_step(monkeypatch, lambda _, batch: len(batch.subject.unique()))
    options = OPTIONS | {"batch_size": 32, "method": "erm", "epochs": 3, "progress": False}
    idfer.fit(squares, out=tmp_path / "random", **options)
    at_random, seen[:] = list(seen), []
    monkeypatch.setitem(METHODS, "erm", dataclasses.replace(METHODS["erm"], people_per_batch=4))  # type: ignore[arg-type]
    idfer.fit(squares, out=tmp_path / "together", **options)
    assert np.mean(at_random) > 8
    assert seen == [4] * 6  # of 9 people with 8 faces each
    assert METHODS["elim"].people_per_batch > 0
