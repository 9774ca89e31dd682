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
    """Per attribute: its name, evenness, and levels with faces, people and share (`width` in percent)."""
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
        evenness = number(part[0].get("evenness"))
        found.append({"name": measure(attribute), "evenness": evenness, "levels": levels})
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
        "mean when the attribute is shuffled over people. Normalised: 0 is independent, 1 is one from the other. "
        f"*: p of this one test is at most {number(alpha)}.",
        ("Attribute", *(f"With {label}" for label in labels)), table, "attributes", columns=1,
    )  # fmt: skip


def cells(audit: Mapping[str, Any]) -> list[HeatMap]:
    """Label-attribute heat maps: one per attribute and dimension."""
    found = []
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
    return found


def _association(row: Row | None, alpha: float) -> Cell:
    if row is None or row["mutual_information"] is None:
        return "n/a"
    told = row["p"] is not None and row["p"] <= alpha
    null, normalised = number(row["null_mean"], 3), number(row["normalised"])
    nats = number(row["mutual_information"], 3)
    return nats + (" *" if told else ""), f"shuffled {null}, normalised {normalised}, p {p_text(row['p'])}"


def _heat(row: Row | None) -> Heat:
    """How many times as many faces as if labels and attribute were independent."""
    if row is None or row["ratio"] is None:
        return Heat("n/a")
    more = row["ratio"] >= 1
    sign = (" ▲" if more else " ▼") if abs(value_of(row, "z")) >= STRIKING else ""
    strength = min(1.0, abs(float(np.log2(max(row["ratio"], 1e-6)))))
    return Heat(f"{number(row['ratio'], 1)}×{sign}", count(row["observed"]), strength, more)
