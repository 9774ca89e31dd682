"""Nats of an attribute in predictions, beyond labels and at all; ceilings of noisy levels."""

from __future__ import annotations

import numpy as np
import pytest

from idfer.auditing import information
from idfer.auditing.information import logistic, measure
from idfer.auditing.leak import ceiling


def drawn(
    people: int = 100, rows: int = 6, confounded: float = 0.0, told: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Predictions, labels, people and one-hot levels; `told` of the level is in predictions beyond labels."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), rows)
    level = (np.arange(people) % 2)[who]
    label = rng.normal(size=(len(who), 2)) + confounded * (2 * level - 1)[:, None]
    predicted = 0.7 * label + 0.3 * rng.normal(size=label.shape)
    predicted[:, 0] += told * level
    return predicted, label, who, np.eye(2)[level]


def test_nothing_told_is_nothing_found() -> None:
    x, label, who, target = drawn()
    for given in (None, label):
        found = measure(x, given, who, target, 0.95, 0)
        assert found["nats"] < 0.01 and found["p"] > 0.05


def test_a_level_in_plain_sight_is_all_its_entropy() -> None:
    x, label, who, target = drawn(told=10.0)
    found = measure(x, None, who, target, 0.95, 0)
    assert found["nats"] == pytest.approx(np.log(2), abs=0.05)
    assert found["low"] <= found["nats"] <= found["high"]
    assert found["nats"] <= np.log(2)  # a lower bound
    assert measure(x, label, who, target, 0.95, 0)["nats"] == pytest.approx(np.log(2), abs=0.05)


def test_what_labels_tell_is_not_beyond_labels() -> None:
    x, label, who, target = drawn(confounded=0.6)
    told = measure(x, None, who, target, 0.95, 0)
    beyond = measure(x, label, who, target, 0.95, 0)
    assert told["nats"] > 0.1 and told["p"] <= 0.05
    assert beyond["nats"] < 0.01 and beyond["p"] > 0.05


def test_gaussian_information_is_nearly_reached() -> None:
    """Two normals 2 sd apart: the information about the level, by integration, is 0.336 nats."""
    grid = np.linspace(-9, 9, 20_001)
    parts = np.exp(-0.5 * (grid[:, None] - [-1, 1]) ** 2) / np.sqrt(2 * np.pi)
    mix = parts.mean(axis=1)
    true = float(np.trapezoid(0.5 * (parts * np.log(parts / mix[:, None])).sum(axis=1), grid))
    rng = np.random.default_rng(0)
    level = np.arange(3000) % 2
    x = np.stack([2.0 * level - 1, np.zeros(3000)], axis=1) + rng.normal(size=(3000, 2))
    found = measure(x, None, np.arange(3000), np.eye(2)[level], 0.95, 0)
    assert found["nats"] == pytest.approx(true, abs=0.03)
    assert found["low"] < true < found["high"]


def test_few_people_or_levels_are_said() -> None:
    x, _, who, target = drawn(people=5)
    assert measure(x, None, who, target, 0.95, 0)["note"] == "too few people"
    x, _, who, _ = drawn()
    assert measure(x, None, who, np.eye(2)[np.zeros(len(x), int)], 0.95, 0)["note"] == "one level only"


def test_the_regression_is_a_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 3))
    level = (x @ rng.normal(size=(3, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    weight = logistic(x, np.eye(3)[level])
    ours = np.concatenate([np.ones((300, 1)), x], axis=1) @ weight
    theirs = LogisticRegression(C=1e4, tol=1e-10, max_iter=1000).fit(x, level).decision_function(x)
    ours, theirs = (z - z.mean(axis=1, keepdims=True) for z in (ours, theirs))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999  # ours is slightly shrunk


def test_ceilings() -> None:
    assert ceiling(np.eye(3)[np.arange(30) % 3]) == 1.0
    flat = np.tile([0.75, 0.25], (50, 1))
    both = np.concatenate([flat, flat[:, ::-1], np.full((1, 2), np.nan)])
    assert ceiling(both) == pytest.approx(0.5)  # right three times in four
    assert np.isnan(ceiling(flat))  # one level seen


def test_levels_as_they_are_are_measured_as_dealt_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes p exact: dealt to whom they belong to, levels give the very number that was observed."""
    rng = np.random.default_rng(2)
    people = np.repeat(np.arange(20), rng.integers(1, 6, 20))
    x, label = rng.normal(size=(2, len(people), 2))
    target = np.eye(2)[(np.arange(20) % 2)[people]]
    monkeypatch.setattr(information, "shuffle", lambda of, _: np.arange(len(of)))
    alone = measure(x, None, people, target, 0.95, 0)
    assert alone["null_high"] == alone["nats"] and alone["p"] == 1.0
    given = measure(x, label, people, target, 0.95, 0)
    assert given["null_high"] == pytest.approx(given["nats"], abs=1e-9)
