"""The ablation grid: what it expands to, and what it refuses by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark_rows import rows_of_measures
from idfer import cli
from idfer.catalogue import ESTIMATORS
from idfer.errors import IdferError, UsageError
from idfer.experiments import trial
from idfer.experiments.ablate_report import comparisons, markdown, shift_sheet
from idfer.experiments.budget_curve import budget_curve
from idfer.experiments.grid import BASE, Grid, Variant
from idfer.experiments.jobs import Workers
from idfer.experiments.ledger import LEDGER, Ledger
from idfer.experiments.measures import MEASURES
from idfer.experiments.protocol import Protocol
from idfer.experiments.scores import Row, Score
from idfer.experiments.trial import job
from idfer.training.settings import Settings

BASE_SETTINGS = {"method": "idfer", "backbone": "conv4", "size": 64, "terms": {"attach": 0.1}}
SHIPPED = Path(__file__).parent.parent / "ablations" / "default.yaml"


def grid(folder: Path, **content: Any) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({"base": BASE_SETTINGS} | content, sort_keys=False))
    return path


def test_variants_change_the_base_term_by_term(tmp_path: Path) -> None:
    variants = {
        "attributes": {"age alone": {"use": ["age"]}, "without age": {"use": "gender,skin"}},
        "training": {
            "plain": {"method": "erm"}, "no weights": {"decorrelate": False}, "wide": {"terms": {"alpha": 0}},
        },
    }  # fmt: skip
    read = Grid.read(grid(tmp_path, seeds="3,1", variants=variants))
    assert read.seeds == [1, 3]
    by_name = {variant.name: variant for variant in read.variants}
    assert list(by_name) == [BASE, "age alone", "without age", "plain", "no weights", "wide"]
    assert by_name["wide"].group == "training"
    base = by_name[BASE].settings
    assert base.terms["attach"] == 0.1
    assert base.decorrelate is True
    assert by_name["without age"].settings == base.changed(use=("gender", "skin"))
    assert by_name["wide"].settings == base.changed(terms={**base.terms, "alpha": 0.0})
    assert by_name["plain"].settings.terms == Settings.of(method="erm").terms  # not the base's


def test_a_default_written_out_is_the_same_trial_and_anything_else_another() -> None:
    short = Settings.of(**BASE_SETTINGS)
    said = Settings.of(**BASE_SETTINGS, retrieval="soft", form="distilled")
    assert said == short
    keys = {
        job("x", Protocol(), 1, "shifted", short).key,
        job("x", Protocol(), 2, "shifted", short).key,
        job("x", Protocol(), 1, "oracle", short).key,
        job("x", Protocol(size=32), 1, "shifted", short).key,
        job("x", Protocol(), 1, "shifted", Settings.of(**BASE_SETTINGS, lr=0.002)).key,
    }
    assert len(keys) == 5
    assert job("y", Protocol(), 1, "shifted", said).key in keys


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"use": ["age", "eyes"]}, "unknown attribute 'eyes'"),
        ({"terms": {"alhpa": 1.0}}, "unknown term 'alhpa'. Did you mean 'alpha'?"),
        ({"terms": {"alpha": "much"}}, "--terms.alpha is 'much'"),
        ({"terms": {"estimator": "clubb"}}, "unknown estimator 'clubb'. Did you mean 'club'?"),
        ({"epohcs": 3}, "unknown setting 'epohcs'. Did you mean 'epochs'?"),
        ({"method": "idfre"}, "unknown method 'idfre'. Did you mean 'idfer'?"),
        ({"form": "simpel"}, "unknown residual form 'simpel'. Did you mean 'simple'?"),
        ({"retrieval": "trut"}, "unknown retrieval 'trut'. Did you mean 'truth'?"),
        ({"terms": [1]}, "terms is [1]"),
        ({}, "a mapping is needed"),
    ],
)
def test_what_does_not_exist_is_named_with_its_place(
    tmp_path: Path, variant: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = grid(tmp_path, variants={"question": {"my variant": variant}})
    assert cli.main(["ablate", str(path), "--progress", "false"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"idfer: {path}: question: my variant: ")
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_grid_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown key in .* 'variant'\. Did you mean 'variants'\?"):
        Grid.read(grid(tmp_path, variant={}))
    with pytest.raises(UsageError, match="variants: is null"):
        Grid.read(grid(tmp_path))
    twice = {"a": {"same": {"lr": 0.1}}, "b": {"same": {"lr": 0.2}}}
    with pytest.raises(UsageError, match="b: same: there is another variant of this name"):
        Grid.read(grid(tmp_path, variants=twice))
    with pytest.raises(IdferError, match=r"nowhere\.yaml: no such file"):
        Grid.read(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["shift", "shift-minority", "decode", "compare"])
def test_a_grid_is_not_named_as_another_benchmark(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"grid\.yaml: name is '{name}', which would overwrite"):
        Grid.read(grid(tmp_path, name=name, variants={"a": {"b": {"lr": 0.1}}}))


@pytest.mark.parametrize("option", ["--folds=0", "--attributes="])
def test_options_of_your_own_faces_are_refused_without_them(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ablate", "g.yaml", option]) == 2
    assert f"{option.partition('=')[0]} is of your own faces" in capsys.readouterr().err


def test_the_shipped_grid_is_valid_and_asks_what_it_should() -> None:
    given = [variant.given for variant in Grid.read(SHIPPED).variants]
    used = [sorted(changes["use"]) for changes in given if "use" in changes]
    for alone in ("age", "gender", "skin"):
        assert [alone] in used
        assert sorted({"age", "gender", "skin"} - {alone}) in used
    assert {"hard", "truth"} <= {changes.get("retrieval") for changes in given}
    assert {"simple", "residual_post", "residual_prev"} <= {changes.get("form") for changes in given}
    added = [changes["terms"] for changes in given if changes.get("terms", {}).get("beta")]
    assert {terms["estimator"] for terms in added} == set(ESTIMATORS)
    assert len({changes["backbone"] for changes in given if "backbone" in changes}) >= 2
    assert any(changes.get("decorrelate") is False for changes in given)


def test_the_report_says_what_the_numbers_say() -> None:
    wanted = [measure.score for name, measure in MEASURES.items() if name not in ("rate", "reversed_ccc")]
    rows = [
        Row(
            name, seed,
            [Score(value=0.5, **where) for where in wanted]
            + [Score("ccc", score + 0.01 * seed, "reversed", "mean"), Score("rate", None)],
        )
        for name, score in ((BASE, 0.5), ("less", 0.3))
        for seed in (1, 2, 3)
    ]  # fmt: skip
    sheet = shift_sheet([1, 2, 3])
    differences = comparisons(rows, sheet)
    assert differences["less"]["reversed_ccc"]["difference"] == pytest.approx(-0.2)
    assert differences["less"]["drift"]["p"] == 1.0
    settings = Settings.of(**BASE_SETTINGS)
    variants = [
        Variant(name, group, given, settings)
        for name, group, given in ((BASE, BASE, {}), ("less", "why", {"lr": 0.1, "terms": {"alpha": 0.0}}))
    ]
    content = {
        "command": "idfer ablate g.yaml", "seeds": [1, 2, 3], "variants": variants, "rows": rows,
        "comparisons": differences, "source_of": {"trials": ["abc"]},
    }  # fmt: skip
    text = markdown(content, "ablation", sheet)
    assert "`idfer ablate g.yaml`" in text
    assert "## why: difference to the base" in text
    start = "| less | lr: 0.1, terms: {alpha: 0.0} |"
    line = next(line for line in text.splitlines() if line.startswith(start))
    assert line.count("worse") == 1
    assert "-0.200 [-0.200, -0.200], p < 0.001, **worse**" in line


def test_the_shipped_grid_changes_the_setting_that_the_benchmark_chose() -> None:
    shift = json.loads((SHIPPED.parent.parent / "benchmarks" / "results" / "shift.json").read_text())
    chosen = Settings.of(method="idfer", **shift["budget"], **shift["chosen"]["idfer"])
    assert Grid.read(SHIPPED).variants[0].settings == chosen


@pytest.fixture
def made_up_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that give the residual's weight divided into .1 as nats, and .8 less a tenth of it as CCC."""

    def run(jobs: list[Any], *_: Any) -> list[dict[str, Any]]:
        weights = [job.arguments["settings"].terms.get("residual", 0.0) for job in jobs]
        wanted = [
            {"x": {"balanced_ccc": 0.8 - 0.1 * weight} | ({"residual_nats": 0.1 / weight} if weight else {})}
            for weight in weights
        ]
        return [
            {"scores": [score.to_dict() for score in rows_of_measures(of, seeds=(1,))[0].scores]}
            for of in wanted
        ]

    monkeypatch.setattr(trial, "run_trials", run)


def test_a_report_is_entered_and_its_seeds_are_not_reported_again(
    tmp_path: Path, made_up_trials: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = grid(tmp_path, seeds=[41, 42], variants={"training": {"slow": {"lr": 0.001}}})
    command = ["ablate", str(file), "-o", str(tmp_path), "--runs", str(tmp_path / "runs")]
    assert cli.main([*command, "--seeds", "42,43"]) == 0
    assert "Report ablation-1 of [history.md](history.md)." in (tmp_path / "ablation.md").read_text()
    (entry,) = Ledger.beside(tmp_path).entries
    assert (entry.seeds, entry.command) == ((42, 43), f"idfer ablate {file} --seeds 42,43")
    assert entry.headline.startswith("1 variants of a base; base: CCC matched 0.5")
    assert cli.main(command) == 2
    assert "seed 42 was reported before (ablation-1" in capsys.readouterr().err
    assert cli.main([*command, "--development", "true"]) == 2
    assert "is a report (ablation-1) and this run is none" in capsys.readouterr().err
    elsewhere = [*command[:2], "-o", str(tmp_path / "looked"), *command[4:]]
    assert cli.main([*elsewhere, "--development", "true"]) == 0
    assert "**development" in (tmp_path / "looked" / "ablation.md").read_text()
    assert not (tmp_path / "looked" / LEDGER).exists()


def test_variants_of_the_residual_alone_are_a_curve_of_nats(tmp_path: Path, made_up_trials: None) -> None:
    variants = {
        "budget": {"more": {"terms": {"residual": 0.5}}, "less": {"terms": {"residual": 0.05}}},
        "other": {
            "none": {"terms": {"residual": 0.0, "rate": 0.03}},
            "both": {"terms": {"residual": 0.3, "beta": 0.1}},
            "plain": {"method": "erm"},
            "empty": {"terms": None, "lr": 0.001},
            "nothing": {"terms": None},
        },
    }  # fmt: skip
    read = Grid.read(grid(tmp_path, variants=variants)).variants
    jobs = [job("", Protocol(), 1, "shifted", variant.settings) for variant in read]
    results = trial.run_trials(jobs, tmp_path, Workers.of(1, False), "made up")
    rows = [
        Row.of(variant.name, 1, result)
        for variant, result in zip(read, results, strict=True)
        if not isinstance(result, str)
    ]
    assert budget_curve(rows, read) == ["more", BASE, "less"]  # fewest nats first
    assert budget_curve(rows, read[:1]) == []
    file = grid(tmp_path, variants={**variants, "other": {"plain": {"method": "erm"}}})
    assert cli.main(["ablate", str(file), "-o", str(tmp_path / "out"), "--size", "tiny"]) == 0
    assert (tmp_path / "out" / "ablation-nats.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "![curve](ablation-nats.png)" in text
    assert "gender alone is 0.69" in text
    assert "nan" not in text  # ERM has no nats


@pytest.mark.parametrize("option", ["--development=true", "--again=why"])
def test_your_own_faces_have_no_ledger(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ablate", "g.yaml", "--manifest", "m.csv", option]) == 2
    assert f"{option.partition('=')[0]} is of the shift protocol" in capsys.readouterr().err


def test_under_the_protocol_the_grids_seeds_and_the_shift_measures_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = {"base": 0.5, "fast": 0.6}
    asked: list[tuple[str, Any]] = []

    def run(jobs: list[Any], *_: Any) -> list[dict[str, Any]]:
        asked.extend((job.name, job.arguments) for job in jobs)
        rows = [
            rows_of_measures({"x": dict.fromkeys(MEASURES, made_up[job.name.split(",")[0]])}, seeds=(1,))[0]
            for job in jobs
        ]
        return [{"scores": [score.to_dict() for score in row.scores]} for row in rows]

    monkeypatch.setattr(trial, "run_trials", run)
    file = grid(tmp_path, seeds=[3, 4], variants={"rate": {"fast": {"lr": 0.01}}})
    places = ["-o", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--size", "tiny"]
    assert cli.main(["ablate", str(file), *places]) == 0
    assert [name for name, _ in asked] == [f"{v}, seed {s}" for s in (3, 4) for v in ("base", "fast")]
    assert {arguments["device"] for _, arguments in asked} == {"cpu"}
    found = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert found["command"] == f"idfer ablate {file} --size tiny"
    assert found["seeds"] == [3, 4]
    assert set(found["summary"]["fast"]) == set(MEASURES)
    assert found["comparisons"]["fast"]["reversed_ccc"]["difference"] == pytest.approx(0.1)
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "protocol and measures are those of [shift.md](shift.md). Seeds 3, 4." in text
    assert (tmp_path / "out" / "ablation.png").is_file()
