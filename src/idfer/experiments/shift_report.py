"""What `benchmark shift` finds, as JSON: summary, paired tests, targets, per length of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idfer.catalogue import DEFAULT_METHOD as OURS
from idfer.catalogue import method_entry
from idfer.evaluation.multiplicity import holm
from idfer.experiments.measures import (
    CCCS,
    LEAKS,
    MEASURES,
    SHORTCUT_EFFECTS,
    Rows,
    compare,
    compared,
    estimate,
    gap_closed,
)
from idfer.experiments.protocol import ORACLE
from idfer.experiments.scores import names_of, rows_of
from idfer.experiments.statistics import best
from idfer.experiments.tables import columns, flat, interval_text
from idfer.experiments.targets import targets
from idfer.experiments.tuning import chosen_of, regret
from idfer.experiments.writer import write_results

COMPARED = (*CCCS, *SHORTCUT_EFFECTS, "person_ratio", "interaction_ratio", *LEAKS, "drift")


def write(content: Mapping[str, Any], lengths: Mapping[int, Rows], out: Path) -> str:
    """Write shift.json, shift.md and shift.png; returns the main table and where the files are.

    Args:
        content: `kind, ledger, command, rule, budget, protocol, seeds, tune_seeds, epochs, source,
            source_of, tuning`.
        lengths: rows, one per method and seed with the numbers of a trial, by number of epochs, ascending.
        out: folder.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.experiments.charts import shift_chart
    from idfer.experiments.shift_text import accuracy_table, markdown

    found = {epochs: _of_length(rows) for epochs, rows in lengths.items()}
    first = next(iter(found))
    against = {epochs: of_length["comparisons"]["runner_up"] for epochs, of_length in found.items()}
    whole = {
        **content,
        "chosen": {method: dict(chosen_of(tried).given) for method, tried in content["tuning"].items()},
        "regret": {method: regret(tried) for method, tried in content["tuning"].items()},
        "targets": targets(lengths, against),
        **{name: part for name, part in found[first].items() if name != "rows"},
        "lengths": {epochs: of_length for epochs, of_length in found.items() if epochs != first},
        "rows": found[first]["rows"],
    }
    files = write_results(out, "shift", whole, markdown(whole, lengths), shift_chart(lengths))
    return f"{columns(accuracy_table(lengths[first]))}\n\n{files}"


def _of_length(rows: Rows) -> dict[str, Any]:
    return {
        "summary": summary(rows),
        "intervals": intervals(rows),
        "comparisons": comparisons(rows),
        "rows": rows,
    }


def headline(lengths: Mapping[int, Rows]) -> str:
    """The main numbers in a line, for the ledger: idfer and the best baseline of each split."""
    parts = []
    for epochs, rows in lengths.items():
        said = []
        for measure in ("balanced_ccc", "reversed_ccc"):
            leader = _leader(rows, measure)
            named = {OURS: OURS} if OURS in names_of(rows) else {}
            named |= {leader: f"best baseline {leader}"} if leader else {}
            cells = [f"{word} {interval_text(estimate(rows, name, measure))}" for name, word in named.items()]
            said.append(f"CCC {measure.removesuffix('_ccc')} {', '.join(cells) or '-'}")
        if OURS in names_of(rows):
            said.append(f"gap closed {interval_text(gap_closed(rows, OURS), 2)}")
        parts.append(f"{epochs} epochs: {'; '.join(said)}")
    return ". ".join(parts)


def baselines_of(rows: Rows) -> list[str]:
    """Every method that the catalogue, or its own class, calls a baseline.

    Neither ours, nor a part of ours, nor the oracle, which is a yardstick.
    """
    return [name for name in names_of(rows) if name != ORACLE and method_entry(name).role == "baseline"]


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Means over seeds per method: every measure, `gap_closed` and the number of `seeds`."""
    return {
        method: {measure: estimate(rows, method, measure).value for measure in MEASURES}
        | {"gap_closed": gap_closed(rows, method).value, "seeds": len(rows_of(rows, method))}
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
    it with hindsight favours the baseline. Its p values are also given corrected for the number of measures
    (`p_holm`). A signed measure is compared by its size.
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
    leaders = {m: leader for m in COMPARED if (leader := _leader(rows, m))}
    runner_up = [
        {"measure": measure, "first": OURS, "second": second} | flat(compare(rows, OURS, second, measure))
        for measure, second in leaders.items()
    ]
    for line, corrected in zip(runner_up, holm([line["p"] for line in runner_up]), strict=True):
        line["p_holm"] = corrected
    return {"against_idfer": against, "runner_up": runner_up}


def _leader(rows: Rows, measure: str) -> str:
    """The baseline with the best mean on a measure; "" where there is none."""
    scores = {name: compared(rows, name, measure).tolist() for name in baselines_of(rows)}
    return best(scores, MEASURES[measure].higher) if scores else ""
