"""The figures of an evaluation: each draws one tidy table as a row of small panels (see `reporting.svg`)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, grid, number, styled, text
from idfer.reporting.svg import key, panel, svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_WORDS = (
    ("excited, happy", 1, 1),
    ("afraid, angry", -1, 1),
    ("sad, tired", -1, -1),
    ("calm, content", 1, -1),
)


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


def accuracy_alt(table: pd.DataFrame, metric: str = "ccc") -> str:
    """The points in words: for every model and split the mean of both dimensions.

    Args:
        table: as `accuracy` takes it.
        metric: as `accuracy` takes it.
    """
    part = table[(table["metric"] == metric) & (table["dimension"] == "mean")]
    said = []
    for model, rows in part.groupby("model", sort=False):
        values = [
            f"{split or 'all faces'} {number(value)}"
            for split, value in zip(rows["split"], rows["value"], strict=True)
        ]
        said.append(f"{model}: {', '.join(values)}")
    name = metric.upper()
    return f"{name}, mean of both dimensions. {'; '.join(said)}. The rest is in the table All metrics."


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


def circumplex_alt(table: pd.DataFrame) -> str:
    """The points in words: how far labels and predictions spread, and how often the quadrant agrees.

    Args:
        table: as `circumplex` takes it.
    """
    said: list[str] = []
    for model, part in table.groupby("model", sort=False):
        if not said:
            spread = part[["valence", "arousal"]].std()
            said.append(f"standard deviation of {len(part)} labels {_pair(spread)}")
        predicted = part[["predicted_valence", "predicted_arousal"]]
        label, answer = (_quadrant(*pair.to_numpy().T) for pair in (part[["valence", "arousal"]], predicted))
        said.append(
            f"of {model}'s predictions {_pair(predicted.std())}, "
            f"{(label == answer).mean():.0%} in the quadrant of the label"
        )
    return f"Faces on the plane of valence and arousal: {'; '.join(said)}. See the table All metrics."


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


def detached_alt(table: pd.DataFrame) -> str:
    """The lines in words: how far predictions move with everything detached.

    Args:
        table: as `detached` takes it.
    """
    said = []
    for row, part in table.groupby("row", sort=False):
        start = part.loc[part["detached"] == "none", ["valence", "arousal"]].to_numpy(float)
        ends = part.loc[part["detached"] != "none", ["valence", "arousal"]].to_numpy(float)
        most = float(np.hypot(*(ends - start[0]).T).max()) if len(ends) and len(start) else 0.0
        said.append(f"{number(most)} of row {row}")
    return (
        "How far the prediction moves on the plane when attributes are detached, at most: "
        f"{', '.join(said)}. The rest is in the table below."
    )


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


def detached_legend(settings: Sequence[str]) -> list[dict[str, str]]:
    """A key per detach setting and one for the label, laid out as `legend`."""
    words = {"none": "nothing", "all": "everything"}
    keys = [
        key(words.get(s, s), "soft" if s == "none" else f"c{_shade(s, i)}", MARKERS[i % len(MARKERS)])
        for i, s in enumerate(settings)
    ]
    return [*keys, key("the label", "ink", "*")]


def face_uri(face: NDArray[np.uint8], side: int = 96) -> str:
    """A (S, S, 3) uint8 face as a JPEG data URI of about `side` pixels."""
    from PIL import Image

    image = Image.fromarray(face)
    image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


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


def _pair(values: pd.Series[Any]) -> str:
    """Valence and arousal in words."""
    return " and ".join(number(float(value)) for value in values)


def _quadrant(valence: NDArray[Any], arousal: NDArray[Any]) -> NDArray[np.intp]:
    """Index into `_WORDS`: which quadrant each label lies in."""
    return np.where(arousal >= 0, np.where(valence >= 0, 0, 1), np.where(valence >= 0, 3, 2))


def _shade(setting: str, series: int) -> int:
    """Index into `COLOURS` of a detach setting."""
    return 0 if setting == "all" else 1 + (series - 1) % 5
