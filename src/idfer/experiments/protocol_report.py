"""What `benchmark shift --protocol` says of a protocol: numbers, tables and a verdict; and of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.catalogue import PROTOCOLS
from idfer.evaluation.multiplicity import holm
from idfer.experiments.ledger import standing
from idfer.experiments.measures import MEASURES
from idfer.experiments.protocol import ORACLE
from idfer.experiments.protocol_measures import (
    DECIDING,
    MEAN,
    WORST,
    Levels,
    compare,
    cost,
    estimate,
    gap_closed,
    measures_of,
    methods_of,
    runner_up,
)
from idfer.experiments.protocols.design import Design
from idfer.experiments.scores import rows_of
from idfer.experiments.statistics import LEVEL
from idfer.experiments.tables import (
    bracket,
    columns,
    flat,
    interval_text,
    p_text,
    pipes,
    settings_text,
    source_text,
)
from idfer.experiments.writer import write_results

Found = Mapping[str, Any]
OVERVIEW = "shift-protocols"
VERDICTS = ("first", "tied", "behind", "not tested")
RULE = (
    "First: idfer's worst-cell CCC is above that of the best baseline (paired two-sided t test over seeds, "
    f"p < {1 - LEVEL:.2g}). Behind: below it. Tied: neither. The best baseline is the one with the best mean "
    "here, chosen with hindsight, which favours it. Tied is no proof of being equal: the lower end of the "
    "interval is a loss that the seeds do not exclude."
)


def results(design: Design, levels: Levels) -> dict[str, Any]:
    """`summary`, `intervals`, `comparisons`, `verdict` and `rows` of a protocol at one length of training.

    Measures of a protocol with levels are means over them; those of a level are named LEVEL:MEASURE.
    """
    found = {method: _estimates(design, levels, method) for method in methods_of(levels)}
    compared = _comparisons(design, levels)
    seeds = {method: len(rows_of(next(iter(levels.values())), method)) for method in found}
    return {
        "summary": {m: {k: e.value for k, e in of.items()} | {"seeds": seeds[m]} for m, of in found.items()},
        "intervals": {m: {k: [e.low, e.high] for k, e in of.items()} for m, of in found.items()},
        "comparisons": {"runner_up": compared},
        "verdict": next((verdict(line) for line in compared), "idfer or every baseline is missing"),
        "rows": [{"level": level, **row.to_dict()} for level, rows in levels.items() for row in rows],
    }


def _estimates(design: Design, levels: Levels, method: str) -> dict[str, Any]:
    measures = measures_of(design)
    found = {measure: estimate(design, levels, method, measure) for measure in measures}
    found["gap_closed"] = gap_closed(design, levels, method)
    if design.harmless:
        found["cost_ccc"] = cost(design, levels, method)
    if len(levels) > 1:
        for level in levels:
            found |= {f"{level}:{m}": estimate(design, levels, method, m, level) for m in measures}
            found[f"{level}:gap_closed"] = gap_closed(design, levels, method, level)
    return found


def _comparisons(design: Design, levels: Levels) -> list[dict[str, Any]]:
    """idfer against the best baseline of each deciding measure, over all levels and at each."""
    places = [(measure, "") for measure in DECIDING]
    places += [(measure, level) for measure in DECIDING for level in levels if len(levels) > 1]
    if OURS not in methods_of(levels):
        return []
    return [
        {"measure": measure, "level": level, "first": OURS, "second": second}
        | flat(compare(design, levels, second, measure, level))
        for measure, level in places
        if (second := runner_up(design, levels, measure, level))
    ]


def verdict(compared: Mapping[str, Any], p: str = "p") -> str:
    """`first`, `tied` or `behind`; `not tested` where there is no p value (one seed).

    A correction makes every claim harder, so it holds for `first` alone: applied to `behind` it would turn
    what is worse into what is tied.

    Args:
        compared: idfer against a baseline, as in `comparisons`.
        p: which of its p values `first` goes by; `behind` goes by the one that is not corrected.
    """
    if np.isnan(compared["p"]):
        return "not tested"
    ahead = compared["difference"] > 0
    if compared[p if ahead else "p"] >= 1 - LEVEL:
        return "tied"
    return "first" if ahead else "behind"


def headline(design: Design, lengths: Mapping[int, Levels]) -> str:
    """The main numbers in a line, for the ledger."""
    parts = []
    for epochs, levels in lengths.items():
        leader = runner_up(design, levels, WORST)
        named = {OURS: OURS, leader: f"best baseline {leader}", ORACLE: ORACLE}
        said = [
            f"{word} {interval_text(estimate(design, levels, name, WORST))}"
            for name, word in named.items()
            if name in methods_of(levels)
        ]
        parts.append(f"{epochs} epochs: worst CCC {', '.join(said)}")
    return ". ".join(parts)


def write(name: str, design: Design, content: Found, lengths: Mapping[int, Levels], out: Path) -> str:
    """Write shift-NAME.json, .md and .png; returns the main table and where the files are.

    Args:
        name: of the protocol.
        design: the protocol.
        content: `kind, ledger, command, settings_from, settings, chosen, budget, protocol, seeds, epochs,
            missing, left_out, source, source_of`.
        lengths: rows by level, by number of epochs, ascending.
        out: folder.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.experiments.protocol_chart import protocol_chart

    first, *longer = lengths
    found = {epochs: results(design, levels) for epochs, levels in lengths.items()}
    whole = {
        **content,
        "name": name,
        "about": design.about,
        "levels": design.levels,
        "cells": design.cells,
        "rule": RULE,
        **{part: value for part, value in found[first].items() if part != "rows"},
        "lengths": {epochs: found[epochs] for epochs in longer},
        "rows": found[first]["rows"],
    }
    file = file_of(name)
    text = _markdown(name, design, whole, lengths, found)
    files = write_results(out, file, whole, text, protocol_chart(design, lengths[first]))
    table = columns(accuracy_table(design, lengths[first]))
    return f"{name}: {whole['verdict']}\n\n{table}\n\n{files}"


def file_of(name: str) -> str:
    """Name of a protocol's files, and of its reports in the ledger."""
    return f"shift-{name.replace(':', '.')}"


def accuracy_table(design: Design, levels: Levels, level: str = "") -> list[list[str]]:
    """CCC: worst cell, mean, gap closed, cost, area, every split; a row per method."""
    costs = bool(design.harmless and not level)
    measures = [*(["area_ccc"] if design.line else []), *(f"{split}_ccc" for split in design.tests)]
    heads = ["method", "worst cell", "mean", "gap closed", *(["cost"] if costs else [])]
    table = [[*heads, *(measure.removesuffix("_ccc") for measure in measures)]]
    for method in methods_of(levels):

        def shown(measure: str, of: str = method) -> str:
            return interval_text(estimate(design, levels, of, measure, level))

        gap = gap_closed(design, levels, method, level)
        cells = [shown(WORST), shown(MEAN), "-" if method in ("erm", ORACLE) else interval_text(gap, 2)]
        cells += [interval_text(cost(design, levels, method), 3, "+")] if costs else []
        table.append([method, *cells, *map(shown, measures)])
    return table


def level_table(design: Design, levels: Levels) -> list[list[str]]:
    """Worst-cell and mean CCC at every level; a row per method."""
    places = [(measure, level) for measure in (WORST, MEAN) for level in levels]
    table = [["method", *(f"{level}: {'worst' if m == WORST else 'mean'}" for m, level in places)]]
    for method in methods_of(levels):
        cells = [interval_text(estimate(design, levels, method, *place)) for place in places]
        table.append([method, *cells])
    return table


def invariance_table(design: Design, levels: Levels) -> list[list[str]]:
    """Effects of the protocol's factors, the person's and the interaction's ratios, drift."""
    effects = [f"effect_{factor}_{dimension}" for factor, dimension in design.shortcuts]
    ratios = ["person_ratio", "interaction_ratio", "drift"]
    heads = [f"{factor.replace('_', ' ')} on {dimension}" for factor, dimension in design.shortcuts]
    table = [["method", *heads, *(MEASURES[name].title for name in ratios)]]
    for method in methods_of(levels):
        cells = [interval_text(estimate(design, levels, method, m), 3, "+") for m in effects]
        cells += [interval_text(estimate(design, levels, method, m)) for m in ratios]
        table.append([method, *cells])
    return table


def _markdown(
    name: str, design: Design, whole: Found, lengths: Mapping[int, Levels], found: Mapping[int, Found]
) -> str:
    seeds = ", ".join(map(str, whole["seeds"]))
    given = ", ".join(f"{key} {value}" for key, value in whole["budget"].items() if key != "epochs")
    title = PROTOCOLS[name].title if name in PROTOCOLS else "a protocol of one's own"
    lines = [
        f"# Shift protocol {name}: {title}", "", f"`{whole['command']}`", "",
        standing(whole), "", design.about, "",
        f"Unseen people in every test. Seeds {seeds}: each of people, photographs, weights and order, shared "
        f"by all methods. Budget of all: {given}. `oracle` is ERM trained without the shift, a yardstick.",
        "",
        "Settings: what the rule of `idfer benchmark shift` chose for each method on the protocol "
        f"`correlation` ({whole['settings_from']}); nothing was chosen on this protocol.", "",
        *(f"- {method}: {settings_text(of)}" for method, of in whole["chosen"].items()), "",
        *([_missing(whole["missing"]), ""] if whole["missing"] else []),
        *([_left_out(whole["left_out"]), ""] if whole["left_out"] else []),
        f"![figure]({file_of(name)}.png)", "",
    ]  # fmt: skip
    for epochs, levels in lengths.items():
        of_length = f" at {epochs} epochs"
        lines += [
            f"## Accuracy{of_length}", "",
            f"CCC, the mean of valence's and arousal's, over the cells {', '.join(design.cells)}. Intervals: "
            "95 %, Student's t over seeds. Gap closed: (method - ERM) / (oracle - ERM) of the worst cell, "
            "Fieller's interval; - where seeds do not tell ERM and oracle apart." + _words(design), "",
            *pipes(accuracy_table(design, levels)), "",
        ]  # fmt: skip
        if len(levels) > 1:
            lines += ["By what was learned from:", "", *pipes(level_table(design, levels)), ""]
        compared = found[epochs]["comparisons"]["runner_up"]
        lines += [f"**Verdict{of_length}: {found[epochs]['verdict']}.** {RULE}", "", *_compared(compared), ""]
        lines += [f"## Invariance{of_length}", "", _INVARIANCE, ""]
        lines += [*pipes(invariance_table(design, levels)), ""]
    lines.append(f"Source: {source_text(whole['source_of'])}.")
    return "\n".join(lines) + "\n"


_INVARIANCE = (
    "On a full cross of unseen people. Effect: change of the prediction per standard deviation of a factor "
    "at fixed expression, signed. Person and interaction: standard deviation of the prediction over that of "
    "expressions. Means over levels."
)


def _words(design: Design) -> str:
    words = " Means over levels." if len(design.levels) > 1 else ""
    if design.line:
        words += " Area: mean height of the CCC over the line of tests."
    if design.harmless:
        words += (
            f" Cost: mean CCC lost to the oracle at {design.harmless}, where nothing is shifted; ERM's is "
            "that of its learning rate, chosen under a shift."
        )
    return words


def _missing(names: Sequence[str]) -> str:
    return f"Not run, for no setting of theirs was chosen on `correlation`: {', '.join(names)}."


def _left_out(names: Sequence[str]) -> str:
    return f"Tuned on `correlation` but not run here: {', '.join(names)}. One of them may be better."


def _compared(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    table = [["CCC", "level", "best baseline", "idfer minus it", "p", "seeds higher", "verdict"]]
    table += [
        [
            "worst cell" if line["measure"] == WORST else "mean", line["level"] or "all", line["second"],
            bracket(line, "difference", "low", "high", "+.3f"), p_text(line["p"]),
            f"{line['higher']} of {line['seeds']}", verdict(line),
        ]
        for line in lines
    ]  # fmt: skip
    return pipes(table) if lines else ["idfer or every baseline is missing from this run."]


def overview(found: Mapping[str, Found], command: str, out: Path, kind: str, note: str = "") -> str:
    """Write shift-protocols.json, .md and .png: a verdict per protocol, corrected for how many they are.

    Args:
        found: per protocol `results`, and as `ledger` the name of its report where it is one.
        command: that gives the numbers.
        out: folder.
        kind: whether this is a report, and if not, what it is.
        note: what a reader of the count must know.

    Returns:
        The table, and where the files are.
    """
    from idfer.experiments.protocol_chart import overview_chart

    lines: list[dict[str, Any]] = []
    for measure in DECIDING:
        of_measure = [
            {"protocol": name, **line}
            for name, of in found.items()
            for line in of["comparisons"]["runner_up"]
            if line["measure"] == measure and not line["level"]
        ]
        for line, corrected in zip(of_measure, holm([line["p"] for line in of_measure]), strict=True):
            line["p_holm"] = corrected
            line["verdict"] = verdict(line, "p_holm")
        lines += of_measure
    table = _overview_table(found, [line for line in lines if line["measure"] == WORST])
    decided = [line["verdict"] for line in lines if line["measure"] == WORST]
    count = f"{_counted(decided)} of {len(decided)} protocols."
    reports = [of["ledger"] for of in found.values() if of.get("ledger")]
    standing = f"Reports {', '.join(reports)} of [history.md](history.md)." if reports else f"**{kind}**."
    text = [
        "# Shift protocols", "", f"`{command}`", "", standing, "",
        f"**{count}** {RULE} For `first`, p is corrected for the number of protocols (Holm); for `behind` it "
        "is not: that would make ties of losses.", "", *([note, ""] if note else []),
        f"![figure]({OVERVIEW}.png)", "", "## Worst-cell CCC", "", *pipes(table), "",
        "## Mean CCC over cells", "",
        *pipes(_overview_table(found, [line for line in lines if line["measure"] == MEAN])),
    ]  # fmt: skip
    whole = {
        "kind": kind,
        "ledger": reports,
        "command": command,
        "rule": RULE,
        "count": count,
        "note": note,
        "verdicts": lines,
        "summary": {name: of["summary"] for name, of in found.items()},
    }
    files = write_results(out, OVERVIEW, whole, "\n".join(text) + "\n", overview_chart(found, lines))
    return f"{columns(table)}\n\n{count}\n\n{files}"


def _counted(verdicts: Sequence[str]) -> str:
    """`First in 2, tied in 1`: only what there is."""
    said = [f"{word} in {verdicts.count(word)}" for word in VERDICTS if word in verdicts]
    return ", ".join(said).capitalize()


def _overview_table(found: Mapping[str, Found], lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    table = [["protocol", "erm", "best baseline", OURS, ORACLE, "difference", "p (Holm)", "verdict"]]
    for line in lines:
        summary, measure = found[line["protocol"]]["summary"], line["measure"]

        def score(name: str, of: Mapping[str, Any] = summary, what: str = measure) -> str:
            return f"{of[name][what]:.3f}" if name in of else "-"

        cells = [score("erm"), f"{line['second']} {score(line['second'])}", score(OURS), score(ORACLE)]
        cells += [bracket(line, "difference", "low", "high", "+.3f"), p_text(line["p_holm"])]
        table.append([line["protocol"], *cells, line["verdict"]])
    return table
