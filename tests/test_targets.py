"""Targets: each is met, missed or not measured by the numbers, at the limits of its length of training."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark_rows import rows_of_measures
from idfer.experiments.scores import Row, Score
from idfer.experiments.shift_report import comparisons
from idfer.experiments.shift_text import attach_table
from idfer.experiments.targets import Target, targets

GOOD: dict[str, dict[str, float]] = {
    "erm": {
        "reversed_ccc": 0.5, "balanced_ccc": 0.7, "matched_ccc": 0.85, "effect_age_valence": -0.2,
        "effect_gender_arousal": 0.2, "person_ratio": 0.5,
        **{f"leak_mean_{name}": 0.8 for name in ("gender", "age", "skin", "identity")},
    },
    "oracle": {"reversed_ccc": 0.82, "balanced_ccc": 0.83, "person_ratio": 0.3},
    "idfer": {
        "reversed_ccc": 0.76, "balanced_ccc": 0.79, "matched_ccc": 0.83, "effect_age_valence": 0.01,
        "effect_gender_arousal": -0.02, "person_ratio": 0.35, "residual_nats": 1.7,
        "attached_matched_ccc": 0.845,
        **{f"leak_mean_{name}": 0.15 for name in ("gender", "age", "skin", "identity")},
    },
}  # fmt: skip


def rows(attached: float = 0.7, moves: float = 0.01, **idfer: float) -> list[Row]:
    """The good numbers, with some of idfer's replaced; attached alone, effects reach a share of ERM's."""
    found = rows_of_measures(GOOD | {"idfer": GOOD["idfer"] | idfer})
    effects = {"age": ("valence", -0.2, 0.01), "gender": ("arousal", 0.2, -0.02)}
    alone = [
        Score(
            "effect", attached * erm if name == one else detached + moves, dimension, name, f"attached {one}"
        )
        for one in effects
        for name, (dimension, erm, detached) in effects.items()
    ]
    return [Row(row.name, row.seed, [*row.scores, *(alone if row.name == "idfer" else [])]) for row in found]


def found_at(epochs: int, given: list[Row]) -> list[Target]:
    lengths = {8: rows(), epochs: given} if epochs != 8 else {8: given}
    against = {number: comparisons(of_length)["runner_up"] for number, of_length in lengths.items()}
    return [target for target in targets(lengths, against) if target.epochs == epochs]


def test_good_numbers_meet_every_target() -> None:
    for epochs in (8, 24):
        found = found_at(epochs, rows())
        assert len(found) == 14
        assert {target.verdict for target in found} == {"met"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"reversed_ccc": 0.56}, ["CCC reversed", "gap closed"]),
        ({"balanced_ccc": 0.73}, ["CCC balanced"]),
        ({"effect_age_valence": -0.031}, ["effect of age on valence", "gender attached alone"]),
        ({"person_ratio": 0.37}, ["person over expression"]),
        ({"residual_nats": 1.81}, ["residual"]),
        ({"leak_mean_skin": 0.17}, ["leak of skin"]),
        ({"attached_matched_ccc": 0.839}, ["all attached"]),
        ({"attached": 0.59}, ["age attached alone", "gender attached alone"]),
        ({"attached": -0.7}, ["age attached alone", "gender attached alone"]),  # the wrong way
        ({"moves": 0.031}, ["age attached alone", "gender attached alone"]),
    ],
)
def test_each_target_can_be_missed_alone(changed: dict[str, Any], words: list[str]) -> None:
    missed = [target.goal for target in found_at(8, rows(**changed)) if target.met is False]
    assert len(missed) == len(words)
    for goal, start in zip(missed, words, strict=True):
        assert goal.startswith(start)


def test_gains_are_held_to_less_at_convergence_and_only_there() -> None:
    missed = {t.goal.split(":")[0] for t in found_at(8, rows(reversed_ccc=0.56)) if not t.met}
    assert "CCC reversed" in missed
    missed = {t.goal.split(":")[0] for t in found_at(16, rows(reversed_ccc=0.56)) if not t.met}
    assert "CCC reversed" not in missed
    missed = {t.goal.split(":")[0] for t in found_at(12, rows(reversed_ccc=0.56)) if not t.met}
    assert "CCC reversed" in missed


def test_a_gain_that_seeds_do_not_tell_apart_is_none() -> None:
    unsure = rows_of_measures(GOOD)
    noisy = [
        Row(row.name, row.seed, [s for s in row.scores if s.key[:3] != ("ccc", "reversed", "mean")]
            + [Score("ccc", value, "reversed", "mean")])
        if row.name == "idfer" else row
        for row, value in zip(unsure, [0.0] * 6 + [0.2, 0.8, 1.3], strict=True)
    ]  # fmt: skip
    gain = found_at(8, noisy)[0]
    assert gain.goal.startswith("CCC reversed: +15%")
    assert gain.found.startswith("+5")
    assert gain.met is False


def test_what_was_not_measured_is_said_to_be_so() -> None:
    bare = rows_of_measures({name: GOOD[name] for name in ("oracle", "idfer")})
    by_start = {target.goal.split(":")[0]: target.verdict for target in found_at(8, bare)}
    assert by_start["CCC reversed"] == by_start["gap closed"] == "not measured"
    assert by_start["residual"] == "met"
    assert by_start["age attached alone"] == "not measured"
    assert found_at(8, rows_of_measures({"erm": {}})) == []


def test_the_table_of_attachments_has_a_row_for_each_and_only_methods_that_split() -> None:
    given = [
        Row("idfer", 1, [Score("person_ratio", 0.3, feature=f), Score("effect", -0.1, "valence", "age", f)])
        for f in ("attached",)
    ]
    table = attach_table([*given, *rows_of_measures({"erm": {}}, seeds=[1])])
    assert [row[:2] for row in table[1:]] == [
        ["idfer", name] for name in ("none", "all", "gender", "age", "skin")
    ]
    assert "-0.100" in table[2]
