"""What `ablate` says: differences to the base as JSON and Markdown, and a heat map."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idfer.experiments.ablate import BASE
from idfer.experiments.measures import CCCS, LEAKS, MEASURES, Rows, compare, estimate
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
from idfer.files import atomic

SHOWN = (*CCCS, *LEAKS, "drift")


def write(content: Mapping[str, Any], name: str, out: Path) -> str:
    """Write NAME.json, NAME.md and NAME.png; returns the table of results and where the files are.

    Args:
        content: `command, protocol, seeds, source, variants` and `rows`, one per variant and seed.
        name: of the files.
        out: folder.

    Raises:
        IdferError: a file cannot be written.
    """
    from idfer.evaluation.suite import environment, json_ready
    from idfer.experiments.charts import ablation_chart, save

    rows = content["rows"]
    whole = {
        **{key: value for key, value in content.items() if key != "rows"},
        "summary": summary(rows),
        "comparisons": comparisons(rows),
        "environment": environment(),
        "rows": rows,
    }
    text = json.dumps(json_ready(whole), indent=1) + "\n"
    for end, written in (("json", text), ("md", markdown(whole, name))):
        with atomic(out / f"{name}.{end}") as temporary:
            temporary.write_text(written, encoding="utf-8")
    groups = {one["name"]: one["group"] for one in content["variants"]}
    save(ablation_chart(rows, groups, whole["comparisons"]), out / f"{name}.png")
    table = [["variant", *(MEASURES[m].title for m in SHOWN)]]
    table += [
        [v["name"], *(interval_text(estimate(rows, v["name"], m)) for m in SHOWN)]
        for v in content["variants"]
    ]
    files = {"tables": "md", "numbers": "json", "figure": "png"}
    listed = "\n".join(f"{key:<9}{out / f'{name}.{end}'}" for key, end in files.items())
    return f"{columns(table)}\n\n{listed}"


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Means over seeds per variant, named as in shift.json."""
    names = dict.fromkeys(row["name"] for row in rows)
    return {name: {m: estimate(rows, name, m).value for m in MEASURES} for name in names}


def comparisons(rows: Rows) -> dict[str, dict[str, dict[str, Any]]]:
    """{variant: {measure: variant minus base, seed by seed}}."""
    names = [name for name in dict.fromkeys(row["name"] for row in rows) if name != BASE]
    return {name: {m: flat(compare(rows, name, BASE, m)) for m in SHOWN} for name in names}


def markdown(whole: Mapping[str, Any], name: str) -> str:
    """The whole report, naming its command."""
    rows, variants = whole["rows"], whole["variants"]
    settings = variants[0]["settings"]
    base = ", ".join(f"{k} {v}" for k, v in settings.items() if v is not None and k != "terms")
    terms = ", ".join(f"{k} {v}" for k, v in settings["terms"].items())
    lines = [
        "# Ablation", "", f"`{whole['command']}`", "",
        "Each variant changes the base in one respect; protocol and measures are those of "
        "[shift.md](shift.md). "
        f"Seeds {', '.join(map(str, whole['seeds']))}. 95 % intervals: Student's t over seeds, paired for "
        "differences. `better` and `worse`: the interval of the difference to the base leaves 0 out; with so "
        "few seeds much that is real stays `not told apart`, and with so many comparisons one in forty is "
        "called either by chance. Settings are not tuned again per variant.", "",
        f"Base: {base}. Terms: {terms}.", "",
        f"![heat map]({name}.png)", "", "## All numbers", "",
        *pipes(
            [["variant", *(MEASURES[m].title for m in SHOWN)]]
            + [
                [v["name"], *(interval_text(estimate(rows, v["name"], m)) for m in SHOWN)] for v in variants
            ]
        ), "",
    ]  # fmt: skip
    for group in dict.fromkeys(v["group"] for v in variants if v["name"] != BASE):
        table = [["variant", "changes", *(MEASURES[m].title for m in (*CCCS, "drift"))]]
        for one in variants:
            if one["group"] == group and one["name"] != BASE:
                changes = settings_text(one["given"])
                cells = [
                    _difference(whole["comparisons"][one["name"]][m], MEASURES[m].higher)
                    for m in (*CCCS, "drift")
                ]
                table.append([one["name"], changes, *cells])
        lines += [f"## {group}: difference to the base", "", *pipes(table), ""]
    lines.append(f"Source of the trials: {', '.join(whole['source'])}.")
    return "\n".join(lines) + "\n"


def _difference(one: Mapping[str, Any], higher_is_better: bool) -> str:
    said = verdict(one, higher_is_better)
    shown = "" if said == "not told apart" else f", **{said}**"
    return f"{bracket(one, 'difference', 'low', 'high', '+.3f')}, p {p_text(one['p'])}{shown}"
