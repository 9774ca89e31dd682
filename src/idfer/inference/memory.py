"""Images in memory as sources to predict on: arrays, tensors, Pillow images, bytes and open files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from idfer.data import budget
from idfer.data.images import LARGEST_FILE, decode_reduced, from_pillow, to_rgb
from idfer.errors import IdferError, UsageError
from idfer.inference.inputs import Listing, Source, add_path

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    ImageInput = str | os.PathLike[str] | np.ndarray | Tensor | Image.Image | bytes | bytearray | IO[bytes]
    Inputs = ImageInput | Iterable[ImageInput]

_CHANNELS = (1, 3, 4)
_KINDS = (
    "a path, a PIL image, a numpy array (H, W, 3) uint8, a torch tensor (3, H, W) uint8, bytes or a file "
    "open for reading bytes"
)
_LAST = "give (H, W, 3) or (N, H, W, 3) uint8, RGB"
_FIRST = "give (3, H, W) or (N, 3, H, W) uint8, RGB"


def list_inputs(inputs: Inputs) -> Listing:
    """List what some inputs stand for, in the order given, before any of it is decoded.

    Images in memory are called `array 0`, `tensor 1`, `image 2`, `bytes 3`, `file 4` after their place among
    the inputs; a Pillow image or a file that knows its name has that one. Of a batch in a list the images are
    `array 2[0]` and so on; a batch alone counts its images.

    Args:
        inputs: one input or many: image files and folders; Pillow images of any mode; arrays (H, W, 3) uint8
            RGB, not OpenCV's BGR, also grey (H, W) or (H, W, 1) and RGBA (H, W, 4) (laid on white), or a
            batch of such (N, H, W, C); tensors the same with the channels before the height; the bytes of an
            image file; files open for reading bytes.

    Raises:
        UsageError: an input that is no image whatever it holds (its type, shape or values), a web address, a
            video, an empty name, or no input at all; the message names the input by its place.
        IdferError: a folder without an image.
    """
    alone = _is_one(inputs)
    given: Iterable[Any] = [inputs] if alone else inputs  # type: ignore[assignment]
    try:
        items = list(given)
    except TypeError as error:
        raise UsageError(f"{_type(inputs)} is no image; give {_KINDS}, or a list of these.") from error
    listing = Listing()
    for place, item in enumerate(items):
        _add(item, place, listing, alone)
    if not listing.sources:
        raise UsageError("nothing to predict on; give one or more images, image files or folders.")
    return listing


def _is_one(inputs: Any) -> bool:
    """Whether this is one input and no list of them; an array of text is a list of names."""
    if isinstance(inputs, np.ndarray):
        return not (inputs.ndim == 1 and inputs.dtype.kind in "OU")
    kinds = (str, os.PathLike, bytes, bytearray, memoryview)
    return isinstance(inputs, kinds) or _is_tensor(inputs) or _is_pillow(inputs) or hasattr(inputs, "read")


def _add(item: Any, place: int, listing: Listing, alone: bool) -> None:
    if isinstance(item, (str, os.PathLike)):
        return add_path(item if isinstance(item, str) else Path(item), listing)
    if _is_pillow(item):
        name = _file_name(getattr(item, "filename", ""), f"image {place}")
        return listing.sources.append(_source(name, lambda: (from_pillow(item, name), 1)))
    if isinstance(item, (bytes, bytearray, memoryview)):
        name, data = f"bytes {place}", bytes(item)
        return listing.sources.append(_source(name, lambda: decode_reduced(data, name)))
    if hasattr(item, "read"):
        name = _file_name(getattr(item, "name", ""), f"file {place}")
        return listing.sources.append(_source(name, _OpenFile(item, name)))
    if _is_tensor(item):
        return _add_array(_from_torch(item, place), "tensor", place, listing, alone)
    if isinstance(item, np.ndarray) or hasattr(item, "__array__"):
        return _add_array(_checked(np.asarray(item), f"array {place}"), "array", place, listing, alone)
    hint = "cv2.imread gives None for a file that it cannot read" if item is None else f"give {_KINDS}"
    raise UsageError(f"input {place} is {_type(item)}, no image; {hint}.")


def _add_array(images: np.ndarray, kind: str, place: int, listing: Listing, alone: bool) -> None:
    """Add an image (H, W) or (H, W, C), or each of a batch (N, H, W, C)."""
    if images.ndim < 4:
        listing.sources.append(_of_pixels(images, f"{kind} {place}"))
        return
    for number, image in enumerate(images):
        listing.sources.append(
            _of_pixels(image, f"{kind} {number}" if alone else f"{kind} {place}[{number}]")
        )


def _of_pixels(image: np.ndarray, name: str) -> Source:
    if (pixels := image.shape[0] * image.shape[1]) > (limit := budget.max_pixels()):
        return Source(Path(name), str(budget.too_large(f"{name}: has", pixels, limit)))
    return _source(name, lambda: (to_rgb(image), 1))


def _source(name: str, read: Callable[[], tuple[np.ndarray, int]]) -> Source:
    return Source(Path(name), read=read)


class _OpenFile:
    """An open file, read when its turn comes, from where it stands; its bytes are kept."""

    def __init__(self, stream: Any, name: str):
        self._stream, self._name = stream, name
        self._data: bytes | None = None
        self._lock = threading.Lock()

    def __call__(self) -> tuple[np.ndarray, int]:
        with self._lock:
            if self._data is None:
                self._data = self._bytes()
        return decode_reduced(self._data, self._name)

    def _bytes(self) -> bytes:
        try:
            data = self._stream.read(LARGEST_FILE + 1)
        except Exception as error:  # a closed file, one open for writing, a broken connection, bad text
            raise IdferError(f"{self._name}: cannot be read ({error}); give it open for reading.") from error
        if not isinstance(data, (bytes, bytearray)):
            raise IdferError(f"{self._name}: gives {_type(data)}, no bytes; open it with mode 'rb'.")
        if not data:
            raise IdferError(f"{self._name}: has nothing left to read; seek(0) if it was read before.")
        if len(data) > LARGEST_FILE:
            raise IdferError(f"{self._name}: has more than {LARGEST_FILE >> 20} MiB; save it smaller.")
        return bytes(data)


def _from_torch(tensor: Tensor, place: int) -> np.ndarray:
    """(H, W), (H, W, C) or (N, H, W, C) of a tensor with the channels before the height."""
    name, shape = f"tensor {place}", tuple(tensor.shape)
    if len(shape) in (3, 4) and shape[-3] not in _CHANNELS:
        last = " (its channels are last: permute them to the front)" if shape[-1] in _CHANNELS else ""
        raise UsageError(f"{name}: has shape {shape}{last}; {_FIRST}.")
    values = tensor.detach().cpu()
    values = values.movedim(-3, -1) if len(shape) in (3, 4) else values
    if values.dtype.is_floating_point:
        values = values.double()  # numpy has no bfloat16
    return _checked(values.numpy(), name, shape)


def _checked(values: np.ndarray, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The array, if it holds an image or a batch of them.

    Args:
        values: the array, channels last.
        name: of the input.
        shape: as its user gave it, where another than `values` has.
    """
    wanted = (
        "give (H, W, 3) or (N, H, W, 3) uint8, RGB" if shape is None else "give (3, H, W) or (N, 3, H, W)"
    )
    shape = values.shape if shape is None else shape
    if values.ndim not in (2, 3, 4) or (values.ndim > 2 and values.shape[-1] not in _CHANNELS):
        first = values.ndim in (3, 4) and values.shape[-3] in _CHANNELS
        hint = (
            " (its channels come first: move them to the end with numpy.moveaxis(x, -3, -1))" if first else ""
        )
        raise UsageError(f"{name}: has shape {shape}{hint}; {wanted}.")
    if values.size == 0:
        raise UsageError(f"{name}: has shape {shape}, no pixel; {wanted}.")
    if values.dtype != np.uint8:
        raise UsageError(f"{name}: has dtype {values.dtype}, and pixels are uint8; {_scaled(values)}.")
    return values


def _scaled(values: np.ndarray) -> str:
    """How to make pixels of an array of another type."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            return "it holds NaN or infinity, which no pixel is: find out where it comes from"
        low, high = float(values.min()), float(values.max())
        cure = (
            "scale it with (x * 255).round().astype('uint8')" if low >= 0 and high <= 1
            else "round it with x.round().astype('uint8')" if low >= 0 and high <= 255
            else "undo its normalisation, then scale it to whole numbers from 0 to 255"
        )  # fmt: skip
        return f"its values go from {low:.3g} to {high:.3g}: {cure}"
    if values.dtype == np.uint16:
        return "of 16 bits keep the higher 8: (x >> 8).astype('uint8')"
    if values.dtype.kind == "b":
        return "of a mask make pixels with x.astype('uint8') * 255"
    if values.dtype.kind in "iu":
        return "if all values lie in 0 to 255, x.astype('uint8')"
    return f"give {_KINDS}"


def _is_tensor(item: Any) -> bool:
    import torch

    return isinstance(item, torch.Tensor)


def _is_pillow(item: Any) -> bool:
    from PIL import Image

    return isinstance(item, Image.Image)


def _file_name(name: Any, otherwise: str) -> str:
    """The name an image or open file carries, if it is a name; a pipe's is a number."""
    return name if isinstance(name, str) and name else otherwise


def _type(item: Any) -> str:
    kind = type(item)
    return "None" if item is None else f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.")
