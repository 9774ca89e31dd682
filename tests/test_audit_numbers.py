"""The audit's numbers beside fairlearn's, scikit-learn's and our own; intervals and tests by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import mean_squared_error

from idfer.auditing import moments
from idfer.auditing.accumulate import Accumulator
from idfer.auditing.engine import run
from idfer.auditing.estimate import Estimated, gap
from idfer.auditing.gaps import group_rows
from idfer.auditing.grouping import group
from idfer.auditing.multiple import MaxT
from idfer.auditing.permutation import GroupTests, dealings
from idfer.auditing.pools import Pools
from idfer.auditing.sample import Sample
from idfer.evaluation import metrics

from audited import faces, quick

Array = NDArray[np.float64]


def test_groups_agree_with_fairlearn_and_scikit_learn() -> None:
    sample = faces(people=90, bias=0.1)
    audit = run(sample, quick(min_people=2))
    gender = np.array(sample.attributes[0].levels)[sample.attributes[0].top]
    age = np.array(sample.attributes[1].levels)[sample.attributes[1].top]
    for d, dimension in enumerate(("valence", "arousal")):
        label, predicted = sample.label[:, d], sample.predicted[:, d]
        frame = MetricFrame(
            metrics={
                "rmse": lambda t, p: mean_squared_error(t, p) ** 0.5,
                "bias": lambda t, p: float(np.mean(p - t)),
                "ccc": lambda t, p: float(metrics.ccc(t, p)),
                "slope": lambda t, p: float(stats.linregress(p, t).slope),
            },
            y_true=label, y_pred=predicted, sensitive_features={"gender": gender, "age": age},
        )  # fmt: skip
        for (of_gender, of_age), row in frame.by_group.iterrows():
            for metric, value in row.items():
                ours = audit.groups.query(
                    "attribute == 'gender x age' and level == @name and dimension == @dimension "
                    "and metric == @metric",
                    local_dict={"name": f"{of_gender}, {of_age}", "dimension": dimension, "metric": metric},
                )
                assert ours["value"].item() == pytest.approx(value, abs=1e-9)
        one = MetricFrame(
            metrics=mean_squared_error, y_true=label, y_pred=predicted, sensitive_features=gender
        )
        rows = audit.gaps.query("attribute == 'gender' and metric == 'rmse' and dimension == @dimension")
        roots = np.sqrt(one.by_group)
        assert abs(rows["gap"].item()) == pytest.approx(float(np.ptp(roots)), abs=1e-9)


def test_everybody_agrees_with_evaluate() -> None:
    sample = faces(people=40)
    table = run(sample, quick()).accuracy
    for metric, of in (("ccc", metrics.ccc), ("rmse", metrics.rmse)):
        both = of(sample.label, sample.predicted)
        value = table[table["metric"] == metric]["value"].to_numpy()
        np.testing.assert_allclose(value, [*both, both.mean()], atol=1e-12)


def test_gradients_are_derivatives() -> None:
    rng = np.random.default_rng(0)
    rows = moments.row_sums(rng.uniform(-1, 1, (60, 2)), rng.uniform(-1, 1, (60, 2)), np.array([0.1, -0.2]))
    total = rows.sum(axis=0)
    for names in (moments.METRICS, moments.UNLABELLED):
        gradient = moments.scaled_gradient(total, names)[1]
        step = 1e-5 * np.eye(moments.COLUMNS)
        seen = [(moments.scaled(total + h, names) - moments.scaled(total - h, names)) / 2e-5 for h in step]
        np.testing.assert_allclose(gradient, np.stack(seen, axis=-1), atol=1e-8)


def test_the_interval_of_a_mean_is_students() -> None:
    """With one row each and equal spread, bias is a mean: error and degrees of freedom are known."""
    rng = np.random.default_rng(1)
    error = rng.normal(size=(400, 2))
    rows = moments.row_sums(np.zeros((400, 2)), error, np.zeros(2))
    found = Estimated(rows, moments.METRICS, 0.95)
    low, high = stats.t.interval(0.95, 399, error[:, 0].mean(), stats.sem(error[:, 0]))
    assert found.low[2, 0] == pytest.approx(low, abs=2e-3)
    assert found.high[2, 0] == pytest.approx(high, abs=2e-3)
    outlier = error.copy()
    outlier[0] = 40  # one person carries the sum
    found = Estimated(moments.row_sums(np.zeros((400, 2)), outlier, np.zeros(2)), moments.METRICS, 0.95)
    assert found.jackknifed.df[2, 0] < 5


def test_a_gap_of_shared_people_knows_that_they_are_shared() -> None:
    rng = np.random.default_rng(2)
    own = np.repeat(rng.normal(0, 1, (100, 2)), 2, axis=0)  # a person is alike at both levels
    rows = moments.row_sums(np.zeros((200, 2)), own + 0.01 * rng.normal(size=(200, 2)), np.zeros(2))
    first, second = (Estimated(rows[i::2], moments.METRICS, 0.95) for i in range(2))
    _, low, high = gap(first, second)
    assert (high - low)[2, 0] < 0.1 * (first.high - first.low)[2, 0]


def test_adjusted_p_values_are_step_down_max_t() -> None:
    """By loops, as Westfall & Young write it."""
    rng = np.random.default_rng(3)
    observed, drawn = np.array([0.5, 3.0, 2.0, 2.5]), np.abs(rng.normal(size=(99, 4)))
    collected = MaxT(observed, 99)
    collected.add(slice(0, 50), 0, drawn[:50, :2])
    collected.add(slice(50, 99), 0, drawn[50:, :2])
    collected.add(slice(0, 99), 2, drawn[:, 2:])
    single, adjusted = collected.p_values()
    order = np.argsort(-observed)
    expected, before = np.empty(4), 0.0
    for i, test in enumerate(order):
        p = (1 + (drawn[:, order[i:]].max(axis=1) >= observed[test]).sum()) / 100
        before = expected[test] = max(p, before)
    np.testing.assert_allclose(adjusted, expected)
    np.testing.assert_allclose(single, (1 + (drawn >= observed).sum(axis=0)) / 100)
    critical = collected.critical(0.05)
    assert (drawn.max(axis=1) > critical).sum() <= 4  # with the observed one, 5 of 100
    assert (drawn.max(axis=1) >= critical).sum() >= 4


@pytest.mark.parametrize("soft", [None, 1.2])
def test_dealing_people_is_auditing_dealt_people(soft: float | None) -> None:
    """The matrix products give what the tests of a sample with permuted attributes would give."""
    sample = faces(people=60, rows=4, soft=soft, noise=1.5)
    rng = np.random.default_rng(0)
    orders = np.stack([np.arange(60), *(rng.permutation(60) for _ in range(3))]).astype(np.int32)
    kept = _tests(sample)
    drawn = [
        np.concatenate([part for _, part in test.draws(orders, np.ones((4, 60), np.int8))]) for test in kept
    ]
    for r, order in enumerate(orders):
        rows = np.empty(len(sample.key), int)  # whose attributes a row gets; all people have 4 rows
        for unit, donor in enumerate(order):
            rows[sample.people == unit] = np.flatnonzero(sample.people == donor)
        attributes = tuple(replace(a, posterior=_averaged(a.posterior)[rows]) for a in sample.attributes)
        for test, part in zip(_tests(replace(sample, attributes=attributes)), drawn, strict=True):
            np.testing.assert_allclose(test.observed, part[r], atol=1e-8)


def _tests(sample: Sample) -> list[GroupTests]:
    added = Accumulator(sample)
    added.add(sample)
    groups = [
        g for g in group(added.finish(), 5) if len(g.structure.attributes) == 1 or g.structure.soft is False
    ]
    assert all(grouped.mode == "permuted" for grouped in groups)
    estimates = group_rows(groups, moments.METRICS, 0.95, 5)[1]
    return [
        GroupTests(g, moments.METRICS, [(estimates[g.structure.name, a],) * 2 for a, _ in g.tests])
        for g in groups
    ]


def _averaged(posterior: Array) -> Array:
    """Of people with 4 rows each, in order."""
    return np.repeat(posterior.reshape(-1, 4, posterior.shape[1]).mean(axis=1), 4, axis=0)


def test_signs_draw_what_the_statistic_varies_by() -> None:
    """For a mean of many people the draws are standard normal, and so is what they are compared with."""
    sample = faces(people=400, rows=3, varying=True)
    added = Accumulator(sample)
    added.add(sample)
    grouped = next(g for g in group(added.finish(), 5) if g.structure.name == "glasses")
    assert grouped.mode == "signed"
    estimates = group_rows([grouped], moments.METRICS, 0.95, 5)[1]
    tests = GroupTests(grouped, moments.METRICS, [(estimates["glasses", 0], estimates["glasses", 1])])
    signs = np.random.default_rng(0).choice([-1, 1], size=(2000, 400)).astype(np.int8)
    orders = np.zeros((2000, 400), np.int32)
    drawn = np.concatenate([part for _, part in tests.draws(orders, signs)])[:, 0]
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), 1, atol=0.1)


def test_blocks_hold_people_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idfer.auditing.pools.MOST_UNITS", 100)
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, (900, 2)).astype(np.int32)
    held = Pools(0)
    carried: Array = np.zeros((0, 900))  # who is in each unit, carried along as an audit carries its sums
    for start in range(0, 900, 70):
        part = kinds[start : start + 70]
        moved = held.admit(part)
        carried_on = np.zeros((len(held.size), 900))
        np.add.at(carried_on, moved, carried)
        new = np.arange(start, start + len(part))
        carried_on[held.of_person[new], new] = 1
        carried = carried_on
    assert len(held.size) <= 100 and held.block == 16 and not held.mixed
    np.testing.assert_array_equal(carried.sum(axis=0), 1)
    np.testing.assert_array_equal(carried.sum(axis=1), held.size)
    for row in carried:
        assert len(np.unique(kinds[row > 0], axis=0)) == 1
    full = (held.size == held.block).sum()
    assert len(held.size) - full <= 9  # at most one block per kind is open


def test_blocks_are_dealt_among_blocks_of_their_size() -> None:
    sizes = np.array([4, 4, 1, 4, 2, 2, 4])
    orders = dealings(sizes, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(7), (50, 1)))
    np.testing.assert_array_equal(sizes[orders], np.tile(sizes, (50, 1)))
    assert len(np.unique(orders, axis=0)) > 20
