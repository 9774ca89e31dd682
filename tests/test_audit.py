"""`idfer audit` from files to files: predictions, a model, a data set, two audits, and the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

import idfer
from idfer import cli
from idfer.auditing import schema
from idfer.auditing.folder import read_faces
from idfer.auditing.gate import parse_gate
from idfer.auditing.tables import COLUMNS
from idfer.errors import IdferError, UsageError

PEOPLE, FACES = 60, 6
FAST = ["--permutations", "200", "--seed", "1", "--progress", "false"]


def tables(folder: Path, bias: float = 0.6, noise: int = 1, name: str = "preds") -> tuple[Path, Path]:
    """Predictions that are `bias` too low in valence for older people, and who is older."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(PEOPLE), FACES)
    older = person % 2 == 1
    label = np.clip(rng.normal(0, 0.4, (len(person), 2)), -1, 1)
    said = label + np.random.default_rng(noise).normal(0, 0.2, label.shape)
    said[:, 0] -= bias * older
    paths = [f"{p:02d}/{i}.png" for i, p in enumerate(person)]
    predictions = pd.DataFrame({"path": paths, "subject": [f"p{p}" for p in person]})
    predictions[["valence", "arousal"]], predictions[["valence_pred", "arousal_pred"]] = label, said
    predictions.to_csv(folder / f"{name}.csv", index=False)
    attributes = pd.DataFrame({"path": paths, "age": np.where(older, "older", "young")})
    attributes.assign(glasses=person % 3 == 0).to_parquet(folder / "attrs.parquet")
    return folder / f"{name}.csv", folder / "attrs.parquet"


def run(*arguments: object) -> int:
    return cli.main(["audit", *map(str, arguments), *FAST])


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one audit of biased predictions."""
    folder = tmp_path_factory.mktemp("audited")
    predictions, attributes = tables(folder)
    assert run("--predictions", predictions, "--attributes", attributes, "-o", folder / "out") == 0
    return folder


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "audit.json").read_text())
    return found


def test_the_shipped_schema_is_that_of_the_tables() -> None:
    for file, made in ((schema.FILE, schema.schema()), (schema.COMPARISON_FILE, schema.comparison_schema())):
        assert json.loads(file.read_text()) == made
        jsonschema.Draft202012Validator.check_schema(made)


def test_predictions_become_a_folder_that_says_whom_the_model_fails(audited: Path) -> None:
    out = audited / "out"
    found = content(out)
    jsonschema.validate(found, json.loads(schema.FILE.read_text()))
    worst = max((g for g in found["gaps"] if g["significant"]), key=lambda g: abs(g["gap"]))
    assert (worst["attribute"], worst["dimension"], worst["metric"]) == ("age", "valence", "bias")
    assert abs(worst["gap"]) == pytest.approx(0.6, abs=0.1)
    assert "older" in found["verdict"][0]
    leak = {(r["feature"], r["probe"]): r["score"] for r in found["leakage"] if r["attribute"] == "age"}
    assert leak["prediction", "linear"] > 0.2 > leak["labels", "linear"]
    assert "--predictions" in found["about"]["command"]
    assert "<html" in (out / "report.html").read_text()
    gaps = pd.read_csv(out / "tables" / "gaps.csv")
    assert list(gaps.columns) == list(COLUMNS["gaps"])
    assert len(gaps) == len(found["gaps"])


def test_faces_are_kept_and_can_be_audited_again(audited: Path, tmp_path: Path) -> None:
    faces = audited / "out" / "faces.parquet"
    kept, given = read_faces(faces), pd.read_csv(audited / "preds.csv")
    np.testing.assert_allclose(kept.predicted, given[["valence_pred", "arousal_pred"]])
    assert [a.levels for a in kept.attributes] == [("young", "older"), ("glasses: no", "glasses: yes")]
    assert run("--predictions", faces, "--attributes", faces, "-o", tmp_path) == 0
    again, first = content(tmp_path), content(audited / "out")
    for name in ("gaps", "groups", "accuracy"):
        assert again[name] == first[name]


def test_python_takes_frames_and_arrays_and_writes_the_same(audited: Path, tmp_path: Path) -> None:
    given = pd.read_csv(audited / "preds.csv")
    people = pd.read_parquet(audited / "attrs.parquet")
    audit = idfer.audit(
        predictions=given[["valence_pred", "arousal_pred"]].to_numpy(),
        labels=given[["valence", "arousal"]].to_numpy(), subject=given["subject"].to_numpy(),
        attributes=people[["age", "glasses"]], permutations=200, seed=1, progress=False,
    )  # fmt: skip
    first = content(audited / "out")
    assert audit.to_dict()["gaps"] == first["gaps"]
    assert audit.exit_code == 0
    tidy = audit.frame()
    assert set(tidy["table"]) >= {"accuracy", "groups", "gaps", "leakage", "stereotype"}
    assert len(audit.frame("gaps")) == len(first["gaps"])
    assert audit.write(tmp_path / "own") == tmp_path / "own" / "audit.json"
    assert not (tmp_path / "own" / "report.html").exists()


def test_the_gate_exits_with_3_and_says_why(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--predictions", audited / "preds.csv", "--attributes", audited / "attrs.parquet"]
    assert run(*given, "--fail-on", "gap=0.7,leak=0.99") == 0
    assert run(*given, "--fail-on", "gap=0.3", "-o", tmp_path) == 3
    assert "FAILED: gap 0.598 is above 0.3: bias of valence, young against older" in capsys.readouterr().out
    assert (tmp_path / "audit.json").is_file()  # the gate says no, and its reasons are kept
    for wrong in ("gap=x", "gap=-1", "gaps=0.1", "gap"):
        with pytest.raises(UsageError):
            parse_gate(wrong)


def test_two_audits_of_the_same_faces_are_compared_in_pairs(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fair, attributes = tables(audited, bias=0, noise=2, name="fair")
    assert run("--predictions", fair, "--attributes", attributes, "-o", tmp_path / "fair") == 0
    out = tmp_path / "both"
    assert run(audited / "out" / "audit.json", tmp_path / "fair", "-o", out) == 0
    found = json.loads((out / "comparison.json").read_text())
    jsonschema.validate(found, json.loads(schema.COMPARISON_FILE.read_text()))
    rows = {(r["attribute"], r["dimension"], r["metric"]): r for r in found["comparison"]}
    biased = rows["age", "valence", "bias"]
    assert biased["gap_a"] == pytest.approx(0.6, abs=0.1)
    assert biased["difference"] == pytest.approx(-0.6, abs=0.1)
    assert biased["low"] < biased["difference"] < biased["high"] < 0
    assert biased["p_adjusted"] < 0.05 < rows["glasses", "arousal", "bias"]["p_adjusted"]
    assert "preds and fair" in (out / "report.html").read_text()
    assert "smaller in fair" in capsys.readouterr().out


def test_audits_of_other_faces_or_labels_do_not_compare(audited: Path, tmp_path: Path) -> None:
    given = pd.read_csv(audited / "preds.csv")
    people = pd.read_parquet(audited / "attrs.parquet")
    one = idfer.audit(predictions=given, attributes=people, permutations=200, progress=False)
    other = given.assign(valence=-given["valence"])
    two = idfer.audit(predictions=other, attributes=people, permutations=200, progress=False)
    with pytest.raises(IdferError, match="have other labels"):
        idfer.audit([one, two])
    moved = given.assign(path="x" + given["path"])
    three = idfer.audit(
        predictions=moved,
        attributes=people.assign(path="x" + people["path"]),
        permutations=200,
        progress=False,
    )
    with pytest.raises(IdferError, match="none of the 360 faces"):
        idfer.audit([one, three])
    part = idfer.audit(predictions=given[:300], attributes=people, permutations=200, progress=False)
    checks = {c["code"]: c for c in idfer.audit([one, part]).to_dict()["checks"]}
    assert set(checks) == {"IDF327", "IDF330"}, "not all faces are in both, and some pairs are too small then"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to audit"),
        (["--predictions", "a.csv", "--data", "b.csv"], "two ways in"),
        (["--model", "m:f"], "needs one manifest"),
        (["one/audit.json"], "two audits"),
        (["--predictions", "a.csv", "b.csv"], "one too many"),
        (["--data", "a.csv", "--features", "z.npy"], "--features goes with --predictions"),
        (["a/audit.json", "b/audit.json", "--use", "age"], "--use goes with --predictions or --model"),
        (["--predictions", "a.csv", "--size", "64"], "--size goes with --model, not with --predictions"),
        (["--predictions", "nope.csv", "--use", "a"], "no such file"),
        (["--predictions", "a.csv", "--level", "2"], "level"),
        (["--predictions", "a.csv", "--fail-on", "gpa=1"], "Did you mean 'gap'?"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_is_written_where_it_fails_or_over_others_files(audited: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("--predictions", audited / "preds.csv", "--use", "nope", "-o", out) == 2
    assert not out.exists()
    out.mkdir()
    (out / "faces.parquet").write_text("mine")
    given = ["--predictions", audited / "preds.csv", "--attributes", audited / "attrs.parquet"]
    assert run(*given, "-o", out) == 2
    assert [p.name for p in out.iterdir()] == ["faces.parquet"]
    assert (out / "faces.parquet").read_text() == "mine"
