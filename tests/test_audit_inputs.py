"""Tables as people have them become an audit's sample, or a message that says what to mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from idfer.auditing.bins import binned, parse_bins
from idfer.auditing.columns import parse_columns
from idfer.auditing.inputs import Read, Reading, read_sample
from idfer.auditing.scales import parse_range
from idfer.errors import IdferError, UsageError

N = 12


def predictions(**more: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"path": [f"img/{i:02d}.jpg" for i in range(N)]})
    table[["valence", "arousal"]] = rng.uniform(-0.9, 0.9, (N, 2)).round(3)
    table["valence_pred"], table["arousal_pred"] = table["valence"] * 0.5, table["arousal"] * 0.5
    table["subject"] = [f"p{i // 2}" for i in range(N)]
    return table.assign(**more)


def people(**more: Any) -> pd.DataFrame:
    table = pd.DataFrame({"path": [f"img/{i:02d}.jpg" for i in range(N)]})
    return table.assign(gender=["feminine", "masculine"] * (N // 2), **more)


def read(preds: Any, attributes: Any = None, labels: Any = None, features: Any = None, **how: Any) -> Read:
    return read_sample(preds, attributes, labels, features, how=Reading(**how))


def refused(preds: Any, *more: Any, **how: Any) -> str:
    with pytest.raises(IdferError) as error:
        read(preds, *more, **how)
    return str(error.value)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    preds, attrs = tmp_path / "preds.csv", tmp_path / "attrs.parquet"
    predictions().to_csv(preds, index=False)
    people(age=np.linspace(20, 80, N)).sample(frac=1, random_state=1).to_parquet(attrs)
    return preds, attrs


def test_files_are_joined_by_path_whatever_their_order(files: tuple[Path, Path]) -> None:
    sample = read(*files).sample
    given = predictions()
    assert list(sample.key) == list(given["path"])
    np.testing.assert_allclose(sample.label, given[["valence", "arousal"]])
    np.testing.assert_allclose(sample.predicted, given[["valence_pred", "arousal_pred"]])
    assert list(sample.subject) == list(given["subject"])
    gender, age = sample.attributes
    assert gender.levels == ("feminine", "masculine")
    assert list(gender.top) == [0, 1] * (N // 2)
    assert age.ordered
    assert age.source == "binned by quantiles of age"
    assert list(age.top) == [0] * 4 + [1] * 4 + [2] * 4


def test_semicolons_a_byte_order_mark_and_leading_zeros(tmp_path: Path) -> None:
    ids = [f"{i:03d}" for i in range(N)]
    preds = tmp_path / "p.csv"
    predictions(path=ids).rename(columns={"path": "id"}).to_csv(
        preds, sep=";", index=False, encoding="utf-8-sig"
    )
    sample = read(preds, people(path=ids).rename(columns={"path": "id"}), key="id").sample
    assert list(sample.key) == ids


def test_what_predict_and_evaluate_write_is_recognised() -> None:
    own = predictions()[["path", "valence", "arousal"]].rename(columns={"path": "input"})
    found = read(own.assign(face_id=0, face_score=0.9, error=""), people())
    np.testing.assert_allclose(found.sample.predicted, predictions()[["valence", "arousal"]])
    assert found.sample.label is None
    assert found.checks == ()
    evaluated = predictions().rename(
        columns={"valence_pred": "predicted_valence", "arousal_pred": "predicted_arousal"}
    )
    assert read(evaluated, people()).sample.label is not None


def test_valence_alone_is_the_prediction_and_it_is_said() -> None:
    plain = predictions()[["path", "valence", "arousal"]]
    found = read(plain, people())
    assert found.sample.label is None
    assert [c.code for c in found.checks] == ["IDF324"]
    with_labels = read(plain, people(), predictions()[["path", "valence", "arousal"]])
    assert with_labels.checks == ()
    np.testing.assert_allclose(with_labels.sample.label, with_labels.sample.predicted)


def test_columns_under_other_names_are_suggested_and_can_be_said() -> None:
    other = predictions().rename(columns={"valence_pred": "V_hat", "arousal_pred": "A_hat"})
    assert "--columns valence_pred=V_hat,arousal_pred=A_hat" in refused(other, people())
    said = parse_columns("valence_pred=V_hat,arousal_pred=A_hat")
    np.testing.assert_allclose(read(other, people(), columns=said).sample.predicted[:, 0], other["V_hat"])
    with pytest.raises(UsageError, match="Did you mean 'valence_pred'"):
        parse_columns("valence_prd=x")
    assert "no table has a column 'nope'" in refused(other, people(), columns={"subject": "nope"})


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda k: f"/data/{k}", "differ by a prefix: the table's begin with '/data/'"),
        (lambda k: k.replace("/", "\\"), "slashes"), (str.upper, "upper and lower case"),
        (lambda k: k.replace(".jpg", ".png"), "ending"), (lambda k: f" {k}", "spaces"),
        (lambda k: k.replace("img/", "b/"), "folders are not"), (lambda k: f"x{k}x", "another column"),
    ],
)  # fmt: skip
def test_keys_that_never_meet_say_how_they_differ(change: Any, hint: str) -> None:
    message = refused(predictions(), people(path=[change(k) for k in predictions()["path"]]))
    assert f"none of the {N} faces" in message
    assert hint in message


def test_faces_without_attributes_are_counted_and_kept() -> None:
    found = read(predictions(), people()[:9])
    assert len(found.sample.key) == N
    assert list(found.sample.attributes[0].known) == [True] * 9 + [False] * 3
    assert "3 of 12 faces" in found.checks[0].message


def test_faces_without_a_number_are_counted_and_left_out() -> None:
    preds = predictions()
    preds.loc[[1, 4], "valence_pred"] = np.nan
    labels = preds[["path", "valence", "arousal"]][:10]
    found = read(preds.drop(columns=["valence", "arousal"]), people(), labels)
    assert len(found.sample.key) == N - 4
    assert [c.message[:20] for c in found.checks] == ["2 of 12 faces have n", "2 of 12 faces have n"]
    assert "'img/01.jpg', 'img/04.jpg'" in found.checks[0].message


def test_missing_and_repeated_keys_are_refused_with_counts() -> None:
    assert "2 of 12 rows have no path" in refused(
        predictions(path=["a", None, "b", "", *"cdefghij"]), people()
    )
    twice = pd.concat([predictions(), predictions()[:2]])
    assert "2 rows repeat a path" in refused(twice, people())
    assert "--key path,frame" in refused(twice.assign(frame=range(N + 2)), people())
    frames = predictions(path="clip.mp4", frame=range(N))
    sample = read(frames, people(path="clip.mp4", frame=range(N)), key="path,frame").sample
    assert sample.key[3] == "clip.mp4|3"


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(1, 9, "--range 1,9"), (-10, 10, "--range -10,10"), (0, 100, "--range 0,100")]
)
def test_labels_on_another_scale_name_it(low: float, high: float, scale: str) -> None:
    values = np.linspace(low, high, N)
    preds = predictions(valence=values, arousal=values[::-1])
    message = refused(preds, people())
    assert scale in message
    assert "12 rows have a label outside [-1, 1]" in message
    read_again = read(preds, people(), label_range=parse_range(scale.split()[1]))
    np.testing.assert_allclose(read_again.sample.label[:, 0], np.linspace(-1, 1, N))


def test_a_wrong_range_is_named_with_the_numbers_as_they_stand() -> None:
    preds = predictions(valence=np.linspace(1, 9, N), arousal=np.linspace(1, 9, N))
    message = refused(preds, people(), label_range=parse_range("1,7"))
    assert "outside [1, 7], from 1 to 9" in message and "--range 1,9" in message


def test_columns_with_a_role_are_no_attributes() -> None:
    preds = predictions().rename(columns={"valence_pred": "v_hat", "arousal_pred": "a_hat"})
    preds = preds.rename(columns={"subject": "who"}).assign(gender=people()["gender"])
    roles = {"valence_pred": "v_hat", "arousal_pred": "a_hat", "subject": "who"}
    sample = read(preds, columns=roles, use=None, attributes=preds[["path", "gender", "who"]]).sample
    assert [attribute.name for attribute in sample.attributes] == ["gender"]


def test_marks_of_invalid_frames_and_unit_intervals_are_known() -> None:
    preds = predictions()
    preds.loc[2, ["valence", "arousal"]] = -5
    assert "Aff-Wild's mark" in refused(preds, people())
    unit = predictions(valence=np.linspace(0, 1, N), arousal=np.linspace(0, 0.5, N))
    assert [c.code for c in read(unit, people()).checks] == ["IDF325"]


def test_posteriors_are_soft_and_must_sum_to_one() -> None:
    soft = people().drop(columns="gender")
    soft["age/older"], soft["age/young"] = 0.3, 0.7
    attribute = read(predictions(), soft).sample.attributes[0]
    assert (attribute.name, attribute.levels, attribute.soft) == ("age", ("young", "older"), True)
    np.testing.assert_allclose(attribute.posterior, [[0.7, 0.3]] * N)
    soft.loc[5, "age/older"] = 0.5
    message = refused(predictions(), soft)
    assert "row 5" in message
    assert "sum to 1.2" in message


def test_numbers_are_binned_as_told_or_by_people() -> None:
    told = read(predictions(), people(age=[5, 30, 59, 60, 99, 130] * 2), bins=parse_bins("age=0,30,60,120"))
    age = told.sample.attributes[1]
    assert age.levels == ("age 0 to 30", "age 30 to 60", "age 60 to 120")
    assert list(age.top[:6]) == [0, 1, 1, 2, 2, -1]
    assert "age of 2 faces lies outside 0 to 120" in told.checks[0].message
    assert any("2 of 12 faces" in check.message for check in told.checks)
    # nine faces of one person weigh no more than one face of another
    levels, index = binned("age", np.array([1.0] * 9 + [2, 3, 4]), np.array([0] * 9 + [1, 2, 3]), (2,))
    assert list(np.bincount(index)) == [10, 2]
    assert levels == ("age below 2.5", "age 2.5 and above")
    assert parse_bins("age=0,30,60,skin=4") == {"age": (0, 30, 60), "skin": (4,)}
    for wrong in ("0,30", "age=x", "age=3,2", "age=1"):
        with pytest.raises(UsageError):
            parse_bins(wrong)
    assert "not a number" in refused(predictions(), people(), bins={"gender": (0, 1)})


def test_few_whole_numbers_are_categories_and_words_have_an_order() -> None:
    table = people(tone=[1, 2, 3] * 4, years=["0-9", "10-19", "3-9"] * 4, smile=[True, False] * 6)
    found = {a.name: a for a in read(predictions(), table).sample.attributes}
    assert found["tone"].levels == ("tone 1", "tone 2", "tone 3")
    assert found["years"].levels == ("0-9", "3-9", "10-19")
    assert found["years"].ordered
    assert found["smile"].levels == ("smile: no", "smile: yes")


def test_columns_that_are_no_attributes_are_left_out_or_refused_where_asked() -> None:
    first = people(notes=[*"abcdefghijkl"], site="one")
    table = pd.concat([first, first[:3].assign(path=["x0", "x1", "x2"], notes=[*"mno"], site="two")])
    preds = pd.concat([predictions(), predictions(path=[f"x{i}" for i in range(N)])[:3]])
    found = read(preds, table)
    assert [a.name for a in found.sample.attributes] == ["gender", "site"]
    assert "15 different values" in found.checks[0].message
    assert "15 different values" in refused(preds, table, use=["notes"])
    assert "Did you mean 'gender'?" in refused(preds, table, use=["gendr"])


def test_one_group_only_is_said() -> None:
    message = refused(predictions(), people().assign(gender="feminine"))
    assert "'feminine' of every face" in message


def test_features_of_arrays_and_tables(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(N, 3)).astype(np.float32)
    np.save(tmp_path / "z.npy", values)
    preds = predictions()
    preds.loc[0, "valence_pred"] = np.nan  # its features are left out, too
    np.testing.assert_array_equal(
        read(preds, people(), None, tmp_path / "z.npy").sample.features["z"], values[1:]
    )
    table = pd.DataFrame({"path": preds["path"][::-1], "z": list(values[::-1])})
    table.to_parquet(tmp_path / "z.parquet")
    found = read(predictions(), people(), None, tmp_path / "z.parquet").sample.features
    np.testing.assert_array_equal(found["z"], values)
    np.save(tmp_path / "z.npy", values[:9])
    assert "has 9 rows, the predictions have 12" in refused(predictions(), people(), None, tmp_path / "z.npy")
    values[3, 1] = np.nan
    assert "row 3 is not finite" in refused(predictions(), people(), None, values)
    assert "3 of 12 faces have no features" in refused(predictions(), people(), None, table[3:])


def test_arrays_need_no_keys_but_equal_lengths() -> None:
    given = predictions()
    arrays = given[["valence_pred", "arousal_pred"]].to_numpy(), {"gender": people()["gender"].to_list()}
    labels = given[["valence", "arousal"]].to_numpy()
    sample = read_sample(*arrays, labels, subject=given["subject"]).sample
    np.testing.assert_allclose(sample.label, labels)
    assert len(set(sample.subject)) == N // 2
    with pytest.raises(IdferError, match="11 rows for 12 predictions"):
        read_sample(arrays[0], {"gender": ["a"] * 11}, labels)


def test_people_who_are_not_known_are_none() -> None:
    assert read(predictions().drop(columns="subject"), people()).sample.subject is None
    assert read(predictions(subject=predictions()["path"]), people()).sample.subject is None
    half = read(predictions(subject=["p0", ""] * 6), people()).sample.subject
    assert list(half[:4]) == ["p0", "img/01.jpg", "p0", "img/03.jpg"]


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nope.csv")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not")
    assert "cannot be read as a table" in refused(tmp_path / "bad.parquet")
    (tmp_path / "ragged.csv").write_text("path,valence_pred,arousal_pred,g\na,0,0,x\nb,0,0\n")
    assert "ragged.csv: cannot be read" in refused(tmp_path / "ragged.csv", None, use=["g"])
    (tmp_path / "comma.csv").write_text("path;valence_pred;arousal_pred;g\na;0,5;0;x\nb;0,1;0;y\n")
    assert "decimals with a point" in refused(tmp_path / "comma.csv", None, use=["g"])
    (tmp_path / "twice.csv").write_text("path,path\na,b\n")
    assert "two columns are called 'path'" in refused(tmp_path / "twice.csv")
    (tmp_path / "latin.csv").write_bytes("path,valence_pred,arousal_pred\né.jpg,0,0\n".encode("latin-1"))
    assert "UTF" in refused(tmp_path / "latin.csv", people())
