"""Variance components and attribute effects: known truths are found, and intervals hold them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from idfer.data.images import read_image
from idfer.data.manifest import Manifest
from idfer.data.preprocess import Preprocess
from idfer.errors import IdferError
from idfer.evaluation import anova
from idfer.evaluation.anova import _few_people, components, effects, measure
from idfer.evaluation.suite import measure as evaluate
from idfer.reporting.invariance import invariance_chart, shown_attributes
from idfer.reporting.report import write_report
from idfer.synthetic.cross import cross
from idfer.synthetic.dataset import write_splits
from idfer.types import Outputs


def drawn(
    rng: np.random.Generator, people: int, shown: int, person: float, rest: float, expression: float = 0.5
) -> tuple[np.ndarray, float]:
    """(P, E, 2) predictions of known components, and the SD of the expressions that were drawn."""
    columns = expression * rng.standard_normal((shown, 2))
    who = person * rng.standard_normal((people, 1, 2))
    return columns + who + rest * rng.standard_normal((people, shown, 2)), float(columns[:, 0].std(ddof=1))


def test_components_are_those_of_the_textbook_table() -> None:
    """Against sums of squares written out, on a table with numbers one can follow."""
    y = np.random.default_rng(0).uniform(-1, 1, (4, 5, 2))
    people, shown = 4, 5
    grand = y.mean((0, 1))
    rows, columns = y.mean(1), y.mean(0)
    ms_person = shown * ((rows - grand) ** 2).sum(0) / (people - 1)
    ms_expression = people * ((columns - grand) ** 2).sum(0) / (shown - 1)
    left = y - rows[:, None] - columns[None] + grand
    rest = (left**2).sum((0, 1)) / ((people - 1) * (shown - 1))
    person, expression = (ms_person - rest) / shown, (ms_expression - rest) / people
    found = components(y + 100.0)  # a large mean costs no digits
    for d, name in enumerate(anova.DIMENSIONS):
        assert found[name].interaction.value == pytest.approx(np.sqrt(rest[d]))
        assert found[name].person.value == pytest.approx(np.sqrt(max(person[d], 0)), abs=1e-9)
        assert found[name].expression.value == pytest.approx(np.sqrt(max(expression[d], 0)), abs=1e-9)
    assert found["both"].interaction.value == pytest.approx(np.sqrt(rest.sum()))
    assert found["both"].interaction_ratio.value == pytest.approx(np.sqrt(rest.sum() / expression.sum()))


def test_variances_are_unbiased_and_so_is_their_bootstrap() -> None:
    """Few people: what a bootstrap repeats would make them 10 % more alike than they are."""
    rng = np.random.default_rng(1)
    truth, estimated, resampled = [], [], []
    for seed in range(300):
        y, spread = drawn(rng, 10, 8, person=0.2, rest=0.3, expression=0.2)
        truth.append([spread**2, 0.04, 0.09])
        y = y - y.mean((0, 1))
        sums = anova._sums(y)
        estimated.append(anova._variances(sums.sum(0), 10, 8)[0][0])
        found = components(y, replicates=40, seed=seed)["valence"]
        ends = [getattr(found, part) for part in ("expression", "interaction")]
        resampled.append([(end.low**2 + end.high**2) / 2 for end in ends])
    np.testing.assert_allclose(np.mean(estimated, 0), np.mean(truth, 0), rtol=0.1)
    middle = np.mean(resampled, 0) / np.mean(estimated, 0)[[0, 2]]
    assert middle[1] == pytest.approx(1, abs=0.07), "intervals lie about what was estimated"
    assert middle[0] < 1.2  # skewed: 1.12, and 1.32 where the noise of the bootstrap is left in


@pytest.mark.parametrize("person", [0.0, 0.1])
def test_intervals_hold_the_truth_about_as_often_as_they_say(person: float) -> None:
    rng = np.random.default_rng(2)
    inside = []
    for seed in range(150):
        y, spread = drawn(rng, 50, 12, person=person, rest=0.15)
        found = components(y, replicates=200, seed=seed)["valence"]
        truth = {
            "expression": spread, "person": person, "interaction": 0.15,
            "person_ratio": person / spread, "interaction_ratio": 0.15 / spread,
        }  # fmt: skip
        inside.append([getattr(found, n).low <= t <= getattr(found, n).high for n, t in truth.items()])
    share = np.mean(inside, 0)
    assert (share > 0.85).all() and (share < 1.0).any(), share


def test_an_effect_is_the_slope_per_standard_deviation_with_a_fair_interval() -> None:
    rng = np.random.default_rng(3)
    inside, values = [], []
    for seed in range(150):
        y, _ = drawn(rng, 50, 6, person=0.1, rest=0.2)
        age = rng.uniform(20, 80, 50)
        y[..., 1] -= 0.07 * ((age - age.mean()) / age.std(ddof=1))[:, None]
        found = effects(y, {"age": age, "skin": rng.uniform(1, 10, 50)}, replicates=200, seed=seed)
        inside.append([e.low <= t <= e.high for e, t in zip(found.values(), (0, -0.07, 0, 0), strict=True)])
        values.append(found["age", "arousal"].value)
    assert np.mean(values) == pytest.approx(-0.07, abs=0.005)
    assert (np.mean(inside, 0) > 0.88).all()


def test_a_feature_that_goes_with_a_named_attribute_does_not_take_its_effect() -> None:
    rng = np.random.default_rng(4)
    gender = rng.standard_normal(400)
    beard = gender + 0.5 * rng.standard_normal(400)
    y = drawn(rng, 400, 4, 0.02, 0.02)[0]
    y[..., 0] += 0.1 * gender[:, None]
    found = effects(y, {"gender": gender, "beard": beard})
    assert found["gender", "valence"].value == pytest.approx(0.1, abs=0.01)
    assert abs(found["beard", "valence"].value) < 0.01
    alone = effects(y, {"beard": beard}, named=())
    assert alone["beard", "valence"].value > 0.08, "told nothing else, it looks like its effect"


def test_attributes_that_say_nothing_have_no_effect_to_tell() -> None:
    rng = np.random.default_rng(5)
    y = drawn(rng, 30, 4, 0.1, 0.1)[0]
    age = rng.standard_normal(30)
    patchy = np.where(np.arange(30) < 10, np.nan, age)
    rare = (np.arange(30) == 0).astype(float)  # missing from many a resample
    given = {"age": age, "same": np.ones(30), "copy": 2 * age + 1, "none": np.full(30, np.nan), "rare": rare}
    found = effects(y, given)
    for name in ("same", "copy", "none"):
        assert np.isnan([*vars(found[name, "valence"]).values()]).all(), name
    assert np.isfinite(list(vars(found["rare", "valence"]).values())).all()
    some = effects(y, {"age": patchy})["age", "valence"]
    assert some == effects(y[10:], {"age": age[10:]})["age", "valence"]
    constant = effects(y, {"age": age, "gender": np.zeros(30)})
    assert constant["age", "valence"].value == pytest.approx(found["age", "valence"].value)


@pytest.mark.parametrize(
    ("predictions", "attributes", "said"),
    [
        (np.zeros((4, 5)), {}, r"predictions \(4, 5\)"),
        (np.zeros((1, 5, 2)), {}, "2 or more"),
        (np.full((3, 3, 2), np.nan), {}, "not a finite number"),
        (np.zeros((3, 3, 2)), {"age": ["a", "b", "c"]}, "'age' is not numbers"),
        (np.zeros((3, 3, 2)), {"age": [1.0, 2.0]}, "one number of 3 people"),
    ],
)
def test_what_cannot_be_analysed_is_named(predictions, attributes, said: str) -> None:
    with pytest.raises(IdferError, match=said):
        effects(predictions, attributes)


def test_a_constant_prediction_has_no_ratio_and_is_no_crash() -> None:
    found = components(np.zeros((5, 4, 2)))
    assert found["both"].expression.value == found["both"].person.value == 0
    assert np.isnan(found["both"].person_ratio.value)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_splits({"cross": cross(40, 6, 5)}, tmp_path_factory.mktemp("c"), size=32, progress=False)


class Biased:
    """Knows every face's label and says older ones look more pleasant: found by its picture."""

    attributes = ()
    preprocess = Preprocess(32, 0.0)

    def __init__(self, faces: Manifest, bias: float, name: str = "biased"):
        age = faces.frame["factor.age"].to_numpy(np.float64)
        said = 0.9 * faces.targets.astype(np.float64)
        said[:, 0] += bias * (age - age.mean()) / age.std()
        self.name = name
        self.said = {_key(read_image(file)): y for file, y in zip(faces.files, said, strict=True)}

    def predict(self, crops: np.ndarray, strength: object = None, /) -> Outputs:
        return Outputs(np.stack([self.said[_key(crop)] for crop in crops]))


def _key(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()


def test_a_planted_bias_is_found_in_evaluation_and_on_the_page(crossed: Manifest, tmp_path: Path) -> None:
    quick = {"suites": ("accuracy",), "progress": False, "device": "cpu", "replicates": 200}
    biased, fair = (
        evaluate(Biased(crossed, *of), crossed, **quick) for of in ((0.1, "biased"), (0.0, "fair"))
    )
    found = biased.metrics["invariance"]
    assert (found["people"], found["expressions"], found["split"], found["left_out"]) == (40, 6, "cross", 0)
    effect = found["effects"]["age"]
    assert effect["valence"]["value"] == pytest.approx(0.1, abs=0.003)
    assert effect["valence"]["low"] > 0.09 and abs(effect["arousal"]["value"]) < 1e-6
    spread = found["components"]
    expected = 0.9 * crossed.frame["valence"].drop_duplicates().std()
    assert spread["valence"]["expression"]["value"] == pytest.approx(expected, rel=0.01)
    assert spread["valence"]["person_ratio"]["value"] == pytest.approx(0.1 / expected, rel=0.03)
    assert spread["both"]["interaction_ratio"]["value"] < 1e-5
    assert fair.metrics["invariance"]["components"]["both"]["person"]["value"] < 1e-5
    assert "effect of age: valence 0.10" in str(biased)
    table = biased.frame().query("suite == 'invariance'")
    assert table.query("measure == 'effect age' and subject_of == 'valence'")["value"].item() > 0.09
    assert len(table) == 3 * 5 + 2 * len(found["effects"])
    page = write_report([fair, biased], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The same expression on another face" in page and "age: older" in page
    assert "+0.10" in page
    json.dumps(biased.metrics, allow_nan=False)


def test_a_face_that_cannot_be_read_leaves_its_person_out(crossed: Manifest) -> None:
    table = crossed.frame
    said = crossed.targets.astype(np.float64)
    said[7] = np.nan  # a face of the second person
    found = measure(table, said, replicates=20)
    assert found.people == 39
    said[table["factor.identity"] > 1] = np.nan
    with pytest.raises(IdferError, match="fewer than 2 people"):
        measure(table, said)


def test_measure_takes_factors_as_well_as_a_table_in_any_order(crossed: Manifest) -> None:
    faces = cross(40, 6, 5)
    said = np.random.default_rng(0).uniform(-1, 1, (240, 2))
    order = np.random.default_rng(1).permutation(240)
    first = measure(faces, said, replicates=50)
    second = measure(crossed.frame.iloc[order], said[order], replicates=50)
    assert first.person_ratio == first.components["both"].person_ratio
    pd.testing.assert_series_equal(flat(first), flat(second))
    assert {"glasses", "hair_style", "mouth_curve"} <= {name for name, _ in first.effects}
    assert not {"identity", "cohort", "expressivity"} & {name for name, _ in first.effects}
    with pytest.raises(IdferError, match="no full cross"):
        measure(faces.rows(slice(0, 239)), said[:239])
    with pytest.raises(IdferError, match=r"predictions \(5, 2\) for 240 faces"):
        measure(faces, said[:5])


def flat(found: anova.Invariance) -> pd.Series:
    return pd.json_normalize(found.to_dict()).iloc[0].astype(float)


def test_ordinary_faces_have_no_such_section(tmp_path: Path) -> None:
    from idfer.synthetic.factors import sample

    faces = write_splits({"test": sample(6, 4, seed=1)}, tmp_path / "faces", size=32, progress=False)
    found = evaluate(Biased(faces, 0.1), faces, suites=("accuracy",), progress=False, device="cpu")
    assert found.metrics["invariance"] is None
    assert "same expression" not in str(found)
    page = write_report([found], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The same expression on another face" not in page


def test_the_chart_takes_plain_data_with_gaps(crossed: Manifest) -> None:
    said = crossed.targets + 0.0
    said[:, 1] += 0.1 * crossed.frame["factor.mouth_curve"].to_numpy()
    plain = json.loads(json.dumps(measure(crossed.frame, said, replicates=50).to_dict()))
    models = {"one": plain, "two": {**plain, "effects": {"age": plain["effects"]["age"]}}}
    models["two"]["effects"]["age"]["valence"]["low"] = None
    assert shown_attributes(models, 1) == ["gender", "age", "skin", "mouth_curve"]
    figure = invariance_chart(models, ["two", "one"])
    spread, valence, _ = figure.axes
    assert [label.get_text() for label in spread.get_yticklabels()] == ["two", "one"]
    widths = [bar.get_width() for bar in spread.patches if bar.get_height() < 0.5][:3]
    both = plain["components"]["both"]
    assert widths == pytest.approx([both[p]["value"] for p in anova.PARTS])
    points = [line for line in valence.lines if len(line.get_xdata()) == 1]
    assert len(points) == 4, "one attribute of one model, three of the other"


def test_intervals_of_effects_know_how_few_people_there_are() -> None:
    """The bootstrap's interval leaves the truth out of 6.6 % of slopes of 60 people beside four others."""
    assert _few_people(60, 5) == pytest.approx(1.068, abs=0.002)
    assert _few_people(100_000, 5) == pytest.approx(1, abs=1e-3)
