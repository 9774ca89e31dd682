"""Who is drawn: populations, correlations, and the map from valence and arousal to action units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm, spearmanr

from idfer.errors import IdferError, UsageError
from idfer.synthetic import circumplex
from idfer.synthetic.correlation import parse
from idfer.synthetic.factors import EXPRESSION, IDENTITY, NUISANCE, Factors, level, sample
from idfer.synthetic.population import SHAPES

PROTOCOL = "age:valence=-0.7,gender:arousal=0.7"


def of_gaussian(rho: float) -> float:
    """Spearman's rho of a Gaussian copula with Pearson correlation `rho`."""
    return float(6 / np.pi * np.arcsin(rho / 2))


@pytest.mark.parametrize(
    "correlation", ["", PROTOCOL, "age:valence=0.7,gender:arousal=-0.7", "skin:arousal=-1"]
)
def test_correlations_are_reached_and_marginals_stay_uniform(correlation: str) -> None:
    faces = sample(4000, 1, correlation, seed=3)
    wanted = parse(correlation)
    for label in ("valence", "arousal"):
        values = getattr(faces, label).numpy()
        assert kstest(values, "uniform", (-1, 2)).statistic < 0.04
        for factor in ("gender", "age", "skin"):
            found = spearmanr(getattr(faces, factor).numpy(), values).statistic
            assert found == pytest.approx(of_gaussian(wanted.get((factor, label), 0.0)), abs=0.06)


def test_two_factors_can_share_a_label() -> None:
    faces = sample(3000, 1, {("age", "valence"): -0.6, ("skin", "valence"): 0.5}, seed=1)
    for factor, rho in (("age", -0.6), ("skin", 0.5)):
        found = spearmanr(getattr(faces, factor).numpy(), faces.valence.numpy()).statistic
        assert found == pytest.approx(of_gaussian(rho), abs=0.06)


def test_identity_factors_are_independent_of_each_other() -> None:
    """No stereotype is built in: skin, age, gender and the shape of the face know nothing of each other."""
    faces = sample(4000, 1, seed=8)
    table = np.stack([getattr(faces, name).numpy() for name in ("gender", "age", "skin", *SHAPES)])
    between = spearmanr(table.T).statistic - np.eye(len(table))
    assert np.abs(between).max() < 0.07


def test_the_same_people_whatever_the_correlation_and_counts() -> None:
    few, many = sample(5, 2, PROTOCOL, seed=9), sample(12, 7, "", seed=9)
    for name in IDENTITY:
        np.testing.assert_array_equal(
            getattr(few, name)[::2].numpy(), getattr(many, name)[: 5 * 7 : 7].numpy()
        )
    assert not np.array_equal(sample(5, 2, seed=10).skin.numpy(), few.skin.numpy())


def test_a_person_keeps_identity_over_all_images_and_varies_in_the_rest() -> None:
    faces = sample(4, 30, seed=2)
    for name in IDENTITY:
        values = getattr(faces, name).reshape(4, 30)
        assert (values == values[:, :1]).all(), name
    for name in (*EXPRESSION, *NUISANCE):
        assert getattr(faces, name).std() > 0, name


def test_levels_have_people_and_gender_is_mostly_clear() -> None:
    faces = sample(3000, 1, seed=4)
    for name, names in (
        ("gender", {"feminine", "masculine"}),
        ("age", {"young", "middle-aged", "older"}),
        ("skin", {"light", "medium", "dark"}),
    ):
        found, counts = np.unique(level(name, getattr(faces, name)), return_counts=True)
        assert set(found) == names
        assert counts.min() > 0.9 * len(faces) / len(names)
    between = ((faces.gender > 0.2) & (faces.gender < 0.8)).float().mean()
    assert 0.02 < between < 0.25


def test_levels_change_exactly_at_their_borders() -> None:
    assert list(level("skin", np.array([3.99, 4.0, 6.99, 7.0]))) == ["light", "medium", "medium", "dark"]
    assert list(level("gender", np.array([0.49, 0.5]))) == ["feminine", "masculine"]
    with pytest.raises(UsageError, match=r"hair_style"):
        level("hairstyle", np.zeros(1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age:valence", "cannot be read"),
        ("age=0.5", "cannot be read"),
        ("age:valence=high", "cannot be read"),
        ("age:valence=nan", "cannot be read"),
        ("agee:valence=0.5", "Did you mean 'age'"),
        ("age:valance=0.5", "Did you mean 'valence'"),
        ("age:valence=1.2", "outside"),
        ("age:valence=0.5,age:valence=0.1", "twice"),
        ("age:valence=0.8,skin:valence=0.7", "at most 1"),
    ],
)
def test_bad_correlations_say_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sample(2, 1, text)


def test_correlation_text_may_be_spaced_and_empty() -> None:
    assert parse(" age:valence = -0.7 , gender : arousal=0.7, ") == {
        ("age", "valence"): -0.7,
        ("gender", "arousal"): 0.7,
    }
    assert parse("") == parse(None) == {}


@pytest.mark.parametrize("wrong", [{"identities": 0}, {"per_identity": -1}, {"seed": -1}, {"seed": 2**24}])
def test_impossible_counts_and_seeds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        sample(**{"identities": 2, "per_identity": 2, **wrong})


def test_factors_survive_a_table() -> None:
    faces = sample(3, 2, PROTOCOL, seed=6)
    again = Factors.from_frame(faces.frame())
    for name in Factors.names():
        assert (getattr(again, name) == getattr(faces, name)).all(), name
    with pytest.raises(IdferError, match=r"factor\.jpeg"):
        Factors.from_frame(faces.frame().drop(columns="factor.jpeg"))
    with pytest.raises(UsageError, match="valence"):
        faces.replace(valense=0.0)


# --- the circumplex map


def test_prototypes_are_shown_at_their_anchors() -> None:
    for emotion, units in circumplex.PROTOTYPES.items():
        valence, arousal, dominance = circumplex.ANCHORS[emotion]
        shown = circumplex.action_units(np.array([valence]), np.array([arousal]), dominance)
        strong = [au for au, intensity in units.items() if intensity >= 0.75]
        assert all(shown[au][0] > 0.45 for au in strong), (emotion, {au: shown[au] for au in strong})


def test_dominance_tells_anger_from_fear() -> None:
    where = (np.array([-0.58]), np.array([0.6]))
    angry, fearful = (circumplex.action_units(*where, d) for d in (0.6, -0.8))
    assert angry[23] > fearful[23] + 0.2  # lips tighten
    assert fearful[1] > angry[1] + 0.2  # inner brows rise
    assert fearful[20] > angry[20] + 0.2  # lips stretch


@pytest.mark.parametrize(("au", "rises_with"), [(12, "valence"), (26, "arousal"), (5, "arousal")])
def test_expression_follows_the_labels(au: int, rises_with: str) -> None:
    faces = sample(1500, 1, seed=5)
    shown, value = getattr(faces, f"au{au}").numpy(), getattr(faces, rises_with).numpy()
    assert spearmanr(shown, value).statistic > 0.35


@settings(deadline=None, max_examples=60)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_the_map_is_bounded_and_smooth(valence: float, arousal: float, dominance: float) -> None:
    step = 1e-3
    here = circumplex.action_units(np.array([valence]), np.array([arousal]), dominance)
    there = circumplex.action_units(np.array([valence + step]), np.array([arousal + step]), dominance)
    assert set(here) == set(circumplex.AUS)
    for au in circumplex.AUS:
        assert 0 <= here[au][0] <= 1
        assert abs(there[au][0] - here[au][0]) < 0.02


def test_anchors_can_be_replaced() -> None:
    """Sources disagree on where surprise lies; the map takes other anchors."""
    moved = {**circumplex.ANCHORS, "surprised": (-0.11, 0.32, -0.13)}
    at = (np.array([-0.11]), np.array([0.32]), -0.13)
    assert circumplex.action_units(*at, moved)[1] > circumplex.action_units(*at)[1] + 0.1


def test_wide_variety_is_of_the_same_people_and_labels_and_less_alike() -> None:
    """Anger that is always shown with pressed lips taught that bared teeth are laughter."""
    plain, wide = sample(3000, 1, PROTOCOL, seed=4), sample(3000, 1, PROTOCOL, seed=4, variety="wide")
    same = {name for name in Factors.names() if torch.equal(getattr(plain, name), getattr(wide, name))}
    assert set(Factors.names()) - same == {n for n in EXPRESSION if n.startswith("au")} | {
        "yaw", "pitch", "roll", "mouth_curve", "cheek_fullness", "lip_fullness", "glasses",
    }  # fmt: skip
    angry = (plain.valence + 0.51).square() + (plain.arousal - 0.59).square() < 0.15**2
    assert (plain.au25[angry & (plain.dominance > 0)] > 0.3).float().mean() < 0.2
    assert 0.3 < (wide.au25[angry] > 0.3).float().mean() < 0.8
    assert wide.au4[angry].mean() > 0.4  # brows are lowered in whatever way it is shown
    assert wide.au12[wide.valence > 0.6].mean() > 3 * wide.au12[wide.valence < -0.3].mean()
    few = sample(20, 3, PROTOCOL, seed=4, variety="wide")
    assert torch.equal(few.mouth_curve[::3], wide.mouth_curve[:20]), (
        "the same people however many are asked for"
    )
    assert torch.equal(few.glasses[::3], wide.glasses[:20])


def test_people_of_wide_variety_differ_at_rest() -> None:
    """A face that is cross by nature is no angry one: the label says nothing of it."""
    faces = sample(400, 10, seed=5, variety="wide")
    brows = faces.au4.reshape(400, 10).amin(1)
    assert (brows > 0.25).float().mean() > 0.1, "some never stop frowning"
    assert (brows < 0.1).float().mean() > 0.2
    apart = faces.au4.reshape(400, 10).sort(1).values.diff(dim=1)
    assert (apart == 0).float().mean() < 0.01, "but never twice to the same degree"
    assert sample(400, 10, seed=5).au4.reshape(400, 10).amin(1).max() < 0.3, "which plain ones do"
    few = sample(40, 10, seed=5, variety="wide").au4.reshape(40, 10).amin(1)
    assert (few - brows[:40]).abs().max() < 0.2, "the same people rest alike however many are asked for"
    with pytest.raises(UsageError, match="Did you mean 'wide'"):
        sample(2, 2, variety="widee")


def test_scores_map_to_uniform_labels() -> None:
    from idfer.synthetic.correlation import correlate

    noise = np.random.default_rng(0).standard_normal(500)
    np.testing.assert_allclose(correlate("valence", noise, {}, {}), 2 * norm.cdf(noise) - 1, atol=1e-12)
