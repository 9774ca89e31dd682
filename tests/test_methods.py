"""Rival methods: each term equals its equation written out, moves what it should, trains and resumes."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

import idfer
from idfer import AttributeTable, IdferError, Manifest, UsageError
from idfer.catalogue import METHODS
from idfer.methods import avce, caf, common, dice, elim, groupdro
from idfer.methods.adversarial import Adversarial
from idfer.methods.attribute_targets import LevelPosteriors
from idfer.methods.common import Facts, Setup
from idfer.methods.erm import ERM
from idfer.methods.hsic import HSICPenalty
from idfer.methods.optimise import Budget, ramp
from idfer.models.network import Network
from idfer.objectives.hsic import HSIC
from idfer.objectives.mine import MINE
from idfer.training import checkpoint
from idfer.training.order import by_person
from idfer.types import Batch

RIVALS = ["adversarial", "hsic", "groupdro", "caf", "avce", "elim", "dice"]
LEVELS = {"tint": ["red", "plain"], "group": ["a", "b", "c"]}


def toy(count: int = 48, seed: int = 0, people: int = 6, shortcut: float = 0.0) -> Batch:
    """Faces of flat halves: brightness is the label, redness the first attribute, by person.

    With `shortcut`, red faces have so much more valence, and brightness is hard to see.
    """
    draw = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 2, generator=draw) * 2 - 1
    subject = torch.arange(count) % people
    target[:, 0] = (1 - shortcut) * target[:, 0] + shortcut * (2.0 * (subject % 2) - 1)
    image = torch.randn(count, 3, 32, 32, generator=draw) * 0.1
    blur = 2 * shortcut * torch.randn(count, generator=draw)
    image[:, :, :16] += (target[:, 0] + blur)[:, None, None, None]
    image[:, :, 16:] += target[:, 1, None, None, None]
    image[:, 0] += 0.8 * (subject % 2)[:, None, None]
    red = torch.where(subject % 2 == 1, 0.95, 0.05)
    third = 0.1 + 0.7 * torch.eye(3)[subject % 3]
    posterior = torch.cat([red[:, None], 1 - red[:, None], third], 1)
    row = torch.arange(count)
    return Batch(image, target, torch.zeros(count, 2, 4), posterior, torch.ones(count), subject, row)


def build(
    name: str, batch: Batch, steps: int = 10, lr: float = 3e-3, precision: str = "32-true", **terms: Any
) -> Any:
    torch.manual_seed(0)
    setup = Setup(
        network=Network("conv4", 32, dim=16),
        fabric=Fabric(accelerator="cpu", devices=1, precision=precision),  # type: ignore[arg-type]
        budget=Budget(steps, lr),
        facts=Facts(batch.target, batch.retrieved, batch.posterior, LEVELS, batch.subject),
        terms=terms,
    )
    return METHODS[name].load()(setup)


def replace(batch: Batch, **parts: Tensor) -> Batch:
    return Batch(**(batch.__dict__ | parts))


def finite(method: Any) -> bool:
    return all(p.isfinite().all() for m in method.modules().values() for p in m.state_dict().values())


# What they share


def test_posteriors_get_a_row_per_attribute() -> None:
    levels = LevelPosteriors(LEVELS, torch.device("cpu"))
    rows = levels(torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.5]]))
    assert rows.tolist() == [[pytest.approx([0.9, 0.1, 0.0]), pytest.approx([0.2, 0.3, 0.5])]]
    assert levels.mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    with pytest.raises(UsageError, match="at least one attribute"):
        LevelPosteriors({}, torch.device("cpu"))


def test_the_ramp_rises_from_nothing_to_all() -> None:
    assert [ramp(s, 100, 0.5) for s in (0, 25, 50, 99)] == [0, 0.5, 1, 1]
    assert ramp(0, 100, 0.0) == 1


@pytest.mark.parametrize(
    ("name", "terms", "message"),
    [
        ("adversarial", {"weigth": 1.0}, "unknown term 'weigth'. Did you mean 'weight'"),
        ("adversarial", {"weight": -1.0}, r"--terms\.weight is -1\.0; it must be at least 0"),
        ("hsic", {"ramp": 1.5}, r"--terms\.ramp is 1\.5; it must be from 0 to 1"),
        ("groupdro", {"eta": "much"}, r"--terms\.eta is 'much'; it must be a number"),
        ("groupdro", {"quadrants": 1}, r"--terms\.quadrants is 1; it must be bool"),
        ("caf", {"quantile": 2.0}, r"--terms\.quantile"),
        ("avce", {"width": 1}, r"--terms\.width is 1; it must be at least 2"),
        ("elim", {"least": 1}, r"--terms\.least is 1; it must be at least 2"),
        ("dice", {"bound": 1000.0}, r"--terms\.bound"),
        ("dice", {"alpha": math.nan}, r"--terms\.alpha is nan; it must be finite"),
    ],
)
def test_wrong_terms_are_named(name: str, terms: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, toy(), **terms)


@pytest.mark.parametrize("name", RIVALS)
def test_awkward_batches_leave_every_weight_finite(name: str) -> None:
    batch = toy(16)
    method = build(
        name, batch, lr=1e-3, **({"ramp": 0.0} if "ramp" in dir(METHODS[name].load().Terms) else {})
    )
    awkward = {
        "constant labels": replace(batch, target=torch.full_like(batch.target, 0.5)),
        "labels at the origin": replace(batch, target=torch.zeros_like(batch.target)),
        "one person": replace(batch, subject=torch.zeros_like(batch.subject)),
        "a person per face": replace(batch, subject=torch.arange(16)),
        "an empty level": replace(
            batch, posterior=torch.tensor([1.0, 0.0, 0.5, 0.5, 0.0]).expand(16, -1).contiguous()
        ),
        "one image": replace(batch, image=batch.image[:1].expand(16, -1, -1, -1).contiguous()),
        "few faces": Batch(**{k: v[:4] for k, v in batch.__dict__.items()}),
    }
    for case, given in awkward.items():
        logged = method.step(given)
        assert all(math.isfinite(v) for v in logged.values()), (case, logged)
        assert finite(method), case


@pytest.mark.parametrize("name", RIVALS)
def test_a_nan_stops_the_run_with_a_reason(name: str) -> None:
    batch = toy(16)
    with pytest.raises(IdferError, match="the loss became nan"):
        build(name, batch).step(replace(batch, image=batch.image * math.nan))


@pytest.mark.parametrize("name", RIVALS)
def test_half_precision_takes_the_same_first_step_nearly(name: str) -> None:
    batch = toy(24)
    whole, half = (build(name, batch, precision=p).step(batch) for p in ("32-true", "bf16-mixed"))
    assert half["loss"] == pytest.approx(whole["loss"], rel=0.1)


OPTIONS: dict[str, Any] = {"backbone": "conv4", "size": 32, "batch_size": 24, "dim": 16, "device": "cpu"}


@pytest.mark.parametrize("name", RIVALS)
def test_a_run_stopped_after_an_epoch_ends_with_the_same_weights(
    name: str,
    squares: Manifest,
    squares_table: AttributeTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = squares_table if METHODS[name].attributes else None

    def fit(out: str) -> Path:
        return idfer.fit(
            squares, table, method=name, out=tmp_path / out, epochs=2, progress=False, seed=3, **OPTIONS
        )

    whole, kept = fit("whole"), checkpoint.save_state
    history = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert len(history) == 2
    assert all(math.isfinite(v) for line in history for v in line.values())

    def stop(folder: Path, state: dict[str, Any]) -> None:
        kept(folder, state)
        raise KeyboardInterrupt

    monkeypatch.setattr("idfer.training.trainer.save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        fit("stopped")
    monkeypatch.setattr("idfer.training.trainer.save_state", kept)
    again = fit("stopped")
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (again / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


@pytest.mark.parametrize("name", RIVALS)
def test_everything_that_learns_is_in_the_checkpoint(name: str) -> None:
    """Two methods, one brought to the other's state, take the same next step."""
    batch = toy(16)
    first, second = build(name, batch), build(name, batch)
    for _ in range(3):
        first.step(batch)
    # copies: optimisers take over the tensors of a state they load
    for key, module in first.modules().items():
        second.modules()[key].load_state_dict(copy.deepcopy(module.state_dict()))
    for key, optimizer in first.optimizers().items():
        second.optimizers()[key].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert first.step(batch) == second.step(batch)


# Adversarial and HSIC


def readout(method: Any, batch: Batch) -> float:
    """R² on held-out faces of a ridge regression of redness on the expression feature."""
    network = method.network.module.eval()
    with torch.no_grad():
        feature = network(batch.image).expression
    network.train()
    x = F.layer_norm(feature, feature.shape[1:]).double()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    y = batch.posterior[:, 0].double()
    half = len(x) // 2
    weight = torch.linalg.solve(x[:half].T @ x[:half] + 1e-2 * torch.eye(x.shape[1]), x[:half].T @ y[:half])
    return float(
        1 - (x[half:] @ weight - y[half:]).square().sum() / (y[half:] - y[half:].mean()).square().sum()
    )


def trained(name: str, steps: int = 150, **terms: Any) -> tuple[float, float]:
    fresh = toy(240, seed=1)
    method = build(name, fresh, steps, **terms)
    for step in range(steps):
        logged = method.step(toy(48, seed=10 + step, shortcut=0.3))
    return readout(method, fresh), logged.get("va", logged["loss"])


def test_penalties_on_attributes_lower_what_a_linear_readout_finds() -> None:
    plain, plain_loss = trained("erm")
    assert plain > 0.7
    for name, weight in (("adversarial", 1.0), ("hsic", 3.0)):
        found, loss = trained(name, weight=weight, ramp=0.3)
        assert found < plain - 0.4, (name, found, plain)
        assert loss < plain_loss + 0.2, (name, loss, plain_loss)  # not by giving up on the labels


def test_without_weight_both_penalties_are_erm() -> None:
    assert issubclass(Adversarial, ERM.__bases__[0])
    assert issubclass(HSICPenalty, ERM.__bases__[0])
    batch = toy(16)
    losses = [build(name, batch, **terms).step(batch)["loss"] for name, terms in (
        ("erm", {}), ("adversarial", {"weight": 0.0}), ("hsic", {"weight": 0.0}),
    )]  # fmt: skip
    assert losses[1:] == pytest.approx([losses[0]] * 2)


def test_the_logged_terms_of_the_penalties_are_their_equations() -> None:
    batch, spans = toy(12), [(0, 2), (2, 5)]
    method = build("adversarial", batch, ramp=0.0, weight=0.5, critic_lr=0.0)
    with torch.no_grad():
        log_q = method.adversary.log_levels(method.network(batch.image).expression, method.levels.mask)
    expected = 0.0
    for (a, (start, end)), i in product(enumerate(spans), range(12)):
        for k in range(end - start):
            expected -= float(batch.posterior[i, start + k] * log_q[a, i, k]) / 12
    logged = build("adversarial", batch, ramp=0.0, weight=0.5, critic_lr=0.0).step(batch)
    assert logged["adversary"] == pytest.approx(expected, rel=1e-5)
    assert logged["loss"] == pytest.approx(logged["va"] - 0.5 * expected, rel=1e-5)

    with torch.no_grad():
        feature = build("hsic", batch).network(batch.image).expression
    each = [HSIC(1, 16, end - start)(feature, batch.posterior[:, None, start:end]) for start, end in spans]
    logged = build("hsic", batch, ramp=0.0, weight=0.5).step(batch)
    assert logged["hsic"] == pytest.approx(sum(max(0.0, float(e)) for e in each), rel=1e-4)
    assert logged["loss"] == pytest.approx(logged["va"] + 0.5 * logged["hsic"], rel=1e-5)


def test_the_reversed_gradient_is_that_of_the_loss_that_is_logged() -> None:
    batch = toy(12)
    method = build("adversarial", batch)
    feature = torch.randn(12, 16, requires_grad=True)
    posterior, mask = method.levels(batch.posterior), method.levels.mask
    (ahead,) = torch.autograd.grad(method.adversary.losses(feature, posterior, mask, None).sum(), feature)
    back = method.adversary.reversed_loss(feature, posterior, mask, 0.3)
    (found,) = torch.autograd.grad(back, feature)
    torch.testing.assert_close(found, -0.3 * ahead)


def test_hsic_refuses_a_batch_too_small_to_compare() -> None:
    batch = toy(3)
    with pytest.raises(UsageError, match="compares 4 faces with each other and a batch has 3"):
        build("hsic", batch).step(batch)


# GroupDRO


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
    found = groupdro.sample_weights(q.log_q, member, weight, present)
    seen = [g for g in range(20) if present[g]]
    total = sum(raw[g] for g in seen)
    for i in range(20):
        expected = sum(
            raw[g] / total * float(member[i, g] * weight[i] / (member[:, g] * weight).sum()) for g in seen
        )
        assert float(found[i]) == pytest.approx(20 * expected, rel=1e-4)
    for g in range(20):
        mean = sum(float(member[i, g] * weight[i] * error[i]) for i in range(20))
        mean /= max(1e-6, sum(float(member[i, g] * weight[i]) for i in range(20)))
        assert float(losses[g]) == pytest.approx(mean, rel=1e-4, abs=1e-6)
        assert bool(present[g]) == (float(member[:, g].sum()) >= 1)
    # the weighted error is the q-weighted sum of group losses: what the paper minimises
    whole = sum(raw[g] / total * float(losses[g]) for g in seen)
    assert float((found * error).mean()) == pytest.approx(whole, rel=1e-4)


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


# CAF


def test_the_critic_loss_equals_loops_over_pairs() -> None:
    draw = torch.Generator().manual_seed(3)
    score = torch.randn(9, generator=draw)
    strong = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1]).bool()
    multiplier = torch.tensor(0.3)
    near = [
        (score[i] - score[j]) ** 2
        for i, j in product(range(9), repeat=2)
        if i != j and strong[i] and strong[j]
    ]
    far = [(score[i] - score[j]) ** 2 for i, j in product(range(9), repeat=2) if strong[i] and not strong[j]]
    e_near, e_far = float(sum(near)) / len(near), float(sum(far)) / len(far)
    c = 1 - 0.5 * (e_near + e_far)
    hinge = sum(max(0.0, 0.8 - float(d)) for d in far) / len(far)
    loss, found = caf.critic_loss(score, strong, multiplier, 0.8, 0.1)
    assert float(found) == pytest.approx(c, rel=1e-5)
    assert float(loss) == pytest.approx(e_near + hinge + 0.3 * c - 0.05 * c * c, rel=1e-5)
    weak = [float(s) for s, is_strong in zip(score, strong, strict=True) if not is_strong]
    assert float(caf.weak_score(score, strong)) == pytest.approx(sum(weak) / len(weak), rel=1e-5)


@pytest.mark.parametrize("strong", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])
def test_a_batch_without_both_kinds_of_pairs_gives_a_differentiable_zero(strong: list[int]) -> None:
    score = torch.randn(4, requires_grad=True)
    mask = torch.tensor(strong).bool()
    loss, c = caf.critic_loss(score, mask, torch.tensor(0.5), 1.0, 1e-6)
    total = loss + caf.weak_score(score, mask)
    total.backward()
    assert total.item() == c.item() == 0
    assert score.grad is not None
    assert score.grad.tolist() == [0.0] * 4


def test_the_critic_separates_strong_from_weak_and_the_network_raises_the_weak() -> None:
    batch = toy(48)
    method = build("caf", batch, steps=150, critic_lr=1e-2, weight=0.0)
    before = method.step(batch)
    assert before["strong"] == pytest.approx(0.5, abs=0.05)
    for _ in range(100):
        after = method.step(batch)
    assert after["critic"] < 0.5 * before["critic"]
    strong = batch.target.square().sum(1) >= method.threshold
    with torch.no_grad():
        score = method.critic(method.network(batch.image).expression)
    distance, near, far, _ = caf.pair_distances(score, strong)
    assert (far * distance).sum() > 3 * (near * distance).sum()
    raised, left = (build("caf", batch, 40, critic_lr=0.0, weight=w, rho=0.0) for w in (2.0, 0.0))
    for _ in range(30):
        up, same = raised.step(batch)["weak"], left.step(batch)["weak"]
    assert up > same


def test_the_multiplier_climbs_with_the_broken_constraint() -> None:
    batch = toy(24)
    method = build("caf", batch, rho=0.5)
    c = method.step(batch)["c"]
    assert float(method.critic.multiplier) == pytest.approx(0.5 * c, rel=1e-5)


# AVCE


def test_sparsemax_is_the_projection_onto_the_simplex() -> None:
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(50, 6, generator=draw, dtype=torch.float64) * 2
    found = avce.sparsemax(x)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 50)
    assert (found == 0).any()
    for row, point in zip(x, found, strict=True):
        # bisection for the threshold at which the clipped row sums to 1
        low, high = float(row.min()) - 1, float(row.max())
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if float((row - middle).clamp_min(0).sum()) > 1 else (low, middle)
        assert point.tolist() == pytest.approx((row - low).clamp_min(0).tolist(), abs=1e-9)
    assert avce.sparsemax(torch.zeros(1, 4)).tolist() == [[0.25] * 4]
    assert torch.autograd.gradcheck(avce.sparsemax, (x[:3].clone().requires_grad_(),))


def test_similarity_and_contrast_equal_loops() -> None:
    draw = torch.Generator().manual_seed(5)
    a, b, c = torch.randn(3, 7, 2, generator=draw, dtype=torch.float64)

    def s(p: Tensor, q: Tensor) -> float:
        long_p, long_q = math.hypot(*p.tolist()), math.hypot(*q.tolist())
        cosine = float(p @ q) / (long_p * long_q)
        value = min(1.0, max(0.0, 1 - 0.25 * math.acos(cosine / 2) / math.pi))
        return value + 0.8 * (1 - abs(long_p - long_q)) - (0.05 if p[0] * q[0] < 0 else 0)

    positive = avce.similarity(a, b)
    negative = avce.similarity(a[:, None], c[None])
    for i, j in product(range(7), repeat=2):
        assert float(positive[i]) == pytest.approx(s(a[i], b[i]), abs=1e-6)
        assert float(negative[i, j]) == pytest.approx(s(a[i], c[j]), abs=1e-6)
    expected = 0.0
    for i in range(7):
        up, down = s(a[i], b[i]), [s(a[i], c[j]) for j in range(7)]
        squares = sum(d * d for d in down) / 7
        expected += (up - 0.5 * sum(down) / 7 - 0.0025 * up * up - 0.25 * squares) / 7
    assert float(avce.contrast(positive, negative)) == pytest.approx(expected, abs=1e-6)
    margin = (
        sum(max(0.0, 0.3 - s(a[i], b[i]) + sum(s(a[i], c[j]) for j in range(7)) / 7) for i in range(7)) / 7
    )
    assert float(avce.margin_loss(positive, negative, 0.3)) == pytest.approx(margin, abs=1e-6)


def test_similarity_prefers_like_angle_length_and_sign_and_has_a_gradient_at_the_origin() -> None:
    point = torch.tensor([0.5, 0.5])
    same, turned, shorter = (
        avce.similarity(point, torch.tensor(p)) for p in ([0.5, 0.5], [0.5, -0.5], [0.2, 0.2])
    )
    mirrored = avce.similarity(point, torch.tensor([-0.5, 0.5]))
    assert same > turned > mirrored
    assert same > shorter
    origin = torch.zeros(2, requires_grad=True)
    avce.similarity(origin, point).backward()
    assert origin.grad is not None
    assert origin.grad.isfinite().all()


def test_training_draws_the_positive_view_near_and_leaves_the_negative() -> None:
    batch = toy(32)

    def last(weight: float) -> dict[str, float]:
        method = build("avce", batch, steps=60, weight=weight)
        return [method.step(batch) for _ in range(50)][-1]

    with_it, without = last(0.5), last(0.0)
    assert with_it["avce"] > without["avce"] + 0.1
    assert with_it["positive"] - with_it["negative"] > without["positive"] - without["negative"] + 0.1


# ELIM


def features(seed: int = 6) -> tuple[Tensor, Tensor]:
    """Three people, the last with one face; person 1's features are person 0's moved."""
    draw = torch.Generator().manual_seed(seed)
    shape = torch.randn(5, 8, generator=draw) * 2
    move = torch.randn(8, generator=draw) * 0.5
    z = torch.cat([shape, shape + move, shape[:4] - move, shape[:1]])
    return z, torch.tensor([7] * 5 + [3] * 5 + [1] * 4 + [9])


def test_shifts_equal_a_loop_over_people() -> None:
    z, subject = features()
    found, used, _ = elim.id_shifts(z, subject, 2, 5.0, 5)
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
        for row in found[subject == person]:
            assert row.tolist() == pytest.approx(shift.tolist(), abs=1e-4)
    assert found[subject == 7].abs().max() == 0
    assert found[subject == 9].abs().max() == 0
    assert used.tolist() == [True] * 14 + [False]


def test_the_plan_has_its_marginals_and_shifting_aligns_people() -> None:
    z, subject = features()
    place, anchor, target = elim.people(subject, 2)
    plan, a, b = elim.transport(z, place, anchor, target, 5.0, 200)
    assert (plan >= 0).all()
    assert plan.sum(0).tolist() == pytest.approx(b.tolist(), abs=1e-5)
    for first in (5, 10):  # a person stands where its first face does
        own = place[:, first].bool()
        assert plan[:, own].sum(1).tolist() == pytest.approx(a[:, first].tolist(), abs=1e-4)
        assert float(plan[:, own].sum()) == pytest.approx(1, abs=1e-4)
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


def test_elim_brings_people_nearer_to_each_other() -> None:
    """What a person adds to a feature, against its whole spread, falls below ERM's."""

    def spread(name: str, **terms: Any) -> float:
        batch = toy(48)
        method = build(name, batch, 80, **terms)
        for step in range(80):
            method.step(toy(48, seed=10 + step))
        with torch.no_grad():
            z = method.network.module.eval()(toy(240, seed=1).image).expression
        subject = toy(240, seed=1).subject
        means = torch.stack([z[subject == p].mean(0) for p in range(6)])
        return float((means - means.mean(0)).square().sum(1).mean() / (z - z.mean(0)).square().sum(1).mean())

    assert spread("elim", weight=2.0, ramp=0.0) < spread("erm")


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
    seen: list[int] = []
    step = ERM.step

    def spy(self: ERM, batch: Batch) -> dict[str, float]:
        seen.append(len(batch.subject.unique()))
        return step(self, batch)

    monkeypatch.setattr(ERM, "step", spy)
    options = OPTIONS | {"batch_size": 32, "method": "erm", "epochs": 3, "progress": False}
    idfer.fit(squares, out=tmp_path / "random", **options)
    at_random, seen[:] = list(seen), []
    monkeypatch.setitem(METHODS, "erm", dataclasses.replace(METHODS["erm"], people_per_batch=4))  # type: ignore[arg-type]
    idfer.fit(squares, out=tmp_path / "together", **options)
    assert np.mean(at_random) > 8
    assert seen == [4] * 6  # of 9 people with 8 faces each
    assert METHODS["elim"].people_per_batch > 0


# DICE


def test_partners_are_the_nearest_labels_of_other_people() -> None:
    batch = toy(30, people=5)
    index, valid = dice.partners(batch.target, batch.subject, 0.3)
    for i in range(30):
        distances = {
            j: float((batch.target[i] - batch.target[j]).norm())
            for j in range(30)
            if batch.subject[j] != batch.subject[i]
        }
        nearest = min(distances, key=lambda j: distances[j])
        assert int(index[i]) == nearest
        assert bool(valid[i]) == (distances[nearest] <= 0.3)
    assert not dice.partners(batch.target, torch.zeros(30), 5.0)[1].any()


def test_information_equals_a_loop_and_is_a_differentiable_zero_without_pairs() -> None:
    torch.manual_seed(7)
    critic = MINE(1, 6, 4, bound=10.0, normalise=False)
    x, y = torch.randn(8, 6, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    valid = torch.tensor([1, 1, 0, 1, 1, 0, 1, 1]).bool()
    with torch.no_grad():
        standard = [(v - v.mean(0)) / (v.var(0, correction=0) + 1e-5).sqrt() for v in (x, y)]
        scores = critic.scores(standard[0], standard[1][:, None])[0]
    rows = [i for i in range(8) if valid[i]]
    joint = sum(float(scores[i, i]) for i in rows) / len(rows)
    negative = sum(math.exp(float(scores[i, j])) for i in rows for j in range(8) if j != i) / (len(rows) * 7)
    found = dice.information(critic, x, y, valid)
    assert found.item() == pytest.approx(joint - math.log(negative), rel=1e-4, abs=1e-6)
    nothing = dice.information(critic, x, y, torch.zeros(8, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0
    assert x.grad is not None
    assert y.grad is not None
    assert float(x.grad.abs().max()) == float(y.grad.abs().max()) == 0


def test_dice_raises_swapped_information_and_beta_lowers_what_both_codes_share() -> None:
    def last(fixed: Batch | None = None, **terms: Any) -> dict[str, float]:
        method = build("dice", toy(48), 80, ramp=0.0, radius=0.5, **terms)
        rows = [method.step(fixed or toy(48, seed=10 + step)) for step in range(80)]
        return {k: float(np.mean([r[k] for r in rows[-10:]])) for k in rows[-1]}

    free, held = last(alpha=0.2, beta=0.0), last(alpha=0.2, beta=1.0)
    assert free["swapped"] > 1
    assert held["leak"] < free["leak"] - 0.1
    assert held["paired"] > 0.5
    # what the network itself adds, critics held still
    still, pulled = (last(toy(48), alpha=alpha, beta=0.0, critic_lr=0.0) for alpha in (0.0, 1.0))
    assert pulled["swapped"] > still["swapped"] + 0.1
    assert pulled["own"] > still["own"] + 0.1
