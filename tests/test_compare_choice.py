"""A comparison's choice of settings, and its page, on made-up trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from idfer import Manifest
from idfer.errors import IdferError
from idfer.experiments.grid import Plan
from idfer.experiments.jobs import Job, Workers
from idfer.experiments.manifests import study, words
from idfer.experiments.manifests.chart import compare_chart
from idfer.experiments.manifests.faces import Faces
from idfer.experiments.manifests.measures import measures_of, probed
from idfer.experiments.manifests.places import Place, places
from idfer.experiments.manifests.report import _effective, comparisons
from idfer.experiments.manifests.tables import accuracy_table, leakage_table
from idfer.experiments.scores import Row, Score

PLACES = tuple(Place(f"fold {k}", k, 1, np.full(9, k, np.int8)) for k in (1, 2, 3))
PLAN = Plan({"backbone": "conv4", "size": 32}, {}, 4)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs of a study whose trials are made up: at fold k the rule's best is setting k, the test's is 4."""
    jobs: list[Job] = []

    def run(given: Sequence[Job], *_: Any) -> list[dict[str, Any] | str]:
        jobs.extend(given)
        return [_made_up(job) for job in given]

    monkeypatch.setattr(study, "run_jobs", run)
    return jobs


def _made_up(job: Job) -> dict[str, Any] | str:
    setting = int(job.name.split("setting ")[1][0]) if "setting" in job.name else 0
    fold = int(job.name.split("fold ")[1][0])
    if "adversarial, setting 2, fold 3" in job.name:
        return "the loss became nan"
    scores = [
        Score("selection", 0.9 if setting == fold else 0.5), Score("ccc", setting / 10, "val", "mean"),
        Score("ccc", 0.8 if setting == 4 else 0.6, "test", "mean"),
    ]  # fmt: skip
    return {"scores": [score.to_dict() for score in scores]}


def _study(choose: study.Choose = "weighted") -> study.Study:
    return study.Study(PLAN, "abc", PLACES, choose, Path("unused"), Workers(), "cpu", False)


def test_each_place_chooses_for_itself_among_equally_many_by_its_held_out_people(trained: list[Job]) -> None:
    tuning, rows, jobs = _study().compare(["erm", "bmse"])
    assert len(jobs["search"]) == len({job.key for job in jobs["search"]}) == 2 * 3 * 4
    assert len(jobs["chosen"]) == 2 * 3
    for method in ("erm", "bmse"):
        assert [list(one.chosen_at) for one in tuning[method]] == [[0], [1], [2], []]  # never the test's best
        assert study.regret(tuning[method]) == pytest.approx(0.2)
    searched = {job.key: job for job in jobs["search"]}
    for job in jobs["chosen"]:  # what is measured is a run of the search
        arguments = {**job.arguments, "measure": "selection"}
        assert Job("", job.function, arguments).key in searched
    assert [(row.name, row.seed) for row in rows] == [(m, at) for m in ("erm", "bmse") for at in range(3)]


def test_plain_ccc_can_choose_instead(trained: list[Job]) -> None:
    tuning, _, _ = _study("plain").compare(["erm"])
    assert [list(one.chosen_at) for one in tuning["erm"]] == [[], [], [], [0, 1, 2]]


def test_a_failed_trial_is_named(trained: list[Job]) -> None:
    with pytest.raises(
        IdferError, match=r"1 job failed, .* adversarial, setting 2, fold 3: the loss became nan"
    ):
        _study().compare(["erm", "adversarial"])


def _rows(levels: dict[str, tuple[float, float | None]]) -> list[Row]:
    return [
        Row(
            name, at,
            [
                Score("ccc", ccc + 0.01 * at, "test", of) for of in ("mean", "valence", "arousal")
            ] + [Score("rmse", 0.4, "test", "mean"), Score("ccc", ccc, "val", "mean")]
            + ([] if leak is None else [Score("leak", leak, of="age", feature="mean", probe="nonlinear")])
            + [Score("leak", 0.5, of="identity", feature="mean", probe="verification")],
        )
        for name, (ccc, leak) in levels.items()
        for at in range(4)
    ]  # fmt: skip


def test_the_reference_is_idfer_or_the_first_and_all_comparisons_are_corrected_together() -> None:
    rows = _rows({"erm": (0.3, 0.6), "idfer": (0.5, 0.1), "bmse": (0.4, 0.6)})
    measures = measures_of(rows)
    assert "weighted_ccc" not in measures
    lines = comparisons(rows, measures, overlap=0.3)
    assert {(line["first"], line["second"]) for line in lines} == {("erm", "idfer"), ("bmse", "idfer")}
    assert {line["measure"] for line in lines} == {"test_ccc", "leak_mean_age", "leak_mean_identity"}
    assert [row[0] for row in accuracy_table(rows, measures, 0.3)[1:]] == ["idfer", "bmse", "erm"]
    assert comparisons(_rows({"erm": (0.3, 0.6), "bmse": (0.4, 0.6)}), measures, 0.3)[0]["second"] == "erm"
    assert comparisons(_rows({"erm": (0.3, 0.6)}), measures, 0.3) == []


def test_what_was_not_measured_everywhere_is_a_dash() -> None:
    rows = _rows({"erm": (0.3, None), "idfer": (0.5, 0.1)})
    assert probed(rows) == ["age", "identity"]
    table = leakage_table(rows, measures_of(rows), 0.0)
    by_name = {row[0]: row for row in table if row[1] in ("feature", "mean")}
    assert by_name["method"][2:] == ["age", "identity"]
    assert by_name["erm"][2] == "-"
    assert by_name["idfer"][2] == "0.10 [0.10, 0.10]"


def test_what_the_weights_leave_is_of_the_places_where_it_was_measured() -> None:
    """The page said "leave nan% of the test faces", where at one place a single person was tested."""
    shares = [0.5, None, 0.7]
    rows = [
        Row(name, at, [] if share is None else [Score("effective", share, "test")])
        for name in ("erm", "idfer")
        for at, share in enumerate(shares)
    ]
    assert _effective(rows) == (
        "60% of the test faces in effect (at 2 of 3 places; at the others a single person is tested)"
    )
    assert _effective([row for row in rows if row.seed != 1]) == "60% of the test faces in effect"


def test_the_page_says_which_test_and_what_leakage_is_of() -> None:
    data = {"truth": ["age"]}
    said = words.missing_text(data, ["age", "skin", "identity"])
    assert "Leakage of age is of the manifest's columns `factor.`." in said
    assert "Leakage of skin is of what CLIP answered, its errors included" in said
    assert "only identity is probed" in words.missing_text(data, ["identity"])
    assert "Nothing was probed" in words.missing_text(data, [])
    five = [{"seed": 1}] * 5
    folds = words.test_text({"kind": "dealt", "places": five, "overlap": 0.3125})
    assert "corrected resampled t test (Nadeau & Bengio 2003)" in folds
    assert "s² (1/5 + 0.31)" in folds
    assert "4 degrees of freedom" in folds
    repeated = words.test_text({"kind": "dealt", "places": [*five, {"seed": 2}], "overlap": 0.3})
    assert "Bouckaert & Frank 2004" in repeated


def test_folds_by_a_column_that_splits_people_are_said_in_bold() -> None:
    frame = pd.DataFrame(
        {"path": [f"{i}.png" for i in range(40)], "subject": [f"p{i % 10}" for i in range(40)]}
    )
    frame = frame.assign(video=[f"v{i // 4}" for i in range(40)], valence=0.1, arousal=np.linspace(-1, 1, 40))
    manifest = Manifest.from_frame(frame, ".")
    for by, told in (("subject", False), ("video", True)):
        faces = Faces(manifest, None, "abc")
        data = words.data_record(faces, places(manifest, folds=5, by=by), "m.parquet", "none")
        assert ("both learned from and tested" in words.data_text(data)[2]) is told
        assert (data["division"]["shared_people"] > 0) is told


def test_one_place_and_one_method_make_a_page_and_a_figure(tmp_path: Path) -> None:
    one = [row for row in _rows({"erm": (0.3, None), "bmse": (0.4, None)}) if row.seed == 0]
    measures = measures_of(one)
    lines = comparisons(one, measures, 0.0)
    assert all(np.isnan(line["p_holm"]) for line in lines)
    for rows in (one, [row for row in one if row.name == "erm"]):
        figure = compare_chart(rows, measures_of(rows), 0.0)
        figure.savefig(tmp_path / "one.png")
        assert figure.axes[0].get_title(loc="left").endswith("(CCC)")
