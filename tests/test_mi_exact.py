"""Exact discrete information, the information budget, and the benchmark command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from idfer.errors import IdferError, UsageError
from idfer.experiments.mi import benchmark_mi
from idfer.experiments.mi.shipped import AMOUNTS, faces, truth
from idfer.objectives.budget import rate, sample
from idfer.objectives.discrete import discrete_information, joint_table


def posteriors(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(count, *shape, generator=draw, dtype=torch.double)).softmax(-1)


def test_discrete_information_equals_numpy_per_attribute_and_weighted() -> None:
    p, q = posteriors(40, 2, 3), posteriors(40, 2, 4, seed=1)
    weight = torch.rand(40, 2, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    nats = discrete_information(p, q, weight)
    for a in range(2):
        table = np.zeros((3, 4))
        for i in range(40):
            table += float(weight[i, a]) * np.outer(p[i, a].numpy(), q[i, a].numpy())
        table /= table.sum()
        product = np.outer(table.sum(1), table.sum(0))
        assert float(nats[a]) == pytest.approx(float((table * np.log(table / product)).sum()), abs=1e-12)
    assert float(discrete_information(p[:, 0], q[:, 0])) == pytest.approx(
        float(discrete_information(p, q)[0]), abs=1e-12
    )


def test_discrete_information_of_hard_levels_reaches_its_bounds() -> None:
    eye = torch.eye(4).repeat(5, 1)
    assert float(discrete_information(eye, eye)) == pytest.approx(math.log(4), abs=1e-6)
    coarse = torch.eye(2)[torch.arange(20) % 4 // 2]
    assert float(discrete_information(eye, coarse)) == pytest.approx(math.log(2), abs=1e-6)
    grid = torch.cartesian_prod(torch.arange(4), torch.arange(3))
    apart = torch.eye(4)[grid[:, 0]], torch.eye(3)[grid[:, 1]]
    assert float(discrete_information(*apart)) == pytest.approx(0, abs=1e-6)


def test_discrete_information_has_the_gradient_of_its_value() -> None:
    raw = torch.randn(6, 2, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    q = posteriors(6, 2, 3, seed=1)
    raw.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda r: discrete_information(r.softmax(-1), q), raw)


def test_a_level_that_never_occurs_adds_nothing_and_no_nan() -> None:
    p, q = posteriors(30, 2).float(), posteriors(30, 3, seed=1).float()
    wide = torch.cat([p, torch.zeros(30, 2)], 1).requires_grad_(True)
    information = discrete_information(wide, q)
    information.backward()
    torch.testing.assert_close(information.detach(), discrete_information(p, q))
    assert wide.grad is not None
    assert torch.isfinite(wide.grad).all()
    constant = torch.eye(3)[torch.zeros(30, dtype=torch.long)]
    assert float(discrete_information(constant, q)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least one sample"):
        joint_table(p[:0], q[:0])


def test_discrete_minimisation_removes_what_posteriors_share() -> None:
    """Descending the gradient makes predicted levels independent of the retrieved ones."""
    q = posteriors(200, 3, seed=1).float()
    raw = (4 * q).clone().requires_grad_(True)
    start = float(discrete_information(raw.detach().softmax(-1), q))
    adam = torch.optim.Adam([raw], lr=0.05)
    for _ in range(200):
        adam.zero_grad()
        discrete_information(raw.softmax(-1), q).backward()
        adam.step()
    assert start > 0.1
    assert float(discrete_information(raw.detach().softmax(-1), q)) < 0.02 * start


def test_rate_is_the_divergence_from_a_standard_normal() -> None:
    draw = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 3, generator=draw, dtype=torch.double)
    torch_says = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(-1)
    torch.testing.assert_close(rate(mean, log_variance), torch_says)
    assert rate(torch.zeros(2, 4), torch.zeros(2, 4)).abs().max() == 0
    tiny = torch.full((1, 1), 1e-3)
    assert float(rate(0 * tiny, tiny)) == pytest.approx(0.25e-6, rel=0.01)  # e^l - 1 - l keeps its digits


def test_samples_have_the_moments_and_the_rate_of_their_distribution() -> None:
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, -3.0]])
    draw = torch.Generator().manual_seed(0)
    z = sample(mean.expand(200_000, 2), log_variance.expand(200_000, 2), draw)
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.01, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance[0].exp(), atol=0.02, rtol=0)
    log_ratio = -0.5 * ((z - mean).square() / log_variance.exp() + log_variance - z.square()).sum(1)
    assert float(log_ratio.mean()) == pytest.approx(float(rate(mean, log_variance)), abs=0.02)
    again = sample(mean, log_variance, torch.Generator().manual_seed(1))
    assert torch.equal(again, sample(mean, log_variance, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(("gain", "noise"), [(0.6, 0.8), (0.9, 1.2), (0.3, 0.2)])
def test_the_mean_rate_certifies_the_information(gain: float, noise: float) -> None:
    """z = gain x + noise e: I(z; x) is known, never above the mean rate, and equal where z ~ N(0, 1)."""
    x = torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0))
    certified = float(rate(gain * x, torch.full_like(x, 2 * math.log(noise))).mean())
    information = 0.5 * math.log(1 + gain**2 / noise**2)
    assert certified > information - 0.005
    if gain**2 + noise**2 == 1:
        assert certified == pytest.approx(information, abs=0.005)


OPTIONS = {
    "dims": "1,2", "mi": [0.0, 1.0], "transforms": "none,spiral", "steps": 20, "progress": False,
    "shipped": False,
}  # fmt: skip


def test_benchmark_writes_what_it_measured_and_names_its_command(tmp_path: Path) -> None:
    text = benchmark_mi(tmp_path, estimators="club,infonce", **OPTIONS)  # type: ignore[arg-type]
    content = json.loads((tmp_path / "mi.json").read_text())
    rows = content["rows"]
    tasks = {(r["d"], r["transform"], r["mi"]) for r in rows}
    spiral = {(2, "spiral", a) for a in (0.0, 1.0)}  # a single dimension has no plane to turn
    assert tasks == {(d, "none", a) for d in (1, 2) for a in (0.0, 1.0)} | spiral
    assert len(rows) == 2 * len(tasks)
    assert all(r["error"] == pytest.approx(r["estimate"] - r["mi"], abs=1e-3) for r in rows)
    command = (
        f"idfer benchmark mi --out {tmp_path} --estimators club,infonce --dims 1,2 --mi 0,1 "
        "--transforms none,spiral --steps 20 --shipped false"
    )
    assert content["command"] == command
    markdown = (tmp_path / "mi.md").read_text()
    assert markdown.startswith(f"# Estimators of mutual information\n\n`{command}`")
    assert "<h1>" in (tmp_path / "mi.html").read_text()
    assert markdown.strip() in text
    assert (tmp_path / "mi.png").read_bytes().startswith(b"\x89PNG")
    part = [r for r in rows if (r["estimator"], r["d"], r["mi"]) == ("club", 2, 1.0)]
    mean = sum(r["estimate"] for r in part) / len(part)
    line = next(row for row in markdown.splitlines() if row.startswith("| club | upper | 2 |"))
    assert f"{mean:.2f} ±" in line


def test_benchmark_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted and started again, or asked for more: no finished row is measured twice or lost."""
    from idfer.experiments.mi import fit

    real, ran = fit.estimates, []

    def watched(estimator: str, *rest: object) -> object:
        ran.append(estimator)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return real(estimator, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "estimates", watched)
    options = OPTIONS | {"dims": [1], "transforms": "none"}
    with pytest.raises(KeyboardInterrupt):
        benchmark_mi(tmp_path, estimators="club,l1out", **options)  # type: ignore[arg-type]
    first = json.loads((tmp_path / "mi.json").read_text())["rows"]
    assert {r["estimator"] for r in first} == {"club"}
    benchmark_mi(tmp_path, estimators="club,l1out", **options)  # type: ignore[arg-type]
    assert ran == ["club", "l1out", "l1out"]
    benchmark_mi(tmp_path, estimators=["l1out"], **options)  # type: ignore[arg-type]
    content = json.loads((tmp_path / "mi.json").read_text())
    assert ran == ["club", "l1out", "l1out"]
    assert {r["estimator"] for r in content["rows"]} == {"l1out"}
    assert content["other_rows"] == first


def test_benchmark_is_the_same_twice(tmp_path: Path) -> None:
    options = OPTIONS | {"dims": [1], "transforms": "none", "estimators": "smile"}
    runs = []
    for name in "ab":
        torch.manual_seed(len(runs))  # what others drew before must not matter
        benchmark_mi(tmp_path / name, **options)  # type: ignore[arg-type]
        runs.append(json.loads((tmp_path / name / "mi.json").read_text())["rows"])
    assert [r["estimate"] for r in runs[0]] == [r["estimate"] for r in runs[1]]


def test_what_a_level_tells_is_known_for_features_as_shipped() -> None:
    """The task's truth by another road: the mutual information of level, label and feature, sampled."""
    draw = torch.Generator().manual_seed(0)
    one = faces(200_000, 1, 8, draw, torch.device("cpu"))
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(8)))[0]
    sign, u = 2.0 * one.level - 1, one.y[:, 0] / 0.35

    def told_by(mean: torch.Tensor, value: torch.Tensor) -> float:
        """I(k; value) where value ~ N(mean_k, 1) per column."""
        gap = (value + mean).square().sum(1) - (value - mean).square().sum(1)
        return math.log(2) - float(torch.nn.functional.softplus(-0.5 * sign * gap).mean())

    means = []
    for i, amount in enumerate(AMOUNTS):
        x = (one.x[:, i] - 0.3) / 1.5 @ turn.T
        mean = (sign[:, None] * x).mean(0)
        torch.testing.assert_close((x - sign[:, None] * mean).std(0), torch.ones(8), atol=0.02, rtol=0)
        assert told_by(mean, x) == pytest.approx(amount, abs=0.01)
        means.append(mean)
    of_label = told_by((sign * u).mean(), u[:, None])
    assert of_label == pytest.approx(0.1, abs=0.01)
    for amount, left in zip(AMOUNTS, truth("conditional_club"), strict=True):
        assert left == pytest.approx(max(0.0, amount - of_label), abs=0.01)


def test_few_people_are_memorised_and_others_tell(tmp_path: Path) -> None:
    """As shipped: with few people a bound on them says more than there is; fresh people give the truth."""
    options = OPTIONS | {"steps": 150, "shipped": True, "dims": [1], "mi": [0.0], "transforms": "none"}
    text = benchmark_mi(tmp_path, estimators="nwj,hsic", **options)  # type: ignore[arg-type]
    rows = json.loads((tmp_path / "mi.json").read_text())["shipped"]
    found = {(r["estimator"], r["width"], r["people"], r["mi"]): r for r in rows}
    assert len(found) == len(rows) == 2 * 2 * 2 * len(AMOUNTS)
    assert found["nwj", 128, 150, 0.0]["seen"] > 0.2 > found["nwj", 128, 150, 0.0]["unseen"] + 0.1
    for width in (8, 128):
        values = [found["nwj", width, 0, amount]["unseen"] for amount in AMOUNTS]
        assert values == sorted(values)
        assert all(value < amount + 0.05 for value, amount in zip(values, AMOUNTS, strict=True))
        dependence = [found["hsic", width, 150, amount]["unseen"] for amount in AMOUNTS]
        assert dependence == sorted(dependence)
    assert "| hsic | no unit | 8 |" in text
    assert {r["estimator"] for r in json.loads((tmp_path / "mi.json").read_text())["rows"]} == {"nwj"}
    assert "as shipped" in (tmp_path / "mi.md").read_text().lower()
    before = (tmp_path / "mi.json").stat().st_mtime_ns
    benchmark_mi(tmp_path, estimators="hsic", **options)  # type: ignore[arg-type]
    after = json.loads((tmp_path / "mi.json").read_text())
    assert before != (tmp_path / "mi.json").stat().st_mtime_ns
    assert {r["estimator"] for r in after["other_shipped"]} == {"nwj"}
    assert after["shipped"] == [r for r in rows if r["estimator"] == "hsic"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"estimators": "hsic,adversary"}, "measured as shipped only"),
        ({"estimators": "clubb"}, "unknown estimator 'clubb'. Did you mean 'club'"),
        ({"transforms": "cubik"}, "unknown transform 'cubik'. Did you mean 'cubic'"),
        ({"mi": [-1.0]}, "from 0 to 100 nats"),
        ({"mi": "nan"}, "from 0 to 100 nats"),
        ({"dims": [0]}, "dims of at least 1"),
        ({"dims": "1,two"}, "--dims takes whole numbers"),
        ({"seeds": ""}, "--seeds takes whole numbers"),
        ({"batch_size": 1}, "at least 2 samples"),
        ({"dims": [1], "transforms": "spiral"}, "at least 2"),
    ],
)
def test_benchmark_says_what_it_cannot_do(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        benchmark_mi(tmp_path, **(OPTIONS | wrong))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_benchmark_does_not_overwrite_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "mi.json").write_text('{"rows": 3}')
    with pytest.raises(IdferError, match="was not written by"):
        benchmark_mi(tmp_path, **OPTIONS)  # type: ignore[arg-type]
    assert (tmp_path / "mi.json").read_text() == '{"rows": 3}'
