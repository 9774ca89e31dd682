"""An audit in a terminal, and as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from idfer.auditing.tables import COLUMNS
from idfer.auditing.wording import thousandths

if TYPE_CHECKING:
    import pandas as pd

    from idfer.auditing.engine import Audit

_SHOWN = 8  # rows of a table in a terminal
_VALUES: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("value",), "groups": ("value",), "gaps": ("gap", "standardised_gap"), "leakage": ("score",),
    "information": ("nats",), "effects": ("effect",), "components": ("value",), "power": ("detectable",),
    "sensitivity": ("corrected_gap",), "representation": ("share", "evenness", "effective_number"),
    "stereotype": ("mutual_information", "normalised", "cramers_v"), "cells": ("ratio",),
    "circumplex": ("rmse",),
}  # fmt: skip
_BOUNDS = {"standardised_gap": ("standardised_low", "standardised_high")}
_OF = {
    "attribute": ("attribute",), "level": ("level", "level_a"), "against": ("level_b",),
    "dimension": ("dimension", "label"), "feature": ("feature",),
    "measure": ("metric", "probe", "part", "estimator"), "bin": ("bin",),
}  # fmt: skip


def tidy(audit: Audit) -> pd.DataFrame:
    """Every number of an audit, a row each.

    Columns: `table, attribute, level, against, dimension, feature, measure, bin, quantity, value, low, high,
    p_adjusted`. What a table does not say is missing.
    """
    import pandas as pd

    parts = []
    for name, quantities in _VALUES.items():
        table: pd.DataFrame = getattr(audit, name)
        for quantity in quantities:
            low, high = _BOUNDS.get(quantity, ("low", "high"))
            if not len(table):
                continue
            columns = {"table": name} | {
                column: next((table[c] for c in sources if c in table), None)
                for column, sources in _OF.items()
            }
            first = quantity == quantities[0] or quantity in _BOUNDS
            columns |= {
                "quantity": quantity, "value": table[quantity],
                "low": table[low] if first and low in table else None,
                "high": table[high] if first and high in table else None,
                "p_adjusted": table.get("p_adjusted") if quantity == quantities[0] else None,
            }  # fmt: skip
            parts.append(pd.DataFrame(columns, index=table.index).astype(object))
    order = ["table", *_OF, "quantity", "value", "low", "high", "p_adjusted"]
    return pd.concat(parts, ignore_index=True)[order] if parts else pd.DataFrame(columns=order)


def summary(audit: Audit) -> str:
    """Verdict, checks, and the largest of gaps, leakage, effects and stereotypes."""
    lines = [sentence for sentence in audit.verdict if sentence]
    lines += ["", *(f"{c.level.upper()} {c.code}: {c.message}" for c in audit.checks)] if audit.checks else []
    gaps = audit.gaps
    if len(gaps):
        sure = gaps[gaps["significant"].eq(True)]
        shown = sure.reindex(sure["gap"].abs().sort_values(ascending=False).index)
        shown = shown.assign(between=shown["level_a"] + " - " + shown["level_b"])
        columns = ["attribute", "between", "dimension", "metric", "gap", "low", "high", "p_adjusted"]
        lines += ["", f"gaps: {len(sure)} of {len(gaps)} tests are significant, corrected over all of them"]
        lines += [_text(shown[columns])] if len(shown) else []
    if len(audit.leakage):
        columns = ["feature", "attribute", "probe", "score", "low", "high", "ceiling"]
        order = audit.leakage["score"].sort_values(ascending=False).index
        lines += ["", "leakage (0 chance, 1 read perfectly)", _text(audit.leakage.loc[order, columns])]
    if len(audit.effects):
        order = audit.effects["effect"].abs().sort_values(ascending=False).index
        lines += ["", "effects on drawn faces, per standard deviation of the attribute"]
        lines += [_text(audit.effects.loc[order])]
    if len(audit.stereotype):
        columns = [
            "attribute",
            "label",
            "mutual_information",
            "null_mean",
            "normalised",
            "cramers_v",
            "p_adjusted",
        ]
        lines += ["", "what labels tell of attributes (nats)", _text(audit.stereotype[columns])]
    if len(audit.representation) and not len(gaps):
        lines += ["", "representation", _text(audit.representation[list(COLUMNS["representation"][:6])])]
    lines += ["", *(f"FAILED: {reason}" for reason in audit.failures)] if audit.failures else []
    return "\n".join(lines).strip()


def _text(table: pd.DataFrame) -> str:
    text = table[:_SHOWN].to_string(index=False, float_format=thousandths, na_rep="")
    more = len(table) - _SHOWN
    return text + (f"\n... {more} more in the CSV" if more > 0 else "")
