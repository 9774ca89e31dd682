"""Figures of the benchmarks, in the report's style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.experiments.measures import (
    CCCS,
    LEAKS,
    SHORTCUT_EFFECTS,
    SHORTCUTS,
    Measure,
    Rows,
    estimate,
)
from idfer.experiments.scores import names_of
from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, grid, handle, legend_below, styled, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPLITS = {
    "matched_ccc": "matched: shortcut holds",
    "balanced_ccc": "balanced: no shortcut",
    "reversed_ccc": "shortcut reversed",
}
_REFERENCES = ("erm", "oracle")


@styled
def shift_chart(lengths: Mapping[int, Rows]) -> Figure:
    """A row per method, best on `reversed` at the top, with 95 % intervals.

    Accuracy at each length of training; effects of the shortcut's attributes, the person's share and leakage
    at the first.

    Args:
        lengths: rows by number of epochs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = next(iter(lengths.values()))
    methods = names_of(rows)
    score = {m: estimate(rows, m, "reversed_ccc").value for m in methods}
    order = sorted(methods, key=lambda m: (m != "oracle", -score[m]))
    height = 2.6 + 0.46 * len(order)
    widths = [4.4] * len(lengths) + [2.7, 2.0, 3.4]
    figure = Figure(figsize=(1.2 + sum(widths), height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    *accuracies, effects, person, leaks = figure.subplots(1, len(widths), sharey=True, width_ratios=widths)
    for (epochs, of_length), accuracy in zip(lengths.items(), accuracies, strict=True):
        _accuracy(accuracy, of_length, order)
        accuracy.set_title(f"CCC after {epochs} epochs")
    _effects(effects, rows, order)
    _person(person, rows, order)
    _leakage(leaks, rows, order)
    accuracies[0].set_yticks(range(len(order)), order)
    accuracies[0].set_ylim(len(order) - 0.4, -0.6)
    for label in accuracies[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == "idfer" else "normal")
        label.set_color(SOFT if label.get_text() == "oracle" else INK)
    for axis in (*accuracies, effects, person, leaks):
        grid(axis)
        for k, method in enumerate(order):
            if method == "idfer":
                axis.axhspan(k - 0.5, k + 0.5, color="#eef3f8", zorder=0)
    return figure


def _accuracy(axis: Axes, rows: Rows, order: list[str]) -> None:
    shades = (SOFT, COLOURS[0], COLOURS[1])
    for j, measure in enumerate(CCCS):
        for k, method in enumerate(order):
            estimated = estimate(rows, method, measure)
            at = k + 0.24 * (j - 1)
            axis.plot([estimated.low, estimated.high], [at, at], color=shades[j], linewidth=2, alpha=0.55)
            axis.plot(
                estimated.value,
                at,
                MARKERS[j],
                color=shades[j],
                markersize=6,
                markeredgecolor="white",
                zorder=3,
            )
            if measure == "reversed_ccc":
                edge = estimated.high if np.isfinite(estimated.high) else estimated.value
                axis.text(edge + 0.012, at, text(estimated.value), va="center", fontsize=8, color=shades[j])
    for method, style in zip(_REFERENCES, (":", "--"), strict=True):
        if method in order:
            axis.axvline(
                estimate(rows, method, "reversed_ccc").value, color=COLOURS[1], linestyle=style, linewidth=1,
                alpha=0.8, zorder=1,
            )  # fmt: skip
    legend_below(axis, [handle(shades[j], MARKERS[j], _SPLITS[m]) for j, m in enumerate(CCCS)], 1)
    note = "higher is better; lines: ERM (dotted) and\noracle (dashed), shortcut reversed"
    axis.set_xlabel(note, fontsize=8, color=SOFT)


def _leakage(axis: Axes, rows: Rows, order: list[str]) -> None:
    for j, measure in enumerate(LEAKS):
        for k, method in enumerate(order):
            at = k + 0.2 * (j - 1.5)
            estimated = estimate(rows, method, measure)
            mean = estimate(rows, method, measure.replace("leak_", "leak_mean_"))
            axis.plot([estimated.value, mean.value], [at, at], color=COLOURS[2 + j], linewidth=1, alpha=0.5)
            axis.plot(mean.value, at, MARKERS[j], color="white", markeredgecolor=COLOURS[2 + j], markersize=5)
            axis.plot([estimated.low, estimated.high], [at, at], color=COLOURS[2 + j], linewidth=2, alpha=0.4)
            axis.plot(estimated.value, at, MARKERS[j], color=COLOURS[2 + j], markersize=5.5, zorder=3)
    axis.set_xlim(-0.04, 1.04)
    axis.axvline(0, color=INK, linewidth=1)
    axis.set_title("read by a probe")
    note = "0 chance · 1 read perfectly;\nhollow: mean of a sampled feature"
    axis.set_xlabel(note, fontsize=8, color=SOFT)
    handles = [handle(COLOURS[2 + j], MARKERS[j], m.removeprefix("leak_")) for j, m in enumerate(LEAKS)]
    legend_below(axis, handles, 2)


def _effects(axis: Axes, rows: Rows, order: list[str]) -> None:
    for j, measure in enumerate(SHORTCUT_EFFECTS):
        for k, method in enumerate(order):
            estimated = estimate(rows, method, measure)
            at = k + 0.3 * (j - 0.5)
            axis.plot([estimated.low, estimated.high], [at, at], color=COLOURS[j], linewidth=2, alpha=0.5)
            axis.plot(estimated.value, at, MARKERS[j], color=COLOURS[j], markersize=6, zorder=3)
    axis.axvline(0, color=INK, linewidth=1)
    axis.set_title("effect of attribute")
    axis.set_xlabel("prediction per SD of attribute,\nat fixed expression", fontsize=8, color=SOFT)
    words = [f"{attribute} on {dimension}" for attribute, dimension in SHORTCUTS.items()]
    legend_below(axis, [handle(COLOURS[j], MARKERS[j], word) for j, word in enumerate(words)], 1)


def _person(axis: Axes, rows: Rows, order: list[str]) -> None:
    for k, method in enumerate(order):
        estimated = estimate(rows, method, "person_ratio")
        axis.barh(k, estimated.value, height=0.55, color=FAINT if method in _REFERENCES else COLOURS[5])
        axis.plot([estimated.low, estimated.high], [k, k], color=INK, linewidth=1)
        edge = estimated.high if np.isfinite(estimated.high) else estimated.value
        if np.isfinite(edge):
            axis.text(edge, k, f" {estimated.value:.2f}", va="center", fontsize=8, color=INK)
    axis.set_title("between people")
    axis.set_xlabel("SD between people over\nSD between expressions", fontsize=8, color=SOFT)
    axis.set_xlim(0, 1.3 * axis.get_xlim()[1])


# colours are full at the largest difference, or this
_SCALES = {"ccc": 0.05, "leak": 0.1, "drift": 0.01, "residual": 0.2}


@styled
def ablation_chart(
    rows: Rows,
    groups: Mapping[str, str],
    differences: Mapping[str, Mapping[str, Mapping[str, Any]]],
    measures: Mapping[str, Measure],
) -> Figure:
    """A heat map: a row per variant, a column per measure, coloured by how much better than the base.

    Args:
        rows: a row per variant and seed.
        groups: the question of each variant, in the order to show; the base first.
        differences: {variant: {measure: difference, low, high}} of all but the base.
        measures: the columns.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap, to_hex
    from matplotlib.figure import Figure

    names = list(groups)
    top = _scales(differences, measures)
    shades = LinearSegmentedColormap.from_list("difference", [COLOURS[1], "#ffffff", COLOURS[0]])
    width = 3.7 + 0.85 * len(measures)
    figure = Figure(figsize=(width, 1.6 + 0.34 * len(names)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for i, name in enumerate(names):
        for j, (key, measure) in enumerate(measures.items()):
            value = estimate(rows, name, measure).value
            compared = differences.get(name, {}).get(key)
            gain, sure = 0.0, False
            if compared is not None and np.isfinite(compared["difference"]):
                gain = compared["difference"] * (1 if measure.higher else -1) / top[_kind(measure)]
                sure = bool(compared["low"] > 0 or compared["high"] < 0)
            axis.add_patch(_cell(j, i, shades(0.5 + 0.42 * float(np.clip(gain, -1, 1)))))
            digits = 3 if _kind(measure) == "drift" else 2
            shown = "-" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
            axis.text(j, i, shown, ha="center", va="center", color=INK, weight="bold" if sure else "normal")
    _group_lines(axis, names, groups)
    titles = [f"{_in_lines(m.title)} {'↑' if m.higher else '↓'}" for m in measures.values()]
    axis.set_xticks(range(len(measures)), titles)
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(names)), names)
    axis.set_xlim(-0.5, len(measures) - 0.5)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(length=0)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    ends = {"worse than the base": 0.08, "better": 0.92}
    handles = [handle(to_hex(shades(at)), "s", word) for word, at in ends.items()]
    note = "numbers: means; bold: the 95 % interval of the paired difference leaves 0 out"
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, frameon=False, title=note, title_fontsize=8.5
    )
    return figure


def _in_lines(title: str) -> str:
    """`CCC matched` and `CCC, weighted` with their first word above the others, a comma ends a line."""
    head, _, rest = title.partition(" ")
    return f"{head.rstrip(',')}\n{rest}".replace(", ", ",\n") if rest else f"\n{head}"


def _kind(measure: Measure) -> str:
    of = measure.score["measure"]
    return "ccc" if of.endswith("ccc") else of


def _scales(
    differences: Mapping[str, Mapping[str, Mapping[str, Any]]], measures: Mapping[str, Measure]
) -> dict[str, float]:
    """Per kind of measure, the largest finite |difference|, so that its columns share a scale."""
    scales = dict(_SCALES)
    for of_variant in differences.values():
        for key, measure in measures.items():
            if np.isfinite(of_variant[key]["difference"]):
                scales[_kind(measure)] = max(scales[_kind(measure)], abs(of_variant[key]["difference"]))
    return scales


def _cell(column: int, row: int, colour: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1)


def _group_lines(axis: Axes, names: list[str], groups: Mapping[str, str]) -> None:
    """A line above each question, and its name at the right."""
    for i, name in enumerate(names):
        if i and groups[name] != groups[names[i - 1]]:
            axis.axhline(i - 0.5, color=INK, linewidth=0.8)
            axis.text(
                1.01, i, groups[name], transform=axis.get_yaxis_transform(), va="center", color=SOFT,
                fontsize=9, style="italic",
            )  # fmt: skip
