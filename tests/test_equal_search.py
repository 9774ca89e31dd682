"""Every method gets the same chance: what is really trained while settings are chosen, counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from idfer.errors import UsageError
from idfer.experiments import study
from idfer.experiments.grid import Plan, contenders
from idfer.experiments.jobs import Job, Workers
from idfer.experiments.protocol import ORACLE, SHIFTED, Protocol
from idfer.experiments.scores import Score
from idfer.experiments.shift import PLAN

SEEDS = [101, 102, 103]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs of a study whose trials are made up: a method's third setting is its best."""
    jobs: list[Job] = []

    def run(given: list[Job], *_: Any) -> list[dict[str, Any]]:
        start = len(jobs)
        jobs.extend(given)
        values = [0.9 if "setting 3," in job.name else 0.5 for job in jobs[start:]]
        return [{"scores": [Score("selection", value).to_dict()]} for value in values]

    monkeypatch.setattr(study, "run_trials", run)
    return jobs


def test_every_method_is_tried_as_often_on_the_same_seeds_and_with_the_same_budget(
    trained: list[Job],
) -> None:
    plan, methods = Plan.read(PLAN), contenders()
    tuning, problems = study.Study(plan, Protocol(), Path("unused"), Workers(), "cpu", False).tune(
        methods, SEEDS
    )
    assert not problems
    of_method = {m: [job for job in trained if job.name.startswith(f"{m}, setting")] for m in methods}
    assert sum(map(len, of_method.values())) == len(trained)
    for method, jobs in of_method.items():
        different = {job.key for job in jobs}
        assert len(different) == len(jobs) == plan.count * len(SEEDS), method
        settings = [job.arguments["settings"] for job in jobs]
        assert Counter(s.seed for s in settings) == dict.fromkeys(SEEDS, plan.count), method
        for name in ("backbone", "size", "epochs", "batch_size"):  # none is searched
            assert len({getattr(s, name) for s in settings}) == 1
            assert getattr(settings[0], name) == getattr(of_method["erm"][0].arguments["settings"], name)
        assert {job.arguments["data"] for job in jobs} == {ORACLE if method == ORACLE else SHIFTED}
        assert {job.arguments["protocol"] for job in jobs} == {Protocol()}
        assert [one.chosen for one in tuning[method]].index(True) == 2


def test_a_term_of_the_budget_reaches_every_setting() -> None:
    """It reached the first alone: the terms of the others replaced those of the budget."""
    usual = Plan({"backbone": "conv4"}, {})
    given = Plan({"backbone": "conv4", "terms": {"residual": 0.2, "va_late": 0.9}}, {})
    before, after = (plan.settings("idfer") for plan in (usual, given))
    assert len(after) == 9
    assert {one.to_dict()["terms"]["residual"] for one in after} == {0.2}
    assert after[0].to_dict()["terms"]["va_late"] == 0.9
    for name in ("va_late", "information", "prior_power"):  # a setting changes the budget
        assert [one.to_dict()["terms"][name] for one in after[1:]] == [
            one.to_dict()["terms"][name] for one in before[1:]
        ]
    smaller = given.shortened({"terms": {"residual": 0.1}}, ["idfer"], 2)
    assert [one.to_dict()["terms"]["residual"] for one in smaller.settings("idfer")] == [0.1, 0.1]
    for name in ("method", "seed"):
        with pytest.raises(UsageError, match=f"the budget: {name} is no setting that all methods share"):
            Plan({name: "erm"}, {})
