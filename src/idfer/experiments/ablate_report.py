"""What `ablate` says: differences to the base as JSON and Markdown, and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idfer.experiments.budget_curve import BIT, NATS, budget_chart, budget_curve
from idfer.experiments.grid import BASE, Variant
from idfer.experiments.ledger import standing
from idfer.experiments.measures import CCCS, LEAKS, MEASURES, Measure, Rows, compare, estimate
from idfer.experiments.scores import names_of
from idfer.experiments.tables import (
    bracket,
    columns,
    flat,
    interval_text,
    p_text,
    pipes,
    settings_text,
    source_text,
    verdict,
)
from idfer.experiments.writer import write_results
from idfer.files import atomic


@dataclass(frozen=True)
class Sheet:
    """What the page of an ablation shows.

    Attributes:
        measures: all that JSON has a mean of, by name.
        shown: those that are tabulated, compared and drawn.
        main: those that stand in the tables of differences.
        words: paragraphs on what was done.
        overlap: of folds, see `statistics`; 0 for seeds.
    """

    measures: Mapping[str, Measure]
    shown: Sequence[str]
    main: Sequence[str]
    words: Sequence[str]
    overlap: float = 0.0

    @property
    def columns(self) -> dict[str, Measure]:
        """The measures shown."""
        return {name: self.measures[name] for name in self.shown}


def shift_sheet(seeds: Sequence[int]) -> Sheet:
    """Of the shift protocol."""
    words = (
        "Each variant changes the base in one respect; protocol and measures are those of "
        f"[shift.md](shift.md). Seeds {', '.join(map(str, seeds))}. 95 % intervals: Student's t over seeds, "
        "paired for differences."
    )
    shown = (*CCCS, "sampled_balanced_ccc", NATS, *LEAKS, "drift")
    return Sheet(MEASURES, shown, (*CCCS, NATS, "drift"), [words])


def headline(rows: Rows) -> str:
    """A report's line in the ledger."""
    base = ", ".join(f"{MEASURES[m].title} {interval_text(estimate(rows, BASE, m))}" for m in (*CCCS, NATS))
    return f"{len(names_of(rows)) - 1} variants of a base; base: {base}"


def write(content: Mapping[str, Any], name: str, out: Path, sheet: Sheet) -> str:
    """Write NAME.json, NAME.md and NAME.png; returns the table of results and where the files are.

    Where variants change the weight of the residual alone, NAME-nats.png is their curve.

    Args:
        content: `command, source, source_of, variants`, what the trials were of, and `rows`, one per variant
            and seed; of the shift protocol also `kind` and `ledger`.
        name: of the files.
        out: folder.
        sheet: what is shown.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.experiments.charts import ablation_chart

    rows = content["rows"]
    whole = {
        **{key: value for key, value in content.items() if key != "rows"},
        "summary": summary(rows, sheet),
        "comparisons": comparisons(rows, sheet),
        "rows": rows,
    }
    groups = {variant.name: variant.group for variant in content["variants"]}
    figure = ablation_chart(rows, groups, whole["comparisons"], sheet.columns)
    files = write_results(out, name, whole, markdown(whole, name, sheet), figure)
    if curve := _curve(whole, sheet):
        path = out / f"{name}-nats.png"
        with atomic(path) as temporary:
            budget_chart(rows, curve).savefig(temporary, dpi=150, format="png")
        files += f"\ncurve    {path}"
    return f"{columns(_numbers(rows, content['variants'], sheet))}\n\n{files}"


def _curve(whole: Mapping[str, Any], sheet: Sheet) -> list[str]:
    return budget_curve(whole["rows"], whole["variants"]) if NATS in sheet.shown else []


def _numbers(rows: Rows, variants: Sequence[Variant], sheet: Sheet) -> list[list[str]]:
    """All measures with their intervals, a row per variant."""
    table = [["variant", *(measure.title for measure in sheet.columns.values())]]
    return table + [
        [v.name, *(interval_text(estimate(rows, v.name, m, sheet.overlap)) for m in sheet.columns.values())]
        for v in variants
    ]


def summary(rows: Rows, sheet: Sheet) -> dict[str, dict[str, float]]:
    """Means over seeds per variant."""
    return {
        name: {key: estimate(rows, name, measure).value for key, measure in sheet.measures.items()}
        for name in names_of(rows)
    }


def comparisons(rows: Rows, sheet: Sheet) -> dict[str, dict[str, dict[str, Any]]]:
    """{variant: {measure: variant minus base, seed by seed}}."""
    names = [name for name in names_of(rows) if name != BASE]
    return {
        name: {
            key: flat(compare(rows, name, BASE, measure, sheet.overlap))
            for key, measure in sheet.columns.items()
        }
        for name in names
    }


def markdown(whole: Mapping[str, Any], name: str, sheet: Sheet) -> str:
    """The whole report, naming its command."""
    rows, variants = whole["rows"], whole["variants"]
    base = variants[0].settings.to_dict()
    terms = ", ".join(f"{k} {v}" for k, v in base.pop("terms").items())
    settings = ", ".join(f"{k} {v}" for k, v in base.items() if v is not None)
    lines = [
        "# Ablation", "", f"`{whole['command']}`", "", *([standing(whole), ""] if "kind" in whole else []),
        *(line for words in sheet.words for line in (words, "")),
        "`better` and `worse`: the interval of the difference to the base leaves 0 out; with so "
        "few seeds or folds much that is real stays `not told apart`, and with so many comparisons one in "
        "forty is called either by chance. Settings are not tuned again per variant.", "",
        f"Base: {settings}." + (f" Terms: {terms}." if terms else ""), "",
        f"![heat map]({name}.png)", "", "## All numbers", "",
        *pipes(_numbers(rows, variants, sheet)), "",
    ]  # fmt: skip
    for group in dict.fromkeys(variant.group for variant in variants if variant.name != BASE):
        table = [["variant", "changes", *(sheet.measures[m].title for m in sheet.main)]]
        for variant in variants:
            if variant.group == group and variant.name != BASE:
                against = whole["comparisons"][variant.name]
                cells = [_difference(against[m], sheet.measures[m].higher) for m in sheet.main]
                table.append([variant.name, settings_text(variant.given), *cells])
        lines += [f"## {group}: difference to the base", "", *pipes(table), ""]
    if _curve(whole, sheet):
        lines += [
            "## Accuracy against nats beyond the label", "",
            "The base and the variants that change the weight of the residual alone. Beyond what the label "
            "says, one draw of the feature tells at most so many nats about anything in the image, on "
            f"average; gender alone is {BIT:.2f}.", "", f"![curve]({name}-nats.png)", "",
        ]  # fmt: skip
    lines.append(f"Source: {source_text(whole['source_of'])}.")
    return "\n".join(lines) + "\n"


def _difference(compared: Mapping[str, Any], higher_is_better: bool) -> str:
    if not np.isfinite(compared["difference"]):
        return "-"
    said = verdict(compared, higher_is_better)
    shown = "" if said == "not told apart" else f", **{said}**"
    return f"{bracket(compared, 'difference', 'low', 'high', '+.3f')}, p {p_text(compared['p'])}{shown}"
