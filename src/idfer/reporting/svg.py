"""A figure as markup that stands in a page: drawn by matplotlib, in the page's own colours.

A panel is SVG markup. The page lays panels out, several in a row or one below the other as there is room, so
that text keeps its size on a telephone; and their colours are the page's own, by name, so that a dark page
has light ink and a printed one dark ink. Panels hold no photograph.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from idfer.reporting.style import COLOURS, FAINT, INK, MARKERS, SOFT, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What the page calls these colours: see `:root` in templates/report.css.
_VARIABLES = {INK: "ink", SOFT: "soft", FAINT: "line", "#ffffff": "ground"} | {
    colour: f"c{i}" for i, colour in enumerate(COLOURS)
}
# Markers of a legend, as SVG paths in a box of 12 x 12.
_PATHS = {
    "o": "M6 1.5a4.5 4.5 0 1 0 .001 0z", "s": "M2 2h8v8H2z", "D": "M6 .8 11.2 6 6 11.2 .8 6z",
    "^": "M6 1.2 11 10.5H1z", "v": "M6 10.8 1 1.5h10z", "P": "M4 1h4v3h3v4H8v3H4V8H1V4h3z",
    "*": "M6 .4 7.5 4.3l4.1.2-3.2 2.6 1.1 4L6 8.8l-3.5 2.3 1.1-4L.4 4.5l4.1-.2z",
    "_": "M0 3h12v6H0z", "|": "M5 0h2v12H5z",
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """A figure of a page.

    Attributes:
        panels: SVG markup of each.
        alt: what the figure shows, with its numbers, for one who does not see it.
        legend: keys, as `key` makes them.
        across: panels in a row, where there is room.
        kind: class of the row: "", "square" or "small".
        title: what tells it from its neighbours.
    """

    panels: Sequence[str]
    alt: str
    legend: Sequence[dict[str, str]] = ()
    across: int = 2
    kind: str = ""
    title: str = ""


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """One panel of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


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


def key(label: str, colour: str, marker: str, hollow: bool = False) -> dict[str, str]:
    """An entry of a legend: `label`, `colour` (the page's name of it), `path` (of its marker), `hollow`."""
    return {"label": label, "colour": colour, "path": _PATHS[marker], "hollow": "yes" if hollow else ""}


def legend(names: Sequence[str]) -> list[dict[str, str]]:
    """A key per series, in the order of colours and markers."""
    return [key(name, f"c{i % 6}", MARKERS[i % 6]) for i, name in enumerate(names)]
