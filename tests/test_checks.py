"""Coded checks of an evaluation: each on arrays that show the fault, and on arrays that do not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from idfer.evaluation.certificate import certificate, entropy
from idfer.evaluation.checks import Check, run_checks

PEOPLE, EACH = 20, 5
ROWS = PEOPLE * EACH
WHO = np.repeat([f"p{i}" for i in range(PEOPLE)], EACH)


@pytest.fixture
def sound():
    """An evaluation that nothing is wrong with: labels, and predictions that follow them with noise."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(-0.9, 0.9, (ROWS, 2))
    predicted = np.clip(0.6 * labels + rng.normal(0, 0.2, labels.shape), -1, 1)
    return {
        "predicted": predicted, "labels": labels, "subjects": WHO, "errors": np.full(ROWS, "", object),
    }  # fmt: skip


def codes(values, **options):
    return {check.code: check.level for check in run_checks(**values, **options)}


def test_a_sound_evaluation_has_nothing_to_say(sound):
    said = run_checks(
        **sound, splits=np.repeat(["matched", "reversed"], ROWS // 2), seen_rows=np.zeros(ROWS, bool),
        seen_people=np.zeros(ROWS, bool), trained_detector="yunet", detector="yunet", clip="ViT-B-16/openai",
        drawn=False,
    )  # fmt: skip
    assert said == []


def test_whole_images_are_told_of_where_somebody_may_have_taken_them(sound):
    assert codes(sound, detector="none", drawn=False, synthetic=False) == {"IDF111": "note"}
    assert codes(sound, detector="none", drawn=False, synthetic=True) == {}


def test_one_answer_for_every_face_is_a_collapse(sound):
    said = run_checks(**sound | {"predicted": np.full((ROWS, 2), -0.25)})
    assert [check.code for check in said] == ["IDF101"] and said[0].level == "error"
    assert "valence (always near −0.25" in said[0].message and "arousal" in said[0].message
    one = sound["predicted"].copy()
    one[:, 1] = 0.3 + 0.001 * one[:, 1]
    (check,) = run_checks(**sound | {"predicted": one})
    assert "arousal" in check.message and "valence" not in check.message
    timid = {"predicted": 0.2 * sound["predicted"]}
    assert codes(sound | timid) == {}, "a model that plays safe has not collapsed"
    constant = {"labels": np.zeros((ROWS, 2)), "predicted": np.full((ROWS, 2), 0.1)}
    assert codes(sound | constant) == {}, "nothing to read is not the model's fault"


def test_answers_at_the_border_are_saturated_unless_the_labels_are_there(sound):
    border = {"predicted": np.sign(sound["predicted"])}
    assert codes(sound | border) == {"IDF102": "error"}
    assert codes(sound | border | {"labels": np.sign(sound["labels"])}) == {}
    few = sound["predicted"].copy()
    few[:10] = 1
    assert codes(sound | {"predicted": few}) == {}


def test_an_unread_face_is_no_prediction(sound):
    errors, predicted = sound["errors"].copy(), sound["predicted"].copy()
    errors[:3], predicted[:3] = "a.png: is empty", np.nan
    assert codes(sound | {"errors": errors, "predicted": predicted}) == {"IDF109": "note"}


def test_faces_and_people_trained_on_are_counted(sound):
    rows, people = np.zeros(ROWS, bool), np.zeros(ROWS, bool)
    people[: 2 * EACH] = True
    (check,) = run_checks(**sound, seen_rows=rows, seen_people=people)
    assert (check.code, check.level) == ("IDF103", "warning") and "2 of these 20 people" in check.message
    rows[:7] = True
    (check,) = run_checks(**sound, seen_rows=rows, seen_people=people)
    assert (check.code, check.level) == ("IDF103", "error")
    assert "7 of these 100 faces" in check.message and "2 of 20 people" in check.message
    (check,) = run_checks(**sound, seen_rows=rows)
    assert "people:" not in check.message and check.level == "error"


def test_few_people_are_named_by_split(sound):
    splits = np.where(np.arange(ROWS) < 9 * EACH, "val", "test")
    (check,) = run_checks(**sound, splits=splits)
    assert check.code == "IDF104" and "9 in val" in check.message and "test" not in check.message
    assert codes(sound, splits=np.where(np.arange(ROWS) < 10 * EACH, "val", "test")) == {}
    assert codes(sound | {"subjects": np.repeat(WHO[: ROWS // 25], 25)}) == {"IDF104": "warning"}


def test_rows_without_a_person_stand_for_people(sound):
    assert codes(sound | {"subjects": np.full(ROWS, "")}) == {"IDF105": "warning"}
    some = WHO.copy()
    some[:5] = ""
    (check,) = run_checks(**sound | {"subjects": some})
    assert (check.code, check.level) == ("IDF105", "note") and "5 of 100 rows" in check.message


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.3, None), (1.0, "note"), (2.9, "note"), (3.1, "warning"), (15.8, "warning")]
)
def test_a_certificate_above_what_there_is_to_know_excludes_nothing(sound, rate, expected):
    gender = np.where(np.arange(ROWS) // EACH % 2, "feminine", "masculine")  # ln 2 = 0.69; ln 20 = 3.00
    found = certificate(np.full(ROWS, rate), WHO, np.full(ROWS, ""), attributes={"gender": gender})
    said = codes(sound, certificate=found)
    assert said == ({} if expected is None else {"IDF106": expected})
    assert found["excludes"] is (rate < 3) and found["excludes_attributes"] is (rate < 0.6)
    assert ("excludes nothing:" in found["reading"]) is (rate > 3)
    assert ("cannot tell all of them apart" in found["reading"]) is (rate < 3)
    assert ("cannot tell these without error" in found["reading"]) is (rate < 0.6)


def test_a_certificate_carries_what_it_must_be_compared_with():
    splits = np.where(np.arange(ROWS) < 60, "matched", "balanced")
    rates = np.full(ROWS, 0.5)
    rates[:10] = np.nan  # the first two people could not be read
    levels = np.array(["a", "b", "", "b"])[np.arange(ROWS) % 4]
    numbers = np.where(np.arange(ROWS) % 7 == 0, np.nan, np.arange(ROWS, dtype=float))
    unknown = np.full(ROWS, np.nan)
    attributes = {"hat": levels, "age": numbers, "none": unknown}
    found = certificate(rates, WHO, splits, attributes=attributes, replicates=50)
    assert found["people"] == 18 and found["ln_people"] == pytest.approx(math.log(18))
    assert found["splits"]["matched"]["people"] == 10 and found["splits"]["balanced"]["rows"] == 40
    share = np.array([np.mean(levels[10:][levels[10:] != ""] == name) for name in "ab"])
    assert found["attribute_entropy"]["hat"] == pytest.approx(-(share * np.log(share)).sum())
    assert found["attribute_entropy"]["age"] == pytest.approx(math.log(2), abs=1e-3)
    assert found["attribute_entropy"]["none"] is None and "none" not in found["reading"]
    assert certificate(np.full(ROWS, 0.5), WHO, splits)["attribute_entropy"] == {}


@pytest.mark.parametrize(("residual", "below"), [(0.1, True), (0.5, False)])
def test_a_residual_is_compared_with_what_labels_leave_of_an_attribute(sound, residual, below):
    """Gender is told by the sign of valence in nine of ten faces: of ln 2 = .69 nats about .33 are left."""
    rng = np.random.default_rng(0)
    gender = rng.integers(0, 2, 4000)
    wrong = rng.random(4000) < 0.1
    labels = rng.uniform(0, 1, (4000, 2))
    labels[:, 0] *= np.where(gender ^ wrong, 1, -1)
    people = np.repeat(np.arange(400), 10)
    rates = np.full(4000, 4.0)
    given = {"gender": np.where(gender, "masculine", "feminine")}
    found = certificate(
        rates, people, np.full(4000, ""), attributes=given, residuals=np.full(4000, residual), labels=labels
    )
    assert found["attribute_entropy"]["gender"] == pytest.approx(math.log(2), abs=0.01)
    assert found["beyond_label"]["attribute_entropy"]["gender"] == pytest.approx(0.325, abs=0.03)
    assert ("gender 0.3" in found["reading"]) and found["excludes_attributes"] is below
    assert ("that labels leave: the sample, with the label, cannot tell" in found["reading"]) is below
    if not below:
        (check,) = (c for c in run_checks(**sound, certificate=found) if c.code == "IDF106")
        assert f"{residual:.2f} nats beyond the label" in check.message


def test_entropy_counts_levels_and_halves():
    assert entropy(np.array(["a", "b", "c", "d"])) == pytest.approx(math.log(4))
    assert entropy(np.array([1.0, 2.0, np.nan])) == pytest.approx(math.log(2))
    assert entropy(np.arange(1000)) == pytest.approx(math.log(2))
    assert str(entropy(np.array(["a", "a"]))) == "0.0" and entropy(np.array(["", ""])) is None


def test_faces_found_otherwise_than_in_training(sound):
    (check,) = run_checks(**sound, trained_detector="none", detector="yunet")
    assert check.code == "IDF107" and "'yunet' here and with 'none' in training" in check.message
    assert codes(sound, trained_detector=None, detector="yunet") == {}, "an old run does not say"
    assert codes(sound, trained_detector="auto", detector="yunet") == {}, (
        "the shipped model asks for none in particular"
    )


def test_the_builtin_clip_is_for_drawn_faces(sound):
    assert codes(sound, clip="builtin", drawn=False) == {"IDF108": "warning"}
    assert codes(sound, clip="builtin", drawn=False, synthetic=True) == {"IDF108": "warning"}
    assert codes(sound, clip="builtin", drawn=True) == {}
    assert codes(sound, clip="ViT-B-16/openai", drawn=False) == {}


@pytest.mark.parametrize(("count", "level"), [(1, "note"), (4, "note"), (5, "warning"), (50, "error")])
def test_unreadable_faces_are_counted(sound, count, level):
    errors = sound["errors"].copy()
    errors[:: ROWS // count] = "b.png: is not an image"  # `count` of them, of different people
    (check,) = run_checks(**sound | {"errors": errors})
    assert (check.code, check.level) == ("IDF109", level)
    assert f"{count} of 100 faces" in check.message and "b.png: is not an image" in check.message


def test_checks_come_worst_first_and_are_plain(sound):
    said = run_checks(**sound | {"predicted": np.ones((ROWS, 2))}, clip="builtin", drawn=False)
    assert [check.code for check in said] == ["IDF101", "IDF102", "IDF108"]
    assert json.loads(json.dumps(said[0].to_dict()))["level"] == "error"
    assert str(Check("IDF199", "note", "why.")) == "IDF199 note: why."
