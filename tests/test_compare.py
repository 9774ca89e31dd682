"""`idfer benchmark compare` and `idfer ablate --manifest`, from an empty folder and from bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
import yaml
from PIL import Image

from idfer import AttributeTable, Manifest, cli
from idfer.evaluation.metrics import ccc

TINY = [
    "--budget.size",
    "32",
    "--budget.backbone",
    "conv4",
    "--budget.epochs",
    "1",
    "--budget.batch_size",
    "32",
]
QUIET = ["--workers", "1", "--device", "cpu", "--progress", "false"]


def compare(folder: Path, *more: str) -> list[str]:
    places = ["-o", str(folder / "results"), "--runs", str(folder / "runs")]
    return ["benchmark", "compare", *places, *TINY, *QUIET, *more]


def trained(folder: Path) -> dict[str, int]:
    """When each model was written."""
    return {str(f): f.stat().st_mtime_ns for f in folder.glob("runs/runs/*/model.safetensors")}


def photographs(folder: Path, people: int = 30) -> Path:
    """A CSV of 90 photographs of faces (Labeled Faces in the Wild) with made-up labels and people."""
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for i, face in enumerate(skimage.data.lfw_subset()[:90]):
        pixels = np.repeat(np.uint8(255 * face)[..., None], 3, axis=2)
        Image.fromarray(pixels).resize((32, 32)).save(folder / "photos" / f"{i:02d}.png")
        lines.append([f"photos/{i:02d}.png", f"p{i % people:02d}", *np.round(rng.uniform(1, 9, 2), 2)])
    (folder / "photos" / "07.png").write_bytes(b"no picture")
    table = pd.DataFrame(lines, columns=["file", "who", "v", "a"])
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


@pytest.mark.slow
def test_from_a_table_of_photographs_to_a_comparison_over_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path)
    names = "path=file,subject=who,valence=v,arousal=a"
    assert (
        cli.main(["manifest", "table", "labels.csv", "--columns", names, "--range", "1,9", "-o", "m.parquet"])
        == 0
    )
    assert cli.main(["split", "m.parquet", "--folds", "5", "-o", "m.parquet"]) == 0
    retrieve = ["retrieve", "m.parquet", "--clip", "builtin", "-o", "a.parquet", "--progress", "false"]
    assert cli.main(retrieve) == 0
    # two methods, five folds, nothing searched
    command = compare(tmp_path, "--manifest", "m.parquet", "--attributes", "a.parquet", "--tries", "1")
    command += ["--budget.detector", "none"]
    capsys.readouterr()
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split()[0] in ("erm", "idfer")
    first = trained(tmp_path)
    assert len(first) == 2 * 5
    assert cli.main(command) == 0  # nothing is trained or measured again
    assert capsys.readouterr().out == shown
    assert trained(tmp_path) == first
    _check_results(tmp_path)

    # the grid's base is the comparison's ERM: only the variant is trained
    budget = {
        "backbone": "conv4",
        "size": 32,
        "epochs": 1,
        "batch_size": 32,
        "lr": 0.0015,
        "detector": "none",
    }
    grid = {"base": {"method": "erm", "dim": 128, **budget}, "variants": {"rate": {"fast": {"lr": 0.01}}}}
    grid["variants"]["truth"] = {"known": {"method": "idfer", "retrieval": "truth"}}  # which nobody knows
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    places = ["-o", str(tmp_path / "results"), "--runs", str(tmp_path / "runs"), *QUIET]
    given = ["--manifest", "m.parquet", "--attributes", "a.parquet"]
    assert cli.main(["ablate", "grid.yaml", *given, *places]) == 0
    assert len(trained(tmp_path)) == len(first) + 5
    _check_ablation(tmp_path / "results")


def _check_results(folder: Path) -> None:
    found = json.loads((folder / "results" / "compare.json").read_text())
    assert found["command"].startswith("idfer benchmark compare --manifest m.parquet --attributes a.parquet")
    assert "--tries 1" in found["command"]
    assert "--budget.size 32" in found["command"]
    assert found["data"]["faces"] == 89
    assert [(left["reason"], left["count"]) for left in found["data"]["left_out"]] == [
        ("attributes could not be retrieved", 1)
    ]
    division = found["data"]["division"]
    assert division["kind"] == "column"  # the folds that `idfer split` wrote
    assert len(division["places"]) == 5
    assert sum(place["test"][0] for place in division["places"]) == 89
    assert sum(place["test"][1] for place in division["places"]) == 30
    assert all(place["train"][1] + place["val"][1] + place["test"][1] == 30 for place in division["places"])
    overlap = np.mean([place["test"][0] / place["train"][0] for place in division["places"]])
    assert division["overlap"] == pytest.approx(overlap)
    for method, of in found["summary"].items():
        scores = [row["scores"]["ccc/test/mean"] for row in found["rows"] if row["name"] == method]
        assert of["test_ccc"]["value"] == pytest.approx(np.mean(scores))
        assert np.isfinite(of["weighted_ccc"]["value"])
        assert np.isfinite(of["leak_mean_identity"]["value"])
    measured = {line["measure"] for line in found["comparisons"]}
    assert {"test_ccc", "weighted_ccc", "leak_mean_identity"} <= measured
    text = (folder / "results" / "compare.md").read_text()
    assert f"`{found['command']}`" in text
    for said in ("Nadeau & Bengio 2003", "Not measured", "counterfactual drift", "Beware: the builtin CLIP"):
        assert said in text
    assert "Every method with its defaults; nothing was searched." in text
    assert (folder / "results" / "compare.png").read_bytes().startswith(b"\x89PNG")
    said = pd.read_parquet(folder / "results" / "compare.parquet")
    assert len(said) == 2 * 89
    of_erm = said[said["method"] == "erm"]
    assert of_erm["path"].is_unique
    by_fold = [
        ccc(of[["valence", "arousal"]], of[["predicted_valence", "predicted_arousal"]]).mean()
        for _, of in of_erm.groupby("fold")
    ]
    assert found["summary"]["erm"]["test_ccc"]["value"] == pytest.approx(np.mean(by_fold), abs=1e-5)
    assert (
        found["over_people"]["erm"]["difference"]["low"] < found["over_people"]["erm"]["difference"]["high"]
    )


def _check_ablation(results: Path) -> None:
    found = json.loads((results / "ablation.json").read_text())
    compared = json.loads((results / "compare.json").read_text())
    assert found["summary"]["base"]["test_ccc"] == compared["summary"]["erm"]["test_ccc"]["value"]
    assert found["comparisons"]["fast"]["test_ccc"]["seeds"] == 5
    text = (results / "ablation.md").read_text()
    assert "| fast | lr: 0.01 |" in text
    assert "Nadeau & Bengio 2003" in text
    assert "Left out, for the manifest has no columns factor.NAME: known." in text
    assert "shift.md" not in text
    assert (results / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_official_splits_without_attributes_are_trained_over_seeds(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = compare(tmp_path, "--manifest", str(squares.root), "--methods", "erm,bmse", "--seeds", "1,2")
    assert cli.main([*command, "--tries", "2"]) == 0
    found = json.loads((tmp_path / "results" / "compare.json").read_text())
    division = found["data"]["division"]
    assert (division["kind"], division["test"], division["chosen_on"]) == ("official", "val", "train")
    assert division["overlap"] == 0
    assert [place["name"] for place in division["places"]] == ["seed 1", "seed 2"]
    assert "weighted_ccc" not in found["summary"]["erm"]
    assert found["rule"].startswith("Among a method's settings, at each place the one with the highest CCC")
    for tried in found["tuning"].values():  # each place chooses once
        assert sorted(at for one in tried for at in one["chosen_at"]) == [0, 1]
    text = (tmp_path / "results" / "compare.md").read_text()
    assert "what other people would, is below under Over people" in text
    assert "## Over people" in text
    assert "Nothing was probed: fewer than ten people" in text
    assert len(trained(tmp_path)) == 2 * 2 * 2

    # a folder that was moved costs no training; one image that changed does
    moved = tmp_path / "moved"
    shutil.copytree(squares.root, moved, ignore=shutil.ignore_patterns("runs", "results", "moved"))
    before = trained(tmp_path)
    again = [str(moved) if word == str(squares.root) else word for word in command]
    shutil.move(squares.root / "000.png", squares.root / "gone.png")
    assert cli.main([*again, "--tries", "2"]) == 0
    assert trained(tmp_path) == before
    Image.new("RGB", (32, 32)).save(moved / "000.png")
    assert cli.main([*again, "--tries", "1", "--seeds", "1", "--methods", "erm"]) == 0
    assert len(trained(tmp_path)) == len(before) + 1
    capsys.readouterr()


def test_one_person_to_choose_on_is_said_and_ccc_stands_unweighted(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = squares.frame["subject"].str[1:].astype(int)
    split = np.select([number < 8, number == 8], ["train", "val"], "test")
    Manifest.from_frame(squares.frame.assign(split=split), tmp_path).write(tmp_path / "lone.parquet")
    given = [
        "--manifest",
        str(tmp_path / "lone.parquet"),
        "--attributes",
        str(tmp_path / "attributes.parquet"),
    ]
    command = compare(tmp_path, *given, "--methods", "erm", "--seeds", "1", "--tries", "1")
    assert cli.main([*command, "--choose", "weighted"]) == 2
    assert "`val` is of one person" in capsys.readouterr().err
    assert not trained(tmp_path), "before anything is trained"
    assert cli.main(command) == 0
    assert "settings are chosen by CCC as it is" in capsys.readouterr().err
    found = json.loads((tmp_path / "results" / "compare.json").read_text())
    assert "`val` is of one person" in found["rule"]
    assert "weighted_ccc" in found["summary"]["erm"], "the test people are weighed all the same"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--manifest", ""], "--manifest is missing"),
        (["--folds", "1"], "--folds is 1; it must be at least 2."),
        (["--folds", "40"], "12 groups of 'subject' do not fill 40 folds; use fewer --folds."),
        (["--by", "film"], "unknown column 'film'"),
        (["--methods", "erm,idfre"], "unknown method 'idfre'. Did you mean 'idfer'?"),
        (["--methods", "erm,oracle"], "oracle learns from faces without the shortcut"),
        (["--methods", ","], "--methods is empty"),
        (["--methods", "idfer"], "`idfer retrieve "),
        (["--methods", "idfer"], "then give --attributes attributes.parquet."),
        (["--choose", "weighted"], "give --attributes, or --choose plain"),
        (["--tries", "0"], "--tries is 0; it must be at least 1."),
        (["--budget.epohcs", "3"], "unknown setting 'epohcs'. Did you mean 'epochs'?"),
        (["--budget.holdout", "0.2"], "a fifth of the people is kept back already"),
        (["--budget.seed", "3"], "the budget: seed is no setting that all methods share; give --seeds."),
        (["--budget.method", "bmse"], "the budget: method is no setting that all methods share"),
        (["--seeds", "1,x"], "--seeds: 'x' is not a seed"),
    ],
)
def test_wrong_usage_is_one_line(
    more: list[str], message: str, squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = compare(tmp_path, "--manifest", str(squares.root), "--methods", "erm", *more)
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not trained(tmp_path)


def test_tries_are_refused_where_a_plan_lists_the_settings(
    squares: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("grid: {erm: [{lr: .01}, {lr: .02}]}\n")
    command = compare(tmp_path, "--manifest", str(squares.root), "--plan", str(plan), "--tries", "1")
    assert cli.main([*command, "--methods", "erm"]) == 2
    assert (
        "plan.yaml lists the settings of erm, so none are drawn; leave --tries out" in capsys.readouterr().err
    )
    assert cli.main([*command, "--methods", "bmse", "--folds", "1"]) == 2, "a plan for others is no hindrance"
    assert "--folds is 1" in capsys.readouterr().err
    plan.write_text("budget: {seed: 3}\n")
    assert cli.main([*command, "--methods", "erm"]) == 2
    assert f"{plan}: the budget: seed is no setting" in capsys.readouterr().err


def test_unusable_data_is_one_line(
    squares: Manifest, squares_table: AttributeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(name: str, frame: pd.DataFrame, *more: str) -> str:
        frame.to_parquet(tmp_path / f"{name}.parquet")
        assert cli.main(compare(tmp_path, "--manifest", str(tmp_path / f"{name}.parquet"), *more)) in (1, 2)
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        return said

    erm = ("--methods", "erm")
    frame = squares.frame
    assert "names no people (column `subject`" in refused("nobody", frame.assign(subject="", split=""), *erm)
    assert "column 'valence' is missing" in refused("bare", frame.drop(columns="valence"), *erm)
    few = frame[frame["subject"].isin(["p0", "p1", "p2", "p3"])].assign(split="")
    said = refused("few", few, *erm, "--folds", "4")
    assert "fold 1: 3 people are left to learn from and to choose settings on, where 4 are needed" in said
    shared = frame.assign(split="", fold=np.arange(len(frame)) % 3)
    assert "subject 'p0' is in several folds" in refused("shared", shared, *erm)
    fixed = frame.assign(split="", fold=frame["subject"].str[1:].astype(int) % 3)
    assert "the manifest fixes the folds" in refused("fixed", fixed, *erm, "--seeds", "1,2")

    squares_table.rows(np.arange(20)).write(tmp_path / "other.parquet")
    said = refused("faces", frame, "--attributes", str(tmp_path / "other.parquet"))
    assert said.startswith(f"idfer: {tmp_path / 'other.parquet'}: is of other faces: row 20 of the manifest")
    assert "run `idfer retrieve` again on this manifest" in said
    assert cli.main(["ablate", "g.yaml", "--folds", "3"]) == 2
    assert "--folds is of your own faces; give --manifest too" in capsys.readouterr().err
