"""A face cut out of an image as a model wants it: one that was found, or the largest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idfer.errors import IdferError
from idfer.inference.failure import naming
from idfer.inference.inputs import Source

if TYPE_CHECKING:
    from idfer.data.detection import Detector, Face
    from idfer.data.preprocess import Box, Preprocess


class Cut(NamedTuple):
    """A face and where it was.

    Attributes:
        image: (H, W, 3) uint8 RGB, that it was cut out of.
        box: of the face in the image; None where the whole image is the face.
        crop: (S, S, 3) uint8 RGB.
    """

    image: np.ndarray
    box: Box | None
    crop: np.ndarray


def cut(image: np.ndarray, face: Face, detector: Detector, preprocess: Preprocess) -> Cut:
    """Cut out a face that a detector found, as the preprocessing contract says.

    Raises:
        IdferError: its box is too narrow or outside the image; the message does not name the image.
    """
    box = None if detector.name == "none" else face.box
    return Cut(image, box, preprocess.crop(image, box, face.landmarks))


def largest_face(source: Source, detector: Detector, preprocess: Preprocess, missing: str = "") -> Cut:
    """Cut out the largest face of an image.

    Args:
        source: the image.
        detector: finds faces, the largest first.
        preprocess: the preprocessing contract.
        missing: what to say beside "no face found" where there is none.

    Raises:
        IdferError: the image cannot be read, is too large or too narrow, or shows no face.
    """
    with naming(source.path):
        image, _ = source.image()
        faces = detector(image)
    if not faces:
        raise IdferError(f"{source.path}: no face found{missing}.")
    with naming(source.path, prefix=True):
        return cut(image, faces[0], detector, preprocess)
