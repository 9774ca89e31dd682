"""What `benchmark shift` says: summary and paired tests as JSON, tables as Markdown, a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.catalogue import method_entry
from idfer.experiments.measures import (
    CCCS,
    LEAKS,
    MEASURES,
    Rows,
    compare,
    estimate,
    gap_closed,
    values,
)
from idfer.experiments.protocol import ORACLE, TESTS
from idfer.experiments.scores import names_of, rows_of
from idfer.experiments.statistics import best
from idfer.experiments.tables import (
    bracket,
    columns,
    flat,
    interval_text,
    p_text,
    pipes,
    settings_text,
    verdict,
)
from idfer.experiments.trial import ATTRIBUTES
from idfer.experiments.tuning import Tried
from idfer.experiments.writer import write_results

COMPARED = (*CCCS, *LEAKS, "drift")


def write(content: Mapping[str, Any], out: Path) -> str:
    """Write shift.json, shift.md and shift.png; returns the main table and where the files are.

    Args:
        content: `command, rule, budget, protocol, seeds, tune_seeds, source, tuning` and `rows`, one per
            method and seed with the numbers of a trial.
        out: folder.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.experiments.charts import shift_chart

    rows = content["rows"]
    whole = {
        **{name: value for name, value in content.items() if name != "rows"},
        "summary": summary(rows),
        "intervals": intervals(rows),
        "comparisons": comparisons(rows),
        "rows": rows,
    }
    files = write_results(out, "shift", whole, markdown(whole), shift_chart(rows))
    return f"{columns(accuracy_table(rows))}\n\n{files}"


def baselines_of(rows: Rows) -> list[str]:
    """Every method that the catalogue, or its own class, does not call ours; the oracle is a yardstick."""
    return [name for name in names_of(rows) if name != ORACLE and method_entry(name).role == "baseline"]


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Means over seeds per method: every measure, `gap_closed` and the number of `seeds`."""
    return {
        method: {measure: estimate(rows, method, measure).value for measure in MEASURES}
        | {"gap_closed": gap_closed(rows, method).value, "seeds": len(values(rows, method, "drift"))}
        for method in names_of(rows)
    }


def intervals(rows: Rows) -> dict[str, dict[str, list[float]]]:
    """95 % intervals of what `summary` holds, [low, high]."""
    ends: dict[str, dict[str, list[float]]] = {}
    for method in names_of(rows):
        estimates = {measure: estimate(rows, method, measure) for measure in MEASURES}
        estimates["gap_closed"] = gap_closed(rows, method)
        ends[method] = {name: [estimated.low, estimated.high] for name, estimated in estimates.items()}
    return ends


def comparisons(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """Paired tests: `against_idfer` (each method minus idfer), `runner_up` (idfer minus the best baseline).

    The runner-up of a measure is the baseline that is best on it, by its mean on the same test data: choosing
    it with hindsight favours the baseline.
    """
    methods = names_of(rows)
    if OURS not in methods:
        return {"against_idfer": [], "runner_up": []}
    against = [
        {"measure": measure, "first": method, "second": OURS} | flat(compare(rows, method, OURS, measure))
        for measure in COMPARED
        for method in methods
        if method != OURS
    ]
    baselines = baselines_of(rows)
    leaders = (
        {m: best({b: values(rows, b, m).tolist() for b in baselines}, MEASURES[m].higher) for m in COMPARED}
        if baselines
        else {}
    )
    runner_up = [
        {"measure": measure, "first": OURS, "second": second} | flat(compare(rows, OURS, second, measure))
        for measure, second in leaders.items()
    ]
    return {"against_idfer": against, "runner_up": runner_up}


def accuracy_table(rows: Rows) -> list[list[str]]:
    """Mean CCC per split, gap closed, drift; a row per method."""
    table = [["method", "matched", "balanced", "reversed", "gap closed", "drift"]]
    for method in names_of(rows):
        cells = [interval_text(estimate(rows, method, measure)) for measure in CCCS]
        gap = "-" if method in ("erm", "oracle") else interval_text(gap_closed(rows, method), 2)
        table.append([method, *cells, gap, interval_text(estimate(rows, method, "drift"))])
    return table


def leakage_table(rows: Rows) -> list[list[str]]:
    """Scores of both probes on both features, a row per method; the last is chance."""
    heads = [f"{name}: linear, nonlinear" for name in ATTRIBUTES]
    table = [["method", "feature", *heads, "identity", "rate (nats)"]]
    for method in names_of(rows):
        of_method = rows_of(rows, method)
        budget = of_method[0].value("rate") == of_method[0].value("rate")  # not NaN
        for feature in ("sampled", "mean") if budget else ("mean",):
            rate = interval_text(estimate(rows, method, "rate"), 2) if feature == "sampled" else ""
            shown = feature if budget else "the only one"
            table.append([method, shown, *_leak_cells(of_method, "leak", feature), rate])
    shuffled = rows_of(rows, "erm" if "erm" in names_of(rows) else rows[0].name)
    table.append(["chance", "labels shuffled", *_leak_cells(shuffled, "chance", "mean"), ""])
    return table


def _leak_cells(rows: Rows, measure: str, feature: str) -> list[str]:
    """Mean scores over seeds, unclipped."""
    import numpy as np

    def mean(target: str, probe: str) -> str:
        scores = [row.value(measure, of=target, feature=feature, probe=probe) for row in rows]
        return "-" if np.isnan(scores).any() else f"{np.mean(scores):.2f}"

    cells = [f"{mean(name, 'linear')}, {mean(name, 'nonlinear')}" for name in ATTRIBUTES]
    return [*cells, mean("identity", "verification")]


def dimension_table(rows: Rows) -> list[list[str]]:
    """CCC and RMSE of valence and arousal per split, a row per method."""
    import numpy as np

    places = [(split, dimension) for split in TESTS for dimension in ("valence", "arousal")]
    table = [["method", *(f"{split} {dimension}: CCC, RMSE" for split, dimension in places)]]
    for method in names_of(rows):
        of_method = rows_of(rows, method)
        cells = [
            ", ".join(f"{np.mean([row.value(m, *place) for row in of_method]):.3f}" for m in ("ccc", "rmse"))
            for place in places
        ]
        table.append([method, *cells])
    return table


def markdown(whole: Mapping[str, Any]) -> str:
    """The whole report, naming its command."""
    rows = whole["rows"]
    seeds = ", ".join(map(str, whole["seeds"]))
    tuned = ", ".join(map(str, whole["tune_seeds"]))
    protocol, budget = whole["protocol"], whole["budget"]
    sizes = ", ".join(
        f"{name} {people} people × {images}"
        for name, (people, images) in (
            ("train", protocol.train),
            ("val", protocol.val),
            ("test", protocol.test),
        )
    )
    trials = max((len(t) for t in whole["tuning"].values()), default=0)
    given = ", ".join(f"{name} {value}" for name, value in budget.items())
    several = len(whole["source"]) > 1
    lines = [
        "# Unseen people, shifted shortcut", "", f"`{whole['command']}`", "",
        "Rendered faces. In training, older faces show lower valence and more masculine faces higher "
        "arousal (ρ = 0.7). The same unseen people are tested where that holds (matched), vanishes "
        "(balanced) and is turned round (reversed). `oracle` is ERM trained without the shortcut: what the "
        f"budget allows, not a competitor. {sizes}; {protocol.size} px.", "",
        f"Seeds {seeds}: each of people, photographs, weights and order, shared by all methods. Budget of "
        f"all: {given}. Settings: {trials} per method, tried on seed {tuned}, which is not reported.", "",
        f"Choice of settings: {whole['rule']}", "",
        "Baselines are reimplementations under this protocol. Their numbers are no statement about the "
        "published systems on photographs.", "",
        "![figure](shift.png)", "", "## Accuracy and drift", "",
        "Mean CCC of valence and arousal. Intervals: 95 %, Student's t over seeds. Gap closed: (method - "
        "ERM) / (oracle - ERM) on reversed, Fieller's interval. Drift: mean |change of valence and arousal| "
        "when the person changes and the action units and the photograph stay; lower is better, but a model "
        "that says the same of every face has none: read it beside CCC.", "",
        *pipes(accuracy_table(rows)), "", "## Against the runner-up", "",
        *_runner_up(whole["comparisons"]), "", "## Leakage from the expression feature", "",
        "Probes trained and tested on disjoint people of `balanced`: R² of age, gender presentation and "
        "skin tone (continuous ground truth), 2 AUC - 1 of telling unseen people apart. 0 is chance (a poor "
        "probe falls below), 1 is read perfectly. A method with an information budget has two features: the "
        "sample, which the budget speaks of, and its mean, which the predictions of this table come from.",
        "", *pipes(leakage_table(rows)), "", "## By dimension", "", *pipes(dimension_table(rows)), "",
        "## Every method against idfer", "", *_against(whole["comparisons"]), "", "## Settings tried", "",
        *_tuning(whole["tuning"]), "",
        f"Source of the trials: {', '.join(whole['source'])}."
        + (" More than one: not all trials were run by the same code." if several else ""),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _runner_up(comparison: Mapping[str, Any]) -> list[str]:
    """A line per measure: idfer, the best baseline on it, the difference, and in words who is better."""
    if not comparison["runner_up"]:
        return ["idfer or every baseline is missing from this run."]
    table = [["measure", "runner-up", "idfer minus runner-up", "relative", "p", "seeds higher", "verdict"]]
    for compared in comparison["runner_up"]:
        measure = MEASURES[compared["measure"]]
        table.append(
            [
                measure.title + ("" if measure.higher else " (lower is better)"), compared["second"],
                bracket(compared, "difference", "low", "high", "+.3f"), _percent(compared),
                p_text(compared["p"]), f"{compared['higher']} of {compared['seeds']}",
                verdict(compared, measure.higher),
            ]
        )  # fmt: skip
    note = (
        "The runner-up of a measure is the baseline with the best mean on it, chosen with hindsight, which "
        "favours it. Paired two-sided t tests over seeds, not corrected for the number of measures; relative "
        "difference with Fieller's interval."
    )
    return [note, "", *pipes(table)]


def _against(comparison: Mapping[str, Any]) -> list[str]:
    if not comparison["against_idfer"]:
        return ["idfer is missing from this run."]
    table = [["method minus idfer", *(MEASURES[m].title for m in (*CCCS, "drift"))]]
    for method in dict.fromkeys(compared["first"] for compared in comparison["against_idfer"]):
        by_measure = {c["measure"]: c for c in comparison["against_idfer"] if c["first"] == method}
        cells = [
            f"{bracket(by_measure[m], 'difference', 'low', 'high', '+.3f')}, p {p_text(by_measure[m]['p'])}"
            for m in (*CCCS, "drift")
        ]
        table.append([method, *cells])
    return pipes(table)


def _tuning(tuning: Mapping[str, Sequence[Tried]]) -> list[str]:
    head = ["method", "setting", "weighted val CCC (chosen by)", "val CCC", "effective share of val", ""]
    table = [head]
    for method, settings in tuning.items():
        for tried in settings:
            scores = [f"{tried.selection:.3f}", f"{tried.val_ccc:.3f}", f"{tried.val_effective:.2f}"]
            table.append([method, settings_text(tried.given), *scores, "chosen" if tried.chosen else ""])
    return pipes(table)


def _percent(compared: Mapping[str, Any]) -> str:
    """Relative difference in percent; its interval only where it is bounded."""
    if compared["relative"] != compared["relative"]:
        return "-"
    scaled = {name: 100 * compared[name] for name in ("relative", "relative_low", "relative_high")}
    return bracket(scaled, "relative", "relative_low", "relative_high", "+.0f") + " %"
