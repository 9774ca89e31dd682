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
from idfer.errors import IdferError, UsageError
from idfer.experiments.shift import METHODS, PLAN, Plan, numbers
from idfer.experiments.shift_report import comparisons
from idfer.experiments.tables import verdict

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
        own = [row for row in found["rows"] if row["name"] == method]
        assert [row["seed"] for row in own] == [1, 2]
        assert numbers_of["reversed_ccc"] == pytest.approx(np.mean([row["reversed_ccc"] for row in own]))
        assert own[0]["reversed_ccc"] == pytest.approx(
            (own[0]["reversed_ccc_valence"] + own[0]["reversed_ccc_arousal"]) / 2, abs=1e-5
        )
    for tried in found["tuning"].values():
        best = max(tried, key=lambda one: one["selection"])
        assert best["chosen"]
        assert sum(one["chosen"] for one in tried) == 1
    text = (results / "shift.md").read_text()
    assert f"`{found['command']}`" in text
    assert found["rule"] in text
    assert (results / "shift.png").read_bytes().startswith(b"\x89PNG")


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
    assert set(plan.grid) == set(METHODS)
    assert len({len(settings) for settings in plan.grid.values()}) == 1
    assert plan.grid["oracle"] == plan.grid["erm"]
    for method in METHODS:
        found = plan.settings(method)
        assert len({json.dumps(one, sort_keys=True) for one in found}) == len(found)  # none is tried twice
        shared = set(plan.budget) - set().union(*plan.grid[method])
        assert all(one[name] == plan.budget[name] for one in found for name in shared)


def test_a_plan_with_unequal_searches_or_an_unknown_term_is_refused(tmp_path: Path) -> None:
    def read(grid: Any) -> Plan:
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"budget": {}, "grid": grid}))
        return Plan.read(tmp_path / "plan.yaml")

    with pytest.raises(IdferError, match="equally many settings: erm 1, idfer 2"):
        read({"erm": [{}], "idfer": [{}, {"lr": 0.1}]})
    with pytest.raises(UsageError, match="plan, idfer, setting 1: unknown term 'beat'"):
        read({"idfer": [{"terms": {"beat": 1.0}}]}).settings("idfer")
    with pytest.raises(IdferError, match="is no plan"):
        read(None)


def test_seeds_as_people_type_them() -> None:
    assert numbers("seeds", "3,1,1") == numbers("seeds", [1, 3]) == [1, 3]
    for bad in ("1,-2", "1.5", ""):
        with pytest.raises(UsageError, match="--seeds"):
            numbers("seeds", bad)


def test_the_runner_up_is_the_best_baseline_of_each_measure_and_never_the_oracle() -> None:
    keys = {"matched_ccc", "balanced_ccc", "drift", "leak_sampled_identity"}
    keys |= {f"leak_sampled_{name}_mlp" for name in ("gender", "age", "skin")}
    level = {"erm": 0.3, "oracle": 0.9, "idfer": 0.6, "hsic": 0.4}
    rows = [
        {"name": name, "seed": seed, **dict.fromkeys(keys, value)}
        | {"reversed_ccc": value * (1 + 0.001 * seed)}
        for name, value in level.items()
        for seed in (1, 2, 3)
    ]  # fmt: skip
    found = comparisons(rows)
    second = {one["measure"]: one["second"] for one in found["runner_up"]}
    assert second["reversed_ccc"] == "hsic"
    assert second["drift"] == second["leak_age"] == "erm"  # lower is better
    one = next(one for one in found["runner_up"] if one["measure"] == "reversed_ccc")
    assert one["relative"] == pytest.approx(0.5)
    assert verdict(one, higher_is_better=True) == "better"
    assert verdict(one, higher_is_better=False) == "worse"
    assert verdict(one | {"low": -0.1}, higher_is_better=True) == "not told apart"
    assert verdict(one | {"low": np.nan, "high": np.nan}, higher_is_better=True) == "not told apart"
    assert {o["first"] for o in found["against_idfer"]} == {"erm", "oracle", "hsic"}
