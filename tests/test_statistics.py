"""Statistics over seeds against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from idfer.errors import IdferError
from idfer.evaluation.multiplicity import holm
from idfer.experiments import statistics
from idfer.experiments.measures import gap_closed, values
from idfer.experiments.scores import Row, Score

A = np.array([0.61, 0.66, 0.58, 0.70, 0.64])
B = np.array([0.50, 0.57, 0.52, 0.55, 0.56])


def test_mean_interval_is_students_t() -> None:
    found = statistics.mean_interval(A)
    low, high = stats.t.interval(0.95, 4, loc=A.mean(), scale=stats.sem(A))
    assert (found.value, found.low, found.high) == pytest.approx((A.mean(), low, high))
    alone = statistics.mean_interval([0.5])
    assert alone.value == 0.5
    assert np.isnan([alone.low, alone.high]).all()


def test_paired_is_scipys_paired_t_test() -> None:
    found, wanted = statistics.paired(A, B), stats.ttest_rel(A, B)
    interval = wanted.confidence_interval(0.95)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert (found.higher, found.seeds) == (5, 5)
    assert found.relative.value == pytest.approx((A - B).mean() / B.mean())


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_equal_differences_are_certain_or_nothing(shift: float) -> None:
    found = statistics.paired([0.5 + shift, 0.75 + shift], [0.5, 0.75])
    assert found.p == pytest.approx(1.0 if shift == 0 else 0.0, abs=1e-9)


def test_a_ratios_interval_ends_where_a_paired_t_test_is_at_five_percent() -> None:
    found = statistics.ratio(A, B)
    assert found.low < found.value == A.mean() / B.mean() < found.high
    for theta in (found.low, found.high):
        assert stats.ttest_rel(A, theta * B).pvalue == pytest.approx(0.05)


def test_a_ratio_by_a_certain_denominator_is_the_t_interval_scaled() -> None:
    found, wanted = statistics.ratio(A, np.full(5, 2.0)), statistics.mean_interval(A)
    assert (found.low, found.high) == pytest.approx((wanted.low / 2, wanted.high / 2))


def test_a_ratio_by_a_mean_that_may_be_zero_has_no_interval() -> None:
    found = statistics.ratio(A, [0.1, -0.2, 0.15, -0.1, 0.1])
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(statistics.ratio(A, np.zeros(5)).value)


def test_ratio_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        common = rng.normal(0, 0.05, 5)
        found = statistics.ratio(0.2 + common + rng.normal(0, 0.05, 5), 0.4 + common)
        inside += found.low <= 0.5 <= found.high
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)


def test_best_takes_the_direction_and_leaves_out_what_was_not_measured() -> None:
    scores = {"a": [0.5, 0.7], "b": [0.65, 0.65], "c": [float("nan"), 0.9]}
    assert statistics.best(scores, higher_is_better=True) == "b"
    assert statistics.best(scores, higher_is_better=False) == "a"


def test_holm_by_hand_and_only_over_tests_that_could_be_made() -> None:
    # of three: 3 x .01, 2 x .02 (kept at least as large as the one before), 1 x .5
    assert holm([0.02, 0.5, 0.01]) == pytest.approx([0.04, 0.5, 0.03])
    assert holm([0.015, 0.01]) == pytest.approx([0.02, 0.02])
    assert holm([0.4, 0.6, 0.9]) == pytest.approx([1.0, 1.0, 1.0])
    found = holm([float("nan"), 0.01, 0.04])
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.02, 0.04])
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_false_finding() -> None:
    rng = np.random.default_rng(0)
    false = sum(min(holm(list(rng.random(12)))) < 0.05 for _ in range(2000))
    assert false / 2000 == pytest.approx(0.05, abs=0.015)


def test_seeds_must_match() -> None:
    with pytest.raises(IdferError, match="3 against 2 seeds"):
        statistics.paired([1, 2, 3], [1, 2])
    with pytest.raises(IdferError, match="one number per seed"):
        statistics.mean_interval([])


def rows(**by_name: list[float]) -> list[Row]:
    return [
        Row(name, seed, [Score("ccc", score, "reversed", "mean")])
        for name, scores in by_name.items()
        for seed, score in reversed(list(enumerate(scores, start=1)))  # order must not matter
    ]


def test_gap_closed_by_hand() -> None:
    table = rows(erm=[0.2, 0.4], oracle=[0.7, 0.9], ours=[0.4, 0.7])
    assert gap_closed(table, "ours").value == pytest.approx((0.55 - 0.3) / (0.8 - 0.3))
    assert gap_closed(table, "erm").value == 0
    assert gap_closed(table, "oracle").value == 1
    assert np.isnan(gap_closed(rows(erm=[0.2], ours=[0.4]), "ours").value)


def test_seeds_that_show_no_gap_have_no_share_of_it() -> None:
    assert np.isfinite(statistics.share_of_gap([0.4, 0.5, 0.6], [0.3, 0.4, 0.5], [0.5, 0.61, 0.7]).low)
    assert np.isnan(statistics.share_of_gap([0.4, 0.5, 0.6], [0.3, 0.4, 0.5], [0.32, 0.39, 0.51]).value)
    assert np.isnan(statistics.share_of_gap([0.4, 0.5, 0.6], [0.5, 0.61, 0.7], [0.3, 0.4, 0.5]).value)
    one_seed = statistics.share_of_gap([0.4], [0.3], [0.5])
    assert one_seed.value == pytest.approx(0.5)
    assert np.isnan(one_seed.low)


def test_values_are_by_seed_and_leaks_below_chance_are_chance() -> None:
    def row(seed: int, leak: float | None) -> Row:
        return Row("a", seed, [Score("leak", leak, of="age", feature="sampled", probe="nonlinear")])

    table = [row(2, -0.3), row(1, 0.2), row(3, None)]
    np.testing.assert_array_equal(values(table, "a", "leak_age"), [0.2, 0.0, np.nan])


def test_a_row_is_read_again_from_its_json() -> None:
    scores = [Score("ccc", 0.5, "val", "mean"), Score("rate", None)]
    scores += [
        Score("leak", 0.1, of="age", feature="mean", probe="mlp"),
        Score("effect", -0.2, "valence", "age"),
    ]
    row = Row("a", 3, tuple(scores))
    assert row.to_dict()["scores"]["leak//age/mean/mlp"] == 0.1
    assert Row.of("a", 3, row.to_dict()) == row
    assert Row.of("a", 3, {"scores": [score.to_dict() for score in scores]}) == row


@pytest.mark.parametrize("overlap", [0.25, 0.6])
def test_folds_widen_an_interval_by_what_they_share(overlap: float) -> None:
    plain, corrected = statistics.mean_interval(A - B), statistics.mean_interval(A - B, overlap)
    assert corrected.value == plain.value
    wider = (corrected.high - corrected.low) / (plain.high - plain.low)
    assert wider == pytest.approx(np.sqrt((1 / 5 + overlap) / (1 / 5)))
    found = statistics.paired(A, B, overlap)
    difference = A - B
    t = difference.mean() / (difference.std(ddof=1) * np.sqrt(1 / 5 + overlap))  # Nadeau & Bengio 2003
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))
    for theta in (found.relative.low, found.relative.high):
        assert statistics.paired(A, (1 + theta) * B, overlap).p == pytest.approx(0.05)


def test_equal_learners_are_told_apart_by_repeated_folds_as_rarely_as_said() -> None:
    """Five folds of 40 people, dealt four times; a line through one of two features that tell nothing."""
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(300):
        x, y = rng.normal(size=(2, 40)), rng.normal(size=40)
        differences = []
        for fold in (rng.permutation(40) % 5 for _ in range(4)):
            for test in (fold == k for k in range(5)):
                lines = [np.polyfit(feature[~test], y[~test], 1) for feature in x]
                a, b = (
                    np.mean((y[test] - np.polyval(line, f[test])) ** 2)
                    for line, f in zip(lines, x, strict=True)
                )
                differences.append(a - b)
        zeros = np.zeros(20)
        plain.append(statistics.paired(differences, zeros).p < 0.05)
        corrected.append(statistics.paired(differences, zeros, overlap=8 / 32).p < 0.05)
    assert np.mean(plain) > 0.12  # far more often than one in twenty
    assert np.mean(corrected) < 0.05
