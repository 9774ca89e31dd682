"""A photograph with its predictions drawn on it: a box round each face, valence and arousal beside it."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_UNKNOWN = (128, 128, 128)


def annotate(image: np.ndarray, rows: Iterable[Mapping[str, Any]]) -> Image.Image:
    """Draw the faces of one image.

    Args:
        image: (H, W, 3) uint8, RGB; left as it is.
        rows: of the image in a table of predictions; boxes are in its pixels. Without numbers a box is grey.

    Returns:
        A Pillow image of the same size. The boxes' colour goes from red (unpleasant) to green (pleasant).
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    shorter = min(picture.size)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=max(10, shorter // 30))
    for row in rows:
        if row["x"] is None:
            continue
        left, top = row["x"], row["y"]
        right, bottom = left + row["width"], top + row["height"]
        colour = _UNKNOWN if row["valence"] is None else _colour(row["valence"])
        pen.rectangle((left, top, right, bottom), outline=colour, width=max(1, shorter // 200))
        text = _text(row)
        x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
        wide, high = int(x1 - x0) + 4, int(y1 - y0) + 4
        # above the box, or where the image ends there, inside it
        x = min(max(0, left), max(0, picture.width - wide))
        y = top - high if top >= high else max(0, top)
        pen.rectangle((x, y, x + wide, y + high), fill=colour)
        pen.text((x + 2 - x0, y + 2 - y0), text, fill=(0, 0, 0), font=font)
    return picture


def _text(row: Mapping[str, Any]) -> str:
    if row["valence"] is None:
        return "no numbers"
    return f"V {row['valence']:+.2f} A {row['arousal']:+.2f}"


def _colour(valence: float) -> tuple[int, int, int]:
    """From red (-1) through yellow to green (1)."""
    red, green, blue = colorsys.hsv_to_rgb((1 + valence) / 6, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
