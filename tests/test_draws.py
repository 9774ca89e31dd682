"""One draw, many draws, a mean, a template: each is what it says, and leakage follows."""

from __future__ import annotations

import numpy as np
import pytest

from idfer.errors import UsageError
from idfer.evaluation.draws import (
    averaged_draw,
    leak_curve,
    narrowed,
    noise_matched,
    signal_to_noise,
    template,
)
from idfer.evaluation.leakage import Target


def test_the_average_of_draws_has_the_spread_of_an_average() -> None:
    mean, spread = np.tile([1.0, -2.0], (40_000, 1)), np.tile([0.5, 2.0], (40_000, 1))
    for draws in (1, 16):
        drawn = averaged_draw(mean, spread, draws, seed=3)
        np.testing.assert_allclose(drawn.mean(0), [1, -2], atol=0.05)
        np.testing.assert_allclose(drawn.std(0), np.array([0.5, 2.0]) / np.sqrt(draws), rtol=0.02)
        assert np.array_equal(drawn, averaged_draw(mean, spread, draws, seed=3))
    noise = [(averaged_draw(mean, spread, k) - mean)[:, 0] for k in (1, 16)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.02  # 16 draws are not the one draw, shrunk
    with pytest.raises(UsageError, match="at least 1 draw"):
        averaged_draw(mean, spread, 0)
    with pytest.raises(UsageError, match="equal shapes"):
        averaged_draw(mean, spread[:, :1])


def test_a_template_is_the_mean_of_one_persons_images() -> None:
    subjects = np.array(["b", "a", "b", "a", "b", "c", "a", "a", "a"])  # a 5 times, b 3, c once
    x = np.arange(9.0)[:, None]
    averaged, first = template(x, subjects, images=2)
    assert dict(zip(first.tolist(), averaged[:, 0], strict=True)) == {1: 2.0, 6: 6.5, 0: 1.0, 5: 5.0}
    assert subjects[first].tolist() == ["a", "a", "b", "c"]
    whole, first = template(x, subjects, images=10)
    assert whole[:, 0].tolist() == pytest.approx([5.0, 2.0, 5.0]) and len(first) == 3


def test_leakage_grows_with_draws_and_images() -> None:
    rng = np.random.default_rng(0)
    attribute, subjects = rng.uniform(size=120), np.repeat(np.arange(120), 20)
    mean = 0.7 * rng.normal(size=(len(subjects), 4))
    mean[:, 0] += attribute[subjects]
    curve = leak_curve(mean, np.full_like(mean, 4.0), {"age": Target(attribute[subjects], "truth")}, subjects)
    score = curve.query("target == 'age' and kind == 'linear'").set_index("features")["score"]
    expected = ["1 draw", "16 draws", "64 draws", "mean", "10-image template"]
    assert list(score.index) == [*expected, "10-image template, 1 draw each"]
    assert score["1 draw"] < 0.03 < score["16 draws"] < score["64 draws"] < score["mean"]
    assert score["mean"] + 0.2 < score["10-image template"]
    assert score["1 draw"] < score["10-image template, 1 draw each"] < score["10-image template"]
    rows = curve.query("target == 'age' and kind == 'nonlinear'").set_index("features")["rows"]
    assert rows["mean"] == 2400 and rows["10-image template"] == 240
    assert curve.query("target == 'identity'")["score"].notna().all()
    fixed = leak_curve(mean, None, {}, subjects, kinds=["linear"])
    assert list(fixed["features"]) == ["mean", "10-image template"]
    few = np.arange(len(subjects)) % 20 < 4
    named = leak_curve(mean[few], None, {}, subjects[few], kinds=["linear"])["features"]
    assert list(named) == ["mean", "4-image template"]


def test_narrowed_features_are_the_components_of_those_trained_on() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6)) * np.geomspace(3, 0.1, 6)[:, None]
    fit, x = rng.normal(size=(500, 6)) @ mix + 5, rng.normal(size=(300, 6)) @ mix + 5
    few = narrowed(x, 2, fit)
    basis = np.linalg.svd(fit - fit.mean(0), full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(few), np.abs((x - fit.mean(0)) @ basis.T), atol=1e-8)
    assert narrowed(x, 6, fit).var(0).sum() == pytest.approx(x.var(0).sum())  # a rotation loses nothing
    with pytest.raises(UsageError, match="width 7"):
        narrowed(x, 7, fit)


def test_matched_noise_has_the_ratio_asked_for() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 3)) * [1, 2, 0.1]
    noisy = noise_matched(x, 0.25, seed=1)
    assert signal_to_noise(x, np.broadcast_to((noisy - x).std(0), x.shape)) == pytest.approx(0.25, rel=0.02)
    with pytest.raises(UsageError, match="above 0"):
        noise_matched(x, 0.0)
