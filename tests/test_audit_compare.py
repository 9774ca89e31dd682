"""Two models on the same faces: what differs by chance does not differ, and pairing sees what is small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from idfer.auditing.compare import differences
from idfer.auditing.engine import AuditSettings
from idfer.auditing.levels import one_hot
from idfer.auditing.moments import DIMENSIONS, METRICS
from idfer.auditing.paired_sums import added, unit_sums, units
from idfer.auditing.paired_test import sides
from idfer.auditing.pools import MOST_UNITS, POOLS
from idfer.auditing.sample import Attribute, Sample
from idfer.evaluation import metrics

SETTINGS = AuditSettings(permutations=200, min_people=10)


def two_models(seed: int, people: int = 60, tilt: float = 0.0) -> tuple[Sample, Sample]:
    """Predictions that share most of their errors; the second is `tilt` higher in valence for one group."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), rng.integers(3, 12, people))
    group = rng.permutation(people) % 2
    label = np.clip(rng.normal(0, 0.4, (len(person), 2)), -1, 1)
    shared = label * 0.8 + rng.normal(0, 0.2, (people, 2))[person] + rng.standard_t(4, label.shape) * 0.1
    attributes = (Attribute("group", ("a", "b"), one_hot(group[person], 2), False, "given"),)
    key = np.arange(len(person)).astype(str).astype(object)
    found = []
    for more in (0.0, tilt):
        said = shared + rng.normal(0, 0.05, (people, 2))[person]
        said[:, 0] += more * group[person]
        found.append(Sample(key, label, said, person.astype(str).astype(object), attributes))
    return found[0], found[1]


def test_models_that_differ_by_chance_seldom_differ() -> None:
    alarms, held = 0, []
    for seed in range(60):
        gaps, _ = differences(*two_models(seed), SETTINGS)
        alarms += bool((gaps["p_adjusted"] <= 0.05).any())
        bias = gaps[gaps["metric"] == "bias"]
        held += ((bias["low"] <= 0) & (bias["high"] >= 0)).tolist()
    assert alarms <= 9  # 5 % of 60 are 3; 10 or more would be chance once in a thousand
    assert 0.88 < np.mean(held) < 0.995


def test_pairing_sees_a_difference_far_below_the_spread_of_each_gap() -> None:
    gaps, overall = differences(*two_models(3, tilt=0.1), SETTINGS)
    row = gaps.set_index(["dimension", "metric"]).loc["valence", "bias"]
    assert row["p_adjusted"] < 0.02
    assert row["low"] < -0.1 < row["high"] < 0  # gap of a minus b
    assert set(overall["dimension"]) == set(DIMENSIONS)


def test_gaps_and_values_are_those_of_the_metrics() -> None:
    first, second = two_models(0, tilt=0.2)
    gaps, overall = differences(first, second, SETTINGS)
    assert first.label is not None and first.predicted is not None and second.predicted is not None
    row = overall.set_index(["dimension", "metric"]).loc["arousal", "ccc"]
    np.testing.assert_allclose(row["value_a"], metrics.ccc(first.label, first.predicted)[1])
    np.testing.assert_allclose(row["value_b"], metrics.ccc(second.label, second.predicted)[1])
    top = first.attributes[0].top
    parts = [metrics.rmse(first.label[top == k], second.predicted[top == k])[0] for k in (0, 1)]
    gap = gaps.set_index(["dimension", "metric"]).loc["valence", "rmse"]
    np.testing.assert_allclose(gap["gap_b"], parts[0] - parts[1])
    assert set(gaps["metric"]) == set(METRICS)


def test_a_draw_is_what_the_models_swapped_for_some_people_would_be_tested_by() -> None:
    """Uneven rows: the error is that of the swapped difference, not the observed one's with other signs."""
    rng = np.random.default_rng(0)
    rows = np.array([30.0, 9, 8, 5, 3, 2, 1, 1, 1, 1])
    summed = rng.normal(0.3, 1, (len(rows), 1)) * rows[:, None]  # difference of the models' errors, by person
    total = rows.sum()

    def left_out(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return part.sum(axis=0) / total, (part.sum(axis=0) - part) / (total - rows)[:, None]

    found = sides([summed / total], [rows])
    for signs in (np.ones(len(rows)), rng.choice([-1.0, 1.0], len(rows))):
        moved, spread = found.drawn(signs[None])
        swapped, without = left_out(summed * signs[:, None])
        np.testing.assert_allclose(moved[0], swapped)
        np.testing.assert_allclose(spread[0], ((swapped - without) ** 2).sum(axis=0))


def test_models_swapped_for_some_people_are_told_apart_by_the_same_draws() -> None:
    """What makes the test exact of models that differ by chance: p does not know which was which for whom."""
    first, second = two_models(4)
    assert first.predicted is not None and second.predicted is not None
    turned = np.random.default_rng(0).random(60) < 0.5
    swap = turned[first.people][:, None]
    swapped = (
        replace(first, predicted=np.where(swap, second.predicted, first.predicted)),
        replace(second, predicted=np.where(swap, first.predicted, second.predicted)),
    )
    everybody = np.ones((len(first.key), 1))

    def adds(*models: Sample) -> np.ndarray:
        return added([unit_sums(model, everybody, first.people, 60) for model in models], METRICS, 0)

    one, other = adds(first, second), adds(*swapped)
    np.testing.assert_allclose(other, np.where(turned, -1, 1)[:, None] * one, atol=1e-12)
    assert np.abs(one).max(axis=0).min() > 1e-3
    found = differences(first, second, SETTINGS)[1]["difference"].to_numpy()
    np.testing.assert_allclose(one.sum(axis=0)[6:9], found[6:9], atol=1e-12)  # of bias, to rounding
    np.testing.assert_allclose(one.sum(axis=0), found, rtol=0.02)  # of the others, to first order


def test_chance_is_dealt_about_no_difference_not_about_the_one_found() -> None:
    """Both groups' scores are about the value that they share if there is no difference between them."""
    rng = np.random.default_rng(1)
    there = np.repeat(np.eye(2, dtype=bool), 20, axis=1)  # twenty people in each group
    each = rng.normal([0] * 20 + [2] * 20)[:, None] * [1.0]
    values = [each[of].mean(axis=0) for of in there]
    found = sides([of[:, None] * each / 20 for of in there], there * 4.0)
    precise = [1 / each[of].var() for of in there]
    shared = np.average(np.array(values)[:, 0], weights=precise)
    for scores, of in zip(found.scores, there, strict=True):
        np.testing.assert_allclose(scores, (each - shared) / 20 * of[:, None], atol=1e-12)
    np.testing.assert_allclose(found.drawn(np.ones((1, 40)))[0][0], values[0] - values[1])


def test_as_many_people_are_pooled_as_in_an_audit() -> None:
    few, many = np.arange(MOST_UNITS), np.arange(MOST_UNITS + 1)
    assert units(few, 0) is few
    assert len(np.unique(units(many, 0))) <= POOLS
