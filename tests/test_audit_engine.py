"""What an audit finds, withholds and says: planted gaps, people as units, groups, leaks, checks, verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from idfer.auditing import pools
from idfer.auditing.engine import Audit, AuditSettings, run, stream
from idfer.auditing.reserve import Reserve, rows_of
from idfer.auditing.sample import Attribute, Sample
from idfer.errors import IdferError, UsageError

from audited import faces, quick


def gap_of(audit: Audit, attribute: str, metric: str, dimension: str = "valence") -> pd.Series:
    """The first test of an attribute."""
    gaps = audit.gaps
    chosen = (gaps["attribute"] == attribute) & (gaps["metric"] == metric) & (gaps["dimension"] == dimension)
    return gaps[chosen].iloc[0]


def codes(audit: Audit) -> set[str]:
    return {check.code for check in audit.checks}


def test_a_planted_gap_is_found_and_named() -> None:
    audit = run(faces(people=160, bias=0.15), quick(), name="erm")
    found = gap_of(audit, "gender", "bias")
    assert found["significant"] and found["low"] < 0.15 < found["high"]
    assert not gap_of(audit, "gender", "bias", "arousal")["significant"]
    assert "gender" in audit.verdict[0] and "bias of valence" in audit.verdict[0]
    assert not audit.gaps[audit.gaps["attribute"] == "age"]["significant"].any()


def test_a_model_that_treats_everybody_alike_is_said_to() -> None:
    audit = run(faces(), quick())
    assert not audit.gaps["significant"].any()
    assert "stands out from chance" in audit.verdict[0]


def test_rows_of_a_person_are_no_evidence_of_their_own() -> None:
    """Every row six times: the same people, so the same intervals and p-values."""
    once = faces(people=80, noise=1.3)
    often = rows_of(once, np.repeat(np.arange(len(once.key)), 6))
    often = replace(often, key=np.arange(len(often.key)).astype(object))
    columns = ["gap", "low", "high", "p", "p_adjusted"]
    first, second = (run(sample, quick()).gaps[columns] for sample in (once, often))
    pd.testing.assert_frame_equal(first, second, rtol=1e-6, atol=1e-9)


def test_small_groups_are_withheld_or_merged() -> None:
    audit = run(faces(people=70), quick(min_people=20))  # 35 young, 21 middle, 14 old
    ages = audit.groups[audit.groups["attribute"] == "age"]
    assert set(ages["level"]) == {"young", "middle or old"}
    assert (ages[ages["level"] == "middle or old"]["note"] == "merged from middle; old").all()
    crossed = audit.groups[audit.groups["attribute"] == "gender x age"]
    hidden = crossed[crossed["note"].str.startswith("withheld")]
    assert set(hidden["level"]) == {
        "women, young",
        "men, young",
        "women, middle or old",
        "men, middle or old",
    }
    assert hidden[["value", "low", "high", "rows", "people"]].isna().all().all()
    assert not audit.gaps["level_a"].isin(hidden["level"]).any()
    assert not (audit.circumplex["people"] < 20).any()
    assert "IDF302" in codes(audit)


def test_an_unordered_small_level_is_withheld_from_every_table() -> None:
    sample = faces(people=70, features=True)
    age = replace(sample.attributes[1], ordered=False)
    audit = run(
        replace(sample, attributes=(sample.attributes[0], age)),
        quick(probes=("linear",), information=True, min_people=20),
    )
    assert audit.groups.query("level == 'old'")["value"].isna().all()
    for table in (audit.gaps, audit.power):
        assert not table[["level_a", "level_b"]].isin(["old"]).any().any()
    probed = audit.leakage.query("attribute == 'age' and feature == 'prediction'")
    assert (probed["people"] == 56).all()  # without the 14
    assert "old" in audit.verdict[2]


def test_gaps_at_equal_labels() -> None:
    """Women smile more; the model shrinks what it sees. At equal labels nothing is left."""
    audit = run(faces(people=200, rows=8, happier=0.5), quick())
    found = gap_of(audit, "gender", "bias")
    assert found["high"] < -0.03  # raw: the happier are under-rated
    assert found["standardised_low"] < 0 < found["standardised_high"]
    assert abs(found["standardised_gap"]) < 0.25 * abs(found["gap"])
    assert "IDF305" in codes(audit)
    assert run(faces(people=200), quick()).gaps["standardised_gap"].isna().all()


def test_a_true_gap_stays_at_equal_labels() -> None:
    found = gap_of(run(faces(people=200, rows=8, happier=0.5, bias=0.2), quick()), "gender", "bias")
    assert found["standardised_low"] < 0.2 < found["standardised_high"]
    assert found["standardised_low"] > 0


def test_labels_without_overlap_have_no_gap_at_equal_labels() -> None:
    sample = faces(people=80)
    woman = sample.attributes[0].top == 0
    label = np.abs(sample.label) * np.where(woman, 1, -1)[:, None]
    audit = run(replace(sample, label=np.clip(label + np.where(woman, 0.1, -0.1)[:, None], -1, 1)), quick())
    found = gap_of(audit, "gender", "bias")
    assert np.isnan(found["standardised_gap"]) and "overlap" in found["note"]


def test_an_attribute_that_varies_within_people() -> None:
    sample = faces(people=150, varying=True)
    yes = sample.attributes[2].top == 1
    worse = sample.predicted + np.where(yes, 0.12, 0.0)[:, None]
    audit = run(replace(sample, predicted=worse), quick())
    found = gap_of(audit, "glasses", "bias")
    assert found["significant"] and found["low"] < -0.12 < found["high"]
    # people are their own controls: closer than between people
    between = gap_of(audit, "gender", "bias")
    assert found["high"] - found["low"] < between["high"] - between["low"]
    assert any(check.code == "IDF310" and check.attribute == "glasses" for check in audit.checks)


def test_retrieved_levels_weigh_and_are_corrected() -> None:
    sample = faces(people=300, soft=1.4, bias=0.2, seed=3)
    audit = run(sample, quick())
    found = audit.sensitivity.query("metric == 'bias' and dimension == 'valence'").iloc[0]
    assert found["gap"] == pytest.approx(gap_of(audit, "gender", "bias")["gap"])
    assert found["gap"] < 0.17  # weakened
    assert abs(found["corrected_gap"] - 0.2) < abs(found["gap"] - 0.2)
    assert found["error_rate"] < found["error_to_vanish"] < 0.5
    assert 0 < found["error_to_make"] < 1
    told = audit.sensitivity["note"].str.contains("not significant").to_numpy()
    rows = audit.gaps.merge(audit.sensitivity[["attribute", "level_a", "level_b", "dimension", "metric"]])
    assert (told == ~rows["significant"].astype(bool)).all()
    assert "IDF306" in codes(audit)


def test_unknown_levels_are_left_out() -> None:
    sample = faces(people=120, noise=1.5)
    gender = sample.attributes[0]
    some = gender.posterior.copy()
    some[sample.people % 3 == 0] = np.nan
    audit = run(replace(sample, attributes=(replace(gender, posterior=some),)), quick())
    kept = rows_of(sample, sample.people % 3 != 0)
    alone = run(replace(kept, attributes=kept.attributes[:1]), quick())
    columns = ["gap", "low", "high", "people_a", "people_b"]
    pd.testing.assert_frame_equal(audit.gaps[columns], alone.gaps[columns])


def test_chunks_do_not_matter() -> None:
    sample = faces(people=60, rows=7, varying=True, soft=1.0)
    order = np.random.default_rng(0).permutation(len(sample.key))  # people are in several chunks
    sample = rows_of(sample, order)
    settings = quick(probes=("linear",), probed_rows=100)
    parts = [rows_of(sample, np.arange(i, min(i + 97, len(order)))) for i in range(0, len(order), 97)]
    whole, streamed = run(sample, settings), stream(parts, settings)
    for name in ("accuracy", "groups", "circumplex", "sensitivity"):
        pd.testing.assert_frame_equal(getattr(whole, name), getattr(streamed, name), atol=1e-9)
    pd.testing.assert_frame_equal(whole.leakage, streamed.leakage)
    columns = ["gap", "low", "high", "people_a"]
    pd.testing.assert_frame_equal(whole.gaps[columns], streamed.gaps[columns], atol=1e-9)


@pytest.mark.parametrize("most", [500, 3])  # blocks of two; too many kinds of people for blocks
def test_many_people_are_pooled_without_changing_values(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = faces(people=600, rows=3, bias=0.1)
    alone = run(sample, quick())
    monkeypatch.setattr(pools, "MOST_UNITS", most)
    monkeypatch.setattr(pools, "POOLS", 400)
    monkeypatch.setattr("idfer.auditing.engine.CHUNK", 700)  # folds in the midst
    pooled = run(sample, quick())
    assert "IDF311" in codes(pooled)
    pd.testing.assert_frame_equal(
        alone.groups[["level", "value", "rows", "people"]],
        pooled.groups[["level", "value", "rows", "people"]],
    )
    pd.testing.assert_frame_equal(alone.circumplex, pooled.circumplex)  # its people, too
    width = (pooled.gaps["high"] - pooled.gaps["low"]) / (alone.gaps["high"] - alone.gaps["low"])
    assert 0.8 < width.median() < 1.25
    assert gap_of(pooled, "gender", "bias")["significant"]


def test_unknown_people_are_rows_and_it_is_said() -> None:
    audit = run(faces(people=100, subjects=False), quick(verification=True, probes=("linear",)))
    assert "IDF301" in codes(audit)
    assert audit.about["people"] is None
    assert "500 rows" in audit.verdict[2]
    assert not (audit.leakage["attribute"] == "identity").any()


def test_without_labels_the_mean_prediction_is_compared() -> None:
    audit = run(replace(faces(people=160, bias=0.3), label=None), quick(probes=("linear",)))
    assert set(audit.gaps["metric"]) == {"mean"}
    found = gap_of(audit, "gender", "mean")
    assert found["significant"] and found["low"] < 0.3 < found["high"]
    assert set(audit.leakage["feature"]) == {"prediction"}
    assert audit.circumplex.empty


def test_a_data_set_before_any_model_has_no_gaps() -> None:
    audit = run(replace(faces(happier=0.5), predicted=None), quick(probes=("linear",), information=True))
    assert audit.gaps.empty and audit.accuracy.empty
    assert set(audit.leakage["feature"]) == {"labels"}
    told = audit.information.query("attribute == 'gender' and feature == 'labels'").iloc[0]
    assert told["nats"] > told["null_high"] and told["p"] <= 0.05
    assert audit.about["kind"] == "data"


def test_leaks_beside_their_controls() -> None:
    sample = faces(people=150, soft=1.5, features=True, seed=1)
    audit = run(sample, AuditSettings(permutations=100, information=False))
    table = audit.leakage.query("attribute == 'gender' and probe == 'linear'").set_index("feature")
    ceiling = table.loc["z", "ceiling"]
    assert 0.3 < ceiling < 0.9  # the levels are CLIP's, and partly wrong
    assert table.loc["z", "score"] == pytest.approx(ceiling, abs=0.15)  # z holds the true gender
    assert table.loc["labels", "score"] < 0.2
    assert "gender" in audit.verdict[1] and "labels alone" in audit.verdict[1]


def test_constant_and_wild_predictions_are_called_out() -> None:
    sample = faces(people=80)
    flat = replace(sample, predicted=np.stack([np.full(400, 0.1), 3 * sample.predicted[:, 1]], axis=1))
    audit = run(flat, quick())
    assert {"IDF303", "IDF309"} <= codes(audit)
    assert audit.checks[0].code == "IDF303"  # worst first
    assert audit.accuracy.query("metric == 'ccc' and dimension == 'valence'")["value"].item() == 0
    assert np.isnan(audit.accuracy.query("metric == 'slope' and dimension == 'valence'")["value"].item())
    json.dumps(audit.to_dict(), allow_nan=False)


def test_predictions_without_error_are_no_trouble() -> None:
    sample = faces(people=60)
    audit = run(replace(sample, predicted=sample.label), quick(min_people=10))
    assert audit.accuracy.query("metric == 'ccc'")["value"].eq(1).all()
    assert not audit.gaps["significant"].any()
    json.dumps(audit.to_dict(), allow_nan=False)


def test_without_attributes_only_accuracy_and_identity_are_left() -> None:
    audit = run(replace(faces(people=30), attributes=()), quick(verification=True))
    assert len(audit.accuracy) == 12 and audit.groups.empty
    assert set(audit.leakage["attribute"]) == {"identity"}


def test_levels_from_other_sources_are_called_out() -> None:
    sample = faces(people=80)
    source = np.where(sample.attributes[0].top == 0, "studio", "wild").astype(object)
    named = [c for c in run(replace(sample, source=source), quick()).checks if c.code == "IDF304"]
    assert [check.attribute for check in named] == ["gender"]
    merged = faces(people=70)  # 21 middle and 14 old are one group
    young = np.where(merged.attributes[1].top == 0, "studio", "wild").astype(object)
    named = [c for c in run(replace(merged, source=young), quick()).checks if c.code == "IDF304"]
    assert [check.attribute for check in named] == ["age"]
    random = np.random.default_rng(0).choice(["studio", "wild"], len(source)).astype(object)
    assert "IDF304" not in codes(run(replace(sample, source=random), quick()))


def test_too_few_people_for_any_test() -> None:
    audit = run(faces(people=30), quick(min_people=20))
    assert "IDF307" in codes(audit) and audit.gaps.empty
    assert len(audit.verdict) == 3
    json.dumps(audit.to_dict(), allow_nan=False)


def test_what_can_be_found_shrinks_with_people() -> None:
    few, many = (run(faces(people=n, rows=3), quick()).power for n in (60, 600))
    first, second = (
        table.query("attribute == 'gender' and metric == 'bias' and dimension == 'valence'")[
            "detectable"
        ].item()
        for table in (few, many)
    )
    assert 2 < first / second < 6


def test_interventions_become_effects() -> None:
    effects = {"age": {"valence": {"value": 0.1, "low": 0.05, "high": 0.15}}}
    audit = run(replace(faces(people=60), interventions={"effects": effects, "warning": "drawn"}), quick())
    assert audit.effects.to_dict("records") == [
        {"attribute": "age", "dimension": "valence", "effect": 0.1, "low": 0.05, "high": 0.15}
    ]
    assert "IDF308" in codes(audit)


def test_equal_seeds_give_equal_audits() -> None:
    first, second = (
        run(faces(people=60), quick(probes=("linear",), information=True)).to_dict() for _ in range(2)
    )
    assert first == second


def test_the_reserve_is_even_over_people() -> None:
    sample = faces(people=40, rows=10)
    uneven = rows_of(sample, np.flatnonzero((sample.people < 20) | (np.arange(400) % 10 < 2)))
    reserve = Reserve(100, seed=0)
    reserve.add(uneven)
    kept = reserve.finish()
    assert kept is not None
    counts = pd.Series(kept.subject).value_counts()
    assert len(kept.key) == 100 and len(counts) == 40 and counts.min() == 2 and counts.max() <= 4


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(UsageError, match="permutations=5"):
        AuditSettings(permutations=5)
    with pytest.raises(IdferError, match="must be >= 0 and sum to 1"):
        Attribute("age", ("a", "b"), np.array([[0.5, 0.4]]), True, "CLIP")
    key = np.array(["a", "b"], object)
    with pytest.raises(IdferError, match="not finite"):
        Sample(key, None, np.array([[0, 0], [np.nan, 0]]), None, ())
    with pytest.raises(IdferError, match="outside"):
        Sample(key, np.array([[0, 0], [7.0, 0]]), None, None, ())
    with pytest.raises(IdferError, match="nothing to audit"):
        run(Sample(key, None, None, None, ()))
    first = faces(people=20)
    with pytest.raises(IdferError, match="other attributes"):
        stream([first, replace(first, attributes=first.attributes[:1])], quick())
