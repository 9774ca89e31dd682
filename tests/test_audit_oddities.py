"""Tables and findings at the edge: what they are called, what stays unsaid, and what is no false comfort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import idfer
from idfer.auditing.bins import shown_numbers
from idfer.auditing.compare import compare
from idfer.auditing.comparison_verdict import comparison_verdict
from idfer.auditing.engine import AuditSettings, run
from idfer.auditing.gate import failures, unmeasured
from idfer.auditing.inputs import Reading, read_sample
from idfer.auditing.quantities import Cutting, Unfit, cut
from idfer.auditing.simultaneous import widened
from idfer.auditing.verdict import _gap, _leak
from idfer.auditing.wording import brief
from idfer.errors import IdferError, UsageError
from idfer.reporting import audit_page

PEOPLE, N = 50, 100
QUICK: dict[str, Any] = {"permutations": 100, "progress": False, "intersections": 1}


def predictions(**more: Any) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    label = rng.uniform(-0.9, 0.9, (N, 2))
    said = 0.7 * label + rng.normal(0, 0.2, (N, 2))
    table = pd.DataFrame({"path": [f"{i}.jpg" for i in range(N)], "subject": np.arange(N) // 2})
    table[["valence", "arousal"]], table[["valence_pred", "arousal_pred"]] = label, said
    return table.assign(**more)


def attributes(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"path": [f"{i}.jpg" for i in range(N)], **columns})


def levels(values: Any) -> tuple[str, ...]:
    return read_sample(predictions(), attributes(it=values)).sample.attributes[0].levels


@pytest.mark.parametrize("empty", ["predictions", "attributes"])
def test_a_table_without_rows_is_named(empty: str) -> None:
    tables = {"predictions": predictions(), "attributes": attributes(it=np.arange(N) % 2)}
    tables[empty] = tables[empty].iloc[:0]
    with pytest.raises(IdferError, match=f"{empty}: has no rows"):
        read_sample(tables["predictions"], tables["attributes"])


def test_none_in_a_csv_is_a_level(tmp_path: Path) -> None:
    file = tmp_path / "glasses.csv"
    attributes(glasses=np.where(np.arange(N) % 2, "none", "sunglasses")).to_csv(file, index=False)
    assert read_sample(predictions(), file).sample.attributes[0].levels == ("none", "sunglasses")


def test_large_numbers_keep_their_digits() -> None:
    day = np.arange(N) % 2
    assert levels(20240101 + day) == ("it 20240101", "it 20240102")
    assert levels(1980 + np.arange(N) % 30)[0] == "it below 1990"
    assert levels(pd.Timestamp("2020-01-01") + pd.to_timedelta(day, "D")) == (
        "2020-01-01 00:00:00", "2020-01-02 00:00:00",
    )  # fmt: skip
    assert shown_numbers(np.array([0.12345, 0.12349]), 3) == ["0.12345", "0.12349"]


def test_levels_that_read_alike_stay_apart() -> None:
    half = np.arange(N) % 2
    assert levels(np.where(half, "Yes", "yes")) == ("Yes", "yes")
    assert levels(pd.Categorical(np.where(half, "big ", "tiny"), ["tiny", "big "], ordered=True)) == (
        "tiny", "big",
    )  # fmt: skip


def test_negative_posteriors_are_called_negative() -> None:
    with pytest.raises(IdferError, match="not all at least 0"):
        read_sample(predictions(), attributes(**{"a/x": np.full(N, -0.2), "a/y": np.full(N, 1.2)}))


@pytest.mark.parametrize("unknown", [np.nan, None])
def test_people_who_are_not_known_are_not_one_person(unknown: Any) -> None:
    who = [unknown if i % 2 else f"p{i}" for i in range(N)]
    read = read_sample(
        predictions().drop(columns="subject"), attributes(it=np.arange(N) % 2), subject=np.array(who, object)
    )
    assert read.sample.subject is not None
    assert len(set(read.sample.subject)) == N


def test_a_feature_cannot_take_the_place_of_a_control() -> None:
    for name in ("labels", "prediction"):
        with pytest.raises(IdferError, match=f"called '{name}'.*rename"):
            read_sample(
                predictions(), attributes(it=np.arange(N) % 2), features={name: np.ones((N, 3), np.float32)}
            )


def test_no_number_of_a_small_group_is_in_any_table(tmp_path: Path) -> None:
    person = np.arange(N) // 2
    groups = attributes(it=np.where(person < 5, "rare", np.where(person % 2, "a", "b")))
    for way in ({"predictions": predictions()}, {"data": predictions()}):
        found = idfer.audit(attributes=groups, **way, **QUICK)
        part = found.representation.set_index("level")
        assert part.loc["rare", ["rows", "people", "share"]].isna().all()
        assert part.loc[["a", "b"], "people"].tolist() == [23, 22]
    assert "fewer than 20 people of rare" in found.verdict[0]
    assert "nan" not in " ".join(found.verdict)
    idfer.audit(data=predictions(), attributes=groups, out=tmp_path, **QUICK)
    assert '"rare"' in (tmp_path / "audit.json").read_text()


def leaks(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    columns = ["feature", "attribute", "score", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(probe="linear")


def test_a_sure_leak_is_not_hidden_by_a_higher_score_that_is_none() -> None:
    table = leaks(("prediction", "age", 0.5, -0.2, 0.9), ("prediction", "skin", 0.4, 0.3, 0.5))
    assert _leak(table, "it").startswith("Of the attributes, skin leaks")


def test_of_many_probes_one_that_is_sure_by_itself_is_no_leak() -> None:
    one = ("embedding", "age", 0.2, 0.01, 0.39)
    assert _leak(leaks(one), "it").startswith("Of the attributes, age leaks")
    assert _leak(leaks(one, *[("embedding", "skin", 0.0, -0.2, 0.2)] * 9), "it").startswith("No attribute")
    assert widened(1) == pytest.approx(1)
    assert widened(10) == pytest.approx(2.807 / 1.96, abs=1e-3)


def test_the_gate_asks_for_more_than_the_labels_own_uncertainty() -> None:
    class Found:
        leakage = leaks(("prediction", "age", 0.5, 0.4, 0.6), ("labels", "age", 0.3, 0.0, 0.6))

    assert failures(Found, {"leak": 0.1}) == ()  # type: ignore[arg-type]
    Found.leakage = leaks(("prediction", "age", 0.5, 0.4, 0.6), ("labels", "age", 0.1, 0.0, 0.2))
    assert len(failures(Found, {"leak": 0.1})) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "limit, few, without, reason",
    [
        ("gap", True, (), "no attribute has two groups of 20 people"),
        ("leak", True, (), "it (linear probe of labels|prediction)"),
        ("label", False, ("valence", "arousal"), "there are no labels"),
    ],
)
def test_a_limit_on_what_could_not_be_measured_does_not_pass(
    limit: str, few: bool, without: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    """Everything is written, and the gate says why it says nothing."""
    people = np.where(np.arange(N) < 90, np.arange(N) // 12, 8)  # nine people: no probe, no test
    table = predictions().drop(columns=list(without))
    if few:
        table = table.assign(subject=people)
    groups = attributes(it=(people if few else np.arange(N) // 2) % 2)
    given: Any = {"predictions": table, "attributes": groups, "out": tmp_path / "out", **QUICK}
    with pytest.raises(IdferError, match=f"--fail-on {limit}: .*would always pass") as found:
        idfer.audit(fail_on={limit: 0.1}, **given)
    assert reason.split(" (")[0] in str(found.value)
    assert (tmp_path / "out" / "report.html").is_file()


def test_identity_alone_is_no_measured_leak_of_attributes() -> None:
    """The attribute could not be probed; that people are told apart does not stand for it."""
    quick = AuditSettings(permutations=100, probes=("linear",), information=False)
    sample = read_sample(predictions(), attributes(it=np.arange(N) // 2 % 2)).sample
    blank = replace(sample.attributes[0], posterior=np.where(np.arange(N)[:, None] < 4, [1.0, 0.0], np.nan))
    found = run(replace(sample, attributes=(blank,)), quick)
    identity = found.leakage[found.leakage["attribute"] == "identity"]
    assert np.isfinite(identity["score"]).all()
    assert unmeasured(found, {"leak": 0.3})[0].startswith("leak: no probe of it could be fitted")
    assert unmeasured(run(sample, quick), {"leak": 0.3, "gap": 0.1}) == ()


@pytest.mark.parametrize("way, limit", [("predictions", "effect"), ("data", "gap"), ("data", "leak")])
def test_a_gate_that_would_always_pass_is_wrong_use(way: str, limit: str) -> None:
    given: Any = {way: predictions()}
    with pytest.raises(UsageError, match="would always pass"):
        idfer.audit(attributes=attributes(it=np.arange(N) % 2), fail_on={limit: 0.1}, **given, **QUICK)


def test_a_comparison_knows_people_of_either_audit_and_says_what_it_could_not_compare() -> None:
    groups = attributes(it=np.arange(N) // 2 % 2)
    known = idfer.audit(predictions=predictions(), attributes=groups, **QUICK)
    rows = idfer.audit(predictions=predictions().drop(columns="subject"), attributes=groups, **QUICK)
    few = compare(rows, known, settings=AuditSettings(permutations=100, min_people=40))
    assert few.content["about"]["people"] == PEOPLE
    assert few.content["verdict"][1].startswith("No gap was compared")
    assert [(c["code"], c["level"]) for c in few.content["checks"]] == [("IDF330", "warning")]
    careful = replace(known, settings=replace(known.settings, min_people=40))
    assert len(compare(careful, known, settings=AuditSettings(permutations=100)).gaps) == 0
    unknown = compare(rows, rows, settings=AuditSettings(permutations=100))
    assert [check["code"] for check in unknown.content["checks"]] == ["IDF301"]


def test_a_comparison_says_which_pairs_of_levels_are_too_small_for_it(tmp_path: Path) -> None:
    """Three of sixteen people each and one of two: its three pairs vanished without a word."""
    kind = np.array(["a", "b", "c", "rare"])[np.minimum(np.arange(N) // 32, 3)]
    audit = idfer.audit(predictions=predictions(), attributes=attributes(kind=kind), min_people=10, **QUICK)
    both = compare(audit, audit, settings=AuditSettings(permutations=100, min_people=10))
    assert set(zip(both.gaps["level_a"], both.gaps["level_b"], strict=True)) == {
        ("a", "b"), ("a", "c"), ("b", "c"),
    }  # fmt: skip
    (check,) = both.content["checks"]
    assert (check["code"], check["level"], check["attribute"]) == ("IDF330", "info", "kind")
    assert check["message"] == (
        "kind: 3 of 6 pairs of levels are not compared (a - rare; b - rare; c - rare): rare has fewer than "
        "10 people among the faces that both audits have."
    )
    page = audit_page.write(both.to_dict(), tmp_path).read_text()
    assert "IDF330" in page and "rare has fewer than 10 people" in page


def test_an_attribute_merged_into_one_group_is_said_to_go_untested() -> None:
    found = idfer.audit(
        predictions=predictions(),
        attributes=attributes(age=20.5 + np.arange(N) // 2),
        bins="age=20,22,24,200",  # two people, two people, everybody else
        **QUICK,
    )
    assert not len(found.gaps)
    assert any(c.code == "IDF302" and "everybody, so no gap" in c.message for c in found.checks)


def test_an_effect_fails_a_gate_only_if_it_is_more_than_the_largest_of_so_many_by_chance() -> None:
    """Twenty-six effects: an interval of one that leaves out 0 by a little is what chance makes of 74 %."""

    quick = AuditSettings(permutations=100, probes=(), verification=False, information=False)
    faces = read_sample(predictions(), attributes(it=np.arange(N) // 2 % 2)).sample

    def drawn(names: int, effect: float) -> Any:
        one = {"value": effect, "low": effect - 0.1, "high": effect + 0.1}
        flat = {"value": 0.0, "low": -0.1, "high": 0.1}
        found = {f"a{i}": {"valence": one if i == 0 else flat, "arousal": flat} for i in range(names)}
        return run(replace(faces, interventions={"effects": found}), quick)

    assert failures(drawn(13, 0.12), {"effect": 0.05}) == ()
    assert failures(drawn(1, 0.13), {"effect": 0.05}) != ()
    assert failures(drawn(13, 0.18), {"effect": 0.05})[0].startswith("effect 0.180")


def test_numbers_of_few_people_are_cut_into_halves_rather_than_into_one_group() -> None:
    """Fifty people: thirds hold 17, of which a minimum of 20 would make one group of everybody."""
    read = read_sample(predictions(), attributes(it=(np.arange(N) // 2) * 1.5))
    assert len(read.sample.attributes[0].levels) == 2
    assert [(c.code, "halves" in c.message) for c in read.checks if c.attribute == "it"] == [("IDF329", True)]
    enough = read_sample(
        predictions(), attributes(it=(np.arange(N) // 2) * 1.5), how=Reading(min_people=10)
    )  # fmt: skip
    assert len(enough.sample.attributes[0].levels) == 3 and not enough.checks
    told = read_sample(
        predictions(), attributes(it=(np.arange(N) // 2) * 1.5), how=Reading(bins={"it": (3.0,)})
    )
    assert len(told.sample.attributes[0].levels) == 3, "what was asked for stays"


def test_a_number_that_most_people_share_is_not_cut_into_one_half() -> None:
    def levels(zeros: int) -> tuple[str, ...]:
        numbers = np.r_[np.zeros(zeros), np.linspace(1, 9, 50 - zeros)]
        return cut("it", numbers, np.arange(50), Cutting({}), "given")[0].levels

    assert levels(30) == ("it below 2.12", "it 2.12 and above")
    with pytest.raises(Unfit, match="most share its lowest number"):
        levels(40)


def test_codes_are_not_merged_unless_they_are_said_to_be_ranks() -> None:
    """ "2 or 3" of 1 woman, 2 man, 3 other is nonsense."""
    codes = np.array([1, 2, 2, 2, 2, 3])[np.arange(N) // 2 % 6]
    read = read_sample(predictions(), attributes(it=codes))
    assert not read.sample.attributes[0].ordered
    assert [c.code for c in read.checks] == ["IDF329"] and "--ordered it" in read.checks[0].message
    ranks = read_sample(predictions(), attributes(it=codes), how=Reading(ordered=("it",)))
    assert ranks.sample.attributes[0].ordered and not ranks.checks
    with pytest.raises(UsageError, match="words"):
        read_sample(predictions(), attributes(it=codes.astype(str) + "x"), how=Reading(ordered=("it",)))
    half = np.arange(N) % 2.0
    with pytest.raises(UsageError, match="order is not known"):  # posteriors have names, too
        table = attributes(**{"it/cap": half, "it/none": 1 - half})
        read_sample(predictions(), table, how=Reading(ordered=("it",)))
    with pytest.raises(UsageError, match="--ordered"):
        read_sample(predictions(), attributes(it=codes), how=Reading(ordered=("its",)))


def test_borders_without_faces_are_said() -> None:
    how = Reading(bins={"it": (0.0, 30.0, 60.0, 1000.0, 2000.0)})
    read = read_sample(predictions(), attributes(it=np.arange(N) * 0.9 - 10), how=how)
    said = " ".join(c.message for c in read.checks if c.code == "IDF329")
    assert "no face has it 1000 to 2000" in said and "12 faces lies outside 0 to 2000" in said
    assert read.sample.attributes[0].levels == ("it 0 to 30", "it 30 to 60", "it 60 to 1000")


def test_spaces_about_a_person_make_nobody_else() -> None:
    spaced = [f"P{i // 2}{' ' * (i % 2)}" for i in range(N)]
    read = read_sample(predictions(subject=spaced), attributes(it=np.arange(N) // 2 % 2))
    assert len(np.unique(read.sample.people)) == PEOPLE
    bare = predictions().drop(columns="subject")
    given = read_sample(bare, attributes(it=np.arange(N) // 2 % 2), subject=spaced)
    assert len(np.unique(given.sample.people)) == PEOPLE


def test_names_with_a_slash_stay_whole() -> None:
    yes = np.arange(N) // 2 % 2
    posterior = read_sample(
        predictions(),
        attributes(**{"w/o glasses/yes": yes * 1.0, "w/o glasses/no": 1.0 - yes}),
    ).sample.attributes[0]
    assert (posterior.name, posterior.levels) == ("w/o glasses", ("yes", "no"))
    words = np.where(yes, "with", "without")
    plain = read_sample(predictions(), attributes(**{"w/o hat": words, "w/o glasses": words})).sample
    assert [a.name for a in plain.attributes] == ["w/o hat", "w/o glasses"]
    ranges = read_sample(
        predictions(), attributes(**{"age/10/20": yes * 1.0, "age/20/30": 1.0 - yes})
    ).sample.attributes[0]
    assert (ranges.name, ranges.levels) == ("age", ("10/20", "20/30"))


def test_the_verdict_says_small_numbers_plainly() -> None:
    """A gap at equal labels of 0 read "-2.1e-05"."""
    gaps = pd.DataFrame(
        [
            {
                "attribute": "age", "level_a": "older", "level_b": "young", "kind": "pair", "metric": "bias",
                "dimension": "valence", "gap": -0.351, "low": -0.402, "high": -0.3, "significant": True,
                "standardised_gap": -2.1e-05, "strength": 9.0,
            }
        ]
    )  # fmt: skip
    assert _gap(gaps, "erm", 0.05) == (
        "erm does not read all groups of age alike: bias of valence is 0.35 lower for older than for young "
        "(interval 0.3 to 0.4, 0 at equal labels)."
    )
    gaps["standardised_gap"] = -0.1
    assert "(interval 0.3 to 0.4, 0.1 at equal labels)" in _gap(gaps, "erm", 0.05), "0.1 lower, too"
    assert "at most 0.1% risk" in _gap(gaps.assign(significant=False), "erm", 0.001)
    assert [brief(v) for v in (1e-9, 0.0213, 1.27)] == ["0", "0.021", "1.3"] and brief(0.5, True) == "+0.5"


def test_the_verdict_on_two_models_is_plain_and_has_no_minus_zero() -> None:
    settings = AuditSettings()

    def row(
        name: str, metric: str, values: tuple[float, float, float], p: float, **more: Any
    ) -> dict[str, Any]:
        a, b, difference = values
        ends = {"low": difference - 0.01, "high": difference + 0.00996, "p_adjusted": p}
        of = {f"{name}_a": a, f"{name}_b": b, "difference": difference, **ends}
        return {"metric": metric, "dimension": "mean", **of, **more}

    overall = pd.DataFrame([row("value", "ccc", (0.6, 0.6, -0.00002), 0.9)])
    pair = {"attribute": "age", "level_a": "young", "level_b": "older"}
    gaps = pd.DataFrame([row("gap", "rmse", (0.1, -0.0001, -0.1), 0.01, **pair)])
    said = comparison_verdict(gaps, overall, "erm", "ours", settings)
    assert said == [
        "Neither model surely agrees better with the labels: agreement (CCC) of valence and arousal (their "
        "mean) is 0.600 in erm and 0.600 in ours (difference 0.000, interval -0.010 to +0.010).",
        "1 of 1 gaps between groups differ between the two (at most 5% risk that any of them is a false "
        "alarm): 1 is smaller in ours.",
        "The clearest is that in error (RMSE) of valence and arousal (their mean): young minus older is "
        "+0.100 in erm and 0.000 in ours.",
    ]
    sure = pd.DataFrame([row("value", "ccc", (0.6, 0.5, -0.1), 0.001)])
    strict = comparison_verdict(
        gaps.assign(p_adjusted=0.0), sure, "erm", "ours", replace(settings, level=0.999)
    )
    assert "at most 0.1% risk" in strict[1]
    none = comparison_verdict(gaps.assign(p_adjusted=0.5), sure, "erm", "ours", settings)
    assert none[0].startswith("erm agrees better with the labels than ours: ")
    assert none[1] == "None of 1 gaps between groups surely differs between the two."
