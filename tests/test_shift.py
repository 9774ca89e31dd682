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
import pytest
import yaml

from idfer import cli
from idfer.catalogue import METHODS, MethodEntry
from idfer.errors import UsageError
from idfer.experiments.grid import Plan, contenders
from idfer.experiments.scores import Row, Score
from idfer.experiments.seeds import numbers
from idfer.experiments.shift import PLAN
from idfer.experiments.shift_report import comparisons
from idfer.experiments.tables import verdict
from idfer.experiments.tuning import select

ARGUMENTS = ["--size", "tiny", "--methods", "erm,oracle,idfer", "--workers", "2", "--progress", "false"]


def command(folder: Path, *more: str) -> list[str]:
    places = ["-o", str(folder / "results"), "--runs", str(folder / "runs")]
    return ["benchmark", "shift", *ARGUMENTS, *places, *more]


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    """When each file was written; hidden ones are not whole yet."""
    return {str(f): f.stat().st_mtime_ns for f in folder.glob(pattern) if not f.name.startswith(".")}


@pytest.mark.slow
def test_a_killed_benchmark_goes_on_and_a_finished_one_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = command(tmp_path, "--seeds", "1,2")
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
    assert len(trained) == 3 * 2 + 3 * 2  # methods x settings tried, methods x seeds

    assert cli.main(started) == 0
    assert capsys.readouterr().out == first
    assert stamps(tmp_path, "runs/runs/*/model.safetensors") == trained
    _check_files(tmp_path / "results")

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
    assert found["command"] == "idfer benchmark shift --methods erm,oracle,idfer --seeds 1,2 --size tiny"
    wanted = {"gap_closed", "rate", "drift", "seeds", "matched_ccc", "balanced_ccc", "reversed_ccc"}
    wanted |= {f"leak_{m}{t}" for m in ("", "mean_") for t in ("gender", "age", "skin", "identity")}
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
    for tried in found["tuning"].values():
        assert all(one["settings"]["epochs"] == 1 for one in tried)  # the tiny budget
        best = max(tried, key=lambda one: one["selection"])
        assert best["chosen"]
        assert sum(one["chosen"] for one in tried) == 1
    text = (results / "shift.md").read_text()
    assert f"`{found['command']}`" in text
    assert found["rule"] in text
    assert (results / "shift.png").read_bytes().startswith(b"\x89PNG")


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
    with pytest.raises(UsageError, match="is no plan"):
        read({"grid": {"idfer": 3}})
    with pytest.raises(UsageError, match=r"unknown key in .* 'grids'\. Did you mean 'grid'"):
        read({"grids": {}})


def test_the_rule_takes_the_best_mean_and_the_first_of_equals() -> None:
    assert select([[0.5, 0.7], [0.9, 0.4], [0.6, 0.6]]) == 1
    assert select([[0.5, 0.5], [0.5, 0.5]]) == 0
    assert (
        select([[float("nan"), 0.9], [0.1, 0.1]]) == 1
    )  # not defined on a seed: the model is constant there


def test_seeds_as_people_type_them() -> None:
    assert numbers("seeds", "3,1,1") == numbers("seeds", [1, 3]) == [1, 3]
    for bad in ("1,-2", "1.5", ""):
        with pytest.raises(UsageError, match="--seeds"):
            numbers("seeds", bad)


def scored(levels: dict[str, float]) -> list[Row]:
    """Rows of three seeds in which every measure of a method has one value, `reversed` nearly so."""
    leaks = [(name, "nonlinear") for name in ("gender", "age", "skin")] + [("identity", "verification")]
    return [
        Row(
            name, seed,
            [Score("ccc", value, split, "mean") for split in ("matched", "balanced")]
            + [Score("ccc", value * (1 + 0.001 * seed), "reversed", "mean"), Score("drift", value)]
            + [Score("leak", value, of=of, feature="sampled", probe=probe) for of, probe in leaks],
        )
        for name, value in levels.items()
        for seed in (1, 2, 3)
    ]  # fmt: skip


def test_the_runner_up_is_the_best_baseline_of_each_measure_and_never_the_oracle() -> None:
    compared = comparisons(scored({"erm": 0.3, "oracle": 0.9, "idfer": 0.6, "hsic": 0.4}))
    second = {line["measure"]: line["second"] for line in compared["runner_up"]}
    assert second["reversed_ccc"] == "hsic"
    assert second["drift"] == second["leak_age"] == "erm"  # lower is better
    line = next(line for line in compared["runner_up"] if line["measure"] == "reversed_ccc")
    assert line["relative"] == pytest.approx(0.5)
    assert verdict(line, higher_is_better=True) == "better"
    assert verdict(line, higher_is_better=False) == "worse"
    assert verdict(line | {"low": -0.1}, higher_is_better=True) == "not told apart"
    assert verdict(line | {"low": np.nan, "high": np.nan}, higher_is_better=True) == "not told apart"
    assert {against["first"] for against in compared["against_idfer"]} == {"erm", "oracle", "hsic"}


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
