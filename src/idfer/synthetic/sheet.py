"""Contact sheets: people down, expressions across, for a human eye."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from idfer.errors import unknown
from idfer.synthetic import circumplex
from idfer.synthetic.factors import Factors, level
from idfer.synthetic.render import STUDIO

if TYPE_CHECKING:
    from idfer.synthetic.engine import Engine

EXPRESSIONS = ("neutral", "happy", "astonished", "sad", "angry", "fearful", "disgusted", "drowsy")
_MARGIN = 0.16  # of the tile: the strip of names on top and at the left
_INK = (70, 66, 62)
_PAPER = (250, 249, 247)


def express(factors: Factors, emotion: str) -> Factors:
    """The same faces showing one expression of the circumplex map at its anchor, without chance.

    Args:
        factors: N faces.
        emotion: a name of `circumplex.ANCHORS`.

    Raises:
        UsageError: unknown emotion.
    """
    if emotion not in circumplex.ANCHORS:
        raise unknown("emotion", emotion, list(circumplex.ANCHORS))
    valence, arousal, dominance = circumplex.ANCHORS[emotion]
    units = circumplex.action_units(np.array([valence]), np.array([arousal]), dominance)
    shown = {f"au{au}": float(value[0]) for au, value in units.items()}
    return factors.replace(valence=valence, arousal=arousal, dominance=dominance, **shown)


def contact_sheet(
    factors: Factors,
    expressions: Sequence[str] = EXPRESSIONS,
    size: int = 128,
    nuisance: bool = False,
    engine: Engine | None = None,
) -> np.ndarray:
    """Draw each face with each expression.

    Args:
        factors: N faces, one row of the sheet each.
        expressions: names of `circumplex.ANCHORS`, one column each.
        size: side of one face in pixels.
        nuisance: False draws everyone in the same studio; True keeps pose, light and the rest.
        engine: what draws them; the drawn engine by default.

    Returns:
        (N * size + margin, len(expressions) * size + margin, 3) uint8 RGB, with the names written beside.
    """
    import cv2

    from idfer.synthetic.engine import Drawn

    faces = Factors.concat([express(factors, name) for name in expressions])
    order = torch.arange(len(faces)).reshape(len(expressions), len(factors)).T.reshape(-1)
    if not nuisance:  # further away, so that the hair is seen
        faces = faces.replace(**{**STUDIO, "scale": 0.84})
    tiles = np.concatenate(list((engine or Drawn()).pictures(faces.rows(order), size)))
    rows, columns = len(factors), len(expressions)
    grid = tiles.reshape(rows, columns, size, size, 3).transpose(0, 2, 1, 3, 4)
    top, left = int(size * _MARGIN), int(size * 0.72)
    sheet = np.full((rows * size + top, columns * size + left, 3), _PAPER, np.uint8)
    sheet[top:, left:] = grid.reshape(rows * size, columns * size, 3)
    scale = size / 320

    def write(text: str, x: float, y: float) -> None:
        cv2.putText(sheet, text, (int(x), int(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)

    for k, name in enumerate(expressions):
        width = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
        write(name, left + (k + 0.5) * size - width / 2, top * 0.7)
    described = zip(*(level(name, getattr(factors, name)) for name in ("age", "gender", "skin")), strict=True)
    for k, (age, gender, skin) in enumerate(described):
        for line, text in enumerate((age, gender, f"{skin} skin")):
            write(text, size * 0.04, top + (k + 0.42 + 0.13 * line) * size)
    return sheet
