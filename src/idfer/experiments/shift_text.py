"""What `benchmark shift` says, as Markdown: its tables and the words around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from idfer.experiments.grid import shown_as
from idfer.experiments.ledger import standing
from idfer.experiments.measures import CCCS, DIMENSIONS, MEASURES, Rows, estimate, gap_closed
from idfer.experiments.measuring import ATTACHED, ATTRIBUTES, DETACHED, DRAWN, TEMPLATE, UNNAMED
from idfer.experiments.protocol import PROBED, TESTS
from idfer.experiments.scores import names_of, rows_of
from idfer.experiments.tables import (
    bracket,
    interval_text,
    p_text,
    pipes,
    settings_text,
    source_text,
    verdict,
)
from idfer.experiments.targets import Target, effect
from idfer.experiments.tuning import Tried, chosen_of


def accuracy_table(rows: Rows) -> list[list[str]]:
    """Mean CCC per split, gap closed, CCC on held-out training-distribution people; a row per method."""
    table = [["method", "matched", "balanced", "reversed", "gap closed", "val"]]
    for method in names_of(rows):
        cells = [interval_text(estimate(rows, method, measure)) for measure in CCCS]
        gap = "-" if method in ("erm", "oracle") else interval_text(gap_closed(rows, method), 2)
        held_out = _mean(rows_of(rows, method), "ccc", "val", "mean")
        table.append([shown_as(method), *cells, gap, _number(held_out, "", 3)])
    return table


def invariance_table(rows: Rows) -> list[list[str]]:
    """Effects of the named attributes, and the person's and the interaction's ratios; a row per method."""
    places = [(attribute, dimension) for attribute in ATTRIBUTES for dimension in DIMENSIONS]
    ratios = ["person_ratio", "interaction_ratio", "drift"]
    table = [["method", *(f"{a} on {d}" for a, d in places), *(MEASURES[m].title for m in ratios)]]
    for method in names_of(rows):
        effects = [interval_text(estimate(rows, method, f"effect_{a}_{d}"), 3, "+") for a, d in places]
        table.append(
            [shown_as(method), *effects, *(interval_text(estimate(rows, method, m)) for m in ratios)]
        )
    return table


def unnamed_table(rows: Rows) -> list[list[str]]:
    """Effects of attributes that nothing is retrieved for, beside the named ones; a row per method."""
    places = [(attribute, dimension) for attribute in UNNAMED for dimension in DIMENSIONS]
    table = [["method", *(f"{a.replace('_', ' ')} on {d}" for a, d in places)]]
    return table + [
        [shown_as(method), *(_number(effect(rows, method, *at, DETACHED)) for at in places)]
        for method in names_of(rows)
    ]


def certificate_table(rows: Rows) -> list[list[str]]:
    """Nats and accuracy of the sampled prediction; a row per method that samples its feature."""
    measures = ["rate", "residual_nats", "balanced_ccc", "sampled_balanced_ccc"]
    titles = ["rate (nats)", "residual (nats)", "CCC balanced, of the mean", "CCC balanced, of a sample"]
    table = [["method", *titles]]
    for method in names_of(rows):
        if np.isfinite(estimate(rows, method, "rate").value):
            nats = [interval_text(estimate(rows, method, m), 2) for m in measures[:2]]
            table.append(
                [shown_as(method), *nats, *(interval_text(estimate(rows, method, m)) for m in measures[2:])]
            )
    return table


def attach_table(rows: Rows) -> list[list[str]]:
    """Accuracy and effects with attributes detached, all attached, each attached alone; a row for each."""
    places = [(attribute, dimension) for attribute in ATTRIBUTES for dimension in DIMENSIONS]
    table = [
        ["method", "attached", *TESTS, *(f"{a} on {d}" for a, d in places), MEASURES["person_ratio"].title]
    ]
    for method in names_of(rows):
        of_method = rows_of(rows, method)
        if not np.isfinite(_mean(of_method, "person_ratio", feature=ATTACHED)):
            continue
        for feature in (DETACHED, ATTACHED, *(f"{ATTACHED} {name}" for name in ATTRIBUTES)):
            shown = "none" if feature == DETACHED else feature.removeprefix(ATTACHED).strip() or "all"
            name = "" if feature == DETACHED else feature  # a CCC of the prediction as it is has no feature
            cells = [_number(_mean(of_method, "ccc", split, "mean", name), "", 3) for split in TESTS]
            effects = [_number(effect(rows, method, *at, feature)) for at in places]
            ratio = _number(_mean(of_method, "person_ratio", feature=feature), "", 3)
            table.append([method, shown, *cells, *effects, ratio])
    return table


def _mean(rows: Rows, *score: str, **named: str) -> float:
    """Mean of a score over seeds; nan where one was not measured."""
    return float(np.mean([row.value(*score, **named) for row in rows]))


def _number(value: float, sign: str = "+", digits: int = 3) -> str:
    return f"{value:{sign}.{digits}f}" if np.isfinite(value) else "-"


_FEATURES = {"sampled": "1 draw", TEMPLATE: "mean over 10 images"}


def leakage_table(rows: Rows) -> list[list[str]]:
    """Scores of both probes, a row per method and feature; the last is chance."""
    heads = [f"{name}: linear, nonlinear" for name in ATTRIBUTES]
    table = [["method", "feature", *heads, "identity"]]
    for method in names_of(rows):
        of_method = rows_of(rows, method)
        budget = of_method[0].value("rate") == of_method[0].value("rate")  # not NaN
        for feature in ("sampled", *DRAWN, "mean", TEMPLATE) if budget else ("mean", TEMPLATE):
            shown = "the only one" if feature == "mean" and not budget else _FEATURES.get(feature, feature)
            table.append([shown_as(method), shown, *_leak_cells(of_method, "leak", feature)])
    shuffled = rows_of(rows, "erm" if "erm" in names_of(rows) else rows[0].name)
    table.append(["chance", "labels shuffled", *_leak_cells(shuffled, "chance", "mean")])
    return table


def _leak_cells(rows: Rows, measure: str, feature: str) -> list[str]:
    """Mean scores over seeds, unclipped."""

    def mean(target: str, probe: str) -> str:
        scores = [row.value(measure, of=target, feature=feature, probe=probe) for row in rows]
        return "-" if np.isnan(scores).any() else f"{np.mean(scores):.2f}"

    cells = [f"{mean(name, 'linear')}, {mean(name, 'nonlinear')}" for name in ATTRIBUTES]
    return [*cells, mean("identity", "verification")]


def dimension_table(rows: Rows) -> list[list[str]]:
    """CCC and RMSE of valence and arousal per split, a row per method."""
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


LOOKED_AT = (
    "What was looked at when choosing: defaults and ranges, idfer's included, were set in development, where "
    "anything may be looked at, the shifted tests of other seeds too. The setting that is reported of each "
    "method is the rule's pick on the tuning seeds, the same rule for every method. Every report on these "
    "seeds or others stands in [history.md](history.md)."
)


def markdown(whole: Mapping[str, Any], lengths: Mapping[int, Rows]) -> str:
    """The whole report, naming its command.

    Args:
        whole: the numbers as they go to JSON.
        lengths: rows by number of epochs, ascending.
    """
    first, *longer = lengths
    rows = lengths[first]
    kind = whole["kind"]
    title = "# Unseen people, shifted shortcut" + ("" if whole["ledger"] else f" ({kind})")
    lines = [
        title, "", f"`{whole['command']}`", "", standing(whole), "", *_setting(whole), "", LOOKED_AT, "",
        f"Choice of settings: {whole['rule']}", "",
        "Baselines are reimplementations under this protocol. Their numbers are no statement about the "
        "published systems on photographs.", "",
        "![figure](shift.png)", "", *_targets(whole["targets"]), *_accuracy(whole, lengths),
        "## Invariance", "",
        "On a full cross (every test person shows the same expressions in the same photographs). Effect: "
        "change of the prediction per standard deviation of an attribute at fixed expression, signed, all "
        "attributes detached where a method can. Person and interaction: standard deviation of the "
        "prediction over that of expressions. Drift, mean |change| on pairs, mixes bias with errors of "
        "reading and is secondary. A model that says the same of every face has no effects: read them beside "
        "CCC.", "",
        *(line for epochs in lengths for line in _titled(epochs, lengths, invariance_table(lengths[epochs]))),
        "Hair, glasses and mouth shape, for which nothing is retrieved, at equal gender presentation, age "
        "and skin tone:", "", *pipes(unnamed_table(rows)), "",
        "## Leakage from the expression feature", "",
        f"Probes trained and tested on disjoint people of the split `{PROBED}`, whose labels are independent "
        "of them: R² of age, gender presentation and skin tone (continuous ground truth), 2 AUC - 1 of "
        "telling unseen people apart. 0 is chance (a poor probe falls below), 1 is read perfectly. A method "
        "with an information budget has a sample, which the budget speaks of, and its mean, which the "
        "predictions of this page come from; averages of draws lie between. Somebody with ten photographs of "
        "a person can average their means.",
        "", *pipes(leakage_table(rows)), "", *_certificate(lengths), *_attach(lengths),
        "## By dimension", "", *pipes(dimension_table(rows)), "",
        "## Every method against idfer", "", *_against(whole["comparisons"]), "",
        *_choices(whole), "## Settings tried", "", *_tuning(whole["tuning"]), "", *_source(whole),
    ]  # fmt: skip
    if longer:
        where = f"Sections without a number of epochs are of {first}."
        lines.insert(lines.index(LOOKED_AT) + 1, f"\n{where}")
    return "\n".join(lines) + "\n"


def _setting(whole: Mapping[str, Any]) -> list[str]:
    """Protocol, seeds, budget and search in words."""
    protocol, budget = whole["protocol"], whole["budget"]
    parts = ("train", "val", "test", "cross", PROBED)
    sizes = ", ".join("{} {} people × {}".format(name, *getattr(protocol, name)) for name in parts)
    seeds, tuned = (", ".join(map(str, whole[name])) for name in ("seeds", "tune_seeds"))
    trials = max((len(t) for t in whole["tuning"].values()), default=0)
    given = ", ".join(f"{name} {value}" for name, value in budget.items())
    lengths = whole["epochs"]
    longer = (
        f" Settings were chosen at {lengths[0]} epochs and kept for {', '.join(map(str, lengths[1:]))}, "
        "where another might have been better: for every method alike."
        if len(lengths) > 1
        else ""
    )
    return [
        "Rendered faces. In training, older faces show lower valence and more masculine faces higher "
        "arousal (ρ = 0.7). The same unseen people are tested where that holds (matched), vanishes "
        "(balanced) and is turned round (reversed). `oracle` is ERM trained without the shortcut: what the "
        f"budget allows, not a competitor. {sizes}; {protocol.size} px.", "",
        f"Seeds {seeds}: each of people, photographs, weights and order, shared by all methods. Budget of "
        f"all: {given}. Settings: {trials} per method, the learning rate among what is searched, tried on "
        f"seeds {tuned}, which are not reported.{longer}",
    ]  # fmt: skip


def _titled(epochs: int, lengths: Mapping[int, Rows], table: list[list[str]]) -> list[str]:
    """A table, named by its number of epochs where there are several."""
    head = [f"At {epochs} epochs:", ""] if len(lengths) > 1 else []
    return [*head, *pipes(table), ""]


def _targets(found: Sequence[Target]) -> list[str]:
    if not found:
        return []
    table = [["epochs", "target", "found", ""]]
    table += [[str(t.epochs), t.goal, t.found, t.verdict] for t in found]
    count = sum(target.met is True for target in found)
    return [
        "## Targets", "",
        f"Set before the run. {count} of {len(found)} met. Compared are means over seeds; intervals stand "
        "below. An effect is held to its goal by the size of its mean over seeds, which errors either way "
        "leave near 0; the mean of its sizes per seed stands beside it.",
        "", *pipes(table), "",
    ]  # fmt: skip


def _accuracy(whole: Mapping[str, Any], lengths: Mapping[int, Rows]) -> list[str]:
    lines = [
        "## Accuracy", "",
        "Mean CCC of valence and arousal. Intervals: 95 %, Student's t over seeds. Gap closed: (method - "
        "ERM) / (oracle - ERM) on reversed, Fieller's interval. val: held-out people of the distribution "
        "each was trained on; where it rises no more with epochs, training has converged.", "",
    ]  # fmt: skip
    for epochs, rows in lengths.items():
        lines += _titled(epochs, lengths, accuracy_table(rows))
    lines += ["## Against the runner-up", ""]
    for place, (epochs, rows) in enumerate(lengths.items()):
        comparison = whole["lengths"][epochs]["comparisons"] if place else whole["comparisons"]
        lines += [f"At {epochs} epochs:", ""] if len(lengths) > 1 else []
        lines += [*_runner_up(comparison, with_note=place == 0), ""]
        parts = [name for name in names_of(rows) if shown_as(name) != name]
        if parts and not place:
            lines += [f"Parts of idfer, shown but no baselines: {', '.join(parts)}.", ""]
    return lines


def _certificate(lengths: Mapping[int, Rows]) -> list[str]:
    if all(len(certificate_table(rows)) == 1 for rows in lengths.values()):
        return []
    lines = [
        "## Certificate", "",
        f"Of a sampled feature, on the people of `{PROBED}`. Rate: nats that one draw tells about the image "
        "in all. Residual: nats that it tells beyond what the label says, under a density of the feature "
        "given the label fitted on other people; an upper bound, on average over faces, of what it tells of "
        "identity given the label (for scale: telling one of two equally frequent groups takes ln 2 = 0.69). "
        "Draws and images of a person add up, and the mean feature is not covered. So accuracy of a sampled "
        "prediction stands beside it.",
        "",
    ]  # fmt: skip
    return lines + [
        line for e, rows in lengths.items() for line in _titled(e, lengths, certificate_table(rows))
    ]


def _attach(lengths: Mapping[int, Rows]) -> list[str]:
    if all(len(attach_table(rows)) == 1 for rows in lengths.values()):
        return []
    lines = [
        "## Attached", "",
        "Methods that split, with no attribute attached, all, and each alone. An attribute that is attached "
        "should move its own effect towards ERM's and no other.", "",
    ]  # fmt: skip
    return lines + [line for e, rows in lengths.items() for line in _titled(e, lengths, attach_table(rows))]


def _choices(whole: Mapping[str, Any]) -> list[str]:
    """What the rule chose, what that cost in hindsight, and which choices lie at an edge."""
    table = [["method", "chosen", "regret balanced", "regret reversed", "at an edge of its range"]]
    for method, tried in whole["tuning"].items():
        cells = [
            _number(whole["regret"][method][f"{split}_ccc"], "", 3) for split in ("balanced", "reversed")
        ]
        chosen = chosen_of(tried)
        table.append([shown_as(method), settings_text(chosen.given), *cells, ", ".join(chosen.edges)])
    return [
        "## What the rule chose", "",
        "Regret: CCC of the best setting in hindsight minus that of the chosen one, mean over the tuning "
        "seeds. A choice in the outer tenth of its range is named: a wider range might have served that "
        "method better.", "",
        *pipes(table), "",
    ]  # fmt: skip


def _source(whole: Mapping[str, Any]) -> list[str]:
    return [f"Source: {source_text(whole['source_of'])}."]


def _runner_up(comparison: Mapping[str, Any], with_note: bool) -> list[str]:
    """A line per measure: idfer, the best baseline on it, the difference, and in words who is better."""
    if not comparison["runner_up"]:
        return ["idfer or every baseline is missing from this run."]
    table = [
        [
            "measure",
            "runner-up",
            "idfer minus runner-up",
            "relative",
            "p",
            "p, Holm",
            "seeds higher",
            "verdict",
        ]
    ]
    for compared in comparison["runner_up"]:
        measure = MEASURES[compared["measure"]]
        table.append(
            [
                ("size of the " if measure.signed else "") + measure.title
                + ("" if measure.higher else " (lower is better)"), compared["second"],
                bracket(compared, "difference", "low", "high", "+.3f"), _percent(compared),
                p_text(compared["p"]), p_text(compared["p_holm"]),
                f"{compared['higher']} of {compared['seeds']}", verdict(compared, measure.higher, "p_holm"),
            ]
        )  # fmt: skip
    note = (
        "The runner-up of a measure is the baseline with the best mean on it, chosen with hindsight, which "
        "favours it. Paired two-sided t tests over seeds; verdicts go by p corrected for the number of "
        "measures (Holm 1979). Intervals are not corrected. Effects are compared by their size; relative "
        "difference with Fieller's interval."
    )
    return [*([note, ""] if with_note else []), *pipes(table)]


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
    table = [
        [
            "method", "setting", "weighted val CCC (chosen by)", "val CCC", "effective share of val",
            "balanced, reversed (not looked at)", "",
        ]
    ]  # fmt: skip
    for method, settings in tuning.items():
        for tried in settings:
            scores = [
                _number(tried.selection, "", 3),
                _number(tried.val_ccc, "", 3),
                f"{tried.val_effective:.2f}",
            ]
            tests = ", ".join(_number(score, "", 3) for score in tried.tests.values())
            table.append(
                [
                    shown_as(method),
                    settings_text(tried.given),
                    *scores,
                    tests,
                    "chosen" if tried.chosen else "",
                ]
            )
    return pipes(table)


def _percent(compared: Mapping[str, Any]) -> str:
    """Relative difference in percent; its interval only where it is bounded."""
    if compared["relative"] != compared["relative"]:
        return "-"
    scaled = {name: 100 * compared[name] for name in ("relative", "relative_low", "relative_high")}
    return bracket(scaled, "relative", "relative_low", "relative_high", "+.0f") + " %"
