"""From an image file to upright 8-bit RGB pixels, within one budget of memory and time."""

from __future__ import annotations

import math
import os
import stat
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from idfer.data import budget
from idfer.errors import IdferError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({
    ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
"""Suffixes (lower case) by which a folder's images are found; a file named directly may have any."""

LARGEST_FILE = 1 << 30
"""Bytes of a file that is read whole, e.g. to tell its content from others'."""
_LONGEST_NAME = 400  # characters of a path in a message


# Pillow's names; not all of its formats, since EPS would run a program.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "TIFF")  # asked in this order
_ORIENTATION = 0x0112  # EXIF tag
_TELLS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # where Pillow looks for it
_STRIP = 1 << 22  # pixels converted at a time


def read_image(path: str | Path, *, max_pixels: int | None = None) -> np.ndarray:
    """Read an image file as upright 8-bit RGB.

    EXIF orientation is applied. Grey is repeated over the channels; palettes, CMYK (also Adobe's inverted
    JPEG) and 1-bit images are converted; transparent pixels are laid on white; of 16-bit values the high byte
    is kept (within one level of value / 257); floating-point images must lie in [0, 1]. Of an animation or a
    multi-page file the first image is read. Colour profiles are not applied. Pillow's warnings (broken EXIF,
    more than 89 million pixels) are let through: to silence them here would not be safe where threads read.

    Args:
        path: a BMP, GIF, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP file.
        max_pixels: how many pixels it may claim, checked before it is decoded; by default
            `idfer.data.budget.max_pixels`: 64 million, or what `IDFER_MAX_MEGAPIXELS` says. 64 million take
            0.6 GB of memory, as WebP 1 GB. Beyond 178 million Pillow refuses whatever the limit.

    Returns:
        (H, W, 3) uint8, RGB, every pixel of the file.

    Raises:
        IdferError: the file is missing, a folder, not permitted, empty, not an image, cut off or too large.
    """
    return np.require(_read(path, max_pixels, reduce=False)[0], requirements="W")


def read_reduced(path: str | Path, *, max_pixels: int | None = None) -> tuple[np.ndarray, int]:
    """Read an image as `read_image` does, a JPEG beyond the limit at 1/2, 1/4 or 1/8 of its size.

    Returns:
        (H, W, 3) uint8, RGB, not always writable, and by what its sides were divided: 1, 2, 4 or 8. Face
        boxes are in pixels of the file: divide them by this number before they meet the image, multiply what
        is found in it.

    Raises:
        IdferError: as for `read_image`.
    """
    return _read(path, max_pixels, reduce=True)


def decode_reduced(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decode an image file's bytes as `read_reduced` reads the file.

    Args:
        data: the whole file.
        name: what messages call it.

    Raises:
        IdferError: as for `read_image`.
    """
    return _read_stream(BytesIO(data), name, budget.max_pixels(), reduce=True)


def from_pillow(image: Image.Image, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a Pillow image of any mode, as `read_image` gives it of the image's file.

    Raises:
        IdferError: it is closed, cut off, has no pixel or too many, or values that no image has.
    """
    try:
        if not image.width * image.height:
            raise IdferError(f"{name}: has no pixel ({image.width} x {image.height}).")
        if (pixels := image.width * image.height) > (limit := budget.max_pixels()):
            raise budget.too_large(f"{name}: has", pixels, limit)
        image.load()
        return _upright(_to_rgb(image, name), _orientation(image))
    except IdferError:
        raise
    except Exception as error:
        reason = _first_line(error)
        raise IdferError(
            f"{name}: cannot be read ({reason}); it may be closed or cut off: give it open and whole."
        ) from error


def to_rgb(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of grey (H, W), (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4) uint8, on white."""
    if values.ndim == 2 or values.shape[2] == 1:
        return _grey(values.reshape(values.shape[:2]))
    if values.shape[2] == 4:
        from PIL import Image

        return _strip_to_rgb(Image.fromarray(np.ascontiguousarray(values)), "")
    return np.ascontiguousarray(values)


def _read(path: str | Path, limit: int | None, reduce: bool) -> tuple[np.ndarray, int]:
    limit = budget.max_pixels() if limit is None else limit
    with open_regular(path) as stream:
        return _read_stream(stream, _shown(path), limit, reduce)


def _read_stream(
    stream: BufferedReader | BytesIO, name: str, limit: int, reduce: bool
) -> tuple[np.ndarray, int]:
    try:
        if not stream.read(1):
            raise IdferError(f"{name}: is empty (0 bytes); copy or download it again.")
        stream.seek(0)
        pixels, orientation, factor = _decode(stream, name, limit, reduce)
        return _upright(pixels, orientation), factor
    except IdferError:
        raise
    except Exception as error:  # a damaged file makes the decoders raise nearly anything
        raise IdferError(f"{name}: {_reason(error, stream)}") from error


def _decode(stream: BinaryIO, name: str, limit: int, reduce: bool) -> tuple[np.ndarray, int, int]:
    """Pixels (H, W, 3) as stored, their EXIF orientation, and by what the sides were divided."""
    from PIL import Image

    with Image.open(stream, formats=_FORMATS) as image:
        factor = _draft(image, limit) if reduce else 1
        budget.check_claims(image, stream, name, limit)
        image.load()  # decodes every pixel, so that a file cut off is an error and not a grey patch
        return _to_rgb(image, name), _orientation(image), factor


def _draft(image: Image.Image, limit: int) -> int:
    """Have a JPEG beyond the limit decoded at a fraction of its size; by what its sides are divided."""
    width, height = image.size
    if image.format not in ("JPEG", "MPO") or width * height <= limit:
        return 1
    factor = next((f for f in (2, 4) if math.ceil(width / f) * math.ceil(height / f) <= limit), 8)
    image.draft(None, (width // factor, height // factor))  # once: a second draft would start from the first
    return round(max(width, height) / max(image.size))


def _reason(error: Exception, stream: BinaryIO) -> str:
    """What to say of a file that Pillow could not decode."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return _not_an_image(stream)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        return f"has more pixels than Pillow reads (at most {limit} million); scale it down."
    if isinstance(error, MemoryError):
        return "does not fit into memory; scale it down."
    return f"is damaged or incomplete ({_first_line(error)}); copy or download it again."


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading, but never a pipe or a device: one would wait, the other never end.

    Raises:
        IdferError: the path is missing, a folder, a pipe or device, not permitted, or no name a system takes.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a `Path` costs more than the call
        if stat.S_ISREG(mode):
            return open(path, "rb")  # noqa: PTH123
    except (OSError, ValueError) as error:  # a link loop, a name too long; ValueError: a null character in it
        raise _not_opened(path, error) from error
    if stat.S_ISDIR(mode):
        raise IdferError(f"{_shown(path)}: is a folder, not an image file.")
    raise IdferError(f"{_shown(path)}: is not a file (a pipe or device); give an image file.")


def _not_opened(path: str | Path, error: Exception) -> IdferError:
    name = _shown(path)
    if isinstance(error, FileNotFoundError):
        kind = "is a link to what is not there" if Path(path).is_symlink() else "no such file"
        return IdferError(f"{name}: {kind}; check the path.")
    if isinstance(error, PermissionError):
        return IdferError(f"{name}: may not be read (permission denied); change its permissions.")
    reason = getattr(error, "strerror", None) or str(error)
    return IdferError(f"{name}: cannot be opened ({reason}); check the path and the disk.")


def read_regular(path: str | Path, limit: int = LARGEST_FILE) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file.
        limit: more bytes than this are refused.

    Raises:
        IdferError: as for `open_regular`; or the file is too large, or the disk fails.
    """
    with open_regular(path) as stream:
        try:
            data = stream.read(limit + 1)
        except (OSError, MemoryError) as error:
            raise IdferError(f"{_shown(path)}: cannot be read ({error}); check the disk.") from error
    if len(data) > limit:
        raise IdferError(f"{_shown(path)}: has more than {limit >> 20} MiB; save it smaller.")
    return data


def _shown(path: str | Path) -> str:
    """A path as a message shows it: unprintable characters escaped, an endless name shortened."""
    text = str(path)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME // 2]}...{text[-40:]}"


def _orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8; an unreadable EXIF block counts as none."""
    if image.format in ("JPEG", "PNG") and not any(key in image.info for key in _TELLS):
        return 1  # most faces; to have Pillow look costs a twentieth of decoding a small one
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF must not cost the photograph
        return 1
    return value if isinstance(value, int) else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The image as it was meant to be seen."""
    if orientation == 1:
        return np.ascontiguousarray(pixels)
    match orientation:
        case 2:
            pixels = pixels[:, ::-1]
        case 3:
            pixels = pixels[::-1, ::-1]
        case 4:
            pixels = pixels[::-1]
        case 5:
            pixels = pixels.swapaxes(0, 1)
        case 6:
            pixels = np.rot90(pixels, -1)
        case 7:
            pixels = pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            pixels = np.rot90(pixels)
    return np.ascontiguousarray(pixels)


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """(H, W, 3) uint8 of a decoded image, strip by strip, so that the copies on the way are small."""
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        return _strip_to_rgb(image, name)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        below = min(top + rows, image.height)
        pixels[top:below] = _strip_to_rgb(image.crop((0, top, image.width, below)), name)
    return pixels


def _strip_to_rgb(image: Image.Image, name: str) -> np.ndarray:
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image)  # not writable: another copy of a face costs a twentieth of decoding it
    if image.mode.startswith("I"):  # "I;16" and its byte orders; "I" is how older Pillow gives 16-bit grey
        return _grey(_sixteen_bit(np.asarray(image), name))
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):  # also refuses NaN
            raise IdferError(f"{name}: floating-point pixels outside [0, 1]; save it with 8 or 16 bits.")
        return _grey((values * 255 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.array(image.convert("RGB"))


def _sixteen_bit(values: np.ndarray, name: str) -> np.ndarray:
    if values.min() < 0 or values.max() > 0xFFFF:
        raise IdferError(f"{name}: pixels of more than 16 bits; save it with 8 or 16 bits.")
    return (values.astype(np.uint16) >> 8).astype(np.uint8)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def _not_an_image(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heif", b"mif1", b"avif"):
        return "HEIF and AVIF photographs cannot be read; convert it to JPEG or PNG."
    return "is not an image that can be read; give a JPEG, PNG, WebP, TIFF, GIF or BMP file."
