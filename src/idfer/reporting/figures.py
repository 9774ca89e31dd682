"""The report's figures: each draws one tidy table as a row of small panels, without global plotting state.

A panel is SVG markup that stands in the page itself. The page lays panels out, three in a row or one below
the other as there is room, so that text keeps its size on a telephone; and their colours are the page's
own, by name, so that a dark page has light ink and a printed one dark ink. Panels hold no photograph.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, grid, styled, text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORDS = (
    ("excited, happy", 1, 1),
    ("afraid, angry", -1, 1),
    ("sad, tired", -1, -1),
    ("calm, content", 1, -1),
)
_FEATURES = ("expression", "expression mean", "prediction")  # first in a panel; controls come last
_PROBES = {
    "linear": "linear probe",
    "nonlinear": "linear + nonlinear probe (number at the right)",
    "verification": "telling unseen people apart",
}
# What the page calls these colours: see `:root` in templates/report.css.
_VARIABLES = {INK: "ink", SOFT: "soft", FAINT: "line", "#ffffff": "ground"} | {
    colour: f"c{i}" for i, colour in enumerate(COLOURS)
}
# Markers of a legend, as SVG paths in a box of 12 x 12.
_PATHS = {
    "o": "M6 1.5a4.5 4.5 0 1 0 .001 0z", "s": "M2 2h8v8H2z", "D": "M6 .8 11.2 6 6 11.2 .8 6z",
    "^": "M6 1.2 11 10.5H1z", "v": "M6 10.8 1 1.5h10z", "P": "M4 1h4v3h3v4H8v3H4V8H1V4h3z",
    "*": "M6 .4 7.5 4.3l4.1.2-3.2 2.6 1.1 4L6 8.8l-3.5 2.3 1.1-4L.4 4.5l4.1-.2z",
}  # fmt: skip


@styled
def accuracy(table: pd.DataFrame, metric: str = "ccc") -> list[str]:
    """Points with 95 % intervals: a panel per dimension, a row per split, a colour per model.

    Args:
        table: `model, split, dimension, metric, value, low, high`.
        metric: which metric to draw.
    """
    table = table[table["metric"] == metric]
    models, splits = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["split"]))
    low = np.nanmin([0.0, table["low"].min(), table["value"].min()])
    panels = []
    for dimension in dict.fromkeys(table["dimension"]):
        part = table[table["dimension"] == dimension].set_index(["model", "split"])
        figure, axis = panel(3.6, 0.75 + len(splits) * (0.2 + 0.2 * len(models)))
        for m, model in enumerate(models):
            for s, split in enumerate(splits):
                if (model, split) in part.index:
                    cell = part.loc[(model, split)]
                    height = s + offset(m, len(models))
                    interval(axis, height, cell["value"], cell["low"], cell["high"], m)
        axis.set_title({"mean": "mean of both"}.get(dimension, dimension))
        axis.set_yticks(range(len(splits)), splits)
        axis.set_ylim(len(splits) - 0.45, -0.55)
        axis.axvline(0, color=SOFT, linewidth=0.8)
        axis.set_xlim(low - 0.05, 1.12)
        axis.set_xticks([tick for tick in (-0.5, 0, 0.5, 1) if tick >= low])
        axis.set_xlabel(metric.upper())
        grid(axis)
        panels.append(svg(figure))
    return panels


@styled
def leakage(table: pd.DataFrame) -> list[str]:
    """Bars of leakage with 95 % intervals: a panel per target and model, a row per features.

    Args:
        table: `model, features, target, kind, score, low, high`; scores are 0 at chance, 1 when read
            perfectly.
    """
    models = list(dict.fromkeys(table["model"]))
    features = list(dict.fromkeys(table["features"]))
    features.sort(key=lambda name: (*_FEATURES, name).index(name))
    lowest = min(-0.08, float(table["low"].min()) - 0.03)
    panels = []
    for target in dict.fromkeys(table["target"]):
        for model in models:
            figure, axis = panel(4.8, 0.75 + 0.27 * len(features))
            part = table[(table["model"] == model) & (table["target"] == target)]
            for line in part.to_dict("records"):
                _bar(axis, features.index(line["features"]), line)
            axis.axvline(0, color=INK, linewidth=1)
            axis.set_title(f"{target}, {model}" if len(models) > 1 else target)
            axis.set_yticks(range(len(features)), features)
            axis.set_ylim(len(features) - 0.4, -0.6)
            axis.set_xlim(lowest, 1.0)
            axis.set_xlabel("0 = chance    ·    1 = read perfectly")
            grid(axis)
            panels.append(svg(figure))
    return panels


@styled
def circumplex(table: pd.DataFrame, most: int = 400) -> list[str]:
    """True against predicted valence and arousal on the plane: a panel of labels, then one per model.

    Args:
        table: `model, valence, arousal, predicted_valence, predicted_arousal`.
        most: faces drawn per panel, taken evenly from the table.
    """
    models = list(dict.fromkeys(table["model"]))
    panels = []
    for title, model in [("labels", models[0]), *((f"{model} predicts", model) for model in models)]:
        part = table[table["model"] == model]
        part = part.iloc[:: max(1, len(part) // most)]
        columns = ["valence", "arousal"] if title == "labels" else ["predicted_valence", "predicted_arousal"]
        figure, axis = panel(3.7, 3.9)
        plane(axis)
        quadrant = _quadrant(part["valence"].to_numpy(), part["arousal"].to_numpy())
        axis.scatter(
            part[columns[0]], part[columns[1]], s=9, c=[COLOURS[k] for k in quadrant], alpha=0.65,
            linewidths=0,
        )  # fmt: skip
        axis.set_title(title)
        panels.append(svg(figure))
    return panels


@styled
def detached(table: pd.DataFrame) -> list[str]:
    """Where a face's prediction goes as each attribute is detached: a panel per face.

    Args:
        table: `row, detached, valence, arousal`, with `label_valence` and `label_arousal`.
    """
    settings = list(dict.fromkeys(table["detached"]))
    panels = []
    for row in dict.fromkeys(table["row"]):
        part = table[table["row"] == row].set_index("detached")
        figure, axis = panel(2.5, 2.5)
        plane(axis, words=False)
        start = part.loc["none"]
        for i, name in enumerate(settings):
            point, colour = part.loc[name], COLOURS[_shade(name, i)] if name != "none" else SOFT
            if name != "none":
                axis.plot(
                    [start["valence"], point["valence"]], [start["arousal"], point["arousal"]],
                    color=colour, linewidth=1.4, zorder=3,
                )  # fmt: skip
            axis.plot(
                point["valence"], point["arousal"], MARKERS[i % len(MARKERS)], color=colour, markersize=6.5,
                markeredgecolor="white", markeredgewidth=0.7, zorder=4,
            )  # fmt: skip
        axis.plot(start["label_valence"], start["label_arousal"], "*", color=INK, markersize=11, zorder=5)
        axis.set_title(f"row {row}")
        panels.append(svg(figure))
    return panels


def plane(axis: Axes, words: bool = True) -> None:
    """Draw the empty valence-arousal plane: unit circle, axes, and a word for each quadrant."""
    from matplotlib.patches import Circle

    axis.add_patch(Circle((0, 0), 1, fill=False, edgecolor=SOFT, linewidth=0.9))
    axis.axhline(0, color=FAINT, linewidth=0.9, zorder=0)
    axis.axvline(0, color=FAINT, linewidth=0.9, zorder=0)
    axis.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axis.set_xlabel("valence", labelpad=0)
    axis.set_ylabel("arousal", labelpad=-4)
    axis.tick_params(length=0)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    if not words:
        return
    for i, (word, x, y) in enumerate(_WORDS):
        axis.text(
            1.08 * x, 1.14 * y, word, color=COLOURS[i], fontsize=8.5, weight="bold",
            ha="right" if x > 0 else "left", va="bottom" if y > 0 else "top",
        )  # fmt: skip
    axis.set_ylim(-1.3, 1.3)


def legend(names: Sequence[str]) -> list[dict[str, str]]:
    """A key per model: `label`, `colour` (the page's name of it) and `path` (of its marker)."""
    return [_key(name, f"c{i % 6}", MARKERS[i % 6]) for i, name in enumerate(names)]


def probe_legend(table: pd.DataFrame) -> list[dict[str, str]]:
    """A key per kind of probe in a leakage table, laid out as `legend`."""
    kinds = set(table["kind"])
    return [_key(_PROBES[kind], f"c{2 + i}", "s") for i, kind in enumerate(_PROBES) if kind in kinds]


def detached_legend(settings: Sequence[str]) -> list[dict[str, str]]:
    """A key per detach setting and one for the label, laid out as `legend`."""
    words = {"none": "nothing", "all": "everything"}
    keys = [
        _key(words.get(s, s), "soft" if s == "none" else f"c{_shade(s, i)}", MARKERS[i % len(MARKERS)])
        for i, s in enumerate(settings)
    ]
    return [*keys, _key("the label", "ink", "*")]


@styled
def svg(figure: Figure) -> str:
    """The figure as SVG markup to stand within a page, deterministic, in the page's own colours.

    Names inside it are made unique by its content, since all panels of a page share one space of names.
    """
    import hashlib

    buffer = BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    markup = buffer.getvalue().decode()
    markup = markup[markup.index("<svg") :]
    markup = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", markup, flags=re.DOTALL)
    markup = re.sub(r' (width|height)="[\d.]+pt"', "", markup, count=2)  # the page sets its size
    for colour, name in _VARIABLES.items():
        markup = re.sub(colour, f"var(--{name})", markup, flags=re.IGNORECASE)
    prefix = "p" + hashlib.sha256(markup.encode()).hexdigest()[:8]
    markup = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", markup)
    return re.sub(r">\s+<", "><", markup.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1))


def face_uri(face: NDArray[np.uint8], side: int = 96) -> str:
    """A (S, S, 3) uint8 face as a JPEG data URI of about `side` pixels."""
    from PIL import Image

    image = Image.fromarray(face)
    image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """One panel of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _bar(axis: Axes, row: int, line: dict[Any, Any]) -> None:
    """One probe's score in a leakage panel; linear and nonlinear probe share a row."""
    thick = 0.8 / (1 if line["kind"] == "verification" else 2)
    at = row + {"linear": -thick / 2, "nonlinear": thick / 2}.get(line["kind"], 0.0)
    colour = COLOURS[2 + list(_PROBES).index(line["kind"])]
    control = line["features"] not in (*_FEATURES, "backbone")
    axis.barh(
        at, line["score"], height=0.92 * thick, color=colour, alpha=0.35 if control else 0.95,
        edgecolor=colour, linewidth=0.8,
    )  # fmt: skip
    axis.plot([line["low"], line["high"]], [at, at], color=INK, linewidth=1)
    if line["kind"] != "linear":
        axis.text(
            1.02, row, text(line["score"]), va="center", fontsize=8.5, color=INK,
            transform=axis.get_yaxis_transform(),
        )  # fmt: skip


def interval(axis: Axes, height: float, value: float, low: float, high: float, series: int) -> None:
    """A value as the marker of its series, with its interval, and in digits at the right."""
    axis.plot([low, high], [height, height], color=COLOURS[series % 6], linewidth=2.2, alpha=0.55)
    axis.plot(
        value, height, MARKERS[series % 6], color=COLOURS[series % 6], markersize=6, markeredgecolor="white"
    )
    axis.text(
        high + 0.02 if np.isfinite(high) else value + 0.04, height, text(value), va="center", fontsize=8,
        color=INK,
    )  # fmt: skip


def offset(series: int, count: int) -> float:
    """How far below its row's middle one of so many series stands."""
    return (series - (count - 1) / 2) * min(0.3, 0.7 / count)


def _quadrant(valence: NDArray[Any], arousal: NDArray[Any]) -> NDArray[np.intp]:
    """Index into `_WORDS`: which quadrant each label lies in."""
    return np.where(arousal >= 0, np.where(valence >= 0, 0, 1), np.where(valence >= 0, 3, 2))


def _shade(setting: str, series: int) -> int:
    """Index into `COLOURS` of a detach setting."""
    return 0 if setting == "all" else 1 + (series - 1) % 5


def _key(label: str, colour: str, marker: str) -> dict[str, str]:
    return {"label": label, "colour": colour, "path": _PATHS[marker]}
