"""`idfer benchmark shift` end to end on its tiny size: killed, resumed, repeated, with a failing trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark_rows import rows_of_measures
from idfer import cli
from idfer.catalogue import METHODS, MethodEntry
from idfer.data.manifest import Manifest
from idfer.errors import UsageError
from idfer.experiments import trial as trials
from idfer.experiments.grid import Plan, contenders
from idfer.experiments.measures import MEASURES
from idfer.experiments.protocol import sized
from idfer.experiments.scores import Row
from idfer.experiments.seeds import numbers
from idfer.experiments.shift import PLAN
from idfer.experiments.shift_report import comparisons, headline, summary
from idfer.experiments.shift_text import accuracy_table, markdown
from idfer.experiments.tables import pipes, settings_text, verdict
from idfer.training.settings import Settings

ARGUMENTS = [
    "--size", "tiny", "--methods", "erm,oracle,idfer", "--tune-seeds", "101", "--workers", "2",
    "--progress", "false",
]  # fmt: skip


def command(folder: Path, *more: str) -> list[str]:
    places = ["-o", str(folder / "results"), "--runs", str(folder / "runs")]
    return ["benchmark", "shift", *ARGUMENTS, *places, *more]


OF_OURS = ("residual_nats", "attached_matched_ccc", "sampled_balanced_ccc")


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    """When each file was written; hidden ones are not whole yet."""
    return {str(f): f.stat().st_mtime_ns for f in folder.glob(pattern) if not f.name.startswith(".")}


@pytest.mark.slow
def test_a_killed_benchmark_goes_on_and_a_finished_one_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = command(tmp_path, "--seeds", "1,2", "--epochs", "2,1")
    process = subprocess.Popen([sys.executable, "-m", "idfer", *started], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(stamps(tmp_path, "runs/jobs/*.json")) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = stamps(tmp_path, "runs/jobs/*.json")
    assert len(kept) >= 3
    assert not (tmp_path / "results").exists()

    assert cli.main(started) == 0
    first = capsys.readouterr().out
    after = stamps(tmp_path, "runs/jobs/*.json")
    assert {name: after[name] for name in kept} == kept
    trained = stamps(tmp_path, "runs/runs/*/model.safetensors")
    assert len(trained) == 3 * 2 + 3 * 2 * 2  # methods x settings tried, methods x seeds x lengths

    assert cli.main(started) == 0
    assert capsys.readouterr().out == first
    assert stamps(tmp_path, "runs/runs/*/model.safetensors") == trained
    _check_files(tmp_path / "results")
    _check_measures(tmp_path)

    # `ablate` shares the trials: its base is a trial of the benchmark, so only the variant is trained
    found = json.loads((tmp_path / "results" / "shift.json").read_text())
    chosen = next(one for one in found["tuning"]["erm"] if one["chosen"])
    grid = {
        "base": {**found["budget"], **chosen["given"], "method": "erm"},
        "variants": {"a": {"b": {"lr": 0.01}}},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    places = ["-o", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    rest = ["--size", "tiny", "--seeds", "1,2", "--workers", "2", "--progress", "false"]
    assert cli.main(["ablate", str(tmp_path / "grid.yaml"), *places, *rest]) == 0
    assert "ablation.png" in capsys.readouterr().out
    assert len(stamps(tmp_path, "runs/runs/*/model.safetensors")) == len(trained) + 2
    ablation = json.loads((tmp_path / "results" / "ablation.json").read_text())
    assert ablation["summary"]["base"]["reversed_ccc"] == found["summary"]["erm"]["reversed_ccc"]
    assert (tmp_path / "results" / "ablation.png").read_bytes().startswith(b"\x89PNG")


def _check_files(results: Path) -> None:
    found = json.loads((results / "shift.json").read_text())
    options = "--methods erm,oracle,idfer --seeds 1,2 --tune_seeds 101 --epochs 1,2 --size tiny"
    assert found["command"] == f"idfer benchmark shift {options}"
    wanted = {"gap_closed", "rate", "drift", "seeds", "matched_ccc", "balanced_ccc", "reversed_ccc"}
    leaking = ("gender", "age", "skin", "identity")
    wanted |= {f"leak_{m}{t}" for m in ("", "mean_", "prediction_") for t in leaking}
    wanted |= {f"effect_{a}_{d}" for a in ("age", "gender", "skin") for d in ("valence", "arousal")}
    wanted |= {"person_ratio", "interaction_ratio"} | set(OF_OURS)
    (longer,) = found["lengths"].items()
    assert longer[0] == "2"
    assert {method: set(of) for method, of in longer[1]["summary"].items()} == dict.fromkeys(
        found["summary"], wanted
    )
    assert longer[1]["summary"]["erm"]["matched_ccc"] != found["summary"]["erm"]["matched_ccc"]
    assert {target["epochs"] for target in found["targets"]} == {1, 2}
    for method, numbers_of in found["summary"].items():
        assert method in ("erm", "oracle", "idfer")
        assert set(numbers_of) == wanted
        assert numbers_of["seeds"] == 2
        rows = [Row.of(**row) for row in _as_arguments(found["rows"]) if row["name"] == method]
        assert [row.seed for row in rows] == [1, 2]
        of_mean = [row.value("ccc", "reversed", "mean") for row in rows]
        assert numbers_of["reversed_ccc"] == pytest.approx(np.mean(of_mean))
        both = [rows[0].value("ccc", "reversed", dimension) for dimension in ("valence", "arousal")]
        assert of_mean[0] == pytest.approx(np.mean(both), abs=1e-5)
    for method, tried in found["tuning"].items():
        assert found["chosen"][method] == next(one["given"] for one in tried if one["chosen"])
        assert set(found["regret"][method]) == {"balanced_ccc", "reversed_ccc"}
        assert all(one["settings"]["epochs"] == 1 for one in tried)  # the tiny budget
        best = max(tried, key=lambda one: one["selection"])
        assert best["chosen"]
        assert sum(one["chosen"] for one in tried) == 1
    text = (results / "shift.md").read_text()
    assert f"`{found['command']}`" in text
    assert found["rule"] in text
    assert (results / "shift.png").read_bytes().startswith(b"\x89PNG")


def _check_measures(folder: Path) -> None:
    """What only a method that splits and samples has, and what a tuning trial leaves out."""
    found = json.loads((folder / "results" / "shift.json").read_text())
    for measure in OF_OURS:
        assert np.isfinite(found["summary"]["idfer"][measure])
        assert found["summary"]["erm"][measure] is None
    row = next(row for row in found["rows"] if row["name"] == "idfer")
    scored = Row.of("idfer", 1, row)
    attached = {score.feature for score in scored.scores if score.measure == "person_ratio"}
    assert attached == {"detached", "attached", "attached gender", "attached age", "attached skin"}
    assert {score.of for score in scored.scores if score.measure == "effect"} >= {"age", "glasses"}
    for file in (folder / "runs" / "jobs").glob("*.json"):
        trial = json.loads(file.read_text())
        if "setting" in trial["name"]:
            measured = {score["measure"] for score in trial["result"]["scores"]}
            assert measured == {"selection", "effective", "ccc", "rmse", "seconds"}


def _as_arguments(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": row["name"], "seed": row["seed"], "result": row} for row in rows]


@pytest.mark.slow
def test_a_trial_that_fails_is_named_and_the_others_finish(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"budget": {"backbone": "conv4"}, "grid": {"erm": [{"lr": 1e30}], "oracle": [{"lr": 0.003}]}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    more = ["--seeds", "1", "--methods", "erm,oracle", "--plan", str(tmp_path / "plan.yaml")]
    assert cli.main(command(tmp_path, *more)) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(
        "idfer: 1 job failed, the others are kept: erm, setting 1, seed 101: the loss became"
    )
    names = {json.loads(file.read_text())["name"] for file in (tmp_path / "runs" / "jobs").glob("*.json")}
    assert {"oracle, setting 1, seed 101", "oracle, seed 1"} <= names
    assert not (tmp_path / "results").exists()


def test_the_shipped_plan_gives_every_method_the_same_search() -> None:
    plan = Plan.read(PLAN)
    plan.check_equal(contenders())
    assert len(plan.search("erm")) == plan.count >= 9
    assert plan.search("erm")[0] == {}  # the defaults are tried
    assert plan.search("oracle") == plan.search("erm")
    for method in contenders():
        settings = plan.settings(method)
        assert len({setting.digest for setting in settings}) == len(settings)  # none is tried twice
        shared = set(plan.budget) - set().union(*plan.search(method))
        assert all(getattr(setting, name) == plan.budget[name] for setting in settings for name in shared)


def test_a_plan_with_unequal_searches_or_an_unknown_term_is_refused(tmp_path: Path) -> None:
    def read(content: Any) -> Plan:
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(content))
        return Plan.read(tmp_path / "plan.yaml")

    with pytest.raises(UsageError, match="equally many settings: erm 1, idfer 2"):
        read({"grid": {"erm": [{}], "idfer": [{}, {"lr": 0.1}]}}).check_equal(["erm", "idfer"])
    with pytest.raises(UsageError, match="plan, idfer, setting 1: unknown term 'beat'"):
        read({"grid": {"idfer": [{"terms": {"beat": 1.0}}]}}).settings("idfer")
    with pytest.raises(UsageError, match=r"plan\.yaml: grid: unknown method 'idfr'\. Did you mean 'idfer'"):
        read({"grid": {"oracle": [{}], "idfr": [{"lr": 0.1}]}})  # else idfer would be searched by default
    with pytest.raises(UsageError, match="is no plan"):
        read({"grid": {"idfer": 3}})
    for count in (0, "9", True):
        with pytest.raises(UsageError, match="give a whole number of settings, at least 1"):
            read({"settings": count})
    assert [len(read({"settings": 4, "grid": {"erm": [{}]}}).search(m)) for m in ("erm", "idfer")] == [1, 4]
    with pytest.raises(UsageError, match=r"unknown key in .* 'grids'\. Did you mean 'grid'"):
        read({"grids": {}})


def test_seeds_as_people_type_them() -> None:
    assert numbers("seeds", "3,1,1") == numbers("seeds", [1, 3]) == [1, 3]
    for bad in ("1,-2", "1.5", ""):
        with pytest.raises(UsageError, match="--seeds"):
            numbers("seeds", bad)


def scored(levels: dict[str, float]) -> list[Row]:
    """Rows of three seeds in which every measure of a method has one value, the CCCs nearly so."""
    return rows_of_measures({name: dict.fromkeys(MEASURES, value) for name, value in levels.items()})


def test_the_runner_up_is_the_best_baseline_of_each_measure_no_part_of_ours_and_no_oracle() -> None:
    levels = {"erm": 0.3, "oracle": 0.9, "idfer": 0.6, "hsic": 0.4, "conditional": 0.5}
    compared = comparisons(scored(levels))
    second = {line["measure"]: line["second"] for line in compared["runner_up"]}
    assert second["reversed_ccc"] == "hsic"
    assert second["drift"] == second["leak_age"] == "erm"  # lower is better
    line = next(line for line in compared["runner_up"] if line["measure"] == "reversed_ccc")
    assert line["relative"] == pytest.approx(0.5, abs=0.01)
    assert verdict(line, higher_is_better=True) == "better"
    assert verdict(line, higher_is_better=False) == "worse"
    assert verdict(line | {"low": -0.1}, higher_is_better=True) == "not told apart"
    assert verdict(line | {"low": np.nan, "high": np.nan}, higher_is_better=True) == "not told apart"
    assert {against["first"] for against in compared["against_idfer"]} == levels.keys() - {"idfer"}


def test_verdicts_go_by_p_corrected_for_how_many_measures_there_are() -> None:
    compared = comparisons(scored({"erm": 0.3, "idfer": 0.6}))
    for line in compared["runner_up"]:
        assert line["p_holm"] >= line["p"]
    line = {"low": 0.01, "high": 0.2, "difference": 0.1, "p": 0.03, "p_holm": 0.3}
    assert verdict(line, higher_is_better=True) == "better"
    assert verdict(line, higher_is_better=True, p="p_holm") == "not told apart"
    assert verdict(line | {"p_holm": 0.04}, higher_is_better=True, p="p_holm") == "better"
    assert verdict(line | {"p_holm": float("nan")}, higher_is_better=True, p="p_holm") == "not told apart"


def test_settings_that_change_nothing_are_called_defaults() -> None:
    assert settings_text({}) == "defaults"
    assert settings_text({"lr": 0.1, "terms": {"alpha": 0.0}}) == "lr: 0.1, terms: {alpha: 0.0}"


def test_the_page_names_the_people_that_are_probed_and_how_many_they_are() -> None:
    rows, content = (
        scored({"erm": 0.3, "idfer": 0.6}),
        {"targets": [], "regret": {}, "tuning": {}, "source_of": {"trials": ["a"]}},
    )
    content |= {"kind": "report", "ledger": "shift-9", "command": "c", "rule": "r", "budget": {}}
    content |= {"protocol": sized("full")[0], "seeds": [1], "tune_seeds": [2], "epochs": [8]}
    page = markdown(content | {"comparisons": comparisons(rows)}, {8: rows})
    assert "cross 100 people × 20, probed 500 people × 10; 64 px" in page
    assert page.endswith("Source: a.\n")
    assert "disjoint people of the split `probed`" in page
    assert "Of a sampled feature, on the people of `probed`" in page


def test_a_trial_without_people_to_probe_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"path": ["a.png"], "split": ["train"], "valence": [0.0], "arousal": [0.0]})
    faces = Manifest(frame, tmp_path)
    monkeypatch.setattr(trials, "read_level", lambda folder: (faces, None))
    with pytest.raises(UsageError, match="unknown split 'probed'"):
        trials.trial(tmp_path, sized("tiny")[0], "shifted", Settings.of(method="erm"), "cpu", design="raters")


def test_an_effect_is_compared_by_its_size_and_reported_with_its_sign() -> None:
    rows = rows_of_measures(
        {
            "erm": {"effect_age_valence": -0.2}, "hsic": {"effect_age_valence": 0.1},
            "idfer": {"effect_age_valence": -0.01},
        }
    )  # fmt: skip
    line = next(line for line in comparisons(rows)["runner_up"] if line["measure"] == "effect_age_valence")
    assert line["second"] == "hsic"
    assert line["difference"] == pytest.approx(-0.09)
    assert summary(rows)["erm"]["effect_age_valence"] == pytest.approx(-0.2)


def test_a_part_of_ours_is_shown_and_is_no_baseline() -> None:
    rows = rows_of_measures(
        {"erm": {"reversed_ccc": 0.4}, "idfer": {"reversed_ccc": 0.6}, "conditional": {"reversed_ccc": 0.7}}
    )
    second = {line["measure"]: line["second"] for line in comparisons(rows)["runner_up"]}
    assert second["reversed_ccc"] == "erm"
    assert "conditional" not in headline({8: rows})
    assert "conditional (part of idfer)" in [row[0] for row in accuracy_table(rows)]


def test_a_method_is_a_baseline_by_its_row_in_the_catalogue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_new = {**METHODS, "mine": MethodEntry("idfer.methods.erm:ERM", "a new one")}
    for module in ("idfer.catalogue", "idfer.experiments.grid"):
        monkeypatch.setattr(f"{module}.METHODS", with_new)
    compared = comparisons(scored({"erm": 0.3, "idfer": 0.6, "mine": 0.69}))
    second = {line["measure"]: line["second"] for line in compared["runner_up"]}
    assert second["reversed_ccc"] == "mine"
    assert "mine" in contenders()
    assert len(Plan.read(PLAN).settings("mine")) == len(Plan.read(PLAN).settings("erm"))
    names = ", ".join(METHODS)
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    assert names.split(", ")[-1] in capsys.readouterr().out


def test_a_bar_in_a_cell_of_a_table_stays_in_its_cell() -> None:
    from markdown_it import MarkdownIt

    page = MarkdownIt().enable("table").render("\n".join(pipes([["goal", "found"], ["|mean| of 1", "2"]])))
    assert page.count("<td>") == 2
    assert "|mean| of 1" in page
