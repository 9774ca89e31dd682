"""The tables of an audit: which columns each has, in order, and what stands in them.

Numbers without a value are NaN in the tables and null in audit.json. `p`, `significant` and notes are
explained in `idfer.auditing.engine.Audit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: dict[str, tuple[str, ...]] = {
    "accuracy": ("dimension", "metric", "value", "low", "high", "rows", "people"),
    "groups": (
        "attribute", "level", "dimension", "metric", "value", "low", "high", "rows", "people", "note",
    ),
    "gaps": (
        "attribute", "level_a", "level_b", "kind", "dimension", "metric", "gap", "low", "high", "p",
        "p_adjusted", "significant", "standardised_gap", "standardised_low", "standardised_high",
        "people_a", "people_b", "note",
    ),
    "leakage": (
        "feature", "attribute", "probe", "score", "low", "high", "chance", "ceiling", "people", "note",
    ),
    "information": ("attribute", "feature", "nats", "low", "high", "null_high", "p", "estimator", "note"),
    "effects": ("attribute", "dimension", "effect", "low", "high"),
    "components": ("dimension", "part", "value", "low", "high"),
    "power": (
        "attribute", "level_a", "level_b", "dimension", "metric", "detectable", "people_a", "people_b",
    ),
    "sensitivity": (
        "attribute", "level_a", "level_b", "dimension", "metric", "gap", "error_rate", "corrected_gap",
        "error_to_vanish", "error_to_make", "note",
    ),
    "representation": (
        "attribute", "level", "rows", "people", "share", "evenness", "effective_number", "dominance",
    ),
    "stereotype": (
        "attribute", "label", "mutual_information", "null_mean", "null_high", "p", "p_adjusted", "normalised",
        "cramers_v",
    ),
    "cells": ("attribute", "level", "dimension", "bin", "observed", "expected", "ratio", "z", "ducher"),
    "circumplex": (
        "attribute", "level", "valence_bin", "arousal_bin", "valence", "arousal", "rows", "people", "rmse",
    ),
}  # fmt: skip


def table(name: str, rows: Sequence[dict[str, Any]] = ()) -> pd.DataFrame:
    """A table of `COLUMNS[name]` with these rows; a key that is no column is an error."""
    import pandas as pd

    columns = COLUMNS[name]
    for row in rows:
        if extra := set(row) - set(columns):
            raise KeyError(f"{name} has no column {sorted(extra)[0]!r}")
    return pd.DataFrame(list(rows), columns=list(columns))


def empty() -> dict[str, Any]:
    """Every table, without rows."""
    return {name: table(name) for name in COLUMNS}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows, each as a mapping by column."""
    rows: Any = table.to_dict("records")
    return list(rows)
