"""What a face detector is and gives, and what detectors share."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

SEARCH = 5  # version of how the detectors here search, for their fingerprints
SMALLEST = 10  # pixels; a smaller face shows no expression, and noise is taken for one


@dataclass(frozen=True)
class Face:
    """One detected face, in whole pixels of the upright image; (0, 0) is the upper left corner.

    The box goes from the hairline to the chin; it may reach outside the image.

    Attributes:
        x: left side of the box.
        y: upper side of the box.
        width: of the box, above 0.
        height: of the box, above 0.
        score: in [0, 1], higher is surer; comparable within one detector only. NaN for detector "none".
        landmarks: (5, 2) x, y of right eye, left eye, nose tip, right and left mouth corner (the person's own
            right, on the left of the image), or None where the detector finds none. Of Haar where they lie on
            average.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    landmarks: np.ndarray | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height)."""
        return self.x, self.y, self.width, self.height


class Detector(Protocol):
    """What finds faces; `name` is "yunet", "haar" or "none". Several threads may call one at once."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Text that differs where the same image may give other faces: part of a cache's key."""

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""


class Spare:
    """Copies of an OpenCV object that only one thread at a time may use; as many as threads ask at once."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._idle: deque[Any] = deque([make()])

    @contextmanager
    def taken(self) -> Iterator[Any]:
        """One of them, for a `with` block."""
        try:
            one = self._idle.pop()
        except IndexError:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.append(one)


def fingerprint_of(*parts: object) -> str:
    """Text of everything the faces in an image depend on; raise `SEARCH` when a search changes."""
    import cv2

    return repr((*parts, SEARCH, SMALLEST, cv2.__version__))


def shrink(image: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """The image with its longer side at most `longest`, and (x, y) factors back to its own pixels.

    It is halved by averages of 2 x 2 pixels, and between two halves resized linearly: a tenth of the time of
    averaging areas in one go, and no more aliasing.
    """
    import cv2

    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    small: Any = image
    halvings = 0
    while 2 * w <= small.shape[1] and 2 * h <= small.shape[0]:
        even = small[: small.shape[0] // 2 * 2, : small.shape[1] // 2 * 2]
        small = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
        halvings += 1
    kept = np.array([small.shape[1], small.shape[0]]) * 2**halvings  # of the sides, in whole blocks
    if small.shape[:2] != (h, w):
        small = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    return small, kept / [w, h]


def whole_pixels(box: Iterable[float]) -> tuple[int, int, int, int]:
    """A box x, y, width, height rounded, halves up."""
    x, y, width, height = (math.floor(float(v) + 0.5) for v in box)
    return x, y, width, height


def ordered(faces: Iterable[Face]) -> list[Face]:
    """Keep the surest of boxes on the same face, drop tiny ones; largest area first, ties by place."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: (-f.score, f.box)):
        if min(face.width, face.height) >= SMALLEST and all(_overlap(face, k) <= 0.4 for k in kept):
            kept.append(face)
    return sorted(kept, key=lambda f: (-f.width * f.height, f.y, f.x))


def _overlap(a: Face, b: Face) -> float:
    """Shared area over the smaller box's area: 1 for a box inside another."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(width, 0) * max(height, 0) / min(a.width * a.height, b.width * b.height)
