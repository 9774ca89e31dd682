"""Leakage probes: what is planted is found, what is not there is not, and people are never shared."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from idfer.errors import IdferError
from idfer.evaluation.curvature import whiten
from idfer.evaluation.leakage import Target, leakage, probe
from idfer.evaluation.probes import fit_probes
from idfer.evaluation.ridge import discriminant
from idfer.evaluation.verification import _whitened, verification

PEOPLE, EACH, WIDTH = 80, 6, 16


def world(seed=0, people=PEOPLE, each=EACH):
    """A person attribute in [0, 1] (S,), people (N,), and features (N, D) that know neither."""
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(people), each)
    return rng.uniform(size=people), subjects, rng.normal(size=(people * each, WIDTH)), rng


def test_linear_leakage_is_found_by_both_probes():
    attribute, subjects, features, _rng = world()
    features[:, :4] += np.outer(attribute[subjects] - 0.5, [4, -3, 2, 3])
    for kind in ("linear", "nonlinear"):
        found = probe(features, attribute[subjects], subjects, kind)
        assert found.low > 0.5 and found.low < found.score < found.high <= 1
        assert abs(found.chance) < 0.15


def planted(how: str, width: int, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An attribute (S,), people (N,) and normal features (N, D) that tell it by no linear function."""
    rng = np.random.default_rng(0)
    attribute, subjects = rng.uniform(size=people), np.repeat(np.arange(people), 10)
    value, sign = attribute[subjects], rng.choice([-1, 1], 10 * people)
    x = rng.normal(size=(len(subjects), width))
    if how == "product":
        x[:, 1] = np.sign(x[:, 0]) * 3.4 * (value - 0.5) + 0.3 * rng.normal(size=len(x))
        return attribute, subjects, x
    u = np.eye(width)[0]
    if how != "magnitude":  # of a direction that no coordinate and no large variance shows
        u = rng.normal(size=width)
        u /= np.linalg.norm(u)
    x += np.outer(2 * sign * (value + 0.2) - x @ u, u)
    if how == "small variance":
        x = (x - 0.95 * np.outer(x @ u, u)) * np.geomspace(1, 0.1, width)
    return attribute, subjects, x


@pytest.mark.parametrize("how", ["magnitude", "direction", "small variance", "product"])
def test_leaks_that_no_linear_probe_sees_are_found_at_every_width(how):
    """The table of `idfer.evaluation.leakage`, with a margin."""
    least = {2: 0.95, 8: 0.95, 16: 0.9, 32: 0.85, 128: 0.6}
    if how == "product":
        least = {2: 0.7, 8: 0.6, 16: 0.6, 32: 0.55, 128: 0.5}
    for width, score in least.items():
        attribute, subjects, x = planted(how, width, 500)
        assert probe(x, attribute[subjects], subjects, "linear").score < 0.02, width
        found = probe(x, attribute[subjects], subjects, "nonlinear")
        assert found.score > score and found.low > score - 0.1, width
        assert abs(found.chance) < 0.02, width


@pytest.mark.parametrize("how", ["magnitude", "product"])
def test_fewer_people_suffice_for_narrow_features(how):
    for width, score in {2: 0.6, 8: 0.6, 16: 0.55, 32: 0.4}.items():
        attribute, subjects, x = planted(how, width, 100)
        assert probe(x, attribute[subjects], subjects, "nonlinear").score > score, width


@pytest.mark.parametrize("people", [30, 300])
def test_noise_leaks_nothing_at_any_width(people):
    for width in (2, 8, 32, 128):
        attribute, subjects, _ = planted("magnitude", 2, people)
        x = np.random.default_rng(width).normal(size=(len(subjects), width))
        levels = np.where(attribute > 0.5, "high", "low")[subjects]
        of_number = probe(x, attribute[subjects], subjects, "nonlinear")
        assert -0.15 < of_number.score < (0.08 if people == 30 else 0.01) and of_number.low <= 0, width
        of_level = probe(x, levels, subjects, "nonlinear")
        assert abs(of_level.score) < (0.2 if people == 30 else 0.08), width


def test_a_level_told_by_curvature_is_found():
    attribute, subjects, x = planted("direction", 32, 200)
    levels = np.array(["young", "middle", "older"])[np.digitize(attribute, [0.33, 0.67])][subjects]
    assert probe(x, levels, subjects, "linear").score < 0.1
    assert probe(x, levels, subjects, "nonlinear").low > 0.4


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_features_that_know_the_person_but_not_the_attribute_do_not_leak_it(kind):
    """The trap: each person's rows share a code, so a row-wise split reads the attribute perfectly."""
    attribute, subjects, features, rng = world(seed=3)
    features = rng.normal(size=(PEOPLE, 60))[subjects] + 0.1 * rng.normal(size=(len(subjects), 60))
    found = probe(features, attribute[subjects], subjects, kind)
    assert found.low <= 0.02 and found.score < 0.1

    rows = probe(features, attribute[subjects], np.arange(len(features)), kind)  # every row its own person
    assert rows.score > 0.3, "the trap is no trap"
    assert verification(features, subjects).auc > 0.95


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_independent_features_score_chance_in_every_world(kind):
    scores = []
    for seed in range(3):
        attribute, subjects, features, _ = world(seed)
        found = probe(features, attribute[subjects], subjects, kind, seed)
        scores.append(found.score)
        assert found.low <= 0.0 + 1e-9
        assert abs(found.chance) < 0.1
    assert abs(np.mean(scores)) < 0.05


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_levels_are_scored_above_measured_chance(kind):
    attribute, subjects, features, rng = world(people=100)
    levels = np.array(["young", "middle", "older"])[np.digitize(attribute, [0.5, 0.8])][subjects]  # unequal
    blank = probe(features, levels, subjects, kind)
    assert blank.measure == "balanced accuracy" and abs(blank.chance - 1 / 3) < 0.07
    assert blank.low <= 0 <= blank.high + 0.05
    features[:, 0] = 4 * attribute[subjects] + 0.1 * rng.normal(size=len(features))
    told = probe(features, levels, subjects, kind)
    assert told.low > 0.6, "the middle one of ordered levels must not be overlooked"
    assert told.score == pytest.approx((told.raw - told.chance) / (1 - told.chance))


def test_levels_that_vary_within_a_person_are_probed_too():
    _, subjects, features, _rng = world()
    levels = np.where(features[:, 0] > 0, "up", "down")
    assert probe(features, levels, subjects).score > 0.7


def test_verification_knows_people_and_reports_chance_otherwise():
    _, subjects, features, rng = world()
    blank = verification(features, subjects)
    assert blank.low <= 0.5 <= blank.high and abs(blank.chance - 0.5) < 0.05
    loud = 3 * rng.normal(size=(len(features), WIDTH)) * np.linspace(0, 1, WIDTH)  # varies within people
    coded = loud + (rng.normal(size=(PEOPLE, WIDTH)) * np.linspace(1, 0, WIDTH))[subjects]
    assert verification(coded, subjects).low > 0.8


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_inner_choices_are_judged_on_people_not_fitted_to(kind):
    """Features that name the person: whoever was fitted to is predicted perfectly, a stranger not at all."""
    attribute, subjects, _, _ = world()
    names = np.eye(PEOPLE)[subjects]
    train = subjects < 60
    y = attribute[subjects][:, None, None]
    guess, own = fit_probes(names[train], y[train], subjects[train], names[~train], kind, 0)
    assert guess.shape == (120, 1, 1) and own.shape == (360, 1, 1)
    assert abs(np.corrcoef(own.ravel(), y[train].ravel())[0, 1]) < 0.5
    assert np.ptp(guess) < 0.2


def test_discriminant_matches_a_gaussian_rule_by_hand():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 500)
    scores = rng.normal(size=(1000, 2)) + np.array([[0, 0], [2, 0]])[y]
    log_odds = discriminant(scores, y, np.array([[0.5, 3.0], [1.5, -3.0]]))
    assert log_odds.argmax(axis=1).tolist() == [0, 1]
    assert (log_odds[0, 0] - log_odds[0, 1]) == pytest.approx(1.0, abs=0.3)  # (x - 1)(0 - 2) / var at x = .5


def test_same_seed_same_table_and_every_row_named():
    attribute, subjects, features, _rng = world(people=30)
    targets = {
        "age": Target(attribute[subjects], "ground truth"),
        "hat": Target(np.where(attribute > 0.5, "hat", "none")[subjects], "retrieved with builtin"),
    }
    one = leakage({"a": features, "b": features[:, :3]}, targets, subjects, seed=2)
    assert one.equals(leakage({"a": features, "b": features[:, :3]}, targets, subjects, seed=2))
    assert len(one) == 2 * (2 * 2 + 1)
    assert set(one["source"]) == {"ground truth", "retrieved with builtin", "subjects"}
    assert (one["subjects"] == 30).all() and one["score"].notna().all()


def test_what_cannot_be_measured_stays_in_the_table_with_a_reason(caplog):
    attribute, subjects, features, _rng = world(people=30)
    rare = np.where(subjects < 2, "rare", "common")
    targets = {
        "constant": Target(np.full(len(subjects), 0.3), "ground truth"),
        "single": Target(np.full(len(subjects), "light"), "retrieved"),
        "rare": Target(rare, "retrieved"),
        "unknown": Target(np.where(subjects < 5, attribute[subjects], np.nan), "ground truth"),
        "age": Target(np.where(subjects < 25, attribute[subjects], np.nan), "ground truth"),
    }
    with caplog.at_level(logging.WARNING):
        table = leakage({"z": features}, targets, subjects, kinds=["linear"]).set_index("target")
    assert "0.3 for every face" in table.loc["constant", "note"]
    assert "light for every face" in table.loc["single", "note"]
    assert "only 2 people show level" in table.loc["rare", "note"]
    assert "only 5 people with a known unknown" in table.loc["unknown", "note"]
    assert table.loc[["constant", "single", "rare", "unknown"], "score"].isna().all()
    assert table.loc["age", "subjects"] == 25 and np.isfinite(table.loc["age", "score"])
    assert "constant" in caplog.text


def test_bad_features_and_few_people_are_errors():
    attribute, subjects, features, _ = world(people=12)
    features[7, 3] = np.nan
    with pytest.raises(IdferError, match="row 7 is not finite"):
        probe(features, attribute[subjects], subjects)
    with pytest.raises(IdferError, match="only 6 people"):
        probe(np.zeros((36, 3)), attribute[subjects][:36], subjects[:36])
    with pytest.raises(IdferError, match="wanted"):
        probe(np.zeros((40, 3)), attribute[subjects], subjects)


def test_wide_and_constant_features_are_no_trouble():
    attribute, subjects, features, rng = world(people=40)
    wide = np.concatenate([features, rng.normal(size=(len(features), 400)), np.ones((len(features), 3))], 1)
    wide[:, 5] += 6 * attribute[subjects]
    for kind in ("linear", "nonlinear"):
        assert probe(wide, attribute[subjects], subjects, kind).score > 0.1
    assert probe(
        np.zeros((len(features), 4)), attribute[subjects], subjects, "nonlinear"
    ).score == pytest.approx(0)


@pytest.mark.parametrize(("rows", "width"), [(60, 12), (40, 90)])
def test_whitening_is_the_explicit_map_whichever_side_is_longer(rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(rows // 4), 4)
    x, others = rng.normal(size=(rows, width)) * rng.uniform(0.2, 3, width), rng.normal(size=(7, width))
    within = x - np.stack([x[people == p].mean(axis=0) for p in people])
    values, basis = np.linalg.eigh(within.T @ within / rows)
    explicit = others @ (basis / np.sqrt(0.9 * np.maximum(values, 0) + 0.1 * values.mean()))
    mapped = _whitened(others, x, people)
    np.testing.assert_allclose(mapped @ mapped.T, explicit @ explicit.T, rtol=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(60, 12), (40, 90)])
def test_whitened_components_are_uncorrelated_and_of_one_spread(rows: int, width: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, width)) * np.geomspace(1, 0.1, width)
    w, others = whiten(x, x[:9])
    assert w.shape == (rows, min(width, rows // 4))
    np.testing.assert_allclose(w[:9], others, atol=1e-9)
    np.testing.assert_allclose(np.cov(w.T, ddof=0), np.eye(w.shape[1]), atol=0.1)
    assert abs(np.corrcoef(w[:, 0], (x - x.mean(0)) @ np.linalg.svd(x - x.mean(0))[2][0])[0, 1]) > 0.999
