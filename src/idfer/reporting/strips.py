"""Sheets of decoded faces: a row per face with each edit, overdone attributes, people by expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idfer.files import atomic
from idfer.reporting.style import INK, SOFT, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = NDArray[np.uint8]
_INCHES = 0.95  # side of a face


@styled
def sheet(
    rows: Sequence[Sequence[Pictures]], columns: Sequence[str], names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Faces in rows and columns.

    Args:
        rows: (S, S, 3) uint8 pictures, row by row.
        columns: a title per column.
        names: a title per row; () for none.
        title: of all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size = (_INCHES * len(columns) + (0.9 if names else 0.1), (_INCHES + 0.06) * len(rows) + 0.55)
    figure = Figure(
        figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            axis = axes[i, j]
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if i == 0:
                axis.set_title(columns[j], fontsize=7.5, color=INK, loc="center", weight="normal")
        if names:
            axes[i, 0].set_ylabel(names[i], fontsize=7.5, rotation=0, ha="right", va="center", color=SOFT)
    if title:
        figure.suptitle(title, fontsize=9.5, weight="bold", x=0.01, ha="left")
    return figure


def write(figure: Figure, path: Path) -> None:
    """Save a figure as the PNG, SVG, PDF or WebP that its name asks for.

    A WebP is small enough for a repository: a sheet of 64 faces of 64 pixels has less than 400 kB.
    """
    form = path.suffix.lstrip(".").lower()
    small = {"dpi": 120, "pil_kwargs": {"quality": 85}} if form == "webp" else {"dpi": 170}
    with atomic(path) as temporary:
        figure.savefig(temporary, format=form, **small)


def rows_of(pictures: Mapping[str, Any]) -> list[list[Pictures]]:
    """Row by row of face, from (N, S, S, 3) by title."""
    return [list(row) for row in zip(*pictures.values(), strict=True)]
