"""What is said of shift protocols: measures by hand, verdicts, corrections, and whose settings are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idfer import cli
from idfer.catalogue import PROTOCOLS
from idfer.errors import IdferError, UsageError
from idfer.experiments import protocol_runs
from idfer.experiments.jobs import Workers
from idfer.experiments.ledger import TINY
from idfer.experiments.protocol import CORRELATION
from idfer.experiments.protocol_chart import protocol_chart
from idfer.experiments.protocol_measures import (
    MEAN,
    WORST,
    Levels,
    compare,
    cost,
    gap_closed,
    runner_up,
    values,
)
from idfer.experiments.protocol_report import overview, results, verdict
from idfer.experiments.protocol_runs import CONTENDERS, Campaign, Tuned, _of_correlation
from idfer.experiments.protocols.design import load_design
from idfer.experiments.scores import Row, Score

MINORITY = load_design("minority")
BUDGET = {"backbone": "conv4", "size": 64, "epochs": 8, "batch_size": 64, "dim": 128, "lr": 0.0025}


def row(name: str, seed: int, cells: Mapping[str, float]) -> Row:
    scores = [Score("ccc", value, split, "mean") for split, value in cells.items()]
    scores += [Score("effect", value, "valence", "skin", "detached") for value in (0.1 * cells["everyone"],)]
    return Row(name, seed, [*scores, Score("drift", 0.25)])


def minority(scores: Mapping[str, tuple[float, float]]) -> Levels:
    """Three seeds at the four levels: (majority, minority) of a method, the minority lower by level."""
    return {
        level: [
            row(name, seed, {"majority": high + 0.01 * seed, "minority": low - step, "everyone": 0.5})
            for name, (high, low) in scores.items()
            for seed in (1, 2, 3)
        ]
        for level, step in zip(MINORITY.levels, (0.0, 0.1, 0.2, 0.3), strict=True)
    }


SCORES = {"erm": (0.8, 0.6), "oracle": (0.8, 0.78), "cdann": (0.7, 0.66), "idfer": (0.78, 0.7)}


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != CORRELATION])
def test_the_marks_of_a_figure_lie_within_it(name: str) -> None:
    design = load_design(name)
    scores = [Score("ccc", 0.5, split, "mean") for split in design.tests]
    rows = [Row(method, seed, scores) for method in CONTENDERS for seed in (1, 2)]
    figure = protocol_chart(design, {level: rows for level in design.levels})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    within, place = figure.bbox, legend.get_window_extent()
    assert within.x0 <= place.x0 < place.x1 <= within.x1
    assert within.y0 <= place.y0 < place.y1 <= within.y1


def test_worst_and_mean_are_over_cells_alone_and_over_levels_unless_one_is_named() -> None:
    levels = minority(SCORES)
    np.testing.assert_allclose(values(MINORITY, levels, "erm", WORST, "share-2"), [0.4] * 3)
    np.testing.assert_allclose(values(MINORITY, levels, "erm", WORST), [0.45] * 3)
    np.testing.assert_allclose(values(MINORITY, levels, "erm", MEAN, "share-50"), [0.705, 0.71, 0.715])
    np.testing.assert_allclose(values(MINORITY, levels, "erm", "everyone_ccc"), [0.5] * 3)
    np.testing.assert_allclose(values(MINORITY, levels, "erm", "effect_skin_valence"), [0.05] * 3)
    assert np.isnan(values(MINORITY, levels, "erm", "effect_skin_arousal")).all()
    swapped = {"a": [row("erm", 1, {"majority": 0.3, "minority": 0.9, "everyone": 0.1})]}
    assert values(MINORITY, swapped, "erm", WORST).tolist() == [0.3]  # whichever cell it is


def test_gap_cost_and_runner_up_by_hand() -> None:
    levels = minority(SCORES)
    assert gap_closed(MINORITY, levels, "idfer", "share-0").value == pytest.approx(0.1 / 0.18)
    assert cost(MINORITY, levels, "idfer").value == pytest.approx(0.79 - 0.74)
    assert runner_up(MINORITY, levels, WORST) == "cdann"
    assert runner_up(MINORITY, levels, MEAN) == "erm"  # .7 to .68; never the oracle
    assert compare(MINORITY, levels, "cdann", WORST).difference.value == pytest.approx(0.04)
    assert runner_up(MINORITY, minority({"oracle": (0.9, 0.9), "idfer": (0.5, 0.5)}), WORST) == ""


def test_a_share_of_a_gap_that_seeds_do_not_show_is_not_given() -> None:
    levels = minority(SCORES)
    assert np.isnan(
        gap_closed(MINORITY, levels, "idfer", "share-50").value
    )  # harmless: there is none to close
    correlation = load_design(CORRELATION)

    def closed(gaps: list[float]) -> float:
        """idfer .1 above ERM; the oracle ahead by a gap per seed."""
        of = {"erm": [0.0] * 3, "idfer": [0.1] * 3, "oracle": gaps}
        rows = [
            Row(name, seed, [Score("ccc", 0.5 + ahead[seed], split, "mean") for split in correlation.tests])
            for name, ahead in of.items()
            for seed in range(3)
        ]
        return gap_closed(correlation, {"shifted": rows}, "idfer").value

    assert closed([0.21, 0.2, 0.19]) == pytest.approx(0.5)
    assert np.isnan(closed([0.02, -0.01, 0.01]))  # a mean gap of .007 would make this a share of 15


def test_the_area_is_the_mean_height_over_unevenly_spaced_tests() -> None:
    sweep = load_design("sweep")
    heights = {"minus-90": 0.0, "minus-50": 0.4, "zero": 0.4, "plus-50": 0.4, "plus-90": 0.8}
    scores = [Score("ccc", value, split, "mean") for split, value in heights.items()]
    levels = {level: [Row("erm", 1, scores)] for level in sweep.levels}
    by_hand = (0.4 * 0.2 + 0.5 * 0.4 + 0.5 * 0.4 + 0.4 * 0.6) / 1.8
    assert values(sweep, levels, "erm", "area_ccc")[0] == pytest.approx(by_hand)


def test_results_name_levels_and_say_who_is_first() -> None:
    found = results(MINORITY, minority(SCORES))
    ours = found["summary"]["idfer"]
    assert ours["worst_ccc"] == pytest.approx(0.55)
    assert ours["share-0:minority_ccc"] == pytest.approx(0.4)
    assert ours["share-0:gap_closed"] == pytest.approx(0.1 / 0.18)
    assert ours["cost_ccc"] == pytest.approx(0.05)
    assert ours["seeds"] == 3
    assert found["verdict"] == "first"
    assert {"mean_ccc", "gap_closed", "share-10:worst_ccc"} <= set(found["intervals"]["erm"])
    assert len(found["rows"]) == 4 * 4 * 3
    assert found["rows"][0]["level"] == "share-50"
    behind = results(MINORITY, minority(SCORES | {"idfer": (0.78, 0.5)}))
    assert behind["verdict"] == "behind"
    alone = results(MINORITY, minority({"idfer": (0.8, 0.6)}))
    assert "missing" in alone["verdict"]
    correlation = load_design(CORRELATION)
    one = results(correlation, {"shifted": [Row("erm", 1, [Score("ccc", 0.4, "reversed", "mean")])]})
    assert one["summary"]["erm"]["reversed_ccc"] == 0.4
    assert not [name for name in one["summary"]["erm"] if ":" in name]  # a level alone is not named


def line(p: float, difference: float) -> dict[str, Any]:
    return {"p": p, "difference": difference}


def test_a_verdict_needs_evidence() -> None:
    assert verdict(line(0.04, 0.1)) == "first"
    assert verdict(line(0.04, -0.1)) == "behind"
    assert verdict(line(0.06, -0.1)) == "tied"
    assert verdict(line(float("nan"), 0.1)) == "not tested"


def test_a_correction_makes_nothing_that_is_worse_a_tie() -> None:
    assert verdict(line(0.02, 0.1) | {"p_holm": 0.2}, "p_holm") == "tied"
    assert verdict(line(0.02, -0.1) | {"p_holm": 0.2}, "p_holm") == "behind"


def test_the_overview_corrects_for_the_number_of_protocols(tmp_path: Path) -> None:
    correlation = load_design(CORRELATION)

    def found(gain: float) -> dict[str, Any]:
        """idfer ahead of the best baseline by a gain that differs by 0.01 from seed to seed."""
        rows = [
            Row(name, seed, [Score("ccc", value, split, "mean") for split in correlation.tests])
            for seed in (1, 2, 3)
            for name, value in (("erm", 0.5), ("cdann", 0.6), ("idfer", 0.6 + gain + 0.01 * (seed - 2)))
        ]
        return results(correlation, {"shifted": rows})

    of = {"one": found(0.1), "two": found(0.026), "three": found(-0.026)}
    text = overview(of, "a command", tmp_path, "development, not a report", "A note.")
    said = json.loads((tmp_path / "shift-protocols.json").read_text())
    lines = [line for line in said["verdicts"] if line["measure"] == WORST]
    raw = [line["p"] for line in lines]
    assert max(raw) < 0.05
    corrected = [line["p_holm"] for line in lines]
    assert corrected == pytest.approx([3 * raw[0], 2 * raw[1], 2 * raw[2]], rel=1e-6)
    assert min(corrected[1:]) > 0.05
    assert [line["verdict"] for line in lines] == ["first", "tied", "behind"]
    assert said["count"] == "First in 1, tied in 1, behind in 1 of 3 protocols."
    assert said["count"] in text
    page = (tmp_path / "shift-protocols.md").read_text()
    assert "**development, not a report**." in page and "A note." in page
    assert (said["kind"], said["ledger"]) == ("development, not a report", [])
    reported = {name: {"ledger": f"shift-{name}-1", **each} for name, each in of.items()}
    overview(reported, "a command", tmp_path, "report")
    assert json.loads((tmp_path / "shift-protocols.json").read_text())["ledger"][0] == "shift-one-1"
    assert (
        "Reports shift-one-1, shift-two-1, shift-three-1 of" in (tmp_path / "shift-protocols.md").read_text()
    )
    assert "| three | 0.500 | cdann 0.600 | 0.574 | - |" in page
    assert (tmp_path / "shift-protocols.png").read_bytes().startswith(b"\x89PNG")


def tuned(folder: Path, **changes: Any) -> Path:
    """A shift.json with what protocols need of it."""
    content = {"kind": "tiny", "tune_seeds": [201], "budget": BUDGET, "command": "idfer benchmark shift"}
    content["chosen"] = {name: {"lr": 0.004} for name in CONTENDERS} | {
        "idfer": {"terms": {"information": 2.0}}
    }
    path = folder / "shift.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_settings_are_those_chosen_under_correlation_over_its_budget(tmp_path: Path) -> None:
    chosen = Tuned.read(tuned(tmp_path))
    ours = chosen.settings("idfer", {"epochs": 1})
    assert (ours.method, ours.terms["information"], ours.lr, ours.epochs) == ("idfer", 2.0, 0.0025, 1)
    oracle = chosen.settings("oracle", {})
    assert (oracle.method, oracle.lr, oracle.epochs) == ("erm", 0.004, 8)
    with pytest.raises(UsageError, match=r"shift\.json has no setting of hsic: run `idfer benchmark shift"):
        chosen.settings("hsic", {})
    with pytest.raises(UsageError, match=r"shift\.json, erm: unknown setting"):
        Tuned.read(tuned(tmp_path, chosen={"erm": {"learning": 1}})).settings("erm", {})
    with pytest.raises(IdferError, match="says nothing of a budget"):
        Tuned.read(tuned(tmp_path, budget=None))


def campaign(path: Path, **changes: Any) -> Campaign:
    """Two methods on seeds 1 and 2, at the length and with the settings of a shift.json."""
    given: dict[str, Any] = {
        "tuned": Tuned.read(path), "settings": dict.fromkeys(("erm", "idfer")), "missing": [], "left_out": [],
        "size": "full", "seeds": [1, 2], "epochs": [8], "kind": "report", "again": "", "out": path.parent,
        "runs": path.parent, "workers": Workers(), "device": "cpu", "progress": False,
    }  # fmt: skip
    return Campaign(**(given | changes))


def test_the_row_of_correlation_is_of_the_same_length_and_methods_and_says_its_seeds(tmp_path: Path) -> None:
    def lines(ccc: float) -> list[dict[str, Any]]:
        return [
            Row(name, seed, [Score("ccc", ccc, "reversed", "mean")]).to_dict()
            for name in ("erm", "cdann", "idfer")
            for seed in (1, 2, 3)
        ]

    lengths = {"24": {"rows": lines(0.6)}}
    path = tuned(tmp_path, kind="report", epochs=[8, 24], rows=lines(0.5), lengths=lengths)
    for epochs, ccc in ((8, 0.5), (24, 0.6)):
        rows, note = _of_correlation(campaign(path, epochs=[epochs], seeds=[1, 2, 3]))
        assert {(row.name, row.seed) for row in rows} == {(m, s) for m in ("erm", "idfer") for s in (1, 2, 3)}
        assert {row.value("ccc", "reversed", "mean") for row in rows} == {ccc}
        assert note == ""
    rows, note = _of_correlation(campaign(path, epochs=[16]))
    assert rows == [] and "left out: shift.json has no rows of it at 16 epochs" in note
    rows, note = _of_correlation(campaign(path, settings={"hsic": None}))
    assert rows == [] and "shares no method" in note
    rows, note = _of_correlation(campaign(path, seeds=[4, 5], settings=dict.fromkeys(("erm", "caf"))))
    assert {row.seed for row in rows} == {1, 2, 3}
    assert note == "The row of `correlation` is of seeds 1, 2, 3. The row of `correlation` is without caf."
    rows, note = _of_correlation(campaign(path, kind=TINY))
    assert rows == [] and "left out" in note


@pytest.mark.parametrize("options", [["--size", "tiny"], ["--size", "full", "--development", "true"]])
def test_an_overview_of_reports_is_not_overwritten_by_what_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    tuned(tmp_path)
    (tmp_path / "shift-protocols.json").write_text('{"ledger": ["shift-4", "shift-minority-1"]}')
    places = ["-o", str(tmp_path), "--runs", str(tmp_path / "runs"), "--seeds", "1", "--protocol", "all"]
    assert cli.main(["benchmark", "shift", *places, *options]) == 2
    assert "shift-protocols.json is a report (shift-4, shift-minority-1)" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "raterz"], "unknown protocol 'raterz'. Did you mean 'raters'?"),
        (["--protocol", "raters,correlation"], "run it alone"),
        (["--protocol", "raters", "--plan", "p.yaml"], "takes no plan"),
        (["--settings", "x.json"], "--settings is for other protocols"),
        (["--protocol", "all", "--settings", "nowhere.json"], "nowhere.json: no such file"),
        (["--protocol", "raters", "--seeds", "200,201"], "seed 201 was tuned on"),
        (["--protocol", "raters", "--methods", "erm,hsic"], "no setting of hsic"),
        (["--protocol", "raters", "--size", "full"], "is no report, so what runs with its settings is none"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    tuned(tmp_path)
    places = ["-o", str(tmp_path), "--runs", str(tmp_path / "runs"), "--size", "tiny", "--seeds", "1"]
    assert cli.main(["benchmark", "shift", *places, *options]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_protocol_that_fails_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(tmp_path)
    begun: list[str] = []

    def one(campaign: Campaign, name: str, *rest: Any) -> tuple[str, dict[str, Any]]:
        begun.append(name)
        if name == "hidden":
            raise IdferError("hidden, erm, seed 1: training diverged.")
        return f"table of {name}", {}

    monkeypatch.setattr(protocol_runs, "_one", one)
    asked = ["--protocol", "hidden,raters", "--size", "tiny", "--seeds", "1", "-o", str(tmp_path)]
    assert cli.main(["benchmark", "shift", *asked, "--runs", str(tmp_path / "runs")]) == 1
    assert begun == ["hidden", "raters"]
    said = capsys.readouterr().err
    assert "hidden: hidden, erm, seed 1: training diverged." in said
    assert "Written: raters. The same command runs what failed again." in said


@pytest.mark.slow
def test_a_protocol_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned(tmp_path)
    places = ["-o", str(tmp_path), "--runs", str(tmp_path / "runs"), "--workers", "1", "--progress", "false"]
    asked = [
        "--protocol",
        "retrieval-noise",
        "--size",
        "tiny",
        "--seeds",
        "1",
        "--methods",
        "erm,oracle,idfer",
    ]
    assert cli.main(["benchmark", "shift", *asked, *places]) == 0
    said = capsys.readouterr().out
    assert "retrieval-noise: not tested" in said
    found = json.loads((tmp_path / "shift-retrieval-noise.json").read_text())
    assert found["settings"]["idfer"]["terms"]["information"] == 2.0
    assert found["settings"]["erm"]["epochs"] == 1  # tiny
    assert set(found["summary"]) == {"erm", "oracle", "idfer"}
    for scores in found["summary"].values():
        cells = [scores[f"{cell}_ccc"] for cell in ("matched", "balanced", "reversed")]
        assert scores["worst_ccc"] == pytest.approx(min(cells))
        assert scores["mean_ccc"] == pytest.approx(np.mean(cells))
        assert scores["effect_age_valence"] is not None
    page = (tmp_path / "shift-retrieval-noise.md").read_text()
    assert f"`{found['command']}`" in page
    assert "Verdict at 1 epochs" in page
    assert "- idfer: terms: {information: 2.0}" in page
    assert "Tuned on `correlation` but not run here: adversarial, caf, groupdro." in page
    assert (tmp_path / "shift-retrieval-noise.png").read_bytes().startswith(b"\x89PNG")
    trained = list((tmp_path / "runs" / "runs").glob("*/model.safetensors"))
    assert len(trained) == 3
    faces = tmp_path / "runs" / "faces" / "retrieval-noise"
    assert len(list(faces.glob("*/*/attributes.parquet"))) == 2
