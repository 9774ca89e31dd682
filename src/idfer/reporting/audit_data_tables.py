"""The tables of a data set's audit: who is in it, and how labels go with attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from idfer.reporting.audit_tables import cut
from idfer.reporting.audit_words import Row, count, in_order, in_signs, measure, p_text, share, value_of
from idfer.reporting.style import number
from idfer.reporting.table import Cell, Heat, HeatMap, Table

STRIKING = 3.0  # standard errors from independence at which a cell of the heat map is marked


def representation(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per attribute: `name`, what is `said` of its evenness, and `levels` with faces, people and share."""
    found = []
    for attribute in dict.fromkeys(row["attribute"] for row in audit["representation"]):
        part = [row for row in audit["representation"] if row["attribute"] == attribute]
        levels = [
            {
                "level": row["level"], "rows": count(row["rows"]), "people": count(row["people"]),
                "share": share(row["share"]), "width": round(100 * (row["share"] or 0), 1),
            }
            for row in part
        ]  # fmt: skip
        said = f"evenness {number(part[0].get('evenness'))}"
        if part[0].get("effective_number") is not None:
            said += f", as diverse as {number(part[0]['effective_number'], 1)} groups of one size"
        found.append({"name": measure(attribute), "said": said, "levels": levels})
    return found


def stereotype(audit: Mapping[str, Any]) -> Table | None:
    """Association of labels with attributes: a row per attribute, a column per label."""
    rows = audit["stereotype"]
    labels = in_order(rows, "label", ("valence", "arousal", "both"))
    at = {(row["attribute"], row["label"]): row for row in rows}
    alpha = 1 - audit["settings"]["level"]
    table: list[list[Cell]] = [
        [measure(a), *(_association(at.get((a, label)), alpha) for label in labels)]
        for a in dict.fromkeys(row["attribute"] for row in rows)
    ]
    return cut(
        "How much an attribute and the labels tell of each other: mutual information in nats. Shuffled: its "
        "mean when the attribute is shuffled over people. Normalised: 0 is independent, 1 is one "
        f"from the other. *: p is at most {number(alpha)}.",
        ("Attribute", *(f"With {label}" for label in labels)), table, "attributes", columns=1,
        kind="stacked cards tall loose",
    )  # fmt: skip


def cells(audit: Mapping[str, Any]) -> list[HeatMap]:
    """Label-attribute heat maps: one per attribute and dimension, those farthest from independence first."""
    found, farthest = [], []
    for attribute, dimension in dict.fromkeys((row["attribute"], row["dimension"]) for row in audit["cells"]):
        part = [
            row for row in audit["cells"] if (row["attribute"], row["dimension"]) == (attribute, dimension)
        ]
        bins = list(dict.fromkeys(str(row["bin"]) for row in part))
        at = {(row["level"], str(row["bin"])): row for row in part}
        rows = [
            (level, [_heat(at.get((level, b))) for b in bins])
            for level in dict.fromkeys(row["level"] for row in part)
        ]
        title = f"{measure(attribute)} by {dimension}"
        found.append(HeatMap(title, measure(attribute), [in_signs(b) for b in bins], rows))
        farthest.append(max(np.nan_to_num(abs(value_of(row, "z"))) for row in part))
    return [found[i] for i in sorted(range(len(found)), key=lambda i: -farthest[i])]


def _association(row: Row | None, alpha: float) -> Cell:
    if row is None or row["mutual_information"] is None:
        return "n/a"
    p = row["p"] if row.get("p_adjusted") is None else row["p_adjusted"]
    told = p is not None and p <= alpha
    null, normalised = number(row["null_mean"], 3), number(row["normalised"])
    nats = number(row["mutual_information"], 3)
    return nats + ("\u00a0*" if told else ""), f"shuffled {null}, normalised {normalised}, p\u00a0{p_text(p)}"


def _percent(value: float | None) -> str:
    """A small part of a whole: "1.2 %"."""
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _heat(row: Row | None) -> Heat:
    """How many times as many faces as if labels and attribute were independent."""
    if row is None or row["ratio"] is None:
        return Heat("n/a")
    more = row["ratio"] >= 1
    sign = (" ▲" if more else " ▼") if abs(value_of(row, "z")) >= STRIKING else ""
    strength = min(1.0, abs(float(np.log2(max(row["ratio"], 1e-6)))))
    return Heat(f"{number(row['ratio'], 1)}×{sign}", _percent(row["observed"]), strength, more)
