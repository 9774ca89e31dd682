"""What a data set's labels tell of attributes, and how evenly it shows people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats.contingency import association
from sklearn.metrics import mutual_info_score

from idfer.auditing.engine import AuditSettings
from idfer.auditing.levels import one_hot
from idfer.auditing.representation import diversity, representation
from idfer.auditing.sample import Attribute, Sample
from idfer.auditing.stereotype import (
    BINS,
    bin_name,
    cramers_v,
    ducher_z,
    mutual_information,
    stereotype,
)
from idfer.evaluation.multiplicity import holm

SETTINGS = AuditSettings(permutations=200)


def sample(people: int, faces: int, tilt: float, seed: int = 0, soft: float = 0.0) -> Sample:
    """People of two groups whose valence is tilted by the group, and clustered within people."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), faces)
    group = (np.arange(people) % 2)[person]
    own = rng.normal(0, 0.3, (people, 2))[person]
    label = np.clip(
        own + rng.normal(0, 0.3, own.shape) + tilt * np.stack([2 * group - 1, 0 * group], 1), -1, 1
    )
    posterior = one_hot(group, 2)
    if soft:
        posterior = np.abs(posterior - rng.uniform(0, soft, (len(person), 1)))
    attribute = Attribute("group", ("a", "b"), posterior, bool(soft), "given")
    return Sample(np.array([f"{i}" for i in range(len(person))], object), label, None, person, (attribute,))


def test_information_and_association_are_those_of_the_libraries() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (4, 3)).astype(float)
    assert mutual_information(counts) == pytest.approx(
        mutual_info_score(None, None, contingency=counts), abs=1e-12
    )
    assert cramers_v(counts) == pytest.approx(association(counts.astype(int), method="cramer"), abs=1e-9)


def test_local_association_reaches_its_ends_and_is_0_where_independent() -> None:
    together, apart = np.array([[0.5, 0], [0, 0.5]]), np.full((2, 2), 0.25)
    np.testing.assert_allclose(ducher_z(together), [[1, -1], [-1, 1]])
    np.testing.assert_allclose(ducher_z(apart), 0)


def test_a_planted_stereotype_is_found_where_it_is() -> None:
    table, cells = stereotype(sample(60, 8, 0.3), SETTINGS)
    found = table.set_index("label")
    assert found["p_adjusted"]["valence"] < 0.02
    assert found["p_adjusted"]["arousal"] > 0.1
    assert found["normalised"]["valence"] > 0.1 > found["normalised"]["arousal"]
    high = cells.query("level == 'b' and dimension == 'valence'").set_index("bin")
    assert high["ratio"][bin_name(BINS - 1)] > 1.5 > 0.5 > high["ratio"][bin_name(0)]
    assert high["z"][bin_name(BINS - 1)] > 3


def test_what_labels_tell_for_certain_is_found_however_many_tests_there_are() -> None:
    """With 200 permutations no p over 12 tests could be below .05: labels seemed to tell nothing."""
    one = sample(60, 8, 0.3)
    (group,) = one.attributes
    four = replace(one, attributes=tuple(replace(group, name=f"{group.name} {k}") for k in range(4)))
    table, _ = stereotype(four, SETTINGS)
    assert (table[table["label"] == "valence"]["p_adjusted"] <= 0.05).all()


@pytest.mark.parametrize("soft", [0.0, 0.4])
def test_people_with_labels_of_their_own_are_no_stereotype(soft: float) -> None:
    found = [stereotype(sample(24, 12, 0, seed, soft), SETTINGS)[0] for seed in range(40)]
    p = np.array([table["p"] for table in found])
    assert (p < 0.1).mean() < 0.2  # rows as units would raise this to more than a half
    assert 0.35 < p.mean() < 0.65
    of_rows = np.array([table["mutual_information"] - table["null_mean"] for table in found])
    assert abs(of_rows.mean()) < 0.01


def test_groups_of_few_people_have_no_cells() -> None:
    _, cells = stereotype(sample(30, 4, 0.3), SETTINGS)  # 15 people a group, fewer than 20
    assert len(cells) == 0


def test_evenness_counts_people_not_faces() -> None:
    person = np.repeat(np.arange(10), [91, *[1] * 9])
    attribute = Attribute("group", ("a", "b"), one_hot((person % 2), 2), False, "given")
    keys = np.array([str(i) for i in range(100)], object)
    found = representation(Sample(keys, None, np.zeros((100, 2)), person, (attribute,)))
    assert list(found["people"]) == [5, 5]
    assert list(found["rows"]) == [95, 5]
    assert found["evenness"][0] == pytest.approx(1)
    rows = representation(Sample(keys, None, np.zeros((100, 2)), None, (attribute,)))
    assert rows["effective_number"][0] == pytest.approx(np.exp(-0.95 * np.log(0.95) - 0.05 * np.log(0.05)))
    assert diversity(np.array([1.0, 0.0])) == (0.0, 1.0)


def test_people_are_counted_once_where_a_classifier_wavers() -> None:
    person = np.repeat(np.arange(10), 3)
    wavering = np.tile([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]], (10, 1))
    keys = np.array([str(i) for i in range(30)], object)
    found = {}
    for soft in (True, False):
        attribute = Attribute("group", ("a", "b"), wavering, soft, "given")
        found[soft] = representation(Sample(keys, None, np.zeros((30, 2)), person, (attribute,)))
    assert list(found[True]["people"]) == [10, 0]
    assert list(found[False]["people"]) == [10, 10]
    assert list(found[True]["rows"]) == [20, 10]


def test_holm_steps_down() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
