"""Shift protocols: each draws what it says, for people whom no test has in common with training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from idfer.attributes.table import AttributeTable
from idfer.catalogue import PROTOCOLS
from idfer.data.manifest import Manifest
from idfer.errors import UsageError
from idfer.evaluation.anova import measure
from idfer.evaluation.counterfactual import check_pairs
from idfer.experiments.protocol import CHANGED, CROSS, ORACLE, SHIFTED, Protocol, write_world
from idfer.experiments.protocols import extrapolation, raters, retrieval_noise
from idfer.experiments.protocols.design import Design, World, load_design
from idfer.synthetic.cross import cross
from idfer.synthetic.factors import EXPRESSION, IDENTITY, NUISANCE, Factors, sample

SIZES = Protocol(train=(60, 4), val=(20, 3), test=(40, 4), cross=(4, 3), size=32)
MANY = Protocol(train=(400, 5), val=(20, 2), test=(400, 5), size=32)  # drawn, never rendered


def drawn(name: str, sizes: Protocol = SIZES, seed: int = 5) -> World:
    return load_design(name).draw(sizes, seed)


def people(faces: Factors) -> set[tuple[float, float]]:
    return set(zip(faces.cohort.tolist(), faces.identity.tolist(), strict=True))


def same(first: Factors, second: Factors, *, but: tuple[str, ...] = ()) -> bool:
    return all(torch.equal(getattr(first, n), getattr(second, n)) for n in Factors.names() if n not in but)


def dependence(faces: Factors, factor: str, label: str) -> float:
    return float(spearmanr(getattr(faces, factor), getattr(faces, label)).statistic)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_draws_what_it_names_again_and_again_with_nobody_in_two_parts(name: str) -> None:
    design, world, again = load_design(name), drawn(name), drawn(name)
    assert set(world.learned) == set(design.folders)
    assert tuple(world.tests) == design.tests
    trained = set.union(*(people(of.train) for of in world.learned.values()))
    held_out = set.union(*(people(of.val) for of in world.learned.values()))
    tested = set.union(*(people(faces) for faces in world.tests.values()))
    assert not trained & held_out
    assert not (trained | held_out) & tested
    for level, of in world.learned.items():
        assert same(of.train, again.learned[level].train)
        assert len(of.train) == 60 * 4
        assert of.train.valence.abs().max() <= 1
    for split, faces in world.tests.items():
        assert same(faces, again.tests[split])
    other = load_design(name).draw(SIZES, 6)
    assert not people(other.learned[ORACLE].train) & trained


@pytest.mark.parametrize(
    "name", ["correlation", "sweep", "few-people", "retrieval-noise", "hidden", "expressivity"]
)
def test_the_same_unseen_people_are_in_every_test_in_the_same_photographs(name: str) -> None:
    first, *others = drawn(name).tests.values()
    for faces in others:
        shown = () if name == "expressivity" else EXPRESSION
        assert same(first, faces, but=(*shown, "expressivity", *(n for n in EXPRESSION if n[:2] == "au")))
        assert all(torch.equal(getattr(first, n), getattr(faces, n)) for n in NUISANCE)


def test_a_sweep_is_as_strong_as_it_says_and_without_a_shortcut_is_the_oracle() -> None:
    world = drawn("sweep", MANY)
    found = [dependence(world.learned[f"rho-{rho}"].train, "age", "valence") for rho in (0, 50, 70, 90)]
    np.testing.assert_allclose(found, [0, -0.48, -0.68, -0.89], atol=0.07)  # Spearman's
    tests = [dependence(faces, "gender", "arousal") for faces in world.tests.values()]
    np.testing.assert_allclose(tests, [-0.89, -0.48, 0, 0.48, 0.89], atol=0.07)
    assert same(world.learned["rho-0"].train, world.learned[ORACLE].train)


def test_extrapolation_trains_on_other_looks_than_it_tests_and_labels_know_nobody() -> None:
    world = drawn("extrapolation", MANY)
    cells = {level: set(extrapolation.cell(of.train)) for level, of in world.learned.items()}
    assert cells["young-light"] == {"young-light"}
    assert cells["without-old-dark"] == set(extrapolation.CELLS) - {"old-dark"}
    assert cells[ORACLE] == set(extrapolation.CELLS)
    for name in extrapolation.CELLS:
        assert set(extrapolation.cell(world.tests[name])) == {name}
    train = world.learned["without-old-dark"].train
    assert max(abs(dependence(train, f, v)) for f in ("age", "skin") for v in ("valence", "arousal")) < 0.08


def test_shares_of_the_minority_are_of_people_and_smaller_ones_are_part_of_larger_ones() -> None:
    world = drawn("minority")
    dark = {
        level: people(of.train.rows(np.flatnonzero(of.train.skin >= 7)))
        for level, of in world.learned.items()
    }
    assert [len(dark[f"share-{share}"]) for share in (50, 10, 2, 0)] == [30, 6, 1, 0]
    assert dark["share-2"] < dark["share-10"] < dark["share-50"]
    for of in world.learned.values():
        assert not ((of.train.skin >= 4) & (of.train.skin < 7)).any()
    assert (world.tests["majority"].skin < 4).all()
    assert (world.tests["minority"].skin >= 7).all()


def test_few_people_share_the_images_and_everything_else() -> None:
    world = drawn("few-people")
    counts = [len(people(world.learned[f"people-{n}"].train)) for n in (15, 50, 150, 600)]
    assert counts == [6, 20, 60, 240]
    usual = drawn("correlation")
    assert same(world.learned["people-150"].train, usual.learned[SHIFTED].train)
    assert same(world.tests["reversed"], usual.tests["reversed"])
    assert len(people(world.learned[ORACLE].train)) == 240


def test_raters_err_by_who_it_is_while_faces_and_tests_keep_the_truth() -> None:
    world = drawn("raters", MANY)
    given, true = world.learned[SHIFTED].train, world.learned[ORACLE].train
    assert same(given, true, but=("valence", "arousal"))  # so the same pixels
    inside = (given.valence.abs() < 1).numpy()
    error = (given.valence - true.valence).numpy()[inside]
    older = sample(400, 5, "", 15).age.numpy()[inside]
    assert spearmanr(error, older).statistic < -0.99
    assert abs(dependence(true, "age", "valence")) < 0.08
    assert dependence(given, "age", "valence") < -0.4
    assert same(world.tests["rated"], world.tests["everyone"], but=("valence", "arousal"))
    assert not torch.equal(world.tests["rated"].arousal, world.tests["everyone"].arousal)
    assert {name: set(raters.cell(world.tests[name])) for name in raters.CELLS} == {
        name: {name} for name in raters.CELLS
    }


def test_a_hidden_shortcut_goes_through_unnamed_factors_alone() -> None:
    world = drawn("hidden", MANY)
    train, turned = world.learned[SHIFTED].train, world.tests["reversed"]
    for factor, label, sign in (
        ("hair_colour", "valence", -1), ("mouth_curve", "valence", 1), ("glasses", "arousal", 1)
    ):  # fmt: skip
        assert sign * dependence(train, factor, label) > 0.2
        assert sign * dependence(turned, factor, label) < -0.2
    assert max(abs(dependence(train, f, v)) for f in ("gender", "age", "skin") for v in ("valence",)) < 0.08
    assert float(train.valence.std()) == pytest.approx(1 / 3**0.5, abs=0.02)  # uniform on [-1, 1] still


def test_older_people_show_less_in_training_and_more_where_it_is_reversed() -> None:
    world = drawn("expressivity", MANY)
    assert dependence(world.learned[SHIFTED].train, "age", "expressivity") < -0.8
    assert abs(dependence(world.tests["balanced"], "age", "expressivity")) < 0.15
    turned = world.tests["reversed"]
    assert dependence(turned, "age", "expressivity") > 0.8
    assert abs(dependence(turned, "age", "valence")) < 0.08
    happy = turned.valence > 0.5  # what is shown follows expressivity
    old, young = happy & (turned.age > 0.66), happy & (turned.age < 0.33)
    assert turned.au12[old].mean() > 1.3 * turned.au12[young].mean()
    same_people = world.learned[ORACLE].train
    assert torch.equal(same_people.valence, world.learned[SHIFTED].train.valence)


def test_a_gain_that_goes_with_age_is_in_the_interaction_and_not_in_the_effect_of_age() -> None:
    rng = np.random.default_rng(0)
    faces = cross(100, 20, seed=5)
    half = rng.uniform(-1, 1, (10, 2))
    shown = np.tile(np.concatenate([half, -half]), (100, 1))  # as often up as down
    age = ((faces.age - faces.age.mean()) / faces.age.std()).numpy()[:, None]
    by_gain = measure(faces, shown * (1 + 0.3 * age), replicates=2)
    by_shift = measure(faces, shown + 0.3 * age, replicates=2)
    assert (
        abs(by_gain.effects["age", "valence"].value) < 0.02 < 0.2 < by_shift.effects["age", "valence"].value
    )
    assert by_gain.interaction_ratio.value > 0.2 > 0.02 > by_shift.interaction_ratio.value
    design = load_design("expressivity")
    assert design.shortcuts == ()
    assert "interaction of person and expression" in design.about


def test_people_are_misread_the_more_often_the_darker_and_always_alike() -> None:
    faces = sample(1500, 2, "", 3)
    frame = faces.frame().assign(path=[f"{k}.png" for k in range(3000)], valence=0.0, arousal=0.0)
    frame["subject"] = [f"p{int(k)}" for k in faces.identity]
    manifest = Manifest.from_frame(frame, Path("nowhere"))
    sure = np.tile(np.float32([0.9, 0.1, 0.7, 0.2, 0.1]), (3000, 1))
    table = AttributeTable(
        path=frame["path"].to_numpy(), frame=np.full(3000, -1), box=(None,) * 3000,
        errors=np.full(3000, "", object), levels={"gender": ["a", "b"], "age": ["a", "b", "c"]},
        posteriors=sure, embedding=np.zeros((3000, 2), np.float32), text=np.zeros((5, 2), np.float32),
    )  # fmt: skip
    read = retrieval_noise.misread(table, manifest, seed=1)
    for attribute in ("gender", "age"):
        wrong = read.posterior(attribute).argmax(axis=1) != 0
        np.testing.assert_array_equal(wrong[::2], wrong[1::2])  # a person's two faces
        np.testing.assert_allclose(np.sort(read.posterior(attribute)), np.sort(table.posterior(attribute)))
        skin = faces.skin.numpy()
        assert wrong[skin < 2.5].mean() < 0.08
        assert wrong[skin > 8.5].mean() == pytest.approx(0.46, abs=0.06)
    both = (read.posterior("gender").argmax(1) != 0) & (read.posterior("age").argmax(1) != 0)
    assert 0.02 < both.mean() < 0.15  # attributes are misread each for itself


def test_a_world_has_a_folder_per_level_and_tests_pairs_and_cross_beside_the_first(tmp_path: Path) -> None:
    sizes = Protocol(train=(6, 2), val=(3, 2), test=(4, 2), cross=(3, 2), size=16)
    folders = write_world(sizes, tmp_path, seed=2, progress=False, design="extrapolation")
    assert list(folders) == ["young-light", "without-old-dark", ORACLE]
    home = folders["young-light"]
    assert home.splits == ["train", "val", *extrapolation.CELLS, "everyone", CHANGED, CROSS]
    assert folders[ORACLE].splits == folders["without-old-dark"].splits == ["train", "val"]
    check_pairs(home.select("everyone"), home.select(CHANGED))
    of = lambda split: set(home.select(split).subjects)  # noqa: E731
    assert of(CROSS) <= of("everyone") | of("young-light")
    assert (tmp_path / "oracle" / "manifest.parquet").is_file()


def test_identity_factors_other_than_named_ones_are_the_same_people_as_ever() -> None:
    """Whoever a protocol draws, person i of a cohort is the person that `factors.sample` draws."""
    ever = sample(400, 1, "", 17)
    for name in ("correlation", "hidden", "extrapolation", "minority", "few-people"):
        for faces in drawn(name).tests.values():
            rows = faces.identity.long()
            assert all(torch.equal(getattr(ever, n)[rows], getattr(faces, n)) for n in IDENTITY)


def _bad(**changes: object) -> Design:
    given = {"draw": drawn, "about": "", "tests": ("a", "b"), "balanced": "a"} | changes
    return Design(**given)  # type: ignore[arg-type]


NOT_A_DESIGN = 3


def test_protocols_that_do_not_exist_or_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown protocol 'raterz'\. Did you mean 'raters'"):
        load_design("raterz")
    with pytest.raises(UsageError, match=r"is no idfer\.experiments\.protocols\.design\.Design"):
        load_design("test_protocols:NOT_A_DESIGN")
    with pytest.raises(UsageError, match=r"unknown level of the protocol 'rho-60'.*rho-50"):
        load_design("sweep").check_level("rho-60")
    with pytest.raises(UsageError, match="unknown test split of a protocol 'c'"):
        _bad(cells=("c",))
    with pytest.raises(UsageError, match="named 'cross'"):
        _bad(tests=("a", "cross"))
    with pytest.raises(UsageError, match="none of them oracle"):
        _bad(levels=("oracle",))
    assert _bad().cells == ("a", "b")
