"""Invariance in pictures: what moves a prediction at the same expression, and how much of it is the person.

Everything here takes plain data, {model: `Invariance.to_dict()`}, so that reports and benchmarks draw alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from idfer.evaluation.anova import DIMENSIONS, NAMED, PARTS, POOLED
from idfer.reporting.figures import interval, offset
from idfer.reporting.style import COLOURS, INK, MARKERS, SOFT, grid, handle, number, styled, text
from idfer.reporting.svg import panel, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Models = Mapping[str, Mapping[str, Any]]
_WIDTH = 4.2  # inches of a panel
_SHADES = (5, 3, 4)  # colours of the parts; effects have the others
UNNAMED = 6  # shown of the attributes that the model was never told of
_WORDS = {
    "gender": "gender: more masculine", "age": "age: older", "skin": "skin tone: darker",
    "hair_style": "hair: longer", "glasses": "wears glasses", "facial_hair": "beard: fuller",
    "hair_grey": "hair: greyer", "hair_colour": "hair: lighter", "hairline": "hairline: receding",
    "iris": "eyes: lighter", "mouth_curve": "mouth at rest: curved up",
}  # fmt: skip


def shown_attributes(models: Models, unnamed: int = UNNAMED) -> list[str]:
    """The named attributes, then the others with the largest |effect| on any dimension of any model."""
    largest: dict[str, float] = {}
    for found in models.values():
        for name, by_dimension in found["effects"].items():
            sizes = [abs(_value(effect)) for effect in by_dimension.values()]
            if np.isfinite(sizes).any():
                largest[name] = max(largest.get(name, 0.0), float(np.nanmax(sizes)))
    others = sorted((name for name in largest if name not in NAMED), key=lambda name: -largest[name])
    return [*(name for name in NAMED if name in largest), *others[:unnamed]]


def in_words(attribute: str) -> str:
    """An attribute for a reader, with the direction in which it grows where its name does not tell."""
    return _WORDS.get(attribute, attribute.replace("_", " "))


@styled
def panels(models: Models) -> list[str]:
    """SVG panels of a report: effects on valence, effects on arousal, and the three standard deviations."""
    attributes = shown_attributes(models)
    reach = _reach(models, attributes)
    drawn = []
    for dimension in DIMENSIONS:
        figure, axis = panel(_WIDTH, 0.95 + len(attributes) * (0.15 + 0.13 * len(models)))
        for m, found in enumerate(models.values()):
            for row, name in enumerate(attributes):
                _point(axis, row + offset(m, len(models)), found["effects"][name][dimension], m)
        axis.set_title(f"effect on {dimension}")
        axis.set_yticks(range(len(attributes)), [in_words(name) for name in attributes])
        axis.set_ylim(len(attributes) - 0.4, -0.6)
        if len(attributes) > len(NAMED):
            axis.axhline(len(NAMED) - 0.5, color=SOFT, linewidth=0.6, linestyle=":")
        _zero(axis, reach)
        axis.set_xlabel("per SD of the attribute")
        drawn.append(svg(figure))
    return [*drawn, svg(_spread(models))]


def alt(models: Models) -> str:
    """The panels in words: effects of the named attributes, and how much of the spread is the person's."""
    said = []
    for model, found in models.items():
        effects = [
            f"{name} "
            + " and ".join(number(found["effects"][name][d]["value"], signed=True) for d in DIMENSIONS)
            for name in NAMED
            if name in found["effects"]
        ]
        ratio = number(found["components"][POOLED]["person_ratio"]["value"])
        said.append(f"{model}: {', '.join(effects)}; spread of person to expression {ratio}")
    whole = ". ".join(said)
    return f"Effects on valence and arousal at the same expression. {whole}. The rest is in the tables below."


@styled
def invariance_chart(models: Models, order: Sequence[str] | None = None) -> Figure:
    """A row per model: spread by expression, person and the rest, and effects of the named attributes.

    Bars lie below one another, not end to end: variances add, standard deviations do not.

    Args:
        models: {name: `Invariance.to_dict()`, or what has its `components["both"]` and `effects`}; a
            benchmark puts means over seeds and their intervals there.
        order: names from top to bottom; as given by default.

    Returns:
        The figure, 11.5 inches wide.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(models if order is None else order)
    attributes = [name for name in NAMED if any(name in models[m]["effects"] for m in names)]
    figure = Figure(figsize=(11.5, 1.4 + 0.55 * len(names)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    spread, *axes = figure.subplots(1, 3, sharey=True, width_ratios=[4.4, 3.4, 3.4])
    for row, name in enumerate(names):
        _bars(spread, row, models[name]["components"][POOLED])
    spread.set_title("spread of predictions (SD)")
    spread.set_xlabel("of valence and arousal together; number: person / expression", fontsize=8, color=SOFT)
    spread.set_xlim(0, 1.15 * _widest(models, [POOLED]))
    keys = [handle(COLOURS[_SHADES[j]], "s", part) for j, part in enumerate(PARTS)]
    figure.legend(handles=keys, loc="outside lower left", ncols=3, frameon=False)
    reach = _reach(models, attributes)
    for axis, dimension in zip(axes, DIMENSIONS, strict=True):
        for row, name in enumerate(names):
            for j, attribute in enumerate(attributes):
                effect = models[name]["effects"].get(attribute, {}).get(dimension)
                if effect is not None:
                    _point(axis, row + offset(j, len(attributes)), effect, j)
        axis.set_title(f"effect on {dimension}")
        axis.set_xlabel("at the same expression, per SD of the attribute", fontsize=8, color=SOFT)
        _zero(axis, reach)
    keys = [handle(COLOURS[j], MARKERS[j], in_words(name)) for j, name in enumerate(attributes)]
    figure.legend(handles=keys, loc="outside lower right", ncols=3, frameon=False)
    spread.set_yticks(range(len(names)), names)
    spread.set_ylim(len(names) - 0.45, -0.55)
    for axis in (spread, *axes):
        grid(axis)
        for row in range(1, len(names), 2):
            axis.axhspan(row - 0.5, row + 0.5, color="#f5f7f9", zorder=0)
    return figure


def _spread(models: Models) -> Figure:
    """Panel of standard deviations: a row per dimension and part."""
    rows = [(dimension, part) for dimension in DIMENSIONS for part in PARTS]
    figure, axis = panel(_WIDTH, 0.95 + len(rows) * (0.2 + 0.17 * len(models)))
    for m, found in enumerate(models.values()):
        for row, (dimension, part) in enumerate(rows):
            cell = found["components"][dimension][part]
            interval(axis, row + offset(m, len(models)), *_cell(cell), m)
    axis.set_title("spread of predictions")
    axis.set_yticks(range(len(rows)), [f"{dimension}: {part}" for dimension, part in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.axhline(len(PARTS) - 0.5, color=SOFT, linewidth=0.6, linestyle=":")
    axis.set_xlim(0, 1.3 * _widest(models, DIMENSIONS))
    axis.set_xlabel("standard deviation")
    grid(axis)
    return figure


def _bars(axis: Axes, row: int, components: Mapping[str, Mapping[str, Any]]) -> None:
    for j, part in enumerate(PARTS):
        value, low, high = _cell(components[part])
        at = row + 0.24 * (j - 1)
        axis.barh(at, value, height=0.21, color=COLOURS[_SHADES[j]])
        axis.plot([low, high], [at, at], color=INK, linewidth=1)
        if part == "person":
            edge = np.nanmax([value, high])
            share = text(_value(components["person_ratio"]))
            axis.text(edge, at, f"  {share}", va="center", fontsize=8, color=INK)


def _point(axis: Axes, at: float, effect: Mapping[str, Any], series: int) -> None:
    value, low, high = _cell(effect)
    colour, marker = COLOURS[series % 6], MARKERS[series % 6]
    axis.plot([low, high], [at, at], color=colour, linewidth=2, alpha=0.55)
    axis.plot(value, at, marker, color=colour, markersize=5.5, markeredgecolor="white", zorder=3)


def _zero(axis: Axes, reach: float) -> None:
    axis.axvline(0, color=INK, linewidth=1, zorder=1)
    axis.set_xlim(-reach, reach)
    grid(axis)


def _reach(models: Models, attributes: list[str]) -> float:
    """Half the width of an axis of effects: all intervals, and never so near that noise looks large."""
    ends = [
        abs(end)
        for found in models.values()
        for name in attributes
        for effect in found["effects"].get(name, {}).values()
        for end in _cell(effect)
        if np.isfinite(end)
    ]
    return 1.08 * max([0.05, *ends])


def _widest(models: Models, dimensions: Sequence[str]) -> float:
    cells = [f["components"][d][part] for f in models.values() for d in dimensions for part in PARTS]
    ends = [end for cell in cells for end in _cell(cell)]
    return float(max([0.05, *(end for end in ends if np.isfinite(end))]))


def _cell(estimate: Mapping[str, Any]) -> tuple[float, float, float]:
    low, high = (float("nan") if estimate[k] is None else float(estimate[k]) for k in ("low", "high"))
    return _value(estimate), low, high


def _value(estimate: Mapping[str, Any]) -> float:
    return float("nan") if estimate["value"] is None else float(estimate["value"])
