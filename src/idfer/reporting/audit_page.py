"""`write`: report.html of an audit, made from what audit.json holds and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idfer.reporting import audit_data_tables, audit_figures, audit_forests, audit_tables
from idfer.reporting.audit_words import count, in_signs, measure, share
from idfer.reporting.folder import REPORT
from idfer.reporting.page import write_page

_TABLES = (
    "accuracy", "groups", "gaps", "leakage", "information", "effects", "power", "sensitivity",
    "representation", "stereotype", "cells", "circumplex",
    "comparison", "accuracy_comparison", "components", "checks",
)  # fmt: skip
_ORDER = ("error", "warning", "info")
_FIRST = 3  # planes before the fold: everybody's, and the two attributes with the most uneven error


def write(audit: Mapping[str, Any], folder: str | Path) -> Path:
    """Write report.html of an audit: one self-contained page.

    It works for predictions, a model and a data set: a section stands where its table has rows. A comparison
    of two audits has `comparison`, rows of {attribute, level_a, level_b, dimension, metric, gap_a, gap_b,
    difference, low, high, p_adjusted}, `accuracy_comparison` of {dimension, metric, value_a, value_b,
    difference, low, high, p_adjusted}, and the names of both under `about.names`.

    Args:
        audit: what audit.json holds.
        folder: where report.html goes.

    Raises:
        IdferError: the file cannot be written; what stood there is kept.
    """
    return write_page("audit.html.jinja", Path(folder) / REPORT, **page_content(audit))


def page_content(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template shows, by name."""
    audit = {**audit, **{name: audit.get(name) or [] for name in _TABLES}}
    about, settings = audit["about"], audit.get("settings") or {}
    audit["settings"] = settings = {"min_people": 20, "level": 0.95, "power": 0.8} | dict(settings)
    names = [str(name) for name in about.get("names") or ("A", "B")]
    both = about.get("kind") == "comparison"
    title = f"{' and '.join(names)} compared" if both else f"Audit of {about['name']}"
    planes = audit_figures.circumplex(audit)
    return {
        "title": title,
        "about": about,
        "names": names,
        "size": _size(about),
        "attributes": [measure(str(name)) for name in about.get("attributes") or ()],
        "verdict": [in_signs(sentence) for sentence in audit.get("verdict") or () if sentence],
        "checks": [{**c, "message": in_signs(c["message"])} for c in sorted(audit["checks"], key=_rank)],
        "settings": settings,
        "level": share(settings["level"]),
        "environment": audit.get("environment") or {},
        "command": about.get("command") or "",
        "ceiling": any((row["ceiling"] or 1.0) < 1 for row in audit["leakage"]),
        "accuracy": audit_tables.accuracy(audit),
        "gaps": audit_forests.gaps(audit),
        "gap_tables": audit_tables.gaps(audit),
        "groups": audit_tables.groups(audit),
        "probes": audit_figures.probes(audit),
        "leakage": audit_tables.leakage(audit),
        "information": audit_tables.information(audit),
        "sensitivity": audit_tables.sensitivity(audit),
        "planes": planes[:_FIRST],
        "more_planes": planes[_FIRST:],
        "effects": audit_forests.effects(audit),
        "effect_table": audit_tables.effects(audit),
        "components": audit_tables.components(audit),
        "overall": audit_tables.overall(audit, names),
        "warning": _warning(audit),
        "representation": audit_data_tables.representation(audit),
        "stereotype": audit_data_tables.stereotype(audit),
        "heat": audit_data_tables.cells(audit),
        "comparison": audit_forests.comparison(audit, names),
        "comparison_table": audit_tables.comparison(audit["comparison"], names),
    }


def _rank(check: Mapping[str, Any]) -> tuple[int, str]:
    """Worst first."""
    level = check["level"]
    return (_ORDER.index(level) if level in _ORDER else len(_ORDER), check["code"])


def _size(about: Mapping[str, Any]) -> str:
    """How many faces of how many people."""
    people = about.get("people")
    whose = f" of {count(people)} people" if people is not None else ", whose people are not known"
    return f"{count(about['rows'])} faces{whose}"


def _warning(audit: Mapping[str, Any]) -> str:
    """What to know before reading effects of interventions."""
    said = [check["message"] for check in audit["checks"] if check["code"] == "IDF308"]
    return said[0] if said else "Drawn faces are not photographs: the effects hold for drawn faces alone."
