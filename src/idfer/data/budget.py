"""How many pixels an image may have: one limit for what is decoded and for what is padded to a square.

A file of a few hundred bytes may claim 170 million pixels, so claims are checked before anything is decoded.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, BinaryIO

from idfer.errors import IdferError, UsageError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
"""Pixels of the largest image that is decoded, unless `IDFER_MAX_MEGAPIXELS` says otherwise."""
VARIABLE = "IDFER_MAX_MEGAPIXELS"

_SLOW = 16  # how many times fewer pixels where Pillow decodes in Python, 0.7 million of them a second
_WIDE = 2  # how many times fewer where the decoder holds 32-bit values of every component, and copies them
_TILES = 1 << 14  # of a JPEG 2000 file: each costs time however small it is
_SIZ = b"\xff\x4f\xff\x51"  # the first bytes of a JPEG 2000 codestream; its sizes follow
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF tags


def max_pixels() -> int:
    """The limit: `MAX_PIXELS`, or `$IDFER_MAX_MEGAPIXELS` million.

    Raises:
        UsageError: the variable is not a number above 0.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return MAX_PIXELS
    try:
        million = float(given)
    except ValueError:
        million = math.nan
    if not (math.isfinite(million) and million > 0):
        raise UsageError(f"{VARIABLE} is {given!r}; it must be a number of million pixels, such as 64.")
    return max(1, round(million * 1e6))


def too_large(what: str, pixels: float, limit: int) -> IdferError:
    """The error of an image, a tile or a square with more pixels than the limit.

    Args:
        what: the beginning of the message: file, and what has that many pixels.
        pixels: how many it has.
        limit: how many it may have.
    """
    return IdferError(
        f"{what} {pixels / 1e6:.4g} million pixels, more than the {limit / 1e6:.4g} million that idfer "
        f"takes on; scale it down, or set {VARIABLE} where there is memory for it."
    )


def check_claims(image: Image.Image, stream: BinaryIO, name: str, limit: int) -> None:
    """Refuse an opened, not yet decoded image for what its header claims.

    Args:
        image: as `PIL.Image.open` gives it.
        stream: the file; its position is left as it was.
        name: of the file, for messages.
        limit: how many pixels may be decoded.

    Raises:
        IdferError: more pixels than the limit in the image or in one of its tiles, or too many tiles.
    """
    pixels = image.width * image.height
    if pixels > limit:
        raise too_large(f"{name}: has", pixels, limit)
    if image.format == "PPM" and getattr(image, "tile", None) and image.tile[0][0] != "raw":  # type: ignore[attr-defined]
        if pixels > limit // _SLOW:
            raise too_large(f"{name}: is a PPM file that is slow to decode and has", pixels, limit // _SLOW)
    elif image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = _number(tags.get(_TILE_WIDTH)) * _number(tags.get(_TILE_LENGTH))
        if tile > limit:
            raise too_large(f"{name}: has tiles of", tile, limit)
    elif image.format == "JPEG2000":
        _check_jpeg2000(stream, name, limit // _WIDE)


def _check_jpeg2000(stream: BinaryIO, name: str, limit: int) -> None:
    """JPEG 2000 states sizes in the codestream too; those count when it is decoded."""
    place = stream.tell()
    stream.seek(0)
    head = stream.read(1 << 20)
    stream.seek(place)
    start = head.find(_SIZ)
    if start < 0 or len(head) < start + 42:
        raise IdferError(f"{name}: is damaged or incomplete (no image sizes); copy or download it again.")
    numbers = [int.from_bytes(head[at : at + 4], "big") for at in range(start + 8, start + 40, 4)]
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = numbers
    if not (left < width and top < height and tile_width and tile_height):
        raise IdferError(f"{name}: is damaged or incomplete (empty image); copy or download it again.")
    if (pixels := (width - left) * (height - top)) > limit:
        raise too_large(f"{name}: is a JPEG 2000 file and has", pixels, limit)
    across = math.ceil((width - tile_left) / tile_width)
    if (tiles := across * math.ceil((height - tile_top) / tile_height)) > _TILES:
        raise IdferError(f"{name}: claims {tiles} tiles, which would take very long; save it anew.")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
