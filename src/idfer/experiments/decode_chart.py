"""The figure of `benchmark decode`: decoders side by side, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from idfer.experiments.decode_trial import CEILING, CONTROL, OURS, PHOTOGRAPHS
from idfer.reporting.style import COLOURS, MARKERS, SOFT, grid, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = {
    "swap: PSNR, dB": ("swap_psnr", (OURS, CONTROL, CEILING)),
    "ID-neutral: PSNR, dB": ("detach_psnr", (OURS, CONTROL, CEILING)),
    "share identified": ("identify_mean", (OURS, CONTROL, PHOTOGRAPHS)),
    "ID-neutral: spread": ("neutral_spread", (OURS, CONTROL, PHOTOGRAPHS)),
}
_NAMES = {OURS: "idfer's features", CONTROL: "ERM's feature"}


@styled
def chart(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> Figure:
    """A panel per measure: a marker per seed, and the mean.

    Args:
        rows: numbers by decoder and name, a mapping per seed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.3), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axis, (title, (name, decoders)) in zip(
        figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True
    ):
        for k, of in enumerate(decoders):
            values = [row[of][name] for row in rows]
            colour = COLOURS[k] if of in _NAMES else SOFT
            axis.plot(values, [k] * len(values), MARKERS[k], color=colour, alpha=0.6, markeredgecolor="white")
            axis.plot([np.mean(values)] * 2, [k - 0.3, k + 0.3], color=colour, linewidth=2)
        axis.set_yticks(range(len(decoders)), [_NAMES.get(of, of) for of in decoders])
        axis.set_ylim(len(decoders) - 0.5, -0.5)
        axis.set_title(title)
        grid(axis)
    return figure
