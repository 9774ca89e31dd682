"""The report's figures: each draws one tidy table, as SVG or PNG bytes, without any global plotting state."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, grid, handle, styled, text

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


@styled
def accuracy(table: pd.DataFrame, metric: str = "ccc") -> Figure:
    """Points with 95 % intervals: a panel per dimension, a row per split, a colour per model.

    Args:
        table: `model, split, dimension, metric, value, low, high`.
        metric: which metric to draw.
    """
    table = table[table["metric"] == metric]
    models, splits = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["split"]))
    dimensions = list(dict.fromkeys(table["dimension"]))
    figure, axes = _axes(1, len(dimensions), 9, 0.75 + len(splits) * (0.24 + 0.2 * len(models)), sharey=True)
    for axis, dimension in zip(axes, dimensions, strict=True):
        part = table[table["dimension"] == dimension].set_index(["model", "split"])
        for m, model in enumerate(models):
            for s, split in enumerate(splits):
                if (model, split) not in part.index:
                    continue
                cell = part.loc[(model, split)]
                height = s + _offset(m, len(models))
                _interval(axis, height, cell["value"], cell["low"], cell["high"], m)
        axis.set_title({"mean": "mean of both"}.get(dimension, dimension))
        axis.set_yticks(range(len(splits)), splits)
        axis.set_ylim(len(splits) - 0.45, -0.55)
        axis.axvline(0, color=SOFT, linewidth=0.8)
        low = np.nanmin([0.0, table["low"].min(), table["value"].min()])
        axis.set_xlim(low - 0.05, 1.0)
        axis.set_xlabel(metric.upper())
        grid(axis)
    _legend(figure, models)
    return figure


@styled
def leakage(table: pd.DataFrame) -> Figure:
    """Bars of leakage with 95 % intervals: a panel per model, rows are target and features.

    Args:
        table: `model, features, target, kind, score, low, high`; scores are 0 at chance, 1 when read
            perfectly.
    """
    table = table[table["score"].notna()]
    models = list(dict.fromkeys(table["model"]))
    targets = list(dict.fromkeys(table["target"]))
    features = list(dict.fromkeys(table["features"]))
    features.sort(key=lambda name: ("expression", "expression mean", name).index(name))
    kinds = [k for k in ("linear", "mlp", "verification") if k in set(table["kind"])]
    height = 0.9 + len(targets) * (0.16 + 0.23 * len(features))
    figure, axes = _axes(1, len(models), 9, height, sharey=True)
    place = {
        (t, f): i * (len(features) + 0.8) + j for i, t in enumerate(targets) for j, f in enumerate(features)
    }
    for axis, model in zip(axes, models, strict=True):
        part = table[table["model"] == model]
        for line in part.to_dict("records"):
            thick = 0.8 / (1 if line["kind"] == "verification" else 2)
            shift = {"linear": -thick / 2, "mlp": thick / 2}.get(line["kind"], 0.0)
            row = place[(line["target"], line["features"])]
            at, colour = row + shift, COLOURS[2 + kinds.index(line["kind"])]
            control = line["features"] not in ("expression", "expression mean", "backbone")
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
        axis.axvline(0, color=INK, linewidth=1)
        axis.set_title(model)
        axis.set_yticks(list(place.values()), [f for _, f in place])
        for i, target in enumerate(targets):
            axis.text(
                0.99, i * (len(features) + 0.8) - 0.62, target, ha="right", va="bottom", weight="bold",
                transform=axis.get_yaxis_transform(), color=INK,
            )  # fmt: skip
        axis.set_ylim(max(place.values()) + 0.7, -1.6)
        axis.set_xlim(min(-0.08, float(table["low"].min()) - 0.03), 1.0)
        axis.set_xlabel("0 = chance    ·    1 = read perfectly")
        grid(axis)
    handles = [handle(COLOURS[2 + i], "s", _PROBES[k]) for i, k in enumerate(kinds)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


_PROBES = {
    "linear": "linear probe",
    "mlp": "linear + network probe (number at the right)",
    "verification": "telling unseen people apart",
}


@styled
def circumplex(table: pd.DataFrame, most: int = 400) -> Figure:
    """True against predicted valence and arousal on the plane, a panel per model.

    Args:
        table: `model, valence, arousal, predicted_valence, predicted_arousal`.
        most: faces drawn per panel, taken evenly from the table.
    """
    models = list(dict.fromkeys(table["model"]))
    figure, axes = _axes(1, len(models) + 1, 9, 10.2 / (len(models) + 1) + 0.3)
    for i, axis in enumerate(axes):
        part = table[table["model"] == models[max(i - 1, 0)]]
        part = part.iloc[:: max(1, len(part) // most)]
        columns = ["valence", "arousal"] if i == 0 else ["predicted_valence", "predicted_arousal"]
        plane(axis)
        hue = _quadrant(part["valence"].to_numpy(), part["arousal"].to_numpy())
        axis.scatter(
            part[columns[0]], part[columns[1]], s=9, c=[COLOURS[k] for k in hue], alpha=0.65, linewidths=0
        )
        axis.set_title("labels" if i == 0 else f"{models[i - 1]} predicts")
    return figure


@styled
def detached(table: pd.DataFrame, faces: Mapping[int, NDArray[np.uint8]]) -> Figure:
    """Where a face's prediction goes as each attribute is detached: a panel per face.

    Args:
        table: `row, detached, valence, arousal`, with `label_valence` and `label_arousal`.
        faces: (S, S, 3) uint8 crops by row.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    rows = list(dict.fromkeys(table["row"]))
    figure, axes = _axes(1, len(rows), 9, 9.6 / max(len(rows), 3) + 0.75)
    settings = list(dict.fromkeys(table["detached"]))
    for axis, row in zip(axes, rows, strict=True):
        part = table[table["row"] == row].set_index("detached")
        plane(axis, words=False)
        start = part.loc["none"]
        for i, name in enumerate(settings):
            point = part.loc[name]
            if name != "none":
                axis.plot(
                    [start["valence"], point["valence"]], [start["arousal"], point["arousal"]],
                    color=_shade(name, i), linewidth=1.4, zorder=3,
                )  # fmt: skip
            axis.plot(
                point["valence"], point["arousal"], MARKERS[i % len(MARKERS)], color=_shade(name, i),
                markersize=6.5, markeredgecolor="white", markeredgewidth=0.7, zorder=4,
            )  # fmt: skip
        axis.plot(start["label_valence"], start["label_arousal"], "*", color=INK, markersize=11, zorder=5)
        if row in faces:
            image = OffsetImage(faces[row], zoom=30 / faces[row].shape[0])
            axis.add_artist(AnnotationBbox(image, (-0.95, 0.95), frameon=False, pad=0, zorder=2))
            axis.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    handles = [handle(_shade(n, i), MARKERS[i % len(MARKERS)], n) for i, n in enumerate(settings)]
    handles.append(handle(INK, "*", "the label"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 8), frameon=False,
        title="detached:", title_fontsize=9.5,
    )  # fmt: skip
    return figure


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


@styled
def svg(figure: Figure) -> str:
    """The figure as SVG markup, deterministic."""
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]


def data_uri(figure: Figure) -> str:
    """The figure as an SVG data URI for an `img` element."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg(figure).encode()).decode()


def face_uri(face: NDArray[np.uint8], side: int = 96) -> str:
    """A (S, S, 3) uint8 face as a JPEG data URI of about `side` pixels."""
    from PIL import Image

    image = Image.fromarray(face)
    image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _axes(
    rows: int, columns: int, width: float, height: float, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    return figure, list(axes.ravel())


def _interval(axis: Axes, height: float, value: float, low: float, high: float, series: int) -> None:
    axis.plot([low, high], [height, height], color=COLOURS[series % 6], linewidth=2.2, alpha=0.55)
    axis.plot(
        value, height, MARKERS[series % 6], color=COLOURS[series % 6], markersize=6, markeredgecolor="white"
    )
    axis.text(
        high + 0.02 if np.isfinite(high) else value + 0.04, height, text(value), va="center", fontsize=8,
        color=INK,
    )  # fmt: skip


def _offset(series: int, count: int) -> float:
    return (series - (count - 1) / 2) * min(0.3, 0.7 / count)


def _legend(figure: Figure, names: Sequence[str]) -> None:
    handles = [handle(COLOURS[i % 6], MARKERS[i % 6], name) for i, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(names), frameon=False)


def _quadrant(valence: NDArray[Any], arousal: NDArray[Any]) -> NDArray[np.intp]:
    """Index into `_WORDS`: which quadrant each label lies in."""
    return np.where(arousal >= 0, np.where(valence >= 0, 0, 1), np.where(valence >= 0, 3, 2))


def _shade(name: str, series: int) -> str:
    return {"none": SOFT, "all": COLOURS[0]}.get(name, COLOURS[1 + (series - 1) % 5])
