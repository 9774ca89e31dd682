"""What probes read, as bars beside their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.reporting.style import COLOURS, INK, SOFT, grid, number, styled, text
from idfer.reporting.svg import key, panel, svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FIRST = ("expression", "expression mean", "prediction")  # first in a panel; controls come last
CONTROLS = ("untrained backbone", "labels")
BESIDE = "prediction + labels"  # stands beside the labels, to be compared with them
_PROBES = {
    "linear": "linear probe",
    "nonlinear": "linear + nonlinear probe (number at the right)",
    "verification": "telling unseen people apart",
}


@styled
def leakage(table: pd.DataFrame, ceilings: Mapping[str, float] | None = None) -> list[str]:
    """Bars of leakage with 95 % intervals: a panel per target and model, a row per features.

    Args:
        table: `model, features, target, kind, score, low, high`; scores are 0 at chance, 1 when read
            perfectly.
        ceilings: by target, the best score anybody could get where its levels are noisy; a dotted line.
    """
    models = list(dict.fromkeys(table["model"]))
    features = _ordered(table)
    lowest = min(-0.08, float(table["low"].min()) - 0.03)
    panels = []
    for target in dict.fromkeys(table["target"]):
        for model in models:
            figure, axis = panel(4.8, 0.75 + 0.27 * len(features))
            part = table[(table["model"] == model) & (table["target"] == target)]
            for line in part.to_dict("records"):
                _bar(axis, features.index(line["features"]), line)
            for row, name in enumerate(features):
                if name not in set(part["features"]) and len(part):
                    axis.text(0.03, row, "not measured", va="center", fontsize=8, color=SOFT)
            axis.axvline(0, color=INK, linewidth=1)
            ceiling = (ceilings or {}).get(target, 1.0)
            if ceiling < 1:
                axis.axvline(ceiling, color=SOFT, linewidth=1.4, linestyle=":")
                axis.text(ceiling, -0.64, "ceiling", ha="center", va="bottom", fontsize=8, color=SOFT)
            axis.set_title(f"{target}, {model}" if len(models) > 1 else target)
            axis.set_yticks(range(len(features)), features)
            axis.set_ylim(len(features) - 0.4, -0.6)
            axis.set_xlim(lowest, 1.0)
            axis.set_xlabel("0 = chance    ·    1 = read perfectly")
            grid(axis)
            panels.append(svg(figure))
    return panels


def leakage_alt(table: pd.DataFrame, ceilings: Mapping[str, float] | None = None) -> str:
    """The bars in words: for every target what is read from the model's first feature and from the labels.

    Args:
        table: as `leakage` takes it.
        ceilings: as `leakage` takes them.
    """
    best = table.groupby(["model", "features", "target"], sort=False)["score"].max()
    said = []
    for model, part in table.groupby("model", sort=False):
        first = _ordered(part)[0]
        scores = []
        for target in dict.fromkeys(part["target"]):
            control = best.get((model, "labels", target))
            against = "" if control is None else f" against {number(control)}"
            ceiling = (ceilings or {}).get(target, 1.0)
            most = f" (ceiling {number(ceiling)})" if ceiling < 1 else ""
            scores.append(f"{target} {number(best.get((model, first, target)))}{against}{most}")
        said.append(f"from the {first} of {model} against the labels alone: {', '.join(scores)}")
    whole = "; ".join(said)
    return f"What probes read, 0 at chance, 1 perfectly, {whole}. The rest is in the table All probes."


def probe_legend(kinds: Sequence[str]) -> list[dict[str, str]]:
    """A key per kind of probe that a leakage table holds."""
    return [key(_PROBES[kind], f"c{2 + i}", "s") for i, kind in enumerate(_PROBES) if kind in kinds]


def _ordered(table: pd.DataFrame) -> list[str]:
    """Features from the model's own to the controls."""
    features = list(dict.fromkeys(table["features"]))
    others = [name for name in features if name not in (*FIRST, BESIDE, *CONTROLS)]
    return sorted(features, key=[*FIRST, *others, BESIDE, *CONTROLS].index)


def _bar(axis: Axes, row: int, line: dict[Any, Any]) -> None:
    """One probe's score in a leakage panel; linear and nonlinear probe share a row."""
    thick = 0.8 / (1 if line["kind"] == "verification" else 2)
    at = row + {"linear": -thick / 2, "nonlinear": thick / 2}.get(line["kind"], 0.0)
    colour = COLOURS[2 + list(_PROBES).index(line["kind"])]
    control = line["features"] in CONTROLS
    axis.barh(
        at, line["score"], height=0.92 * thick, color=colour, alpha=0.35 if control else 0.95,
        edgecolor=colour, linewidth=0.8,
    )  # fmt: skip
    if np.isfinite(line["low"]):
        axis.plot([line["low"], line["high"]], [at, at], color=INK, linewidth=1)
    if line["kind"] != "linear":
        axis.text(
            1.02, row, text(line["score"]), va="center", fontsize=8.5, color=INK,
            transform=axis.get_yaxis_transform(),
        )  # fmt: skip
