"""RMSE, SAGR, PCC, CCC and their intervals: closed forms, explicit loops, invariances, coverage."""

from __future__ import annotations

import logging
import warnings

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra.numpy import arrays

from idfer.errors import IdferError, UsageError
from idfer.evaluation import metrics
from idfer.evaluation.accuracy import accuracy, compare
from idfer.evaluation.bootstrap import bootstrap, differences, estimates, interval

finite = st.floats(-1, 1, allow_nan=False, width=32)
pairs = st.integers(2, 30).flatmap(
    lambda n: st.tuples(arrays(np.float64, n, elements=finite), arrays(np.float64, n, elements=finite))
)


def affected(n=400, people=40, seed=0):
    """Labels and predictions (n, 2) with errors shared within people, and the people."""
    rng = np.random.default_rng(seed)
    subjects = np.arange(n) % people
    target = rng.uniform(-1, 1, (n, 2))
    shared = rng.normal(size=(people, 2))[subjects]
    return target, 0.6 * target + 0.1 + 0.2 * shared + 0.1 * rng.normal(size=(n, 2)), subjects


def test_metrics_of_four_rows_by_hand():
    t, p = np.array([-0.5, 0.0, 0.5, 1.0]), np.array([-0.5, 0.25, 0.0, 0.75])
    # means 1/4 and 1/8; deviations t -3/4 -1/4 1/4 3/4; p -5/8 1/8 -1/8 5/8
    cov, var_t, var_p = (15 / 16 - 1 / 16) / 4, 5 / 16, (25 / 32 + 1 / 32) / 4
    assert metrics.rmse(t, p) == pytest.approx(np.sqrt((1 / 16 + 1 / 4 + 1 / 16) / 4))
    assert metrics.sagr(t, p) == 0.5  # the label 0 and the prediction 0 each meet another sign
    assert metrics.pcc(t, p) == pytest.approx(cov / np.sqrt(var_t * var_p))
    assert metrics.ccc(t, p) == pytest.approx(2 * cov / (var_t + var_p + 1 / 64))


def test_two_dimensions_are_two_columns():
    t, p, _ = affected()
    for name, both in metrics.measure(t, p).items():
        assert both.shape == (2,)
        alone = metrics.measure(t[:, 1], p[:, 1])[name]
        assert alone.shape == () and alone == pytest.approx(both[1], abs=1e-15)


@given(pairs)
def test_ccc_never_exceeds_pcc_in_size_and_both_stay_in_range(pair):
    t, p = pair
    assume(np.ptp(t) > 1e-3 and np.ptp(p) > 1e-3)
    ccc, pcc = metrics.ccc(t, p), metrics.pcc(t, p)
    assert abs(ccc) <= abs(pcc) + 1e-9 and abs(pcc) <= 1


@given(pairs, st.floats(0.1, 10), st.floats(-5, 5), st.randoms())
def test_invariances(pair, scale, shift, shuffler):
    t, p = pair
    assume(np.ptp(t) > 1e-2 and np.ptp(p) > 1e-2)
    order = list(range(len(t)))
    shuffler.shuffle(order)
    both = metrics.ccc(scale * t + shift, scale * p + shift)
    assert both == pytest.approx(metrics.ccc(t, p), abs=1e-6)  # one map of both sides
    assert metrics.pcc(t, scale * p + shift) == pytest.approx(metrics.pcc(t, p), abs=1e-6)
    assert metrics.ccc(t[order], p[order]) == pytest.approx(metrics.ccc(t, p), abs=1e-12)
    assert metrics.ccc(p, t) == pytest.approx(metrics.ccc(t, p), abs=1e-12)
    assert metrics.sagr(scale * t, p) == metrics.sagr(t, p)


def test_a_biased_prediction_keeps_pcc_and_loses_ccc():
    t, _, _ = affected()
    assert metrics.pcc(t, t + 0.5) == pytest.approx([1, 1])
    assert (metrics.ccc(t, t + 0.5) < 0.8).all()
    centred = t - t.mean(axis=0)
    assert metrics.ccc(centred, -centred) == pytest.approx([-1, -1])


@pytest.mark.parametrize("constant", [0.0, 0.1, -1.0])
def test_a_constant_prediction_has_ccc_zero_and_an_undefined_pcc_that_says_so(constant):
    t = np.linspace(-1, 1, 7)
    p = np.full(7, constant)
    assert metrics.ccc(t, p) == 0 and metrics.ccc(p, p) == 0
    with pytest.warns(metrics.UndefinedMetric, match="PCC is undefined"):
        assert np.isnan(metrics.pcc(t, p))
    assert np.isfinite(metrics.rmse(t, p))


def test_sign_of_zero():
    assert metrics.sagr([0.0, 0.0, 0.5, -0.5], [0.0, 0.1, 0.5, 0.5]) == 0.5


def test_lineage_preset_reads_as_the_public_code_does():
    t, p, _ = affected(n=130)
    t[0] = p[0] = 0
    ours, theirs = metrics.measure(t, p), metrics.measure(t, p, preset="lineage")
    per_batch = [np.sqrt(np.mean((p[i : i + 64] - t[i : i + 64]) ** 2, axis=0)) for i in (0, 64, 128)]
    assert theirs["rmse"] == pytest.approx(np.mean(per_batch, axis=0))
    for d in range(2):
        cov = np.cov(t[:, d], p[:, d])[0, 1]
        assert theirs["pcc"][d] == pytest.approx(cov / (np.std(t[:, d]) * np.std(p[:, d])))
    assert theirs["sagr"] == pytest.approx(ours["sagr"] - 1 / 130)
    assert metrics.lineage(t, p, zero_agrees=True)["sagr"] == pytest.approx(ours["sagr"])
    with pytest.raises(UsageError, match="linage"):
        metrics.measure(t, p, preset="linage")


@pytest.mark.parametrize(
    ("t", "p", "message"),
    [
        ([], [], "no rows"),
        ([0.1, 0.2], [0.1], r"shape \(2,\).*\(1,\)"),
        ([0.1, np.nan], [0.1, 0.2], "row 1: the label"),
        ([0.1, 0.2], [np.inf, 0.2], "row 0: the prediction"),
    ],
)
def test_bad_input_is_named(t, p, message):
    with pytest.raises(IdferError, match=message):
        metrics.ccc(t, p)


def test_sums_give_the_metrics_of_any_subset():
    t, p, subjects = affected()
    for keep in (slice(None), subjects < 3, subjects == 7):
        from_sums = metrics.from_sums(metrics.sums(t, p)[keep].sum(axis=0))
        for name, value in metrics.measure(t[keep], p[keep]).items():
            assert from_sums[name] == pytest.approx(value, abs=1e-12)


def test_bootstrap_agrees_with_an_explicit_loop():
    t, p, subjects = affected(n=200, people=20)
    names = np.unique(subjects)
    rng = np.random.default_rng(5)
    loop = []
    for _ in range(1500):
        rows = np.concatenate([np.flatnonzero(subjects == s) for s in rng.choice(names, len(names))])
        loop.append({k: v[0] for k, v in metrics.measure(t[rows], p[rows]).items()})
    fast = bootstrap(t, p, subjects, replicates=1500, seed=1)
    for name in metrics.METRICS:
        slow = np.array([one[name] for one in loop])
        spread = slow.std()
        assert fast[name][:, 0].mean() == pytest.approx(slow.mean(), abs=0.15 * spread)
        assert fast[name][:, 0].std() == pytest.approx(spread, rel=0.12)
        assert interval(fast[name])[0][0] == pytest.approx(np.quantile(slow, 0.025), abs=0.4 * spread)


def test_intervals_cover_the_truth_and_rowwise_ones_would_not():
    """Errors are shared within people: only resampling people gives 95 %."""
    people, each, worlds = 60, 8, 150
    rng = np.random.default_rng(0)
    rmse = np.sqrt(0.3**2 + 0.1**2)
    hits = {"people": 0, "rows": 0}
    for world in range(worlds):
        subjects = np.repeat(np.arange(people), each)
        t = rng.uniform(-1, 1, people * each)
        p = t + 0.3 * rng.normal(size=people)[subjects] + 0.1 * rng.normal(size=people * each)
        for kind, groups in (("people", subjects), ("rows", np.arange(len(t)))):
            one = estimates(t, p, groups, replicates=300, seed=world)["rmse"][0]
            hits[kind] += one.low <= rmse <= one.high
    assert 0.86 * worlds <= hits["people"] <= worlds
    assert hits["rows"] < 0.75 * worlds


def test_paired_difference_is_sharper_than_two_intervals():
    t, p, subjects = affected()
    q = p - 0.05 * np.sign(p)
    found = differences(t, p, q, subjects)["ccc"][2]
    one, two = estimates(t, p, subjects)["ccc"][2], estimates(t, q, subjects)["ccc"][2]
    assert found.value == pytest.approx(two.value - one.value)
    assert found.high - found.low < 0.5 * (one.high - one.low)
    assert found.low < found.value < found.high < 0
    same = differences(t, p, p, subjects)["rmse"][2]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_bootstrap_is_seeded_and_one_person_has_no_interval():
    t, p, subjects = affected()
    assert estimates(t, p, subjects, seed=3) == estimates(t, p, subjects, seed=3)
    assert estimates(t, p, subjects, seed=3) != estimates(t, p, subjects, seed=4)
    alone = estimates(t, p, np.zeros(len(t)))["ccc"][0]
    assert np.isfinite(alone.value) and np.isnan([alone.low, alone.high]).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(0, 100))
def test_intervals_hold_the_value_of_ordinary_data(people, seed):
    t, p, subjects = affected(n=people * 20, people=people, seed=seed)
    for name, found in estimates(t, p, subjects, replicates=200).items():
        for one in found:
            assert one.low - 0.2 <= one.value <= one.high + 0.2, name


def predictions(constant=False):
    t, p, subjects = affected()
    table = pd.DataFrame({"row": range(len(t)), "path": [f"{i}.png" for i in range(len(t))]})
    table["split"] = np.where(subjects < 20, "near", "far")
    table["subject"] = subjects.astype(str)
    table[["valence", "arousal"]] = t
    table[["predicted_valence", "predicted_arousal"]] = 0.25 if constant else p
    return table


def test_accuracy_table_has_every_split_dimension_and_metric():
    table = predictions()
    table.loc[table.index[:5], ["predicted_valence", "predicted_arousal"]] = np.nan
    found = accuracy(table, replicates=50)
    assert len(found) == 2 * 3 * 4
    near = table[table["split"] == "near"].dropna()
    cell = found.set_index(["split", "dimension", "metric"]).loc[("near", "valence", "ccc")]
    assert cell["value"] == pytest.approx(metrics.ccc(near["valence"], near["predicted_valence"]))
    assert (cell["rows"], cell["failed"], cell["subjects"]) == (195, 5, 20)
    mean = found[(found["split"] == "far") & (found["metric"] == "rmse")].set_index("dimension")["value"]
    assert mean["mean"] == pytest.approx((mean["valence"] + mean["arousal"]) / 2)


def test_accuracy_of_a_constant_model_is_nan_aloud(caplog):
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        found = accuracy(predictions(constant=True), replicates=50).set_index(["metric", "dimension"])
    assert found.loc[("pcc", "mean"), "value"].isna().all()
    assert (found.loc[("ccc", "mean"), "value"] == 0).all()
    assert "pcc of mean is undefined" in caplog.text


def test_compare_counts_only_faces_both_models_predicted():
    first, second = predictions(), predictions()
    second["predicted_valence"] *= 0.5
    second.loc[second.index[:7], "predicted_arousal"] = np.nan
    found = compare(first, second, replicates=200).set_index(["split", "dimension", "metric"])
    assert found.loc[("near", "valence", "ccc"), "high"] < 0
    assert found.loc[("near", "arousal", "ccc"), "difference"] == 0
    assert found.loc[("near", "valence", "ccc"), "rows"] == 193
