"""What `ablate` says: differences to the base as JSON and Markdown, and a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idfer.experiments.grid import BASE, Variant
from idfer.experiments.measures import CCCS, LEAKS, MEASURES, Rows, compare, estimate
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

SHOWN = (*CCCS, *LEAKS, "drift")


def write(content: Mapping[str, Any], name: str, out: Path) -> str:
    """Write NAME.json, NAME.md and NAME.png; returns the table of results and where the files are.

    Args:
        content: `command, protocol, seeds, source, source_of, variants` and `rows`, one per variant and seed.
        name: of the files.
        out: folder.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.experiments.charts import ablation_chart

    rows = content["rows"]
    whole = {
        **{key: value for key, value in content.items() if key != "rows"},
        "summary": summary(rows),
        "comparisons": comparisons(rows),
        "rows": rows,
    }
    groups = {variant.name: variant.group for variant in content["variants"]}
    figure = ablation_chart(rows, groups, whole["comparisons"])
    files = write_results(out, name, whole, markdown(whole, name), figure)
    return f"{columns(_numbers(rows, content['variants']))}\n\n{files}"


def _numbers(rows: Rows, variants: Sequence[Variant]) -> list[list[str]]:
    """All measures with their intervals, a row per variant."""
    table = [["variant", *(MEASURES[m].title for m in SHOWN)]]
    return table + [[v.name, *(interval_text(estimate(rows, v.name, m)) for m in SHOWN)] for v in variants]


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Means over seeds per variant, named as in shift.json."""
    return {name: {m: estimate(rows, name, m).value for m in MEASURES} for name in names_of(rows)}


def comparisons(rows: Rows) -> dict[str, dict[str, dict[str, Any]]]:
    """{variant: {measure: variant minus base, seed by seed}}."""
    names = [name for name in names_of(rows) if name != BASE]
    return {name: {m: flat(compare(rows, name, BASE, m)) for m in SHOWN} for name in names}


def markdown(whole: Mapping[str, Any], name: str) -> str:
    """The whole report, naming its command."""
    rows, variants = whole["rows"], whole["variants"]
    base = variants[0].settings.to_dict()
    terms = ", ".join(f"{k} {v}" for k, v in base.pop("terms").items())
    settings = ", ".join(f"{k} {v}" for k, v in base.items() if v is not None)
    lines = [
        "# Ablation", "", f"`{whole['command']}`", "",
        "Each variant changes the base in one respect; protocol and measures are those of "
        "[shift.md](shift.md). "
        f"Seeds {', '.join(map(str, whole['seeds']))}. 95 % intervals: Student's t over seeds, paired for "
        "differences. `better` and `worse`: the interval of the difference to the base leaves 0 out; with so "
        "few seeds much that is real stays `not told apart`, and with so many comparisons one in forty is "
        "called either by chance. Settings are not tuned again per variant.", "",
        f"Base: {settings}. Terms: {terms}.", "",
        f"![heat map]({name}.png)", "", "## All numbers", "",
        *pipes(_numbers(rows, variants)), "",
    ]  # fmt: skip
    for group in dict.fromkeys(variant.group for variant in variants if variant.name != BASE):
        table = [["variant", "changes", *(MEASURES[m].title for m in (*CCCS, "drift"))]]
        for variant in variants:
            if variant.group == group and variant.name != BASE:
                against = whole["comparisons"][variant.name]
                cells = [_difference(against[m], MEASURES[m].higher) for m in (*CCCS, "drift")]
                table.append([variant.name, settings_text(variant.given), *cells])
        lines += [f"## {group}: difference to the base", "", *pipes(table), ""]
    lines.append(f"Source: {source_text(whole['source_of'])}.")
    return "\n".join(lines) + "\n"


def _difference(compared: Mapping[str, Any], higher_is_better: bool) -> str:
    said = verdict(compared, higher_is_better)
    shown = "" if said == "not told apart" else f", **{said}**"
    return f"{bracket(compared, 'difference', 'low', 'high', '+.3f')}, p {p_text(compared['p'])}{shown}"
