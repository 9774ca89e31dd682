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
from idfer.auditing.engine import AuditSettings
from idfer.auditing.gate import failures
from idfer.auditing.inputs import read_sample
from idfer.auditing.leak import widened
from idfer.auditing.verdict import _leak
from idfer.errors import IdferError, UsageError

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
    assert _leak(table, "it").startswith("The largest leak is of skin")


def test_of_many_probes_one_that_is_sure_by_itself_is_no_leak() -> None:
    one = ("embedding", "age", 0.2, 0.01, 0.39)
    assert _leak(leaks(one), "it").startswith("The largest leak is of age")
    assert _leak(leaks(one, *[("embedding", "skin", 0.0, -0.2, 0.2)] * 9), "it").startswith("No attribute")
    assert widened(1) == pytest.approx(1)
    assert widened(10) == pytest.approx(2.807 / 1.96, abs=1e-3)


def test_the_gate_asks_for_more_than_the_labels_own_uncertainty() -> None:
    class Found:
        leakage = leaks(("prediction", "age", 0.5, 0.4, 0.6), ("labels", "age", 0.3, 0.0, 0.6))

    assert failures(Found, {"leak": 0.1}) == ()  # type: ignore[arg-type]
    Found.leakage = leaks(("prediction", "age", 0.5, 0.4, 0.6), ("labels", "age", 0.1, 0.0, 0.2))
    assert len(failures(Found, {"leak": 0.1})) == 1  # type: ignore[arg-type]


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
    careful = replace(known, settings=replace(known.settings, min_people=40))
    assert len(compare(careful, known, settings=AuditSettings(permutations=100)).gaps) == 0
    unknown = compare(rows, rows, settings=AuditSettings(permutations=100))
    assert [check["code"] for check in unknown.content["checks"]] == ["IDF301"]


def test_an_attribute_merged_into_one_group_is_said_to_go_untested() -> None:
    found = idfer.audit(
        predictions=predictions(), attributes=attributes(age=20.5 + np.arange(N) // 2), **QUICK
    )
    assert not len(found.gaps)
    assert any(c.code == "IDF302" and "everybody, so no gap" in c.message for c in found.checks)
