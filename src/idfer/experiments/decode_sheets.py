"""Sheets of `benchmark decode`: what its decoders draw of a few faces of the cross, to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from idfer.decoding.concepts import Concepts
    from idfer.decoding.reading import Reading
    from idfer.experiments.decode_measures import Crossed
    from idfer.models.decoder import Decoder
    from idfer.models.flow import Flow

_FACES, _ALIKE = 6, 16  # of a strip, and of a sheet of one expression


class Drawer(NamedTuple):
    """A decoder and what it is asked for.

    Attributes:
        decoder: trained.
        reading: features of the cross, row by row.
        concepts: what each attribute makes in them.
    """

    decoder: Decoder | Flow
    reading: Reading
    concepts: Concepts


def sheets(drawers: Mapping[str, Drawer], crossed: Crossed) -> dict[str, Figure]:
    """Figures by name.

    Args:
        drawers: by what they draw from; the first is shown with each attribute detached.
        crossed: the true faces.

    Returns:
        strip: different people with different expressions, drawn of all features, with each attribute
        detached, and of the expression feature alone. swap: source and giver, the swaps, and the truth.
        neutral: different people with one expression, the faces and what is drawn of expression features.
    """
    from idfer.decoding import edits
    from idfer.reporting.strips import rows_of, sheet

    people, shown = crossed.people, crossed.expressions
    who = np.linspace(0, people - 1, min(_FACES, people)).astype(int)
    some = who * shown + np.arange(len(who)) % shown
    first, *others = drawers
    strip = {"face": crossed.pictures[some], **_detached(drawers[first], some)}
    swap = {"expression of": crossed.pictures[some], "identity of": crossed.pictures[crossed.giver[some]]}
    for name, drawer in drawers.items():
        faces, givers = (_rows(drawer.reading, rows) for rows in (some, crossed.giver[some]))
        if name in others:
            strip[f"{name}:\nneutral"] = edits.neutral(drawer.decoder, faces)
        swap[name] = edits.draw(drawer.decoder, faces.expression, givers.identity, lent=True)
    swap["truth"] = crossed.pictures[crossed.target[some]]
    alike = np.arange(min(_ALIKE, people)) * shown + shown // 2
    neutral = [list(crossed.pictures[alike])] + [
        list(edits.neutral(drawer.decoder, _rows(drawer.reading, alike))) for drawer in drawers.values()
    ]
    return {
        "strip": sheet(rows_of(strip), list(strip)),
        "swap": sheet(rows_of(swap), list(swap)),
        "neutral": sheet(neutral, [""] * len(alike), ["faces", *drawers]),
    }


def _detached(drawer: Drawer, rows: NDArray[np.intp]) -> dict[str, NDArray[np.uint8]]:
    from idfer.decoding import edits

    return edits.detachments(drawer.decoder, _rows(drawer.reading, rows), drawer.concepts)


def _rows(reading: Reading, rows: NDArray[np.intp]) -> Reading:
    import torch

    return reading.rows(torch.from_numpy(rows))
