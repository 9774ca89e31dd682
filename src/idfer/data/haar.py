"""The Haar cascade of OpenCV's wheel, which needs no download."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from idfer.data.detection import Face, Spare, fingerprint_of, ordered, shrink, whole_pixels

MARKS = np.array([[0.25, 0.446], [0.75, 0.446], [0.505, 0.75], [0.295, 0.99], [0.715, 0.99]])
"""(5, 2) where eyes, nose and mouth lie in a box, from its upper left corner, in widths of it: means of what
YuNet finds in 739 upright web photographs [ours]. They scatter by 0.04 (eyes) and 0.06 (mouth)."""


class Haar:
    """OpenCV's boosted Haar cascade for frontal faces (Viola & Jones 2001; Lienhart & Maydt 2002).

    Of 100 faces and 100 other patches of LFW it found 94 and 0. `score` is the logistic function of the last
    stage's weight minus 3.6 (those faces: 4.2 to 12); below 0.5 a find is dropped. The cascade's square is
    reshaped to what YuNet would mark, so that crops agree: width 0.85, height 1.1, centre 0.05 lower
    (fractions of its side; medians over LFW and resized photographs) [ours]. It sees no eyes: landmarks are
    where they lie on average (`MARKS`), so that a model of aligned faces can be asked at all.
    """

    name = "haar"

    @property
    def fingerprint(self) -> str:
        """Changes with OpenCV, whose wheel brings the cascade, and with how this class searches."""
        return fingerprint_of(self.name)

    def __init__(self) -> None:
        import cv2

        folder = Path(cv2.__file__).parent / "data"  # as the wheel's cv2.data.haarcascades
        file = str(folder / "haarcascade_frontalface_default.xml")
        self._cascades = Spare(lambda: cv2.CascadeClassifier(file))

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB image, the largest first."""
        import cv2

        small, (sx, sy) = shrink(image, 1024)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)  # not equalised: plain surroundings would spoil it
        with self._cascades.taken() as cascade:
            boxes, _, weights = cascade.detectMultiScale3(
                grey, scaleFactor=1.1, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
            )
        faces = []
        for (x, y, side, _), weight in zip(boxes, np.ravel(weights), strict=True):
            score = 1 / (1 + math.exp(3.6 - float(weight)))
            if score >= 0.5:
                box = ((x + 0.075 * side) * sx, y * sy, 0.85 * side * sx, 1.1 * side * sy)
                faces.append(Face(*whole_pixels(box), score, _marks(*box)))
        return ordered(faces)


def _marks(x: float, y: float, width: float, height: float) -> np.ndarray:
    """(5, 2) x, y of a face's landmarks, by its box alone."""
    return np.asarray(np.array([x, y]) + MARKS * width, np.float32)
