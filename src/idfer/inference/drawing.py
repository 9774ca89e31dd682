"""What the model says of faces, drawn on their picture: alike on photographs and on frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
"""RGB of faces 0, 1, 2, ... (Okabe and Ito's colours, in turn), in pictures and in plots over time."""

_UNKNOWN = (110, 110, 110)  # of a face without numbers
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


def annotate(image: np.ndarray, rows: Iterable[Mapping[str, Any]]) -> Image.Image:
    """Draw the faces of one image: a box round each, its number, valence and arousal beside it.

    Colours tell faces apart, not pleasant from unpleasant: that is what the numbers are for, and no scale of
    red and green tells it to everybody.

    Args:
        image: (H, W, 3) uint8, RGB; left as it is.
        rows: of the image in a table of predictions; boxes are in its pixels. Smoothed numbers are shown
            where there are any. A face without numbers is grey.

    Returns:
        A Pillow image of the same size.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    shorter = min(picture.size)
    pen, font = ImageDraw.Draw(picture), _font(max(10, shorter // 30))
    for row in rows:
        if row.get("x") is None or row.get("face_id", 0) is None:
            continue
        left, top = int(row["x"]), int(row["y"])
        right, bottom = left + int(row["width"]), top + int(row["height"])
        text, known = _text(row)
        colour = COLOURS[row.get("face_id", 0) % len(COLOURS)] if known else _UNKNOWN
        pen.rectangle((left, top, right, bottom), outline=colour, width=max(1, shorter // 200))
        x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font)
        wide, high = int(x1 - x0) + 4, int(y1 - y0) + 4
        # above the box, or where the image ends there, inside it
        x = min(max(0, left), max(0, picture.width - wide))
        y = top - high if top >= high else max(0, top)
        pen.rectangle((x, y, x + wide, y + high), fill=colour)
        pen.text((x + 2 - x0, y + 2 - y0), text, fill=_ink(colour), font=font)
    return picture


def _text(row: Mapping[str, Any]) -> tuple[str, bool]:
    """What stands beside a face, and whether there are numbers."""
    number = f"{row.get('face_id', 0)}"
    valence = row.get("valence_smooth", row.get("valence"))
    if valence is None:
        return f"{number}  no numbers", False
    arousal = row.get("arousal_smooth", row.get("arousal"))
    return f"{number}  V {valence:+.2f}  A {arousal:+.2f}", True  # Pillow's own font has no minus sign


def _ink(ground: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever stands out more (relative luminance of WCAG 2)."""
    parts = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in ground]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return _BLACK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else _WHITE


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
